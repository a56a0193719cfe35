//! What of a volume may be worked on at the same time.

use serde::{Deserialize, Serialize};

/// A volume runs one operation at a time in each lane. Work on the data, on snapshots and on connections may run beside each
/// other (`spec/races.md` §4: a row may be detached while the volume is extended, and attached while a snapshot is taken).
/// Work that changes the data as a whole waits for snapshots that are being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Create, extend, revert, migrate, delete, images.
    Data,
    /// Taking and removing snapshots.
    Snapshot,
    /// Connect, disconnect, attach, detach, release, repair.
    Connection,
    /// Removing what migrations have left at other backends: in nobody's way but that of a next migration and of the delete.
    Cleanup,
    /// Telling a Nova elsewhere: in nobody's way.
    Notice,
}
