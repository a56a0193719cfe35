//! One connection type over both databases, and how a connection is opened.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::{Connection, PgConnection, QueryResult, SqliteConnection};

use super::postgres;

/// How long a SQLite connection waits for a lock that another process holds (a migration, an operator's shell).
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages that SQLite keeps in memory for each connection, in KiB (the pragma's negative form).
const CACHE_KIB: u32 = 16 * 1024;
/// Pages in the write-ahead log after which the writer itself moves them into the database file: when the thread that does it
/// (`checkpoint`) cannot, and for commands that have none.
const CHECKPOINT_FRAMES: u32 = 65_536;

/// A connection to whichever database is configured.
///
/// Plain reads and writes go through the enum. ON CONFLICT, row locks, and hand-made SQL do not compile through it:
/// [`on_each!`] and [`super::sql`] match on the variant.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    /// SQLite.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Postgres(PgConnection),
}

impl AnyConnection {
    /// SQLite's own: what goes through the enum is prepared anew each time.
    pub(super) fn sqlite(&mut self) -> Option<&mut SqliteConnection> {
        match self {
            Self::Sqlite(inner) => Some(inner),
            Self::Postgres(_) => None,
        }
    }
}

/// Evaluates the same expression on the connection inside of the enum.
macro_rules! on_each {
    ($connection:expr, $inner:ident => $body:expr) => {
        match $connection {
            $crate::store::connection::AnyConnection::Sqlite($inner) => $body,
            $crate::store::connection::AnyConnection::Postgres($inner) => $body,
        }
    };
}
pub(super) use on_each;

/// How much SQLite waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// Every commit is on disk before it is answered. The only mode that keeps promise I4.
    Full,
    /// Nothing is ever waited for. Exists so that the power-loss test can show that it notices.
    Off,
}

/// Which database, and how to reach it.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// A database file.
    SqliteFile {
        /// Where it is.
        path: String,
        /// A registered SQLite VFS instead of the default one.
        vfs: Option<String>,
        /// Durability.
        synchronous: Synchronous,
    },
    /// A private database in memory.
    SqliteMemory,
    /// A PostgreSQL server.
    Postgres {
        /// `postgres://…`
        url: String,
    },
}

/// What a connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Writes.
    Writer,
    /// Only reads.
    Reader,
}

impl Target {
    /// Opens a connection for `role`.
    pub(super) fn connect(&self, role: Role) -> Result<AnyConnection, diesel::ConnectionError> {
        let mut connection = match self {
            Self::SqliteFile { path, vfs, .. } => {
                create_private(path).map_err(|error| diesel::ConnectionError::BadConnection(error.to_string()))?;
                AnyConnection::Sqlite(SqliteConnection::establish(&file_uri(path, vfs.as_deref()))?)
            }
            Self::SqliteMemory => AnyConnection::Sqlite(SqliteConnection::establish(":memory:")?),
            Self::Postgres { url } => AnyConnection::Postgres(PgConnection::establish(url)?),
        };
        self.prepare(&mut connection, role).map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }

    fn prepare(&self, connection: &mut AnyConnection, role: Role) -> QueryResult<()> {
        let statements = match self {
            Self::SqliteFile { synchronous, .. } => sqlite_pragmas(Some(*synchronous), role),
            Self::SqliteMemory => sqlite_pragmas(None, role),
            Self::Postgres { .. } => match role {
                Role::Writer => {
                    format!("SET synchronous_commit = on; SET client_min_messages = warning; {}", postgres::SESSION)
                }
                // one read transaction is one snapshot
                Role::Reader => "SET client_min_messages = warning; SET SESSION CHARACTERISTICS AS TRANSACTION \
                                 ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
                    .to_owned(),
            },
        };
        connection.batch_execute(&statements)
    }
}

fn sqlite_pragmas(file: Option<Synchronous>, role: Role) -> String {
    let mut pragmas = format!(
        "PRAGMA busy_timeout = {}; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{CACHE_KIB};",
        BUSY_TIMEOUT.as_millis()
    );
    if let Some(synchronous) = file {
        let word = match synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Off => "OFF",
        };
        pragmas.push_str(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = {word}; PRAGMA wal_autocheckpoint = {CHECKPOINT_FRAMES};"
        ));
    }
    if role == Role::Reader {
        pragmas.push_str("PRAGMA query_only = ON;");
    }
    pragmas
}

/// Makes the file with mode 0600 before SQLite would make it with the umask's; the log and index files take its mode.
fn create_private(path: &str) -> std::io::Result<()> {
    if let Some(parent) = Path::new(path).parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map(drop)
}

/// SQLite's `file:` form of a path, with everything escaped that has a meaning in a URI.
fn file_uri(path: &str, vfs: Option<&str>) -> String {
    let mut uri = String::from("file:");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => uri.push(char::from(byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    if let Some(vfs) = vfs {
        uri.push_str("?vfs=");
        uri.push_str(vfs);
    }
    uri
}

/// Whether the connection itself is lost, so that a new one is needed.
pub(super) fn is_connection_lost(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, _) | DieselError::BrokenTransactionManager => {
            true
        }
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, information) => {
            let text = information.message();
            // libpq's own words, and SQLSTATE class 57P: the server is ending
            [
                "server closed the connection",
                "connection to server",
                "no connection to the server",
                "could not receive data",
                "could not send data",
                "terminating connection",
                "SSL connection has been closed",
                "connection not open",
            ]
            .iter()
            .any(|words| text.contains(words))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_uri_characters_stay_one_path() {
        assert_eq!(file_uri("/a b/c?d#e%f.db", None), "file:/a%20b/c%3Fd%23e%25f.db");
        assert_eq!(file_uri("/a.db", Some("shim")), "file:/a.db?vfs=shim");
    }
}
