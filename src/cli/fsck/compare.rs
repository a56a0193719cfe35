//! The comparison: a pure function over what was read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::domain::backend::{Cause, Truth};
use crate::domain::ids::{AttachmentId, ExportName, ProjectId, ServerId, SnapshotId, VolumeId, VolumeTypeId};
use crate::domain::operation::{Lane, Operation};
use crate::domain::quota::{Scope, Usage};
use crate::domain::server::Server;
use crate::domain::snapshot::Snapshot;
use crate::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use crate::domain::volume::VolumeState;
use crate::store::UsageAudit;

/// Everything that was read, as one picture.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Live volumes with their rows and operations.
    pub volumes: Vec<VolumeState>,
    /// Live servers.
    pub servers: Vec<Server>,
    /// Stored and counted usage.
    pub usage: Vec<UsageAudit>,
    /// What each backend has.
    pub backends: Vec<BackendInventory>,
    /// What each reachable guest has.
    pub guests: Vec<GuestInventory>,
}

/// What one backend has.
#[derive(Clone, Debug)]
pub struct BackendInventory {
    /// `host@backend#pool`.
    pub host: String,
    /// Its volumes, or why it cannot be read.
    pub volumes: Result<Vec<(VolumeId, Truth)>, Cause>,
}

/// What one guest has.
#[derive(Clone, Debug)]
pub struct GuestInventory {
    /// The server.
    pub server_id: ServerId,
    /// The attachments whose devices are plugged, or why it cannot be asked.
    pub devices: Result<Vec<AttachmentId>, Cause>,
}

/// One finding, and whether open work of the volume explains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What differs.
    #[serde(flatten)]
    pub finding: Finding,
    /// The open operation, outstanding call or pending repair that will settle it; none: nothing in Hearth will.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained_by: Option<String>,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum Finding {
    /// The record says it exists; its backend does not have it.
    VolumeMissing {
        /// Volume.
        volume_id: VolumeId,
        /// `host@backend#pool`.
        host: String,
        /// The record's status.
        status: VolumeStatus,
    },
    /// The backend has it; no live record says that it is there.
    VolumeUnowned {
        /// Volume.
        volume_id: VolumeId,
        /// `host@backend#pool`.
        host: String,
    },
    /// Record and backend disagree on the size.
    SizeDiffers {
        /// Volume.
        volume_id: VolumeId,
        /// The record's GiB.
        recorded_gib: u32,
        /// The backend's GiB.
        actual_gib: u32,
    },
    /// An attached row's export is not served: its client has no disk.
    ExportMissing {
        /// Volume.
        volume_id: VolumeId,
        /// Row.
        attachment_id: AttachmentId,
        /// Export.
        export: ExportName,
    },
    /// The backend serves an export which no row owns: somebody may write unseen.
    ExportUnowned {
        /// Volume.
        volume_id: VolumeId,
        /// Export.
        export: ExportName,
    },
    /// An available snapshot is not at its volume's backend.
    SnapshotMissing {
        /// Volume.
        volume_id: VolumeId,
        /// Snapshot.
        snapshot_id: SnapshotId,
    },
    /// The backend has a snapshot of which there is no record.
    SnapshotUnowned {
        /// Volume.
        volume_id: VolumeId,
        /// Snapshot.
        snapshot_id: SnapshotId,
    },
    /// An attached row's device is not in the guest.
    DeviceMissing {
        /// Volume.
        volume_id: VolumeId,
        /// Row.
        attachment_id: AttachmentId,
        /// Server.
        server_id: ServerId,
    },
    /// The guest has a device for which there is no row of this server.
    DeviceUnowned {
        /// Attachment that the device is named after.
        attachment_id: AttachmentId,
        /// Server.
        server_id: ServerId,
    },
    /// A row that Compute made names a server which does not exist.
    ServerMissing {
        /// Volume.
        volume_id: VolumeId,
        /// Row.
        attachment_id: AttachmentId,
        /// Server.
        server_id: ServerId,
    },
    /// The volume lies on a backend which is not in the settings.
    BackendUnknown {
        /// Volume.
        volume_id: VolumeId,
        /// `host@backend#pool`.
        host: String,
    },
    /// A backend cannot be read: nothing is said about its volumes.
    BackendUnreadable {
        /// `host@backend#pool`.
        host: String,
        /// Why.
        cause: String,
    },
    /// A guest cannot be asked: nothing is said about its devices.
    GuestUnreadable {
        /// Server.
        server_id: ServerId,
        /// Why.
        cause: String,
    },
    /// A project's stored usage is not the sum over its volumes and operations (promise I5).
    UsageDiffers {
        /// Project.
        project_id: ProjectId,
        /// Only of volumes of this type; none: of all together.
        #[serde(skip_serializing_if = "Option::is_none")]
        volume_type_id: Option<VolumeTypeId>,
        /// Stored.
        stored: Usage,
        /// Counted.
        counted: Usage,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.finding {
            Finding::VolumeMissing { volume_id, host, status } => {
                write!(f, "volume {volume_id} ({status}) is missing at {host}")?;
            }
            Finding::VolumeUnowned { volume_id, host } => write!(f, "{host} has volume {volume_id} without a record")?,
            Finding::SizeDiffers { volume_id, recorded_gib, actual_gib } => {
                write!(f, "volume {volume_id} has {recorded_gib} GiB by its record and {actual_gib} GiB in fact")?;
            }
            Finding::ExportMissing { volume_id, export, .. } => {
                write!(f, "volume {volume_id}: export {export} of an attached row is not served")?;
            }
            Finding::ExportUnowned { volume_id, export } => {
                write!(f, "volume {volume_id}: export {export} is served and no row owns it")?;
            }
            Finding::SnapshotMissing { volume_id, snapshot_id } => {
                write!(f, "volume {volume_id}: snapshot {snapshot_id} is missing at its backend")?;
            }
            Finding::SnapshotUnowned { volume_id, snapshot_id } => {
                write!(f, "volume {volume_id}: snapshot {snapshot_id} is at the backend without a record")?;
            }
            Finding::DeviceMissing { volume_id, attachment_id, server_id } => {
                write!(f, "volume {volume_id}: server {server_id} lacks the device of attachment {attachment_id}")?;
            }
            Finding::DeviceUnowned { attachment_id, server_id } => {
                write!(f, "server {server_id} has a device of attachment {attachment_id}, which is not its own")?;
            }
            Finding::ServerMissing { volume_id, attachment_id, server_id } => {
                write!(f, "volume {volume_id}: attachment {attachment_id} names server {server_id}, which is gone")?;
            }
            Finding::BackendUnknown { volume_id, host } => {
                write!(f, "volume {volume_id} lies on {host}, which is not in the settings")?;
            }
            Finding::BackendUnreadable { host, cause } => write!(f, "{host} cannot be read: {cause}")?,
            Finding::GuestUnreadable { server_id, cause } => write!(f, "server {server_id} cannot be asked: {cause}")?,
            Finding::UsageDiffers { project_id, volume_type_id, stored, counted } => {
                let of_type = volume_type_id.map(|id| format!(" of type {id}")).unwrap_or_default();
                write!(f, "project {project_id} has usage{of_type} {stored:?} stored and {counted:?} counted")?;
            }
        }
        match &self.explained_by {
            Some(work) => write!(f, " (explained by {work})"),
            None => Ok(()),
        }
    }
}

/// Every difference, in the order volumes, backends, guests, usage.
pub fn differences(survey: &Survey) -> Vec<Difference> {
    let mut found = Vec::new();
    let backends: BTreeMap<&str, Option<BTreeMap<VolumeId, &Truth>>> = survey
        .backends
        .iter()
        .map(|backend| {
            let truths = backend.volumes.as_ref().ok().map(|volumes| volumes.iter().map(|(id, t)| (*id, t)).collect());
            (backend.host.as_str(), truths)
        })
        .collect();
    for state in &survey.volumes {
        at_backend(state, &backends, &mut found);
        in_guests(state, survey, &mut found);
    }
    unowned_volumes(survey, &mut found);
    unowned_devices(survey, &mut found);
    for audit in survey.usage.iter().filter(|audit| audit.stored != audit.counted) {
        let UsageAudit { scope: Scope { project_id, volume_type_id }, stored, counted } = audit.clone();
        let finding = Finding::UsageDiffers { project_id, volume_type_id, stored, counted };
        found.push(Difference { finding, explained_by: None });
    }
    found
}

/// The open work of a volume, which will settle what differs.
fn open_work(state: &VolumeState) -> Option<String> {
    // What Nova is still to be told explains nothing.
    let settles = |operation: &&Operation| operation.kind.lane() != Lane::Notice;
    if let Some(operation) = state.operations.iter().find(settles) {
        return Some(named(operation));
    }
    if !state.volume.outstanding.is_empty() {
        return Some("a call that the backend has not answered yet".to_owned());
    }
    if !state.volume.orphan_exports.is_empty() {
        return Some("a repair that is to come".to_owned());
    }
    (!state.volume.loans.is_empty()).then(|| "a copy that is being made of it".to_owned())
}

/// Whether the record says that the backend has the volume. After a failed create, delete, adoption or release it may or may not.
fn must_exist(status: VolumeStatus) -> bool {
    !matches!(
        status,
        VolumeStatus::Creating
            | VolumeStatus::Managing
            | VolumeStatus::Error
            | VolumeStatus::ErrorDeleting
            | VolumeStatus::ErrorManaging
            | VolumeStatus::ErrorUnmanaging
    )
}

fn at_backend(
    state: &VolumeState,
    backends: &BTreeMap<&str, Option<BTreeMap<VolumeId, &Truth>>>,
    found: &mut Vec<Difference>,
) {
    let (volume, volume_id) = (&state.volume, state.id());
    let Some(host) = &volume.host else { return };
    let mut add = |finding| found.push(Difference { finding, explained_by: open_work(state) });
    let truths = match backends.get(host.as_str()) {
        Some(Some(truths)) => truths,
        // said once, for the backend
        Some(None) => return,
        None => return add(Finding::BackendUnknown { volume_id, host: host.to_string() }),
    };
    let Some(truth) = truths.get(&volume_id).filter(|truth| truth.exists) else {
        if must_exist(volume.status) {
            add(Finding::VolumeMissing { volume_id, host: host.to_string(), status: volume.status });
        }
        return;
    };
    if truth.size_gib != volume.size_gib {
        add(Finding::SizeDiffers { volume_id, recorded_gib: volume.size_gib, actual_gib: truth.size_gib });
    }
    for row in &state.attachments {
        if let Some(export) = &row.export
            && row.attach_status == AttachStatus::Attached
            && !truth.exports.contains(export)
        {
            add(Finding::ExportMissing { volume_id, attachment_id: row.id, export: export.clone() });
        }
    }
    let is_available = |snapshot: &&Snapshot| snapshot.status == SnapshotStatus::Available;
    for snapshot in state.snapshots.iter().filter(is_available).filter(|own| !truth.snapshots.contains(&own.id)) {
        add(Finding::SnapshotMissing { volume_id, snapshot_id: snapshot.id });
    }
    for snapshot_id in truth.snapshots.iter().filter(|id| state.snapshot(**id).is_none()) {
        add(Finding::SnapshotUnowned { volume_id, snapshot_id: *snapshot_id });
    }
    for connection in volume.connections().iter().filter(|connection| connection.connection_info.is_some()) {
        if !truth.exports.contains(&connection.export) {
            let (attachment_id, export) = (connection.id, connection.export.clone());
            add(Finding::ExportMissing { volume_id, attachment_id, export });
        }
    }
    for export in &truth.exports {
        let owned = state.attachments.iter().any(|row| row.export.as_ref() == Some(export))
            || volume.connections().iter().any(|connection| connection.export == *export)
            || volume.orphan_exports.contains(export);
        if !owned {
            add(Finding::ExportUnowned { volume_id, export: export.clone() });
        }
    }
}

fn in_guests(state: &VolumeState, survey: &Survey, found: &mut Vec<Difference>) {
    let volume_id = state.id();
    for row in &state.attachments {
        let Some(bdm) = &row.bdm else { continue };
        let mut add = |finding| found.push(Difference { finding, explained_by: open_work(state) });
        let (attachment_id, server_id) = (row.id, bdm.server_id.clone());
        if !survey.servers.iter().any(|server| server.id == server_id) {
            add(Finding::ServerMissing { volume_id, attachment_id, server_id });
            continue;
        }
        let guest = survey.guests.iter().find(|guest| guest.server_id == server_id);
        if let Some(Ok(devices)) = guest.map(|guest| &guest.devices)
            && row.belongs_in_guest()
            && !devices.contains(&row.device_id())
        {
            add(Finding::DeviceMissing { volume_id, attachment_id, server_id });
        }
    }
}

fn unowned_volumes(survey: &Survey, found: &mut Vec<Difference>) {
    let homes: BTreeMap<VolumeId, &str> =
        survey.volumes.iter().filter_map(|state| Some((state.id(), state.volume.host.as_deref()?))).collect();
    for BackendInventory { host, volumes } in &survey.backends {
        let volumes = match volumes {
            Ok(volumes) => volumes,
            Err(cause) => {
                let finding = Finding::BackendUnreadable { host: host.to_string(), cause: cause.text.clone() };
                found.push(Difference { finding, explained_by: None });
                continue;
            }
        };
        for (volume_id, truth) in volumes {
            if homes.get(volume_id) == Some(&host.as_str()) {
                continue;
            }
            for snapshot_id in &truth.snapshots {
                let finding = Finding::SnapshotUnowned { volume_id: *volume_id, snapshot_id: *snapshot_id };
                found.push(Difference { finding, explained_by: None });
            }
            if !(truth.exists || truth.busy) {
                continue;
            }
            let finding = Finding::VolumeUnowned { volume_id: *volume_id, host: host.to_string() };
            let under_way = || truth.busy.then(|| "a call that is under way at the backend".to_owned());
            let explained_by = moving(survey, *volume_id, host).or_else(under_way);
            found.push(Difference { finding, explained_by });
        }
    }
}

/// The operation that brings the volume to this backend, or removes what it has left there.
fn moving(survey: &Survey, volume_id: VolumeId, host: &str) -> Option<String> {
    let state = survey.volumes.iter().find(|state| state.id() == volume_id)?;
    let is_there = |operation: &&Operation| operation.kind.other_backend().is_some_and(|other| *other == host);
    state.operations.iter().find(is_there).map(named)
}

fn named(operation: &Operation) -> String {
    format!("operation {} ({})", operation.id, operation.kind.name())
}

fn unowned_devices(survey: &Survey, found: &mut Vec<Difference>) {
    let rows: BTreeSet<(&ServerId, AttachmentId)> = survey
        .volumes
        .iter()
        .flat_map(|state| &state.attachments)
        .filter_map(|row| Some((&row.bdm.as_ref()?.server_id, row.device_id())))
        .collect();
    for GuestInventory { server_id, devices } in &survey.guests {
        match devices {
            Ok(devices) => {
                for attachment_id in devices.iter().filter(|id| !rows.contains(&(server_id, **id))) {
                    let finding =
                        Finding::DeviceUnowned { attachment_id: *attachment_id, server_id: server_id.clone() };
                    found.push(Difference { finding, explained_by: None });
                }
            }
            Err(cause) => {
                let finding = Finding::GuestUnreadable { server_id: server_id.clone(), cause: cause.text.clone() };
                found.push(Difference { finding, explained_by: None });
            }
        }
    }
}

#[cfg(test)]
mod tests;
