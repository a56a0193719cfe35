//! Volumes that go from one real backend to another under the eyes of their guest: the stock client asks for it, the guest's own
//! QEMU copies, and the service may die wherever it wants.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use super::guest::Guest;
use super::hearth::{Environment, Hearth, wait_until};
use super::host::{Host, NbdAttachment};
use super::openstack::Client;
use super::writer::Writer;
use crate::drivers::file::clone::fill_file;
use crate::drivers::file::signal;

const GIB: u64 = 1 << 30;

/// Data beside the guest's records.
const BESIDE_MIB: u64 = 100;

const BACKENDS: [&str; 2] = ["local", "second"];

/// The calls of a migration of an attached volume, in their order, after a start of the service with nothing to do.
const MIRROR: u32 = 4;
const PIVOT: u32 = 5;

/// The calls of a migration of a detached volume.
const COPY: u32 = 2;

async fn start() -> Host {
    let environment = BACKENDS.iter().enumerate().fold(Environment::default(), |environment, (number, name)| {
        environment.set(&format!("backends.{number}.name"), *name).set(&format!("backends.{number}.driver"), "file")
    });
    Host::start_with(environment).await
}

/// A volume and where it is.
struct Subject {
    id: String,
    at: &'static str,
}

impl Subject {
    /// A volume with data.
    async fn new(hearth: &Hearth) -> Self {
        let id = hearth.volume_create(1).await;
        let volume = hearth.volume(&id).await.expect("there");
        let host = volume["os-vol-host-attr:host"].as_str().expect("it has a host");
        let at = BACKENDS.into_iter().find(|name| host == host_of(name)).expect("one of the two");
        let subject = Self { id, at };
        fill_file(&subject.file(hearth), BESIDE_MIB);
        subject
    }

    fn file(&self, hearth: &Hearth) -> PathBuf {
        hearth.volume_file_in(self.at, &self.id)
    }

    fn other(&self) -> &'static str {
        BACKENDS.into_iter().find(|name| *name != self.at).expect("two")
    }

    /// Asks for its migration to the other backend, as an administrator does.
    async fn migrate(&self, hearth: &Hearth) {
        let body = json!({"os-migrate_volume": {"host": host_of(self.other())}});
        hearth.admin(Method::POST, &format!("/v3/volumes/{}/action", self.id), Some(body)).await;
    }

    /// Waits until it is there and nothing is left where it was.
    async fn arrive(&mut self, hearth: &Hearth) {
        let (left, target) = (self.file(hearth), self.other());
        wait_until("the volume has arrived", async || {
            let volume = hearth.volume(&self.id).await.expect("there");
            let word = volume["migration_status"].as_str().unwrap_or_default();
            assert_ne!(word, "error", "{volume:#}");
            volume["os-vol-host-attr:host"] == host_of(target) && word == "success"
        })
        .await;
        wait_until("nothing is left where it was", async || !left.exists()).await;
        self.at = target;
        assert!(self.file(hearth).exists());
        wait_until("nothing is open", async || open_operations(hearth).await.is_empty()).await;
    }
}

fn host_of(backend: &str) -> String {
    format!("hearth@{backend}#{backend}")
}

async fn open_operations(hearth: &Hearth) -> Vec<Value> {
    let shown = hearth.admin(Method::GET, "/admin/operations", None).await;
    shown["operations"].as_array().expect("a list").clone()
}

/// The hypervisor has one connection for the disk, and no job.
async fn assert_one_connection(guest: &Guest) {
    let nodes = guest.monitor("info block -n").await;
    assert_eq!(nodes.matches("(nbd)").count(), 1, "{nodes}");
    let jobs = guest.monitor("info block-jobs").await;
    assert!(jobs.contains("No active jobs"), "{jobs}");
}

#[tokio::test]
async fn the_stock_client_moves_a_disk_under_a_guest_that_writes_and_the_disk_lives_on() {
    let mut host = start().await;
    let server = host.boot("vm-1").await;
    let mut subject = Subject::new(&host.hearth).await;
    let attachment = host.plug_only_disk(server, &subject.id).await;
    Writer::start(&mut host.guests[server].guest).await;

    let client = Client::new(&host.hearth);
    client.say(&["volume", "migrate", "--host", &host_of(subject.other()), &subject.id]).await;
    subject.arrive(&host.hearth).await;
    let shown = client.volume_show(&subject.id).await;
    assert_eq!(
        (&shown["os-vol-mig-status-attr:migstat"], &shown["status"]),
        (&json!("success"), &json!("in-use")),
        "{shown:#}"
    );
    assert_eq!(shown["attachments"][0]["attachment_id"], attachment, "the attachment is the same one");
    assert_one_connection(&host.guests[server].guest).await;
    Writer::advance(&mut host.guests[server].guest).await;
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);

    client.say(&["volume", "set", "--size", "2", &subject.id]).await;
    host.hearth.wait_for_status(&subject.id, "in-use").await;
    let grown = format!("[ $(cat /sys/block/vda/size) = {} ]", 2 * GIB / 512);
    host.guests[server].guest.until(&grown).await;
    Writer::advance(&mut host.guests[server].guest).await;
    let safe = Writer::stop(&mut host.guests[server].guest).await;
    Writer::check(&subject.file(&host.hearth), safe);

    client.say(&["server", "remove", "volume", "vm-1", &subject.id]).await;
    host.hearth.wait_for_status(&subject.id, "available").await;
    host.guests[server].guest.until("[ ! -e /dev/vda ]").await;
    // And back, without a guest.
    client.say(&["volume", "migrate", "--host", &host_of(subject.other()), &subject.id]).await;
    subject.arrive(&host.hearth).await;
    Writer::check(&subject.file(&host.hearth), safe);
    host.hearth.volume_delete(&subject.id).await;
    assert!(!subject.file(&host.hearth).exists());
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
}

/// Wherever the service dies, the guest notices nothing, and the next start brings the volume to where it was to go.
#[tokio::test]
async fn r96_a_migration_survives_the_death_of_the_service_before_and_after_the_pivot() {
    let mut host = start().await;
    let server = host.boot("vm-1").await;
    let mut subject = Subject::new(&host.hearth).await;
    host.plug_only_disk(server, &subject.id).await;
    Writer::start(&mut host.guests[server].guest).await;

    // In the middle of copying.
    subject.migrate(&host.hearth).await;
    wait_until("it copies", async || {
        open_operations(&host.hearth).await.iter().any(|operation| operation["step"] == "mirror")
    })
    .await;
    host.hearth.kill().await;
    Writer::advance(&mut host.guests[server].guest).await;
    host.hearth.start_again().await;
    subject.arrive(&host.hearth).await;
    assert_one_connection(&host.guests[server].guest).await;

    let places = [("before", MIRROR), ("after", MIRROR), ("before", PIVOT), ("after", PIVOT), ("after", PIVOT + 1)];
    for (side, call) in places {
        host.hearth.kill().await;
        host.hearth.start_again_to_die_at(&format!("driver.{side}:{call}")).await;
        host.hearth.wait_until_ready().await;
        subject.migrate(&host.hearth).await;
        host.hearth.wait_until_dead().await;
        Writer::advance(&mut host.guests[server].guest).await;
        host.hearth.start_again().await;
        subject.arrive(&host.hearth).await;
        assert_one_connection(&host.guests[server].guest).await;
        Writer::advance(&mut host.guests[server].guest).await;
        assert_eq!(host.hearth.fsck().await, [] as [Value; 0], "{side} {call}");
    }
    let safe = Writer::stop(&mut host.guests[server].guest).await;
    Writer::check(&subject.file(&host.hearth), safe);
    host.hearth.server_remove_volume(&host.guests[server].id, &subject.id).await;
    host.guests[server].guest.until("[ ! -e /dev/vda ]").await;
}

#[tokio::test]
async fn r96_a_migration_of_a_detached_volume_survives_the_death_of_the_service() {
    let mut host = start().await;
    let mut subject = Subject::new(&host.hearth).await;
    let attachment = NbdAttachment::connect(&host.hearth, &subject.id, "another-host").await;
    assert!(attachment.client().await.write(b'W', 0).await);
    attachment.delete(&host.hearth).await;
    host.hearth.wait_for_status(&subject.id, "available").await;
    let before = std::fs::read(subject.file(&host.hearth)).expect("read");

    for (side, call) in [("before", COPY), ("after", COPY), ("before", COPY + 1), ("after", COPY + 1)] {
        host.hearth.kill().await;
        host.hearth.start_again_to_die_at(&format!("driver.{side}:{call}")).await;
        host.hearth.wait_until_ready().await;
        subject.migrate(&host.hearth).await;
        host.hearth.wait_until_dead().await;
        host.hearth.start_again().await;
        subject.arrive(&host.hearth).await;
        assert!(std::fs::read(subject.file(&host.hearth)).expect("read") == before, "{side} {call}");
        assert_eq!(host.hearth.fsck().await, [] as [Value; 0], "{side} {call}");
    }
}

/// The administrator calls it off while it copies, and even while the destination hangs: the guest keeps its disk where it is,
/// and nothing is left at the destination.
#[tokio::test]
async fn r75_a_migration_that_is_called_off_leaves_the_guest_its_disk_and_nothing_elsewhere() {
    let mut host = start().await;
    let server = host.boot("vm-1").await;
    let subject = Subject::new(&host.hearth).await;
    fill_file(&subject.file(&host.hearth), 4 * BESIDE_MIB);
    host.plug_only_disk(server, &subject.id).await;
    Writer::start(&mut host.guests[server].guest).await;
    let sources = host.hearth.daemon_pids();
    subject.migrate(&host.hearth).await;
    wait_until("it copies, and says how far it is", async || {
        let open = open_operations(&host.hearth).await;
        open.iter().any(|operation| operation["step"] == "mirror" && operation["progress_percent"].is_u64())
    })
    .await;
    let destinations: Vec<i32> = host.hearth.daemon_pids().into_iter().filter(|pid| !sources.contains(pid)).collect();
    assert!(!destinations.is_empty());
    destinations.iter().for_each(|pid| signal(*pid, libc::SIGSTOP));

    let call_off = json!({"os-migrate_volume_completion": {"new_volume": subject.id, "error": true}});
    host.hearth.admin(Method::POST, &format!("/v3/volumes/{}/action", subject.id), Some(call_off)).await;
    assert!(host.guests[server].guest.run("true").await.1, "the guest lives");
    destinations.iter().for_each(|pid| signal(*pid, libc::SIGCONT));
    wait_until("it is called off and cleared away", async || {
        let volume = host.hearth.volume(&subject.id).await.expect("there");
        volume["migration_status"] == "error" && open_operations(&host.hearth).await.is_empty()
    })
    .await;
    let volume = host.hearth.volume(&subject.id).await.expect("there");
    assert_eq!(volume["os-vol-host-attr:host"], host_of(subject.at), "{volume:#}");
    assert!(!host.hearth.volume_file_in(subject.other(), &subject.id).exists());
    Writer::advance(&mut host.guests[server].guest).await;
    assert_one_connection(&host.guests[server].guest).await;
    assert_eq!(host.hearth.fsck().await, [] as [Value; 0]);
    let safe = Writer::stop(&mut host.guests[server].guest).await;
    Writer::check(&subject.file(&host.hearth), safe);
}
