//! Between a volume that lends its contents and the one that is made from them (P8): messages only, nobody waits for
//! anybody. The question is asked until it is answered; whether the contents are still read is looked up in the borrower's
//! record, so that a loan ends also when the message that would have ended it was lost.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::{Core, RESEND_PAUSE, system_caller};
use super::reply::{ReplyTo, Returned};
use super::service::RequestError;
use crate::domain::ids::VolumeId;
use crate::domain::operation::OperationKind;
use crate::domain::volume::command::Ticket;
use crate::domain::volume::state::Origin;
use crate::domain::volume::{Command, Refusal, Reply, VolumeState};

/// The pause between two looks at a borrower whose word is missing.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

impl Core {
    /// Asks the source for its contents until it has answered, and tells the borrower.
    pub(super) fn borrow(self: &Arc<Self>, borrower: VolumeId, ticket: Ticket, origin: Origin, size_gib: u32) {
        let core = Arc::clone(self);
        actix_rt::spawn(async move {
            let lend = Command::Lend { borrower, size_gib, snapshot_id: origin.snapshot_id };
            if let Some(answer) = core.reply_of(origin.source_volume_id, lend).await {
                core.deliver(borrower, Command::Lent { ticket, answer: answer.map(drop) });
            }
        });
    }

    /// Sends a command until the volume has decided about it, and says what it answered; none: the service ends.
    pub(super) async fn reply_of(self: &Arc<Self>, id: VolumeId, command: Command) -> Option<Result<Reply, Refusal>> {
        while !self.is_stopping() {
            let (reply, receiver) = ReplyTo::channel();
            self.send(id, Box::new(command.clone()), system_caller(), reply);
            match receiver.await {
                Ok(Returned::Answer(Ok(reply))) => return Some(Ok(reply)),
                Ok(Returned::Refused(refusal, _) | Returned::Answer(Err(RequestError::Refused(refusal)))) => {
                    return Some(Err(refusal));
                }
                _ => tokio::time::sleep(RESEND_PAUSE).await,
            }
        }
        None
    }

    /// Looks at the borrower until it does not read the lender's contents any more, and tells the lender.
    pub(super) fn watch_borrower(self: &Arc<Self>, lender: VolumeId, borrower: VolumeId) {
        let core = Arc::clone(self);
        actix_rt::spawn(async move {
            while !core.is_stopping() {
                if core.has_returned(lender, borrower).await {
                    return core.deliver(lender, Command::Returned { borrower });
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        });
    }

    /// The borrower says that it has done with the lender's contents: the lender hears of it at once if that is so.
    pub(super) fn give_back(self: &Arc<Self>, lender: VolumeId, borrower: VolumeId) {
        let core = Arc::clone(self);
        actix_rt::spawn(async move {
            if core.has_returned(lender, borrower).await {
                core.deliver(lender, Command::Returned { borrower });
            }
        });
    }

    async fn has_returned(&self, lender: VolumeId, borrower: VolumeId) -> bool {
        self.is_so(borrower, |state| reads(state, lender)).await == Some(false)
    }

    /// Whether something is true of a volume's committed state; none: it cannot be read now.
    pub(super) async fn is_so(&self, id: VolumeId, is_so: impl Fn(&VolumeState) -> bool) -> Option<bool> {
        if let Some(view) = self.slot_if_active(id).and_then(|slot| slot.fresh_view()) {
            return Some(is_so(&view));
        }
        let state = self.world.store.volume_get(id).await.ok()?;
        Some(state.is_some_and(|state| is_so(&state)))
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Whether a volume is being made from the lender's contents. A copy that was given up may still go on at the backend, which
/// then refuses as busy what would change them: nobody waits for a call that may never return.
fn reads(borrower: &VolumeState, lender: VolumeId) -> bool {
    let borrows =
        |kind: &OperationKind| matches!(kind, OperationKind::CreateFrom(origin) if origin.source_volume_id == lender);
    borrower.operations.iter().any(|operation| borrows(&operation.kind))
}
