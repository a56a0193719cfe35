//! Quotas and limits over the wire: a row for each line of quotas-limits §2–§5.

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use serde_json::{Map, Value, json};

use super::harness::{ADMIN, Harness, MEMBER, NOBODY, READER, STRANGER};
use super::types::{call, check_all, make_type};

fn denied(rule: &str) -> Value {
    Value::from(format!("Policy doesn't allow volume_extension:{rule} to be performed."))
}

/// The settings' limits, and of one type besides those of the default one.
fn limits(types: &[&str], others: &[(&str, i64)]) -> Map<String, Value> {
    let mut members = json!({
        "volumes": 10, "snapshots": 10, "gigabytes": 1000, "backups": 10, "backup_gigabytes": 1000, "groups": 10,
        "per_volume_gigabytes": -1,
    });
    let members = members.as_object_mut().unwrap();
    for name in types.iter().chain(&["__DEFAULT__"]) {
        for resource in ["volumes", "snapshots", "gigabytes"] {
            members.insert(format!("{resource}_{name}"), json!(-1));
        }
    }
    for (name, limit) in others {
        members.insert((*name).to_owned(), json!(limit));
    }
    members.clone()
}

fn set(members: &Map<String, Value>, id: Option<&str>) -> Value {
    let mut members = members.clone();
    id.and_then(|id| members.insert("id".to_owned(), json!(id)));
    json!({"quota_set": members})
}

fn class(members: &Map<String, Value>, id: Option<&str>) -> Value {
    json!({"quota_class_set": set(members, id)["quota_set"]})
}

async fn start() -> Harness {
    Harness::start_with(ApiOptions::default(), Limits::default()).await
}

#[actix_web::test]
async fn quota_sets() {
    let harness = start().await;
    let null = || Value::Null;
    make_type(&harness, "t", json!({"os-volume-type-access:is_public": false})).await;
    let body = |members: Value| json!({"quota_set": members});
    let defaults = limits(&["t"], &[]);
    let changed = limits(&["t"], &[("volumes", 5), ("gigabytes_t", 7), ("per_volume_gigabytes", 3), ("groups", -1)]);
    let (path, long) = ("/v3/os-quota-sets/p", format!("/v3/os-quota-sets/{}", "x".repeat(256)));
    let must = |text: &str| json!(format!("volumes must be {text}"));
    check_all(
        &harness,
        "",
        &[
            (READER, "GET", path, null(), 200, set(&defaults, Some("p"))),
            (ADMIN, "GET", "/v3/os-quota-sets/elsewhere", null(), 200, set(&defaults, Some("elsewhere"))),
            (STRANGER, "GET", path, null(), 403, denied("quotas:show")),
            (NOBODY, "GET", path, null(), 403, denied("quotas:show")),
            (STRANGER, "GET", "/v3/os-quota-sets/p/defaults", null(), 403, denied("quotas:show")),
            (ADMIN, "GET", "/v3/os-quota-sets/p?usage=maybe", null(), 400, null()),
            (ADMIN, "GET", &long, null(), 400, null()),
            (MEMBER, "PUT", path, body(json!({"volumes": 1})), 403, denied("quotas:update")),
            (MEMBER, "DELETE", path, null(), 403, denied("quotas:delete")),
            (ADMIN, "PUT", path, body(json!({})), 400, null()),
            (ADMIN, "PUT", path, json!({}), 400, null()),
            (
                ADMIN,
                "PUT",
                path,
                body(json!({"volumes": 1, "nope": 2, "volumes_x": 3})),
                400,
                json!("Invalid input received: Bad key(s) in quota set: nope, volumes_x"),
            ),
            (ADMIN, "PUT", path, body(json!({"volumes": -2})), 400, must(">= -1")),
            (ADMIN, "PUT", path, body(json!({"volumes": 2_147_483_648_i64})), 400, must("<= 2147483647")),
            (ADMIN, "PUT", path, body(json!({"volumes": "99999999999999999999"})), 400, must("<= 2147483647")),
            (ADMIN, "PUT", path, body(json!({"volumes": null})), 400, must("an integer")),
            (ADMIN, "PUT", path, body(json!({"volumes": 1.5})), 400, must("an integer")),
            (ADMIN, "PUT", path, body(json!({"volumes": true})), 400, must("an integer")),
            (ADMIN, "PUT", path, body(json!({"volumes": "x"})), 400, must("an integer")),
            (ADMIN, "PUT", path, body(json!({"volumes": "-"})), 400, must("an integer")),
            // everything is looked at before anything is written
            (ADMIN, "PUT", path, body(json!({"gigabytes": 1, "volumes": -2})), 400, null()),
            (ADMIN, "GET", path, null(), 200, set(&defaults, Some("p"))),
            (ADMIN, "PUT", path, body(json!({"tenant_id": "x", "id": "y"})), 200, set(&defaults, None)),
            (
                ADMIN,
                "PUT",
                path,
                body(json!({"volumes": "5", "gigabytes_t": 7, "per_volume_gigabytes": 3, "groups": -1})),
                200,
                set(&changed, None),
            ),
            (READER, "GET", path, null(), 200, set(&changed, Some("p"))),
            (READER, "GET", "/v3/os-quota-sets/p/defaults", null(), 200, set(&defaults, Some("p"))),
            (ADMIN, "DELETE", path, null(), 200, json!("")),
            (ADMIN, "DELETE", path, null(), 200, json!("")),
            (READER, "GET", path, null(), 200, set(&defaults, Some("p"))),
        ],
    )
    .await;
    assert_eq!(call(&harness, ADMIN, "GET", "/v3/os-quota-sets/p/detail", &null()).await.status, 404);
    harness.stop().await;
}

#[actix_web::test]
async fn quota_classes() {
    let harness = start().await;
    let null = || Value::Null;
    let body = |members: Value| json!({"quota_class_set": members});
    let defaults = limits(&[], &[]);
    let of_default = limits(&[], &[("volumes", 2), ("snapshots", 3)]);
    let of_own = limits(&[], &[("volumes", 4), ("snapshots", 3)]);
    let own = limits(&[], &[("volumes", 2), ("snapshots", 6)]);
    let (path, default) = ("/v3/os-quota-class-sets/c", "/v3/os-quota-class-sets/default");
    let set_path = "/v3/os-quota-sets/p";
    check_all(
        &harness,
        "",
        &[
            (ADMIN, "GET", path, null(), 200, class(&defaults, Some("c"))),
            (MEMBER, "GET", path, null(), 403, denied("quota_classes:get")),
            (MEMBER, "PUT", path, body(json!({})), 403, denied("quota_classes:update")),
            (ADMIN, "PUT", path, body(json!({})), 200, class(&defaults, None)),
            (
                ADMIN,
                "PUT",
                path,
                body(json!({"id": "c", "class_name": "c"})),
                400,
                json!("Bad key(s) in quota class set: id, class_name"),
            ),
            (ADMIN, "PUT", path, body(json!({"volumes": -2})), 400, json!("volumes must be >= -1")),
            (ADMIN, "PUT", default, body(json!({"volumes": "2", "snapshots": 3})), 200, class(&of_default, None)),
            (ADMIN, "PUT", path, body(json!({"volumes": 4})), 200, class(&of_own, None)),
            (ADMIN, "GET", path, null(), 200, class(&of_own, Some("c"))),
            // what the class says holds for a project as far as nothing else is said
            (READER, "GET", set_path, null(), 200, set(&of_default, Some("p"))),
            (ADMIN, "PUT", set_path, json!({"quota_set": {"snapshots": 6}}), 200, set(&own, None)),
            (READER, "GET", "/v3/os-quota-sets/p/defaults", null(), 200, set(&of_default, Some("p"))),
        ],
    )
    .await;
    // and judges what it does
    harness.volume(MEMBER, json!({"size": 1})).await;
    harness.volume(MEMBER, json!({"size": 1})).await;
    let text = "VolumeLimitExceeded: Maximum number of volumes allowed (2) exceeded for quota 'volumes'.";
    let got = call(&harness, MEMBER, "POST", "/v3/volumes", &json!({"volume": {"size": 1}})).await;
    assert_eq!(got.fault(), (413, text.to_owned()));
    harness.stop().await;
}

#[actix_web::test]
async fn what_is_used_is_shown_and_never_forbidden() {
    let harness = start().await;
    let null = || Value::Null;
    let volume = harness.volume(MEMBER, json!({"size": 2})).await;
    let snapshot = json!({"snapshot": {"volume_id": volume}});
    let got = call(&harness, MEMBER, "POST", "/v3/snapshots", &snapshot).await;
    assert_eq!(got.status, 202, "{}", got.text);
    let got = call(&harness, READER, "GET", "/v3/os-quota-sets/p?usage=TRUE", &null()).await.json();
    let used = |limit: i64, in_use: i64| json!({"limit": limit, "in_use": in_use, "reserved": 0});
    for (name, limit, in_use) in [
        ("volumes", 10, 1),
        ("snapshots", 10, 1),
        ("gigabytes", 1000, 4),
        ("volumes___DEFAULT__", -1, 1),
        ("snapshots___DEFAULT__", -1, 1),
        ("gigabytes___DEFAULT__", -1, 4),
        ("per_volume_gigabytes", -1, 0),
        ("backups", 10, 0),
    ] {
        assert_eq!(got["quota_set"][name], used(limit, in_use), "{name}: {got}");
    }
    let lowered = |name: &str, used: i64, limit: i64| {
        json!(format!(
            "Quota {name} limit must be equal or greater than existing resources. Current usage is {used} and the \
             requested limit is {limit}."
        ))
    };
    let path = "/v3/os-quota-sets/p";
    let put = |name: &str, limit: i64| json!({"quota_set": {name: limit}});
    check_all(
        &harness,
        "",
        &[
            (ADMIN, "PUT", path, put("volumes", 0), 400, lowered("volumes", 1, 0)),
            (ADMIN, "PUT", path, put("gigabytes___DEFAULT__", 3), 400, lowered("gigabytes___DEFAULT__", 4, 3)),
            (ADMIN, "PUT", path, put("per_volume_gigabytes", 1), 200, null()),
            (ADMIN, "PUT", path, put("volumes", -1), 200, null()),
            (ADMIN, "PUT", path, put("gigabytes", 4), 200, null()),
        ],
    )
    .await;
    let absolute = |volumes: i64, gigabytes: i64, used: [i64; 3]| {
        json!({"limits": {"rate": [], "absolute": {
            "maxTotalVolumes": volumes, "maxTotalSnapshots": 10, "maxTotalVolumeGigabytes": gigabytes,
            "maxTotalBackups": 10, "maxTotalBackupGigabytes": 1000, "totalVolumesUsed": used[0],
            "totalSnapshotsUsed": used[1], "totalGigabytesUsed": used[2], "totalBackupsUsed": 0,
            "totalBackupGigabytesUsed": 0,
        }}})
    };
    let (own, foreign) = (absolute(-1, 4, [1, 1, 4]), absolute(10, 1000, [0, 0, 0]));
    check_all(
        &harness,
        "",
        &[
            (READER, "GET", "/v3/limits", null(), 200, own.clone()),
            (READER, "GET", "/v3/limits?project_id=q", null(), 200, own.clone()),
            (ADMIN, "GET", "/v3/limits?project_id=q", null(), 200, foreign.clone()),
            (ADMIN, "GET", "/v3/limits?tenant_id=q", null(), 200, foreign),
        ],
    )
    .await;
    let below = harness.get("/v3/limits?project_id=q").volume("3.38").send().await;
    assert_eq!(below.json(), own);
    let unused = call(&harness, NOBODY, "GET", "/v3/limits", &null()).await.json();
    assert_eq!(unused["limits"]["absolute"].as_object().unwrap().len(), 5, "{unused}");
    harness.stop().await;
}

#[actix_web::test]
async fn a_type_has_limits_of_its_own() {
    let harness = start().await;
    let null = || Value::Null;
    let id = make_type(&harness, "t", json!({})).await;
    let put = |members: Value| json!({"quota_set": members});
    let create = |size: u32| json!({"volume": {"size": size, "volume_type": "t"}});
    let path = "/v3/os-quota-sets/p";
    check_all(
        &harness,
        &id,
        &[
            (ADMIN, "PUT", path, put(json!({"volumes_t": 2, "gigabytes_t": 5, "snapshots_t": 0})), 200, null()),
            // renaming a type renames its limits
            (ADMIN, "PUT", "/v3/types/{}", json!({"volume_type": {"name": "n"}}), 200, null()),
            (ADMIN, "PUT", path, put(json!({"volumes_t": 2})), 400, null()),
            (ADMIN, "PUT", "/v3/types/{}", json!({"volume_type": {"name": "t"}}), 200, null()),
        ],
    )
    .await;
    let volume = harness.volume(MEMBER, json!({"size": 3, "volume_type": "t"})).await;
    let too_large = |requested: u32| {
        json!(format!(
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes_t quota. Requested \
             {requested}G, quota is 5G and 3G has been consumed."
        ))
    };
    let too_many = json!("VolumeLimitExceeded: Maximum number of volumes allowed (2) exceeded for quota 'volumes_t'.");
    let no_snapshot = json!("SnapshotLimitExceeded: Maximum number of snapshots allowed (0) exceeded");
    let action = format!("/v3/volumes/{volume}/action");
    check_all(
        &harness,
        &id,
        &[
            (MEMBER, "POST", "/v3/volumes", create(3), 413, too_large(3)),
            (MEMBER, "POST", &action, json!({"os-extend": {"new_size": 6}}), 413, too_large(3)),
            (MEMBER, "POST", "/v3/snapshots", json!({"snapshot": {"volume_id": volume}}), 413, too_large(3)),
            (ADMIN, "PUT", path, put(json!({"gigabytes_t": -1})), 200, null()),
            (MEMBER, "POST", "/v3/snapshots", json!({"snapshot": {"volume_id": volume}}), 413, no_snapshot),
            // a project that nothing is said of
            (STRANGER, "POST", "/v3/volumes", create(9), 202, null()),
        ],
    )
    .await;
    harness.volume(MEMBER, json!({"size": 1, "volume_type": "t"})).await;
    check_all(
        &harness,
        &id,
        &[
            (MEMBER, "POST", "/v3/volumes", create(1), 413, too_many),
            (MEMBER, "POST", "/v3/volumes", json!({"volume": {"size": 1}}), 202, null()),
        ],
    )
    .await;
    harness.stop().await;
}

#[actix_web::test]
async fn the_gigabytes_of_snapshots_may_be_left_out() {
    let limits = Limits { gigabytes: 3, no_snapshot_gigabytes: true, ..Limits::NONE };
    let harness = Harness::start_with(ApiOptions::default(), limits).await;
    let volume = harness.volume(MEMBER, json!({"size": 2})).await;
    let got = call(&harness, MEMBER, "POST", "/v3/snapshots", &json!({"snapshot": {"volume_id": volume}})).await;
    assert_eq!(got.status, 202, "{}", got.text);
    let used = call(&harness, READER, "GET", "/v3/limits", &Value::Null).await.json();
    assert_eq!(used["limits"]["absolute"]["totalGigabytesUsed"], 2);
    harness.volume(MEMBER, json!({"size": 1})).await;
    harness.stop().await;
}
