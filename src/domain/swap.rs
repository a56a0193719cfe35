//! A volume that takes another one's place under a running guest (`spec/nova-volume-attachments.md` §5): what each of the two
//! keeps of it while it lasts.

use serde::{Deserialize, Serialize};

use super::attachment::{AttachMode, BlockDeviceMapping};
use super::document::Document;
use super::ids::{AttachmentId, ExportName, OperationId, ServerId, VolumeId};

/// The new volume's part, which leads: it asks the old one, copies, and says how it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwapIn {
    /// Its own row.
    pub attachment_id: AttachmentId,
    /// The guest's server.
    pub server_id: ServerId,
    /// The volume that the guest has.
    pub old_volume: VolumeId,
    /// What the old volume has said of the guest's disk; none: it has not answered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Box<YieldedDisk>>,
    /// What the new volume's export answered: how the guest gets there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_info: Option<Document>,
}

impl SwapIn {
    /// The export of the new volume for the guest: one for each swap.
    pub fn export(&self, epoch: u64) -> ExportName {
        ExportName::new(self.attachment_id, epoch)
    }

    /// What the guest's device is named after; none: the old volume has not said it yet.
    pub fn device_id(&self) -> Option<AttachmentId> {
        self.disk.as_ref().and_then(|disk| disk.mapping.guest_device)
    }
}

/// A disk of a guest that a volume leaves to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct YieldedDisk {
    /// Compute's half of the old row, for the new one; it names the guest's device.
    pub mapping: BlockDeviceMapping,
    /// How the guest may use the disk.
    pub mode: AttachMode,
    /// The connector of the server's host.
    pub connector: Document,
    /// The size that the guest sees, GiB.
    pub size_gib: u32,
}

/// The old volume's part, which waits for the word of the new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SwapOut {
    /// The row that goes.
    pub attachment_id: AttachmentId,
    /// The guest's server.
    pub server_id: ServerId,
    /// The volume that takes its place.
    pub new_volume: VolumeId,
    /// The operation there.
    pub swap: OperationId,
}
