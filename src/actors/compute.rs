//! What is asked of a Compute elsewhere, and told to it. A volume's actor waits for neither: whoever needs an answer asks before the
//! command is sent, and a notice comes back as a result.

use std::sync::Arc;

use super::core::Core;
use crate::compute::ComputeError;
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome};
use crate::domain::compute::{ComputeNotice, UseAnswer, UseQuestion};
use crate::domain::ids::{RequestId, VolumeId};
use crate::domain::volume::Command;
use crate::domain::volume::command::Ticket;

impl Core {
    /// Whether a server still uses what a command would end.
    pub(super) async fn ask_compute(
        &self,
        volume_id: VolumeId,
        question: UseQuestion,
        request_id: RequestId,
    ) -> Result<Box<UseAnswer>, ComputeError> {
        let compute = self.world.compute.as_ref().ok_or(ComputeError::Unavailable)?;
        let in_use = Arc::clone(compute).is_used(volume_id, question.clone(), request_id).await?;
        Ok(Box::new(UseAnswer { question, in_use }))
    }

    /// Tells Compute once. Where there is none any more, there is nobody to tell: the settings have changed since.
    pub(super) fn notify_compute(
        self: &Arc<Self>,
        volume_id: VolumeId,
        ticket: Ticket,
        notice: ComputeNotice,
        request_id: RequestId,
    ) {
        let core = Arc::clone(self);
        actix_rt::spawn(async move {
            let told = match core.world.compute.clone() {
                Some(compute) => compute.notify(volume_id, notice, request_id).await,
                None => Ok(()),
            };
            let cause = |error: ComputeError| Cause::new(CauseKind::Unavailable, error.to_string());
            let outcome = match told {
                Ok(()) => Outcome::Done { answer: Answer::Nothing },
                Err(error @ ComputeError::Refused) => Outcome::Refused { cause: cause(error) },
                Err(error @ ComputeError::Unavailable) => Outcome::Failed { cause: cause(error) },
            };
            core.deliver(volume_id, Command::JobResult { ticket, outcome });
        });
    }
}
