//! A host is dead, on an operator's proof: whatever it has of the volume is released at the backend. Neither the host nor its
//! guests are asked, and what was under way for them is cut off; late answers belong to epochs that are over.

use super::draft::Draft;
use super::{connection, migrate, release, swap, swapping};
use crate::domain::attachment::Attachment;
use crate::domain::ids::AttachmentId;
use crate::domain::operation::{Operation, OperationKind, Step};
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, Facts, FenceHost, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// One row, with the connections that go with it, or all connections of the host. Asked again until nothing is left.
pub(super) fn fence(state: &VolumeState, request: &FenceHost, caller: &Caller, facts: &Facts) -> Verdict {
    let row = state.attachments.iter().find(|row| is_of(state, row, request) && !is_going(state, row.id));
    let connections: Vec<AttachmentId> = match row {
        Some(row) => connection::of_row(state, row.id),
        None => of_host(state, request),
    };
    if row.is_none() && connections.is_empty() {
        return Verdict::Nothing { jobs: Vec::new(), attachment_id: None };
    }
    let row_id = row.map(|row| row.id);
    let mut draft = Draft::of(state, caller, facts);
    draft.because(format!("host {} is fenced (epoch {}): {}", request.host, request.epoch, request.proof));
    let is_brought_along = |operation: &Operation| match &operation.kind {
        OperationKind::Migrate(migration) => {
            migration.guest.as_ref().is_some_and(|guest| Some(guest.attachment_id) == row_id)
        }
        _ => false,
    };
    if let Some(migration) = state.migration().filter(|migration| is_brought_along(migration)) {
        // There is nobody left to bring along.
        migrate::call_off(&mut draft, migration, "the guest's host is fenced");
    }
    // A swap is led by the new volume, and ends on both sides: what is the host's is released behind it.
    let is_swapped = |operation: &&Operation| row_id.is_some() && operation.kind.attachment_id() == row_id;
    if let Some(swap) = state.swap().filter(is_swapped) {
        match &swap.kind {
            OperationKind::SwapOut(_) => swap::ask_back(&mut draft, &swap.kind),
            _ => swapping::call_off(&mut draft, swap, "the guest's host is fenced"),
        }
    }
    for operation in state.operations.iter().filter(|operation| is_cut_off(operation, row_id, &connections)) {
        draft.fence(operation.id, Refusal::Conflict(format!("host {} is fenced", request.host)));
    }
    if let Some(row_id) = row_id {
        draft.speak_of(row_id);
    }
    release::begin_unasked(draft, row_id, connections)
}

/// Whether the row is the host's: by where it is connected or about to be, else by where its server is.
fn is_of(state: &VolumeState, row: &Attachment, request: &FenceHost) -> bool {
    match row.attached_host.as_deref() {
        Some(host) => host == request.host,
        None => leads_there(state, row.id, request).unwrap_or_else(|| {
            row.bdm.as_ref().is_some_and(|bdm| bdm.device.is_some() && request.servers.contains(&bdm.server_id))
        }),
    }
}

/// Whether the work that connects the row connects it to this host; none: nothing connects it.
fn leads_there(state: &VolumeState, row_id: AttachmentId, request: &FenceHost) -> Option<bool> {
    state.operations.iter().find_map(|operation| match &operation.kind {
        OperationKind::Connect { attachment_id, connector, .. }
        | OperationKind::ServerAttach { attachment_id, connector, .. }
        | OperationKind::Replug { attachment_id, connector, .. }
            if *attachment_id == row_id =>
        {
            Some(connector.text("host").as_deref() == Some(request.host.as_str()))
        }
        _ => None,
    })
}

/// Whether its export is being removed already, which asks no host.
fn is_going(state: &VolumeState, row_id: AttachmentId) -> bool {
    state.operations.iter().any(|operation| match operation.kind {
        OperationKind::Disconnect { attachment_id } => attachment_id == row_id,
        OperationKind::Release { attachment_id, .. } => attachment_id == Some(row_id),
        OperationKind::ServerDetach { attachment_id, .. } => {
            attachment_id == row_id && matches!(operation.step, Step::Unexport { .. })
        }
        _ => false,
    })
}

/// The host's connections that nothing releases yet.
fn of_host(state: &VolumeState, request: &FenceHost) -> Vec<AttachmentId> {
    let is_going = |id: AttachmentId| {
        state.operations.iter().any(|operation| match &operation.kind {
            OperationKind::Release { connections, .. } => connections.contains(&id),
            _ => false,
        })
    };
    let host = Text::from(request.host.as_str());
    let connections = state.volume.connections().iter().filter(|connection| connection.host == host);
    connections.map(|connection| connection.id).filter(|id| !is_going(*id)).collect()
}

/// What connects the host, and what waits for a guest on it.
fn is_cut_off(operation: &Operation, row: Option<AttachmentId>, connections: &[AttachmentId]) -> bool {
    match &operation.kind {
        OperationKind::Connect { attachment_id, .. }
        | OperationKind::ServerAttach { attachment_id, .. }
        | OperationKind::ServerDetach { attachment_id, .. }
        | OperationKind::Replug { attachment_id, .. } => Some(*attachment_id) == row,
        OperationKind::Initialize { connection_id, .. } => connections.contains(connection_id),
        _ => false,
    }
}
