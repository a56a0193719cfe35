//! `os-migrate_volume`, `os-migrate_volume_completion` and `os-retype` over the wire (volume-actions §2.13, §2.14), one line each.

use std::time::Duration;

use hearth::actors::PlacementOptions;
use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER, READER, STRANGER};

const A: &str = "h@a#a";
const B: &str = "h@b#b";
const NIL: &str = "00000000-0000-0000-0000-000000000000";
const STATUS: &str = "os-vol-mig-status-attr:migstat";

/// Two backends; new volumes go to A, which may promise more.
async fn two() -> Harness {
    let small = PlacementOptions { reserved_percentage: 50, ..PlacementOptions::default() };
    Harness::start_on(&[(A, PlacementOptions::default()), (B, small)]).await
}

impl Harness {
    async fn act(&self, id: &str, token: &str, version: &str, body: Value) -> Got {
        self.post(&format!("/v3/volumes/{id}/action"), &body).token(token).volume(version).send().await
    }

    async fn migrate(&self, id: &str, host: &str) -> Got {
        self.act(id, ADMIN, "3.71", json!({"os-migrate_volume": {"host": host}})).await
    }

    async fn retype(&self, id: &str, members: Value) -> Got {
        self.act(id, MEMBER, "3.71", json!({"os-retype": members})).await
    }

    /// The volume once its migration has this word.
    async fn until_migrated(&self, id: &str, word: &str) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let shown = self.get(&format!("/v3/volumes/{id}")).volume("3.71").send().await.json()["volume"].clone();
            if shown[STATUS] == word {
                return shown;
            }
            assert!(tokio::time::Instant::now() < deadline, "{shown}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A type with these extra specs; its id.
    async fn volume_type(&self, name: &str, extra_specs: Value) -> String {
        let body = json!({"volume_type": {"name": name, "extra_specs": extra_specs}});
        let got = self.post("/v3/types", &body).token(ADMIN).send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.json()["volume_type"]["id"].as_str().unwrap().to_owned()
    }

    async fn messages(&self, id: &str) -> Vec<Value> {
        let got = self.get("/v3/messages").volume("3.71").send().await.json();
        let of_volume = |message: &&Value| message["resource_uuid"] == id;
        got["messages"].as_array().unwrap().iter().filter(of_volume).cloned().collect()
    }
}

#[actix_web::test]
async fn what_a_migration_is_refused_for() {
    let harness = two().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let long = "x".repeat(256);
    for (version, members, status) in [
        ("3.0", json!({}), 400),
        ("3.0", json!(null), 400),
        ("3.0", json!({"host": null}), 400),
        ("3.0", json!({"host": ""}), 400),
        ("3.0", json!({"host": 1}), 400),
        ("3.0", json!({"host": long}), 400),
        ("3.15", json!({"host": B, "cluster": null}), 400),
        ("3.15", json!({"host": null}), 400),
        ("3.16", json!({}), 400),
        ("3.16", json!({"host": null, "cluster": null}), 400),
        ("3.16", json!({"host": B, "cluster": "c"}), 400),
        ("3.16", json!({"cluster": "c"}), 400),
        ("3.16", json!({"host": B, "extra": 1}), 400),
        ("3.0", json!({"host": B, "force_host_copy": 1}), 400),
        ("3.0", json!({"host": B, "force_host_copy": "perhaps"}), 400),
        ("3.0", json!({"host": B, "lock_volume": null}), 400),
        ("3.0", json!({"host": "h@nowhere#nowhere"}), 400),
        ("3.0", json!({"host": "h"}), 400),
        ("3.0", json!({"host": A}), 400),
        ("3.0", json!({"host": "h@a"}), 400),
    ] {
        let got = harness.act(&id, ADMIN, version, json!({"os-migrate_volume": members})).await;
        assert_eq!(got.fault().0, status, "{version} {members}: {}", got.text);
    }
    let good = || json!({"os-migrate_volume": {"host": B}});
    assert_eq!(harness.act(NIL, ADMIN, "3.0", json!({"os-migrate_volume": {}})).await.fault().0, 400, "the body first");
    assert_eq!(harness.act(NIL, ADMIN, "3.71", good()).await.fault().0, 404);
    assert_eq!(harness.act(&id, STRANGER, "3.71", good()).await.fault().0, 404);
    assert_eq!(harness.act(&id, MEMBER, "3.71", good()).await.fault().0, 403);
    let unknown = json!({"os-migrate_volume": {"host": "h@nowhere"}});
    let (_, text) = harness.act(&id, ADMIN, "3.71", unknown).await.fault();
    assert!(text.contains("Invalid host"), "{text}");

    let reset = json!({"os-reset_status": {"status": "error"}});
    assert_eq!(harness.act(&id, ADMIN, "3.71", reset).await.status, 202);
    let (code, text) = harness.migrate(&id, B).await.fault();
    assert!(code == 400 && text.starts_with("Invalid volume: "), "{text}");
    harness.stop().await;
}

#[actix_web::test]
async fn a_migration_is_seen_by_administrators_only() {
    let harness = two().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let path = format!("/v3/volumes/{id}");
    harness.hang("copy_from_backend");
    let body = json!({"os-migrate_volume": {"host": B, "force_host_copy": "true", "lock_volume": "False"}});
    let got = harness.act(&id, ADMIN, "3.0", body).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    let shown = harness.until_migrated(&id, "migrating").await;
    assert_eq!((&shown["status"], &shown["os-vol-host-attr:host"]), (&json!("available"), &json!(A)));
    assert_eq!(shown["os-vol-mig-status-attr:name_id"], Value::Null, "there is one volume, and it has one name");
    let of_member = harness.ask("GET", &path).token(MEMBER).volume("3.71").send().await.json()["volume"].clone();
    assert!(of_member.get("migration_status").is_none() && of_member.get(STATUS).is_none(), "{of_member}");
    for all in ["/v3/volumes/detail?all_tenants=1", "/v3/volumes/detail"] {
        let listed = harness.get(all).volume("3.71").send().await.json();
        assert_eq!(listed["volumes"].as_array().unwrap().len(), 1, "{listed}");
    }
    for (body, what) in [
        (json!({"os-extend": {"new_size": 2}}), "extend"),
        (json!({"os-reserve": null}), "reserve"),
        (json!({"os-retype": {"new_type": "other"}}), "retype"),
        (json!({"os-migrate_volume": {"host": B}}), "migrate"),
        (json!({"os-migrate_volume_completion": {"new_volume": id}}), "completion"),
        (json!({"os-force_delete": null}), "force delete"),
    ] {
        if what == "retype" {
            harness.volume_type("other", json!({})).await;
        }
        let got = harness.act(&id, ADMIN, "3.71", body).await;
        assert_eq!(got.fault().0, 400, "{what}");
    }
    assert_eq!(harness.ask("DELETE", &path).token(MEMBER).send().await.fault().0, 400);
    harness.until_released().await;
    let shown = harness.until_migrated(&id, "success").await;
    assert_eq!((&shown["status"], &shown["os-vol-host-attr:host"]), (&json!("available"), &json!(B)));
    harness.stop().await;
}

#[actix_web::test]
async fn a_migration_that_fails_says_why() {
    let harness = two().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    harness.fail("copy_from_backend");
    assert_eq!(harness.migrate(&id, "h@b").await.status, 202);
    let shown = harness.until_migrated(&id, "error").await;
    assert_eq!((&shown["status"], &shown["os-vol-host-attr:host"]), (&json!("available"), &json!(A)));
    let messages = harness.messages(&id).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0]["user_message"].as_str().unwrap().starts_with("migrate volume:"), "{messages:?}");
    assert_eq!(harness.migrate(&id, B).await.status, 202, "it can be tried again");
    harness.until_migrated(&id, "success").await;
    harness.stop().await;
}

#[actix_web::test]
async fn what_a_completion_answers() {
    let harness = two().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let other = harness.volume(MEMBER, json!({"size": 1})).await;
    let body = |members: Value| json!({"os-migrate_volume_completion": members});
    for members in [json!({}), json!(null), json!({"new_volume": "x"}), json!({"new_volume": other, "error": 1})] {
        assert_eq!(harness.act(&id, ADMIN, "3.71", body(members.clone())).await.fault().0, 400, "{members}");
    }
    assert_eq!(harness.act(&id, ADMIN, "3.71", body(json!({"new_volume": NIL}))).await.fault().0, 404);
    assert_eq!(harness.act(NIL, ADMIN, "3.71", body(json!({"new_volume": other}))).await.fault().0, 404);
    assert_eq!(harness.act(&id, MEMBER, "3.71", body(json!({"new_volume": other}))).await.fault().0, 403);
    for members in [
        json!({"new_volume": other}),
        json!({"new_volume": other.to_uppercase(), "error": null}),
        json!({"new_volume": other, "error": "true"}),
    ] {
        let got = harness.act(&id, ADMIN, "3.71", body(members)).await;
        assert_eq!((got.status, got.json()), (200, json!({"save_volume_id": other})), "neither migrates");
    }
    assert_eq!(harness.migrate(&id, B).await.status, 202);
    harness.until_migrated(&id, "success").await;
    let got = harness.act(&id, ADMIN, "3.71", body(json!({"new_volume": id}))).await;
    assert_eq!((got.status, got.json()), (200, json!({"save_volume_id": id})), "R-74");
    for (one, two) in [(&id, &other), (&other, &id)] {
        let got = harness.act(one, ADMIN, "3.71", body(json!({"new_volume": two}))).await;
        assert_eq!(got.fault().0, 400, "only one of them has migrated");
    }

    harness.hang("copy_from_backend");
    assert_eq!(harness.migrate(&id, A).await.status, 202);
    harness.until_migrated(&id, "migrating").await;
    let got = harness.act(&id, ADMIN, "3.71", body(json!({"new_volume": id, "error": "no"}))).await;
    assert_eq!(got.fault().0, 400, "it completes itself");
    for _ in 0..2 {
        let got = harness.act(&id, ADMIN, "3.71", body(json!({"new_volume": id, "error": true}))).await;
        assert_eq!((got.status, got.json()), (200, json!({"save_volume_id": id})), "R-75");
    }
    assert_eq!(harness.until_migrated(&id, "error").await["os-vol-host-attr:host"], B);
    harness.until_released().await;
    harness.stop().await;
}

#[actix_web::test]
async fn what_a_retype_is_refused_for() {
    let harness = two().await;
    let plain = harness.volume_type("plain", json!({})).await;
    let id = harness.volume(MEMBER, json!({"size": 2, "volume_type": "plain"})).await;
    harness.volume_type("small", json!({"provisioning:max_vol_size": "1"})).await;
    harness.volume_type("multi", json!({"multiattach": "<is> True"})).await;
    let hidden = json!({"volume_type": {"name": "hidden", "os-volume-type-access:is_public": false}});
    assert_eq!(harness.post("/v3/types", &hidden).token(ADMIN).send().await.status, 200);
    for (members, status) in [
        (json!({}), 400),
        (json!(null), 400),
        (json!({"new_type": null}), 400),
        (json!({"new_type": "plain", "migration_policy": null}), 400),
        (json!({"new_type": "plain", "migration_policy": "always"}), 400),
        (json!({"new_type": "plain", "extra": 1}), 400),
        (json!({"new_type": "nowhere"}), 404),
        (json!({"new_type": ""}), 404),
        (json!({"new_type": NIL}), 404),
        (json!({"new_type": "x".repeat(300)}), 404),
        (json!({"new_type": "hidden"}), 404),
        (json!({"new_type": "small"}), 400),
        (json!({"new_type": "plain"}), 400),
        (json!({"new_type": plain}), 400),
    ] {
        let got = harness.retype(&id, members.clone()).await;
        assert_eq!(got.fault().0, status, "{members}: {}", got.text);
    }
    let good = json!({"os-retype": {"new_type": "multi"}});
    assert_eq!(harness.act(NIL, MEMBER, "3.71", json!({"os-retype": {}})).await.fault().0, 400, "the body first");
    assert_eq!(harness.act(NIL, MEMBER, "3.71", good.clone()).await.fault().0, 404);
    assert_eq!(harness.act(&id, STRANGER, "3.71", good.clone()).await.fault().0, 404);
    assert_eq!(harness.act(&id, READER, "3.71", good).await.fault().0, 403);

    let server = harness.server("s").await;
    let mapping = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": id}});
    assert_eq!(harness.post(&mapping, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&id, "in-use").await;
    let (code, text) = harness.retype(&id, json!({"new_type": "multi"})).await.fault();
    assert!(code == 400 && text.starts_with("Invalid input received: "), "{text}");

    let full = json!({"quota_set": {"volumes_other": 0}});
    harness.volume_type("other", json!({})).await;
    assert_eq!(harness.put("/v3/os-quota-sets/p", &full).token(ADMIN).send().await.status, 200);
    assert_eq!(harness.retype(&id, json!({"new_type": "other"})).await.fault().0, 413);
    let shown = harness.until(&id, "in-use").await;
    assert_eq!((&shown["volume_type"], &shown["multiattach"]), (&json!("plain"), &json!(false)), "nothing has changed");
    harness.stop().await;
}

/// A type that the present backend satisfies is taken at once; another one brings the volume to where it is satisfied, if it may.
#[actix_web::test]
async fn a_retype_keeps_the_volume_or_moves_it() {
    let harness = two().await;
    harness.volume_type("multi", json!({"multiattach": "<is> True"})).await;
    harness.volume_type("on-b", json!({"volume_backend_name": "b"})).await;
    harness.volume_type("on-c", json!({"volume_backend_name": "c"})).await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let got = harness.retype(&id, json!({"new_type": "multi"})).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    let shown = harness.until(&id, "available").await;
    assert_eq!((&shown["volume_type"], &shown["multiattach"]), (&json!("multi"), &json!(true)));
    assert_eq!(shown["os-vol-host-attr:host"], A);

    // It may not move, and there is no place.
    for (count, members) in
        [(1, json!({"new_type": "on-b"})), (2, json!({"new_type": "on-c", "migration_policy": "on-demand"}))]
    {
        assert_eq!(harness.retype(&id, members).await.status, 202);
        let shown = harness.until(&id, "available").await;
        assert_eq!((&shown["volume_type"], &shown["os-vol-host-attr:host"]), (&json!("multi"), &json!(A)));
        let messages = harness.messages(&id).await;
        assert_eq!(messages.len(), count, "{messages:?}");
        assert!(messages[0]["user_message"].as_str().unwrap().starts_with("retype volume:"), "{messages:?}");
    }

    harness.hang("copy_from_backend");
    let moves = json!({"new_type": "on-b", "migration_policy": "on-demand"});
    assert_eq!(harness.retype(&id, moves).await.status, 202);
    let shown = harness.until_migrated(&id, "migrating").await;
    assert_eq!(shown["status"], "retyping");
    assert_eq!((&shown["volume_type"], &shown["multiattach"]), (&json!("multi"), &json!(true)), "R-68: at success");
    let types = harness.get("/v3/types").send().await.json()["volume_types"].clone();
    let on_b = types.as_array().unwrap().iter().find(|known| known["name"] == "on-b").unwrap()["id"].clone();
    let delete = harness.ask("DELETE", &format!("/v3/types/{}", on_b.as_str().unwrap())).token(ADMIN).send().await;
    assert_eq!(delete.fault().0, 400, "a volume is on its way to it");
    harness.until_released().await;
    let shown = harness.until(&id, "available").await;
    assert_eq!((&shown["volume_type"], &shown["multiattach"]), (&json!("on-b"), &json!(false)));
    assert_eq!((&shown["os-vol-host-attr:host"], &shown[STATUS]), (&json!(B), &json!("success")));
    harness.stop().await;
}
