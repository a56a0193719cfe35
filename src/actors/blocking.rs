//! What a client is told of a request that a volume refuses or cannot take: what stands in the way, for how long, and whether
//! it helps to come again.

use std::time::Duration;

use super::observe::Deadline;
use super::service::RequestError;
use crate::domain::ids::OperationId;
use crate::domain::operation::Operation;
use crate::domain::time::Timestamp;
use crate::domain::volume::blocking::{blocking_operation, leaves_nothing};
use crate::domain::volume::{Refusal, VolumeState};

/// A request without an answer of its volume, with what a client may know of the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Unanswered {
    /// Why.
    pub error: RequestError,
    /// The work in the way, if it is that.
    pub blocking: Option<Blocking>,
    /// Whether the same request can succeed by waiting. None: nothing can be said.
    pub retry: Option<Retry>,
}

/// An open operation that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// Its id.
    pub id: OperationId,
    /// What it is for.
    pub kind: &'static str,
    /// Where it stands.
    pub step: &'static str,
    /// Since when it is open.
    pub age: Duration,
    /// How long its step may go on; none: the step has no deadline.
    pub left: Option<Duration>,
}

/// Whether it helps to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request can succeed when what is in the way has ended.
    Later,
    /// Not by waiting alone.
    Never,
}

impl Retry {
    /// The word of the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Later => "later",
            Self::Never => "never",
        }
    }
}

impl Unanswered {
    /// By the state that refused; none: nobody knows it.
    pub(super) fn of(error: RequestError, state: Option<&VolumeState>, now: Timestamp, deadline: Deadline<'_>) -> Self {
        let operation = state.and_then(|state| match &error {
            RequestError::Refused(refusal) => blocking_operation(state, refusal),
            // Whatever runs is what the crowd is waiting for.
            RequestError::Overloaded { .. } | RequestError::Quarantined => state.operations.first(),
            _ => None,
        });
        let host = state.and_then(|state| state.volume.host.as_deref());
        let blocking = operation.map(|operation| Blocking {
            id: operation.id,
            kind: operation.kind.name(),
            step: operation.step.name(),
            age: now.since(operation.started_at),
            left: deadline(host, operation).map(|most| most.saturating_sub(now.since(operation.step_started_at))),
        });
        let retry = retry(&error, operation);
        Self { error, blocking, retry }
    }
}

fn retry(error: &RequestError, operation: Option<&Operation>) -> Option<Retry> {
    match error {
        RequestError::Overloaded { .. }
        | RequestError::Quarantined
        | RequestError::Store(_)
        | RequestError::Compute(_) => Some(Retry::Later),
        RequestError::Refused(Refusal::QueueDeadline | Refusal::ServerChanged | Refusal::TypeChanged) => {
            Some(Retry::Later)
        }
        RequestError::Refused(
            Refusal::InvalidInput(_)
            | Refusal::BadRequest(_)
            | Refusal::InvalidVolume(_)
            | Refusal::InvalidSnapshot(_)
            | Refusal::Conflict(_)
            | Refusal::UsedByServer(_)
            | Refusal::BadConnector(_),
        ) => Some(match operation {
            Some(operation) if !leaves_nothing(&operation.kind) => Retry::Later,
            _ => Retry::Never,
        }),
        _ => None,
    }
}
