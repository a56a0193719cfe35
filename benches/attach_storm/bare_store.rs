//! The least that a durable store can do: one guarded row update and one journal row for each change, many changes in one
//! transaction, one fsync for all of them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};
use diesel::{PgConnection, SqliteConnection};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Changes in one transaction, as in Hearth.
const GROUP: usize = 256;
/// Connections to PostgreSQL.
pub const CONNECTIONS: usize = 8;
/// What a volume's row holds besides its key: about as much as Hearth's.
const ROW_BYTES: usize = 400;
/// What a journal row says: about as much as Hearth's event.
const EVENT: &str = "attachment_update req-11111111-2222-3333-4444-555555555555 reserved attaching";

table! {
    volumes (id) {
        id -> Text,
        generation -> BigInt,
        body -> Text,
    }
}

table! {
    journal (number) {
        number -> BigInt,
        volume_id -> Text,
        generation -> BigInt,
        event -> Text,
    }
}

struct Job {
    id: String,
    generation: i64,
    answer: oneshot::Sender<bool>,
}

/// The handle.
pub struct BareStore(Sender<Job>);

impl BareStore {
    /// One writer thread.
    pub fn sqlite(path: &str, ids: &[Uuid]) -> Arc<Self> {
        let mut connection = SqliteConnection::establish(path).expect("a database");
        connection
            .batch_execute(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
                 PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;
                 CREATE TABLE volumes (id TEXT NOT NULL PRIMARY KEY, generation BIGINT NOT NULL, body TEXT NOT NULL);
                 CREATE TABLE journal (number INTEGER PRIMARY KEY, volume_id TEXT NOT NULL, generation BIGINT NOT NULL,
                                       event TEXT NOT NULL);",
            )
            .expect("tables");
        fill(ids, |rows| diesel::insert_into(volumes::table).values(rows).execute(&mut connection).map(drop));
        Self::start(vec![connection], sqlite_group)
    }

    /// [`CONNECTIONS`] writer threads.
    pub fn postgres(url: &str, ids: &[Uuid]) -> Arc<Self> {
        let mut connections: Vec<PgConnection> =
            (0..CONNECTIONS).map(|_| PgConnection::establish(url).expect("a connection")).collect();
        connections[0]
            .batch_execute(
                "CREATE TABLE volumes (id TEXT COLLATE \"C\" PRIMARY KEY, generation BIGINT NOT NULL, body TEXT NOT NULL);
                 CREATE TABLE journal (number BIGSERIAL PRIMARY KEY, volume_id TEXT COLLATE \"C\" NOT NULL,
                                       generation BIGINT NOT NULL, event TEXT NOT NULL);",
            )
            .expect("tables");
        fill(ids, |rows| diesel::insert_into(volumes::table).values(rows).execute(&mut connections[0]).map(drop));
        Self::start(connections, postgres_group)
    }

    fn start<C: Send + 'static>(connections: Vec<C>, group: fn(&mut C, &[Job]) -> QueryResult<Vec<bool>>) -> Arc<Self> {
        let (sender, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for mut connection in connections {
            let receiver = Arc::clone(&receiver);
            std::thread::spawn(move || {
                while let Some(jobs) = take(&receiver) {
                    let outcomes = group(&mut connection, &jobs).expect("a commit");
                    for (job, outcome) in jobs.into_iter().zip(outcomes) {
                        // the client may have gone
                        let _ = job.answer.send(outcome);
                    }
                }
            });
        }
        Arc::new(Self(sender))
    }

    /// Raises the generation of a row that must have `generation`. Answered after the commit: whether the guard held.
    pub fn commit(&self, id: Uuid, generation: i64) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        // a writer that has died drops the answer
        let _ = self.0.send(Job { id: id.to_string(), generation, answer });
        answered
    }
}

fn fill(
    ids: &[Uuid],
    mut insert: impl FnMut(
        Vec<(
            diesel::dsl::Eq<volumes::id, String>,
            diesel::dsl::Eq<volumes::generation, i64>,
            diesel::dsl::Eq<volumes::body, String>,
        )>,
    ) -> QueryResult<()>,
) {
    for chunk in ids.chunks(GROUP) {
        let row = |id: &Uuid| {
            (volumes::id.eq(id.to_string()), volumes::generation.eq(0), volumes::body.eq("x".repeat(ROW_BYTES)))
        };
        insert(chunk.iter().map(row).collect()).expect("rows");
    }
}

/// All that waits, at most [`GROUP`]; none when the store is gone.
fn take(receiver: &Mutex<Receiver<Job>>) -> Option<Vec<Job>> {
    let receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
    let mut jobs = vec![receiver.recv().ok()?];
    jobs.extend(receiver.try_iter().take(GROUP - 1));
    Some(jobs)
}

/// One statement for each row: prepared once, and as fast as SQLite gets.
fn sqlite_group(connection: &mut SqliteConnection, jobs: &[Job]) -> QueryResult<Vec<bool>> {
    connection.immediate_transaction(|connection| {
        jobs.iter()
            .map(|job| {
                let guarded =
                    volumes::table.filter(volumes::id.eq(&job.id)).filter(volumes::generation.eq(job.generation));
                let next = job.generation + 1;
                let updated = diesel::update(guarded).set(volumes::generation.eq(next)).execute(connection)?;
                let event = (journal::volume_id.eq(&job.id), journal::generation.eq(next), journal::event.eq(EVENT));
                diesel::insert_into(journal::table).values(event).execute(connection)?;
                Ok(updated == 1)
            })
            .collect()
    })
}

#[derive(QueryableByName)]
struct Updated {
    #[diesel(sql_type = Text)]
    id: String,
}

/// One statement, hence one round trip, for the whole group: it is its own transaction.
fn postgres_group(connection: &mut PgConnection, jobs: &[Job]) -> QueryResult<Vec<bool>> {
    let mut sorted: Vec<&Job> = jobs.iter().collect();
    // groups that share rows take their locks in one order
    sorted.sort_by(|left, right| left.id.cmp(&right.id));
    let (ids, generations): (Vec<&str>, Vec<i64>) = sorted.iter().map(|job| (job.id.as_str(), job.generation)).unzip();
    let updated: Vec<Updated> = diesel::sql_query(
        "WITH changed AS (
            UPDATE volumes SET generation = volumes.generation + 1
            FROM unnest($1, $2) AS wanted (id, generation)
            WHERE volumes.id = wanted.id AND volumes.generation = wanted.generation
            RETURNING volumes.id, volumes.generation
         )
         INSERT INTO journal (volume_id, generation, event) SELECT id, generation, $3 FROM changed RETURNING volume_id AS id",
    )
    .bind::<Array<Text>, _>(ids)
    .bind::<Array<BigInt>, _>(generations)
    .bind::<Text, _>(EVENT)
    .load(connection)?;
    let updated: std::collections::HashSet<&str> = updated.iter().map(|row| row.id.as_str()).collect();
    Ok(jobs.iter().map(|job| updated.contains(job.id.as_str())).collect())
}
