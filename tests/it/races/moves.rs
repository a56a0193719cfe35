//! `spec/races.md` §2: volumes on their way to another backend. What is written before is there afterwards, at one place only.

use std::time::Duration;

use hearth::actors::ServiceChange;
use hearth::domain::backend::CauseKind;
use hearth::domain::operation::OperationKind;
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::command::MigrateVolume;
use hearth::domain::volume::{Command, Refusal, VolumeState};
use hearth::domain::volume_type::ExtraSpecs;
use hearth::drivers::sim::{Fault, FaultRule, SimBackend};
use hearth::sim::{BACKEND, CallSide, OTHER_BACKEND, World, WorldOptions, simulate};
use serde_json::json;

use super::scenario::{Client, accepted, alive, in_world, refusal, row_of, slow};

/// Without its pool, as clients may write it.
const OTHER_SERVICE: &str = "sim@other";

/// The next rules of the destination.
fn at_destination(client: &Client<'_>, rules: Vec<FaultRule>) {
    client.world.other_backend().faults().set(rules).expect("the rules make sense");
}

/// Waits until the volume is being copied.
async fn copying(client: &Client<'_>, id: hearth::domain::ids::VolumeId) {
    let is_so = |state: &VolumeState| state.volume.migration_status.as_deref() == Some("migrating");
    client.node.until(id, Duration::from_secs(10), |state| state.is_some_and(is_so)).await.expect("alive");
}

fn has(backend: &SimBackend, id: hearth::domain::ids::VolumeId) -> bool {
    backend.truth().volume(id).exists
}

#[test]
fn a_detached_volume_moves_with_all_that_is_written() {
    in_world(700, async |client| {
        let id = client.available(2).await;
        client.write(id, "one").await;
        client.write(id, "two").await;
        at_destination(client, vec![slow("copy_from_backend", 3)]);
        accepted(client.migrate(id, OTHER_SERVICE).await);
        copying(client, id).await;
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.status, VolumeStatus::Available, "it is not locked");
        assert_eq!(state.volume.host.as_deref(), Some(BACKEND), "it is where it was until all of it is there");
        client.wait_migration(id, "success").await.expect("alive");
        let state = alive(client.view(id).await);
        assert_eq!((state.volume.status, state.volume.host.as_deref()), (VolumeStatus::Available, Some(OTHER_BACKEND)));
        assert!(!has(client.world.backend(), id), "nothing stays behind");
        assert_eq!(client.contents(id), ["one", "two"]);
        client.write(id, "three").await;
        // And back again, to a place where it has been.
        accepted(client.migrate(id, BACKEND).await);
        client.node.settle(super::scenario::PATIENCE).await.expect("alive");
        assert_eq!(alive(client.view(id).await).volume.host.as_deref(), Some(BACKEND));
        assert_eq!(client.contents(id), ["one", "two", "three"]);
        client.assert_clean().await;
    });
}

#[test]
fn a_locked_migration_shows_maintenance_until_it_has_ended() {
    for fails in [false, true] {
        in_world(701, async |client| {
            let id = client.available(1).await;
            let mut rules = vec![slow("probe", 3)];
            if fails {
                rules.push(FaultRule::once("copy_from_backend", Fault::Refuse { kind: CauseKind::NoSpace }));
            }
            at_destination(client, rules);
            let host = OTHER_BACKEND.to_owned();
            let request = MigrateVolume { host, lock_volume: true, extra_specs: ExtraSpecs::default() };
            accepted(client.ask(id, Command::Migrate(Box::new(request))).await);
            let state = alive(client.view(id).await);
            assert_eq!(state.volume.status, VolumeStatus::Maintenance);
            assert_eq!(state.volume.previous_status, Some(VolumeStatus::Available));
            assert_eq!(state.volume.migration_status.as_deref(), Some("starting"));
            client.wait_migration(id, if fails { "error" } else { "success" }).await.expect("alive");
            let state = alive(client.view(id).await);
            assert_eq!(state.volume.status, VolumeStatus::Available);
            assert_eq!(state.volume.host.as_deref(), Some(if fails { BACKEND } else { OTHER_BACKEND }));
            client.assert_clean().await;
        });
    }
}

/// While the copy is made nobody may write, grow, connect, or remove what is read (R-50, R-71, R-72, races.md §4).
#[test]
fn r71_r50_the_volume_takes_nobody_while_it_is_copied() {
    in_world(71, async |client| {
        let id = client.available(1).await;
        client.write(id, "kept").await;
        client.server("a").await.expect("alive");
        at_destination(client, vec![slow("copy_from_backend", 4)]);
        accepted(client.migrate(id, OTHER_BACKEND).await);
        copying(client, id).await;
        let snapshot = client.snapshot_id();
        let connector = || json!({"host": "h"});
        for (what, answer) in [
            ("attach by Compute", client.server_attach("a", id).await),
            ("reserve a row", client.attachment_create(id, Some("a"), None).await),
            ("create connected", client.attachment_create(id, None, Some(connector())).await),
            ("os-reserve", client.ask(id, Command::Reserve).await),
            ("initialize", client.ask(id, Command::InitializeConnection { connector: connector() }).await),
            ("extend", client.extend(id, 2).await),
            ("snapshot", client.snapshot(id, snapshot).await),
            ("delete", client.delete(id).await),
            ("force delete", client.ask(id, Command::Delete { force: true, cascade: false }).await),
            ("migrate again", client.migrate(id, OTHER_BACKEND).await),
            ("complete", client.complete(id, false).await),
            ("clone", client.create_from(client.world.volume_id(), id, None).await),
        ] {
            let refused = refusal(answer);
            assert!(matches!(refused, Refusal::InvalidVolume(_) | Refusal::InvalidInput(_)), "{what}: {refused:?}");
        }
        let update =
            hearth::domain::volume::command::UpdateVolume { name: Some(Some("n".to_owned())), ..Default::default() };
        accepted(client.ask(id, Command::Update(update)).await);
        client.wait_migration(id, "success").await.expect("alive");
        assert_eq!(client.contents(id), ["kept"]);
        accepted(client.server_attach("a", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        client.assert_clean().await;
    });
}

/// Of two that come at once one wins, whichever it is.
#[test]
fn r18_r50_a_migration_and_an_attach_or_an_extend_exclude_each_other() {
    for seed in 0..24 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            client.server("a").await.expect("alive");
            let extends = seed % 3 == 0;
            let other = async || {
                if extends { client.extend(id, 2).await } else { client.server_attach("a", id).await }
            };
            let (moved, other) = if seed % 2 == 0 {
                futures_util::join!(client.migrate(id, OTHER_BACKEND), other())
            } else {
                let (other, moved) = futures_util::join!(other(), client.migrate(id, OTHER_BACKEND));
                (moved, other)
            };
            let (moved, other) = (moved.expect("alive").is_ok(), other.expect("alive").is_ok());
            assert_ne!(moved, other, "one of them wins");
            client.node.settle(super::scenario::PATIENCE).await.expect("alive");
            let state = alive(client.view(id).await);
            let there = if moved { OTHER_BACKEND } else { BACKEND };
            assert_eq!(state.volume.host.as_deref(), Some(there));
            client.assert_clean().await;
        });
    }
}

#[test]
fn r72_a_volume_that_migrates_is_not_detached_by_a_word_set_by_hand() {
    in_world(72, async |client| {
        let id = client.attached("a").await;
        let row = alive(client.view(id).await).attachments[0].id;
        let by_hand = |word: Option<&str>| Command::ResetStatus {
            status: None,
            attach_status: None,
            migration_status: Some(word.map(str::to_owned)),
        };
        accepted(client.ask(id, by_hand(Some("migrating"))).await);
        assert!(matches!(refusal(client.server_detach("a", id).await), Refusal::InvalidVolume(_)));
        accepted(client.ask(id, by_hand(None)).await);
        accepted(client.server_detach("a", id).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert!(alive(client.view(id).await).attachment(row).is_none());
        client.assert_clean().await;
    });
}

/// What fails at the destination, in each way, leaves the volume as it was and nothing at the destination.
#[test]
fn a_copy_that_fails_leaves_the_volume_as_it_was() {
    for (fault, calls) in [
        (Fault::Refuse { kind: CauseKind::NoSpace }, 1),
        (Fault::Fail { kind: CauseKind::Other }, 1),
        (Fault::NothingDone, 9),
        (Fault::AnswerLost, 1),
        (Fault::EffectLater { after_us: 30_000_000, hidden: true }, 9),
        (Fault::Hang { effect_first: true }, 1),
        (Fault::Hang { effect_first: false }, 9),
    ] {
        in_world(702, async |client| {
            let id = client.available(1).await;
            client.write(id, "kept").await;
            let rules = (0..calls).map(|_| FaultRule::once("copy_from_backend", fault.clone()));
            at_destination(client, rules.collect());
            accepted(client.migrate(id, OTHER_BACKEND).await);
            client.node.settle(super::scenario::PATIENCE).await.expect("alive");
            let state = alive(client.view(id).await);
            let ended = state.volume.migration_status.as_deref().map(str::to_owned);
            assert!(matches!(ended.as_deref(), Some("error" | "success")), "{fault:?}: {ended:?}");
            assert_eq!(state.volume.status, VolumeStatus::Available, "{fault:?}");
            // Whatever comes late comes now.
            client.world.other_backend().faults().clear();
            client.world.other_backend().faults().release(None);
            client.world.pass_time(Duration::from_secs(40)).await;
            assert_eq!(client.contents(id), ["kept"], "{fault:?}");
            client.assert_clean().await;
        });
    }
}

#[test]
fn what_is_there_under_the_same_id_is_never_touched() {
    in_world(703, async |client| {
        let id = client.available(1).await;
        let truth = client.world.other_backend().truth();
        truth.adopt(id, 7, []).expect("kept");
        accepted(client.migrate(id, OTHER_BACKEND).await);
        client.wait_migration(id, "error").await.expect("alive");
        assert_eq!(truth.volume(id).size_gib, 7, "nobody knows what it is: it stays");
        assert_eq!(alive(client.view(id).await).volume.host.as_deref(), Some(BACKEND));
    });
}

/// The process dies on either side of every driver call of a migration; the next one brings it to an end.
#[test]
fn r73_a_crash_anywhere_ends_well() {
    for nth in 1..=4 {
        for side in [CallSide::Before, CallSide::After] {
            simulate(WorldOptions::seeded(73), async |world: &World| {
                let node = world.start().await;
                let client = Client::new(world, &node);
                let id = client.available(1).await;
                client.write(id, "kept").await;
                let store = world.store();
                world.crash_plan.arm(nth, side, move || store.crash());
                accepted(client.migrate(id, OTHER_BACKEND).await);
                let _ = node
                    .run(async { tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await })
                    .await;
                world.crash_plan.disarm();
                node.crash();
                let node = world.start().await;
                let client = Client::new(world, &node);
                client.node.settle(super::scenario::PATIENCE).await.expect("alive");
                let state = alive(client.view(id).await);
                assert_eq!(state.volume.migration_status.as_deref(), Some("success"), "call {nth}, {side:?}");
                assert_eq!(state.volume.host.as_deref(), Some(OTHER_BACKEND));
                assert_eq!(client.contents(id), ["kept"]);
                client.assert_clean().await;
            });
        }
    }
}

#[test]
fn r74_r75_a_completion_that_is_repeated_answers_alike() {
    in_world(74, async |client| {
        let id = client.available(1).await;
        client.write(id, "kept").await;
        accepted(client.migrate(id, OTHER_BACKEND).await);
        client.wait_migration(id, "success").await.expect("alive");
        for error in [false, false, true] {
            accepted(client.complete(id, error).await);
        }
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.host.as_deref(), Some(OTHER_BACKEND), "what has ended is not undone");
        assert_eq!(state.volume.migration_status.as_deref(), Some("success"));

        at_destination(client, vec![]);
        client.world.backend().faults().set(vec![slow("copy_from_backend", 30)]).expect("the rules make sense");
        accepted(client.migrate(id, BACKEND).await);
        copying(client, id).await;
        accepted(client.complete(id, true).await);
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.migration_status.as_deref(), Some("error"), "settled in the same step");
        accepted(client.complete(id, true).await);
        accepted(client.complete(id, false).await);
        client.wait_migration(id, "error").await.expect("alive");
        // The copy that was called off ends: nothing of it stays.
        client.world.pass_time(Duration::from_secs(40)).await;
        assert!(!has(client.world.backend(), id));
        assert_eq!(client.contents(id), ["kept"]);
        client.assert_clean().await;
    });
}

/// There is no second volume that anybody could see or touch: lists show one, and what is left at the old place belongs to the
/// operation that removes it.
#[test]
fn r79_a_migration_makes_no_volume_that_anybody_could_touch() {
    in_world(79, async |client| {
        let id = client.available(1).await;
        at_destination(client, vec![slow("copy_from_backend", 3)]);
        client.world.backend().faults().set(vec![slow("delete", 4)]).expect("the rules make sense");
        accepted(client.migrate(id, OTHER_BACKEND).await);
        copying(client, id).await;
        let ids = |volumes: Vec<VolumeState>| volumes.iter().map(VolumeState::id).collect::<Vec<_>>();
        assert_eq!(ids(client.world.volumes().await), [id]);
        let arrived = |state: &VolumeState| state.volume.host.as_deref() == Some(OTHER_BACKEND);
        client.node.until(id, super::scenario::PATIENCE, |state| state.is_some_and(arrived)).await.expect("alive");
        let state = alive(client.view(id).await);
        assert!(matches!(&state.operations[0].kind, OperationKind::DiscardCopy { .. }), "{:?}", state.operations);
        assert_eq!(ids(client.world.volumes().await), [id]);
        // In nobody's way: it can be used at once, and deleted.
        accepted(client.extend(id, 2).await);
        let grown = |state: &VolumeState| state.volume.size_gib == 2 && state.data_work().is_none();
        client.node.until(id, Duration::from_secs(2), |state| state.is_some_and(grown)).await.expect("alive");
        accepted(client.delete(id).await);
        client.wait_gone(id).await.expect("alive");
        assert!(!has(client.world.backend(), id), "what was left is gone before the record is");
        client.assert_clean().await;
    });
}

/// Two that go opposite ways wait for nobody.
#[test]
fn r82_volumes_that_change_places_do_not_wait_for_each_other() {
    in_world(82, async |client| {
        let (here, there) = (client.available(1).await, client.available(1).await);
        accepted(client.migrate(there, OTHER_BACKEND).await);
        client.wait_migration(there, "success").await.expect("alive");
        client.world.backend().faults().set(vec![slow("copy_from_backend", 3)]).expect("the rules make sense");
        at_destination(client, vec![slow("copy_from_backend", 3)]);
        let (first, second) = futures_util::join!(client.migrate(here, OTHER_BACKEND), client.migrate(there, BACKEND));
        accepted(first);
        accepted(second);
        let begun = client.world.now();
        client.node.settle(super::scenario::PATIENCE).await.expect("alive");
        assert!(client.world.now().since(begun) < Duration::from_secs(5), "side by side");
        assert!(has(client.world.other_backend(), here) && has(client.world.backend(), there));
        client.assert_clean().await;
    });
}

#[test]
fn r83_a_reset_calls_the_migration_off() {
    in_world(83, async |client| {
        let id = client.available(1).await;
        client.write(id, "kept").await;
        at_destination(client, vec![slow("copy_from_backend", 20)]);
        accepted(client.migrate(id, OTHER_BACKEND).await);
        copying(client, id).await;
        accepted(client.reset(id, VolumeStatus::Available).await);
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.migration_status.as_deref(), Some("error"));
        client.write(id, "later").await;
        client.node.settle(super::scenario::PATIENCE).await.expect("alive");
        client.world.pass_time(Duration::from_secs(30)).await;
        assert_eq!(client.contents(id), ["kept", "later"], "the late copy changes nothing");
        client.assert_clean().await;
    });
}

#[test]
fn r90_a_backend_that_is_closed_or_unknown_takes_nothing() {
    in_world(90, async |client| {
        let id = client.available(1).await;
        for host in ["sim@nowhere", "nonsense", ""] {
            assert!(matches!(refusal(client.migrate(id, host).await), Refusal::BadRequest(_)), "{host:?}");
        }
        for host in [BACKEND, "sim@sim", "sim@sim#elsewhere"] {
            assert!(matches!(refusal(client.migrate(id, host).await), Refusal::InvalidVolume(_)), "{host}");
        }
        let say = async |change| {
            let said = client.node.service.service_change("sim@other", "cinder-volume", change);
            alive(client.node.run(said).await).expect("said");
        };
        say(ServiceChange::Disable { reason: None }).await;
        assert!(matches!(refusal(client.migrate(id, OTHER_BACKEND).await), Refusal::BadRequest(_)));
        say(ServiceChange::Enable).await;
        // What was admitted before goes on.
        at_destination(client, vec![slow("copy_from_backend", 3)]);
        accepted(client.migrate(id, OTHER_BACKEND).await);
        say(ServiceChange::Freeze).await;
        client.wait_migration(id, "success").await.expect("alive");
        assert!(matches!(refusal(client.migrate(id, BACKEND).await), Refusal::InvalidInput(_)), "its own is frozen");
        client.assert_clean().await;
    });
}

/// A host that has connected itself could not be brought along (volume-actions.md §2.11).
#[test]
fn a_volume_that_a_host_is_connected_to_stays() {
    in_world(704, async |client| {
        let id = client.available(1).await;
        let connector = json!({"host": "h"});
        accepted(client.ask(id, Command::InitializeConnection { connector: connector.clone() }).await);
        assert!(matches!(refusal(client.migrate(id, OTHER_BACKEND).await), Refusal::InvalidVolume(_)));
        accepted(client.ask(id, Command::TerminateConnection { connector: Some(connector.clone()) }).await);
        let row = row_of(&accepted(client.attachment_create(id, None, Some(connector)).await));
        assert!(matches!(refusal(client.migrate(id, OTHER_BACKEND).await), Refusal::InvalidVolume(_)), "attaching");
        accepted(client.attachment_complete(id, row).await);
        accepted(client.migrate(id, OTHER_BACKEND).await);
        client.wait_migration(id, "error").await.expect("alive");
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse, "its client is no guest of ours");
        client.assert_clean().await;
    });
}

#[test]
fn a_volume_with_snapshots_stays() {
    in_world(705, async |client| {
        let id = client.available(1).await;
        let snapshot = client.snapshotted(id).await;
        assert!(matches!(refusal(client.migrate(id, OTHER_BACKEND).await), Refusal::InvalidVolume(_)));
        accepted(client.snapshot_delete(id, snapshot).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        accepted(client.migrate(id, OTHER_BACKEND).await);
        client.wait_migration(id, "success").await.expect("alive");
        client.assert_clean().await;
    });
}
