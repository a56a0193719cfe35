//! `hearth fill`: what is made serves as if a service had made it.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::environment;
use crate::e2e::hearth::{Environment, Hearth, run, wait_until};
use crate::store::cluster;

const VOLUMES: usize = 600;
const ARGUMENTS: [&str; 10] =
    ["fill", "600", "--projects", "3", "--attachments", "20", "--errors", "5", "--open-operations", "40"];

/// Fills a fresh state directory (and database, if one is given), and serves it.
async fn filled(environment: Environment) -> (Hearth, Folder) {
    let state = tempfile::Builder::new().prefix("hearth").tempdir().expect("temporary directory");
    // the truth lies elsewhere: the service gets a state directory of its own
    let truth = state.path().join("truth").to_str().expect("utf-8 path").to_owned();
    let environment = environment.set("backends.0.truth", truth);
    let own = environment.clone().set("state.path", state.path().to_str().expect("utf-8 path"));
    let output = run(&own, &ARGUMENTS).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.starts_with("hearth: 600 volumes, ") && told.contains(" 40 open operations in "), "{told}");
    let folder = Folder { _state: state, settings: own };
    folder.assert_in_order().await;
    (Hearth::start(environment).await, folder)
}

/// Where it was filled, with settings that `fsck` can look at it by when no service runs.
struct Folder {
    _state: tempfile::TempDir,
    settings: Environment,
}

impl Folder {
    /// Records, usage and backend agree.
    async fn assert_in_order(&self) {
        let output = run(&self.settings, &["fsck", "--json"]).await;
        assert_eq!((String::from_utf8_lossy(&output.stdout).as_ref(), output.status.code()), ("", Some(0)));
    }
}

async fn volumes(hearth: &Hearth) -> Vec<Value> {
    let path = "/v3/volumes/detail?all_tenants=1&limit=1000";
    let body = hearth.admin(Method::GET, path, None).await;
    body["volumes"].as_array().expect("volumes").clone()
}

fn by_status(volumes: &[Value]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for volume in volumes {
        *counts.entry(volume["status"].as_str().expect("a status")).or_default() += 1;
    }
    counts
}

async fn serves_what_was_filled(environment: Environment) {
    let (hearth, folder) = filled(environment).await;
    // 8 of the 40 open operations are deletes, which recovery carries out; the others settle
    wait_until("every open operation has settled", async || {
        let listed = volumes(&hearth).await;
        let known = ["available", "in-use", "error", "reserved"];
        listed.len() == VOLUMES - 8 && by_status(&listed).keys().all(|status| known.contains(status))
    })
    .await;
    let listed = volumes(&hearth).await;
    let counts = by_status(&listed);
    assert!(counts["in-use"] > 60 && counts["error"] > 5 && counts["available"] > 300, "{counts:?}");

    let first = listed.iter().find(|volume| volume["status"] == "in-use").expect("one in use");
    assert_eq!(first["attachments"][0]["host_name"].as_str().map(|host| host.starts_with("compute-")), Some(true));
    let attachment = first["attachments"][0]["attachment_id"].as_str().expect("an attachment");
    let shown = hearth.admin(Method::GET, &format!("/v3/attachments/{attachment}"), None).await;
    assert_eq!(shown["attachment"]["connection_info"]["attachment_id"], attachment);
    hearth.admin(Method::DELETE, &format!("/v3/attachments/{attachment}"), None).await;
    let id = first["id"].as_str().expect("an id");
    hearth.wait_for_status(id, "available").await;

    hearth.server_register("s", "s", "sim", None).await;
    let body = json!({"volumeAttachment": {"volumeId": id}});
    hearth.admin(Method::POST, "/compute/v2.1/servers/s/os-volume_attachments", Some(body)).await;
    hearth.wait_for_status(id, "in-use").await;
    let (status, _) = hearth.terminate().await;
    assert!(status.success());
    folder.assert_in_order().await;
}

#[tokio::test]
async fn a_filled_database_serves_as_if_a_service_had_made_it() {
    let folder = tempfile::tempdir().expect("temporary directory");
    serves_what_was_filled(environment().set("database.url", sqlite(&folder))).await;
}

fn sqlite(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}", folder.path().join("records.db").display())
}

#[tokio::test]
async fn on_postgresql_too() {
    let Some(database) = cluster::fresh_database() else { return };
    serves_what_was_filled(environment().set("database.url", database)).await;
}

#[tokio::test]
async fn filled_volumes_count_in_their_projects_quotas() {
    let folder = tempfile::tempdir().expect("temporary directory");
    let settings = environment().set("database.url", sqlite(&folder)).set("quota.volumes", "100");
    let (hearth, _folder) = filled(settings).await;
    let create = async |project: &str| {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let request = client.post(hearth.url("/v3/volumes")).header("X-Auth-Token", format!("somebody:{project}"));
        request.json(&json!({"volume": {"size": 1}})).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(create("fill-0").await, 413, "it has about 200 volumes");
    assert_eq!(create("elsewhere").await, 202);
}

#[tokio::test]
async fn a_running_service_is_not_filled_behind_its_back() {
    let hearth = super::service().await;
    let output = run(hearth.environment(), &["fill", "10"]).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("another hearth is running"), "{told}");
    assert_eq!(volumes(&hearth).await, Vec::<Value>::new());
}

#[tokio::test]
async fn shares_that_cannot_be_are_refused() {
    for arguments in [
        &["fill", "10", "--attachments", "60", "--errors", "41"][..],
        &["fill", "10", "--open-operations", "11"],
        &["fill", "0"],
        &["fill"],
    ] {
        assert_eq!(run(&environment(), arguments).await.status.code(), Some(2), "{arguments:?}");
    }
}
