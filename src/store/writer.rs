//! The group-commit writer: every transaction that waits goes into one database transaction, with one fsync for all.
//!
//! SQLite has one writer thread with one connection; PostgreSQL has several, each with groups of its own. Nothing is
//! answered before the COMMIT that holds it has returned. On SQLite most members of a group go to the [journal](super::journal).

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::result::Error as DieselError;
use diesel::{QueryResult, RunQueryDsl};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::apply::{Judgement, apply_group};
use super::checkpoint::{OnWriter, Progress};
use super::connection::{AnyConnection, Role, Target, is_connection_lost};
use super::failure::{Failure, FailureKind};
use super::journal::{Allowance, Journal, Staged};
use super::postgres;
use super::queue::Queue;
use super::sql::{Dialect, Number, Sql};
use super::{Aborted, CommitOutcome, StoreError, Transaction};
use crate::faults::{self, CrashPoint};
use crate::telemetry::CommitMetrics;

/// Transactions that may wait for a writer. Beyond it callers wait for room, and admission in front of the actors refuses.
pub(super) const QUEUE_BOUND: usize = 16_384;
/// How long a writer tries to reach its database, or to learn how an interrupted COMMIT ended, before it gives up.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(30);
/// First wait between two such tries; doubles up to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_millis(20);
/// Longest wait between two such tries.
const RETRY_MOST: Duration = Duration::from_secs(1);
/// How often a transaction is tried that met a deadlock, a lost connection or a lock of another process.
const MOST_TRIES: u32 = 8;

/// A group costs the same few trips to the server and one flush whatever its size: while others are being written, the next
/// waits for so many transactions for each of them. (Measured with 8 connections: without it groups are a third as big and
/// 3 of 10 requests are lost; twice as many only leave connections idle.)
const WORTH_OF_GROUP: usize = 8;

/// Told once when nobody can know what is on disk: the process should end non-zero and read the truth at its next start.
pub type OnUnknown = Arc<dyn Fn(&str) + Send + Sync>;

/// A write that is no [`Transaction`]: removing messages and history.
type Errand = Box<dyn FnOnce(Result<&mut AnyConnection, StoreError>) + Send>;

enum Submission {
    Transaction(Box<Transaction>, oneshot::Sender<CommitOutcome>),
    Errand(Errand),
    /// The tables must show everything that is committed.
    Settle(oneshot::Sender<Result<(), StoreError>>),
}

/// What one writer works with.
pub(super) struct Desk {
    /// None: lost, to be made anew.
    connection: Option<AnyConnection>,
    /// SQLite's.
    journal: Option<Journal>,
}

impl Desk {
    pub(super) fn new(connection: AnyConnection, journal: Option<Journal>) -> Self {
        Self { connection: Some(connection), journal }
    }

    fn must_settle(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| !journal.is_settled())
    }
}

/// How a writer works.
pub(super) struct WriterOptions {
    /// Most transactions in one group.
    pub(super) group_size: usize,
    /// Told once when the truth is unknown.
    pub(super) on_unknown: Option<OnUnknown>,
    /// Counts groups and outcomes.
    pub(super) metrics: CommitMetrics,
    /// Told of every commit.
    pub(super) progress: Arc<Progress>,
}

/// The handle.
pub(super) struct Writer {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    target: Target,
    options: WriterOptions,
    queue: Arc<Queue<Submission>>,
    /// Set when the truth is unknown: from then on nothing is written or answered as committed.
    broken: AtomicBool,
    /// Held while a writer waits for its next group, so that groups are numbered in the order of the queue.
    turn: Mutex<u64>,
    barriers: Mutex<Barriers>,
}

#[derive(Default)]
struct Barriers {
    running: BTreeSet<u64>,
    waiting: Vec<(u64, oneshot::Sender<CommitOutcome>)>,
}

impl Writer {
    /// Starts one thread for each of `desks`.
    pub(super) fn start(target: Target, desks: Vec<Desk>, options: WriterOptions) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            target,
            options,
            queue: Queue::new(QUEUE_BOUND),
            broken: AtomicBool::new(false),
            turn: Mutex::new(0),
            barriers: Mutex::new(Barriers::default()),
        });
        let mut threads = Vec::new();
        for (index, desk) in desks.into_iter().enumerate() {
            let own = Arc::clone(&shared);
            threads
                .push(std::thread::Builder::new().name(format!("store-writer-{index}")).spawn(move || own.run(desk))?);
        }
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Queues a transaction; the order of calls is the order of the queue.
    pub(super) fn commit(&self, transaction: Transaction) -> BoxFuture<'static, CommitOutcome> {
        let (answer, answered) = oneshot::channel();
        let queued = self.shared.queue.push(Submission::Transaction(Box::new(transaction), answer));
        Box::pin(async move {
            if queued.await.is_err() {
                return CommitOutcome::Unknown("the store is closed".to_owned());
            }
            answered.await.unwrap_or_else(|_| CommitOutcome::Unknown("the writer has ended".to_owned()))
        })
    }

    /// Queues a write that is no transaction.
    pub(super) fn run_errand<T: Send + 'static>(
        &self,
        errand: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        run_errand(&self.shared.queue, errand)
    }

    /// The same for those who do not hold the writer.
    pub(super) fn errands(&self) -> OnWriter {
        let queue = Arc::clone(&self.shared.queue);
        Box::new(move |errand| run_errand(&queue, errand))
    }

    /// Has everything settled that is committed by now.
    pub(super) fn settle(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        let (answer, answered) = oneshot::channel();
        let queued = self.shared.queue.push(Submission::Settle(answer));
        Box::pin(async move {
            let ended = || StoreError::Unavailable("the writer has ended".to_owned());
            queued.await.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        })
    }

    /// How many submissions wait.
    pub(super) fn depth(&self) -> usize {
        self.shared.queue.depth()
    }

    /// Holds or releases the writers.
    pub(super) fn hold(&self, on: bool) {
        self.shared.queue.hold(on);
    }

    /// Refuses newcomers, finishes what is queued and ends the threads.
    pub(super) fn stop(&self) {
        self.shared.queue.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // a panic has been reported by the thread itself
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self, mut desk: Desk) {
        loop {
            let taken = {
                let mut turn = lock(&self.turn);
                // once the truth is unknown nothing is settled any more, and nothing is due
                let journal = desk.journal.as_ref().filter(|_| !self.broken.load(Ordering::Acquire));
                let until = journal.and_then(Journal::next_due);
                self.queue.take_group(self.options.group_size.max(1), WORTH_OF_GROUP, until).map(|group| {
                    *turn += 1;
                    lock(&self.barriers).running.insert(*turn);
                    (*turn, group)
                })
            };
            let Some((number, group)) = taken else { break };
            // the answers of a group that panics are lost with it: nobody is told that they are committed
            if catch_unwind(AssertUnwindSafe(|| self.process(&mut desk, number, group))).is_err() {
                self.declare_unknown("the store's writer panicked");
            }
            self.queue.end_group();
            self.end_group(number);
        }
        // what cannot be settled now is settled at the next start
        if !self.broken.load(Ordering::Acquire) && desk.must_settle() {
            let _ = self.settle_alone(&mut desk, Allowance::ALL);
        }
    }

    fn process(&self, desk: &mut Desk, number: u64, group: Vec<Submission>) {
        let mut members = Vec::with_capacity(group.len());
        let mut answers = Vec::with_capacity(group.len());
        let mut errands = Vec::new();
        let mut settlers = Vec::new();
        for submission in group {
            match submission {
                Submission::Transaction(transaction, answer) if transaction.is_empty() => {
                    lock(&self.barriers).waiting.push((number, answer));
                }
                Submission::Transaction(transaction, answer) => {
                    members.push(transaction);
                    answers.push(answer);
                }
                Submission::Errand(errand) => errands.push(errand),
                Submission::Settle(answer) => settlers.push(answer),
            }
        }
        let allowance = if settlers.is_empty() { Allowance::due(Instant::now()) } else { Allowance::ALL };
        if !members.is_empty() {
            let outcomes = self.commit_group(desk, &mut members, allowance);
            self.count(&outcomes);
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // nobody may be waiting any more
                let _ = answer.send(outcome);
            }
        } else if desk.must_settle() {
            // a failure shows in what is left
            let _ = self.settle_alone(desk, allowance);
        }
        if !settlers.is_empty() {
            let settled = if desk.must_settle() { self.settle_alone(desk, Allowance::ALL) } else { Ok(()) };
            for answer in settlers {
                let _ = answer.send(settled.clone());
            }
        }
        for errand in errands {
            match self.connection(&mut desk.connection) {
                Ok(open) => errand(Ok(open)),
                Err(reason) => errand(Err(StoreError::Unavailable(reason))),
            }
        }
    }

    fn count(&self, outcomes: &[CommitOutcome]) {
        self.options.metrics.group(outcomes.len());
        for outcome in outcomes {
            self.options.metrics.ended(match outcome {
                CommitOutcome::Committed => "committed",
                CommitOutcome::Aborted(Aborted::Stale) => "stale",
                CommitOutcome::Aborted(Aborted::OverQuota(_)) => "over_quota",
                CommitOutcome::Aborted(Aborted::Duplicate) => "duplicate",
                CommitOutcome::Aborted(Aborted::ServerChanged) => "server_changed",
                CommitOutcome::Aborted(Aborted::TypeChanged) => "type_changed",
                CommitOutcome::Aborted(Aborted::KeyUsed) => "key_used",
                CommitOutcome::Unknown(_) => "unknown",
            });
        }
    }

    fn commit_group(
        &self,
        desk: &mut Desk,
        members: &mut [Box<Transaction>],
        allowance: Allowance,
    ) -> Vec<CommitOutcome> {
        let mut last = String::new();
        for _ in 0..MOST_TRIES {
            match self.attempt(desk, members, allowance) {
                Attempt::Ended(judgements) => return judgements.into_iter().map(outcome_of).collect(),
                Attempt::Unknown(reason) => return vec![CommitOutcome::Unknown(reason); members.len()],
                // no member is to blame
                Attempt::NotWritten(failure) if failure.kind == FailureKind::Unreachable => last = failure.reason,
                // certainly nothing is written: each for itself, so that only the cause of the failure suffers
                Attempt::NotWritten(_) => {
                    let outcomes = members.iter_mut().map(|member| self.commit_alone(desk, member)).collect();
                    if desk.must_settle() {
                        // what waits may be the cause: it says so alone
                        let _ = self.settle_alone(desk, allowance);
                    }
                    return outcomes;
                }
            }
        }
        vec![CommitOutcome::Unknown(last); members.len()]
    }

    fn commit_alone(&self, desk: &mut Desk, member: &mut Box<Transaction>) -> CommitOutcome {
        let mut last = String::new();
        for _ in 0..MOST_TRIES {
            match self.attempt(desk, std::slice::from_mut(member), Allowance::NOTHING) {
                Attempt::Ended(judgements) => {
                    return judgements.into_iter().map(outcome_of).next().unwrap_or(CommitOutcome::Committed);
                }
                Attempt::Unknown(reason) => return CommitOutcome::Unknown(reason),
                Attempt::NotWritten(failure) if failure.is_passing() => last = failure.reason,
                Attempt::NotWritten(failure) => return CommitOutcome::Unknown(failure.reason),
            }
        }
        CommitOutcome::Unknown(last)
    }

    /// Settles without a group. A settlement that the tables refuse ends the service: they do not show what was committed,
    /// and the next start reads them anew.
    fn settle_alone(&self, desk: &mut Desk, allowance: Allowance) -> Result<(), StoreError> {
        let mut last = String::new();
        for _ in 0..MOST_TRIES {
            match self.attempt(desk, &mut [], allowance) {
                Attempt::Ended(_) => return Ok(()),
                Attempt::NotWritten(failure) if failure.is_passing() => last = failure.reason,
                Attempt::NotWritten(failure) => {
                    self.declare_unknown(&failure.reason);
                    return Err(StoreError::Unavailable(failure.reason));
                }
                Attempt::Unknown(reason) => return Err(StoreError::Unavailable(reason)),
            }
        }
        Err(StoreError::Unavailable(last))
    }

    /// One database transaction.
    fn attempt(&self, desk: &mut Desk, members: &mut [Box<Transaction>], allowance: Allowance) -> Attempt {
        let connection = match self.connection(&mut desk.connection) {
            Ok(connection) => connection,
            Err(reason) => return Attempt::Unknown(reason),
        };
        let borrowed: Vec<&Transaction> = members.iter().map(|member| &**member).collect();
        let written = match &desk.journal {
            Some(journal) => write_to_sqlite(connection, journal, &borrowed, allowance),
            None => write_group(connection, &borrowed),
        };
        let Written { judgements, number, staged } = match written {
            Ok(written) => written,
            Err(error) => {
                let failure = Failure::of(&error);
                // a transaction that cannot be rolled back ends with its connection
                if is_connection_lost(&error) || !roll_back(connection) {
                    desk.connection = None;
                }
                return Attempt::NotWritten(failure);
            }
        };
        let (before, after) = if members.is_empty() {
            (CrashPoint::SettleBefore, CrashPoint::SettleAfter)
        } else {
            (CrashPoint::CommitBefore, CrashPoint::CommitAfter)
        };
        faults::pass(before);
        let Err(error) = connection.batch_execute("COMMIT") else {
            faults::pass(after);
            self.options.progress.committed();
            if let (Some(journal), Some(staged)) = (&mut desk.journal, staged) {
                journal.committed(staged, |place| std::mem::take(&mut *members[place]));
            }
            return Attempt::Ended(judgements);
        };
        match (number, Failure::of(&error)) {
            (Some(_), failure) if failure.is_passing() && !is_connection_lost(&error) => Attempt::NotWritten(failure),
            (Some(number), failure) => {
                desk.connection = None;
                self.learn_outcome(&mut desk.connection, number, judgements, failure)
            }
            (None, failure) => {
                self.declare_unknown(&failure.reason);
                Attempt::Unknown(failure.reason)
            }
        }
    }

    /// PostgreSQL: learns from the server how the transaction `number` ended whose COMMIT was not answered.
    fn learn_outcome(
        &self,
        slot: &mut Option<AnyConnection>,
        number: i64,
        judgements: Vec<Judgement>,
        failure: Failure,
    ) -> Attempt {
        let deadline = Instant::now() + RECOVERY_DEADLINE;
        let mut wait = RETRY_FIRST;
        loop {
            let status = self.connection(slot).map(|connection| transaction_status(connection, number));
            match status {
                Ok(Ok(Some(TransactionStatus::Committed))) => return Attempt::Ended(judgements),
                Ok(Ok(Some(TransactionStatus::Aborted))) => return Attempt::NotWritten(failure),
                // the server has not noticed yet that its client has gone
                Ok(Ok(Some(TransactionStatus::Running))) => {}
                Ok(Err(error)) if is_connection_lost(&error) => *slot = None,
                Ok(Ok(None) | Err(_)) | Err(_) => {
                    self.declare_unknown(&failure.reason);
                    return Attempt::Unknown(failure.reason);
                }
            }
            if Instant::now() >= deadline {
                self.declare_unknown(&failure.reason);
                return Attempt::Unknown(failure.reason);
            }
            pause(wait);
            wait = (wait * 2).min(RETRY_MOST);
        }
    }

    /// The connection, made anew if it was lost.
    fn connection<'a>(&self, slot: &'a mut Option<AnyConnection>) -> Result<&'a mut AnyConnection, String> {
        if self.broken.load(Ordering::Acquire) {
            return Err("the store has stopped writing after an unknown commit".to_owned());
        }
        let deadline = Instant::now() + RECOVERY_DEADLINE;
        let mut wait = RETRY_FIRST;
        while slot.is_none() {
            match self.target.connect(Role::Writer) {
                Ok(connection) => *slot = Some(connection),
                Err(error) if Instant::now() >= deadline => return Err(error.to_string()),
                Err(_) => {
                    pause(wait);
                    wait = (wait * 2).min(RETRY_MOST);
                }
            }
        }
        slot.as_mut().ok_or_else(|| "no connection".to_owned())
    }

    fn declare_unknown(&self, reason: &str) {
        if !self.broken.swap(true, Ordering::AcqRel)
            && let Some(tell) = &self.options.on_unknown
        {
            tell(reason);
        }
    }

    fn end_group(&self, number: u64) {
        let mut barriers = lock(&self.barriers);
        barriers.running.remove(&number);
        let oldest = barriers.running.first().copied().unwrap_or(u64::MAX);
        let (ended, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut barriers.waiting).into_iter().partition(|(barrier, _)| *barrier < oldest);
        barriers.waiting = waiting;
        drop(barriers);
        for (_, answer) in ended {
            // nobody may be waiting any more
            let _ = answer.send(CommitOutcome::Committed);
        }
    }
}

fn run_errand<T: Send + 'static>(
    queue: &Arc<Queue<Submission>>,
    errand: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static,
) -> BoxFuture<'static, Result<T, StoreError>> {
    let (answer, answered) = oneshot::channel();
    let queued = queue.push(Submission::Errand(Box::new(move |connection| {
        // nobody may be waiting any more
        let _ = answer.send(connection.and_then(errand));
    })));
    Box::pin(async move {
        let ended = || StoreError::Unavailable("the writer has ended".to_owned());
        queued.await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    })
}

/// How one try at a group ended.
enum Attempt {
    /// Committed; these are the members' own outcomes.
    Ended(Vec<Judgement>),
    /// Certainly nothing is written.
    NotWritten(Failure),
    /// Nobody knows.
    Unknown(String),
}

fn outcome_of(judgement: Judgement) -> CommitOutcome {
    match judgement {
        Ok(()) => CommitOutcome::Committed,
        Err(aborted) => CommitOutcome::Aborted(aborted),
    }
}

/// What was written and is not committed.
pub(super) struct Written {
    pub(super) judgements: Vec<Judgement>,
    /// PostgreSQL: the transaction's number, by which its end can be asked for.
    number: Option<i64>,
    /// SQLite: what takes effect in the journal.
    pub(super) staged: Option<Staged>,
}

/// Begins and writes, without COMMIT.
pub(super) fn write_to_sqlite(
    connection: &mut AnyConnection,
    journal: &Journal,
    members: &[&Transaction],
    allowance: Allowance,
) -> QueryResult<Written> {
    connection.batch_execute("BEGIN IMMEDIATE")?;
    let (judgements, staged) = journal.write_group(connection, members, allowance)?;
    Ok(Written { judgements, number: None, staged: Some(staged) })
}

/// Begins and writes on PostgreSQL, without COMMIT.
fn write_group(connection: &mut AnyConnection, members: &[&Transaction]) -> QueryResult<Written> {
    let AnyConnection::Postgres(inner) = connection else {
        return Err(DieselError::QueryBuilderError("SQLite is written through its journal".into()));
    };
    // Keys are judged by their statement: they go one by one, and whoever is in a group with them.
    let in_sets = members.len() > 1 && members.iter().all(|member| member.key.is_none());
    let (judgements, number) = if in_sets {
        postgres::write_group(inner, members)?
    } else {
        // one by one: also whoever was in a group that could not be written in sets
        inner.batch_execute("BEGIN")?;
        let row: Number = diesel::sql_query("SELECT txid_current() AS number").get_result(inner)?;
        (apply_group(connection, members)?, row.number)
    };
    Ok(Written { judgements, number: Some(number), staged: None })
}

/// Rolls back; whether the connection can be used further.
pub(super) fn roll_back(connection: &mut AnyConnection) -> bool {
    match connection.batch_execute("ROLLBACK") {
        Ok(()) => true,
        // SQLite has rolled back by itself after some errors
        Err(error) => error.to_string().contains("no transaction is active"),
    }
}

enum TransactionStatus {
    Committed,
    Aborted,
    Running,
}

fn transaction_status(connection: &mut AnyConnection, number: i64) -> QueryResult<Option<TransactionStatus>> {
    let mut sql = Sql::new(Dialect::Postgres, "SELECT CASE txid_status(");
    sql.bind(number.into());
    sql.push(") WHEN 'committed' THEN 1 WHEN 'aborted' THEN 2 WHEN 'in progress' THEN 3 ELSE 0 END::BIGINT AS number");
    let rows: Vec<Number> = sql.load(connection)?;
    Ok(match rows.first().map(|row| row.number) {
        Some(1) => Some(TransactionStatus::Committed),
        Some(2) => Some(TransactionStatus::Aborted),
        Some(3) => Some(TransactionStatus::Running),
        _ => None,
    })
}

/// Locks; whoever panicked with it has left nothing half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer's own thread waits; nothing else runs on it.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, between two tries to reach the database")]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}
