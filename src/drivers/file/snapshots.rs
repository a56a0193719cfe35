//! Snapshots, clones and reverts as calls: what is refused, and what waits for what. How the bytes get there is `make`.

use super::FileBackend;
use super::images::{FileError, GIB};
use super::locks::Locked;
use super::make::{Goal, Making};
use super::names::Image;
use super::objects::Guards;
use crate::domain::backend::{CallKey, Cause, CauseKind, Outcome};
use crate::domain::ids::{SnapshotId, VolumeId};

impl FileBackend {
    /// A volume with the contents of another one, or of a snapshot.
    pub(super) async fn create_copy(&self, key: CallKey, from: Image, size_gib: u32) -> Outcome {
        let to = Image::Volume(key.volume_id);
        if from == to {
            return FileError::Conflict("a volume cannot be a clone of itself".into()).into_outcome();
        }
        let making = self.making(key, from, to, Goal::Volume(u64::from(size_gib) * GIB));
        let refusal = || match from {
            Image::Volume(source) => self.being_replaced(source),
            Image::Snapshot(..) => None,
        };
        self.copied(making, refusal).await
    }

    pub(super) async fn create_snapshot(&self, key: CallKey, snapshot: SnapshotId) -> Outcome {
        let volume = key.volume_id;
        let making = self.making(key, Image::Volume(volume), Image::Snapshot(volume, snapshot), Goal::Snapshot);
        let epoch = making.key.epoch;
        let refusal = || {
            if self.removed.get(&snapshot).is_some_and(|removed| epoch <= removed) {
                let deleted = FileError::Conflict("the snapshot was deleted by a later operation".into());
                return Some(deleted.into_outcome());
            }
            self.being_replaced(volume)
        };
        self.copied(making, refusal).await
    }

    /// Makes it, unless it is refused, which is asked with both locks held.
    async fn copied(&self, mut making: Making, refusal: impl Fn() -> Option<Outcome>) -> Outcome {
        loop {
            let (long, short) = making.locks();
            let (long, short) = self.locks.acquire_two(long, short).await;
            if let Some(answer) = self.answered.get(&making.key) {
                return Outcome::Done { answer };
            }
            if let Some(refused) = refusal() {
                return refused;
            }
            if let Some(outcome) = self.make(&mut making, long, short).await {
                return outcome;
            }
        }
    }

    pub(super) async fn delete_snapshot(&self, key: CallKey, snapshot: SnapshotId) -> Outcome {
        let volume = key.volume_id;
        let _guards = match self.without_readers(key, snapshot).await {
            Ok(guards) => guards,
            Err(refused) => return refused,
        };
        match self.on_files(move |images| images.delete_snapshot(volume, snapshot)).await {
            Ok(()) => Outcome::done(),
            Err(error) => error.into_outcome(),
        }
    }

    /// The locks under which a snapshot is taken away that nobody reads: from then on no creation of before has an effect.
    pub(super) async fn without_readers(&self, key: CallKey, snapshot: SnapshotId) -> Result<Guards, Outcome> {
        let volume = key.volume_id;
        let image = Image::Snapshot(volume, snapshot);
        let in_use = || {
            let cause = || Cause::new(CauseKind::Busy, "a volume is being made from the snapshot");
            self.copies.is_read(image).then(|| Outcome::Refused { cause: cause() })
        };
        // Before the lock: a copy has it.
        if let Some(refused) = in_use() {
            return Err(refused);
        }
        self.copies.cut_off(image);
        let guards = self.locks.acquire_two(Locked::Snapshot(snapshot), Locked::Volume(volume)).await;
        if let Some(refused) = in_use() {
            return Err(refused);
        }
        // One that has begun has ended.
        let epoch = self.removed.get(&snapshot).map_or(key.epoch, |epoch| epoch.max(key.epoch));
        self.removed.insert(snapshot, epoch);
        Ok(guards)
    }

    pub(super) async fn revert_to_snapshot(&self, key: CallKey, snapshot: SnapshotId) -> Outcome {
        let volume = key.volume_id;
        let mut making = self.making(key, Image::Snapshot(volume, snapshot), Image::Volume(volume), Goal::Revert);
        let (long, short) = making.locks();
        let (long, short) = self.locks.acquire_two(long, short).await;
        if let Some(answer) = self.answered.get(&making.key) {
            return Outcome::Done { answer };
        }
        if let Some(busy) = self.being_copied(volume) {
            return busy;
        }
        // A daemon that has the old file open would go on serving that.
        if let Err(outcome) = self.let_go(volume).await {
            return outcome;
        }
        // What it reads is a snapshot, which nobody writes to: nothing displaces it.
        let cut_off = || FileError::Later("the copy was cut off".into()).into_outcome();
        self.make(&mut making, long, short).await.unwrap_or_else(cut_off)
    }

    fn making(&self, key: CallKey, from: Image, to: Image, goal: Goal) -> Making {
        let sync_first = self.reflink.load(std::sync::atomic::Ordering::Relaxed);
        Making { key, from, to, goal, origins: self.origins.clone(), copied_before: 0, sync_first }
    }

    /// Closes the volume's file at its daemon if nothing of it is served: an export may have ended while it was copied.
    pub(super) async fn close_if_unused(&self, volume: VolumeId) {
        let _guard = self.locks.acquire(volume).await;
        let wanted = self.wanted_of(volume);
        if let Some(link) = self.daemons[wanted.daemon].current()
            && wanted.exports.is_empty()
            && let Err(error) = link.close_node(volume).await
        {
            tracing::warn!(%volume, %error, "the volume's node stays open");
        }
    }
}
