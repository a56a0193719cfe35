//! A new volume with the contents of another one.
//!
//! Where the file system shares blocks, the clone is what the source was at one instant, whoever writes to it. Elsewhere the
//! bytes are copied, which needs a source that nobody writes to: a source with exports is refused, and while the copy runs the
//! source is not exported, extended or deleted.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::copy::{Calls, CopyError, CopyState, CopyWatch};
use super::images::{FileError, GIB, Images, NewImage};
use super::locks::VolumeGuard;
use super::origins::Origins;
use super::{FileBackend, sized};
use crate::domain::backend::{CallKey, Cause, CauseKind, Outcome};
use crate::domain::ids::VolumeId;

/// The copies under way.
#[derive(Clone, Default)]
pub(super) struct Copies(Arc<Mutex<HashMap<CallKey, Copy>>>);

struct Copy {
    source: VolumeId,
    state: CopyState,
}

/// A copy under way, until this is dropped.
struct Running {
    key: CallKey,
    copies: Copies,
}

impl Copies {
    fn begin(&self, key: CallKey, source: VolumeId, state: CopyState) -> Running {
        self.lock().insert(key.clone(), Copy { source, state });
        Running { key, copies: self.clone() }
    }

    /// Whether a copy reads the volume.
    fn read(&self, volume: VolumeId) -> bool {
        self.lock().values().any(|copy| copy.source == volume)
    }

    /// Bytes that the call has copied; none when it copies nothing now.
    pub(super) fn progress(&self, key: &CallKey) -> Option<u64> {
        self.lock().get(key).map(|copy| copy.state.copied())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallKey, Copy>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.copies.lock().remove(&self.key);
    }
}

impl FileBackend {
    pub(super) async fn create_cloned_volume(&self, key: CallKey, source: VolumeId, size_gib: u32) -> Outcome {
        if source == key.volume_id {
            return FileError::Conflict("a volume cannot be a clone of itself".into()).into_outcome();
        }
        let guards = self.locks.acquire_two(key.volume_id, source).await;
        if let Some(size_gib) = self.created.get(&key) {
            return sized(u64::from(size_gib) * GIB);
        }
        let clone = Clone { key: key.clone(), source, bytes: u64::from(size_gib) * GIB, origins: self.origins.clone() };
        let sharing = clone.clone();
        let made = match self.on_files_holding(guards, move |images| sharing.share(images)).await {
            Ok((Some(bytes), _guards)) => Ok(bytes),
            Ok((None, (guard, source_guard))) => self.copy(clone, guard, source_guard).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(bytes) => {
                self.created.insert(key, size_gib);
                sized(bytes)
            }
            Err(error) => error.into_outcome(),
        }
    }

    async fn copy(&self, clone: Clone, guard: VolumeGuard, source_guard: VolumeGuard) -> Result<u64, FileError> {
        if self.may_be_written(clone.source).await {
            return Err(FileError::Busy(
                "the source volume is in use, and the backend can only copy one that is not".into(),
            ));
        }
        let watch = CopyWatch::default();
        let state = watch.state();
        let running = self.copies.begin(clone.key.clone(), clone.source, state.clone());
        // From here on it is told from others by the copies under way, and may be looked at.
        drop(source_guard);
        let copying = move |images: &Images| clone.copy(images, &state);
        let (bytes, _held) = self.on_files_holding((running, guard), copying).await?;
        // Until here: a watch that is dropped cuts the copy off.
        drop(watch);
        Ok(bytes)
    }

    /// What a call is told that would change a volume, or let others change it, which a copy reads.
    pub(super) fn being_copied(&self, volume: VolumeId) -> Option<Outcome> {
        let cause = || Cause::new(CauseKind::Busy, "the volume is being copied");
        self.copies.read(volume).then(|| Outcome::Failed { cause: cause() })
    }
}

/// One clone. Everything here blocks, and the new volume's lock is held.
#[derive(Clone)]
struct Clone {
    key: CallKey,
    source: VolumeId,
    bytes: u64,
    origins: Arc<Origins>,
}

/// What is found at first.
enum Found<'a> {
    /// This operation has made the volume already; its size.
    Made(u64),
    /// The source, and the new volume, which is empty.
    New(File, NewImage<'a>),
}

impl Clone {
    /// Makes the volume if the file system shares blocks, and says its size. The source's lock is held.
    fn share(&self, images: &Images) -> Result<Option<u64>, FileError> {
        match self.find(images)? {
            Found::Made(bytes) => Ok(Some(bytes)),
            Found::New(from, new) => {
                if !Calls::default().share(&from, &new.file)? {
                    return Ok(None);
                }
                self.publish(new, "reflink", 0).map(Some)
            }
        }
    }

    /// Makes the volume by copying every byte of data, and says its size. Nobody writes to the source.
    fn copy(&self, images: &Images, state: &CopyState) -> Result<u64, FileError> {
        match self.find(images)? {
            Found::Made(bytes) => Ok(bytes),
            Found::New(from, new) => {
                Calls::default().copy(&from, &new.file, state)?;
                // A source without data has no chunk at which this was looked at.
                state.check()?;
                self.publish(new, "copy", state.copied())
            }
        }
    }

    fn find<'a>(&self, images: &'a Images) -> Result<Found<'a>, FileError> {
        let conflict = |text: &str| Err(FileError::Conflict(text.into()));
        let volume = self.key.volume_id;
        if let Some(found) = images.size(volume)? {
            return match self.origins.is(volume, self.key.operation_id)? {
                true => Ok(Found::Made(found)),
                false => conflict("another volume exists at the backend under this id"),
            };
        }
        let Some(from) = images.open(self.source)? else {
            return conflict("the source volume does not exist at the backend");
        };
        if from.metadata()?.len() > self.bytes {
            return conflict("the source volume is larger than the new one");
        }
        Ok(Found::New(from, images.begin(volume, self.key.epoch, self.bytes)?))
    }

    fn publish(&self, new: NewImage<'_>, path: &str, copied_bytes: u64) -> Result<u64, FileError> {
        let volume = self.key.volume_id;
        self.origins.record(volume, self.key.operation_id)?;
        if !new.publish()? {
            return Err(FileError::Conflict("another volume exists at the backend under this id".into()));
        }
        tracing::debug!(%volume, source = %self.source, path, copied_bytes, "volume cloned");
        Ok(self.bytes)
    }
}

impl From<CopyError> for FileError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::CutOff => Self::Unavailable("the copy was cut off".into()),
            CopyError::Changed => Self::Busy("the source volume was written to while it was copied".into()),
            CopyError::Io(error) => error.into(),
        }
    }
}
