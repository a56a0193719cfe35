//! The simulated backend behind its socket: what a break means, and that calls outlive their askers.

use std::sync::Arc;
use std::time::Duration;

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{CauseKind, Outcome, Request};
use hearth::drivers::sim::remote::SimRemote;
use hearth::drivers::sim::wire::{Control, Say};
use hearth::drivers::sim::{Durability, Fault, FaultRule, JournalError, LatencyTable, SimTruth};
use hearth::drivers::{Backend, Hypervisor};

use super::subject::{
    SimServer, attachment, call, connection, export, export_name, guest, in_one_thread, size, volume,
};

const CREATE: Request = Request::Create { size_gib: 1 };
/// How long a condition may take that normally takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

async fn hang_next(remote: &SimRemote, request: &str, effect_first: bool) {
    let rule = FaultRule::once(request, Fault::Hang { effect_first });
    assert_eq!(remote.control(Control::AddFault { rule }).await, Ok(Say::Ok));
}

/// Waits until `count` calls hang.
async fn hanging(remote: &SimRemote, count: usize) {
    let wait = async {
        loop {
            match remote.control(Control::Hung).await {
                Ok(Say::Hung { calls }) if calls.len() == count => break,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the calls hang");
}

async fn exists(remote: &Arc<SimRemote>, number: u128) -> bool {
    let backend: Arc<dyn Backend> = remote.clone();
    backend.inventory().await.expect("reachable").iter().any(|(id, _)| *id == volume(number))
}

fn ask(remote: &Arc<SimRemote>, number: u128, request: Request) -> futures_util::future::BoxFuture<'static, Outcome> {
    Backend::call(Arc::clone(remote), call(volume(number), number, request))
}

#[test]
fn a_call_outlives_the_service_that_asked() {
    let server = SimServer::start(LatencyTable::default());
    in_one_thread(async {
        let service = SimRemote::new(&server.socket);
        hang_next(&service, "create", false).await;
        let asked = tokio::spawn(ask(&service, 1, CREATE));
        hanging(&service, 1).await;
        asked.abort();
    });
    // The runtime of the service is gone with its connection.
    in_one_thread(async {
        let service = SimRemote::new(&server.socket);
        hanging(&service, 1).await;
        assert!(!exists(&service, 1).await);
        let again = tokio::spawn(ask(&service, 1, CREATE));
        assert_eq!(
            service.control(Control::Release { volume_id: Some(volume(1)) }).await,
            Ok(Say::Released { count: 1 })
        );
        assert_eq!(again.await.unwrap(), size(1), "an equal key is joined or answered as before");
        assert!(exists(&service, 1).await);
    });
}

#[test]
fn answers_come_in_any_order() {
    let server = SimServer::start(LatencyTable::default());
    in_one_thread(async {
        let remote = SimRemote::new(&server.socket);
        hang_next(&remote, "create", false).await;
        let first = tokio::spawn(ask(&remote, 1, CREATE));
        hanging(&remote, 1).await;
        assert_eq!(ask(&remote, 2, CREATE).await, size(1));
        assert!(!first.is_finished());
        assert_eq!(remote.control(Control::Release { volume_id: None }).await, Ok(Say::Released { count: 1 }));
        assert_eq!(first.await.unwrap(), size(1));
    });
}

#[test]
fn not_sent_is_failed_sent_and_not_answered_is_unknown_and_it_reconnects() {
    let server = SimServer::start(LatencyTable::default());
    in_one_thread(async {
        let remote = SimRemote::new(&server.socket);
        hang_next(&remote, "create", true).await;
        let asked = tokio::spawn(ask(&remote, 1, CREATE));
        hanging(&remote, 1).await;
        // The process dies with the call under way and its effect kept.
        let server = tokio::task::spawn_blocking(move || server.restart()).await.unwrap();
        let outcome = asked.await.unwrap();
        assert!(matches!(&outcome, Outcome::Unknown { cause } if cause.kind == CauseKind::Unavailable), "{outcome:?}");
        assert!(exists(&remote, 1).await, "reconnected, and the truth is the old one");
        let socket = server.socket.clone();
        tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
        assert!(!socket.exists());
        // Until the end of the connection has been noticed, a question may have been written to it: unknown.
        let mut number = 2;
        loop {
            let outcome = ask(&remote, number, CREATE).await;
            match outcome {
                Outcome::Failed { cause } if cause.kind == CauseKind::Unavailable => break,
                Outcome::Unknown { cause } if cause.kind == CauseKind::Unavailable && number < 100 => number += 1,
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn guests_writes_and_overlaps_are_seen_through_the_socket() {
    let server = SimServer::start(LatencyTable::default());
    in_one_thread(async {
        let remote = SimRemote::new(&server.socket);
        assert_eq!(ask(&remote, 1, CREATE).await, size(1));
        for number in [1, 2] {
            let key = call(volume(1), 10 + number, export(number, 1));
            let info = connection(Backend::call(remote.clone(), key).await);
            let server = guest(&format!("s{number}"));
            let plug = Request::Plug {
                attachment_id: attachment(number),
                connection_info: info.into(),
                mode: AttachMode::ReadWrite,
            };
            let outcome = Hypervisor::call(remote.clone(), server.clone(), call(volume(1), 20 + number, plug)).await;
            assert_eq!(outcome, Outcome::done());
            assert_eq!(Hypervisor::inventory(remote.clone(), server).await, Ok(vec![attachment(number)]));
        }
        let writes = [
            Control::GuestWrite { guest: guest("s1"), attachment_id: attachment(1), marker: "a".into() },
            Control::Write { export: export_name(2, 1), marker: "b".into() },
            Control::Write { export: export_name(3, 1), marker: "c".into() },
        ];
        for write in writes {
            remote.control(write).await.unwrap();
        }
        let Ok(Say::Writes { writes }) = remote.control(Control::Writes).await else { panic!("writes") };
        let reached: Vec<_> = writes.iter().map(|write| write.reached).collect();
        assert_eq!(reached, [Some(volume(1)), Some(volume(1)), None]);
        let Ok(Say::Overlaps { overlaps }) = remote.control(Control::Overlaps).await else { panic!("overlaps") };
        assert_eq!(overlaps.last().map(|overlap| overlap.distinct), Some(2));
        let Ok(Say::Snapshot { truth }) = remote.control(Control::Snapshot).await else { panic!("snapshot") };
        assert_eq!(truth["volumes"][volume(1).to_string()]["markers"], serde_json::json!(["a", "b"]));
    });
}

#[test]
fn a_panic_in_a_call_is_unknown_and_the_process_lives_on() {
    let server = SimServer::start(LatencyTable::default());
    in_one_thread(async {
        let remote = SimRemote::new(&server.socket);
        let rule = FaultRule::once("create", Fault::Panic);
        assert_eq!(remote.control(Control::SetFaults { rules: vec![rule] }).await, Ok(Say::Ok));
        assert!(matches!(ask(&remote, 1, CREATE).await, Outcome::Unknown { .. }));
        assert_eq!(ask(&remote, 1, CREATE).await, size(1));
        let typo = Control::AddFault { rule: FaultRule::on("crate", Fault::Panic) };
        assert!(matches!(remote.control(typo).await, Ok(Say::Error { .. })));
    });
}

#[test]
fn nobody_else_opens_the_truth_of_a_running_process() {
    let server = SimServer::start(LatencyTable::default());
    assert!(matches!(SimTruth::open(&server.truth, Durability::Process), Err(JournalError::InUse)));
}
