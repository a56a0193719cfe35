//! What lies at backends, and its adoption.

use hearth::drivers::sim::SimObject;
use serde_json::json;

use super::bench::{Bench, Call, always};
use crate::api::harness::{ADMIN, BACKEND};

#[actix_web::test]
async fn manage() {
    let bench = Bench::start("manage").await;
    let fresh_object = || {
        let name = bench.fresh_name();
        let object = SimObject { size_mib: 1024, markers: Vec::new(), snapshot_of: None };
        bench.harness.truth.place_object(&name, object).unwrap();
        name
    };
    fresh_object();
    let lists = async |kind: &str| {
        for list in ["", "/detail"] {
            let path = format!("/v3/{kind}{list}");
            bench.reads(&format!("GET {path}"), &format!("{path}?host=sim@sim%23pool")).await;
        }
    };
    let asked = async || -> Call {
        let name = fresh_object();
        let members = json!({
            "host": BACKEND, "ref": {"source-name": name, "source-id": name}, "name": "n", "description": "d",
            "availability_zone": "nova", "bootable": true, "volume_type": null, "metadata": {"k": "v"},
        });
        ("/v3/manageable_volumes".to_owned(), json!({"volume": members}))
    };
    bench.exchanges("cinder/volume_manage_extensions/volume-manage-request.json", asked).await;
    let (path, mut body) = asked().await;
    body["volume"]["host"] = json!(null);
    body["volume"]["cluster"] = json!("c");
    bench.accepts("cinder/volume-manage-request-cluster.json", always(&path, body)).await;

    let volume = bench.made(asked().await, "/volume/id").await;
    bench.harness.until(&volume, "available").await;
    let asked = async |metadata| -> Call {
        let name = fresh_object();
        let members = json!({
            "volume_id": volume, "ref": {"source-name": name}, "name": null, "description": null, "metadata": metadata,
        });
        ("/v3/manageable_snapshots".to_owned(), json!({"snapshot": members}))
    };
    let plain = async || asked(json!(null)).await;
    bench.accepts("cinder/snapshot_manage_extensions/snapshot-manage-request.json", plain).await;
    bench.answers("POST /v3/manageable_snapshots", async |_| asked(json!({"k": "v"})).await).await;
    let snapshot = bench.made(asked(json!(null)).await, "/snapshot/id").await;
    let path = format!("/v3/snapshots/{snapshot}");
    bench.harness.until_at(&path, "/snapshot/status", &json!("available")).await;
    let unmanage = json!({"os-unmanage": {}});
    let got = bench.harness.post(&format!("{path}/action"), &unmanage).token(ADMIN).send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    bench.harness.until_at(&path, "/itemNotFound/code", &json!(404)).await;
    lists("manageable_volumes").await;
    lists("manageable_snapshots").await;
    bench.finish().await;
}
