//! `os-reserve`, `os-unreserve`, `os-begin_detaching`, `os-roll_detaching` (`spec/volume-actions.md` §2.17): the word of the
//! volume and a marker that owns it, nothing else. The marker is durable, so that the word is stable across restarts.

use super::draft::Draft;
use super::settle;
use crate::domain::attachment::Attachment;
use crate::domain::claims::{Marker, MarkerKind};
use crate::domain::operation::Lane;
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source statuses of `os-reserve`.
pub const RESERVABLE: &[VolumeStatus] = &[VolumeStatus::Available];
/// Source statuses of `os-reserve` of a multiattach volume.
pub const RESERVABLE_MULTI: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::InUse];

pub(super) fn reserve(state: &VolumeState, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let allowed = if volume.multiattach { RESERVABLE_MULTI } else { RESERVABLE };
    // The word may have been set by hand: rows and running work count as well (P5, R-84).
    let is_held = !volume.multiattach && state.attachments.iter().any(Attachment::holds_volume);
    let is_idle = state.operation_in(Lane::Data).is_none();
    if !allowed.contains(&volume.status) || is_held || !is_idle || volume.host.is_none() {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "volume {} status must be {} and nobody may hold it to reserve, but the current status is {}",
            volume.id,
            allowed.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
            volume.status
        )));
    }
    mark(state, MarkerKind::Reserved, VolumeStatus::Attaching, caller, facts)
}

/// A connect under way, or a row, keeps its word: what the rows say is what is left.
pub(super) fn unreserve(state: &VolumeState, caller: &Caller, facts: &Facts) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    lift_reservation(&mut draft.next);
    draft.finish()
}

pub(super) fn begin_detaching(state: &VolumeState, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    if !state.is_migration_idle() && caller.is_service {
        // The swap at the end of a migration detaches without a word of its own.
        return Verdict::Nothing { jobs: Vec::new(), attachment_id: None };
    }
    let is_attached = volume.status == VolumeStatus::InUse && volume.attach_status == AttachStatus::Attached;
    if !is_attached || !state.is_migration_idle() {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "volume {} status must be in-use and attached, and it must not be migrating, to detach, but the current status is {} \
             and {}",
            volume.id, volume.status, volume.attach_status
        )));
    }
    mark(state, MarkerKind::Detaching, VolumeStatus::Detaching, caller, facts)
}

/// A volume that was freed meanwhile, or that another server's detach is under way on, stays as it is.
pub(super) fn roll_detaching(state: &VolumeState, caller: &Caller, facts: &Facts) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    lift(&mut draft.next, MarkerKind::Detaching, VolumeStatus::Detaching);
    draft.finish()
}

/// Ends a reservation, if there is one: `os-unreserve`, and the end of `os-terminate_connection`.
pub(super) fn lift_reservation(next: &mut VolumeState) {
    lift(next, MarkerKind::Reserved, VolumeStatus::Attaching);
}

fn mark(state: &VolumeState, kind: MarkerKind, word: VolumeStatus, caller: &Caller, facts: &Facts) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    let marker = Marker { kind, requester: caller.requester.clone(), since: facts.now };
    draft.next.volume.change_claims(|claims| claims.marker = Some(marker));
    draft.next.volume.status = word;
    draft.finish()
}

/// Takes a marker away; the rows decide about its word, which may as well have been set by hand.
fn lift(next: &mut VolumeState, kind: MarkerKind, word: VolumeStatus) {
    next.volume.drop_marker(kind);
    if next.volume.status == word {
        settle::rows_changed(next);
    }
}
