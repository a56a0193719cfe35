//! `PUT /volumes/{id}`: name, description and metadata. Serial with everything else, never in its way.

use super::draft::Draft;
use crate::domain::status::VolumeStatus;
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, Facts, Refusal, UpdateVolume, Verdict};
use crate::domain::volume::state::VolumeState;

pub(super) fn update(state: &VolumeState, change: &UpdateVolume, caller: &Caller, facts: &Facts) -> Verdict {
    if state.volume.status == VolumeStatus::Maintenance {
        return Verdict::Refuse(Refusal::InvalidVolume("the volume is in maintenance".to_owned()));
    }
    let mut draft = Draft::of(state, caller, facts);
    if let Some(name) = &change.name {
        draft.next.volume.name = name.as_deref().map(Text::from);
    }
    if let Some(description) = &change.description {
        draft.next.volume.description = description.as_deref().map(Text::from);
    }
    if let Some(metadata) = &change.metadata {
        draft.next.volume.metadata.clone_from(metadata);
    }
    draft.finish()
}
