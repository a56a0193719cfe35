//! `hearth host fence` against a host that hangs: what it has is free within seconds, and what it writes later reaches nobody.

use reqwest::Method;
use serde_json::{Value, json};

use super::hearth::{run, wait_until};
use super::host::{Host, NbdAttachment};
use super::writer::Writer;

/// What the next owner writes, where the guest writes, too.
const NEW_OWNERS: u8 = 0xa5;
const WRITTEN_BYTES: usize = 1 << 20;

#[tokio::test]
async fn a_hung_host_is_fenced_and_its_late_writes_reach_nobody() {
    let mut host = Host::start().await;
    let server = host.boot("vm-1").await;
    let volume = host.hearth.volume_create(1).await;
    host.plug_only_disk(server, &volume).await;
    let id = host.guests[server].id.clone();
    Writer::start(&mut host.guests[server].guest).await;
    host.guests[server].guest.freeze();
    // nobody answers, neither this
    let mapping = format!("/compute/v2.1/servers/{id}/os-volume_attachments");
    host.hearth.admin(Method::DELETE, &format!("{mapping}/{volume}"), None).await;
    let address = host.hearth.url("").replace("http://", "");
    let environment = host.hearth.environment().clone().set("server.listen", address);
    let hearth = async |arguments: &[&str]| {
        let output = run(&environment, &[&["host"], arguments].concat()).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    assert_eq!(hearth(&["list"]).await, (Some(0), String::new()));
    let (code, shown) = hearth(&["show", "compute-1"]).await;
    assert_eq!(code, Some(0), "{shown}");
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown, json!({"name": "compute-1", "fence": null, "servers": [id], "volumes": [volume]}));

    let fenced = hearth(&["fence", "compute-1", "--proof", "ticket 4711", "--wait", "30"]).await;
    assert_eq!(fenced, (Some(0), "compute-1 is fenced: 1 volumes released\n".to_owned()));
    host.hearth.wait_for_status(&volume, "available").await;
    let (_, listed) = hearth(&["list"]).await;
    assert!(listed.starts_with("compute-1 since ") && listed.ends_with(": ticket 4711\n"), "{listed}");
    let history = host.hearth.admin(Method::GET, &format!("/admin/volumes/{volume}/history"), None).await;
    assert!(history.to_string().contains("host compute-1 is fenced (epoch 1): ticket 4711"), "{history:#}");
    let again = json!({"volumeAttachment": {"volumeId": volume}});
    let (status, refused) = host.hearth.ask(Method::POST, &mapping, Some(again)).await.expect("an answer");
    assert_eq!(status, 409, "{refused}");

    // the next owner writes, and then the host wakes up
    let attachment = NbdAttachment::connect(&host.hearth, &volume, "another-host").await;
    attachment.complete(&host.hearth).await;
    let mut owner = attachment.client().await;
    let written = owner.run(&format!("write -P {NEW_OWNERS:#x} 0 {WRITTEN_BYTES}")).await;
    assert!(written.contains(&format!("wrote {WRITTEN_BYTES}/{WRITTEN_BYTES}")), "{written}");
    assert!(!owner.run("flush").await.contains("error"));
    let guest = &mut host.guests[server].guest;
    guest.thaw();
    // it was asked to let go of its disk, too: it does so now, unless a write of its own holds it up, which fails
    let lost = "[ -e /lost ] || [ ! -b /dev/vda ]";
    wait_until("the guest has lost its disk", async || guest.run(lost).await.1).await;
    let bytes = std::fs::read(host.hearth.volume_file(&volume)).map(|all| all[..WRITTEN_BYTES].to_vec());
    assert!(bytes.expect("readable").iter().all(|byte| *byte == NEW_OWNERS), "the new owner's bytes alone");

    assert_eq!(hearth(&["unfence", "compute-1"]).await, (Some(0), String::new()));
    let twice = hearth(&["unfence", "compute-1"]).await;
    assert_eq!(twice, (Some(1), "hearth: host compute-1 is not fenced (HTTP 404)\n".to_owned()));
    let other = host.hearth.volume_create(1).await;
    host.hearth.server_add_volume(&id, &other).await;
}
