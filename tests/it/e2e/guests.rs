//! Real guests that go their own way, beside the shipped binary: they are paused, shut down and killed from outside, and come back;
//! and guests that are full.

use reqwest::Method;
use serde_json::{Value, json};

use super::guest::Machine;
use super::hearth::wait_until;
use super::host::Host;
use super::writer::Writer;

async fn wait_for_server(host: &Host, index: usize, status: &str) {
    let path = format!("/compute/v2.1/servers/{}", host.guests[index].id);
    wait_until(&format!("the server is {status}"), async || {
        host.hearth.admin(Method::GET, &path, None).await["server"]["status"] == status
    })
    .await;
}

/// Each volume is in the guest with what was written to it before.
async fn assert_has(host: &mut Host, index: usize, volumes: usize) {
    let guest = &mut host.guests[index].guest;
    guest.until(&format!("[ $(ls /dev/vd? | wc -l) = {volumes} ]")).await;
    let (found, _) = guest.run("for disk in /dev/vd?; do dd if=$disk bs=16 count=1 2>/dev/null; echo; done").await;
    let mut marks = found.lines().collect::<Vec<_>>();
    marks.sort_unstable();
    let expected = (0..volumes).map(|volume| format!("this is volume {volume}")).collect::<Vec<_>>();
    assert_eq!(marks, expected);
}

#[tokio::test]
async fn a_guest_that_is_killed_and_started_again_gets_its_disks_back() {
    let mut host = Host::start().await;
    let server = host.boot("vm-1").await;
    let mut volumes = Vec::new();
    for (number, disk) in (0..2).zip(["/dev/vda", "/dev/vdb"]) {
        let volume = host.hearth.volume_create(1).await;
        host.hearth.server_add_volume(&host.guests[server].id, &volume).await;
        let guest = &mut host.guests[server].guest;
        guest.until(&format!("[ -b {disk} ]")).await;
        assert!(guest.run(&format!("echo 'this is volume {number}' | dd of={disk} conv=sync,fsync")).await.1);
        volumes.push(volume);
    }
    for round in 0..3 {
        host.guests[server].guest.kill();
        if round != 1 {
            wait_for_server(&host, server, "SHUTOFF").await;
        }
        if round == 2 {
            // it comes back while nobody looks
            host.hearth.kill().await;
        }
        host.boot_again(server).await;
        if round == 2 {
            host.hearth.start_again().await;
        }
        assert_has(&mut host, server, 2).await;
        wait_for_server(&host, server, "ACTIVE").await;
        wait_until("everything agrees", async || host.hearth.fsck().await.is_empty()).await;
        for volume in &volumes {
            assert_eq!(host.hearth.volume(volume).await.expect("there")["status"], "in-use");
        }
    }
    // what comes back can be detached as ever
    let id = host.guests[server].id.clone();
    for volume in &volumes {
        host.hearth.server_remove_volume(&id, volume).await;
        host.hearth.volume_delete(volume).await;
    }
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
}

/// Its events are what the record follows; a volume attached to a server that is down is in it when it comes up.
#[tokio::test]
async fn a_servers_state_follows_the_events_of_its_guest() {
    let mut host = Host::start().await;
    let server = host.boot("vm-1").await;
    let volume = host.hearth.volume_create(1).await;
    host.plug_only_disk(server, &volume).await;
    Writer::start(&mut host.guests[server].guest).await;
    host.guests[server].guest.monitor("stop").await;
    wait_for_server(&host, server, "PAUSED").await;
    host.guests[server].guest.monitor("cont").await;
    wait_for_server(&host, server, "ACTIVE").await;
    let safe = Writer::stop(&mut host.guests[server].guest).await;
    // a shutdown from inside ends the process
    let id = host.guests[server].id.clone();
    host.guests[server].guest.ends("poweroff -f").await;
    wait_for_server(&host, server, "SHUTOFF").await;
    let later = host.hearth.volume_create(1).await;
    host.hearth.server_add_volume(&id, &later).await;
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
    host.boot_again(server).await;
    host.guests[server].guest.until("[ -b /dev/vda ] && [ -b /dev/vdb ]").await;
    wait_for_server(&host, server, "ACTIVE").await;
    wait_until("everything agrees", async || host.hearth.fsck().await.is_empty()).await;
    Writer::check(&host.hearth.volume_file(&volume), safe);
}

/// A machine of PCI Express has a port for each disk that is plugged, a conventional one a slot. Whoever attaches one more is told
/// so at once; when a place is free again, it is taken.
#[tokio::test]
async fn a_guest_without_a_free_place_takes_no_further_volume() {
    let mut host = Host::start_with(super::hearth::Environment::default().set("quota.volumes", "100")).await;
    for (machine, name, places) in [(Machine::Q35 { ports: 2 }, "small", 2), (Machine::Pc, "conventional", 0)] {
        let server = host.boot_on(name, machine).await;
        let id = host.guests[server].id.clone();
        let path = format!("/compute/v2.1/servers/{id}/os-volume_attachments");
        let mut attached = Vec::new();
        let refused = loop {
            let volume = host.hearth.volume_create(1).await;
            let body = json!({"volumeAttachment": {"volumeId": volume}});
            let (status, answer) = host.hearth.ask(Method::POST, &path, Some(body)).await.expect("an answer");
            if status != 200 {
                assert_eq!(status, 403, "{answer:#}");
                break (volume, answer);
            }
            host.hearth.wait_for_status(&volume, "in-use").await;
            attached.push(volume);
            assert!(attached.len() < 40, "it is never full");
        };
        assert!(refused.1["forbidden"]["message"].as_str().expect("words").contains("no free PCI slot or port"));
        if places > 0 {
            assert_eq!(attached.len(), places);
        } else {
            assert!(attached.len() > 20, "{}", attached.len());
        }
        host.hearth.wait_for_status(&refused.0, "available").await;
        host.hearth.server_remove_volume(&id, &attached[0]).await;
        host.hearth.server_add_volume(&id, &refused.0).await;
        assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
        host.hearth.admin(Method::DELETE, &format!("/admin/servers/{id}"), None).await;
        host.guests[server].guest.kill();
    }
}

/// Hundreds of disks in one guest, asked for all at once: as many as there are places, and each one refused beyond them is told.
#[tokio::test]
async fn a_guest_has_hundreds_of_volumes() {
    const PORTS: usize = 200;
    let mut host = Host::start_with(super::hearth::Environment::default().set("quota.volumes", "300")).await;
    let server = host.boot_on("large", Machine::Halted { ports: PORTS }).await;
    let id = host.guests[server].id.clone();
    let path = format!("/compute/v2.1/servers/{id}/os-volume_attachments");
    let volumes = futures_util::future::join_all((0..=PORTS).map(|_| host.hearth.volume_create(1))).await;
    let asked = volumes.iter().map(async |volume| {
        let body = json!({"volumeAttachment": {"volumeId": volume}});
        host.hearth.ask(Method::POST, &path, Some(body)).await.expect("an answer").0
    });
    let mut statuses = futures_util::future::join_all(asked).await;
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), PORTS, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&403));
    wait_until("everything agrees", async || host.hearth.fsck().await.is_empty()).await;
    let disks = host.guests[server].guest.monitor("info block").await;
    assert_eq!(disks.matches("nbd+unix").count(), PORTS, "{disks}");
}
