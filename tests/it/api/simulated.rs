//! Servers that clients make for themselves, which are simulated.

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER};

const SERVERS: &str = "/compute/v2.1/servers";

async fn start() -> Harness {
    Harness::start_with(ApiOptions { simulated_servers: true, ..ApiOptions::default() }, Limits::NONE).await
}

async fn made(harness: &Harness) -> String {
    let body = json!({"server": {"name": "s", "imageRef": "i", "flavorRef": "1", "networks": "none"}});
    let got = harness.post(SERVERS, &body).token(MEMBER).send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    let server = got.json()["server"].clone();
    assert!(server["adminPass"].as_str().is_some_and(|password| password.len() > 8), "{server}");
    server["id"].as_str().unwrap().to_owned()
}

async fn act(harness: &Harness, token: &str, server: &str, action: &str) -> u16 {
    harness.post(&format!("{SERVERS}/{server}/action"), &json!({action: null})).token(token).send().await.status
}

async fn status(harness: &Harness, server: &str) -> Value {
    harness.ask("GET", &format!("{SERVERS}/{server}")).token(MEMBER).send().await.json()["server"]["status"].clone()
}

#[actix_web::test]
async fn a_simulated_server_lives_and_takes_its_volumes_with_it() {
    let harness = start().await;
    let server = made(&harness).await;
    assert_eq!(status(&harness, &server).await, "ACTIVE");
    let (kept, flagged) =
        (harness.volume(MEMBER, json!({"size": 1})).await, harness.volume(MEMBER, json!({"size": 1})).await);
    for (volume, goes) in [(&kept, false), (&flagged, true)] {
        let body = json!({"volumeAttachment": {"volumeId": volume, "delete_on_termination": goes}});
        let path = format!("{SERVERS}/{server}/os-volume_attachments");
        let got = harness.post(&path, &body).token(MEMBER).compute("2.79").send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        harness.until_at(&format!("/v3/volumes/{volume}"), "/volume/status", &json!("in-use")).await;
    }
    for (action, word) in [
        ("os-stop", "SHUTOFF"),
        ("os-start", "ACTIVE"),
        ("pause", "PAUSED"),
        ("unpause", "ACTIVE"),
        ("suspend", "SUSPENDED"),
        ("resume", "ACTIVE"),
        ("reboot", "ACTIVE"),
        ("lock", "ACTIVE"),
        ("unlock", "ACTIVE"),
        ("shelve", "SHELVED"),
        ("unshelve", "ACTIVE"),
    ] {
        assert_eq!(act(&harness, MEMBER, &server, action).await, 202, "{action}");
        assert_eq!(status(&harness, &server).await, word, "{action}");
    }
    let got = harness.ask("DELETE", &format!("{SERVERS}/{server}")).token(MEMBER).send().await;
    assert_eq!((got.status, got.text.as_str()), (204, ""));
    assert_eq!(harness.ask("GET", &format!("{SERVERS}/{server}")).token(ADMIN).send().await.status, 404);
    harness.until_at(&format!("/v3/volumes/{kept}"), "/volume/status", &json!("available")).await;
    harness.until_at(&format!("/v3/volumes/{flagged}"), "/itemNotFound/code", &json!(404)).await;
    harness.stop().await;
}

#[actix_web::test]
async fn states_and_locks_refuse_with_the_word_of_the_action() {
    let harness = start().await;
    let server = made(&harness).await;
    let refused = async |token: &str, action: &str| {
        let path = format!("{SERVERS}/{server}/action");
        let got = harness.post(&path, &json!({action: null})).token(token).send().await;
        assert_eq!(got.status, 409, "{action}: {}", got.text);
        got.json()["conflictingRequest"]["message"].as_str().unwrap().to_owned()
    };
    for (action, word) in
        [("os-start", "start"), ("unpause", "unpause"), ("resume", "resume"), ("shelveOffload", "shelve_offload")]
    {
        let expected = format!("Cannot '{word}' instance {server} while it is in vm_state active");
        assert_eq!(refused(ADMIN, action).await, expected);
    }
    assert_eq!(act(&harness, MEMBER, &server, "lock").await, 202);
    assert_eq!(refused(MEMBER, "os-stop").await, format!("Instance {server} is locked"));
    assert_eq!(act(&harness, ADMIN, &server, "os-stop").await, 202, "an administrator passes a lock");
    assert_eq!(act(&harness, MEMBER, &server, "unlock").await, 202);
    harness.stop().await;
}

#[actix_web::test]
async fn what_cannot_be_simulated_is_refused() {
    let harness = start().await;
    for body in [
        json!({}),
        json!({"server": {}}),
        json!({"server": {"name": ""}}),
        json!({"server": {"name": 1}}),
        json!({"server": {"name": "n", "max_count": 2}}),
        json!({"server": {"name": "n", "min_count": "2"}}),
        json!({"server": {"name": "n", "block_device_mapping_v2": []}}),
    ] {
        let got = harness.post(SERVERS, &body).token(MEMBER).send().await;
        assert_eq!(got.status, 400, "{body}: {}", got.text);
    }
    // one that is run elsewhere is not ended by Hearth
    let body = json!({"server": {"name": "real", "project_id": "p", "hypervisor": "none"}});
    let real = harness.post("/admin/servers", &body).token(ADMIN).send().await.json()["server"]["id"].clone();
    let real = real.as_str().unwrap();
    assert_eq!(harness.ask("DELETE", &format!("{SERVERS}/{real}")).token(MEMBER).send().await.status, 409);
    assert_eq!(act(&harness, MEMBER, real, "os-stop").await, 409);
    assert_eq!(act(&harness, MEMBER, real, "rebuild").await, 400);
    harness.stop().await;
}

/// It is switched on by a setting.
#[actix_web::test]
async fn without_the_setting_there_is_no_such_call() {
    let harness = Harness::start().await;
    let server = harness.server("s").await;
    let got = harness.post(SERVERS, &json!({"server": {"name": "n"}})).token(MEMBER).send().await;
    assert_eq!(got.status, 404, "{}", got.text);
    assert_eq!(harness.ask("DELETE", &format!("{SERVERS}/{server}")).token(ADMIN).send().await.status, 404);
    assert_eq!(act(&harness, ADMIN, &server, "os-stop").await, 404);
    harness.stop().await;
}
