//! `DELETE /volumes/{id}`, plain, forced, and with the snapshots (`spec/volumes.md` §6). Live rows block every form of it.
//! The snapshots of a cascade are all prepared in the step that admits it, or it is refused.

use super::connection;
use super::draft::Draft;
use super::snapshot::{SNAPSHOT_DELETABLE, set_status};
use crate::domain::ids::OperationId;
use crate::domain::operation::{Operation, OperationKind};
use crate::domain::snapshot::Snapshot;
use crate::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, FROZEN, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source statuses of a plain delete.
pub const DELETABLE: &[VolumeStatus] = &[
    VolumeStatus::Available,
    VolumeStatus::Error,
    VolumeStatus::ErrorRestoring,
    VolumeStatus::ErrorExtending,
    VolumeStatus::ErrorManaging,
];

pub(super) fn delete(state: &VolumeState, force: bool, cascade: bool, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let running = state.data_work();
    // What is let go of keeps its data: that was promised first.
    if state.operations.iter().any(|operation| operation.kind.keeps_data()) {
        return refuse(state);
    }
    // It may still wait until an image is removed that was cut off.
    if state.operations.iter().any(|operation| operation.kind == OperationKind::Delete) {
        return if force {
            // A forced delete joins the running one.
            Verdict::Nothing { jobs: Vec::new(), attachment_id: None }
        } else {
            refuse(state)
        };
    }
    // Read in this very step: a delete that was admitted before the freeze goes on.
    if facts.hosts.frozen {
        return Verdict::Refuse(Refusal::InvalidInput(FROZEN.to_owned()));
    }
    // A volume that is half reverted has no contents to fall back to (races.md §4).
    if running.is_some_and(|operation| matches!(operation.kind, OperationKind::Revert { .. })) {
        return refuse(state);
    }
    if is_held(state, force) || (!force && (!DELETABLE.contains(&volume.status) || running.is_some())) {
        return refuse(state);
    }
    let may_go = |snapshot: &Snapshot| {
        let is_own = caller.is_admin || snapshot.project_id == volume.project_id;
        cascade && is_own && (force || SNAPSHOT_DELETABLE.contains(&snapshot.status))
    };
    if !state.snapshots.iter().all(may_go) {
        return refuse(state);
    }

    let mut draft = Draft::of(state, caller, facts);
    cut_off(&mut draft, state);
    if volume.host.is_none() {
        forget_unplaced(&mut draft);
        return draft.finish();
    }
    for snapshot in &state.snapshots {
        set_status(&mut draft, snapshot.id, SnapshotStatus::Deleting);
    }
    begin(&mut draft);
    draft.finish()
}

/// Whether somebody has the volume, or it migrates. A host that is connected without a row is there all the same; only a
/// forced delete ends its connection (design §5).
pub(super) fn is_held(state: &VolumeState, force: bool) -> bool {
    state.attachments.iter().any(crate::domain::attachment::Attachment::holds_volume)
        || (!force && connection::is_connected(state))
        || state.volume.attach_status == AttachStatus::Attached
        || !state.is_migration_idle()
        || state.swap().is_some()
}

/// Fences whatever runs: a forced delete cuts it off, repair of exports becomes part of the work itself. What removes a
/// snapshot, or what a migration has left, does a part of the work: it is waited for.
pub(super) fn cut_off(draft: &mut Draft<'_>, state: &VolumeState) {
    let is_of_use = |operation: &Operation| {
        matches!(operation.kind, OperationKind::DeleteSnapshot { .. } | OperationKind::DiscardCopy { .. })
    };
    for operation in state.operations.iter().filter(|operation| !is_of_use(operation)) {
        draft.fence(operation.id, Refusal::Conflict("the volume is being deleted".to_owned()));
    }
    connection::orphan(&mut draft.next, |_| true);
}

/// The end of a volume that was never scheduled: there is nothing at any backend.
pub(super) fn forget_unplaced(draft: &mut Draft<'_>) {
    let now = draft.facts.now;
    draft.next.volume.deleted = true;
    draft.next.volume.deleted_at = Some(now);
    draft.next.attachments.clear();
    draft.next.snapshots.clear();
    draft.next.volume.claims = None;
}

/// Begins the delete that every check has passed. A volume whose adoption is under way or has failed keeps that in its word
/// (volumes.md §6; the API shows `deleting` all the same): should the object have become it after all, it is let go of, not
/// removed.
pub(super) fn begin(draft: &mut Draft<'_>) -> OperationId {
    let (before, now) = (draft.next.volume.status, draft.facts.now);
    let is_adoption = matches!(before, VolumeStatus::Managing | VolumeStatus::ErrorManaging);
    let (kind, status) = match is_adoption && draft.next.snapshots.is_empty() {
        true => (OperationKind::Unmanage, VolumeStatus::ErrorManagingDeleting),
        false => (OperationKind::Delete, VolumeStatus::Deleting),
    };
    let id = draft.begin(kind, 0);
    draft.next.volume.previous_status = Some(before);
    draft.next.volume.status = status;
    draft.next.volume.terminated_at = Some(now);
    id
}

pub(super) fn refuse(state: &VolumeState) -> Verdict {
    Verdict::Refuse(Refusal::InvalidVolume(format!(
        "volume status must be {} and must not be migrating, attached, belong to a group, have snapshots or be disassociated \
         from snapshots after volume transfer (current status: {})",
        DELETABLE.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
        state.volume.status
    )))
}
