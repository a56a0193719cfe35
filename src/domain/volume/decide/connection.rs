//! `os-initialize_connection` (`spec/volume-actions.md` §2.11): a connection of a host, recorded before the backend hears of it.
//! Whoever answers for the export of a connection is its record, as the row is for that of an attachment.

use serde_json::Value;

use super::attachment::{connector_refusal, host_of};
use super::draft::Draft;
use super::steps;
use crate::domain::attachment::{AttachMode, Attachment};
use crate::domain::claims::Connection;
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ExportName};
use crate::domain::operation::{Lane, Operation, OperationKind, Step};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Members of a connector that say nothing about where it leads: a host that asks again may have others.
const PASSING: [&str; 2] = ["mountpoint", "mode"];

pub(super) fn initialize(state: &VolumeState, connector: &Value, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let refuse = |text: String| Verdict::Refuse(Refusal::InvalidVolume(text));
    if volume.status == VolumeStatus::Maintenance {
        return refuse(format!("volume {} is in maintenance", volume.id));
    }
    if let Some(refusal) = connector_refusal(connector) {
        return Verdict::Refuse(refusal);
    }
    if volume.host.is_none() {
        return refuse(format!("volume {} has no backend", volume.id));
    }
    if let Some(refusal) = super::attachment::swapping(state) {
        return Verdict::Refuse(refusal);
    }
    if state.operation_in(Lane::Connection).is_some() {
        return Verdict::Queue;
    }
    // Data that are just being made, replaced or removed are not served to anybody new.
    let running = state.operation_in(Lane::Data).map(|running| &running.kind);
    if let Some(running) = running.filter(|kind| !matches!(kind, OperationKind::Extend { .. })) {
        return refuse(format!("a {} of volume {} is running", running.name(), volume.id));
    }
    let host = host_of(connector);
    if !caller.is_service && is_reached_from_elsewhere(state, host) {
        return refuse(format!("volume {} is connected to another host", volume.id));
    }

    let known = volume.connections().iter().find(|connection| &*connection.host == host);
    let connection_id = known.map_or(AttachmentId(facts.ids[1]), |connection| connection.id);
    let kind =
        OperationKind::Initialize { connection_id, connector: Document::from(connector), mode: access_mode(state) };
    let mut draft = Draft::of(state, caller, facts);
    let id = draft.begin(kind, 0);
    draft.speak_of(connection_id);
    draft.reply_when_ended(id);
    draft.finish()
}

/// What a connection may do: as the volume is attached, else by its read-only flag.
fn access_mode(state: &VolumeState) -> AttachMode {
    let attached = state.volume.admin_metadata.get("attached_mode").and_then(AttachMode::parse);
    attached.unwrap_or_else(|| steps::effective_mode(state, None, None))
}

/// Whether a host other than `host` reaches a plain volume, or may reach it (I1): by a connection or by a row's export. Of an
/// export in doubt nobody knows whose it is.
fn is_reached_from_elsewhere(state: &VolumeState, host: &str) -> bool {
    let by_row = |row: &Attachment| row.export.is_some() && row.attached_host.as_deref() != Some(host);
    !state.volume.multiattach && (has_connection_elsewhere(state, host) || state.attachments.iter().any(by_row))
}

/// Whether a plain volume has a connection of a host other than `host`.
pub(super) fn has_connection_elsewhere(state: &VolumeState, host: &str) -> bool {
    !state.volume.multiattach && state.volume.connections().iter().any(|connection| &*connection.host != host)
}

/// Whether a host is connected without a row that says so, or is about to be: data must not be removed or replaced under it.
pub(super) fn is_connected(state: &VolumeState) -> bool {
    let is_begun = |operation: &Operation| matches!(operation.kind, OperationKind::Initialize { .. });
    !state.volume.connections().is_empty() || state.operations.iter().any(is_begun)
}

/// The connections that go with a row which is detached: all when nobody else holds the volume any more, else those of its
/// host if no other row is there. A row that was never in use has none.
pub(super) fn of_row(state: &VolumeState, row_id: AttachmentId) -> Vec<AttachmentId> {
    let Some(row) = state.attachment(row_id) else { return Vec::new() };
    if !matches!(row.attach_status, AttachStatus::Attached | AttachStatus::ErrorDetaching) {
        return Vec::new();
    }
    let others = || state.attachments.iter().filter(|other| other.id != row_id && other.holds_volume());
    let is_last = others().next().is_none();
    let shares_host = others().any(|other| other.attached_host == row.attached_host);
    let goes = |connection: &&Connection| {
        is_last || !shares_host && row.attached_host.as_deref() == Some(connection.host.as_str())
    };
    state.volume.connections().iter().filter(goes).map(|connection| connection.id).collect()
}

/// The first step: the host's export again, or the end of an earlier one that served something else, or a new one.
pub(super) fn first_step(state: &mut VolumeState, operation: &Operation) -> Step {
    let OperationKind::Initialize { connection_id, connector, mode } = &operation.kind else { return Step::Drain };
    match state.volume.connection(*connection_id) {
        Some(known) if known.mode == *mode && leads_to_the_same(&known.connector, connector) => {
            Step::Export { export: known.export.clone() }
        }
        Some(known) => Step::Unexport { export: known.export.clone() },
        None => export_step(state, operation),
    }
}

/// The step that makes the export, whose name is recorded first.
pub(super) fn export_step(state: &mut VolumeState, operation: &Operation) -> Step {
    let OperationKind::Initialize { connection_id, connector, mode } = &operation.kind else { return Step::Drain };
    let export = ExportName::new(*connection_id, operation.epoch);
    let connection = Connection {
        id: *connection_id,
        host: Text::from(connector.text("host").unwrap_or_default()),
        connector: connector.clone(),
        mode: *mode,
        export: export.clone(),
        connection_info: None,
        requester: operation.requester.clone(),
        created_at: operation.started_at,
    };
    state.volume.change_claims(|claims| {
        claims.connections.retain(|known| known.id != *connection_id);
        claims.connections.push(connection);
    });
    Step::Export { export }
}

/// The backend has answered: the connection stands.
pub(super) fn made(draft: &mut Draft<'_>, operation: &Operation, connection_id: AttachmentId, info: &Value) {
    draft.next.volume.change_claims(|claims| {
        if let Some(connection) = claims.connections.iter_mut().find(|connection| connection.id == connection_id) {
            connection.connection_info = Some(Document::from(info));
        }
    });
    draft.end(operation.id, Ok(()));
}

/// The connection's export is proven gone, or is left to repair: there is nothing to record any more.
pub(super) fn forget(state: &mut VolumeState, export: &ExportName) {
    if state.volume.connections().iter().any(|connection| connection.export == *export) {
        state.volume.change_claims(|claims| claims.connections.retain(|connection| connection.export != *export));
    }
}

/// A connection is given up: repair removes its export before anybody else is connected.
pub(super) fn orphan(state: &mut VolumeState, is_meant: impl Fn(&Connection) -> bool) {
    let meant = state.volume.connections().iter().filter(|connection| is_meant(connection));
    for export in meant.map(|connection| connection.export.clone()).collect::<Vec<_>>() {
        forget(state, &export);
        if !state.volume.orphan_exports.contains(&export) {
            state.volume.orphan_exports.push(export);
        }
    }
}

/// A connection whose client was never answered, and never will be, because no operation is at work on it any more.
pub(super) fn orphan_untold(state: &mut VolumeState) {
    if state.volume.connections().is_empty() {
        return;
    }
    let at_work = |id: AttachmentId| {
        state.operations.iter().any(|operation| match &operation.kind {
            OperationKind::Initialize { connection_id, .. } => *connection_id == id,
            OperationKind::Release { connections, .. } => connections.contains(&id),
            _ => false,
        })
    };
    let connections = state.volume.connections().iter();
    let untold = connections.filter(|own| own.connection_info.is_none() && !at_work(own.id));
    let untold = untold.map(|own| own.id).collect::<Vec<_>>();
    orphan(state, |connection| untold.contains(&connection.id));
}

fn leads_to_the_same(known: &Document, connector: &Document) -> bool {
    let essence = |connector: &Document| {
        let mut members = connector.to_value();
        if let Some(members) = members.as_object_mut() {
            members.retain(|name, _| !PASSING.contains(&name.as_str()));
        }
        members
    };
    essence(known) == essence(connector)
}
