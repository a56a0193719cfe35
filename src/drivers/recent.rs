//! A map that forgets its oldest entries.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps the latest `bound` entries.
pub struct Recent<K, V> {
    bound: usize,
    entries: Mutex<(HashMap<K, V>, VecDeque<K>)>,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    /// Empty.
    pub fn new(bound: usize) -> Self {
        Self { bound, entries: Mutex::default() }
    }

    /// Remembers `key`; an entry that is there keeps its age.
    pub fn insert(&self, key: K, value: V) {
        let mut entries = self.lock();
        let (map, ages) = &mut *entries;
        if map.insert(key.clone(), value).is_none() {
            ages.push_back(key);
        }
        if ages.len() > self.bound
            && let Some(oldest) = ages.pop_front()
        {
            map.remove(&oldest);
        }
    }

    /// Forgets `key`.
    pub(super) fn forget(&self, key: &K) {
        let mut entries = self.lock();
        if entries.0.remove(key).is_some() {
            entries.1.retain(|known| known != key);
        }
    }

    /// What is remembered of `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        self.lock().0.get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, (HashMap<K, V>, VecDeque<K>)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_beyond_the_bound() {
        let recent = Recent::new(2);
        for key in [1, 2, 1, 3] {
            recent.insert(key, key * 10);
        }
        assert_eq!((recent.get(&1), recent.get(&2), recent.get(&3)), (None, Some(20), Some(30)));
    }
}
