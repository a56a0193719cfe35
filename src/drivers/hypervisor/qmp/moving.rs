//! How far the disks are that are being moved now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::backend::CallKey;
use crate::drivers::Progress;

/// The calls that move a disk, and how far each is.
#[derive(Default)]
pub(super) struct Moves(Mutex<HashMap<CallKey, Progress>>);

/// One of them, until this is dropped.
pub(super) struct Moving<'a> {
    key: &'a CallKey,
    moves: &'a Moves,
}

impl Moves {
    /// Enters a call.
    pub(super) fn begin<'a>(&'a self, key: &'a CallKey) -> Moving<'a> {
        self.lock().insert(key.clone(), Progress::default());
        Moving { key, moves: self }
    }

    /// How far it is; none when it moves nothing now.
    pub(super) fn progress(&self, key: &CallKey) -> Option<Progress> {
        self.lock().get(key).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallKey, Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moving<'_> {
    /// Notes how far it is.
    pub(super) fn tell(&self, progress: Progress) {
        self.moves.lock().insert(self.key.clone(), progress);
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.moves.lock().remove(self.key);
    }
}
