//! Which operation made a volume as a clone, on disk: a repetition after a restart must find its own work, and must not take
//! another volume for it. (An empty volume needs no such record: one is like the other.)
//!
//! One file for each cloned volume, written before the volume is visible; it goes with the volume.

use std::io;
use std::path::PathBuf;

use super::images::remove_if_there;
use super::registry::{read_json, write_json};
use crate::domain::ids::{OperationId, VolumeId};

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

    /// Forgets a volume that is gone: its id never comes back.
    pub(super) fn forget(&self, volume: VolumeId) -> io::Result<()> {
        remove_if_there(&self.path(volume))
    }

    fn path(&self, volume: VolumeId) -> PathBuf {
        self.dir.join(format!("{volume}.json"))
    }
}
