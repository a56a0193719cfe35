//! The arguments of a volume's way to another backend, or to another type.

use serde::{Deserialize, Serialize};

use super::document::Document;
use super::ids::{AttachmentId, ServerId, VolumeTypeId};
use super::text::Text;

/// A volume on its way to another backend. There is no second record: the same id names it at both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Migration {
    /// `host@backend#pool` that it goes to.
    pub destination: Text,
    /// The availability zone there.
    pub zone: Text,
    /// The guest that uses it meanwhile; none: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<GuestDisk>,
    /// What the destination's export answered: how the guest gets there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_info: Option<Document>,
    /// The type that it is to be of afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retype: Option<Retype>,
}

/// A disk in a guest. Kept apart from its row, which an administrator may remove while the guest is still at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestDisk {
    /// The row.
    pub attachment_id: AttachmentId,
    /// What the disk is named after in the guest.
    pub device: AttachmentId,
    /// The guest's server.
    pub server_id: ServerId,
}

/// What a change of the type changes, at success only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retype {
    /// The new type. The volume counts for both until this has ended.
    pub volume_type_id: VolumeTypeId,
    /// From the new type.
    pub multiattach: bool,
}
