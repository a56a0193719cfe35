//! The simulated hypervisor, and the truth's own check of promise I1.

use std::sync::Arc;

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Answer, CauseKind, Guest, Outcome, Request};
use hearth::drivers::sim::{Durability, SimBackend, SimOptions, SimTruth};
use hearth::drivers::{Backend, Hypervisor};
use serde_json::{Value, json};

use super::subject::{
    assert_refused, attachment, call, connection, export, export_name, export_to, guest, in_virtual_time, size,
    unexport, volume,
};

/// A backend with a hypervisor, and volume 1 of 1 GiB.
struct Bench {
    backend: Arc<SimBackend>,
    truth: SimTruth,
    next: std::cell::Cell<u128>,
}

impl Bench {
    async fn new() -> Self {
        let backend = SimBackend::new(SimOptions::in_memory(3));
        let bench = Self { truth: backend.truth(), backend, next: 1.into() };
        assert_eq!(bench.ask(Request::Create { size_gib: 1 }).await, size(1));
        bench
    }

    async fn ask(&self, request: Request) -> Outcome {
        self.next.set(self.next.get() + 1);
        Arc::clone(&self.backend).call(call(volume(1), self.next.get(), request)).await
    }

    async fn ask_guest(&self, guest: &Guest, request: Request) -> Outcome {
        self.next.set(self.next.get() + 1);
        self.backend.hypervisor().call(guest.clone(), call(volume(1), self.next.get(), request)).await
    }

    async fn export(&self, number: u128, epoch: u64) -> Value {
        connection(self.ask(export(number, epoch)).await)
    }

    async fn plugged(&self, guest: &Guest, number: u128) -> bool {
        match self.ask_guest(guest, Request::ProbeGuest { attachment_id: attachment(number) }).await {
            Outcome::Done { answer: Answer::Plugged { plugged, .. } } => plugged,
            other => panic!("{other:?}"),
        }
    }
}

fn plug(number: u128, connection_info: Value) -> Request {
    Request::Plug {
        attachment_id: attachment(number),
        connection_info: connection_info.into(),
        mode: AttachMode::ReadWrite,
    }
}

fn unplug(number: u128) -> Request {
    Request::Unplug { attachment_id: attachment(number) }
}

fn resize(number: u128, new_size_gib: u32) -> Request {
    Request::ResizeGuest { attachment_id: attachment(number), new_size_gib }
}

#[test]
fn plug_and_unplug_are_idempotent() {
    in_virtual_time(async {
        let (bench, s1) = (Bench::new().await, guest("s1"));
        let info = bench.export(1, 1).await;
        assert!(!bench.plugged(&s1, 1).await);
        for _ in 0..2 {
            assert_eq!(bench.ask_guest(&s1, plug(1, info.clone())).await, Outcome::done());
            assert!(bench.plugged(&s1, 1).await);
        }
        let hypervisor = bench.backend.hypervisor();
        assert_eq!(hypervisor.inventory(s1.clone()).await.unwrap(), [attachment(1)]);
        for _ in 0..2 {
            assert_eq!(bench.ask_guest(&s1, unplug(1)).await, Outcome::done());
            assert!(!bench.plugged(&s1, 1).await);
        }
    });
}

#[test]
fn a_guest_cannot_open_an_export_that_is_not_served() {
    in_virtual_time(async {
        let (bench, s1) = (Bench::new().await, guest("s1"));
        let info = bench.export(1, 1).await;
        assert_eq!(bench.ask(unexport(1, 1)).await, Outcome::done());
        assert_refused(&bench.ask_guest(&s1, plug(1, info)).await, CauseKind::Guest);
        assert_refused(&bench.ask_guest(&s1, plug(1, json!({}))).await, CauseKind::Guest);
        assert!(!bench.plugged(&s1, 1).await);
    });
}

#[test]
fn a_guest_sees_a_new_size_only_when_it_is_told() {
    in_virtual_time(async {
        let (bench, s1) = (Bench::new().await, guest("s1"));
        let info = bench.export(1, 1).await;
        assert_eq!(bench.ask_guest(&s1, plug(1, info)).await, Outcome::done());
        let seen = || bench.truth.device(&s1.server_id, attachment(1)).unwrap().size_gib;
        assert_refused(&bench.ask_guest(&s1, resize(1, 2)).await, CauseKind::Other);
        assert_eq!(bench.ask(Request::Extend { new_size_gib: 2 }).await, size(2));
        assert_eq!(seen(), 1);
        for _ in 0..2 {
            assert_eq!(bench.ask_guest(&s1, resize(1, 2)).await, Outcome::done());
            assert_eq!(seen(), 2);
        }
        assert_refused(&bench.ask_guest(&s1, resize(2, 2)).await, CauseKind::Guest);
    });
}

#[test]
fn writes_reach_the_volume_only_through_live_writable_exports() {
    in_virtual_time(async {
        let (bench, s1) = (Bench::new().await, guest("s1"));
        let info = bench.export(1, 1).await;
        assert_eq!(bench.ask_guest(&s1, plug(1, info)).await, Outcome::done());
        let write = |marker| bench.truth.guest_write(&s1, attachment(1), marker).unwrap();
        assert_eq!(write("a").unwrap().reached, Some(volume(1)));
        let Request::Export { connector, .. } = export(2, 1) else { unreachable!() };
        let read_only = Request::Export {
            attachment_id: attachment(2),
            export: export_name(2, 1),
            connector,
            mode: AttachMode::ReadOnly,
        };
        connection(bench.ask(read_only).await);
        assert_eq!(bench.truth.write(&export_name(2, 1), "b").unwrap().reached, None);
        assert_eq!(bench.ask(unexport(1, 1)).await, Outcome::done());
        assert_eq!(write("c").unwrap().reached, None, "the device is there, but it is dead");
        assert_eq!(bench.truth.markers(volume(1)), ["a"]);
        assert_eq!(bench.truth.writes_refused(), 2);
        let log: Vec<_> = bench.truth.writes().into_iter().map(|write| (write.marker, write.server_id)).collect();
        let server = Some(s1.server_id.clone());
        assert_eq!(log, [("a".into(), server.clone()), ("b".into(), None), ("c".into(), server.clone())]);
        assert_eq!(bench.ask_guest(&s1, unplug(1)).await, Outcome::done());
        assert_eq!(bench.truth.guest_write(&s1, attachment(1), "d").unwrap(), None);
    });
}

#[test]
fn i1_one_consumer_after_another_is_no_overlap() {
    in_virtual_time(async {
        let bench = Bench::new().await;
        for number in [1, 2, 3] {
            let server = guest(&format!("s{number}"));
            let info = bench.export(number, 1).await;
            assert_eq!(bench.ask_guest(&server, plug(number, info)).await, Outcome::done());
            // The fence alone ends a consumer: its device stays in the guest and is dead.
            assert_eq!(bench.ask(unexport(number, 1)).await, Outcome::done());
        }
        assert_eq!(bench.truth.max_concurrent_consumers(volume(1)), 1);
        assert!(bench.truth.violations(|_| true).is_empty());
    });
}

#[test]
fn i1_two_hosts_and_two_servers_of_one_host_are_overlaps_with_names() {
    in_virtual_time(async {
        for same_host in [false, true] {
            let bench = Bench::new().await;
            let host = |number| if same_host { "h".to_owned() } else { format!("h{number}") };
            for number in [1, 2] {
                let info = connection(bench.ask(export_to(number, 1, &host(number))).await);
                let server = guest(&format!("s{number}"));
                assert_eq!(bench.ask_guest(&server, plug(number, info)).await, Outcome::done());
            }
            assert_eq!(bench.truth.max_concurrent_consumers(volume(1)), 2, "same host: {same_host}");
            let found = bench.truth.violations(|overlap| overlap.volume_id == volume(1));
            let last = found.last().expect("the overlap is recorded");
            assert_eq!(last.distinct, 2);
            let servers: Vec<_> = last.consumers.iter().filter_map(|c| c.server_id.clone()).collect();
            assert_eq!(servers, [guest("s1").server_id, guest("s2").server_id]);
            assert!(bench.truth.violations(|overlap| overlap.volume_id == volume(2)).is_empty());
        }
    });
}

#[test]
fn r02_two_rows_of_one_server_are_one_consumer() {
    in_virtual_time(async {
        let bench = Bench::new().await;
        for number in [1, 2] {
            let info = connection(bench.ask(export_to(number, 1, "h")).await);
            assert_eq!(bench.ask_guest(&guest("s"), plug(number, info)).await, Outcome::done());
        }
        assert_eq!(bench.truth.consumers(volume(1)).len(), 2);
        assert_eq!(bench.truth.max_concurrent_consumers(volume(1)), 1);
    });
}

#[test]
fn the_truth_survives_its_process_with_everything_in_it() {
    in_virtual_time(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth");
        let open = || SimTruth::open(&path, Durability::Disk).unwrap();
        let backend = SimBackend::new(SimOptions::with_truth(open(), 1));
        let s1 = guest("s1");
        let create = call(volume(1), 1, Request::Create { size_gib: 1 });
        assert_eq!(Arc::clone(&backend).call(create.clone()).await, size(1));
        let info = connection(Arc::clone(&backend).call(call(volume(1), 2, export(1, 1))).await);
        let plugged = backend.hypervisor().call(s1.clone(), call(volume(1), 3, plug(1, info))).await;
        assert_eq!(plugged, Outcome::done());
        let truth = backend.truth();
        truth.guest_write(&s1, attachment(1), "a").unwrap();
        connection(Arc::clone(&backend).call(call(volume(1), 4, export(2, 1))).await);
        Arc::clone(&backend).call(call(volume(1), 5, unexport(1, 1))).await;
        truth.guest_write(&s1, attachment(1), "b").unwrap();
        let before = truth.snapshot();
        assert_eq!(before["writes_refused"], 1);
        drop((backend, truth));

        let truth = open();
        assert_eq!(truth.snapshot(), before);
        assert_eq!(truth.max_concurrent_consumers(volume(1)), 2);
        let backend = SimBackend::new(SimOptions::with_truth(truth.clone(), 1));
        Arc::clone(&backend).call(call(volume(1), 6, unexport(2, 1))).await;
        assert_eq!(Arc::clone(&backend).call(call(volume(1), 7, Request::Delete)).await, Outcome::done());
        let again = Arc::clone(&backend).call(create).await;
        assert_eq!(again, size(1), "a key that was carried out answers as before");
        assert!(!truth.volume(volume(1)).exists, "and has no second effect");
    });
}

#[test]
fn a_backend_without_room_refuses() {
    in_virtual_time(async {
        let backend = SimBackend::new(SimOptions { total_gib: 3, ..SimOptions::in_memory(1) });
        let ask = async |volume_number, operation, request| {
            Arc::clone(&backend).call(call(volume(volume_number), operation, request)).await
        };
        assert_eq!(ask(1, 1, Request::Create { size_gib: 2 }).await, size(2));
        assert_refused(&ask(2, 2, Request::Create { size_gib: 2 }).await, CauseKind::NoSpace);
        assert_refused(&ask(1, 3, Request::Extend { new_size_gib: 4 }).await, CauseKind::NoSpace);
        assert_eq!(ask(1, 4, Request::Extend { new_size_gib: 3 }).await, size(3));
        assert_eq!(Arc::clone(&backend).capacity().await.unwrap().free_gib, 0.0);
        assert_eq!(ask(1, 5, Request::Delete).await, Outcome::done());
        assert_eq!(Arc::clone(&backend).capacity().await.unwrap().free_gib, 3.0);
    });
}

#[test]
fn a_connector_that_is_no_object_is_the_clients_mistake() {
    in_virtual_time(async {
        let bench = Bench::new().await;
        let request = Request::Export {
            attachment_id: attachment(1),
            export: export_name(1, 1),
            connector: Value::Null.into(),
            mode: AttachMode::ReadWrite,
        };
        assert_refused(&bench.ask(request).await, CauseKind::BadConnector);
    });
}
