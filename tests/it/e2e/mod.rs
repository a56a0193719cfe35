//! The shipped binary from outside: its command line, stock OpenStack clients, real guests.

mod binary;
pub mod guest;
pub mod hearth;
mod openstack;
mod plug;
