//! The rules of `domain::backend::Request` about snapshots, each as a function over any backend.

use futures_util::future::join_all;
use hearth::domain::backend::{Call, CallKey, CauseKind, Outcome, Request, Truth};
use hearth::domain::ids::SnapshotId;

use super::subject::{Subject, assert_not_done, assert_refused, export_name, size, snapshot, unexport, volume};

fn there(size_gib: u32, snapshots: &[u128]) -> Truth {
    let snapshots = snapshots.iter().map(|number| snapshot(*number)).collect();
    Truth { exists: true, size_gib, snapshots, ..Truth::default() }
}

const fn take(snapshot_id: SnapshotId) -> Request {
    Request::CreateSnapshot { snapshot_id }
}

const fn remove(snapshot_id: SnapshotId) -> Request {
    Request::DeleteSnapshot { snapshot_id }
}

const fn revert(snapshot_id: SnapshotId) -> Request {
    Request::RevertToSnapshot { snapshot_id }
}

fn from(number: u128, size_gib: u32) -> Request {
    Request::CreateVolumeFromSnapshot { source_volume_id: volume(1), snapshot_id: snapshot(number), size_gib }
}

/// The same call as of a later epoch.
fn at_epoch(call: Call, epoch: u64) -> Call {
    Call { key: CallKey { epoch, ..call.key }, ..call }
}

/// Volume 1 with one write, snapshot 1 of it, and a second write after that. The contents at the snapshot.
async fn taken(subject: &mut Subject, size_gib: u32) -> Vec<String> {
    subject.create(volume(1), size_gib).await;
    subject.write(volume(1), 1).await;
    let contents = subject.contents(volume(1)).await;
    assert_eq!(contents.len(), 1, "{contents:?}");
    assert_eq!(subject.ask(volume(1), take(snapshot(1))).await, Outcome::done());
    subject.write(volume(1), 5).await;
    contents
}

/// What a snapshot of volume 1 keeps, seen through a volume that is made from it and deleted again.
async fn kept(subject: &mut Subject, number: u128, size_gib: u32) -> Vec<String> {
    let eye = volume(700 + number);
    assert_eq!(subject.ask(eye, from(number, size_gib)).await, size(size_gib));
    let contents = subject.contents(eye).await;
    assert_eq!(subject.ask(eye, Request::Delete).await, Outcome::done());
    contents
}

/// Rules that need no exports.
pub mod snapshots {
    use super::*;

    pub async fn a_snapshot_keeps_what_the_volume_held_when_it_was_taken(mut subject: Subject) {
        let first = taken(&mut subject, 2).await;
        let second = subject.contents(volume(1)).await;
        assert_eq!(second.len(), 2, "the volume goes its own way: {second:?}");
        assert_eq!(subject.ask(volume(1), take(snapshot(2))).await, Outcome::done());
        subject.write(volume(1), 9).await;
        assert_eq!(subject.probe(volume(1)).await, there(2, &[1, 2]));
        assert_eq!(kept(&mut subject, 1, 2).await, first);
        assert_eq!(kept(&mut subject, 2, 2).await, second);
    }

    pub async fn a_snapshot_that_is_there_is_not_taken_again(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.write(volume(1), 1).await;
        let first = subject.fresh(volume(1), take(snapshot(1)));
        assert_eq!(subject.carry_out(first.clone()).await, Outcome::done());
        let contents = subject.contents(volume(1)).await;
        subject.write(volume(1), 5).await;
        assert_eq!(subject.carry_out(first).await, Outcome::done());
        assert_eq!(subject.ask(volume(1), take(snapshot(1))).await, Outcome::done());
        assert_eq!(kept(&mut subject, 1, 1).await, contents);
        assert_eq!(subject.inventory().await, [(volume(1), there(1, &[1]))]);
    }

    pub async fn a_snapshot_of_nothing_is_refused_and_makes_nothing(mut subject: Subject) {
        assert_refused(&subject.ask(volume(1), take(snapshot(1))).await, CauseKind::Other);
        assert_eq!(subject.inventory().await, []);
        // It was not done: the volume may come, and then the same id is free.
        subject.create(volume(1), 1).await;
        assert_eq!(subject.ask(volume(1), take(snapshot(1))).await, Outcome::done());
    }

    pub async fn deleting_a_snapshot_is_idempotent_and_done_when_nothing_is_there(mut subject: Subject) {
        assert_eq!(subject.ask(volume(9), remove(snapshot(9))).await, Outcome::done());
        taken(&mut subject, 1).await;
        assert_eq!(subject.ask(volume(1), take(snapshot(2))).await, Outcome::done());
        let contents = subject.contents(volume(1)).await;
        let delete = subject.fresh(volume(1), remove(snapshot(1)));
        for _ in 0..2 {
            assert_eq!(subject.carry_out(delete.clone()).await, Outcome::done());
            assert_eq!(subject.probe(volume(1)).await, there(1, &[2]));
        }
        assert_eq!(subject.ask(volume(1), remove(snapshot(1))).await, Outcome::done());
        assert_refused(&subject.ask(volume(2), from(1, 1)).await, CauseKind::Other);
        assert_eq!(subject.contents(volume(1)).await, contents, "the volume is untouched");
        assert_eq!(kept(&mut subject, 2, 1).await, contents, "and so is the other snapshot");
    }

    pub async fn a_deleted_snapshot_is_not_brought_back_by_a_creation_on_its_way(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        // Messages of one process: nothing is on its way across a restart.
        let backend = subject.backend();
        let repeated = subject.fresh(volume(1), take(snapshot(1)));
        assert_eq!(backend.clone().call(repeated.clone()).await, Outcome::done());
        let late = subject.fresh(volume(1), take(snapshot(1)));
        let never_came = subject.fresh(volume(1), take(snapshot(2)));
        for number in [1, 2] {
            let delete = at_epoch(subject.fresh(volume(1), remove(snapshot(number))), 5);
            assert_eq!(backend.clone().call(delete).await, Outcome::done());
        }
        // The first may be answered as before, but must have no effect.
        backend.clone().call(repeated).await;
        for late in [late, never_came] {
            assert_not_done(&backend.clone().call(late).await);
        }
        drop(backend);
        assert_eq!(subject.inventory().await, [(volume(1), there(1, &[]))]);
    }

    pub async fn delete_refuses_a_volume_with_snapshots(mut subject: Subject) {
        let contents = taken(&mut subject, 1).await;
        assert_refused(&subject.ask(volume(1), Request::Delete).await, CauseKind::Busy);
        assert_eq!(subject.probe(volume(1)).await, there(1, &[1]));
        assert_eq!(kept(&mut subject, 1, 1).await, contents);
        assert_eq!(subject.ask(volume(1), remove(snapshot(1))).await, Outcome::done());
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.inventory().await, []);
    }

    pub async fn a_volume_from_a_snapshot_has_its_contents_and_its_holes(mut subject: Subject) {
        let contents = taken(&mut subject, 1).await;
        assert_eq!(subject.ask(volume(2), from(1, 1)).await, size(1));
        assert_eq!(subject.ask(volume(3), from(1, 3)).await, size(3));
        for (number, gib) in [(2, 1), (3, 3)] {
            assert_eq!(subject.probe(volume(number)).await, there(gib, &[]));
            assert_eq!(subject.contents(volume(number)).await, contents);
            let (source, made) = (subject.allocated_kib(volume(1)), subject.allocated_kib(volume(number)));
            assert!(made <= source + 64, "{made} KiB of a source with {source}");
        }
        assert_eq!(subject.probe(volume(1)).await, there(1, &[1]));
    }

    pub async fn a_volume_a_snapshot_and_the_volume_from_it_go_their_own_ways(mut subject: Subject) {
        let contents = taken(&mut subject, 1).await;
        assert_eq!(subject.ask(volume(2), from(1, 1)).await, size(1));
        subject.write(volume(2), 9).await;
        subject.write(volume(1), 7).await;
        assert_eq!(kept(&mut subject, 1, 1).await, contents);
        let of_made = subject.contents(volume(2)).await;
        assert_eq!((of_made.len(), subject.contents(volume(1)).await.len()), (2, 3));
        assert_eq!(subject.ask(volume(1), remove(snapshot(1))).await, Outcome::done());
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.contents(volume(2)).await, of_made);
        assert_eq!(subject.ask(volume(2), Request::Extend { new_size_gib: 2 }).await, size(2));
        assert_eq!(subject.inventory().await, [(volume(2), there(2, &[]))]);
    }

    pub async fn a_volume_from_a_snapshot_is_idempotent_by_key_and_never_overwrites(mut subject: Subject) {
        taken(&mut subject, 1).await;
        let make = subject.fresh(volume(2), from(1, 2));
        assert_eq!(subject.carry_out(make.clone()).await, size(2));
        subject.write(volume(2), 9).await;
        let contents = subject.contents(volume(2)).await;
        assert_eq!(subject.carry_out(make.clone()).await, size(2));
        assert_eq!(subject.contents(volume(2)).await, contents, "it is not made again");
        for size_gib in [1, 2] {
            assert_refused(&subject.ask(volume(2), from(1, size_gib)).await, CauseKind::Other);
        }
        assert_eq!(subject.ask(volume(1), remove(snapshot(1))).await, Outcome::done());
        assert_eq!(subject.carry_out(make).await, size(2));
        assert_eq!(subject.contents(volume(2)).await, contents);
        subject.create(volume(3), 1).await;
        assert_refused(&subject.ask(volume(3), from(1, 1)).await, CauseKind::Other);
        assert_eq!(subject.inventory().await.len(), 3);
    }

    pub async fn a_volume_from_a_missing_or_larger_snapshot_is_refused_and_makes_nothing(mut subject: Subject) {
        taken(&mut subject, 2).await;
        subject.create(volume(4), 2).await;
        let of_another =
            Request::CreateVolumeFromSnapshot { source_volume_id: volume(4), snapshot_id: snapshot(1), size_gib: 2 };
        for senseless in [from(1, 1), from(9, 2), of_another] {
            assert_refused(&subject.ask(volume(2), senseless).await, CauseKind::Other);
            assert_eq!(subject.probe(volume(2)).await, Truth::default());
        }
        assert_eq!(subject.ask(volume(2), from(1, 2)).await, size(2), "it was not done, and the id is free");
    }

    pub async fn a_revert_puts_the_volume_back_and_the_snapshots_stay(mut subject: Subject) {
        let first = taken(&mut subject, 1).await;
        let second = subject.contents(volume(1)).await;
        assert_eq!(subject.ask(volume(1), take(snapshot(2))).await, Outcome::done());
        subject.write(volume(1), 9).await;
        for (number, contents) in [(2, &second), (1, &first), (2, &second)] {
            assert_eq!(subject.ask(volume(1), revert(snapshot(number))).await, Outcome::done());
            assert_eq!(subject.contents(volume(1)).await, *contents);
            assert_eq!(subject.probe(volume(1)).await, there(1, &[1, 2]));
        }
        subject.write(volume(1), 7).await;
        assert_eq!(subject.contents(volume(1)).await.len(), 3);
        assert_eq!((kept(&mut subject, 1, 1).await, kept(&mut subject, 2, 1).await), (first, second));
    }

    pub async fn a_revert_is_idempotent_by_key(mut subject: Subject) {
        taken(&mut subject, 1).await;
        let call = subject.fresh(volume(1), revert(snapshot(1)));
        assert_eq!(subject.carry_out(call.clone()).await, Outcome::done());
        subject.write(volume(1), 9).await;
        let contents = subject.contents(volume(1)).await;
        assert_eq!(contents.len(), 2);
        assert_eq!(subject.carry_out(call).await, Outcome::done());
        assert_eq!(subject.contents(volume(1)).await, contents, "it is not put back again");
    }

    pub async fn a_revert_to_a_missing_or_different_snapshot_is_refused(mut subject: Subject) {
        assert_refused(&subject.ask(volume(1), revert(snapshot(1))).await, CauseKind::Other);
        taken(&mut subject, 1).await;
        subject.create(volume(2), 1).await;
        let contents = subject.contents(volume(1)).await;
        assert_refused(&subject.ask(volume(1), revert(snapshot(9))).await, CauseKind::Other);
        assert_refused(&subject.ask(volume(2), revert(snapshot(1))).await, CauseKind::Other);
        assert_eq!(subject.ask(volume(1), Request::Extend { new_size_gib: 2 }).await, size(2));
        assert_refused(&subject.ask(volume(1), revert(snapshot(1))).await, CauseKind::Other);
        assert_eq!(subject.contents(volume(1)).await, contents);
        assert_eq!(subject.contents(volume(2)).await.len(), 0);
    }

    pub async fn extend_leaves_the_snapshots_alone(mut subject: Subject) {
        let contents = taken(&mut subject, 1).await;
        assert_eq!(subject.ask(volume(1), Request::Extend { new_size_gib: 3 }).await, size(3));
        assert_eq!(subject.probe(volume(1)).await, there(3, &[1]));
        assert_eq!(kept(&mut subject, 1, 1).await, contents, "with its own size");
    }

    pub async fn equal_snapshot_keys_at_the_same_time_have_one_effect_and_one_outcome(mut subject: Subject) {
        let contents = taken(&mut subject, 1).await;
        let backend = subject.backend();
        for (of, request, outcome) in [
            (volume(1), take(snapshot(2)), Outcome::done()),
            (volume(2), from(1, 1), size(1)),
            (volume(1), revert(snapshot(1)), Outcome::done()),
            (volume(1), remove(snapshot(2)), Outcome::done()),
        ] {
            let call = subject.fresh(of, request);
            let outcomes = join_all((0..8).map(|_| backend.clone().call(call.clone()))).await;
            assert_eq!(outcomes, vec![outcome; 8], "{:?}", call.request);
        }
        drop(backend);
        assert_eq!(subject.inventory().await, [(volume(1), there(1, &[1])), (volume(2), there(1, &[]))]);
        assert_eq!(subject.contents(volume(1)).await, contents);
        assert_eq!(subject.contents(volume(2)).await, contents);
    }

    pub async fn calls_that_cross_do_not_wait_for_each_other_and_leave_something_whole(mut subject: Subject) {
        let contents = taken(&mut subject, 1).await;
        let backend = subject.backend();
        let calls: Vec<Call> = (0..4)
            .flat_map(|n| {
                [
                    (volume(1), take(snapshot(10 + n))),
                    (volume(10 + n), from(1, 1)),
                    (volume(1), remove(snapshot(10 + n))),
                    (volume(20 + n), Request::CreateClonedVolume { source_volume_id: volume(1), size_gib: 1 }),
                    (volume(1), Request::Extend { new_size_gib: 1 }),
                ]
            })
            .map(|(of, request)| subject.fresh(of, request))
            .collect();
        let outcomes = join_all(calls.iter().map(|call| backend.clone().call(call.clone()))).await;
        drop(backend);
        for (call, outcome) in calls.iter().zip(&outcomes) {
            let made = matches!(outcome, Outcome::Done { .. });
            assert!(made || matches!(outcome, Outcome::Refused { .. } | Outcome::Failed { .. }), "{outcome:?}");
            if made && call.key.volume_id != volume(1) {
                let found = subject.contents(call.key.volume_id).await;
                let cloned = matches!(call.request, Request::CreateClonedVolume { .. });
                assert_eq!(found.len(), if cloned { 2 } else { contents.len() }, "{:?}", call.request);
            }
        }
        assert!(subject.probe(volume(1)).await.snapshots.contains(&snapshot(1)));
    }

    pub async fn what_nobody_waits_for_is_whole_or_not_there(mut subject: Subject) {
        let contents = taken(&mut subject, 1).await;
        let later = subject.contents(volume(1)).await;
        for number in 2..8 {
            for (of, request, outcome) in
                [(volume(1), take(snapshot(number)), Outcome::done()), (volume(number), from(1, 1), size(1))]
            {
                let call = subject.fresh(of, request);
                let mut left = subject.backend().call(call.clone());
                for _ in 0..number {
                    if futures_util::poll!(&mut left).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(left);
                assert_eq!(subject.carry_out(call).await, outcome);
            }
            assert_eq!(kept(&mut subject, number, 1).await, later);
            assert_eq!(subject.contents(volume(number)).await, contents);
        }
    }

    pub async fn the_inventory_agrees_with_the_probes_about_snapshots(mut subject: Subject) {
        taken(&mut subject, 1).await;
        assert_eq!(subject.ask(volume(1), take(snapshot(2))).await, Outcome::done());
        subject.create(volume(2), 2).await;
        assert_eq!(subject.ask(volume(2), take(snapshot(3))).await, Outcome::done());
        let all = subject.inventory().await;
        assert_eq!(all, [(volume(1), there(1, &[1, 2])), (volume(2), there(2, &[3]))]);
        for (id, truth) in all {
            assert_eq!(subject.probe(id).await, truth);
        }
    }
}

/// Rules of snapshots and exports.
pub mod snapshots_of_exports {
    use super::*;

    pub async fn a_revert_refuses_live_exports(mut subject: Subject) {
        let contents = taken(&mut subject, 1).await;
        let later = subject.contents(volume(1)).await;
        subject.export(volume(1), 1, 1).await;
        assert_refused(&subject.ask(volume(1), revert(snapshot(1))).await, CauseKind::Busy);
        assert_eq!(subject.contents(volume(1)).await, later);
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 1)]);
        assert_eq!(subject.ask(volume(1), unexport(1, 1)).await, Outcome::done());
        assert_eq!(subject.ask(volume(1), revert(snapshot(1))).await, Outcome::done());
        assert_eq!(subject.contents(volume(1)).await, contents);
        subject.export(volume(1), 1, 2).await;
        assert_eq!(subject.probe(volume(1)).await.exports, [export_name(1, 2)]);
    }

    pub async fn a_snapshot_of_an_exported_volume_is_whole_and_leaves_the_exports(mut subject: Subject) {
        let first = taken(&mut subject, 1).await;
        let infos = [subject.export(volume(1), 1, 1).await, subject.export(volume(1), 2, 1).await];
        let exports = vec![export_name(1, 1), export_name(2, 1)];
        assert_eq!(subject.ask(volume(1), take(snapshot(2))).await, Outcome::done());
        assert_eq!(subject.probe(volume(1)).await, Truth { exports: exports.clone(), ..there(1, &[1, 2]) });
        assert_eq!(subject.export(volume(1), 1, 1).await, infos[0]);
        assert_eq!(subject.ask(volume(1), Request::Extend { new_size_gib: 2 }).await, size(2));
        assert_eq!(subject.probe(volume(1)).await, Truth { exports, ..there(2, &[1, 2]) });
        let later = subject.contents(volume(1)).await;
        assert_eq!((kept(&mut subject, 1, 1).await, kept(&mut subject, 2, 1).await), (first, later));
        for number in [1, 2] {
            assert_eq!(subject.ask(volume(1), remove(snapshot(number))).await, Outcome::done());
            assert_eq!(subject.ask(volume(1), unexport(number, 1)).await, Outcome::done());
        }
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.inventory().await, []);
    }

    pub async fn a_snapshot_outlives_the_end_of_an_export(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.write(volume(1), 1).await;
        subject.export(volume(1), 1, 1).await;
        assert_eq!(subject.ask(volume(1), take(snapshot(1))).await, Outcome::done());
        assert_eq!(subject.ask(volume(1), unexport(1, 1)).await, Outcome::done());
        assert_not_done(&subject.ask(volume(1), super::super::subject::export(1, 1)).await);
        assert_eq!(subject.probe(volume(1)).await, there(1, &[1]));
        let contents = subject.contents(volume(1)).await;
        assert_eq!(kept(&mut subject, 1, 1).await, contents);
    }
}
