//! The shipped binary from outside: its command line, stock OpenStack clients, real guests.

mod binary;
mod clients;
pub mod guest;
mod hearth;
mod openstack;
mod plug;
