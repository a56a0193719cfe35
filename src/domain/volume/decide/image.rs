//! Images: a volume made from one, a volume that gets another one's contents, an image made of a volume (`spec/volumes.md` §3,
//! `spec/volume-actions.md` §2.16, §2.19).
//!
//! An image that a volume began to make is its own until it is whole: work that is cut off does not leave its operation before
//! the image is removed.

use super::draft::Draft;
use super::failures::message;
use super::{connection, notice, settle};
use crate::domain::backend::{Cause, CauseKind};
use crate::domain::compute::ComputeEvent;
use crate::domain::image::{FromImage, ToImage};
use crate::domain::operation::{Lane, Operation, OperationKind, Step};
use crate::domain::status::VolumeStatus;
use crate::domain::volume::command::{Caller, Facts, Refusal, Reimage, UserMessage, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source statuses of `os-reimage`.
pub const REIMAGEABLE: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::Error];
/// Source statuses of `os-reimage` with `reimage_reserved`.
pub const REIMAGEABLE_RESERVED: &[VolumeStatus] =
    &[VolumeStatus::Available, VolumeStatus::Error, VolumeStatus::Reserved];
/// Source statuses of `os-volume_upload_image`.
pub const UPLOADABLE: &[VolumeStatus] = &[VolumeStatus::Available];
/// Source statuses of `os-volume_upload_image` with a `force` that counts.
pub const UPLOADABLE_IN_USE: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::InUse];

pub(super) fn reimage(state: &VolumeState, request: &Reimage, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    if state.attachments.len() > 1 {
        let text = format!("Volume {} has more than one attachment.", volume.id);
        return Verdict::Refuse(Refusal::Conflict(text));
    }
    let allowed = if request.reserved_allowed { REIMAGEABLE_RESERVED } else { REIMAGEABLE };
    // A reservation may stay, as a server's rebuild needs it; whoever is connected, or just being connected, would lose what
    // they write.
    let is_reached = state.attachments.iter().any(|row| row.export.is_some())
        || connection::is_connected(state)
        || !volume.orphan_exports.is_empty()
        || state.operation_in(Lane::Connection).is_some();
    let is_busy = state.data_work().is_some() || !state.is_migration_idle();
    if !allowed.contains(&volume.status) || volume.host.is_none() || is_busy || is_reached {
        return refuse_status(state, allowed, "reimage");
    }
    if let Some(refusal) = request.needs.refusal(volume.size_gib) {
        return Verdict::Refuse(refusal);
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.begin(OperationKind::Reimage(Box::new(request.image.clone())), 0);
    draft.next.volume.previous_status = Some(volume.status);
    draft.next.volume.status = VolumeStatus::Downloading;
    draft.finish()
}

/// The answer waits until the image service has taken the image: the client gets its id.
pub(super) fn upload(
    state: &VolumeState,
    image: &ToImage,
    in_use_allowed: bool,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let volume = &state.volume;
    let allowed = if in_use_allowed { UPLOADABLE_IN_USE } else { UPLOADABLE };
    let is_busy = state.data_work().is_some() || !state.is_migration_idle();
    if !allowed.contains(&volume.status) || volume.host.is_none() || is_busy {
        return refuse_status(state, allowed, "be uploaded to an image");
    }
    let mut draft = Draft::of(state, caller, facts);
    let id = draft.begin(OperationKind::UploadImage(Box::new(image.clone())), 0);
    draft.reply_when_ended(id);
    draft.next.volume.previous_status = Some(volume.status);
    draft.next.volume.status = VolumeStatus::Uploading;
    draft.finish()
}

fn refuse_status(state: &VolumeState, allowed: &[VolumeStatus], verb: &str) -> Verdict {
    Verdict::Refuse(Refusal::InvalidVolume(format!(
        "volume {} status must be {} and nothing else may be done with it to {verb}, but current status is: {}",
        state.id(),
        allowed.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
        state.volume.status
    )))
}

/// Connections are made to whole contents only; a reservation may be made before.
pub(super) fn refuse_connect(state: &VolumeState) -> Option<Refusal> {
    let writing = state.data_work().filter(|running| running.kind.writes_contents())?;
    let text = format!("a {} of volume {} is running", writing.kind.name(), state.id());
    Some(Refusal::InvalidVolume(text))
}

/// The volume has what the image holds.
pub(super) fn fetched(draft: &mut Draft<'_>, operation: &Operation, image: &FromImage) {
    let volume = &mut draft.next.volume;
    volume.bootable = true;
    volume.image_metadata = image.metadata.clone();
    went_back(draft, operation);
    draft.end(operation.id, Ok(()));
    if matches!(operation.kind, OperationKind::Reimage(_)) && draft.next.volume.status == VolumeStatus::Reserved {
        notice::begin(draft, operation, ComputeEvent::VolumeReimaged);
    }
}

/// The word after work that is over, or was never begun: an error stays one, everything else is what the rows say.
pub(super) fn went_back(draft: &mut Draft<'_>, operation: &Operation) {
    match operation.previous_status {
        Some(error) if error.is_error() => settle::data_work_failed(&mut draft.next, error),
        _ => settle::data_work_ended(&mut draft.next),
    }
}

/// The image is not there, or not whole: `operation` has failed at creating, fetching or filling it.
pub(super) fn failed(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let id = operation.id;
    match operation.step {
        Step::FetchImage => {
            let detail = if cause.kind == CauseKind::NoSpace { "007" } else { "012" };
            draft.tell_owner(message(operation, "005", detail, cause));
            settle::data_work_failed(&mut draft.next, VolumeStatus::Error);
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::Reimage => {
            let detail = if cause.kind == CauseKind::NoSpace { "007" } else { "001" };
            draft.tell_owner(message(operation, "016", detail, cause));
            // What was asked about was in doubt; else nothing was changed.
            match operation.probing {
                Some(_) => {
                    settle::data_work_failed(&mut draft.next, VolumeStatus::Error);
                    draft.next.volume.previous_status = operation.previous_status;
                }
                None => went_back(draft, operation),
            }
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        // Certainly no image is there: it is the client's business.
        Step::CreateImage if operation.probing.is_none() => {
            went_back(draft, operation);
            draft.end(id, Err(Refusal::BadRequest(cause.text.clone())));
        }
        _ => {
            let told = message(operation, "003", "004", cause);
            draft.tell_owner(told);
            discard(draft, operation, cause, Refusal::BadRequest(cause.text.clone()));
        }
    }
}

/// The image is whole.
pub(super) fn uploaded(draft: &mut Draft<'_>, operation: &Operation) {
    went_back(draft, operation);
    draft.end(operation.id, Ok(()));
}

/// Goes to the removal of the image; whoever still waits for it is answered.
fn discard(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause, answer: Refusal) {
    if operation.step == Step::CreateImage {
        draft.answer(operation.id, Err(answer));
    }
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.undoing = Some(cause.clone());
    }
    draft.run(operation.id, Step::DiscardImage);
}

/// Whether the image may be there and not be whole: such an operation is not ended from outside, it ends when the image is gone.
pub(super) fn leaves_image(operation: &Operation) -> bool {
    matches!(operation.kind, OperationKind::UploadImage(_)) && !matches!(operation.step, Step::Queued | Step::Drain)
}

/// Somebody has cut the work off: only the image is still to be removed.
pub(super) fn cut_off(draft: &mut Draft<'_>, operation: &Operation, answer: Refusal) {
    if operation.undoing.is_none() {
        let cause = Cause::new(CauseKind::Other, answer.to_string());
        discard(draft, operation, &cause, answer);
    }
}

/// The image is gone, or cannot be removed for the time being and has been tried often enough.
pub(super) fn discarded(draft: &mut Draft<'_>, operation: &Operation) {
    let cause = operation.undoing.as_ref().map(|cause| cause.text.clone()).unwrap_or_default();
    // Whoever has cut the work off has set another word.
    if draft.next.volume.status == VolumeStatus::Uploading {
        went_back(draft, operation);
    }
    draft.end(operation.id, Err(Refusal::Backend(cause)));
}

/// Tells the owner of an image that stays although it is not whole.
pub(super) fn not_discarded(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let text = format!("the unfinished image could not be removed ({})", cause.text);
    let told = message(operation, "003", "001", cause);
    draft.tell_owner(UserMessage { cause: Some(text), ..told });
    discarded(draft, operation);
}
