//! The policy over the wire: files that change rules, with the objects of requests as targets.

use std::fs;
use std::sync::Arc;

use hearth::api::ApiOptions;
use hearth::domain::ids::{ProjectId, UserId};
use hearth::domain::quota::Limits;
use hearth::identity::{MappedToken, Noauth, Strategy};
use hearth::policy::LivePolicy;
use hearth::policy::files::Sources;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{ADMIN, Got, Harness, MEMBER, NOBODY, READER, STRANGER};

/// Another member of project `p`, and one of project `q` with a role of its own name.
const OTHER: &str = "other-member-of-p";
const OPERATOR: &str = "operator-of-q";

/// A server whose policy is a file, which a test writes.
struct Judge {
    harness: Harness,
    policy: Arc<LivePolicy>,
    directory: TempDir,
}

impl Judge {
    async fn start(rules: &Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.yaml");
        fs::write(&file, rules.to_string()).unwrap();
        let sources = Sources { file: Some(file), is_file_required: true, directory: None };
        let policy = Arc::new(LivePolicy::open(sources, true).unwrap());
        let mut noauth = Noauth::default();
        for (token, user, project, role) in [(OTHER, "mo", "p", "member"), (OPERATOR, "olga", "q", "operator")] {
            let mapped = MappedToken {
                user_id: UserId::from(user),
                project_id: ProjectId::from(project),
                roles: vec![role.to_owned()],
            };
            noauth.tokens.insert(token.to_owned(), mapped);
        }
        let auth = Strategy::Noauth(noauth);
        let options = ApiOptions { auth, policy: Arc::clone(&policy), ..ApiOptions::default() };
        Self { harness: Harness::start_with(options, Limits::NONE).await, policy, directory }
    }

    /// Other rules from now on.
    fn write(&self, rules: &str) {
        fs::write(self.directory.path().join("policy.yaml"), rules).unwrap();
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Got {
        let asking = self.harness.ask(method, path).token(token).volume("3.71");
        if body.is_null() { asking.send().await } else { asking.json(body).send().await }
    }

    /// The statuses of the same call by several callers.
    async fn statuses<const N: usize>(&self, tokens: [&str; N], method: &str, path: &str, body: &Value) -> [u16; N] {
        let mut found = [0; N];
        for (status, token) in found.iter_mut().zip(tokens) {
            *status = self.ask(token, method, path, body).await.status;
        }
        found
    }
}

const OWNER_ALONE: &str = "project_id:%(project_id)s and user_id:%(user_id)s";

/// Each object is the target with its own columns: who has made it passes, another member of the project does not, and to
/// another project it does not exist.
#[actix_web::test]
async fn objects_are_judged_by_their_own_columns() {
    let judge = Judge::start(&json!({
        "volume:update": OWNER_ALONE,
        "volume:update_volume_metadata": OWNER_ALONE,
        "volume:extend": OWNER_ALONE,
        "volume:create_snapshot": OWNER_ALONE,
        "volume:update_snapshot": OWNER_ALONE,
        "volume:update_snapshot_metadata": OWNER_ALONE,
        "volume:attachment_create": OWNER_ALONE,
        "volume:attachment_delete": format!("{OWNER_ALONE} and 'h1':%(attached_host)s"),
        "volume_extension:volume_actions:reserve": "'special':%(display_name)s",
    }))
    .await;
    let (harness, none) = (&judge.harness, &Value::Null);
    let id = harness.volume(MEMBER, json!({"size": 1, "name": "plain"})).await;
    let volume = format!("/v3/volumes/{id}");
    let callers = [STRANGER, OTHER, ADMIN, MEMBER];

    let renamed = json!({"volume": {"description": "x"}});
    assert_eq!(judge.statuses(callers, "PUT", &volume, &renamed).await, [404, 403, 403, 200], "volume");
    let metadata = json!({"meta": {"k": "v"}});
    let path = format!("{volume}/metadata/k");
    let set = json!({"metadata": {"k": "v"}});
    judge.ask(MEMBER, "POST", &format!("{volume}/metadata"), &set).await;
    assert_eq!(judge.statuses(callers, "PUT", &path, &metadata).await, [404, 403, 403, 200], "metadata");

    let create = json!({"snapshot": {"volume_id": id}});
    assert_eq!(judge.statuses([OTHER, ADMIN], "POST", "/v3/snapshots", &create).await, [403, 403]);
    let made = judge.ask(MEMBER, "POST", "/v3/snapshots", &create).await;
    assert_eq!(made.status, 202, "{}", made.text);
    let snapshot = format!("/v3/snapshots/{}", made.json()["snapshot"]["id"].as_str().unwrap());
    let renamed = json!({"snapshot": {"name": "x"}});
    assert_eq!(judge.statuses(callers, "PUT", &snapshot, &renamed).await, [404, 403, 403, 200], "snapshot");
    let path = format!("{snapshot}/metadata");
    assert_eq!(judge.statuses(callers, "POST", &path, &set).await, [404, 403, 403, 200], "snapshot's metadata");

    let reserve = json!({"os-reserve": null});
    let action = format!("{volume}/action");
    assert_eq!(judge.statuses([MEMBER, ADMIN], "POST", &action, &reserve).await, [403, 403], "by its name");
    let special = harness.volume(OTHER, json!({"size": 1, "name": "special"})).await;
    let got = judge.ask(MEMBER, "POST", &format!("/v3/volumes/{special}/action"), &reserve).await;
    assert_eq!(got.status, 202, "{}", got.text);

    // the volume's owner and the row's own columns
    let attach = |host: &str| json!({"attachment": {"volume_uuid": id, "connector": {"host": host}}});
    assert_eq!(judge.statuses([OTHER, ADMIN], "POST", "/v3/attachments", &attach("h1")).await, [403, 403]);
    for (host, expected) in [("h2", [404, 403, 403, 403]), ("h1", [404, 403, 403, 200])] {
        let got = judge.ask(MEMBER, "POST", "/v3/attachments", &attach(host)).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let row = got.json()["attachment"]["id"].as_str().unwrap().to_owned();
        let path = format!("/v3/attachments/{row}");
        assert_eq!(judge.statuses(callers, "DELETE", &path, none).await, expected, "attachment at {host}");
        if host == "h2" {
            judge.write(&json!({"volume:attachment_create": OWNER_ALONE}).to_string());
            judge.policy.reload().unwrap();
            assert_eq!(judge.ask(MEMBER, "DELETE", &path, none).await.status, 200);
            harness.until(&id, "available").await;
            judge.write(
                &json!({"volume:attachment_delete": format!("{OWNER_ALONE} and 'h1':%(attached_host)s")}).to_string(),
            );
            judge.policy.reload().unwrap();
        }
    }

    let delete = "rule:owner and 'available':%(status)s and False:%(bootable)s and not 'kept':%(display_name)s";
    judge.write(&json!({"owner": OWNER_ALONE, "volume:delete": delete}).to_string());
    judge.policy.reload().unwrap();
    for (name, expected) in [("kept", [404, 403, 403, 403]), ("free", [404, 403, 403, 202])] {
        let volume = format!("/v3/volumes/{}", harness.volume(MEMBER, json!({"size": 1, "name": name})).await);
        assert_eq!(judge.statuses(callers, "DELETE", &volume, none).await, expected, "{name}");
    }
    judge.harness.stop().await;
}

/// Quotas are judged by the project of the URL, and a call without an object by the caller's own.
#[actix_web::test]
async fn calls_without_an_object_have_a_target_too() {
    let judge = Judge::start(&json!({
        "volume_extension:quotas:show": "project_id:%(project_id)s",
        "volume_extension:default_get": "project_id:%(project_id)s or user_id:%(user_id)s",
        "volume:create": "role:member and 'mia':%(user_id)s",
        "volume:get_all": "'p':%(project_id)s",
    }))
    .await;
    let none = &Value::Null;
    let quota = |project: &str| format!("/v3/os-quota-sets/{project}");
    let callers = [NOBODY, READER, STRANGER, ADMIN];
    assert_eq!(judge.statuses(callers, "GET", &quota("p"), none).await, [200, 200, 403, 200]);
    assert_eq!(judge.statuses(callers, "GET", &quota("q"), none).await, [403, 403, 200, 403]);
    let default = |project: &str| format!("/v3/default-types/{project}");
    assert_eq!(judge.statuses([NOBODY, STRANGER], "GET", &default("p"), none).await, [404, 403]);
    let create = json!({"volume": {"size": 1}});
    assert_eq!(judge.statuses([MEMBER, OTHER, ADMIN], "POST", "/v3/volumes", &create).await, [202, 403, 403]);
    assert_eq!(judge.statuses(callers, "GET", "/v3/volumes", none).await, [200, 200, 403, 200]);
    judge.harness.stop().await;
}

#[actix_web::test]
async fn what_is_not_visible_is_404_whatever_the_policy_says() {
    let judge = Judge::start(&json!({"volume:update": "!", "volume:extend": "@", "volume:get": "@"})).await;
    let id = judge.harness.volume(MEMBER, json!({"size": 1})).await;
    let volume = format!("/v3/volumes/{id}");
    let renamed = json!({"volume": {"name": "x"}});
    let callers = [STRANGER, READER, MEMBER, ADMIN];
    assert_eq!(judge.statuses(callers, "PUT", &volume, &renamed).await, [404, 403, 403, 403]);
    assert_eq!(judge.statuses(callers, "GET", &volume, &Value::Null).await, [404, 200, 200, 200]);
    let extend = json!({"os-extend": {"new_size": 2}});
    assert_eq!(judge.statuses([STRANGER, READER], "POST", &format!("{volume}/action"), &extend).await, [404, 202]);
    let denied = judge.ask(MEMBER, "PUT", &volume, &renamed).await;
    assert_eq!(denied.fault(), (403, "Policy doesn't allow volume:update to be performed.".to_owned()));
    judge.harness.stop().await;
}

/// Rules that only choose what is shown.
#[actix_web::test]
async fn members_of_views_have_rules() {
    let hosts = "os-vol-host-attr:host";
    let tenant = "os-vol-tenant-attr:tenant_id";
    let migration = "os-vol-mig-status-attr:migstat";
    let progress = "os-extended-snapshot-attributes:progress";
    let judge = Judge::start(&json!({})).await;
    let harness = &judge.harness;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let image = json!({"os-set_image_metadata": {"metadata": {"k": "v"}}});
    judge.ask(MEMBER, "POST", &format!("/v3/volumes/{id}/action"), &image).await;
    let create = json!({"snapshot": {"volume_id": id}});
    let made = judge.ask(MEMBER, "POST", "/v3/snapshots", &create).await.json();
    let snapshot = made["snapshot"]["id"].as_str().unwrap().to_owned();
    let seen = async |token: &str| {
        let mut found = Vec::new();
        for path in [format!("/v3/volumes/{id}"), "/v3/volumes/detail".to_owned()] {
            let body = judge.ask(token, "GET", &path, &Value::Null).await.json();
            let volume = if body["volume"].is_null() { &body["volumes"][0] } else { &body["volume"] };
            let members = [hosts, tenant, migration, "volume_image_metadata"];
            found.push(members.map(|member| volume.get(member).is_some()).to_vec());
        }
        assert_eq!(found[0], found[1], "show and list");
        for path in [format!("/v3/snapshots/{snapshot}"), "/v3/snapshots/detail".to_owned()] {
            let body = judge.ask(token, "GET", &path, &Value::Null).await.json();
            let snapshot = if body["snapshot"].is_null() { &body["snapshots"][0] } else { &body["snapshot"] };
            found[0].push(snapshot.get(progress).is_some());
        }
        found.swap_remove(0)
    };
    assert_eq!(seen(MEMBER).await, [false, true, false, true, true, true]);
    assert_eq!(seen(ADMIN).await, [true; 6]);
    judge.write(
        &json!({
            "volume_extension:volume_host_attribute": "role:member",
            "volume_extension:volume_tenant_attribute": "!",
            "volume_extension:volume_mig_status_attribute": "user_id:mia",
            "volume_extension:volume_image_metadata:show": "rule:admin_api",
            "volume_extension:extended_snapshot_attributes": "rule:admin_api",
        })
        .to_string(),
    );
    judge.policy.reload().unwrap();
    assert_eq!(seen(MEMBER).await, [true, false, true, false, false, false]);
    assert_eq!(seen(ADMIN).await, [true, false, false, true, true, true]);
    judge.harness.stop().await;
}

#[actix_web::test]
async fn who_is_an_admin_is_a_rule() {
    let judge = Judge::start(&json!({"context_is_admin": "role:operator"})).await;
    let id = judge.harness.volume(MEMBER, json!({"size": 1})).await;
    let none = &Value::Null;
    assert_eq!(judge.ask(OPERATOR, "GET", "/admin/actors", none).await.status, 200);
    let all = judge.ask(OPERATOR, "GET", "/v3/volumes?all_tenants=1", none).await;
    assert_eq!(all.status, 403, "READER asks for the role admin itself");
    let reset = json!({"os-reset_status": {"status": "error"}});
    assert_eq!(judge.ask(OPERATOR, "POST", &format!("/v3/volumes/{id}/action"), &reset).await.status, 202);
    judge.write("{}");
    judge.policy.reload().unwrap();
    assert_eq!(judge.ask(OPERATOR, "GET", "/admin/actors", none).await.status, 403);
    assert_eq!(judge.ask(OPERATOR, "POST", &format!("/v3/volumes/{id}/action"), &reset).await.status, 404);
    judge.harness.stop().await;
}

#[actix_web::test]
async fn the_administrators_page_tells_what_is_in_force_and_what_is_wrong() {
    let judge = Judge::start(&json!({"volume:get_all": "role:member", "helper": "@"})).await;
    let none = &Value::Null;
    let told = async || judge.ask(ADMIN, "GET", "/admin/policy", none).await.json()["policy"].clone();
    let file = judge.directory.path().join("policy.yaml").display().to_string();
    let policy = told().await;
    assert_eq!(policy["files"], json!([file]));
    let changed =
        |name: &str, check: &str| json!({"name": name, "check": check, "origin": format!("overridden at {file}:1")});
    assert_eq!(policy["changed"], json!([changed("volume:get_all", "role:member"), changed("helper", "@")]));
    assert_eq!(policy["error"], Value::Null);
    let warning = format!("helper is no rule that Hearth asks, and no rule refers to it (overridden at {file}:1)");
    assert_eq!(policy["warnings"], json!([warning]));
    assert_eq!(judge.ask(MEMBER, "GET", "/admin/policy", none).await.status, 403);

    judge.write("volume:get_all: role:member or\n");
    judge.policy.reload().unwrap_err();
    let reason =
        format!("{file}:1: rule volume:get_all: the expression ends where a check is expected (at character 15)");
    let policy = told().await;
    assert_eq!((&policy["error"], &policy["changed"][0]), (&json!(reason), &changed("volume:get_all", "role:member")));
    assert_eq!(judge.statuses([READER, MEMBER], "GET", "/v3/volumes", none).await, [403, 200]);

    judge.write("volume:get_all: role:reader\n");
    judge.policy.reload().unwrap();
    assert_eq!(told().await["error"], Value::Null);
    assert_eq!(judge.ask(READER, "GET", "/v3/volumes", none).await.status, 200);
    judge.harness.stop().await;
}
