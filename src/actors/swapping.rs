//! Between the two volumes of a swap (P8): messages only, nobody waits for anybody. The new volume says its word until the old one has
//! decided about it; the old one looks whether the swap that it has left its guest to is still there, so that it ends also when a
//! message was lost.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, RESEND_PAUSE};
use crate::domain::ids::{OperationId, ServerId, VolumeId};
use crate::domain::volume::command::{OldAnswer, SwapWord, Ticket};
use crate::domain::volume::{Command, Refusal, Reply, VolumeState, yielded_disk};

/// The pause between two looks at a swap whose word is missing.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

impl Core {
    /// Says a word to the old volume until it has answered, and tells the new one.
    pub(super) fn tell_old(
        self: &Arc<Self>,
        new_volume: VolumeId,
        ticket: Ticket,
        old_volume: VolumeId,
        server_id: ServerId,
        word: SwapWord,
    ) {
        let core = Arc::clone(self);
        actix_rt::spawn(async move {
            let Some(answer) = core.reply_of(old_volume, Command::SwapWord(Box::new(word.clone()))).await else {
                return;
            };
            let answer = match word {
                SwapWord::Yield(asked) => answer.and_then(|reply| disk_of(&reply, asked.swap)),
                SwapWord::Moved { .. } => {
                    let Some(server_gone) = core.is_server_gone(&server_id).await else { return };
                    answer.map(|_| OldAnswer { disk: None, server_gone })
                }
                SwapWord::Stays { .. } => answer.map(|_| OldAnswer::default()),
            };
            core.deliver(new_volume, Command::SwapAnswered { ticket, answer });
        });
    }

    /// Whether the server is deleted. It is read after the commit that made the new row the server's: whoever deletes the server later
    /// finds that row. None: the service ends.
    async fn is_server_gone(&self, id: &ServerId) -> Option<bool> {
        while !self.is_stopping() {
            if let Ok(server) = self.world.store.server_get(id.clone()).await {
                return Some(server.is_none_or(|server| server.deleted));
            }
            tokio::time::sleep(RESEND_PAUSE).await;
        }
        None
    }

    /// Looks at the new volume until it does not lead the swap any more, and tells the old one that its guest stays: were it otherwise,
    /// it would have been told before the swap ended.
    pub(super) fn watch_swap(self: &Arc<Self>, old_volume: VolumeId, new_volume: VolumeId, swap: OperationId) {
        let core = Arc::clone(self);
        actix_rt::spawn(async move {
            while !core.is_stopping() {
                if core.is_swap_over(old_volume, new_volume, swap).await {
                    return core.deliver(old_volume, Command::SwapWord(Box::new(SwapWord::Stays { swap })));
                }
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        });
    }

    /// Whether there is nothing to look at any more: the old volume does not wait, or the new one does not lead the swap.
    async fn is_swap_over(&self, old_volume: VolumeId, new_volume: VolumeId, swap: OperationId) -> bool {
        let leads = |state: &VolumeState| {
            state.operations.iter().any(|operation| operation.id == swap && operation.kind.swap_in().is_some())
        };
        let waits = |state: &VolumeState| {
            state.operations.iter().any(|operation| operation.kind.swap_out().is_some_and(|own| own.swap == swap))
        };
        self.is_so(new_volume, leads).await == Some(false) || self.is_so(old_volume, waits).await == Some(false)
    }
}

fn disk_of(reply: &Reply, swap: OperationId) -> Result<OldAnswer, Refusal> {
    match yielded_disk(&reply.state, swap) {
        Some(disk) => Ok(OldAnswer { disk: Some(Box::new(disk)), server_gone: false }),
        None => Err(Refusal::Conflict("the old volume has its guest back already".to_owned())),
    }
}
