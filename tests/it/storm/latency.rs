//! What is measured: queueing in an open loop, rounds and requests counted, overlaps noticed.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hearth::storm::client::Waits;
use hearth::storm::{Cycle, DRAIN, Limit, Pace, Plan, Report, Service, Site, Step, Unit};

use super::bare;

const STALL: Duration = Duration::from_millis(600);

fn plan(site: Site, cycle: Cycle) -> Plan {
    Plan {
        site,
        cycle,
        units: Vec::new(),
        clients: 1,
        threads: 1,
        pace: Pace::Closed,
        limit: Limit::Cycles(30),
        warmup: Duration::ZERO,
        drain: DRAIN,
        waits: Waits::default(),
    }
}

fn run(plan: &Plan) -> Report {
    hearth::storm::run(plan, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

fn get(name: &str, path: &str) -> Step {
    Step::new(name, "GET", path, &[200]).at(Service::Root)
}

/// What a stalled server does before it answers.
fn wait_through_the_stall() {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(STALL);
}

/// A server whose first answer takes [`STALL`] and whose others come at once.
fn stalling() -> Site {
    let has_stalled = AtomicBool::new(false);
    bare::serve(move |_| {
        if !has_stalled.swap(true, Ordering::SeqCst) {
            wait_through_the_stall();
        }
        (200, String::new())
    })
}

#[test]
fn an_open_loop_counts_the_wait_of_those_that_were_due_during_a_stall_and_a_closed_loop_does_not() {
    let cycle = Cycle::new("stall", vec![get("get", "/")]);
    let closed = run(&plan(stalling(), cycle.clone()));
    // 30 rounds are due within 300 ms: all of them during the stall
    let open = Plan { pace: Pace::Open { per_second: 100.0 }, ..plan(stalling(), cycle) };
    let open = run(&open);

    assert_eq!((closed.cycles, open.cycles, open.rate), (30, 30, Some(100.0)));
    let stall = u64::try_from(STALL.as_micros()).unwrap();
    assert!(closed.latency_us.max >= stall && open.latency_us.max >= stall);
    assert!(closed.latency_us.p90 < stall / 4, "one of 30 has waited: {:?}", closed.latency_us);
    // the last one was due after 290 ms and waited for the rest of the stall
    assert!(open.latency_us.p50 > stall / 2, "all have waited: {:?}", open.latency_us);
    assert!(open.cycle_latency_us.p50 >= open.steps[0].latency_us.p50);
    assert!(open.seconds < 10.0 && open.unstarted == 0);
}

#[test]
fn rounds_that_were_due_and_never_begun_are_told() {
    let plan = Plan {
        pace: Pace::Open { per_second: 100.0 },
        limit: Limit::Duration(STALL / 2),
        drain: Duration::ZERO,
        ..plan(stalling(), Cycle::new("stall", vec![get("get", "/")]))
    };
    let report = run(&plan);
    assert_eq!((report.cycles, report.unstarted), (1, 29));
    assert!(report.to_string().contains("29 rounds that were due were never begun"), "{report}");
}

#[test]
fn an_open_loop_keeps_its_rate_and_its_end() {
    let site = bare::serve(|_| (200, String::new()));
    let plan = Plan {
        pace: Pace::Open { per_second: 20.0 },
        limit: Limit::Duration(Duration::from_secs(1)),
        ..plan(site, Cycle::new("paced", vec![get("get", "/")]))
    };
    let report = run(&plan);
    assert_eq!((report.cycles, report.unstarted), (20, 0));
    assert!((0.9..5.0).contains(&report.seconds), "{}", report.seconds);
    assert_eq!(report.over_time.iter().map(|second| second.requests).sum::<u64>(), 20);
}

#[test]
fn a_step_that_waits_counts_its_looks_and_a_failed_round_undoes_what_it_did() {
    let looks = AtomicU64::new(0);
    let site = bare::serve(move |request| match request.split(' ').nth(1).unwrap() {
        "/make" => (201, r#"{"thing":{"id":"t-1"}}"#.to_owned()),
        "/thing/t-1" => {
            let ready = (looks.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(3);
            (200, format!(r#"{{"thing":{{"status":"{}"}}}}"#, if ready { "ready" } else { "making" }))
        }
        "/break" => (500, "no".to_owned()),
        "/remove/t-1" => (204, String::new()),
        other => panic!("{other}"),
    });
    let steps = vec![
        Step::new("make", "POST", "/make", &[201]).at(Service::Root).capture("thing", "thing.id"),
        Step::wait("ready", "/thing/{thing}", "thing.status", "ready").at(Service::Root),
        get("break", "/break"),
        get("never", "/never"),
        Step::new("remove", "DELETE", "/remove/{thing}", &[204]).at(Service::Root).undoes("make"),
    ];
    let report = run(&Plan { limit: Limit::Cycles(2), ..plan(site, Cycle::new("c", steps)) });
    let counts: Vec<_> = report.steps.iter().map(|step| (step.requests, step.answered, step.failed)).collect();
    assert_eq!(counts, [(2, 2, 0), (6, 2, 0), (2, 0, 2), (0, 0, 0), (2, 2, 0)]);
    assert_eq!((report.requests, report.cycles, report.cycles_failed), (12, 0, 2));
    assert_eq!(report.steps[2].outcomes["500"], 2);
    assert_eq!(report.failures[0], "GET /break: 500 no");
    assert!(!report.is_clean());
}

#[test]
fn two_holders_at_once_are_an_overlap() {
    let both = Barrier::new(2);
    let site = bare::serve(move |request| {
        // both are told that they have it before either gives it back
        if request.contains("/hold") {
            both.wait();
        }
        (200, String::new())
    });
    let cycle = Cycle {
        exclusive: Some(("take".to_owned(), "give".to_owned())),
        ..Cycle::new("exclusive", vec![get("take", "/take"), get("hold", "/hold"), get("give", "/give")])
    };
    let units = vec![Unit::from([("volume".to_owned(), "v".to_owned())])];
    let report = run(&Plan { clients: 2, limit: Limit::Cycles(2), units, ..plan(site, cycle) });
    assert_eq!((report.cycles, report.overlaps, report.volumes), (2, 1, 1));
    assert!(!report.is_clean());
}

#[test]
fn a_request_that_is_never_answered_ends_by_its_timeout() {
    let site = bare::serve(|_| {
        wait_through_the_stall();
        (200, String::new())
    });
    let waits = Waits { timeout: Duration::from_millis(50), ..Waits::default() };
    let cycle = Cycle::new("silent", vec![get("get", "/")]);
    let report = run(&Plan { waits, limit: Limit::Cycles(2), ..plan(site, cycle) });
    assert_eq!(report.steps[0].outcomes["timeout"], 2);
    assert_eq!(report.cycles_failed, 2);
}
