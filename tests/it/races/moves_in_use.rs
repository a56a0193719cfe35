//! `spec/races.md` §2: volumes that a guest uses while they go to another backend. Every write that the guest was told is done is
//! there afterwards, and the guest is at one place.

use std::time::Duration;

use hearth::domain::backend::{CauseKind, Guest};
use hearth::domain::ids::{AttachmentId, ServerId, VolumeId};
use hearth::domain::operation::Step;
use hearth::domain::server::HypervisorKind;
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Command, Refusal, VolumeState};
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::sim::{BACKEND, CallSide, OTHER_BACKEND, World, WorldOptions, simulate};

use super::scenario::{Client, PATIENCE, accepted, alive, faults_of_guests, in_world, refusal, slow};

/// The next rules of the guests, and of the backend that they start at.
fn in_guests(client: &Client<'_>, rules: Vec<FaultRule>) {
    client.world.backend().faults().set(rules).expect("the rules make sense");
}

/// Calls that hang go on.
fn release(client: &Client<'_>) {
    for (_, backend) in client.world.backends() {
        backend.faults().release(None);
    }
}

/// A guest of ours writes; whether it was told that it is done.
fn write(world: &World, row: AttachmentId, marker: &str) -> bool {
    let guest =
        Guest { server_id: ServerId::from("a"), hypervisor: HypervisorKind::Sim, qmp_socket: None, check_uuid: true };
    let written = world.hypervisor().guest_write(&guest, row, marker).expect("written");
    written.is_some_and(|write| write.reached.is_some())
}

/// A volume in use by server `a`, its row, and what the guest has written.
async fn used(client: &Client<'_>) -> (VolumeId, AttachmentId) {
    let id = client.attached("a").await;
    let row = alive(client.view(id).await).attachments[0].id;
    assert!(write(client.world, row, "before"));
    (id, row)
}

/// Waits for a step of the migration.
async fn until_at(client: &Client<'_>, id: VolumeId, step: &str) {
    let is_so = |state: &VolumeState| state.migration().is_some_and(|running| running.step.name() == step);
    client.node.until(id, PATIENCE, |state| state.is_some_and(is_so)).await.expect("alive");
}

/// In use, at this backend, by a guest that still writes to it.
async fn assert_used_at(client: &Client<'_>, id: VolumeId, row: AttachmentId, host: &str) {
    let state = alive(client.view(id).await);
    assert_eq!((state.volume.status, state.volume.host.as_deref()), (VolumeStatus::InUse, Some(host)));
    assert!(write(client.world, row, "after"), "the guest goes on");
    assert_eq!(client.contents(id).last().map(String::as_str), Some("after"));
    client.assert_clean().await;
}

#[test]
fn a_guest_goes_on_while_its_volume_moves() {
    in_world(710, async |client| {
        let (id, row) = used(client).await;
        in_guests(client, vec![slow("mirror_guest", 3), slow("pivot_guest", 2)]);
        let before = alive(client.view(id).await).attachments[0].clone();
        accepted(client.migrate(id, OTHER_BACKEND).await);
        until_at(client, id, "mirror").await;
        assert!(write(client.world, row, "during"));
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse);
        until_at(client, id, "pivot").await;
        assert!(write(client.world, row, "level"), "on both");
        client.wait_migration(id, "success").await.expect("alive");
        let after = alive(client.view(id).await).attachments[0].clone();
        assert_ne!(before.export, after.export);
        assert_ne!(before.connection_info, after.connection_info, "clients see how it is reached now");
        assert_eq!((before.bdm, before.connector), (after.bdm, after.connector));
        assert_eq!(client.contents(id), ["before", "during", "level"]);
        assert_used_at(client, id, row, OTHER_BACKEND).await;
        accepted(client.extend(id, 2).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        // And back.
        accepted(client.migrate(id, BACKEND).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        assert_used_at(client, id, row, BACKEND).await;
        accepted(client.server_detach("a", id).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

/// Each step fails in each way: the guest is where the record says, with all that it has written.
#[test]
fn r73_whatever_fails_the_guest_is_where_the_record_says() {
    let faults = faults_of_guests();
    for request in [
        "probe",
        "create_mirror_target",
        "export",
        "mirror_guest",
        "pivot_guest",
        "unmirror_guest",
        "unexport",
        "delete",
    ] {
        for fault in &faults {
            in_world(711, async |client| {
                let (id, row) = used(client).await;
                let rule = || FaultRule::once(request, fault.clone());
                let mut here = vec![rule()];
                if request == "unmirror_guest" {
                    here.push(FaultRule::once("pivot_guest", Fault::Refuse { kind: CauseKind::Guest }));
                }
                in_guests(client, here);
                client.world.other_backend().faults().set(vec![rule()]).expect("the rules make sense");
                accepted(client.migrate(id, OTHER_BACKEND).await);
                let begun = client.world.now();
                while alive(client.view(id).await).is_unsettled() {
                    assert!(write(client.world, row, "during"), "{request}, {fault:?}: the guest is cut off");
                    client.world.pass_time(Duration::from_millis(500)).await;
                    let passed = client.world.now().since(begun);
                    assert!(passed < Duration::from_secs(600), "{request}, {fault:?}: {:?}", client.view(id).await);
                    if passed > Duration::from_secs(60) {
                        // What must be done in the end waits for as long as the backend hangs.
                        release(client);
                    }
                }
                release(client);
                client.world.pass_time(Duration::from_secs(30)).await;
                let state = alive(client.view(id).await);
                let moved = state.volume.migration_status.as_deref() == Some("success");
                assert!(moved || state.volume.migration_status.as_deref() == Some("error"), "{request}, {fault:?}");
                assert!(client.contents(id).iter().any(|marker| marker == "before"), "{request}, {fault:?}");
                assert_used_at(client, id, row, if moved { OTHER_BACKEND } else { BACKEND }).await;
            });
        }
    }
}

#[test]
fn r73_a_crash_anywhere_keeps_the_guest_and_its_writes() {
    for nth in 1..=7 {
        for side in [CallSide::Before, CallSide::After] {
            simulate(WorldOptions::seeded(731), async |world: &World| {
                let node = world.start().await;
                let client = Client::new(world, &node);
                let (id, row) = used(&client).await;
                let store = world.store();
                world.crash_plan.arm(nth, side, move || store.crash());
                accepted(client.migrate(id, OTHER_BACKEND).await);
                let waits = async { tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await };
                let _ = node.run(waits).await;
                assert!(world.crash_plan.calls() >= nth, "there is such a call");
                world.crash_plan.disarm();
                node.crash();
                assert!(write(world, row, "down"), "call {nth}, {side:?}: the guest needs no service");
                let node = world.start().await;
                let client = Client::new(world, &node);
                client.wait_migration(id, "success").await.expect("alive");
                assert_eq!(client.contents(id), ["before", "down"], "call {nth}, {side:?}");
                assert_used_at(&client, id, row, OTHER_BACKEND).await;
            });
        }
    }
}

/// Neither its owner nor Compute takes the guest off while it is moved; the end of the server does, afterwards.
#[test]
fn r72_nobody_detaches_a_guest_that_is_being_moved() {
    in_world(72, async |client| {
        let (id, row) = used(client).await;
        in_guests(client, vec![slow("mirror_guest", 5)]);
        accepted(client.migrate(id, OTHER_BACKEND).await);
        until_at(client, id, "mirror").await;
        for (what, answer) in [
            ("detach by Compute", client.server_detach("a", id).await),
            ("delete of the row", client.attachment_delete(id, row).await),
            ("update of the row", client.attachment_update(id, row, "elsewhere").await),
            ("os-detach", client.ask(id, Command::Detach { attachment_id: Some(row) }).await),
            ("os-terminate_connection", client.ask(id, Command::TerminateConnection { connector: None }).await),
            (
                "os-force_detach",
                client.ask(id, Command::ForceDetach { attachment_id: Some(row), connector: None }).await,
            ),
            ("os-begin_detaching", client.ask(id, Command::BeginDetaching).await),
            ("extend", client.extend(id, 2).await),
        ] {
            let refused = refusal(answer);
            assert!(
                matches!(refused, Refusal::InvalidVolume(_) | Refusal::UsedByServer(_) | Refusal::Conflict(_)),
                "{what}: {refused:?}"
            );
        }
        client.wait_migration(id, "success").await.expect("alive");
        assert_used_at(client, id, row, OTHER_BACKEND).await;
    });
}

#[test]
fn the_end_of_the_server_calls_the_migration_off() {
    for step in ["survey", "create_target", "export", "mirror", "pivot"] {
        in_world(712, async |client| {
            let (id, _) = used(client).await;
            in_guests(client, vec![slow("mirror_guest", 3), slow("pivot_guest", 3)]);
            let rules = vec![slow("probe", 1), slow("create_mirror_target", 3), slow("export", 3)];
            client.world.other_backend().faults().set(rules).expect("the rules make sense");
            accepted(client.migrate(id, OTHER_BACKEND).await);
            until_at(client, id, step).await;
            let gone = client.node.service.server_delete(ServerId::from("a"), client.world.caller());
            alive(client.node.run(gone).await).expect("deleted");
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            let state = alive(client.view(id).await);
            let moved = state.volume.migration_status.as_deref() == Some("success");
            assert_eq!(moved, step == "pivot", "{step}: past the point of no return it is there");
            assert_eq!(client.contents(id), ["before"], "{step}");
            client.assert_clean().await;
        });
    }
}

#[test]
fn r75_a_migration_is_called_off_up_to_the_pivot() {
    for step in ["create_target", "mirror", "pivot"] {
        in_world(75, async |client| {
            let (id, row) = used(client).await;
            in_guests(client, vec![slow("mirror_guest", 3), slow("pivot_guest", 3)]);
            client.world.other_backend().faults().set(vec![slow("create_mirror_target", 3)]).expect("rules");
            accepted(client.migrate(id, OTHER_BACKEND).await);
            until_at(client, id, step).await;
            let answer = client.complete(id, true).await;
            if step == "pivot" {
                assert!(matches!(refusal(answer), Refusal::InvalidVolume(_)));
                client.wait_migration(id, "success").await.expect("alive");
                return assert_used_at(client, id, row, OTHER_BACKEND).await;
            }
            accepted(answer);
            client.wait_migration(id, "error").await.expect("alive");
            client.world.pass_time(Duration::from_secs(10)).await;
            assert_used_at(client, id, row, BACKEND).await;
        });
    }
}

#[test]
fn r83_a_reset_takes_the_guest_back_first() {
    for step in ["mirror", "pivot"] {
        in_world(83, async |client| {
            let (id, row) = used(client).await;
            in_guests(client, vec![slow("mirror_guest", 3), slow("pivot_guest", 3)]);
            accepted(client.migrate(id, OTHER_BACKEND).await);
            until_at(client, id, step).await;
            accepted(client.reset(id, VolumeStatus::InUse).await);
            let state = alive(client.view(id).await);
            let at = state.migration().map(|running| running.step.clone());
            let expected = match step {
                "mirror" => Step::Unmirror { attachment_id: row },
                _ => Step::Pivot { attachment_id: row },
            };
            assert_eq!(at, Some(expected));
            client.node.settle(PATIENCE).await.expect("alive");
            assert_used_at(client, id, row, if step == "pivot" { OTHER_BACKEND } else { BACKEND }).await;
        });
    }
}

/// Two guests of a multiattach volume cannot be moved together: accepted, and an error (volume-actions.md §2.14).
#[test]
fn a_volume_of_two_guests_stays() {
    in_world(713, async |client| {
        let id = client.multiattach().await;
        for server in ["a", "b"] {
            client.server(server).await.expect("alive");
            accepted(client.server_attach(server, id).await);
            client.wait(id, VolumeStatus::InUse).await.expect("alive");
        }
        accepted(client.migrate(id, OTHER_BACKEND).await);
        client.wait_migration(id, "error").await.expect("alive");
        assert_eq!(alive(client.view(id).await).volume.host.as_deref(), Some(BACKEND));
        client.assert_clean().await;
    });
}
