//! The connection-style actions over the wire (volume-actions §1, §2.7, §2.8, §2.10–§2.12, §2.17): who may, what is refused, and
//! where the volume goes.

use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER, READER, STRANGER};

/// Sends an action; the answer.
async fn act(harness: &Harness, token: &str, id: &str, body: &Value) -> Got {
    harness.post(&format!("/v3/volumes/{id}/action"), body).token(token).send().await
}

/// Sends an action that is accepted with an empty 202; the status of the volume afterwards.
async fn flip(harness: &Harness, id: &str, body: &Value) -> String {
    let got = act(harness, MEMBER, id, body).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""), "{body}");
    assert_eq!(got.header("content-length"), Some("0"));
    status(harness, id).await
}

async fn status(harness: &Harness, id: &str) -> String {
    let shown = harness.get(&format!("/v3/volumes/{id}")).send().await.json();
    shown["volume"]["status"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn who_may_use_the_old_actions() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    for (action, rule, others) in [
        ("os-reserve", "volume_actions:reserve", [(READER, 403), (STRANGER, 404)]),
        ("os-unreserve", "volume_actions:unreserve", [(READER, 403), (STRANGER, 404)]),
        ("os-begin_detaching", "volume_actions:begin_detaching", [(READER, 403), (STRANGER, 404)]),
        ("os-roll_detaching", "volume_actions:roll_detaching", [(READER, 403), (STRANGER, 404)]),
        ("os-attach", "volume_actions:attach", [(READER, 403), (STRANGER, 404)]),
        ("os-detach", "volume_actions:detach", [(READER, 403), (STRANGER, 404)]),
        ("os-initialize_connection", "volume_actions:initialize_connection", [(READER, 403), (STRANGER, 404)]),
        ("os-terminate_connection", "volume_actions:terminate_connection", [(READER, 403), (STRANGER, 404)]),
        ("os-force_detach", "volume_admin_actions:force_detach", [(MEMBER, 403), (STRANGER, 404)]),
        ("os-reset_status", "volume_admin_actions:reset_status", [(MEMBER, 403), (STRANGER, 404)]),
    ] {
        let value = match action {
            "os-attach" => json!({"mountpoint": "/dev/vdb", "host_name": "h"}),
            "os-initialize_connection" | "os-terminate_connection" => json!({"connector": {"host": "h"}}),
            "os-reset_status" => json!({"status": "error"}),
            _ => json!({}),
        };
        for (token, expected) in others {
            let got = act(&harness, token, &id, &json!({action: value})).await;
            assert_eq!(got.status, expected, "{action} by {token}: {}", got.text);
            if expected == 403 {
                let text = format!("Policy doesn't allow volume_extension:{rule} to be performed.");
                assert_eq!(got.fault().1, text);
            }
        }
        for token in [MEMBER, READER] {
            let got = act(&harness, token, "00000000-0000-0000-0000-000000000000", &json!({action: value})).await;
            assert_eq!(got.status, 404, "{action}");
        }
    }
    harness.stop().await;
}

#[actix_web::test]
async fn marks_take_any_value_and_turn_the_status() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    for value in [json!({}), json!(null), json!("x"), json!([1]), json!({"free": 1})] {
        assert_eq!(flip(&harness, &id, &json!({"os-reserve": value})).await, "attaching");
        let got = act(&harness, MEMBER, &id, &json!({"os-reserve": value})).await;
        assert!(got.fault().1.starts_with("Invalid volume: "), "{}", got.text);
        assert_eq!(flip(&harness, &id, &json!({"os-unreserve": value})).await, "available");
        assert_eq!(flip(&harness, &id, &json!({"os-unreserve": value})).await, "available", "else nothing, silently");
        assert_eq!(flip(&harness, &id, &json!({"os-roll_detaching": value})).await, "available");
        assert_eq!(act(&harness, MEMBER, &id, &json!({"os-begin_detaching": value})).await.fault().0, 400);
    }
    // Compute uses the marks in the new flow too, before it deletes the attachment.
    let server = harness.server("s").await;
    let mappings = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": id}});
    assert_eq!(harness.post(&mappings, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&id, "in-use").await;
    assert_eq!(act(&harness, MEMBER, &id, &json!({"os-reserve": {}})).await.fault().0, 400);
    assert_eq!(flip(&harness, &id, &json!({"os-begin_detaching": {}})).await, "detaching");
    assert_eq!(act(&harness, MEMBER, &id, &json!({"os-begin_detaching": {}})).await.fault().0, 400);
    let actor = harness.get(&format!("/admin/actors/{id}")).send().await.json()["actor"].clone();
    assert_eq!(actor["marker"]["kind"], "detaching", "its owner can be seen: {actor}");
    assert_eq!(actor["marker"]["requester"]["user_id"], "mia");
    let got = harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(ADMIN).send().await;
    assert_eq!(got.fault().0, 400);
    assert_eq!(flip(&harness, &id, &json!({"os-roll_detaching": {}})).await, "in-use");
    harness.stop().await;
}

/// A bad body is 400 even for a volume that is not there, and for a reader.
#[actix_web::test]
async fn bodies_of_the_old_actions() {
    let harness = Harness::start().await;
    let nowhere = "00000000-0000-0000-0000-000000000000";
    let refused = [
        json!({"os-attach": {"instance_uuid": nowhere}}),
        json!({"os-attach": {"mountpoint": "/dev/vdb"}}),
        json!({"os-attach": {"mountpoint": "", "host_name": "h"}}),
        json!({"os-attach": {"mountpoint": "x".repeat(256), "host_name": "h"}}),
        json!({"os-attach": {"mountpoint": "/dev/vdb", "instance_uuid": "x"}}),
        json!({"os-attach": {"mountpoint": "/dev/vdb", "instance_uuid": null}}),
        json!({"os-attach": {"mountpoint": "/dev/vdb", "host_name": "x".repeat(256)}}),
        json!({"os-attach": {"mountpoint": "/dev/vdb", "host_name": "h", "mode": null}}),
        json!({"os-attach": {"mountpoint": "/dev/vdb", "host_name": "h", "mode": "rx"}}),
        json!({"os-attach": {"mountpoint": "/dev/vdb", "host_name": "h", "extra": 1}}),
        json!({"os-attach": null}),
        json!({"os-detach": {"attachment_id": "x"}}),
        json!({"os-detach": {"extra": 1}}),
        json!({"os-detach": "x"}),
        json!({"os-initialize_connection": {}}),
        json!({"os-initialize_connection": {"connector": null}}),
        json!({"os-initialize_connection": {"connector": {}, "extra": 1}}),
        json!({"os-terminate_connection": {}}),
        json!({"os-terminate_connection": {"connector": 1}}),
        json!({"os-force_detach": null}),
        json!({"os-force_detach": {"connector": 1}}),
        json!({"os-force_detach": {"extra": 1}}),
        json!({"os-reserve": {}, "os-unreserve": {}}),
    ];
    for body in refused {
        assert_eq!(act(&harness, READER, nowhere, &body).await.fault().0, 400, "{body}");
    }
    let accepted = [
        json!({"os-attach": {"mountpoint": "/dev/vdb", "instance_uuid": "{95D9EF50507D11E5B9700800200C9A66}"}}),
        json!({"os-detach": null}),
        json!({"os-detach": {"attachment_id": null}}),
        json!({"os-initialize_connection": {"connector": "h"}}),
        json!({"os-terminate_connection": {"connector": null}}),
        json!({"os-force_detach": {"attachment_id": null, "connector": null}}),
    ];
    for body in accepted {
        assert_eq!(act(&harness, READER, nowhere, &body).await.fault().0, 404, "it passes the schema: {body}");
    }
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    for body in [
        json!({"os-initialize_connection": {"connector": "h"}}),
        json!({"os-initialize_connection": {"connector": {}}}),
        json!({"os-initialize_connection": {"connector": {"initiator": "iqn"}}}),
        json!({"os-initialize_connection": {"connector": {"host": "h", "mode": "rx"}}}),
        json!({"os-terminate_connection": {"connector": "h"}}),
        json!({"os-force_detach": {"connector": "h"}}),
        json!({"os-force_detach": {"attachment_id": "x"}}),
        json!({"os-attach": {"mountpoint": "/dev/vdb", "host_name": "!"}}),
    ] {
        let (code, text) = act(&harness, ADMIN, &id, &body).await.fault();
        assert!(code == 400 && text.starts_with("Invalid input received: "), "{body}: {code} {text}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn the_old_cycle_over_the_wire() {
    const INSTANCE: &str = "95d9ef50-507d-11e5-b970-0800200c9a66";
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let connector = json!({"host": "node2", "ip": "192.168.13.101", "enforce_multipath": true});
    assert_eq!(flip(&harness, &id, &json!({"os-reserve": {}})).await, "attaching");
    let initialize = json!({"os-initialize_connection": {"connector": connector}});
    let got = act(&harness, MEMBER, &id, &initialize).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let info = got.json()["connection_info"].clone();
    assert_eq!((&info["driver_volume_type"], &info["enforce_multipath"]), (&json!("sim"), &json!(true)));
    let data = &info["data"];
    assert_eq!(data["volume_id"], id, "what the backend says is nested");
    assert_eq!(data.get("driver_volume_type"), None);
    assert_eq!((&data["qos_specs"], &data["access_mode"]), (&json!(null), &json!("rw")));
    assert_eq!((&data["encrypted"], &data["cacheable"]), (&json!(false), &json!(false)));
    assert_eq!(data["enforce_multipath"], true);
    assert_eq!(status(&harness, &id).await, "attaching", "no change of state");

    let attach = json!({"os-attach": {"instance_uuid": INSTANCE.to_uppercase(), "mountpoint": "/dev/vdc"}});
    assert_eq!(flip(&harness, &id, &attach).await, "in-use");
    assert_eq!(flip(&harness, &id, &attach).await, "in-use", "again");
    let shown = harness.until(&id, "in-use").await;
    let row = shown["attachments"][0].clone();
    assert_eq!((&row["server_id"], &row["device"]), (&json!(INSTANCE), &json!("/dev/vdc")));
    assert_eq!(shown["metadata"], json!({"readonly": "False", "attached_mode": "rw"}));
    let path = format!("/v3/attachments/{}", row["attachment_id"].as_str().unwrap());
    let attachment = harness.get(&path).volume("3.71").send().await.json()["attachment"].clone();
    assert_eq!((&attachment["connection_info"], &attachment["attach_mode"]), (&json!(null), &json!("rw")));

    let elsewhere = json!({"os-initialize_connection": {"connector": {"host": "node3"}}});
    assert!(act(&harness, MEMBER, &id, &elsewhere).await.fault().1.starts_with("Invalid volume: "));
    assert_eq!(flip(&harness, &id, &json!({"os-begin_detaching": {}})).await, "detaching");
    assert_eq!(act(&harness, MEMBER, &id, &attach).await.fault().0, 400);
    let terminate = json!({"os-terminate_connection": {"connector": connector}});
    assert_eq!(flip(&harness, &id, &terminate).await, "detaching");
    let other = harness.volume(MEMBER, json!({"size": 1})).await;
    let detach = json!({"os-detach": {"attachment_id": row["attachment_id"]}});
    let (code, text) = act(&harness, MEMBER, &other, &detach).await.fault();
    assert!(code == 400 && text.contains("mismatched"), "{code} {text}");
    let unknown = json!({"os-detach": {"attachment_id": INSTANCE}});
    assert_eq!(act(&harness, MEMBER, &id, &unknown).await.fault().0, 409);
    assert_eq!(flip(&harness, &id, &detach).await, "available");
    let shown = harness.until(&id, "available").await;
    assert_eq!((&shown["attachments"], &shown["metadata"]), (&json!([]), &json!({"readonly": "False"})));
    assert_eq!(flip(&harness, &id, &json!({"os-detach": null})).await, "available", "nothing to detach");

    // by an administrator, in one step
    assert_eq!(act(&harness, MEMBER, &id, &initialize).await.status, 200);
    assert_eq!(flip(&harness, &id, &attach).await, "in-use");
    let force = json!({"os-force_detach": {"attachment_id": null, "connector": connector}});
    let got = act(&harness, ADMIN, &id, &force).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    harness.until(&id, "available").await;
    assert_eq!(harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(MEMBER).send().await.status, 202);
    harness.until(&id, "gone").await;
    harness.stop().await;
}

#[actix_web::test]
async fn r40_compute_is_asked_to_detach_what_a_server_has() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    let attach = json!({"volumeAttachment": {"volumeId": id}});
    let mappings = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    assert_eq!(harness.post(&mappings, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&id, "in-use").await;
    let text = format!("ConflictNovaUsingAttachment: Detach volume from instance {server} using the Compute API");
    for body in [
        json!({"os-detach": {}}),
        json!({"os-terminate_connection": {"connector": {"host": "h1"}}}),
        json!({"os-terminate_connection": {"connector": null}}),
        json!({"os-force_detach": {}}),
    ] {
        assert_eq!(act(&harness, ADMIN, &id, &body).await.fault(), (409, text.clone()), "{body}");
    }
    harness.until(&id, "in-use").await;
    harness.stop().await;
}

/// §0.6 and §2.3: every word but the internal ones, in any case.
#[actix_web::test]
async fn r87_the_words_of_a_reset() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let reset = |members: Value| json!({"os-reset_status": members});
    for word in [
        "creating",
        "available",
        "reserved",
        "attaching",
        "detaching",
        "maintenance",
        "error",
        "error_deleting",
        "managing",
        "error_managing",
        "backing-up",
        "error_backing-up",
        "restoring-backup",
        "error_restoring",
        "awaiting-transfer",
        "error_extending",
        "extending",
        "downloading",
        "uploading",
        "retyping",
    ] {
        let got = act(&harness, ADMIN, &id, &reset(json!({"status": word.to_uppercase()}))).await;
        assert_eq!((got.status, got.text.as_str()), (202, ""), "{word}");
        let shown = match word {
            "managing" => "creating",
            "error_managing" => "error",
            word => word,
        };
        assert_eq!(status(&harness, &id).await, shown);
    }
    for members in [
        json!({"status": "deleting"}),
        json!({"status": "in-use"}),
        json!({"status": "reverting"}),
        json!({"status": "unmanaging"}),
        json!({"status": "error_unmanaging"}),
        json!({"status": "error_managing_deleting"}),
        json!({"status": "deleted"}),
        json!({"status": "nonsense"}),
        json!({"attach_status": "attaching"}),
        json!({"migration_status": "deleting"}),
        json!({}),
        json!({"status": null, "attach_status": "", "migration_status": null}),
        json!({"status": "error", "extra": 1}),
    ] {
        assert_eq!(act(&harness, ADMIN, &id, &reset(members.clone())).await.fault().0, 400, "{members}");
    }
    let bad = reset(json!({"status": "nonsense"}));
    assert_eq!(act(&harness, ADMIN, "00000000-0000-0000-0000-000000000000", &bad).await.fault().0, 400, "before 404");
    // the requested status wins over what the removal of the rows says
    assert_eq!(act(&harness, ADMIN, &id, &reset(json!({"status": "available"}))).await.status, 202);
    let attach = json!({"os-attach": {"host_name": "h", "mountpoint": "/mnt"}});
    assert_eq!(flip(&harness, &id, &attach).await, "in-use");
    assert_eq!(act(&harness, ADMIN, &id, &reset(json!({"status": "in-use"}))).await.status, 202, "it has a row");
    let both = reset(json!({"status": "error", "attach_status": "Detached", "migration_status": "none"}));
    assert_eq!(act(&harness, ADMIN, &id, &both).await.status, 202);
    let shown = harness.until(&id, "error").await;
    assert_eq!((&shown["attachments"], &shown["metadata"]), (&json!([]), &json!({"readonly": "False"})));
    for (word, shown) in [("migrating", json!("migrating")), ("success", json!("success")), ("None", json!(null))] {
        assert_eq!(act(&harness, ADMIN, &id, &reset(json!({"migration_status": word}))).await.status, 202);
        let got = harness.get(&format!("/v3/volumes/{id}")).send().await.json();
        assert_eq!(got["volume"]["os-vol-mig-status-attr:migstat"], shown, "{word}");
    }
    harness.stop().await;
}

/// As in Cinder: what an administrator has set to `error` is free when the last of its rows is forced off.
#[actix_web::test]
async fn a_forced_detach_ends_the_error_of_its_volume() {
    const SERVER: &str = "11111111-2222-3333-4444-555555555555";
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let attach = json!({"os-attach": {"instance_uuid": SERVER, "mountpoint": "/dev/vdb"}});
    assert_eq!(flip(&harness, &id, &attach).await, "in-use");
    let row = harness.until(&id, "in-use").await["attachments"][0]["attachment_id"].clone();
    let reset = json!({"os-reset_status": {"status": "error"}});
    assert_eq!(act(&harness, ADMIN, &id, &reset).await.status, 202);
    assert_eq!(status(&harness, &id).await, "error");
    let force = json!({"os-force_detach": {"attachment_id": row, "connector": null}});
    let got = act(&harness, ADMIN, &id, &force).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    assert_eq!(harness.until(&id, "available").await["attachments"], json!([]));
    // without a row the error is about something else
    assert_eq!(act(&harness, ADMIN, &id, &reset).await.status, 202);
    let none = json!({"os-force_detach": {"attachment_id": null, "connector": null}});
    assert_eq!(act(&harness, ADMIN, &id, &none).await.status, 202);
    assert_eq!(status(&harness, &id).await, "error");
    harness.stop().await;
}
