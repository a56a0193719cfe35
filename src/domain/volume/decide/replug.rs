//! A guest has come without a disk that its record gives it: it was started again, or it was down when the volume was attached.
//! The volume is put back into it, under an export that is new: whoever is left of the guest's former process has none.
//!
//! Nothing of it changes the volume's words: the server has the volume all the while. What cannot be put back is told to the
//! owner, and can be detached as ever.

use super::draft::Draft;
use super::results::{self, MAX_PROBES, MAX_TRIES, again, is_to_ask_again, look_again, look_up};
use super::{attachment, failures, steps};
use crate::domain::attachment::Attachment;
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome};
use crate::domain::ids::AttachmentId;
use crate::domain::operation::{Operation, OperationKind, Probing, Requester, Step};
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, Facts, Refusal, ServerReplug, Verdict};
use crate::domain::volume::state::VolumeState;

/// Begins it, unless the server does not have the volume any more or the row is worked on already. What the row is waiting
/// for comes first.
pub(super) fn begin(state: &VolumeState, request: &ServerReplug, caller: &Caller, facts: &Facts) -> Verdict {
    let is_put_back = |row: AttachmentId| {
        let running =
            |kind: &OperationKind| matches!(kind, OperationKind::Replug { attachment_id, .. } if *attachment_id == row);
        state.operations.iter().any(|operation| running(&operation.kind))
    };
    let row = state.attachment_of_server(&request.server_id);
    let Some(row) = row.filter(|row| row.belongs_in_guest() && !is_put_back(row.id)) else {
        return Verdict::Nothing { jobs: Vec::new(), attachment_id: None };
    };
    let mode = steps::effective_mode(state, row.attach_mode, attachment::asked_mode(&request.connector));
    let connector = attachment::with_mode(&request.connector, mode);
    // Nobody has asked: what is to be told is told to the owner.
    let requester = Requester { project_id: state.volume.project_id.clone(), ..caller.requester.clone() };
    let mut draft = Draft::of(state, caller, facts);
    draft.on_behalf_of(&requester);
    draft.guard_server(request.server_id.clone(), request.server_epoch);
    let kind = OperationKind::Replug { attachment_id: row.id, connector, is_told: request.is_told };
    draft.begin_for(kind, 0, requester);
    draft.finish()
}

/// Whether the operation's step is this plan's.
pub(super) fn owns(operation: &Operation) -> bool {
    matches!(operation.kind, OperationKind::Replug { .. }) && !matches!(operation.step, Step::Queued | Step::Drain)
}

/// The step's own call has ended.
pub(super) fn ended(draft: &mut Draft<'_>, operation: &Operation, outcome: &Outcome) {
    match (&operation.step, outcome) {
        (_, Outcome::Done { answer }) => done(draft, operation, answer),
        (_, Outcome::Failed { cause }) if is_to_ask_again(operation, cause) => again(draft, operation),
        // Nothing has begun, and whoever asked looks again.
        (Step::LookAtGuest { .. }, _) => given_up(draft, operation, outcome),
        (_, Outcome::Refused { cause } | Outcome::Failed { cause }) if operation.is_repeated => {
            look_up(draft, operation, cause);
        }
        (_, Outcome::Unknown { cause }) if steps::request(&draft.next, operation).is_some() => {
            look_up(draft, operation, cause);
        }
        (Step::Export { .. }, Outcome::Refused { cause } | Outcome::Failed { cause }) => {
            not_exported(draft, operation, cause);
        }
        (_, Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause }) => {
            failed(draft, operation, cause);
        }
    }
}

/// The backend or the guest has been asked what became of a step.
pub(super) fn probed(draft: &mut Draft<'_>, operation: &Operation, probing: &Probing, outcome: &Outcome) {
    match (&operation.step, outcome) {
        (Step::Unexport { export }, Outcome::Done { answer: Answer::Truth { truth } })
            if !truth.busy && !truth.exports.contains(export) =>
        {
            done(draft, operation, &Answer::Nothing);
        }
        (_, Outcome::Done { answer: Answer::Truth { truth } }) if !truth.busy && operation.attempt < MAX_TRIES => {
            again(draft, operation);
        }
        (Step::Export { export }, Outcome::Done { answer: Answer::Truth { truth } })
            if !truth.busy && !truth.exports.contains(export) =>
        {
            not_exported(draft, operation, &probing.cause);
        }
        // The export is served, and its answer never came; or it cannot be removed.
        (_, Outcome::Done { answer: Answer::Truth { truth } }) if !truth.busy => {
            failed(draft, operation, &probing.cause);
        }
        (Step::Plug { .. }, Outcome::Done { answer: Answer::Plugged { plugged: true, .. } }) => {
            done(draft, operation, &Answer::Nothing);
        }
        (_, Outcome::Done { answer: Answer::Plugged { .. } }) if operation.attempt < MAX_TRIES => {
            again(draft, operation);
        }
        (_, Outcome::Done { answer: Answer::Plugged { .. } }) => failed(draft, operation, &probing.cause),
        (_, Outcome::Unknown { .. }) => hung(draft, operation, &probing.cause),
        _ if probing.attempt < MAX_PROBES => look_again(draft, operation),
        _ => hung(draft, operation, &probing.cause),
    }
}

fn done(draft: &mut Draft<'_>, operation: &Operation, answer: &Answer) {
    let (id, Some(row_id)) = (operation.id, operation.kind.attachment_id()) else { return };
    match (&operation.step, answer) {
        (Step::LookAtGuest { .. }, Answer::Plugged { plugged: true, .. }) => draft.end(id, Ok(())),
        // Its export, if it has one, is the former process's.
        (Step::LookAtGuest { .. }, _) => match wanted(draft, row_id).map(|row| row.export.clone()) {
            Some(Some(export)) => draft.run(id, Step::Unexport { export }),
            Some(None) => export_anew(draft, operation, row_id),
            None => draft.end(id, Ok(())),
        },
        (Step::Unexport { .. }, _) => results::done(draft, operation, answer),
        (Step::Export { .. }, Answer::Connection { info }) => {
            connected(draft, operation, row_id, info);
            // Whoever detaches it meanwhile finds an export to end, and no device.
            match wanted(draft, row_id) {
                Some(_) => draft.run(id, Step::Plug { attachment_id: row_id }),
                None => draft.end(id, Ok(())),
            }
        }
        (Step::Export { .. }, _) => {
            failed(draft, operation, &Cause::new(CauseKind::Other, "the backend answered no connection"));
        }
        _ => draft.end(id, Ok(())),
    }
}

/// The former export is proven gone.
pub(super) fn unexported(draft: &mut Draft<'_>, operation: &Operation, row_id: AttachmentId) {
    match wanted(draft, row_id) {
        Some(_) => export_anew(draft, operation, row_id),
        None => draft.end(operation.id, Ok(())),
    }
}

fn export_anew(draft: &mut Draft<'_>, operation: &Operation, row_id: AttachmentId) {
    let step = steps::export_step(&mut draft.next, operation, row_id);
    draft.run(operation.id, step);
}

/// The row, as long as its disk belongs into the guest.
fn wanted<'a>(draft: &'a Draft<'_>, row_id: AttachmentId) -> Option<&'a Attachment> {
    draft.next.attachment(row_id).filter(|row| row.belongs_in_guest())
}

/// The row says how it is reached now. It stays attached.
fn connected(draft: &mut Draft<'_>, operation: &Operation, row_id: AttachmentId, info: &serde_json::Value) {
    let OperationKind::Replug { connector, .. } = &operation.kind else { return };
    let row_mode = draft.next.attachment(row_id).and_then(|row| row.attach_mode);
    let mode = steps::effective_mode(&draft.next, row_mode, steps::kept_mode(connector));
    if let Some(row) = draft.next.attachment_mut(row_id) {
        row.attached_host = connector.text("host").map(Text::from);
        row.mountpoint.get_or_insert_with(|| Text::common("na"));
        row.attach_mode = Some(mode);
        row.connector = Some(connector.clone());
        row.connection_info = Some(attachment::connection_told(info, row, mode));
    }
}

/// The guest does not say what it has.
fn given_up(draft: &mut Draft<'_>, operation: &Operation, outcome: &Outcome) {
    let text = match outcome {
        Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause } => cause.text.as_str(),
        Outcome::Done { .. } => return,
    };
    draft.end(operation.id, Err(Refusal::Backend(text.to_owned())));
}

/// Step and probe have hung: what may still come is recorded.
fn hung(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    draft.remember_outstanding(operation, 2);
    failed(draft, operation, cause);
}

/// The name of the export is certainly free of any effect.
fn not_exported(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    if let Some(row) = operation.kind.attachment_id().and_then(|row_id| draft.next.attachment_mut(row_id)) {
        row.export = None;
    }
    failed(draft, operation, cause);
}

/// The volume is not in its guest. The row keeps the name of the export that it has or may have: the next try ends that
/// first, and so does a detach.
pub(super) fn failed(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let OperationKind::Replug { attachment_id, is_told, .. } = &operation.kind else { return };
    if *is_told && draft.next.attachment(*attachment_id).is_some() {
        draft.tell_owner(failures::message(operation, "002", "021", cause));
    }
    draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
}
