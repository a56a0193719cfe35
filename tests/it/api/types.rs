//! Volume types over the wire: a row for each line of types-qos-encryption §1–§3, §5, §6.

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER, NOBODY, READER, STRANGER};

/// One call and what comes of it: a status, and the body of a success or the message of a fault.
pub struct Row<'a> {
    pub token: &'a str,
    pub method: &'a str,
    pub path: String,
    pub body: Value,
    pub status: u16,
    /// Null: not looked at.
    pub expected: Value,
}

/// A call at the newest microversion.
pub async fn call(harness: &Harness, token: &str, method: &str, path: &str, body: &Value) -> Got {
    let asking = harness.ask(method, path).token(token).volume("3.71");
    if body.is_null() { asking.send().await } else { asking.json(body).send().await }
}

pub async fn check(harness: &Harness, row: Row<'_>) {
    let Row { token, method, path, body, status, expected } = row;
    let what = format!("{token}: {method} {path} {body}");
    let got = call(harness, token, method, &path, &body).await;
    assert_eq!(got.status, status, "{what}: {}", got.text);
    let found = match &got.text {
        text if text.is_empty() => Value::from(""),
        _ if status >= 400 => Value::from(got.fault().1),
        _ => got.json(),
    };
    if !expected.is_null() {
        assert_eq!(found, expected, "{what}");
    }
}

/// Calls one after the other; `{}` in a path and `"{}"` in what is expected stand for `id`.
pub async fn check_all(harness: &Harness, id: &str, rows: &[(&str, &str, &str, Value, u16, Value)]) {
    for (token, method, path, body, status, expected) in rows {
        let expected = serde_json::from_str(&expected.to_string().replace("{}", id)).unwrap();
        let path = path.replace("{}", id);
        check(harness, Row { token, method, path, body: body.clone(), status: *status, expected }).await;
    }
}

pub async fn make_type(harness: &Harness, name: &str, members: Value) -> String {
    let mut body = json!({"volume_type": {"name": name}});
    body["volume_type"].as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let got = call(harness, ADMIN, "POST", "/v3/types", &body).await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.json()["volume_type"]["id"].as_str().unwrap().to_owned()
}

fn denied(rule: &str) -> Value {
    Value::from(format!("Policy doesn't allow volume_extension:{rule} to be performed."))
}

const NIL: &str = "00000000-0000-4000-8000-000000000000";
const SPECS: &str = "os-volume-type-access:is_public";

#[actix_web::test]
async fn types_are_made_changed_and_deleted() {
    let harness = Harness::start().await;
    let body = |members: Value| json!({"volume_type": members});
    let id =
        make_type(&harness, " fast ", json!({"description": " d ", "extra_specs": {"a b/c": "x", "n": null}})).await;
    let specs = json!({"a b/c": "x", "n": null});
    let shown = json!({
        "id": id, "name": " fast ", "description": "d", "is_public": true, "extra_specs": specs,
        "qos_specs_id": null, SPECS: true,
    });
    let null = || Value::Null;
    let too_long = "x".repeat(256);
    let empty_name = "An invalid 'name' value was provided. The 'name' can not be empty.";
    check_all(
        &harness,
        &id,
        &[
            (ADMIN, "GET", "/v3/types/{}", null(), 200, json!({"volume_type": shown})),
            (READER, "GET", "/v3/types/{}", null(), 200, null()),
            (NOBODY, "GET", "/v3/types/{}", null(), 403, denied("type_get")),
            (ADMIN, "GET", "/v3/types/%20fast%20", null(), 404, json!("Volume type  fast  could not be found.")),
            (MEMBER, "POST", "/v3/types", body(json!({"name": "x"})), 403, denied("type_create")),
            (
                ADMIN,
                "POST",
                "/v3/types",
                body(json!({"name": " fast "})),
                409,
                json!("Volume Type  fast  already exists."),
            ),
            (ADMIN, "POST", "/v3/types", null(), 400, json!("Malformed request body")),
            (ADMIN, "POST", "/v3/types", json!({}), 400, json!("'volume_type' is a required property")),
            (ADMIN, "POST", "/v3/types", body(json!({"name": ""})), 400, json!(empty_name)),
            (ADMIN, "POST", "/v3/types", body(json!({"name": "  "})), 400, json!(empty_name)),
            (ADMIN, "POST", "/v3/types", body(json!({"name": null})), 400, null()),
            (ADMIN, "POST", "/v3/types", body(json!({"name": too_long})), 400, null()),
            (ADMIN, "POST", "/v3/types", body(json!({"name": "x", "is_public": true})), 400, null()),
            (ADMIN, "POST", "/v3/types", body(json!({"name": "x", SPECS: 1})), 400, null()),
            (ADMIN, "POST", "/v3/types", body(json!({"name": "x", "description": "a\u{7}"})), 400, null()),
            (ADMIN, "POST", "/v3/types", body(json!({"name": "x", "extra_specs": {"ä": "x"}})), 400, null()),
            (ADMIN, "POST", "/v3/types", body(json!({"name": "x", "extra_specs": {"a": 1}})), 400, null()),
            // a wrong body beats the denial
            (MEMBER, "POST", "/v3/types", body(json!({})), 400, null()),
            (
                ADMIN,
                "PUT",
                "/v3/types/{}",
                body(json!({"name": "slow", "description": null})),
                200,
                body(json!({"id": "{}", "name": "slow", "description": "d", "is_public": true, "extra_specs": specs})),
            ),
            (
                ADMIN,
                "PUT",
                "/v3/types/{}",
                body(json!({"name": null, "description": "", "is_public": "no"})),
                200,
                body(json!({"id": "{}", "name": "slow", "description": "", "is_public": false, "extra_specs": specs})),
            ),
            (ADMIN, "PUT", "/v3/types/{}", body(json!({"name": "slow"})), 200, null()),
            (MEMBER, "PUT", "/v3/types/{}", body(json!({"name": "x"})), 403, denied("type_update")),
            (
                ADMIN,
                "PUT",
                "/v3/types/{}",
                body(json!({"name": "__DEFAULT__"})),
                409,
                json!("Volume Type __DEFAULT__ already exists."),
            ),
            (
                ADMIN,
                "PUT",
                "/v3/types/{}",
                body(json!({"name": null, "description": null})),
                400,
                json!("Specify volume type name, description, is_public or a combination thereof."),
            ),
            (ADMIN, "PUT", "/v3/types/{}", body(json!({"name": " "})), 400, json!(empty_name)),
            (ADMIN, "PUT", "/v3/types/{}", body(json!({"extra_specs": {}})), 400, null()),
            (ADMIN, "PUT", "/v3/types/x", body(json!({"name": "x"})), 404, json!("Volume type x could not be found.")),
            (ADMIN, "DELETE", "/v3/types/x", null(), 404, json!("Volume type x could not be found.")),
            (MEMBER, "DELETE", "/v3/types/{}", null(), 403, denied("type_delete")),
            (ADMIN, "DELETE", "/v3/types/{}", null(), 202, json!("")),
            (ADMIN, "DELETE", "/v3/types/{}", null(), 404, json!("Volume type {} could not be found.")),
            (ADMIN, "GET", "/v3/types/{}", null(), 404, null()),
        ],
    )
    .await;
    // what a create answers has the member of access, which is the default's value
    let got = call(&harness, ADMIN, "POST", "/v3/types", &body(json!({"name": "p", SPECS: "false"}))).await;
    let made = &got.json()["volume_type"];
    assert_eq!((made["is_public"].clone(), made[SPECS].clone()), (json!(false), json!(false)));
    assert_eq!(made.as_object().unwrap().len(), 6, "{made}");
    harness.stop().await;
}

#[actix_web::test]
async fn a_type_stays_while_something_is_of_it() {
    let harness = Harness::start().await;
    let null = || Value::Null;
    let id = make_type(&harness, "used", json!({})).await;
    let volume = harness.volume(MEMBER, json!({"size": 1, "volume_type": "used"})).await;
    let shown = call(&harness, MEMBER, "GET", &format!("/v3/volumes/{volume}"), &null()).await.json();
    assert_eq!((&shown["volume"]["volume_type"], &shown["volume"]["volume_type_id"]), (&json!("used"), &json!(id)));
    let spec = json!({"extra_specs": {"k": "v"}});
    let in_use = || json!("Volume Type is currently in use.");
    check_all(
        &harness,
        &id,
        &[
            (ADMIN, "DELETE", "/v3/types/{}", null(), 400, json!("Target volume type is still in use.")),
            (ADMIN, "POST", "/v3/types/{}/extra_specs", spec.clone(), 400, in_use()),
            (ADMIN, "PUT", "/v3/types/{}/extra_specs/k", json!({"k": "v"}), 400, in_use()),
            (ADMIN, "PUT", "/v3/types/{}", json!({"volume_type": {"name": "renamed"}}), 200, null()),
        ],
    )
    .await;
    let shown = call(&harness, MEMBER, "GET", &format!("/v3/volumes/{volume}"), &null()).await.json();
    assert_eq!(shown["volume"]["volume_type"], "renamed", "this node sees it at once");
    assert_eq!(call(&harness, MEMBER, "DELETE", &format!("/v3/volumes/{volume}"), &null()).await.status, 202);
    harness.until(&volume, "gone").await;
    let default = call(&harness, ADMIN, "GET", "/v3/types/default", &null()).await.json()["volume_type"]["id"].clone();
    let default = default.as_str().unwrap();
    let is_default = json!("The volume type {} is a default volume type and cannot be deleted.");
    check_all(&harness, default, &[(ADMIN, "DELETE", "/v3/types/{}", null(), 400, is_default)]).await;
    check_all(
        &harness,
        &id,
        &[
            (ADMIN, "POST", "/v3/types/{}/extra_specs", spec, 200, null()),
            (ADMIN, "DELETE", "/v3/types/{}", null(), 202, json!("")),
        ],
    )
    .await;
    harness.stop().await;
}

#[actix_web::test]
async fn a_private_type_exists_for_those_who_have_access() {
    let harness = Harness::start().await;
    let null = || Value::Null;
    let public = make_type(&harness, "public", json!({})).await;
    let id = make_type(&harness, "private", json!({SPECS: false})).await;
    let add = |project: &str| json!({"addProjectAccess": {"project": project}});
    let remove = |project: &str| json!({"removeProjectAccess": {"project": project}});
    let missing = json!("Volume type {} could not be found.");
    let create = |kind: &str| json!({"volume": {"size": 1, "volume_type": kind}});
    let names = async |token: &str, query: &str| {
        let got = call(&harness, token, "GET", &format!("/v3/types{query}"), &Value::Null).await.json();
        let mut names: Vec<String> = got["volume_types"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    check_all(
        &harness,
        &id,
        &[
            (MEMBER, "GET", "/v3/types/{}", null(), 404, missing.clone()),
            (MEMBER, "GET", "/v3/types/{}/extra_specs", null(), 404, missing.clone()),
            (MEMBER, "POST", "/v3/volumes", create(&id), 404, missing),
            (
                MEMBER,
                "POST",
                "/v3/volumes",
                create("private"),
                404,
                json!("Volume type with name private could not be found."),
            ),
            (MEMBER, "POST", "/v3/types/{}/action", add("p"), 403, denied("volume_type_access:addProjectAccess")),
            (
                MEMBER,
                "GET",
                "/v3/types/{}/os-volume-type-access",
                null(),
                403,
                denied("volume_type_access:get_all_for_type"),
            ),
            (ADMIN, "POST", "/v3/types/{}/action", json!({"addProjectAccess": {}}), 400, null()),
            (ADMIN, "POST", "/v3/types/{}/action", json!({"addProjectAccess": {"project": ""}}), 400, null()),
            (
                ADMIN,
                "POST",
                "/v3/types/{}/action",
                json!({"addProjectAccess": {"project": "x".repeat(256)}}),
                400,
                null(),
            ),
            (ADMIN, "POST", "/v3/types/{}/action", json!({"create": {}}), 400, null()),
            (ADMIN, "POST", "/v3/types/x/action", add("p"), 404, json!("Volume type x could not be found.")),
            (ADMIN, "POST", "/v3/types/{}/action", add("p"), 202, json!("")),
            (
                ADMIN,
                "POST",
                "/v3/types/{}/action",
                add("p"),
                409,
                json!("Volume type access for {} / p combination already exists."),
            ),
            (ADMIN, "POST", "/v3/types/{}/action", remove("q"), 404, null()),
            (
                ADMIN,
                "GET",
                "/v3/types/{}/os-volume-type-access",
                null(),
                200,
                json!({"volume_type_access": [{"volume_type_id": "{}", "project_id": "p"}]}),
            ),
            (MEMBER, "GET", "/v3/types/{}", null(), 200, null()),
            (STRANGER, "GET", "/v3/types/{}", null(), 404, null()),
            (STRANGER, "POST", "/v3/volumes", create("private"), 404, null()),
            (MEMBER, "POST", "/v3/volumes", create("private"), 202, null()),
        ],
    )
    .await;
    assert_eq!(names(MEMBER, "").await, ["__DEFAULT__", "private", "public"]);
    assert_eq!(
        names(MEMBER, "?is_public=true").await,
        ["__DEFAULT__", "private", "public"],
        "it means nothing to others"
    );
    assert_eq!(names(STRANGER, "").await, ["__DEFAULT__", "public"]);
    assert_eq!(names(ADMIN, "").await, ["__DEFAULT__", "public"]);
    assert_eq!(names(ADMIN, "?is_public=false").await, ["private"]);
    assert_eq!(names(ADMIN, "?is_public=NONE").await, ["__DEFAULT__", "private", "public"]);
    assert_eq!(names(ADMIN, "?is_public=none&name=private").await, ["private"]);
    assert_eq!(names(ADMIN, "?colour=red").await, [""; 0]);
    let no_access = json!("Access list not available for public volume types.");
    let not_public = json!("Invalid volume type: Type access modification is not applicable to public volume type.");
    check_all(
        &harness,
        &public,
        &[
            (ADMIN, "GET", "/v3/types/{}/os-volume-type-access", null(), 404, no_access),
            (ADMIN, "POST", "/v3/types/{}/action", add("p"), 400, not_public.clone()),
            (ADMIN, "POST", "/v3/types/{}/action", remove("p"), 400, not_public),
        ],
    )
    .await;
    check_all(
        &harness,
        &id,
        &[
            (ADMIN, "POST", "/v3/types/{}/action", remove("p"), 202, json!("")),
            (MEMBER, "GET", "/v3/types/{}", null(), 404, null()),
        ],
    )
    .await;
    harness.stop().await;
}

#[actix_web::test]
async fn lists_of_types_are_sorted_cut_and_filtered() {
    let harness = Harness::start().await;
    for name in ["b", "a", "c"] {
        make_type(&harness, name, json!({"extra_specs": {"k": name, "multiattach": "<is> True"}})).await;
    }
    let page = async |token: &str, query: &str| {
        let got = call(&harness, token, "GET", &format!("/v3/types?{query}"), &Value::Null).await;
        assert_eq!(got.status, 200, "{query}: {}", got.text);
        got.json()
    };
    let names = |body: &Value| -> Vec<String> {
        body["volume_types"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&page(ADMIN, "").await), ["c", "a", "b", "__DEFAULT__"], "the newest first");
    assert_eq!(names(&page(ADMIN, "sort=name:asc").await), ["__DEFAULT__", "a", "b", "c"]);
    let first = page(ADMIN, "sort=name:asc&limit=2&offset=1").await;
    assert_eq!(names(&first), ["a", "b"]);
    let href = first["volume_type_links"][0]["href"].as_str().unwrap();
    let (_, query) = href.split_once('?').unwrap();
    assert_eq!(names(&page(ADMIN, &query.replace("offset=1", "offset=0")).await), ["c"]);
    assert_eq!(names(&page(ADMIN, "extra_specs={%27k%27:%27a%27}").await), ["a"]);
    assert_eq!(names(&page(MEMBER, "extra_specs={%27multiattach%27:%27<is>%20True%27}").await).len(), 3);
    assert_eq!(
        names(&page(MEMBER, "extra_specs={%27k%27:%27a%27}").await),
        [""; 0],
        "a hidden key is not to be guessed"
    );
    let below = harness.get("/v3/types?extra_specs={%27k%27:%27a%27}").volume("3.51").send().await;
    assert_eq!(names(&below.json()).len(), 4);
    harness.stop().await;
}

#[actix_web::test]
async fn extra_specs_are_seen_by_those_who_may() {
    let harness = Harness::start().await;
    let null = || Value::Null;
    let id =
        make_type(&harness, "t", json!({"extra_specs": {"hidden": "h", "replication_enabled": "<is> True"}})).await;
    let specs = |members: Value| json!({"extra_specs": members});
    let absent = |key: &str| json!(format!("Volume Type {{}} has no extra specs with key {key}."));
    let path = "/v3/types/{}/extra_specs";
    let of = |key: &str| format!("{path}/{key}");
    check_all(
        &harness,
        &id,
        &[
            (ADMIN, "GET", path, null(), 200, specs(json!({"hidden": "h", "replication_enabled": "<is> True"}))),
            (READER, "GET", path, null(), 200, specs(json!({"replication_enabled": "<is> True"}))),
            (NOBODY, "GET", path, null(), 403, denied("types_extra_specs:index")),
            (ADMIN, "GET", &of("hidden"), null(), 200, json!({"hidden": "h"})),
            (READER, "GET", &of("hidden"), null(), 404, absent("hidden")),
            (READER, "GET", &of("replication_enabled"), null(), 200, json!({"replication_enabled": "<is> True"})),
            (NOBODY, "GET", &of("hidden"), null(), 403, denied("types_extra_specs:show")),
            (ADMIN, "GET", &of("absent"), null(), 404, absent("absent")),
            (ADMIN, "GET", "/v3/types/x/extra_specs", null(), 404, json!("Volume type x could not be found.")),
            (MEMBER, "POST", path, specs(json!({"a": "1"})), 403, denied("types_extra_specs:create")),
            (MEMBER, "PUT", &of("a"), json!({"a": "1"}), 403, denied("types_extra_specs:update")),
            (MEMBER, "DELETE", &of("a"), null(), 403, denied("types_extra_specs:delete")),
            (ADMIN, "POST", path, specs(json!({"a": "1", "ns:b": null})), 200, specs(json!({"a": "1", "ns:b": null}))),
            (ADMIN, "POST", path, specs(json!({"a b": "1"})), 400, null()),
            (ADMIN, "POST", path, specs(json!({"a/b": "1"})), 400, null()),
            (ADMIN, "POST", path, specs(json!({"a": "x".repeat(256)})), 400, null()),
            (ADMIN, "POST", path, json!({"extra_specs": {}, "more": 1}), 400, null()),
            (ADMIN, "PUT", &of("a"), json!({"a": "2"}), 200, json!({"a": "2"})),
            (ADMIN, "PUT", &of("a"), json!({"b": "2"}), 400, json!("Request body and URI mismatch")),
            (ADMIN, "PUT", &of("a"), json!({}), 400, null()),
            (ADMIN, "PUT", &of("a"), json!({"a": "2", "b": "2"}), 400, json!("{'a': '2', 'b': '2'} has too many properties")),
            (ADMIN, "POST", path, specs(json!({"multiattach": "<is> True"})), 200, null()),
            (ADMIN, "POST", path, specs(json!({"cacheable": "<is> True"})), 400, json!("cacheable cannot be set with multiattach.")),
            (ADMIN, "DELETE", &of("a"), null(), 202, json!("")),
            (ADMIN, "DELETE", &of("a"), null(), 404, absent("a")),
            (
                ADMIN, "GET", path, null(), 200,
                specs(json!({"hidden": "h", "replication_enabled": "<is> True", "ns:b": null, "multiattach": "<is> True"})),
            ),
        ],
    )
    .await;
    harness.stop().await;
}

#[actix_web::test]
async fn a_project_may_have_a_default_of_its_own() {
    let harness = Harness::start().await;
    let null = || Value::Null;
    let id = make_type(&harness, "own", json!({SPECS: false})).await;
    let set = |kind: &str| json!({"default_type": {"volume_type": kind}});
    let denied = || json!("You are not authorized to perform this operation.");
    let own = json!({"default_type": {"project_id": "p", "volume_type_id": "{}"}});
    let path = "/v3/default-types/p";
    let none = json!("Default type for project p not found.");
    check_all(
        &harness,
        &id,
        &[
            (ADMIN, "GET", path, null(), 404, none.clone()),
            (ADMIN, "GET", "/v3/default-types", null(), 200, json!({"default_types": []})),
            (ADMIN, "DELETE", path, null(), 204, json!("")),
            (ADMIN, "PUT", path, set("nonsense"), 400, null()),
            (ADMIN, "PUT", path, set(NIL), 400, null()),
            (ADMIN, "PUT", path, json!({}), 400, null()),
            (ADMIN, "PUT", path, json!({"default_type": {}}), 400, null()),
            (MEMBER, "PUT", path, set("own"), 403, denied()),
            (MEMBER, "GET", path, null(), 403, denied()),
            (MEMBER, "GET", "/v3/default-types", null(), 403, denied()),
            (MEMBER, "DELETE", path, null(), 403, denied()),
            (ADMIN, "PUT", path, set("__DEFAULT__"), 200, null()),
            (ADMIN, "PUT", path, set("own"), 200, own.clone()),
            (ADMIN, "PUT", path, set(&id), 200, own.clone()),
            (ADMIN, "GET", path, null(), 200, own),
            (
                ADMIN,
                "GET",
                "/v3/default-types",
                null(),
                200,
                json!({"default_types": [{"project_id": "p", "volume_type_id": "{}"}]}),
            ),
            (
                ADMIN,
                "DELETE",
                "/v3/types/{}",
                null(),
                400,
                json!("The volume type {} is a default volume type and cannot be deleted."),
            ),
        ],
    )
    .await;
    let default_of = async |token: &str| {
        let got = call(&harness, token, "GET", "/v3/types/default", &Value::Null).await.json();
        got["volume_type"]["name"].as_str().unwrap().to_owned()
    };
    assert_eq!((default_of(MEMBER).await, default_of(STRANGER).await), ("own".to_owned(), "__DEFAULT__".to_owned()));
    let volume = harness.volume(MEMBER, json!({"size": 1, "volume_type": ""})).await;
    assert_eq!(harness.until(&volume, "available").await["volume_type_id"], json!(id));
    check_all(
        &harness,
        &id,
        &[(ADMIN, "DELETE", path, null(), 204, json!("")), (ADMIN, "GET", path, null(), 404, none)],
    )
    .await;
    for (version, status) in [("3.61", 404), ("3.62", 200)] {
        assert_eq!(harness.get("/v3/default-types").volume(version).send().await.status, status, "{version}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn a_volume_is_what_its_type_says() {
    let harness = Harness::start().await;
    let specs = json!({
        "provisioning:min_vol_size": "2", "provisioning:max_vol_size": "4", "multiattach": "<is> True",
    });
    let id = make_type(&harness, "sized", json!({"extra_specs": specs})).await;
    make_type(&harness, "elsewhere", json!({"extra_specs": {"RESKEY:availability_zones": "a1,a2"}})).await;
    let create = |size: u32, kind: &str| json!({"volume": {"size": size, "volume_type": kind}});
    let too_small = "Invalid input received: Specified volume size of '1' is less than the minimum required size of \
                     '2' for volume type 'sized'.";
    let too_large = "Invalid input received: Specified volume size of '5' is greater than the maximum allowable size \
                     of '4' for volume type 'sized'.";
    check_all(
        &harness,
        &id,
        &[
            (MEMBER, "POST", "/v3/volumes", create(1, "sized"), 400, json!(too_small)),
            (MEMBER, "POST", "/v3/volumes", create(5, &id), 400, json!(too_large)),
            (MEMBER, "POST", "/v3/volumes", create(1, "elsewhere"), 400, Value::Null),
            (
                MEMBER,
                "POST",
                "/v3/volumes",
                create(1, "none"),
                404,
                json!("Volume type with name none could not be found."),
            ),
            (
                MEMBER,
                "POST",
                "/v3/volumes",
                create(1, NIL),
                404,
                json!(format!("Volume type {NIL} could not be found.")),
            ),
        ],
    )
    .await;
    let volume = harness.volume(MEMBER, json!({"size": 2, "volume_type": "sized"})).await;
    assert_eq!(harness.until(&volume, "available").await["multiattach"], true);
    let action = format!("/v3/volumes/{volume}/action");
    let extend = |size: u32| json!({"os-extend": {"new_size": size}});
    let got = call(&harness, MEMBER, "POST", &action, &extend(5)).await;
    assert_eq!(got.fault(), (400, too_large.to_owned()));
    assert_eq!(call(&harness, MEMBER, "POST", &action, &extend(4)).await.status, 202);
    assert_eq!(harness.until(&volume, "available").await["size"], 4);
    harness.stop().await;
}

#[actix_web::test]
async fn without_the_configured_default_a_type_must_be_named() {
    let options = ApiOptions { default_volume_type: "absent".to_owned(), ..ApiOptions::default() };
    let harness = Harness::start_with(options, Limits::NONE).await;
    let missing = json!("Default volume type can not be found.");
    let create = |kind: Value| json!({"volume": {"size": 1, "volume_type": kind}});
    check_all(
        &harness,
        "",
        &[
            (ADMIN, "GET", "/v3/types/default", Value::Null, 404, missing.clone()),
            (MEMBER, "POST", "/v3/volumes", create(Value::Null), 404, missing),
            (MEMBER, "POST", "/v3/volumes", create(json!("__DEFAULT__")), 202, Value::Null),
        ],
    )
    .await;
    harness.stop().await;
}
