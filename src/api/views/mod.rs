//! From committed state to the JSON of each microversion. Pure: no request is looked at but for its version, its links and
//! whether the caller is an admin.

pub mod attachment;
pub mod connection;
pub mod flavor;
pub mod mapping;
pub mod message;
pub mod server;
pub mod server_action;
pub mod snapshot;
pub mod time;
pub mod volume;
pub mod volume_type;
