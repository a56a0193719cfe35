//! Attachments (attachments §2.1).

use serde::Serialize;

use super::time;
use crate::domain::attachment::Attachment;
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ServerId, VolumeId};

/// `{id, status, instance, volume_id}`.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    id: AttachmentId,
    status: &'static str,
    instance: Option<&'a ServerId>,
    volume_id: VolumeId,
}

/// A line of a list.
pub fn summary(row: &Attachment) -> Summary<'_> {
    Summary {
        id: row.id,
        status: row.attach_status.as_str(),
        instance: row.instance_uuid.as_ref(),
        volume_id: row.volume_id,
    }
}

/// All members. Absent times are the empty string, as in Cinder.
#[derive(Debug, Serialize)]
pub struct Detail<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    attached_at: String,
    detached_at: &'static str,
    attach_mode: Option<&'static str>,
    connection_info: Option<&'a Document>,
}

/// One attachment.
pub fn detail(row: &Attachment) -> Detail<'_> {
    Detail {
        summary: summary(row),
        attached_at: row.attach_time.map(time::micros).unwrap_or_default(),
        detached_at: "",
        attach_mode: row.attach_mode.map(|mode| mode.as_str()),
        connection_info: row.connection_info.as_ref(),
    }
}

impl<'a> Detail<'a> {
    /// With this connection information instead of the row's.
    pub fn with_connection_info(self, info: Option<&'a Document>) -> Self {
        Self { connection_info: info, ..self }
    }
}
