//! The pool in front of the simulated backend: a fault stays in its volume (promise I7), deadlines tell the truth.

use std::sync::Arc;
use std::time::Duration;

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Answer, Call, CauseKind, Outcome, Request, Truth};
use hearth::domain::server::HypervisorKind;
use hearth::drivers::pool::{Caller, Completion, DriverPool, PoolOptions, PoolTarget};
use hearth::drivers::sim::{Fault, FaultRule, Latency, LatencyTable, SimBackend, SimOptions, When};
use hearth::drivers::{Backend, Hypervisor};
use hearth::runtime::Placement;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::subject::{attachment, call, connection, export, export_name, guest, in_virtual_time, size, volume};

const BACKEND: &str = "host@sim#pool";
const CREATE: Request = Request::Create { size_gib: 1 };

struct Bench {
    pool: Arc<DriverPool>,
    sim: Arc<SimBackend>,
}

impl Bench {
    fn new(options: PoolOptions) -> Self {
        let sim = SimBackend::new(SimOptions::in_memory(2));
        let backend: Arc<dyn Backend> = sim.clone();
        let hypervisor: Arc<dyn Hypervisor> = sim.hypervisor();
        let pool = DriverPool::start(
            &Placement::Here,
            vec![(BACKEND.into(), backend, options)],
            vec![(HypervisorKind::Sim, hypervisor, options)],
        );
        Self { pool, sim }
    }

    /// Submits and gives the two ends of the completion.
    fn submit(&self, target: PoolTarget, call: Call) -> (oneshot::Receiver<Outcome>, oneshot::Receiver<Outcome>) {
        let (done, done_end) = oneshot::channel();
        let (late, late_end) = oneshot::channel();
        let completion = Completion {
            done: Box::new(move |outcome| drop(done.send(outcome))),
            late: Box::new(move |outcome| drop(late.send(outcome))),
        };
        self.pool.submit(target, call, completion);
        (done_end, late_end)
    }

    async fn ask(&self, call: Call) -> Outcome {
        self.submit(PoolTarget::Backend(BACKEND.into()), call).0.await.expect("every call is told its end")
    }
}

#[test]
fn i7_hung_volumes_do_not_starve_the_others() {
    in_virtual_time(async {
        let options = PoolOptions { workers: 4, ..PoolOptions::default() };
        let bench = Bench::new(options);
        let hung = 1..=6_u128;
        for number in hung.clone() {
            let rule = FaultRule::once("create", Fault::Hang { effect_first: false }).of(volume(number));
            bench.sim.faults().add(rule).unwrap();
        }
        let target = || PoolTarget::Backend(BACKEND.into());
        let mut ends: Vec<_> = hung.map(|n| bench.submit(target(), call(volume(n), n, CREATE))).collect();
        let begin = Instant::now();
        for number in 10..30 {
            assert_eq!(bench.ask(call(volume(number), number, CREATE)).await, size(1));
        }
        let waited = begin.elapsed();
        assert!(waited <= options.deadlines.create + Duration::from_secs(1), "{waited:?}");
        for (done, _) in &mut ends {
            let outcome = done.await.unwrap();
            assert!(matches!(outcome, Outcome::Unknown { cause } if cause.kind == CauseKind::Deadline));
        }
        assert_eq!(bench.pool.observe()["backends"][0]["overdue"]["count"], 6);
        bench.sim.faults().release(None);
        for (_, late) in ends {
            assert_eq!(late.await.unwrap(), size(1));
        }
        assert_eq!(bench.pool.observe()["backends"][0]["overdue"]["count"], 0);
    });
}

#[test]
fn guests_are_called_through_their_hypervisor() {
    in_virtual_time(async {
        let bench = Bench::new(PoolOptions::default());
        assert_eq!(bench.ask(call(volume(1), 1, CREATE)).await, size(1));
        let connection_info = connection(bench.ask(call(volume(1), 2, export(1, 1))).await);
        let plug = Request::Plug {
            attachment_id: attachment(1),
            connection_info: connection_info.into(),
            mode: AttachMode::ReadWrite,
        };
        let target = PoolTarget::Guest(guest("s1"));
        let outcome = bench.submit(target.clone(), call(volume(1), 3, plug)).0.await.unwrap();
        assert_eq!(outcome, Outcome::done());
        let probe = call(volume(1), 3, Request::ProbeGuest { attachment_id: attachment(1) });
        let outcome = bench.submit(target, probe).0.await.unwrap();
        let export = Some(export_name(1, 1));
        assert_eq!(outcome, Outcome::Done { answer: Answer::Plugged { plugged: true, export } });
        assert_eq!(bench.pool.observe()["hypervisors"][0]["counters"]["requests"]["plug"]["done"], 1);
    });
}

#[test]
fn r101_an_overdue_call_is_probed_busy_until_its_effect_is_there() {
    in_virtual_time(async {
        let bench = Bench::new(PoolOptions::default());
        let slow = Latency::Fixed { us: 90_000_000 };
        let mut table = LatencyTable::default();
        table.requests.insert("create".into(), slow);
        bench.sim.faults().set_latency(table);
        let (done, late) = bench.submit(PoolTarget::Backend(BACKEND.into()), call(volume(1), 1, CREATE));
        assert!(matches!(done.await.unwrap(), Outcome::Unknown { .. }));
        let truth = |exists, busy| {
            let truth = Truth { exists, size_gib: u32::from(exists), exports: vec![], busy, ..Truth::default() };
            Outcome::Done { answer: Answer::Truth { truth } }
        };
        assert_eq!(bench.ask(call(volume(1), 1, Request::Probe)).await, truth(false, true));
        assert_eq!(late.await.unwrap(), size(1));
        assert_eq!(bench.ask(call(volume(1), 1, Request::Probe)).await, truth(true, false));
    });
}

/// Every submitted call is told its end exactly once, and a call that is told `Failed` or `Refused` had no effect, in
/// runs with faults of every kind.
#[test]
fn every_call_is_told_once_and_certain_failures_have_no_effect() {
    for seed in 0..20 {
        in_virtual_time(async move {
            let options = PoolOptions { queue: 16, workers: 4, max_outstanding: 12, ..PoolOptions::default() };
            let sim = SimBackend::new(SimOptions {
                latency: LatencyTable::all(Latency::Exponential { mean_us: 5_000_000, max_us: 100_000_000 }),
                ..SimOptions::in_memory(seed)
            });
            let backend: Arc<dyn Backend> = sim.clone();
            let pool = DriverPool::start(&Placement::Here, vec![(BACKEND.into(), backend, options)], vec![]);
            let faults = [
                Fault::Hang { effect_first: false },
                Fault::AnswerLost,
                Fault::NothingDone,
                Fault::Fail { kind: CauseKind::Unavailable },
                Fault::EffectLater { after_us: 7_000_000, hidden: false },
                Fault::Panic,
            ];
            for fault in faults {
                let rule = FaultRule { request: None, ..FaultRule::on("create", fault) };
                sim.faults().add(rule.when(When::Probability { p: 0.05 })).unwrap();
            }
            let (tell, mut told) = mpsc::unbounded_channel();
            let count = 120_u128;
            for number in 0..count {
                let (done, late) = (tell.clone(), tell.clone());
                let completion = Completion {
                    done: Box::new(move |outcome| done.send((number, false, outcome)).unwrap()),
                    late: Box::new(move |outcome| late.send((number, true, outcome)).unwrap()),
                };
                pool.submit(PoolTarget::Backend(BACKEND.into()), call(volume(number), number, CREATE), completion);
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            drop(tell);
            tokio::time::sleep(Duration::from_secs(600)).await;
            sim.faults().release(None);
            tokio::time::sleep(Duration::from_secs(600)).await;
            let mut ends = vec![0; usize::try_from(count).unwrap()];
            while let Ok((number, late, outcome)) = told.try_recv() {
                ends[usize::try_from(number).unwrap()] += u32::from(!late);
                let exists = sim.truth().volume(volume(number)).exists;
                match outcome {
                    Outcome::Done { .. } => assert!(exists, "seed {seed}, volume {number}"),
                    Outcome::Failed { .. } | Outcome::Refused { .. } => {
                        assert!(!exists, "seed {seed}, volume {number}: {outcome:?}");
                    }
                    Outcome::Unknown { .. } => {}
                }
            }
            assert!(ends.iter().all(|told| *told == 1), "seed {seed}: {ends:?}");
            let view = pool.observe()["backends"][0].clone();
            for what in ["queue", "running", "overdue"] {
                let left = view[what].get("count").or_else(|| view[what].get("depth")).unwrap();
                assert_eq!(left, 0, "seed {seed}: {what}");
            }
        });
    }
}

#[test]
fn the_pool_runs_on_arbiters_too() {
    actix::System::new().block_on(async {
        let placement = Placement::arbiters(2);
        let sim = SimBackend::new(SimOptions::in_memory(1));
        let lanes =
            ["a", "b", "c"].map(|name| (name.to_owned(), sim.clone() as Arc<dyn Backend>, PoolOptions::default()));
        let pool = DriverPool::start(&placement, lanes.into(), vec![]);
        assert_eq!(pool.backends(), ["a", "b", "c"]);
        for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
            let (done, told) = oneshot::channel();
            let completion = Completion { done: Box::new(|outcome| drop(done.send(outcome))), late: Box::new(|_| ()) };
            pool.submit(PoolTarget::Backend(name.into()), call(volume(number), number, CREATE), completion);
            assert_eq!(told.await, Ok(size(1)));
        }
        let Placement::Arbiters(arbiters) = placement else { unreachable!() };
        assert!(arbiters.iter().all(actix::ArbiterHandle::stop));
    });
}
