//! The engine behind the simulated backend and hypervisor: repeated keys, calls under way, latency and faults around the
//! truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, ready};
use tokio::sync::watch;

use crate::domain::backend::{Call, CallKey, Cause, CauseKind, Guest, Outcome, Request, Truth};
use crate::domain::guest::{GuestSeen, GuestState};
use crate::domain::ids::{AttachmentId, ImageId, ServerId, SnapshotId, VolumeId};
use crate::drivers::Capacity;
use crate::drivers::image_calls::Service;
use crate::runtime::Randomness;

use super::carry_out::Meanwhile;
use super::faults::{Decision, Fault, FaultPlan};
use super::images::Asked;
use super::journal::JournalError;
use super::latency::LatencyTable;
use super::moves::Elsewhere;
use super::truth::SimTruth;

/// The room of a simulated backend unless told otherwise, GiB (1 PiB).
pub const DEFAULT_TOTAL_GIB: u64 = 1 << 20;

/// How a simulated backend is made.
#[derive(Clone)]
pub struct SimOptions {
    /// What is true already.
    pub truth: SimTruth,
    /// Source of latencies and chances.
    pub randomness: Randomness,
    /// How long calls take.
    pub latency: LatencyTable,
    /// Its room, GiB.
    pub total_gib: u64,
}

impl SimOptions {
    /// An empty backend in memory, without latency, repeatable from `seed`.
    pub fn in_memory(seed: u64) -> Self {
        Self::with_truth(SimTruth::in_memory(), seed)
    }

    /// A backend with this truth, without latency, repeatable from `seed`.
    pub fn with_truth(truth: SimTruth, seed: u64) -> Self {
        Self {
            truth,
            randomness: Randomness::from_seed(seed),
            latency: LatencyTable::default(),
            total_gib: DEFAULT_TOTAL_GIB,
        }
    }
}

type Slot = (CallKey, &'static str);
/// None: the call panicked or its runtime ended.
type Running = Shared<BoxFuture<'static, Option<Outcome>>>;

/// A call, with all that it needs.
pub struct Work {
    /// Whose; none: storage.
    pub guest: Option<Guest>,
    /// The call.
    pub call: Call,
    /// What comes from another backend, or goes there.
    pub elsewhere: Elsewhere,
}

/// The engine.
pub struct Engine {
    truth: SimTruth,
    faults: FaultPlan,
    total_gib: u64,
    calls: Mutex<Calls>,
    image_service: OnceLock<Service>,
    /// What guests do, as somebody outside has said.
    guests: watch::Sender<BTreeMap<ServerId, GuestSeen>>,
}

#[derive(Default)]
struct Calls {
    running: BTreeMap<Slot, Running>,
    busy: BTreeMap<VolumeId, usize>,
    /// Snapshots that volumes are being made from.
    read: BTreeMap<SnapshotId, usize>,
    /// Images that were given up: calls that are later have no effect.
    discarded: BTreeSet<ImageId>,
}

impl Engine {
    pub fn new(options: SimOptions) -> Arc<Self> {
        Arc::new(Self {
            truth: options.truth,
            faults: FaultPlan::new(options.randomness, options.latency),
            total_gib: options.total_gib,
            calls: Mutex::new(Calls::default()),
            image_service: OnceLock::new(),
            guests: watch::Sender::default(),
        })
    }

    pub fn truth(&self) -> &SimTruth {
        &self.truth
    }

    /// A guest does something by itself. One whose process ends loses its devices.
    pub(super) fn guest_does(&self, server_id: &ServerId, seen: GuestSeen) -> Result<(), JournalError> {
        if seen.state == GuestState::Gone {
            self.truth.end_guest(server_id)?;
        }
        self.guests.send_modify(|guests| {
            guests.insert(server_id.clone(), seen);
        });
        Ok(())
    }

    /// What guests do, now and from now on.
    pub(in crate::drivers) fn guests(&self) -> watch::Receiver<BTreeMap<ServerId, GuestSeen>> {
        self.guests.subscribe()
    }

    pub(super) fn use_images(&self, service: Service) {
        // A second service would leave calls under way with the first.
        let _ = self.image_service.set(service);
    }

    pub(super) fn image_service(&self) -> Option<&Service> {
        self.image_service.get()
    }

    pub(super) fn discard(&self, image_id: ImageId) {
        self.lock().discarded.insert(image_id);
    }

    pub(super) fn is_discarded(&self, image_id: ImageId) -> bool {
        self.lock().discarded.contains(&image_id)
    }

    pub fn faults(&self) -> &FaultPlan {
        &self.faults
    }

    /// Carries out a call: storage without a guest, hypervisor with one. It goes on to its end even when the future is
    /// dropped.
    pub fn call(
        self: &Arc<Self>,
        guest: Option<Guest>,
        call: Call,
        elsewhere: Elsewhere,
    ) -> BoxFuture<'static, Outcome> {
        let work = Work { guest, call, elsewhere };
        let call = &work.call;
        if call.request.is_read_only() {
            let decision = self.faults.decide(call);
            return Arc::clone(self).run(work, decision, None).boxed();
        }
        // One critical section: two callers with one key never both start it.
        let mut calls = self.lock();
        if let Some(outcome) = self.truth.remembered(call) {
            return ready(outcome).boxed();
        }
        let slot = (call.key.clone(), call.request.name());
        if let Some(running) = calls.running.get(&slot) {
            return answer_of(running.clone());
        }
        let decision = self.faults.decide(call);
        if decision.latency.is_zero() && decision.fault.is_none() && !call.request.needs_images() {
            let meanwhile = calls.meanwhile(call);
            return ready(self.truth.carry_out(&work, self.total_gib, meanwhile, &[])).boxed();
        }
        let under_way = calls.begin(self, call, work.guest.is_none());
        let engine = Arc::clone(self);
        let leave = Leave { engine: Arc::clone(self), slot: slot.clone() };
        let task = tokio::spawn(async move {
            let _leave = leave;
            engine.run(work, decision, under_way).await
        });
        let running = task.map(Result::ok).boxed().shared();
        calls.running.insert(slot, running.clone());
        answer_of(running)
    }

    /// Its room.
    pub fn capacity(&self) -> Capacity {
        let free = self.total_gib.saturating_sub(self.truth.used_gib());
        #[expect(clippy::cast_precision_loss, reason = "GiB are far below 2^52")]
        Capacity { total_gib: self.total_gib as f64, free_gib: free as f64 }
    }

    /// Everything at the backend.
    pub fn inventory(&self) -> Vec<(VolumeId, Truth)> {
        let busy: BTreeSet<VolumeId> = self.lock().busy.keys().copied().collect();
        self.truth.inventory(&busy)
    }

    /// The devices in a guest.
    pub fn guest_inventory(&self, server_id: &ServerId) -> Vec<AttachmentId> {
        self.truth.devices(server_id)
    }

    async fn run(self: Arc<Self>, work: Work, decision: Decision, busy: Option<UnderWay>) -> Outcome {
        pause(decision.latency).await;
        let Some(fault) = decision.fault else { return self.effect(&work).await };
        match fault {
            Fault::Delay { .. } => self.effect(&work).await,
            Fault::Hang { effect_first } => {
                let before = if effect_first { Some(self.effect(&work).await) } else { None };
                self.faults.hang(&work.call).await;
                match before {
                    Some(outcome) => outcome,
                    None => self.effect(&work).await,
                }
            }
            Fault::Fail { kind } => Outcome::Failed { cause: injected(kind) },
            Fault::Refuse { kind } => Outcome::Refused { cause: injected(kind) },
            Fault::AnswerLost => {
                self.effect(&work).await;
                unknown()
            }
            Fault::NothingDone => unknown(),
            Fault::EffectLater { after_us, hidden } => {
                let busy = busy.filter(|_| !hidden);
                tokio::spawn(async move {
                    let _busy = busy;
                    pause(Duration::from_micros(after_us)).await;
                    // A retry under the same key may have been carried out meanwhile: one key, one effect.
                    if self.truth.remembered(&work.call).is_none() {
                        self.effect(&work).await;
                    }
                });
                unknown()
            }
            Fault::Twice { after_us } => {
                let outcome = self.effect(&work).await;
                tokio::spawn(async move {
                    pause(Duration::from_micros(after_us)).await;
                    self.effect(&work).await;
                });
                outcome
            }
            #[expect(clippy::panic, reason = "the fault is a panicking driver")]
            Fault::Panic => panic!("injected fault"),
        }
    }

    async fn effect(&self, work: &Work) -> Outcome {
        let marks = match self.ask_images(&work.call).await {
            Some(Asked::Ended(outcome)) => return outcome,
            Some(Asked::Holds(marks)) => marks,
            None => Vec::new(),
        };
        let meanwhile = self.lock().meanwhile(&work.call);
        self.truth.carry_out(work, self.total_gib, meanwhile, &marks)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Frees the slot of a running call however it ends, also by a panic.
struct Leave {
    engine: Arc<Engine>,
    slot: Slot,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let left = self.engine.lock().running.remove(&self.slot);
        // Dropped outside the lock: the future's own end may take it again.
        drop(left);
    }
}

/// Makes the volume `busy`, and the snapshot one that is read, while a storage call is under way or its effect is still to come.
struct UnderWay {
    engine: Arc<Engine>,
    volume_id: VolumeId,
    reads: Option<SnapshotId>,
}

impl Calls {
    /// Guest calls have no effect on what the storage backend knows.
    fn begin(&mut self, engine: &Arc<Engine>, call: &Call, is_storage: bool) -> Option<UnderWay> {
        if !is_storage {
            return None;
        }
        let volume_id = call.key.volume_id;
        *self.busy.entry(volume_id).or_default() += 1;
        let reads = match &call.request {
            Request::CreateVolumeFromSnapshot { snapshot_id, .. } => Some(*snapshot_id),
            _ => None,
        };
        if let Some(snapshot_id) = reads {
            *self.read.entry(snapshot_id).or_default() += 1;
        }
        Some(UnderWay { engine: Arc::clone(engine), volume_id, reads })
    }

    fn meanwhile(&self, call: &Call) -> Meanwhile {
        let snapshot_is_read = match &call.request {
            Request::DeleteSnapshot { snapshot_id } | Request::DisownSnapshot { snapshot_id } => {
                self.read.contains_key(snapshot_id)
            }
            _ => false,
        };
        Meanwhile { busy: self.busy.contains_key(&call.key.volume_id), snapshot_is_read }
    }
}

/// One less of `key`.
fn forget_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut calls = self.engine.lock();
        forget_one(&mut calls.busy, &self.volume_id);
        if let Some(snapshot_id) = &self.reads {
            forget_one(&mut calls.read, snapshot_id);
        }
    }
}

fn answer_of(running: Running) -> BoxFuture<'static, Outcome> {
    #[expect(clippy::expect_used, reason = "a panicking driver is passed on to whoever waits for it")]
    running.map(|outcome| outcome.expect("the simulated call has not been interrupted")).boxed()
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

fn injected(kind: CauseKind) -> Cause {
    Cause::new(kind, "the simulated backend was told to fail")
}

fn unknown() -> Outcome {
    Outcome::Unknown { cause: Cause::new(CauseKind::Other, "the simulated backend lost the answer") }
}
