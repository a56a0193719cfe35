//! What the driver must remember beyond its own life: the exports each volume shall have, and each daemon's process.
//!
//! An export is written down before it is served and struck out before it is fenced. So after a crash in the middle of an
//! extend (exports deleted, not yet back) the file says what to put back, and a fenced name is never put back.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::images::{create_file, remove_if_there, sync_dir};
use super::protocol::Connection;
use crate::domain::ids::{ExportName, VolumeId};

/// The exports that a volume shall have, and which daemon serves them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// The daemon's index: kept, so that clients find a volume where it was when the number of daemons is changed.
    pub(super) daemon: usize,
    /// Names, and what is known of each.
    pub(super) exports: BTreeMap<ExportName, Connection>,
}

/// The directory of [`Wanted`] files, one a volume.
pub(super) struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// In `dir`, which exists.
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Everything that is written down. Called once, when the backend is opened.
    pub(super) fn load(&self) -> io::Result<HashMap<VolumeId, Wanted>> {
        let mut all = HashMap::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let Some(Ok(volume)) = path.file_stem().and_then(|stem| stem.to_str()).map(str::parse::<VolumeId>) else {
                continue;
            };
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(wanted) = read_json::<Wanted>(&path)?
            {
                all.insert(volume, wanted);
            }
        }
        Ok(all)
    }

    /// Writes a volume's exports down, durably. None left: the file goes, which needs no room on a full file system.
    pub(super) fn save(&self, volume: VolumeId, wanted: &Wanted) -> io::Result<()> {
        let path = self.dir.join(format!("{volume}.json"));
        if wanted.exports.is_empty() {
            remove_if_there(&path)?;
            return sync_dir(&self.dir);
        }
        write_json(&path, wanted)
    }
}

/// Reads a file written by [`write_json`]; none when it is not there. A file that makes no sense is an error: guessing
/// could serve a fenced name again.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file atomically and durably.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write_bytes(path, &serde_json::to_vec(value)?)
}

/// Replaces a file atomically and durably.
pub(super) fn write_bytes(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    remove_if_there(&temporary)?;
    let mut file = create_file(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(path.parent().expect("a file in a directory"))
}
