//! The status follows from attachment rows, the marker of a client and the running operation, never from memory (P10,
//! `spec/attachments.md` §4).

use crate::domain::claims::MarkerKind;
use crate::domain::operation::{Lane, Step};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::state::VolumeState;

/// The statuses which follow from the rows: only these are replaced when a row changes. Every other word belongs to a
/// running operation, to an error that its owner has to see, or to an administrator.
const DERIVED: [VolumeStatus; 5] = [
    VolumeStatus::Available,
    VolumeStatus::Reserved,
    VolumeStatus::Attaching,
    VolumeStatus::InUse,
    VolumeStatus::Detaching,
];

/// What the rows say, and the marker that a client has set on top of them.
pub(super) fn from_rows(state: &VolumeState) -> (VolumeStatus, AttachStatus) {
    let mut best = (VolumeStatus::Available, AttachStatus::Detached);
    let mut rank = 0;
    for row in state.attachments.iter().filter(|row| row.holds_volume()) {
        let detaching = row.bdm.as_ref().is_some_and(|bdm| bdm.detaching) || state.is_swapped_out(row.id);
        let (weight, status, attach_status) = match row.attach_status {
            // While one server's detach runs, the volume says so until it is done or rolled back.
            AttachStatus::Attached if detaching => (4, VolumeStatus::Detaching, AttachStatus::Detaching),
            AttachStatus::Attached | AttachStatus::ErrorDetaching => (3, VolumeStatus::InUse, AttachStatus::Attached),
            AttachStatus::Attaching => (2, VolumeStatus::Attaching, AttachStatus::Attaching),
            _ => (1, VolumeStatus::Reserved, AttachStatus::Reserved),
        };
        if weight > rank {
            rank = weight;
            best = (status, attach_status);
        }
    }
    (marked(state, best.0), best.1)
}

/// The word under a marker. It stands for no row: the attach status is the rows'.
fn marked(state: &VolumeState, status: VolumeStatus) -> VolumeStatus {
    match status {
        VolumeStatus::Available | VolumeStatus::Reserved | VolumeStatus::InUse
            if state.volume.marker(MarkerKind::Reserved).is_some() =>
        {
            VolumeStatus::Attaching
        }
        VolumeStatus::InUse if state.volume.marker(MarkerKind::Detaching).is_some() => VolumeStatus::Detaching,
        status => status,
    }
}

/// After a change of rows: the attach status always follows; the status only if it is a word that rows decide about and no
/// work on the data owns it.
pub(super) fn rows_changed(state: &mut VolumeState) {
    let (status, attach_status) = from_rows(state);
    state.volume.attach_status = attach_status;
    // Work of which only its image is still to be removed has no word any more.
    let has_owner = state.operation_in(Lane::Data).is_some_and(|running| running.step != Step::DiscardImage);
    if DERIVED.contains(&state.volume.status) && !has_owner {
        state.volume.status = status;
    }
}

/// An administrator has cut a row off: a plain `error` was about the row, and the rows that are left decide now, as in Cinder.
pub(super) fn forced_off(state: &mut VolumeState) {
    let is_error = state.volume.status == VolumeStatus::Error && state.volume.outstanding.is_empty();
    if is_error && state.operation_in(Lane::Data).is_none() {
        data_work_ended(state);
    }
}

/// At the end of work on the data: whatever the word was, the rows decide now.
pub(super) fn data_work_ended(state: &mut VolumeState) {
    let (status, attach_status) = from_rows(state);
    state.volume.attach_status = attach_status;
    state.volume.previous_status = Some(state.volume.status);
    state.volume.status = status;
}

/// At the end of work on the data that failed.
pub(super) fn data_work_failed(state: &mut VolumeState, status: VolumeStatus) {
    state.volume.attach_status = from_rows(state).1;
    state.volume.previous_status = Some(state.volume.status);
    state.volume.status = status;
}
