//! The in-use guard (`spec/volume-actions.md` §0.7): a user frees a server's row through Compute.
//!
//! It reads Compute's half of the same row, in the step that acts on it, so that a concurrent attach cannot slip between (R-40,
//! A Nova elsewhere keeps that half itself: it was asked before the command came here, and its answer counts for the very row
//! and connection that it was asked about. Where the volume has others by now, it has to be asked again.

use crate::domain::attachment::Attachment;
use crate::domain::compute::{Compute, UseQuestion};
use crate::domain::ids::AttachmentId;
use crate::domain::volume::command::{Caller, Facts, Refusal};
use crate::domain::volume::state::VolumeState;

/// Whether the caller may end what this row stands for.
pub(super) fn of_row(row: &Attachment, caller: &Caller, facts: &Facts) -> Result<(), Refusal> {
    if caller.is_service || !row.is_connected() {
        return Ok(());
    }
    match (&facts.compute, &row.bdm, &row.instance_uuid) {
        (Compute::Own, Some(bdm), _) => Err(Refusal::UsedByServer(bdm.server_id.clone())),
        (Compute::Own, None, _) | (_, _, None) => Ok(()),
        (Compute::Elsewhere(answer), _, Some(server_id)) => {
            let (server_id, export) = (server_id.clone(), row.export.clone());
            let question = UseQuestion { attachment_id: row.id, server_id, export };
            match answer.as_ref().filter(|answer| answer.question == question) {
                None => Err(Refusal::AskCompute(Box::new(question))),
                Some(answer) if answer.in_use => Err(Refusal::UsedByServer(question.server_id)),
                Some(_) => Ok(()),
            }
        }
    }
}

/// The same for an action that need not name its row.
pub(super) fn of_volume(
    state: &VolumeState,
    row_id: Option<AttachmentId>,
    caller: &Caller,
    facts: &Facts,
) -> Result<(), Refusal> {
    if caller.is_service {
        return Ok(());
    }
    match (row_id, state.attachments.as_slice()) {
        (Some(id), _) => match state.attachment(id) {
            Some(row) => of_row(row, caller, facts),
            // As in Cinder: what is not known may be in use (Q7).
            None => Err(Refusal::Conflict(format!("attachment {id} of volume {} is not known", state.id()))),
        },
        (None, []) => Ok(()),
        (None, [row]) => of_row(row, caller, facts),
        (None, _) => {
            let volume = state.id();
            Err(Refusal::Conflict(format!("volume {volume} has more than one attachment: name the one that is meant")))
        }
    }
}
