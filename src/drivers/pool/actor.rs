//! The driver actor: carries out what the book of calls says. It never waits in a handler; calls that are not answered at
//! once run as tasks of their own and come back as messages.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, SpawnHandle};
use futures_util::FutureExt;
use tokio::time::Instant;

use crate::domain::backend::{CallKey, Cause, CauseKind, Outcome, Request};
use crate::drivers::{Backend, Capacity, Hypervisor, Progress};
use crate::faults::{self, CrashPoint};

use super::lock;
use super::queue::{CallBook, JobId, Started, Tell};

/// A capacity older than this is measured again when somebody asks for it.
const CAPACITY_MAX_AGE: Duration = Duration::from_secs(30);

/// The storage backends by their names.
pub type Peers = BTreeMap<String, Arc<dyn Backend>>;

/// What the actor calls.
#[derive(Clone)]
pub enum Driver {
    /// A storage backend, and all there are: volumes move between them.
    Backend(Arc<dyn Backend>, Arc<Peers>),
    /// A hypervisor.
    Hypervisor(Arc<dyn Hypervisor>),
}

impl Driver {
    /// How far the call's copy is.
    pub fn progress(&self, key: &CallKey) -> Option<Progress> {
        match self {
            Self::Backend(backend, _) => backend.progress(key),
            Self::Hypervisor(hypervisor) => hypervisor.progress(key),
        }
    }

    async fn call(self, started: Started) -> Outcome {
        match (self, started.guest) {
            (Self::Backend(backend, peers), None) => match &started.call.request {
                Request::CopyFromBackend { source_backend, .. } => match peers.get(source_backend.as_str()) {
                    Some(source) => backend.copy_from(started.call, Arc::clone(source)).await,
                    None => {
                        let cause = Cause::new(CauseKind::Unavailable, "the volume's backend is not configured");
                        Outcome::Failed { cause }
                    }
                },
                _ => backend.call(started.call).await,
            },
            (Self::Hypervisor(hypervisor), Some(guest)) => hypervisor.call(guest, started.call).await,
            // The pool's front chooses the driver by the target, so that the two always agree.
            _ => {
                Outcome::Failed { cause: Cause::new(CauseKind::Other, "the call was sent to the wrong kind of driver") }
            }
        }
    }
}

/// The last measured room, readable without the actor.
#[derive(Default)]
pub struct CapacityCell(Mutex<CapacityState>);

#[derive(Default)]
struct CapacityState {
    value: Option<Capacity>,
    tried_at: Option<Instant>,
    measuring: bool,
}

impl CapacityCell {
    /// The value, and whether it should be measured again.
    pub fn read(&self, now: Instant) -> (Option<Capacity>, bool) {
        let state = lock(&self.0);
        let old = state.tried_at.is_none_or(|at| now.duration_since(at) >= CAPACITY_MAX_AGE);
        (state.value, old && !state.measuring)
    }

    /// True for exactly one caller until [`Self::put`]: a measurement that hangs is not followed by others.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut lock(&self.0).measuring, true)
    }

    fn put(&self, now: Instant, measured: Option<Capacity>) {
        let mut state = lock(&self.0);
        state.measuring = false;
        state.tried_at = Some(now);
        state.value = measured.or(state.value);
    }
}

/// Something may be ready to start.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Pump;

/// The room should be measured.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RefreshCapacity;

/// A call has come back.
#[derive(Message)]
#[rtype(result = "()")]
struct Returned {
    id: JobId,
    outcome: Outcome,
    panicked: bool,
    changes_capacity: bool,
}

/// The actor of one driver.
pub struct DriverActor {
    driver: Driver,
    book: Arc<Mutex<CallBook>>,
    capacity: Arc<CapacityCell>,
    timer: Option<(Instant, SpawnHandle)>,
}

impl DriverActor {
    /// An actor which has not started.
    pub fn new(driver: Driver, book: Arc<Mutex<CallBook>>, capacity: Arc<CapacityCell>) -> Self {
        Self { driver, book, capacity, timer: None }
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        while let Some(started) = self.start_next() {
            let id = started.id;
            let changes_capacity = started.call.request.changes_capacity();
            let driver = self.driver.clone();
            let mut call = Box::pin(async move {
                faults::pass(CrashPoint::DriverBefore);
                let caught = AssertUnwindSafe(driver.call(started)).catch_unwind().await;
                faults::pass(CrashPoint::DriverAfter);
                let panicked = caught.is_err();
                let outcome = caught.unwrap_or_else(|_| Outcome::Unknown {
                    cause: Cause::new(CauseKind::Other, "the driver failed in an unforeseen way"),
                });
                Returned { id, outcome, panicked, changes_capacity }
            });
            match call.as_mut().now_or_never() {
                Some(returned) => self.take_back(returned),
                None => {
                    let address = ctx.address();
                    actix::spawn(async move { address.do_send(call.await) });
                }
            }
        }
        self.arm(ctx);
    }

    fn take_back(&self, returned: Returned) {
        let done = matches!(returned.outcome, Outcome::Done { .. });
        let tells = lock(&self.book).returned(Instant::now(), returned.id, returned.outcome, returned.panicked);
        deliver(tells);
        if done && returned.changes_capacity {
            self.refresh_capacity();
        }
    }

    fn start_next(&self) -> Option<Started> {
        lock(&self.book).start_next(Instant::now())
    }

    /// One timer for the earliest deadline: a timer for each call would be polled at every message.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let due = lock(&self.book).next_due();
        if self.timer.map(|(at, _)| at) == due {
            return;
        }
        if let Some((_, handle)) = self.timer.take() {
            ctx.cancel_future(handle);
        }
        if let Some(due) = due {
            let wait = due.saturating_duration_since(Instant::now());
            let handle = ctx.run_later(wait, |actor, ctx| {
                actor.timer = None;
                actor.prolong();
                let tells = lock(&actor.book).expire_running(Instant::now());
                deliver(tells);
                actor.pump(ctx);
                let tells = lock(&actor.book).expire_waiting(Instant::now());
                deliver(tells);
                actor.arm(ctx);
            });
            self.timer = Some((due, handle));
        }
    }

    fn prolong(&self) {
        lock(&self.book).prolong(Instant::now(), |key| self.driver.progress(key));
    }

    fn refresh_capacity(&self) {
        let Driver::Backend(backend, _) = &self.driver else { return };
        if !self.capacity.begin() {
            return;
        }
        let backend = Arc::clone(backend);
        let capacity = Arc::clone(&self.capacity);
        actix::spawn(async move {
            let measured = AssertUnwindSafe(async { backend.capacity().await }).catch_unwind().await;
            if let Ok(Err(cause)) = &measured {
                tracing::warn!(kind = ?cause.kind, cause = cause.text, "the backend's capacity could not be measured");
            }
            capacity.put(Instant::now(), measured.ok().and_then(Result::ok));
        });
    }
}

impl Actor for DriverActor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.refresh_capacity();
    }
}

impl Handler<Pump> for DriverActor {
    type Result = ();

    fn handle(&mut self, _: Pump, ctx: &mut Self::Context) {
        self.pump(ctx);
    }
}

impl Handler<RefreshCapacity> for DriverActor {
    type Result = ();

    fn handle(&mut self, _: RefreshCapacity, _: &mut Self::Context) {
        self.refresh_capacity();
    }
}

impl Handler<Returned> for DriverActor {
    type Result = ();

    fn handle(&mut self, returned: Returned, ctx: &mut Self::Context) {
        self.take_back(returned);
        self.pump(ctx);
    }
}

/// A receiver that panics must not close the mailbox of the backend (design §3: a panic costs its own volume only).
fn deliver(tells: Vec<Tell>) {
    for tell in tells {
        if std::panic::catch_unwind(AssertUnwindSafe(|| tell.deliver())).is_err() {
            tracing::error!("a receiver of a driver call's outcome panicked");
        }
    }
}
