//! How a migration goes on (R-71…R-75): the volume is made at the destination from its own contents, or its guest is moved there
//! while it writes; then one commit of one record says that it is there. Up to that commit everything at the destination is the
//! migration's own and goes again; after it everything at the old place does. Whatever goes is removed by an operation of its own,
//! whose delete is younger than all that the migration has asked for, so that no late call brings anything back.
//!
//! A guest is past the point of no return when it has pivoted. What a pivot has done that nobody heard of, the guest is asked until
//! it answers: no deadline may decide which of two disks is the one that was written to.

use super::draft::Draft;
use super::migrate::{MIGRATE_ACTION, RETYPE_ACTION, words_back};
use super::results::{MAX_PROBES, MAX_TRIES, again, is_to_ask_again, look_again, look_up};
use super::{attachment, failures, settle, steps};
use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome, Request};
use crate::domain::document::Document;
use crate::domain::ids::ExportName;
use crate::domain::operation::{GuestDisk, Migration, Operation, OperationKind, Probing, Retype, Step};
use crate::domain::text::Text;
use crate::domain::volume::command::{JobTarget, Refusal};
use crate::domain::volume::state::VolumeState;

/// The step's own call has ended.
pub(super) fn ended(draft: &mut Draft<'_>, operation: &Operation, outcome: &Outcome) {
    if matches!(operation.kind, OperationKind::DiscardCopy { .. }) {
        return match outcome {
            Outcome::Done { .. } => discarded(draft, operation),
            // Nobody waits for it, and everybody can live with it: it is asked for again for as long as it takes.
            _ => again(draft, operation),
        };
    }
    match (&operation.step, outcome) {
        (_, Outcome::Done { answer }) => done(draft, operation, answer),
        (_, Outcome::Failed { cause }) if is_to_ask_again(operation, cause) => again(draft, operation),
        // The guest may have pivoted before.
        (Step::Unmirror { .. }, Outcome::Refused { cause }) => look_up(draft, operation, cause),
        (Step::Unmirror { .. }, _) => again(draft, operation),
        (Step::Survey, Outcome::Failed { .. } | Outcome::Unknown { .. }) if operation.attempt < MAX_TRIES => {
            again(draft, operation);
        }
        (Step::Survey, Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause }) => {
            gave_up(draft, operation, cause, false);
        }
        (_, Outcome::Refused { cause } | Outcome::Failed { cause }) if operation.is_repeated => {
            look_up(draft, operation, cause);
        }
        (_, Outcome::Refused { cause } | Outcome::Failed { cause }) => failed(draft, operation, cause, true),
        (_, Outcome::Unknown { cause }) if request(&draft.next, operation).is_none() => {
            failed(draft, operation, cause, true);
        }
        (_, Outcome::Unknown { cause }) => look_up(draft, operation, cause),
    }
}

/// The backend or the guest has been asked what became of a step.
pub(super) fn probed(draft: &mut Draft<'_>, operation: &Operation, probing: &Probing, outcome: &Outcome) {
    match (&operation.step, outcome) {
        (
            Step::Pivot { .. } | Step::Unmirror { .. },
            Outcome::Done { answer: Answer::Plugged { export: Some(export), .. } },
        ) if own_export(operation).as_ref() == Some(export) => arrived(draft, operation, true),
        (Step::Unmirror { .. }, _) => again(draft, operation),
        (Step::Pivot { .. }, Outcome::Done { answer: Answer::Plugged { plugged: false, .. } }) => {
            // The guest is gone. It was level, so that the destination has all that it ever wrote, whether or not it had moved;
            // the other one is kept for somebody to look at.
            arrived(draft, operation, false);
        }
        (Step::Pivot { .. }, Outcome::Done { answer: Answer::Plugged { .. } }) => {
            not_done(draft, operation, &probing.cause);
        }
        (Step::Pivot { .. }, _) => look_again(draft, operation),
        (Step::Mirror { .. }, Outcome::Done { answer: Answer::Plugged { plugged: true, .. } }) => {
            not_done(draft, operation, &probing.cause);
        }
        (Step::Mirror { .. }, Outcome::Done { answer: Answer::Plugged { plugged: false, .. } }) => {
            undo(draft, operation, &probing.cause);
        }
        // Whether it is complete only the same request can say.
        (_, Outcome::Done { answer: Answer::Truth { truth } }) if !truth.busy => {
            not_done(draft, operation, &probing.cause);
        }
        (_, Outcome::Unknown { .. }) => failed(draft, operation, &probing.cause, false),
        _ if probing.attempt < MAX_PROBES => look_again(draft, operation),
        _ => failed(draft, operation, &probing.cause, false),
    }
}

/// The step is not done, or not known to be complete: it is asked for again, which is idempotent.
fn not_done(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    if operation.attempt < MAX_TRIES { again(draft, operation) } else { failed(draft, operation, cause, false) }
}

/// The step is done: the next one, or the end.
fn done(draft: &mut Draft<'_>, operation: &Operation, answer: &Answer) {
    let (id, Some(migration)) = (operation.id, operation.kind.migration()) else { return };
    match (&operation.step, &migration.guest) {
        (Step::Survey, guest) => surveyed(draft, operation, guest.as_ref(), answer),
        (Step::CreateTarget, Some(guest)) => {
            let export = ExportName::new(guest.attachment_id, operation.epoch);
            draft.run(id, Step::Export { export });
        }
        (Step::Export { .. }, Some(guest)) => {
            let Answer::Connection { info } = answer else {
                let cause = Cause::new(CauseKind::Other, "the backend answered no connection");
                return gave_up(draft, operation, &cause, true);
            };
            if let Some(OperationKind::Migrate(migration)) =
                draft.operation_mut(id).map(|operation| &mut operation.kind)
            {
                migration.connection_info = Some(Document::from(info));
            }
            draft.run(id, Step::Mirror { attachment_id: guest.attachment_id });
        }
        (Step::Mirror { .. }, Some(guest)) => draft.run(id, Step::Pivot { attachment_id: guest.attachment_id }),
        (Step::Transfer | Step::Pivot { .. }, _) => arrived(draft, operation, true),
        (Step::Unmirror { .. }, _) => {
            let cause = operation.undoing.clone();
            gave_up(draft, operation, &cause.unwrap_or_else(called_off), true);
        }
        (Step::Queued | Step::Drain, _) => draft.start(id),
        _ => gave_up(draft, operation, &called_off(), true),
    }
}

fn called_off() -> Cause {
    Cause::new(CauseKind::Other, "the migration was called off")
}

/// What is at the destination under this id before the migration has made anything is not the migration's to remove.
fn surveyed(draft: &mut Draft<'_>, operation: &Operation, guest: Option<&GuestDisk>, answer: &Answer) {
    let Answer::Truth { truth } = answer else {
        let cause = Cause::new(CauseKind::Other, "the destination does not say what it holds");
        return gave_up(draft, operation, &cause, false);
    };
    if truth.busy && operation.attempt < MAX_TRIES {
        return again(draft, operation);
    }
    if truth.exists || truth.busy || !truth.exports.is_empty() || !truth.snapshots.is_empty() {
        let cause = Cause::new(CauseKind::Other, "the destination holds something under the id of the volume already");
        return gave_up(draft, operation, &cause, false);
    }
    if draft.next.volume.migration_status.as_deref() == Some("starting") {
        draft.next.volume.migration_status = Some(Text::common("migrating"));
    }
    draft.run(operation.id, if guest.is_some() { Step::CreateTarget } else { Step::Transfer });
}

/// The step has failed. `certainly`: nothing of this try is there or will be.
fn failed(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause, certainly: bool) {
    match operation.step {
        Step::Mirror { .. } | Step::Pivot { .. } => undo(draft, operation, cause),
        Step::Transfer | Step::CreateTarget => {
            // Earlier tries may still come to something.
            gave_up(draft, operation, cause, !certainly || operation.attempt > 1);
        }
        _ => gave_up(draft, operation, cause, true),
    }
}

/// Takes the guest off the destination before anything else is undone.
pub(super) fn undo(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let Some(guest) = operation.kind.migration().and_then(|migration| migration.guest.as_ref()) else { return };
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.undoing = Some(cause.clone());
    }
    draft.run(operation.id, Step::Unmirror { attachment_id: guest.attachment_id });
}

/// The volume stays where it is. `leaves`: there may be something at the destination, which is the migration's own.
pub(super) fn gave_up(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause, leaves: bool) {
    let Some(migration) = operation.kind.migration() else { return };
    words_back(&mut draft.next, "error");
    let (action, detail) = match (&migration.retype, cause.kind) {
        (Some(_), CauseKind::NoSpace) => (RETYPE_ACTION, "003"),
        (Some(_), _) => (RETYPE_ACTION, "001"),
        (None, CauseKind::NoSpace) => (MIGRATE_ACTION, "003"),
        (None, _) => (MIGRATE_ACTION, "001"),
    };
    draft.tell_owner(failures::message(operation, action, detail, cause));
    if leaves {
        let exports = own_export(operation).into_iter().collect();
        let backend = migration.destination.clone();
        draft.begin(OperationKind::DiscardCopy { backend, exports }, DISCARD_ID);
    }
    draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
    // Rows may have changed meanwhile, under a word that was not theirs to change.
    settle::rows_changed(&mut draft.next);
}

/// Which of the fresh ids a discard gets: the first belongs to what the command itself begins, the last to repair.
const DISCARD_ID: usize = 2;

/// The volume is at the destination: place, type, connection and words change in one commit, and with it what is left behind
/// becomes something to remove.
fn arrived(draft: &mut Draft<'_>, operation: &Operation, is_certain: bool) {
    let Some(migration) = operation.kind.migration() else { return };
    let next = &mut draft.next;
    let left = next.volume.host.replace(migration.destination.clone());
    next.volume.availability_zone = migration.zone.clone();
    if let Some(retype) = migration.retype {
        take_type(next, retype);
    }
    // All that was known of the old place is settled by its removal.
    let mut exports = std::mem::take(&mut next.volume.orphan_exports);
    next.volume.outstanding.clear();
    if let (Some(guest), Some(export)) = (&migration.guest, own_export(operation)) {
        match next.attachment_mut(guest.attachment_id) {
            Some(row) => {
                exports.extend(row.export.replace(export));
                let mode = row.attach_mode.unwrap_or(AttachMode::ReadWrite);
                let info = migration.connection_info.as_ref().map_or(serde_json::Value::Null, Document::to_value);
                row.connection_info = Some(attachment::connection_told(&info, row, mode));
            }
            // An administrator has removed the row: repair ends what it would have had.
            None => next.volume.orphan_exports.push(export),
        }
    }
    words_back(next, "success");
    let repairs = next.operations.iter().filter(|other| other.kind == OperationKind::Repair);
    for repair in repairs.map(|repair| repair.id).collect::<Vec<_>>() {
        draft.end(repair, Ok(()));
    }
    match left {
        Some(backend) if is_certain => {
            draft.begin(OperationKind::DiscardCopy { backend, exports }, DISCARD_ID);
        }
        Some(backend) => {
            let text = format!("the guest ended while it was moved; what the volume had at {backend} is kept there");
            let action = if migration.retype.is_some() { RETYPE_ACTION } else { MIGRATE_ACTION };
            let cause = Cause::new(CauseKind::Guest, text);
            draft.tell_owner(failures::message(operation, action, "001", &cause));
        }
        None => {}
    }
    draft.end(operation.id, Ok(()));
    settle::rows_changed(&mut draft.next);
}

/// The volume is of the new type from now on, and what comes with it.
pub(super) fn take_type(next: &mut VolumeState, retype: Retype) {
    next.volume.volume_type_id = Some(retype.volume_type_id);
    next.volume.multiattach = retype.multiattach;
}

/// The name of the destination's export for the guest: made up once, when the migration was admitted.
fn own_export(operation: &Operation) -> Option<ExportName> {
    let guest = operation.kind.migration()?.guest.as_ref()?;
    Some(ExportName::new(guest.attachment_id, operation.epoch))
}

/// What a step of a migration, or of what is left of one, asks of whom.
pub(super) fn request(state: &VolumeState, operation: &Operation) -> Option<(JobTarget, Request)> {
    let size_gib = state.volume.size_gib;
    let migration = match &operation.kind {
        OperationKind::DiscardCopy { backend, .. } => {
            let request = match &operation.step {
                Step::Unexport { export } => Request::Unexport { export: export.clone() },
                _ => Request::Delete,
            };
            return Some((JobTarget::Backend(backend.clone()), request));
        }
        OperationKind::Migrate(migration) => migration,
        _ => return None,
    };
    let at_backend = |request| Some((JobTarget::Backend(migration.destination.clone()), request));
    if operation.probing.is_some() && !operation.step.is_at_guest() {
        return at_backend(Request::Probe);
    }
    match &operation.step {
        Step::Survey => at_backend(Request::Probe),
        Step::Transfer => at_backend(Request::CopyFromBackend { source_backend: state.volume.host.clone()?, size_gib }),
        Step::CreateTarget => at_backend(Request::CreateMirrorTarget { size_gib }),
        Step::Export { export } => {
            let row = state.attachment(migration.guest.as_ref()?.attachment_id)?;
            at_backend(Request::Export {
                attachment_id: row.id,
                export: export.clone(),
                connector: row.connector.clone()?,
                // The mirror writes, whatever the guest may.
                mode: AttachMode::ReadWrite,
            })
        }
        _ => guest_request(state, migration, operation),
    }
}

fn guest_request(state: &VolumeState, migration: &Migration, operation: &Operation) -> Option<(JobTarget, Request)> {
    let guest = migration.guest.as_ref()?;
    let row = state.attachment(guest.attachment_id);
    let attachment_id = guest.device;
    let connection_info = migration.connection_info.clone().unwrap_or_else(Document::empty);
    let request = match &operation.step {
        _ if operation.probing.is_some() => Request::ProbeGuest { attachment_id },
        Step::Mirror { .. } => {
            let row_mode = row.and_then(|row| row.attach_mode);
            let mode = steps::effective_mode(state, row_mode, None);
            Request::MirrorGuest { attachment_id, connection_info, mode }
        }
        Step::Pivot { .. } => Request::PivotGuest { attachment_id, connection_info },
        Step::Unmirror { .. } => Request::UnmirrorGuest { attachment_id, connection_info },
        _ => return None,
    };
    Some((JobTarget::Guest(guest.server_id.clone()), request))
}

/// The first or next step of a removal: exports, then the volume.
pub(super) fn next_discard(exports: &[ExportName]) -> Step {
    exports.first().map_or(Step::Delete, |export| Step::Unexport { export: export.clone() })
}

fn discarded(draft: &mut Draft<'_>, operation: &Operation) {
    let Step::Unexport { export: gone } = &operation.step else { return draft.end(operation.id, Ok(())) };
    let Some(OperationKind::DiscardCopy { exports, .. }) =
        draft.operation_mut(operation.id).map(|operation| &mut operation.kind)
    else {
        return;
    };
    exports.retain(|export| export != gone);
    let step = next_discard(exports);
    draft.run(operation.id, step);
}
