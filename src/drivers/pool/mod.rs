//! The pool of driver actors: bounded queue, workers, deadlines and a circuit breaker for each backend and each kind of
//! hypervisor (design §3.8).
//!
//! It decides *whether and when* a driver is called and tells how the call ended; it never judges what the outcome means
//! for a volume and never retries. Used by the operations through [`Caller`], and by the admin views through
//! [`DriverPool::observe`], which waits for no actor.
//!
//! One concept per file: `queue` is the pure book of the calls (who waits, runs, is overdue; no async, no clock of its
//! own), `breaker` the circuit, `actor` the actix actor which carries the book out, `counters` what observers see.

mod actor;
mod breaker;
mod counters;
mod metrics;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use futures_util::future::BoxFuture;

use crate::domain::backend::{Call, CallKey, Cause, CauseKind, Deadlines, Guest, Outcome};
use crate::domain::guest::{GuestRoom, GuestSeen};
use crate::domain::ids::{AttachmentId, OperationId};
use crate::domain::operation::Step;
use crate::domain::server::HypervisorKind;
use crate::domain::text::Text;
use crate::drivers::FaultsRefused;
use crate::drivers::sim::FaultRule;
use crate::runtime::Placement;
use crate::telemetry::Sample;

use super::{Backend, Capabilities, Capacity, Hypervisor, Progress};
use actor::{CapacityCell, Driver, DriverActor, Peers, Pump, RefreshCapacity};
pub use breaker::BreakerOptions;
use queue::{CallBook, Submitted};

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolTarget {
    /// A storage backend by its name `host@backend#pool`.
    Backend(Text),
    /// A guest, through its hypervisor.
    Guest(Guest),
}

/// How the end of a call is told. Neither may block: they run on the pool's thread, or, when the call is turned away at
/// once, inside [`Caller::submit`].
pub struct Completion {
    /// Called exactly once. A call waits in the queue for at most its deadline (then `Failed`: it never started) and runs
    /// for at most its deadline (then `Unknown`).
    pub done: Box<dyn FnOnce(Outcome) + Send>,
    /// Called when the call returns after its deadline.
    pub late: Box<dyn FnOnce(Outcome) + Send>,
}

/// Calls drivers. Implemented by the pool of driver actors.
pub trait Caller: Send + Sync + 'static {
    /// Queues `call`. A full queue or an open circuit ends it as `Failed` at once.
    fn submit(&self, target: PoolTarget, call: Call, completion: Completion);

    /// Nobody wants what the call copies any more ([`Backend::cut_off`]); how it ends is told as always.
    fn cut_off(&self, _backend: &str, _key: &CallKey) {}

    /// The attachments whose devices are in a guest ([`Hypervisor::inventory`]), beside the queue: it only looks.
    fn inventory(&self, guest: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>>;

    /// What a guest has room for ([`Hypervisor::room`]), beside the queue.
    fn room(&self, guest: Guest) -> BoxFuture<'static, Result<Option<GuestRoom>, Cause>>;

    /// What a guest does from now on ([`Hypervisor::follow`]).
    fn follow(&self, guest: Guest) -> Option<mpsc::Receiver<GuestSeen>>;
}

/// A shared caller.
pub type SharedCaller = Arc<dyn Caller>;

/// The bounds of one backend or hypervisor. Settings `[[backends]].{queue, workers, max_outstanding, deadlines}`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolOptions {
    /// Calls which may wait for a worker; one more is `Failed{NotStarted}`.
    pub queue: usize,
    /// Calls which run at the same time; as many copies run beside them.
    pub workers: usize,
    /// Calls past their deadline which may still be under way; beyond it every call is `Failed{NotStarted}`.
    pub max_outstanding: usize,
    /// How long each request may wait, and how long it may run.
    pub deadlines: Deadlines,
    /// When the circuit opens and for how long.
    pub breaker: BreakerOptions,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            queue: 1_024,
            workers: 16,
            max_outstanding: 256,
            deadlines: Deadlines::default(),
            breaker: BreakerOptions::default(),
        }
    }
}

/// One driver with its actor, its book of calls and what is shown of it.
struct Lane {
    name: String,
    address: actix::Addr<DriverActor>,
    driver: Driver,
    book: Arc<Mutex<CallBook>>,
    capacity: Arc<CapacityCell>,
}

impl Lane {
    fn start(placement: &Placement, shard: u64, name: String, driver: Driver, options: PoolOptions) -> Self {
        let book = Arc::new(Mutex::new(CallBook::new(options)));
        let capacity = Arc::new(CapacityCell::default());
        let actor = DriverActor::new(driver.clone(), Arc::clone(&book), Arc::clone(&capacity));
        let address = placement.start(shard, actor);
        Self { name, address, driver, book, capacity }
    }

    fn submit(&self, call: Call, guest: Option<Guest>, completion: Completion) {
        let submitted = lock(&self.book).submit(Instant::now(), call, guest, completion);
        match submitted {
            Submitted::Accepted => self.address.do_send(Pump),
            Submitted::TurnedAway(tell) => tell.deliver(),
        }
    }

    fn progress(&self, operation: OperationId) -> Option<Progress> {
        let key = lock(&self.book).copy_of(operation)?;
        self.driver.progress(&key)
    }

    fn observe(&self) -> Value {
        let mut view = lock(&self.book).observe(Instant::now());
        view["name"] = json!(self.name);
        view
    }
}

/// The pool: one actor for each backend and each kind of hypervisor.
pub struct DriverPool {
    backends: Vec<Lane>,
    /// The drivers themselves, in the same order: fault rules go past queue and deadlines.
    drivers: Vec<Arc<dyn Backend>>,
    backend_index: BTreeMap<String, usize>,
    hypervisors: Vec<(HypervisorKind, Lane)>,
}

impl DriverPool {
    /// Starts the actors. Under [`Placement::Here`] it must be called inside a `LocalSet`.
    pub fn start(
        placement: &Placement,
        backends: Vec<(String, Arc<dyn Backend>, PoolOptions)>,
        hypervisors: Vec<(HypervisorKind, Arc<dyn Hypervisor>, PoolOptions)>,
    ) -> Arc<Self> {
        let mut shards = 0_u64..;
        let mut next_shard = || shards.next().unwrap_or_default();
        let drivers = backends.iter().map(|(_, driver, _)| Arc::clone(driver)).collect();
        let peers: Peers = backends.iter().map(|(name, driver, _)| (name.clone(), Arc::clone(driver))).collect();
        let peers = Arc::new(peers);
        let backends: Vec<Lane> = backends
            .into_iter()
            .map(|(name, backend, options)| {
                Lane::start(placement, next_shard(), name, Driver::Backend(backend, Arc::clone(&peers)), options)
            })
            .collect();
        let hypervisors = hypervisors
            .into_iter()
            .map(|(kind, hypervisor, options)| {
                let name = kind.as_str().to_owned();
                (kind, Lane::start(placement, next_shard(), name, Driver::Hypervisor(hypervisor), options))
            })
            .collect();
        let backend_index = backends.iter().enumerate().map(|(index, lane)| (lane.name.clone(), index)).collect();
        Arc::new(Self { backends, drivers, backend_index, hypervisors })
    }

    /// The backends' names in configured order.
    pub fn backends(&self) -> Vec<String> {
        self.backends.iter().map(|lane| lane.name.clone()).collect()
    }

    /// Room at `backend` as last measured, for placement. Asking causes a new measurement when the last one is old, so
    /// the answer lags by at most one question.
    pub fn capacity(&self, backend: &str) -> Option<Capacity> {
        let lane = self.backend(backend)?;
        let (capacity, stale) = lane.capacity.read(Instant::now());
        if stale {
            lane.address.do_send(RefreshCapacity);
        }
        capacity
    }

    /// What `backend` can do.
    pub fn capabilities(&self, backend: &str) -> Option<Capabilities> {
        let index = self.backend_index.get(backend)?;
        self.drivers.get(*index).map(|driver| driver.capabilities())
    }

    /// How far an operation's copy is, wherever it runs; none when it copies nothing now, or its driver does not tell.
    pub fn progress(&self, operation: OperationId) -> Option<Progress> {
        self.lanes().find_map(|lane| lane.progress(operation))
    }

    /// Whether calls to `backend` are let through, as its last ones ended.
    pub fn is_answering(&self, backend: &str) -> bool {
        self.backend(backend).is_some_and(|lane| lock(&lane.book).is_answering(Instant::now()))
    }

    /// What `/admin/drivers` shows, without waiting for an actor.
    pub fn observe(&self) -> Value {
        let backends: Vec<Value> = self
            .backends
            .iter()
            .zip(&self.drivers)
            .map(|(lane, driver)| {
                let mut view = lane.observe();
                view["capacity"] = json!(lane.capacity.read(Instant::now()).0);
                view["problem"] = json!(driver.problem());
                view
            })
            .collect();
        let hypervisors: Vec<Value> = self.hypervisors.iter().map(|(_, lane)| lane.observe()).collect();
        json!({ "backends": backends, "hypervisors": hypervisors })
    }

    /// Replaces the fault rules of a simulated backend, by its full name or its name in the settings; without one, of every
    /// simulated backend there is.
    pub fn set_faults(
        &self,
        backend: Option<String>,
        rules: Vec<FaultRule>,
    ) -> BoxFuture<'static, Result<(), FaultsRefused>> {
        let is_meant = |lane: &Lane| {
            backend.as_ref().is_none_or(|name| lane.name == *name || lane.name.contains(&format!("@{name}#")))
        };
        let meant = self.backends.iter().zip(&self.drivers).filter(|(lane, _)| is_meant(lane));
        let asked = meant.map(|(_, driver)| Arc::clone(driver).set_faults(rules.clone())).collect::<Vec<_>>();
        Box::pin(async move {
            let mut answer = Err(FaultsRefused::NotSimulated);
            for asked in asked {
                match asked.await {
                    Ok(()) => answer = Ok(()),
                    Err(FaultsRefused::NotSimulated) => {}
                    refused => return refused,
                }
            }
            answer
        })
    }

    /// What `/metrics` shows, without waiting for an actor.
    pub fn samples(&self) -> Vec<Sample> {
        self.lanes().flat_map(|lane| metrics::samples(&lane.observe())).collect()
    }

    /// How long a call of `step` (or its probe) may run at the backend `host`; for a step of a guest, at the most patient
    /// hypervisor. None for a step without a call. It may wait for a worker for as long before that.
    pub fn deadline(&self, host: Option<&str>, step: &Step, is_probe: bool) -> Option<Duration> {
        let of = |lane: &Lane| lock(&lane.book).deadlines().of_step(step, is_probe);
        if step.is_at_guest() {
            self.hypervisors.iter().filter_map(|(_, lane)| of(lane)).max()
        } else {
            of(self.backend(host?)?)
        }
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.backends.iter().chain(self.hypervisors.iter().map(|(_, lane)| lane))
    }

    fn backend(&self, name: &str) -> Option<&Lane> {
        self.backend_index.get(name).and_then(|index| self.backends.get(*index))
    }

    fn hypervisor(&self, kind: HypervisorKind) -> Option<(Arc<dyn Hypervisor>, &Lane)> {
        let (_, lane) = self.hypervisors.iter().find(|(known, _)| *known == kind)?;
        match &lane.driver {
            Driver::Hypervisor(hypervisor) => Some((Arc::clone(hypervisor), lane)),
            Driver::Backend(..) => None,
        }
    }

    /// Asks a hypervisor something that changes nothing, for as long as a probe may take.
    fn look<T: Send + 'static>(
        &self,
        guest: Guest,
        ask: impl FnOnce(Arc<dyn Hypervisor>, Guest) -> BoxFuture<'static, Result<T, Cause>>,
    ) -> BoxFuture<'static, Result<T, Cause>> {
        let Some((hypervisor, lane)) = self.hypervisor(guest.hypervisor) else {
            return Box::pin(std::future::ready(Err(not_configured())));
        };
        let patience = lock(&lane.book).deadlines().probe;
        let asked = ask(hypervisor, guest);
        Box::pin(async move {
            let late = || Cause::new(CauseKind::Deadline, "the guest's hypervisor does not answer");
            tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(late()))
        })
    }
}

impl Caller for DriverPool {
    fn submit(&self, target: PoolTarget, call: Call, completion: Completion) {
        let (lane, guest) = match target {
            PoolTarget::Backend(name) => (self.backend(&name), None),
            PoolTarget::Guest(guest) => (self.hypervisor(guest.hypervisor).map(|(_, lane)| lane), Some(guest)),
        };
        match lane {
            Some(lane) => lane.submit(call, guest, completion),
            None => (completion.done)(Outcome::Failed { cause: not_configured() }),
        }
    }

    fn cut_off(&self, backend: &str, key: &CallKey) {
        if let Some(driver) = self.backend_index.get(backend).and_then(|index| self.drivers.get(*index)) {
            driver.cut_off(key);
        }
    }

    fn inventory(&self, guest: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>> {
        self.look(guest, Hypervisor::inventory)
    }

    fn room(&self, guest: Guest) -> BoxFuture<'static, Result<Option<GuestRoom>, Cause>> {
        self.look(guest, Hypervisor::room)
    }

    fn follow(&self, guest: Guest) -> Option<mpsc::Receiver<GuestSeen>> {
        let (hypervisor, _) = self.hypervisor(guest.hypervisor)?;
        hypervisor.follow(guest)
    }
}

fn not_configured() -> Cause {
    Cause::new(CauseKind::Unavailable, "the backend is not configured")
}

/// Books and cells hold no invariant across a panic: every change of them is one short critical section of plain code.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
