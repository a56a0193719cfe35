//! The store under virtual time: SQLite on the calling thread, with the crash semantics of a real one.
//!
//! No thread of its own, because paused tokio time jumps while another thread works. A commit takes a configured virtual
//! latency and is then asked of a fault hook. A crash ends the *incarnation*: nothing that was submitted through it is
//! written or answered any more, exactly as after `kill -9`. [`InlineStore::reopen`] is the restart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::SimpleConnection;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::apply::Judgement;
use super::connection::{AnyConnection, Role, Synchronous, Target};
use super::database::{Database, Engine, Lane};
use super::journal::{Allowance, Journal, Overlay, replay};
use super::open::{OpenError, run_migrations};
use super::queries::unavailable;
use super::writer::{roll_back, write_to_sqlite};
use super::{CommitOutcome, Reading, StoreError, Transaction};

/// Volumes whose changes a commit leaves in the journal: few, so that a small world settles often.
const LEFT_IN_THE_JOURNAL: usize = 3;

/// What befalls a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InlineFault {
    /// Nothing.
    None,
    /// The process dies before the commit: nothing is written, and nobody is answered from now on.
    CrashBefore,
    /// The process dies after the commit and before its answer.
    CrashAfter,
}

/// Decides what befalls each commit.
pub type FaultHook = Box<dyn FnMut(&Transaction) -> InlineFault + Send>;

/// One incarnation of an inline database.
pub struct Inline {
    shared: Arc<Shared>,
    /// Which incarnation this handle belongs to.
    incarnation: u64,
}

/// The store under virtual time.
pub type InlineStore = Database<Inline>;

struct Shared {
    records: Mutex<Records>,
    overlay: Arc<Overlay>,
    state: Mutex<State>,
}

struct Records {
    connection: AnyConnection,
    journal: Journal,
}

struct State {
    /// The incarnation that lives; handles of others are dead.
    living: u64,
    latency: Duration,
    hook: Option<FaultHook>,
    /// Submitted and not carried out yet. Every submission has one task which sleeps and then carries out the *oldest*.
    queue: VecDeque<(Transaction, oneshot::Sender<CommitOutcome>)>,
}

impl InlineStore {
    /// A database in memory.
    pub fn in_memory() -> Result<Self, OpenError> {
        Self::over(&Target::SqliteMemory)
    }

    /// A database in a file.
    pub fn in_file(path: &str) -> Result<Self, OpenError> {
        Self::over(&Target::SqliteFile { path: path.to_owned(), vfs: None, synchronous: Synchronous::Full })
    }

    fn over(target: &Target) -> Result<Self, OpenError> {
        let mut connection = target.connect(Role::Writer).map_err(OpenError::from)?;
        run_migrations(&mut connection)?;
        let overlay = Arc::new(Overlay::default());
        let journal = replay(&mut connection, Arc::clone(&overlay)).map_err(OpenError::Journal)?;
        Ok(Self::new(Inline {
            shared: Arc::new(Shared {
                records: Mutex::new(Records { connection, journal }),
                overlay,
                state: Mutex::new(State { living: 0, latency: Duration::ZERO, hook: None, queue: VecDeque::new() }),
            }),
            incarnation: 0,
        }))
    }

    /// Every commit takes this long in virtual time.
    pub fn set_latency(&self, latency: Duration) {
        self.engine.state().latency = latency;
    }

    /// Decides what befalls each commit from now on; the hook outlives crashes.
    pub fn set_fault_hook(&self, hook: Option<FaultHook>) {
        self.engine.state().hook = hook;
    }

    /// The process dies now: what was submitted and is not written is lost, and nothing is answered.
    pub fn crash(&self) {
        self.engine.state().die(self.engine.incarnation);
    }

    /// Whether this incarnation has died.
    pub fn has_crashed(&self) -> bool {
        self.engine.state().living != self.engine.incarnation
    }

    /// The restart: a fresh handle on the same records. Handles from before are dead from here on.
    pub fn reopen(&self) -> Self {
        let mut state = self.engine.state();
        let living = state.living;
        state.die(living);
        let incarnation = state.living;
        drop(state);
        let mut records = self.engine.shared.records();
        let overlay = Arc::clone(&self.engine.shared.overlay);
        records.journal = replay(&mut records.connection, overlay).expect("a journal in memory is always read");
        drop(records);
        Self::new(Inline { shared: Arc::clone(&self.engine.shared), incarnation })
    }
}

impl State {
    fn die(&mut self, incarnation: u64) {
        if self.living == incarnation {
            self.living += 1;
            // the answers are dropped with it, which their futures never show
            self.queue.clear();
        }
    }
}

impl Inline {
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out the oldest submission of `incarnation`.
    fn carry_out_oldest(&self, incarnation: u64) {
        let mut state = self.state();
        if state.living != incarnation {
            return;
        }
        let Some((transaction, answer)) = state.queue.pop_front() else { return };
        let fault = state.hook.as_mut().map_or(InlineFault::None, |hook| hook(&transaction));
        if fault == InlineFault::CrashBefore {
            return state.die(incarnation);
        }
        drop(state);
        let outcome = self.write(transaction);
        if fault == InlineFault::CrashAfter {
            return self.state().die(incarnation);
        }
        // nobody may be waiting any more
        let _ = answer.send(outcome);
    }

    fn write(&self, transaction: Transaction) -> CommitOutcome {
        if transaction.is_empty() {
            return CommitOutcome::Committed;
        }
        match self.records().write(Some(transaction), Allowance { keep: LEFT_IN_THE_JOURNAL, ..Allowance::NOTHING }) {
            Ok(judgements) => match judgements.into_iter().next() {
                Some(Err(aborted)) => CommitOutcome::Aborted(aborted),
                _ => CommitOutcome::Committed,
            },
            Err(error) => CommitOutcome::Unknown(error.to_string()),
        }
    }
}

impl Records {
    fn write(&mut self, mut member: Option<Transaction>, allowance: Allowance) -> QueryResult<Vec<Judgement>> {
        let members: Vec<&Transaction> = member.iter().collect();
        let written = write_to_sqlite(&mut self.connection, &self.journal, &members, allowance)
            .and_then(|written| self.connection.batch_execute("COMMIT").map(|()| written));
        match written {
            Ok(written) => {
                if let Some(staged) = written.staged {
                    self.journal.committed(staged, |_| member.take().unwrap_or_default());
                }
                Ok(written.judgements)
            }
            Err(error) => {
                roll_back(&mut self.connection);
                Err(error)
            }
        }
    }
}

impl Engine for Inline {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, CommitOutcome> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        if state.living == self.incarnation {
            state.queue.push_back((transaction, answer));
            let (shared, incarnation, latency) = (Arc::clone(&self.shared), self.incarnation, state.latency);
            // the commit goes on when its caller is dropped, as in the threaded store
            tokio::spawn(async move {
                if !latency.is_zero() {
                    tokio::time::sleep(latency).await;
                }
                shared.carry_out_oldest(incarnation);
            });
        }
        drop(state);
        Box::pin(async move {
            match answered.await {
                Ok(outcome) => outcome,
                // dead processes do not answer
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn overlay(&self) -> &Overlay {
        &self.shared.overlay
    }

    fn settle(&self) -> Reading<()> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.records().write(None, Allowance::ALL).map(drop).map_err(unavailable) })
    }

    fn read<T, E, Q>(&self, _: Lane, query: Q) -> BoxFuture<'static, Result<T, E>>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, E> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { query(&mut shared.records().connection) })
    }

    fn write<T, Q>(&self, errand: Q) -> Reading<T>
    where
        T: Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    {
        let (shared, incarnation) = (Arc::clone(&self.shared), self.incarnation);
        Box::pin(async move {
            if shared.state().living != incarnation {
                return std::future::pending().await;
            }
            errand(&mut shared.records().connection)
        })
    }
}
