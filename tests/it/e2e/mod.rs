//! The shipped binary from outside: its command line, stock OpenStack clients, real guests.

mod binary;
mod clients;
mod failures;
mod fences;
pub mod guest;
mod guests;
mod header;
pub mod hearth;
pub mod host;
mod images;
mod iscsi;
mod keystone;
mod keystone_server;
mod kills;
mod maintenance;
mod migrate;
mod moves;
mod multiattach;
mod openstack;
pub mod plug;
mod policy;
mod simulated;
mod snapshots;
mod swap;
mod tls;
pub mod writer;
