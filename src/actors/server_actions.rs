//! Actions of servers that no volume's decision tells: an attach that fails after its answer, and guests that are told from
//! outside that a volume has grown.

use super::core::Core;
use super::server::GuestCall;
use super::service::{RequestError, Service};
use crate::domain::backend::{Call, CallKey, Outcome, Request};
use crate::domain::ids::{AttachmentId, OperationId, ServerId, VolumeId};
use crate::domain::operation::{Lane, Requester, Step};
use crate::domain::server_action::{ServerAction, ServerActionEnd, ServerActionKind};
use crate::domain::status::AttachStatus;
use crate::domain::time::Timestamp;
use crate::domain::volume::{Caller, VolumeState};
use crate::drivers::pool::Completion;
use crate::store::{ActionChange, CommitOutcome, Transaction};

impl Service {
    /// Records an action that has ended. The answer that speaks of it goes out afterwards.
    pub(super) async fn action_ended(
        &self,
        server_id: ServerId,
        kind: ServerActionKind,
        requester: Requester,
        started_at: Timestamp,
        failure: Option<String>,
    ) -> Result<(), RequestError> {
        let end = ServerActionEnd { at: self.core.world.clock.now().max(started_at), failure };
        let id = self.core.world.randomness.uuid();
        let action = ServerAction { id, server_id, kind, requester, started_at, end: Some(end) };
        let transaction = Transaction { actions: vec![ActionChange::Begin(action)], ..Transaction::default() };
        match self.core.world.store.commit(transaction).await {
            CommitOutcome::Committed => Ok(()),
            CommitOutcome::Aborted(_) | CommitOutcome::Unknown(_) => Err(RequestError::Lost),
        }
    }

    /// Somebody else says that a volume has grown (`volume-extended`, §8.2): the guest's disk follows the size that the record
    /// has. Returns at once; what came of it is an action of the server. Nothing is recorded before: the size is, and a guest that
    /// was not told because the service ended is told by the same event again.
    pub fn server_volume_extended(&self, server_id: ServerId, volume_id: VolumeId, caller: Caller) {
        let service = self.clone();
        actix_rt::spawn(async move {
            let started_at = service.core.world.clock.now();
            let failure = match service.volume_view(volume_id).await {
                Ok(Some(state)) if is_seen_to(&state) => return,
                Ok(Some(state)) => match plugged(&state, &server_id) {
                    Some(row) => service.core.resize_guest(&server_id, &state, row).await.err(),
                    None => Some("the volume is not attached to this server".to_owned()),
                },
                Ok(None) => Some("the volume does not exist".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            let kind = ServerActionKind::ExtendVolume;
            let requester = caller.requester;
            if let Err(error) = service.action_ended(server_id.clone(), kind, requester, started_at, failure).await {
                tracing::error!(%server_id, %volume_id, %error, "an action of a server cannot be recorded");
            }
        });
    }
}

/// An extend or a migration under way tells the guests itself.
fn is_seen_to(state: &VolumeState) -> bool {
    state.operation_in(Lane::Data).is_some()
}

/// The row of a volume that is in the server's guest, and stays there.
fn plugged(state: &VolumeState, server_id: &ServerId) -> Option<AttachmentId> {
    let row = state.attachment_of_server(server_id)?;
    let stays = row.bdm.as_ref().is_some_and(|bdm| !bdm.detaching);
    (row.attach_status == AttachStatus::Attached && stays).then_some(row.id)
}

impl Core {
    /// Tells one guest the size of a volume. Repeating it does no harm.
    async fn resize_guest(
        self: &std::sync::Arc<Self>,
        server_id: &ServerId,
        state: &VolumeState,
        attachment_id: AttachmentId,
    ) -> Result<(), String> {
        let call = Call {
            key: CallKey {
                volume_id: state.id(),
                operation_id: OperationId(self.world.randomness.uuid()),
                epoch: state.volume.epoch,
                step: Step::ResizeGuest { attachment_id },
            },
            request: Request::ResizeGuest { attachment_id, new_size_gib: state.volume.size_gib },
        };
        let (answer, answered) = tokio::sync::oneshot::channel();
        // nobody may be waiting any more
        let done = Box::new(move |outcome| drop(answer.send(outcome)));
        let completion = Completion { done, late: Box::new(|_| {}) };
        self.server(server_id).do_send(GuestCall { call, completion });
        match answered.await {
            Ok(Outcome::Done { .. }) => Ok(()),
            Ok(Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause }) => Err(cause.text),
            Err(_) => Err("the server's guest has not answered".to_owned()),
        }
    }
}
