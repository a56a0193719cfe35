//! How a swap goes on at the volume that takes the place: ask the old volume, export, mirror under the guest, pivot, tell the old volume.
//! Up to the pivot everything goes back; after it everything goes forward. What became of a pivot is only ever decided by what the guest
//! says. The old volume is told how it ended before this operation ends, and as often as it takes to be heard.

use super::draft::{Draft, ticket_of};
use super::results::{MAX_PROBES, MAX_TRIES, again, is_to_ask_again, look_again, look_up, unexport_row};
use super::{attachment, failures, settle, steps};
use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome, Request};
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, OperationId};
use crate::domain::operation::{Operation, OperationKind, Probing, Step};
use crate::domain::status::AttachStatus;
use crate::domain::swap::{SwapIn, YieldedDisk};
use crate::domain::text::Text;
use crate::domain::volume::command::{
    Caller, Facts, Job, JobTarget, OldAnswer, Refusal, SwapWord, Ticket, Verdict, YieldDisk,
};
use crate::domain::volume::state::VolumeState;

/// Whether the operation's step is this plan's: its end fences an export like every connection's.
pub(super) fn owns(operation: &Operation) -> bool {
    let is_common = matches!(operation.step, Step::Queued | Step::Drain | Step::Unexport { .. });
    operation.kind.swap_in().is_some() && !is_common
}

/// What a step asks, and of whom. None: nobody can be asked.
pub(super) fn request(state: &VolumeState, operation: &Operation) -> Option<(JobTarget, Request)> {
    let swap = operation.kind.swap_in()?;
    let probing = operation.probing.is_some();
    match &operation.step {
        Step::Export { .. } if probing => Some((steps::backend_of(state), Request::Probe)),
        Step::Export { export } => {
            let connector = swap.disk.as_ref()?.connector.clone();
            let (attachment_id, export) = (swap.attachment_id, export.clone());
            // The mirror writes, whatever the guest may.
            let mode = AttachMode::ReadWrite;
            Some((steps::backend_of(state), Request::Export { attachment_id, export, connector, mode }))
        }
        _ => {
            let request = guest_request(state, swap, operation)?;
            Some((JobTarget::Guest(swap.server_id.clone()), request))
        }
    }
}

fn guest_request(state: &VolumeState, swap: &SwapIn, operation: &Operation) -> Option<Request> {
    let disk = swap.disk.as_ref()?;
    let attachment_id = swap.device_id()?;
    let connection_info = swap.connection_info.clone().unwrap_or_else(Document::empty);
    Some(match &operation.step {
        Step::Mirror { .. } | Step::Pivot { .. } | Step::Unmirror { .. } if operation.probing.is_some() => {
            Request::ProbeGuest { attachment_id }
        }
        Step::ResizeGuest { .. } if operation.probing.is_some() => Request::ProbeGuest { attachment_id },
        Step::Mirror { .. } => Request::MirrorGuest { attachment_id, connection_info, mode: disk.mode },
        Step::Pivot { .. } => Request::PivotGuest { attachment_id, connection_info },
        Step::Unmirror { .. } => Request::UnmirrorGuest { attachment_id, connection_info },
        Step::ResizeGuest { .. } => Request::ResizeGuest { attachment_id, new_size_gib: state.volume.size_gib },
        _ => return None,
    })
}

/// The word that a step says to the old volume; none: it is not such a step.
pub(super) fn word_job(state: &VolumeState, operation: &Operation) -> Option<Job> {
    let swap = operation.kind.swap_in()?;
    let word = match operation.step {
        Step::Yield => SwapWord::Yield(YieldDisk {
            swap: operation.id,
            new_volume: state.id(),
            size_gib: state.volume.size_gib,
            server_id: swap.server_id.clone(),
        }),
        Step::Handover => SwapWord::Moved { swap: operation.id },
        Step::HandBack => SwapWord::Stays { swap: operation.id },
        _ => return None,
    };
    let (old_volume, server_id) = (swap.old_volume, swap.server_id.clone());
    Some(Job::TellOld { ticket: ticket_of(operation), old_volume, server_id, word })
}

/// The old volume has answered.
pub(super) fn answered(
    state: &VolumeState,
    ticket: &Ticket,
    answer: &Result<OldAnswer, Refusal>,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    let Some(operation) = state.operations.iter().find(|operation| ticket_of(operation) == *ticket) else {
        return draft.finish();
    };
    let Some(swap) = operation.kind.swap_in() else { return draft.finish() };
    draft.on_behalf_of(&operation.requester);
    match (&operation.step, answer) {
        (Step::Yield, Ok(OldAnswer { disk: Some(disk), .. })) => yielded(&mut draft, operation, disk),
        (Step::Yield, answer) => {
            // Nothing has begun.
            let text = "the old volume has not said which disk it is";
            let refusal = answer.as_ref().err().cloned().unwrap_or_else(|| Refusal::Conflict(text.to_owned()));
            release(&mut draft, operation, swap.attachment_id, refusal);
        }
        (Step::Handover, answer) => {
            let server_gone = answer.as_ref().is_ok_and(|answer| answer.server_gone);
            handed_over(&mut draft, operation, swap, server_gone);
        }
        (Step::HandBack, _) => unexport_row(&mut draft, operation.id, swap.attachment_id),
        _ => {}
    }
    draft.finish()
}

fn yielded(draft: &mut Draft<'_>, operation: &Operation, disk: &YieldedDisk) {
    let id = operation.id;
    let Some(row_id) = operation.kind.attachment_id() else { return };
    change(draft, id, |swap| swap.disk = Some(Box::new(disk.clone())));
    // From here on it ends by itself, whoever listens.
    draft.answer(id, Ok(()));
    if draft.next.attachment(row_id).is_none() {
        return undo(draft, operation, &Cause::new(CauseKind::Other, "the attachment is gone"));
    }
    let step = steps::export_step(&mut draft.next, operation, row_id);
    draft.run(id, step);
}

/// The step's own call has ended.
pub(super) fn ended(draft: &mut Draft<'_>, operation: &Operation, outcome: &Outcome) {
    if matches!(operation.step, Step::Yield | Step::Handover | Step::HandBack) {
        // Their answers are commands of their own ([`answered`]).
        return;
    }
    match (&operation.step, outcome) {
        (_, Outcome::Done { answer }) => done(draft, operation, answer),
        (_, Outcome::Failed { cause }) if is_to_ask_again(operation, cause) => again(draft, operation),
        // That the volume has grown under it the guest learns sooner or later; the swap is done.
        (
            Step::ResizeGuest { .. },
            Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause },
        ) => {
            draft.tell_owner(failures::message(operation, "007", "009", cause));
            draft.end(operation.id, Ok(()));
        }
        // The guest may have pivoted before.
        (Step::Unmirror { .. }, Outcome::Refused { cause }) => look_up(draft, operation, cause),
        (Step::Unmirror { .. }, _) => again(draft, operation),
        (_, Outcome::Refused { cause } | Outcome::Failed { cause }) if operation.is_repeated => {
            look_up(draft, operation, cause);
        }
        (_, Outcome::Refused { cause } | Outcome::Failed { cause }) => undo(draft, operation, cause),
        (_, Outcome::Unknown { cause }) if request(&draft.next, operation).is_none() => undo(draft, operation, cause),
        (_, Outcome::Unknown { cause }) => look_up(draft, operation, cause),
    }
}

/// The backend or the guest has been asked what became of a step.
pub(super) fn probed(draft: &mut Draft<'_>, operation: &Operation, probing: &Probing, outcome: &Outcome) {
    let own = operation.kind.swap_in().map(|swap| swap.export(operation.epoch));
    match (&operation.step, outcome) {
        (
            Step::Pivot { .. } | Step::Unmirror { .. },
            Outcome::Done { answer: Answer::Plugged { export: Some(export), .. } },
        ) if own.as_ref() == Some(export) => arrived(draft, operation),
        (Step::Unmirror { .. }, _) => again(draft, operation),
        // The guest is gone. It was level, so that the new volume has all that it ever wrote, whether or not it had moved.
        (Step::Pivot { .. }, Outcome::Done { answer: Answer::Plugged { plugged: false, .. } }) => {
            arrived(draft, operation);
        }
        (Step::Pivot { .. } | Step::Mirror { .. }, Outcome::Done { answer: Answer::Plugged { plugged: true, .. } })
            if operation.attempt < MAX_TRIES =>
        {
            again(draft, operation);
        }
        // Nobody can say it in the guest's place.
        (Step::Pivot { .. }, Outcome::Refused { .. } | Outcome::Failed { .. } | Outcome::Unknown { .. }) => {
            look_again(draft, operation);
        }
        (Step::Export { .. }, Outcome::Done { answer: Answer::Truth { truth } })
            if !truth.busy && operation.attempt < MAX_TRIES =>
        {
            again(draft, operation);
        }
        (Step::Mirror { .. } | Step::Pivot { .. }, Outcome::Done { .. }) => undo(draft, operation, &probing.cause),
        (_, Outcome::Unknown { .. }) => given_up(draft, operation, &probing.cause),
        _ if probing.attempt < MAX_PROBES => look_again(draft, operation),
        _ => given_up(draft, operation, &probing.cause),
    }
}

fn done(draft: &mut Draft<'_>, operation: &Operation, answer: &Answer) {
    let (id, Some(swap)) = (operation.id, operation.kind.swap_in()) else { return };
    let attachment_id = swap.attachment_id;
    match (&operation.step, answer) {
        (Step::Export { .. }, Answer::Connection { info }) => {
            change(draft, id, |swap| swap.connection_info = Some(Document::from(info)));
            connected(draft, swap, info);
            draft.run(id, Step::Mirror { attachment_id });
        }
        (Step::Export { .. }, _) => {
            undo(draft, operation, &Cause::new(CauseKind::Other, "the backend answered no connection"));
        }
        (Step::Mirror { .. }, _) => draft.run(id, Step::Pivot { attachment_id }),
        (Step::Pivot { .. }, _) => arrived(draft, operation),
        (Step::Unmirror { .. }, _) => draft.run(id, Step::HandBack),
        (Step::ResizeGuest { .. }, _) => draft.end(id, Ok(())),
        _ => {}
    }
}

/// The row says how it is reached.
fn connected(draft: &mut Draft<'_>, swap: &SwapIn, info: &serde_json::Value) {
    let Some(disk) = &swap.disk else { return };
    let now = draft.facts.now;
    if let Some(row) = draft.next.attachment_mut(swap.attachment_id) {
        row.attached_host = disk.connector.text("host").map(Text::from);
        row.mountpoint = disk.mapping.device.clone().or_else(|| Some(Text::common("na")));
        row.attach_mode = Some(disk.mode);
        row.attach_time = Some(now);
        row.attach_status = AttachStatus::Attaching;
        row.connector = Some(disk.connector.clone());
        row.connection_info = Some(attachment::connection_told(info, row, disk.mode));
    }
    settle::rows_changed(&mut draft.next);
}

/// The guest is here: in one commit the new row is the server's, and Compute shows it in the old one's place.
fn arrived(draft: &mut Draft<'_>, operation: &Operation) {
    let Some(swap) = operation.kind.swap_in() else { return };
    let mapping = swap.disk.as_ref().map(|disk| disk.mapping.clone());
    match draft.next.attachment_mut(swap.attachment_id) {
        Some(row) => {
            row.attach_status = AttachStatus::Attached;
            row.bdm = mapping;
        }
        // An administrator has removed the row: repair ends what it would have had.
        None => draft.next.volume.orphan_exports.push(swap.export(operation.epoch)),
    }
    settle::rows_changed(&mut draft.next);
    draft.run(operation.id, Step::Handover);
}

/// The old volume knows. A larger disk is shown to the guest; one whose server is gone goes with it.
fn handed_over(draft: &mut Draft<'_>, operation: &Operation, swap: &SwapIn, server_gone: bool) {
    let attachment_id = swap.attachment_id;
    let is_leaving = |bdm: &crate::domain::attachment::BlockDeviceMapping| bdm.detaching;
    let row = draft.next.attachment(attachment_id).and_then(|row| row.bdm.as_ref());
    if server_gone && row.is_some_and(|bdm| !is_leaving(bdm)) {
        if let Some(bdm) = draft.next.attachment_mut(attachment_id).and_then(|row| row.bdm.as_mut()) {
            bdm.detaching = true;
        }
        let server_id = swap.server_id.clone();
        draft.begin(OperationKind::ServerDetach { attachment_id, server_id, server_gone }, DETACH_ID);
    }
    let has_grown = swap.disk.as_ref().is_some_and(|disk| disk.size_gib < draft.next.volume.size_gib);
    if has_grown && !server_gone {
        draft.run(operation.id, Step::ResizeGuest { attachment_id });
    } else {
        draft.end(operation.id, Ok(()));
    }
    settle::rows_changed(&mut draft.next);
}

/// Which of the fresh ids the detach of a server that is gone gets: the last belongs to repair.
const DETACH_ID: usize = 2;

/// Step and probe have hung: what it may still come to is recorded, and the swap goes back.
fn given_up(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    draft.remember_outstanding(operation, 2);
    undo(draft, operation, cause);
}

/// Takes back what has been done: the guest first, then the old volume's word, then the export.
pub(super) fn undo(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let Some(swap) = operation.kind.swap_in() else { return };
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.undoing = Some(cause.clone());
    }
    let step = match operation.step {
        Step::Mirror { .. } | Step::Pivot { .. } => Step::Unmirror { attachment_id: swap.attachment_id },
        _ => Step::HandBack,
    };
    draft.run(operation.id, step);
}

/// Ends a swap from outside, as far as it can still be: not past the pivot.
pub(super) fn call_off(draft: &mut Draft<'_>, operation: &Operation, why: &str) {
    let cause = Cause::new(CauseKind::Other, why);
    match &operation.step {
        Step::Queued | Step::Drain => not_begun(draft, operation, &cause),
        Step::Yield | Step::Mirror { .. } => {
            if operation.step == Step::Yield {
                draft.answer(operation.id, Err(Refusal::Conflict(why.to_owned())));
            }
            undo(draft, operation, &cause);
        }
        Step::Export { .. } => {
            draft.remember_outstanding(operation, 1);
            undo(draft, operation, &cause);
        }
        _ => {}
    }
}

/// The old volume wants its guest back.
pub(super) fn called_off(state: &VolumeState, swap: OperationId, caller: &Caller, facts: &Facts) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    let led = |operation: &&Operation| operation.id == swap && operation.kind.swap_in().is_some();
    if let Some(operation) = state.operations.iter().find(led) {
        draft.on_behalf_of(&operation.requester);
        call_off(&mut draft, operation, "the old volume's server or status does not allow the swap any more");
    }
    draft.finish()
}

/// It has waited for earlier calls in vain: the old volume has not heard of it.
pub(super) fn not_begun(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let Some(row_id) = operation.kind.attachment_id() else { return };
    release(draft, operation, row_id, Refusal::Conflict(cause.text.clone()));
}

/// Nothing of it is left at the backend or in the guest, and the old volume has its guest.
pub(super) fn undone(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let Some(row_id) = operation.kind.attachment_id() else { return };
    draft.tell_owner(failures::message(operation, "002", "021", cause));
    release(draft, operation, row_id, Refusal::Backend(cause.text.clone()));
}

fn release(draft: &mut Draft<'_>, operation: &Operation, row_id: AttachmentId, refusal: Refusal) {
    draft.remove_row(row_id);
    draft.end(operation.id, Err(refusal));
    settle::rows_changed(&mut draft.next);
}

fn change(draft: &mut Draft<'_>, id: OperationId, change: impl FnOnce(&mut SwapIn)) {
    if let Some(OperationKind::SwapIn(swap)) = draft.operation_mut(id).map(|operation| &mut operation.kind) {
        change(swap);
    }
}
