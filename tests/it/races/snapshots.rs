//! `spec/races.md` §2.4: snapshots, reverts, clones and the delete of their volume.

use std::time::Duration;

use hearth::domain::backend::CauseKind;
use hearth::domain::status::{SnapshotStatus, VolumeStatus};
use hearth::domain::volume::command::CreateSnapshot;
use hearth::domain::volume::{Command, Refusal};
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::sim::{CallSide, World, WorldOptions, simulate};

use super::scenario::{Client, accepted, alive, in_world, refusal, slow};

/// The next rules of the backend.
fn rules(client: &Client<'_>, rules: Vec<FaultRule>) {
    client.world.backend().faults().set(rules).expect("the rules make sense");
}

#[test]
fn r17_a_snapshot_that_enters_first_goes_on_while_the_volume_is_attached() {
    in_world(17, async |client| {
        let id = client.available(1).await;
        client.server("a").await.expect("alive");
        rules(client, vec![slow("create_snapshot", 5)]);
        let snapshot = client.snapshot_id();
        accepted(client.snapshot(id, snapshot).await);
        accepted(client.server_attach("a", id).await);
        client
            .node
            .until(id, Duration::from_secs(4), |state| {
                state.is_some_and(|state| state.volume.status == VolumeStatus::InUse)
            })
            .await
            .expect("alive");
        let state = alive(client.view(id).await);
        assert_eq!(state.snapshots[0].status, SnapshotStatus::Creating, "the attach does not wait for it");
        client.wait_snapshot(id, snapshot, SnapshotStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r17_a_snapshot_that_comes_second_is_refused_unless_the_volume_in_use_will_do() {
    in_world(171, async |client| {
        let id = client.attached("a").await;
        let request = CreateSnapshot {
            snapshot_id: client.snapshot_id(),
            name: None,
            description: None,
            metadata: Default::default(),
            in_use_allowed: false,
            adopts: None,
        };
        let refused = refusal(client.ask(id, Command::SnapshotCreate(Box::new(request))).await);
        assert!(matches!(refused, Refusal::InvalidVolume(_)), "{refused:?}");
        client.snapshotted(id).await;
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse);
        client.assert_clean().await;
    });
}

/// Either a snapshot exists and the delete is refused, or the volume is deleting and the snapshot is.
#[test]
fn r54_never_a_snapshot_of_a_deleted_volume() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            let snapshot = client.snapshot_id();
            let (taken, deleted) = if seed % 2 == 0 {
                futures_util::join!(client.snapshot(id, snapshot), client.delete(id))
            } else {
                let (deleted, taken) = futures_util::join!(client.delete(id), client.snapshot(id, snapshot));
                (taken, deleted)
            };
            let taken = taken.expect("alive").is_ok();
            assert_ne!(taken, deleted.expect("alive").is_ok(), "one of them wins");
            client.assert_clean().await;
            assert_eq!(client.view(id).await.is_some(), taken);
            if taken {
                accepted(client.cascade(id).await);
                client.wait_gone(id).await.expect("alive");
            }
            client.assert_clean().await;
        });
    }
}

#[test]
fn r55_the_delete_of_a_source_waits_for_its_clone() {
    in_world(55, async |client| {
        let source = client.available(1).await;
        client.write(source, "first").await;
        rules(client, vec![slow("create_cloned_volume", 5)]);
        let clone = client.world.volume_id();
        accepted(client.create_from(clone, source, None).await);
        accepted(client.delete(source).await);
        client.world.pass_time(Duration::from_secs(4)).await;
        assert_eq!(alive(client.view(source).await).volume.status, VolumeStatus::Deleting, "it waits");
        assert_eq!(client.world.backend().truth().markers(source), ["first"], "and is still there");
        client.wait(clone, VolumeStatus::Available).await.expect("alive");
        client.wait_gone(source).await.expect("alive");
        assert_eq!(client.contents(clone), ["first"]);
        client.assert_clean().await;

        let late = client.world.volume_id();
        let source = client.available(1).await;
        rules(client, vec![slow("delete", 5)]);
        accepted(client.delete(source).await);
        let refused = refusal(client.create_from(late, source, None).await);
        assert!(matches!(refused, Refusal::InvalidVolume(_)), "{refused:?}");
        assert!(client.view(late).await.is_none(), "a clone that was refused has never been");
        client.assert_clean().await;
    });
}

#[test]
fn r55_an_extend_and_a_snapshots_delete_wait_for_the_reader() {
    in_world(551, async |client| {
        let source = client.available(1).await;
        let snapshot = client.snapshotted(source).await;
        rules(client, vec![slow("create_cloned_volume", 5), slow("create_volume_from_snapshot", 5)]);
        let (clone, copy) = (client.world.volume_id(), client.world.volume_id());
        accepted(client.create_from(clone, source, None).await);
        accepted(client.create_from(copy, source, Some(snapshot)).await);
        accepted(client.extend(source, 2).await);
        accepted(client.snapshot_delete(source, snapshot).await);
        client.world.pass_time(Duration::from_secs(4)).await;
        let state = alive(client.view(source).await);
        assert_eq!((state.volume.status, state.volume.size_gib), (VolumeStatus::Extending, 1));
        assert_eq!(state.snapshots[0].status, SnapshotStatus::Deleting);
        assert_eq!(client.world.backend().truth().volume(source).size_gib, 1, "nothing is asked of the backend yet");
        client.wait(source, VolumeStatus::Available).await.expect("alive");
        client.wait(clone, VolumeStatus::Available).await.expect("alive");
        client.wait(copy, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
        let state = alive(client.view(source).await);
        assert_eq!((state.volume.size_gib, state.snapshots.len()), (2, 0));
        assert_eq!(alive(client.view(clone).await).volume.size_gib, 1);
    });
}

/// The source has it in its books that it is read, and finds out by itself that it is not any more.
#[test]
fn r55_a_loan_survives_a_crash_and_ends() {
    for nth in 1..=2 {
        simulate(WorldOptions::seeded(552), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            let source = client.available(1).await;
            let store = world.store();
            world.crash_plan.arm(nth, if nth == 1 { CallSide::Before } else { CallSide::After }, move || store.crash());
            let clone = world.volume_id();
            drop(client.create_from(clone, source, None).await);
            if nth == 1 {
                node.run(std::future::pending::<()>()).await;
            }
            world.crash_plan.disarm();
            node.crash();
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.assert_clean().await;
            accepted(client.delete(source).await);
            client.wait_gone(source).await.expect("alive");
            client.assert_clean().await;
        });
    }
}

#[test]
fn r58_a_cascade_prepares_all_snapshots_or_none() {
    in_world(58, async |client| {
        let id = client.available(1).await;
        let (first, second) = (client.snapshotted(id).await, client.snapshotted(id).await);
        let reset = Command::SnapshotResetStatus { snapshot_id: second, status: SnapshotStatus::ErrorDeleting };
        accepted(client.ask(id, reset).await);
        assert!(matches!(refusal(client.cascade(id).await), Refusal::InvalidVolume(_)));
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.status, VolumeStatus::Available);
        assert_eq!(state.snapshot(first).expect("there").status, SnapshotStatus::Available);

        let reset = Command::SnapshotResetStatus { snapshot_id: second, status: SnapshotStatus::Available };
        accepted(client.ask(id, reset).await);
        rules(client, vec![FaultRule::once("delete_snapshot", Fault::Refuse { kind: CauseKind::Other })]);
        accepted(client.cascade(id).await);
        client.wait(id, VolumeStatus::ErrorDeleting).await.expect("alive");
        accepted(client.ask(id, Command::Delete { force: true, cascade: true }).await);
        client.wait_gone(id).await.expect("alive");
        client.assert_clean().await;
    });
}

/// A delete that the user asked for without its snapshots is repeated without them, one with them with them.
#[test]
fn r59_a_delete_is_replayed_as_it_was_asked_for() {
    for cascade in [false, true] {
        simulate(WorldOptions::seeded(59), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            let id = client.available(1).await;
            if cascade {
                client.snapshotted(id).await;
            }
            let store = world.store();
            world.crash_plan.arm(1, CallSide::Before, move || store.crash());
            drop(client.ask(id, Command::Delete { force: false, cascade }).await);
            node.run(std::future::pending::<()>()).await;
            world.crash_plan.disarm();
            node.crash();
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.wait_gone(id).await.expect("alive");
            client.assert_clean().await;
        });
    }
}

#[test]
fn r60_a_volume_that_is_being_made_is_not_deleted() {
    in_world(60, async |client| {
        rules(client, vec![slow("create", 5)]);
        let id = client.world.volume_id();
        accepted(client.create(id, 1).await);
        assert!(matches!(refusal(client.delete(id).await), Refusal::InvalidVolume(_)));
        client.wait(id, VolumeStatus::Available).await.expect("alive");

        let Command::Create(mut nowhere) = client.world.create_command(client.world.volume_id(), 1) else {
            unreachable!("it creates")
        };
        nowhere.host = None;
        let id = nowhere.volume_id;
        accepted(client.ask(id, Command::Create(nowhere)).await);
        client.wait(id, VolumeStatus::Error).await.expect("alive");
        accepted(client.delete(id).await);
        client.wait_gone(id).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r61_a_create_that_comes_after_its_delete_leaves_nothing() {
    in_world(61, async |client| {
        rules(client, vec![FaultRule::once("create", Fault::Hang { effect_first: false })]);
        let id = client.world.volume_id();
        accepted(client.create(id, 1).await);
        accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
        client.world.backend().faults().clear();
        client.world.backend().faults().release(None);
        client.wait_gone(id).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r62_revert_and_snapshot_delete_change_both_words_or_neither() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            let snapshot = client.snapshotted(id).await;
            let (reverted, deleted) = if seed % 2 == 0 {
                futures_util::join!(client.revert(id, snapshot), client.snapshot_delete(id, snapshot))
            } else {
                let (deleted, reverted) =
                    futures_util::join!(client.snapshot_delete(id, snapshot), client.revert(id, snapshot));
                (reverted, deleted)
            };
            assert_ne!(reverted.expect("alive").is_ok(), deleted.expect("alive").is_ok(), "one of them wins");
            client.assert_clean().await;
            assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Available);
        });
    }
}

#[test]
fn r63_the_latest_snapshot_is_that_of_the_step() {
    in_world(63, async |client| {
        let id = client.available(1).await;
        client.write(id, "kept").await;
        let first = client.snapshotted(id).await;
        client.write(id, "lost").await;
        rules(client, vec![slow("revert_to_snapshot", 5)]);
        accepted(client.revert(id, first).await);
        let refused = refusal(client.snapshot(id, client.snapshot_id()).await);
        assert!(matches!(refused, Refusal::InvalidVolume(_)), "{refused:?}");
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert_eq!(client.contents(id), ["kept"]);
        assert_eq!(alive(client.view(id).await).snapshots[0].status, SnapshotStatus::Available);

        let second = client.snapshotted(id).await;
        let refused = refusal(client.revert(id, first).await);
        assert!(matches!(refused, Refusal::BadRequest(_)), "{refused:?}");
        accepted(client.revert(id, second).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r67_a_snapshot_is_looked_for_after_a_restart() {
    for side in [CallSide::Before, CallSide::After] {
        simulate(WorldOptions::seeded(67), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            let id = client.available(1).await;
            let store = world.store();
            world.crash_plan.arm(1, side, move || store.crash());
            let snapshot = client.snapshot_id();
            drop(client.snapshot(id, snapshot).await);
            node.run(std::future::pending::<()>()).await;
            world.crash_plan.disarm();
            node.crash();
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.wait_snapshot(id, snapshot, SnapshotStatus::Available).await.expect("alive");
            client.assert_clean().await;
        });
    }
}

#[test]
fn r89_a_forced_delete_of_a_snapshot_joins_the_one_that_runs() {
    in_world(89, async |client| {
        let id = client.available(1).await;
        let snapshot = client.snapshotted(id).await;
        rules(client, vec![slow("delete_snapshot", 3)]);
        accepted(client.snapshot_delete(id, snapshot).await);
        assert!(matches!(refusal(client.snapshot_delete(id, snapshot).await), Refusal::InvalidSnapshot(_)));
        accepted(client.ask(id, Command::SnapshotDelete { snapshot_id: snapshot, force: true }).await);
        client
            .node
            .until(id, Duration::from_secs(20), |state| state.is_some_and(|state| state.snapshots.is_empty()))
            .await
            .expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r96_a_revert_cut_off_on_either_side_is_carried_through() {
    for side in [CallSide::Before, CallSide::After] {
        simulate(WorldOptions::seeded(96), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            let id = client.available(1).await;
            client.write(id, "kept").await;
            let snapshot = client.snapshotted(id).await;
            client.write(id, "lost").await;
            let store = world.store();
            world.crash_plan.arm(1, side, move || store.crash());
            drop(client.revert(id, snapshot).await);
            node.run(std::future::pending::<()>()).await;
            world.crash_plan.disarm();
            node.crash();
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            assert_eq!(client.contents(id), ["kept"]);
            client.assert_clean().await;
        });
    }
}
