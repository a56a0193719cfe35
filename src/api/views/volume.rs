//! Volumes (volumes §2).

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::time;
use crate::api::links::{Link, Links};
use crate::api::microversion::Microversion;
use crate::domain::attachment::Attachment;
use crate::domain::ids::{AttachmentId, ServerId, VolumeId};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::state::Origin;
use crate::domain::volume::{Volume, VolumeState};

/// A member that is there and has no value.
const NULL: &Option<()> = &None;

/// Which answer shows the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The answer of a create: admin metadata is not merged.
    Created,
    /// The answer of an update.
    Updated,
    /// A show or a detail list: the extension members are there too.
    Detail,
}

/// What a view depends on besides the volume.
pub struct Viewer<'a> {
    /// The version in force.
    pub version: Microversion,
    /// Sees the admin members.
    pub is_admin: bool,
    /// Sees host names of attachments.
    pub sees_hosts: bool,
    /// Which members are there that a rule each decides on.
    pub extensions: Extensions,
    /// For links.
    pub links: &'a Links,
}

/// Members of the detail view, by the rule of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// `os-vol-host-attr`.
    pub host: bool,
    /// `os-vol-tenant-attr`.
    pub tenant: bool,
    /// `os-vol-mig-status-attr`.
    pub migration: bool,
    /// `volume_image_metadata`.
    pub image_metadata: bool,
}

/// The word shown for a status: internal ones have public names.
fn status_shown(status: VolumeStatus) -> &'static str {
    match status {
        VolumeStatus::Managing => "creating",
        VolumeStatus::ErrorManaging => "error",
        VolumeStatus::ErrorManagingDeleting => "deleting",
        status => status.as_str(),
    }
}

/// `{id, name, links}`.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    id: VolumeId,
    name: Option<&'a str>,
    links: [Link; 2],
}

/// A line of a list.
pub fn summary<'a>(volume: &'a Volume, links: &Links) -> Summary<'a> {
    Summary { id: volume.id, name: volume.name.as_deref(), links: links.of("volumes", &volume.id.to_string()) }
}

/// The detail view. `type_name` is the name of the volume's type, if the type is still there.
pub fn detail<'a>(
    state: &'a VolumeState,
    type_name: Option<&'a str>,
    shown: Shown,
    viewer: &'a Viewer<'a>,
) -> Detail<'a> {
    Detail { state, type_name, shown, viewer }
}

/// A volume as its viewer sees it: written member by member, since which ones there are depends on the viewer.
pub struct Detail<'a> {
    state: &'a VolumeState,
    type_name: Option<&'a str>,
    shown: Shown,
    viewer: &'a Viewer<'a>,
}

impl Serialize for Detail<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { state, type_name, shown, viewer } = self;
        let volume = &state.volume;
        let since = |minor| viewer.version >= Microversion::v3(minor);
        let id = volume.id.to_string();
        let type_id = volume.volume_type_id.map(|id| id.to_string());
        // Before 3.63 the id stands in when the type's row is gone.
        let volume_type = type_name.or_else(|| if since(63) { None } else { type_id.as_deref() });

        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("id", &id)?;
        members.serialize_entry("name", &volume.name)?;
        members.serialize_entry("description", &volume.description)?;
        members.serialize_entry("size", &volume.size_gib)?;
        members.serialize_entry("status", &status_shown(volume.status))?;
        members.serialize_entry("availability_zone", &volume.availability_zone)?;
        members.serialize_entry("created_at", &time::micros(volume.created_at))?;
        members.serialize_entry("updated_at", &volume.updated_at.map(time::micros))?;
        members.serialize_entry("volume_type", &volume_type)?;
        let origin = volume.origin.as_deref();
        members.serialize_entry("snapshot_id", &origin.and_then(|origin| origin.snapshot_id))?;
        members.serialize_entry("source_volid", &origin.and_then(Origin::cloned_volume))?;
        members.serialize_entry("metadata", &metadata(volume, *shown))?;
        members.serialize_entry("links", &viewer.links.of("volumes", &id))?;
        members.serialize_entry("user_id", &volume.user_id)?;
        members.serialize_entry("bootable", if volume.bootable { "true" } else { "false" })?;
        members.serialize_entry("encrypted", &false)?;
        members.serialize_entry("replication_status", NULL)?;
        members.serialize_entry("consistencygroup_id", NULL)?;
        members.serialize_entry("multiattach", &volume.multiattach)?;
        members.serialize_entry("attachments", &attachments(state, viewer))?;
        if viewer.is_admin {
            members.serialize_entry("migration_status", &volume.migration_status)?;
        }
        if *shown == Shown::Detail {
            let extensions = viewer.extensions;
            if extensions.tenant {
                members.serialize_entry("os-vol-tenant-attr:tenant_id", &volume.project_id)?;
            }
            if extensions.image_metadata && !volume.image_metadata.is_empty() {
                members.serialize_entry("volume_image_metadata", &volume.image_metadata)?;
            }
            if extensions.host {
                members.serialize_entry("os-vol-host-attr:host", &volume.host)?;
            }
            if extensions.migration {
                members.serialize_entry("os-vol-mig-status-attr:migstat", &volume.migration_status)?;
                members.serialize_entry("os-vol-mig-status-attr:name_id", NULL)?;
            }
        }
        if since(13) {
            members.serialize_entry("group_id", NULL)?;
        }
        if since(21) && viewer.is_admin {
            members.serialize_entry("provider_id", &volume.provider_id)?;
        }
        if since(48) {
            members.serialize_entry("service_uuid", NULL)?;
            members.serialize_entry("shared_targets", &false)?;
        }
        if since(61) && viewer.is_admin {
            members.serialize_entry("cluster_name", NULL)?;
        }
        if since(63) {
            members.serialize_entry("volume_type_id", &type_id)?;
        }
        if since(65) {
            members.serialize_entry("consumes_quota", &volume.consumes_quota)?;
        }
        members.end()
    }
}

/// User metadata, and the admin keys that users may see; the admin key wins.
fn metadata(volume: &Volume, shown: Shown) -> BTreeMap<&str, &str> {
    let mut all: BTreeMap<&str, &str> = volume.metadata.iter().collect();
    if shown != Shown::Created {
        for key in ["readonly", "attached_mode"] {
            if let Some(value) = volume.admin_metadata.get(key) {
                all.insert(key, value);
            }
        }
    }
    all
}

/// One attached row.
#[derive(Serialize)]
struct AttachmentMember<'a> {
    /// The volume's id, a legacy of the first API.
    id: VolumeId,
    attachment_id: AttachmentId,
    volume_id: VolumeId,
    server_id: Option<&'a ServerId>,
    host_name: Option<&'a str>,
    device: Option<&'a str>,
    attached_at: Option<String>,
}

fn attachments<'a>(state: &'a VolumeState, viewer: &Viewer<'_>) -> Vec<AttachmentMember<'a>> {
    let attached = state.attachments.iter().filter(|row| row.attach_status == AttachStatus::Attached);
    attached.map(|row| attachment(row, viewer)).collect()
}

fn attachment<'a>(row: &'a Attachment, viewer: &Viewer<'_>) -> AttachmentMember<'a> {
    let device = row.bdm.as_ref().and_then(|bdm| bdm.device.as_deref()).or(row.mountpoint.as_deref());
    AttachmentMember {
        id: row.volume_id,
        attachment_id: row.id,
        volume_id: row.volume_id,
        server_id: row.instance_uuid.as_ref(),
        host_name: row.attached_host.as_deref().filter(|_| viewer.sees_hosts),
        device,
        attached_at: row.attach_time.map(time::micros),
    }
}
