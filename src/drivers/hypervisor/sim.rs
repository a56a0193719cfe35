//! The simulated hypervisor: plugs the exports of a simulated backend into guests that exist only in its truth.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::domain::backend::{Call, Cause, Guest, Outcome};
use crate::domain::ids::AttachmentId;
use crate::drivers::Hypervisor;
use crate::drivers::sim::Engine;

/// The hypervisor. Made by [`crate::drivers::sim::SimBackend::hypervisor`].
pub struct SimHypervisor(Arc<Engine>);

impl SimHypervisor {
    pub(in crate::drivers) fn new(engine: Arc<Engine>) -> Self {
        Self(engine)
    }
}

impl Hypervisor for SimHypervisor {
    fn call(self: Arc<Self>, guest: Guest, call: Call) -> BoxFuture<'static, Outcome> {
        self.0.call(Some(guest), call)
    }

    fn inventory(self: Arc<Self>, guest: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>> {
        ready(Ok(self.0.guest_inventory(&guest.server_id))).boxed()
    }
}
