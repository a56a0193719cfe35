//! Questions that are under way: one for each new token, however many requests wait for its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::oneshot;

use super::token::Token;
use super::{Fingerprint, Verdict};

/// A token, and whether it may have expired: Keystone is asked differently then.
type Key = (Fingerprint, bool);

/// The answer, for everyone who waits; an error if nobody looks for it any more.
pub(super) type Landing = Shared<oneshot::Receiver<Verdict>>;

type Aloft = Mutex<HashMap<Key, Landing>>;

/// What is under way.
pub(super) struct Flights {
    aloft: Arc<Aloft>,
    max: usize,
}

/// What a request does that does not know its token.
pub(super) enum Joined {
    /// It has become known meanwhile.
    Known(Arc<Token>),
    /// The question is under way.
    Waits(Landing),
    /// It is this request's to ask.
    Starts(Flight),
    /// Too many questions are under way.
    Full,
}

impl Flights {
    pub(super) fn new(max: usize) -> Self {
        Self { aloft: Arc::default(), max }
    }

    /// `known` is looked at once more where no flight can end: what has ended is known before it is forgotten here.
    pub(super) fn join(&self, key: Key, known: impl FnOnce() -> Option<Arc<Token>>) -> Joined {
        let mut aloft = lock(&self.aloft);
        if let Some(landing) = aloft.get(&key) {
            return Joined::Waits(landing.clone());
        }
        if let Some(known) = known() {
            return Joined::Known(known);
        }
        if aloft.len() >= self.max {
            return Joined::Full;
        }
        let (answer, landing) = oneshot::channel();
        let landing = landing.shared();
        aloft.insert(key, landing.clone());
        Joined::Starts(Flight { key, answer: Some(answer), landing, aloft: Arc::clone(&self.aloft) })
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.aloft).len()
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }
}

fn lock(aloft: &Aloft) -> MutexGuard<'_, HashMap<Key, Landing>> {
    aloft.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One question. However it ends, it is not under way any more.
pub(super) struct Flight {
    key: Key,
    answer: Option<oneshot::Sender<Verdict>>,
    landing: Landing,
    aloft: Arc<Aloft>,
}

impl Flight {
    /// Where the answer will be.
    pub(super) fn verdict(&self) -> Landing {
        self.landing.clone()
    }

    /// Tells everyone who waits.
    pub(super) fn land(mut self, verdict: Verdict) {
        if let Some(answer) = self.answer.take() {
            // nobody may be waiting any more
            let _ = answer.send(verdict);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.aloft).remove(&self.key);
    }
}
