//! The in-use guard (`spec/volume-actions.md` §0.7): a user frees a server's row through Compute. It reads Compute's half of the
//! same row, in the step that acts on it, so that a concurrent attach cannot slip between.

use crate::domain::attachment::Attachment;
use crate::domain::ids::AttachmentId;
use crate::domain::volume::command::{Caller, Refusal};
use crate::domain::volume::state::VolumeState;

/// Whether the caller may end what this row stands for.
pub(super) fn of_row(row: &Attachment, caller: &Caller) -> Result<(), Refusal> {
    match &row.bdm {
        Some(bdm) if row.is_connected() && !caller.is_service => Err(Refusal::UsedByServer(bdm.server_id.clone())),
        _ => Ok(()),
    }
}

/// The same for an action that need not name its row.
pub(super) fn of_volume(state: &VolumeState, row_id: Option<AttachmentId>, caller: &Caller) -> Result<(), Refusal> {
    if caller.is_service {
        return Ok(());
    }
    match (row_id, state.attachments.as_slice()) {
        (Some(id), _) => match state.attachment(id) {
            Some(row) => of_row(row, caller),
            // As in Cinder: what is not known may be in use (Q7).
            None => Err(Refusal::Conflict(format!("attachment {id} of volume {} is not known", state.id()))),
        },
        (None, []) => Ok(()),
        (None, [row]) => of_row(row, caller),
        (None, _) => {
            let volume = state.id();
            Err(Refusal::Conflict(format!("volume {volume} has more than one attachment: name the one that is meant")))
        }
    }
}
