//! The reads, a file for each noun. Every function runs inside of one read transaction of its caller's: what it returns is
//! one snapshot. May be called by the store's engines only.
//!
//! Reads by key go to the connection inside of the enum: through the enum, each statement would be prepared anew. They have no
//! LIMIT (`get_result`, not `first`): its bound value would make SQLite prepare the statement again.

pub(super) mod attachment;
mod columns;
pub(super) mod history;
pub(super) mod host;
mod list;
pub(super) mod message;
pub(super) mod operation;
pub(super) mod qos;
pub(super) mod quota;
pub(super) mod server;
pub(super) mod server_action;
pub(super) mod service;
pub(super) mod usage;
pub(super) mod volume;
pub(super) mod volume_snapshot;
pub(super) mod volume_type;

use diesel::Connection;
use diesel::result::Error as DieselError;

use super::connection::AnyConnection;
use super::{ListError, StoreError};
use crate::domain::ids::VolumeId;

/// The failure of a read inside of its transaction.
pub(super) enum ReadFailure<E> {
    Query(DieselError),
    Answer(E),
}

impl<E> From<DieselError> for ReadFailure<E> {
    fn from(error: DieselError) -> Self {
        Self::Query(error)
    }
}
impl From<StoreError> for ReadFailure<StoreError> {
    fn from(error: StoreError) -> Self {
        Self::Answer(error)
    }
}
impl From<ListError> for ReadFailure<ListError> {
    fn from(error: ListError) -> Self {
        Self::Answer(error)
    }
}
impl From<StoreError> for ReadFailure<ListError> {
    fn from(error: StoreError) -> Self {
        Self::Answer(error.into())
    }
}

/// Runs `read` in one read transaction: one snapshot on both databases (readers of PostgreSQL use REPEATABLE READ).
pub(super) fn snapshot<T, E: From<StoreError>>(
    connection: &mut AnyConnection,
    read: impl FnOnce(&mut AnyConnection) -> Result<T, ReadFailure<E>>,
) -> Result<T, E> {
    connection.transaction(read).map_err(|failure| match failure {
        ReadFailure::Query(error) => unavailable(error).into(),
        ReadFailure::Answer(error) => error,
    })
}

/// The database could not answer.
pub(super) fn unavailable(error: DieselError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn volume_id(text: &str) -> Result<VolumeId, StoreError> {
    text.parse().map_err(|error: uuid::Error| StoreError::Damaged {
        what: format!("volume id {text:?}"),
        reason: error.to_string(),
    })
}
