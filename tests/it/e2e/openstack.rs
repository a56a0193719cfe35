//! The stock `openstack` client against the shipped binary: what a newcomer types, and what a guest sees of it.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::guest::Guest;
use super::hearth::{Environment, Hearth, PATIENCE, binary, wait_until};
use super::host::{Host, NbdAttachment};
use super::writer::Writer;

const GIB: u64 = 1 << 30;

/// The stock client, told of one service by the `clouds.yaml` that the service wrote.
pub struct Client<'a> {
    hearth: &'a Hearth,
    program: PathBuf,
}

impl<'a> Client<'a> {
    pub fn new(hearth: &'a Hearth) -> Self {
        // scripts/setup.sh puts the clients beside the build's profiles
        let target = binary().ancestors().nth(2).expect("target directory");
        let program = target.join("openstack-venv/bin/openstack");
        assert!(program.exists(), "{} is missing: run scripts/setup.sh test", program.display());
        Self { hearth, program }
    }

    /// Runs a command that must succeed; its output.
    pub async fn say(&self, arguments: &[&str]) -> String {
        let home = self.hearth.state_file(".");
        let mut command = Command::new(&self.program);
        // nothing of the machine's own OpenStack configuration may come in
        command.env_clear().env("HOME", &home).env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8");
        command.env("OS_CLIENT_CONFIG_FILE", self.hearth.state_file("clouds.yaml")).env("OS_CLOUD", "hearth");
        command.args(arguments).current_dir(&home).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output());
        let output = output.await.expect("the client ends in time").expect("the client starts");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "openstack {}: {}\n{stdout}{stderr}", arguments.join(" "), output.status);
        stdout.into_owned()
    }

    /// Runs a command that answers with an object or a list.
    async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.say(&[arguments, &["-f", "json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A volume as the client shows it.
    pub async fn volume_show(&self, id: &str) -> Value {
        self.json(&["volume", "show", id]).await
    }

    /// Waits until the volume has this status (over HTTP: a client is a second of Python); the volume as the client shows it.
    async fn wait_for_status(&self, id: &str, status: &str) -> Value {
        self.hearth.wait_for_status(id, status).await;
        let shown = self.volume_show(id).await;
        assert_eq!(shown["status"], status, "{shown:#}");
        shown
    }

    async fn volume_exists(&self, id: &str) -> bool {
        let volumes = self.json(&["volume", "list"]).await;
        volumes.as_array().expect("a list").iter().any(|volume| volume["ID"] == id)
    }
}

/// What can be seen and done from inside of the server that the volume is attached to.
pub trait Inside {
    /// Before the volume is attached.
    async fn prepare(&mut self, _hearth: &Hearth, _volume: &str) {}

    /// Waits until there is a disk of this size; `None`: until there is no disk.
    async fn wait_for_disk(&mut self, bytes: Option<u64>);

    /// Whether the disk is written to from now on, without a pause.
    async fn be_busy(&mut self, _busy: bool) {}
}

/// A simulated guest: the attachment and the volume's status say all that there is.
struct Nothing;

impl Inside for Nothing {
    async fn wait_for_disk(&mut self, _bytes: Option<u64>) {}
}

/// create → server add volume → extend while attached (busy, then idle) → server remove volume → delete, with nothing but
/// the stock client. The volume's id.
pub async fn life_of_a_volume(hearth: &Hearth, server: &str, inside: &mut impl Inside) -> String {
    let client = Client::new(hearth);

    let created = client.json(&["volume", "create", "--size", "1", "first"]).await;
    let id = created["id"].as_str().expect("an id").to_owned();
    client.wait_for_status(&id, "available").await;
    inside.prepare(hearth, &id).await;

    client.say(&["server", "add", "volume", server, "first"]).await;
    let attached = client.wait_for_status(&id, "in-use").await;
    assert_eq!(attached["attachments"].as_array().map(Vec::len), Some(1), "{attached:#}");
    let rows = client.json(&["server", "volume", "list", server]).await;
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows:#}");
    assert_eq!(rows[0]["Attachment ID"], attached["attachments"][0]["attachment_id"], "two views of one row");
    inside.wait_for_disk(Some(GIB)).await;

    for (size, busy) in [(2, true), (3, false)] {
        inside.be_busy(busy).await;
        client.say(&["volume", "set", "--size", &size.to_string(), "first"]).await;
        let grown = client.wait_for_status(&id, "in-use").await;
        assert_eq!(grown["size"], size, "grown while attached");
        inside.wait_for_disk(Some(size * GIB)).await;
    }

    client.say(&["server", "remove", "volume", server, "first"]).await;
    let detached = client.wait_for_status(&id, "available").await;
    assert_eq!(detached["attachments"], json!([]), "{detached:#}");
    let rows = client.json(&["server", "volume", "list", server]).await;
    assert_eq!(rows, json!([]));
    inside.wait_for_disk(None).await;

    client.say(&["volume", "delete", "first"]).await;
    wait_until("the volume is gone", async || hearth.volume(&id).await.is_none()).await;
    assert!(!client.volume_exists(&id).await);
    id
}

/// A service whose backend and hypervisor are simulated: no storage daemon, no guest, the same two APIs.
#[tokio::test]
async fn the_stock_client_leads_a_volume_through_its_life() {
    let environment = Environment::default().set("backends.0.name", "simulated").set("backends.0.driver", "sim");
    let hearth = Hearth::start(environment).await;
    hearth.wait_until_ready().await;
    hearth.server_register("5b1e2c3a-0000-4000-8000-000000000001", "vm-1", "sim", None).await;
    let servers = Client::new(&hearth).json(&["server", "list"]).await;
    assert_eq!(servers[0]["Name"], "vm-1", "{servers:#}");
    life_of_a_volume(&hearth, "vm-1", &mut Nothing).await;
}

/// The first page of the README with its real parts: storage daemon, QEMU, a Linux guest.
#[tokio::test]
async fn the_stock_client_gives_a_real_guest_its_disk_and_takes_it_away() {
    let mut host = Host::start().await;
    let server = host.boot("vm-1").await;
    let Host { hearth, guests, .. } = &mut host;
    let mut inside = InGuest { guest: &mut guests[server].guest, volume: String::new(), wrote: false };
    let id = life_of_a_volume(hearth, "vm-1", &mut inside).await;
    assert!(inside.wrote, "the guest has written");
    assert!(!hearth.volume_file(&id).exists(), "its file is gone");
    assert_eq!(hearth.fsck().await, [] as [Value; 0]);
}

/// A Linux guest whose only disk is the volume.
struct InGuest<'a> {
    guest: &'a mut Guest,
    volume: String,
    wrote: bool,
}

impl Inside for InGuest<'_> {
    /// Another host writes to the volume first, through the attachments API.
    async fn prepare(&mut self, hearth: &Hearth, volume: &str) {
        self.volume = volume.to_owned();
        let attachment = NbdAttachment::connect(hearth, volume, "another-host").await;
        assert!(attachment.client().await.write(b'W', 0).await);
        attachment.delete(hearth).await;
        hearth.wait_for_status(volume, "available").await;
    }

    async fn wait_for_disk(&mut self, bytes: Option<u64>) {
        let Some(bytes) = bytes else { return self.guest.until("[ ! -e /dev/vda ]").await };
        self.guest.until(&format!("[ -b /dev/vda ] && [ $(cat /sys/block/vda/size) = {} ]", bytes / 512)).await;
        let (serial, _) = self.guest.run("cat /sys/block/vda/serial; echo").await;
        assert_eq!(serial, self.volume[..20], "virtio shows the first 20 characters of the volume's id");
        let (data, _) = self.guest.run("dd if=/dev/vda bs=8 count=1 2>/dev/null; echo").await;
        assert_eq!(data, "WWWWWWWW", "what was written before");
        let last = bytes / 4096 - 1;
        let write = format!("echo last | dd of=/dev/vda bs=4k seek={last} conv=sync,fsync 2>/dev/null");
        assert!(self.guest.run(&write).await.1, "the room up to the end is usable");
    }

    async fn be_busy(&mut self, busy: bool) {
        if busy {
            Writer::start(self.guest).await;
        } else {
            let written = Writer::stop(self.guest).await;
            assert!(written > 0);
            self.wrote = true;
        }
    }
}
