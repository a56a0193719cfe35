//! A fresh store of each kind.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use hearth::store::{CommitOutcome, InlineStore, Store, StoreOptions, ThreadedStore, Transaction, open_threaded};

use super::cluster;

pub enum Kind {
    Threaded(Arc<ThreadedStore>),
    Inline(Mutex<Arc<InlineStore>>),
}

/// A store and what must live as long as it.
pub struct Bench {
    pub kind: Kind,
    _directory: Option<tempfile::TempDir>,
}

impl Bench {
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/a store?.db", directory.path().display());
        let store = open_threaded(&url, StoreOptions::default()).unwrap();
        Self { kind: Kind::Threaded(Arc::new(store)), _directory: Some(directory) }
    }

    pub fn inline() -> Self {
        Self { kind: Kind::Inline(Mutex::new(Arc::new(InlineStore::in_memory().unwrap()))), _directory: None }
    }

    /// None: this machine is declared to have no PostgreSQL.
    pub fn postgres() -> Option<Self> {
        let url = cluster::fresh_database()?;
        let store = open_threaded(&url, StoreOptions::default()).unwrap();
        Some(Self { kind: Kind::Threaded(Arc::new(store)), _directory: None })
    }

    pub fn store(&self) -> Arc<dyn Store> {
        match &self.kind {
            Kind::Threaded(store) => Arc::clone(store) as Arc<dyn Store>,
            Kind::Inline(store) => Arc::clone(&store.lock().unwrap()) as Arc<dyn Store>,
        }
    }

    /// The process dies and starts anew; only the inline store can, the others have tests of their own for it.
    pub fn crash(&self) {
        if let Kind::Inline(store) = &self.kind {
            let mut store = store.lock().unwrap();
            *store = Arc::new(store.reopen());
        }
    }

    pub async fn commit(&self, transaction: Transaction) -> CommitOutcome {
        self.store().commit(transaction).await
    }

    /// Commits which a threaded store takes as one group.
    pub async fn commit_together(&self, transactions: Vec<Transaction>) -> Vec<CommitOutcome> {
        let store = self.store();
        let count = transactions.len();
        let commits = {
            let held = match &self.kind {
                Kind::Threaded(threaded) => Some((threaded.hold_commits(), threaded)),
                Kind::Inline(_) => None,
            };
            let commits: Vec<_> = transactions.into_iter().map(|transaction| store.commit(transaction)).collect();
            if let Some((_, threaded)) = &held {
                assert_eq!(threaded.commit_queue_depth(), count, "all of them wait: they will be one group");
            }
            commits
        };
        join_all(commits).await
    }
}
