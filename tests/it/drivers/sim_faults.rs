//! Each kind of fault is observable, in virtual time, and repeats with the seed.

use std::sync::Arc;
use std::time::Duration;

use hearth::domain::backend::{Answer, Call, CauseKind, Outcome, Request, Truth};
use hearth::drivers::Backend;
use hearth::drivers::sim::{
    Fault, FaultError, FaultRule, HungCall, Latency, LatencyTable, SimBackend, SimOptions, When,
};
use tokio::time::Instant;

use super::subject::{
    assert_refused, call, connection, export, export_name, in_virtual_time, size, snapshot, unexport, volume,
};

const CREATE: Request = Request::Create { size_gib: 1 };
const SECOND_US: u64 = 1_000_000;

fn take(number: u128) -> Request {
    Request::CreateSnapshot { snapshot_id: snapshot(number) }
}

fn backend() -> Arc<SimBackend> {
    SimBackend::new(SimOptions::in_memory(11))
}

fn with(rule: FaultRule) -> Arc<SimBackend> {
    let backend = backend();
    backend.faults().set(vec![rule]).expect("the rule makes sense");
    backend
}

async fn ask(backend: &Arc<SimBackend>, call: Call) -> Outcome {
    Arc::clone(backend).call(call).await
}

async fn probe(backend: &Arc<SimBackend>, number: u128) -> Truth {
    match ask(backend, call(volume(number), 900, Request::Probe)).await {
        Outcome::Done { answer: Answer::Truth { truth } } => truth,
        other => panic!("{other:?}"),
    }
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { .. })
}

/// Lets the tasks that are ready run, without time passing.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_delay_adds_to_the_latency_and_to_other_faults() {
    in_virtual_time(async {
        let backend = backend();
        let mut latency = LatencyTable::all(Latency::Fixed { us: SECOND_US });
        latency.requests.insert("delete".into(), Latency::Fixed { us: 5 * SECOND_US });
        backend.faults().set_latency(latency);
        let delay = Fault::Delay { latency: Latency::Fixed { us: 2 * SECOND_US } };
        backend.faults().add(FaultRule::once("create", delay)).unwrap();
        backend.faults().add(FaultRule::once("create", Fault::Fail { kind: CauseKind::Busy })).unwrap();
        let begin = Instant::now();
        let outcome = ask(&backend, call(volume(1), 1, CREATE)).await;
        assert!(matches!(outcome, Outcome::Failed { cause } if cause.kind == CauseKind::Busy));
        assert_eq!(begin.elapsed(), Duration::from_secs(3));
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1), "a failed key is carried out anew");
        assert_eq!(begin.elapsed(), Duration::from_secs(4));
        assert_eq!(ask(&backend, call(volume(1), 2, Request::Delete)).await, Outcome::done());
        assert_eq!(begin.elapsed(), Duration::from_secs(9));
    });
}

#[test]
fn a_hanging_call_has_its_effect_when_it_is_released() {
    in_virtual_time(async {
        let backend = with(FaultRule::once("create", Fault::Hang { effect_first: false }));
        let hanging = tokio::spawn(Arc::clone(&backend).call(call(volume(1), 1, CREATE)));
        settle().await;
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert!(!hanging.is_finished());
        assert_eq!(backend.faults().hung(), [HungCall { request: "create".into(), volume_id: volume(1) }]);
        assert_eq!(probe(&backend, 1).await, Truth { busy: true, ..Truth::default() });
        let joined = tokio::spawn(Arc::clone(&backend).call(call(volume(1), 1, CREATE)));
        settle().await;
        assert!(!joined.is_finished(), "an equal key waits for the first");
        assert_eq!(backend.faults().release(Some(volume(2))), 0);
        assert_eq!(backend.faults().release(Some(volume(1))), 1);
        assert_eq!(hanging.await.unwrap(), size(1));
        assert_eq!(joined.await.unwrap(), size(1));
        let exists = Truth { exists: true, size_gib: 1, ..Truth::default() };
        assert_eq!(probe(&backend, 1).await, exists);
    });
}

#[test]
fn a_call_can_hang_after_its_effect() {
    in_virtual_time(async {
        let backend = with(FaultRule::once("create", Fault::Hang { effect_first: true }));
        let hanging = tokio::spawn(Arc::clone(&backend).call(call(volume(1), 1, CREATE)));
        settle().await;
        assert_eq!(
            probe(&backend, 1).await,
            Truth { exists: true, size_gib: 1, exports: vec![], busy: true, ..Truth::default() }
        );
        assert_eq!(backend.faults().release(None), 1);
        assert_eq!(hanging.await.unwrap(), size(1));
        assert!(!probe(&backend, 1).await.busy);
    });
}

#[test]
fn a_call_whose_caller_is_gone_goes_on() {
    in_virtual_time(async {
        let backend = backend();
        backend.faults().set_latency(LatencyTable::all(Latency::Fixed { us: SECOND_US }));
        let call_ = Arc::clone(&backend).call(call(volume(1), 1, CREATE));
        drop(call_);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(backend.truth().volume(volume(1)).exists);
    });
}

#[test]
fn failed_and_refused_have_no_effect() {
    in_virtual_time(async {
        let backend = with(FaultRule::once("create", Fault::Fail { kind: CauseKind::Unavailable }));
        backend.faults().add(FaultRule::once("create", Fault::Refuse { kind: CauseKind::NoSpace })).unwrap();
        let first = ask(&backend, call(volume(1), 1, CREATE)).await;
        assert!(matches!(first, Outcome::Failed { cause } if cause.kind == CauseKind::Unavailable));
        let second = ask(&backend, call(volume(1), 1, CREATE)).await;
        assert!(matches!(second, Outcome::Refused { cause } if cause.kind == CauseKind::NoSpace));
        assert_eq!(probe(&backend, 1).await, Truth::default());
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
    });
}

#[test]
fn a_lost_answer_is_unknown_and_done_while_nothing_done_is_unknown_and_not() {
    in_virtual_time(async {
        let backend = with(FaultRule::once("create", Fault::AnswerLost).of(volume(1)));
        backend.faults().add(FaultRule::once("create", Fault::NothingDone).of(volume(2))).unwrap();
        for (number, exists) in [(1, true), (2, false)] {
            assert!(is_unknown(&ask(&backend, call(volume(number), number, CREATE)).await));
            let truth = probe(&backend, number).await;
            assert_eq!((truth.exists, truth.busy), (exists, false));
            assert_eq!(ask(&backend, call(volume(number), number, CREATE)).await, size(1));
        }
    });
}

#[test]
fn a_later_effect_is_busy_until_it_is_there_unless_it_is_hidden() {
    in_virtual_time(async {
        for hidden in [false, true] {
            let backend = with(FaultRule::once("create", Fault::EffectLater { after_us: 5 * SECOND_US, hidden }));
            assert!(is_unknown(&ask(&backend, call(volume(1), 1, CREATE)).await));
            assert_eq!(probe(&backend, 1).await, Truth { busy: !hidden, ..Truth::default() });
            tokio::time::sleep(Duration::from_secs(6)).await;
            assert_eq!(
                probe(&backend, 1).await,
                Truth { exists: true, size_gib: 1, exports: vec![], ..Truth::default() }
            );
        }
    });
}

#[test]
fn a_later_effect_does_not_repeat_what_a_retry_has_done() {
    in_virtual_time(async {
        let fault = Fault::EffectLater { after_us: 5 * SECOND_US, hidden: true };
        let backend = with(FaultRule::once("create", fault));
        assert!(is_unknown(&ask(&backend, call(volume(1), 1, CREATE)).await));
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
        assert_eq!(ask(&backend, call(volume(1), 2, Request::Delete)).await, Outcome::done());
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(!backend.truth().volume(volume(1)).exists);
    });
}

#[test]
fn r61_a_duplicated_create_does_not_bring_a_deleted_volume_back() {
    in_virtual_time(async {
        let backend = with(FaultRule::once("create", Fault::Twice { after_us: 5 * SECOND_US }));
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
        assert_eq!(ask(&backend, call(volume(1), 2, Request::Delete)).await, Outcome::done());
        assert!(!backend.truth().volume(volume(1)).exists);
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(!backend.truth().volume(volume(1)).exists);
    });
}

#[test]
fn r38_a_duplicated_export_does_not_come_back_after_its_fence() {
    in_virtual_time(async {
        let backend = with(FaultRule::once("export", Fault::Twice { after_us: 5 * SECOND_US }));
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
        connection(ask(&backend, call(volume(1), 2, export(1, 1))).await);
        assert_eq!(ask(&backend, call(volume(1), 3, unexport(1, 1))).await, Outcome::done());
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(backend.truth().volume(volume(1)).exports.is_empty());
        assert_eq!(backend.truth().write(&export_name(1, 1), "late").unwrap().reached, None);
        assert_eq!(backend.truth().writes_refused(), 1);
    });
}

#[test]
fn a_duplicated_snapshot_does_not_come_back_after_its_deletion() {
    in_virtual_time(async {
        let backend = with(FaultRule::once("create_snapshot", Fault::Twice { after_us: 5 * SECOND_US }));
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
        assert_eq!(ask(&backend, call(volume(1), 2, take(1))).await, Outcome::done());
        let remove = Request::DeleteSnapshot { snapshot_id: snapshot(1) };
        assert_eq!(ask(&backend, call(volume(1), 3, remove)).await, Outcome::done());
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(backend.truth().volume(volume(1)).snapshots, []);
        assert_eq!(backend.truth().snapshot_markers(volume(1), snapshot(1)), None);
    });
}

#[test]
fn a_snapshot_is_not_deleted_while_a_volume_is_being_made_from_it() {
    in_virtual_time(async {
        let fault = Fault::EffectLater { after_us: 5 * SECOND_US, hidden: false };
        let backend = with(FaultRule::once("create_volume_from_snapshot", fault));
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
        for (operation, number) in [(2, 1), (3, 2)] {
            assert_eq!(ask(&backend, call(volume(1), operation, take(number))).await, Outcome::done());
        }
        let make =
            Request::CreateVolumeFromSnapshot { source_volume_id: volume(1), snapshot_id: snapshot(1), size_gib: 1 };
        assert!(is_unknown(&ask(&backend, call(volume(2), 4, make)).await));
        let remove = |number| Request::DeleteSnapshot { snapshot_id: snapshot(number) };
        assert_refused(&ask(&backend, call(volume(1), 5, remove(1))).await, CauseKind::Busy);
        assert_eq!(ask(&backend, call(volume(1), 6, remove(2))).await, Outcome::done(), "nobody reads the other one");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(backend.truth().volume(volume(2)).exists);
        assert_eq!(ask(&backend, call(volume(1), 5, remove(1))).await, Outcome::done(), "a refusal is not remembered");
    });
}

#[test]
fn a_snapshot_holds_what_was_written_when_it_was_taken_not_when_it_was_asked_for() {
    in_virtual_time(async {
        let fault = Fault::EffectLater { after_us: 5 * SECOND_US, hidden: false };
        let backend = with(FaultRule::once("create_snapshot", fault));
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
        connection(ask(&backend, call(volume(1), 2, export(1, 1))).await);
        backend.truth().write(&export_name(1, 1), "before").unwrap();
        assert!(is_unknown(&ask(&backend, call(volume(1), 3, take(1))).await));
        assert!(probe(&backend, 1).await.busy);
        backend.truth().write(&export_name(1, 1), "meanwhile").unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
        backend.truth().write(&export_name(1, 1), "after").unwrap();
        let kept = backend.truth().snapshot_markers(volume(1), snapshot(1));
        assert_eq!(kept, Some(vec!["before".into(), "meanwhile".into()]));
        assert_eq!(probe(&backend, 1).await.snapshots, [snapshot(1)]);
    });
}

#[test]
fn snapshots_take_room_and_give_it_back() {
    in_virtual_time(async {
        let backend = SimBackend::new(SimOptions { total_gib: 3, ..SimOptions::in_memory(11) });
        let free = async || Arc::clone(&backend).capacity().await.unwrap().free_gib;
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
        assert_eq!(ask(&backend, call(volume(1), 2, Request::Extend { new_size_gib: 2 })).await, size(2));
        assert_refused(&ask(&backend, call(volume(1), 3, take(1))).await, CauseKind::NoSpace);
        let smaller = call(volume(2), 4, CREATE);
        assert_eq!(ask(&backend, smaller).await, size(1));
        assert_eq!(ask(&backend, call(volume(2), 5, Request::Delete)).await, Outcome::done());
        assert!((free().await - 1.0).abs() < 0.1);
        assert_eq!(ask(&backend, call(volume(3), 6, CREATE)).await, size(1));
        assert_eq!(ask(&backend, call(volume(1), 7, Request::Delete)).await, Outcome::done());
        assert_eq!(ask(&backend, call(volume(3), 8, take(1))).await, Outcome::done());
        assert!((free().await - 1.0).abs() < 0.1, "the volume and its snapshot");
        let revert = Request::RevertToSnapshot { snapshot_id: snapshot(1) };
        assert_eq!(ask(&backend, call(volume(3), 9, revert)).await, Outcome::done());
        assert!((free().await - 1.0).abs() < 0.1);
        let remove = Request::DeleteSnapshot { snapshot_id: snapshot(1) };
        assert_eq!(ask(&backend, call(volume(3), 10, remove)).await, Outcome::done());
        assert!((free().await - 2.0).abs() < 0.1);
    });
}

#[test]
fn a_panic_reaches_the_caller_and_leaves_nothing_busy() {
    in_virtual_time(async {
        let backend = with(FaultRule::once("create", Fault::Panic));
        let ended = tokio::spawn(Arc::clone(&backend).call(call(volume(1), 1, CREATE))).await;
        assert!(ended.unwrap_err().is_panic());
        assert_eq!(probe(&backend, 1).await, Truth::default());
        assert_eq!(ask(&backend, call(volume(1), 1, CREATE)).await, size(1));
    });
}

#[test]
fn rules_hit_the_calls_that_they_say() {
    in_virtual_time(async {
        let backend = backend();
        let fail = Fault::Fail { kind: CauseKind::Other };
        let failures = async |rule: FaultRule| {
            backend.faults().set(vec![rule]).unwrap();
            let mut hit = Vec::new();
            for number in 1..=6 {
                // An extend of nothing is refused, so that nothing is remembered.
                let outcome = ask(&backend, call(volume(7), 1, Request::Extend { new_size_gib: 2 })).await;
                if matches!(outcome, Outcome::Failed { .. }) {
                    hit.push(number);
                }
            }
            hit
        };
        let rule = || FaultRule::on("extend", fail.clone());
        assert_eq!(failures(rule()).await, [1, 2, 3, 4, 5, 6]);
        assert_eq!(failures(rule().when(When::Nth { n: 3 })).await, [3]);
        assert_eq!(failures(rule().when(When::Every { n: 2 })).await, [2, 4, 6]);
        assert_eq!(failures(FaultRule { times: Some(2), ..rule() }).await, [1, 2]);
        assert_eq!(failures(FaultRule { request: None, ..rule() }).await, [1, 2, 3, 4, 5, 6]);
        assert_eq!(failures(FaultRule::on("create", fail.clone())).await, [0_i32; 0]);
        assert_eq!(failures(rule().of(volume(8))).await, [0_i32; 0]);
        backend.faults().clear();
        assert!(backend.faults().rules().is_empty());
    });
}

#[test]
fn chance_repeats_with_the_seed_and_only_with_it() {
    in_virtual_time(async {
        let run = async |seed| {
            let backend = SimBackend::new(SimOptions::in_memory(seed));
            let rule = FaultRule::on("extend", Fault::NothingDone).when(When::Probability { p: 0.3 });
            backend.faults().set(vec![rule]).unwrap();
            let mut hits = Vec::new();
            for _ in 0..200 {
                let outcome = ask(&backend, call(volume(1), 1, Request::Extend { new_size_gib: 2 })).await;
                hits.push(is_unknown(&outcome));
            }
            hits
        };
        let hits = run(5).await;
        assert_eq!(hits, run(5).await);
        assert_ne!(hits, run(6).await);
        let count = hits.iter().filter(|hit| **hit).count();
        assert!((30..=90).contains(&count), "{count} of 200 at 0.3");
    });
}

#[test]
fn rules_that_make_no_sense_are_refused_and_change_nothing() {
    let backend = backend();
    let faults = backend.faults();
    let good = FaultRule::on("create", Fault::AnswerLost);
    faults.set(vec![good.clone()]).unwrap();
    let typo = FaultRule::on("crate", Fault::AnswerLost);
    assert_eq!(faults.set(vec![good.clone(), typo]), Err(FaultError::UnknownRequest("crate".into())));
    assert_eq!(faults.add(good.clone().when(When::Probability { p: 1.5 })), Err(FaultError::BadProbability));
    assert_eq!(faults.add(good.clone().when(When::Nth { n: 0 })), Err(FaultError::BadCount));
    assert_eq!(faults.rules(), [(good, 0)]);
}

#[test]
fn every_request_has_its_name_in_the_list_and_rules_read_as_json() {
    let rule: FaultRule =
        serde_json::from_str(r#"{"request": "plug", "when": {"when": "every", "n": 2}, "fault": {"fault": "hang"}}"#)
            .unwrap();
    let wanted = FaultRule::on("plug", Fault::Hang { effect_first: false }).when(When::Every { n: 2 });
    assert_eq!(rule, wanted);
    let clone = Request::CreateClonedVolume { source_volume_id: volume(1), size_gib: 1 };
    let snapshot_id = snapshot(1);
    let from = Request::CreateVolumeFromSnapshot { source_volume_id: volume(1), snapshot_id, size_gib: 1 };
    let (delete, revert) = (Request::DeleteSnapshot { snapshot_id }, Request::RevertToSnapshot { snapshot_id });
    for request in [take(1), from, delete, revert] {
        assert!(hearth::drivers::sim::REQUEST_NAMES.contains(&request.name()));
    }
    for request in [CREATE, clone, Request::Delete, Request::Probe, export(1, 1), unexport(1, 1)] {
        assert!(hearth::drivers::sim::REQUEST_NAMES.contains(&request.name()));
    }
}
