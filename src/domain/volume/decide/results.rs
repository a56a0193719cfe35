//! How results move an operation on: done, failed, unknown and probed, or given up (design §3.8).

use super::draft::{Draft, ticket_of};
use super::failures::{connection_undone, drain_over, failed, given_up, undo_export};
use super::snapshot::set_status;
use super::{attachment, connection, image, manage, moving, notice, release, replug, resume, settle, steps, swapping};
use crate::domain::attachment::Attachment;
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome, Truth};
use crate::domain::compute::ComputeEvent;
use crate::domain::ids::{AttachmentId, OperationId};
use crate::domain::operation::{Lane, Operation, OperationKind, Probing, Requester, Step};
use crate::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, Facts, Refusal, Ticket, Verdict};
use crate::domain::volume::state::VolumeState;

/// A step whose outcome was unknown and which the probe found not done is tried so often.
pub const MAX_TRIES: u32 = 3;
/// A step which the driver pool turned away is asked again so often (about a minute with the back-off).
pub const MAX_STARTS: u32 = 8;
/// Probes that answer "still busy" or fail: after so many the step is given up (about 4 s of waiting besides the probes).
pub const MAX_PROBES: u32 = 4;

/// A job has ended.
pub(super) fn job_result(
    state: &VolumeState,
    ticket: &Ticket,
    outcome: &Outcome,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let current = state.operations.iter().find(|operation| operation.id == ticket.operation_id);
    let Some(operation) = current.filter(|operation| ticket_of(operation) == *ticket && operation.step != Step::Queued)
    else {
        // A result of an older epoch, step or try is never applied (I3); what it did is reconciled.
        if ticket.probe {
            return Verdict::Nothing { jobs: Vec::new(), attachment_id: None };
        }
        return resume::call_returned(state, ticket.operation_id, ticket.epoch, &ticket.step, outcome, caller, facts);
    };
    let mut draft = Draft::of(state, caller, facts);
    draft.on_behalf_of(&operation.requester);
    if ticket.probe {
        probed(&mut draft, operation, outcome);
    } else {
        ended(&mut draft, operation, outcome);
    }
    draft.finish()
}

/// The step's own call has ended.
pub(super) fn ended(draft: &mut Draft<'_>, operation: &Operation, outcome: &Outcome) {
    if is_moving(operation) {
        return moving::ended(draft, operation, outcome);
    }
    if swapping::owns(operation) {
        return swapping::ended(draft, operation, outcome);
    }
    if operation.step == Step::NotifyCompute {
        return notice::ended(draft, operation, outcome);
    }
    if replug::owns(operation) {
        return replug::ended(draft, operation, outcome);
    }
    match outcome {
        Outcome::Done { answer } => done(draft, operation, answer),
        Outcome::Failed { cause } if is_to_ask_again(operation, cause) => {
            // The pool had no room, or the source has: nothing has happened, so no volume may fail for it.
            if let Some(operation) = draft.operation_mut(operation.id) {
                operation.attempt += 1;
            }
            draft.issue(operation.id);
        }
        // Asking again is idempotent, and no probe knows of images.
        Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause }
            if operation.step == Step::DiscardImage =>
        {
            failed(draft, operation, cause);
        }
        Outcome::Refused { cause } | Outcome::Failed { cause } if operation.is_repeated => {
            look_up(draft, operation, cause);
        }
        Outcome::Refused { cause } | Outcome::Failed { cause } => failed(draft, operation, cause),
        Outcome::Unknown { cause } => match operation.step {
            Step::Announce => done(draft, operation, &Answer::Nothing),
            // A timer: the outstanding calls have not been answered in time, or the step's row is gone.
            Step::Drain | Step::Queued => drain_over(draft, operation),
            _ if steps::request(&draft.next, operation).is_none() => failed(draft, operation, cause),
            _ => look_up(draft, operation, cause),
        },
    }
}

/// Whether its step is one of a migration's, or of what is left of one: they have a plan of their own.
fn is_moving(operation: &Operation) -> bool {
    operation.kind.other_backend().is_some() && !matches!(operation.step, Step::Queued | Step::Drain)
}

/// Whether the call has met only that there was no room for it, or that the volume is being read, and may be made again.
pub(super) fn is_to_ask_again(operation: &Operation, cause: &Cause) -> bool {
    matches!(cause.kind, CauseKind::NotStarted | CauseKind::Busy) && operation.attempt < MAX_STARTS
}

/// Asks for the truth, because nobody knows whether the step is done.
pub(super) fn look_up(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.is_repeated = false;
        operation.probing = Some(Probing { cause: cause.clone(), attempt: 1 });
    }
    draft.issue(operation.id);
}

/// Asks what became of the step once more.
pub(super) fn look_again(draft: &mut Draft<'_>, operation: &Operation) {
    if let Some(probing) = draft.operation_mut(operation.id).and_then(|operation| operation.probing.as_mut()) {
        probing.attempt = probing.attempt.saturating_add(1);
    }
    draft.issue(operation.id);
}

/// Asks for the step again, which is idempotent.
pub(super) fn again(draft: &mut Draft<'_>, operation: &Operation) {
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.probing = None;
        operation.is_repeated = false;
        operation.attempt = operation.attempt.saturating_add(1);
    }
    draft.issue(operation.id);
}

/// What a probe says of the step.
enum Finding {
    /// It is done.
    Done(Answer),
    /// It is certainly not done.
    NotDone,
    /// The backend is still working on it, or cannot say.
    Unclear,
    /// The probe hangs as well.
    Hung,
}

fn probed(draft: &mut Draft<'_>, operation: &Operation, outcome: &Outcome) {
    let Some(probing) = operation.probing.clone() else { return };
    if is_moving(operation) {
        return moving::probed(draft, operation, &probing, outcome);
    }
    if swapping::owns(operation) {
        return swapping::probed(draft, operation, &probing, outcome);
    }
    if replug::owns(operation) {
        return replug::probed(draft, operation, &probing, outcome);
    }
    match finding(&operation.step, operation, outcome) {
        Finding::Done(answer) => done(draft, operation, &answer),
        Finding::NotDone if operation.attempt < MAX_TRIES => {
            let is_served = is_served(&operation.step, outcome);
            if let Some(operation) = draft.operation_mut(operation.id) {
                operation.probing = None;
                operation.attempt += 1;
                // An export that is there is asked for its answer: should that fail, it is there all the same.
                operation.is_repeated = is_served;
            }
            draft.issue(operation.id);
        }
        Finding::NotDone => {
            if let Outcome::Done { answer: Answer::Truth { truth } } = outcome {
                adopt_size(draft, truth);
            }
            if let Step::Export { export } = &operation.step
                && is_served(&operation.step, outcome)
            {
                // Only its answer never came: it must not outlive the operation.
                return undo_export(draft, operation, export, &probing.cause);
            }
            failed(draft, operation, &probing.cause);
        }
        Finding::Unclear if probing.attempt < MAX_PROBES => {
            if let Some(probing) = draft.operation_mut(operation.id).and_then(|operation| operation.probing.as_mut()) {
                probing.attempt += 1;
            }
            draft.issue(operation.id);
        }
        Finding::Unclear | Finding::Hung => given_up(draft, operation, &probing.cause),
    }
}

fn finding(step: &Step, operation: &Operation, outcome: &Outcome) -> Finding {
    let truth = match outcome {
        Outcome::Unknown { .. } => return Finding::Hung,
        Outcome::Refused { .. } | Outcome::Failed { .. } => return Finding::Unclear,
        Outcome::Done { answer: Answer::Plugged { plugged, .. } } => {
            return match (step, plugged) {
                (Step::Plug { .. }, true) | (Step::Unplug { .. }, false) => Finding::Done(Answer::Nothing),
                _ => Finding::NotDone,
            };
        }
        Outcome::Done { answer: Answer::Truth { truth } } => truth,
        Outcome::Done { .. } => return Finding::Unclear,
    };
    if truth.busy {
        return Finding::Unclear;
    }
    let is_done = match step {
        Step::Create | Step::Copy | Step::FetchImage | Step::Adopt => truth.exists,
        Step::CreateSnapshot { snapshot_id } | Step::AdoptSnapshot { snapshot_id } => {
            truth.snapshots.contains(snapshot_id)
        }
        Step::DeleteSnapshot { snapshot_id } | Step::DisownSnapshot { snapshot_id } => {
            !truth.snapshots.contains(snapshot_id)
        }
        Step::Delete | Step::Disown => !truth.exists,
        Step::Extend => match operation.kind {
            OperationKind::Extend { new_size_gib } => truth.exists && truth.size_gib >= new_size_gib,
            _ => false,
        },
        Step::Unexport { export } => !truth.exports.contains(export),
        // An export that exists is asked for again: its answer is needed, and asking is idempotent.
        _ => false,
    };
    if is_done { Finding::Done(Answer::Size { size_gib: truth.size_gib }) } else { Finding::NotDone }
}

/// Whether the probe found the export that the step is to make.
fn is_served(step: &Step, outcome: &Outcome) -> bool {
    match (step, outcome) {
        (Step::Export { export }, Outcome::Done { answer: Answer::Truth { truth } }) => truth.exports.contains(export),
        _ => false,
    }
}

/// The backend's real size goes into the books: it cannot be undone, so it is not judged.
pub(super) fn adopt_size(draft: &mut Draft<'_>, truth: &Truth) {
    if !truth.exists || truth.size_gib <= draft.next.volume.size_gib {
        return;
    }
    draft.next.volume.size_gib = truth.size_gib;
    // What is in the books already is not reserved any more.
    for operation in &mut draft.next.operations {
        if let OperationKind::Extend { new_size_gib } = operation.kind {
            operation.reserved_gib = new_size_gib.saturating_sub(truth.size_gib);
        }
    }
}

/// The step is done: the next one, or the end.
pub(super) fn done(draft: &mut Draft<'_>, operation: &Operation, answer: &Answer) {
    let id = operation.id;
    match &operation.step {
        Step::Queued | Step::Drain => draft.start(id),
        // Their answers are commands of their own ([`super::lend::lent`], [`super::swapping::answered`], [`super::swap::word`]), or
        // taken before ([`notice::ended`]).
        Step::NotifyCompute | Step::Borrow | Step::Yield | Step::Yielded | Step::Handover | Step::HandBack => {}
        Step::Create | Step::Copy => {
            // Rows may exist already (a reservation made while the volume was being filled): they decide.
            settle_ended(draft, id, Ok(()));
        }
        Step::Announce => {
            draft.next.volume.previous_status = Some(draft.next.volume.status);
            draft.next.volume.status = VolumeStatus::Downloading;
            draft.run(id, Step::FetchImage);
        }
        Step::FetchImage | Step::Reimage => match &operation.kind {
            OperationKind::CreateFromImage(from) | OperationKind::Reimage(from) => {
                image::fetched(draft, operation, from);
            }
            _ => settle_ended(draft, id, Ok(())),
        },
        Step::CreateImage => {
            draft.answer(id, Ok(()));
            draft.run(id, Step::UploadImage);
        }
        Step::UploadImage => image::uploaded(draft, operation),
        Step::DiscardImage => image::discarded(draft, operation),
        Step::Adopt => adopted(draft, operation, answer),
        Step::Extend => extended(draft, operation, answer),
        Step::ResizeGuest { attachment_id } => match steps::next_guest(&draft.next, Some(*attachment_id)) {
            Some(step) => draft.run(id, step),
            None => settle_ended(draft, id, Ok(())),
        },
        Step::Delete | Step::Disown => {
            draft.next.volume.deleted = true;
            draft.next.volume.deleted_at = Some(draft.facts.now);
            draft.next.attachments.clear();
            draft.next.volume.claims = None;
            notice::drop_all(draft);
            draft.end(id, Ok(()));
        }
        Step::Revert => settle_ended(draft, id, Ok(())),
        Step::CreateSnapshot { snapshot_id } | Step::AdoptSnapshot { snapshot_id } => {
            set_status(draft, *snapshot_id, SnapshotStatus::Available);
            draft.end(id, Ok(()));
        }
        Step::DeleteSnapshot { snapshot_id } | Step::DisownSnapshot { snapshot_id } => {
            draft.next.snapshots.retain(|snapshot| snapshot.id != *snapshot_id);
            match operation.kind {
                OperationKind::Delete => {
                    let step = steps::next_removal(&draft.next);
                    draft.run(id, step);
                }
                _ => draft.end(id, Ok(())),
            }
        }
        Step::Export { .. } => exported(draft, operation, answer),
        Step::Unexport { export } => {
            let export = export.clone();
            draft.next.volume.orphan_exports.retain(|orphan| *orphan != export);
            for row in &mut draft.next.attachments {
                if row.export.as_ref() == Some(&export) {
                    row.export = None;
                }
            }
            connection::forget(&mut draft.next, &export);
            unexported(draft, operation);
        }
        Step::Plug { attachment_id } => {
            let now = draft.facts.now;
            if let Some(row) = draft.next.attachment_mut(*attachment_id) {
                row.attach_status = AttachStatus::Attached;
                row.attach_time.get_or_insert(now);
            }
            settle::rows_changed(&mut draft.next);
            draft.end(id, Ok(()));
        }
        Step::Unplug { attachment_id } => unexport_row(draft, id, *attachment_id),
        // Their plans are of their own (`moving`, `replug`).
        Step::LookAtGuest { .. }
        | Step::Survey
        | Step::Transfer
        | Step::CreateTarget
        | Step::Mirror { .. }
        | Step::Pivot { .. }
        | Step::Unmirror { .. } => {}
    }
}

pub(super) fn settle_ended(draft: &mut Draft<'_>, id: OperationId, answer: Result<(), Refusal>) {
    settle::data_work_ended(&mut draft.next);
    draft.end(id, answer);
}

/// The object is the volume: what was reserved for it is its size.
fn adopted(draft: &mut Draft<'_>, operation: &Operation, answer: &Answer) {
    let OperationKind::Manage { size_gib, .. } = operation.kind else { return };
    draft.next.volume.size_gib = match answer {
        Answer::Size { size_gib: real } => (*real).max(size_gib),
        _ => size_gib,
    };
    settle_ended(draft, operation.id, Ok(()));
}

fn extended(draft: &mut Draft<'_>, operation: &Operation, answer: &Answer) {
    let OperationKind::Extend { new_size_gib } = operation.kind else { return };
    let real = match answer {
        Answer::Size { size_gib } => (*size_gib).max(new_size_gib),
        _ => new_size_gib,
    };
    draft.next.volume.size_gib = real.max(draft.next.volume.size_gib);
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.reserved_gib = 0;
    }
    if draft.facts.compute.is_elsewhere() {
        // As Cinder does: Nova looks at the volume when it hears, and it is whole by then.
        settle_ended(draft, operation.id, Ok(()));
        return notice::begin(draft, operation, ComputeEvent::VolumeExtended);
    }
    // The guests are told as steps of the same durable operation: at least once, also across a crash.
    match steps::next_guest(&draft.next, None) {
        Some(step) => draft.run(operation.id, step),
        None => settle_ended(draft, operation.id, Ok(())),
    }
}

fn exported(draft: &mut Draft<'_>, operation: &Operation, answer: &Answer) {
    let Answer::Connection { info } = answer else {
        let cause = Cause::new(CauseKind::Other, "the backend answered no connection");
        return match &operation.step {
            Step::Export { export } => undo_export(draft, operation, export, &cause),
            _ => failed(draft, operation, &cause),
        };
    };
    if let OperationKind::Initialize { connection_id, .. } = operation.kind {
        return connection::made(draft, operation, connection_id, info);
    }
    let Some(row_id) = operation.kind.attachment_id() else { return };
    let now = draft.facts.now;
    let is_multiattach = draft.next.volume.multiattach;
    let (connector, mode) = match &operation.kind {
        OperationKind::Connect { connector, mode, .. } => (connector.clone(), *mode),
        OperationKind::ServerAttach { connector, .. } => {
            let row_mode = draft.next.attachment(row_id).and_then(|row| row.attach_mode);
            (connector.clone(), steps::effective_mode(&draft.next, row_mode, steps::kept_mode(connector)))
        }
        _ => return,
    };
    if let Some(row) = draft.next.attachment_mut(row_id) {
        let text = |key: &str| connector.text(key).map(Text::from);
        row.attached_host = text("host");
        row.mountpoint = row
            .bdm
            .as_ref()
            .and_then(|bdm| bdm.device.clone())
            .or_else(|| text("mountpoint"))
            .or_else(|| Some(Text::common("na")));
        row.attach_mode = Some(mode);
        row.attach_time = Some(now);
        row.attach_status = AttachStatus::Attaching;
        row.connector = Some(connector);
        row.connection_info = Some(attachment::connection_told(info, row, mode));
    }
    settle::rows_changed(&mut draft.next);
    if !is_multiattach && draft.next.volume.status == VolumeStatus::InUse {
        // A second connection of the same server's volume shows `attaching` until it is complete (attachments.md §3).
        draft.next.volume.status = VolumeStatus::Attaching;
        draft.next.volume.attach_status = AttachStatus::Attaching;
    }
    match &operation.kind {
        OperationKind::ServerAttach { attachment_id, .. } => {
            draft.run(operation.id, Step::Plug { attachment_id: *attachment_id });
        }
        _ => draft.end(operation.id, Ok(())),
    }
}

/// An export is proven gone: the row can have another one, or be released.
pub(super) fn unexported(draft: &mut Draft<'_>, operation: &Operation) {
    let id = operation.id;
    match (&operation.kind, &operation.undoing) {
        (OperationKind::Delete, _) => {
            let step = steps::next_removal(&draft.next);
            draft.run(id, step);
        }
        (OperationKind::Unmanage, _) => {
            let step = manage::next_step(&draft.next);
            draft.run(id, step);
        }
        (OperationKind::Repair, _) => match steps::next_orphan(&draft.next) {
            Some(step) => draft.run(id, step),
            None => draft.end(id, Ok(())),
        },
        (OperationKind::Release { verb, .. }, _) => release::unexported(draft, operation, *verb),
        (OperationKind::Initialize { .. }, None) => {
            let step = connection::export_step(&mut draft.next, operation);
            draft.run(id, step);
        }
        (OperationKind::Connect { attachment_id, .. }, None) => {
            let step = steps::export_step(&mut draft.next, operation, *attachment_id);
            draft.run(id, step);
        }
        (
            OperationKind::Connect { .. } | OperationKind::ServerAttach { .. } | OperationKind::Initialize { .. },
            Some(cause),
        ) => {
            let cause = cause.clone();
            connection_undone(draft, operation, &cause);
        }
        (OperationKind::ServerDetach { attachment_id, server_gone: true, .. }, _) => {
            let goes_along = release_with_server(draft, *attachment_id);
            draft.end(id, Ok(()));
            if goes_along {
                delete_with_server(draft, &operation.requester);
            }
        }
        (OperationKind::Disconnect { attachment_id } | OperationKind::ServerDetach { attachment_id, .. }, _) => {
            draft.remove_row(*attachment_id);
            settle::rows_changed(&mut draft.next);
            draft.end(id, Ok(()));
        }
        (OperationKind::Replug { attachment_id, .. }, _) => replug::unexported(draft, operation, *attachment_id),
        (OperationKind::SwapOut(swap), _) => {
            draft.remove_row(swap.attachment_id);
            settle::rows_changed(&mut draft.next);
            draft.end(id, Ok(()));
        }
        (OperationKind::SwapIn(_), Some(cause)) => {
            let cause = cause.clone();
            swapping::undone(draft, operation, &cause);
        }
        _ => draft.end(id, Ok(())),
    }
}

/// Goes to the removal of the row's export; without one the row is released at once.
pub(super) fn unexport_row(draft: &mut Draft<'_>, id: OperationId, row_id: AttachmentId) {
    match steps::export_of(&draft.next, row_id) {
        Some(export) => draft.run(id, Step::Unexport { export }),
        None => {
            if let Some(operation) = draft.operation(id).cloned() {
                unexported(draft, &operation);
            }
        }
    }
}

/// Releases the row of a server that is gone. True: its volume is to go as well. The flag is read in the step that removes
/// the row: a volume that was detached before survives its server.
pub(super) fn release_with_server(draft: &mut Draft<'_>, row_id: AttachmentId) -> bool {
    let flagged =
        draft.next.attachment(row_id).and_then(|row| row.bdm.as_ref()).is_some_and(|bdm| bdm.delete_on_termination);
    draft.remove_row(row_id);
    settle::rows_changed(&mut draft.next);
    flagged
}

/// Deletes the volume of a server that is gone, as its owner asked for with `delete_on_termination`: if nobody else holds it
/// and nothing else works on it.
pub(super) fn delete_with_server(draft: &mut Draft<'_>, requester: &Requester) {
    let volume = &draft.next.volume;
    let held = draft.next.attachments.iter().any(Attachment::holds_volume);
    // What is being removed elsewhere is waited for.
    let idle = draft.next.operations.iter().all(|operation| operation.kind.lane() == Lane::Cleanup);
    let idle = idle && volume.status == VolumeStatus::Available;
    // A host that is connected holds it too, with or without a row. As with a client's delete, one with snapshots stays.
    let held = held || !volume.connections().is_empty() || !draft.next.snapshots.is_empty();
    if held || !idle || !draft.next.is_migration_idle() {
        return;
    }
    let id = super::delete::begin(draft);
    if let Some(delete) = draft.operation_mut(id) {
        delete.requester = requester.clone();
    }
}
