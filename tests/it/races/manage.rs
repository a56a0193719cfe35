//! What is taken under management and let go of: in every order, and with a crash at every point, the data are there exactly
//! once, under Hearth or not.

use std::time::Duration;

use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{SnapshotId, VolumeId};
use hearth::domain::metadata::Metadata;
use hearth::domain::reference::{snapshot_reference, volume_reference};
use hearth::domain::status::{SnapshotStatus, VolumeStatus};
use hearth::domain::volume::command::{Adoption, CreateSnapshot};
use hearth::domain::volume::{Command, Refusal};
use hearth::drivers::sim::{Fault, FaultRule, Latency};
use hearth::sim::{World, WorldOptions, simulate};
use hearth::store::InlineFault;

use super::recovery::crash_at;
use super::scenario::{Client, PATIENCE, accepted, alive, in_world, refusal, slow};

const OBJECT: &str = "lvol0";

/// How many volumes, snapshots and other objects hold what was written.
pub(super) fn copies(world: &World, marker: &str) -> usize {
    let at = |truth: serde_json::Value| {
        let holders = [&truth["volumes"], &truth["snapshots"], &truth["objects"]];
        holders.map(|held| held.to_string().matches(&format!("\"{marker}\"")).count()).iter().sum::<usize>()
    };
    world.backends().map(|(_, backend)| at(backend.truth().snapshot())).iter().sum()
}

fn rules(client: &Client<'_>, rules: Vec<FaultRule>) {
    client.world.backend().faults().set(rules).expect("the rules make sense");
}

async fn snapshot_manage(client: &Client<'_>, id: VolumeId, snapshot_id: SnapshotId, reference: &str) -> bool {
    let request = CreateSnapshot {
        snapshot_id,
        name: None,
        description: None,
        metadata: Metadata::default(),
        in_use_allowed: true,
        adopts: Some(Adoption { reference: reference.into(), size_gib: 1 }),
    };
    client.ask(id, Command::SnapshotCreate(Box::new(request))).await.is_some_and(|answer| answer.is_ok())
}

#[test]
fn a_crash_in_managing_is_finished() {
    crash_at(
        1,
        1,
        async |client| {
            client.place(OBJECT, "data");
            client.world.volume_id()
        },
        async |client, id| drop(client.manage(id, OBJECT).await),
        async |client, id, side| {
            let volume = alive(client.view(id).await).volume.clone();
            assert_eq!((volume.status, volume.size_gib), (VolumeStatus::Available, 1), "{side:?}");
            assert_eq!((client.contents(id), copies(client.world, "data")), (vec!["data".to_owned()], 1));
        },
    );
}

#[test]
fn a_crash_in_unmanaging_is_finished() {
    crash_at(
        1,
        2,
        async |client| {
            client.place(OBJECT, "data");
            let id = client.world.volume_id();
            accepted(client.manage(id, OBJECT).await);
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            id
        },
        async |client, id| drop(client.unmanage(id).await),
        async |client, id, side| {
            assert!(client.view(id).await.is_none(), "{side:?}");
            let object = client.world.backend().truth().object(&volume_reference(id)).expect("kept");
            assert_eq!((object.markers, copies(client.world, "data")), (vec!["data".to_owned()], 1));
        },
    );
}

#[test]
fn a_crash_while_a_snapshot_is_taken_over_or_let_go_of_is_finished() {
    crash_at(
        1,
        3,
        async |client| {
            client.place(OBJECT, "data");
            client.available(1).await
        },
        async |client, id| {
            snapshot_manage(client, id, client.snapshot_id(), OBJECT).await;
        },
        async |client, id, side| {
            let state = alive(client.view(id).await);
            assert_eq!(state.snapshots[0].status, SnapshotStatus::Available, "{side:?}");
            assert_eq!(copies(client.world, "data"), 1);
        },
    );
    crash_at(
        1,
        4,
        async |client| {
            let id = client.available(1).await;
            client.snapshotted(id).await;
            id
        },
        async |client, id| {
            let snapshot_id = alive(client.view(id).await).snapshots[0].id;
            drop(client.ask(id, Command::SnapshotUnmanage { snapshot_id }).await);
        },
        async |client, id, side| {
            assert!(alive(client.view(id).await).snapshots.is_empty(), "{side:?}");
            let objects = client.world.backend().truth().snapshot()["objects"].clone();
            assert_eq!(objects.as_object().expect("objects").len(), 1);
        },
    );
}

/// Dies at each commit of a whole life, before and after it.
#[test]
fn a_crash_at_any_commit_loses_nothing() {
    for fault in [InlineFault::CrashBefore, InlineFault::CrashAfter] {
        for nth in 1.. {
            let died = simulate(WorldOptions::seeded(nth), async |world: &World| {
                let node = world.start().await;
                let client = Client::new(world, &node);
                client.place(OBJECT, "data");
                let (id, again) = (world.volume_id(), world.volume_id());
                let mut seen = 0;
                world.store().set_fault_hook(Some(Box::new(move |_| {
                    seen += 1;
                    if seen == nth { fault } else { InlineFault::None }
                })));
                let life = async {
                    client.manage(id, OBJECT).await?.expect("accepted");
                    client.wait(id, VolumeStatus::Available).await?;
                    client.unmanage(id).await?.expect("accepted");
                    client.wait_gone(id).await?;
                    client.manage(again, &volume_reference(id)).await?.expect("accepted");
                    client.wait(again, VolumeStatus::Available).await
                };
                let died = node.run(life).await.flatten().is_none();
                world.store().set_fault_hook(None);
                node.crash();
                let node = world.start().await;
                let client = Client::new(world, &node);
                client.assert_clean().await;
                assert_eq!(copies(world, "data"), 1, "{fault:?} {nth}");
                for state in world.volumes().await.iter().filter(|state| !state.volume.deleted) {
                    assert_eq!((state.volume.status, state.volume.size_gib), (VolumeStatus::Available, 1));
                    assert_eq!(client.contents(state.id()), ["data"]);
                }
                died
            });
            if !died {
                assert!(nth > 6, "the life has {nth} commits only");
                break;
            }
        }
    }
}

#[test]
fn of_two_that_want_one_object_one_has_it() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            client.place(OBJECT, "data");
            let ids = [client.world.volume_id(), client.world.volume_id()];
            let (one, other) = futures_util::join!(client.manage(ids[0], OBJECT), client.manage(ids[1], OBJECT));
            (accepted(one), accepted(other));
            client.node.settle(PATIENCE).await.expect("alive");
            let mut words = Vec::new();
            for id in ids {
                words.push(alive(client.view(id).await).volume.status.as_str());
            }
            words.sort_unstable();
            assert_eq!(words, ["available", "error_managing"]);
            client.assert_clean().await;
            for id in ids {
                let was_adopted = alive(client.view(id).await).volume.status == VolumeStatus::Available;
                accepted(client.delete(id).await);
                client.wait_gone(id).await.expect("alive");
                assert_eq!(copies(client.world, "data"), usize::from(!was_adopted && id == ids[0]), "{id}");
            }
            client.assert_clean().await;
        });
    }
}

/// A delete of what is just being taken over lets go of it: the data were never the volume's.
#[test]
fn a_forced_delete_while_an_object_is_taken_over_keeps_it() {
    for (seed, fault) in [
        (1, Fault::Delay { latency: Latency::Fixed { us: 3_000_000 } }),
        (2, Fault::EffectLater { after_us: 9_000_000, hidden: false }),
        (3, Fault::Hang { effect_first: true }),
        (4, Fault::Refuse { kind: CauseKind::Other }),
    ] {
        in_world(seed, async |client| {
            client.place(OBJECT, "data");
            rules(client, vec![FaultRule::once("adopt", fault.clone())]);
            let id = client.world.volume_id();
            accepted(client.manage(id, OBJECT).await);
            client.world.pass_time(Duration::from_millis(100)).await;
            accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
            client.world.backend().faults().release(None);
            client.wait_gone(id).await.expect("alive");
            client.assert_clean().await;
            assert_eq!(copies(client.world, "data"), 1, "{fault:?}");
            let truth = client.world.backend().truth();
            assert!(truth.object(OBJECT).or_else(|| truth.object(&volume_reference(id))).is_some(), "{fault:?}");
        });
    }
}

/// The call goes on after it was given up: what it does is taken into the books or undone, and the owner can delete.
#[test]
fn an_adoption_that_comes_late_is_no_second_truth() {
    in_world(5, async |client| {
        client.place(OBJECT, "data");
        rules(client, vec![slow("adopt", 3)]);
        let id = client.world.volume_id();
        accepted(client.manage(id, OBJECT).await);
        accepted(client.reset(id, VolumeStatus::Error).await);
        client.node.settle(PATIENCE).await.expect("alive");
        client.assert_clean().await;
        accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
        client.wait_gone(id).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn of_an_unmanage_and_a_delete_the_first_is_carried_out() {
    for (seed, force) in [(0, false), (1, true), (2, false), (3, true)] {
        in_world(seed, async |client| {
            client.place(OBJECT, "data");
            let id = client.world.volume_id();
            accepted(client.manage(id, OBJECT).await);
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            rules(client, vec![slow("disown", 3), slow("delete", 3)]);
            let delete = client.ask(id, Command::Delete { force, cascade: false });
            let kept = if seed < 2 {
                let (let_go, deleted) = futures_util::join!(client.unmanage(id), delete);
                accepted(let_go);
                assert!(matches!(refusal(deleted), Refusal::InvalidVolume(_)), "it was promised that the data stay");
                1
            } else {
                let (deleted, let_go) = futures_util::join!(delete, client.unmanage(id));
                accepted(deleted);
                assert!(matches!(refusal(let_go), Refusal::InvalidVolume(_)));
                0
            };
            client.wait_gone(id).await.expect("alive");
            client.assert_clean().await;
            assert_eq!(copies(client.world, "data"), kept);
        });
    }
}

#[test]
fn of_an_unmanage_and_an_attach_one_is_refused() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            client.server("a").await.expect("alive");
            let (let_go, attached) = if seed % 2 == 0 {
                futures_util::join!(client.unmanage(id), client.server_attach("a", id))
            } else {
                let (attached, let_go) = futures_util::join!(client.server_attach("a", id), client.unmanage(id));
                (let_go, attached)
            };
            let attached = attached.expect("alive").is_ok();
            assert_ne!(let_go.expect("alive").is_ok(), attached);
            client.assert_clean().await;
            assert_eq!(client.view(id).await.is_some(), attached);
        });
    }
}

#[test]
fn of_an_unmanage_and_a_delete_of_a_snapshot_the_first_is_carried_out() {
    for force in [false, true] {
        in_world(6, async |client| {
            let id = client.available(1).await;
            client.write(id, "data").await;
            let snapshot_id = client.snapshotted(id).await;
            rules(client, vec![slow("disown_snapshot", 3)]);
            accepted(client.ask(id, Command::SnapshotUnmanage { snapshot_id }).await);
            let refused = refusal(client.ask(id, Command::SnapshotDelete { snapshot_id, force }).await);
            assert!(matches!(refused, Refusal::InvalidSnapshot(_)), "{refused:?}");
            let refused = refusal(client.ask(id, Command::Delete { force: true, cascade: true }).await);
            assert!(matches!(refused, Refusal::InvalidVolume(_)), "{refused:?}");
            client.node.settle(PATIENCE).await.expect("alive");
            assert!(client.world.backend().truth().object(&snapshot_reference(snapshot_id)).is_some());
            accepted(client.delete(id).await);
            client.wait_gone(id).await.expect("alive");
            client.assert_clean().await;
            assert_eq!(copies(client.world, "data"), 1, "the snapshot outlives its volume");
        });
    }
}

/// A backend that is busy with the volume keeps it; one that fails leaves it in error, and nothing is lost.
#[test]
fn an_unmanage_that_fails() {
    for (kind, status) in
        [(CauseKind::Busy, VolumeStatus::Available), (CauseKind::Other, VolumeStatus::ErrorUnmanaging)]
    {
        in_world(7, async |client| {
            let id = client.available(1).await;
            client.write(id, "data").await;
            rules(client, vec![FaultRule::once("disown", Fault::Refuse { kind })]);
            accepted(client.unmanage(id).await);
            client.wait(id, status).await.expect("alive");
            client.assert_clean().await;
            assert_eq!(client.contents(id), ["data"]);
        });
    }
}
