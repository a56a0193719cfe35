//! `os-set_bootable` and `os-update_readonly_flag` (`spec/volume-actions.md` §2.6, §2.18).

use super::draft::Draft;
use crate::domain::metadata::Metadata;
use crate::domain::status::VolumeStatus;
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source statuses of a change of the readonly flag: whoever has the volume attached was told how he may use it.
pub const READONLY_CHANGEABLE: &[VolumeStatus] = &[VolumeStatus::Available];

pub(super) fn set_bootable(state: &VolumeState, bootable: bool, caller: &Caller, facts: &Facts) -> Verdict {
    if state.volume.status == VolumeStatus::Maintenance {
        return Verdict::Refuse(Refusal::InvalidVolume("the volume is in maintenance".to_owned()));
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.next.volume.bootable = bootable;
    draft.finish()
}

/// An attach is decided by the same actor: either it finds the flag, or the flag finds it.
pub(super) fn set_readonly(state: &VolumeState, readonly: bool, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    if !READONLY_CHANGEABLE.contains(&volume.status) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "volume {} status must be available to update the readonly flag, but the current status is {}",
            volume.id, volume.status
        )));
    }
    let flag = ("readonly", if readonly { "True" } else { "False" });
    let mut draft = Draft::of(state, caller, facts);
    draft.next.volume.admin_metadata = volume.admin_metadata.iter().chain([flag]).collect::<Metadata>();
    draft.finish()
}
