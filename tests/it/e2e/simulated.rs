//! Servers that clients make for themselves, on real storage.

use reqwest::Method;
use serde_json::{Value, json};

use super::hearth::{Environment, Hearth, wait_until};

/// Nobody plugs, and all else is as with guests: exports, the record and its check.
#[tokio::test]
async fn a_simulated_server_boots_from_a_file_and_gives_it_back() {
    let hearth = Hearth::start(Environment::default().set("compute.simulated_servers", "true")).await;
    let (root, further) = (hearth.volume_create(1).await, hearth.volume_create(1).await);
    let bootable = json!({"os-set_bootable": {"bootable": true}});
    hearth.admin(Method::POST, &format!("/v3/volumes/{root}/action"), Some(bootable)).await;
    let mapping = json!([{"source_type": "volume", "destination_type": "volume", "uuid": root, "boot_index": 0}]);
    let body = json!({"server": {
        "name": "s", "imageRef": "", "flavorRef": "1", "networks": "none", "block_device_mapping_v2": mapping,
    }});
    let made = hearth.admin(Method::POST, "/compute/v2.1/servers", Some(body)).await;
    let server = made["server"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/compute/v2.1/servers/{server}");
    wait_until("the server runs", async || {
        let shown = hearth.admin(Method::GET, &path, None).await;
        assert_ne!(shown["server"]["status"], "ERROR", "{shown:#}");
        shown["server"]["status"] == "ACTIVE"
    })
    .await;
    hearth.server_add_volume(&server, &further).await;
    assert!(!hearth.daemon_pids().is_empty(), "nothing is exported");
    assert_eq!(hearth.fsck().await, Vec::<Value>::new());
    hearth.admin(Method::POST, &format!("{path}/action"), Some(json!({"os-stop": null}))).await;
    hearth.server_remove_volume(&server, &further).await;
    hearth.admin(Method::DELETE, &path, None).await;
    wait_until("the server is gone", async || hearth.ask(Method::GET, &path, None).await.expect("an answer").0 == 404)
        .await;
    let seen = hearth.volume(&root).await.expect("it is kept");
    assert_eq!(seen["status"], "available");
    hearth.volume_delete(&root).await;
    hearth.terminate().await;
}
