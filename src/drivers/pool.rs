//! The pool of driver actors: bounded queue, workers, deadlines and a circuit breaker for each backend.

use std::sync::Arc;

use crate::domain::backend::{Call, Guest, Outcome};

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolTarget {
    /// A storage backend by its name `host@backend#pool`.
    Backend(String),
    /// A guest, through its hypervisor.
    Guest(Guest),
}

/// How the end of a call is told. Both run on the pool's thread and must not block.
pub struct Completion {
    /// Called exactly once, at the latest when the deadline passes (then with `Unknown`).
    pub done: Box<dyn FnOnce(Outcome) + Send>,
    /// Called when the call returns after its deadline.
    pub late: Box<dyn FnOnce(Outcome) + Send>,
}

/// Calls drivers. Implemented by the pool of driver actors.
pub trait Caller: Send + Sync + 'static {
    /// Queues `call`. A full queue or an open circuit ends it as `Failed` at once.
    fn submit(&self, target: PoolTarget, call: Call, completion: Completion);
}

/// A shared caller.
pub type SharedCaller = Arc<dyn Caller>;
