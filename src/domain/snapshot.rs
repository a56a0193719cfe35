//! A snapshot of a volume. It belongs to the aggregate of its volume and changes in the same commits, so that "has snapshots",
//! "is the latest" and "is being reverted to" are never checked apart from what depends on them.

use serde::{Deserialize, Serialize};

use super::ids::{ProjectId, SnapshotId, UserId, VolumeId};
use super::metadata::Metadata;
use super::text::Text;
use super::time::Timestamp;

/// The status word of a snapshot (`spec/snapshots.md` §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotStatus {
    /// Being taken.
    Creating,
    /// There.
    Available,
    /// Being removed.
    Deleting,
    /// Gone; only `os-reset_status` sets it on a snapshot that is there.
    Deleted,
    /// It could not be taken.
    Error,
    /// It could not be removed.
    #[serde(rename = "error_deleting")]
    ErrorDeleting,
    /// Set by hand only.
    Updating,
    /// Being forgotten while its data stay.
    Unmanaging,
    /// A backup reads it.
    BackingUp,
    /// Its volume is being put back to it.
    Restoring,
}

impl SnapshotStatus {
    /// Every status, in the order in which the API lists them.
    pub const ALL: [Self; 10] = [
        Self::Creating,
        Self::Available,
        Self::Deleting,
        Self::Deleted,
        Self::Error,
        Self::ErrorDeleting,
        Self::Updating,
        Self::Unmanaging,
        Self::BackingUp,
        Self::Restoring,
    ];

    /// The word that the API prints.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Available => "available",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Error => "error",
            Self::ErrorDeleting => "error_deleting",
            Self::Updating => "updating",
            Self::Unmanaging => "unmanaging",
            Self::BackingUp => "backing-up",
            Self::Restoring => "restoring",
        }
    }

    /// The status of a word, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(word))
    }
}

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
