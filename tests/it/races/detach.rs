//! `spec/races.md` §2.2 and §2.8: detach, and the two views of one row.

use hearth::actors::RequestError;
use hearth::domain::backend::CauseKind;
use hearth::domain::ids::ServerId;
use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::volume::Refusal;
use hearth::drivers::sim::{Fault, FaultRule};
use serde_json::json;

use super::scenario::{PATIENCE, accepted, alive, in_world, refusal, row_of, slow};

#[test]
fn r29_detach_twice_is_accepted_once_then_refused_then_not_found() {
    in_world(29, async |client| {
        let id = client.attached("a").await;
        client.world.backend().faults().set(vec![slow("unplug", 2)]).expect("rules");
        let (first, second) = futures_util::join!(client.server_detach("a", id), client.server_detach("a", id));
        accepted(first);
        assert!(matches!(refusal(second), Refusal::InvalidVolume(_)), "400 while it is detaching");
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert!(matches!(refusal(client.server_detach("a", id).await), Refusal::NotAttached(_)), "404 afterwards");
        client.assert_clean().await;
    });
}

#[test]
fn r31_a_row_is_detached_while_the_volume_is_extended() {
    in_world(31, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), Some(json!({"host": "h"}))).await));
        accepted(client.attachment_complete(id, row).await);
        client.world.backend().faults().set(vec![slow("extend", 3)]).expect("rules");
        accepted(client.extend(id, 2).await);
        accepted(client.attachment_delete(id, row).await);
        let between = alive(client.view(id).await);
        assert_eq!(between.volume.status, VolumeStatus::Extending, "R-32: the status stays with the extend");
        assert!(between.attachments.is_empty());
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert_eq!(alive(client.view(id).await).volume.size_gib, 2);
        client.assert_clean().await;
    });
}

#[test]
fn r32_no_second_job_starts_while_the_first_still_runs() {
    in_world(32, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), Some(json!({"host": "h"}))).await));
        accepted(client.attachment_complete(id, row).await);
        client.world.backend().faults().set(vec![slow("extend", 3)]).expect("rules");
        accepted(client.extend(id, 2).await);
        accepted(client.attachment_delete(id, row).await);
        refusal(client.extend(id, 3).await);
        refusal(client.attachment_create(id, Some("b"), None).await);
        refusal(client.delete(id).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
    });
}

#[test]
fn r35_two_servers_detach_a_multiattach_volume_at_once() {
    in_world(35, async |client| {
        let id = client.multiattach().await;
        for server in ["a", "b"] {
            client.server(server).await.expect("alive");
            accepted(client.server_attach(server, id).await);
            client.wait(id, VolumeStatus::InUse).await.expect("alive");
        }
        client.world.backend().faults().set(vec![slow("unplug", 2)]).expect("rules");
        accepted(client.server_detach("a", id).await);
        accepted(client.server_detach("b", id).await);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Detaching);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r43_an_unexport_that_fails_is_repaired_before_anybody_else_connects() {
    in_world(43, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), Some(json!({"host": "h1"}))).await));
        accepted(client.attachment_complete(id, row).await);
        let rule = FaultRule { times: Some(3), ..FaultRule::on("unexport", Fault::Fail { kind: CauseKind::Other }) };
        client.world.backend().faults().set(vec![rule]).expect("rules");
        accepted(client.attachment_delete(id, row).await);
        let freed = alive(client.view(id).await);
        assert!(freed.attachments.is_empty(), "the detach succeeds for the client");
        assert_eq!(freed.volume.status, VolumeStatus::Available);
        assert_eq!(freed.volume.orphan_exports.len(), 1, "the export is kept as a repair intent");
        // The next connection waits for the repair: never two hosts at once.
        let next = row_of(&accepted(client.attachment_create(id, Some("b"), Some(json!({"host": "h2"}))).await));
        assert_eq!(client.world.backend().truth().volume(id).exports.len(), 1);
        assert_eq!(client.world.backend().truth().max_concurrent_consumers(id), 1);
        accepted(client.attachment_delete(id, next).await);
        client.assert_clean().await;
    });
}

#[test]
fn r44_server_delete_while_detaching_has_one_effect() {
    in_world(44, async |client| {
        let id = client.attached("a").await;
        client.world.backend().faults().set(vec![slow("unplug", 2)]).expect("rules");
        accepted(client.server_detach("a", id).await);
        let caller = client.world.caller();
        client.node.service.server_delete(ServerId::from("a"), caller).await.expect("removed");
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r40_a_user_cannot_delete_the_attachment_of_a_server() {
    in_world(40, async |client| {
        let id = client.attached("a").await;
        let row = alive(client.view(id).await).attachments[0].id;
        assert!(matches!(refusal(client.attachment_delete(id, row).await), Refusal::UsedByServer(_)));
        let service = hearth::domain::volume::Caller { is_service: true, ..client.world.caller() };
        let command = hearth::domain::volume::Command::AttachmentDelete { attachment_id: row };
        client.node.service.volume_command(id, command, service).await.expect("a service request passes");
        client.node.settle(PATIENCE).await.expect("alive");
        let state = alive(client.view(id).await);
        assert!(state.attachments.is_empty());
        assert!(client.world.backend().truth().volume(id).exports.is_empty());
    });
}

/// In Cinder the guard asks Compute, which may be asking Cinder. Here it looks at the row that both share: with every call to
/// the outside hanging it answers at once, and so does everything else.
#[test]
fn r41_the_guard_asks_nobody_and_holds_nothing() {
    in_world(41, async |client| {
        let id = client.attached("a").await;
        let row = alive(client.view(id).await).attachments[0].id;
        let hang = |request: &&str| FaultRule::on(request, Fault::Hang { effect_first: false });
        let calls = ["plug", "unplug", "export", "unexport", "probe"];
        client.world.backend().faults().set(calls.iter().map(hang).collect()).expect("rules");
        let before = tokio::time::Instant::now();
        for _ in 0..3 {
            let (refused, seen) = tokio::join!(client.attachment_delete(id, row), client.view(id));
            assert!(matches!(refusal(refused), Refusal::UsedByServer(_)));
            assert_eq!(alive(seen).volume.status, VolumeStatus::InUse);
        }
        assert_eq!(tokio::time::Instant::now(), before, "whatever leaves this process takes time");
        client.world.backend().faults().clear();
        client.assert_clean().await;
    });
}

#[test]
fn r42_a_hung_unexport_leaves_a_row_that_can_be_detached_again() {
    in_world(42, async |client| {
        let id = client.attached("a").await;
        let hang = |request: &str| FaultRule::on(request, Fault::Hang { effect_first: false });
        client.world.backend().faults().set(vec![hang("unexport"), hang("probe")]).expect("rules");
        accepted(client.server_detach("a", id).await);
        client
            .node
            .until(id, PATIENCE, |state| state.is_some_and(|state| state.operations.is_empty()))
            .await
            .expect("alive");
        let state = alive(client.view(id).await);
        assert_eq!(state.attachments[0].attach_status, AttachStatus::ErrorDetaching);
        assert_eq!(state.volume.status, VolumeStatus::InUse, "never available without proof that the export is gone");
        assert_eq!(state.volume.outstanding.len(), 1);
        refusal(client.attachment_create(id, Some("b"), None).await);
        client.world.backend().faults().clear();
        client.world.backend().faults().release(None);
        client.node.settle(PATIENCE).await.expect("alive");
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn detach_that_the_guest_refuses_is_rolled_back() {
    in_world(5, async |client| {
        let id = client.attached("a").await;
        let refuse = FaultRule::once("unplug", Fault::Refuse { kind: CauseKind::Guest });
        client.world.backend().faults().set(vec![refuse]).expect("rules");
        accepted(client.server_detach("a", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        client.assert_clean().await;
        accepted(client.server_detach("a", id).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r105_r106_r110_row_and_mapping_come_and_go_in_one_commit() {
    in_world(110, async |client| {
        let id = client.available(1).await;
        client.server("a").await.expect("alive");
        let server = ServerId::from("a");
        for _ in 0..5 {
            accepted(client.server_attach("a", id).await);
            client.wait(id, VolumeStatus::InUse).await.expect("alive");
            accepted(client.server_detach("a", id).await);
            // listed until row and mapping are removed together; R-110: then at once free for the next attach.
            loop {
                let listed = client.world.store_now().server_attachments(server.clone()).await.expect("reads");
                let state = alive(client.view(id).await);
                if listed.is_empty() {
                    assert_eq!(state.volume.status, VolumeStatus::Available);
                    break;
                }
                client.world.pass_time(std::time::Duration::from_millis(1)).await;
            }
        }
        client.assert_clean().await;
    });
}

#[test]
fn r108_a_volume_being_detached_is_listed_until_the_end() {
    in_world(108, async |client| {
        let id = client.attached("a").await;
        client.world.backend().faults().set(vec![slow("unexport", 2)]).expect("rules");
        accepted(client.server_detach("a", id).await);
        let server = ServerId::from("a");
        let listed = client.world.store_now().server_attachments(server.clone()).await.expect("reads");
        assert_eq!(listed.len(), 1);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Detaching);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert!(client.world.store_now().server_attachments(server).await.expect("reads").is_empty());
    });
}

#[test]
fn r109_in_use_with_a_connecting_row_of_a_multiattach_volume() {
    in_world(109, async |client| {
        let id = client.multiattach().await;
        let first = row_of(&accepted(client.attachment_create(id, Some("a"), Some(json!({"host": "h1"}))).await));
        accepted(client.attachment_complete(id, first).await);
        let second = row_of(&accepted(client.attachment_create(id, Some("b"), Some(json!({"host": "h2"}))).await));
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.status, VolumeStatus::InUse, "R-22: the first server is not affected");
        assert_eq!(state.attachment(second).map(|row| row.attach_status), Some(AttachStatus::Attaching));
        accepted(client.attachment_complete(id, second).await);
        accepted(client.attachment_delete(id, first).await);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::InUse);
    });
}

#[test]
fn r107_the_newest_row_of_a_server_is_its_mapping() {
    in_world(107, async |client| {
        let id = client.attached("a").await;
        // A second row without mapping (as live migration makes it) does not hide Compute's.
        accepted(client.attachment_create(id, Some("a"), None).await);
        let state = alive(client.view(id).await);
        assert_eq!(state.attachments.len(), 2);
        let row = state.attachment_of_server(&ServerId::from("a")).expect("Compute's row");
        assert!(row.bdm.is_some());
        let answer = client.server_detach("a", id).await;
        assert!(!matches!(answer, Some(Err(RequestError::ServerNotFound(_)))));
    });
}

#[test]
fn r112_a_volume_goes_with_its_server_unless_it_was_detached_before() {
    in_world(112, async |client| {
        let (kept, gone, freed) = (client.attached("a").await, client.available(1).await, client.available(1).await);
        for id in [gone, freed] {
            let request = hearth::actors::ServerAttachRequest {
                delete_on_termination: true,
                ..hearth::actors::ServerAttachRequest::default()
            };
            let caller = client.world.caller();
            client.node.service.server_attach(ServerId::from("a"), id, request, caller).await.expect("attached");
            client.wait(id, VolumeStatus::InUse).await.expect("alive");
        }
        accepted(client.server_detach("a", freed).await);
        client.wait(freed, VolumeStatus::Available).await.expect("alive");
        let caller = client.world.caller();
        client.node.service.server_delete(ServerId::from("a"), caller).await.expect("removed");
        client.wait_gone(gone).await.expect("alive");
        client.wait(kept, VolumeStatus::Available).await.expect("alive");
        assert_eq!(alive(client.view(freed).await).volume.status, VolumeStatus::Available);
        client.assert_clean().await;
    });
}
