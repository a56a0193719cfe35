//! Metadata, image metadata and flags of volumes over the wire (volumes §4, volume-actions §2.5, §2.6, §2.18).

use hearth::domain::metadata::Metadata;
use hearth::domain::volume::metadata::metadata_tag;
use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER, NOBODY, READER, STRANGER};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// One call on `path` (`{id}` is the volume) as a token; what it answers: none is an empty body.
type Line<'a> = (&'a str, &'a str, &'a str, Value, u16, Option<Value>);

async fn check(harness: &Harness, id: &str, version: &str, lines: &[Line<'_>]) {
    for (token, method, path, body, status, expected) in lines {
        let path = path.replace("{id}", id);
        let mut asking = harness.ask(method, &path).token(token).volume(version);
        if !body.is_null() {
            asking = asking.json(body);
        }
        let got = asking.send().await;
        assert_eq!(got.status, *status, "{method} {path} {body} by {token}: {}", got.text);
        match (status, expected) {
            (400.., Some(text)) => assert_eq!(json!(got.fault().1), *text, "{method} {path} {body} by {token}"),
            (_, Some(expected)) => assert_eq!(got.json(), *expected, "{method} {path} {body} by {token}"),
            (400.., None) => {}
            (_, None) => assert_eq!(got.text, "", "{method} {path}"),
        }
    }
}

#[actix_web::test]
async fn the_calls_one_after_the_other() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1, "metadata": {"a": "1"}})).await;
    let (all, key) = ("/v3/volumes/{id}/metadata", "/v3/volumes/{id}/metadata/b");
    let no_key = json!(format!("Volume {id} has no metadata with key b."));
    let metadata = |pairs: Value| json!({"metadata": pairs});
    let denied = |rule: &str| Some(json!(format!("Policy doesn't allow volume:{rule} to be performed.")));
    let mismatch = Some(json!("Request body and URI mismatch"));
    let lines = [
        (READER, "GET", all, Value::Null, 200, Some(metadata(json!({"a": "1"})))),
        (MEMBER, "POST", all, metadata(json!({"b": "2"})), 200, Some(metadata(json!({"a": "1", "b": "2"})))),
        (MEMBER, "POST", all, metadata(json!({})), 200, Some(metadata(json!({"a": "1", "b": "2"})))),
        (READER, "GET", key, Value::Null, 200, Some(json!({"meta": {"b": "2"}}))),
        (MEMBER, "PUT", key, json!({"meta": {"b": ""}}), 200, Some(json!({"meta": {"b": ""}}))),
        (MEMBER, "PUT", key, json!({"meta": {"a": "1"}}), 400, mismatch.clone()),
        (MEMBER, "PUT", key, json!({"meta": {"a": "1", "b": "1"}}), 400, None),
        (MEMBER, "PUT", key, json!({"meta": {}}), 400, None),
        (MEMBER, "PUT", key, json!({"meta": {"b": 1}}), 400, None),
        (MEMBER, "PUT", all, metadata(json!({"c": "3"})), 200, Some(metadata(json!({"c": "3"})))),
        (MEMBER, "PUT", key, json!({"meta": {"b": "2"}}), 200, Some(json!({"meta": {"b": "2"}}))),
        (READER, "DELETE", key, Value::Null, 403, denied("delete_volume_metadata")),
        (MEMBER, "DELETE", key, Value::Null, 200, None),
        (MEMBER, "DELETE", key, Value::Null, 404, Some(no_key.clone())),
        (READER, "DELETE", key, Value::Null, 404, Some(no_key.clone())),
        (READER, "GET", key, Value::Null, 404, Some(no_key)),
        (READER, "POST", all, metadata(json!({"b": "2"})), 403, denied("create_volume_metadata")),
        (READER, "PUT", all, metadata(json!({"b": "2"})), 403, denied("update_volume_metadata")),
        (READER, "PUT", key, json!({"meta": {"b": "2"}}), 403, denied("update_volume_metadata")),
        (NOBODY, "GET", all, Value::Null, 403, denied("get_volume_metadata")),
        (NOBODY, "DELETE", key, Value::Null, 403, denied("get_volume_metadata")),
        (STRANGER, "GET", all, Value::Null, 404, None),
        (STRANGER, "POST", all, metadata(json!({"b": "2"})), 404, None),
        (STRANGER, "DELETE", key, Value::Null, 404, None),
        // the body is looked at first
        (STRANGER, "POST", all, json!({}), 400, None),
        (MEMBER, "POST", all, metadata(Value::Null), 400, None),
        (MEMBER, "POST", all, json!({"metadata": {}, "more": 1}), 200, Some(json!({"metadata": {"c": "3"}}))),
        (MEMBER, "POST", all, metadata(json!({"k": null})), 400, None),
        (MEMBER, "POST", all, metadata(json!({"ü": "1"})), 400, None),
        (MEMBER, "POST", all, metadata(json!({"": "1"})), 400, None),
        (MEMBER, "POST", all, metadata(json!({"k": "x".repeat(256)})), 400, None),
        (MEMBER, "POST", all, metadata(json!({"k".repeat(256): "x"})), 400, None),
        (MEMBER, "PUT", "/v3/volumes/{id}/metadata/x", json!({"meta": {"b": "1"}}), 400, mismatch),
        (MEMBER, "PUT", "/v3/volumes/{id}/metadata/a%2Fb.c%3A%20d", json!({"meta": {"a/b.c: d": "v"}}), 200, None),
    ];
    let (last, lines) = lines.split_last().unwrap();
    check(&harness, &id, "3.71", lines).await;
    let odd = (last.0, last.1, last.2, last.3.clone(), 200, Some(last.3.clone()));
    check(&harness, &id, "3.0", &[odd]).await;
    let shown = harness.get(&format!("/v3/volumes/{id}")).send().await.json();
    assert_eq!(shown["volume"]["metadata"], json!({"a/b.c: d": "v", "c": "3"}));
    let other = format!("/v3/volumes/{NIL}/metadata");
    assert_eq!(harness.get(&other).send().await.fault(), (404, format!("Volume {NIL} could not be found.")));
    harness.stop().await;
}

#[actix_web::test]
async fn tags_guard_replaces_from_3_15_on() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1, "metadata": {"z": "ü", "a": "\"1\""}})).await;
    let path = format!("/v3/volumes/{id}/metadata");
    let got = harness.get(&path).volume("3.15").send().await;
    let text = r#"{"metadata": {"a": "\"1\"", "z": "\u00fc"}}"#;
    let tag = metadata_tag(&Metadata::from([("z", "ü"), ("a", "\"1\"")]));
    assert_eq!((got.text.as_str(), got.header("etag")), (text, Some(tag.as_str())));
    assert_eq!(got.header("content-type"), Some("application/json"));
    let got = harness.get(&path).volume("3.14").send().await;
    assert_eq!((got.text.as_str(), got.header("etag")), (text, None));

    let put = async |version: &str, if_match: Option<&str>, value: &str| {
        let asking = harness.put(&path, &json!({"metadata": {"v": value}})).token(MEMBER).volume(version);
        let got = match if_match {
            Some(tag) => asking.header("If-Match", tag).send().await,
            None => asking.send().await,
        };
        assert_eq!(got.header("etag"), None, "only GET says the tag");
        if got.status == 412 {
            assert_eq!(got.text, "");
            assert_eq!(got.header("openstack-api-version"), Some(format!("volume {version}").as_str()));
        }
        got.status
    };
    assert_eq!(put("3.15", Some(&tag), "1").await, 200);
    assert_eq!(put("3.15", Some(&tag), "2").await, 412, "it has changed");
    assert_eq!(put("3.14", Some(&tag), "2").await, 200, "before 3.15 the header means nothing");
    assert_eq!(put("3.15", None, "3").await, 200);
    assert_eq!(put("3.15", Some("*"), "4").await, 200);
    let now = metadata_tag(&Metadata::from([("v", "4")]));
    assert_eq!(put("3.71", Some(&format!("\"x\", \"{now}\"")), "5").await, 200);
    assert_eq!(put("3.71", Some(&format!("W/\"{now}\"")), "6").await, 412);

    let key = format!("{path}/v");
    let set = |tag: &str| {
        harness.put(&key, &json!({"meta": {"v": "7"}})).token(MEMBER).volume("3.15").header("If-Match", tag)
    };
    assert_eq!(set("old").send().await.status, 412);
    assert_eq!(set(&metadata_tag(&Metadata::from([("v", "5")]))).send().await.status, 200);
    let merged = harness.post(&path, &json!({"metadata": {"w": "8"}})).token(MEMBER).volume("3.71");
    let merged = merged.header("If-Match", "old").send().await;
    assert_eq!(merged.json(), json!({"metadata": {"v": "7", "w": "8"}}), "a merge is never conditional");
    harness.stop().await;
}

#[actix_web::test]
async fn image_metadata() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let other = harness.volume(MEMBER, json!({"size": 1})).await;
    let action = "/v3/volumes/{id}/action";
    let set = |pairs: Value| json!({"os-set_image_metadata": {"metadata": pairs}});
    let unset = |key: Value| json!({"os-unset_image_metadata": {"key": key}});
    let show = || json!({"os-show_image_metadata": null});
    let absent = || Some(json!(format!("Glance metadata for volume/snapshot {id} cannot be found.")));
    let denied = |rule: &str| Some(json!(format!("Policy doesn't allow {rule} to be performed.")));
    let long = "ü".repeat(32_767);
    let metadata = |pairs: Value| Some(json!({"metadata": pairs}));
    let lines = [
        (READER, "POST", action, show(), 404, absent()),
        (MEMBER, "POST", action, unset(json!("a")), 404, absent()),
        (MEMBER, "POST", action, set(json!({})), 200, metadata(json!({}))),
        (READER, "POST", action, show(), 404, absent()),
        (MEMBER, "POST", action, set(json!({"a": "1", "b": long})), 200, metadata(json!({"a": "1", "b": long}))),
        (MEMBER, "POST", action, set(json!({"a": "2", "b": "3"})), 200, metadata(json!({"a": "2", "b": "3"}))),
        (READER, "POST", action, show(), 200, metadata(json!({"a": "2", "b": "3"}))),
        (MEMBER, "POST", action, unset(json!("b")), 200, None),
        (MEMBER, "POST", action, unset(json!("b")), 404, absent()),
        (READER, "POST", action, set(json!({})), 403, denied("volume_extension:volume_image_metadata:set")),
        (READER, "POST", action, unset(json!("a")), 403, denied("volume_extension:volume_image_metadata:remove")),
        (NOBODY, "POST", action, show(), 403, denied("volume:get_volume_metadata")),
        (STRANGER, "POST", action, show(), 404, None),
        (MEMBER, "POST", action, set(json!({"a": format!("{long}xx")})), 400, None),
        (MEMBER, "POST", action, set(json!({"a": 1})), 400, None),
        (MEMBER, "POST", action, set(Value::Null), 400, None),
        (MEMBER, "POST", action, unset(json!("")), 400, None),
        (MEMBER, "POST", action, unset(json!("k".repeat(256))), 400, None),
        (MEMBER, "POST", action, json!({"os-unset_image_metadata": {"key": "a", "more": 1}}), 400, None),
    ];
    check(&harness, &id, "3.0", &lines).await;
    let shown = harness.get(&format!("/v3/volumes/{id}")).send().await.json();
    assert_eq!(shown["volume"]["volume_image_metadata"], json!({"a": "2"}));
    let listed = harness.ask("GET", "/v3/volumes/detail").token(READER).send().await.json();
    let of = |wanted: &str| {
        let rows = listed["volumes"].as_array().unwrap();
        rows.iter().find(|row| row["id"] == wanted).unwrap().get("volume_image_metadata").cloned()
    };
    assert_eq!((of(&id), of(&other)), (Some(json!({"a": "2"})), None), "absent where there is none");

    let list = async |token: &str, version: &str, filter: &str| {
        let path = format!("/v3/volumes?glance_metadata={filter}");
        let got = harness.ask("GET", &path).token(token).volume(version).send().await;
        if got.status != 200 {
            return Err(got.fault().1);
        }
        let body = got.json();
        Ok(body["volumes"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect())
    };
    let found = "{%27a%27:%272%27}";
    assert_eq!(list(ADMIN, "3.4", found).await, Ok(vec![id.clone()]));
    assert_eq!(list(ADMIN, "3.4", "{%27a%27:%273%27}").await, Ok(vec![]));
    assert_eq!(list(ADMIN, "3.4", "a").await, Ok(vec![]), "no dictionary");
    let all = list(ADMIN, "3.3", found).await.unwrap();
    assert_eq!(all.len(), 2, "before 3.4 it means nothing");
    assert_eq!(list(MEMBER, "3.30", found).await.unwrap().len(), 2);
    let refused = "Invalid filters glance_metadata are found in query options.";
    assert_eq!(list(MEMBER, "3.31", found).await, Err(refused.to_owned()));
    harness.stop().await;
}

#[actix_web::test]
async fn flags() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1, "metadata": {"readonly": "mine"}})).await;
    let action = "/v3/volumes/{id}/action";
    let bootable = |value: Value| json!({"os-set_bootable": {"bootable": value}});
    let readonly = |value: Value| json!({"os-update_readonly_flag": {"readonly": value}});
    let denied = |rule: &str| Some(json!(format!("Policy doesn't allow volume:{rule} to be performed.")));
    let lines = [
        (MEMBER, "POST", action, bootable(json!("yes")), 200, None),
        (MEMBER, "POST", action, readonly(json!(true)), 202, None),
        (READER, "POST", action, bootable(json!(true)), 403, denied("update")),
        (READER, "POST", action, readonly(json!(true)), 403, denied("update_readonly_flag")),
        (STRANGER, "POST", action, readonly(json!(true)), 404, None),
        (MEMBER, "POST", action, bootable(json!(1)), 400, None),
        (MEMBER, "POST", action, readonly(json!("maybe")), 400, None),
        (MEMBER, "POST", action, readonly(Value::Null), 400, None),
        (MEMBER, "POST", action, json!({"os-update_readonly_flag": {}}), 400, None),
    ];
    check(&harness, &id, "3.0", &lines).await;
    let path = format!("/v3/volumes/{id}");
    let shown = harness.get(&path).send().await.json()["volume"].clone();
    assert_eq!((&shown["bootable"], &shown["metadata"]), (&json!("true"), &json!({"readonly": "True"})));
    let own = harness.get(&format!("{path}/metadata")).send().await.json();
    assert_eq!(own, json!({"metadata": {"readonly": "mine"}}), "the user's own, and no other");

    // Only the word True is read-only, whatever is asked for (Q5).
    let attach = async |id: &str| {
        let body = json!({"attachment": {"volume_uuid": id, "connector": {"host": "h", "mode": "rw"}, "mode": "rw"}});
        let got = harness.post("/v3/attachments", &body).token(MEMBER).volume("3.71").send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.json()["attachment"]["attach_mode"].clone()
    };
    assert_eq!(attach(&id).await, "ro");
    let attached = [(MEMBER, "POST", action, readonly(json!(false)), 400, None)];
    check(&harness, &id, "3.0", &attached).await;
    let writable = harness.volume(MEMBER, json!({"size": 1})).await;
    check(&harness, &writable, "3.0", &[(MEMBER, "POST", action, readonly(json!("off")), 202, None)]).await;
    assert_eq!(attach(&writable).await, "rw");

    let locked = harness.volume(MEMBER, json!({"size": 1})).await;
    let reset = json!({"os-reset_status": {"status": "maintenance"}});
    let all = "/v3/volumes/{id}/metadata";
    let lines = [
        (ADMIN, "POST", action, reset, 202, None),
        (MEMBER, "POST", action, bootable(json!(true)), 400, None),
        (MEMBER, "POST", all, json!({"metadata": {"k": "v"}}), 400, None),
        (MEMBER, "POST", action, json!({"os-set_image_metadata": {"metadata": {"k": "v"}}}), 400, None),
        (MEMBER, "PUT", "/v3/volumes/{id}", json!({"volume": {"name": "n"}}), 400, None),
        (ADMIN, "POST", action, json!({"os-reset_status": {"status": "uploading"}}), 202, None),
        (MEMBER, "PUT", all, json!({"metadata": {"k": "v"}}), 400, None),
        (MEMBER, "POST", action, bootable(json!(true)), 200, None),
    ];
    check(&harness, &locked, "3.0", &lines).await;
    let got = harness.post(&all.replace("{id}", &locked), &json!({"metadata": {"k": "v"}})).token(MEMBER).send().await;
    assert!(got.fault().1.starts_with("Invalid volume: "), "{}", got.text);
    harness.stop().await;
}

#[actix_web::test]
async fn encryption_of_a_plain_volume() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let (all, key) = ("/v3/volumes/{id}/encryption", "/v3/volumes/{id}/encryption/encryption_key_id");
    let rule = "Policy doesn't allow volume_extension:volume_encryption_metadata to be performed.";
    let lines = [
        (READER, "GET", all, Value::Null, 200, Some(json!({"encryption_key_id": null}))),
        (READER, "GET", key, Value::Null, 200, None),
        (READER, "GET", "/v3/volumes/{id}/encryption/cipher", Value::Null, 404, None),
        (NOBODY, "GET", all, Value::Null, 403, Some(json!(rule))),
        (STRANGER, "GET", key, Value::Null, 404, None),
    ];
    check(&harness, &id, "3.0", &lines).await;
    harness.stop().await;
}
