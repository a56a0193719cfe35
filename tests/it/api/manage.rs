//! What lies at the backends over the wire (services-hosts-pools §8, volume-actions §2.9, snapshots §3).

use hearth::api::ApiOptions;
use hearth::domain::ids::VolumeId;
use hearth::domain::quota::Limits;
use hearth::drivers::sim::SimObject;
use serde_json::{Value, json};

use super::harness::{ADMIN, BACKEND, Got, Harness, MEMBER, NOBODY};
use super::types::make_type;

const HOST: &str = "?host=sim@sim%23pool";
const NIL: &str = "00000000-0000-0000-0000-000000000000";

impl Harness {
    fn place(&self, reference: &str, size_mib: u64) {
        let object = SimObject { size_mib, markers: vec!["data".to_owned()], snapshot_of: None };
        self.truth.place_object(reference, object).unwrap();
    }

    async fn manage(&self, members: Value) -> Got {
        let mut body = json!({"volume": {"host": BACKEND}});
        body["volume"].as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.post("/v3/manageable_volumes", &body).token(ADMIN).volume("3.71").send().await
    }

    /// An object that has become a volume.
    async fn managed(&self, reference: &str) -> String {
        let got = self.manage(named(reference)).await;
        assert_eq!(got.status, 202, "{}", got.text);
        let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
        self.until(&id, "available").await;
        id
    }

    async fn unmanage(&self, id: &str) -> Got {
        let body = json!({"os-unmanage": {}});
        self.post(&format!("/v3/volumes/{id}/action"), &body).token(ADMIN).send().await
    }

    /// The rows of a list, the path with its query.
    async fn rows(&self, path: &str) -> Vec<Value> {
        let got = self.get(&format!("/v3/{path}")).volume("3.71").send().await;
        assert_eq!(got.status, 200, "{path}: {}", got.text);
        let body = got.json();
        let member = body.as_object().unwrap().values().next().unwrap();
        member.as_array().unwrap().clone()
    }

    async fn usage(&self) -> (Value, Value, Value) {
        let got = self.get("/v3/os-quota-sets/p?usage=true").send().await.json();
        let of = |name: &str| {
            let row = &got["quota_set"][name];
            json!(row["in_use"].as_i64().unwrap() + row["reserved"].as_i64().unwrap())
        };
        (of("volumes"), of("gigabytes"), of("snapshots"))
    }
}

fn named(reference: &str) -> Value {
    json!({"ref": {"source-name": reference}})
}

fn usage(volumes: i64, gigabytes: i64, snapshots: i64) -> (Value, Value, Value) {
    (json!(volumes), json!(gigabytes), json!(snapshots))
}

#[actix_web::test]
async fn an_object_is_managed_let_go_of_and_managed_again() {
    let harness = Harness::start().await;
    harness.place("lvol0", 1500);
    let new = json!({"reference": {"source-name": "lvol0"}, "size": 2, "safe_to_manage": true});
    assert_eq!(harness.rows(&format!("manageable_volumes{HOST}")).await, [new]);
    let made = harness
        .manage(json!({
            "ref": {"source-name": "lvol0", "source-id": "1"}, "name": " n ", "description": "d",
            "volume_type": "__DEFAULT__", "availability_zone": "nova", "bootable": "True", "metadata": {"k": "v"},
        }))
        .await;
    assert_eq!(made.status, 202, "{}", made.text);
    let made = &made.json()["volume"];
    assert_eq!((&made["status"], &made["size"]), (&json!("creating"), &json!(0)));
    let id = made["id"].as_str().unwrap();
    let shown = harness.until(id, "available").await;
    assert_eq!((&shown["size"], &shown["name"], &shown["description"]), (&json!(2), &json!("n"), &json!("d")));
    assert_eq!((&shown["bootable"], &shown["metadata"]), (&json!("true"), &json!({"k": "v"})));
    assert_eq!((&shown["volume_type"], &shown["availability_zone"]), (&json!("__DEFAULT__"), &json!("nova")));
    assert_eq!((&shown["os-vol-host-attr:host"], &shown["source_volid"]), (&json!(BACKEND), &Value::Null));
    assert_eq!(harness.usage().await, usage(1, 2, 0));
    let own = json!({
        "reference": {"source-name": format!("volume-{id}")}, "size": 2, "safe_to_manage": false,
        "reason_not_safe": "already managed", "cinder_id": id, "extra_info": null,
    });
    assert_eq!(harness.rows(&format!("manageable_volumes/detail{HOST}")).await, [own]);
    let text = format!("Unable to manage existing volume. Volume volume-{id} already managed.");
    assert_eq!(harness.manage(named(&format!("volume-{id}"))).await.fault(), (400, text));

    let got = harness.unmanage(id).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(id, "gone").await;
    assert_eq!(harness.usage().await, usage(0, 0, 0));
    let reference = format!("volume-{id}");
    assert_eq!(harness.truth.object(&reference).unwrap().markers, ["data"], "its data stay");
    let free = json!({
        "reference": {"source-name": reference}, "size": 2, "safe_to_manage": true,
        "reason_not_safe": null, "cinder_id": null, "extra_info": null,
    });
    assert_eq!(harness.rows(&format!("os-volume-manage/detail{HOST}")).await, [free]);
    let body = json!({"volume": {"host": "sim@sim", "ref": {"source-name": reference}}});
    let got = harness.post("/v3/os-volume-manage", &body).token(ADMIN).volume("3.0").send().await;
    assert_eq!(got.status, 202, "of a service with one pool: {}", got.text);
    let again = got.json()["volume"]["id"].as_str().unwrap().to_owned();
    harness.until(&again, "available").await;
    let again = VolumeId(again.parse().unwrap());
    assert_eq!(harness.truth.markers(again), ["data"]);
    harness.stop().await;
}

/// The list's own order and pages: there is no table behind it.
#[actix_web::test]
async fn lists_are_sorted_and_paged() {
    let harness = Harness::start().await;
    for (name, gib) in [("a", 3), ("b", 1), ("c", 2), ("d", 1)] {
        harness.place(name, gib << 10);
    }
    let names = async |query: &str| {
        let rows = harness.rows(&format!("manageable_volumes{HOST}{query}")).await;
        rows.iter().map(|row| row["reference"]["source-name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    for (query, expected) in [
        ("", "dcba"),
        ("&sort=reference:asc", "abcd"),
        ("&sort=size", "acbd"),
        ("&sort=size:asc", "bdca"),
        ("&sort=size:asc,reference:desc", "dbca"),
        ("&sort_key=size&sort_dir=asc", "bdca"),
        ("&sort_key=reference", "dcba"),
        ("&limit=2", "dc"),
        ("&limit=2&offset=1", "cb"),
        ("&offset=9", ""),
        ("&limit=0", ""),
        ("&marker={'source-name':'c'}", "ba"),
        ("&marker={'source-name':'c'}&limit=1", "b"),
        ("&marker={'source-name':'c'}&offset=1", "a"),
        ("&marker={'source-name':'a'}", ""),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    for query in [
        "&sort=name",
        "&sort=size:up",
        "&sort_key=created_at",
        "&sort=size&sort_key=size",
        "&limit=-1",
        "&limit=x",
        "&offset=-1",
        "&marker=c",
        "&marker={'source-name':'x'}",
        "&marker={'source-id':'c'}",
    ] {
        let got = harness.get(&format!("/v3/manageable_volumes{HOST}{query}")).volume("3.8").send().await;
        assert_eq!(got.fault().0, 400, "{query}");
    }
    harness.stop().await;
}

/// Whose list it is, who may see it and from which version on.
#[actix_web::test]
async fn where_is_asked_for_exactly_once() {
    let harness = Harness::start().await;
    let down = json!({"host": "sim@sim", "binary": "cinder-volume"});
    for noun in ["volumes", "snapshots"] {
        let (new, old) = (format!("/v3/manageable_{noun}"), format!("/v3/os-{}-manage", noun.trim_end_matches('s')));
        for (version, path, query, status) in [
            ("3.7", &new, HOST, 404),
            ("3.8", &new, HOST, 200),
            ("3.0", &old, HOST, 200),
            ("3.0", &old, "", 400),
            ("3.8", &new, "", 400),
            ("3.8", &new, "?host=", 400),
            ("3.16", &new, "?cluster=c", 400),
            ("3.17", &new, "?cluster=c", 404),
            ("3.16", &new, "?host=sim@sim&cluster=c", 200),
            ("3.17", &new, "?host=sim@sim&cluster=c", 400),
            ("3.8", &new, "?host=sim@sim", 200),
            ("3.8", &new, "?host=nowhere", 404),
            ("3.8", &new, "?host=sim@sim%23other", 404),
        ] {
            for path in [path.clone(), format!("{path}/detail")] {
                let got = harness.get(&format!("{path}{query}")).volume(version).send().await;
                assert_eq!(got.status, status, "{path}{query} at {version}: {}", got.text);
            }
        }
        for token in [MEMBER, NOBODY] {
            let got = harness.ask("GET", &format!("{old}{HOST}")).token(token).send().await;
            assert_eq!(got.fault().0, 403, "{noun}");
        }
        assert_eq!(harness.put("/v3/os-services/disable", &down).token(ADMIN).send().await.status, 200);
        let got = harness.get(&format!("{old}{HOST}")).send().await;
        assert_eq!(got.fault(), (400, "Service is unavailable at this time.".to_owned()));
        assert_eq!(harness.put("/v3/os-services/enable", &down).token(ADMIN).send().await.status, 200);
    }
    harness.stop().await;
}

#[actix_web::test]
async fn what_a_manage_is_refused_for() {
    let harness = Harness::start().await;
    harness.place("lvol0", 1024);
    make_type(&harness, "elsewhere", json!({"extra_specs": {"volume_backend_name": "other"}})).await;
    let with = |members: Value| {
        let mut body = json!({"volume": {"host": BACKEND, "ref": {"source-name": "lvol0"}}});
        body["volume"].as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        body["volume"].as_object_mut().unwrap().retain(|_, value| *value != json!("absent"));
        body
    };
    for (version, body, text) in [
        ("3.8", json!({}), "required"),
        ("3.8", json!({"volume": {}}), "required"),
        ("3.8", with(json!({"ref": "absent"})), "'ref' is a required property"),
        ("3.8", with(json!({"ref": "lvol0"})), "'lvol0' is not of type 'object'"),
        ("3.8", with(json!({"ref": {}})), "Reference must contain source-name element."),
        ("3.8", with(json!({"ref": {"source-id": "1"}})), "Reference must contain source-name element."),
        ("3.8", with(named("lvol1")), "the backend has no object of this name"),
        ("3.8", with(json!({"host": "absent"})), "'host' is a required property"),
        ("3.8", with(json!({"host": "zz"})), "Host 'zz' not found"),
        ("3.8", with(json!({"host": "h h"})), "host"),
        ("3.8", with(json!({"extra": 1})), "Additional properties are not allowed"),
        ("3.8", with(json!({"cluster": "c"})), "Additional properties are not allowed"),
        ("3.16", with(json!({"cluster": "c"})), "One and only one of cluster and host must be set."),
        ("3.16", with(json!({"host": "absent"})), "One and only one of cluster and host must be set."),
        ("3.16", with(json!({"host": "absent", "cluster": "c"})), "Cluster 'c' not found"),
        ("3.8", with(json!({"name": "n".repeat(256)})), "256 characters, more than 255."),
        ("3.8", with(json!({"volume_type": "none"})), "Volume type none could not be found."),
        ("3.8", with(json!({"volume_type": "elsewhere"})), "volume type mismatch"),
        ("3.8", with(json!({"availability_zone": "mars"})), "Availability zone 'mars' is invalid."),
        ("3.8", with(json!({"bootable": "maybe"})), "bootable"),
        ("3.8", with(json!({"metadata": {"k": 1}})), "1 is not of type 'string'"),
        ("3.8", with(json!({"metadata": []})), "metadata"),
    ] {
        let got = harness.post("/v3/manageable_volumes", &body).token(ADMIN).volume(version).send().await;
        let (status, said) = got.fault();
        assert!(status == 400 && said.contains(text), "{version} {body}: {status} {said}");
    }
    let got = harness.post("/v3/manageable_volumes", &with(json!({}))).token(ADMIN).volume("3.7").send().await;
    assert_eq!(got.status, 404);
    let got = harness.post("/v3/os-volume-manage", &with(json!({}))).token(MEMBER).send().await;
    assert_eq!(got.fault().0, 403);
    let disable = json!({"host": "sim@sim", "binary": "cinder-volume"});
    assert_eq!(harness.put("/v3/os-services/disable", &disable).token(ADMIN).send().await.status, 200);
    let got = harness.manage(named("lvol0")).await;
    assert_eq!(got.fault(), (400, "Service is unavailable at this time.".to_owned()));
    assert_eq!(harness.usage().await, usage(0, 0, 0), "nothing has been made");
    assert_eq!(harness.truth.object("lvol0").unwrap().size_mib, 1024);
    harness.stop().await;
}

/// What the object has come to meanwhile is told by the volume's status; it can be deleted, and the object stays.
#[actix_web::test]
async fn an_adoption_that_fails() {
    let harness = Harness::start().await;
    harness.place("lvol0", 1024);
    harness.fail("adopt");
    let got = harness.manage(named("lvol0")).await;
    let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
    let shown = harness.until(&id, "error").await;
    assert_eq!((&shown["size"], harness.usage().await), (&json!(0), usage(1, 0, 0)));
    let got = harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(MEMBER).send().await;
    assert_eq!(got.status, 202);
    harness.until(&id, "gone").await;
    assert_eq!(harness.usage().await, usage(0, 0, 0));
    let id = harness.managed("lvol0").await;
    assert_eq!(harness.truth.markers(VolumeId(id.parse().unwrap())), ["data"]);
    harness.stop().await;
}

#[actix_web::test]
async fn a_size_is_reserved_before_it_is_used() {
    let limits = Limits { gigabytes: 3, ..Limits::NONE };
    let harness = Harness::start_with(ApiOptions::default(), limits).await;
    harness.place("large", 4 << 10);
    harness.place("two", 1025);
    let (status, text) = harness.manage(named("large")).await.fault();
    assert_eq!(status, 413, "{text}");
    harness.hang("adopt");
    let got = harness.manage(named("two")).await;
    let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
    assert_eq!(harness.usage().await, usage(1, 2, 0), "although the volume shows no size yet");
    let more = json!({"volume": {"size": 2}});
    assert_eq!(harness.post("/v3/volumes", &more).token(MEMBER).send().await.fault().0, 413);
    harness.until_released().await;
    harness.until(&id, "available").await;
    assert_eq!(harness.usage().await, usage(1, 2, 0));
    assert_eq!(harness.unmanage(&id).await.status, 202);
    harness.until(&id, "gone").await;
    assert_eq!(harness.post("/v3/volumes", &more).token(MEMBER).send().await.status, 202);
    harness.stop().await;
}

#[actix_web::test]
async fn what_an_unmanage_is_refused_for() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let action = format!("/v3/volumes/{volume}/action");
    let unmanage = json!({"os-unmanage": null});
    assert_eq!(harness.post(&action, &unmanage).token(MEMBER).send().await.fault().0, 403);
    assert_eq!(harness.unmanage(NIL).await.fault().0, 404);
    let reset = async |status: &str| {
        let body = json!({"os-reset_status": {"status": status}});
        assert_eq!(harness.post(&action, &body).token(ADMIN).send().await.status, 202);
    };
    for status in ["maintenance", "creating", "extending", "error_deleting", "backing-up", "retyping"] {
        reset(status).await;
        assert_eq!(harness.unmanage(&volume).await.fault().0, 400, "{status}");
    }
    reset("available").await;
    let snapshot = harness.snapshot(&volume).await;
    assert_eq!(harness.unmanage(&volume).await.fault().0, 400, "it has a snapshot");
    let got = harness.ask("DELETE", &format!("/v3/snapshots/{snapshot}")).token(MEMBER).send().await;
    assert_eq!(got.status, 202);
    harness.until_snapshot(&snapshot, "gone").await;
    let server = harness.server("s").await;
    let mapping = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(harness.post(&mapping, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&volume, "in-use").await;
    assert_eq!(harness.unmanage(&volume).await.fault().0, 400, "it is in use");
    let got = harness.ask("DELETE", &format!("{mapping}/{volume}")).token(MEMBER).send().await;
    assert_eq!(got.status, 202);
    harness.until(&volume, "available").await;

    harness.fail("disown");
    assert_eq!(harness.unmanage(&volume).await.status, 202);
    harness.until(&volume, "error_unmanaging").await;
    assert_eq!(harness.unmanage(&volume).await.fault().0, 400, "until an administrator has looked at it");
    reset("error").await;
    let frozen = json!({"host": "sim@sim"});
    assert_eq!(harness.put("/v3/os-services/freeze", &frozen).token(ADMIN).send().await.status, 200);
    let got = harness.ask("DELETE", &format!("/v3/volumes/{volume}")).token(MEMBER).send().await;
    assert_eq!(got.fault().0, 400, "a frozen backend deletes nothing");
    assert_eq!(harness.unmanage(&volume).await.status, 202, "and lets go");
    harness.until(&volume, "gone").await;
    harness.stop().await;
}

#[actix_web::test]
async fn a_volume_that_was_never_placed_is_gone_at_once() {
    let harness = Harness::start().await;
    make_type(&harness, "nowhere", json!({"extra_specs": {"volume_backend_name": "other"}})).await;
    let body = json!({"volume": {"size": 1, "volume_type": "nowhere"}});
    let made = harness.post("/v3/volumes", &body).token(MEMBER).send().await.json();
    let id = made["volume"]["id"].as_str().unwrap();
    harness.until(id, "error").await;
    assert_eq!(harness.unmanage(id).await.status, 202);
    assert_eq!(harness.get(&format!("/v3/volumes/{id}")).send().await.status, 404);
    assert_eq!(harness.rows(&format!("manageable_volumes{HOST}")).await, [] as [Value; 0]);
    harness.stop().await;
}

#[actix_web::test]
async fn a_snapshot_is_let_go_of_and_managed_again() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 2})).await;
    let first = harness.snapshot(&volume).await;
    let own = json!({
        "reference": {"source-name": format!("_snapshot-{first}")}, "size": 2, "safe_to_manage": false,
        "reason_not_safe": "already managed", "cinder_id": first, "extra_info": null,
        "source_reference": {"source-name": format!("volume-{volume}")},
    });
    assert_eq!(harness.rows(&format!("manageable_snapshots/detail{HOST}")).await, [own]);
    assert_eq!(harness.usage().await, usage(1, 4, 1));
    let action = format!("/v3/snapshots/{first}/action");
    let unmanage = json!({"os-unmanage": {}});
    assert_eq!(harness.post(&action, &unmanage).token(MEMBER).send().await.fault().0, 403);
    assert_eq!(harness.post(&action, &unmanage).token(ADMIN).send().await.status, 202);
    harness.until_snapshot(&first, "gone").await;
    assert_eq!(harness.post(&action, &unmanage).token(ADMIN).send().await.fault().0, 404);
    assert_eq!(harness.usage().await, usage(1, 2, 0));
    let reference = format!("_snapshot-{first}");
    let free = json!({
        "reference": {"source-name": reference}, "size": 2, "safe_to_manage": true,
        "source_reference": {"source-name": format!("volume-{volume}")},
    });
    assert_eq!(harness.rows(&format!("os-snapshot-manage{HOST}")).await, [free]);

    let manage = async |path: &str, members: Value| {
        let mut body = json!({"snapshot": {"volume_id": volume, "ref": {"source-name": reference}}});
        body["snapshot"].as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        harness.post(path, &body).token(ADMIN).volume("3.71").send().await
    };
    let path = "/v3/manageable_snapshots";
    harness.place("large", 3 << 10);
    for (members, status) in [
        (named("nothing"), 400),
        (named("large"), 400),
        (json!({"ref": "x"}), 400),
        (json!({"ref": null}), 400),
        (json!({"volume_id": NIL}), 404),
        (json!({"volume_id": "x"}), 400),
        (json!({"extra": 1}), 400),
        (json!({"metadata": {"k": 1}}), 400),
        (json!({"name": "n".repeat(256)}), 400),
    ] {
        let got = manage(path, members.clone()).await;
        assert_eq!(got.fault().0, status, "{members}: {}", got.text);
    }
    let body = json!({"snapshot": {"volume_id": volume, "ref": {"source-name": reference}}});
    assert_eq!(harness.post("/v3/os-snapshot-manage", &body).token(MEMBER).send().await.fault().0, 403);
    let disable = json!({"host": "sim@sim", "binary": "cinder-volume"});
    assert_eq!(harness.put("/v3/os-services/disable", &disable).token(ADMIN).send().await.status, 200);
    let text = "Service is unavailable at this time.".to_owned();
    assert_eq!(manage(path, json!({})).await.fault(), (400, text));
    assert_eq!(harness.put("/v3/os-services/enable", &disable).token(ADMIN).send().await.status, 200);

    harness.fail("adopt_snapshot");
    let failed = manage(path, json!({})).await.json()["snapshot"]["id"].as_str().unwrap().to_owned();
    harness.until_snapshot(&failed, "error").await;
    let got = harness.ask("DELETE", &format!("/v3/snapshots/{failed}")).token(MEMBER).send().await;
    assert_eq!(got.status, 202);
    harness.until_snapshot(&failed, "gone").await;

    let got = manage(path, json!({"name": "s", "description": "d", "metadata": {"k": "v"}})).await;
    assert_eq!(got.status, 202, "{}", got.text);
    let made = got.json()["snapshot"].clone();
    assert_eq!((&made["status"], &made["size"], &made["name"]), (&json!("creating"), &json!(2), &json!("s")));
    assert_eq!((&made["volume_id"], &made["metadata"]), (&json!(volume), &json!({"k": "v"})));
    harness.until_snapshot(made["id"].as_str().unwrap(), "available").await;
    assert_eq!(harness.usage().await, usage(1, 4, 1));
    let got = manage(path, named(&format!("_snapshot-{}", made["id"].as_str().unwrap()))).await;
    assert_eq!(got.fault().0, 400, "already managed");
    harness.stop().await;
}

/// The same object in two requests at once: one has it, the other volume is in error and can be deleted.
#[actix_web::test]
async fn one_object_asked_for_twice_at_once() {
    let harness = Harness::start().await;
    harness.place("lvol0", 1024);
    let (one, other) = futures_util::join!(harness.manage(named("lvol0")), harness.manage(named("lvol0")));
    let mut words = Vec::new();
    for got in [one, other] {
        // The second may come late enough to see that it is managed.
        if got.status == 400 {
            words.push("refused".to_owned());
            continue;
        }
        let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
        let status = loop {
            let shown = harness.get(&format!("/v3/volumes/{id}")).send().await.json()["volume"]["status"].clone();
            if shown != "creating" {
                break shown.as_str().unwrap().to_owned();
            }
            tokio::task::yield_now().await;
        };
        words.push(status.clone());
        if status == "error" {
            let got = harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(MEMBER).send().await;
            assert_eq!(got.status, 202);
            harness.until(&id, "gone").await;
        }
    }
    words.sort();
    assert!(words == ["available", "error"] || words == ["available", "refused"], "{words:?}");
    let rows = harness.rows(&format!("manageable_volumes{HOST}")).await;
    assert_eq!((rows.len(), &rows[0]["safe_to_manage"]), (1, &json!(false)));
    harness.stop().await;
}
