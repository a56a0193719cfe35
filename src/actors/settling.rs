//! Those who wait until what their request has begun is settled (`Prefer: wait`).
//!
//! A waiter is told by the volume's actor when it publishes the commit that ends the last operation waited for; nobody polls,
//! and no commit waits for a waiter.

use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::domain::ids::{OperationId, VolumeId};
use crate::domain::volume::VolumeState;

/// Waiters at the same time, of all volumes together; each holds a connection.
pub const WAITERS_MAX: usize = 1_024;

/// Everybody who waits, by volume.
pub(super) struct Settling {
    /// None of the lists is empty.
    volumes: DashMap<VolumeId, Vec<Waiter>>,
    places: Arc<Semaphore>,
}

struct Waiter {
    operations: Vec<OperationId>,
    told: oneshot::Sender<Arc<VolumeState>>,
}

impl Default for Settling {
    fn default() -> Self {
        Self { volumes: DashMap::new(), places: Arc::new(Semaphore::new(WAITERS_MAX)) }
    }
}

impl Settling {
    /// Takes a place; none is free, or the service is ending: nobody may wait.
    pub(super) fn wait(self: &Arc<Self>, volume_id: VolumeId, operations: Vec<OperationId>) -> Option<Waiting> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let (told, settled) = oneshot::channel();
        self.volumes.entry(volume_id).or_default().push(Waiter { operations, told });
        let waiting = Waiting { book: Arc::clone(self), volume_id, settled, _place: place };
        // The service may have ended its waits in between.
        (!self.places.is_closed()).then_some(waiting)
    }

    /// A volume has published this state.
    pub(super) fn published(&self, state: &Arc<VolumeState>) {
        let Some(mut waiters) = self.volumes.get_mut(&state.id()) else { return };
        let (still, settled) =
            std::mem::take(waiters.value_mut()).into_iter().partition(|waiter| is_open(state, &waiter.operations));
        *waiters = still;
        drop(waiters);
        self.volumes.remove_if(&state.id(), |_, waiters| waiters.is_empty());
        let settled: Vec<Waiter> = settled;
        for waiter in settled {
            // its client may have gone
            let _ = waiter.told.send(Arc::clone(state));
        }
    }

    /// The service is ending: nobody waits any more.
    pub(super) fn close(&self) {
        self.places.close();
        self.volumes.clear();
    }

    /// How many wait.
    pub(super) fn waiters(&self) -> usize {
        WAITERS_MAX.saturating_sub(self.places.available_permits())
    }
}

/// Whether one of these operations is open.
pub(super) fn is_open(state: &VolumeState, operations: &[OperationId]) -> bool {
    state.operations.iter().any(|operation| operations.contains(&operation.id))
}

/// One who waits; gives the place back when it is dropped.
pub(super) struct Waiting {
    book: Arc<Settling>,
    volume_id: VolumeId,
    settled: oneshot::Receiver<Arc<VolumeState>>,
    _place: OwnedSemaphorePermit,
}

impl Waiting {
    /// The state with which the operations have ended; none: the service ends.
    pub(super) async fn settled(&mut self) -> Option<Arc<VolumeState>> {
        (&mut self.settled).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.settled.close();
        if let Some(mut waiters) = self.book.volumes.get_mut(&self.volume_id) {
            waiters.retain(|waiter| !waiter.told.is_closed());
        }
        self.book.volumes.remove_if(&self.volume_id, |_, waiters| waiters.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume() -> VolumeId {
        VolumeId(uuid::Uuid::nil())
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let book = Arc::new(Settling::default());
        let waiting: Vec<_> = (0..WAITERS_MAX).map(|_| book.wait(volume(), Vec::new()).expect("a place")).collect();
        assert!(book.wait(volume(), Vec::new()).is_none());
        assert_eq!((book.waiters(), book.volumes.len()), (WAITERS_MAX, 1));
        drop(waiting);
        assert_eq!((book.waiters(), book.volumes.len()), (0, 0), "nothing is left of those who go");
        assert!(book.wait(volume(), Vec::new()).is_some());
    }

    #[tokio::test]
    async fn the_end_of_the_service_ends_every_wait() {
        let book = Arc::new(Settling::default());
        let mut waiting = book.wait(volume(), Vec::new()).expect("a place");
        book.close();
        assert!(waiting.settled().await.is_none());
        assert!(book.wait(volume(), Vec::new()).is_none());
    }
}
