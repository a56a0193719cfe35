//! Volumes (volumes §2).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::time;
use crate::api::links::Links;
use crate::api::microversion::Microversion;
use crate::domain::attachment::Attachment;
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::{Volume, VolumeState};

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
    /// For links.
    pub links: &'a Links,
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
pub fn summary(volume: &Volume, links: &Links) -> Value {
    let id = volume.id.to_string();
    json!({"id": id, "name": volume.name, "links": links.of("volumes", &id)})
}

/// The detail view. `type_name` is the name of the volume's type, if the type is still there.
pub fn detail(state: &VolumeState, type_name: Option<&str>, shown: Shown, viewer: &Viewer<'_>) -> Value {
    let volume = &state.volume;
    let since = |minor| viewer.version >= Microversion::v3(minor);
    let id = volume.id.to_string();
    let type_id = volume.volume_type_id.map(|id| id.to_string());
    // Before 3.63 the id stands in when the type's row is gone.
    let volume_type = type_name.map(str::to_owned).or_else(|| if since(63) { None } else { type_id.clone() });

    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("id", json!(id));
    put("name", json!(volume.name));
    put("description", json!(volume.description));
    put("size", json!(volume.size_gib));
    put("status", json!(status_shown(volume.status)));
    put("availability_zone", json!(volume.availability_zone));
    put("created_at", json!(time::micros(volume.created_at)));
    put("updated_at", json!(volume.updated_at.map(time::micros)));
    put("volume_type", json!(volume_type));
    put("snapshot_id", Value::Null);
    put("source_volid", Value::Null);
    put("metadata", json!(metadata(volume, shown)));
    put("links", viewer.links.of("volumes", &id));
    put("user_id", json!(volume.user_id));
    put("bootable", json!(if volume.bootable { "true" } else { "false" }));
    put("encrypted", json!(false));
    put("replication_status", Value::Null);
    put("consistencygroup_id", Value::Null);
    put("multiattach", json!(volume.multiattach));
    put("attachments", Value::Array(attachments(state, viewer)));
    if viewer.is_admin {
        put("migration_status", json!(volume.migration_status));
    }
    if shown == Shown::Detail {
        put("os-vol-tenant-attr:tenant_id", json!(volume.project_id));
        if viewer.is_admin {
            put("os-vol-host-attr:host", json!(volume.host));
            put("os-vol-mig-status-attr:migstat", json!(volume.migration_status));
            put("os-vol-mig-status-attr:name_id", Value::Null);
        }
    }
    if since(13) {
        put("group_id", Value::Null);
    }
    if since(21) && viewer.is_admin {
        put("provider_id", json!(volume.provider_id));
    }
    if since(48) {
        put("service_uuid", Value::Null);
        put("shared_targets", json!(false));
    }
    if since(61) && viewer.is_admin {
        put("cluster_name", Value::Null);
    }
    if since(63) {
        put("volume_type_id", json!(type_id));
    }
    if since(65) {
        put("consumes_quota", json!(volume.consumes_quota));
    }
    Value::Object(members)
}

/// User metadata, and the admin keys that users may see; the admin key wins.
fn metadata(volume: &Volume, shown: Shown) -> BTreeMap<&str, &str> {
    let mut all: BTreeMap<&str, &str> =
        volume.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    if shown != Shown::Created {
        for key in ["readonly", "attached_mode"] {
            if let Some(value) = volume.admin_metadata.get(key) {
                all.insert(key, value);
            }
        }
    }
    all
}

fn attachments(state: &VolumeState, viewer: &Viewer<'_>) -> Vec<Value> {
    let attached = state.attachments.iter().filter(|row| row.attach_status == AttachStatus::Attached);
    attached.map(|row| attachment(row, viewer)).collect()
}

fn attachment(row: &Attachment, viewer: &Viewer<'_>) -> Value {
    let device = row.bdm.as_ref().and_then(|bdm| bdm.device.as_ref()).or(row.mountpoint.as_ref());
    let host = row.attached_host.as_ref().filter(|_| viewer.sees_hosts);
    json!({
        // The volume's id, a legacy of the first API.
        "id": row.volume_id,
        "attachment_id": row.id,
        "volume_id": row.volume_id,
        "server_id": row.instance_uuid,
        "host_name": host,
        "device": device,
        "attached_at": row.attach_time.map(time::micros),
    })
}
