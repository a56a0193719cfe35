//! Which of a volume's open operations stands behind a refusal, so that a client can be told what it is to wait for.

use super::refusal::Refusal;
use super::state::VolumeState;
use crate::domain::operation::{Lane, Operation, OperationKind};

/// The operation without which the refusal would not have been. None: what is refused does not depend on work under way, and
/// waiting for some would be in vain.
pub fn blocking_operation<'a>(state: &'a VolumeState, refusal: &Refusal) -> Option<&'a Operation> {
    match refusal {
        Refusal::InvalidVolume(_) | Refusal::Conflict(_) => state.data_work().or_else(|| connecting(state)),
        Refusal::InvalidSnapshot(_) => state.operation_in(Lane::Snapshot).or_else(|| state.data_work()),
        Refusal::QueueDeadline => state.operation_in(Lane::Connection),
        _ => None,
    }
}

/// Work on a connection, where it is what the volume's status speaks of. Repairs go on beside everything.
fn connecting(state: &VolumeState) -> Option<&Operation> {
    let work = state.operation_in(Lane::Connection).filter(|operation| operation.kind != OperationKind::Repair);
    work.filter(|_| state.volume.status.is_connecting())
}

/// Whether nothing is left of what was asked for when the operation has ended well.
pub fn leaves_nothing(kind: &OperationKind) -> bool {
    kind.keeps_data() || matches!(kind, OperationKind::Delete | OperationKind::DeleteSnapshot { .. })
}
