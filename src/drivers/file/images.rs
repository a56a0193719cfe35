//! The files of volumes and snapshots: made, grown, replaced and removed durably. Everything here blocks; callers use
//! `spawn_blocking` and hold the lock of what they touch.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::copy::Calls;
use super::names::Image;
use crate::domain::backend::{Cause, CauseKind, Outcome};
use crate::domain::ids::{SnapshotId, VolumeId};
use crate::drivers::Capacity;

/// One GiB in bytes.
pub(super) const GIB: u64 = 1 << 30;

/// A new volume is refused when the file system has less room than this: it could hardly take its first write.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// Lies in the directory once it has been used, and a copy in the state directory says so: an unmounted file system shows
/// an empty directory, and "not there" would then be a lie that deletes records.
const MARKER: &str = ".hearth-pool";

/// The permissions of a directory or file that nobody else may look into.
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// Why file work did not succeed.
#[derive(Debug)]
pub(super) enum FileError {
    /// No room, now or by the over-subscription limit.
    NoSpace(String),
    /// The directory is missing, read-only or broken.
    Unavailable(String),
    /// Contradicts what exists: repeating cannot help.
    Conflict(String),
    /// Somebody uses it.
    Busy(String),
    /// Something else is being done with it, which will end.
    Later(String),
    /// The change is visible, but whether it is durable is not known.
    Uncertain(String),
}

impl FileError {
    /// What the caller of the driver is told.
    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Self::NoSpace(text) => Outcome::Refused { cause: Cause::new(CauseKind::NoSpace, text) },
            Self::Conflict(text) => Outcome::Refused { cause: Cause::new(CauseKind::Other, text) },
            Self::Busy(text) => Outcome::Refused { cause: Cause::new(CauseKind::Busy, text) },
            Self::Later(text) => Outcome::Failed { cause: Cause::new(CauseKind::Busy, text) },
            Self::Unavailable(text) => Outcome::Failed { cause: Cause::new(CauseKind::Unavailable, text) },
            Self::Uncertain(text) => Outcome::Unknown { cause: Cause::new(CauseKind::Unavailable, text) },
        }
    }

    /// The cause alone.
    pub(super) fn into_cause(self) -> Cause {
        match self.into_outcome() {
            Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause } => cause,
            Outcome::Done { .. } => unreachable!("an error is never done"),
        }
    }
}

impl From<io::Error> for FileError {
    /// The operating system's words name host paths, so only the kind of failure is told.
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Self::NoSpace("the backend has no space left".into()),
            Some(libc::EFBIG) => Self::NoSpace("the backend cannot hold a volume of this size".into()),
            Some(libc::EROFS) => Self::Unavailable("the backend's storage is read-only".into()),
            Some(libc::EACCES | libc::EPERM) => Self::Unavailable("the backend's storage is not writable".into()),
            Some(libc::ENOENT | libc::ENOTDIR) => Self::Unavailable("the backend's storage is missing".into()),
            _ => Self::Unavailable(format!("the backend's storage reports an error ({:?})", error.kind())),
        }
    }
}

/// A pool: the directory and what is provisioned in it.
pub(super) struct Images {
    dir: PathBuf,
    marked: PathBuf,
    max_over_subscription_ratio: f64,
    /// Sum of the sizes of volumes and snapshots, bytes; read from the directory when it is first needed.
    provisioned: Mutex<Option<u64>>,
    /// Held by whoever takes a file that is not Hearth's.
    adoptions: Mutex<()>,
}

impl Images {
    /// A pool in `dir`, which is made if it was never used; trouble with it is told by the calls.
    pub(super) fn new(dir: PathBuf, state_dir: &Path, max_over_subscription_ratio: f64) -> Self {
        let images = Self {
            dir,
            marked: state_dir.join("pool-marked"),
            max_over_subscription_ratio,
            provisioned: Mutex::new(None),
            adoptions: Mutex::new(()),
        };
        if let Err(error) = images.prepare() {
            tracing::warn!(pool = %images.dir.display(), ?error, "the pool's directory cannot be used yet");
        }
        images
    }

    /// Makes the directory on first use and checks on every use that it is the one used before.
    fn prepare(&self) -> Result<(), FileError> {
        if self.dir.join(MARKER).exists() {
            return Ok(());
        }
        if self.marked.exists() {
            return Err(FileError::Unavailable("the backend's storage is missing".into()));
        }
        fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(&self.dir)?;
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(PRIVATE_DIR))?;
        mark(&self.dir.join(MARKER))?;
        sync_dir(&self.dir)?;
        mark(&self.marked)?;
        Ok(())
    }

    /// Where the file is.
    pub(super) fn path(&self, image: impl Into<Image>) -> PathBuf {
        self.dir.join(image.into().name())
    }

    /// Its size in bytes, or none when it does not exist.
    pub(super) fn size(&self, image: impl Into<Image>) -> Result<Option<u64>, FileError> {
        Ok(self.look(image.into())?.map(|found| found.len()))
    }

    /// The number of its inode, which is another one after a revert.
    pub(super) fn inode(&self, image: impl Into<Image>) -> Result<Option<u64>, FileError> {
        Ok(self.look(image.into())?.map(|found| found.ino()))
    }

    fn look(&self, image: Image) -> Result<Option<fs::Metadata>, FileError> {
        self.prepare()?;
        match fs::symlink_metadata(self.path(image)) {
            Ok(found) if found.is_file() => Ok(Some(found)),
            Ok(_) => Err(FileError::Conflict("something that is not a volume has this volume's name".into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the volume; there with the same size is success. Returns the real size.
    pub(super) fn create(self: &Arc<Self>, volume: VolumeId, epoch: u64, bytes: u64) -> Result<u64, FileError> {
        if let Some(found) = self.size(volume)? {
            return Self::same_size(found, bytes);
        }
        match self.begin(volume, epoch, bytes)?.publish(bytes)? {
            true => Ok(bytes),
            false => Self::same_size(self.size(volume)?.unwrap_or(0), bytes),
        }
    }

    /// Begins a file: empty, under a temporary name, with `more_bytes` counted as provisioned. The caller holds the lock of
    /// what it makes until it is published or dropped.
    pub(super) fn begin(
        self: &Arc<Self>,
        image: impl Into<Image>,
        epoch: u64,
        more_bytes: u64,
    ) -> Result<NewImage, FileError> {
        let image = image.into();
        let room = self.reserve(more_bytes)?;
        let temporary = Temporary(self.dir.join(image.temporary_name(epoch)));
        // The lock is held and epochs are unique: a file of this name is this call's own remains.
        remove_if_there(&temporary.0)?;
        let file = create_file(&temporary.0)?;
        Ok(NewImage { image, file, temporary, room })
    }

    /// Opens it for reading, none when it does not exist.
    pub(super) fn open(&self, image: Image) -> Result<Option<File>, FileError> {
        if self.size(image)?.is_none() {
            return Ok(None);
        }
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
        Ok(Some(OpenOptions::new().read(true).custom_flags(flags).open(self.path(image))?))
    }

    /// Whether files of the pool can share blocks: tried with two files that have no name.
    pub(super) fn can_share(&self, calls: Calls) -> Result<bool, FileError> {
        self.prepare()?;
        let unnamed = || {
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC).open(&self.dir)
        };
        let (mut from, to) = (unnamed()?, unnamed()?);
        from.write_all(&[1; 4096])?;
        Ok(calls.share(&from, &to)?)
    }

    fn same_size(found: u64, wanted: u64) -> Result<u64, FileError> {
        if found == wanted {
            return Ok(found);
        }
        Err(FileError::Conflict("a volume of another size exists at the backend under this id".into()))
    }

    /// Grows the volume to at least `bytes`; never shrinks. Returns the real size.
    pub(super) fn extend(self: &Arc<Self>, volume: VolumeId, bytes: u64) -> Result<u64, FileError> {
        let Some(found) = self.size(volume)? else {
            return Err(FileError::Conflict("the volume does not exist at the backend".into()));
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(self.path(volume))?;
        if found >= bytes {
            // An earlier call may have ended between growing and syncing.
            file.sync_all()?;
            return Ok(found);
        }
        let room = self.reserve(bytes - found)?;
        file.set_len(bytes)?;
        room.keep();
        file.sync_all()
            .map_err(|_| FileError::Uncertain("the backend's storage did not confirm the new size".into()))?;
        Ok(bytes)
    }

    /// Removes the volume and every temporary of it; not there is success. One that has snapshots stays.
    pub(super) fn delete(&self, volume: VolumeId) -> Result<(), FileError> {
        if !self.snapshots(volume)?.is_empty() {
            return Err(FileError::Busy("the volume has snapshots".into()));
        }
        self.remove(Image::Volume(volume), |temporary| temporary.volume() == volume)
    }

    /// Removes the snapshot and every temporary of it; not there is success.
    pub(super) fn delete_snapshot(&self, volume: VolumeId, snapshot: SnapshotId) -> Result<(), FileError> {
        let image = Image::Snapshot(volume, snapshot);
        self.remove(image, |temporary| temporary == image)
    }

    fn remove(&self, image: Image, is_its_own: impl Fn(Image) -> bool) -> Result<(), FileError> {
        if let Some(bytes) = self.size(image)? {
            remove_if_there(&self.path(image))?;
            self.count_less(bytes);
        }
        self.remove_temporaries(is_its_own)?;
        self.sync("the backend's storage did not confirm the removal")
    }

    /// One adoption at a time.
    pub(super) fn lock_adoptions(&self) -> MutexGuard<'_, ()> {
        self.adoptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts as provisioned what has come to be without [`Self::reserve`].
    pub(super) fn count_more(&self, bytes: u64) {
        if let Some(sum) = self.provisioned.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *sum += bytes;
        }
    }

    /// Does not count any more what is gone.
    pub(super) fn count_less(&self, bytes: u64) {
        if let Some(sum) = self.provisioned.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *sum = sum.saturating_sub(bytes);
        }
    }

    /// The pool's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes names durable that are visible already; `unconfirmed` says what is in doubt if that fails.
    pub(super) fn sync(&self, unconfirmed: &str) -> Result<(), FileError> {
        sync_dir(&self.dir).map_err(|_| FileError::Uncertain(unconfirmed.into()))
    }

    /// Unlinks the temporaries of these images, and says of which there were any. Of all of them only at start, when nobody
    /// can be writing one.
    pub(super) fn remove_temporaries(&self, is_wanted: impl Fn(Image) -> bool) -> Result<Vec<Image>, FileError> {
        let mut removed = Vec::new();
        for name in self.names()? {
            if let Some(image) = Image::parse_temporary(&name).filter(|image| is_wanted(*image)) {
                remove_if_there(&self.dir.join(&name))?;
                removed.push(image);
            }
        }
        Ok(removed)
    }

    /// The snapshots of a volume, also of one that is gone.
    pub(super) fn snapshots(&self, volume: VolumeId) -> Result<Vec<SnapshotId>, FileError> {
        self.prepare()?;
        let of_volume = |name: &String| match Image::parse(name) {
            Some(Image::Snapshot(of, snapshot)) if of == volume => Some(snapshot),
            _ => None,
        };
        let mut snapshots: Vec<SnapshotId> = self.names()?.iter().filter_map(of_volume).collect();
        snapshots.sort_unstable();
        Ok(snapshots)
    }

    /// Every volume and snapshot with its size in bytes.
    pub(super) fn list(&self) -> Result<Vec<(Image, u64)>, FileError> {
        self.prepare()?;
        let mut images = Vec::new();
        for image in self.names()?.iter().filter_map(|name| Image::parse(name)) {
            if let Some(bytes) = self.size(image)? {
                images.push((image, bytes));
            }
        }
        images.sort_unstable();
        Ok(images)
    }

    /// Room, as the file system tells it.
    pub(super) fn capacity(&self) -> Result<Capacity, FileError> {
        self.prepare()?;
        let (total, free) = self.room()?;
        Ok(Capacity { total_gib: gib(total), free_gib: gib(free) })
    }

    pub(super) fn names(&self) -> Result<Vec<String>, FileError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    /// Total and free bytes of the file system.
    fn room(&self) -> io::Result<(u64, u64)> {
        let path = CString::new(self.dir.as_os_str().as_bytes())?;
        // SAFETY: `statvfs` is plain data, and the call writes into it or fails.
        let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are valid for the call.
        if unsafe { libc::statvfs(path.as_ptr(), &raw mut room) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((room.f_blocks.saturating_mul(room.f_frsize), room.f_bavail.saturating_mul(room.f_frsize)))
    }

    /// Counts `bytes` more as provisioned, within the limit; uncounted again unless the room is kept.
    fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Room, FileError> {
        let (total, free) = self.room()?;
        let mut provisioned = self.provisioned.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = match *provisioned {
            Some(sum) => sum,
            None => self.list()?.iter().map(|(_, bytes)| bytes).sum(),
        };
        let limit = gib(total) * self.max_over_subscription_ratio;
        if free < MIN_FREE_BYTES || gib(sum.saturating_add(bytes)) > limit {
            *provisioned = Some(sum);
            return Err(FileError::NoSpace("the backend has no space for a volume of this size".into()));
        }
        *provisioned = Some(sum + bytes);
        Ok(Room { images: self.clone(), bytes })
    }
}

/// A file that is being made: nobody sees it before it is published. Dropped, it leaves nothing.
pub(super) struct NewImage {
    image: Image,
    /// Its contents so far.
    pub(super) file: File,
    temporary: Temporary,
    room: Room,
}

impl NewImage {
    /// Where it is for the time being.
    pub(super) fn path(&self) -> &Path {
        &self.temporary.0
    }

    /// Gives the file its size and its name, durably; false when the name is taken, and then nothing is made.
    pub(super) fn publish(self, bytes: u64) -> Result<bool, FileError> {
        let images = self.room.images.clone();
        self.file.set_len(bytes)?;
        self.file.sync_all()?;
        match rename_without_replacing(&self.temporary.0, &images.path(self.image)) {
            Ok(()) => self.room.keep(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        // It is visible from here on: a failure does not take it away again.
        images.sync("the backend's storage did not confirm the volume")?;
        Ok(true)
    }

    /// Puts it in the place of a file that nobody has open, whole or not at all.
    pub(super) fn replace(self) -> Result<(), FileError> {
        let images = self.room.images.clone();
        self.file.sync_all()?;
        fs::rename(&self.temporary.0, images.path(self.image))?;
        images.sync("the backend's storage did not confirm the volume")
    }
}

/// A temporary name, which goes when this is dropped; a file that has got its real name keeps that.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = remove_if_there(&self.0) {
            tracing::warn!(%error, "a temporary stays until the next start");
        }
    }
}

/// Reserved room, given back when dropped.
struct Room {
    images: Arc<Images>,
    bytes: u64,
}

impl Room {
    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.images.count_less(self.bytes);
    }
}

/// Bytes as GiB, for capacity reports; exact below 2^53 bytes.
#[expect(clippy::cast_precision_loss, reason = "a report of room, not an address")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

/// Makes a file that was not there before.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(PRIVATE_FILE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
}

/// Makes an empty file that may be there already.
fn mark(path: &Path) -> io::Result<()> {
    match create_file(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other?.sync_all(),
    }
}

/// Unlinks a file that may be gone already.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes the directory's entries durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    let handle = File::open(dir)?;
    // SAFETY: the descriptor is open for the duration of the call.
    if unsafe { libc::fsync(handle.as_raw_fd()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets nobody else look into a file.
pub(super) fn make_private(file: &File) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(PRIVATE_FILE))
}

/// Gives a file another name, which must be free.
pub(super) fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    let (old, new) = (CString::new(from.as_os_str().as_bytes())?, CString::new(to.as_os_str().as_bytes())?);
    // SAFETY: both strings are NUL-terminated and live during the call.
    let result =
        unsafe { libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), libc::RENAME_NOREPLACE) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // File systems without the flag: a hard link does not replace either.
        Some(libc::EINVAL | libc::ENOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        _ => Err(error),
    }
}
