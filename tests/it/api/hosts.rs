//! `/admin/hosts`: the word that a host is dead.

use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER};

const FENCE: &str = "/admin/hosts/h1/fence";

async fn put(harness: &Harness, path: &str, body: &Value) -> (u16, Value) {
    let got = harness.ask("PUT", path).token(ADMIN).json(body).send().await;
    let body = serde_json::from_str(&got.text).unwrap_or(Value::Null);
    (got.status, body)
}

#[actix_web::test]
async fn a_host_is_fenced_shown_and_taken_back() {
    let harness = Harness::start().await;
    let (server, volume) = (harness.server("s").await, harness.volume(MEMBER, json!({"size": 1})).await);
    let mapping = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(harness.post(&mapping, &attach).token(MEMBER).send().await.status, 200);
    let path = format!("/v3/volumes/{volume}");
    harness.until_at(&path, "/volume/status", &json!("in-use")).await;
    let shown = harness.get("/admin/hosts/h1").send().await.json();
    assert_eq!(shown, json!({"host": {"name": "h1", "fence": null, "servers": [server], "volumes": [volume]}}));
    assert_eq!(harness.get("/admin/hosts").send().await.json(), json!({"hosts": []}));

    let (status, shown) = put(&harness, FENCE, &json!({"fence": {"proof": "  it burns "}})).await;
    assert_eq!(status, 202, "{shown}");
    let fence = &shown["host"]["fence"];
    assert_eq!((&fence["epoch"], &fence["proof"], &fence["user_id"]), (&json!(1), &json!("it burns"), &json!("root")));
    harness.until_at(&path, "/volume/status", &json!("available")).await;
    harness.until_at("/admin/hosts/h1", "/host/volumes", &json!([])).await;
    assert_eq!(harness.get("/admin/hosts").send().await.json(), json!({"hosts": [{"name": "h1", "fence": fence}]}));
    assert_eq!(put(&harness, FENCE, &json!({"fence": {"proof": "another"}})).await.1["host"]["fence"], *fence);

    // nothing is connected to it, by no API
    let refused = harness.post(&mapping, &attach).token(MEMBER).send().await;
    assert_eq!(refused.fault(), (409, "host h1 is fenced: nothing is connected to it".to_owned()));
    let connect = json!({"os-initialize_connection": {"connector": {"host": "h1"}}});
    let refused = harness.post(&format!("{path}/action"), &connect).token(MEMBER).volume("3.71").send().await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    let reserve = json!({"attachment": {"volume_uuid": volume, "connector": {"host": "h1"}}});
    let refused = harness.post("/v3/attachments", &reserve).token(MEMBER).volume("3.71").send().await;
    assert_eq!(refused.status, 409, "{}", refused.text);

    assert_eq!(harness.ask("DELETE", FENCE).token(ADMIN).send().await.status, 204);
    let again = harness.ask("DELETE", FENCE).token(ADMIN).send().await;
    assert_eq!(again.fault(), (404, "host h1 is not fenced".to_owned()));
    assert_eq!(harness.post(&mapping, &attach).token(MEMBER).send().await.status, 200);
    harness.until_at(&path, "/volume/status", &json!("in-use")).await;
    harness.stop().await;
}

#[actix_web::test]
async fn a_fence_needs_a_proof() {
    let harness = Harness::start().await;
    for body in [
        json!({}),
        json!({"fence": {}}),
        json!({"fence": {"proof": ""}}),
        json!({"fence": {"proof": "  "}}),
        json!({"fence": {"proof": 1}}),
        json!({"fence": {"proof": "p", "force": true}}),
        json!({"fence": {"proof": "p".repeat(1001)}}),
    ] {
        let (status, answer) = put(&harness, FENCE, &body).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
    let (status, answer) =
        put(&harness, &format!("/admin/hosts/{}/fence", "h".repeat(256)), &json!({"fence": {"proof": "p"}})).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(harness.get("/admin/hosts").send().await.json(), json!({"hosts": []}));
    harness.stop().await;
}
