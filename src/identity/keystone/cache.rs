//! Tokens that Keystone has called valid lately, by their fingerprints: the cache holds nothing that anybody could log in with.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;

use super::Fingerprint;
use super::token::Token;
use crate::domain::time::Timestamp;

/// A full cache is made empty by this part of it, so that not every new token has to look for the oldest.
const FREED_PART: usize = 8;

/// What is known.
pub(super) struct Cache {
    entries: DashMap<Fingerprint, Entry>,
    time: Duration,
    max: usize,
}

struct Entry {
    token: Arc<Token>,
    until: Timestamp,
}

impl Cache {
    /// Of at most `max` tokens, each for `time`; zero: of none.
    pub(super) fn new(time: Duration, max: usize) -> Self {
        Self { entries: DashMap::new(), time, max }
    }

    /// Never waits for a question. Whether the token has expired is for the caller to see.
    pub(super) fn get(&self, fingerprint: &Fingerprint, now: Timestamp) -> Option<Arc<Token>> {
        let entry = self.entries.get(fingerprint)?;
        (now < entry.until).then(|| Arc::clone(&entry.token))
    }

    pub(super) fn put(&self, fingerprint: Fingerprint, token: Arc<Token>, now: Timestamp) {
        if self.time.is_zero() {
            return;
        }
        if self.entries.len() >= self.max {
            self.make_room(now);
        }
        self.entries.insert(fingerprint, Entry { token, until: now.plus(self.time) });
    }

    /// Forgets what is over, and if that is not enough, what has been known for longest.
    fn make_room(&self, now: Timestamp) {
        self.entries.retain(|_, entry| now < entry.until);
        let surplus = self.entries.len().saturating_sub(self.max.saturating_sub((self.max / FREED_PART).max(1)));
        if surplus == 0 {
            return;
        }
        let mut ends: Vec<Timestamp> = self.entries.iter().map(|entry| entry.until).collect();
        if ends.len() < surplus {
            return;
        }
        let (_, last, _) = ends.select_nth_unstable(surplus - 1);
        let last = *last;
        self.entries.retain(|_, entry| entry.until > last);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(number: usize) -> Fingerprint {
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&number.to_le_bytes());
        fingerprint
    }

    fn after(seconds: usize) -> Timestamp {
        Timestamp(0).plus(Duration::from_secs(seconds as u64))
    }

    /// Tokens 0, 1, … known since second 0, 1, …
    fn filled(cache: &Cache, count: usize) {
        for number in 0..count {
            cache.put(fingerprint(number), Arc::new(Token::nobody()), after(number));
            assert!(cache.len() <= cache.max, "{} after {number}", cache.len());
        }
    }

    #[test]
    fn a_token_is_known_for_its_time() {
        let cache = Cache::new(Duration::from_secs(300), 10);
        filled(&cache, 1);
        assert!(cache.get(&fingerprint(0), after(299)).is_some());
        assert!(cache.get(&fingerprint(0), after(300)).is_none());
        assert!(cache.get(&fingerprint(1), after(0)).is_none());
        let off = Cache::new(Duration::ZERO, 10);
        filled(&off, 1);
        assert_eq!(off.len(), 0);
    }

    #[test]
    fn a_full_cache_forgets_the_oldest() {
        let cache = Cache::new(Duration::from_secs(3_000), 100);
        filled(&cache, 150);
        let known: Vec<usize> = (0..150).filter(|at| cache.get(&fingerprint(*at), after(150)).is_some()).collect();
        assert_eq!(known, (150 - known.len()..150).collect::<Vec<_>>(), "the youngest");
        assert!(known.len() > 80, "{}", known.len());
    }

    #[test]
    fn what_is_over_goes_first() {
        let cache = Cache::new(Duration::from_secs(60), 100);
        filled(&cache, 100);
        cache.put(fingerprint(100), Arc::new(Token::nobody()), after(150));
        // those of the seconds 0 to 90 are over
        assert_eq!(cache.len(), 10);
    }

    #[test]
    fn there_is_room_for_one() {
        let cache = Cache::new(Duration::from_secs(60), 1);
        filled(&cache, 3);
        assert!(cache.get(&fingerprint(2), after(3)).is_some());
    }
}
