//! Names of exports that have ended and must never be served again, on disk: a call that was meant for one of them may
//! come after the service was restarted (races R-38).
//!
//! One file for each volume, one name a line, appended; it goes with the volume. The control plane's epochs guard the same
//! thing: this is the backend's own memory, so that the rule does not hang on its callers alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::images::{remove_if_there, sync_dir};
use super::registry::write_bytes;
use crate::domain::ids::{ExportName, VolumeId};

/// A volume's file is cut down to its newer half beyond this size, which is that of about 1,500 connections. A call that
/// is later than so many others is guarded by its operation's epoch alone.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The directory of these files.
pub(super) struct Ended {
    dir: PathBuf,
}

impl Ended {
    /// In `dir`, which exists.
    pub(super) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Whether the name has ended.
    pub(super) fn has(&self, volume: VolumeId, name: &ExportName) -> io::Result<bool> {
        match fs::read_to_string(self.path(volume)) {
            Ok(text) => Ok(text.lines().any(|line| line == name.as_str())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Remembers the name durably; remembered already is success.
    pub(super) fn add(&self, volume: VolumeId, name: &ExportName) -> io::Result<()> {
        if self.has(volume, name)? {
            return Ok(());
        }
        let path = self.path(volume);
        let is_new = !path.exists();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)?;
        // The line break comes first as well: after a line that a crash has torn this one is still whole.
        file.write_all(format!("\n{name}\n").as_bytes())?;
        file.sync_all()?;
        if is_new {
            sync_dir(&self.dir)?;
        }
        if file.metadata()?.len() > FILE_BYTES_MAX { cut(&path) } else { Ok(()) }
    }

    /// Forgets everything of a volume that is gone: its id never comes back.
    pub(super) fn forget(&self, volume: VolumeId) -> io::Result<()> {
        remove_if_there(&self.path(volume))
    }

    fn path(&self, volume: VolumeId) -> PathBuf {
        self.dir.join(volume.to_string())
    }
}

/// Keeps the newer half.
fn cut(path: &Path) -> io::Result<()> {
    let text = fs::read_to_string(path)?;
    let names: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    write_bytes(path, format!("{}\n", names[names.len() / 2..].join("\n")).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::AttachmentId;
    use uuid::Uuid;

    fn name(number: u128) -> ExportName {
        ExportName::new(AttachmentId(Uuid::from_u128(number)), 1)
    }

    #[test]
    fn names_outlive_the_process_and_a_torn_line_costs_nobody_elses() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, two) = (VolumeId(Uuid::from_u128(1)), VolumeId(Uuid::from_u128(2)));
        let ended = Ended::new(dir.path().to_owned());
        ended.add(one, &name(1)).expect("added");
        let mut file = OpenOptions::new().append(true).open(dir.path().join(one.to_string())).expect("there");
        file.write_all(&name(2).as_str().as_bytes()[..9]).expect("torn");
        let again = Ended::new(dir.path().to_owned());
        again.add(one, &name(3)).expect("added");
        let known = [1, 2, 3].map(|number| again.has(one, &name(number)).expect("read"));
        assert_eq!(known, [true, false, true]);
        assert!(!again.has(two, &name(1)).expect("read"), "another volume");
        again.forget(one).expect("forgotten");
        assert!(!again.has(one, &name(1)).expect("read"));
    }

    #[test]
    fn the_file_has_a_bound_and_keeps_the_newest() {
        let dir = tempfile::tempdir().expect("a directory");
        let volume = VolumeId(Uuid::from_u128(1));
        let ended = Ended::new(dir.path().to_owned());
        let path = dir.path().join(volume.to_string());
        let many: String = (0..2000).map(|number| format!("{}\n", name(number))).collect();
        fs::write(&path, many).expect("written");
        ended.add(volume, &name(5000)).expect("added");
        assert!(fs::metadata(&path).expect("there").len() < FILE_BYTES_MAX);
        assert!(ended.has(volume, &name(5000)).expect("read") && ended.has(volume, &name(1999)).expect("read"));
        assert!(!ended.has(volume, &name(0)).expect("read"));
    }
}
