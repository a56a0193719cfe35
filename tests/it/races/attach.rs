//! `spec/races.md` §2.1: attach. Each test is named after its row.

use hearth::actors::{RequestError, ServerAttachRequest};
use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{ServerId, VolumeId};
use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::volume::{Command, Refusal};
use hearth::drivers::sim::{Fault, FaultRule, Latency};
use hearth::sim::{World, WorldOptions, simulate};
use serde_json::json;

use super::scenario::{Client, accepted, alive, in_world, refusal, row_of, slow};

#[test]
fn r01_two_servers_race_for_a_plain_volume_and_one_gets_it() {
    for seed in 0..20 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            let (first, second) = futures_util::join!(
                client.attachment_create(id, Some("a"), None),
                client.attachment_create(id, Some("b"), None)
            );
            let won = [&first, &second].iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
            assert_eq!(won, 1, "{first:?} {second:?}");
            let state = alive(client.view(id).await);
            assert_eq!(state.volume.status, VolumeStatus::Reserved);
            assert_eq!(state.attachments.len(), 1);
        });
    }
}

#[test]
fn r01_a_thousand_servers_race_through_compute_and_one_gets_it() {
    in_world(1, async |client| {
        let id = client.available(1).await;
        for n in 0..1_000 {
            client.server(&format!("s{n}")).await.expect("alive");
        }
        let attaches = (0..1_000).map(|n| {
            let client = *client;
            async move { client.server_attach(&format!("s{n}"), id).await.expect("alive") }
        });
        let answers = futures_util::future::join_all(attaches).await;
        let won = answers.iter().filter(|answer| answer.is_ok()).count();
        let refused = answers
            .iter()
            .filter(|answer| matches!(answer, Err(RequestError::Refused(Refusal::InvalidVolume(_)))))
            .count();
        assert_eq!((won, refused), (1, 999));
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        assert_eq!(alive(client.view(id).await).attachments.len(), 1);
        client.assert_clean().await;
    });
}

#[test]
fn r02_the_same_server_twice() {
    in_world(2, async |client| {
        // Compute: the second is refused, one mapping.
        let id = client.available(1).await;
        client.server("a").await.expect("alive");
        let (first, second) = futures_util::join!(client.server_attach("a", id), client.server_attach("a", id));
        let won = [&first, &second].iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
        assert_eq!(won, 1, "{first:?} {second:?}");
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        let again = refusal(client.server_attach("a", id).await).to_string();
        assert!(again.contains("is already attached to instances: a"), "{again}");
        // Block Storage: two rows of one server are allowed, live migration needs them.
        let other = client.available(1).await;
        accepted(client.attachment_create(other, Some("a"), None).await);
        accepted(client.attachment_create(other, Some("a"), None).await);
        assert_eq!(alive(client.view(other).await).attachments.len(), 2);
        refusal(client.attachment_create(other, Some("b"), None).await);
    });
}

#[test]
fn r07_create_with_a_connector_that_fails_leaves_nothing() {
    for (fault, bad_connector) in [
        (Fault::Fail { kind: CauseKind::Other }, false),
        (Fault::Refuse { kind: CauseKind::BadConnector }, true),
        (Fault::NothingDone, false),
    ] {
        in_world(7, async |client| {
            let id = client.available(1).await;
            client.world.backend().faults().set(vec![FaultRule::on("export", fault.clone())]).expect("rules");
            let said = refusal(client.attachment_create(id, Some("a"), Some(json!({"host": "h"}))).await);
            assert_eq!(matches!(said, Refusal::BadConnector(_)), bad_connector, "{said:?}");
            let state = alive(client.view(id).await);
            assert_eq!(state.volume.status, VolumeStatus::Available);
            assert!(state.attachments.is_empty());
            client.world.backend().faults().clear();
            client.assert_clean().await;
        });
    }
}

#[test]
fn r08_a_reservation_stays_until_it_is_deleted() {
    in_world(8, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        client.world.pass_time(std::time::Duration::from_secs(600)).await;
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Reserved);
        accepted(client.attachment_delete(id, row).await);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Available);
    });
}

#[test]
fn r09_delete_during_a_slow_update_waits_and_leaves_no_export() {
    in_world(9, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        let slow = Fault::Delay { latency: Latency::Fixed { us: 3_000_000 } };
        client.world.backend().faults().set(vec![FaultRule::once("export", slow)]).expect("rules");
        let (updated, deleted) =
            futures_util::join!(client.attachment_update(id, row, "h"), client.attachment_delete(id, row));
        accepted(updated);
        accepted(deleted);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Available);
        client.assert_clean().await;
    });
}

#[test]
fn r10_two_updates_on_two_rows_of_a_plain_volume() {
    in_world(10, async |client| {
        let id = client.available(1).await;
        let first = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        let second = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        let (one, two) =
            futures_util::join!(client.attachment_update(id, first, "h1"), client.attachment_update(id, second, "h2"));
        accepted(one);
        assert!(matches!(refusal(two), Refusal::Conflict(_)));
        let exports = client.world.backend().truth().volume(id).exports;
        assert_eq!(exports.len(), 1, "{exports:?}");
    });
}

#[test]
fn r11_update_and_delete_of_one_row_in_both_orders() {
    in_world(11, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        let (deleted, updated) =
            futures_util::join!(client.attachment_delete(id, row), client.attachment_update(id, row, "h"));
        accepted(deleted);
        assert!(matches!(refusal(updated), Refusal::AttachmentNotFound(_)));
        assert!(client.world.backend().truth().volume(id).exports.is_empty(), "nothing was exported");
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        let (updated, deleted) =
            futures_util::join!(client.attachment_update(id, row, "h"), client.attachment_delete(id, row));
        accepted(updated);
        accepted(deleted);
        client.assert_clean().await;
        assert!(alive(client.view(id).await).attachments.is_empty());
    });
}

#[test]
fn r12_a_late_complete_finds_nothing() {
    in_world(12, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        accepted(client.attachment_delete(id, row).await);
        assert!(matches!(refusal(client.attachment_complete(id, row).await), Refusal::AttachmentNotFound(_)));
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Available);
    });
}

#[test]
fn r13_complete_does_not_resurrect_an_error_volume() {
    in_world(13, async |client| {
        for status in [VolumeStatus::Error, VolumeStatus::ErrorDeleting] {
            let id = client.available(1).await;
            let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
            accepted(client.reset(id, status).await);
            assert!(matches!(refusal(client.attachment_complete(id, row).await), Refusal::InvalidVolume(_)));
            assert_eq!(alive(client.view(id).await).volume.status, status);
        }
    });
}

#[test]
fn r14_complete_twice() {
    in_world(14, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), Some(json!({"host": "h"}))).await));
        accepted(client.attachment_complete(id, row).await);
        let once = alive(client.view(id).await);
        accepted(client.attachment_complete(id, row).await);
        assert_eq!(alive(client.view(id).await), once, "the second changes nothing");
        assert_eq!(once.volume.status, VolumeStatus::InUse);
    });
}

#[test]
fn r15_attach_and_delete_race() {
    for seed in 0..10 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            let (attached, deleted) =
                futures_util::join!(client.attachment_create(id, Some("a"), None), client.delete(id));
            accepted(attached);
            assert!(matches!(refusal(deleted), Refusal::InvalidVolume(_)));
            let other = client.available(1).await;
            let (deleted, attached) =
                futures_util::join!(client.delete(other), client.attachment_create(other, Some("a"), None));
            accepted(deleted);
            assert!(matches!(refusal(attached), Refusal::InvalidVolume(_) | Refusal::VolumeNotFound(_)));
            client.wait_gone(other).await.expect("alive");
        });
    }
}

#[test]
fn r16_attach_and_extend_race() {
    in_world(16, async |client| {
        let id = client.available(1).await;
        let (attached, extended) =
            futures_util::join!(client.attachment_create(id, Some("a"), None), client.extend(id, 2));
        accepted(attached);
        assert!(matches!(refusal(extended), Refusal::InvalidVolume(_)));
        let other = client.available(1).await;
        let (extended, attached) =
            futures_util::join!(client.extend(other, 2), client.attachment_create(other, Some("a"), None));
        accepted(extended);
        assert!(matches!(refusal(attached), Refusal::InvalidVolume(_)));
        client.wait(other, VolumeStatus::Available).await.expect("alive");
        assert_eq!(alive(client.view(other).await).volume.size_gib, 2);
    });
}

#[test]
fn r21_a_second_server_may_attach_while_the_first_connects() {
    in_world(21, async |client| {
        let id = client.multiattach().await;
        client.server("a").await.expect("alive");
        client.server("b").await.expect("alive");
        let (first, second) = futures_util::join!(client.server_attach("a", id), client.server_attach("b", id));
        accepted(first);
        accepted(second);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        client.assert_clean().await;
        assert_eq!(alive(client.view(id).await).attachments.len(), 2);
    });
}

/// The connect of a further server fails: the one that has the volume notices nothing, nor does the volume's word.
#[test]
fn r22_a_further_connect_that_fails_leaves_the_servers_that_have_the_volume_alone() {
    for fault in [Fault::Fail { kind: CauseKind::Other }, Fault::NothingDone] {
        in_world(22, async |client| {
            let id = client.multiattach().await;
            client.server("a").await.expect("alive");
            accepted(client.server_attach("a", id).await);
            client.wait(id, VolumeStatus::InUse).await.expect("alive");
            let before = alive(client.view(id).await).attachments[0].clone();
            let row = row_of(&accepted(client.attachment_create(id, Some("b"), None).await));
            assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse, "while it is reserved");
            client.world.backend().faults().set(vec![FaultRule::on("export", fault.clone())]).expect("rules");
            refusal(client.attachment_update(id, row, "h").await);
            client.world.backend().faults().clear();
            let state = alive(client.view(id).await);
            assert_eq!(
                (state.volume.status, state.volume.attach_status),
                (VolumeStatus::InUse, AttachStatus::Attached)
            );
            assert_eq!(state.attachment(before.id), Some(&before));
            assert_eq!(state.attachment(row).expect("it stays").attach_status, AttachStatus::Reserved);
            accepted(client.attachment_delete(id, row).await);
            assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse);
            assert_eq!(client.world.backend().truth().volume(id).exports.len(), 1);
            client.assert_clean().await;
        });
    }
}

/// One of the two that ask for a name has it; whoever leaves the choice to the server gets another one.
#[test]
fn r25_two_volumes_of_a_server_race_for_one_device_name() {
    for seed in 0..10 {
        in_world(2_500 + seed, async |client| {
            client.server("a").await.expect("alive");
            let ids = [client.available(1).await, client.available(1).await, client.available(1).await];
            let attach = |id, device: Option<&str>| {
                let request = ServerAttachRequest { device: device.map(str::to_owned), ..Default::default() };
                client.node.run(client.node.service.server_attach("a".into(), id, request, client.world.caller()))
            };
            let named = Some("/dev/vdb");
            let (first, second, third) =
                futures_util::join!(attach(ids[0], named), attach(ids[1], named), attach(ids[2], None));
            let lost = if matches!(first, Some(Ok(_))) { second } else { first };
            assert!(matches!(lost, Some(Err(RequestError::ServerConflict(_)))), "{lost:?}");
            accepted(third);
            client.node.settle(super::scenario::PATIENCE).await.expect("alive");
            let mut devices = Vec::new();
            for id in ids {
                let state = alive(client.view(id).await);
                devices.extend(state.attachments.iter().map(|row| row.bdm.clone().expect("Compute's").device));
            }
            devices.sort();
            assert_eq!(devices, [Some("/dev/vdb".into()), Some("/dev/vdc".into())]);
            client.assert_clean().await;
        });
    }
}

#[test]
fn r26_attach_and_server_delete_leave_no_orphan() {
    for seed in 0..10 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            client.server("a").await.expect("alive");
            let service = &client.node.service;
            let (attached, deleted) = futures_util::join!(
                client.server_attach("a", id),
                service.server_delete(ServerId::from("a"), client.world.caller())
            );
            deleted.expect("the server is removed");
            drop(attached);
            client.assert_clean().await;
            let state = alive(client.view(id).await);
            assert!(state.attachments.is_empty(), "{state:#?}");
            assert_eq!(state.volume.status, VolumeStatus::Available);
        });
    }
}

/// The process dies around the commit of an attach: afterwards there is a row with its mapping, or neither.
#[test]
fn r27_row_and_mapping_appear_together_across_a_crash() {
    for nth in 1..=4 {
        for fault in [hearth::store::InlineFault::CrashBefore, hearth::store::InlineFault::CrashAfter] {
            simulate(WorldOptions::seeded(27), async |world: &World| {
                let node = world.start().await;
                let client = Client::new(world, &node);
                client.server("a").await.expect("alive");
                let id = client.available(1).await;
                let mut seen = 0;
                world.store().set_fault_hook(Some(Box::new(move |_| {
                    seen += 1;
                    if seen == nth { fault } else { hearth::store::InlineFault::None }
                })));
                drop(client.server_attach("a", id).await);
                client.node.settle(super::scenario::PATIENCE).await;
                world.store().set_fault_hook(None);
                node.crash();
                let node = world.start().await;
                let client = Client::new(world, &node);
                client.assert_clean().await;
                let state = alive(client.view(id).await);
                for row in &state.attachments {
                    let bdm = row.bdm.as_ref().expect("never a row of Compute without its mapping");
                    assert_eq!(row.instance_uuid.as_ref(), Some(&bdm.server_id));
                    assert_eq!(row.attach_status, AttachStatus::Attached);
                }
            });
        }
    }
}

#[test]
fn r28_device_names_are_distinct_and_free_again() {
    in_world(28, async |client| {
        client.server("a").await.expect("alive");
        let mut ids: Vec<VolumeId> = Vec::new();
        for _ in 0..5 {
            ids.push(client.available(1).await);
        }
        let attaches = ids.iter().map(|id| client.server_attach("a", *id));
        let answers = futures_util::future::join_all(attaches).await;
        let mut devices = answers
            .into_iter()
            .map(|answer| {
                let reply = accepted(answer);
                let row = reply.state.attachment(row_of(&reply)).expect("the row is there").clone();
                row.bdm.expect("a mapping").device.expect("a device")
            })
            .collect::<Vec<_>>();
        devices.sort();
        assert_eq!(devices, ["/dev/vdb", "/dev/vdc", "/dev/vdd", "/dev/vde", "/dev/vdf"]);
        for id in &ids {
            client.wait(*id, VolumeStatus::InUse).await.expect("alive");
        }
        accepted(client.server_detach("a", ids[0]).await);
        client.wait(ids[0], VolumeStatus::Available).await.expect("alive");
        accepted(client.server_attach("a", ids[0]).await);
        client.wait(ids[0], VolumeStatus::InUse).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r84_live_rows_block_a_second_attach_whatever_the_word_says() {
    in_world(84, async |client| {
        let id = client.available(1).await;
        client.server("a").await.expect("alive");
        client.server("b").await.expect("alive");
        accepted(client.server_attach("a", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        accepted(client.reset(id, VolumeStatus::Available).await);
        assert!(matches!(refusal(client.server_attach("b", id).await), Refusal::InvalidVolume(_)));
        assert!(matches!(refusal(client.attachment_create(id, Some("b"), None).await), Refusal::InvalidVolume(_)));
        assert!(matches!(refusal(client.delete(id).await), Refusal::InvalidVolume(_)), "R-57: live rows block delete");
        let force = client.ask(id, Command::Delete { force: true, cascade: false }).await;
        assert!(matches!(refusal(force), Refusal::InvalidVolume(_)));
    });
}

/// A forced delete ignores the volume's word, but not the promise that was given to a server: with a row that is only reserved,
/// in the midst of its connect, and connected.
#[test]
fn r57_a_live_row_blocks_a_delete_in_every_form() {
    in_world(57, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, None, None).await));
        let refused = async || {
            for (force, cascade) in [(false, false), (true, false), (false, true), (true, true)] {
                let answer = client.ask(id, Command::Delete { force, cascade }).await;
                assert!(matches!(refusal(answer), Refusal::InvalidVolume(_)), "force {force}, cascade {cascade}");
            }
        };
        refused().await;
        client.world.backend().faults().set(vec![slow("export", 3)]).expect("rules");
        let (connected, ()) = futures_util::join!(client.attachment_update(id, row, "h"), refused());
        accepted(connected);
        refused().await;
        accepted(client.attachment_complete(id, row).await);
        refused().await;
        accepted(client.attachment_delete(id, row).await);
        accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
        alive(client.wait_gone(id).await);
        client.assert_clean().await;
    });
}

/// The word that an operator sets stands until something happens to the volume; then the rows say what it is.
#[test]
fn r86_a_word_that_the_rows_do_not_bear_is_corrected_at_the_next_event() {
    in_world(86, async |client| {
        let id = client.available(1).await;
        let first = row_of(&accepted(client.attachment_create(id, None, None).await));
        accepted(client.reset(id, VolumeStatus::InUse).await);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse);
        accepted(client.attachment_update(id, first, "h1").await);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Attaching);
        accepted(client.attachment_delete(id, first).await);
        alive(client.wait(id, VolumeStatus::Available).await);
        client.assert_clean().await;
    });
}
