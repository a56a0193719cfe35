//! The volume: its state, the commands it takes, and the function that decides about them.
//!
//! [`decide::decide`] is total and pure. It sees only committed state; what it returns is committed before anything of it
//! becomes visible or starts (design §3).

pub mod attach;
pub mod blocking;
pub mod command;
pub mod decide;
pub mod decision;
pub mod metadata;
pub mod refusal;
pub mod state;
mod usage;

pub use command::{Caller, Command, Decision, Facts, Job, JobTarget, Refusal, Reply, Verdict};
pub use decide::{decide, mapping_refusal, swap_refusal, yielded_disk};
pub use state::{Volume, VolumeState};
pub use usage::usage_growth;
