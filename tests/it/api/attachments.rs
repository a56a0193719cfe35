//! Attachments over the wire (attachments §2).

use std::sync::Arc;

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use hearth::policy::{LivePolicy, Policy};
use serde_json::json;

use super::harness::{ADMIN, Harness, MEMBER, READER, STRANGER};

const INSTANCE: &str = "11111111-2222-3333-4444-555555555555";

#[actix_web::test]
async fn reserve_connect_complete_delete() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let create = json!({"attachment": {
        "volume_uuid": volume.replace('-', "").to_uppercase(),
        "instance_uuid": INSTANCE.replace('-', ""),
    }});
    let got = harness.post("/v3/attachments", &create).token(MEMBER).volume("3.71").send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    let made = got.json()["attachment"].clone();
    assert_eq!((&made["status"], &made["attached_at"]), (&json!("reserved"), &json!("")));
    assert_eq!((&made["instance"], &made["volume_id"]), (&json!(INSTANCE), &json!(volume)), "ids are normalised");
    assert_eq!(harness.until(&volume, "reserved").await["attachments"], json!([]));
    let id = made["id"].as_str().unwrap();
    let path = format!("/v3/attachments/{id}");

    for (token, [show, update, complete, delete]) in [(STRANGER, [404, 404, 404, 404]), (READER, [200, 403, 403, 403])]
    {
        let connector = json!({"attachment": {"connector": {"host": "h"}}});
        assert_eq!(harness.ask("GET", &path).token(token).volume("3.71").send().await.status, show, "{token}");
        assert_eq!(harness.put(&path, &connector).token(token).volume("3.71").send().await.status, update, "{token}");
        let action = format!("{path}/action");
        let got = harness.post(&action, &json!({"os-complete": {}})).token(token).volume("3.71").send().await;
        assert_eq!(got.status, complete, "{token}");
        assert_eq!(harness.ask("DELETE", &path).token(token).volume("3.71").send().await.status, delete, "{token}");
    }
    for (connector, text) in [
        (json!({"mode": "rw"}), "The connector must contain 'host'."),
        (json!({"host": "h", "mode": "xx"}), "The connector's mode must be 'rw' or 'ro', not 'xx'."),
    ] {
        let body = json!({"attachment": {"connector": connector}});
        let got = harness.put(&path, &body).token(MEMBER).volume("3.71").send().await;
        assert_eq!(got.fault(), (400, format!("Invalid input received: {text}")));
    }
    let connector = json!({"attachment": {"connector": {"host": "h1", "mountpoint": "/dev/vdb", "mode": "rw"}}});
    let got = harness.put(&path, &connector).token(MEMBER).volume("3.71").send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    let info = got.json()["attachment"]["connection_info"].clone();
    assert!(info["driver_volume_type"].is_string() && info["attachment_id"] == id, "{info}");
    let got = harness
        .post(&format!("{path}/action"), &json!({"os-complete": null}))
        .token(MEMBER)
        .volume("3.44")
        .send()
        .await;
    assert_eq!((got.status, got.text.as_str()), (204, ""));
    let shown = harness.until(&volume, "in-use").await;
    assert_eq!(shown["attachments"][0]["server_id"], INSTANCE);
    assert_eq!(shown["attachments"][0]["device"], "/dev/vdb");

    for (query, rows) in [
        (format!("volume_id={volume}"), 1),
        (format!("instance_id={INSTANCE}"), 1),
        ("status=attached".to_owned(), 1),
        ("status=reserved".to_owned(), 0),
    ] {
        let got = harness.ask("GET", &format!("/v3/attachments?{query}")).token(MEMBER).volume("3.71").send().await;
        assert_eq!(got.json()["attachments"].as_array().unwrap().len(), rows, "{query}");
    }
    let others = harness.ask("GET", "/v3/attachments/detail").token(STRANGER).volume("3.71").send().await;
    assert_eq!(others.json()["attachments"], json!([]));

    let got = harness.ask("DELETE", &path).token(ADMIN).volume("3.71").send().await;
    assert_eq!((got.status, got.json()), (200, json!({"attachments": []})), "the rows that are left");
    harness.until(&volume, "available").await;
    let got = harness.ask("DELETE", &path).token(ADMIN).volume("3.71").send().await;
    let text = format!("Volume attachment could not be found with filter: attachment_id = {id}.");
    assert_eq!(got.fault(), (404, text));
    harness.stop().await;
}

/// A client with another connector would cut the export under the guest, and nobody could free the row afterwards.
#[actix_web::test]
async fn r40_a_row_that_compute_made_is_connected_and_deleted_by_compute_alone() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    let mappings = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(harness.post(&mappings, &attach).token(MEMBER).send().await.status, 200);
    let shown = harness.until(&volume, "in-use").await;
    let row = format!("/v3/attachments/{}", shown["attachments"][0]["attachment_id"].as_str().unwrap());
    let text = format!("ConflictNovaUsingAttachment: Detach volume from instance {server} using the Compute API");
    let connector = json!({"attachment": {"connector": {"host": "elsewhere"}}});
    for got in [
        harness.put(&row, &connector).token(ADMIN).volume("3.71").send().await,
        harness.ask("DELETE", &row).token(ADMIN).volume("3.71").send().await,
    ] {
        assert_eq!(got.fault(), (409, text.clone()));
    }
    assert_eq!(harness.until(&volume, "in-use").await["attachments"], shown["attachments"]);
    let got = harness.ask("DELETE", &format!("{mappings}/{volume}")).token(MEMBER).send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    harness.until(&volume, "available").await;
    harness.stop().await;
}

#[actix_web::test]
async fn r01_one_of_two_attachments_wins() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let create = |instance: &str| json!({"attachment": {"volume_uuid": volume, "instance_uuid": instance}});
    let other = INSTANCE.replace('1', "9");
    let (first, second) = (create(INSTANCE), create(&other));
    let (one, two) = tokio::join!(
        harness.post("/v3/attachments", &first).token(MEMBER).volume("3.71").send(),
        harness.post("/v3/attachments", &second).token(MEMBER).volume("3.71").send(),
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    let lost = if one.status == 400 { one } else { two };
    assert!(lost.fault().1.starts_with("Invalid volume: "), "{}", lost.text);
    harness.stop().await;
}

/// A rule that denies is asked before anything has changed; the first attachment does not ask it.
#[actix_web::test]
async fn r23_a_second_attachment_of_a_bootable_volume_is_denied_before_anything_changes() {
    let policy = Arc::new(LivePolicy::fixed(Policy::with("volume:multiattach_bootable_volume", "!")));
    let harness = Harness::start_with(ApiOptions { policy, ..ApiOptions::default() }, Limits::NONE).await;
    let body = json!({"volume_type": {"name": "multi", "extra_specs": {"multiattach": "<is> True"}}});
    assert_eq!(harness.post("/v3/types", &body).token(ADMIN).volume("3.71").send().await.status, 200);
    for (bootable, second) in [(true, 403), (false, 200)] {
        let volume = harness.volume(MEMBER, json!({"size": 1, "volume_type": "multi"})).await;
        let action = json!({"os-set_bootable": {"bootable": bootable}});
        let got =
            harness.post(&format!("/v3/volumes/{volume}/action"), &action).token(MEMBER).volume("3.71").send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        let create = |host: &str| json!({"attachment": {"volume_uuid": volume, "connector": {"host": host}}});
        let attach =
            async |host: &str| harness.post("/v3/attachments", &create(host)).token(MEMBER).volume("3.71").send().await;
        let first = attach("h1").await;
        assert_eq!(first.status, 200, "{}", first.text);
        let path = format!("/v3/attachments/{}/action", first.json()["attachment"]["id"].as_str().unwrap());
        harness.post(&path, &json!({"os-complete": null})).token(MEMBER).volume("3.71").send().await;
        let before = harness.until(&volume, "in-use").await;
        let got = attach("h2").await;
        assert_eq!(got.status, second, "{}", got.text);
        if second == 403 {
            assert!(got.text.contains("volume:multiattach_bootable_volume"), "{}", got.text);
            assert_eq!(harness.until(&volume, "in-use").await, before);
        }
    }
}
