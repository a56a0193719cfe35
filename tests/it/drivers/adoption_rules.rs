//! The rules of `domain::backend::Request` about what is not Hearth's, each as a function over any backend.

use futures_util::future::join_all;
use hearth::domain::backend::{BackendObject, Call, CallKey, CauseKind, ObjectKind, Outcome, Request, Truth};
use hearth::domain::ids::{SnapshotId, VolumeId};
use hearth::domain::reference::{snapshot_reference, volume_reference};

use super::subject::{Subject, assert_not_done, assert_refused, size, snapshot, volume};

fn there(size_gib: u32, snapshots: &[u128]) -> Truth {
    let snapshots = snapshots.iter().map(|number| snapshot(*number)).collect();
    Truth { exists: true, size_gib, snapshots, ..Truth::default() }
}

fn adopt(reference: &str, size_gib: u32) -> Request {
    Request::Adopt { reference: reference.to_owned(), size_gib }
}

fn adopt_snapshot(number: u128, reference: &str, size_gib: u32) -> Request {
    Request::AdoptSnapshot { snapshot_id: snapshot(number), reference: reference.to_owned(), size_gib }
}

const fn disown_snapshot(snapshot_id: SnapshotId) -> Request {
    Request::DisownSnapshot { snapshot_id }
}

fn object(reference: &str, size_gib: u32, kind: ObjectKind) -> BackendObject {
    BackendObject { reference: reference.to_owned(), size_gib, kind, trouble: None }
}

fn foreign(reference: &str, size_gib: u32) -> BackendObject {
    object(reference, size_gib, ObjectKind::Volume { id: None })
}

fn own(id: VolumeId, size_gib: u32) -> BackendObject {
    object(&volume_reference(id), size_gib, ObjectKind::Volume { id: Some(id) })
}

/// The same call as of a later epoch.
fn at_epoch(call: Call, epoch: u64) -> Call {
    Call { key: CallKey { epoch, ..call.key }, ..call }
}

/// What a volume holds to which these marks were written.
async fn contents_of(subject: &mut Subject, marks: &[u8]) -> Vec<String> {
    let measure = volume(900);
    subject.create(measure, 1).await;
    for mark in marks {
        subject.write(measure, *mark).await;
    }
    let contents = subject.contents(measure).await;
    assert_eq!(subject.ask(measure, Request::Delete).await, Outcome::done());
    assert_eq!(contents.len(), marks.len());
    contents
}

/// What a snapshot of volume 1 keeps, seen through a volume that is made from it and deleted again.
async fn kept(subject: &mut Subject, number: u128) -> Vec<String> {
    let (eye, source_volume_id) = (volume(700 + number), volume(1));
    let make = Request::CreateVolumeFromSnapshot { source_volume_id, snapshot_id: snapshot(number), size_gib: 1 };
    assert_eq!(subject.ask(eye, make).await, size(1));
    let contents = subject.contents(eye).await;
    assert_eq!(subject.ask(eye, Request::Delete).await, Outcome::done());
    contents
}

/// Rules that need no exports.
pub mod adoptions {
    use super::*;

    pub async fn an_object_becomes_the_volume_with_what_it_holds(mut subject: Subject) {
        let contents = contents_of(&mut subject, &[1, 5]).await;
        subject.place("lvol0", 1024, &[1, 5]).await;
        subject.place("lvol1", 2048, &[]).await;
        assert_eq!(subject.inventory().await, [], "what is not Hearth's is in no inventory");
        assert_eq!(subject.objects().await, [foreign("lvol0", 1), foreign("lvol1", 2)]);
        assert_eq!(subject.ask(volume(1), adopt("lvol0", 1)).await, size(1));
        assert_eq!(subject.contents(volume(1)).await, contents);
        assert_eq!(subject.inventory().await, [(volume(1), there(1, &[]))]);
        assert_eq!(subject.objects().await, [foreign("lvol1", 2), own(volume(1), 1)]);
        subject.write(volume(1), 9).await;
        assert_eq!(subject.ask(volume(1), Request::Extend { new_size_gib: 2 }).await, size(2));
        assert_eq!(subject.contents(volume(1)).await.len(), 3, "it is a volume as every other");
        assert_eq!(subject.ask(volume(1), Request::Delete).await, Outcome::done());
        assert_eq!(subject.objects().await, [foreign("lvol1", 2)]);
    }

    pub async fn an_object_is_given_the_rest_of_its_last_gib(mut subject: Subject) {
        subject.place("odd", 1500, &[1]).await;
        assert_eq!(subject.objects().await, [foreign("odd", 2)]);
        assert_eq!(subject.ask(volume(1), adopt("odd", 2)).await, size(2));
        assert_eq!(subject.probe(volume(1)).await, there(2, &[]));
        assert_eq!(subject.contents(volume(1)).await.len(), 1);
        assert_eq!(subject.ask(volume(1), Request::Disown).await, Outcome::done());
        assert_eq!(subject.objects().await, [foreign(&volume_reference(volume(1)), 2)]);
    }

    pub async fn an_adoption_is_idempotent_by_key_and_by_state(mut subject: Subject) {
        subject.place("lvol0", 1024, &[1]).await;
        let call = subject.fresh(volume(1), adopt("lvol0", 1));
        assert_eq!(subject.carry_out(call.clone()).await, size(1));
        subject.write(volume(1), 5).await;
        let contents = subject.contents(volume(1)).await;
        subject.place("lvol0", 1024, &[9]).await;
        assert_eq!(subject.carry_out(call).await, size(1));
        assert_eq!(subject.ask(volume(1), adopt("lvol0", 1)).await, size(1));
        assert_eq!(subject.contents(volume(1)).await, contents, "the volume stays what it was");
        assert_eq!(subject.objects().await, [foreign("lvol0", 1), own(volume(1), 1)], "and so does the other object");
    }

    pub async fn what_cannot_be_adopted_stays_what_it_is(mut subject: Subject) {
        subject.create(volume(2), 2).await;
        subject.place("lvol0", 1024, &[1]).await;
        let before = subject.objects().await;
        let own_name = volume_reference(volume(2));
        for (id, request) in [
            (volume(1), adopt("nothing", 1)),
            (volume(1), adopt("", 1)),
            (volume(1), adopt("lvol0", 2)),
            (volume(1), adopt(&own_name, 2)),
            (volume(2), adopt("lvol0", 1)),
        ] {
            assert_refused(&subject.ask(id, request).await, CauseKind::Other);
        }
        assert_eq!(subject.objects().await, before);
        assert_eq!(subject.ask(volume(1), adopt("lvol0", 1)).await, size(1), "it was not done, and the id is free");
    }

    pub async fn of_two_adoptions_of_one_object_one_has_it(mut subject: Subject) {
        subject.place("lvol0", 1024, &[1]).await;
        let backend = subject.backend();
        let calls = (1..=8).map(|number| subject.fresh(volume(number), adopt("lvol0", 1))).collect::<Vec<_>>();
        let outcomes = join_all(calls.into_iter().map(|call| backend.clone().call(call))).await;
        let won: Vec<_> = (1..=8).zip(&outcomes).filter(|(_, outcome)| **outcome == size(1)).collect();
        let [(winner, _)] = won[..] else { panic!("{outcomes:?}") };
        for outcome in outcomes.iter().filter(|outcome| **outcome != size(1)) {
            assert_refused(outcome, CauseKind::Other);
        }
        drop(backend);
        assert_eq!(subject.objects().await, [own(volume(winner), 1)]);
    }

    pub async fn what_is_let_go_of_keeps_what_it_holds_under_its_reference(mut subject: Subject) {
        subject.create(volume(1), 2).await;
        subject.write(volume(1), 1).await;
        let contents = subject.contents(volume(1)).await;
        assert_eq!(subject.ask(volume(1), Request::Disown).await, Outcome::done());
        assert_eq!(subject.inventory().await, []);
        assert_eq!(subject.probe(volume(1)).await, Truth::default());
        let reference = volume_reference(volume(1));
        assert_eq!(subject.objects().await, [foreign(&reference, 2)]);
        assert_eq!(subject.ask(volume(2), adopt(&reference, 2)).await, size(2));
        assert_eq!(subject.contents(volume(2)).await, contents);
        assert_eq!(subject.inventory().await, [(volume(2), there(2, &[]))]);
    }

    pub async fn letting_go_is_idempotent_and_done_when_nothing_is_there(mut subject: Subject) {
        assert_eq!(subject.ask(volume(9), Request::Disown).await, Outcome::done());
        assert_eq!(subject.ask(volume(9), disown_snapshot(snapshot(9))).await, Outcome::done());
        subject.create(volume(1), 1).await;
        subject.create(volume(2), 1).await;
        let call = subject.fresh(volume(1), Request::Disown);
        for _ in 0..2 {
            assert_eq!(subject.carry_out(call.clone()).await, Outcome::done());
            assert_eq!(subject.ask(volume(1), Request::Disown).await, Outcome::done());
        }
        assert_eq!(subject.objects().await, [foreign(&volume_reference(volume(1)), 1), own(volume(2), 1)]);
    }

    pub async fn letting_go_never_takes_the_place_of_another_object(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.write(volume(1), 1).await;
        let (reference, contents) = (volume_reference(volume(1)), subject.contents(volume(1)).await);
        subject.place(&reference, 2048, &[9]).await;
        assert_refused(&subject.ask(volume(1), Request::Disown).await, CauseKind::Other);
        assert_eq!(subject.contents(volume(1)).await, contents);
        assert_eq!(subject.probe(volume(1)).await, there(1, &[]));
        let mut objects = subject.objects().await;
        objects.sort_by_key(|object| object.size_gib);
        assert_eq!(objects, [own(volume(1), 1), foreign(&reference, 2)]);
    }

    pub async fn letting_go_refuses_a_volume_with_snapshots(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        let take = Request::CreateSnapshot { snapshot_id: snapshot(1) };
        assert_eq!(subject.ask(volume(1), take).await, Outcome::done());
        assert_refused(&subject.ask(volume(1), Request::Disown).await, CauseKind::Busy);
        assert_eq!(subject.probe(volume(1)).await, there(1, &[1]));
        assert_eq!(subject.ask(volume(1), disown_snapshot(snapshot(1))).await, Outcome::done());
        assert_eq!(subject.ask(volume(1), Request::Disown).await, Outcome::done());
        assert_eq!(subject.inventory().await, []);
    }

    pub async fn what_was_let_go_of_is_not_brought_back_by_an_adoption_on_its_way(mut subject: Subject) {
        subject.place("lvol0", 1024, &[1]).await;
        // Messages of one process: nothing is on its way across a restart.
        let backend = subject.backend();
        let repeated = subject.fresh(volume(1), adopt("lvol0", 1));
        assert_eq!(backend.clone().call(repeated.clone()).await, size(1));
        let reference = volume_reference(volume(1));
        let late = subject.fresh(volume(1), adopt(&reference, 1));
        let never_came = subject.fresh(volume(2), adopt(&reference, 1));
        for number in [1, 2] {
            let disown = at_epoch(subject.fresh(volume(number), Request::Disown), 5);
            assert_eq!(backend.clone().call(disown).await, Outcome::done());
        }
        // The first may be answered as before, but must have no effect.
        backend.clone().call(repeated).await;
        for late in [late, never_came] {
            assert_not_done(&backend.clone().call(late).await);
        }
        drop(backend);
        assert_eq!(subject.objects().await, [foreign(&reference, 1)]);
    }

    pub async fn an_object_becomes_a_snapshot_with_what_it_holds(mut subject: Subject) {
        let contents = contents_of(&mut subject, &[1, 5]).await;
        subject.create(volume(1), 1).await;
        subject.write(volume(1), 9).await;
        subject.place("old", 1024, &[1, 5]).await;
        let call = subject.fresh(volume(1), adopt_snapshot(1, "old", 1));
        for _ in 0..2 {
            assert_eq!(subject.carry_out(call.clone()).await, Outcome::done());
        }
        assert_eq!(subject.ask(volume(1), adopt_snapshot(1, "old", 1)).await, Outcome::done());
        assert_eq!(subject.inventory().await, [(volume(1), there(1, &[1]))]);
        let kind = ObjectKind::Snapshot { id: Some(snapshot(1)), volume_id: volume(1) };
        let reference = snapshot_reference(snapshot(1));
        assert_eq!(subject.objects().await, [object(&reference, 1, kind), own(volume(1), 1)]);
        assert_eq!(kept(&mut subject, 1).await, contents);
        let revert = Request::RevertToSnapshot { snapshot_id: snapshot(1) };
        assert_eq!(subject.ask(volume(1), revert).await, Outcome::done());
        assert_eq!(subject.contents(volume(1)).await, contents);
    }

    pub async fn what_cannot_be_adopted_as_a_snapshot_stays_what_it_is(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.place("old", 1024, &[1]).await;
        subject.place("large", 2048, &[1]).await;
        let before = subject.objects().await;
        for (id, request) in [
            (volume(1), adopt_snapshot(1, "nothing", 1)),
            (volume(1), adopt_snapshot(1, "large", 1)),
            (volume(1), adopt_snapshot(1, "large", 2)),
            (volume(1), adopt_snapshot(1, &volume_reference(volume(1)), 1)),
            (volume(2), adopt_snapshot(1, "old", 1)),
        ] {
            assert_refused(&subject.ask(id, request).await, CauseKind::Other);
        }
        assert_eq!(subject.objects().await, before);
    }

    pub async fn a_snapshot_that_is_let_go_of_can_be_adopted_again(mut subject: Subject) {
        let contents = contents_of(&mut subject, &[1]).await;
        subject.create(volume(1), 1).await;
        subject.write(volume(1), 1).await;
        let take = Request::CreateSnapshot { snapshot_id: snapshot(1) };
        assert_eq!(subject.ask(volume(1), take).await, Outcome::done());
        subject.write(volume(1), 5).await;
        let call = subject.fresh(volume(1), disown_snapshot(snapshot(1)));
        for _ in 0..2 {
            assert_eq!(subject.carry_out(call.clone()).await, Outcome::done());
        }
        assert_eq!(subject.probe(volume(1)).await, there(1, &[]));
        let reference = snapshot_reference(snapshot(1));
        let kind = ObjectKind::Snapshot { id: None, volume_id: volume(1) };
        assert_eq!(subject.objects().await, [object(&reference, 1, kind), own(volume(1), 1)]);
        assert_eq!(subject.ask(volume(1), adopt_snapshot(2, &reference, 1)).await, Outcome::done());
        assert_eq!(kept(&mut subject, 2).await, contents);
        assert_eq!(subject.inventory().await, [(volume(1), there(1, &[2]))]);
    }

    pub async fn a_snapshot_that_was_let_go_of_is_not_brought_back_by_an_adoption_on_its_way(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.place("old", 1024, &[1]).await;
        let backend = subject.backend();
        let late = subject.fresh(volume(1), adopt_snapshot(1, "old", 1));
        let disown = at_epoch(subject.fresh(volume(1), disown_snapshot(snapshot(1))), 5);
        assert_eq!(backend.clone().call(disown).await, Outcome::done());
        assert_not_done(&backend.clone().call(late).await);
        drop(backend);
        assert_eq!(subject.objects().await, [foreign("old", 1), own(volume(1), 1)]);
    }
}

/// The rule that needs exports.
pub mod adoptions_and_exports {
    use super::super::subject::{export_name, unexport};
    use super::*;

    pub async fn letting_go_refuses_live_exports(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        subject.export(volume(1), 1, 1).await;
        assert_refused(&subject.ask(volume(1), Request::Disown).await, CauseKind::Busy);
        let exported = Truth { exports: vec![export_name(1, 1)], ..there(1, &[]) };
        assert_eq!(subject.probe(volume(1)).await, exported);
        assert_eq!(subject.ask(volume(1), unexport(1, 1)).await, Outcome::done());
        assert_eq!(subject.ask(volume(1), Request::Disown).await, Outcome::done());
        assert_eq!(subject.objects().await, [foreign(&volume_reference(volume(1)), 1)]);
    }
}
