//! A volume's contents are lent to a new one (P8). The borrower exists first, with the intent to be made from them; so a loan
//! always has somebody who gives it back, and whoever finds a loan after a crash can look whether it is still needed. Until it
//! is given back, nothing changes or removes what is read: such work is admitted and waits.

use super::draft::{Draft, ticket_of};
use crate::domain::ids::{SnapshotId, VolumeId};
use crate::domain::operation::{Lane, Step};
use crate::domain::status::{SnapshotStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, Facts, Job, Refusal, Ticket, Verdict};
use crate::domain::volume::state::{Loan, VolumeState};

/// Statuses of a volume whose contents may be copied.
pub const CLONEABLE: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::InUse];

pub(super) fn lend(state: &VolumeState, loan: Loan, size_gib: u32, caller: &Caller, facts: &Facts) -> Verdict {
    if state.volume.loans.contains(&loan) {
        // The borrower asks again, because it did not hear the answer.
        return Verdict::Nothing { jobs: vec![Job::WatchBorrower { borrower: loan.borrower }], attachment_id: None };
    }
    if let Some(refusal) = refusal(state, loan.snapshot_id, size_gib) {
        return Verdict::Refuse(refusal);
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.next.volume.loans.push(loan);
    draft.start_job(Job::WatchBorrower { borrower: loan.borrower });
    draft.finish()
}

/// Why the contents cannot be had (`spec/volumes.md` §3, rows 13 and 14).
pub fn refusal(state: &VolumeState, snapshot_id: Option<SnapshotId>, size_gib: u32) -> Option<Refusal> {
    let volume = &state.volume;
    let (what, source_gib) = match snapshot_id {
        None => {
            // The word may have been set by hand; whether the contents change is what counts (P5).
            let is_changing = state.data_work().is_some() || !state.is_migration_idle();
            if is_changing || !CLONEABLE.contains(&volume.status) {
                return Some(Refusal::InvalidVolume(format!(
                    "Source volume status must be {}, but current status is: {}.",
                    CLONEABLE.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
                    volume.status
                )));
            }
            ("source volume", volume.size_gib)
        }
        Some(id) => {
            let Some(snapshot) = state.snapshot(id) else { return Some(Refusal::SnapshotNotFound(id)) };
            if snapshot.status != SnapshotStatus::Available {
                return Some(Refusal::InvalidSnapshot(format!(
                    "Originating snapshot status must be one of 'available' values, but it is {}.",
                    snapshot.status
                )));
            }
            ("snapshot", snapshot.size_gib)
        }
    };
    (size_gib < source_gib).then(|| {
        Refusal::InvalidInput(format!(
            "Volume size '{size_gib}'GB cannot be smaller than the {what} size {source_gib}GB. They must be >= \
             original size."
        ))
    })
}

/// The source has answered: the copy begins, or the volume that was to be made has never been (P12).
pub(super) fn lent(
    state: &VolumeState,
    ticket: &Ticket,
    answer: &Result<(), Refusal>,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    let Some(operation) = state.operations.iter().find(|operation| ticket_of(operation) == *ticket) else {
        return draft.finish();
    };
    draft.on_behalf_of(&operation.requester);
    match answer {
        Ok(()) => {
            draft.answer(operation.id, Ok(()));
            draft.run(operation.id, Step::Copy);
        }
        Err(refusal) => {
            draft.next.volume.deleted = true;
            draft.next.volume.deleted_at = Some(facts.now);
            draft.next.attachments.clear();
            draft.end(operation.id, Err(refusal.clone()));
        }
    }
    draft.finish()
}

/// What has waited for the contents goes on.
pub(super) fn returned(state: &VolumeState, borrower: VolumeId, caller: &Caller, facts: &Facts) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    draft.next.volume.loans.retain(|loan| loan.borrower != borrower);
    draft.start_waiting(Lane::Snapshot);
    draft.start_waiting(Lane::Data);
    draft.finish()
}
