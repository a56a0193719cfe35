//! The `sim` backend and hypervisor: a truth of their own (what exists, who is connected, what was written), with seeded
//! latency and faults on demand. For simulation, benches, crash tests and the CI of client authors.
//!
//! It never shares a table, a file or memory with the store: it is what the store's records are checked against. It never
//! repairs anything and never knows which volumes are multiattach. Called through the pool like every driver; tests also
//! look into it and write through its exports by [`SimTruth`], and break it by [`FaultPlan`].
//!
//! `state` is the truth and its changes, `carry_out`, `snapshots` and `objects` the rules of the requests, `consumers` the check of promise I1,
//! `journal` the file, `engine` keys, latency and faults; `process` and `remote` are the two ends of a backend that runs
//! as a process of its own; `images` what volumes and images have to do with each other.

mod carry_out;
mod change;
mod consumers;
mod engine;
mod faults;
mod images;
mod journal;
mod latency;
mod lines;
mod moves;
mod objects;
pub mod process;
pub mod remote;
mod snapshots;
mod state;
mod truth;
pub mod wire;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::domain::backend::{Call, Cause, CauseKind, Outcome, Truth};
use crate::domain::guest::GuestSeen;
use crate::domain::ids::{ServerId, VolumeId};
use crate::images::ImageService;

use super::hypervisor::sim::SimHypervisor;
use super::{Backend, Capabilities, Capacity, Contents, FaultsRefused};
pub use carry_out::{EXPORT_MEMBER, PROTOCOL};
pub use consumers::{Consumer, OVERLAP_BOUND, Overlap, Watch};
pub(in crate::drivers) use engine::Engine;
pub use engine::{DEFAULT_TOTAL_GIB, SimOptions};
pub use faults::{Fault, FaultError, FaultPlan, FaultRule, HungCall, REQUEST_NAMES, When};
pub use images::file_in_memory;
pub use journal::{Durability, JournalError};
pub use latency::{Latency, LatencyTable};
pub(in crate::drivers) use moves::{Elsewhere, export_of};
pub use state::{SimClone, SimContents, SimDevice, SimExport, SimObject, SimSnapshot, SimVolume, WriteRecord};
pub use truth::SimTruth;

/// The simulated storage backend.
pub struct SimBackend(Arc<Engine>);

impl SimBackend {
    /// A backend. Its hypervisor shares the truth: [`Self::hypervisor`].
    pub fn new(options: SimOptions) -> Arc<Self> {
        Arc::new(Self(Engine::new(options)))
    }

    /// The hypervisor that plugs this backend's exports.
    pub fn hypervisor(&self) -> Arc<SimHypervisor> {
        Arc::new(SimHypervisor::new(Arc::clone(&self.0), Vec::new()))
    }

    /// The hypervisor that plugs the exports of this backend and of these, and moves guests between them.
    pub fn hypervisor_with<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> Arc<SimHypervisor> {
        Arc::new(SimHypervisor::new(
            Arc::clone(&self.0),
            others.into_iter().map(|other| Arc::clone(&other.0)).collect(),
        ))
    }

    /// A guest of [`Self::hypervisor`] pauses, goes on, dies (with its devices) or comes back.
    pub fn guest_does(&self, server_id: &ServerId, seen: GuestSeen) -> Result<(), JournalError> {
        self.0.guest_does(server_id, seen)
    }

    /// A copy whose contents were read elsewhere, or could not be.
    pub(super) fn receive(&self, call: Call, contents: Result<SimContents, Cause>) -> BoxFuture<'static, Outcome> {
        self.0.call(None, call, Elsewhere::Contents(contents))
    }

    /// What is true.
    pub fn truth(&self) -> SimTruth {
        self.0.truth().clone()
    }

    /// Gives the backend its images; once, before it serves. Without, calls about images are refused.
    pub fn use_images(&self, service: Arc<dyn ImageService>) {
        self.0.use_images(service);
    }

    /// What goes wrong.
    pub fn faults(&self) -> FaultPlan {
        self.0.faults().clone()
    }
}

/// What every simulated backend can do.
pub(super) fn capabilities() -> Capabilities {
    Capabilities { storage_protocol: PROTOCOL.to_owned(), reflink: true, exports: true, online_extend: true }
}

impl Backend for SimBackend {
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Outcome> {
        self.0.call(None, call, Elsewhere::Nothing)
    }

    fn copy_from(self: Arc<Self>, call: Call, source: Arc<dyn Backend>) -> BoxFuture<'static, Outcome> {
        async move {
            let contents = contents_of(&source, call.key.volume_id).await;
            self.receive(call, contents).await
        }
        .boxed()
    }

    fn contents(self: Arc<Self>, volume_id: VolumeId) -> BoxFuture<'static, Result<Contents, Cause>> {
        ready(self.0.truth().contents(volume_id).map(Contents::Simulated)).boxed()
    }

    fn capacity(self: Arc<Self>) -> BoxFuture<'static, Result<Capacity, Cause>> {
        ready(Ok(self.0.capacity())).boxed()
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn inventory(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<(VolumeId, Truth)>, Cause>> {
        ready(Ok(self.0.inventory())).boxed()
    }

    fn set_faults(self: Arc<Self>, rules: Vec<FaultRule>) -> BoxFuture<'static, Result<(), FaultsRefused>> {
        let set = self.0.faults().set(rules).map_err(|error| FaultsRefused::Senseless(error.to_string()));
        if set.is_ok() {
            // Calls that hang by the old rules go on.
            self.0.faults().release(None);
        }
        ready(set).boxed()
    }
}

/// What the source of a copy holds, read once, before anything is waited for: a write that comes meanwhile is missing in the copy,
/// and seen to be.
async fn contents_of(source: &Arc<dyn Backend>, volume_id: VolumeId) -> Result<SimContents, Cause> {
    match Arc::clone(source).contents(volume_id).await? {
        Contents::Simulated(contents) => Ok(contents),
        Contents::Bytes(_) => Err(Cause::new(CauseKind::Other, "a simulated backend holds no real contents")),
    }
}
