//! A file with the contents of another one: a clone, a snapshot, a volume from a snapshot, a volume that is put back.
//!
//! There are three ways for the bytes, tried in this order:
//!
//! * Where the file system shares blocks, the new file is what the other one was at one instant, whoever writes to it: the
//!   file system holds writes off meanwhile, and of a raw volume the storage daemon keeps nothing back (a write that it
//!   has answered is in the file).
//! * A volume that clients may write to is copied by the storage daemon that serves it (`mirror`).
//! * Anything else is read and written here (`copy`): nobody writes to it.
//!
//! While bytes are copied the volume is not extended or deleted (`copies`). Fences go through, and so do exports: a copy that
//! cannot bear writes is displaced, and begins again as one that can.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::FileBackend;
use super::copies::{Copy, Running};
use super::copy::{Calls, CopyError, CopyState, CopyWatch, FileBytes};
use super::exports::ServeError;
use super::images::{FileError, Images, NewImage};
use super::locks::{Guard, Locked};
use super::mirror::Mirror;
use super::names::Image;
use super::origins::Origins;
use crate::domain::backend::{Answer, CallKey, Outcome};
use crate::domain::ids::VolumeId;
use crate::drivers::VolumeBytes as _;

/// What one call makes. Everything here that takes [`Images`] blocks, and the lock of what is made is held.
#[derive(Clone)]
pub(super) struct Making {
    pub(super) key: CallKey,
    pub(super) from: Image,
    pub(super) to: Image,
    pub(super) goal: Goal,
    pub(super) origins: Arc<Origins>,
    /// Bytes that an attempt has copied which was displaced.
    pub(super) copied_before: u64,
    /// Blocks are known to be shared here: what is still in memory is written before the file system holds the writers off
    /// for it. With 512 MiB in memory they were held off for 10 ms instead of 900 (measured).
    pub(super) sync_first: bool,
}

/// What shall be there in the end.
#[derive(Clone, Copy)]
pub(super) enum Goal {
    /// A new volume of this size, bytes.
    Volume(u64),
    /// A snapshot, if it is not there.
    Snapshot,
    /// The volume that was there, with other contents.
    Revert,
}

/// What is found at first.
enum Found {
    /// It is there already; its size.
    Made(u64),
    /// The size of the other one, and the new file, which is empty.
    New(u64, NewImage),
}

impl FileBackend {
    /// Makes it; none when it was displaced, and shall begin again. `short` is the lock that is not needed while bytes are copied.
    pub(super) async fn make(&self, making: &mut Making, long: Guard, short: Guard) -> Option<Outcome> {
        let sharing = making.clone();
        let made = match self.on_files_holding((long, short), move |images| sharing.share(images)).await {
            Ok((Some(bytes), _guards)) => Ok(bytes),
            Ok((None, (long, short))) => {
                let watch = CopyWatch::default();
                let state = watch.state();
                state.reach(making.copied_before);
                let made = self.make_by_copying(making.clone(), &state, long, short).await;
                if made.is_err() && state.is_displaced() {
                    making.copied_before = state.copied();
                    return None;
                }
                // Until here: a watch that is dropped cuts the copy off.
                drop(watch);
                made
            }
            Err(error) => Err(error),
        };
        Some(match made {
            Ok(bytes) => {
                let answer = match making.goal {
                    Goal::Volume(_) => Answer::Size { size_gib: super::whole_gib(bytes) },
                    Goal::Snapshot | Goal::Revert => Answer::Nothing,
                };
                self.answered.insert(making.key.clone(), answer.clone());
                Outcome::Done { answer }
            }
            Err(error) => error.into_outcome(),
        })
    }

    async fn make_by_copying(
        &self,
        making: Making,
        state: &CopyState,
        long: Guard,
        short: Guard,
    ) -> Result<u64, FileError> {
        let served = match making.from {
            Image::Volume(volume) if self.may_be_written(volume).await => Some(volume),
            _ => None,
        };
        if served.is_some() && self.copies.is_read(making.from) {
            return Err(FileError::Later("the volume is being copied already".into()));
        }
        // A file that the daemon shows may want to grow at any time, which a mirror job of its volume does not bear (measured).
        if served.is_some_and(|volume| self.options.protocol.is_by_file() && !self.wanted_of(volume).exports.is_empty())
        {
            let text = "a connected volume of this protocol is copied only where the file system shares blocks";
            return Err(FileError::Conflict(text.into()));
        }
        let running = self.copies.begin(Copy {
            key: Some(making.key.clone()),
            from: Some(making.from),
            to: Some(making.to),
            is_mirror: served.is_some(),
            state: state.clone(),
        });
        match served {
            Some(volume) => self.make_by_mirror(making, volume, state, (running, long), short).await,
            None => {
                // From here on the copies under way tell what must not happen to it.
                drop(short);
                let state = state.clone();
                let copying = move |images: &Arc<Images>| making.copy(images, &state);
                Ok(self.on_files_holding((running, long), copying).await?.0)
            }
        }
    }

    /// By the daemon that serves the volume.
    async fn make_by_mirror(
        &self,
        making: Making,
        volume: VolumeId,
        state: &CopyState,
        held: (Running, Guard),
        short: Guard,
    ) -> Result<u64, FileError> {
        let wanted = self.wanted_of(volume);
        let daemon = self.daemons[wanted.daemon].clone();
        if self.is_served_elsewhere(volume, wanted.daemon) {
            return Err(FileError::Later("the volume is served by another storage daemon".into()));
        }
        let finding = making.clone();
        let find = move |images: &Arc<Images>| {
            let found = finding.find(images)?;
            if let Found::New(bytes, new) = &found {
                new.file.set_len(*bytes)?;
            }
            Ok(found)
        };
        let (from_bytes, new, held) = match self.on_files_holding(held, find).await? {
            (Found::Made(bytes), _) => return Ok(bytes),
            (Found::New(bytes, new), held) => (bytes, new, held),
        };
        // Those that a death has taken away come back first: the job is between a volume and its exports.
        self.serve(&daemon, volume, from_bytes, wanted.exports).await.map_err(not_served)?;
        let mirror = Mirror { daemon, home: self.home(), id: making.to.id(), file: new.file.try_clone()? };
        mirror.begin(volume, &self.images.path(volume), from_bytes, new.path()).await?;
        // From here on the copies under way tell what must not happen to it.
        drop(short);
        let (publishing, driving) = (making, state.clone());
        // A task of its own, so that the job is ended also when nobody waits any more.
        let driven = self.home().spawn(async move {
            let ended = mirror.drive(&driving).await;
            (ended, new, driving, held)
        });
        let Ok((ended, new, state, held)) = driven.await else {
            return Err(FileError::Uncertain("the work on the backend's storage was cut off".into()));
        };
        let publish = move |_: &Arc<Images>| {
            ended?;
            state.check()?;
            publishing.publish(new, from_bytes, "mirror", state.copied())
        };
        let bytes = self.on_files_holding(held, publish).await.map(|(bytes, _held)| bytes);
        self.close_if_unused(volume).await;
        bytes
    }
}

impl Making {
    /// The two locks: that of what is made, and the other one.
    pub(super) fn locks(&self) -> (Locked, Locked) {
        let of = |image| match image {
            Image::Volume(volume) => Locked::Volume(volume),
            Image::Snapshot(_, snapshot) => Locked::Snapshot(snapshot),
        };
        match self.goal {
            // The volume's own lock is the one that is given back, so that a fence is not held up by a copy.
            Goal::Revert => (Locked::Contents(self.key.volume_id), Locked::Volume(self.key.volume_id)),
            Goal::Volume(_) | Goal::Snapshot => (of(self.to), of(self.from)),
        }
    }

    /// Makes it if the file system shares blocks, and says its size. Both locks are held.
    fn share(&self, images: &Arc<Images>) -> Result<Option<u64>, FileError> {
        match self.find(images)? {
            Found::Made(bytes) => Ok(Some(bytes)),
            Found::New(bytes, new) => {
                let from = self.open(images)?;
                if self.sync_first {
                    from.sync_data()?;
                }
                if !Calls::default().share(&from, &new.file)? {
                    return Ok(None);
                }
                self.publish(new, bytes, "reflink", 0).map(Some)
            }
        }
    }

    /// Makes it by copying every byte of data, and says its size. Nobody writes to the other one.
    fn copy(&self, images: &Arc<Images>, state: &CopyState) -> Result<u64, FileError> {
        match self.find(images)? {
            Found::Made(bytes) => Ok(bytes),
            Found::New(bytes, new) => {
                let from = FileBytes::new(self.open(images)?)?;
                state.expect(state.copied() + from.data_size());
                Calls::default().copy(&from, &new.file, state)?;
                // A source without data has no chunk at which this was looked at.
                state.check()?;
                self.publish(new, bytes, "copy", state.copied())
            }
        }
    }

    fn find(&self, images: &Arc<Images>) -> Result<Found, FileError> {
        let conflict = |text: &str| Err(FileError::Conflict(text.into()));
        let there = images.size(self.to)?;
        let operation = self.key.operation_id;
        match (self.goal, there) {
            (Goal::Volume(_), Some(found)) => {
                return match self.origins.is(self.key.volume_id, operation)? {
                    true => Ok(Found::Made(found)),
                    false => conflict("another volume exists at the backend under this id"),
                };
            }
            (Goal::Snapshot, Some(found)) => return Ok(Found::Made(found)),
            (Goal::Revert, None) => return conflict("the volume does not exist at the backend"),
            (Goal::Revert, Some(found)) => {
                let inode = images.inode(self.to)?.unwrap_or(0);
                if self.origins.has_reverted(self.key.volume_id, operation, inode)? {
                    return Ok(Found::Made(found));
                }
            }
            (Goal::Volume(_) | Goal::Snapshot, None) => {}
        }
        let Some(bytes) = images.size(self.from)? else {
            return conflict("the source does not exist at the backend");
        };
        // A volume that is put back is counted already.
        let more_bytes = match self.goal {
            Goal::Volume(wanted) if bytes > wanted => return conflict("the source is larger than the new volume"),
            Goal::Volume(wanted) => wanted,
            Goal::Snapshot => bytes,
            Goal::Revert if there != Some(bytes) => return conflict("the snapshot has another size than the volume"),
            Goal::Revert => 0,
        };
        Ok(Found::New(bytes, images.begin(self.to, self.key.epoch, more_bytes)?))
    }

    fn open(&self, images: &Images) -> Result<File, FileError> {
        let gone = || FileError::Conflict("the source does not exist at the backend".into());
        images.open(self.from)?.ok_or_else(gone)
    }

    fn publish(&self, new: NewImage, from_bytes: u64, way: &str, copied_bytes: u64) -> Result<u64, FileError> {
        let (volume, operation) = (self.key.volume_id, self.key.operation_id);
        let bytes = match self.goal {
            Goal::Volume(bytes) => {
                self.origins.record(volume, operation)?;
                if !new.publish(bytes)? {
                    return Err(FileError::Conflict("another volume exists at the backend under this id".into()));
                }
                bytes
            }
            // The name is taken: by what was asked for.
            Goal::Snapshot => new.publish(from_bytes).map(|_| from_bytes)?,
            Goal::Revert => {
                self.origins.record_revert(volume, operation, new.file.metadata()?.ino())?;
                new.replace()?;
                from_bytes
            }
        };
        tracing::debug!(from = ?self.from, to = ?self.to, way, copied_bytes, "contents copied");
        Ok(bytes)
    }
}

fn not_served(error: ServeError) -> FileError {
    FileError::Unavailable(error.into_cause().text)
}

impl From<CopyError> for FileError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::CutOff => Self::Later("the copy was cut off".into()),
            CopyError::Changed => Self::Busy("the source was written to while it was copied".into()),
            CopyError::Differs => Self::Unavailable("the copy on the backend's storage is not what was written".into()),
            CopyError::Io(error) => error.into(),
        }
    }
}
