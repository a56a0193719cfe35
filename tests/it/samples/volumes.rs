//! Volumes, and what hangs on volumes and snapshots.

use serde_json::json;

use super::bench::{Bench, always};
use crate::api::harness::ADMIN;

#[actix_web::test]
async fn volumes() {
    let bench = Bench::start("volumes").await;
    let volume = bench.volume().await;
    let path = format!("/v3/volumes/{volume}");
    let members = json!({
        "size": 1, "name": "n", "description": null, "metadata": {"k": "v"}, "multiattach": false, "imageRef": null,
        "volume_type": null, "availability_zone": null, "snapshot_id": null, "source_volid": null, "backup_id": null,
        "consistencygroup_id": null,
    });
    let body = json!({"volume": members, "OS-SCH-HNT:scheduler_hints": {"same_host": [volume]}});
    bench.exchanges("cinder/volumes/volume-create-request.json", always("/v3/volumes", body)).await;
    let body = json!({"volume": {"name": "m", "description": "d", "metadata": {"k": "v"}}});
    bench.exchanges("cinder/volumes/volume-update-request.json", always(&path, body)).await;
    bench.reads("GET /v3/volumes/{id}", &path).await;
    // whose ids of what they were made from are no nulls
    let snapshot = bench.snapshot(&volume).await;
    for (name, source) in [("snapshot_id", &snapshot), ("source_volid", &volume)] {
        bench.harness.volume(ADMIN, json!({"metadata": {"k": "v"}, name: source})).await;
    }
    for list in ["", "/detail", "/summary", "?limit=1", "?limit=1&with_count=true"] {
        let list = format!("/v3/volumes{list}");
        bench.reads(&format!("GET {list}"), &list).await;
    }
    metadata(&bench, &path, "volumes", "cinder/volumes/volume").await;

    let action = format!("{path}/action");
    let names = json!({"image_id": "i", "image_name": "n", "kernel_id": "k", "ramdisk_id": "r"});
    let set = always(&action, json!({"os-set_image_metadata": {"metadata": names}}));
    bench.exchanges("cinder/volume-image-metadata-set-request.json", set).await;
    let show = always(&action, json!({"os-show_image_metadata": {}}));
    bench.exchanges("cinder/image-metadata-show-request.json", show).await;
    let unset = always(&action, json!({"os-unset_image_metadata": {"key": "ramdisk_id"}}));
    bench.accepts("cinder/volume-image-metadata-unset-request.json", unset).await;
    bench.finish().await;
}

/// Of a volume or a snapshot, which is at `owner`.
pub async fn metadata(bench: &Bench, owner: &str, kind: &str, samples: &str) {
    let path = format!("{owner}/metadata");
    for word in ["create", "update"] {
        let one = always(&path, json!({"metadata": {"name": "x"}}));
        bench.exchanges(&format!("{samples}-metadata-{word}-request.json"), one).await;
    }
    bench.reads(&format!("GET /v3/{kind}/{{id}}/metadata"), &path).await;
    let key = format!("{path}/name");
    let one = always(&key, json!({"meta": {"name": "y"}}));
    bench.exchanges(&format!("{samples}-metadata-update-key-request.json"), one).await;
    bench.reads(&format!("GET /v3/{kind}/{{id}}/metadata/{{key}}"), &key).await;
}
