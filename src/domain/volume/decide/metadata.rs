//! Writes of metadata (`spec/volumes.md` §4, `spec/volume-actions.md` §2.5): tag, status and change are one step, so that of
//! two who have seen the same only one replaces it. The administrator's keys lie apart.

use super::draft::Draft;
use crate::domain::status::VolumeStatus;
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::metadata::{MetadataKind, MetadataWrite, metadata_tag};
use crate::domain::volume::state::VolumeState;

/// Statuses in which metadata cannot be written.
pub const METADATA_LOCKED: &[VolumeStatus] = &[VolumeStatus::Maintenance, VolumeStatus::Uploading];

pub(super) fn write(state: &VolumeState, write: &MetadataWrite, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let present = match write.kind {
        MetadataKind::User => &volume.metadata,
        MetadataKind::Image => &volume.image_metadata,
    };
    if let Some(tags) = &write.if_match
        && !tags.contains(&metadata_tag(present))
    {
        return Verdict::Refuse(Refusal::TagDiffers);
    }
    let changed = match write.change.applied(present) {
        Ok(changed) => changed,
        Err(key) => return Verdict::Refuse(absent(state, write.kind, key)),
    };
    if METADATA_LOCKED.contains(&volume.status) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "the metadata of volume {} cannot be written while its status is {}",
            volume.id, volume.status
        )));
    }
    let mut draft = Draft::of(state, caller, facts);
    match write.kind {
        MetadataKind::User => draft.next.volume.metadata = changed,
        MetadataKind::Image => draft.next.volume.image_metadata = changed,
    }
    draft.finish()
}

fn absent(state: &VolumeState, kind: MetadataKind, key: &str) -> Refusal {
    match kind {
        MetadataKind::User => Refusal::MetadataNotFound { volume_id: state.id(), key: key.to_owned() },
        MetadataKind::Image => Refusal::ImageMetadataNotFound(state.id()),
    }
}
