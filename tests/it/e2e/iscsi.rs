//! A backend that offers iSCSI, through the API: what a client is told, and who else is.

use reqwest::Method;
use serde_json::{Value, json};

use super::hearth::{Environment, Hearth};
use crate::drivers::file::INITIATOR;
use crate::drivers::file::iscsi::{log_in, portal};

/// The two ways to connect: an attachment, and the old action. Both tell the account to who may connect, once more when the
/// call is repeated under its key, and nobody else: no list, no admin page, no line of the log has the password.
#[tokio::test]
async fn chap_accounts_are_told_to_who_connects_and_to_nobody_else() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let environment = Environment::default()
        .set("backends.0.name", "targets")
        .set("backends.0.target_protocol", "iscsi")
        .set("backends.0.target_ip_address", portal().ip().to_string())
        .set("backends.0.daemons_per_pool", "1")
        .log_to(log.path());
    let mut hearth = Hearth::start(environment).await;
    let connector = json!({"host": "h1", "initiator": INITIATOR, "ip": "127.0.0.1", "multipath": false});
    let (by_attachment, by_action) = (hearth.volume_create(1).await, hearth.volume_create(1).await);

    let create = json!({"attachment": {"volume_uuid": by_attachment, "connector": connector, "mode": "rw"}});
    let made = keyed(&hearth, "/v3/attachments", &create).await["attachment"].clone();
    let action = format!("/v3/volumes/{by_action}/action");
    hearth.admin(Method::POST, &action, Some(json!({"os-reserve": {}}))).await;
    let initialize = json!({"os-initialize_connection": {"connector": connector}});
    let initialized = keyed(&hearth, &action, &initialize).await["connection_info"].clone();
    assert_eq!(initialized["driver_volume_type"], "iscsi", "{initialized}");

    let infos = [made["connection_info"].clone(), initialized["data"].clone()];
    for (info, byte) in infos.iter().zip([0x11, 0x12]) {
        assert!(log_in(info).await.expect("logged in").write(byte, 0).await);
    }
    // Who repeats a call because the answer was lost gets the same one, also from a service that was killed meanwhile.
    hearth.kill().await;
    hearth.start_again().await;
    assert_eq!(keyed(&hearth, "/v3/attachments", &create).await["attachment"]["connection_info"], infos[0]);
    assert_eq!(keyed(&hearth, &action, &initialize).await["connection_info"], initialized);
    for info in &infos {
        assert!(log_in(info).await.is_ok());
    }

    let without = json!({"attachment": {"volume_uuid": by_attachment, "connector": {"host": "h1"}, "mode": "rw"}});
    let refused = hearth.ask(Method::POST, "/v3/attachments", Some(without)).await.expect("an answer");
    assert_eq!(refused.0, 400, "{}", refused.1);

    let mut told = std::fs::read_to_string(log.path()).expect("readable");
    assert!(told.contains("os-initialize_connection") || told.contains("/attachments"), "the log is one: {told}");
    let attachment = made["id"].as_str().expect("an id");
    for path in [
        "/admin/actors".to_owned(),
        format!("/admin/actors/{by_attachment}"),
        format!("/admin/actors/{by_action}"),
        "/admin/operations".into(),
        "/admin/drivers".into(),
        format!("/admin/volumes/{by_attachment}/history"),
        format!("/admin/volumes/{by_action}/history"),
        "/v3/volumes/detail".into(),
        "/v3/attachments".into(),
        "/v3/messages".into(),
    ] {
        told += &hearth.admin(Method::GET, &path, None).await.to_string();
    }
    for info in &infos {
        assert!(!told.contains(info["auth_password"].as_str().expect("a password")));
    }
    for pid in hearth.daemon_pids() {
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("alive");
        assert!(infos.iter().all(|info| !arguments.contains(info["auth_password"].as_str().expect("a password"))));
    }
    // As Cinder shows it: to who may see the attachment.
    let shown = hearth.admin(Method::GET, &format!("/v3/attachments/{attachment}"), None).await;
    assert_eq!(shown["attachment"]["connection_info"]["auth_password"], infos[0]["auth_password"]);

    hearth.admin(Method::DELETE, &format!("/v3/attachments/{attachment}"), None).await;
    hearth.admin(Method::POST, &action, Some(json!({"os-terminate_connection": {"connector": connector}}))).await;
    for info in &infos {
        assert!(log_in(info).await.is_err(), "an ended connection lets nobody in");
    }
    assert_eq!(hearth.fsck().await, Vec::<Value>::new());
}

/// A call that may be repeated; fails the test unless the answer is a success.
async fn keyed(hearth: &Hearth, path: &str, body: &Value) -> Value {
    let headers = [("Idempotency-Key", path)];
    let answer = hearth.ask_with(Method::POST, path, Some(body.clone()), &headers).await.expect("an answer");
    assert!((200..300).contains(&answer.0), "{path}: {answer:?}");
    answer.1
}
