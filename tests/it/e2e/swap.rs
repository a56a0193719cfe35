//! A real guest's disk that becomes another volume's while the guest writes (nova-volume-attachments §5): through the whole service, with
//! the guest's own QEMU, and with the service or the guest dying on the way.

use reqwest::Method;
use serde_json::{Value, json};

use super::guest::Guest;
use super::hearth::{Environment, Hearth, wait_until};
use super::host::Host;
use super::writer::Writer;
use crate::drivers::file::clone::fill_file;

const GIB: u64 = 1 << 30;

/// Data beside the guest's records.
const BESIDE_MIB: u64 = 100;

const BACKENDS: [&str; 2] = ["local", "second"];

/// The calls of a swap to a volume of the same size, in their order, after a start of the service with nothing to do.
const MIRROR: u32 = 2;
const PIVOT: u32 = 3;
const UNEXPORT: u32 = 4;

async fn start() -> Host {
    let environment = Environment::default().set("compute.swap_requires_migration", "false");
    let environment = BACKENDS.iter().enumerate().fold(environment, |environment, (number, name)| {
        environment.set(&format!("backends.{number}.name"), *name).set(&format!("backends.{number}.driver"), "file")
    });
    Host::start_with(environment).await
}

/// A volume at this backend.
async fn volume_at(hearth: &Hearth, backend: &str, size_gib: u32) -> String {
    let id = hearth.volume_create(size_gib).await;
    let wanted = format!("hearth@{backend}#{backend}");
    let volume = hearth.volume(&id).await.expect("there");
    if volume["os-vol-host-attr:host"] != wanted.as_str() {
        let body = json!({"os-migrate_volume": {"host": wanted}});
        hearth.admin(Method::POST, &format!("/v3/volumes/{id}/action"), Some(body)).await;
        wait_until("the volume is where it shall be", async || {
            hearth.volume(&id).await.expect("there")["migration_status"] == "success"
        })
        .await;
        until_quiet(hearth).await;
    }
    id
}

async fn until_quiet(hearth: &Hearth) {
    wait_until("nothing is open", async || open_operations(hearth).await.is_empty()).await;
}

async fn open_operations(hearth: &Hearth) -> Vec<Value> {
    let shown = hearth.admin(Method::GET, "/admin/operations", None).await;
    shown["operations"].as_array().expect("a list").clone()
}

/// Asks for the swap; the service may die before it has answered.
async fn ask_swap(hearth: &Hearth, server: &str, old: &str, new: &str) -> Option<u16> {
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments/{old}");
    let body = json!({"volumeAttachment": {"volumeId": new}});
    let headers = [("OpenStack-API-Version", "compute 2.84")];
    let answer = hearth.ask_with(Method::PUT, &path, Some(body), &headers).await.ok();
    answer.map(|(status, _)| status)
}

async fn until_swapped(hearth: &Hearth, old: &str, new: &str) {
    hearth.wait_for_status(new, "in-use").await;
    hearth.wait_for_status(old, "available").await;
    until_quiet(hearth).await;
}

/// The hypervisor has one connection for the disk, and no job.
async fn assert_one_connection(guest: &Guest) {
    let nodes = guest.monitor("info block -n").await;
    assert_eq!(nodes.matches("(nbd)").count(), 1, "{nodes}");
    let jobs = guest.monitor("info block-jobs").await;
    assert!(jobs.contains("No active jobs"), "{jobs}");
}

async fn attached(hearth: &Hearth, server: &str) -> Value {
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    hearth.admin(Method::GET, &path, None).await["volumeAttachments"].clone()
}

#[tokio::test]
async fn a_guest_writes_through_a_swap_to_another_backend_and_one_back() {
    let mut host = start().await;
    let server = host.boot("vm-1").await;
    let id = host.guests[server].id.clone();
    let old = volume_at(&host.hearth, "local", 1).await;
    fill_file(&host.hearth.volume_file_in("local", &old), BESIDE_MIB);
    host.plug_only_disk(server, &old).await;
    Writer::start(&mut host.guests[server].guest).await;
    let before = attached(&host.hearth, &id).await;

    // To a larger one, elsewhere, that holds something already.
    let new = volume_at(&host.hearth, "second", 2).await;
    fill_file(&host.hearth.volume_file_in("second", &new), 3 * BESIDE_MIB);
    assert_eq!(ask_swap(&host.hearth, &id, &old, &new).await, Some(202));
    until_swapped(&host.hearth, &old, &new).await;
    let after = attached(&host.hearth, &id).await;
    for member in ["device", "bdm_uuid", "tag", "delete_on_termination"] {
        assert_eq!(before[0][member], after[0][member], "{member}");
    }
    assert_eq!((after.as_array().map(Vec::len), &after[0]["volumeId"]), (Some(1), &json!(new)));
    assert_one_connection(&host.guests[server].guest).await;
    let grown = format!("[ $(cat /sys/block/vda/size) = {} ]", 2 * GIB / 512);
    host.guests[server].guest.until(&grown).await;
    Writer::advance(&mut host.guests[server].guest).await;
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);

    // The disk lives on under its name: it grows, moves, and is swapped again, now within one backend.
    let extend = json!({"os-extend": {"new_size": 3}});
    host.hearth.admin(Method::POST, &format!("/v3/volumes/{new}/action"), Some(extend)).await;
    let grown = format!("[ $(cat /sys/block/vda/size) = {} ]", 3 * GIB / 512);
    host.guests[server].guest.until(&grown).await;
    host.hearth.wait_for_status(&new, "in-use").await;
    let third = volume_at(&host.hearth, "second", 3).await;
    assert_eq!(ask_swap(&host.hearth, &id, &new, &third).await, Some(202));
    until_swapped(&host.hearth, &new, &third).await;
    assert_one_connection(&host.guests[server].guest).await;
    let migrate = json!({"os-migrate_volume": {"host": "hearth@local#local"}});
    host.hearth.admin(Method::POST, &format!("/v3/volumes/{third}/action"), Some(migrate)).await;
    wait_until("it has moved", async || {
        host.hearth.volume(&third).await.expect("there")["migration_status"] == "success"
    })
    .await;
    until_quiet(&host.hearth).await;
    Writer::advance(&mut host.guests[server].guest).await;
    let safe = Writer::stop(&mut host.guests[server].guest).await;
    Writer::check(&host.hearth.volume_file_in("local", &third), safe);
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
    host.hearth.server_remove_volume(&id, &third).await;
    host.guests[server].guest.until("[ ! -e /dev/vda ]").await;
    for volume in [old, new, third] {
        host.hearth.volume_delete(&volume).await;
    }
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
}

/// Wherever the service dies, the guest notices nothing, and the next start brings it to where it was to go.
#[tokio::test]
async fn r76_r96_a_swap_survives_the_death_of_the_service_before_and_after_the_pivot() {
    let mut host = start().await;
    let server = host.boot("vm-1").await;
    let id = host.guests[server].id.clone();
    let (mut old, mut new) = (volume_at(&host.hearth, "local", 1).await, volume_at(&host.hearth, "second", 1).await);
    let (mut at, mut other) = ("local", "second");
    fill_file(&host.hearth.volume_file_in("local", &old), BESIDE_MIB);
    host.plug_only_disk(server, &old).await;
    Writer::start(&mut host.guests[server].guest).await;
    let places = [
        ("before", MIRROR),
        ("after", MIRROR),
        ("before", PIVOT),
        ("after", PIVOT),
        ("before", UNEXPORT),
        ("after", UNEXPORT),
    ];
    for (side, call) in places {
        host.hearth.kill().await;
        host.hearth.start_again_to_die_at(&format!("driver.{side}:{call}")).await;
        host.hearth.wait_until_ready().await;
        let _ = ask_swap(&host.hearth, &id, &old, &new).await;
        host.hearth.wait_until_dead().await;
        Writer::advance(&mut host.guests[server].guest).await;
        host.hearth.start_again().await;
        until_swapped(&host.hearth, &old, &new).await;
        (old, new) = (new, old);
        (at, other) = (other, at);
        assert_one_connection(&host.guests[server].guest).await;
        Writer::advance(&mut host.guests[server].guest).await;
        assert_eq!(host.hearth.fsck().await, [] as [Value; 0], "{side} {call}");
    }
    // Killed in the middle of the copy, without a word.
    assert_eq!(ask_swap(&host.hearth, &id, &old, &new).await, Some(202));
    host.hearth.kill().await;
    Writer::advance(&mut host.guests[server].guest).await;
    host.hearth.start_again().await;
    until_swapped(&host.hearth, &old, &new).await;
    let safe = Writer::stop(&mut host.guests[server].guest).await;
    Writer::check(&host.hearth.volume_file_in(other, &new), safe);
    host.hearth.server_remove_volume(&id, &new).await;
    host.guests[server].guest.until("[ ! -e /dev/vda ]").await;
}

/// The guest's process ends in the middle of the copy: nothing was swapped, and both volumes can be used.
#[tokio::test]
async fn r76_a_guest_that_dies_in_a_swap_keeps_the_volume_that_it_had() {
    let mut host = start().await;
    let server = host.boot("vm-1").await;
    let id = host.guests[server].id.clone();
    let (old, new) = (volume_at(&host.hearth, "local", 1).await, volume_at(&host.hearth, "second", 1).await);
    fill_file(&host.hearth.volume_file_in("local", &old), 5 * BESIDE_MIB);
    host.plug_only_disk(server, &old).await;
    Writer::start(&mut host.guests[server].guest).await;
    Writer::advance(&mut host.guests[server].guest).await;
    let safe = Writer::safe(&mut host.guests[server].guest).await;
    assert_eq!(ask_swap(&host.hearth, &id, &old, &new).await, Some(202));
    wait_until("it copies", async || {
        open_operations(&host.hearth).await.iter().any(|operation| operation["step"] == "mirror")
    })
    .await;
    host.guests[server].guest.kill();
    host.hearth.wait_for_status(&new, "available").await;
    host.hearth.wait_for_status(&old, "in-use").await;
    until_quiet(&host.hearth).await;
    assert_eq!(attached(&host.hearth, &id).await[0]["volumeId"], old.as_str());
    Writer::check(&host.hearth.volume_file_in("local", &old), safe);
    host.hearth.server_remove_volume(&id, &old).await;
    for volume in [&old, &new] {
        host.hearth.volume_delete(volume).await;
    }
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
}
