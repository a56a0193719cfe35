//! The connection to one guest's QEMU.

use std::io;
use std::path::Path;

use qapi::qmp::{self, ObjectPropertyInfo, PciDeviceInfo, QmpCommand};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::socket::SocketError;
use crate::domain::backend::{Cause, CauseKind, Outcome};
use crate::domain::guest::{GuestRoom, GuestState};
use crate::domain::ids::{AttachmentId, ExportName, ServerId};
use crate::drivers::qmp::{Qmp, QmpError};

/// Devices of Hearth are told from others in the guest by this prefix.
const DEVICE_PREFIX: &str = "hearth-";

/// The first slot of a conventional bus that a machine does not use itself.
const FIRST_SLOT: u128 = 3;
/// Slots of a conventional bus from that one on.
const SLOTS: u128 = 32 - FIRST_SLOT;

/// Where QEMU keeps the devices that have an id.
const PERIPHERAL: &str = "/machine/peripheral";
/// And those that have none.
const UNNAMED: &str = "/machine/peripheral-anon";

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    /// The guest's process does not exist: nobody listens.
    #[error("the guest is not running")]
    Gone,
    /// The socket must not be used.
    #[error("{0}")]
    Socket(SocketError),
    /// The socket leads to a guest that is not the server's.
    #[error("the server's QMP socket belongs to another guest")]
    AnotherGuest,
    /// It does not answer; another client may hold its only connection.
    #[error("the guest's hypervisor does not answer")]
    NoAnswer(String),
}

impl From<SocketError> for ConnectError {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::NotThere => Self::Gone,
            error => Self::Socket(error),
        }
    }
}

impl ConnectError {
    /// What the caller of the driver is told.
    pub(super) fn into_outcome(self) -> Outcome {
        match &self {
            Self::NoAnswer(details) => {
                tracing::warn!(details, "the guest's hypervisor does not answer");
                Outcome::Failed { cause: self.into_cause() }
            }
            Self::Gone => Outcome::Failed { cause: self.into_cause() },
            Self::Socket(_) | Self::AnotherGuest => Outcome::Refused { cause: self.into_cause() },
        }
    }

    /// The cause alone.
    pub(super) fn into_cause(self) -> Cause {
        let kind = if matches!(self, Self::NoAnswer(_)) { CauseKind::Unavailable } else { CauseKind::Guest };
        Cause::new(kind, self.to_string())
    }
}

/// A connection, shared by the calls under way.
pub(super) struct GuestLink {
    pub(super) qmp: Qmp,
    uuid: String,
    /// Held while a device is added, because two plugs must not choose the same port, and while a disk's move begins or ends.
    pub(super) changing: tokio::sync::Mutex<()>,
}

impl GuestLink {
    /// Connects to the socket and asks who the guest is.
    pub(super) async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        let qmp = Qmp::connect(socket).await.map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ConnectError::Gone,
            _ => ConnectError::NoAnswer(error.to_string()),
        })?;
        match qmp.run(qmp::query_uuid {}).await {
            Ok(info) => Ok(Self { qmp, uuid: info.UUID, changing: tokio::sync::Mutex::new(()) }),
            Err(error) => Err(ConnectError::NoAnswer(error.to_string())),
        }
    }

    /// Whether the connection still stands.
    pub(super) fn is_open(&self) -> bool {
        self.qmp.is_open()
    }

    /// The guest's process.
    pub(super) fn process(&self) -> u32 {
        self.qmp.server()
    }

    /// What the guest does.
    pub(super) async fn state(&self) -> Result<GuestState, QmpError> {
        let status = self.qmp.run(QueryStatus {}).await?.status;
        Ok(match status.as_str() {
            "running" | "suspended" => GuestState::Running,
            "shutdown" | "guest-panicked" | "internal-error" => GuestState::ShutDown,
            // Everything else it can go on from.
            _ => GuestState::Paused,
        })
    }

    /// Whether this is the server's guest.
    pub(super) fn is_server(&self, server: &ServerId) -> bool {
        self.uuid.eq_ignore_ascii_case(server.as_str())
    }

    /// The attachments whose devices are in the guest.
    pub(super) async fn attachments(&self) -> Result<Vec<AttachmentId>, QmpError> {
        let devices = self.qmp.run(qmp::qom_list { path: PERIPHERAL.into() }).await?;
        Ok(disks_of(&devices))
    }

    /// Whether the attachment's device is in the guest.
    pub(super) async fn has(&self, attachment: AttachmentId) -> Result<bool, QmpError> {
        Ok(self.attachments().await?.contains(&attachment))
    }

    /// The attachment's disk as QEMU has it; none: there is no such device.
    pub(super) async fn plugged_disk(&self, attachment: AttachmentId) -> Result<Option<PluggedDisk>, QmpError> {
        let device = format!("{PERIPHERAL}/{}/", device_id(attachment));
        let blocks = self.qmp.run(qmp::query_block {}).await?;
        let is_its_own = |qdev: &String| qdev.starts_with(&device);
        let block = blocks.into_iter().find(|block| block.qdev.as_ref().is_some_and(is_its_own));
        Ok(block.and_then(|block| block.inserted).map(|inserted| PluggedDisk {
            node: inserted.node_name.unwrap_or_default(),
            export: export_of(&inserted.file),
            bytes: inserted.image.base.virtual_size,
            is_readonly: inserted.ro,
        }))
    }

    /// The nodes that have a name of the attachment's, and the exports they lead to.
    pub(super) async fn nodes(&self, attachment: AttachmentId) -> Result<Vec<(String, Option<ExportName>)>, QmpError> {
        let names = node_names(attachment);
        let nodes = self.qmp.run(QueryNodes { flat: true }).await?;
        let own = nodes.into_iter().filter(|node| names.contains(&node.name));
        Ok(own.map(|node| (node.name, export_of(&node.file))).collect())
    }

    /// The size of what a node leads to; none: there is no such node.
    pub(super) async fn node_bytes(&self, name: &str) -> Result<Option<i64>, QmpError> {
        let nodes = self.qmp.run(QueryNodes { flat: true }).await?;
        Ok(nodes.into_iter().find(|node| node.name == name).map(|node| node.image.bytes))
    }

    /// What the guest makes of the attachment's disk.
    pub(super) async fn disk(&self, attachment: AttachmentId) -> Result<Disk, QmpError> {
        let buses = self.qmp.run(qmp::query_pci {}).await?;
        let id = device_id(attachment);
        Ok(match buses.iter().find_map(|bus| device_of(&bus.devices, &id)) {
            // A register range has an address only while a driver of the guest has it decoded.
            Some(device) if device.regions.iter().any(|range| range.address != -1) => Disk::InUse,
            Some(_) => Disk::Unused,
            // What is behind a port is seen only when the guest's firmware has given its bus a number.
            None if self.has(attachment).await? => Disk::Unused,
            None => Disk::Absent,
        })
    }

    /// What is plugged, and how many more disks can be. Asked at every attach, also with hundreds of ports: each disk is known to have one,
    /// and only other devices are asked for theirs.
    pub(super) async fn room(&self) -> Result<GuestRoom, QmpError> {
        // What is just being added is there or not.
        let _changing = self.changing.lock().await;
        let devices = self.qmp.run(qmp::qom_list { path: PERIPHERAL.into() }).await?;
        let plugged = disks_of(&devices);
        let ports = ports_of(&devices).collect::<Vec<_>>();
        if ports.is_empty() {
            return Ok(GuestRoom { free: self.free_slots().await?.len(), plugged });
        }
        let is_disk = |device: &&ObjectPropertyInfo| device.name.starts_with(DEVICE_PREFIX);
        let mut taken = devices.iter().filter(is_disk).count();
        let unnamed = self.qmp.run(qmp::qom_list { path: UNNAMED.into() }).await?;
        let others = devices.iter().filter(|device| !is_disk(device) && !ports.contains(&device.name.as_str()));
        let others = others.map(|device| (PERIPHERAL, device)).chain(unnamed.iter().map(|device| (UNNAMED, device)));
        for (folder, device) in others.filter(|(_, device)| device.type_.starts_with("child<")) {
            let path = format!("{folder}/{}", device.name);
            match self.qmp.run(qmp::qom_get { path, property: "parent_bus".into() }).await {
                Ok(bus) => taken += usize::from(ports.iter().any(|port| bus == bus_of(port).as_str())),
                // It is on no bus.
                Err(QmpError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(GuestRoom { free: ports.len().saturating_sub(taken), plugged })
    }

    /// A slot for a new device on the conventional bus, in hexadecimal digits as QEMU wants it; none: all are taken.
    ///
    /// QEMU would take the lowest free one, and so mostly the one that was freed last. A guest that is slow ejects a slot a
    /// second time, long after the device in it has gone, and would eject the new device: so slots are taken in an order of
    /// their own for each attachment.
    pub(super) async fn free_slot(&self, attachment: AttachmentId) -> Result<Option<String>, QmpError> {
        let free = self.free_slots().await?;
        let mut slots = (0..SLOTS).map(|step| FIRST_SLOT + (attachment.0.as_u128() + step) % SLOTS);
        Ok(slots.find(|slot| free.contains(slot)).map(|slot| format!("{slot:x}")))
    }

    async fn free_slots(&self) -> Result<Vec<u128>, QmpError> {
        let buses = self.qmp.run(qmp::query_pci {}).await?;
        let first = buses.iter().find(|bus| bus.bus == 0);
        let is_taken = |slot: u128| {
            first.is_some_and(|bus| bus.devices.iter().any(|device| u128::try_from(device.slot) == Ok(slot)))
        };
        Ok((FIRST_SLOT..FIRST_SLOT + SLOTS).filter(|slot| !is_taken(*slot)).collect())
    }

    /// The bus for a new device. PCI Express takes one device a port, and only ports take hot-plugged ones; a machine
    /// without such ports has a conventional bus that takes them itself.
    pub(super) async fn free_bus(&self) -> Result<Bus, QmpError> {
        let devices = self.qmp.run(qmp::qom_list { path: PERIPHERAL.into() }).await?;
        let mut bus = Bus::Default;
        for port in ports_of(&devices) {
            let members = self.qmp.run(qmp::qom_list { path: bus_of(port) }).await?;
            // What is plugged into it is a link named child[n].
            if !members.iter().any(|member| member.name.starts_with("child[")) {
                return Ok(Bus::Port(port.to_owned()));
            }
            bus = Bus::NoneFree;
        }
        Ok(bus)
    }
}

/// The attachments whose devices these are.
fn disks_of(devices: &[ObjectPropertyInfo]) -> Vec<AttachmentId> {
    devices.iter().filter_map(|device| device.name.strip_prefix(DEVICE_PREFIX)?.parse().ok()).collect()
}

/// The ports that take a device each.
fn ports_of(devices: &[ObjectPropertyInfo]) -> impl Iterator<Item = &str> {
    devices.iter().filter(|device| device.type_ == "child<pcie-root-port>").map(|port| port.name.as_str())
}

/// Where a port's bus is, which has the port's name.
fn bus_of(port: &str) -> String {
    format!("{PERIPHERAL}/{port}/{port}")
}

/// The device with this id on a bus or behind one of its bridges.
fn device_of<'a>(devices: &'a [PciDeviceInfo], id: &str) -> Option<&'a PciDeviceInfo> {
    devices.iter().find_map(|device| {
        let behind = device.pci_bridge.as_ref().and_then(|bridge| bridge.devices.as_deref());
        if device.qdev_id == id { Some(device) } else { device_of(behind?, id) }
    })
}

/// A disk as QEMU has it.
#[derive(Debug)]
pub(super) struct PluggedDisk {
    /// Its node, or the one that a mirror has put above it.
    pub(super) node: String,
    /// The export that it reads from.
    pub(super) export: Option<ExportName>,
    /// Its size.
    pub(super) bytes: i64,
    /// Whether it may only be read.
    pub(super) is_readonly: bool,
}

/// The generated answer has a hundred members of each node, and fails as a whole on a value that a later QEMU adds.
#[derive(Debug, Serialize)]
struct QueryNodes {
    flat: bool,
}

#[derive(Debug, Deserialize)]
struct Node {
    #[serde(rename = "node-name", default)]
    name: String,
    file: String,
    image: NodeImage,
}

#[derive(Debug, Deserialize)]
struct NodeImage {
    #[serde(rename = "virtual-size")]
    bytes: i64,
}

impl qapi::Command for QueryNodes {
    type Ok = Vec<Node>;
    const NAME: &'static str = "query-named-block-nodes";
    const ALLOW_OOB: bool = false;
}

impl QmpCommand for QueryNodes {}

/// The generated answer fails on a state that a later QEMU adds.
#[derive(Debug, Serialize)]
struct QueryStatus {}

#[derive(Debug, Deserialize)]
struct Status {
    status: String,
}

impl qapi::Command for QueryStatus {
    type Ok = Status;
    const NAME: &'static str = "query-status";
    const ALLOW_OOB: bool = false;
}

impl QmpCommand for QueryStatus {}

/// A disk as the guest has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// There is none.
    Absent,
    /// No driver of the guest uses it (yet).
    Unused,
    /// A driver uses it.
    InUse,
}

/// Where a new device goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bus {
    /// Where the machine puts it.
    Default,
    /// Into this port.
    Port(String),
    /// All ports are taken.
    NoneFree,
}

/// The device's id in the guest.
pub(super) fn device_id(attachment: AttachmentId) -> String {
    format!("{DEVICE_PREFIX}{attachment}")
}

/// The names of the device's node: the first when it is plugged, and then the other one each time it is moved.
pub(super) fn node_names(attachment: AttachmentId) -> [String; 2] {
    ['a', 'b'].map(|prefix| crate::drivers::qmp::node_name(prefix, attachment.0))
}

/// The name of the connection below a node that shows only a part of it.
pub(super) fn connection_name(node: &str) -> String {
    format!("c{node}")
}

/// The name of the job that moves the device, and of the node that the job puts above the device's.
pub(super) fn job_name(attachment: AttachmentId) -> String {
    crate::drivers::qmp::node_name('m', attachment.0)
}

/// The export that a node's file name tells: `nbd+unix:///EXPORT?socket=PATH`, or the options of a node that shows only a part of its
/// volume. Names of exports are never escaped.
fn export_of(file: &str) -> Option<ExportName> {
    if let Some(options) = file.strip_prefix("json:") {
        let options: serde_json::Value = serde_json::from_str(options).ok()?;
        let connection = options.get("file").filter(|below| below["driver"] == "nbd")?;
        return Some(ExportName(connection["export"].as_str()?.into()));
    }
    let (export, _) = file.strip_prefix("nbd+unix:///")?.split_once('?')?;
    Some(ExportName(export.into()))
}

#[cfg(test)]
mod tests {
    use super::export_of;

    #[test]
    fn an_export_is_known_from_the_name_of_its_node() {
        let limited = r#"json:{"driver": "raw", "size": 1048576, "file": {"server.path": "/run/nbd.sock", "driver": "nbd", "export": "B.2", "server.type": "unix"}}"#;
        for (file, export) in [
            ("nbd+unix:///A.1?socket=/run/nbd.sock", Some("A.1")),
            (limited, Some("B.2")),
            (r#"json:{"driver": "raw", "file": {"driver": "file", "filename": "/disk"}}"#, None),
            ("json:{", None),
            ("/disk.raw", None),
        ] {
            assert_eq!(export_of(file).as_ref().map(|name| name.as_str()), export, "{file}");
        }
    }
}
