//! Why a database transaction failed, and whether another try may succeed.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::connection::is_connection_lost;

/// A failed database transaction, of which nothing is written.
pub(super) struct Failure {
    /// The database's words.
    pub(super) reason: String,
    /// What it means for another try.
    pub(super) kind: FailureKind,
}

/// What a failure means for another try.
#[derive(PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The database did not take the transaction: a lost connection, or another process holds SQLite's lock.
    Unreachable,
    /// Another try may succeed: the victim of a deadlock.
    Victim,
    /// The same statement would fail again.
    Lasting,
}

impl Failure {
    pub(super) fn of(error: &DieselError) -> Self {
        let reason = error.to_string();
        let says = |words: &[&str]| words.iter().any(|words| reason.contains(words));
        let kind = if is_connection_lost(error) || says(&["database is locked"]) {
            FailureKind::Unreachable
        } else if matches!(error, DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _))
            || says(&["deadlock detected", "lock timeout"])
        {
            FailureKind::Victim
        } else {
            FailureKind::Lasting
        };
        Self { reason, kind }
    }

    pub(super) fn is_passing(&self) -> bool {
        self.kind != FailureKind::Lasting
    }
}
