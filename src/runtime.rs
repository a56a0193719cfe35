//! Clock, randomness and spawning as interfaces, so that the same supervisor, actors and operations run on many threads in
//! production and on one thread under virtual time in tests (design §2).
//!
//! Timers are tokio's everywhere: with paused tokio time they are virtual. The wall clock and the source of ids are the
//! two handles below. Nothing in the library asks the operating system for time or randomness in any other way.

use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use uuid::Uuid;

use crate::domain::time::Timestamp;

/// Tells the time.
#[derive(Clone)]
pub enum Clock {
    /// The system's clock.
    System,
    /// Virtual: this instant plus the tokio time that has passed since.
    Virtual {
        /// The instant at `origin`.
        start: Timestamp,
        /// Tokio's instant at the start.
        origin: tokio::time::Instant,
    },
}

impl Clock {
    /// A virtual clock which starts now (in tokio's time) at `start`.
    pub fn virtual_from(start: Timestamp) -> Self {
        Self::Virtual { start, origin: tokio::time::Instant::now() }
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let now = jiff::Timestamp::now();
                Timestamp(now.as_microsecond())
            }
            Self::Virtual { start, origin } => start.plus(origin.elapsed()),
        }
    }
}

/// Gives out ids and jitter: random in production, from a seed in tests.
#[derive(Clone)]
pub struct Randomness(Arc<Mutex<StdRng>>);

impl Randomness {
    /// Seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// Repeatable.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A fresh version 4 id.
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0_u8; 16];
        self.lock().fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// So many fresh version 4 ids.
    pub fn uuids<const N: usize>(&self) -> [Uuid; N] {
        let mut all = [[0_u8; 16]; N];
        self.lock().fill_bytes(all.as_flattened_mut());
        all.map(|bytes| uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// A password or a user name that nobody guesses: 16 letters and digits, 80 random bits.
    pub fn secret(&self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";
        let mut bytes = [0_u8; 16];
        self.lock().fill_bytes(&mut bytes);
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
    }

    /// A number below `bound` (which is not zero).
    pub fn below(&self, bound: u64) -> u64 {
        self.lock().next_u64() % bound
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Where actors run.
#[derive(Clone)]
pub enum Placement {
    /// On these arbiters, chosen by the hash of the id.
    Arbiters(Arc<Vec<actix::ArbiterHandle>>),
    /// On the calling thread, inside its `LocalSet`: virtual time.
    Here,
}

impl Placement {
    /// `count` fresh arbiters of the running actix system.
    pub fn arbiters(count: usize) -> Self {
        Self::Arbiters(Arc::new((0..count.max(1)).map(|_| actix::Arbiter::new().handle()).collect()))
    }

    /// Starts an actor on the place that `shard` selects; the address is usable at once.
    pub fn start<A>(&self, shard: u64, actor: A) -> actix::Addr<A>
    where
        A: actix::Actor<Context = actix::Context<A>> + Send,
    {
        match self {
            Self::Arbiters(arbiters) => {
                let index = usize::try_from(shard % arbiters.len() as u64).unwrap_or(0);
                A::start_in_arbiter(&arbiters[index], move |_| actor)
            }
            Self::Here => actor.start(),
        }
    }
}
