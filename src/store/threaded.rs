//! The production engine: writer and reader threads.

use futures_util::future::BoxFuture;

use super::connection::AnyConnection;
use super::database::{Database, Engine, Lane};
use super::readers::Readers;
use super::writer::{QUEUE_BOUND, Writer};
use super::{CommitOutcome, Reading, StoreError, Transaction};
use crate::telemetry::Sample;

/// Writer and reader threads over SQLite or PostgreSQL.
pub struct Threads {
    pub(super) writer: Writer,
    pub(super) points: Readers,
    pub(super) lists: Readers,
}

/// The store of a running service.
pub type ThreadedStore = Database<Threads>;

impl Engine for Threads {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, CommitOutcome> {
        self.writer.commit(transaction)
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

impl ThreadedStore {
    /// How many transactions wait for a writer.
    pub fn commit_queue_depth(&self) -> usize {
        self.engine.writer.depth()
    }

    /// What is to be seen of the store at this instant.
    pub fn samples(&self) -> Vec<Sample> {
        let depth = u64::try_from(self.commit_queue_depth()).unwrap_or(u64::MAX);
        Sample::bound("store.commit_queue", "", depth, QUEUE_BOUND as u64).to_vec()
    }

    /// Lets commits wait in the queue until the guard is dropped: for a copy of the database file, and to make one group of
    /// many commits in tests.
    pub fn hold_commits(&self) -> HeldCommits<'_> {
        self.engine.writer.hold(true);
        HeldCommits { store: self }
    }

    /// Refuses newcomers, finishes everything that is queued and ends the threads. Dropping the store does the same.
    pub fn stop(&self) {
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
