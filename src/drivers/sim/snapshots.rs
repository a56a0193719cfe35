//! The rules of the requests about snapshots; a volume that is made from one is a copy like a clone (`carry_out`).

use crate::domain::backend::{Answer, CallKey, CauseKind};
use crate::domain::ids::{SnapshotId, VolumeId};

use super::carry_out::Effect;
use super::state::{Change, State};

/// Keeps what the volume holds.
pub fn create(state: &State, key: &CallKey, snapshot_id: SnapshotId, free_gib: u64) -> Effect {
    let volume_id = key.volume_id;
    // Before everything else: a message that was on its way when the snapshot was deleted must not bring it back.
    if state.removed_snapshots.get(&snapshot_id).is_some_and(|epoch| key.epoch <= *epoch) {
        return Effect::refused(CauseKind::Other, "the snapshot was deleted by a later operation");
    }
    if state.snapshot(volume_id, snapshot_id).is_some() {
        return Effect::unchanged(Answer::Nothing);
    }
    match state.volumes.get(&volume_id) {
        None => Effect::refused(CauseKind::Other, "the volume does not exist at the backend"),
        Some(volume) if u64::from(volume.size_gib) > free_gib => {
            Effect::refused(CauseKind::NoSpace, "the backend has no room")
        }
        Some(_) => Effect::changed(Change::SnapshotCreated { volume_id, snapshot_id }, Answer::Nothing),
    }
}

/// Removes the snapshot.
pub fn delete(state: &State, key: &CallKey, snapshot_id: SnapshotId, is_read: bool) -> Effect {
    if is_read {
        return Effect::refused(CauseKind::Busy, "a volume is being made from the snapshot");
    }
    let (volume_id, epoch) = (key.volume_id, key.epoch);
    if state.snapshot(volume_id, snapshot_id).is_none() && state.removed_snapshots.get(&snapshot_id) >= Some(&epoch) {
        return Effect::unchanged(Answer::Nothing);
    }
    Effect::changed(Change::SnapshotDeleted { volume_id, snapshot_id, epoch }, Answer::Nothing)
}

/// Puts the volume back.
pub fn revert(state: &State, volume_id: VolumeId, snapshot_id: SnapshotId) -> Effect {
    let Some(volume) = state.volumes.get(&volume_id) else {
        return Effect::refused(CauseKind::Other, "the volume does not exist at the backend");
    };
    if !state.exports_of(volume_id).is_empty() {
        return Effect::refused(CauseKind::Busy, "the volume has live exports");
    }
    match state.snapshot(volume_id, snapshot_id) {
        None => Effect::refused(CauseKind::Other, "the snapshot does not exist at the backend"),
        Some(snapshot) if snapshot.size_gib != volume.size_gib => {
            Effect::refused(CauseKind::Other, "the snapshot has another size than the volume")
        }
        Some(_) => Effect::changed(Change::VolumeReverted { volume_id, snapshot_id }, Answer::Nothing),
    }
}
