//! One lock per volume: extend and unexport of a volume never interleave, and a hung call holds up its own volume only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::domain::ids::VolumeId;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// The locks that are held or waited for; the others do not exist.
#[derive(Default)]
pub(super) struct VolumeLocks(Arc<Mutex<HashMap<VolumeId, Lock>>>);

/// Holds a volume's lock.
pub(super) struct VolumeGuard {
    held: Option<OwnedMutexGuard<()>>,
    _entry: Entry,
}

/// A reference to an entry of the map, which goes with its last holder or waiter, also when a waiter gives up.
struct Entry {
    volume: VolumeId,
    lock: Option<Lock>,
    map: Arc<Mutex<HashMap<VolumeId, Lock>>>,
}

impl VolumeLocks {
    /// Waits for the volume's lock.
    pub(super) async fn acquire(&self, volume: VolumeId) -> VolumeGuard {
        let lock = self.map().entry(volume).or_default().clone();
        let entry = Entry { volume, lock: Some(lock.clone()), map: self.0.clone() };
        let held = lock.lock_owned().await;
        VolumeGuard { held: Some(held), _entry: entry }
    }

    /// Waits for the locks of two different volumes. The lower id comes first, so that two calls never wait for each other.
    pub(super) async fn acquire_two(&self, one: VolumeId, other: VolumeId) -> (VolumeGuard, VolumeGuard) {
        let (lower, higher) = (self.acquire(one.min(other)).await, self.acquire(one.max(other)).await);
        if one < other { (lower, higher) } else { (higher, lower) }
    }

    /// Whether a call for the volume is under way.
    pub(super) fn is_busy(&self, volume: VolumeId) -> bool {
        self.map().contains_key(&volume)
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<VolumeId, Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for VolumeGuard {
    fn drop(&mut self) {
        // Before the entry counts the references.
        self.held = None;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock = None;
        if map.get(&self.volume).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            map.remove(&self.volume);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_volume_is_busy_exactly_while_somebody_holds_or_awaits_its_lock() {
        let locks = VolumeLocks::default();
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
