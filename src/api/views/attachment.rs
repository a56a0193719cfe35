//! Attachments (attachments §2.1).

use serde_json::{Value, json};

use super::time;
use crate::domain::attachment::Attachment;

/// `{id, status, instance, volume_id}`.
pub fn summary(row: &Attachment) -> Value {
    json!({
        "id": row.id,
        "status": row.attach_status.as_str(),
        "instance": row.instance_uuid,
        "volume_id": row.volume_id,
    })
}

/// All members. Absent times are the empty string, as in Cinder.
pub fn detail(row: &Attachment) -> Value {
    json!({
        "id": row.id,
        "status": row.attach_status.as_str(),
        "instance": row.instance_uuid,
        "volume_id": row.volume_id,
        "attached_at": row.attach_time.map(time::micros).unwrap_or_default(),
        "detached_at": "",
        "attach_mode": row.attach_mode.map(|mode| mode.as_str()),
        "connection_info": row.connection_info,
    })
}
