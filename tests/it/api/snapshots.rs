//! Snapshots over the wire (snapshots §1–§5), and volumes made from them and from other volumes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER, READER, STRANGER};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

impl Harness {
    /// An available snapshot.
    pub async fn snapshot(&self, volume: &str) -> String {
        let body = json!({"snapshot": {"volume_id": volume}});
        let got = self.post("/v3/snapshots", &body).token(MEMBER).volume("3.66").send().await;
        assert_eq!(got.status, 202, "{}", got.text);
        let id = got.json()["snapshot"]["id"].as_str().unwrap().to_owned();
        self.until_snapshot(&id, "available").await;
        id
    }

    /// Waits for a snapshot's status, or `gone`.
    pub async fn until_snapshot(&self, id: &str, status: &str) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let got = self.ask("GET", &format!("/v3/snapshots/{id}")).token(ADMIN).send().await;
            let body = if got.status == 404 { json!({"status": "gone"}) } else { got.json()["snapshot"].clone() };
            if body["status"] == status {
                return body;
            }
            assert!(tokio::time::Instant::now() < deadline, "{id} is {} and not {status}", body["status"]);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn members(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[actix_web::test]
async fn a_snapshot_lives_and_ends() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 2})).await;
    let body = json!({"snapshot": {"volume_id": volume, "name": " s ", "description": null, "metadata": {"k": "v"}}});
    let got = harness.post("/v3/p/snapshots", &body).token(MEMBER).volume("3.71").send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    let created = got.json()["snapshot"].clone();
    assert_eq!((&created["status"], &created["size"], &created["name"]), (&json!("creating"), &json!(2), &json!("s")));
    assert_eq!((&created["volume_id"], &created["metadata"]), (&json!(volume), &json!({"k": "v"})));
    let id = created["id"].as_str().unwrap();
    let path = format!("/v3/snapshots/{id}");
    let shown = harness.until_snapshot(id, "available").await;
    assert_eq!(shown["os-extended-snapshot-attributes:progress"], "100%");
    assert_eq!(shown["os-extended-snapshot-attributes:project_id"], "p");

    let update = json!({"snapshot": {"display_name": "other", "description": " d "}});
    let got = harness.put(&path, &update).token(MEMBER).send().await;
    let snapshot = got.json()["snapshot"].clone();
    assert_eq!((got.status, &snapshot["name"], &snapshot["description"]), (200, &json!("other"), &json!("d")));
    assert!(!snapshot["updated_at"].is_null());

    assert_eq!(harness.ask("GET", &path).token(STRANGER).send().await.status, 404);
    assert_eq!(harness.ask("DELETE", &path).token(STRANGER).send().await.status, 404);
    assert_eq!(harness.ask("DELETE", &path).token(READER).send().await.status, 403);
    let got = harness.ask("DELETE", &format!("/v3/volumes/{volume}")).token(MEMBER).send().await;
    assert_eq!(got.fault().0, 400, "a volume with snapshots stays");
    let got = harness.ask("DELETE", &path).token(MEMBER).send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until_snapshot(id, "gone").await;
    assert_eq!(harness.ask("DELETE", &path).token(MEMBER).send().await.fault().0, 404);
    harness.stop().await;
}

/// §1: which members each view has at each version that changes it.
#[actix_web::test]
async fn the_members_of_each_view() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let id = harness.snapshot(&volume).await;
    let base = ["id", "volume_id", "name", "description", "status", "size", "created_at", "updated_at", "metadata"];
    let extended = ["os-extended-snapshot-attributes:project_id", "os-extended-snapshot-attributes:progress"];
    for (version, more) in [
        ("3.0", &[][..]),
        ("3.13", &[]),
        ("3.14", &["group_snapshot_id"]),
        ("3.40", &["group_snapshot_id"]),
        ("3.41", &["group_snapshot_id", "user_id"]),
        ("3.64", &["group_snapshot_id", "user_id"]),
        ("3.65", &["group_snapshot_id", "user_id", "consumes_quota"]),
        ("3.71", &["group_snapshot_id", "user_id", "consumes_quota"]),
    ] {
        let expected =
            |parts: &[&[&str]]| parts.concat().iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let get = async |path: String| harness.ask("GET", &path).token(MEMBER).volume(version).send().await.json();
        let list = get("/v3/snapshots".to_owned()).await;
        assert_eq!(members(&list["snapshots"][0]), expected(&[&base]), "summary at {version}");
        let detail = get("/v3/snapshots/detail".to_owned()).await;
        assert_eq!(members(&detail["snapshots"][0]), expected(&[&base, &extended, more]), "detail list at {version}");
        let shown = get(format!("/v3/snapshots/{id}")).await;
        assert_eq!(members(&shown["snapshot"]), expected(&[&base, &extended, more]), "show at {version}");
        let update = json!({"snapshot": {"name": version}});
        let got = harness.put(&format!("/v3/snapshots/{id}"), &update).token(MEMBER).volume(version).send().await;
        assert_eq!(members(&got.json()["snapshot"]), expected(&[&base, more]), "update at {version}");
    }
    harness.stop().await;
}

/// §2: the checks of a create, one a line.
#[actix_web::test]
async fn what_a_create_is_refused_for() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let in_use = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    let mapping = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": in_use}});
    assert_eq!(harness.post(&mapping, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&in_use, "in-use").await;
    let failed = harness.volume(MEMBER, json!({"size": 1})).await;
    let reset = json!({"os-reset_status": {"status": "error"}});
    assert_eq!(harness.post(&format!("/v3/volumes/{failed}/action"), &reset).token(ADMIN).send().await.status, 202);
    for (version, body, status) in [
        ("3.0", json!({}), 400),
        ("3.0", json!({"snapshot": null}), 400),
        ("3.0", json!({"snapshot": {}}), 400),
        ("3.0", json!({"snapshot": {"volume_id": volume, "extra": 1}}), 400),
        ("3.0", json!({"snapshot": {"volume_id": volume}, "extra": 1}), 400),
        ("3.0", json!({"snapshot": {"volume_id": "x"}}), 400),
        ("3.0", json!({"snapshot": {"volume_id": null}}), 404),
        ("3.0", json!({"snapshot": {"volume_id": NIL}}), 404),
        ("3.0", json!({"snapshot": {"volume_id": volume, "force": null}}), 400),
        ("3.0", json!({"snapshot": {"volume_id": volume, "force": "maybe"}}), 400),
        ("3.0", json!({"snapshot": {"volume_id": volume, "name": "n".repeat(256)}}), 400),
        ("3.0", json!({"snapshot": {"volume_id": volume, "metadata": {"k": 1}}}), 400),
        ("3.0", json!({"snapshot": {"volume_id": volume, "metadata": null}}), 202),
        ("3.65", json!({"snapshot": {"volume_id": volume, "force": false}}), 202),
        ("3.66", json!({"snapshot": {"volume_id": volume, "force": false}}), 400),
        ("3.66", json!({"snapshot": {"volume_id": volume, "force": "True"}}), 202),
        ("3.65", json!({"snapshot": {"volume_id": in_use}}), 400),
        ("3.65", json!({"snapshot": {"volume_id": in_use, "force": true}}), 202),
        ("3.66", json!({"snapshot": {"volume_id": in_use}}), 202),
        ("3.66", json!({"snapshot": {"volume_id": failed}}), 400),
    ] {
        let got = harness.post("/v3/snapshots", &body).token(MEMBER).volume(version).send().await;
        assert_eq!(got.status, status, "{version} {body}: {}", got.text);
    }
    let body = json!({"snapshot": {"volume_id": volume}});
    assert_eq!(harness.post("/v3/snapshots", &body).token(READER).send().await.fault().0, 403);
    assert_eq!(harness.post("/v3/snapshots", &body).token(STRANGER).send().await.fault().0, 404);
    harness.stop().await;
}

/// §3: the actions.
#[actix_web::test]
async fn what_actions_do() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let id = harness.snapshot(&volume).await;
    let action = format!("/v3/snapshots/{id}/action");
    let ask = async |token: &str, body: Value| harness.post(&action, &body).token(token).send().await;
    let reset = |status: &str| json!({"os-reset_status": {"status": status}});
    let progress =
        |status: &str, progress: &str| json!({"os-update_snapshot_status": {"status": status, "progress": progress}});

    assert_eq!(ask(MEMBER, reset("error")).await.fault().0, 403);
    assert_eq!(ask(ADMIN, reset("no-status")).await.fault().0, 400);
    assert_eq!(ask(ADMIN, json!({"os-reset_status": {}})).await.fault().0, 400);
    assert_eq!(ask(ADMIN, json!({"os-unknown": {}})).await.fault().0, 400);
    let nowhere = format!("/v3/snapshots/{NIL}/action");
    assert_eq!(harness.post(&nowhere, &reset("error")).token(ADMIN).send().await.fault().0, 404);

    assert_eq!(ask(MEMBER, progress("available", "5%")).await.fault().0, 400, "neither creating nor deleting");
    assert_eq!(ask(ADMIN, reset("CREATING")).await.status, 202);
    assert_eq!(ask(MEMBER, progress("deleting", "5%")).await.fault().0, 400);
    for bad in ["5", "101%", "-1%", "x%"] {
        assert_eq!(ask(MEMBER, progress("creating", bad)).await.fault().0, 400, "{bad}");
    }
    assert_eq!(ask(MEMBER, progress("creating", "50%")).await.status, 202);
    assert_eq!(harness.until_snapshot(&id, "creating").await["os-extended-snapshot-attributes:progress"], "50%");
    assert_eq!(ask(MEMBER, progress("error", "60%")).await.status, 202);
    harness.until_snapshot(&id, "error").await;

    assert_eq!(ask(ADMIN, reset("updating")).await.status, 202);
    assert_eq!(harness.ask("DELETE", &format!("/v3/snapshots/{id}")).token(MEMBER).send().await.fault().0, 400);
    let force = json!({"os-force_delete": {}});
    assert_eq!(ask(MEMBER, force.clone()).await.fault().0, 403);
    assert_eq!(ask(ADMIN, force).await.status, 202);
    harness.until_snapshot(&id, "gone").await;
    harness.stop().await;
}

/// §2: the metadata of a snapshot.
#[actix_web::test]
async fn metadata_is_merged_replaced_and_taken_away() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let id = harness.snapshot(&volume).await;
    let all = format!("/v3/snapshots/{id}/metadata");
    let one = |key: &str| format!("{all}/{key}");
    let got = harness.post(&all, &json!({"metadata": {"a": "1", "b": "2"}})).token(MEMBER).send().await;
    assert_eq!((got.status, got.json()), (200, json!({"metadata": {"a": "1", "b": "2"}})));
    let got = harness.post(&all, &json!({"metadata": {"b": "3"}})).token(MEMBER).send().await;
    assert_eq!(got.json(), json!({"metadata": {"a": "1", "b": "3"}}));
    let got = harness.put(&one("c"), &json!({"meta": {"c": "4"}})).token(MEMBER).send().await;
    assert_eq!((got.status, got.json()), (200, json!({"meta": {"c": "4"}})));
    assert_eq!(harness.ask("GET", &one("c")).token(READER).send().await.json(), json!({"meta": {"c": "4"}}));
    let got = harness.put(&one("c"), &json!({"meta": {"d": "4"}})).token(MEMBER).send().await;
    assert_eq!(got.fault(), (400, "Request body and URI mismatch".to_owned()));
    let got = harness.put(&one("c"), &json!({"meta": {"c": "4", "d": "5"}})).token(MEMBER).send().await;
    assert_eq!(got.fault().0, 400);
    let got = harness.post(&all, &json!({"metadata": {"a/b": "1"}})).token(MEMBER).send().await;
    assert_eq!(got.fault().0, 400, "no slash in keys of snapshots");
    assert_eq!(harness.ask("DELETE", &one("a")).token(READER).send().await.fault().0, 403);
    let got = harness.ask("DELETE", &one("a")).token(MEMBER).send().await;
    assert_eq!((got.status, got.text.as_str()), (200, ""));
    let text = format!("Snapshot {id} has no metadata with key a.");
    assert_eq!(harness.ask("GET", &one("a")).token(MEMBER).send().await.fault(), (404, text.clone()));
    assert_eq!(harness.ask("DELETE", &one("a")).token(MEMBER).send().await.fault(), (404, text));
    let got = harness.put(&all, &json!({"metadata": {}})).token(MEMBER).send().await;
    assert_eq!(got.json(), json!({"metadata": {}}));
    assert_eq!(harness.ask("GET", &all).token(MEMBER).send().await.json(), json!({"metadata": {}}));
    harness.stop().await;
}

/// §4: the filters, and pages.
#[actix_web::test]
async fn lists_are_filtered_and_paged() {
    let harness = Harness::start().await;
    let (one, two) =
        (harness.volume(MEMBER, json!({"size": 1})).await, harness.volume(MEMBER, json!({"size": 1})).await);
    for (volume, name, value) in [(&one, "alpha", "1"), (&one, "beta", "2"), (&two, "alpha", "2")] {
        let body = json!({"snapshot": {"volume_id": volume, "name": name, "metadata": {"k": value}}});
        let got = harness.post("/v3/snapshots", &body).token(MEMBER).send().await;
        harness.until_snapshot(got.json()["snapshot"]["id"].as_str().unwrap(), "available").await;
    }
    let count = async |token: &str, version: &str, query: &str| {
        let path = format!("/v3/snapshots/detail?{query}");
        let got = harness.ask("GET", &path).token(token).volume(version).send().await;
        (got.status, if got.status == 200 { got.json()["snapshots"].as_array().unwrap().len() } else { 0 })
    };
    for (token, version, query, expected) in [
        (MEMBER, "3.0", "name=alpha".to_owned(), (200, 2)),
        (MEMBER, "3.0", format!("volume_id={one}"), (200, 2)),
        (MEMBER, "3.0", "status=error".to_owned(), (200, 0)),
        (MEMBER, "3.22", "metadata={'k': '2'}".to_owned(), (200, 2)),
        (MEMBER, "3.22", "metadata=nonsense".to_owned(), (200, 0)),
        (MEMBER, "3.31", "availability_zone=nova".to_owned(), (200, 3)),
        (MEMBER, "3.31", "availability_zone=mars".to_owned(), (200, 0)),
        (MEMBER, "3.65", "consumes_quota=true".to_owned(), (200, 3)),
        (MEMBER, "3.65", "consumes_quota=false".to_owned(), (200, 0)),
        (MEMBER, "3.30", "project_id=p".to_owned(), (200, 3)),
        (MEMBER, "3.31", "project_id=p".to_owned(), (400, 0)),
        (MEMBER, "3.34", "name~=lph".to_owned(), (400, 0)),
        (ADMIN, "3.34", "name~=lph".to_owned(), (200, 2)),
        (ADMIN, "3.31", "host=sim@sim".to_owned(), (200, 3)),
        (ADMIN, "3.31", "no_column=1".to_owned(), (200, 0)),
        (MEMBER, "3.0", "limit=2".to_owned(), (200, 2)),
        (MEMBER, "3.0", "limit=-1".to_owned(), (400, 0)),
        (MEMBER, "3.0", format!("marker={NIL}"), (404, 0)),
        (MEMBER, "3.30", "sort=name:asc".to_owned(), (200, 3)),
        (MEMBER, "3.0", "sort=no_column:asc".to_owned(), (400, 0)),
        (STRANGER, "3.0", "all_tenants=1".to_owned(), (200, 0)),
        (ADMIN, "3.0", "all_tenants=1".to_owned(), (200, 3)),
    ] {
        assert_eq!(count(token, version, &query).await, expected, "{token} {version} {query}");
    }
    let path = "/v3/snapshots?limit=1&sort=name:asc&with_count=true";
    let got = harness.ask("GET", path).token(MEMBER).volume("3.45").send().await.json();
    assert_eq!(got["count"], 3);
    let next = got["snapshots_links"][0]["href"].as_str().unwrap();
    assert!(next.contains("/v3/snapshots?") && next.contains("marker="), "{next}");
    harness.stop().await;
}

#[actix_web::test]
async fn volumes_are_made_from_volumes_and_snapshots() {
    let harness = Harness::start().await;
    let source = harness.volume(MEMBER, json!({"size": 2})).await;
    let snapshot = harness.snapshot(&source).await;
    let show = async |id: &str| {
        let got = harness.ask("GET", &format!("/v3/volumes/{id}")).token(MEMBER).send().await;
        got.json()["volume"].clone()
    };
    let clone = harness.volume(MEMBER, json!({"source_volid": source.to_uppercase()})).await;
    let shown = show(&clone).await;
    assert_eq!(
        (&shown["size"], &shown["source_volid"], &shown["snapshot_id"]),
        (&json!(2), &json!(source), &Value::Null)
    );
    let copy = harness.volume(MEMBER, json!({"snapshot_id": snapshot, "size": 3})).await;
    let shown = show(&copy).await;
    assert_eq!(
        (&shown["size"], &shown["source_volid"], &shown["snapshot_id"]),
        (&json!(3), &Value::Null, &json!(snapshot))
    );

    let input = "Invalid input received: ";
    for (members, status, prefix) in [
        (json!({"source_volid": source, "size": 1}), 400, input),
        (json!({"snapshot_id": snapshot, "size": 1}), 400, input),
        (json!({"snapshot_id": snapshot, "source_volid": source}), 400, input),
        (json!({"snapshot_id": NIL}), 404, "Snapshot "),
    ] {
        let got = harness.post("/v3/volumes", &json!({"volume": members})).token(MEMBER).send().await;
        let (code, text) = got.fault();
        assert!(code == status && text.starts_with(prefix), "{members}: {}", got.text);
    }
    let reset = json!({"os-reset_status": {"status": "error"}});
    assert_eq!(harness.post(&format!("/v3/snapshots/{snapshot}/action"), &reset).token(ADMIN).send().await.status, 202);
    let body = json!({"volume": {"snapshot_id": snapshot}});
    let (code, text) = harness.post("/v3/volumes", &body).token(MEMBER).send().await.fault();
    assert!(code == 400 && text.starts_with("Invalid snapshot: "), "{text}");
    let stranger = json!({"volume": {"snapshot_id": snapshot}});
    assert_eq!(harness.post("/v3/volumes", &stranger).token(STRANGER).send().await.fault().0, 404);

    let cascade = format!("/v3/volumes/{source}?cascade=true");
    assert_eq!(harness.ask("DELETE", &cascade).token(MEMBER).send().await.status, 202);
    harness.until(&source, "gone").await;
    harness.until_snapshot(&snapshot, "gone").await;
    assert_eq!(show(&clone).await["source_volid"], json!(source), "it remembers what is gone");
    harness.stop().await;
}

/// volume-actions §2.4
#[actix_web::test]
async fn a_volume_is_reverted_to_its_latest_snapshot_only() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let action = format!("/v3/volumes/{volume}/action");
    let revert = async |token: &str, version: &str, snapshot: Value| {
        let body = json!({"revert": {"snapshot_id": snapshot, "extra": 1}});
        harness.post(&action, &body).token(token).volume(version).send().await
    };
    assert_eq!(revert(MEMBER, "3.39", json!(NIL)).await.fault().0, 404, "below its version there is no such action");
    assert_eq!(revert(MEMBER, "3.40", json!(NIL)).await.fault().0, 400, "it has no snapshot");
    let first = harness.snapshot(&volume).await;
    let second = harness.snapshot(&volume).await;
    for other in [json!(first), Value::Null, json!("x"), json!(NIL)] {
        assert_eq!(revert(MEMBER, "3.40", other).await.fault().0, 400);
    }
    assert_eq!(revert(MEMBER, "3.40", json!(7)).await.fault().0, 400, "no text");
    assert_eq!(revert(READER, "3.40", json!(second)).await.fault().0, 403);
    assert_eq!(revert(STRANGER, "3.40", json!(second)).await.fault().0, 404);
    let got = revert(MEMBER, "3.40", json!(second)).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(&volume, "available").await;
    harness.until_snapshot(&second, "available").await;

    let reset = json!({"os-reset_status": {"status": "error"}});
    assert_eq!(harness.post(&action, &reset).token(ADMIN).send().await.status, 202);
    assert_eq!(revert(MEMBER, "3.40", json!(second)).await.fault().0, 409);
    let reset = json!({"os-reset_status": {"status": "available"}});
    assert_eq!(harness.post(&action, &reset).token(ADMIN).send().await.status, 202);
    let extend = json!({"os-extend": {"new_size": 2}});
    assert_eq!(harness.post(&action, &extend).token(MEMBER).send().await.status, 202);
    harness.until(&volume, "available").await;
    assert_eq!(revert(MEMBER, "3.40", json!(second)).await.fault().0, 400, "the snapshot has another size");
    harness.stop().await;
}
