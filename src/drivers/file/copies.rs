//! The copies under way: what reads what, so that nothing is changed, exported or removed that a copy depends on.
//!
//! A copy that is registered here has given back the lock of its volume. Whoever wants to change a volume asks here, with the
//! volume's lock held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::FileBackend;
use super::copy::CopyState;
use super::names::Image;
use crate::domain::backend::{CallKey, Cause, CauseKind, Outcome};
use crate::domain::ids::VolumeId;

/// The copies under way.
#[derive(Clone, Default)]
pub(super) struct Copies(Arc<Mutex<HashMap<CallKey, Copy>>>);

/// What a copy reads and makes.
pub(super) struct Copy {
    pub(super) from: Image,
    pub(super) to: Image,
    pub(super) state: CopyState,
}

/// A copy under way, until this is dropped.
pub(super) struct Running {
    key: CallKey,
    copies: Copies,
}

impl Copies {
    /// Registers a copy.
    pub(super) fn begin(&self, key: CallKey, copy: Copy) -> Running {
        self.lock().insert(key.clone(), copy);
        Running { key, copies: self.clone() }
    }

    /// Whether a copy reads it.
    pub(super) fn read(&self, image: Image) -> bool {
        self.lock().values().any(|copy| copy.from == image)
    }

    /// Whether a copy makes it.
    pub(super) fn make(&self, image: Image) -> bool {
        self.lock().values().any(|copy| copy.to == image)
    }

    /// Whether a copy is a call for this volume.
    pub(super) fn are_for(&self, volume: VolumeId) -> bool {
        self.lock().keys().any(|key| key.volume_id == volume)
    }

    /// Ends the copy that makes it.
    pub(super) fn cut_off(&self, image: Image) {
        self.lock().values().filter(|copy| copy.to == image).for_each(|copy| copy.state.cut_off());
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
    /// What a call is told that would change a volume, or let others change it, which a copy reads or puts back.
    pub(super) fn being_copied(&self, volume: VolumeId) -> Option<Outcome> {
        let image = Image::Volume(volume);
        let cause = || Cause::new(CauseKind::Busy, "the volume is being copied");
        (self.copies.read(image) || self.copies.make(image)).then(|| Outcome::Failed { cause: cause() })
    }

    /// Whether a call for the volume is under way.
    pub(super) fn is_busy(&self, volume: VolumeId) -> bool {
        self.locks.is_busy(volume) || self.copies.are_for(volume)
    }
}
