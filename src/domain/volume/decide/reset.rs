//! `os-reset_status` (`spec/volume-actions.md` §2.3): sets words, fences running work (R-83…R-86), calls no backend.

use super::draft::Draft;
use super::{connection, migrate, settle, swap, swapping};
use crate::domain::operation::{Lane, Operation, OperationKind};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

pub(super) fn reset_status(
    state: &VolumeState,
    status: Option<VolumeStatus>,
    attach_status: Option<AttachStatus>,
    migration_status: Option<&Option<String>>,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    if status == Some(VolumeStatus::Deleting) {
        return Verdict::Refuse(Refusal::InvalidInput("cannot reset-state to deleting".to_owned()));
    }
    if status == Some(VolumeStatus::InUse) && state.attachments.is_empty() {
        return Verdict::Refuse(Refusal::InvalidInput(
            "cannot reset-state to in-use because volume does not have any attachment".to_owned(),
        ));
    }
    let takes_away = |kind: &OperationKind| matches!(kind, OperationKind::Delete | OperationKind::Unmanage);
    if let Some(running) = state.operations.iter().find(|operation| takes_away(&operation.kind)) {
        let verb = running.kind.name();
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "a {verb} of the volume is running and cannot be reset"
        )));
    }

    let mut draft = Draft::of(state, caller, facts);
    // Snapshots have words of their own (races.md §4).
    let has_volume_word = |operation: &&Operation| {
        let is_beside = |kind: &OperationKind| {
            matches!(kind, OperationKind::Repair | OperationKind::DiscardCopy { .. } | OperationKind::NotifyCompute(_))
        };
        !is_beside(&operation.kind) && operation.kind.snapshot_id().is_none()
    };
    const WHY: &str = "the volume's status was reset by an administrator";
    for operation in state.operations.iter().filter(has_volume_word) {
        match operation.kind {
            // What it has made elsewhere goes, and a guest that is half moved is asked first.
            OperationKind::Migrate(_) => migrate::call_off(&mut draft, operation, WHY),
            // As far as it can still be: past the pivot it ends by itself, and soon.
            OperationKind::SwapIn(_) => swapping::call_off(&mut draft, operation, WHY),
            OperationKind::SwapOut(_) => swap::ask_back(&mut draft, &operation.kind),
            _ => draft.fence(operation.id, Refusal::Conflict(WHY.to_owned())),
        }
    }
    if status.is_none() {
        words_of_cut_off_work(&mut draft.next, state);
    }
    match attach_status {
        Some(AttachStatus::Detached) => {
            // The rows go as asked; exports that may be live stay registered as orphans.
            for row in &state.attachments {
                draft.remove_row(row.id);
            }
            connection::orphan(&mut draft.next, |_| true);
            draft.next.volume.change_claims(|claims| claims.marker = None);
            draft.next.volume.attach_status = AttachStatus::Detached;
            draft.next.volume.admin_metadata.remove("attached_mode");
            if status.is_none() && draft.next.migration().is_some() {
                // It only takes its guest back, or ends its pivot: the word is not its own any more.
                settle::data_work_ended(&mut draft.next);
            } else if status.is_none() {
                settle::rows_changed(&mut draft.next);
            }
        }
        Some(other) => draft.next.volume.attach_status = other,
        None => {}
    }
    if let Some(status) = status {
        // The administrator's word replaces that of whoever had marked the volume.
        draft.next.volume.change_claims(|claims| claims.marker = None);
        draft.next.volume.previous_status = Some(state.volume.status);
        draft.next.volume.status = status;
    }
    if let Some(migration_status) = migration_status {
        draft.next.volume.migration_status = migration_status.as_deref().map(Text::from);
    }
    // Even if no word changes, older results must not be applied any more.
    draft.next.volume.epoch += 1;
    draft.finish()
}

/// No word is asked for, but the word of work that is cut off would have no owner any more (P5): the rows decide, and a
/// volume that nobody has seen complete is in error.
fn words_of_cut_off_work(next: &mut VolumeState, before: &VolumeState) {
    match before.operation_in(Lane::Data).map(|running| &running.kind) {
        Some(OperationKind::Manage { .. }) => settle::data_work_failed(next, VolumeStatus::ErrorManaging),
        Some(kind) if kind.creates_volume() => settle::data_work_failed(next, VolumeStatus::Error),
        Some(_) => settle::data_work_ended(next),
        None if before.operations.is_empty() => {}
        None => settle::rows_changed(next),
    }
}
