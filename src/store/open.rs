//! Opening a store by its url, and its migrations.

use std::sync::{Arc, Mutex};

use diesel::{PgConnection, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::Store;
use super::checkpoint::{Checkpointer, Gate, Progress};
use super::connection::{AnyConnection, Role, Synchronous, Target};
use super::database::Lane;
use super::journal::{Overlay, replay};
use super::readers::Readers;
use super::threaded::{ThreadedStore, Threads};
use super::writer::{Desk, OnUnknown, Writer, WriterOptions};
use crate::telemetry::CommitMetrics;

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// How a store works. The defaults are those of production.
#[derive(Clone)]
pub struct StoreOptions {
    /// SQLite's durability.
    pub synchronous: Synchronous,
    /// Most transactions in one group.
    pub group_size: usize,
    /// Writers of PostgreSQL; SQLite has one.
    pub writer_connections: usize,
    /// Threads for reads by key.
    pub point_readers: usize,
    /// Threads for lists.
    pub list_readers: usize,
    /// Told once when nobody can know what is on disk: the process should end non-zero.
    pub on_unknown: Option<OnUnknown>,
    /// Counts commits.
    pub metrics: CommitMetrics,
    /// A registered SQLite VFS to use instead of the default one.
    pub vfs: Option<String>,
    /// Only reads, beside the process that owns the database: nothing is migrated, settled or written.
    pub observer: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            // more would be fewer fsyncs, but whoever is not in the group is prepared while it is written
            group_size: 128,
            writer_connections: 4,
            point_readers: 2,
            list_readers: 2,
            on_unknown: None,
            metrics: CommitMetrics::default(),
            vfs: None,
            observer: false,
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither `sqlite://` nor `postgres://`.
    #[error("the database url must begin with sqlite:// or postgres://")]
    UnknownScheme,
    /// No connection.
    #[error("cannot connect to the database: {0}")]
    Connect(#[from] diesel::ConnectionError),
    /// The schema cannot be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migrate(String),
    /// What the last process left in the journal cannot be settled.
    #[error("cannot settle the journal: {0}")]
    Journal(#[source] diesel::result::Error),
    /// A thread cannot be started.
    #[error("cannot start the store's threads: {0}")]
    Threads(#[from] std::io::Error),
}

/// Opens the store at `url` (`sqlite://path` or `postgres://…`), migrating it first.
pub fn open(url: &str, options: StoreOptions) -> Result<Arc<dyn Store>, OpenError> {
    open_threaded(url, options).map(|store| Arc::new(store) as Arc<dyn Store>)
}

/// As [`open`], with the handle that can also be stopped, held and measured.
pub fn open_threaded(url: &str, options: StoreOptions) -> Result<ThreadedStore, OpenError> {
    let target = target_of(url, &options)?;
    let overlay = Arc::new(Overlay::default());
    let mut desks = Vec::new();
    if !options.observer {
        let mut first = target.connect(Role::Writer)?;
        run_migrations(&mut first)?;
        let journal = match &first {
            AnyConnection::Sqlite(_) => Some(replay(&mut first, Arc::clone(&overlay)).map_err(OpenError::Journal)?),
            AnyConnection::Postgres(_) => None,
        };
        let writers = if journal.is_some() { 1 } else { options.writer_connections.max(1) };
        desks.push(Desk::new(first, journal));
        while desks.len() < writers {
            desks.push(Desk::new(target.connect(Role::Writer)?, None));
        }
    }
    let progress = Arc::new(Progress::default());
    let writer = WriterOptions {
        group_size: options.group_size,
        on_unknown: options.on_unknown,
        metrics: options.metrics,
        progress: Arc::clone(&progress),
    };
    let writer = Writer::start(target.clone(), desks, writer)?;
    let gate = Arc::new(Gate::default());
    let checkpointer = match target {
        Target::SqliteFile { .. } if !options.observer => {
            Some(Checkpointer::start(target.clone(), progress, Arc::clone(&gate), writer.errands())?)
        }
        _ => None,
    };
    if options.observer {
        writer.stop();
    }
    let threads = Threads {
        overlay,
        is_observer: options.observer,
        checkpointer: Mutex::new(checkpointer),
        writer,
        points: Readers::start(Lane::Point, &target, options.point_readers, None)?,
        lists: Arc::new(Readers::start(Lane::List, &target, options.list_readers, Some(&gate))?),
    };
    Ok(ThreadedStore::new(threads))
}

/// Puts into the tables what a service that has died left in the journal. Only for whoever owns the database now.
pub fn recover(url: &str) -> Result<(), OpenError> {
    let mut connection = target_of(url, &StoreOptions::default())?.connect(Role::Writer)?;
    run_migrations(&mut connection)?;
    match &connection {
        AnyConnection::Sqlite(_) => replay(&mut connection, Arc::default()).map(drop).map_err(OpenError::Journal),
        AnyConnection::Postgres(_) => Ok(()),
    }
}

/// Brings the schema at `url` up to date.
pub fn migrate(url: &str) -> Result<(), OpenError> {
    let mut connection = target_of(url, &StoreOptions::default())?.connect(Role::Writer)?;
    run_migrations(&mut connection)
}

/// Brings the schema up to date. Several nodes may start at once: on PostgreSQL they take turns.
pub(super) fn run_migrations(connection: &mut AnyConnection) -> Result<(), OpenError> {
    let failed = |error: &dyn std::fmt::Display| OpenError::Migrate(error.to_string());
    match connection {
        AnyConnection::Sqlite(inner) => {
            MigrationHarness::<<SqliteConnection as diesel::Connection>::Backend>::run_pending_migrations(
                inner,
                SQLITE_MIGRATIONS,
            )
            .map_err(|error| failed(&error))?;
        }
        AnyConnection::Postgres(inner) => {
            use diesel::connection::SimpleConnection;
            inner.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})")).map_err(|e| failed(&e))?;
            MigrationHarness::<<PgConnection as diesel::Connection>::Backend>::run_pending_migrations(
                inner,
                POSTGRES_MIGRATIONS,
            )
            .map_err(|error| failed(&error))?;
            inner.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})")).map_err(|e| failed(&e))?;
        }
    }
    Ok(())
}

/// The key of the advisory lock that migrations hold: "hearth" in ASCII.
const MIGRATION_LOCK: i64 = 0x6865_6172_7468;

pub(super) fn target_of(url: &str, options: &StoreOptions) -> Result<Target, OpenError> {
    if let Some(path) = url.strip_prefix("sqlite://") {
        return Ok(Target::SqliteFile {
            path: path.to_owned(),
            vfs: options.vfs.clone(),
            synchronous: options.synchronous,
        });
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Target::Postgres { url: url.to_owned() });
    }
    Err(OpenError::UnknownScheme)
}
