//! `PUT …/os-volume_attachments/{volume}` (nova-volume-attachments §5).

use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER, READER};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

#[actix_web::test]
async fn the_flag_changes_and_nothing_else() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let of = |members: Value| json!({"volumeAttachment": members});
    let attach = of(json!({"volumeId": volume, "tag": "data"}));
    assert_eq!(harness.post(&path, &attach).token(MEMBER).compute("2.79").send().await.status, 200);
    harness.until(&volume, "in-use").await;
    let one = format!("{path}/{volume}");
    let put =
        async |members: Value, token: &str| harness.put(&one, &of(members)).token(token).compute("2.85").send().await;
    let flag = async || {
        let got = harness.ask("GET", &one).token(READER).compute("2.85").send().await;
        got.json()["volumeAttachment"]["delete_on_termination"].clone()
    };
    for (sent, expected) in [(json!(true), true), (json!("off"), false), (json!("yes"), true)] {
        let got = put(json!({"volumeId": volume, "delete_on_termination": sent}), MEMBER).await;
        assert_eq!((got.status, got.text.as_str()), (202, ""), "{sent}");
        assert_eq!(flag().await, expected, "{sent}");
    }
    let same = json!({
        "volumeId": volume, "id": volume, "serverId": server, "device": "/dev/vdb", "tag": "data",
        "delete_on_termination": false,
    });
    assert_eq!(put(same, MEMBER).await.status, 202, "equal values may be sent");
    assert_eq!(flag().await, false);
    assert_eq!(put(json!({"volumeId": volume}), MEMBER).await.status, 202);
    assert_eq!(flag().await, false, "what is not sent stays");
    for (name, value) in
        [("id", json!(NIL)), ("serverId", json!("other")), ("device", json!("/dev/vdc")), ("tag", json!("x"))]
    {
        let got = put(json!({"volumeId": volume, name: value, "delete_on_termination": true}), MEMBER).await;
        assert_eq!(got.fault(), (400, format!("The {name} property is not mutable")));
    }
    assert_eq!(flag().await, false, "a refused change changes nothing");
    for bad in [
        json!({}),
        json!({"volumeId": "x"}),
        json!({"volumeId": volume, "tag": null}),
        json!({"volumeId": volume, "delete_on_termination": null}),
        json!({"volumeId": volume, "attachment_id": NIL}),
        json!({"volumeId": volume, "bdm_uuid": NIL}),
    ] {
        assert_eq!(put(bad.clone(), MEMBER).await.fault().0, 400, "{bad}");
    }
    assert_eq!(put(json!({"volumeId": volume}), READER).await.fault().0, 403);

    // A volume that is not attached to this server.
    let free = harness.volume(MEMBER, json!({"size": 1})).await;
    for id in [free.as_str(), NIL, "nonsense"] {
        let got = harness.put(&format!("{path}/{id}"), &of(json!({"volumeId": id}))).token(MEMBER).compute("2.85");
        let got = got.send().await;
        let expected = if id == "nonsense" { 400 } else { 404 };
        assert_eq!(got.fault().0, expected, "{id}: {}", got.text);
    }
    harness.stop().await;
}

#[actix_web::test]
async fn a_swap_needs_a_migration_and_there_is_none() {
    let harness = Harness::start().await;
    let (old, new) =
        (harness.volume(MEMBER, json!({"size": 1})).await, harness.volume(MEMBER, json!({"size": 1})).await);
    let server = harness.server("s").await;
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": old}});
    assert_eq!(harness.post(&path, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&old, "in-use").await;
    let swap = json!({"volumeAttachment": {"volumeId": new}});
    let one = format!("{path}/{old}");
    for version in ["2.1", "2.84", "2.85", "2.101"] {
        let got = harness.put(&one, &swap).token(MEMBER).compute(version).send().await;
        let text = "Policy doesn't allow os_compute_api:os-volumes-attachments:swap to be performed.";
        assert_eq!(got.fault(), (403, text.to_owned()), "{version}");
        let got = harness.put(&one, &swap).token(ADMIN).compute(version).send().await;
        let text = format!("volume {old} is not migrating; this API should only be called by Cinder");
        assert_eq!(got.fault(), (409, text), "{version}");
    }
    let missing = harness.put(&format!("{path}/{NIL}"), &swap).token(ADMIN).compute("2.84").send().await;
    assert_eq!(missing.fault().0, 404);
    // The regular part stays when the swap is refused.
    let both = json!({"volumeAttachment": {"volumeId": new, "delete_on_termination": true}});
    assert_eq!(harness.put(&one, &both).token(ADMIN).compute("2.85").send().await.fault().0, 409);
    let got = harness.get(&one).compute("2.85").send().await.json();
    assert_eq!(got["volumeAttachment"]["delete_on_termination"], true);
    assert_eq!(harness.until(&old, "in-use").await["attachments"].as_array().map(Vec::len), Some(1));
    harness.stop().await;
}
