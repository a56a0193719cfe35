//! The client of Glance: against the embedded service as a Glance that works, and against one that does not.

mod glance;
pub mod stand_in;
mod troubles;
