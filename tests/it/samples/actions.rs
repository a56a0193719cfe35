//! Actions on volumes that are not of metadata.

use hearth::actors::PlacementOptions;
use hearth::domain::ids::ImageId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{Bench, Call};
use crate::api::harness::{ADMIN, Harness};

/// New volumes go to the first, which may promise more.
async fn start() -> Bench {
    let small = PlacementOptions { reserved_percentage: 50, ..PlacementOptions::default() };
    Bench::on(Harness::start_on(&[("h@a#a", PlacementOptions::default()), ("h@b#b", small)]).await, "actions")
}

impl Bench {
    async fn act(&self, volume: &str, body: &Value) -> Value {
        let got = self.harness.post(&path(volume), body).token(ADMIN).volume("3.71").send().await;
        assert!((200..300).contains(&got.status), "{body}: {} {}", got.status, got.text);
        self.harness.get(&format!("/v3/volumes/{volume}")).volume("3.71").send().await.json()["volume"].clone()
    }

    /// A fresh volume each time, on which `before` was done one after the other, and then `body`.
    async fn takes(&self, sample: &str, before: &[Value], body: Value) {
        let fresh = async || -> Call {
            let volume = self.volume().await;
            for body in before {
                self.act(&volume, body).await;
            }
            (path(&volume), body.clone())
        };
        self.accepts(&format!("cinder/volume-{sample}-request.json"), fresh).await;
    }
}

fn path(volume: &str) -> String {
    format!("/v3/volumes/{volume}/action")
}

#[actix_web::test]
async fn actions() {
    let bench = start().await;
    let server = bench.harness.server("s").await;
    let attach = json!({"os-attach": {"instance_uuid": server, "mountpoint": "/dev/vdc"}});
    let begin = json!({"os-begin_detaching": {}});
    let reserve = json!({"os-reserve": {}});
    bench.takes("attach", &[], attach.clone()).await;
    bench.takes("begin-detaching", std::slice::from_ref(&attach), begin.clone()).await;
    bench.takes("roll-detaching", &[attach.clone(), begin], json!({"os-roll_detaching": {}})).await;
    bench.takes("reserve", &[], reserve.clone()).await;
    bench.takes("unreserve", &[reserve], json!({"os-unreserve": {}})).await;
    let attached = async || {
        let volume = bench.volume().await;
        let shown = bench.act(&volume, &attach).await;
        (path(&volume), shown["attachments"][0]["attachment_id"].clone())
    };
    let detach = async || -> Call {
        let (path, id) = attached().await;
        (path, json!({"os-detach": {"attachment_id": id}}))
    };
    bench.accepts("cinder/volume-detach-request.json", detach).await;
    let force = async || -> Call {
        let (path, id) = attached().await;
        let members = json!({"attachment_id": id, "connector": {"initiator": "iqn.1:1"}});
        (path, json!({"os-force_detach": members}))
    };
    bench.accepts("cinder/volume-force-detach-request.json", force).await;
    let connector = json!({
        "do_local_attach": false, "host": "h1", "initiator": "iqn.1:1", "ip": "10.0.0.1", "multipath": false,
        "os_type": "linux", "platform": "x86_64",
    });
    let connect = json!({"os-initialize_connection": {"connector": connector}});
    bench.takes("initialize-connection", &[], connect.clone()).await;
    let connected = async |_: &str| (path(&bench.volume().await), connect.clone());
    bench.answers("POST /v3/volumes/{id}/action os-initialize_connection", connected).await;
    let end = json!({"os-terminate_connection": {"connector": connector}});
    bench.takes("terminate-connection", &[connect], end).await;

    bench.takes("extend", &[], json!({"os-extend": {"new_size": 2}})).await;
    let completion = json!({"os-extend_volume_completion": {"error": false}});
    bench.takes("os-extend_volume_completion", &[], completion).await;
    let words = json!({"status": "available", "attach_status": "detached", "migration_status": "none"});
    bench.takes("status-reset", &[], json!({"os-reset_status": words})).await;
    bench.takes("force-delete", &[], json!({"os-force_delete": {}})).await;
    bench.takes("unmanage", &[], json!({"os-unmanage": {}})).await;
    bench.takes("bootable-status-update", &[], json!({"os-set_bootable": {"bootable": "True"}})).await;
    bench.takes("readonly-update", &[], json!({"os-update_readonly_flag": {"readonly": true}})).await;
    let revert = async || -> Call {
        let volume = bench.volume().await;
        let snapshot = bench.snapshot(&volume).await;
        (path(&volume), json!({"revert": {"snapshot_id": snapshot}}))
    };
    bench.accepts("cinder/volume-revert-to-snapshot-request.json", revert).await;
    moves(&bench).await;
    images(&bench).await;
    bench.finish().await;
}

async fn moves(bench: &Bench) {
    let kind = json!({"volume_type": {"name": "other"}});
    bench.made(("/v3/types".to_owned(), kind), "/volume_type/id").await;
    let retype = json!({"os-retype": {"new_type": "other", "migration_policy": "never"}});
    bench.takes("os-retype", &[], retype).await;
    bench.takes("os-migrate_volume", &[], json!({"os-migrate_volume": {"host": "h@b#b"}})).await;
    let other = bench.volume().await;
    let completion = async || -> Call {
        let volume = bench.volume().await;
        (path(&volume), json!({"os-migrate_volume_completion": {"new_volume": other, "error": false}}))
    };
    bench.exchanges("cinder/volume-os-migrate_volume_completion-request.json", completion).await;
}

async fn images(bench: &Bench) {
    let image = ImageId(Uuid::new_v4());
    bench.harness.images.put(image, b"a disk", |_| {});
    let members = json!({"image_id": image.to_string(), "reimage_reserved": false});
    bench.takes("os-reimage", &[], json!({"os-reimage": members})).await;
    let name = "os-volume_upload_image";
    let common = json!({"image_name": "i", "force": false, "disk_format": "raw", "container_format": "bare"});
    let upload = async |is_later: bool| -> Call {
        let mut members = common.clone();
        if is_later {
            members["visibility"] = json!("private");
            members["protected"] = json!(false);
        }
        (path(&bench.volume().await), json!({ name: members }))
    };
    let sample = "cinder/volume_actions/volume-upload-to-image-request.json";
    bench.accepts(sample, async || upload(true).await).await;
    let call = format!("POST /v3/volumes/{{id}}/action {name}");
    bench.answers(&call, async |version| upload(version != "3.0").await).await;
}
