//! Going on after an activation, and reconciling with what the backend says is true (P7, `spec/races.md` §3).

use super::draft::Draft;
use super::{connection, failures, results, settle};
use crate::domain::backend::{Answer, Cause, CauseKind, Outcome, Truth};
use crate::domain::ids::OperationId;
use crate::domain::operation::{Lane, Operation, OperationKind, OutstandingCall, Step};
use crate::domain::status::AttachStatus;
use crate::domain::volume::command::{Caller, Facts, Job, Verdict};
use crate::domain::volume::state::VolumeState;

/// The actor has just read this state: each open operation goes on where it stands. Steps are issued again under their own
/// keys, so nothing happens twice. A connect whose client can no longer hear the answer is undone (R-07, R-94, P12).
pub(super) fn resume(state: &VolumeState, caller: &Caller, facts: &Facts) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    let cause = Cause::new(CauseKind::Other, "the service was restarted");
    for operation in &state.operations {
        match (&operation.kind, &operation.step) {
            (OperationKind::Connect { .. } | OperationKind::Initialize { .. }, Step::Queued | Step::Drain) => {
                failures::connection_kept(&mut draft, operation, &cause);
            }
            // Asking again for an earlier connection's export harms nobody; ending it would cut off whoever uses it.
            (OperationKind::Connect { .. } | OperationKind::Initialize { .. }, Step::Export { export })
                if !failures::is_own_export(operation, export) =>
            {
                repeat(&mut draft, operation);
            }
            (
                OperationKind::Connect { attachment_id: owner, .. }
                | OperationKind::Initialize { connection_id: owner, .. },
                _,
            ) if operation.undoing.is_none() => {
                let of_connection = || draft.next.volume.connection(*owner).map(|known| known.export.clone());
                let export = super::steps::export_of(&draft.next, *owner).or_else(of_connection);
                if let Some(operation) = draft.operation_mut(operation.id) {
                    operation.undoing = Some(cause.clone());
                }
                match export {
                    Some(export) => draft.run(operation.id, Step::Unexport { export }),
                    None => {
                        failures::connection_undone(&mut draft, operation, &cause);
                    }
                }
            }
            _ => repeat(&mut draft, operation),
        }
    }
    if !draft.next.volume.outstanding.is_empty() {
        draft.probe_outstanding(1);
    }
    for loan in &state.volume.loans {
        draft.start_job(Job::WatchBorrower { borrower: loan.borrower });
    }
    draft.finish()
}

/// Issues a step again whose call nobody has heard of since the restart.
fn repeat(draft: &mut Draft<'_>, operation: &Operation) {
    let asks = !matches!(
        operation.step,
        Step::Queued
            | Step::Drain
            | Step::Borrow
            | Step::Announce
            | Step::Yield
            | Step::Yielded
            | Step::Handover
            | Step::HandBack
            | Step::NotifyCompute
    );
    if let Some(operation) = draft.operation_mut(operation.id).filter(|operation| asks && operation.probing.is_none()) {
        operation.is_repeated = true;
    }
    draft.issue(operation.id);
}

/// A call that its operation no longer waits for has returned.
pub(super) fn call_returned(
    state: &VolumeState,
    operation_id: OperationId,
    epoch: u64,
    step: &Step,
    outcome: &Outcome,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    let probing = state.operations.iter().find(|operation| {
        operation.id == operation_id
            && operation.epoch == epoch
            && operation.step == *step
            && operation.probing.is_some()
    });
    match (probing, outcome) {
        // The operation is just asking what became of its step: that it is done is better than any probe. A failure says
        // nothing, since it may be an earlier try's while a later one is under way: the probe goes on.
        (Some(operation), Outcome::Done { .. }) => results::ended(&mut draft, operation, outcome),
        // An older epoch's result is never applied (I3). If it is an outstanding call, what it did is looked up.
        _ if !state.volume.outstanding.is_empty() => draft.probe_outstanding(1),
        _ => {}
    }
    draft.finish()
}

/// The backend has told the truth about a volume with outstanding calls.
pub(super) fn outstanding_probed(
    state: &VolumeState,
    outcome: &Outcome,
    attempt: u32,
    asked_at: u64,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    if state.volume.outstanding.is_empty() {
        return draft.finish();
    }
    match outcome {
        Outcome::Done { answer: Answer::Truth { truth } } if !truth.busy => {
            draft.next.volume.outstanding.retain(|call| call.recorded_at > asked_at);
            if !draft.next.volume.outstanding.is_empty() {
                // Calls were recorded after this look was decided on: the truth has to be asked for again.
                draft.probe_outstanding(1);
                return draft.finish();
            }
            reconcile(&mut draft, truth, &state.volume.outstanding);
            draft.start_drained();
        }
        _ => draft.probe_outstanding(attempt.saturating_add(1)),
    }
    draft.finish()
}

/// What late calls have done is compensated: exports that no row owns are removed, a size that grew is taken into the books,
/// rows in doubt are decided.
fn reconcile(draft: &mut Draft<'_>, truth: &Truth, ended: &[OutstandingCall]) {
    for export in &truth.exports {
        let owned = draft.next.attachments.iter().any(|row| row.export.as_ref() == Some(export))
            || draft.next.volume.connections().iter().any(|connection| connection.export == *export);
        if !owned && !draft.next.volume.orphan_exports.contains(export) {
            draft.next.volume.orphan_exports.push(export.clone());
        }
    }
    // The end of a connection was asked for and nobody knew how it went: now its export is proven gone.
    for call in ended {
        if let Step::Unexport { export } = &call.key.step
            && !truth.exports.contains(export)
        {
            connection::forget(&mut draft.next, export);
        }
        // A disk that was to be put back into its guest: its row stays attached, and has no export by this name.
        if let Step::Unexport { export } | Step::Export { export } = &call.key.step
            && !truth.exports.contains(export)
        {
            let attached = draft.next.attachments.iter_mut().filter(|row| row.attach_status == AttachStatus::Attached);
            attached.filter(|row| row.export.as_ref() == Some(export)).for_each(|row| row.export = None);
        }
    }
    // An extend that is under way settles the size itself; one that still waits has not begun.
    let extending = draft.next.operation_in(Lane::Data).is_some_and(|operation| {
        matches!(operation.kind, OperationKind::Extend { .. }) && !matches!(operation.step, Step::Drain | Step::Queued)
    });
    if !extending {
        results::adopt_size(draft, truth);
    }
    let in_doubt = draft
        .next
        .attachments
        .iter()
        .filter(|row| matches!(row.attach_status, AttachStatus::ErrorAttaching | AttachStatus::ErrorDetaching))
        .filter(|row| row.export.as_ref().is_some_and(|export| !truth.exports.contains(export)))
        .map(|row| (row.id, row.attach_status))
        .collect::<Vec<_>>();
    for (row_id, status) in in_doubt {
        if let Some(row) = draft.next.attachment_mut(row_id) {
            row.export = None;
        }
        if status == AttachStatus::ErrorDetaching {
            // Its end was asked for, and now it is proven.
            draft.remove_row(row_id);
        }
    }
    settle::rows_changed(&mut draft.next);
}
