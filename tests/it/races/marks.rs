//! `spec/races.md`: the marks of `os-reserve` and `os-begin_detaching`, which own their word until somebody ends them.

use hearth::domain::claims::MarkerKind;
use hearth::domain::ids::{AttachmentId, VolumeId};
use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::volume::{Command, Refusal};
use hearth::sim::{World, WorldOptions, simulate};
use serde_json::json;

use super::scenario::{Client, accepted, alive, in_world, refusal, row_of, slow};

/// The status, and which marker owns it.
async fn word(client: &Client<'_>, id: VolumeId) -> (VolumeStatus, Option<MarkerKind>) {
    let state = alive(client.view(id).await);
    let marker = state.volume.claims.as_ref().and_then(|claims| claims.marker.as_ref());
    (state.volume.status, marker.map(|marker| marker.kind))
}

/// A volume in use by a client of Block Storage's attachments.
async fn in_use(client: &Client<'_>, id: VolumeId, host: &str) -> AttachmentId {
    let row = row_of(&accepted(client.attachment_create(id, Some(host), Some(json!({"host": host}))).await));
    accepted(client.attachment_complete(id, row).await);
    client.wait(id, VolumeStatus::InUse).await.expect("alive");
    row
}

#[test]
fn r03_one_of_two_reservations_wins() {
    in_world(3, async |client| {
        let id = client.available(1).await;
        let (first, second) = futures_util::join!(client.ask(id, Command::Reserve), client.ask(id, Command::Reserve));
        accepted(first);
        assert!(matches!(refusal(second), Refusal::InvalidVolume(_)));
        assert_eq!(word(client, id).await, (VolumeStatus::Attaching, Some(MarkerKind::Reserved)));
        // Mutual exclusion with attachments holds both ways.
        assert!(matches!(refusal(client.attachment_create(id, Some("a"), None).await), Refusal::InvalidVolume(_)));
        accepted(client.ask(id, Command::Unreserve).await);
        assert_eq!(word(client, id).await, (VolumeStatus::Available, None));
        accepted(client.attachment_create(id, Some("a"), None).await);
        assert!(matches!(refusal(client.ask(id, Command::Reserve).await), Refusal::InvalidVolume(_)));
        client.assert_clean().await;
    });
}

#[test]
fn r30_marks_survive_a_crash_and_stay_until_they_are_ended() {
    simulate(WorldOptions::seeded(30), async |world: &World| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let (reserved, detaching) = node
            .run(async {
                let reserved = client.available(1).await;
                accepted(client.ask(reserved, Command::Reserve).await);
                let detaching = client.available(1).await;
                in_use(&client, detaching, "a").await;
                accepted(client.ask(detaching, Command::BeginDetaching).await);
                (reserved, detaching)
            })
            .await
            .expect("alive");
        node.crash();
        let node = world.start().await;
        let client = Client::new(world, &node);
        client.assert_clean().await;
        assert_eq!(word(&client, reserved).await, (VolumeStatus::Attaching, Some(MarkerKind::Reserved)));
        assert_eq!(word(&client, detaching).await, (VolumeStatus::Detaching, Some(MarkerKind::Detaching)));
        let marker = alive(client.view(detaching).await).volume.marker(MarkerKind::Detaching).cloned().expect("marked");
        assert_eq!(marker.requester.user_id, world.caller().requester.user_id, "whose it is");
        // Its owner deletes the row from it, or rolls it back.
        let row = alive(client.view(detaching).await).attachments[0].id;
        accepted(client.attachment_delete(detaching, row).await);
        assert_eq!(word(&client, detaching).await, (VolumeStatus::Available, None));
        accepted(client.ask(reserved, Command::Unreserve).await);
        assert_eq!(word(&client, reserved).await, (VolumeStatus::Available, None));
        client.assert_clean().await;
    });
}

#[test]
fn r30_rolled_back_the_volume_is_in_use_again() {
    in_world(301, async |client| {
        let id = client.available(1).await;
        in_use(client, id, "a").await;
        accepted(client.ask(id, Command::BeginDetaching).await);
        assert!(matches!(refusal(client.ask(id, Command::BeginDetaching).await), Refusal::InvalidVolume(_)));
        assert_eq!(alive(client.view(id).await).volume.attach_status, AttachStatus::Attached);
        accepted(client.ask(id, Command::RollDetaching).await);
        assert_eq!(word(client, id).await, (VolumeStatus::InUse, None));
        accepted(client.ask(id, Command::RollDetaching).await);
        assert_eq!(word(client, id).await, (VolumeStatus::InUse, None), "a no-op");
    });
}

#[test]
fn r35_a_second_begin_detaching_of_a_multiattach_volume_is_refused() {
    in_world(351, async |client| {
        let id = client.multiattach().await;
        for server in ["a", "b"] {
            client.server(server).await.expect("alive");
            accepted(client.server_attach(server, id).await);
            client.wait(id, VolumeStatus::InUse).await.expect("alive");
        }
        accepted(client.ask(id, Command::BeginDetaching).await);
        assert!(matches!(refusal(client.ask(id, Command::BeginDetaching).await), Refusal::InvalidVolume(_)));
        // Compute's half is per server.
        accepted(client.server_detach("b", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        assert_eq!(word(client, id).await.1, None, "the recompute at the end of a detach ends the mark");
        client.assert_clean().await;
    });
}

#[test]
fn r36_a_late_roll_back_does_not_bring_a_freed_volume_back() {
    in_world(36, async |client| {
        let id = client.available(1).await;
        let row = in_use(client, id, "a").await;
        accepted(client.ask(id, Command::BeginDetaching).await);
        accepted(client.attachment_delete(id, row).await);
        accepted(client.ask(id, Command::RollDetaching).await);
        assert_eq!(word(client, id).await, (VolumeStatus::Available, None));
    });
}

#[test]
fn r37_a_roll_back_leaves_another_servers_detach_alone() {
    in_world(37, async |client| {
        let id = client.multiattach().await;
        for server in ["a", "b"] {
            client.server(server).await.expect("alive");
            accepted(client.server_attach(server, id).await);
            client.wait(id, VolumeStatus::InUse).await.expect("alive");
        }
        accepted(client.ask(id, Command::BeginDetaching).await);
        client.world.backend().faults().set(vec![slow("unplug", 2)]).expect("rules");
        accepted(client.server_detach("b", id).await);
        accepted(client.ask(id, Command::RollDetaching).await);
        assert_eq!(word(client, id).await, (VolumeStatus::Detaching, None), "b is really detaching");
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        assert_eq!(alive(client.view(id).await).attachments.len(), 1);
        client.assert_clean().await;
    });
}

#[test]
fn r88_unreserve_leaves_a_connect_under_way_alone() {
    in_world(88, async |client| {
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        accepted(client.attachment_update(id, row, "h").await);
        client.world.backend().faults().set(vec![slow("export", 2)]).expect("rules");
        let before = alive(client.view(id).await).volume.clone();
        assert_eq!(before.status, VolumeStatus::Attaching);
        let (updated, unreserved) =
            futures_util::join!(client.attachment_update(id, row, "h"), client.ask(id, Command::Unreserve));
        accepted(unreserved);
        accepted(updated);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Attaching);
        accepted(client.ask(id, Command::Unreserve).await);
        assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Attaching, "the row owns the word");
        client.assert_clean().await;
    });
}

#[test]
fn r22_a_reservation_of_a_multiattach_volume_does_not_keep_its_servers() {
    in_world(221, async |client| {
        let id = client.multiattach().await;
        client.server("a").await.expect("alive");
        accepted(client.server_attach("a", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        accepted(client.ask(id, Command::Reserve).await);
        assert_eq!(word(client, id).await, (VolumeStatus::Attaching, Some(MarkerKind::Reserved)));
        accepted(client.server_detach("a", id).await);
        client.wait(id, VolumeStatus::Attaching).await.expect("alive");
        assert_eq!(word(client, id).await.1, Some(MarkerKind::Reserved), "the reservation is still there");
        accepted(client.ask(id, Command::Unreserve).await);
        assert_eq!(word(client, id).await, (VolumeStatus::Available, None));
    });
}

#[test]
fn r84_rows_block_a_reservation_whatever_the_word_says() {
    in_world(84, async |client| {
        let id = client.available(1).await;
        in_use(client, id, "a").await;
        accepted(client.reset(id, VolumeStatus::Available).await);
        assert!(matches!(refusal(client.ask(id, Command::Reserve).await), Refusal::InvalidVolume(_)));
        accepted(client.reset(id, VolumeStatus::InUse).await);
        accepted(client.ask(id, Command::BeginDetaching).await);
        accepted(client.reset(id, VolumeStatus::Error).await);
        assert_eq!(word(client, id).await, (VolumeStatus::Error, None), "an administrator's word ends a mark");
    });
}
