//! `DELETE /volumes/{id}`, plain and forced (`spec/volumes.md` §6). Live rows block every form of it.

use super::connection;
use super::draft::Draft;
use crate::domain::ids::OperationId;
use crate::domain::operation::{Lane, OperationKind};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source statuses of a plain delete.
pub const DELETABLE: &[VolumeStatus] = &[
    VolumeStatus::Available,
    VolumeStatus::Error,
    VolumeStatus::ErrorRestoring,
    VolumeStatus::ErrorExtending,
    VolumeStatus::ErrorManaging,
];

pub(super) fn delete(state: &VolumeState, force: bool, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let running = state.operation_in(Lane::Data);
    if running.is_some_and(|operation| operation.kind == OperationKind::Delete) {
        return if force {
            // A forced delete joins the running one.
            Verdict::Nothing { jobs: Vec::new(), attachment_id: None }
        } else {
            refuse(state)
        };
    }
    let held = state.attachments.iter().any(crate::domain::attachment::Attachment::holds_volume);
    // A host that is connected without a row is there all the same; only a forced delete ends its connection (design §5).
    let is_connected = !force && !volume.connections().is_empty();
    if is_connected || volume.attach_status == AttachStatus::Attached || held || !state.is_migration_idle() {
        return refuse(state);
    }
    if !force && (!DELETABLE.contains(&volume.status) || running.is_some()) {
        return refuse(state);
    }

    let mut draft = Draft::of(state, caller, facts);
    for operation in &state.operations {
        // A forced delete fences whatever runs; repair of exports becomes part of the delete itself.
        draft.fence(operation.id, Refusal::Conflict("the volume is being deleted".to_owned()));
    }
    connection::orphan(&mut draft.next, |_| true);
    if volume.host.is_none() {
        // Never scheduled: there is nothing at any backend.
        draft.next.volume.deleted = true;
        draft.next.volume.deleted_at = Some(facts.now);
        draft.next.attachments.clear();
        draft.next.volume.claims = None;
        return draft.finish();
    }
    begin(&mut draft);
    draft.finish()
}

/// Begins the delete that every check has passed.
pub(super) fn begin(draft: &mut Draft<'_>) -> OperationId {
    let (before, now) = (draft.next.volume.status, draft.facts.now);
    let id = draft.begin(OperationKind::Delete, 0);
    draft.next.volume.previous_status = Some(before);
    // A volume whose adoption failed keeps that in its word (volumes.md §6); the API shows `deleting` all the same.
    draft.next.volume.status = match before {
        VolumeStatus::ErrorManaging => VolumeStatus::ErrorManagingDeleting,
        _ => VolumeStatus::Deleting,
    };
    draft.next.volume.terminated_at = Some(now);
    id
}

fn refuse(state: &VolumeState) -> Verdict {
    Verdict::Refuse(Refusal::InvalidVolume(format!(
        "volume status must be {} and must not be migrating, attached, belong to a group, have snapshots or be disassociated \
         from snapshots after volume transfer (current status: {})",
        DELETABLE.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
        state.volume.status
    )))
}
