//! `spec/races.md` §2: changes of the type, with a migration and without: type, flag and quota change together, at success.

use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{VolumeId, VolumeTypeId};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::command::RetypeVolume;
use hearth::domain::volume::{Command, Refusal};
use hearth::domain::volume_type::VolumeType;
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::sim::{BACKEND, CallSide, OTHER_BACKEND, World, WorldOptions, simulate};
use hearth::store::TypeChange;

use super::scenario::{self, Client, PATIENCE, accepted, alive, in_world, refusal, slow};

const STORED: &str = "the type is stored";

/// A type that is stored, and that only this backend satisfies; none: any does.
async fn volume_type(world: &World, n: u128, backend: Option<&str>) -> VolumeType {
    let new = scenario::volume_type(world, n, format!("type {n}"), backend);
    world.store_now().type_change(TypeChange::Create(new.clone())).await.expect(STORED).expect(STORED);
    new
}

fn retype(to: &VolumeType, multiattach: bool) -> Command {
    Command::Retype(Box::new(RetypeVolume {
        volume_type_id: to.id,
        type_revision: to.revision,
        multiattach,
        extra_specs: to.extra_specs.clone(),
        migration_allowed: true,
    }))
}

/// Type, flag, status and place.
async fn shown(client: &Client<'_>, id: VolumeId) -> (Option<VolumeTypeId>, bool, VolumeStatus, Option<String>) {
    let state = alive(client.view(id).await);
    let volume = &state.volume;
    (volume.volume_type_id, volume.multiattach, volume.status, volume.host.as_deref().map(str::to_owned))
}

#[test]
fn r68_r69_the_flag_comes_with_the_type_at_success() {
    for fails in [false, true] {
        in_world(68, async |client| {
            let (old, new) =
                (volume_type(client.world, 1, None).await, volume_type(client.world, 2, Some("other")).await);
            let id = client.available(1).await;
            accepted(client.ask(id, retype(&old, false)).await);
            assert_eq!(shown(client, id).await, (Some(old.id), false, VolumeStatus::Available, Some(BACKEND.into())));
            let mut rules = vec![slow("copy_from_backend", 3)];
            if fails {
                rules.push(FaultRule::once("copy_from_backend", Fault::Refuse { kind: CauseKind::NoSpace }));
            }
            client.world.other_backend().faults().set(rules).expect("the rules make sense");
            accepted(client.ask(id, retype(&new, true)).await);
            let during = (Some(old.id), false, VolumeStatus::Retyping, Some(BACKEND.to_owned()));
            assert_eq!(shown(client, id).await, during);
            // What a client writes meanwhile is not lost.
            let renamed = hearth::domain::volume::command::UpdateVolume {
                name: Some(Some("renamed".to_owned())),
                ..Default::default()
            };
            accepted(client.ask(id, Command::Update(renamed)).await);
            for audit in client.world.store_now().usage_audit().await.expect("the store reads") {
                assert_eq!(audit.stored, audit.counted, "exact at every commit");
            }
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            let ended = if fails {
                (Some(old.id), false, VolumeStatus::Available, Some(BACKEND.to_owned()))
            } else {
                (Some(new.id), true, VolumeStatus::Available, Some(OTHER_BACKEND.to_owned()))
            };
            assert_eq!(shown(client, id).await, ended);
            assert_eq!(alive(client.view(id).await).volume.name.as_deref(), Some("renamed"));
            client.assert_clean().await;
        });
    }
}

#[test]
fn r70_a_crash_anywhere_brings_the_retype_to_its_end() {
    for nth in 1..=3 {
        for side in [CallSide::Before, CallSide::After] {
            simulate(WorldOptions::seeded(70), async |world: &World| {
                let node = world.start().await;
                let client = Client::new(world, &node);
                let new = volume_type(world, 1, Some("other")).await;
                let id = client.available(1).await;
                client.write(id, "kept").await;
                let store = world.store();
                world.crash_plan.arm(nth, side, move || store.crash());
                accepted(client.ask(id, retype(&new, false)).await);
                node.run(std::future::pending::<()>()).await;
                world.crash_plan.disarm();
                node.crash();
                let node = world.start().await;
                let client = Client::new(world, &node);
                node.settle(PATIENCE).await.expect("alive");
                let there = (Some(new.id), false, VolumeStatus::Available, Some(OTHER_BACKEND.to_owned()));
                assert_eq!(shown(&client, id).await, there, "call {nth}, {side:?}");
                assert_eq!(client.contents(id), ["kept"]);
                client.assert_clean().await;
            });
        }
    }
}

#[test]
fn r18_a_retype_and_an_attach_exclude_each_other() {
    for seed in 0..16 {
        in_world(seed, async |client| {
            let new = volume_type(client.world, 1, Some("other")).await;
            let id = client.available(1).await;
            client.server("a").await.expect("alive");
            let (retyped, attached) = if seed % 2 == 0 {
                futures_util::join!(client.ask(id, retype(&new, false)), client.server_attach("a", id))
            } else {
                let (attached, retyped) =
                    futures_util::join!(client.server_attach("a", id), client.ask(id, retype(&new, false)));
                (retyped, attached)
            };
            let (retyped, attached) = (retyped.expect("alive").is_ok(), attached.expect("alive").is_ok());
            assert!(retyped != attached, "one of them wins: {retyped} {attached}");
            client.assert_clean().await;
            assert_eq!(shown(client, id).await.0, retyped.then_some(new.id));
        });
    }
}

/// Of two administrators one is late: the volume is never of a type that is gone or says something else by now.
#[test]
fn a_type_that_changes_meanwhile_is_not_taken() {
    in_world(720, async |client| {
        let new = volume_type(client.world, 1, None).await;
        volume_type(client.world, 2, None).await;
        let id = client.available(1).await;
        let stale = VolumeType { revision: 0, ..new.clone() };
        assert!(matches!(refusal(client.ask(id, retype(&stale, false)).await), Refusal::TypeChanged));
        let delete = TypeChange::Delete { id: new.id, revision: new.revision };
        client.world.store_now().type_change(delete).await.expect(STORED).expect("deleted");
        assert!(matches!(refusal(client.ask(id, retype(&new, false)).await), Refusal::TypeChanged));
        assert_eq!(shown(client, id).await.0, None);
        client.assert_clean().await;
    });
}

/// On the way to a type the volume counts for it, so that the type stays as it is (promise I5).
#[test]
fn a_type_that_a_volume_is_on_its_way_to_stays() {
    in_world(721, async |client| {
        let new = volume_type(client.world, 1, Some("other")).await;
        volume_type(client.world, 2, None).await;
        let id = client.available(1).await;
        client.world.other_backend().faults().set(vec![slow("copy_from_backend", 3)]).expect("rules");
        accepted(client.ask(id, retype(&new, false)).await);
        let delete = || TypeChange::Delete { id: new.id, revision: new.revision };
        let answer = client.world.store_now().type_change(delete()).await.expect(STORED);
        assert!(answer.is_err(), "{answer:?}");
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert_eq!(shown(client, id).await.0, Some(new.id));
        client.assert_clean().await;
    });
}

#[test]
fn snapshots_follow_a_type_that_needs_no_migration() {
    in_world(722, async |client| {
        let (here, there) =
            (volume_type(client.world, 1, None).await, volume_type(client.world, 2, Some("other")).await);
        let id = client.available(1).await;
        client.snapshotted(id).await;
        accepted(client.ask(id, retype(&here, false)).await);
        assert_eq!(shown(client, id).await.0, Some(here.id));
        // A volume with snapshots cannot be moved: the type stays, and a message says so.
        accepted(client.ask(id, retype(&there, false)).await);
        client.node.settle(PATIENCE).await.expect("alive");
        assert_eq!(shown(client, id).await, (Some(here.id), false, VolumeStatus::Available, Some(BACKEND.into())));
        client.assert_clean().await;
    });
}
