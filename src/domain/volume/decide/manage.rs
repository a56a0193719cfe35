//! `os-unmanage` of volumes and snapshots (`spec/volume-actions.md` §2.9, `spec/snapshots.md` §3): the record goes, the data
//! stay at the backend, as an object that can be managed again. (How objects come under management is a part of `create` and
//! `snapshot`.)

use super::delete::{self, DELETABLE};
use super::draft::Draft;
use super::snapshot::{self, SNAPSHOT_DELETABLE};
use super::steps;
use crate::domain::backend::{Cause, CauseKind};
use crate::domain::ids::SnapshotId;
use crate::domain::operation::{Operation, OperationKind};
use crate::domain::status::{SnapshotStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// The conditions of a plain delete, except that a frozen backend does not mind.
pub(super) fn unmanage(state: &VolumeState, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let is_free = DELETABLE.contains(&volume.status) && state.data_work().is_none() && state.snapshots.is_empty();
    if !is_free || delete::is_held(state, false) {
        return delete::refuse(state);
    }
    let mut draft = Draft::of(state, caller, facts);
    delete::cut_off(&mut draft, state);
    if volume.host.is_none() {
        delete::forget_unplaced(&mut draft);
        return draft.finish();
    }
    draft.begin(OperationKind::Unmanage, 0);
    draft.next.volume.previous_status = Some(volume.status);
    draft.next.volume.status = VolumeStatus::Unmanaging;
    draft.next.volume.terminated_at = Some(facts.now);
    draft.finish()
}

pub(super) fn unmanage_snapshot(state: &VolumeState, id: SnapshotId, caller: &Caller, facts: &Facts) -> Verdict {
    let Some(found) = state.snapshot(id) else { return Verdict::Refuse(Refusal::SnapshotNotFound(id)) };
    if !SNAPSHOT_DELETABLE.contains(&found.status) || snapshot::work_on(state, id).is_some() {
        return snapshot::refuse_delete(false);
    }
    let mut draft = Draft::of(state, caller, facts);
    snapshot::set_status(&mut draft, id, SnapshotStatus::Unmanaging);
    draft.begin(OperationKind::UnmanageSnapshot { snapshot_id: id }, 0);
    draft.finish()
}

/// The volume stays, and so does its record.
pub(super) fn failed(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    draft.next.volume.terminated_at = None;
    let answer = Err(Refusal::Backend(cause.text.clone()));
    let was_adoption = draft.next.volume.status == VolumeStatus::ErrorManagingDeleting;
    if cause.kind == CauseKind::Busy && !was_adoption {
        return super::results::settle_ended(draft, operation.id, answer);
    }
    draft.tell_owner(super::failures::message(operation, "006", "001", cause));
    let status = if was_adoption { VolumeStatus::ErrorManaging } else { VolumeStatus::ErrorUnmanaging };
    super::settle::data_work_failed(&mut draft.next, status);
    draft.end(operation.id, answer);
}

/// The next step: exports that nobody owns, then the volume.
pub(super) fn next_step(state: &VolumeState) -> crate::domain::operation::Step {
    steps::next_orphan(state).unwrap_or(crate::domain::operation::Step::Disown)
}
