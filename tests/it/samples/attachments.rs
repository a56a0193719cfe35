//! Attachments of Block Storage.

use serde_json::json;

use super::bench::{Bench, Call, always};

#[actix_web::test]
async fn attachments() {
    let bench = Bench::start("attachments").await;
    let connector = json!({
        "host": "h1", "initiator": "iqn.1:1", "ip": "10.0.0.1", "multipath": false, "mode": "rw", "mountpoint": "/dev/vdb",
        "os_type": "linux", "platform": "x86_64",
    });
    let asked = async |connector| -> Call {
        let (volume, server) = (bench.volume().await, bench.harness.server("s").await);
        let mut members = json!({"volume_uuid": volume, "instance_uuid": server});
        if let Some(connector) = connector {
            members["connector"] = connector;
        }
        ("/v3/attachments".to_owned(), json!({"attachment": members}))
    };
    let connected = async || asked(Some(connector.clone())).await;
    bench.accepts("cinder/attachment-create-request.json", connected).await;
    let reserved = async || {
        let id = bench.made(asked(None).await, "/attachment/id").await;
        format!("/v3/attachments/{id}")
    };
    bench.answers("POST /v3/attachments", async |_| asked(None).await).await;

    let path = reserved().await;
    let body = json!({"attachment": {"connector": connector}});
    bench.exchanges("cinder/attachment-update-request.json", always(&path, body.clone())).await;
    bench.reads("GET /v3/attachments/{id}", &path).await;
    bench.reads("GET /v3/attachments", "/v3/attachments").await;
    // the reserved ones have no connection
    let volume = bench.harness.get(&path).volume("3.27").send().await.json()["attachment"]["volume_id"].clone();
    let query = format!("?volume_id={}", volume.as_str().expect("an id"));
    bench.reads("GET /v3/attachments/detail", &format!("/v3/attachments/detail{query}")).await;
    let complete = always(&format!("{path}/action"), json!({"os-complete": {}}));
    bench.accepts("cinder/attachment-complete.json", complete).await;

    let shared = bench.shared_volume().await;
    let one_of_two = async |_: &str| -> Call {
        let mut ids = Vec::new();
        for _ in 0..2 {
            let server = bench.harness.server("s").await;
            let body = json!({"attachment": {"volume_uuid": shared, "instance_uuid": server}});
            ids.push(bench.made(("/v3/attachments".to_owned(), body), "/attachment/id").await);
        }
        (format!("/v3/attachments/{}", ids[0]), serde_json::Value::Null)
    };
    bench.answers("DELETE /v3/attachments/{id}", one_of_two).await;
    bench.finish().await;
}
