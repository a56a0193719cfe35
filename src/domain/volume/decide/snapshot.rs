//! Snapshots (`spec/snapshots.md`): admitted, changed and removed in steps of their volume, so that none is ever of a deleted
//! volume and "the latest" is known where it counts.

use super::draft::Draft;
use crate::domain::ids::SnapshotId;
use crate::domain::operation::{Operation, OperationKind, Step};
use crate::domain::snapshot::Snapshot;
use crate::domain::status::{SnapshotStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, CreateSnapshot, FROZEN, Facts, Refusal, Verdict};
use crate::domain::volume::metadata::MetadataChange;
use crate::domain::volume::state::VolumeState;

/// Source statuses of the volume.
pub const SNAPSHOTABLE: &[VolumeStatus] = &[VolumeStatus::Available];
/// Source statuses of the volume with `force`, and from microversion 3.66.
pub const SNAPSHOTABLE_IN_USE: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::InUse];
/// Statuses of a snapshot which may be deleted.
pub const SNAPSHOT_DELETABLE: &[SnapshotStatus] = &[SnapshotStatus::Available, SnapshotStatus::Error];

pub(super) fn create(state: &VolumeState, request: &CreateSnapshot, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let refuse = |text: String| Verdict::Refuse(Refusal::InvalidVolume(text));
    if volume.host.is_none() {
        let text = "The snapshot cannot be created because volume has not been scheduled to any host.";
        return refuse(text.to_owned());
    }
    if facts.hosts.frozen {
        return frozen();
    }
    if !state.is_migration_idle() {
        return refuse(format!("The snapshot cannot be created when the volume {} is migrating.", volume.id));
    }
    let reason = match volume.status {
        VolumeStatus::Maintenance => Some("in maintenance"),
        VolumeStatus::Error => Some("in error"),
        _ => None,
    };
    if let Some(reason) = reason {
        return refuse(format!("The snapshot cannot be created when the volume {} is {reason}.", volume.id));
    }
    let allowed = if request.in_use_allowed { SNAPSHOTABLE_IN_USE } else { SNAPSHOTABLE };
    if !allowed.contains(&volume.status) {
        return refuse(format!(
            "Volume {} status must be {}, but current status is: {}.",
            volume.id,
            allowed.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
            volume.status
        ));
    }
    // The word may have been set by hand: work on the data is in the way all the same (P5).
    if let Some(running) = state.data_work() {
        return refuse(format!("a {} of the volume is running", running.kind.name()));
    }
    if let Some(adoption) = request.adopts.as_ref().filter(|adoption| adoption.size_gib > volume.size_gib) {
        return refuse(format!(
            "a snapshot of {} GiB is larger than volume {} ({} GiB).",
            adoption.size_gib, volume.id, volume.size_gib
        ));
    }
    if state.snapshot(request.snapshot_id).is_some() {
        return Verdict::Refuse(Refusal::Conflict(format!("snapshot {} exists already", request.snapshot_id)));
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.next.snapshots.push(Snapshot {
        id: request.snapshot_id,
        volume_id: volume.id,
        project_id: caller.requester.project_id.clone(),
        user_id: caller.requester.user_id.clone(),
        name: request.name.as_deref().map(Text::from),
        description: request.description.as_deref().map(Text::from),
        status: SnapshotStatus::Creating,
        progress: 0,
        size_gib: request.adopts.as_ref().map_or(volume.size_gib, |adoption| adoption.size_gib),
        metadata: request.metadata.clone(),
        consumes_quota: true,
        created_at: facts.now,
        updated_at: None,
    });
    let snapshot_id = request.snapshot_id;
    let kind = match &request.adopts {
        None => OperationKind::CreateSnapshot { snapshot_id },
        Some(adoption) => OperationKind::ManageSnapshot { snapshot_id, reference: adoption.reference.clone() },
    };
    draft.begin(kind, 0);
    draft.judge_growth();
    draft.finish()
}

/// Read in the step that decides: what was admitted before the freeze goes on.
fn frozen() -> Verdict {
    Verdict::Refuse(Refusal::InvalidInput(FROZEN.to_owned()))
}

pub(super) fn update(
    state: &VolumeState,
    id: SnapshotId,
    name: Option<&Option<String>>,
    description: Option<&Option<String>>,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    let Some(snapshot) = draft.next.snapshot_mut(id) else { return not_found(id) };
    if let Some(name) = name {
        snapshot.name = name.as_deref().map(Text::from);
    }
    if let Some(description) = description {
        snapshot.description = description.as_deref().map(Text::from);
    }
    snapshot.updated_at = Some(facts.now);
    draft.finish()
}

pub(super) fn write_metadata(
    state: &VolumeState,
    id: SnapshotId,
    change: &MetadataChange,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    let Some(snapshot) = draft.next.snapshot_mut(id) else { return not_found(id) };
    match change.applied(&snapshot.metadata) {
        Ok(metadata) => snapshot.metadata = metadata,
        Err(key) => {
            let key = key.to_owned();
            return Verdict::Refuse(Refusal::SnapshotMetadataNotFound { snapshot_id: id, key });
        }
    }
    snapshot.updated_at = Some(facts.now);
    draft.finish()
}

pub(super) fn delete(state: &VolumeState, id: SnapshotId, force: bool, caller: &Caller, facts: &Facts) -> Verdict {
    let Some(snapshot) = state.snapshot(id) else { return not_found(id) };
    if work_on(state, id).is_some_and(|running| matches!(running.kind, OperationKind::DeleteSnapshot { .. })) {
        return if force {
            // It joins the running one, as with volumes.
            Verdict::Nothing { jobs: Vec::new(), attachment_id: None }
        } else {
            refuse_delete(false)
        };
    }
    // Its volume is being put back to it, or removed with it, or its data are promised to stay: none can be cut short.
    let is_needed = state.operations.iter().any(|running| match running.kind {
        OperationKind::Revert { snapshot_id } | OperationKind::UnmanageSnapshot { snapshot_id } => snapshot_id == id,
        OperationKind::Delete => true,
        _ => false,
    });
    if is_needed || !(force || SNAPSHOT_DELETABLE.contains(&snapshot.status)) {
        return refuse_delete(force);
    }
    if facts.hosts.frozen {
        return frozen();
    }
    let mut draft = Draft::of(state, caller, facts);
    if let Some(running) = work_on(state, id) {
        draft.fence(running.id, Refusal::Conflict("the snapshot is being deleted".to_owned()));
    }
    set_status(&mut draft, id, SnapshotStatus::Deleting);
    draft.begin(OperationKind::DeleteSnapshot { snapshot_id: id }, 0);
    draft.finish()
}

pub(super) fn refuse_delete(force: bool) -> Verdict {
    let status = if force { "" } else { "status must be available or error and " };
    Verdict::Refuse(Refusal::InvalidSnapshot(format!("Snapshot {status}must not be part of a group.")))
}

/// Sets the word. Work whose result it anticipates is cut off, but not a removal (as R-83 for volumes).
pub(super) fn reset_status(
    state: &VolumeState,
    id: SnapshotId,
    status: SnapshotStatus,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    if state.snapshot(id).is_none() {
        return not_found(id);
    }
    let mut draft = Draft::of(state, caller, facts);
    if let Some(running) = work_on(state, id) {
        let takes_away = matches!(running.kind, OperationKind::DeleteSnapshot { .. } | OperationKind::Delete);
        if takes_away || running.kind.keeps_data() {
            let text = "a delete of the snapshot is running and cannot be reset";
            return Verdict::Refuse(Refusal::InvalidSnapshot(text.to_owned()));
        }
        let text = "the snapshot's status was reset by an administrator";
        draft.fence(running.id, Refusal::Conflict(text.to_owned()));
    }
    set_status(&mut draft, id, status);
    draft.next.volume.epoch += 1;
    draft.finish()
}

/// `os-update_snapshot_status` (`spec/snapshots.md` §3).
pub(super) fn progress(
    state: &VolumeState,
    id: SnapshotId,
    status: SnapshotStatus,
    progress: Option<u8>,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    use SnapshotStatus::{Available, Creating, Deleting, Error, ErrorDeleting};
    let Some(snapshot) = state.snapshot(id) else { return not_found(id) };
    let refuse = |text: String| Verdict::Refuse(Refusal::BadRequest(text));
    let allowed: &[SnapshotStatus] = match snapshot.status {
        Creating => &[Creating, Available, Error],
        Deleting => &[Deleting, ErrorDeleting],
        other => return refuse(format!("Snapshot status {other} not allowed for update_snapshot_status")),
    };
    if !allowed.contains(&status) {
        return refuse(format!(
            "Provided snapshot status {status} not allowed for snapshot with status {}.",
            snapshot.status
        ));
    }
    let mut draft = Draft::of(state, caller, facts);
    if let Some(snapshot) = draft.next.snapshot_mut(id) {
        snapshot.progress = progress.unwrap_or(snapshot.progress);
    }
    // Our own work on it says itself how it ends; until then the word is its own.
    if work_on(state, id).is_none() {
        set_status(&mut draft, id, status);
    }
    draft.finish()
}

/// The open operation that takes or removes this snapshot, alone or with its volume.
pub(super) fn work_on(state: &VolumeState, id: SnapshotId) -> Option<&Operation> {
    let is_meant = |kind: &OperationKind| kind.snapshot_id() == Some(id) || *kind == OperationKind::Delete;
    state.operations.iter().find(|operation| is_meant(&operation.kind))
}

/// A new word for a snapshot.
pub(super) fn set_status(draft: &mut Draft<'_>, id: SnapshotId, status: SnapshotStatus) {
    let now = draft.facts.now;
    if let Some(snapshot) = draft.next.snapshot_mut(id) {
        snapshot.status = status;
        snapshot.updated_at = Some(now);
        if status == SnapshotStatus::Available {
            snapshot.progress = 100;
        }
    }
}

/// Work on the volume as a whole has ended: the snapshots which had its word and are still there get their own back. One that
/// was never complete, or which an earlier call may still remove, is in error.
pub(super) fn release(draft: &mut Draft<'_>) {
    let is_bound = |snapshot: &&Snapshot| {
        let removed = work_on(&draft.next, snapshot.id).is_some();
        matches!(snapshot.status, SnapshotStatus::Deleting | SnapshotStatus::Restoring) && !removed
    };
    let bound = draft.next.snapshots.iter().filter(is_bound);
    for (id, progress) in bound.map(|snapshot| (snapshot.id, snapshot.progress)).collect::<Vec<_>>() {
        let is_removal = |step: &Step| matches!(step, Step::DeleteSnapshot { snapshot_id } | Step::DisownSnapshot { snapshot_id } if *snapshot_id == id);
        let status = if draft.next.volume.outstanding.iter().any(|call| is_removal(&call.key.step)) {
            SnapshotStatus::ErrorDeleting
        } else if progress == 100 {
            SnapshotStatus::Available
        } else {
            SnapshotStatus::Error
        };
        set_status(draft, id, status);
    }
}

fn not_found(id: SnapshotId) -> Verdict {
    Verdict::Refuse(Refusal::SnapshotNotFound(id))
}
