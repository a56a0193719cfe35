//! The rules of the requests about what is not Hearth's: adoption, its reverse, and the list.

use crate::domain::backend::{Answer, BackendObject, CallKey, CauseKind, ObjectKind};
use crate::domain::ids::SnapshotId;
use crate::domain::reference::{snapshot_reference, volume_reference};

use super::carry_out::{Effect, is_deleted_later};
use super::state::{Change, State};

/// Makes an object the volume.
pub fn adopt(state: &State, key: &CallKey, reference: &str, size_gib: u32) -> Effect {
    let volume_id = key.volume_id;
    if is_deleted_later(state, key) {
        return Effect::refused(CauseKind::Other, "the volume was deleted by a later operation");
    }
    let answer = Answer::Size { size_gib };
    if let Some(volume) = state.volumes.get(&volume_id) {
        return match volume.size_gib == size_gib {
            true => Effect::unchanged(answer),
            false => Effect::refused(CauseKind::Other, "a volume of another size exists at the backend under this id"),
        };
    }
    let change = Change::VolumeAdopted { volume_id, reference: reference.to_owned() };
    object_of(state, reference, size_gib).unwrap_or_else(|| Effect::changed(change, answer))
}

/// Makes an object a snapshot of the volume.
pub fn adopt_snapshot(state: &State, key: &CallKey, snapshot_id: SnapshotId, reference: &str, size_gib: u32) -> Effect {
    let volume_id = key.volume_id;
    if state.removed_snapshots.get(&snapshot_id).is_some_and(|epoch| key.epoch <= *epoch) {
        return Effect::refused(CauseKind::Other, "the snapshot was deleted by a later operation");
    }
    if state.snapshot(volume_id, snapshot_id).is_some() {
        return Effect::unchanged(Answer::Nothing);
    }
    match state.volumes.get(&volume_id) {
        None => return Effect::refused(CauseKind::Other, "the volume does not exist at the backend"),
        Some(volume) if volume.size_gib < size_gib => {
            return Effect::refused(CauseKind::Other, "the object is larger than the volume");
        }
        Some(_) => {}
    }
    let change = Change::SnapshotAdopted { volume_id, snapshot_id, reference: reference.to_owned() };
    object_of(state, reference, size_gib).unwrap_or_else(|| Effect::changed(change, Answer::Nothing))
}

/// Why there is no such object.
fn object_of(state: &State, reference: &str, size_gib: u32) -> Option<Effect> {
    match state.objects.get(reference) {
        None => Some(Effect::refused(CauseKind::Other, "the backend has no object of this name")),
        Some(object) if object.size_gib() != size_gib => {
            Some(Effect::refused(CauseKind::Other, "the object has another size"))
        }
        Some(_) => None,
    }
}

/// Makes the volume an object.
pub fn disown(state: &State, key: &CallKey) -> Effect {
    let volume_id = key.volume_id;
    if !state.exports_of(volume_id).is_empty() {
        return Effect::refused(CauseKind::Busy, "the volume has live exports");
    }
    if state.snapshots.contains_key(&volume_id) {
        return Effect::refused(CauseKind::Busy, "the volume has snapshots");
    }
    let is_there = state.volumes.contains_key(&volume_id);
    if is_there && state.objects.contains_key(&volume_reference(volume_id)) {
        return Effect::refused(CauseKind::Other, "another object has the volume's name");
    }
    if !is_there && state.removed.get(&volume_id) >= Some(&key.epoch) {
        return Effect::unchanged(Answer::Nothing);
    }
    Effect::changed(Change::VolumeDisowned { volume_id, epoch: key.epoch }, Answer::Nothing)
}

/// Makes a snapshot an object.
pub fn disown_snapshot(state: &State, key: &CallKey, snapshot_id: SnapshotId, is_read: bool) -> Effect {
    if is_read {
        return Effect::refused(CauseKind::Busy, "a volume is being made from the snapshot");
    }
    let (volume_id, epoch) = (key.volume_id, key.epoch);
    let is_there = state.snapshot(volume_id, snapshot_id).is_some();
    if is_there && state.objects.contains_key(&snapshot_reference(snapshot_id)) {
        return Effect::refused(CauseKind::Other, "another object has the snapshot's name");
    }
    if !is_there && state.removed_snapshots.get(&snapshot_id) >= Some(&epoch) {
        return Effect::unchanged(Answer::Nothing);
    }
    Effect::changed(Change::SnapshotDisowned { volume_id, snapshot_id, epoch }, Answer::Nothing)
}

/// Everything at the backend.
pub fn list(state: &State) -> Effect {
    let own = |(id, volume): (&_, &super::state::SimVolume)| BackendObject {
        reference: volume_reference(*id),
        size_gib: volume.size_gib,
        kind: ObjectKind::Volume { id: Some(*id) },
        trouble: None,
    };
    let own_snapshots = state.snapshots.iter().flat_map(|(volume_id, snapshots)| {
        snapshots.iter().map(|(id, snapshot)| BackendObject {
            reference: snapshot_reference(*id),
            size_gib: snapshot.size_gib,
            kind: ObjectKind::Snapshot { id: Some(*id), volume_id: *volume_id },
            trouble: None,
        })
    });
    let others = state.objects.iter().map(|(reference, object)| BackendObject {
        reference: reference.clone(),
        size_gib: object.size_gib(),
        kind: match object.snapshot_of {
            None => ObjectKind::Volume { id: None },
            Some(volume_id) => ObjectKind::Snapshot { id: None, volume_id },
        },
        trouble: None,
    });
    let objects = state.volumes.iter().map(own).chain(own_snapshots).chain(others).collect();
    Effect::unchanged(Answer::Objects { objects })
}
