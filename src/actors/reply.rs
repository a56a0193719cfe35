//! Where an answer goes. A reply that is dropped unanswered says so itself, so that nobody waits for a dead actor.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::service::RequestError;
use crate::domain::volume::{Command, Refusal, Reply, VolumeState};

/// What comes back to the sender of a command.
pub(super) enum Returned {
    /// The answer.
    Answer(Result<Reply, RequestError>),
    /// The volume's state, if there is one, refuses the command; nothing happened.
    Refused(Refusal, Option<Arc<VolumeState>>),
    /// The actor ended before it looked at the command: nothing happened, it may be sent again.
    Undelivered(Box<Command>),
    /// The actor ended while it worked on the command: the effect is unknown.
    Lost,
}

/// Answers exactly once.
pub(super) struct ReplyTo(Option<Back>);

enum Back {
    Sender(oneshot::Sender<Returned>),
    Call(Box<dyn FnOnce(Returned) + Send>),
}

impl ReplyTo {
    /// Calls `back` with what comes.
    pub(super) fn new(back: impl FnOnce(Returned) + Send + 'static) -> Self {
        Self(Some(Back::Call(Box::new(back))))
    }

    /// Somebody waits for what comes.
    pub(super) fn channel() -> (Self, oneshot::Receiver<Returned>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(Back::Sender(sender))), receiver)
    }

    /// Nobody waits.
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    /// Answers.
    pub(super) fn answer(self, answer: Result<Reply, RequestError>) {
        self.give(Returned::Answer(answer));
    }

    /// Answers that this state refuses.
    pub(super) fn refuse(self, refusal: Refusal, state: Option<Arc<VolumeState>>) {
        self.give(Returned::Refused(refusal, state));
    }

    /// Gives the command back untouched.
    pub(super) fn undelivered(self, command: Box<Command>) {
        self.give(Returned::Undelivered(command));
    }

    fn give(mut self, returned: Returned) {
        if let Some(back) = self.0.take() {
            back.give(returned);
        }
    }
}

impl Back {
    fn give(self, returned: Returned) {
        match self {
            // nobody may be waiting any more
            Self::Sender(sender) => drop(sender.send(returned)),
            Self::Call(back) => back(returned),
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let Some(back) = self.0.take() {
            back.give(Returned::Lost);
        }
    }
}
