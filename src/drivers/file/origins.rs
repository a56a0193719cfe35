//! Which operation gave a volume its contents, on disk: a repetition after a restart must find its own work, and must not take
//! another's for it. (An empty volume needs no such record: one is like the other.)
//!
//! One file for each volume that is a copy, written before the volume is visible, and one for each that was put back to a
//! snapshot, written before its file is replaced; they go with the volume.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::images::remove_if_there;
use super::registry::{read_json, write_json};
use crate::domain::ids::{OperationId, VolumeId};

/// A volume that is put back: the operation, and the file that takes the place of the volume's. It is done when the volume's
/// file is this one.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Revert {
    operation_id: OperationId,
    inode: u64,
}

/// The directory of these files.
pub(super) struct Origins {
    dir: PathBuf,
}

impl Origins {
    /// In `dir`, which exists.
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Whether the volume was made by `operation`.
    pub(super) fn is(&self, volume: VolumeId, operation: OperationId) -> io::Result<bool> {
        Ok(read_json::<OperationId>(&self.path(volume))? == Some(operation))
    }

    /// Writes down, durably, that `operation` is about to make the volume.
    pub(super) fn record(&self, volume: VolumeId, operation: OperationId) -> io::Result<()> {
        write_json(&self.path(volume), &operation)
    }

    /// Whether `operation` has put the volume back, whose file has this inode now.
    pub(super) fn has_reverted(&self, volume: VolumeId, operation: OperationId, inode: u64) -> io::Result<bool> {
        let wanted = Revert { operation_id: operation, inode };
        Ok(read_json::<Revert>(&self.revert_path(volume))? == Some(wanted))
    }

    /// Writes down, durably, that `operation` is about to replace the volume's file by one that has this inode.
    pub(super) fn record_revert(&self, volume: VolumeId, operation: OperationId, inode: u64) -> io::Result<()> {
        write_json(&self.revert_path(volume), &Revert { operation_id: operation, inode })
    }

    /// Forgets a volume that is gone: its id never comes back.
    pub(super) fn forget(&self, volume: VolumeId) -> io::Result<()> {
        remove_if_there(&self.path(volume))?;
        remove_if_there(&self.revert_path(volume))
    }

    fn path(&self, volume: VolumeId) -> PathBuf {
        self.dir.join(format!("{volume}.json"))
    }

    fn revert_path(&self, volume: VolumeId) -> PathBuf {
        self.dir.join(format!("{volume}.revert.json"))
    }
}
