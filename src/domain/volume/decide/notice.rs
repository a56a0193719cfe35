//! What a Nova elsewhere is told: volumes that have grown, or were reimaged, under its servers (`spec/volume-actions.md` §2.1, §2.19).
//! Each notice is an operation of its own, begun in the commit that settles the volume: it outlives a crash, and neither the status nor
//! other work waits for Nova.

use super::draft::Draft;
use super::failures::message;
use super::results::MAX_STARTS;
use crate::domain::backend::Outcome;
use crate::domain::compute::{ComputeEvent, ComputeNotice};
use crate::domain::operation::{Lane, Operation, OperationKind};
use crate::domain::volume::command::Refusal;

/// Begins to tell the servers of all rows, where they are a Nova's. `operation` is what has changed the volume; it has ended.
pub(super) fn begin(draft: &mut Draft<'_>, operation: &Operation, event: ComputeEvent) {
    if !draft.facts.compute.is_elsewhere() {
        return;
    }
    let mut servers: Vec<_> = draft.next.attachments.iter().filter_map(|row| row.instance_uuid.clone()).collect();
    servers.sort_unstable();
    servers.dedup();
    if servers.is_empty() {
        return;
    }
    let kind = OperationKind::NotifyCompute(Box::new(ComputeNotice { event, servers }));
    draft.begin_for(kind, NOTICE_ID, operation.requester.clone());
}

/// Which of the fresh ids a notice gets: a result begins nothing else with the first.
const NOTICE_ID: usize = 0;

/// Nova has been told, or could not be: it is tried again for about a minute. That it does not know is the owner's to hear, and
/// nobody's failure.
pub(super) fn ended(draft: &mut Draft<'_>, operation: &Operation, outcome: &Outcome) {
    let OperationKind::NotifyCompute(notice) = &operation.kind else { return };
    let cause = match outcome {
        Outcome::Done { .. } => return draft.end(operation.id, Ok(())),
        Outcome::Failed { .. } | Outcome::Unknown { .. } if operation.attempt < MAX_STARTS => {
            if let Some(operation) = draft.operation_mut(operation.id) {
                operation.attempt += 1;
            }
            return draft.issue(operation.id);
        }
        Outcome::Refused { cause } | Outcome::Failed { cause } | Outcome::Unknown { cause } => cause,
    };
    let (action, detail) = match notice.event {
        ComputeEvent::VolumeExtended => ("007", "009"),
        ComputeEvent::VolumeReimaged => ("016", "028"),
    };
    draft.tell_owner(message(operation, action, detail, cause));
    draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
}

/// Ends all notices of a volume that is gone.
pub(super) fn drop_all(draft: &mut Draft<'_>) {
    while let Some(id) = draft.next.operation_in(Lane::Notice).map(|notice| notice.id) {
        draft.end(id, Ok(()));
    }
}
