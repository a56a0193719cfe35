//! A Compute elsewhere: the Nova whose servers use Hearth's volumes (`compute.mode = external`).
//!
//! It is asked whether a server still uses an attachment, and told what has happened to a volume. It never decides what either
//! means for a volume, and never waits longer than its time-out. Called by the actors' service and its jobs, beside the
//! volumes, never from within one.

mod access;
mod nova;
mod service;

pub use access::{Access, Grant};
pub use nova::{NovaClient, NovaOptions};
pub use service::{ComputeError, ComputeService};
