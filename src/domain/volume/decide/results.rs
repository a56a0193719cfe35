//! How results move an operation on: done, failed, unknown and probed, or given up (design §3.8).

use super::draft::{Draft, ticket_of};
use super::{resume, settle, steps};
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome, Truth};
use crate::domain::ids::{ExportName, OperationId};
use crate::domain::operation::{Operation, OperationKind, Probing, Step};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, Facts, Refusal, Ticket, UserMessage, Verdict};
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
    let Some(operation) = current.filter(|operation| ticket_of(operation) == *ticket) else {
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
    match outcome {
        Outcome::Done { answer } => done(draft, operation, answer),
        Outcome::Failed { cause } if cause.kind == CauseKind::NotStarted && operation.attempt < MAX_STARTS => {
            // The pool had no room: nothing has happened, so no volume may fail for it.
            if let Some(operation) = draft.operation_mut(operation.id) {
                operation.attempt += 1;
            }
            draft.issue(operation.id);
        }
        Outcome::Refused { cause } | Outcome::Failed { cause } if operation.is_repeated => {
            look_up(draft, operation, cause);
        }
        Outcome::Refused { cause } | Outcome::Failed { cause } => failed(draft, operation, cause),
        Outcome::Unknown { cause } => match operation.step {
            // A timer: the outstanding calls have not been answered in time, or the step's row is gone.
            Step::Drain | Step::Queued => drain_over(draft, operation),
            _ if steps::request(&draft.next, operation).is_none() => failed(draft, operation, cause),
            _ => look_up(draft, operation, cause),
        },
    }
}

/// Asks for the truth, because nobody knows whether the step is done.
fn look_up(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.is_repeated = false;
        operation.probing = Some(Probing { cause: cause.clone(), attempt: 1 });
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
        Outcome::Done { answer: Answer::Plugged { plugged } } => {
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
        Step::Create => truth.exists,
        Step::Delete => !truth.exists,
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
        Step::Create => {
            // Rows may exist already (a reservation made while the volume was being filled): they decide.
            settle_ended(draft, id, Ok(()));
        }
        Step::Extend => extended(draft, operation, answer),
        Step::ResizeGuest { attachment_id } => match steps::next_guest(&draft.next, Some(*attachment_id)) {
            Some(step) => draft.run(id, step),
            None => settle_ended(draft, id, Ok(())),
        },
        Step::Delete => {
            draft.next.volume.deleted = true;
            draft.next.volume.deleted_at = Some(draft.facts.now);
            draft.next.attachments.clear();
            draft.end(id, Ok(()));
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
    }
}

fn settle_ended(draft: &mut Draft<'_>, id: OperationId, answer: Result<(), Refusal>) {
    settle::data_work_ended(&mut draft.next);
    draft.end(id, answer);
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
    // The guests are told as steps of the same durable operation: at least once, also across a crash.
    match steps::next_guest(&draft.next, None) {
        Some(step) => draft.run(operation.id, step),
        None => settle_ended(draft, operation.id, Ok(())),
    }
}

fn exported(draft: &mut Draft<'_>, operation: &Operation, answer: &Answer) {
    let Some(row_id) = operation.kind.attachment_id() else { return };
    let Answer::Connection { info } = answer else {
        let cause = Cause::new(CauseKind::Other, "the backend answered no connection");
        return match &operation.step {
            Step::Export { export } => undo_export(draft, operation, export, &cause),
            _ => failed(draft, operation, &cause),
        };
    };
    let now = draft.facts.now;
    let is_multiattach = draft.next.volume.multiattach;
    let (connector, mode) = match &operation.kind {
        OperationKind::Connect { connector, mode, .. } => (connector.clone(), *mode),
        OperationKind::ServerAttach { connector, .. } => {
            let row_mode = draft.next.attachment(row_id).and_then(|row| row.attach_mode);
            (connector.clone(), steps::effective_mode(&draft.next, row_mode, connector))
        }
        _ => return,
    };
    if let Some(row) = draft.next.attachment_mut(row_id) {
        let text = |key: &str| connector.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
        row.attached_host = text("host");
        row.mountpoint = row
            .bdm
            .as_ref()
            .and_then(|bdm| bdm.device.clone())
            .or_else(|| text("mountpoint"))
            .or_else(|| Some("na".to_owned()));
        row.attach_mode = Some(mode);
        row.attach_time = Some(now);
        row.attach_status = AttachStatus::Attaching;
        let mut info = info.clone();
        if let Some(members) = info.as_object_mut() {
            members.insert("attachment_id".to_owned(), serde_json::Value::from(row_id.to_string()));
            members.insert("access_mode".to_owned(), serde_json::Value::from(mode.as_str()));
        }
        row.connection_info = Some(info);
        row.connector = Some(connector);
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
fn unexported(draft: &mut Draft<'_>, operation: &Operation) {
    let id = operation.id;
    match (&operation.kind, &operation.undoing) {
        (OperationKind::Delete, _) => {
            let step = steps::next_orphan(&draft.next).unwrap_or(Step::Delete);
            draft.run(id, step);
        }
        (OperationKind::Repair, _) => match steps::next_orphan(&draft.next) {
            Some(step) => draft.run(id, step),
            None => draft.end(id, Ok(())),
        },
        (OperationKind::Connect { attachment_id, .. }, None) => {
            let step = steps::export_step(&mut draft.next, operation, *attachment_id);
            draft.run(id, step);
        }
        (OperationKind::Connect { .. } | OperationKind::ServerAttach { .. }, Some(cause)) => {
            let cause = cause.clone();
            connection_undone(draft, operation, &cause);
        }
        (OperationKind::Disconnect { attachment_id } | OperationKind::ServerDetach { attachment_id, .. }, _) => {
            draft.remove_row(*attachment_id);
            settle::rows_changed(&mut draft.next);
            draft.end(id, Ok(()));
        }
        _ => draft.end(id, Ok(())),
    }
}

/// Goes to the removal of the row's export; without one the row is released at once.
fn unexport_row(draft: &mut Draft<'_>, id: OperationId, row_id: crate::domain::ids::AttachmentId) {
    match steps::export_of(&draft.next, row_id) {
        Some(export) => draft.run(id, Step::Unexport { export }),
        None => {
            if let Some(operation) = draft.operation(id).cloned() {
                unexported(draft, &operation);
            }
        }
    }
}

/// Nothing of a connect is left at the backend: the row goes back, or away if the same request had made it.
pub(super) fn connection_undone(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    match &operation.kind {
        OperationKind::Connect { attachment_id, row_is_new, .. } => {
            if *row_is_new {
                draft.remove_row(*attachment_id);
            } else if let Some(row) = draft.next.attachment_mut(*attachment_id) {
                row.attach_status = AttachStatus::Reserved;
                row.connector = None;
                row.connection_info = Some(serde_json::json!({}));
                row.attached_host = None;
                row.mountpoint = None;
                row.attach_time = None;
            }
        }
        OperationKind::ServerAttach { attachment_id, .. } => {
            draft.remove_row(*attachment_id);
            draft.tell_owner(message(operation, "002", "021", cause));
        }
        _ => {}
    }
    settle::rows_changed(&mut draft.next);
    draft.end(operation.id, Err(connection_refusal(cause)));
}

/// A connector that lacks what the backend needs is the client's mistake (400), everything else the backend's (500).
fn connection_refusal(cause: &Cause) -> Refusal {
    match cause.kind {
        CauseKind::BadConnector => Refusal::BadConnector(cause.text.clone()),
        _ => Refusal::Backend(cause.text.clone()),
    }
}

/// The step has certainly failed.
pub(super) fn failed(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let id = operation.id;
    match &operation.step {
        Step::Queued | Step::Drain => drain_over(draft, operation),
        Step::Create => {
            let text = if draft.next.volume.host.is_none() { ("001", "003") } else { ("008", "012") };
            draft.tell_owner(message(operation, text.0, text.1, cause));
            settle::data_work_failed(&mut draft.next, VolumeStatus::Error);
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::Extend if cause.kind == CauseKind::NoSpace => {
            // Like a capacity check that fails: the volume goes back to what its rows say (volume-actions.md §2.1).
            draft.tell_owner(message(operation, "007", "003", cause));
            settle_ended(draft, id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::Extend => {
            draft.tell_owner(message(operation, "007", "010", cause));
            settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorExtending);
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::ResizeGuest { attachment_id } => {
            // The volume has grown; that the guest was not told is only a message (volume-actions.md §2.1).
            if draft.next.attachment(*attachment_id).is_some() {
                draft.tell_owner(message(operation, "007", "009", cause));
            }
            done(draft, operation, &Answer::Nothing);
        }
        Step::Delete => delete_failed(draft, operation, cause),
        Step::Export { export } if !is_own_export(operation, export) => connection_kept(draft, operation, cause),
        Step::Export { .. } => {
            // Certainly not exported: the name is free of any effect.
            if let Some(row) = operation.kind.attachment_id().and_then(|row| draft.next.attachment_mut(row)) {
                row.export = None;
            }
            connection_undone(draft, operation, cause);
        }
        Step::Unexport { export } => {
            let export = export.clone();
            unexport_failed(draft, operation, &export);
        }
        Step::Plug { attachment_id } => undo_attach(draft, id, *attachment_id, cause),
        Step::Unplug { attachment_id } => match &operation.kind {
            OperationKind::ServerDetach { server_gone: false, .. } if operation.undoing.is_none() => {
                roll_detaching(draft, operation, *attachment_id, cause);
            }
            // The server is going, or an attach is being undone: the fence of the export is what counts.
            _ => unexport_row(draft, id, *attachment_id),
        },
    }
}

/// Whether this operation has made up the export's name; else it asks again for an earlier connection's export.
pub(super) fn is_own_export(operation: &Operation, export: &ExportName) -> bool {
    operation.kind.attachment_id().is_some_and(|row| ExportName::new(row, operation.epoch) == *export)
}

/// Nothing has been done for this connect: an earlier connection of the row stays as it is, a row made by the same request
/// goes.
pub(super) fn connection_kept(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    match operation.kind {
        OperationKind::Connect { row_is_new: false, .. } => {
            draft.end(operation.id, Err(connection_refusal(cause)));
        }
        _ => connection_undone(draft, operation, cause),
    }
}

/// The export exists or may exist, and its operation has failed.
fn undo_export(draft: &mut Draft<'_>, operation: &Operation, export: &ExportName, cause: &Cause) {
    if !is_own_export(operation, export) {
        return connection_kept(draft, operation, cause);
    }
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.undoing = Some(cause.clone());
    }
    draft.run(operation.id, Step::Unexport { export: export.clone() });
}

fn delete_failed(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    if cause.kind == CauseKind::Busy {
        // "Backend busy": back to available, no error (volumes.md §6).
        draft.next.volume.terminated_at = None;
        settle_ended(draft, operation.id, Err(Refusal::Backend(cause.text.clone())));
    } else {
        draft.tell_owner(message(operation, "017", "001", cause));
        settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
        draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
    }
}

/// The export is certainly still there: repair keeps at it, and nothing else is connected before that.
fn unexport_failed(draft: &mut Draft<'_>, operation: &Operation, export: &ExportName) {
    if matches!(operation.kind, OperationKind::Repair | OperationKind::Delete) {
        if operation.kind == OperationKind::Delete && operation.attempt >= MAX_TRIES {
            let cause = Cause::new(CauseKind::Busy, "an export of the volume cannot be removed");
            draft.tell_owner(message(operation, "017", "001", &cause));
            settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
            return draft.end(operation.id, Err(Refusal::Backend(cause.text)));
        }
        if let Some(operation) = draft.operation_mut(operation.id) {
            operation.probing = None;
            operation.attempt += 1;
        }
        return draft.issue(operation.id);
    }
    if !draft.next.volume.orphan_exports.contains(export) {
        draft.next.volume.orphan_exports.push(export.clone());
    }
    if let Some(row) = operation.kind.attachment_id().and_then(|row| draft.next.attachment_mut(row)) {
        row.export = None;
    }
    if matches!(operation.kind, OperationKind::Connect { .. }) && operation.undoing.is_none() {
        // The old export of a reconnect cannot be removed: the row must not get a second one.
        let cause = Cause::new(CauseKind::Unavailable, "the previous connection could not be ended");
        return connection_undone(draft, operation, &cause);
    }
    unexported(draft, operation);
}

fn undo_attach(draft: &mut Draft<'_>, id: OperationId, row_id: crate::domain::ids::AttachmentId, cause: &Cause) {
    if let Some(operation) = draft.operation_mut(id) {
        operation.undoing = Some(cause.clone());
        operation.probing = None;
    }
    unexport_row(draft, id, row_id);
}

/// The guest keeps the device: the detach is rolled back (`spec/nova-volume-attachments.md` §6).
fn roll_detaching(
    draft: &mut Draft<'_>,
    operation: &Operation,
    row_id: crate::domain::ids::AttachmentId,
    cause: &Cause,
) {
    if let Some(bdm) = draft.next.attachment_mut(row_id).and_then(|row| row.bdm.as_mut()) {
        bdm.detaching = false;
    }
    settle::rows_changed(&mut draft.next);
    draft.tell_owner(message(operation, "018", "022", cause));
    draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
}

/// Step and probe have both hung: a named error status, and a record of the call that may still have effects.
fn given_up(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let hung = Cause::new(CauseKind::Deadline, format!("the backend does not answer ({})", cause.text));
    if steps::has_backend_call(&operation.step) {
        draft.remember_outstanding(operation);
        draft.probe_outstanding(2);
    }
    match &operation.step {
        Step::Export { .. } => connection_in_doubt(draft, operation, AttachStatus::ErrorAttaching, &hung),
        Step::Unexport { .. } => match operation.kind {
            OperationKind::Disconnect { .. } | OperationKind::ServerDetach { .. } => {
                connection_in_doubt(draft, operation, AttachStatus::ErrorDetaching, &hung);
            }
            OperationKind::Delete => {
                draft.tell_owner(message(operation, "017", "001", &hung));
                settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
                draft.end(operation.id, Err(Refusal::Backend(hung.text)));
            }
            OperationKind::Repair => {
                // The orphan stays registered; repair waits at `Drain` until the backend has answered.
                draft.run(operation.id, Step::Drain);
            }
            _ => connection_in_doubt(draft, operation, AttachStatus::ErrorAttaching, &hung),
        },
        Step::Plug { attachment_id } => {
            // The guest does not answer. Unplugging is tried once more, then the export's fence decides.
            let row_id = *attachment_id;
            if let Some(operation) = draft.operation_mut(operation.id) {
                operation.undoing = Some(hung);
            }
            draft.run(operation.id, Step::Unplug { attachment_id: row_id });
        }
        _ => failed(draft, operation, &hung),
    }
}

/// The row's export may or may not be live: the row keeps its name and an error status, and holds the volume.
fn connection_in_doubt(draft: &mut Draft<'_>, operation: &Operation, status: AttachStatus, cause: &Cause) {
    let row_id = operation.kind.attachment_id();
    // Compute's detach of the same row may have been accepted meanwhile and wait for its turn.
    let detach_waits = draft.next.operations.iter().any(|other| {
        other.id != operation.id
            && matches!(other.kind, OperationKind::ServerDetach { attachment_id, .. } if Some(attachment_id) == row_id)
    });
    if let Some(row) = row_id.and_then(|row| draft.next.attachment_mut(row)) {
        row.attach_status = status;
        if let Some(bdm) = row.bdm.as_mut() {
            bdm.detaching = detach_waits;
        }
    }
    settle::rows_changed(&mut draft.next);
    let codes = if status == AttachStatus::ErrorDetaching { ("018", "022") } else { ("002", "021") };
    draft.tell_owner(message(operation, codes.0, codes.1, cause));
    draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
}

/// Earlier calls were not answered in time, so the operation was never started: it ends without a trace, or in the error
/// status of its verb where the volume must not be used.
fn drain_over(draft: &mut Draft<'_>, operation: &Operation) {
    let cause = Cause::new(CauseKind::Deadline, "an earlier call to the backend has not been answered yet");
    let id = operation.id;
    match &operation.kind {
        OperationKind::Create => failed(draft, &Operation { step: Step::Create, ..operation.clone() }, &cause),
        OperationKind::Extend { .. } => {
            draft.tell_owner(message(operation, "007", "010", &cause));
            settle_ended(draft, id, Err(Refusal::Backend(cause.text)));
        }
        OperationKind::Delete => {
            draft.tell_owner(message(operation, "017", "001", &cause));
            settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
            draft.end(id, Err(Refusal::Backend(cause.text)));
        }
        OperationKind::Connect { .. } | OperationKind::ServerAttach { .. } => {
            connection_kept(draft, operation, &cause);
        }
        OperationKind::Disconnect { .. } => {
            connection_in_doubt(draft, operation, AttachStatus::ErrorDetaching, &cause);
        }
        OperationKind::ServerDetach { attachment_id, .. } => {
            roll_detaching(draft, operation, *attachment_id, &cause);
        }
        OperationKind::Repair => draft.run(id, Step::Drain),
    }
}

pub(super) fn message(operation: &Operation, action: &'static str, detail: &'static str, cause: &Cause) -> UserMessage {
    UserMessage { action, detail, cause: Some(cause.text.clone()), requester: operation.requester.clone() }
}
