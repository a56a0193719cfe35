//! The whole service in one thread under virtual time: inline store with crash semantics, simulated backend, hypervisor and images,
//! seeded ids. A seed replays a run exactly.
//!
//! Used by the tests of the promises. Nothing in production calls it.

mod check;
mod crash;
mod images;
mod world;

pub use check::Difference;
pub use crash::{CallSide, CrashPlan};
pub use images::{ImageCall, MemoryImages};
pub use world::{BACKEND, Node, OTHER_BACKEND, World, WorldOptions, simulate};
