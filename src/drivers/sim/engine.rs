//! The engine behind the simulated backend and hypervisor: repeated keys, calls under way, latency and faults around the
//! truth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, ready};

use crate::domain::backend::{Call, CallKey, Cause, CauseKind, Guest, Outcome, Request, Truth};
use crate::domain::ids::{AttachmentId, ServerId, SnapshotId, VolumeId};
use crate::drivers::Capacity;
use crate::runtime::Randomness;

use super::carry_out::Meanwhile;
use super::faults::{Decision, Fault, FaultPlan};
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
}

#[derive(Default)]
struct Calls {
    running: BTreeMap<Slot, Running>,
    busy: BTreeMap<VolumeId, usize>,
    /// Snapshots that volumes are being made from.
    read: BTreeMap<SnapshotId, usize>,
}

impl Engine {
    pub fn new(options: SimOptions) -> Arc<Self> {
        Arc::new(Self {
            truth: options.truth,
            faults: FaultPlan::new(options.randomness, options.latency),
            total_gib: options.total_gib,
            calls: Mutex::new(Calls::default()),
        })
    }

    pub fn truth(&self) -> &SimTruth {
        &self.truth
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
        if decision.latency.is_zero() && decision.fault.is_none() {
            let meanwhile = calls.meanwhile(call);
            return ready(self.truth.carry_out(&work, self.total_gib, meanwhile)).boxed();
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
        let Some(fault) = decision.fault else { return self.effect(&work) };
        match fault {
            Fault::Delay { .. } => self.effect(&work),
            Fault::Hang { effect_first } => {
                let before = effect_first.then(|| self.effect(&work));
                self.faults.hang(&work.call).await;
                before.unwrap_or_else(|| self.effect(&work))
            }
            Fault::Fail { kind } => Outcome::Failed { cause: injected(kind) },
            Fault::Refuse { kind } => Outcome::Refused { cause: injected(kind) },
            Fault::AnswerLost => {
                self.effect(&work);
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
                        self.effect(&work);
                    }
                });
                unknown()
            }
            Fault::Twice { after_us } => {
                let outcome = self.effect(&work);
                tokio::spawn(async move {
                    pause(Duration::from_micros(after_us)).await;
                    self.effect(&work);
                });
                outcome
            }
            #[expect(clippy::panic, reason = "the fault is a panicking driver")]
            Fault::Panic => panic!("injected fault"),
        }
    }

    fn effect(&self, work: &Work) -> Outcome {
        let meanwhile = self.lock().meanwhile(&work.call);
        self.truth.carry_out(work, self.total_gib, meanwhile)
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
