//! The changes of which the journal consists.

use serde::{Deserialize, Serialize};

use super::state::{Remembered, SimClone, SimContents, SimDevice, SimExport, SimObject, WriteRecord};
use crate::domain::ids::{AttachmentId, ExportName, OperationId, ServerId, SnapshotId, VolumeId};

/// One change of the truth: a line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A volume came to be.
    VolumeCreated {
        /// The volume.
        volume_id: VolumeId,
        /// GiB.
        size_gib: u32,
    },
    /// A volume came to be with the contents of another one, or of a snapshot.
    VolumeCloned {
        /// The new volume.
        volume_id: VolumeId,
        /// GiB.
        size_gib: u32,
        /// Where its contents come from.
        cloned: SimClone,
    },
    /// A volume came to be with an image's contents, or has got them in the place of its own.
    VolumeImaged {
        /// The volume.
        volume_id: VolumeId,
        /// GiB.
        size_gib: u32,
        /// What it holds now.
        markers: Vec<String>,
        /// The operation that did it.
        operation_id: OperationId,
    },
    /// An object came to be, past the driver.
    ObjectPlaced {
        /// What it is called.
        reference: String,
        /// What it is.
        object: SimObject,
    },
    /// An object became a volume.
    VolumeAdopted {
        /// The volume.
        volume_id: VolumeId,
        /// What the object was called.
        reference: String,
    },
    /// A volume became an object, or is not there: older adoptions have no effect any more.
    VolumeDisowned {
        /// The volume.
        volume_id: VolumeId,
        /// The epoch of the call.
        epoch: u64,
    },
    /// An object became a snapshot.
    SnapshotAdopted {
        /// The volume.
        volume_id: VolumeId,
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// What the object was called.
        reference: String,
    },
    /// A snapshot became an object, or is not there.
    SnapshotDisowned {
        /// The volume.
        volume_id: VolumeId,
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// The epoch of the call.
        epoch: u64,
    },
    /// A volume came here from another backend, or is blank for a guest's mirror to fill.
    VolumeArrived {
        /// The volume.
        volume_id: VolumeId,
        /// What it holds.
        contents: SimContents,
        /// By which operation.
        moved_by: OperationId,
    },
    /// A volume is gone with all its content.
    VolumeDeleted {
        /// The volume.
        volume_id: VolumeId,
        /// The epoch of the delete: older creates have no effect any more.
        #[serde(default)]
        epoch: u64,
    },
    /// A device is copied to another volume of the same backend, which holds the same now.
    Mirrored {
        /// The server.
        server_id: ServerId,
        /// The device.
        attachment_id: AttachmentId,
        /// The other volume's export.
        export: ExportName,
        /// The other volume.
        volume_id: VolumeId,
        /// What it holds now.
        markers: Vec<String>,
    },
    /// A device went over to what it was copied to, at the same backend.
    Pivoted {
        /// The server.
        server_id: ServerId,
        /// The device.
        attachment_id: AttachmentId,
        /// As it is now.
        device: SimDevice,
    },
    /// A volume has grown.
    VolumeGrown {
        /// The volume.
        volume_id: VolumeId,
        /// New size, GiB.
        size_gib: u32,
    },
    /// What a volume holds is kept.
    SnapshotCreated {
        /// The volume.
        volume_id: VolumeId,
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// A snapshot is gone.
    SnapshotDeleted {
        /// The volume.
        volume_id: VolumeId,
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// The epoch of the delete: older creations have no effect any more.
        epoch: u64,
    },
    /// A volume is what its snapshot has kept.
    VolumeReverted {
        /// The volume.
        volume_id: VolumeId,
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// An export is served.
    ExportOpened {
        /// Its name.
        export: ExportName,
        /// What it serves to whom.
        of: SimExport,
    },
    /// An export name is closed for ever, whether or not it was ever open.
    ExportFenced {
        /// The name.
        export: ExportName,
    },
    /// A device is in a guest.
    Plugged {
        /// The guest.
        server_id: ServerId,
        /// The attachment.
        attachment_id: AttachmentId,
        /// The device.
        device: SimDevice,
    },
    /// A device is gone from a guest.
    Unplugged {
        /// The guest.
        server_id: ServerId,
        /// The attachment.
        attachment_id: AttachmentId,
    },
    /// A guest sees a new size.
    GuestResized {
        /// The guest.
        server_id: ServerId,
        /// The attachment.
        attachment_id: AttachmentId,
        /// GiB.
        size_gib: u32,
    },
    /// A guest's disk is copied to another backend while it is written.
    MirrorBegun {
        /// The guest.
        server_id: ServerId,
        /// The attachment.
        attachment_id: AttachmentId,
        /// The destination's export.
        export: ExportName,
    },
    /// A guest's disk is not copied any more, and not to this export ever.
    MirrorEnded {
        /// The guest.
        server_id: ServerId,
        /// The attachment.
        attachment_id: AttachmentId,
        /// The destination's export; none: the connection information named none.
        export: Option<ExportName>,
    },
    /// A volume holds what a guest's disk holds elsewhere.
    VolumeFilled {
        /// The volume.
        volume_id: VolumeId,
        /// What was written there, in order.
        markers: Vec<String>,
    },
    /// Somebody wrote, or tried to.
    Wrote {
        /// The record.
        write: WriteRecord,
    },
}

/// One line of the journal: the effect of a call and its answer together, so that a crash never keeps one without the
/// other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The effect; none when the call found everything as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// The answered call; none for what was not a keyed call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remembered: Option<Remembered>,
}
