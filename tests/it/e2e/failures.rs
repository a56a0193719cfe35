//! What fails around a running service, with real parts: a guest that does not know that its disk was taken away, storage
//! daemons that die, a machine that reboots.

use std::time::{Duration, Instant};

use hearth::domain::ids::ServerId;
use reqwest::Method;
use serde_json::{Value, json};

use super::hearth::wait_until;
use super::host::{Host, NbdAttachment};
use super::writer::Writer;
use crate::drivers::file::{NbdClient, kill};

/// The promise is 1 s and 1 ms for each export (design, I7); the bound here leaves room for a busy machine.
const REBUILT_WITHIN: Duration = Duration::from_secs(10);

/// What the new owner writes: no record of a [`Writer`] looks like it.
const NEW_OWNERS: u8 = 0xee;

/// The part of the volume that stale guests write to, with much room.
const WRITTEN_BYTES: usize = 4 << 20;

/// The hypervisor's client of a guest reconnects by the export's name for 30 s. Two ways to take a volume from a guest that
/// keeps its device: Compute deletes the attachment, and the server is removed.
#[tokio::test]
async fn r38_r95_no_byte_of_a_guest_whose_attachment_is_gone_reaches_the_next_owners_disk() {
    let mut host = Host::start().await;
    let mut volumes = Vec::new();
    for name in ["vm-1", "vm-2"] {
        let server = host.boot(name).await;
        let volume = host.hearth.volume_create(1).await;
        let attachment = host.plug_only_disk(server, &volume).await;
        Writer::start(&mut host.guests[server].guest).await;
        volumes.push((volume, attachment));
    }
    host.attachment_delete_as_service(&volumes[0].1).await;
    let removed = ServerId::from(host.guests[1].id.clone());
    host.hearth.admin(Method::DELETE, &format!("/admin/servers/{removed}"), None).await;

    let mut owners = Vec::new();
    for (volume, old) in &volumes {
        host.hearth.wait_for_status(volume, "available").await;
        let attachment = NbdAttachment::connect(&host.hearth, volume, "another-host").await;
        attachment.complete(&host.hearth).await;
        assert_ne!(&attachment.id, old);
        let mut owner = attachment.client().await;
        let written = owner.run(&format!("write -P {NEW_OWNERS:#x} 0 {WRITTEN_BYTES}")).await;
        assert!(written.contains(&format!("wrote {WRITTEN_BYTES}/{WRITTEN_BYTES}")), "{written}");
        assert!(!owner.run("flush").await.contains("error"));
        owners.push((attachment, owner));
    }
    // The stale guests write on, until their hypervisors give up.
    for server in &mut host.guests {
        wait_until("the guest's write has failed", async || server.guest.run("[ -e /lost ]").await.1).await;
    }
    for (volume, _) in &volumes {
        let bytes = std::fs::read(host.hearth.volume_file(volume)).map(|all| all[..WRITTEN_BYTES].to_vec());
        let strange = bytes.expect("readable").iter().position(|byte| *byte != NEW_OWNERS);
        assert_eq!(strange, None, "a byte of the stale guest is on the disk");
    }
    // The device that nobody owns any more is told; the removed server's guest is nobody's business.
    let found = host.hearth.fsck().await;
    let expected =
        json!([{"difference": "device_unowned", "attachment_id": volumes[0].1, "server_id": host.guests[0].id}]);
    assert_eq!(Value::Array(found), expected);
    for ((attachment, owner), (volume, _)) in owners.into_iter().zip(&volumes) {
        drop(owner);
        attachment.delete(&host.hearth).await;
        host.hearth.wait_for_status(volume, "available").await;
    }
}

#[tokio::test]
async fn r97_a_guest_goes_on_when_the_storage_daemons_die_and_its_attachment_is_untouched() {
    let mut host = Host::start().await;
    let server = host.boot("vm-1").await;
    let volume = host.hearth.volume_create(1).await;
    let attachment = host.plug_only_disk(server, &volume).await;
    Writer::start(&mut host.guests[server].guest).await;
    let before = host.hearth.volume(&volume).await.expect("there");
    let connection = connection_of(&host, &attachment).await;

    for _ in 0..3 {
        let dead = host.hearth.daemon_pids();
        assert!(!dead.is_empty());
        let begun = Instant::now();
        dead.iter().copied().for_each(kill);
        wait_until("the export is served again under its name", async || {
            NbdClient::connect(&connection, 0).await.is_ok()
        })
        .await;
        let took = begun.elapsed();
        eprintln!("the export was back after {took:?}");
        assert!(took < REBUILT_WITHIN, "{took:?}");
        assert!(host.hearth.daemon_pids().iter().all(|pid| !dead.contains(pid)));
        // Its writes have waited; none has failed.
        Writer::advance(&mut host.guests[server].guest).await;
    }
    assert_eq!(host.hearth.volume(&volume).await.expect("there"), before, "nobody touched volume and attachment");
    let safe = Writer::stop(&mut host.guests[server].guest).await;
    Writer::check(&host.hearth.volume_file(&volume), safe);
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
    host.hearth.server_remove_volume(&host.guests[server].id, &volume).await;
    host.guests[server].guest.until("[ ! -e /dev/vda ]").await;
}

/// Nothing lives but what is on disk. Who was attached stays attached and finds the export under its name; a guest that
/// starts without its disk gets it back, and is freed by a detach as ever.
#[tokio::test]
async fn r97_after_a_reboot_of_the_machine_the_exports_of_attached_volumes_are_served_again() {
    let mut host = Host::start().await;
    let server = host.boot("vm-1").await;
    let volume = host.hearth.volume_create(1).await;
    let attachment = host.plug_only_disk(server, &volume).await;
    Writer::start(&mut host.guests[server].guest).await;
    let safe = Writer::stop(&mut host.guests[server].guest).await;
    let elsewhere = host.hearth.volume_create(1).await;
    let remote = NbdAttachment::connect(&host.hearth, &elsewhere, "another-host").await;
    remote.complete(&host.hearth).await;
    assert!(remote.client().await.write(0x5a, 0).await);
    let before = [&volume, &elsewhere].map(|id| id.clone());
    let connection = connection_of(&host, &attachment).await;

    host.guests[server].guest.kill();
    host.hearth.kill().await;
    host.hearth.daemon_pids().into_iter().for_each(kill);
    wait_until("every daemon is dead", async || host.hearth.daemon_pids().is_empty()).await;
    host.hearth.start_again().await;

    for id in &before {
        assert_eq!(host.hearth.volume(id).await.expect("there")["status"], "in-use");
    }
    assert!(remote.client().await.reads(0x5a, 0).await, "the same connection as before");
    assert!(NbdClient::connect(&connection, 0).await.is_ok(), "the guest's disk could be given back to it");
    Writer::check(&host.hearth.volume_file(&volume), safe);
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0], "a guest that is down lacks nothing");
    host.boot_again(server).await;
    let id = host.guests[server].id.clone();
    host.guests[server].guest.until("[ -b /dev/vda ]").await;
    wait_until("everything agrees", async || host.hearth.fsck().await.is_empty()).await;

    host.hearth.server_remove_volume(&id, &volume).await;
    host.plug_only_disk(server, &volume).await;
    let (data, _) = host.guests[server].guest.run("dd if=/dev/vda bs=512 skip=1 count=1 2>/dev/null | head -n 1").await;
    assert!(data.starts_with("R 1 "), "{data}");
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
}

async fn connection_of(host: &Host, attachment: &str) -> Value {
    let shown = host.hearth.admin(Method::GET, &format!("/v3/attachments/{attachment}"), None).await;
    shown["attachment"]["connection_info"].clone()
}
