//! Where an answer goes. A reply that is dropped unanswered says so itself, so that nobody waits for a dead actor.

use super::service::RequestError;
use crate::domain::volume::{Command, Reply};

/// What comes back to the sender of a command.
pub(super) enum Returned {
    /// The answer.
    Answer(Result<Reply, RequestError>),
    /// The actor ended before it looked at the command: nothing happened, it may be sent again.
    Undelivered(Box<Command>),
    /// The actor ended while it worked on the command: the effect is unknown.
    Lost,
}

/// Calls back exactly once.
pub(super) struct ReplyTo(Option<Box<dyn FnOnce(Returned) + Send>>);

impl ReplyTo {
    /// Calls `back` with what comes.
    pub(super) fn new(back: impl FnOnce(Returned) + Send + 'static) -> Self {
        Self(Some(Box::new(back)))
    }

    /// Nobody waits.
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    /// Answers.
    pub(super) fn answer(self, answer: Result<Reply, RequestError>) {
        self.give(Returned::Answer(answer));
    }

    /// Gives the command back untouched.
    pub(super) fn undelivered(self, command: Box<Command>) {
        self.give(Returned::Undelivered(command));
    }

    fn give(mut self, returned: Returned) {
        if let Some(back) = self.0.take() {
            back(returned);
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let Some(back) = self.0.take() {
            back(Returned::Lost);
        }
    }
}
