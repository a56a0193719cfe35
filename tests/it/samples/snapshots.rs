//! Snapshots and the actions on them.

use serde_json::json;

use super::bench::{Bench, always};
use super::volumes;

#[actix_web::test]
async fn snapshots() {
    let bench = Bench::start("snapshots").await;
    let volume = bench.volume().await;
    let members =
        json!({"volume_id": volume, "name": "n", "description": "d", "force": true, "metadata": {"key": "v"}});
    let asked = always("/v3/snapshots", json!({"snapshot": members}));
    bench.exchanges("cinder/snapshots/snapshot-create-request.json", asked).await;
    let snapshot = bench.snapshot(&volume).await;
    let path = format!("/v3/snapshots/{snapshot}");
    let renamed = always(&path, json!({"snapshot": {"name": "m", "description": "e"}}));
    bench.exchanges("cinder/snapshots/snapshot-update-request.json", renamed).await;
    bench.reads("GET /v3/snapshots/{id}", &path).await;
    for list in ["", "/detail", "?limit=1", "?limit=1&with_count=true"] {
        let list = format!("/v3/snapshots{list}");
        bench.reads(&format!("GET {list}"), &list).await;
    }
    volumes::metadata(&bench, &path, "snapshots", "cinder/snapshots/snapshot").await;

    let action = format!("{path}/action");
    let reset = always(&action, json!({"os-reset_status": {"status": "creating"}}));
    bench.accepts("cinder/snapshot-status-reset-request.json", reset).await;
    let update = always(&action, json!({"os-update_snapshot_status": {"status": "creating", "progress": "80%"}}));
    bench.accepts("cinder/snapshot-status-update-request.json", update).await;
    let delete = async || {
        let snapshot = bench.snapshot(&volume).await;
        (format!("/v3/snapshots/{snapshot}/action"), json!({"os-force_delete": {}}))
    };
    bench.accepts("cinder/snapshot-force-delete-request.json", delete).await;
    bench.finish().await;
}
