//! A snapshot of a volume. It belongs to the aggregate of its volume and changes in the same commits, so that "has snapshots",
//! "is the latest" and "is being reverted to" are never checked apart from what depends on them.

use serde::{Deserialize, Serialize};

use super::ids::{ProjectId, SnapshotId, UserId, VolumeId};
use super::metadata::Metadata;
use super::status::SnapshotStatus;
use super::text::Text;
use super::time::Timestamp;

/// A snapshot (`spec/snapshots.md` §1). Soft-deleted ones exist only in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The volume it is of.
    pub volume_id: VolumeId,
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// Display name.
    pub name: Option<Text>,
    /// Display description.
    pub description: Option<Text>,
    /// Status word.
    pub status: SnapshotStatus,
    /// Percent, 0 to 100.
    pub progress: u8,
    /// Size of the volume when it was taken, GiB.
    pub size_gib: u32,
    /// User metadata.
    pub metadata: Metadata,
    /// Whether it counts in the quota.
    pub consumes_quota: bool,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change that the API shows.
    pub updated_at: Option<Timestamp>,
}
