//! `os-extend` (`spec/volume-actions.md` §2.1): status, size test, quota reservation and intent are one step.

use super::create::over_volume_size;
use super::draft::Draft;
use crate::domain::operation::{Lane, OperationKind};
use crate::domain::status::VolumeStatus;
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source statuses of an extend.
pub const EXTENDABLE: &[VolumeStatus] = &[VolumeStatus::Available];
/// Source statuses of an extend from microversion 3.42.
pub const EXTENDABLE_ONLINE: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::InUse];

pub(super) fn extend(
    state: &VolumeState,
    new_size_gib: u32,
    in_use_allowed: bool,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let volume = &state.volume;
    if new_size_gib <= volume.size_gib {
        return Verdict::Refuse(Refusal::InvalidInput(format!(
            "New size for extend must be greater than current size. (current: {}, extended: {new_size_gib}).",
            volume.size_gib
        )));
    }
    if let Some(of_type) = &facts.limits.of_type
        && let Err(text) = of_type.sizes.check(new_size_gib, &of_type.name)
    {
        return Verdict::Refuse(Refusal::InvalidInput(text));
    }
    let allowed = if in_use_allowed { EXTENDABLE_ONLINE } else { EXTENDABLE };
    if !allowed.contains(&volume.status) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "volume {} status must be {} to extend, but current status is: {}",
            volume.id,
            allowed.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
            volume.status
        )));
    }
    // The word may have been set by hand; a running operation counts all the same (P5).
    if let Some(running) = state.operation_in(Lane::Data) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!("a {} of the volume is running", running.kind.name())));
    }
    if !state.is_migration_idle() {
        return Verdict::Refuse(Refusal::InvalidVolume("the volume is migrating".to_owned()));
    }
    if let Some(refusal) = over_volume_size(new_size_gib, facts) {
        return Verdict::Refuse(refusal);
    }
    let mut draft = Draft::of(state, caller, facts);
    let id = draft.begin(OperationKind::Extend { new_size_gib }, 0);
    let growth = new_size_gib - volume.size_gib;
    if let Some(operation) = draft.operation_mut(id) {
        operation.reserved_gib = growth;
    }
    draft.next.volume.previous_status = Some(volume.status);
    draft.next.volume.status = VolumeStatus::Extending;
    draft.judge_growth();
    draft.finish()
}
