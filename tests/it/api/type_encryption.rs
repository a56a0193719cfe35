//! The encryption of types over the wire (types-qos-encryption §4): kept and shown, and no volume is made by it.

use serde_json::{Value, json};

use super::harness::{ADMIN, BACKEND, Harness, MEMBER};
use super::types::{call, check_all, make_type};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

#[actix_web::test]
async fn encryption_is_created_changed_and_removed() {
    let harness = Harness::start().await;
    let id = make_type(&harness, "t", json!({})).await;
    let path = format!("/v3/types/{id}/encryption");
    let some = format!("{path}/whatever");
    let body = |members: Value| json!({"encryption": members});
    let full =
        json!({"provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64", "key_size": "256"});
    let none = || Value::Null;
    let denied = |verb: &str| {
        json!(format!("Policy doesn't allow volume_extension:volume_type_encryption:{verb} to be performed."))
    };
    let absent = json!(format!("Volume type encryption for type {id} does not exist."));
    let nowhere = format!("/v3/types/{NIL}/encryption");
    check_all(
        &harness,
        "",
        &[
            (ADMIN, "GET", &path, none(), 200, none()),
            (ADMIN, "GET", &format!("{path}/cipher"), none(), 404, absent.clone()),
            (ADMIN, "PUT", &some, body(json!({"cipher": "x"})), 404, absent.clone()),
            (ADMIN, "DELETE", &some, none(), 404, absent.clone()),
            (ADMIN, "GET", &nowhere, none(), 404, none()),
            (ADMIN, "POST", &nowhere, body(full.clone()), 404, none()),
            (MEMBER, "GET", &path, none(), 403, denied("get")),
            (MEMBER, "POST", &path, body(full.clone()), 403, denied("create")),
            (MEMBER, "PUT", &some, body(json!({"provider": "luks"})), 403, denied("update")),
            (MEMBER, "DELETE", &some, none(), 403, denied("delete")),
            (ADMIN, "POST", &path, json!([]), 400, none()),
            (ADMIN, "POST", &path, body(json!([])), 400, none()),
            (ADMIN, "POST", &path, body(json!({"provider": "luks"})), 400, none()),
            (ADMIN, "POST", &path, body(json!({"control_location": "front-end"})), 400, none()),
            (ADMIN, "POST", &path, body(json!({"provider": "luks", "control_location": "here"})), 400, none()),
            (ADMIN, "POST", &path, body(json!({"provider": 1, "control_location": "front-end"})), 400, none()),
            (
                ADMIN,
                "POST",
                &path,
                body(json!({"provider": "p".repeat(256), "control_location": "front-end"})),
                400,
                none(),
            ),
            (
                ADMIN,
                "POST",
                &path,
                body(json!({"provider": "", "control_location": "front-end", "key_size": -1})),
                400,
                none(),
            ),
            (
                ADMIN,
                "POST",
                &path,
                body(json!({"provider": "", "control_location": "front-end", "key_size": "x"})),
                400,
                none(),
            ),
            (ADMIN, "POST", &path, body(json!({"provider": "", "control_location": "front", "more": 1})), 400, none()),
        ],
    )
    .await;
    assert_eq!(harness.get(&path).send().await.json(), json!({}));
    let made = call(&harness, ADMIN, "POST", &path, &body(full.clone())).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let made = made.json()["encryption"].clone();
    assert_eq!(
        (&made["volume_type_id"], &made["key_size"], &made["cipher"]),
        (&json!(id), &json!(256), &full["cipher"])
    );
    assert_eq!(made.as_object().unwrap().len(), 6);
    let shown = harness.get(&path).send().await.json();
    let mut names: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "volume_type_id",
        "encryption_id",
        "provider",
        "control_location",
        "cipher",
        "key_size",
        "created_at",
        "updated_at",
        "deleted",
        "deleted_at",
    ];
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!((names, &shown["encryption_id"]), (expected.to_vec(), &made["encryption_id"]));
    assert_eq!((&shown["deleted"], &shown["updated_at"]), (&json!(false), &Value::Null));
    let update = body(json!({"key_size": 512, "cipher": null, "control_location": "back-end"}));
    let exists = json!(format!("Volume type encryption for type {id} already exists."));
    check_all(
        &harness,
        "",
        &[
            (ADMIN, "GET", &format!("{path}/key_size"), none(), 200, json!({"key_size": 256})),
            (ADMIN, "GET", &format!("{path}/colour"), none(), 404, absent.clone()),
            (ADMIN, "POST", &path, body(full.clone()), 400, exists),
            (ADMIN, "PUT", &some, update.clone(), 200, update),
            (ADMIN, "PUT", &some, body(json!({"provider": null})), 400, none()),
            (ADMIN, "GET", &format!("{path}/key_size"), none(), 200, json!({"key_size": 512})),
            (ADMIN, "GET", &format!("{path}/cipher"), none(), 200, json!({"cipher": null})),
            (ADMIN, "GET", &format!("{path}/provider"), none(), 200, json!({"provider": "luks"})),
            (ADMIN, "DELETE", &some, none(), 202, none()),
            (ADMIN, "GET", &path, none(), 200, none()),
        ],
    )
    .await;
    assert_eq!(harness.get(&path).send().await.json(), json!({}));
    harness.stop().await;
}

#[actix_web::test]
async fn a_type_with_volumes_keeps_its_encryption_and_an_encrypted_one_gets_none() {
    let harness = Harness::start().await;
    let id = make_type(&harness, "t", json!({})).await;
    let volume = harness.volume(MEMBER, json!({"size": 1, "volume_type": "t"})).await;
    let path = format!("/v3/types/{id}/encryption");
    let body = json!({"encryption": {"provider": "luks", "control_location": "front-end"}});
    let got = call(&harness, ADMIN, "POST", &path, &body).await;
    assert_eq!(got.fault(), (400, "Cannot create encryption specs. Volume type in use.".to_owned()));
    let got = harness.ask("DELETE", &format!("/v3/volumes/{volume}")).token(MEMBER).send().await;
    assert_eq!(got.status, 202);
    harness.until(&volume, "gone").await;
    assert_eq!(call(&harness, ADMIN, "POST", &path, &body).await.status, 200);
    let create = json!({"volume": {"size": 1, "volume_type": "t"}});
    let (status, text) = harness.post("/v3/volumes", &create).token(MEMBER).send().await.fault();
    assert!(status == 400 && text.contains("no key manager"), "{status} {text}");
    let manage = json!({"volume": {"host": BACKEND, "volume_type": "t", "ref": {"source-name": "x"}}});
    let (status, text) = harness.post("/v3/os-volume-manage", &manage).token(ADMIN).send().await.fault();
    assert!(status == 400 && text.contains("no key manager"), "{status} {text}");
    let plain = harness.volume(MEMBER, json!({"size": 1})).await;
    let retype = json!({"os-retype": {"new_type": "t"}});
    let action = format!("/v3/volumes/{plain}/action");
    let (status, text) = harness.post(&action, &retype).token(MEMBER).send().await.fault();
    assert!(status == 400 && text.contains("no key manager"), "{status} {text}");
    assert_eq!(harness.ask("DELETE", &format!("/v3/types/{id}")).token(ADMIN).send().await.status, 202);
    harness.stop().await;
}
