//! Compute's swap over the wire, with the option that lifts the check for a migration (nova-volume-attachments §5, §7).

use hearth::actors::{ActorOptions, ServerAttachOptions};
use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use serde_json::{Value, json};

use super::harness::{ADMIN, BACKEND, Harness, MEMBER, READER};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

async fn start() -> Harness {
    let actors = ActorOptions { limits: Limits::NONE, swap_requires_migration: false, ..ActorOptions::default() };
    Harness::start_full(ApiOptions::default(), actors, &[BACKEND, "sim@other#pool"]).await
}

/// A server with a volume, and the path of its attachments.
async fn in_use(harness: &Harness, name: &str) -> (String, String, String) {
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server(name).await;
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume, "device": "/dev/vdf", "tag": "t", "delete_on_termination": true}});
    let got = harness.post(&path, &attach).token(MEMBER).compute("2.79").send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    harness.until(&volume, "in-use").await;
    (server, volume, path)
}

fn to(volume: &str) -> Value {
    json!({"volumeAttachment": {"volumeId": volume}})
}

#[actix_web::test]
async fn a_swap_is_answered_202_and_keeps_compute_s_mapping() {
    let harness = start().await;
    let (server, old, path) = in_use(&harness, "s").await;
    let new = harness.volume(MEMBER, json!({"size": 2})).await;
    let show = async |id: &str| harness.get(&format!("{path}/{id}")).compute("2.89").send().await;
    let before = show(&old).await.json()["volumeAttachment"].clone();
    for token in [MEMBER, READER] {
        assert_eq!(harness.put(&format!("{path}/{old}"), &to(&new)).token(token).send().await.fault().0, 403);
    }
    let got = harness.put(&format!("{path}/{old}"), &to(&new)).token(ADMIN).compute("2.84").send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(&new, "in-use").await;
    harness.until(&old, "available").await;
    let after = show(&new).await.json()["volumeAttachment"].clone();
    for member in ["device", "tag", "delete_on_termination", "bdm_uuid", "serverId"] {
        assert_eq!(before[member], after[member], "{member}");
    }
    let shown = harness.until(&new, "in-use").await;
    assert_eq!(after["attachment_id"], shown["attachments"][0]["attachment_id"], "one record, two views");
    assert_ne!(after["attachment_id"], before["attachment_id"]);
    assert_eq!(
        (&shown["attachments"][0]["device"], &shown["attachments"][0]["server_id"]),
        (&json!("/dev/vdf"), &json!(server))
    );
    assert_eq!(show(&old).await.fault().0, 404);
    let listed = harness.get(&path).compute("2.89").send().await.json();
    assert_eq!(listed["volumeAttachments"], json!([after]));
    let detail = harness.get(&format!("/compute/v2.1/servers/{server}")).compute("2.1").send().await.json();
    assert_eq!(detail["server"]["os-extended-volumes:volumes_attached"], json!([{"id": new}]));

    let actions = harness.get(&format!("/compute/v2.1/servers/{server}/os-instance-actions")).send().await.json();
    let last = &actions["instanceActions"][0];
    assert_eq!((&last["action"], &last["message"]), (&json!("swap_volume"), &Value::Null), "{actions}");

    // At 2.85 the flag goes first, and the spelling of the id decides.
    let third = harness.volume(MEMBER, json!({"size": 2})).await;
    let body = json!({"volumeAttachment": {"volumeId": third, "delete_on_termination": false}});
    let got = harness.put(&format!("{path}/{new}"), &body).token(ADMIN).compute("2.85").send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(&third, "in-use").await;
    harness.until(&new, "available").await;
    let last = show(&third).await.json()["volumeAttachment"].clone();
    assert_eq!((&last["delete_on_termination"], &last["bdm_uuid"]), (&json!(false), &before["bdm_uuid"]));
    assert_eq!(harness.ask("DELETE", &format!("{path}/{third}")).token(MEMBER).send().await.status, 202);
    harness.until(&third, "available").await;
    harness.stop().await;
}

/// The rows of §5 in their order, each with its code; nothing changes.
#[actix_web::test]
async fn what_a_swap_is_refused_for() {
    let harness = start().await;
    let (server, old, path) = in_use(&harness, "s").await;
    let (_, other, _) = in_use(&harness, "t").await;
    let new = harness.volume(MEMBER, json!({"size": 1})).await;
    let large = harness.volume(MEMBER, json!({"size": 2})).await;
    let attach = to(&large);
    assert_eq!(harness.post(&path, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&large, "in-use").await;
    let reserved = harness.volume(MEMBER, json!({"size": 1})).await;
    let body = json!({"attachment": {"volume_uuid": reserved}});
    assert_eq!(harness.post("/v3/attachments", &body).token(MEMBER).volume("3.27").send().await.status, 200);
    // A row of Block Storage's that Compute does not know.
    let foreign = harness.volume(MEMBER, json!({"size": 1})).await;
    let body = json!({"attachment": {"volume_uuid": foreign, "instance_uuid": server, "connector": {"host": "h1"}}});
    let made = harness.post("/v3/attachments", &body).token(ADMIN).volume("3.44").send().await.json();
    let complete = format!("/v3/attachments/{}/action", made["attachment"]["id"].as_str().unwrap());
    assert_eq!(
        harness.post(&complete, &json!({"os-complete": {}})).token(ADMIN).volume("3.44").send().await.status,
        204
    );
    harness.until(&foreign, "in-use").await;
    for (from, target, status, text) in [
        (NIL, new.as_str(), 404, "could not be found"),
        (old.as_str(), NIL, 400, "could not be found"),
        (&other, &new, 400, "Old volume is attached to a different instance."),
        (&new, &reserved, 400, "Old volume is attached to a different instance."),
        (&old, &other, 400, "New volume must be detached in order to swap."),
        (&old, &old, 400, "New volume must be detached in order to swap."),
        (&large, &new, 400, "New volume must be the same size or larger."),
        (&old, &reserved, 400, "Invalid volume: "),
        (&foreign, &new, 404, "is not attached"),
    ] {
        let got = harness.put(&format!("{path}/{from}"), &to(target)).token(ADMIN).compute("2.84").send().await;
        let (code, message) = got.fault();
        assert_eq!(code, status, "{from} {target}: {message}");
        assert!(message.contains(text), "{from} {target}: {message}");
    }
    let admin = format!("/admin/servers/{server}");
    let actions = async || {
        let shown = harness.get(&format!("/compute/v2.1/servers/{server}/os-instance-actions")).send().await.json();
        shown["instanceActions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|action| action["action"].clone())
            .collect::<Vec<_>>()
    };
    assert!(!actions().await.contains(&json!("swap_volume")), "a refusal makes no action");
    for (change, status) in [
        (json!({"vm_state": "stopped"}), 409),
        (json!({"vm_state": "shelved"}), 409),
        (json!({"vm_state": "shelved_offloaded"}), 409),
        (json!({"vm_state": "suspended"}), 409),
        (json!({"vm_state": "error"}), 409),
        (json!({"vm_state": "soft-delete"}), 409),
        (json!({"vm_state": "active", "task_state": "rebooting"}), 409),
        (json!({"task_state": null, "host": null}), 409),
        (json!({"host": "h1", "vm_state": "paused", "locked": true}), 202),
    ] {
        let got = harness.put(&admin, &json!({"server": change})).token(ADMIN).send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        let got = harness.put(&format!("{path}/{old}"), &to(&new)).token(ADMIN).compute("2.84").send().await;
        assert_eq!(got.status, status, "{change}: {}", got.text);
    }
    harness.until(&new, "in-use").await;
    harness.until(&old, "available").await;
    harness.stop().await;
}

/// What fails after the answer leaves everything as it was.
#[actix_web::test]
async fn r76_a_swap_that_fails_gives_both_volumes_back() {
    let harness = start().await;
    let (server, old, path) = in_use(&harness, "s").await;
    let new = harness.volume(MEMBER, json!({"size": 1})).await;
    harness.fail("mirror_guest");
    let got = harness.put(&format!("{path}/{old}"), &to(&new)).token(ADMIN).compute("2.84").send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    harness.until(&new, "available").await;
    let volume = harness.until(&old, "in-use").await;
    assert_eq!(volume["attachments"].as_array().map(Vec::len), Some(1));
    let messages = harness.get(&format!("/v3/messages?resource_uuid={new}")).volume("3.5").send().await.json();
    assert_eq!(messages["messages"].as_array().map(Vec::len), Some(1), "{messages}");
    let actions = harness.get(&format!("/compute/v2.1/servers/{server}/os-instance-actions")).send().await.json();
    let last = &actions["instanceActions"][0];
    assert_eq!((&last["action"], &last["message"]), (&json!("swap_volume"), &json!("Error")), "{actions}");
    // While one is under way both are taken.
    harness.heal();
    harness.hang("mirror_guest");
    let third = harness.volume(MEMBER, json!({"size": 1})).await;
    let swap = async |target: &str| {
        harness.put(&format!("{path}/{old}"), &to(target)).token(ADMIN).compute("2.84").send().await
    };
    assert_eq!(swap(&new).await.status, 202);
    harness.until(&old, "detaching").await;
    assert_eq!(swap(&third).await.fault().0, 400);
    assert_eq!(harness.ask("DELETE", &format!("{path}/{old}")).token(MEMBER).send().await.fault().0, 400);
    assert_eq!(harness.post(&path, &to(&new)).token(MEMBER).send().await.fault().0, 400);
    let flag = json!({"volumeAttachment": {"volumeId": old, "delete_on_termination": false}});
    let got = harness.put(&format!("{path}/{old}"), &flag).token(MEMBER).compute("2.85").send().await;
    assert_eq!(got.fault().0, 409);
    harness.until_released().await;
    harness.until(&new, "in-use").await;
    harness.until(&old, "available").await;
    harness.stop().await;
}

#[actix_web::test]
async fn a_swap_stays_in_its_zone() {
    let server_attach = ServerAttachOptions { cross_az_attach: false, ..ServerAttachOptions::default() };
    let actors =
        ActorOptions { limits: Limits::NONE, swap_requires_migration: false, server_attach, ..ActorOptions::default() };
    let harness = Harness::start_full(ApiOptions::default(), actors, &[BACKEND]).await;
    let (server, old, path) = in_use(&harness, "s").await;
    let new = harness.volume(MEMBER, json!({"size": 1})).await;
    let admin = format!("/admin/servers/{server}");
    for (zone, status) in [("elsewhere", 400), ("nova", 202)] {
        let change = json!({"server": {"availability_zone": zone}});
        assert_eq!(harness.put(&admin, &change).token(ADMIN).send().await.status, 200);
        let got = harness.put(&format!("{path}/{old}"), &to(&new)).token(ADMIN).compute("2.84").send().await;
        assert_eq!(got.status, status, "{zone}: {}", got.text);
    }
    harness.until(&new, "in-use").await;
    harness.stop().await;
}
