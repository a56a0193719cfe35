//! The shipped binary from outside: its command line, stock OpenStack clients, real guests.

mod binary;
mod hearth;
mod openstack;
