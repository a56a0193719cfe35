//! What lies in the pool and is not Hearth's: listed, taken under a name of Hearth's, and the reverse.
//!
//! A name from a client is one segment and is opened beneath the pool's directory without following links; what is taken is a
//! regular file with this one name that nobody has locked (as QEMU and its storage daemon lock what they have open). The
//! change itself is one rename: there is always exactly one name, the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;

use super::FileBackend;
use super::images::{FileError, GIB, Images, make_private, rename_without_replacing};
use super::locks::{Guard, Locked};
use super::names::Image;
use crate::domain::backend::{Answer, BackendObject, CallKey, ObjectKind, Outcome};
use crate::domain::ids::SnapshotId;
use crate::domain::reference::{snapshot_reference, snapshot_referred, volume_reference};

impl FileBackend {
    pub(super) async fn list_objects(&self) -> Outcome {
        match self.on_files(|images| images.objects()).await {
            Ok(objects) => Outcome::Done { answer: Answer::Objects { objects } },
            Err(error) => error.into_outcome(),
        }
    }

    pub(super) async fn adopt(&self, key: CallKey, reference: String, size_gib: u32) -> Outcome {
        let guard = self.locks.acquire(key.volume_id).await;
        let image = Image::Volume(key.volume_id);
        let is_disowned = self.disowned.get(&key.volume_id).is_some_and(|epoch| key.epoch <= epoch);
        self.adopt_as(key, image, is_disowned, reference, size_gib, guard).await
    }

    pub(super) async fn adopt_snapshot(
        &self,
        key: CallKey,
        snapshot: SnapshotId,
        reference: String,
        size_gib: u32,
    ) -> Outcome {
        let volume = key.volume_id;
        let guards = self.locks.acquire_two(Locked::Snapshot(snapshot), Locked::Volume(volume)).await;
        let is_removed = self.removed.get(&snapshot).is_some_and(|epoch| key.epoch <= epoch);
        self.adopt_as(key, Image::Snapshot(volume, snapshot), is_removed, reference, size_gib, guards).await
    }

    async fn adopt_as<G: Send + 'static>(
        &self,
        key: CallKey,
        image: Image,
        is_over: bool,
        reference: String,
        size_gib: u32,
        guards: G,
    ) -> Outcome {
        if let Some(answer) = self.answered.get(&key) {
            return Outcome::Done { answer };
        }
        if is_over {
            return FileError::Conflict("it was let go of by a later operation".into()).into_outcome();
        }
        let adopt = move |images: &Arc<Images>| images.adopt(image, &reference, u64::from(size_gib) * GIB);
        match self.on_files_holding(guards, adopt).await {
            Ok(((), _guards)) => {
                let answer = match image {
                    Image::Volume(_) => Answer::Size { size_gib },
                    Image::Snapshot(..) => Answer::Nothing,
                };
                self.answered.insert(key, answer.clone());
                Outcome::Done { answer }
            }
            Err(error) => error.into_outcome(),
        }
    }

    pub(super) async fn disown(&self, key: CallKey) -> Outcome {
        let volume = key.volume_id;
        let guard = self.locks.acquire(volume).await;
        if let Some(busy) = self.being_copied(volume) {
            return busy;
        }
        if let Err(outcome) = self.let_go(volume).await {
            return outcome;
        }
        // From here on no adoption of before has an effect; one that has begun has ended.
        let epoch = self.disowned.get(&volume).map_or(key.epoch, |epoch| epoch.max(key.epoch));
        self.disowned.insert(volume, epoch);
        let (ended, origins) = (self.ended.clone(), self.origins.clone());
        let disown = move |images: &Arc<Images>| {
            if !images.snapshots(volume)?.is_empty() {
                return Err(FileError::Busy("the volume has snapshots".into()));
            }
            images.disown(Image::Volume(volume), |temporary| temporary.volume() == volume)?;
            ended.forget(volume)?;
            Ok(origins.forget(volume)?)
        };
        self.disowned_as(guard, disown).await
    }

    pub(super) async fn disown_snapshot(&self, key: CallKey, snapshot: SnapshotId) -> Outcome {
        let image = Image::Snapshot(key.volume_id, snapshot);
        let guards = match self.without_readers(key, snapshot).await {
            Ok(guards) => guards,
            Err(refused) => return refused,
        };
        self.disowned_as(guards, move |images| images.disown(image, |temporary| temporary == image)).await
    }

    async fn disowned_as<G, F>(&self, guards: G, disown: F) -> Outcome
    where
        G: Send + 'static,
        F: FnOnce(&Arc<Images>) -> Result<(), FileError> + Send + 'static,
    {
        match self.on_files_holding(guards, disown).await {
            Ok(((), _guards)) => Outcome::done(),
            Err(error) => error.into_outcome(),
        }
    }
}

/// The locks under which a snapshot is taken away.
pub(super) type Guards = (Guard, Guard);

impl Images {
    /// Everything in the pool.
    fn objects(&self) -> Result<Vec<BackendObject>, FileError> {
        let mut objects = Vec::new();
        for (image, bytes) in self.list()? {
            let (reference, kind) = match image {
                Image::Volume(id) => (volume_reference(id), ObjectKind::Volume { id: Some(id) }),
                Image::Snapshot(volume_id, id) => {
                    (snapshot_reference(id), ObjectKind::Snapshot { id: Some(id), volume_id })
                }
            };
            objects.push(BackendObject { reference, size_gib: gib_rounded_up(bytes), kind, trouble: None });
        }
        for name in self.names()?.into_iter().filter(|name| is_foreign(name)) {
            let (reference, kind) = match Image::parse_disowned(&name) {
                Some(Image::Snapshot(volume_id, id)) => {
                    (snapshot_reference(id), ObjectKind::Snapshot { id: None, volume_id })
                }
                _ => (name.clone(), ObjectKind::Volume { id: None }),
            };
            let Ok(found) = fs::symlink_metadata(self.dir().join(&name)) else { continue };
            if !found.is_file() {
                continue;
            }
            let trouble = self.open_object(&name).err().map(|error| error.into_cause().text);
            objects.push(BackendObject { reference, size_gib: gib_rounded_up(found.len()), kind, trouble });
        }
        Ok(objects)
    }

    /// Makes the object the image; there already with this size is success.
    fn adopt(&self, image: Image, reference: &str, bytes: u64) -> Result<(), FileError> {
        // One at a time: of two that want the same file, the second must not touch what the first has got.
        let _one = self.lock_adoptions();
        if let Some(found) = self.size(image)? {
            return match found == bytes {
                true => Ok(()),
                false => {
                    Err(FileError::Conflict("a volume of another size exists at the backend under this id".into()))
                }
            };
        }
        if let Image::Snapshot(volume, _) = image {
            match self.size(volume)? {
                None => return Err(FileError::Conflict("the volume does not exist at the backend".into())),
                Some(found) if found < bytes => {
                    return Err(FileError::Conflict("the object is larger than the volume".into()));
                }
                Some(_) => {}
            }
        }
        let name = self.file_of(reference)?;
        let (file, found) = self.open_object(&name)?;
        if u64::from(gib_rounded_up(found)) * GIB != bytes {
            return Err(FileError::Conflict("the object has another size".into()));
        }
        make_private(&file).map_err(|_| FileError::Conflict("the object belongs to somebody else".into()))?;
        if found < bytes {
            // A guest is shown whole GiB, so that the file must have them.
            file.set_len(bytes)?;
        }
        file.sync_all()?;
        rename_without_replacing(&self.dir().join(&name), &self.path(image))?;
        self.count_more(bytes);
        self.sync("the backend's storage did not confirm the adoption")
    }

    /// Makes the image an object; not there is success. Temporaries of it go.
    fn disown(&self, image: Image, is_its_own: impl Fn(Image) -> bool) -> Result<(), FileError> {
        if let Some(bytes) = self.size(image)? {
            match rename_without_replacing(&self.path(image), &self.dir().join(image.disowned_name())) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(FileError::Conflict("another object has the name that it would get".into()));
                }
                other => other?,
            }
            self.count_less(bytes);
        }
        self.remove_temporaries(is_its_own)?;
        self.sync("the backend's storage did not confirm that it was let go of")
    }

    /// The file of a reference.
    fn file_of(&self, reference: &str) -> Result<String, FileError> {
        let missing = || FileError::Conflict("the backend has no object of this name".into());
        if !is_foreign(reference) {
            return Err(missing());
        }
        let Some(snapshot) = snapshot_referred(reference) else { return Ok(reference.to_owned()) };
        let is_it = |name: &String| {
            let was = Image::parse_disowned(name);
            name == reference || matches!(was, Some(Image::Snapshot(_, id)) if id == snapshot)
        };
        self.names()?.into_iter().find(is_it).ok_or_else(missing)
    }

    /// Opens a file that may be taken, and says its size in bytes.
    fn open_object(&self, name: &str) -> Result<(File, u64), FileError> {
        // A pipe that nobody writes to must not hold the call up.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(self.dir().join(name));
        let file = opened.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => FileError::Conflict("the backend has no object of this name".into()),
            Some(libc::ELOOP | libc::EISDIR | libc::ENXIO) => {
                FileError::Conflict("the object is not a regular file".into())
            }
            Some(libc::EACCES | libc::EPERM | libc::ETXTBSY) => {
                FileError::Conflict("the object cannot be opened for writing".into())
            }
            _ => error.into(),
        })?;
        let found = file.metadata()?;
        let trouble = if !found.is_file() {
            "the object is not a regular file"
        } else if found.nlink() > 1 {
            "the object has other names as well"
        } else if found.len() == 0 {
            "the object is empty"
        } else if is_locked(&file)? {
            "the object is in use"
        } else {
            return Ok((file, found.len()));
        };
        Err(FileError::Conflict(trouble.into()))
    }
}

/// One segment that is neither hidden nor one of the pool's own names.
fn is_foreign(name: &str) -> bool {
    let is_segment = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    is_segment && Image::parse(name).is_none() && Image::parse_temporary(name).is_none()
}

/// Whether somebody else holds a lock on any part of the file.
fn is_locked(file: &File) -> io::Result<bool> {
    // SAFETY: `flock` is plain data.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open, and the call writes into `lock` or fails.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(lock.l_type != libc::F_UNLCK as libc::c_short)
}

fn gib_rounded_up(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(GIB)).unwrap_or(u32::MAX)
}
