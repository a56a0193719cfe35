//! The pure core: what may happen to a volume and why nothing else can.
//!
//! No I/O, no clock, no randomness, no async. Everything here is a value or a total function over values; the shell
//! (`actors`, `operations`, `store`, `drivers`) only carries out what this folder decides. May be used by every other
//! folder and uses none of them.

pub mod attachment;
pub mod backend;
pub mod claims;
pub mod compute;
pub mod deadlines;
pub mod document;
pub mod guest;
pub mod host;
pub mod ids;
pub mod image;
pub mod lane;
pub mod lifecycle;
pub mod metadata;
pub mod migration;
pub mod operation;
pub mod placement;
pub mod qos;
pub mod quota;
pub mod reference;
pub mod server;
pub mod server_action;
pub mod service;
pub mod snapshot;
pub mod status;
pub mod swap;
pub mod text;
pub mod time;
pub mod volume;
pub mod volume_type;
