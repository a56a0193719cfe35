//! The production engine: writer and reader threads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::checkpoint::Checkpointer;
use super::connection::AnyConnection;
use super::database::{Database, Engine, Lane};
use super::journal::{self, MOST_PENDING, Overlay, SETTLE_AFTER};
use super::readers::Readers;
use super::writer::{QUEUE_BOUND, Writer};
use super::{CommitOutcome, Reading, StoreError, Transaction};
use crate::telemetry::Sample;

/// How long an observer waits for the owner of the database, which settles several times a second.
const OWNER_DEADLINE: Duration = Duration::from_secs(20);

/// Writer and reader threads over SQLite or PostgreSQL.
pub struct Threads {
    pub(super) overlay: Arc<Overlay>,
    /// Another process writes.
    pub(super) is_observer: bool,
    /// SQLite's; gone once the store is stopped.
    pub(super) checkpointer: Mutex<Option<Checkpointer>>,
    pub(super) writer: Writer,
    pub(super) points: Readers,
    pub(super) lists: Arc<Readers>,
}

/// The store of a running service.
pub type ThreadedStore = Database<Threads>;

impl Engine for Threads {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, CommitOutcome> {
        self.writer.commit(transaction)
    }

    fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    fn settle(&self) -> Reading<()> {
        if self.is_observer {
            return Box::pin(settled_by_its_owner(Arc::clone(&self.lists)));
        }
        if self.overlay.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.writer.settle()
    }

    fn read<T, E, Q>(&self, lane: Lane, query: Q) -> BoxFuture<'static, Result<T, E>>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, E> + Send + 'static,
    {
        match lane {
            Lane::Point => self.points.read(query),
            Lane::List => self.lists.read(query),
        }
    }

    fn write<T, Q>(&self, errand: Q) -> Reading<T>
    where
        T: Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    {
        self.writer.run_errand(errand)
    }
}

/// Waits until the process that owns the database has settled what its journal holds now. It does so by itself.
async fn settled_by_its_owner(lists: Arc<Readers>) -> Result<(), StoreError> {
    let deadline = tokio::time::Instant::now() + OWNER_DEADLINE;
    let newest = lists.read(journal::bounds).await?.map(|(_, newest)| newest);
    let Some(newest) = newest else { return Ok(()) };
    loop {
        match lists.read(journal::bounds).await? {
            Some((oldest, _)) if oldest <= newest => {}
            _ => return Ok(()),
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(StoreError::Unavailable("its owner does not settle its journal".to_owned()));
        }
        tokio::time::sleep(SETTLE_AFTER / 8).await;
    }
}

impl ThreadedStore {
    /// How many transactions wait for a writer.
    pub fn commit_queue_depth(&self) -> usize {
        self.engine.writer.depth()
    }

    /// How many volumes have committed changes that only the journal holds. Always 0 on PostgreSQL.
    pub fn journal_depth(&self) -> usize {
        self.engine.overlay.len()
    }

    /// What is to be seen of the store at this instant.
    pub fn samples(&self) -> Vec<Sample> {
        let depth = u64::try_from(self.commit_queue_depth()).unwrap_or(u64::MAX);
        let pending = u64::try_from(self.journal_depth()).unwrap_or(u64::MAX);
        let queue = Sample::bound("store.commit_queue", "", depth, QUEUE_BOUND as u64);
        let journal = Sample::bound("store.journal", "", pending, MOST_PENDING as u64);
        queue.into_iter().chain(journal).collect()
    }

    /// Lets commits wait in the queue until the guard is dropped: for a copy of the database file, and to make one group of
    /// many commits in tests.
    pub fn hold_commits(&self) -> HeldCommits<'_> {
        self.engine.writer.hold(true);
        HeldCommits { store: self }
    }

    /// Refuses newcomers, finishes everything that is queued and ends the threads. Dropping the store does the same.
    pub fn stop(&self) {
        drop(self.engine.checkpointer.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.engine.writer.stop();
        self.engine.points.stop();
        self.engine.lists.stop();
    }
}

/// Commits are held while this lives.
pub struct HeldCommits<'a> {
    store: &'a ThreadedStore,
}

impl Drop for HeldCommits<'_> {
    fn drop(&mut self) {
        self.store.engine.writer.hold(false);
    }
}
