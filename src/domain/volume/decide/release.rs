//! `os-detach`, `os-terminate_connection`, `os-force_detach` (`spec/volume-actions.md` §2.8, §2.10, §2.12): all that is meant is
//! settled first; then the exports go, one by one, and with the last one the row and the marks, in one commit. A failure
//! leaves all of it recorded, so that the same request can be made again.

use serde_json::Value;

use super::draft::Draft;
use super::{connection, failures, guard, reserve, settle};
use crate::domain::backend::Cause;
use crate::domain::claims::Connection;
use crate::domain::ids::{AttachmentId, ExportName};
use crate::domain::operation::{Lane, Operation, OperationKind, ReleaseVerb, Step};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Statuses that a detach without a row ends (R-34, Q6): the words of an attach.
const ENDED_BY_DETACH: [VolumeStatus; 4] =
    [VolumeStatus::InUse, VolumeStatus::Attaching, VolumeStatus::Detaching, VolumeStatus::Reserved];

pub(super) fn detach(state: &VolumeState, row_id: Option<AttachmentId>, caller: &Caller, facts: &Facts) -> Verdict {
    let row_id = match row_meant(state, row_id, caller, facts) {
        Ok(row_id) => row_id,
        Err(refusal) => return Verdict::Refuse(refusal),
    };
    let connections = match row_id {
        Meant::Row(row_id) => connection::of_row(state, row_id),
        Meant::NoRow if ENDED_BY_DETACH.contains(&state.volume.status) => all_connections(state, |_| true),
        Meant::NoRow | Meant::UnknownRow => Vec::new(),
    };
    release(state, ReleaseVerb::Detach, row_id, connections, caller, facts)
}

pub(super) fn terminate(state: &VolumeState, connector: Option<&Value>, caller: &Caller, facts: &Facts) -> Verdict {
    if let Err(refusal) = guard::of_volume(state, None, caller, facts) {
        return Verdict::Refuse(refusal);
    }
    let connections = all_connections(state, |connection| is_meant(connection, connector));
    release(state, ReleaseVerb::Terminate, Meant::UnknownRow, connections, caller, facts)
}

/// Cuts off a connect under way, then does both of the others.
pub(super) fn force_detach(
    state: &VolumeState,
    row_id: Option<AttachmentId>,
    connector: Option<&Value>,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let row_id = match row_meant(state, row_id, caller, facts) {
        Ok(row_id) => row_id,
        Err(refusal) => return Verdict::Refuse(refusal),
    };
    let mut connections = all_connections(state, |connection| is_meant(connection, connector));
    if let Meant::Row(row_id) = row_id {
        let of_row = connection::of_row(state, row_id);
        connections.extend(of_row.into_iter().filter(|id| !connections.contains(id)).collect::<Vec<_>>());
    }
    if let Some(refusal) = while_migrating(state, row_id, &connections) {
        return Verdict::Refuse(refusal);
    }
    let is_cut_off = |kind: &OperationKind| match kind {
        OperationKind::Connect { attachment_id, .. } | OperationKind::ServerAttach { attachment_id, .. } => {
            row_id == Meant::Row(*attachment_id)
        }
        OperationKind::Initialize { connection_id, .. } => connections.contains(connection_id),
        _ => false,
    };
    // A guest that is just being plugged is waited for: nothing may be left in it.
    let is_cut_off = |operation: &&Operation| is_cut_off(&operation.kind) && !operation.step.is_at_guest();
    let mut draft = Draft::of(state, caller, facts);
    for operation in state.operations.iter().filter(is_cut_off) {
        draft.fence(operation.id, Refusal::Conflict("the attachment was forced off by an administrator".to_owned()));
    }
    begin(draft, ReleaseVerb::ForceDetach, row_id, connections)
}

/// What a request that need not name its row means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meant {
    Row(AttachmentId),
    /// None is named, and there is none.
    NoRow,
    /// One is named that is not there, or none could be.
    UnknownRow,
}

fn row_meant(
    state: &VolumeState,
    row_id: Option<AttachmentId>,
    caller: &Caller,
    facts: &Facts,
) -> Result<Meant, Refusal> {
    guard::of_volume(state, row_id, caller, facts)?;
    let volume = &state.volume;
    if volume.status == VolumeStatus::Maintenance {
        return Err(Refusal::InvalidVolume(format!("volume {} is in maintenance", volume.id)));
    }
    match (row_id, state.attachments.as_slice()) {
        (Some(id), _) if state.attachment(id).is_some() => Ok(Meant::Row(id)),
        (Some(_), _) => Ok(Meant::UnknownRow),
        (None, []) => Ok(Meant::NoRow),
        (None, [row]) => Ok(Meant::Row(row.id)),
        (None, _) => Err(Refusal::InvalidVolume(format!(
            "volume {} has more than one attachment: name the one that is meant",
            volume.id
        ))),
    }
}

fn all_connections(state: &VolumeState, is_meant: impl Fn(&Connection) -> bool) -> Vec<AttachmentId> {
    let meant = state.volume.connections().iter().filter(|connection| is_meant(connection));
    meant.map(|connection| connection.id).collect()
}

/// By its host; a connector without one by every member that it has.
fn is_meant(connection: &Connection, connector: Option<&Value>) -> bool {
    let Some(members) = connector.and_then(Value::as_object) else { return true };
    match members.get("host").and_then(Value::as_str) {
        Some(host) => &*connection.host == host,
        None => members.iter().all(|(name, value)| connection.connector.member(name).as_ref() == Some(value)),
    }
}

/// While a guest is moved it keeps what it has; where nothing is to end, nothing is in the way.
fn while_migrating(state: &VolumeState, row: Meant, connections: &[AttachmentId]) -> Option<Refusal> {
    let ends_something = matches!(row, Meant::Row(_)) || !connections.is_empty();
    super::attachment::migrating(state).filter(|_| ends_something)
}

/// Waits its turn behind whatever is under way for the volume's connections, which may be what is to be released.
fn release(
    state: &VolumeState,
    verb: ReleaseVerb,
    row: Meant,
    connections: Vec<AttachmentId>,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let in_the_way = while_migrating(state, row, &connections).or_else(|| super::attachment::swapping(state));
    if let Some(refusal) = in_the_way {
        return Verdict::Refuse(refusal);
    }
    if state.operation_in(Lane::Connection).is_some() {
        return Verdict::Queue;
    }
    begin(Draft::of(state, caller, facts), verb, row, connections)
}

fn begin(mut draft: Draft<'_>, verb: ReleaseVerb, row: Meant, connections: Vec<AttachmentId>) -> Verdict {
    let attachment_id = match row {
        Meant::Row(row_id) => Some(row_id),
        Meant::NoRow | Meant::UnknownRow => None,
    };
    let has_export = attachment_id.and_then(|row| super::steps::export_of(&draft.next, row)).is_some();
    if has_export || !connections.is_empty() {
        let id = draft.begin(OperationKind::Release { verb, attachment_id, connections }, 0);
        draft.reply_when_ended(id);
    } else {
        released(&mut draft, verb, attachment_id);
    }
    if let Some(row_id) = attachment_id {
        draft.speak_of(row_id);
    }
    draft.finish()
}

/// Begins at once, for nobody who would wait: on a proof that the other end is gone.
pub(super) fn begin_unasked(
    mut draft: Draft<'_>,
    attachment_id: Option<AttachmentId>,
    connections: Vec<AttachmentId>,
) -> Verdict {
    let verb = if attachment_id.is_some() { ReleaseVerb::Detach } else { ReleaseVerb::Terminate };
    let has_export = attachment_id.and_then(|row| super::steps::export_of(&draft.next, row)).is_some();
    if has_export || !connections.is_empty() {
        draft.begin(OperationKind::Release { verb, attachment_id, connections }, 0);
    } else {
        released(&mut draft, verb, attachment_id);
    }
    draft.finish()
}

/// The export that is to go next; none: all are gone.
pub(super) fn next_step(state: &VolumeState, operation: &Operation) -> Option<Step> {
    let OperationKind::Release { attachment_id, connections, .. } = &operation.kind else { return None };
    let of_row = attachment_id.and_then(|row| super::steps::export_of(state, row));
    let of_connection = || {
        let mut left = connections.iter().filter_map(|id| state.volume.connection(*id));
        left.next().map(|connection| connection.export.clone())
    };
    of_row.or_else(of_connection).map(|export| Step::Unexport { export })
}

/// The first step. If what is to go went while this waited its turn, a name that never existed is fenced all the same.
pub(super) fn first_step(state: &VolumeState, operation: &Operation) -> Step {
    next_step(state, operation)
        .unwrap_or_else(|| Step::Unexport { export: ExportName::new(AttachmentId(operation.id.0), operation.epoch) })
}

/// One export is proven gone.
pub(super) fn unexported(draft: &mut Draft<'_>, operation: &Operation, verb: ReleaseVerb) {
    match next_step(&draft.next, operation) {
        Some(step) => {
            if let Step::Unexport { export } = &step {
                hold_by(&mut draft.next, operation, export);
            }
            draft.run(operation.id, step);
        }
        None => {
            released(draft, verb, operation.kind.attachment_id());
            draft.end(operation.id, Ok(()));
        }
    }
}

/// Nothing of it is left at the backend.
fn released(draft: &mut Draft<'_>, verb: ReleaseVerb, row_id: Option<AttachmentId>) {
    match row_id {
        Some(row_id) => draft.remove_row(row_id),
        None if verb != ReleaseVerb::Terminate && draft.next.attachments.is_empty() => {
            draft.next.volume.change_claims(|claims| claims.marker = None);
        }
        None => {}
    }
    if verb != ReleaseVerb::Detach {
        reserve::lift_reservation(&mut draft.next);
    }
    if verb != ReleaseVerb::Terminate {
        settle::rows_changed(&mut draft.next);
    }
}

/// An export is not proven gone. The row says so and holds the volume by it; without a row its connection stays on record. The
/// status is as it was, and the same request can be made again.
pub(super) fn failed(draft: &mut Draft<'_>, operation: &Operation, export: &ExportName, cause: &Cause) {
    if let Some(row) = operation.kind.attachment_id().and_then(|row_id| draft.next.attachment_mut(row_id)) {
        row.attach_status = AttachStatus::ErrorDetaching;
        hold_by(&mut draft.next, operation, export);
        settle::rows_changed(&mut draft.next);
    }
    draft.tell_owner(failures::message(operation, "018", "022", cause));
    draft.end(operation.id, Err(failures::connection_refusal(cause)));
}

/// A row in error holds its volume by its export only: one that has none takes that of the connection which is to go next.
fn hold_by(state: &mut VolumeState, operation: &Operation, export: &ExportName) {
    let Some(row) = operation.kind.attachment_id().and_then(|row_id| state.attachment_mut(row_id)) else { return };
    if row.attach_status.is_error() {
        if row.export.is_none() {
            row.export = Some(export.clone());
        }
        if row.export.as_ref() == Some(export) {
            connection::forget(state, export);
        }
    }
}
