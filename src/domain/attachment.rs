//! One attachment row: Block Storage's attachment and Compute's block-device mapping in one record, so that the two
//! views of it can only change together (promise I6, `spec/attachments.md` §1).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::document::Document;
use super::ids::{AttachmentId, ExportName, ServerId, VolumeId};
use super::status::AttachStatus;
use super::text::Text;
use super::time::Timestamp;

/// How an attachment may be used. The API also knows the *string* `"null"` for "not decided yet" (`spec/attachments.md` §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AttachMode {
    /// Read and write.
    #[serde(rename = "rw")]
    ReadWrite,
    /// Read only.
    #[serde(rename = "ro")]
    ReadOnly,
    /// The literal `"null"` that Cinder stores until a mode is known.
    #[serde(rename = "null")]
    Undecided,
}

impl AttachMode {
    /// The word that the API prints.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWrite => "rw",
            Self::ReadOnly => "ro",
            Self::Undecided => "null",
        }
    }

    /// `rw` or `ro`; other words are not modes a client may ask for.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "rw" => Some(Self::ReadWrite),
            "ro" => Some(Self::ReadOnly),
            _ => None,
        }
    }
}

/// Compute's half of the row: present only when the attachment was made through `os-volume_attachments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDeviceMapping {
    /// `bdm_uuid` (Compute 2.89).
    pub uuid: Uuid,
    /// The server; equal to the row's `instance_uuid`.
    pub server_id: ServerId,
    /// `/dev/vdb`…; none for a shelved-offloaded server.
    pub device: Option<Text>,
    /// Device tag (2.49).
    pub tag: Option<Text>,
    /// Whether deleting the server deletes the volume (2.79).
    pub delete_on_termination: bool,
    /// The guest's detach is under way: the per-row marker behind the status `detaching`.
    pub detaching: bool,
    /// The attachment that the device in the guest is named after, where that is not this row: it came under the guest by a swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_device: Option<AttachmentId>,
}

/// An attachment row. Soft-deleted rows exist only in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its id.
    pub id: AttachmentId,
    /// The volume it belongs to.
    pub volume_id: VolumeId,
    /// The server, or none for a host attachment or a foreign consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_uuid: Option<ServerId>,
    /// `connector.host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_host: Option<Text>,
    /// `connector.mountpoint`, `na` when the connector has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mountpoint: Option<Text>,
    /// Set when the connection is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach_time: Option<Timestamp>,
    /// One of reserved, attaching, attached, error_attaching, error_detaching.
    pub attach_status: AttachStatus,
    /// None is JSON null; `Undecided` is the string `"null"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach_mode: Option<AttachMode>,
    /// As the client gave it, mode filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connector: Option<Document>,
    /// Flattened, as the backend returned it; `{}` on a fresh row (`spec/attachments.md` §2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_info: Option<Document>,
    /// The export that exists or may exist for this row: set with the intent, before the backend is called, and cleared
    /// only with the proof that the export is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportName>,
    /// Compute's half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bdm: Option<BlockDeviceMapping>,
    /// When the row was made.
    pub created_at: Timestamp,
}

impl Attachment {
    /// What its device in the guest is named after.
    pub fn device_id(&self) -> AttachmentId {
        self.bdm.as_ref().and_then(|bdm| bdm.guest_device).unwrap_or(self.id)
    }

    /// Whether its disk belongs into its server's guest: it is complete, and not on its way out.
    pub fn belongs_in_guest(&self) -> bool {
        self.attach_status == AttachStatus::Attached && self.bdm.as_ref().is_some_and(|bdm| !bdm.detaching)
    }

    /// Whether this row has connection information for a client to use.
    pub fn is_connected(&self) -> bool {
        self.connection_info.as_ref().is_some_and(Document::has_members)
    }

    /// Whether the row holds the volume: rows in `error_*` do not, unless their export is not proven gone
    /// (`spec/attachments.md` §4, design §3.8).
    pub fn holds_volume(&self) -> bool {
        match self.attach_status {
            AttachStatus::ErrorAttaching | AttachStatus::ErrorDetaching => self.export.is_some(),
            _ => true,
        }
    }
}

/// Of a server's rows, those that are its volumes. A disk whose volume is being swapped has two rows for a moment, of one mapping: from
/// the commit that says where its guest is, the newer one counts.
pub fn mapped(rows: Vec<Attachment>) -> Vec<Attachment> {
    let mapping = |row: &Attachment| row.bdm.as_ref().map(|bdm| bdm.uuid);
    let is_left = |index: usize, row: &Attachment| rows[index + 1..].iter().any(|later| mapping(later) == mapping(row));
    let left = rows.iter().enumerate().map(|(index, row)| is_left(index, row)).collect::<Vec<_>>();
    rows.into_iter().zip(left).filter(|(_, is_left)| !is_left).map(|(row, _)| row).collect()
}
