//! Volumes over the wire, from create to gone.

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use serde_json::{Value, json};

use super::harness::{ADMIN, BACKEND, Harness, MEMBER, STRANGER};

#[actix_web::test]
async fn a_volume_lives_and_ends() {
    let harness = Harness::start().await;
    let body = json!({"volume": {"size": "2", "name": " n ", "description": null, "metadata": {"k": "v"}}});
    let got = harness.post("/v3/p/volumes", &body).token(MEMBER).volume("3.71").send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    let created = got.json()["volume"].clone();
    assert_eq!((&created["status"], &created["size"], &created["name"]), (&json!("creating"), &json!(2), &json!("n")));
    assert_eq!((&created["volume_type"], &created["user_id"]), (&json!("__DEFAULT__"), &json!("mia")));
    assert!(created.get("os-vol-tenant-attr:tenant_id").is_none() && created.get("migration_status").is_none());
    let id = created["id"].as_str().unwrap().to_owned();
    let path = format!("/v3/volumes/{id}");
    let shown = harness.until(&id, "available").await;
    assert_eq!((&shown["metadata"], &shown["os-vol-host-attr:host"]), (&json!({"k": "v"}), &json!(BACKEND)));

    let update = json!({"volume": {"name": "", "metadata": {}}});
    let got = harness.put(&path, &update).token(MEMBER).send().await;
    assert_eq!((got.status, &got.json()["volume"]["name"]), (200, &json!("")), "{}", got.text);
    assert_eq!(got.json()["volume"]["metadata"], json!({}));

    let extend = |size: Value| json!({"os-extend": {"new_size": size}});
    let action = format!("{path}/action");
    let got = harness.post(&action, &extend(json!(2))).token(MEMBER).send().await;
    assert_eq!(got.fault().0, 400);
    assert!(got.fault().1.starts_with("Invalid input received: "), "{}", got.text);
    let got = harness.post(&action, &extend(json!("3"))).token(MEMBER).send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    assert_eq!(harness.until(&id, "available").await["size"], 3);

    let reset = |status: &str| json!({"os-reset_status": {"status": status}});
    assert_eq!(harness.post(&action, &reset("ERROR")).token(ADMIN).send().await.status, 202);
    assert_eq!(harness.until(&id, "error").await["status"], "error");
    let empty = json!({"os-reset_status": {"status": null, "attach_status": ""}});
    assert_eq!(harness.post(&action, &empty).token(ADMIN).send().await.fault().0, 400);

    assert_eq!(harness.ask("DELETE", &path).token(STRANGER).send().await.status, 404);
    assert_eq!(harness.ask("DELETE", &format!("{path}?cascade=maybe")).token(MEMBER).send().await.status, 400);
    let forced = format!("{path}?force=true");
    assert_eq!(harness.ask("DELETE", &forced).token(MEMBER).volume("3.23").send().await.status, 403);
    // Below 3.23 the word means nothing, not even a bad one.
    let got = harness.ask("DELETE", &format!("{path}?force=maybe")).token(MEMBER).volume("3.22").send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(&id, "gone").await;
    assert_eq!(harness.ask("DELETE", &path).token(MEMBER).send().await.fault().0, 404);
    harness.stop().await;
}

/// volume-actions §2.15: whatever the status is, but never what is attached.
#[actix_web::test]
async fn force_delete_looks_at_attachments_only() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let path = format!("/v3/volumes/{id}");
    let action = format!("{path}/action");
    let force = json!({"os-force_delete": {}});
    let got = harness.post(&action, &force).token(MEMBER).send().await;
    let text = "Policy doesn't allow volume_extension:volume_admin_actions:force_delete to be performed.";
    assert_eq!(got.fault(), (403, text.to_owned()));
    assert_eq!(harness.post(&action, &force).token(STRANGER).send().await.status, 404);
    let server = harness.server("s").await;
    let mapping = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": id}});
    assert_eq!(harness.post(&mapping, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&id, "in-use").await;
    assert_eq!(harness.post(&action, &force).token(ADMIN).send().await.fault().0, 400);
    assert_eq!(harness.ask("DELETE", &format!("{mapping}/{id}")).token(MEMBER).send().await.status, 202);
    harness.until(&id, "available").await;
    let reset = json!({"os-reset_status": {"status": "error_deleting"}});
    assert_eq!(harness.post(&action, &reset).token(ADMIN).send().await.status, 202);
    assert_eq!(harness.ask("DELETE", &path).token(MEMBER).send().await.fault().0, 400, "an ordinary delete does not");
    let got = harness.post(&action, &force).token(ADMIN).send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(&id, "gone").await;
    harness.stop().await;
}

#[actix_web::test]
async fn what_a_create_is_refused_for() {
    let harness = Harness::start().await;
    let existing = harness.volume(MEMBER, json!({"size": 1})).await;
    let nil = "00000000-0000-0000-0000-000000000000";
    let input = |text: &str| format!("Invalid input received: {text}");
    let cases: Vec<(Value, u16, String)> = vec![
        (json!({}), 400, input("Volume size must be specified and greater than 0.")),
        (json!({"size": null}), 400, input("Volume size must be specified and greater than 0.")),
        (json!({"size": 1, "volume_type": "nope"}), 404, "Volume type with name nope could not be found.".into()),
        (json!({"size": 1, "volume_type": nil}), 404, format!("Volume type {nil} could not be found.")),
        (json!({"size": 1, "snapshot_id": nil}), 404, format!("Snapshot {nil} could not be found.")),
        (json!({"size": 1, "source_volid": nil}), 404, format!("Volume {nil} could not be found.")),
        (json!({"size": 1, "group_id": nil}), 404, format!("Group {nil} could not be found.")),
        (json!({"size": 1, "backup_id": nil}), 404, format!("Backup {nil} could not be found.")),
        (
            json!({"size": 1, "imageRef": "cirros"}),
            400,
            "Invalid image identifier or unable to access requested image.".into(),
        ),
        (json!({"size": 1, "availability_zone": "mars"}), 400, input("Availability zone 'mars' is invalid.")),
    ];
    for (members, status, text) in cases {
        let got = harness.post("/v3/volumes", &json!({"volume": members})).token(MEMBER).volume("3.71").send().await;
        assert_eq!(got.fault(), (status, text), "{members}");
    }
    let direct = json!({"volume": {"size": 1, "multiattach": true}});
    assert_eq!(harness.post("/v3/volumes", &direct).token(MEMBER).send().await.fault().0, 400);
    for members in [
        json!({"size": 1, "volume_type": "__DEFAULT__"}),
        json!({"size": 1, "volume_type": "", "multiattach": null, "availability_zone": "nova"}),
    ] {
        harness.volume(MEMBER, members).await;
    }
    let stranger = json!({"volume": {"source_volid": existing}});
    assert_eq!(harness.post("/v3/volumes", &stranger).token(STRANGER).send().await.fault().0, 404);
    harness.stop().await;
}

#[actix_web::test]
async fn over_quota_is_413_with_the_words_that_clients_read() {
    let limits = Limits { volumes: 2, gigabytes: 5, per_volume_gigabytes: 4, ..Limits::NONE };
    let harness = Harness::start_with(ApiOptions::default(), limits).await;
    let create = |size: u32| json!({"volume": {"size": size}});
    let got = harness.post("/v3/volumes", &create(5)).token(MEMBER).send().await;
    let text = "VolumeSizeExceedsLimit: Requested volume size 5G is larger than maximum allowed limit 4G.";
    assert_eq!(got.fault(), (413, text.to_owned()));
    assert_eq!((got.header("retry-after"), &got.json()["overLimit"]["retryAfter"]), (Some("0"), &json!("0")));
    let id = harness.volume(MEMBER, json!({"size": 3})).await;
    let got = harness.post("/v3/volumes", &create(3)).token(MEMBER).send().await;
    let text = "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. \
                Requested 3G, quota is 5G and 3G has been consumed.";
    assert_eq!(got.fault(), (413, text.to_owned()));
    harness.volume(MEMBER, json!({"size": 1})).await;
    let got = harness.post("/v3/volumes", &create(1)).token(MEMBER).send().await;
    let text = "VolumeLimitExceeded: Maximum number of volumes allowed (2) exceeded for quota 'volumes'.";
    assert_eq!(got.fault(), (413, text.to_owned()));
    let extend = json!({"os-extend": {"new_size": 9}});
    assert_eq!(harness.post(&format!("/v3/volumes/{id}/action"), &extend).token(MEMBER).send().await.fault().0, 413);
    harness.until(&id, "available").await;
    harness.stop().await;
}

#[actix_web::test]
async fn admin_pages() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let body = harness.get("/admin/actors").send().await.json();
    assert_eq!((&body["count"], &body["actors"][0]["volume_id"]), (&json!(1), &json!(id)));
    assert_eq!(harness.get("/admin/actors?status=error").send().await.json()["count"], 0);
    assert_eq!(harness.get("/admin/actors?limit=0").send().await.json()["actors"], json!([]));
    assert_eq!(harness.get("/admin/actors?marker=x").send().await.status, 404);
    let actor = harness.get(&format!("/admin/actors/{id}")).send().await.json()["actor"].clone();
    assert_eq!((&actor["observation"], &actor["status"]), (&json!("fresh"), &json!("available")));
    let history = actor["history"].as_array().unwrap();
    assert_eq!(history.last().unwrap()["command"], "volume_create", "newest first");
    assert_eq!(harness.get("/admin/actors/x").send().await.status, 404);
    assert!(harness.get("/admin/drivers").send().await.json()["drivers"].to_string().contains(BACKEND));
    assert_eq!(harness.get("/admin/operations").send().await.json()["operations"], json!([]));
    let fault = json!({"volume_id": id, "panic": true});
    assert_eq!(harness.post("/admin/faults", &fault).token(ADMIN).send().await.status, 404, "switched off");
    harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(MEMBER).send().await;
    harness.until(&id, "gone").await;
    let actor = harness.get(&format!("/admin/actors/{id}")).send().await.json()["actor"].clone();
    assert!(!actor["history"].as_array().unwrap().is_empty(), "the history of a deleted volume is kept");
    harness.stop().await;
}

#[actix_web::test]
async fn r117_a_panic_costs_one_request_of_its_own_volume_only() {
    let options = ApiOptions { faults_enabled: true, ..ApiOptions::default() };
    let harness = Harness::start_with(options, Limits::default()).await;
    let hurt = harness.volume(MEMBER, json!({"size": 1})).await;
    let other = harness.volume(MEMBER, json!({"size": 1})).await;
    let fault = json!({"volume_id": hurt, "panic": true});
    assert_eq!(harness.post("/admin/faults", &fault).token(ADMIN).send().await.status, 202);
    assert_eq!(harness.post("/admin/faults", &json!({"volume_id": hurt})).token(ADMIN).send().await.fault().0, 400);
    let rename = json!({"volume": {"name": "x"}});
    let got = harness.put(&format!("/v3/volumes/{hurt}"), &rename).token(MEMBER).send().await;
    assert!(got.status == 500 || got.status == 200 || got.status == 503, "{}", got.text);
    assert!(!got.text.contains("panic"), "no internal detail: {}", got.text);
    assert_eq!(harness.put(&format!("/v3/volumes/{other}"), &rename).token(MEMBER).send().await.status, 200);
    harness.until(&hurt, "available").await;
    harness.stop().await;
}

/// volume-actions §2.2: no backend here needs it, so that no extend waits for it, and none is ended by it.
#[actix_web::test]
async fn r51_an_extend_that_waits_for_nobody_is_not_completed_by_anybody() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let action = format!("/v3/volumes/{id}/action");
    let complete = async |token: &str, arguments: Value| {
        let body = json!({"os-extend_volume_completion": arguments});
        harness.post(&action, &body).token(token).volume("3.71").send().await.fault()
    };
    for (token, arguments, status) in [
        (ADMIN, json!({"error": 1}), 400),
        (ADMIN, json!({"extra": true}), 400),
        (MEMBER, json!({}), 403),
        (STRANGER, json!({}), 404),
    ] {
        assert_eq!(complete(token, arguments.clone()).await.0, status, "{token} {arguments}");
    }
    let refused = |text: &str| (400, format!("Invalid volume: {text}"));
    let text = format!("volume {id} status must be extending, but current status is: available");
    assert_eq!(complete(ADMIN, json!({"error": false})).await, refused(&text));
    let reset = json!({"os-reset_status": {"status": "extending"}});
    assert_eq!(harness.post(&action, &reset).token(ADMIN).send().await.status, 202);
    for _ in 0..2 {
        let text = format!("no extend of volume {id} waits for its completion");
        assert_eq!(complete(ADMIN, json!({})).await, refused(&text));
    }
    assert_eq!(harness.until(&id, "extending").await["size"], 1);
    harness.stop().await;
}
