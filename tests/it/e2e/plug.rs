//! Hot-plug into a real guest: it sees its disk with its data, sees it grow, and no longer sees it.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Answer, Call, CauseKind, Guest as GuestRecord, Outcome, Request};
use hearth::domain::ids::{AttachmentId, ExportName, VolumeId};
use hearth::domain::server::HypervisorKind;
use hearth::drivers::hypervisor::qmp::QmpHypervisor;
use hearth::drivers::{Hypervisor, Progress};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use super::guest::{Guest, Machine};
use crate::drivers::file::{GIB, NbdClient, Pool, assert_refused, key, sized, within};

/// A pool, a guest, and a hypervisor driver that may reach it.
pub struct Host {
    pub pool: Pool,
    pub guest: Guest,
    record: GuestRecord,
    hypervisor: Arc<QmpHypervisor>,
    _dir: TempDir,
}

impl Host {
    pub async fn start(machine: Machine) -> Self {
        Self::start_at(Pool::start().await, machine).await
    }

    pub async fn start_at(pool: Pool, machine: Machine) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let uuid = Uuid::new_v4().to_string();
        let guest = Guest::boot(dir.path(), &uuid, machine).await;
        let record = GuestRecord {
            server_id: uuid.into(),
            hypervisor: HypervisorKind::Qmp,
            qmp_socket: Some(guest.qmp().display().to_string()),
            check_uuid: true,
        };
        let hypervisor = QmpHypervisor::new(vec![dir.path().to_owned()]);
        Self { pool, guest, record, hypervisor, _dir: dir }
    }

    pub async fn call(&self, volume: VolumeId, request: Request) -> Outcome {
        within(self.begin(&Call { key: key(volume), request })).await
    }

    /// The same, to be awaited, or not.
    pub fn begin(&self, call: &Call) -> BoxFuture<'static, Outcome> {
        self.hypervisor.clone().call(self.record.clone(), call.clone())
    }

    /// How far the call's copy is.
    pub fn progress(&self, call: &Call) -> Option<Progress> {
        self.hypervisor.progress(&call.key)
    }

    /// What a restart of the service does: everything in memory is lost, the guest goes on.
    pub fn restart(&mut self) {
        self.hypervisor = QmpHypervisor::new(vec![self._dir.path().to_owned()]);
    }

    pub async fn plug(&self, volume: VolumeId, attachment_id: AttachmentId, info: &Value) -> Outcome {
        let mode = if info["access_mode"] == "ro" { AttachMode::ReadOnly } else { AttachMode::ReadWrite };
        self.call(volume, Request::Plug { attachment_id, connection_info: info.clone().into(), mode }).await
    }

    pub async fn plugged(&self, volume: VolumeId, attachment_id: AttachmentId) -> bool {
        self.probe(volume, attachment_id).await.0
    }

    /// Whether the disk is plugged, and the export that it uses.
    pub async fn probe(&self, volume: VolumeId, attachment_id: AttachmentId) -> (bool, Option<ExportName>) {
        match self.call(volume, Request::ProbeGuest { attachment_id }).await {
            Outcome::Done { answer: Answer::Plugged { plugged, export } } => (plugged, export),
            other => panic!("no answer: {other:?}"),
        }
    }
}

pub fn attachment() -> AttachmentId {
    AttachmentId(Uuid::new_v4())
}

/// Plug, read, write, extend while idle, extend while writing, unplug.
async fn a_disk_lives_its_life(machine: Machine) {
    let mut host = Host::start(machine).await;
    let volume = host.pool.create(1).await;
    let (export, info) = host.pool.exported(volume).await;
    {
        let mut earlier = NbdClient::connect(&info, 0).await.expect("connected");
        assert!(earlier.write(b'W', 0).await);
    }
    let attachment = attachment();
    assert!(!host.plugged(volume, attachment).await);
    assert_eq!(host.plug(volume, attachment, &info).await, Outcome::done());
    assert_eq!(host.plug(volume, attachment, &info).await, Outcome::done(), "already plugged");
    assert!(host.plugged(volume, attachment).await);
    assert_eq!(within(host.hypervisor.clone().inventory(host.record.clone())).await, Ok(vec![attachment]));

    host.guest.until("[ -b /dev/vda ]").await;
    let (serial, _) = host.guest.run("cat /sys/block/vda/serial; echo").await;
    assert_eq!(serial, volume.to_string()[..20], "virtio shows the id's first 20 characters");
    let (data, _) = host.guest.run("dd if=/dev/vda bs=8 count=1 2>/dev/null; echo").await;
    assert_eq!(data, "WWWWWWWW");
    let (_, written) = host.guest.run("echo hello-from-guest | dd of=/dev/vda conv=fsync 2>/dev/null").await;
    assert!(written);
    assert!(host.pool.first_bytes(volume).starts_with(b"hello-from-guest"));

    // The guest is idle from here on: nothing but the driver makes it reconnect.
    let sectors = |gib: u64| format!("[ $(cat /sys/block/vda/size) = {} ]", gib * GIB / 512);
    host.guest.until(&sectors(1)).await;
    assert_eq!(host.pool.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
    let resize = |new_size_gib| Request::ResizeGuest { attachment_id: attachment, new_size_gib };
    assert_eq!(host.call(volume, resize(2)).await, Outcome::done());
    host.guest.until(&sectors(2)).await;
    assert_eq!(host.call(volume, resize(2)).await, Outcome::done(), "again changes nothing");
    let (_, written) = host.guest.run("echo end | dd of=/dev/vda bs=1M seek=2047 conv=fsync 2>/dev/null").await;
    assert!(written, "the new room is usable");

    // And once more while it writes.
    host.guest.run("while :; do dd if=/dev/zero of=/dev/vda bs=4k count=1 seek=9 conv=fsync || echo lost >/lost; done 2>/dev/null &").await;
    assert_eq!(host.pool.call(volume, Request::Extend { new_size_gib: 3 }).await, sized(3));
    assert_eq!(host.call(volume, resize(3)).await, Outcome::done());
    host.guest.until(&sectors(3)).await;
    host.guest.run("kill $!; wait $! 2>/dev/null").await;
    assert!(host.guest.run("[ ! -e /lost ]").await.1, "no write failed");

    let unplug = Request::Unplug { attachment_id: attachment };
    assert_eq!(host.call(volume, unplug.clone()).await, Outcome::done());
    host.guest.until("[ ! -e /dev/vda ]").await;
    assert!(!host.plugged(volume, attachment).await);
    assert_eq!(host.call(volume, unplug).await, Outcome::done(), "not plugged is done");
    assert_eq!(host.pool.unexport(volume, &export).await, Outcome::done());
    assert!(host.pool.first_bytes(volume).starts_with(b"hello-from-guest"));
}

#[tokio::test]
async fn a_disk_lives_its_life_on_a_conventional_bus() {
    a_disk_lives_its_life(Machine::Pc).await;
}

#[tokio::test]
async fn a_disk_lives_its_life_on_pci_express() {
    a_disk_lives_its_life(Machine::Q35 { ports: 1 }).await;
}

#[tokio::test]
async fn ports_are_used_once_each_and_when_none_is_free_the_guest_says_so() {
    let mut host = Host::start(Machine::Q35 { ports: 2 }).await;
    let mut plugged = Vec::new();
    for _ in 0..2 {
        let volume = host.pool.create(1).await;
        let (_, info) = host.pool.exported(volume).await;
        plugged.push((volume, attachment(), info));
    }
    let [(first, a, first_info), (second, b, second_info)] = &plugged[..] else { unreachable!("two") };
    // At once: they must not choose the same port.
    let outcomes = tokio::join!(host.plug(*first, *a, first_info), host.plug(*second, *b, second_info));
    assert_eq!(outcomes, (Outcome::done(), Outcome::done()));
    host.guest.until("[ -b /dev/vda ] && [ -b /dev/vdb ]").await;

    let third = host.pool.create(1).await;
    let (_, info) = host.pool.exported(third).await;
    let c = attachment();
    assert_refused(&host.plug(third, c, &info).await, CauseKind::Guest);
    assert_eq!(host.call(*first, Request::Unplug { attachment_id: *a }).await, Outcome::done());
    assert_eq!(
        host.plug(third, c, &info).await,
        Outcome::done(),
        "the port is free again, and nothing was left behind"
    );
}

#[tokio::test]
async fn a_read_only_attachment_is_a_read_only_disk() {
    let mut host = Host::start(Machine::Pc).await;
    let volume = host.pool.create(1).await;
    let name = crate::drivers::file::export_name();
    let info = crate::drivers::file::connection(host.pool.export(volume, &name, AttachMode::ReadOnly).await);
    assert_eq!(host.plug(volume, attachment(), &info).await, Outcome::done());
    host.guest.until("[ -b /dev/vda ]").await;
    assert_eq!(host.guest.run("cat /sys/block/vda/ro").await.0, "1");
    assert!(!host.guest.run("echo x | dd of=/dev/vda conv=fsync 2>/dev/null").await.1);
}

#[tokio::test]
async fn only_the_servers_own_guest_is_touched_and_a_dead_one_has_no_disks() {
    let mut host = Host::start(Machine::Pc).await;
    let volume = host.pool.create(1).await;
    let (_, info) = host.pool.exported(volume).await;
    let id = attachment();

    let own = host.record.clone();
    host.record.server_id = Uuid::new_v4().to_string().into();
    assert_refused(&host.plug(volume, id, &info).await, CauseKind::Guest);
    assert_refused(&host.call(volume, Request::Unplug { attachment_id: id }).await, CauseKind::Guest);
    host.record.check_uuid = false;
    assert_eq!(host.plug(volume, id, &info).await, Outcome::done(), "unless the server opted out");
    host.record = own.clone();

    let outside = tempfile::tempdir().expect("a directory");
    let link = outside.path().join("guest.qmp");
    std::os::unix::fs::symlink(host.guest.qmp(), &link).expect("linked");
    host.hypervisor = QmpHypervisor::new(vec![outside.path().to_owned()]);
    for path in [link, PathBuf::from(own.qmp_socket.clone().expect("has one"))] {
        host.record.qmp_socket = Some(path.display().to_string());
        assert_refused(&host.plug(volume, attachment(), &info).await, CauseKind::Guest);
    }
    host.record = own.clone();
    host.restart();

    // An export that is not there: nothing is plugged, nothing is left.
    let mut wrong = info.clone();
    wrong["export"] = "nothing".into();
    let outcome = host.plug(volume, attachment(), &wrong).await;
    crate::drivers::file::assert_failed(&outcome, CauseKind::Unavailable);

    host.guest.kill();
    let unplug = Request::Unplug { attachment_id: id };
    assert_eq!(host.call(volume, unplug.clone()).await, Outcome::done(), "no process, no device");
    assert!(!host.plugged(volume, id).await);
    crate::drivers::file::assert_failed(&host.plug(volume, attachment(), &info).await, CauseKind::Guest);
    std::fs::remove_file(host.guest.qmp()).expect("left by the dead process");
    assert_eq!(host.call(volume, unplug).await, Outcome::done());
}

#[tokio::test]
async fn a_guest_that_does_not_let_go_keeps_its_disk() {
    let mut host = Host::start(Machine::Pc).await;
    let volume = host.pool.create(1).await;
    let (_, info) = host.pool.exported(volume).await;
    let id = attachment();
    assert_eq!(host.plug(volume, id, &info).await, Outcome::done());
    host.guest.until("[ -b /dev/vda ]").await;
    // A guest whose processor is stopped answers no unplug request.
    host.guest.monitor("stop").await;
    assert_refused(&host.call(volume, Request::Unplug { attachment_id: id }).await, CauseKind::Guest);
    assert!(host.plugged(volume, id).await);
    host.guest.monitor("cont").await;
    assert_eq!(host.call(volume, Request::Unplug { attachment_id: id }).await, Outcome::done());
    host.guest.until("[ ! -e /dev/vda ]").await;
}
