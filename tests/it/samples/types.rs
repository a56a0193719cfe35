//! Volume types, their encryption, QoS specs, default types.

use serde_json::json;

use super::bench::{Bench, Call, always};

#[actix_web::test]
async fn types() {
    let bench = Bench::start("types").await;
    let asked = async || -> Call {
        let members = json!({
            "name": bench.fresh_name(), "description": "d", "extra_specs": {"capabilities": "gpu"},
            "os-volume-type-access:is_public": false,
        });
        ("/v3/types".to_owned(), json!({"volume_type": members}))
    };
    bench.exchanges("cinder/volume_type/volume-type-create-request.json", asked).await;
    let kind = bench.made(asked().await, "/volume_type/id").await;
    let path = format!("/v3/types/{kind}");
    let grant = always(&format!("{path}/action"), json!({"addProjectAccess": {"project": "p"}}));
    bench.accepts("cinder/volume_type/volume-type-access-add-request.json", grant).await;
    bench.reads("GET /v3/types/{id}/os-volume-type-access", &format!("{path}/os-volume-type-access")).await;
    let revoke = always(&format!("{path}/action"), json!({"removeProjectAccess": {"project": "p"}}));
    bench.accepts("cinder/volume-type-access-delete-request.json", revoke).await;

    let default = always("/v3/default-types/p", json!({"default_type": {"volume_type": kind}}));
    bench.exchanges("cinder/set-default-type-request.json", default).await;
    bench.reads("GET /v3/default-types/{project}", "/v3/default-types/p").await;
    bench.reads("GET /v3/default-types", "/v3/default-types").await;
    bench.reads("GET /v3/types/default", "/v3/types/default").await;

    let renamed = always(&path, json!({"volume_type": {"name": "n", "description": "e", "is_public": true}}));
    bench.exchanges("cinder/volume_type/volume-type-update-request.json", renamed).await;
    bench.reads("GET /v3/types/{id}", &path).await;
    bench.reads("GET /v3/types", "/v3/types").await;

    let specs = format!("{path}/extra_specs");
    let two = always(&specs, json!({"extra_specs": {"key1": "a", "key2": "b"}}));
    bench.exchanges("cinder/volume_type/volume-type-extra-specs-create-update-request.json", two).await;
    bench.reads("GET /v3/types/{id}/extra_specs", &specs).await;
    let key = format!("{specs}/key1");
    let set = always(&key, json!({"key1": "c"}));
    bench.exchanges("cinder/volume_type/volume-type-specific-extra-specs-update-request.json", set).await;
    bench.reads("GET /v3/types/{id}/extra_specs/{key}", &key).await;

    encryption(&bench, &asked).await;
    qos_specs(&bench, &kind).await;
    bench.finish().await;
}

/// Each of a type of its own: a type has it once.
async fn encryption(bench: &Bench, kind: &impl AsyncFn() -> Call) {
    let body = json!({"encryption": {
        "key_size": 256, "provider": "luks", "control_location": "front-end", "cipher": "aes-xts-plain64",
    }});
    let asked = async || -> Call {
        let kind = bench.made(kind().await, "/volume_type/id").await;
        (format!("/v3/types/{kind}/encryption"), body.clone())
    };
    bench.exchanges("cinder/volume_type/encryption-type-create-request.json", asked).await;
    let (path, body) = asked().await;
    let id = bench.made((path.clone(), body.clone()), "/encryption/encryption_id").await;
    bench
        .exchanges("cinder/volume_type/encryption-type-update-request.json", always(&format!("{path}/{id}"), body))
        .await;
    bench.reads("GET /v3/types/{id}/encryption", &path).await;
    bench.reads("GET /v3/types/{id}/encryption/{field}", &format!("{path}/cipher")).await;
}

async fn qos_specs(bench: &Bench, kind: &str) {
    let asked = async || -> Call { ("/v3/qos-specs".to_owned(), json!({"qos_specs": {"name": bench.fresh_name()}})) };
    bench.accepts("cinder/qos/qos-create-request.json", asked).await;
    let with_specs =
        async || -> Call { ("/v3/qos-specs".to_owned(), json!({"qos_specs": {"name": bench.fresh_name(), "k": "v"}})) };
    bench.answers("POST /v3/qos-specs", async |_| with_specs().await).await;
    let path = format!("/v3/qos-specs/{}", bench.made(with_specs().await, "/qos_specs/id").await);
    bench.reads("GET /v3/qos-specs/{id}", &path).await;
    bench.reads("GET /v3/qos-specs", "/v3/qos-specs").await;
    let changed = always(&path, json!({"qos_specs": {"delay": "1"}}));
    bench.exchanges("cinder/qos/qos-update-request.json", changed).await;
    let unset = always(&format!("{path}/delete_keys"), json!({"keys": ["delay"]}));
    bench.accepts("cinder/qos/qos-unset-request.json", unset).await;
    let got = bench.harness.get(&format!("{path}/associate?vol_type_id={kind}")).send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    bench.reads("GET /v3/qos-specs/{id}/associations", &format!("{path}/associations")).await;
}
