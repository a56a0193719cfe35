//! Compute's swap, the server's part (`spec/nova-volume-attachments.md` §5).

use std::time::Duration;

use actix::{AsyncContext, Context};

use super::attach::same_zone;
use super::{ServerActor, ServerMessage, SwapRequest, rules};
use crate::actors::reply::{ReplyTo, Returned};
use crate::actors::service::RequestError;
use crate::domain::status::AttachStatus;
use crate::domain::volume::command::ServerSwap;
use crate::domain::volume::{Command, Refusal, swap_refusal};

/// How often a swap is decided again because the server changed in between, or because the new volume's actor left before it looked at it.
const MAX_TRIES: u32 = 8;

impl ServerActor {
    /// Judges the server and both volumes as they are seen, in the order of the checks; then the new volume decides, and asks the old one.
    pub(super) fn swap(&mut self, mut request: Box<SwapRequest>, ctx: &mut Context<Self>) {
        if std::mem::take(&mut request.is_stale) {
            // Nothing is decided before the record has been read again.
            self.loaded = false;
            self.parked.push_front(ServerMessage::Swap(request));
            return self.load(ctx);
        }
        let (server_epoch, host) = match self.judge_swap(&request) {
            Ok(judged) => judged,
            Err(error) => {
                let _ = request.answer.send(Err(error));
                return;
            }
        };
        let swap = ServerSwap { server_id: self.id.clone(), server_epoch, host, old_volume: request.old_id };
        let (new_id, caller) = (request.new_id, request.caller.clone());
        let address = ctx.address();
        let reply = ReplyTo::new(move |returned| {
            let result = match returned {
                Returned::Answer(Err(RequestError::Refused(Refusal::ServerChanged)))
                | Returned::Refused(Refusal::ServerChanged, _)
                | Returned::Undelivered(_)
                    if request.tries < MAX_TRIES =>
                {
                    (request.tries, request.is_stale) = (request.tries + 1, true);
                    // Through the mailbox, because this may run inside the supervisor's locks.
                    return address.do_send(ServerMessage::Swap(request));
                }
                Returned::Answer(answer) => answer,
                Returned::Refused(refusal, _) => Err(RequestError::Refused(refusal)),
                Returned::Undelivered(_) => Err(RequestError::Overloaded { retry_after: Duration::from_secs(1) }),
                Returned::Lost => Err(RequestError::Lost),
            };
            // A caller that has gone away does not change what was committed.
            let _ = request.answer.send(result);
        });
        self.core.send(new_id, Box::new(Command::ServerSwap(Box::new(swap))), caller, reply);
    }

    /// The rows of §5 in their order; what changes meanwhile the volumes judge again. The epoch of the server that was judged, and its
    /// host.
    fn judge_swap(&self, request: &SwapRequest) -> Result<(u64, String), RequestError> {
        let server = self.live().ok_or_else(|| RequestError::ServerNotFound(self.id.clone()))?;
        let Some(old) = request.old.as_deref() else {
            return Err(RequestError::Refused(Refusal::VolumeNotFound(request.old_id)));
        };
        if self.core.options.swap_requires_migration && old.volume.migration_status.is_none() {
            return Err(RequestError::ServerConflict(format!(
                "volume {} is not migrating; this API should only be called by Cinder",
                request.old_id
            )));
        }
        let bad = |text: String| Err(RequestError::ServerBadRequest(text));
        let Some(new) = request.new.as_deref() else {
            return bad(format!("Volume {} could not be found.", request.new_id));
        };
        rules::swappable(server, &request.caller)?;
        let Some(host) = &server.host else {
            return Err(RequestError::ServerConflict(format!("Instance {} has no host", server.id)));
        };
        let of_server = |row: &crate::domain::attachment::Attachment| row.instance_uuid.as_ref() == Some(&self.id);
        if !old.attachments.iter().any(of_server) {
            return bad("Old volume is attached to a different instance.".to_owned());
        }
        if new.volume.attach_status == AttachStatus::Attached || request.new_id == request.old_id {
            return bad("New volume must be detached in order to swap.".to_owned());
        }
        if !self.core.options.server_attach.cross_az_attach {
            same_zone(server, new)?;
        }
        match swap_refusal(old, &self.id, new.volume.size_gib) {
            Some(refusal) => Err(RequestError::Refused(refusal)),
            None => Ok((server.epoch, host.to_string())),
        }
    }
}
