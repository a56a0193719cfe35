//! The store's files. Names are made of ids only, and a file gets its name when it is whole and on disk.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::domain::ids::ImageId;
use crate::images::image::Image;

/// Nobody else may look into them.
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// What is said of an image: `<id>.json`.
const RECORD: &str = "json";
/// Its data: `<id>.image`.
const DATA: &str = "image";
/// Data or a record on its way: `<id>.<number>.part`.
const PART: &str = "part";

/// Whether a change that everybody can see is also on disk.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// It is.
    Yes,
    /// The disk did not say.
    No,
}

/// The directory.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    /// Makes the directory, or takes it as it is, and makes it private.
    pub(super) fn open(dir: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(&dir)?;
        fs::set_permissions(&dir, Permissions::from_mode(PRIVATE_DIR))?;
        Ok(Self { dir })
    }

    fn path(&self, id: ImageId, kind: &str) -> PathBuf {
        self.dir.join(format!("{id}.{kind}"))
    }

    /// All records, after the removal of whatever a crash has left: parts, and data that no image owns.
    pub(super) fn load(&self) -> io::Result<Vec<Image>> {
        let mut images = Vec::new();
        let mut unreadable = Vec::new();
        let names = self.names()?;
        for id in names.iter().filter_map(|name| id_of(name, RECORD)) {
            match self.record(id) {
                Ok(image) => images.push(image),
                Err(error) => {
                    tracing::error!(image = %id, %error, "what is said of this image cannot be read: it is left alone");
                    unreadable.push(id);
                }
            }
        }
        let is_owned = |id: ImageId| {
            unreadable.contains(&id) || images.iter().any(|image| image.id == id && image.status.has_data())
        };
        for name in &names {
            let is_leftover = name.ends_with(&format!(".{PART}")) || id_of(name, DATA).is_some_and(|id| !is_owned(id));
            if is_leftover {
                tracing::info!(%name, "removed what an upload has left");
                fs::remove_file(self.dir.join(name))?;
            }
        }
        sync_dir(&self.dir)?;
        Ok(images)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn record(&self, id: ImageId) -> io::Result<Image> {
        let image: Image = serde_json::from_slice(&fs::read(self.path(id, RECORD))?)?;
        if image.id == id {
            Ok(image)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it is another image's"))
        }
    }

    /// Puts a record in the place of the one before. An error: nothing has changed.
    pub(super) fn write_record(&self, image: &Image, number: u64) -> io::Result<Confirmed> {
        let mut part = self.part(image.id, number)?;
        part.file.write_all(&serde_json::to_vec(image)?)?;
        part.name(&self.path(image.id, RECORD))?;
        Ok(self.sync())
    }

    /// Begins a file without a name of its own; dropped, it is gone. `number` is never used twice.
    pub(super) fn part(&self, id: ImageId, number: u64) -> io::Result<Part> {
        let path = self.dir.join(format!("{id}.{number}.{PART}"));
        let file = OpenOptions::new()
            .write(true)
            .read(true)
            .create_new(true)
            .mode(PRIVATE_FILE)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)?;
        Ok(Part { file, path })
    }

    /// Makes a part the data of its image, durably.
    pub(super) fn name_data(&self, part: Part, id: ImageId) -> io::Result<()> {
        part.name(&self.path(id, DATA))?;
        sync_dir(&self.dir)
    }

    /// An image's data, for reading.
    pub(super) fn data(&self, id: ImageId) -> io::Result<File> {
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
        OpenOptions::new().read(true).custom_flags(flags).open(self.path(id, DATA))
    }

    /// Removes a record: from then on there is no such image.
    pub(super) fn remove_record(&self, id: ImageId) -> io::Result<Confirmed> {
        fs::remove_file(self.path(id, RECORD))?;
        Ok(self.sync())
    }

    /// Removes data that nobody owns any more; what stays is found at the next start.
    pub(super) fn remove_data(&self, id: ImageId) {
        match fs::remove_file(self.path(id, DATA)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(image = %id, %error, "data without an image stays until the next start");
            }
            _ => {}
        }
    }

    /// Free bytes of the file system.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let path = CString::new(self.dir.as_os_str().as_bytes())?;
        // SAFETY: `statvfs` is plain data, and the call writes into it or fails.
        let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are valid for the call.
        if unsafe { libc::statvfs(path.as_ptr(), &raw mut room) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(room.f_bavail.saturating_mul(room.f_frsize))
    }

    fn sync(&self) -> Confirmed {
        match sync_dir(&self.dir) {
            Ok(()) => Confirmed::Yes,
            Err(error) => {
                tracing::error!(%error, "the directory of images did not confirm a change");
                Confirmed::No
            }
        }
    }
}

/// A file that is being written. Dropped without a name, it is removed.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    path: PathBuf,
}

impl Part {
    /// Gives it its name when all of it is on disk.
    fn name(self, path: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        // what is dropped afterwards has lost its old name: there is nothing to remove
        fs::rename(&self.path, path)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a part stays until the next start");
            }
            _ => {}
        }
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The id in `<id>.<kind>`, in its one spelling.
fn id_of(name: &str, kind: &str) -> Option<ImageId> {
    let (stem, found) = name.split_once('.')?;
    let id: ImageId = stem.parse().ok()?;
    (found == kind && id.to_string() == stem).then_some(id)
}
