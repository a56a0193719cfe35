//! The rows as they stand in the tables, and their way to and from the domain's values.

mod message;
mod qos;
mod server_action;
mod usage;
mod volume_type;

pub(super) use message::MessageRow;
pub(super) use qos::QosRow;
pub(super) use server_action::{ActionEndRow, ServerActionRow};
pub(super) use usage::{LimitRow, UsageRow};
pub(super) use volume_type::VolumeTypeRow;

use std::borrow::Cow;
use std::sync::Arc;

use diesel::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::schema::{attachments, events, operations, servers, snapshots, volumes};
use super::statements::{AttachmentProgress, OperationProgress};
use super::{Event, StoreError};
use crate::domain::attachment::{AttachMode, Attachment, BlockDeviceMapping};
use crate::domain::document::Document;
use crate::domain::ids::{
    AttachmentId, ExportName, ProjectId, RequestId, ServerId, SnapshotId, UserId, VolumeId, VolumeTypeId,
};
use crate::domain::operation::Operation;
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::snapshot::Snapshot;
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::domain::volume::Volume;
use crate::domain::volume::state::Origin;

#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = volumes, treat_none_as_null = true, treat_none_as_default_value = false)]
pub(super) struct VolumeRow {
    pub id: String,
    pub generation: i64,
    pub epoch: i64,
    pub project_id: String,
    pub user_id: String,
    pub display_name: Option<String>,
    pub display_description: Option<String>,
    pub size: i64,
    pub status: String,
    pub previous_status: Option<String>,
    pub attach_status: String,
    pub migration_status: Option<String>,
    pub bootable: bool,
    pub multiattach: bool,
    pub volume_type_id: Option<String>,
    pub availability_zone: String,
    pub host: Option<String>,
    pub metadata: String,
    pub image_metadata: String,
    pub admin_metadata: String,
    pub consumes_quota: bool,
    pub origin_volume_id: Option<String>,
    pub snapshot_id: Option<String>,
    pub provider_id: Option<String>,
    pub loans: String,
    pub orphan_exports: String,
    pub outstanding: String,
    pub claims: Option<String>,
    pub unsettled: bool,
    pub created_at: i64,
    pub updated_at: Option<i64>,
    pub terminated_at: Option<i64>,
    pub deleted: bool,
    pub deleted_at: Option<i64>,
}

impl VolumeRow {
    pub(super) fn of(volume: &Volume) -> Self {
        Self {
            id: volume.id.to_string(),
            generation: to_i64(volume.generation),
            epoch: to_i64(volume.epoch),
            project_id: volume.project_id.to_string(),
            user_id: volume.user_id.to_string(),
            display_name: owned(volume.name.as_ref()),
            display_description: owned(volume.description.as_ref()),
            size: i64::from(volume.size_gib),
            status: volume.status.as_str().to_owned(),
            previous_status: volume.previous_status.map(|status| status.as_str().to_owned()),
            attach_status: volume.attach_status.as_str().to_owned(),
            migration_status: owned(volume.migration_status.as_ref()),
            bootable: volume.bootable,
            multiattach: volume.multiattach,
            volume_type_id: volume.volume_type_id.map(|id| id.to_string()),
            availability_zone: volume.availability_zone.to_string(),
            host: owned(volume.host.as_ref()),
            metadata: to_json(&volume.metadata),
            image_metadata: to_json(&volume.image_metadata),
            admin_metadata: to_json(&volume.admin_metadata),
            consumes_quota: volume.consumes_quota,
            origin_volume_id: volume.origin.as_ref().map(|origin| origin.source_volume_id.to_string()),
            snapshot_id: volume.origin.as_ref().and_then(|origin| origin.snapshot_id).map(|id| id.to_string()),
            provider_id: owned(volume.provider_id.as_ref()),
            loans: to_json(&volume.loans),
            orphan_exports: to_json(&volume.orphan_exports),
            outstanding: to_json(&volume.outstanding),
            unsettled: volume.is_unsettled(),
            claims: volume.claims.as_ref().map(to_json),
            created_at: volume.created_at.0,
            updated_at: volume.updated_at.map(|at| at.0),
            terminated_at: volume.terminated_at.map(|at| at.0),
            deleted: volume.deleted,
            deleted_at: volume.deleted_at.map(|at| at.0),
        }
    }

    pub(super) fn into_volume(self) -> Result<Volume, StoreError> {
        let what = || format!("volume {}", self.id);
        let origin = match self.origin_volume_id.as_deref() {
            None => None,
            Some(id) => Some(Box::new(Origin {
                source_volume_id: VolumeId(parse(id, what)?),
                snapshot_id: self.snapshot_id.as_deref().map(|id| parse(id, what)).transpose()?.map(SnapshotId),
            })),
        };
        Ok(Volume {
            id: VolumeId(parse(&self.id, what)?),
            generation: to_u64(self.generation),
            epoch: to_u64(self.epoch),
            size_gib: u32::try_from(self.size).map_err(|error| damaged(what(), error))?,
            status: parse(&self.status, what)?,
            previous_status: self.previous_status.as_deref().map(|word| parse(word, what)).transpose()?,
            attach_status: parse(&self.attach_status, what)?,
            volume_type_id: self.volume_type_id.as_deref().map(|id| parse(id, what)).transpose()?.map(VolumeTypeId),
            metadata: from_json(&self.metadata, what)?,
            image_metadata: from_json(&self.image_metadata, what)?,
            admin_metadata: from_json(&self.admin_metadata, what)?,
            orphan_exports: from_json(&self.orphan_exports, what)?,
            outstanding: from_json(&self.outstanding, what)?,
            loans: from_json(&self.loans, what)?,
            origin,
            claims: self.claims.as_deref().map(|text| from_json(text, what)).transpose()?,
            project_id: ProjectId(Text::common(&self.project_id)),
            user_id: UserId(Text::common(&self.user_id)),
            name: self.display_name.map(Text::from),
            description: self.display_description.map(Text::from),
            migration_status: self.migration_status.map(Text::from),
            bootable: self.bootable,
            multiattach: self.multiattach,
            availability_zone: Text::common(&self.availability_zone),
            host: self.host.as_deref().map(Text::common),
            consumes_quota: self.consumes_quota,
            provider_id: self.provider_id.map(Text::from),
            created_at: Timestamp(self.created_at),
            updated_at: self.updated_at.map(Timestamp),
            terminated_at: self.terminated_at.map(Timestamp),
            deleted: self.deleted,
            deleted_at: self.deleted_at.map(Timestamp),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = attachments, treat_none_as_default_value = false)]
pub(super) struct AttachmentRow {
    pub id: String,
    pub volume_id: String,
    pub project_id: String,
    pub ordinal: i64,
    pub instance_uuid: Option<String>,
    pub attached_host: Option<String>,
    pub mountpoint: Option<String>,
    pub attach_time: Option<i64>,
    pub attach_status: String,
    pub attach_mode: Option<String>,
    pub connector: Option<String>,
    pub connection_info: Option<String>,
    pub export_name: Option<String>,
    pub bdm_uuid: Option<String>,
    pub device: Option<String>,
    pub tag: Option<String>,
    pub delete_on_termination: Option<bool>,
    pub detaching: Option<bool>,
    pub guest_device: Option<String>,
    pub created_at: i64,
}

impl AttachmentRow {
    pub(super) fn progress(&self) -> AttachmentProgress<'_> {
        AttachmentProgress {
            project_id: &self.project_id,
            instance_uuid: self.instance_uuid.as_deref(),
            attached_host: self.attached_host.as_deref(),
            mountpoint: self.mountpoint.as_deref(),
            attach_time: self.attach_time,
            attach_status: &self.attach_status,
            attach_mode: self.attach_mode.as_deref(),
            connector: self.connector.as_deref(),
            connection_info: self.connection_info.as_deref(),
            export_name: self.export_name.as_deref(),
            bdm_uuid: self.bdm_uuid.as_deref(),
            device: self.device.as_deref(),
            tag: self.tag.as_deref(),
            delete_on_termination: self.delete_on_termination,
            detaching: self.detaching,
            guest_device: self.guest_device.as_deref(),
            id: &self.id,
        }
    }

    pub(super) fn of(row: &Attachment, project_id: &str, ordinal: i64) -> Self {
        let bdm = row.bdm.as_ref();
        Self {
            id: row.id.to_string(),
            volume_id: row.volume_id.to_string(),
            project_id: project_id.to_owned(),
            ordinal,
            instance_uuid: row.instance_uuid.as_ref().map(ServerId::to_string),
            attached_host: owned(row.attached_host.as_ref()),
            mountpoint: owned(row.mountpoint.as_ref()),
            attach_time: row.attach_time.map(|at| at.0),
            attach_status: row.attach_status.as_str().to_owned(),
            attach_mode: row.attach_mode.map(|mode| mode.as_str().to_owned()),
            connector: row.connector.as_ref().map(|connector| connector.as_str().to_owned()),
            connection_info: row.connection_info.as_ref().map(|info| info.as_str().to_owned()),
            export_name: row.export.as_ref().map(ExportName::to_string),
            bdm_uuid: bdm.map(|bdm| bdm.uuid.to_string()),
            device: bdm.and_then(|bdm| owned(bdm.device.as_ref())),
            tag: bdm.and_then(|bdm| owned(bdm.tag.as_ref())),
            delete_on_termination: bdm.map(|bdm| bdm.delete_on_termination),
            detaching: bdm.map(|bdm| bdm.detaching),
            guest_device: bdm.and_then(|bdm| bdm.guest_device).map(|id| id.to_string()),
            created_at: row.created_at.0,
        }
    }

    pub(super) fn into_attachment(self) -> Result<Attachment, StoreError> {
        let what = || format!("attachment {}", self.id);
        let instance_uuid = self.instance_uuid.as_deref().map(ServerId::from);
        let bdm = match &self.bdm_uuid {
            None => None,
            Some(id) => Some(BlockDeviceMapping {
                uuid: parse(id, what)?,
                server_id: instance_uuid.clone().ok_or_else(|| damaged(what(), "a mapping without a server"))?,
                device: self.device.as_deref().map(Text::from),
                tag: self.tag.as_deref().map(Text::from),
                delete_on_termination: self.delete_on_termination.unwrap_or(false),
                detaching: self.detaching.unwrap_or(false),
                guest_device: self.guest_device.as_deref().map(|id| parse(id, what)).transpose()?.map(AttachmentId),
            }),
        };
        let attach_mode = match self.attach_mode.as_deref() {
            None => None,
            Some("null") => Some(AttachMode::Undecided),
            Some(word) => Some(AttachMode::parse(word).ok_or_else(|| damaged(what(), format!("mode {word:?}")))?),
        };
        Ok(Attachment {
            id: AttachmentId(parse(&self.id, what)?),
            volume_id: VolumeId(parse(&self.volume_id, what)?),
            instance_uuid,
            attach_status: parse(&self.attach_status, what)?,
            attach_mode,
            connector: self.connector.as_deref().map(|text| document(text, what)).transpose()?,
            connection_info: self.connection_info.as_deref().map(|text| document(text, what)).transpose()?,
            bdm,
            attached_host: self.attached_host.map(Text::from),
            mountpoint: self.mountpoint.as_deref().map(Text::common),
            attach_time: self.attach_time.map(Timestamp),
            export: self.export_name.map(|name| ExportName(name.into())),
            created_at: Timestamp(self.created_at),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = snapshots, treat_none_as_default_value = false)]
pub(super) struct SnapshotRow {
    pub id: String,
    pub volume_id: String,
    pub project_id: String,
    pub user_id: String,
    pub ordinal: i64,
    pub display_name: Option<String>,
    pub display_description: Option<String>,
    pub status: String,
    pub progress: i64,
    pub volume_size: i64,
    pub metadata: String,
    pub consumes_quota: bool,
    pub created_at: i64,
    pub updated_at: Option<i64>,
}

impl SnapshotRow {
    pub(super) fn of(snapshot: &Snapshot, ordinal: i64) -> Self {
        Self {
            id: snapshot.id.to_string(),
            volume_id: snapshot.volume_id.to_string(),
            project_id: snapshot.project_id.to_string(),
            user_id: snapshot.user_id.to_string(),
            ordinal,
            display_name: owned(snapshot.name.as_ref()),
            display_description: owned(snapshot.description.as_ref()),
            status: snapshot.status.as_str().to_owned(),
            progress: i64::from(snapshot.progress),
            volume_size: i64::from(snapshot.size_gib),
            metadata: to_json(&snapshot.metadata),
            consumes_quota: snapshot.consumes_quota,
            created_at: snapshot.created_at.0,
            updated_at: snapshot.updated_at.map(|at| at.0),
        }
    }

    pub(super) fn into_snapshot(self) -> Result<Snapshot, StoreError> {
        let what = || format!("snapshot {}", self.id);
        Ok(Snapshot {
            id: SnapshotId(parse(&self.id, what)?),
            volume_id: VolumeId(parse(&self.volume_id, what)?),
            status: parse(&self.status, what)?,
            progress: u8::try_from(self.progress).map_err(|error| damaged(what(), error))?,
            size_gib: u32::try_from(self.volume_size).map_err(|error| damaged(what(), error))?,
            metadata: from_json(&self.metadata, what)?,
            project_id: ProjectId(Text::common(&self.project_id)),
            user_id: UserId(Text::common(&self.user_id)),
            name: self.display_name.map(Text::from),
            description: self.display_description.map(Text::from),
            consumes_quota: self.consumes_quota,
            created_at: Timestamp(self.created_at),
            updated_at: self.updated_at.map(Timestamp),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = operations, treat_none_as_default_value = false)]
pub(super) struct OperationRow {
    pub id: String,
    pub volume_id: String,
    pub epoch: i64,
    pub kind: String,
    pub step: String,
    pub attempt: i64,
    pub reserved_gib: i64,
    pub started_at: i64,
    pub other_backend: Option<String>,
    pub retyping_to: Option<String>,
    pub body: String,
}

impl OperationRow {
    pub(super) fn of(volume_id: VolumeId, operation: &Operation) -> Self {
        Self {
            id: operation.id.0.to_string(),
            volume_id: volume_id.to_string(),
            epoch: to_i64(operation.epoch),
            kind: operation.kind.name().to_owned(),
            step: operation.step.name().to_owned(),
            attempt: i64::from(operation.attempt),
            reserved_gib: i64::from(operation.reserved_gib),
            started_at: operation.started_at.0,
            other_backend: owned(operation.kind.other_backend()),
            retyping_to: operation.kind.retype().map(|retype| retype.volume_type_id.to_string()),
            body: to_json(operation),
        }
    }

    pub(super) fn progress(&self) -> OperationProgress<'_> {
        OperationProgress {
            step: &self.step,
            attempt: self.attempt,
            reserved_gib: self.reserved_gib,
            body: &self.body,
            id: &self.id,
        }
    }

    pub(super) fn into_operation(self) -> Result<Operation, StoreError> {
        from_json(&self.body, || format!("operation {}", self.id))
    }
}

#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = servers, treat_none_as_null = true)]
pub(super) struct ServerRow {
    pub id: String,
    pub name: String,
    pub project_id: String,
    pub user_id: String,
    pub host: Option<String>,
    pub hypervisor: String,
    pub qmp_socket: Option<String>,
    pub qmp_check_uuid: bool,
    pub vm_state: String,
    pub task_state: Option<String>,
    pub locked: bool,
    pub availability_zone: String,
    pub root_device_name: String,
    pub launched_at: Option<i64>,
    pub created_at: i64,
    pub updated_at: Option<i64>,
    pub epoch: i64,
    pub deleted: bool,
}

impl ServerRow {
    pub(super) fn of(server: &Server) -> Self {
        Self {
            id: server.id.to_string(),
            name: server.name.clone(),
            project_id: server.project_id.to_string(),
            user_id: server.user_id.to_string(),
            host: server.host.clone(),
            hypervisor: server.hypervisor.as_str().to_owned(),
            qmp_socket: server.qmp_socket.clone(),
            qmp_check_uuid: server.qmp_check_uuid,
            vm_state: server.vm_state.as_str().to_owned(),
            task_state: server.task_state.clone(),
            locked: server.locked,
            availability_zone: server.availability_zone.clone(),
            root_device_name: server.root_device_name.clone(),
            launched_at: server.launched_at.map(|at| at.0),
            created_at: server.created_at.0,
            updated_at: server.updated_at.map(|at| at.0),
            epoch: to_i64(server.epoch),
            deleted: server.deleted,
        }
    }

    pub(super) fn into_server(self) -> Result<Server, StoreError> {
        let what = || format!("server {}", self.id);
        Ok(Server {
            hypervisor: HypervisorKind::parse(&self.hypervisor)
                .ok_or_else(|| damaged(what(), format!("hypervisor {:?}", self.hypervisor)))?,
            vm_state: parse(&self.vm_state, what)?,
            id: self.id.into(),
            name: self.name,
            project_id: self.project_id.into(),
            user_id: self.user_id.into(),
            host: self.host,
            qmp_socket: self.qmp_socket,
            qmp_check_uuid: self.qmp_check_uuid,
            task_state: self.task_state,
            locked: self.locked,
            availability_zone: self.availability_zone,
            root_device_name: self.root_device_name,
            launched_at: self.launched_at.map(Timestamp),
            created_at: Timestamp(self.created_at),
            updated_at: self.updated_at.map(Timestamp),
            epoch: to_u64(self.epoch),
            deleted: self.deleted,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
pub(super) struct EventRow {
    pub volume_id: String,
    pub generation: i64,
    pub at: i64,
    pub body: String,
}

impl EventRow {
    /// One transition.
    pub(super) fn of(event: &Event) -> Self {
        Self::ending_with(event, &[Line::of(event)])
    }

    /// Transitions of one volume, in order; none of none.
    pub(super) fn of_all(events: &[Arc<Event>]) -> Option<Self> {
        let lines: Vec<Line<'_>> = events.iter().map(|event| Line::of(event)).collect();
        events.last().map(|last| Self::ending_with(last, &lines))
    }

    fn ending_with(last: &Event, all: &[Line<'_>]) -> Self {
        Self {
            volume_id: last.volume_id.to_string(),
            generation: to_i64(last.generation),
            at: last.at.0,
            body: to_json(&all),
        }
    }

    /// The transitions, in order.
    pub(super) fn into_events(self) -> Result<Vec<Event>, StoreError> {
        let what = || format!("the history of volume {}", self.volume_id);
        let volume_id = VolumeId(parse(&self.volume_id, what)?);
        let lines: Vec<Line<'static>> = from_json(&self.body, what)?;
        Ok(lines.into_iter().map(|line| line.into_event(volume_id)).collect())
    }
}

/// A transition in the history of its volume: generation, instant, command, request, status before and after, cause.
#[derive(Serialize, Deserialize)]
pub(super) struct Line<'a>(
    u64,
    Timestamp,
    Cow<'a, str>,
    Cow<'a, str>,
    Option<Cow<'a, str>>,
    Cow<'a, str>,
    Option<Cow<'a, str>>,
);

impl<'a> Line<'a> {
    /// Of an event; the volume is told by whoever keeps it.
    pub(super) fn of(event: &'a Event) -> Self {
        Self(
            event.generation,
            event.at,
            Cow::Borrowed(&event.command),
            Cow::Borrowed(event.request_id.as_str()),
            event.from_status.as_deref().map(Cow::Borrowed),
            Cow::Borrowed(&event.to_status),
            event.cause.as_deref().map(Cow::Borrowed),
        )
    }

    /// The event of a volume.
    pub(super) fn into_event(self, volume_id: VolumeId) -> Event {
        let Self(generation, at, command, request_id, from_status, to_status, cause) = self;
        Event {
            volume_id,
            generation,
            at,
            command: command.into_owned(),
            request_id: RequestId::from(&*request_id),
            from_status: from_status.map(Cow::into_owned),
            to_status: to_status.into_owned(),
            cause: cause.map(Cow::into_owned),
        }
    }
}

/// Counters start at 0 and rise by one: they never come near the bound.
pub(super) fn to_i64(counter: u64) -> i64 {
    i64::try_from(counter).expect("a counter below 2^63")
}

fn to_u64(counter: i64) -> u64 {
    u64::try_from(counter).unwrap_or(0)
}

pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("domain values have text keys and cannot fail to serialise")
}

fn from_json<T: DeserializeOwned>(text: &str, what: impl Fn() -> String) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| damaged(what(), error))
}

fn document(text: &str, what: impl Fn() -> String) -> Result<Document, StoreError> {
    Document::parse(text).map_err(|error| damaged(what(), error))
}

fn owned(text: Option<&Text>) -> Option<String> {
    text.map(Text::to_string)
}

pub(super) fn parse<T>(text: &str, what: impl Fn() -> String) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| damaged(what(), error))
}

fn damaged(what: String, reason: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged { what, reason: reason.to_string() }
}
