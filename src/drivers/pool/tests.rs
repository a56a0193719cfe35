//! The pool's rules, under paused time in one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

mod moves;

use super::*;
use crate::domain::backend::{Answer, CallKey, Request, Truth};
use crate::domain::ids::{AttachmentId, OperationId, ServerId, VolumeId};
use crate::domain::operation::Step;
use crate::drivers::{Capabilities, Progress};

/// The calls of one volume and request that wait for the test, oldest first.
type Waiting = BTreeMap<(VolumeId, &'static str), Vec<oneshot::Sender<Outcome>>>;

/// A backend whose every call waits until the test says how it ends.
#[derive(Default)]
struct Manual {
    waiting: Mutex<Waiting>,
    started: AtomicUsize,
    /// What every copy says that it has copied.
    copied: AtomicU64,
    capacity_asked: AtomicUsize,
    /// Whom copies from other backends were given as their source.
    sources: Mutex<Vec<Arc<dyn Backend>>>,
}

impl Manual {
    fn end(&self, volume: u128, request: &'static str, outcome: Outcome) {
        let mut waiting = self.waiting.lock().unwrap();
        let senders = waiting.get_mut(&(volume_id(volume), request)).expect("the call has started");
        senders.remove(0).send(outcome).unwrap();
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }
}

impl Backend for Manual {
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.started.fetch_add(1, Ordering::SeqCst);
        let slot = (call.key.volume_id, call.request.name());
        self.waiting.lock().unwrap().entry(slot).or_default().push(sender);
        async move { receiver.await.expect("the test ends every call it waits for") }.boxed()
    }

    fn copy_from(self: Arc<Self>, call: Call, source: Arc<dyn Backend>) -> BoxFuture<'static, Outcome> {
        self.sources.lock().unwrap().push(source);
        Backend::call(self, call)
    }

    fn progress(&self, _: &CallKey) -> Option<Progress> {
        let done = self.copied.load(Ordering::SeqCst);
        (done > 0).then_some(Progress { done, total: 1_000 })
    }

    fn capacity(self: Arc<Self>) -> BoxFuture<'static, Result<Capacity, Cause>> {
        let asked = self.capacity_asked.fetch_add(1, Ordering::SeqCst);
        async move { Ok(Capacity { total_gib: 100.0, free_gib: 100.0 - asked as f64 }) }.boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { storage_protocol: "manual".into(), reflink: false, exports: false, online_extend: false }
    }

    fn inventory(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<(VolumeId, Truth)>, Cause>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

impl Hypervisor for Manual {
    fn call(self: Arc<Self>, _: Guest, call: Call) -> BoxFuture<'static, Outcome> {
        Backend::call(self, call)
    }

    fn progress(&self, key: &CallKey) -> Option<Progress> {
        Backend::progress(self, key)
    }

    fn inventory(self: Arc<Self>, _: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

/// A backend that panics, in the call or when it is polled.
struct Panicking;

impl Backend for Panicking {
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Outcome> {
        assert!(call.request != Request::Delete, "at the call");
        async { panic!("when polled") }.boxed()
    }
    fn capacity(self: Arc<Self>) -> BoxFuture<'static, Result<Capacity, Cause>> {
        async { panic!("capacity") }.boxed()
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities { storage_protocol: "panic".into(), reflink: false, exports: false, online_extend: false }
    }
    fn inventory(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<(VolumeId, Truth)>, Cause>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

const CREATE: Request = Request::Create { size_gib: 1 };
/// Virtual time that is longer than every deadline.
const PATIENCE: Duration = Duration::from_secs(86_400);
const BACKEND: &str = "host@manual#pool";
/// A second one, whose calls the tests do not end.
const OTHER: &str = "host@other#pool";

fn volume_id(number: u128) -> VolumeId {
    VolumeId(Uuid::from_u128(number))
}

fn call(volume: u128, request: Request) -> Call {
    let operation_id = OperationId(Uuid::from_u128(volume));
    Call { key: CallKey { volume_id: volume_id(volume), operation_id, epoch: 1, step: Step::Create }, request }
}

fn failed(kind: CauseKind) -> Outcome {
    Outcome::Failed { cause: Cause::new(kind, "test") }
}

fn kind(outcome: &Outcome) -> (&'static str, Option<CauseKind>) {
    match outcome {
        Outcome::Done { .. } => ("done", None),
        Outcome::Refused { cause } => ("refused", Some(cause.kind)),
        Outcome::Failed { cause } => ("failed", Some(cause.kind)),
        Outcome::Unknown { cause } => ("unknown", Some(cause.kind)),
    }
}

/// What a completion was told, in order of arrival.
#[derive(Debug, PartialEq)]
enum Told {
    Done(Outcome),
    Late(Outcome),
}

/// A pool over one manual backend, and what it told.
struct Bench {
    pool: Arc<DriverPool>,
    backend: Arc<Manual>,
    told: Rc<RefCell<mpsc::UnboundedReceiver<(&'static str, Told)>>>,
    teller: mpsc::UnboundedSender<(&'static str, Told)>,
}

impl Bench {
    fn new(options: PoolOptions) -> Self {
        let backend = Arc::new(Manual::default());
        let shared: Arc<dyn Backend> = backend.clone();
        let other: Arc<dyn Backend> = Arc::new(Manual::default());
        let backends = vec![(BACKEND.into(), shared, options), (OTHER.into(), other, options)];
        let hypervisors = vec![(HypervisorKind::Qmp, backend.clone() as Arc<dyn Hypervisor>, options)];
        let pool = DriverPool::start(&Placement::Here, backends, hypervisors);
        let (teller, told) = mpsc::unbounded_channel();
        Self { pool, backend, told: Rc::new(RefCell::new(told)), teller }
    }

    fn submit(&self, name: &'static str, call: Call) {
        self.submit_to(PoolTarget::Backend(BACKEND.into()), name, call);
    }

    fn submit_to(&self, target: PoolTarget, name: &'static str, call: Call) {
        let (done, late) = (self.teller.clone(), self.teller.clone());
        let completion = Completion {
            done: Box::new(move |outcome| done.send((name, Told::Done(outcome))).unwrap()),
            late: Box::new(move |outcome| late.send((name, Told::Late(outcome))).unwrap()),
        };
        self.pool.submit(target, call, completion);
    }

    /// The next thing told; virtual time passes while nothing happens.
    #[expect(clippy::await_holding_refcell_ref, reason = "one reader")]
    async fn told(&self) -> (&'static str, Told) {
        let mut told = self.told.borrow_mut();
        let next = tokio::time::timeout(PATIENCE, told.recv()).await;
        next.expect("something is told at the latest after every deadline").expect("the bench holds a sender")
    }

    async fn told_kind(&self) -> (&'static str, &'static str, Option<CauseKind>) {
        match self.told().await {
            (name, Told::Done(outcome)) => (name, kind(&outcome).0, kind(&outcome).1),
            (name, Told::Late(outcome)) => panic!("{name} was told a late {outcome:?}"),
        }
    }

    fn nothing_told(&self) -> bool {
        self.told.borrow_mut().try_recv().is_err()
    }

    fn view(&self) -> Value {
        self.pool.observe()["backends"][0].clone()
    }

    /// Lets every task run that can run now.
    async fn settle(&self) {
        for _ in 0..32 {
            tokio::task::yield_now().await;
        }
    }
}

fn options() -> PoolOptions {
    PoolOptions { queue: 2, workers: 2, max_outstanding: 3, ..PoolOptions::default() }
}

fn in_virtual_time<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn an_answer_in_time_is_told_once() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        bench.submit("a", call(1, CREATE));
        bench.settle().await;
        bench.backend.end(1, "create", Outcome::done());
        assert_eq!(bench.told().await, ("a", Told::Done(Outcome::done())));
        tokio::time::advance(Duration::from_secs(600)).await;
        bench.settle().await;
        assert!(bench.nothing_told());
        assert_eq!(bench.view()["counters"]["requests"]["create"]["done"], 1);
    });
}

#[test]
fn workers_and_queue_are_bounded_and_the_next_call_is_busy_at_once() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        for (name, volume) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
            bench.submit(name, call(volume, CREATE));
        }
        bench.submit("e", call(5, CREATE));
        assert_eq!(bench.told_kind().await, ("e", "failed", Some(CauseKind::NotStarted)));
        bench.settle().await;
        assert_eq!(bench.backend.started(), 2);
        assert_eq!(bench.view()["queue"]["depth"], 2);
        bench.backend.end(2, "create", Outcome::done());
        assert_eq!(bench.told_kind().await, ("b", "done", None));
        bench.settle().await;
        assert_eq!(bench.backend.started(), 3, "the freed worker takes the next call");
    });
}

fn copy_of(source: u128) -> Request {
    Request::CreateClonedVolume { source_volume_id: volume_id(source), size_gib: 1 }
}

#[test]
fn a_copy_may_take_any_time_while_it_makes_progress_and_not_longer() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        let begin = Instant::now();
        bench.submit("a", call(1, copy_of(9)));
        let stall = options().deadlines.copy_stall;
        for copied in 1..=5 {
            bench.backend.copied.store(copied, Ordering::SeqCst);
            tokio::time::sleep(stall).await;
            bench.settle().await;
            assert!(bench.nothing_told(), "it goes on");
        }
        assert_eq!(bench.told_kind().await, ("a", "unknown", Some(CauseKind::Deadline)));
        assert!(begin.elapsed() <= 6 * stall + Duration::from_secs(1), "{:?}", begin.elapsed());
        bench.backend.end(1, "create_cloned_volume", Outcome::done());
        assert_eq!(bench.told().await, ("a", Told::Late(Outcome::done())));
    });
}

#[test]
fn i7_copies_have_workers_of_their_own_and_no_more() {
    in_virtual_time(async {
        let bench = Bench::new(PoolOptions { queue: 8, ..options() });
        for (name, volume) in [("a", 1), ("b", 2), ("c", 3)] {
            bench.submit(name, call(volume, copy_of(9)));
        }
        bench.submit("d", call(4, CREATE));
        bench.settle().await;
        assert_eq!(bench.backend.started(), 3, "two copies, and the call behind the third");
        assert_eq!(bench.view()["copying"]["count"], 2);
        bench.backend.end(4, "create", Outcome::done());
        assert_eq!(bench.told_kind().await, ("d", "done", None));
        bench.backend.end(1, "create_cloned_volume", Outcome::done());
        assert_eq!(bench.told_kind().await, ("a", "done", None));
        bench.settle().await;
        assert_eq!((bench.backend.started(), bench.view()["queue"]["depth"].clone()), (4, 0.into()));
    });
}

#[test]
fn r101_a_call_past_its_deadline_is_unknown_frees_its_worker_and_returns_late() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        let begin = Instant::now();
        for (name, volume) in [("a", 1), ("b", 2), ("c", 3)] {
            bench.submit(name, call(volume, CREATE));
        }
        assert_eq!(bench.told_kind().await, ("a", "unknown", Some(CauseKind::Deadline)));
        assert_eq!(bench.told_kind().await, ("b", "unknown", Some(CauseKind::Deadline)));
        let waited = begin.elapsed();
        let deadline = options().deadlines.create;
        assert!(waited >= deadline && waited < deadline + Duration::from_millis(10), "{waited:?}");
        bench.settle().await;
        assert_eq!(bench.view()["overdue"]["count"], 2);
        assert_eq!(bench.backend.started(), 3, "the hung calls hold no worker");
        bench.backend.end(3, "create", Outcome::done());
        assert_eq!(bench.told_kind().await, ("c", "done", None));
        bench.backend.end(1, "create", failed(CauseKind::NoSpace));
        assert_eq!(bench.told().await, ("a", Told::Late(failed(CauseKind::NoSpace))));
        assert_eq!(bench.view()["overdue"]["count"], 1);
    });
}

#[test]
fn a_call_that_waited_beyond_its_deadline_failed_for_certain() {
    in_virtual_time(async {
        let mut options = PoolOptions { workers: 1, ..options() };
        options.deadlines.delete = Duration::from_secs(5);
        let bench = Bench::new(options);
        bench.submit("a", call(1, CREATE));
        bench.submit("b", call(2, Request::Delete));
        assert_eq!(bench.told_kind().await, ("b", "failed", Some(CauseKind::NotStarted)));
        bench.backend.end(1, "create", Outcome::done());
        assert_eq!(bench.told_kind().await, ("a", "done", None));
        bench.settle().await;
        assert_eq!(bench.backend.started(), 1, "what failed for certain never starts");
    });
}

#[test]
fn beyond_max_outstanding_every_call_is_unavailable_at_once() {
    in_virtual_time(async {
        let bench = Bench::new(PoolOptions { workers: 3, queue: 9, ..options() });
        for (name, volume) in [("a", 1), ("b", 2), ("c", 3)] {
            bench.submit(name, call(volume, CREATE));
        }
        for name in ["a", "b", "c"] {
            assert_eq!(bench.told_kind().await, (name, "unknown", Some(CauseKind::Deadline)));
        }
        bench.submit("d", call(4, CREATE));
        assert_eq!(bench.told_kind().await, ("d", "failed", Some(CauseKind::NotStarted)));
        bench.backend.end(1, "create", Outcome::done());
        assert_eq!(bench.told().await, ("a", Told::Late(Outcome::done())));
        bench.submit("e", call(5, CREATE));
        bench.settle().await;
        assert_eq!(bench.backend.started(), 4, "one came back, so one may go");
    });
}

#[test]
fn equal_keys_share_one_call_and_its_outcome() {
    in_virtual_time(async {
        let bench = Bench::new(PoolOptions { workers: 1, queue: 1, ..options() });
        bench.submit("running", call(1, CREATE));
        bench.submit("queued", call(2, CREATE));
        bench.submit("joins running", call(1, CREATE));
        // The queue is full, but turning this one away would call certain what runs.
        bench.submit("joins queued", call(2, CREATE));
        bench.settle().await;
        assert!(bench.nothing_told());
        assert_eq!(bench.backend.started(), 1);
        bench.backend.end(1, "create", Outcome::done());
        assert_eq!(bench.told_kind().await, ("running", "done", None));
        assert_eq!(bench.told_kind().await, ("joins running", "done", None));
        bench.settle().await;
        bench.backend.end(2, "create", failed(CauseKind::NoSpace));
        assert_eq!(bench.told_kind().await, ("queued", "failed", Some(CauseKind::NoSpace)));
        assert_eq!(bench.told_kind().await, ("joins queued", "failed", Some(CauseKind::NoSpace)));
        assert_eq!(bench.backend.started(), 2);
    });
}

#[test]
fn a_retry_joins_the_overdue_call_with_a_deadline_of_its_own() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        bench.submit("first", call(1, CREATE));
        assert_eq!(bench.told_kind().await.1, "unknown");
        bench.submit("second", call(1, CREATE));
        let begin = Instant::now();
        assert_eq!(bench.told_kind().await, ("second", "unknown", Some(CauseKind::Deadline)));
        assert!(begin.elapsed() >= options().deadlines.create);
        bench.submit("third", call(1, CREATE));
        bench.settle().await;
        assert_eq!(bench.backend.started(), 1, "never two calls under one key");
        bench.backend.end(1, "create", Outcome::done());
        assert_eq!(bench.told().await, ("first", Told::Late(Outcome::done())));
        assert_eq!(bench.told().await, ("second", Told::Late(Outcome::done())));
        assert_eq!(bench.told().await, ("third", Told::Done(Outcome::done())));
        tokio::time::advance(Duration::from_secs(600)).await;
        bench.settle().await;
        assert!(bench.nothing_told());
    });
}

#[test]
fn a_probe_has_its_own_call_and_is_busy_while_a_call_of_its_volume_is_overdue() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        let truth = |busy| Outcome::Done { answer: Answer::Truth { truth: Truth { busy, ..Truth::default() } } };
        bench.submit("create", call(1, CREATE));
        assert_eq!(bench.told_kind().await.1, "unknown");
        bench.submit("probe", call(1, Request::Probe));
        bench.submit("other", call(2, Request::Probe));
        bench.settle().await;
        bench.backend.end(1, "probe", truth(false));
        assert_eq!(bench.told().await, ("probe", Told::Done(truth(true))));
        bench.backend.end(2, "probe", truth(false));
        assert_eq!(bench.told().await, ("other", Told::Done(truth(false))));
        // The overdue call comes back while the next probe is under way: what the probe read may be from before.
        bench.submit("probe", call(1, Request::Probe));
        bench.settle().await;
        bench.backend.end(1, "create", Outcome::done());
        assert_eq!(bench.told().await, ("create", Told::Late(Outcome::done())));
        bench.backend.end(1, "probe", truth(false));
        assert_eq!(bench.told().await, ("probe", Told::Done(truth(true))));
        bench.submit("probe", call(1, Request::Probe));
        bench.settle().await;
        bench.backend.end(1, "probe", truth(false));
        assert_eq!(bench.told().await, ("probe", Told::Done(truth(false))));
    });
}

#[test]
fn a_hung_volume_is_asked_about_once_and_takes_no_more_places() {
    in_virtual_time(async {
        let bench = Bench::new(PoolOptions { max_outstanding: 2, ..options() });
        bench.submit("first", call(1, Request::Probe));
        assert_eq!(bench.told_kind().await, ("first", "unknown", Some(CauseKind::Deadline)));
        for _ in 0..10 {
            bench.submit("again", call(1, Request::Probe));
            assert_eq!(bench.told_kind().await, ("again", "failed", Some(CauseKind::NotStarted)));
        }
        assert_eq!(bench.view()["overdue"]["count"], 1);
        bench.submit("other", call(2, Request::Probe));
        bench.settle().await;
        bench.backend.end(2, "probe", Outcome::done());
        assert_eq!(bench.told().await, ("other", Told::Done(Outcome::done())));
        bench.backend.end(1, "probe", Outcome::done());
        assert_eq!(bench.told().await, ("first", Told::Late(Outcome::done())));
        bench.submit("at last", call(1, Request::Probe));
        bench.settle().await;
        bench.backend.end(1, "probe", Outcome::done());
        assert_eq!(bench.told().await, ("at last", Told::Done(Outcome::done())));
    });
}

#[test]
fn a_probe_under_way_is_not_shared_but_a_waiting_one_is() {
    in_virtual_time(async {
        let bench = Bench::new(PoolOptions { workers: 1, ..options() });
        bench.submit("a", call(1, Request::Probe));
        bench.settle().await;
        bench.submit("b", call(1, Request::Probe));
        bench.submit("c", call(1, Request::Probe));
        bench.backend.end(1, "probe", Outcome::done());
        assert_eq!(bench.told_kind().await.0, "a");
        bench.settle().await;
        assert_eq!(bench.backend.started(), 2);
        bench.backend.end(1, "probe", Outcome::done());
        assert_eq!(bench.told_kind().await.0, "b");
        assert_eq!(bench.told_kind().await.0, "c");
    });
}

#[test]
fn the_circuit_opens_lets_a_probe_through_when_half_open_and_closes() {
    in_virtual_time(async {
        let breaker = BreakerOptions { failures: 2, ..BreakerOptions::default() };
        let bench = Bench::new(PoolOptions { breaker, ..options() });
        for volume in [1, 2] {
            bench.submit("x", call(volume, CREATE));
            bench.settle().await;
            bench.backend.end(volume, "create", failed(CauseKind::Unavailable));
            assert_eq!(bench.told_kind().await.1, "failed");
        }
        bench.submit("turned away", call(3, CREATE));
        assert_eq!(bench.told_kind().await, ("turned away", "failed", Some(CauseKind::NotStarted)));
        assert_eq!(bench.backend.started(), 2);
        assert_eq!(bench.view()["circuit"]["state"], "open");
        tokio::time::advance(breaker.backoff).await;
        bench.submit("trial", call(3, CREATE));
        bench.submit("not the trial", call(4, CREATE));
        assert_eq!(bench.told_kind().await, ("not the trial", "failed", Some(CauseKind::NotStarted)));
        bench.submit("probe", call(5, Request::Probe));
        bench.settle().await;
        assert_eq!(bench.backend.started(), 4, "the trial and the probe");
        bench.backend.end(3, "create", Outcome::done());
        assert_eq!(bench.told_kind().await, ("trial", "done", None));
        assert_eq!(bench.view()["circuit"]["state"], "closed");
    });
}

#[test]
fn a_panicking_driver_costs_its_own_call_only() {
    in_virtual_time(async {
        let backend: Arc<dyn Backend> = Arc::new(Panicking);
        let bench = Bench::new(options());
        let pool = DriverPool::start(&Placement::Here, vec![(BACKEND.into(), backend, options())], Vec::new());
        let bench = Bench { pool, ..bench };
        for (volume, request) in [(1, CREATE), (2, Request::Delete), (3, CREATE)] {
            bench.submit("x", call(volume, request));
            assert_eq!(bench.told_kind().await, ("x", "unknown", Some(CauseKind::Other)));
        }
        assert_eq!(bench.view()["counters"]["panics"], 3);
        assert_eq!(bench.view()["running"]["count"], 0);
    });
}

#[test]
fn a_panicking_receiver_does_not_stop_the_pool() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        let completion = Completion { done: Box::new(|_| panic!("receiver")), late: Box::new(|_| ()) };
        bench.pool.submit(PoolTarget::Backend(BACKEND.into()), call(1, CREATE), completion);
        bench.submit("joined", call(1, CREATE));
        bench.settle().await;
        bench.backend.end(1, "create", Outcome::done());
        assert_eq!(bench.told_kind().await, ("joined", "done", None));
        bench.submit("after", call(2, CREATE));
        bench.settle().await;
        bench.backend.end(2, "create", Outcome::done());
        assert_eq!(bench.told_kind().await, ("after", "done", None));
    });
}

#[test]
fn unknown_targets_are_unavailable() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        bench.submit_to(PoolTarget::Backend("nobody".into()), "a", call(1, CREATE));
        assert_eq!(bench.told_kind().await, ("a", "failed", Some(CauseKind::Unavailable)));
        let guest = Guest {
            server_id: ServerId::from("s"),
            hypervisor: HypervisorKind::Sim,
            qmp_socket: None,
            check_uuid: false,
        };
        bench.submit_to(PoolTarget::Guest(guest), "b", call(1, CREATE));
        assert_eq!(bench.told_kind().await, ("b", "failed", Some(CauseKind::Unavailable)));
    });
}

#[test]
fn capacity_is_measured_at_the_start_after_changes_and_when_it_is_old() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        assert_eq!(bench.pool.backends(), [BACKEND, OTHER]);
        assert_eq!(bench.pool.capacity("nobody"), None);
        bench.settle().await;
        let free = || bench.pool.capacity(BACKEND).map(|capacity| capacity.free_gib);
        assert_eq!(free(), Some(100.0));
        bench.submit("a", call(1, CREATE));
        bench.settle().await;
        bench.backend.end(1, "create", Outcome::done());
        assert_eq!(bench.told_kind().await.1, "done");
        bench.settle().await;
        assert_eq!(free(), Some(99.0));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(free(), Some(99.0), "the asker does not wait");
        bench.settle().await;
        assert_eq!(free(), Some(98.0));
    });
}
