//! Plug, unplug and resize in one guest.

use std::time::Duration;

use qapi::qmp::{self, Event};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::guest::{Bus, GuestLink, device_id, node_name};
use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Cause, CauseKind, Outcome};
use crate::domain::ids::{AttachmentId, VolumeId};
use crate::drivers::qmp::{BlockdevAdd, DeviceAdd, QmpError};

/// How long a guest may take to let go of a device; measured about 0.1 s for one that cooperates.
pub(super) const UNPLUG_LIMIT: Duration = Duration::from_secs(20);

/// A guest that ignored the request (it was booting, say) is asked again at this interval; QEMU refuses it more often.
const UNPLUG_RESEND: Duration = Duration::from_secs(6);

/// How long the new size may take to be seen; one I/O and one resize, measured below 0.1 s.
const RESIZE_LIMIT: Duration = Duration::from_secs(20);

/// Between looks at a state that has no event.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// The guest's disk waits this many seconds for an export that comes back (a resize, a daemon's restart) before it gives
/// I/O errors to the guest.
const RECONNECT_DELAY_S: u32 = 30;

/// Makes the volume a disk of the guest.
pub(super) async fn plug(
    link: &GuestLink,
    volume: VolumeId,
    attachment: AttachmentId,
    info: &Value,
    mode: AttachMode,
) -> Outcome {
    let (Some("nbd"), Some("unix"), Some(path), Some(export)) = (
        info["driver_volume_type"].as_str(),
        info["transport"].as_str(),
        info["path"].as_str(),
        info["export"].as_str(),
    ) else {
        return refused(CauseKind::Other, "this kind of connection cannot be plugged into a guest");
    };
    let _plugging = link.plugging.lock().await;
    match link.has(attachment).await {
        Ok(true) => return Outcome::done(),
        Ok(false) => {}
        Err(error) => return Outcome::Failed { cause: cause_of(&error) },
    }
    let bus = match link.free_bus().await {
        Ok(Bus::NoneFree) => return refused(CauseKind::Guest, "the guest has no free PCI Express port"),
        Ok(Bus::Port(port)) => Some(port),
        Ok(Bus::Default) => None,
        Err(error) => return Outcome::Failed { cause: cause_of(&error) },
    };
    let node = json!({
        "driver": "raw",
        "node-name": node_name(attachment),
        "read-only": mode != AttachMode::ReadWrite,
        "discard": "unmap",
        "file": {
            "driver": "nbd",
            "server": { "type": "unix", "path": path },
            "export": export,
            "reconnect-delay": RECONNECT_DELAY_S,
            "discard": "unmap",
        },
    });
    if let Err(error) = add_node(link, attachment, node).await {
        return match error {
            QmpError::Refused { text, .. } => {
                tracing::warn!(%attachment, text, "the guest cannot reach the export");
                failed(CauseKind::Unavailable, "the guest cannot reach the volume")
            }
            error => Outcome::Unknown { cause: cause_of(&error) },
        };
    }
    let mut device = json!({
        "driver": "virtio-blk-pci",
        "id": device_id(attachment),
        "drive": node_name(attachment),
        // virtio carries 20 bytes of it to the guest: the id's first 20 characters, by which cloud images name the disk
        // in /dev/disk/by-id. QEMU keeps all of it.
        "serial": volume.to_string(),
    });
    if let Some(bus) = bus {
        device["bus"] = bus.into();
    }
    match link.qmp.run(DeviceAdd(device)).await {
        Ok(_) => Outcome::done(),
        Err(QmpError::Refused { text, .. }) => {
            tracing::warn!(%attachment, text, "device_add refused");
            match link.qmp.run(qmp::blockdev_del { node_name: node_name(attachment) }).await {
                Ok(_) => refused(CauseKind::Guest, "the guest's hypervisor refused the device"),
                Err(error) => Outcome::Unknown { cause: cause_of(&error) },
            }
        }
        Err(error) => Outcome::Unknown { cause: cause_of(&error) },
    }
}

/// Adds the node; one left behind by a plug that was cut off may name an ended export and is replaced.
async fn add_node(link: &GuestLink, attachment: AttachmentId, node: Value) -> Result<(), QmpError> {
    match link.qmp.run(BlockdevAdd(node.clone())).await {
        Ok(_) => return Ok(()),
        Err(QmpError::Refused { .. }) => {}
        Err(error) => return Err(error),
    }
    let _ = link.qmp.run(qmp::blockdev_del { node_name: node_name(attachment) }).await;
    link.qmp.run(BlockdevAdd(node)).await.map(|_| ())
}

/// Takes the disk away. `Err` is a connection that broke: the caller connects again, or finds the process gone.
pub(super) async fn unplug(link: &GuestLink, attachment: AttachmentId, deadline: Instant) -> Result<Outcome, QmpError> {
    let id = device_id(attachment);
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
    close_node(link, attachment, deadline).await
}

/// Closes the guest's connection to the export.
async fn close_node(link: &GuestLink, attachment: AttachmentId, deadline: Instant) -> Result<Outcome, QmpError> {
    loop {
        match link.qmp.run(qmp::blockdev_del { node_name: node_name(attachment) }).await {
            // The device's last reference goes a little after the event.
            Err(QmpError::Refused { text, .. }) if text.contains("in use") => {
                if Instant::now() >= deadline {
                    return Ok(refused(CauseKind::Guest, "the guest did not release the device"));
                }
                tokio::time::sleep(POLL).await;
            }
            Ok(_) | Err(QmpError::Refused { .. }) => return Ok(Outcome::done()),
            Err(error) => return Err(error),
        }
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
    if device_bytes(link, attachment).await? >= size {
        return Ok(true);
    }
    let node = node_name(attachment);
    let command_line = format!("qemu-io {node} \"read 0 512\"");
    link.qmp.run(qmp::human_monitor_command { command_line, cpu_index: None }).await?;
    link.qmp.run(qmp::block_resize { device: None, node_name: Some(node), size }).await?;
    Ok(device_bytes(link, attachment).await? >= size)
}

/// The size that the device's node has for the guest; 0 when it is not there.
async fn device_bytes(link: &GuestLink, attachment: AttachmentId) -> Result<i64, QmpError> {
    let node = node_name(attachment);
    let blocks = link.qmp.run(qmp::query_block {}).await?;
    let inserted = blocks.into_iter().filter_map(|block| block.inserted);
    Ok(inserted
        .filter(|inserted| inserted.node_name.as_deref() == Some(&node))
        .map(|inserted| inserted.image.base.virtual_size)
        .max()
        .unwrap_or(0))
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
