//! Copies between backends and moves of guests' disks.

use super::*;
use crate::domain::attachment::AttachMode;
use crate::domain::document::Document;

fn copy_from(source: &str) -> Request {
    Request::CopyFromBackend { source_backend: source.into(), size_gib: 1 }
}

fn mirror() -> Request {
    let attachment_id = AttachmentId(Uuid::from_u128(1));
    Request::MirrorGuest { attachment_id, connection_info: Document::empty(), mode: AttachMode::ReadWrite }
}

fn guest() -> PoolTarget {
    PoolTarget::Guest(Guest {
        server_id: ServerId::from("s"),
        hypervisor: HypervisorKind::Qmp,
        qmp_socket: None,
        check_uuid: false,
    })
}

#[test]
fn a_copy_from_another_backend_is_given_that_backends_driver() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        bench.submit("a", call(1, copy_from(OTHER)));
        bench.settle().await;
        bench.backend.end(1, "copy_from_backend", Outcome::done());
        assert_eq!(bench.told_kind().await, ("a", "done", None));
        let sources = bench.backend.sources.lock().unwrap().clone();
        assert_eq!(sources.len(), 1);
        assert!(Arc::ptr_eq(&sources[0], &bench.pool.drivers[1]));

        bench.submit("b", call(2, copy_from("host@nobody#pool")));
        assert_eq!(bench.told_kind().await, ("b", "failed", Some(CauseKind::Unavailable)));
        assert_eq!(bench.backend.started(), 1, "nothing was begun");
    });
}

#[test]
fn a_mirror_in_a_guest_may_take_any_time_while_it_makes_progress_and_not_longer() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        bench.submit_to(guest(), "a", call(1, mirror()));
        let stall = options().deadlines.copy_stall;
        for copied in 1..=3 {
            bench.backend.copied.store(copied, Ordering::SeqCst);
            tokio::time::advance(stall).await;
            bench.settle().await;
            assert!(bench.nothing_told(), "it goes on");
        }
        assert_eq!(bench.told_kind().await, ("a", "unknown", Some(CauseKind::Deadline)));
    });
}

#[test]
fn the_progress_of_copies_is_seen_wherever_they_run() {
    in_virtual_time(async {
        let bench = Bench::new(options());
        bench.backend.copied.store(250, Ordering::SeqCst);
        let percent = |number| bench.pool.progress(OperationId(Uuid::from_u128(number))).map(Progress::percent);
        bench.submit("a", call(1, copy_of(9)));
        bench.submit_to(guest(), "b", call(2, mirror()));
        bench.submit("c", call(3, CREATE));
        assert_eq!(percent(1), None, "it waits");
        bench.settle().await;
        assert_eq!((percent(1), percent(2)), (Some(25), Some(25)));
        assert_eq!((percent(3), percent(4)), (None, None), "no copies");
        bench.backend.copied.store(1_000, Ordering::SeqCst);
        assert_eq!(percent(1), Some(99), "it is done when it has ended");
        bench.backend.end(1, "create_cloned_volume", Outcome::done());
        assert_eq!(bench.told_kind().await, ("a", "done", None));
        assert_eq!((percent(1), percent(2)), (None, Some(99)));
    });
}
