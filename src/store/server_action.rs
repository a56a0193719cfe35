//! The record of servers' actions: how it changes, and what is asked of it.

use uuid::Uuid;

use crate::domain::ids::{RequestId, ServerId};
use crate::domain::server_action::{ServerAction, ServerActionEnd};
use crate::domain::time::Timestamp;

/// A change of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionChange {
    /// An action has begun; or it is told as a whole, because it begins and ends in one commit.
    Begin(ServerAction),
    /// It has ended. One that is not there (it was too old) stays away.
    End {
        /// Its id.
        id: Uuid,
        /// Its server.
        server_id: ServerId,
        /// When it began.
        started_at: Timestamp,
        /// How it ended.
        end: ServerActionEnd,
    },
}

/// A list of one server's actions, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionQuery {
    /// The server.
    pub server_id: ServerId,
    /// Those before the first one of this request; unknown: [`super::ListError::MarkerNotFound`].
    pub marker: Option<RequestId>,
    /// Last changed then or later.
    pub changes_since: Option<Timestamp>,
    /// Last changed then or earlier.
    pub changes_before: Option<Timestamp>,
    /// At most so many.
    pub limit: u64,
}
