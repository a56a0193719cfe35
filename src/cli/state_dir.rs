//! The state directory: made private, and held by one service at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Nobody else may read the database, the pools and the sockets (NBD has no users: who reaches a socket reads the volume).
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

const LOCK_FILE: &str = "hearth.lock";

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// It cannot be made, or a file in it cannot be written.
    #[error("{} cannot be used", path.display())]
    Unusable {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another service runs on it: two would give the same volumes two actors.
    #[error("another hearth is running on {}", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
    },
}

/// The directory, held until this value is dropped (or the process ends, however it ends).
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory and `socket_dir` in it with mode 0700 and takes the lock.
    pub fn open(path: &Path, socket_dir: &Path) -> Result<Self, StateDirError> {
        make_private(path)?;
        make_private(socket_dir)?;
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(&lock_path)
            .map_err(unusable(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateDirError::Held { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(unusable(&lock_path)(error)),
        }
    }

    /// Replaces file `name` as a whole: a reader sees the old text or the new one. Only the owner may read it.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, StateDirError> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!("{name}.tmp"));
        let written = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(PRIVATE_FILE)
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&temporary, &path));
        written.map_err(unusable(&path))?;
        Ok(path)
    }
}

fn make_private(path: &Path) -> Result<(), StateDirError> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIR)
        .create(path)
        // it may have existed with a wider mode
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(PRIVATE_DIR)))
        .map_err(unusable(path))
}

fn unusable(path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    let path = path.to_owned();
    move |source| StateDirError::Unusable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("exists").permissions().mode() & 0o777
    }

    #[test]
    fn it_is_private_even_if_it_existed_with_a_wider_mode() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let path = parent.path().join("state");
        std::fs::create_dir(&path).expect("create");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let state = StateDir::open(&path, &path.join("run")).expect("open");
        let file = state.write("clouds.yaml", "clouds: {}\n").expect("write");
        assert_eq!((mode(&path), mode(&path.join("run")), mode(&file)), (0o700, 0o700, 0o600));
    }

    #[test]
    fn one_service_at_a_time_holds_it() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let open = || StateDir::open(parent.path(), &parent.path().join("run"));
        let first = open().expect("first");
        assert!(matches!(open(), Err(StateDirError::Held { .. })));
        drop(first);
        open().expect("free again");
    }
}
