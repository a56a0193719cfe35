//! What the backends hold: asked through the pool, for whoever wants to manage it. It belongs to no volume, so no actor is
//! asked.

use tokio::sync::oneshot;

use super::service::Service;
use crate::domain::backend::{Answer, BackendObject, Call, CallKey, Cause, CauseKind, Outcome, Request};
use crate::domain::ids::{OperationId, VolumeId};
use crate::domain::operation::Step;
use crate::domain::text::Text;
use crate::drivers::pool::{Completion, PoolTarget};

impl Service {
    /// What a backend holds, Hearth's and not.
    ///
    /// # Errors
    ///
    /// It does not answer in time, or cannot be read.
    pub async fn objects(&self, host: &Text) -> Result<Vec<BackendObject>, Cause> {
        let key = CallKey {
            volume_id: VolumeId(uuid::Uuid::nil()),
            operation_id: OperationId(uuid::Uuid::nil()),
            epoch: 0,
            step: Step::Drain,
        };
        let (told, answer) = oneshot::channel();
        let done = Box::new(move |outcome| {
            // Whoever asked may have gone.
            let _ = told.send(outcome);
        });
        let call = Call { key, request: Request::ListObjects };
        let completion = Completion { done, late: Box::new(|_| {}) };
        self.core.world.drivers.submit(PoolTarget::Backend(host.clone()), call, completion);
        match answer.await {
            Ok(Outcome::Done { answer: Answer::Objects { objects } }) => Ok(objects),
            Ok(Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause }) => Err(cause),
            Ok(Outcome::Done { .. }) | Err(_) => Err(Cause::new(CauseKind::Other, "the backend answered no list")),
        }
    }
}
