//! QoS specs over the wire (types-qos-encryption §7).

use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER};
use super::types::{check_all, make_type};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

impl Harness {
    async fn qos(&self, members: Value) -> Got {
        self.post("/v3/qos-specs", &json!({"qos_specs": members})).token(ADMIN).send().await
    }

    async fn made(&self, members: Value) -> String {
        let got = self.qos(members).await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.json()["qos_specs"]["id"].as_str().unwrap().to_owned()
    }
}

#[actix_web::test]
async fn qos_specs_live_and_end() {
    let harness = Harness::start().await;
    let got = harness.qos(json!({"name": " fast ", "total_iops_sec": "100"})).await;
    let body = got.json();
    let id = body["qos_specs"]["id"].as_str().unwrap().to_owned();
    let shown = |consumer: &str, specs: Value| json!({"id": id, "name": "fast", "consumer": consumer, "specs": specs});
    assert_eq!((got.status, &body["qos_specs"]), (200, &shown("back-end", json!({"total_iops_sec": "100"}))));
    let rels: Vec<&str> = body["links"].as_array().unwrap().iter().map(|link| link["rel"].as_str().unwrap()).collect();
    assert_eq!(rels, ["self", "bookmark"]);
    assert!(body["links"][0]["href"].as_str().unwrap().ends_with(&format!("/qos-specs/{id}")), "{body}");
    let path = format!("/v3/qos-specs/{id}");
    assert_eq!(harness.get(&path).send().await.json(), body);
    let update = json!({"qos_specs": {"consumer": "both", "a": "1", "b": "2", "total_iops_sec": "200"}});
    let got = harness.put(&path, &update).token(ADMIN).send().await;
    assert_eq!((got.status, got.json()), (200, update));
    let now = harness.get(&path).send().await.json()["qos_specs"].clone();
    assert_eq!(now, shown("both", json!({"a": "1", "b": "2", "total_iops_sec": "200"})));
    let keys = format!("{path}/delete_keys");
    let got = harness.put(&keys, &json!({"keys": ["a", "nope", "b"]})).token(ADMIN).send().await;
    assert_eq!(got.fault(), (404, format!("QoS spec {id} has no spec with key nope.")));
    let got = harness.get(&path).send().await.json();
    assert_eq!(got["qos_specs"]["specs"], json!({"b": "2", "total_iops_sec": "200"}), "what came before it is gone");
    assert_eq!(harness.put(&keys, &json!({"keys": ["b"]})).token(ADMIN).send().await.status, 202);
    let got = harness.ask("DELETE", &path).token(ADMIN).send().await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    assert_eq!(harness.get(&path).send().await.fault(), (404, format!("No such QoS spec {id}.")));
    harness.stop().await;
}

#[actix_web::test]
async fn what_is_refused() {
    let harness = Harness::start().await;
    let id = harness.made(json!({"name": "q"})).await;
    let path = format!("/v3/qos-specs/{id}");
    let (keys, nowhere) = (format!("{path}/delete_keys"), format!("/v3/qos-specs/{NIL}"));
    let denied =
        |verb: &str| json!(format!("Policy doesn't allow volume_extension:qos_specs_manage:{verb} to be performed."));
    let body = |members: Value| json!({"qos_specs": members});
    let none = || Value::Null;
    let no_text = json!("Value for key \"a\" is not a string or unicode");
    check_all(
        &harness,
        "",
        &[
            (MEMBER, "GET", "/v3/qos-specs", none(), 403, denied("get_all")),
            (MEMBER, "GET", &path, none(), 403, denied("get")),
            (MEMBER, "POST", "/v3/qos-specs", body(json!({"name": "n"})), 403, denied("create")),
            (MEMBER, "PUT", &path, body(json!({})), 403, denied("update")),
            (MEMBER, "DELETE", &path, none(), 403, denied("delete")),
            (MEMBER, "PUT", &keys, json!({"keys": []}), 403, denied("delete")),
            (MEMBER, "GET", &format!("{path}/associations"), none(), 403, denied("get_all")),
            (MEMBER, "GET", &format!("{path}/associate?vol_type_id={NIL}"), none(), 403, denied("update")),
            (MEMBER, "GET", &format!("{path}/disassociate?vol_type_id={NIL}"), none(), 403, denied("update")),
            (MEMBER, "GET", &format!("{path}/disassociate_all"), none(), 403, denied("update")),
            (ADMIN, "POST", "/v3/qos-specs", json!({}), 400, none()),
            (ADMIN, "POST", "/v3/qos-specs", body(json!({})), 400, none()),
            (ADMIN, "POST", "/v3/qos-specs", body(json!({"name": " "})), 400, none()),
            (ADMIN, "POST", "/v3/qos-specs", body(json!({"name": "n".repeat(256)})), 400, none()),
            (ADMIN, "POST", "/v3/qos-specs", body(json!({"name": "n", "a": 1})), 400, no_text.clone()),
            (ADMIN, "POST", "/v3/qos-specs", body(json!({"name": "n", "a": "x".repeat(256)})), 400, none()),
            (ADMIN, "POST", "/v3/qos-specs", body(json!({"name": "n", "consumer": "me"})), 400, none()),
            (ADMIN, "POST", "/v3/qos-specs", body(json!({"name": "q"})), 409, json!("QoS Specs q already exists.")),
            (ADMIN, "PUT", &path, json!({}), 400, none()),
            (ADMIN, "PUT", &path, body(json!({"a": null})), 400, no_text),
            (ADMIN, "PUT", &path, body(json!({"consumer": "me"})), 400, none()),
            (ADMIN, "PUT", &nowhere, body(json!({"a": "1"})), 404, none()),
            (ADMIN, "DELETE", &nowhere, none(), 404, none()),
            (ADMIN, "DELETE", &format!("{path}?force=maybe"), none(), 400, none()),
            (ADMIN, "GET", "/v3/qos-specs/x", none(), 404, json!("No such QoS spec x.")),
            (ADMIN, "PUT", &keys, json!({"keys": ["a", "a"]}), 400, none()),
            (ADMIN, "PUT", &keys, json!({"keys": [1]}), 400, none()),
            (ADMIN, "PUT", &keys, json!({}), 400, none()),
            (ADMIN, "PUT", &format!("{nowhere}/delete_keys"), json!({"keys": ["a"]}), 404, none()),
            (ADMIN, "GET", &format!("{nowhere}/associations"), none(), 404, none()),
            (ADMIN, "GET", &format!("{path}/associate"), none(), 400, json!("Volume Type id must not be None.")),
            (ADMIN, "GET", &format!("{path}/disassociate"), none(), 400, json!("Volume Type id must not be None.")),
            (ADMIN, "GET", &format!("{path}/associate?vol_type_id={NIL}"), none(), 404, none()),
            (ADMIN, "GET", &format!("{nowhere}/disassociate_all"), none(), 404, none()),
            (ADMIN, "GET", &path, none(), 200, none()),
        ],
    )
    .await;
    harness.stop().await;
}

#[actix_web::test]
async fn lists_are_filtered_sorted_and_paged() {
    let harness = Harness::start().await;
    let mut ids = Vec::new();
    for (name, consumer) in [("a", "front-end"), ("b", "back-end"), ("c", "both")] {
        ids.push(harness.made(json!({"name": name, "consumer": consumer})).await);
    }
    let names = async |query: &str| {
        let body = harness.get(&format!("/v3/qos-specs{query}")).send().await.json();
        let rows = body["qos_specs"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned());
        (rows.collect::<String>(), body["qos_specs_links"].is_array())
    };
    for (query, expected, more) in [
        (String::new(), "cba", false),
        ("?sort=created_at:asc".to_owned(), "abc", false),
        ("?name=b".to_owned(), "b", false),
        ("?consumer=both".to_owned(), "c", false),
        (format!("?id={}", ids[0]), "a", false),
        ("?limit=2".to_owned(), "cb", true),
        (format!("?limit=2&marker={}", ids[1]), "a", false),
        ("?offset=1".to_owned(), "ba", false),
    ] {
        assert_eq!(names(&query).await, (expected.to_owned(), more), "{query}");
    }
    for (query, status) in [("?sort=name", 400), ("?limit=x", 400), (&format!("?marker={NIL}"), 404)] {
        assert_eq!(harness.get(&format!("/v3/qos-specs{query}")).send().await.fault().0, status, "{query}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn types_have_them_and_lose_them() {
    let harness = Harness::start().await;
    let (one, other) = (harness.made(json!({"name": "one"})).await, harness.made(json!({"name": "other"})).await);
    let mut types = Vec::new();
    for name in ["t", "u"] {
        types.push(make_type(&harness, name, json!({})).await);
    }
    let ask = async |id: &str, path: &str| harness.get(&format!("/v3/qos-specs/{id}/{path}")).send().await;
    let with = |verb: &str, kind: usize| format!("{verb}?vol_type_id={}", types[kind]);
    let had = async |kind: usize| {
        harness.get(&format!("/v3/types/{}", types[kind])).send().await.json()["volume_type"]["qos_specs_id"].clone()
    };
    for kind in [0, 0, 1] {
        let got = ask(&one, &with("associate", kind)).await;
        assert_eq!((got.status, got.text.as_str()), (202, ""));
    }
    let text = format!("Invalid volume type: Type {} is already associated with another qos specs: {one}", types[0]);
    assert_eq!(ask(&other, &with("associate", 0)).await.fault(), (400, text));
    assert_eq!((had(0).await, had(1).await), (json!(one), json!(one)));
    let row = |kind: usize, name: &str| json!({"association_type": "volume_type", "name": name, "id": types[kind]});
    let listed = ask(&one, "associations").await;
    assert_eq!((listed.status, listed.json()), (200, json!({"qos_associations": [row(0, "t"), row(1, "u")]})));
    assert_eq!(ask(&other, &with("disassociate", 0)).await.status, 202, "it has not these");
    assert_eq!(ask(&one, &with("disassociate", 0)).await.status, 202);
    assert_eq!((had(0).await, had(1).await), (Value::Null, json!(one)));
    assert_eq!(ask(&one, &with("associate", 0)).await.status, 202);
    assert_eq!(ask(&one, "disassociate_all").await.status, 202);
    assert_eq!((had(0).await, had(1).await), (Value::Null, Value::Null));
    assert_eq!(ask(&other, &with("associate", 1)).await.status, 202);
    let got = harness.ask("DELETE", &format!("/v3/qos-specs/{other}")).token(ADMIN).send().await;
    assert_eq!(got.fault(), (400, "Qos specs still in use.".to_owned()));
    let got = harness.ask("DELETE", &format!("/v3/qos-specs/{other}?force=True")).token(ADMIN).send().await;
    assert_eq!((got.status, had(1).await), (202, Value::Null));
    harness.stop().await;
}

/// Whoever connects a volume is told the specs of a front-end consumer; the limit for each GiB as that of this volume.
#[actix_web::test]
async fn connections_are_told() {
    let harness = Harness::start().await;
    let id = harness.made(json!({"name": "q", "consumer": "front-end", "total_iops_sec_per_gb": "10", "k": "v"})).await;
    let kind = make_type(&harness, "t", json!({})).await;
    assert_eq!(harness.get(&format!("/v3/qos-specs/{id}/associate?vol_type_id={kind}")).send().await.status, 202);
    let volume = harness.volume(MEMBER, json!({"size": 3, "volume_type": "t"})).await;
    let told = json!({"total_iops_sec": "30", "k": "v"});
    let body = json!({"attachment": {"volume_uuid": volume, "connector": {"host": "h"}}});
    let made = harness.post("/v3/attachments", &body).token(MEMBER).volume("3.27").send().await;
    let made = made.json()["attachment"].clone();
    assert_eq!(made["connection_info"]["qos_specs"], told, "{made}");
    let path = format!("/v3/attachments/{}", made["id"].as_str().unwrap());
    let shown = async || harness.get(&path).volume("3.27").send().await.json()["attachment"]["connection_info"].clone();
    assert_eq!(shown().await["qos_specs"], told);
    assert_eq!(shown().await["driver_volume_type"], made["connection_info"]["driver_volume_type"]);
    assert_eq!(harness.ask("DELETE", &path).token(ADMIN).volume("3.27").send().await.status, 200);
    harness.until(&volume, "available").await;
    let action = format!("/v3/volumes/{volume}/action");
    let initialize = json!({"os-initialize_connection": {"connector": {"host": "h"}}});
    let info = async || {
        let got = harness.post(&action, &initialize).token(MEMBER).send().await;
        got.json()["connection_info"]["data"]["qos_specs"].clone()
    };
    assert_eq!(info().await, told);
    let update = json!({"qos_specs": {"consumer": "back-end"}});
    assert_eq!(harness.put(&format!("/v3/qos-specs/{id}"), &update).token(ADMIN).send().await.status, 200);
    assert_eq!(info().await, Value::Null, "it is the backend's affair now");
    harness.stop().await;
}

/// Whoever has the volume connected is told nothing anew, so that what it was told must stay true.
#[actix_web::test]
async fn a_volume_in_use_keeps_what_its_client_was_told() {
    let harness = Harness::start().await;
    for name in ["plain", "told"] {
        make_type(&harness, name, json!({})).await;
    }
    let types = harness.get("/v3/types").send().await.json();
    let told = types["volume_types"].as_array().unwrap().iter().find(|kind| kind["name"] == "told").unwrap();
    let id = harness.made(json!({"name": "q", "consumer": "front-end", "k": "v"})).await;
    let path = format!("/v3/qos-specs/{id}/associate?vol_type_id={}", told["id"].as_str().unwrap());
    assert_eq!(harness.get(&path).send().await.status, 202);
    let volume = harness.volume(MEMBER, json!({"size": 1, "volume_type": "plain"})).await;
    let server = harness.server("s").await;
    let mapping = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(harness.post(&mapping, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&volume, "in-use").await;
    let action = format!("/v3/volumes/{volume}/action");
    let retype = json!({"os-retype": {"new_type": "told"}});
    let text = format!("Invalid input received: Retype cannot change front-end qos specs for in-use volume: {volume}.");
    assert_eq!(harness.post(&action, &retype).token(ADMIN).send().await.fault(), (400, text));
    let update = json!({"qos_specs": {"consumer": "back-end"}});
    assert_eq!(harness.put(&format!("/v3/qos-specs/{id}"), &update).token(ADMIN).send().await.status, 200);
    let got = harness.post(&action, &retype).token(ADMIN).send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    harness.stop().await;
}
