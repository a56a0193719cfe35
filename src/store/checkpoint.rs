//! SQLite: moves the write-ahead log into the database file, on a thread and a connection of its own.
//!
//! Left to SQLite, whoever commits the 1,000th page does it within its COMMIT, and everybody in the queue waits for two more
//! fsyncs and thousands of writes. Here the bulk is moved beside the writer; the writer itself only moves the last pages
//! between two groups, after which its next commit begins the log anew.
//!
//! A log cannot begin anew while somebody reads from it. Reads by key are over in microseconds, scans are not, and with
//! scans that overlap there would be no end of it: when the log is too long the [`Gate`] lets no further scan begin until
//! those under way have ended and the log has begun anew. Writes and reads by key never wait for a scan.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::sql_types::BigInt;
use diesel::{QueryResult, QueryableByName, RunQueryDsl, SqliteConnection};

use super::connection::{AnyConnection, Role, Target};
use super::queries::unavailable;
use super::writer::lock;
use super::{Reading, StoreError};

/// How long commits are collected before the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Pages in the log and not in the database file, from which on they are moved. More of them at once are fewer writes in all,
/// but the disk has the fsync of their file to end before it ends that of a commit.
const WORTH_MOVING: i64 = 500;
/// Pages that are left to the writer.
const LEFT_TO_THE_WRITER: i64 = 100;
/// How often the rest is moved before it is left to the writer whatever its size: it writes meanwhile.
const MOST_PASSES: u32 = 4;
/// Length of the log, in pages of 4 KiB, from which on it is to begin anew.
const LONG: i64 = 4_096;
/// Length from which on no further scan begins.
const TOO_LONG: i64 = 8_192;
/// How long a scan waits at the gate: one that never ends must not end all others.
const AT_THE_GATE: Duration = Duration::from_secs(10);

/// Holds scans back.
#[derive(Default)]
pub(super) struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Waits while it is closed, but not for ever.
    pub(super) fn pass(&self) {
        drop(self.opened.wait_timeout_while(lock(&self.is_closed), AT_THE_GATE, |is_closed| *is_closed));
    }

    fn close(&self, on: bool) {
        *lock(&self.is_closed) = on;
        if !on {
            self.opened.notify_all();
        }
    }
}

/// What the writer tells.
#[derive(Default)]
pub(super) struct Progress {
    has_commits: AtomicBool,
    state: Mutex<bool>,
    changed: Condvar,
}

impl Progress {
    /// Something is committed.
    pub(super) fn committed(&self) {
        if !self.has_commits.swap(true, Ordering::AcqRel) {
            // under the lock, so that the thread is not between its look and its sleep
            let _is_stopped = lock(&self.state);
            self.changed.notify_one();
        }
    }

    fn stop(&self) {
        *lock(&self.state) = true;
        self.changed.notify_all();
        self.has_commits.store(true, Ordering::Release);
    }

    /// Sleeps until there are commits, and a little longer; false when it is over.
    fn wait(&self) -> bool {
        let mut is_stopped = lock(&self.state);
        while !*is_stopped && !self.has_commits.load(Ordering::Acquire) {
            is_stopped = self.changed.wait(is_stopped).unwrap_or_else(PoisonError::into_inner);
        }
        drop(is_stopped);
        let goes_on = self.wait_a_moment();
        self.has_commits.store(false, Ordering::Release);
        goes_on
    }

    /// Sleeps until the next look; false when it is over.
    fn wait_a_moment(&self) -> bool {
        let waited = self.changed.wait_timeout_while(lock(&self.state), LOOK_EVERY, |is_stopped| !*is_stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The handle of the thread.
pub(super) struct Checkpointer {
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

/// Has the writer run something on its connection, between two groups.
pub(super) type OnWriter = Box<dyn Fn(Errand) -> Reading<()> + Send>;
type Errand = Box<dyn FnOnce(&mut AnyConnection) -> Result<(), StoreError> + Send>;

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(
        target: Target,
        progress: Arc<Progress>,
        gate: Arc<Gate>,
        on_writer: OnWriter,
    ) -> std::io::Result<Self> {
        let own = Arc::clone(&progress);
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            let mut worker = Worker { target, progress: Arc::clone(&own), gate, on_writer, connection: None };
            while own.wait() {
                if let Err(error) = worker.look() {
                    // nothing is lost: the log keeps everything, and SQLite itself moves it when it gets far too long
                    tracing::warn!(%error, "the write-ahead log cannot be moved into the database file");
                    worker.connection = None;
                    worker.gate.close(false);
                }
            }
        })?;
        Ok(Self { progress, thread: Some(thread) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.progress.stop();
        if let Some(thread) = self.thread.take() {
            // a panic has been reported by the thread itself
            let _ = thread.join();
        }
    }
}

struct Worker {
    target: Target,
    progress: Arc<Progress>,
    gate: Arc<Gate>,
    on_writer: OnWriter,
    connection: Option<AnyConnection>,
}

/// Pages in the log, and how many of them are in the database file as well.
#[derive(Clone, Copy, QueryableByName)]
struct Log {
    #[diesel(sql_type = BigInt)]
    log: i64,
    #[diesel(sql_type = BigInt)]
    checkpointed: i64,
}

impl Log {
    fn left(self) -> i64 {
        self.log - self.checkpointed
    }
}

impl Worker {
    fn look(&mut self) -> Result<(), StoreError> {
        let mut log = self.run(NOTHING)?;
        if log.left() < WORTH_MOVING && log.log < LONG {
            return Ok(());
        }
        for _ in 0..MOST_PASSES {
            let before = log.left();
            log = self.run(MOVE)?;
            if log.left() <= LEFT_TO_THE_WRITER || log.left() >= before {
                break;
            }
        }
        if log.log >= LONG { self.begin_anew(log) } else { Ok(()) }
    }

    /// Has the writer move the last pages; its next commit begins the log anew if nobody reads from it. As long as it is too
    /// long no scan begins meanwhile.
    fn begin_anew(&mut self, mut log: Log) -> Result<(), StoreError> {
        let deadline = Instant::now() + AT_THE_GATE;
        loop {
            let is_too_long = log.log >= TOO_LONG;
            self.gate.close(is_too_long);
            self.finish();
            if !is_too_long || !self.progress.wait_a_moment() || Instant::now() >= deadline {
                break;
            }
            log = self.run(NOTHING)?;
            // without commits since then, scans that begin now read the database file only
            if log.log < LONG || log.left() == 0 {
                break;
            }
        }
        self.gate.close(false);
        Ok(())
    }

    /// Has the writer move the last pages.
    fn finish(&self) {
        let (ended, wait) = mpsc::channel();
        let errand = Box::new(move |connection: &mut AnyConnection| {
            let moved = connection.sqlite().map_or(Ok(()), |inner| run(inner, MOVE).map(drop)).map_err(unavailable);
            // it may have given up waiting
            let _ = ended.send(());
            moved
        });
        // queued by the call itself; the answer is the channel
        drop((self.on_writer)(errand));
        let _ = wait.recv_timeout(AT_THE_GATE);
    }

    fn run(&mut self, how: &'static str) -> Result<Log, StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let made = self.target.connect(Role::Writer);
                none.insert(made.map_err(|error| StoreError::Unavailable(error.to_string()))?)
            }
        };
        let inner = connection.sqlite().ok_or_else(|| StoreError::Unavailable("not SQLite".to_owned()))?;
        run(inner, how).map_err(unavailable)
    }
}

/// Only tells.
const NOTHING: &str = "PRAGMA wal_checkpoint(NOOP)";
/// Moves what no reader stands in the way of, and waits for nobody.
const MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

fn run(connection: &mut SqliteConnection, how: &str) -> QueryResult<Log> {
    diesel::sql_query(how).get_result(connection)
}
