//! The driver's locks: extend and unexport of a volume never interleave, and a hung call holds up its own volume only.
//!
//! A call that copies keeps the lock of what it makes, so that its repetitions wait for it, and gives back that of the volume:
//! `copies` then says what must not happen meanwhile, and a fence goes through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::domain::ids::{ImageId, SnapshotId, VolumeId};

type Lock = Arc<tokio::sync::Mutex<()>>;

/// What is locked. Where a call takes two of different kinds it waits for the one of the earlier kind first, so that nobody
/// holds a volume while a copy has what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Locked {
    /// An image, while it is made from a volume.
    Image(ImageId),
    /// What the volume held at one moment, while it is copied for an image.
    Moment(ImageId),
    /// A volume's contents, while they are replaced.
    Contents(VolumeId),
    /// A snapshot.
    Snapshot(SnapshotId),
    /// A volume: its file, its exports.
    Volume(VolumeId),
}

/// The locks that are held or waited for; the others do not exist.
#[derive(Default)]
pub(super) struct Locks(Arc<Mutex<HashMap<Locked, Lock>>>);

/// Holds a lock.
pub(super) struct Guard {
    held: Option<OwnedMutexGuard<()>>,
    _entry: Entry,
}

/// A reference to an entry of the map, which goes with its last holder or waiter, also when a waiter gives up.
struct Entry {
    what: Locked,
    lock: Option<Lock>,
    map: Arc<Mutex<HashMap<Locked, Lock>>>,
}

impl Locks {
    /// Waits for the volume's lock.
    pub(super) async fn acquire(&self, volume: VolumeId) -> Guard {
        self.lock(Locked::Volume(volume)).await
    }

    /// Waits for two different locks. The lower one comes first, so that two calls never wait for each other.
    pub(super) async fn acquire_two(&self, one: Locked, other: Locked) -> (Guard, Guard) {
        let (lower, higher) = (self.lock(one.min(other)).await, self.lock(one.max(other)).await);
        if one < other { (lower, higher) } else { (higher, lower) }
    }

    /// Waits for one lock.
    pub(super) async fn lock(&self, what: Locked) -> Guard {
        let lock = self.map().entry(what).or_default().clone();
        let entry = Entry { what, lock: Some(lock.clone()), map: self.0.clone() };
        let held = lock.lock_owned().await;
        Guard { held: Some(held), _entry: entry }
    }

    /// Whether a call for the volume is under way.
    pub(super) fn is_busy(&self, volume: VolumeId) -> bool {
        self.map().contains_key(&Locked::Volume(volume))
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<Locked, Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before the entry counts the references.
        self.held = None;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock = None;
        if map.get(&self.what).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            map.remove(&self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_volume_is_busy_exactly_while_somebody_holds_or_awaits_its_lock() {
        let locks = Locks::default();
        let volume = VolumeId(uuid::Uuid::from_u128(1));
        let first = locks.acquire(volume).await;
        let other = locks.acquire(VolumeId(uuid::Uuid::from_u128(2))).await;
        let mut second = Box::pin(locks.acquire(volume));
        assert!(futures_util::poll!(&mut second).is_pending(), "the lock is held");
        drop(first);
        assert!(locks.is_busy(volume), "the waiter keeps the entry");
        drop(second.await);
        assert!(!locks.is_busy(volume));
        drop(other);
        assert!(locks.map().is_empty());
    }
}
