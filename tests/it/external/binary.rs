//! The shipped binary for the servers of a Nova: its settings, its logins, its secrets, and what it says after it was killed.

use reqwest::Method;
use serde_json::{Value, json};

use super::SERVER;
use super::stand_in::{PASSWORD, StandIn, TOKEN};
use crate::e2e::hearth::{Environment, Hearth, run, wait_until};

/// On simulated hardware, for the servers of a Nova.
fn environment() -> Environment {
    Environment::default()
        .set("backends.0.name", "simulated")
        .set("backends.0.driver", "sim")
        .set("compute.mode", "external")
}

/// It logs in at the Keystone beside this Nova.
fn for_nova(nova: &StandIn) -> Environment {
    environment().set("compute.nova.auth_url", nova.keystone()).set("compute.nova.password", PASSWORD)
}

async fn start(environment: Environment) -> Hearth {
    let hearth = Hearth::start(environment).await;
    hearth.wait_until_ready().await;
    hearth
}

/// Asks it; status and body.
async fn ask(hearth: &Hearth, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    hearth.ask(method, path, body).await.expect("an answer")
}

/// A volume that Nova has attached to its server: both ids.
async fn attached(hearth: &Hearth, nova: &StandIn) -> (String, String) {
    let volume = hearth.volume_create(1).await;
    hearth.wait_for_status(&volume, "available").await;
    let body = json!({"attachment": {
        "volume_uuid": volume, "instance_uuid": SERVER, "connector": {"host": "h1", "initiator": "iqn.x:y"},
    }});
    let (status, made) = ask(hearth, Method::POST, "/v3/attachments", Some(body)).await;
    assert_eq!(status, 200, "{made}");
    let attachment = made["attachment"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v3/attachments/{attachment}/action");
    assert_eq!(ask(hearth, Method::POST, &path, Some(json!({"os-complete": null}))).await.0, 204);
    nova.attach(SERVER, &volume, &attachment);
    (volume, attachment)
}

async fn delete(hearth: &Hearth, attachment: &str) -> u16 {
    ask(hearth, Method::DELETE, &format!("/v3/attachments/{attachment}"), None).await.0
}

async fn extend(hearth: &Hearth, volume: &str, size: u32) {
    let path = format!("/v3/volumes/{volume}/action");
    let (status, body) = ask(hearth, Method::POST, &path, Some(json!({"os-extend": {"new_size": size}}))).await;
    assert_eq!(status, 202, "{body}");
}

async fn open_operations(hearth: &Hearth) -> Value {
    hearth.admin(Method::GET, "/admin/operations", None).await["operations"].clone()
}

async fn wait_until_idle(hearth: &Hearth) {
    wait_until("nothing is open", async || open_operations(hearth).await == json!([])).await;
}

#[tokio::test]
async fn external_the_binary_logs_in_finds_nova_and_tells_no_secret() {
    let nova = StandIn::start().await;
    let log = tempfile::NamedTempFile::new().expect("a file");
    let hearth = start(for_nova(&nova).set("compute.nova.region_name", "R").log_to(log.path())).await;
    let (volume, attachment) = attached(&hearth, &nova).await;
    assert_eq!(delete(&hearth, &attachment).await, 409);
    extend(&hearth, &volume, 2).await;
    nova.wait_for_calls(2).await;
    nova.forget_tokens();
    assert_eq!(delete(&hearth, &attachment).await, 409);
    wait_until_idle(&hearth).await;

    let tokens: Vec<_> = nova.seen().into_iter().filter_map(|call| call.token).collect();
    let token = |number: usize| format!("{TOKEN}-{number}");
    assert_eq!(tokens, [token(1), token(1), token(1), token(2)]);
    let user = &nova.logins()[0]["auth"]["identity"]["password"]["user"];
    assert_eq!((&user["name"], &user["domain"]["name"]), (&json!("hearth"), &json!("Default")));
    assert_eq!(nova.logins()[0]["auth"]["scope"]["project"]["name"], "service");

    assert_eq!(ask(&hearth, Method::GET, "/compute/v2.1/servers", None).await.0, 404);
    let metrics = reqwest::get(hearth.url("/metrics")).await.expect("an answer").text().await.expect("text");
    assert!(metrics.contains("hearth_nova_calls_total{outcome=\"done\"} 3"), "{metrics}");
    let mut told = std::fs::read_to_string(hearth.state_file("clouds.yaml")).expect("clouds.yaml");
    assert!(!told.contains("compute_endpoint"), "{told}");
    for page in ["actors", "operations", "drivers", "policy", "hosts"] {
        told += &hearth.admin(Method::GET, &format!("/admin/{page}"), None).await.to_string();
    }
    told += &hearth.admin(Method::GET, &format!("/admin/actors/{volume}"), None).await.to_string();
    let checked = run(hearth.environment(), &["check-config"]).await;
    assert!(checked.status.success(), "{checked:?}");
    told += &String::from_utf8_lossy(&checked.stdout);
    assert!(told.contains("catalogue"), "{told}");
    hearth.terminate().await;
    let written = std::fs::read_to_string(log.path()).expect("the log");
    assert!(written.contains("/v3/attachments"), "{written}");
    for text in [told, written] {
        assert!(!text.contains(PASSWORD) && !text.contains(TOKEN), "a secret is told");
    }
}

/// What was committed is told, however often the service dies before Nova has answered.
#[tokio::test]
async fn external_r103_what_nova_was_not_told_before_a_kill_it_is_told_after_it() {
    let nova = StandIn::start().await;
    let mut hearth = start(for_nova(&nova)).await;
    let (volume, _) = attached(&hearth, &nova).await;
    nova.stop().await;
    extend(&hearth, &volume, 2).await;
    wait_until("the volume has grown", async || hearth.volume(&volume).await.is_some_and(|shown| shown["size"] == 2))
        .await;
    assert_eq!(open_operations(&hearth).await[0]["kind"], "notify_compute");
    hearth.kill().await;
    assert_eq!(nova.seen(), [], "nothing has come yet");

    // once more, when it has come and was not answered
    nova.start_again().await;
    nova.hold();
    hearth.start_again().await;
    nova.wait_for_calls(1).await;
    hearth.kill().await;
    nova.release();
    hearth.start_again().await;
    let seen = nova.wait_for_calls(2).await;
    let event = json!({"name": "volume-extended", "server_uuid": SERVER, "tag": volume});
    assert!(seen.iter().all(|call| call.body == json!({"events": [event]})), "{seen:?}");
    wait_until_idle(&hearth).await;
    assert_eq!(hearth.volume(&volume).await.expect("it is there")["status"], "in-use");
    hearth.terminate().await;
}

#[tokio::test]
async fn external_nova_is_asked_with_an_application_credential_or_the_token_of_a_file() {
    let nova = StandIn::start().await;
    let credential = environment()
        .set("compute.nova.auth_url", nova.keystone())
        .set("compute.nova.application_credential_id", "ac-1")
        .set("compute.nova.application_credential_secret", PASSWORD);
    let hearth = start(credential).await;
    let (_, attachment) = attached(&hearth, &nova).await;
    assert_eq!(delete(&hearth, &attachment).await, 409);
    let identity = nova.logins()[0]["auth"]["identity"].clone();
    let expected = json!({"id": "ac-1", "secret": PASSWORD});
    assert_eq!(
        (&identity["methods"], &identity["application_credential"]),
        (&json!(["application_credential"]), &expected)
    );
    assert_eq!(nova.logins()[0]["auth"].get("scope"), None, "it has its own");
    hearth.terminate().await;

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{}\n", nova.token())).expect("written");
    let by_file = environment()
        .set("compute.nova.token_file", file.path().to_str().expect("utf-8"))
        .set("compute.nova.endpoint", format!("http://{}", nova.address));
    let hearth = start(by_file).await;
    let (_, attachment) = attached(&hearth, &nova).await;
    assert_eq!(delete(&hearth, &attachment).await, 409);
    nova.forget_tokens();
    assert_eq!(delete(&hearth, &attachment).await, 503);
    std::fs::write(file.path(), nova.token()).expect("written");
    assert_eq!(delete(&hearth, &attachment).await, 409);
    assert_eq!(nova.logins().len(), 1);
    hearth.terminate().await;
}

#[tokio::test]
async fn external_check_config_names_what_is_missing() {
    let checked = run(&environment(), &["check-config"]).await;
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{told}");
    assert!(told.contains("compute.nova.auth_url") && told.contains("compute.nova.password"), "{told}");
    let missing = environment()
        .set("compute.nova.token_file", "/nonexistent/token")
        .set("compute.nova.endpoint", "http://127.0.0.1:8774");
    let checked = run(&missing, &["check-config"]).await;
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(2), "{told}");
    assert!(told.contains("compute.nova.token_file") && told.contains("/nonexistent/token"), "{told}");
}
