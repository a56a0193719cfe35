//! The file of records and the key of tokens: private, written whole or not at all, by one writer at a time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::records::{Contradiction, Directory, Records};
use crate::runtime::Randomness;

const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

const RECORDS: &str = "identity.toml";
const KEY: &str = "token.key";
const LOCK: &str = "lock";

const HEADER: &str = "\
# Users, projects, roles and application credentials of Hearth's own identity service (auth.strategy = \"local\").
# `hearth user`, `hearth project`, `hearth role` and `hearth application-credential` write this file anew: comments get lost.
# A running service takes changes over within a second.

";

/// The records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error("{} cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not TOML of records.
    #[error("{} is no list of users and projects: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The records do not hold together.
    #[error("{}: {source}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// How.
        source: Contradiction,
    },
}

/// Which state of the file has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The directory with the files of the identity service.
#[derive(Clone, Debug)]
pub struct Files(PathBuf);

impl Files {
    /// Makes the directory, if it is not there.
    pub fn open(directory: &Path) -> Result<Self, FileError> {
        let made = DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(directory);
        made.map_err(at(directory))?;
        Ok(Self(directory.to_owned()))
    }

    /// The file of records.
    pub fn records_path(&self) -> PathBuf {
        self.0.join(RECORDS)
    }

    /// The state that the file of records has now; none: there is no file.
    pub fn mark(&self) -> Result<Option<Mark>, FileError> {
        let path = self.records_path();
        match fs::metadata(&path) {
            Ok(found) => {
                Ok(Some(Mark { inode: found.ino(), bytes: found.len(), changed: (found.mtime(), found.mtime_nsec()) }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// The records; those of no file are empty.
    pub fn read(&self) -> Result<Directory, FileError> {
        let path = self.records_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(at(&path)(error)),
        };
        let records: Records = toml::from_str(&text)
            .map_err(|error| FileError::Unreadable { path: path.clone(), reason: error.message().to_owned() })?;
        Directory::new(records).map_err(|source| FileError::Contradiction { path, source })
    }

    /// Changes the records, while nobody else does, and gives what `change` gave. Nothing is written when it refuses or when
    /// the result does not hold together.
    pub fn change<T, E: From<FileError>>(
        &self,
        change: impl FnOnce(&Directory, &mut Records) -> Result<T, E>,
    ) -> Result<T, E> {
        let lock_path = self.0.join(LOCK);
        let lock = private().create(true).truncate(false).open(&lock_path).map_err(at(&lock_path))?;
        lock.lock().map_err(at(&lock_path))?;
        let directory = self.read()?;
        let mut records = directory.records().clone();
        let given = change(&directory, &mut records)?;
        if records != *directory.records() {
            let path = self.records_path();
            let text = toml::to_string(&records)
                .map_err(|error| FileError::Unreadable { path: path.clone(), reason: error.to_string() })?;
            Directory::new(records).map_err(|source| FileError::Contradiction { path: path.clone(), source })?;
            self.replace(&path, &format!("{HEADER}{text}"))?;
        }
        Ok(given)
    }

    /// The key that signs tokens, made at the first time. Who has it can make tokens.
    pub fn token_key(&self, randomness: &Randomness) -> Result<Vec<u8>, FileError> {
        let path = self.0.join(KEY);
        match fs::read(&path) {
            Ok(key) if key.trim_ascii().len() >= 32 => return Ok(key.trim_ascii().to_vec()),
            Ok(_) => {
                let reason = "it is shorter than 32 bytes".to_owned();
                return Err(FileError::Unreadable { path, reason });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }
        // 80 random bits each
        let key = [randomness.secret(), randomness.secret(), randomness.secret(), randomness.secret()].concat();
        self.replace(&path, &format!("{key}\n"))?;
        Ok(key.into_bytes())
    }

    /// A private file in the directory, written whole or not at all.
    pub fn replace(&self, path: &Path, text: &str) -> Result<(), FileError> {
        let temporary = path.with_extension("tmp");
        let written = private().create(true).truncate(true).open(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            File::open(&self.0)?.sync_all()
        });
        written.map_err(at(path))
    }

    /// A file of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// Opens a file that nobody else may read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(PRIVATE_FILE);
    options
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, source }
}
