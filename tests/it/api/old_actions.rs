//! The connection-style actions over the wire (volume-actions §1, §2.7, §2.8, §2.10–§2.12, §2.17): who may, what is refused, and
//! where the volume goes.

use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER, READER, STRANGER};

/// Sends an action; the answer.
async fn act(harness: &Harness, token: &str, id: &str, body: &Value) -> Got {
    harness.post(&format!("/v3/volumes/{id}/action"), body).token(token).send().await
}

/// Sends an action that is accepted with an empty 202; the status of the volume afterwards.
async fn flip(harness: &Harness, id: &str, body: &Value) -> String {
    let got = act(harness, MEMBER, id, body).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""), "{body}");
    assert_eq!(got.header("content-length"), Some("0"));
    status(harness, id).await
}

async fn status(harness: &Harness, id: &str) -> String {
    let shown = harness.get(&format!("/v3/volumes/{id}")).send().await.json();
    shown["volume"]["status"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn who_may_use_the_old_actions() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    for (action, rule, others) in [
        ("os-reserve", "volume_actions:reserve", [(READER, 403), (STRANGER, 404)]),
        ("os-unreserve", "volume_actions:unreserve", [(READER, 403), (STRANGER, 404)]),
        ("os-begin_detaching", "volume_actions:begin_detaching", [(READER, 403), (STRANGER, 404)]),
        ("os-roll_detaching", "volume_actions:roll_detaching", [(READER, 403), (STRANGER, 404)]),
    ] {
        for (token, expected) in others {
            let got = act(&harness, token, &id, &json!({action: {}})).await;
            assert_eq!(got.status, expected, "{action} by {token}: {}", got.text);
            if expected == 403 {
                let text = format!("Policy doesn't allow volume_extension:{rule} to be performed.");
                assert_eq!(got.fault().1, text);
            }
        }
        let got = act(&harness, MEMBER, "00000000-0000-0000-0000-000000000000", &json!({action: {}})).await;
        assert_eq!(got.status, 404, "{action}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn marks_take_any_value_and_turn_the_status() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    for value in [json!({}), json!(null), json!("x"), json!([1]), json!({"free": 1})] {
        assert_eq!(flip(&harness, &id, &json!({"os-reserve": value})).await, "attaching");
        let got = act(&harness, MEMBER, &id, &json!({"os-reserve": value})).await;
        assert!(got.fault().1.starts_with("Invalid volume: "), "{}", got.text);
        assert_eq!(flip(&harness, &id, &json!({"os-unreserve": value})).await, "available");
        assert_eq!(flip(&harness, &id, &json!({"os-unreserve": value})).await, "available", "else nothing, silently");
        assert_eq!(flip(&harness, &id, &json!({"os-roll_detaching": value})).await, "available");
        assert_eq!(act(&harness, MEMBER, &id, &json!({"os-begin_detaching": value})).await.fault().0, 400);
    }
    // Compute uses the marks in the new flow too, before it deletes the attachment.
    let server = harness.server("s").await;
    let mappings = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": id}});
    assert_eq!(harness.post(&mappings, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&id, "in-use").await;
    assert_eq!(act(&harness, MEMBER, &id, &json!({"os-reserve": {}})).await.fault().0, 400);
    assert_eq!(flip(&harness, &id, &json!({"os-begin_detaching": {}})).await, "detaching");
    assert_eq!(act(&harness, MEMBER, &id, &json!({"os-begin_detaching": {}})).await.fault().0, 400);
    let actor = harness.get(&format!("/admin/actors/{id}")).send().await.json()["actor"].clone();
    assert_eq!(actor["marker"]["kind"], "detaching", "its owner can be seen: {actor}");
    assert_eq!(actor["marker"]["requester"]["user_id"], "mia");
    let got = harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(ADMIN).send().await;
    assert_eq!(got.fault().0, 400);
    assert_eq!(flip(&harness, &id, &json!({"os-roll_detaching": {}})).await, "in-use");
    harness.stop().await;
}
