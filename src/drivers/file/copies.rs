//! The copies under way: what reads what, so that nothing is changed, exported or removed that a copy depends on.
//!
//! A copy that is registered here has given back the lock of its volume. Whoever wants to change a volume asks here, with the
//! volume's lock held. Whoever only lets others write to it, displaces the copies that cannot bear that; they begin again, by
//! the storage daemon.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::FileBackend;
use super::copy::CopyState;
use super::names::Image;
use crate::domain::backend::{CallKey, Cause, CauseKind, Outcome};
use crate::domain::ids::VolumeId;
use crate::drivers::Progress;

/// The copies under way.
#[derive(Clone, Default)]
pub(super) struct Copies(Arc<Shared>);

#[derive(Default)]
struct Shared {
    copies: Mutex<HashMap<u64, Copy>>,
    next: AtomicU64,
    /// Told when one has ended.
    ended: Notify,
}

/// What a copy reads and makes of this backend's.
pub(super) struct Copy {
    /// The call that makes it; none: another backend's.
    pub(super) key: Option<CallKey>,
    pub(super) from: Option<Image>,
    pub(super) to: Option<Image>,
    /// By the storage daemon, which others may write through meanwhile.
    pub(super) is_mirror: bool,
    pub(super) state: CopyState,
}

/// A copy under way, until this is dropped.
pub(super) struct Running {
    number: u64,
    copies: Copies,
}

impl Copies {
    /// Registers a copy.
    pub(super) fn begin(&self, copy: Copy) -> Running {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, copy);
        Running { number, copies: self.clone() }
    }

    /// Whether a copy reads it.
    pub(super) fn is_read(&self, image: Image) -> bool {
        self.lock().values().any(|copy| copy.from == Some(image))
    }

    /// Ends the copies that bear no write to what they read, and waits until they have.
    pub(super) async fn displace(&self, image: Image) {
        loop {
            let ended = self.0.ended.notified();
            let mut found = false;
            for copy in self.lock().values().filter(|copy| copy.from == Some(image) && !copy.is_mirror) {
                copy.state.displace();
                found = true;
            }
            if !found {
                return;
            }
            ended.await;
        }
    }

    /// Whether a copy makes it.
    pub(super) fn is_made(&self, image: Image) -> bool {
        self.lock().values().any(|copy| copy.to == Some(image))
    }

    /// Whether a copy is a call for this volume.
    pub(super) fn are_for(&self, volume: VolumeId) -> bool {
        let is_for = |copy: &Copy| match &copy.key {
            Some(key) => key.volume_id == volume,
            None => copy.from == Some(Image::Volume(volume)),
        };
        self.lock().values().any(is_for)
    }

    /// Ends the copy that makes it.
    pub(super) fn cut_off(&self, image: Image) {
        self.lock().values().filter(|copy| copy.to == Some(image)).for_each(|copy| copy.state.cut_off());
    }

    /// Ends the copy of this call.
    pub(super) fn cut_off_call(&self, key: &CallKey) {
        let of_call = |copy: &&Copy| copy.key.as_ref() == Some(key);
        self.lock().values().filter(of_call).for_each(|copy| copy.state.cut_off());
    }

    /// Ends the copy that brings the volume here; one that is put back to a snapshot is there already.
    pub(super) fn cut_off_creation(&self, volume: VolumeId) {
        let makes_it = |copy: &&Copy| {
            copy.to == Some(Image::Volume(volume)) && copy.from.is_none_or(|from| from.volume() != volume)
        };
        self.lock().values().filter(makes_it).for_each(|copy| copy.state.cut_off());
    }

    /// How far the call's copy is; none when it copies nothing now.
    pub(super) fn progress(&self, key: &CallKey) -> Option<Progress> {
        self.lock().values().find(|copy| copy.key.as_ref() == Some(key)).map(|copy| copy.state.progress())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Copy>> {
        self.0.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.copies.lock().remove(&self.number);
        self.copies.0.ended.notify_waiters();
    }
}

impl FileBackend {
    /// What a call is told that would change a volume which a copy reads or puts back.
    pub(super) fn being_copied(&self, volume: VolumeId) -> Option<Outcome> {
        let is_read = self.copies.is_read(Image::Volume(volume));
        is_read.then(|| busy("the volume is being copied")).or_else(|| self.being_replaced(volume))
    }

    /// The same for one that would only let others write to it.
    pub(super) fn being_replaced(&self, volume: VolumeId) -> Option<Outcome> {
        self.copies.is_made(Image::Volume(volume)).then(|| busy("the contents of the volume are being made"))
    }

    /// Whether a call for the volume is under way.
    pub(super) fn is_busy(&self, volume: VolumeId) -> bool {
        self.locks.is_busy(volume) || self.copies.are_for(volume)
    }
}

fn busy(text: &str) -> Outcome {
    Outcome::Failed { cause: Cause::new(CauseKind::Busy, text) }
}
