//! User messages (services-hosts-pools, messages).

use serde_json::{Value, json};

use super::time;
use crate::api::links::Links;
use crate::store::Message;

const ACTIONS: &[&str] = &[
    "schedule allocate volume",
    "attach volume",
    "copy volume to image",
    "update attachment",
    "copy image to volume",
    "unmanage volume",
    "extend volume",
    "create volume from backend storage",
    "create snapshot",
    "delete snapshot",
    "update snapshot",
    "update snapshot metadata",
    "create backup",
    "delete backup",
    "restore backup",
    "reimage volume",
    // Cinder has no words for these (docs/differences.md)
    "delete volume",
    "detach volume",
    "migrate volume",
    "retype volume",
];

const DETAILS: &[&str] = &[
    "An unknown error occurred.",
    "Driver is not initialized at present.",
    "Could not find any available weighted backend.",
    "Failed to upload volume to image at backend.",
    "Volume's attach mode is invalid.",
    "Not enough quota resource for operation.",
    "Image used for creating volume exceeds available space.",
    "Unmanaging encrypted volumes is not supported.",
    "Compute service failed to extend volume.",
    "Volume Driver failed to extend volume.",
    "Image signature verification failed.",
    "Driver failed to create the volume.",
    "Snapshot failed to create.",
    "Volume snapshot update metadata failed.",
    "Snapshot is busy.",
    "Snapshot failed to delete.",
    "Backup status is invalid.",
    "Backup service is down.",
    "Failed to get backup device from the volume service.",
    "Backup driver failed to create backup.",
    "Failed to attach volume.",
    "Failed to detach volume.",
    "Cleanup of temporary volume/snapshot failed.",
    "Backup failed to schedule. Service not found for creating backup.",
    "Backup driver failed to delete backup.",
    "Backup driver failed to restore backup.",
    "Volume status is invalid.",
    "Compute service failed to reimage volume.",
    "The image disk format must be the same as the volume format for the volume type you are requesting.",
    "Incremental backup not possible, forcing full backup.",
];

fn text(table: &'static [&'static str], id: &str) -> &'static str {
    let index = id.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| table.get(index)).copied().unwrap_or("unknown")
}

/// One message.
pub fn shown(message: &Message, links: &Links) -> Value {
    let cause = message.cause.as_deref().map(|cause| format!(" {cause}")).unwrap_or_default();
    let id = message.id.to_string();
    let mut body = json!({
        "id": id,
        "event_id": format!("VOLUME_{}_{}_{}", message.resource_type, message.action_id, message.detail_id),
        "user_message": format!("{}:{}{cause}", text(ACTIONS, &message.action_id), text(DETAILS, &message.detail_id)),
        "message_level": "ERROR",
        "created_at": time::micros(message.created_at),
        "guaranteed_until": time::micros(message.expires_at),
        "request_id": message.request_id,
        "resource_type": message.resource_type,
        "links": links.of("messages", &id),
    });
    if let Some(resource) = &message.resource_uuid {
        body["resource_uuid"] = json!(resource);
    }
    body
}
