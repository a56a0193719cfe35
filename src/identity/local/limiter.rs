//! How often somebody may be wrong: failed log-ins are counted by where they come from and whom they want to be.
//!
//! A log-in costs a password hash, so whoever is over the limit is refused before it. Counting by address and name together
//! lets nobody lock a user out from elsewhere; counting by address alone bounds those who try many names.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::time::Timestamp;

/// Failures in a row that one address may have with one user, and how long until one is forgotten.
const OF_USER: Budget = Budget { failures: 10, forgotten_after: Duration::from_secs(6) };
/// The same with all users together.
const OF_ADDRESS: Budget = Budget { failures: 100, forgotten_after: Duration::from_millis(600) };

/// So many counters are kept; beyond it those that count nothing any more are dropped, and then all.
const COUNTERS_MAX: usize = 10_000;

#[derive(Clone, Copy)]
struct Budget {
    failures: u32,
    forgotten_after: Duration,
}

/// What is counted: an address, or an address with a user's name.
#[derive(PartialEq, Eq, Hash)]
struct Key(IpAddr, Option<String>);

/// When all failures would be forgotten: each adds its time to it.
#[derive(Debug, Default)]
pub struct Limiter(Mutex<HashMap<Key, Timestamp>>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Limiter {
    /// How long this one has to wait before it may try again; none: it may now.
    pub fn wait(&self, address: IpAddr, user: &str, now: Timestamp) -> Option<Duration> {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |key: Key, budget: Budget| {
            let debt = counters.get(&key).map_or(Duration::ZERO, |until| until.since(now));
            debt.checked_sub(budget.forgotten_after * (budget.failures - 1)).filter(|wait| !wait.is_zero())
        };
        wait(Key(address, Some(user.to_owned())), OF_USER).max(wait(Key(address, None), OF_ADDRESS))
    }

    /// Counts a failure.
    pub fn failed(&self, address: IpAddr, user: &str, now: Timestamp) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.len() >= COUNTERS_MAX {
            counters.retain(|_, until| *until > now);
            if counters.len() >= COUNTERS_MAX {
                counters.clear();
            }
        }
        for (key, budget) in [(Key(address, Some(user.to_owned())), OF_USER), (Key(address, None), OF_ADDRESS)] {
            let until = counters.entry(key).or_insert(now);
            *until = (*until).max(now).plus(budget.forgotten_after);
        }
    }

    /// Forgets the failures of who has shown who they are.
    pub fn succeeded(&self, address: IpAddr, user: &str) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.remove(&Key(address, Some(user.to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn at(seconds: u64) -> Timestamp {
        Timestamp(0).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn who_is_wrong_too_often_has_to_wait_and_nobody_else() {
        let limiter = Limiter::default();
        for _ in 0..OF_USER.failures {
            assert_eq!(limiter.wait(HERE, "eve", at(0)), None);
            limiter.failed(HERE, "eve", at(0));
        }
        assert_eq!(limiter.wait(HERE, "eve", at(0)), Some(Duration::from_secs(6)));
        assert_eq!(limiter.wait(HERE, "bob", at(0)), None);
        assert_eq!(limiter.wait(THERE, "eve", at(0)), None);
        assert_eq!(limiter.wait(HERE, "eve", at(6)), None);
        limiter.failed(HERE, "eve", at(6));
        assert_eq!(limiter.wait(HERE, "eve", at(6)), Some(Duration::from_secs(6)));
        limiter.succeeded(HERE, "eve");
        assert_eq!(limiter.wait(HERE, "eve", at(6)), None);
    }

    #[test]
    fn many_names_from_one_address_are_counted_together() {
        let limiter = Limiter::default();
        for name in 0..OF_ADDRESS.failures {
            limiter.failed(HERE, &name.to_string(), at(0));
        }
        assert!(limiter.wait(HERE, "another", at(0)).is_some());
        assert_eq!(limiter.wait(THERE, "another", at(0)), None);
    }

    #[test]
    fn the_counters_are_bounded() {
        let limiter = Limiter::default();
        for name in 0..COUNTERS_MAX * 2 {
            limiter.failed(HERE, &name.to_string(), at(0));
        }
        assert!(limiter.0.lock().expect("whole").len() <= COUNTERS_MAX + 1);
    }
}
