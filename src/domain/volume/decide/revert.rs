//! `revert` (`spec/volume-actions.md` §2.4): volume and snapshot change their words in one step, or neither does, and
//! the latest snapshot is the latest of that step.

use super::connection;
use super::draft::Draft;
use super::snapshot::set_status;
use crate::domain::ids::SnapshotId;
use crate::domain::operation::OperationKind;
use crate::domain::snapshot::Snapshot;
use crate::domain::status::{SnapshotStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source status of the volume.
pub const REVERTABLE: VolumeStatus = VolumeStatus::Available;

/// The latest snapshot, which must be the one that is asked for, and of the volume's size; whatever the statuses are.
pub fn revert_target(state: &VolumeState, asked: Option<SnapshotId>) -> Result<&Snapshot, Refusal> {
    let volume = &state.volume;
    let latest = state.snapshots.last();
    let latest = latest.ok_or_else(|| Refusal::BadRequest(format!("Volume {} has no snapshots.", volume.id)))?;
    if asked != Some(latest.id) {
        let asked = asked.map_or_else(|| "None".to_owned(), |id| id.to_string());
        return Err(Refusal::BadRequest(format!(
            "Specified snapshot {asked} is not the latest one of volume {}.",
            volume.id
        )));
    }
    if latest.size_gib != volume.size_gib {
        return Err(Refusal::BadRequest(format!(
            "The size of snapshot {} ({} GiB) is not that of volume {} ({} GiB).",
            latest.id, latest.size_gib, volume.id, volume.size_gib
        )));
    }
    Ok(latest)
}

pub(super) fn revert(state: &VolumeState, asked: Option<SnapshotId>, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let latest = match revert_target(state, asked) {
        Ok(latest) => latest,
        Err(refusal) => return Verdict::Refuse(refusal),
    };
    let held = state.attachments.iter().any(crate::domain::attachment::Attachment::holds_volume)
        || !volume.connections().is_empty();
    if volume.status != REVERTABLE || state.data_work().is_some() || held || !state.is_migration_idle() {
        return Verdict::Refuse(Refusal::Conflict(format!(
            "volume {} status must be {REVERTABLE} to revert, but current status is: {}",
            volume.id, volume.status
        )));
    }
    if connection::is_connected(state) {
        return Verdict::Refuse(Refusal::Conflict(format!("volume {} is connected to a host", volume.id)));
    }
    if !volume.orphan_exports.is_empty() {
        let text = format!("an earlier connection of volume {} is still being ended", volume.id);
        return Verdict::Refuse(Refusal::Conflict(text));
    }
    if latest.status != SnapshotStatus::Available {
        return Verdict::Refuse(Refusal::Conflict(format!(
            "snapshot {} status must be available to revert, but current status is: {}",
            latest.id, latest.status
        )));
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.begin(OperationKind::Revert { snapshot_id: latest.id }, 0);
    draft.next.volume.previous_status = Some(volume.status);
    draft.next.volume.status = VolumeStatus::Reverting;
    set_status(&mut draft, latest.id, SnapshotStatus::Restoring);
    draft.finish()
}
