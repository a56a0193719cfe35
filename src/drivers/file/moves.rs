//! Volumes that come from another backend, or that others read.
//!
//! What comes is made like everything else here, under a temporary name, and counts only when it was read back from the disk
//! and found equal to its source. What goes is read as it lies there: the file's bytes, whatever they look like.
//!
//! Two backends are part of a copy. The destination holds its own lock as long as it copies, the source holds its own only to
//! open the file: its register of copies then says what must not happen.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::FileBackend;
use super::copies::{Copy, Running};
use super::copy::{Calls, CopyState, CopyWatch, FileBytes, compare};
use super::images::{FileError, GIB, Images};
use super::names::Image;
use super::origins::Origins;
use crate::domain::backend::{Answer, CallKey, Cause, CauseKind, Outcome};
use crate::domain::ids::VolumeId;
use crate::drivers::{Backend, Contents, VolumeBytes};

/// What one call makes. Its functions block, and the volume's lock is held.
struct Arrival {
    key: CallKey,
    bytes: u64,
    origins: Arc<Origins>,
    /// Blocks are known to be shared here: what is still in memory is written before the file system is asked.
    sync_first: bool,
}

impl FileBackend {
    /// The volume with what `source` holds under the same id.
    pub(super) async fn copy_here(&self, key: CallKey, size_gib: u32, source: Arc<dyn Backend>) -> Outcome {
        if std::ptr::addr_eq(Arc::as_ptr(&source), self) {
            return FileError::Conflict("a volume is not copied to the backend that has it".into()).into_outcome();
        }
        let volume = key.volume_id;
        let guard = self.locks.acquire(volume).await;
        let watch = CopyWatch::default();
        let state = watch.state();
        // Before anything else is waited for: a deletion either ends this copy, or has been noted before the next lines.
        let running = self.copies.begin(Copy {
            key: Some(key.clone()),
            from: None,
            to: Some(Image::Volume(volume)),
            is_mirror: false,
            state: state.clone(),
        });
        let arrival = self.arrival(key, size_gib);
        if let Some(outcome) = self.arrived(&arrival).await {
            return outcome;
        }
        let from = match source.contents(volume).await {
            Ok(Contents::Bytes(from)) => from,
            Ok(Contents::Simulated(_)) => {
                return FileError::Conflict("a simulated volume has no bytes".into()).into_outcome();
            }
            Err(cause) if cause.kind == CauseKind::Unavailable => return Outcome::Failed { cause },
            Err(cause) => return Outcome::Refused { cause },
        };
        let key = arrival.key.clone();
        let copying = move |images: &Arc<Images>| arrival.copy(images, &*from, &state);
        // In this order: whoever gets the lock next finds no copy under way.
        let copied = self.on_files_holding((running, guard), copying).await;
        // Until here: a watch that is dropped cuts the copy off.
        drop(watch);
        self.made(key, copied.map(|(bytes, _held)| bytes))
    }

    /// The volume, blank.
    pub(super) async fn create_mirror_target(&self, key: CallKey, size_gib: u32) -> Outcome {
        let guard = self.locks.acquire(key.volume_id).await;
        let arrival = self.arrival(key, size_gib);
        if let Some(outcome) = self.arrived(&arrival).await {
            return outcome;
        }
        let key = arrival.key.clone();
        let made = self.on_files_holding(guard, move |images| arrival.blank(images)).await;
        self.made(key, made.map(|(bytes, _guard)| bytes))
    }

    /// The contents of a volume, for whoever is not this backend.
    pub(super) async fn lend(&self, volume: VolumeId) -> Result<Contents, Cause> {
        let busy = |text: &str| Cause::new(CauseKind::Busy, text);
        let _guard = self.locks.acquire(volume).await;
        if self.being_replaced(volume).is_some() {
            return Err(busy("the contents of the volume are being made"));
        }
        if self.may_be_written(volume).await {
            return Err(busy("the volume is exported"));
        }
        let watch = CopyWatch::default();
        let state = watch.state();
        let running = self.copies.begin(Copy {
            key: None,
            from: Some(Image::Volume(volume)),
            to: None,
            is_mirror: false,
            state: state.clone(),
        });
        let open = move |images: &Arc<Images>| {
            let gone = || FileError::Conflict("the volume does not exist at the backend".into());
            Ok(FileBytes::new(images.open(Image::Volume(volume))?.ok_or_else(gone)?)?)
        };
        let bytes = self.on_files(open).await.map_err(FileError::into_cause)?;
        Ok(Contents::Bytes(Box::new(Lent { bytes, state, _watch: watch, _running: running })))
    }

    fn arrival(&self, key: CallKey, size_gib: u32) -> Arrival {
        Arrival {
            key,
            bytes: u64::from(size_gib) * GIB,
            origins: self.origins.clone(),
            sync_first: self.reflink.load(Ordering::Relaxed),
        }
    }

    /// The outcome of a call that has nothing to make.
    async fn arrived(&self, arrival: &Arrival) -> Option<Outcome> {
        let (volume, operation) = (arrival.key.volume_id, arrival.key.operation_id);
        if let Some(answer) = self.answered.get(&arrival.key) {
            return Some(Outcome::Done { answer });
        }
        if self.removed_volumes.get(&volume).is_some_and(|removed| arrival.key.epoch <= removed) {
            return Some(FileError::Conflict("the volume was deleted by a later operation".into()).into_outcome());
        }
        let origins = arrival.origins.clone();
        let look = move |images: &Arc<Images>| match images.size(volume)? {
            Some(_) if !origins.is(volume, operation)? => {
                Err(FileError::Conflict("another volume exists at the backend under this id".into()))
            }
            found => Ok(found),
        };
        match self.on_files(look).await {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(super::sized(bytes)),
            Err(error) => Some(error.into_outcome()),
        }
    }

    fn made(&self, key: CallKey, made: Result<u64, FileError>) -> Outcome {
        match made {
            Ok(bytes) => {
                let answer = Answer::Size { size_gib: super::whole_gib(bytes) };
                self.answered.insert(key, answer.clone());
                Outcome::Done { answer }
            }
            Err(error) => error.into_outcome(),
        }
    }
}

impl Arrival {
    fn copy(&self, images: &Arc<Images>, from: &dyn VolumeBytes, state: &CopyState) -> Result<u64, FileError> {
        if from.size() > self.bytes {
            return Err(FileError::Conflict("the source is larger than the new volume".into()));
        }
        let new = images.begin(self.key.volume_id, self.key.epoch, self.bytes)?;
        let way = if self.share(from, &new.file)? {
            "reflink"
        } else {
            // Written, and read again.
            state.expect(2 * from.data_size());
            Calls::default().copy(from, &new.file, state)?;
            compare(from, &new.file, state)?;
            "copy"
        };
        state.check()?;
        tracing::debug!(volume = %self.key.volume_id, way, bytes = state.copied(), "a volume has come from another backend");
        self.publish(new)
    }

    /// Whether the new file has got the contents by sharing the source's blocks.
    fn share(&self, from: &dyn VolumeBytes, to: &File) -> Result<bool, FileError> {
        let Some(file) = from.file() else { return Ok(false) };
        if self.sync_first {
            file.sync_data()?;
        }
        if !Calls::default().share(file, to)? {
            return Ok(false);
        }
        match from.is_unchanged()? {
            true => Ok(true),
            false => Err(FileError::Busy("the source was written to while it was copied".into())),
        }
    }

    fn blank(&self, images: &Arc<Images>) -> Result<u64, FileError> {
        self.publish(images.begin(self.key.volume_id, self.key.epoch, self.bytes)?)
    }

    fn publish(&self, new: super::images::NewImage) -> Result<u64, FileError> {
        self.origins.record(self.key.volume_id, self.key.operation_id)?;
        match new.publish(self.bytes)? {
            true => Ok(self.bytes),
            false => Err(FileError::Conflict("another volume exists at the backend under this id".into())),
        }
    }
}

/// A volume's file that is read from outside. While this lives the volume is neither extended nor removed; if it is exported
/// all the same, the export waits until whoever reads has seen that and let go.
struct Lent {
    bytes: FileBytes,
    state: CopyState,
    _watch: CopyWatch,
    _running: Running,
}

impl VolumeBytes for Lent {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        self.bytes.data(at)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.bytes.read_at(buffer, at)
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        Ok(self.state.check().is_ok() && self.bytes.is_unchanged()?)
    }

    fn file(&self) -> Option<&File> {
        self.bytes.file()
    }

    fn data_size(&self) -> u64 {
        self.bytes.data_size()
    }
}
