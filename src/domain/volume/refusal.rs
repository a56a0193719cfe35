//! Why a volume refuses a command.

use crate::domain::compute::UseQuestion;
use crate::domain::ids::{AttachmentId, ServerId, SnapshotId, VolumeId};
use crate::domain::quota::OverQuota;

/// Why a command is refused. The API layer makes faults of it, in one place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400 `Invalid input received: …`.
    #[error("{0}")]
    InvalidInput(String),
    /// 400 with this text alone.
    #[error("{0}")]
    BadRequest(String),
    /// 400 `Invalid volume: …`.
    #[error("{0}")]
    InvalidVolume(String),
    /// 404 for the volume.
    #[error("volume {0} could not be found")]
    VolumeNotFound(VolumeId),
    /// 400 `Invalid snapshot: …`.
    #[error("{0}")]
    InvalidSnapshot(String),
    /// 404 for a snapshot.
    #[error("snapshot {0} could not be found")]
    SnapshotNotFound(SnapshotId),
    /// 404 for an attachment.
    #[error("attachment {0} could not be found")]
    AttachmentNotFound(AttachmentId),
    /// 404 of Compute: the volume is not attached to the server.
    #[error("{0}")]
    NotAttached(String),
    /// 404: the snapshot has no metadata with this key.
    #[error("snapshot {snapshot_id} has no metadata with the key {key}")]
    SnapshotMetadataNotFound {
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// The key.
        key: String,
    },
    /// 404: the volume has no metadata with this key.
    #[error("volume {volume_id} has no metadata with the key {key}")]
    MetadataNotFound {
        /// The volume.
        volume_id: VolumeId,
        /// The key.
        key: String,
    },
    /// 404: the volume has no such image metadata, or none at all.
    #[error("image metadata of volume {0} could not be found")]
    ImageMetadataNotFound(VolumeId),
    /// 412: the metadata are not the ones that the client has seen.
    #[error("the metadata have changed")]
    TagDiffers,
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 409 `ConflictNovaUsingAttachment: …`.
    #[error("detach volume from instance {0} using the Compute API")]
    UsedByServer(ServerId),
    /// Not before Compute has said whether its server uses the row: ask, and send the command again with the answer.
    #[error("Compute has to be asked first")]
    AskCompute(Box<UseQuestion>),
    /// 413.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// 413 `VolumeSizeExceedsLimit: …`.
    #[error("requested volume size {requested} GiB is larger than maximum allowed limit {limit} GiB")]
    OverVolumeSize {
        /// Asked for, GiB.
        requested: i64,
        /// The limit, GiB.
        limit: i64,
    },
    /// 400: the connector lacks what the backend needs.
    #[error("{0}")]
    BadConnector(String),
    /// 500: the backend failed; what was begun has been undone.
    #[error("{0}")]
    Backend(String),
    /// 500: it waited in the connection queue for longer than the deadline.
    #[error("the volume's connections were busy until the deadline")]
    QueueDeadline,
    /// The attachment rows of the server changed in the same instant (its name or the server itself): decide again.
    #[error("the server changed meanwhile")]
    ServerChanged,
    /// The volume type, or whose volume it is, is no longer as the request saw it: look again.
    #[error("the volume type or the project of the volume changed meanwhile")]
    TypeChanged,
    /// Another copy of the request, with the same idempotency key, was first.
    #[error("the idempotency key has been used meanwhile")]
    KeyUsed,
}
