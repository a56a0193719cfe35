//! The whole service in one thread under virtual time: inline store with crash semantics, simulated backend and hypervisor,
//! seeded ids. A seed replays a run exactly.
//!
//! Used by the tests of the promises. Nothing in production calls it.

mod check;
mod crash;
mod world;

pub use check::Difference;
pub use crash::{CallSide, CrashPlan};
pub use world::{BACKEND, Node, OTHER_BACKEND, World, WorldOptions, simulate};
