//! Storage backends and hypervisors: the traits they implement, the pool that calls them, and the drivers.
//!
//! Nothing here decides anything about a volume: a driver carries out one [`Call`], idempotently, and says honestly how it
//! ended. Called only through the pool (deadlines, bounded queues, workers, circuit breaker).

mod block_job;
mod contents;
pub mod file;
pub mod hypervisor;
mod image_calls;
pub mod pool;
pub(crate) mod qmp;
mod qmp_features;
mod recent;
pub mod sim;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::domain::backend::{Call, CallKey, Cause, CauseKind, Guest, Outcome, Truth};
use crate::domain::guest::{GuestRoom, GuestSeen};
use crate::domain::ids::{AttachmentId, VolumeId};

pub use contents::{Contents, VolumeBytes};

/// A storage backend (`host@backend#pool`).
///
/// A call which has passed its deadline goes on in the background, and its end is reported as a late return: the pool drops no
/// future. Where one is dropped all the same, with its runtime, the call ends as by a kill: what had begun may still be done;
/// a copy stops soon and leaves nothing.
pub trait Backend: Send + Sync + 'static {
    /// Carries out one call. Repeating a key that was carried out answers as before; a key under way is joined.
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Outcome>;

    /// Carries out [`Request::CopyFromBackend`](crate::domain::backend::Request::CopyFromBackend): `source` is the driver of
    /// the backend that it names.
    fn copy_from(self: Arc<Self>, _call: Call, _source: Arc<dyn Backend>) -> BoxFuture<'static, Outcome> {
        Box::pin(std::future::ready(Outcome::Refused { cause: no_moves() }))
    }

    /// The contents of a volume that has no live exports, to be read from outside the backend. Live exports: busy.
    fn contents(self: Arc<Self>, _volume_id: VolumeId) -> BoxFuture<'static, Result<Contents, Cause>> {
        Box::pin(std::future::ready(Err(no_moves())))
    }

    /// How far the call's copy is: the deadline of a copy counts from its last progress. None when nothing is
    /// copied under this key, or the backend does not tell. Called with a lock held: must not wait.
    fn progress(&self, _key: &CallKey) -> Option<Progress> {
        None
    }

    /// Nobody waits for the call any more: a copy may end early. Called with a lock held: must not wait.
    fn cut_off(&self, _key: &CallKey) {}

    /// Room, as the backend itself measures it.
    fn capacity(self: Arc<Self>) -> BoxFuture<'static, Result<Capacity, Cause>>;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What keeps it from doing all that it should, for the operator (`/admin/drivers`); may name host paths. Trouble of
    /// single calls is not among it. Must not wait.
    fn problem(&self) -> Option<String> {
        None
    }

    /// Everything that exists at the backend, for `hearth fsck`. Read-only.
    fn inventory(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<(VolumeId, Truth)>, Cause>>;

    /// Replaces the fault rules of a simulated backend (`/admin/faults`). Real backends have none.
    fn set_faults(self: Arc<Self>, _rules: Vec<sim::FaultRule>) -> BoxFuture<'static, Result<(), FaultsRefused>> {
        Box::pin(std::future::ready(Err(FaultsRefused::NotSimulated)))
    }
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are done: it grows as long as the copy lives.
    pub done: u64,
    /// Bytes that there are to do, as far as is known now.
    pub total: u64,
}

impl Progress {
    /// In per cent, below 100: it is all done when the call has ended.
    pub fn percent(self) -> u64 {
        let percent = u128::from(self.done) * 100 / u128::from(self.total.max(1));
        u64::try_from(percent).map_or(99, |percent| percent.min(99))
    }
}

/// Said by drivers that neither give volumes to other backends nor take them.
fn no_moves() -> Cause {
    Cause::new(CauseKind::Other, "the backend does not move volumes to or from other backends")
}

/// Why fault rules were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultsRefused {
    /// No backend of this name, or none that is simulated.
    #[error("there is no such simulated backend")]
    NotSimulated,
    /// The rules make no sense.
    #[error("{0}")]
    Senseless(String),
    /// The process of the simulated backend does not answer.
    #[error("the simulated backend cannot be reached")]
    Unreachable,
}

/// A hypervisor that plugs volumes into running guests.
pub trait Hypervisor: Send + Sync + 'static {
    /// Carries out one call for `guest`.
    fn call(self: Arc<Self>, guest: Guest, call: Call) -> BoxFuture<'static, Outcome>;

    /// How far the call's copy is, as [`Backend::progress`].
    fn progress(&self, _key: &CallKey) -> Option<Progress> {
        None
    }

    /// The attachments whose devices are in the guest. Read-only.
    fn inventory(self: Arc<Self>, guest: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>>;

    /// What the guest has room for; none: any number of disks. Read-only.
    fn room(self: Arc<Self>, _guest: Guest) -> BoxFuture<'static, Result<Option<GuestRoom>, Cause>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What the guest does, at once and then whenever that changes, for as long as somebody listens. None: nobody can tell.
    /// Must be called on the runtime that shall carry it.
    fn follow(self: Arc<Self>, _guest: Guest) -> Option<mpsc::Receiver<GuestSeen>> {
        None
    }
}

/// Room at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// All of it, GiB.
    pub total_gib: f64,
    /// Free, GiB.
    pub free_gib: f64,
}

/// What a backend can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// `nbd`, `local`, `sim`: shown as storage protocol.
    pub storage_protocol: String,
    /// Clones share blocks with their source.
    pub reflink: bool,
    /// Volumes can be exported at all (false: no storage daemon on this machine).
    pub exports: bool,
    /// Volumes can grow while they are exported.
    pub online_extend: bool,
}
