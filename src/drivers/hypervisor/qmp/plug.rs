//! Plug, unplug and resize in one guest.

use std::time::Duration;

use qapi::qmp::{self, Event};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::guest::{Bus, Disk, GuestLink, PluggedDisk, connection_name, device_id, job_name, node_names};
use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Cause, CauseKind, Outcome};
use crate::domain::ids::{AttachmentId, VolumeId};
use crate::drivers::block_job;
use crate::drivers::qmp::{BlockdevAdd, BlockdevReopen, DeviceAdd, QmpError};

/// How long a guest may take to let go of a device; measured about 0.1 s for one that cooperates.
pub(super) const UNPLUG_LIMIT: Duration = Duration::from_secs(20);

/// A guest that ignored the request (it was booting, say) is asked again at this interval; QEMU refuses it more often.
const UNPLUG_RESEND: Duration = Duration::from_secs(6);

/// How long the new size may take to be seen; one I/O and one resize, measured below 0.1 s.
const RESIZE_LIMIT: Duration = Duration::from_secs(20);

/// How long the last user of a node that is not needed any more may take to let go of it.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Between looks at a state that has no event.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// The guest's disk waits this many seconds for an export that comes back (a resize, a daemon's restart) before it gives
/// I/O errors to the guest.
const RECONNECT_DELAY_S: u32 = 30;

/// How long a running guest may take to begin to use a new disk; measured below 0.2 s. One without a driver never does.
const TAKE_LIMIT: Duration = Duration::from_secs(5);

/// A disk that the guest ejected by mistake is plugged again this often.
const PLUG_TRIES: u32 = 3;

/// Makes the volume a disk of the guest.
///
/// A disk that QEMU has added is not yet one that stays. While a device is being removed, every other change makes QEMU's
/// ACPI tables ask the guest for that removal once more, and a guest which answers the second request late ejects whatever
/// is in the slot by then: the next disk. The guest handles such requests in order, so that a disk which it has begun to
/// use is safe; before that, it may vanish, and is plugged again.
pub(super) async fn plug(
    link: &GuestLink,
    volume: VolumeId,
    attachment: AttachmentId,
    info: &Value,
    mode: AttachMode,
) -> Outcome {
    for _ in 0..PLUG_TRIES {
        if let Err(outcome) = add(link, volume, attachment, info, mode).await {
            return outcome;
        }
        match stays(link, attachment).await {
            Ok(true) => return Outcome::done(),
            Ok(false) => tracing::info!(%attachment, "the guest ejected a new disk: it is plugged again"),
            Err(error) => return Outcome::Unknown { cause: cause_of(&error) },
        }
    }
    without_node(link, attachment, "the guest ejects the device").await
}

/// The name of a new device's node.
fn first_node(attachment: AttachmentId) -> String {
    let [first, _] = node_names(attachment);
    first
}

/// Takes the node of a device that could not be added away again: nothing is left, so the plug is refused.
async fn without_node(link: &GuestLink, attachment: AttachmentId, text: &str) -> Outcome {
    match link.qmp.run(qmp::blockdev_del { node_name: first_node(attachment) }).await {
        Ok(_) => refused(CauseKind::Guest, text),
        Err(error) => Outcome::Unknown { cause: cause_of(&error) },
    }
}

/// Waits until the guest uses its new disk (true) or has ejected it (false). A guest that does neither keeps it.
async fn stays(link: &GuestLink, attachment: AttachmentId) -> Result<bool, QmpError> {
    let deadline = Instant::now() + TAKE_LIMIT;
    loop {
        match link.disk(attachment).await? {
            Disk::Absent => return Ok(false),
            Disk::InUse => return Ok(true),
            Disk::Unused if Instant::now() >= deadline => return Ok(true),
            // A guest that is paused takes it when it goes on.
            Disk::Unused if !link.qmp.run(qmp::query_status {}).await?.running => return Ok(true),
            Disk::Unused => tokio::time::sleep(POLL).await,
        }
    }
}

/// Adds the device unless it is there. `Err` is the plug's outcome.
async fn add(
    link: &GuestLink,
    volume: VolumeId,
    attachment: AttachmentId,
    info: &Value,
    mode: AttachMode,
) -> Result<(), Outcome> {
    let (Some("nbd"), Some("unix"), Some(path), Some(export)) = (
        info["driver_volume_type"].as_str(),
        info["transport"].as_str(),
        info["path"].as_str(),
        info["export"].as_str(),
    ) else {
        return Err(refused(CauseKind::Other, "this kind of connection cannot be plugged into a guest"));
    };
    let _changing = link.changing.lock().await;
    match link.has(attachment).await {
        Ok(true) => return is_the_same(link, attachment, export).await,
        Ok(false) => {}
        Err(error) => return Err(Outcome::Failed { cause: cause_of(&error) }),
    }
    let (place, name) = match link.free_bus().await {
        Ok(Bus::NoneFree) => return Err(refused(CauseKind::Guest, "the guest has no free PCI Express port")),
        Ok(Bus::Port(port)) => ("bus", port),
        Ok(Bus::Default) => match link.free_slot(attachment).await {
            Ok(Some(slot)) => ("addr", slot),
            Ok(None) => return Err(refused(CauseKind::Guest, "the guest has no free PCI slot")),
            Err(error) => return Err(Outcome::Failed { cause: cause_of(&error) }),
        },
        Err(error) => return Err(Outcome::Failed { cause: cause_of(&error) }),
    };
    let node = node_options(&first_node(attachment), path, export, mode);
    if let Err(error) = add_node(link, attachment, node).await {
        return Err(match error {
            QmpError::Refused { text, .. } => {
                tracing::warn!(%attachment, text, "the guest cannot reach the export");
                failed(CauseKind::Unavailable, "the guest cannot reach the volume")
            }
            error => Outcome::Unknown { cause: cause_of(&error) },
        });
    }
    let mut device = json!({
        "driver": "virtio-blk-pci",
        "id": device_id(attachment),
        "drive": first_node(attachment),
        // virtio carries 20 bytes of it to the guest: the id's first 20 characters, by which cloud images name the disk
        // in /dev/disk/by-id. QEMU keeps all of it.
        "serial": volume.to_string(),
    });
    device[place] = name.into();
    match link.qmp.run(DeviceAdd(device)).await {
        Ok(_) => Ok(()),
        Err(QmpError::Refused { text, .. }) => {
            tracing::warn!(%attachment, text, "device_add refused");
            Err(without_node(link, attachment, "the guest's hypervisor refused the device").await)
        }
        Err(error) => Err(Outcome::Unknown { cause: cause_of(&error) }),
    }
}

/// A disk that is there already is this plug's, unless it reads from another export: a call that was late has plugged it.
async fn is_the_same(link: &GuestLink, attachment: AttachmentId, export: &str) -> Result<(), Outcome> {
    match link.plugged_disk(attachment).await {
        Ok(disk) => match disk.and_then(|disk| disk.export).filter(|present| present.as_str() != export) {
            Some(_) => Err(refused(CauseKind::Guest, "the guest has the disk by another connection")),
            None => Ok(()),
        },
        Err(error) => Err(Outcome::Failed { cause: cause_of(&error) }),
    }
}

/// Adds the node; one left behind by a plug that was cut off may name an ended export and is replaced.
async fn add_node(link: &GuestLink, attachment: AttachmentId, node: Value) -> Result<(), QmpError> {
    match link.qmp.run(BlockdevAdd(node.clone())).await {
        Ok(_) => return Ok(()),
        Err(QmpError::Refused { .. }) => {}
        Err(error) => return Err(error),
    }
    let _ = link.qmp.run(qmp::blockdev_del { node_name: first_node(attachment) }).await;
    link.qmp.run(BlockdevAdd(node)).await.map(|_| ())
}

/// Takes the disk away. `Err` is a connection that broke: the caller connects again, or finds the process gone.
pub(super) async fn unplug(link: &GuestLink, attachment: AttachmentId, deadline: Instant) -> Result<Outcome, QmpError> {
    let id = device_id(attachment);
    // A move that nobody has ended: the device could not go before its writes are through, on both disks.
    block_job::end(&link.qmp, &job_name(attachment)).await?;
    loop {
        let Some(mut events) = link.qmp.subscribe() else { return Err(QmpError::Broken("closed".into())) };
        match link.qmp.run(qmp::device_del { id: id.clone() }).await {
            Err(QmpError::Refused { not_found: true, .. }) => break,
            // Refused: already being unplugged, by an earlier request.
            Ok(_) | Err(QmpError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        let deleted = async {
            loop {
                match events.recv().await {
                    Ok(Event::DEVICE_DELETED { data, .. }) if data.device.as_deref() == Some(&id) => return Ok(()),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(QmpError::Broken("closed".into())),
                }
            }
        };
        let resend = deadline.min(Instant::now() + UNPLUG_RESEND);
        if let Ok(ended) = tokio::time::timeout_at(resend, deleted).await {
            ended?;
            break;
        }
        // The event may have been missed; the list of devices cannot.
        if !link.has(attachment).await? {
            break;
        }
        if Instant::now() >= deadline {
            return Ok(refused(CauseKind::Guest, "the guest did not release the device"));
        }
    }
    close_nodes(link, attachment, deadline).await
}

/// Closes the guest's connections to the volume's exports.
async fn close_nodes(link: &GuestLink, attachment: AttachmentId, deadline: Instant) -> Result<Outcome, QmpError> {
    for node in node_names(attachment) {
        if !delete_node(link, &node, deadline).await? {
            return Ok(refused(CauseKind::Guest, "the guest did not release the device"));
        }
    }
    Ok(Outcome::done())
}

/// Removes a node, and with it its connection; false when something uses it until the deadline. Not there is success.
pub(super) async fn delete_node(link: &GuestLink, node: &str, deadline: Instant) -> Result<bool, QmpError> {
    loop {
        match link.qmp.run(qmp::blockdev_del { node_name: node.into() }).await {
            // A device's or a job's last reference goes a little after the event.
            Err(QmpError::Refused { text, .. }) if text.contains("in use") => {
                if Instant::now() >= deadline {
                    return Ok(false);
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(_) | Err(QmpError::Refused { .. }) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// A node for an export. The format is named: what a guest writes into its disk must never be probed.
pub(super) fn node_options(name: &str, path: &str, export: &str, mode: AttachMode) -> Value {
    json!({
        "driver": "raw",
        "node-name": name,
        "read-only": mode != AttachMode::ReadWrite,
        "discard": "unmap",
        "file": {
            "driver": "nbd",
            "server": { "type": "unix", "path": path },
            "export": export,
            "reconnect-delay": RECONNECT_DELAY_S,
            "discard": "unmap",
        },
    })
}

/// The same node, which shows only so much of what it leads to.
pub(super) fn limited(mut node: Value, bytes: i64) -> Value {
    let name = node["node-name"].as_str().map(connection_name).unwrap_or_default();
    node["size"] = bytes.into();
    node["file"]["node-name"] = name.into();
    node
}

/// Lets a disk show all of what it leads to. One that does so already is refused that, and stays as it is.
async fn widen(link: &GuestLink, disk: &PluggedDisk) -> Result<(), QmpError> {
    let node = json!({
        "driver": "raw",
        "node-name": disk.node,
        "read-only": disk.is_readonly,
        "discard": "unmap",
        "file": connection_name(&disk.node),
    });
    match link.qmp.run(BlockdevReopen(json!({ "options": [node] }))).await {
        Ok(_) | Err(QmpError::Refused { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Shows the guest the new size. The export has it already; the guest's own NBD client learns it when it reconnects, which
/// an idle one does only when there is something to read.
pub(super) async fn resize(link: &GuestLink, attachment: AttachmentId, new_size_gib: u32) -> Outcome {
    let deadline = Instant::now() + RESIZE_LIMIT;
    let size = i64::from(new_size_gib) << 30;
    match link.has(attachment).await {
        Ok(true) => {}
        Ok(false) => return refused(CauseKind::Guest, "the volume is not plugged into the guest"),
        Err(error) => return Outcome::Failed { cause: cause_of(&error) },
    }
    loop {
        match try_resize(link, attachment, size).await {
            Ok(true) => return Outcome::done(),
            Ok(false) => {}
            Err(QmpError::Refused { text, .. }) => tracing::debug!(%attachment, text, "not resized yet"),
            Err(error) => return Outcome::Unknown { cause: cause_of(&error) },
        }
        if Instant::now() >= deadline {
            return failed(CauseKind::Guest, "the guest does not see the new size");
        }
        tokio::time::sleep(POLL).await;
    }
}

/// One read, one resize, one look. Whether the device has at least `size` bytes.
async fn try_resize(link: &GuestLink, attachment: AttachmentId, size: i64) -> Result<bool, QmpError> {
    let Some(disk) = link.plugged_disk(attachment).await? else { return Ok(false) };
    if disk.bytes >= size {
        return Ok(true);
    }
    widen(link, &disk).await?;
    let command_line = format!("qemu-io {} \"read 0 512\"", disk.node);
    link.qmp.run(qmp::human_monitor_command { command_line, cpu_index: None }).await?;
    link.qmp.run(qmp::block_resize { device: None, node_name: Some(disk.node), size }).await?;
    Ok(link.plugged_disk(attachment).await?.is_some_and(|disk| disk.bytes >= size))
}

fn refused(kind: CauseKind, text: &str) -> Outcome {
    Outcome::Refused { cause: Cause::new(kind, text) }
}

fn failed(kind: CauseKind, text: &str) -> Outcome {
    Outcome::Failed { cause: Cause::new(kind, text) }
}

/// The owner's words; the details go to the log.
pub(super) fn cause_of(error: &QmpError) -> Cause {
    tracing::warn!(%error, "QMP");
    match error {
        QmpError::Refused { .. } => Cause::new(CauseKind::Guest, "the guest's hypervisor refused"),
        QmpError::Broken(_) => Cause::new(CauseKind::Unavailable, "the connection to the guest's hypervisor broke"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::UnixListener;
    use uuid::Uuid;

    use super::*;

    /// What becomes of one disk that is added.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Fate {
        Taken,
        Ejected,
        Ignored,
    }

    /// A QEMU with one device at most, whose guest does `fates` with the disks that are added one after the other.
    struct Machine {
        fates: VecDeque<Fate>,
        device: Option<(String, Fate)>,
        nodes: Vec<String>,
        commands: Vec<String>,
        running: bool,
    }

    impl Machine {
        fn answer(&mut self, command: &Value) -> Value {
            let (name, arguments) = (command["execute"].as_str().expect("a command"), &command["arguments"]);
            self.commands.push(name.to_owned());
            let node = || arguments["node-name"].as_str().expect("a node").to_owned();
            match name {
                "query-uuid" => json!({"UUID": Uuid::nil()}),
                "query-status" => json!({"running": self.running, "status": "running"}),
                "blockdev-add" if self.nodes.contains(&node()) => Value::Null,
                "blockdev-add" => {
                    self.nodes.push(node());
                    json!({})
                }
                "blockdev-del" => {
                    self.nodes.retain(|name| *name != node());
                    json!({})
                }
                "device_add" => {
                    let fate = self.fates.pop_front().expect("a fate for each disk");
                    let id = arguments["id"].as_str().expect("an id").to_owned();
                    self.device = (fate != Fate::Ejected).then_some((id, fate));
                    json!({})
                }
                "qom-list" => {
                    let device = |(id, _): &(String, Fate)| json!({"name": id, "type": "child<virtio-blk-pci>"});
                    self.device.iter().map(device).collect()
                }
                "query-pci" => {
                    let devices = self.device.iter().map(|(id, fate)| {
                        let address = if *fate == Fate::Taken { 0xfebf_0000_i64 } else { -1 };
                        json!({
                            "bus": 0, "slot": 3, "function": 0, "qdev_id": id, "irq_pin": 1,
                            "class_info": {"class": 256}, "id": {"device": 4097, "vendor": 6900},
                            "regions": [{"bar": 1, "type": "memory", "size": 4096, "address": address}],
                        })
                    });
                    json!([{"bus": 0, "devices": devices.collect::<Vec<_>>()}])
                }
                _ => json!({}),
            }
        }
    }

    async fn serve(listener: UnixListener, machine: Arc<Mutex<Machine>>) {
        let (read, mut write) = listener.accept().await.expect("a client").0.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n").await.expect("written");
        while let Ok(Some(line)) = lines.next_line().await {
            let command: Value = serde_json::from_str(&line).expect("JSON");
            let id = &command["id"];
            let answer = match machine.lock().expect("sound").answer(&command) {
                Value::Null => json!({"id": id, "error": {"class": "GenericError", "desc": "exists"}}),
                answer => json!({"id": id, "return": answer}),
            };
            write.write_all(format!("{answer}\n").as_bytes()).await.expect("written");
        }
    }

    /// Plugs one disk: the outcome, the device that is there at last, the nodes, and how often one was added.
    async fn plug_one(fates: &[Fate], running: bool) -> (Outcome, bool, usize, usize) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("qmp");
        let listener = UnixListener::bind(&path).expect("bound");
        let machine = Arc::new(Mutex::new(Machine {
            fates: fates.to_vec().into(),
            device: None,
            nodes: Vec::new(),
            commands: Vec::new(),
            running,
        }));
        let server = tokio::spawn(serve(listener, Arc::clone(&machine)));
        let link = GuestLink::connect(&path).await.expect("connected");
        let info = json!({"driver_volume_type": "nbd", "transport": "unix", "path": "/nbd", "export": "e"});
        let (volume, attachment) = (VolumeId(Uuid::from_u128(1)), AttachmentId(Uuid::from_u128(2)));
        let outcome = plug(&link, volume, attachment, &info, AttachMode::ReadWrite).await;
        server.abort();
        let machine = machine.lock().expect("sound");
        let added = machine.commands.iter().filter(|name| *name == "device_add").count();
        (outcome, machine.device.is_some(), machine.nodes.len(), added)
    }

    #[tokio::test]
    async fn a_disk_that_the_guest_ejects_by_mistake_is_plugged_again() {
        assert_eq!(plug_one(&[Fate::Taken], true).await, (Outcome::done(), true, 1, 1));
        assert_eq!(plug_one(&[Fate::Ejected, Fate::Taken], true).await, (Outcome::done(), true, 1, 2));
        assert_eq!(plug_one(&[Fate::Ejected, Fate::Ejected, Fate::Taken], true).await, (Outcome::done(), true, 1, 3));
    }

    /// Whoever ejects slot 3 late must not meet the next device there.
    #[tokio::test]
    async fn the_slot_that_was_freed_last_is_not_the_next_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join("qmp")).expect("bound");
        let taken = |slot| (device_id(AttachmentId(Uuid::from_u128(slot))), Fate::Taken);
        let machine = Machine {
            fates: VecDeque::new(),
            device: Some(taken(0)),
            nodes: Vec::new(),
            commands: Vec::new(),
            running: true,
        };
        let server = tokio::spawn(serve(listener, Arc::new(Mutex::new(machine))));
        let link = GuestLink::connect(&dir.path().join("qmp")).await.expect("connected");
        for (attachment, slot) in [(0_u128, "4"), (1, "4"), (2, "5"), (28, "1f"), (29, "4")] {
            let found = link.free_slot(AttachmentId(Uuid::from_u128(attachment))).await.expect("answered");
            assert_eq!(found.as_deref(), Some(slot), "slot 3 is taken; attachment {attachment}");
        }
        server.abort();
    }

    #[tokio::test]
    async fn a_guest_that_ejects_every_disk_is_told_and_keeps_nothing() {
        let (outcome, plugged, nodes, added) = plug_one(&[Fate::Ejected; PLUG_TRIES as usize], true).await;
        assert!(matches!(outcome, Outcome::Refused { cause } if cause.kind == CauseKind::Guest));
        assert_eq!((plugged, nodes, added), (false, 0, 3));
    }

    #[tokio::test]
    async fn a_paused_guest_takes_its_disk_later() {
        assert_eq!(plug_one(&[Fate::Ignored], false).await, (Outcome::done(), true, 1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_without_a_driver_keeps_its_disk() {
        let begun = Instant::now();
        assert_eq!(plug_one(&[Fate::Ignored], true).await, (Outcome::done(), true, 1, 1));
        assert!((TAKE_LIMIT..2 * TAKE_LIMIT).contains(&begun.elapsed()));
    }
}
