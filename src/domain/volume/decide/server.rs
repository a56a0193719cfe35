//! Compute's attach and detach (`spec/nova-volume-attachments.md` §4, §6): one plan over volume and server. The server's
//! own checks (state, lock, device name) are the server actor's; the commit is guarded by the epoch it judged.

use super::attachment::{asked_mode, may_attach, new_row, with_mode};
use super::draft::Draft;
use super::{image, migrate, results, settle, steps, swap};
use crate::domain::attachment::{AttachMode, BlockDeviceMapping};
use crate::domain::claims::MarkerKind;
use crate::domain::ids::{AttachmentId, ServerId};
use crate::domain::operation::{Lane, Operation, OperationKind};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::volume::command::{Caller, Facts, Refusal, ServerAttach, Verdict};
use crate::domain::volume::state::VolumeState;

/// Why the volume cannot be mapped to this server, by what is mapped already (§4, row 11).
pub fn mapping_refusal(state: &VolumeState, server: &ServerId) -> Option<Refusal> {
    let mapped = || state.attachments.iter().filter_map(|row| row.bdm.as_ref()).map(|bdm| &bdm.server_id);
    let id = state.id();
    let text = if state.volume.multiattach {
        mapped().any(|mapped| mapped == server).then(|| format!("volume {id} already attached"))
    } else {
        let servers = mapped().map(ServerId::as_str).collect::<Vec<_>>().join(" ");
        (!servers.is_empty()).then(|| format!("volume {id} is already attached to instances: {servers}"))
    };
    text.map(Refusal::InvalidVolume)
}

pub(super) fn attach(state: &VolumeState, request: &ServerAttach, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    if let Some(refusal) = mapping_refusal(state, &request.server_id) {
        return Verdict::Refuse(refusal);
    }
    if volume.multiattach && request.without_host {
        return Verdict::Refuse(Refusal::InvalidInput(
            "attaching multiattach volumes is not supported for shelved-offloaded instances".to_owned(),
        ));
    }
    if volume.multiattach && !request.multiattach_allowed {
        return Verdict::Refuse(Refusal::InvalidInput(
            "multiattach volumes are only supported starting with compute API version 2.60".to_owned(),
        ));
    }
    if let Err(refusal) = may_attach(state, None) {
        return Verdict::Refuse(refusal);
    }
    if let Some(refusal) = image::refuse_connect(state).filter(|_| !request.without_host) {
        return Verdict::Refuse(refusal);
    }
    // Whose it is that a host has connected, nobody has said: it may be another server's on the same host.
    if !volume.multiattach && !volume.connections().is_empty() {
        return Verdict::Refuse(Refusal::InvalidVolume(format!("volume {} is connected to a host", volume.id)));
    }
    if state.operation_in(Lane::Connection).is_some() && !volume.multiattach {
        // Repair of an old export goes first: two hosts are never connected at once.
        return Verdict::Queue;
    }

    let mut draft = Draft::of(state, caller, facts);
    let mode = steps::is_readonly(state).then_some(AttachMode::ReadOnly);
    let mut row = new_row(state, AttachmentId(facts.ids[1]), Some(request.server_id.clone()), mode, facts);
    row.bdm = Some(BlockDeviceMapping {
        uuid: facts.ids[2],
        server_id: request.server_id.clone(),
        device: request.device.as_deref().map(Text::from),
        tag: request.tag.as_deref().map(Text::from),
        delete_on_termination: request.delete_on_termination,
        detaching: false,
        guest_device: None,
    });
    let row_id = row.id;
    if request.without_host {
        row.attach_status = AttachStatus::Attached;
        row.attach_time = Some(facts.now);
    }
    draft.next.attachments.reserve_exact(1);
    draft.next.attachments.push(row);
    draft.speak_of(row_id);
    draft.guard_server(request.server_id.clone(), request.server_epoch);
    if !request.without_host {
        let asked = asked_mode(&request.connector);
        let connector = with_mode(&request.connector, steps::effective_mode(state, mode, asked));
        let server_id = request.server_id.clone();
        draft.begin(OperationKind::ServerAttach { attachment_id: row_id, server_id, connector }, 0);
    }
    settle::rows_changed(&mut draft.next);
    draft.finish()
}

pub(super) fn detach(
    state: &VolumeState,
    server: &ServerId,
    server_gone: bool,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let Some(row) = state.attachment_of_server(server) else { return not_attached(state, server) };
    let row_id = row.id;
    let detaching = row.bdm.as_ref().is_some_and(|bdm| bdm.detaching);
    if detaching && server_gone {
        // The running detach serves this request too: one effect, both succeed.
        return Verdict::Nothing { jobs: Vec::new(), attachment_id: Some(row_id) };
    }
    if !server_gone && let Err(refusal) = may_detach(state, row_id, detaching) {
        return Verdict::Refuse(refusal);
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.speak_of(row_id);
    if let Some(migration) = state.migration() {
        // There is nobody left to bring along.
        migrate::call_off(&mut draft, migration, "the server is gone");
    }
    let is_own = |operation: &&Operation| operation.kind.swap_out().is_some_and(|swap| swap.attachment_id == row_id);
    if let Some(swapped) = state.operations.iter().find(is_own) {
        swap::ask_back(&mut draft, &swapped.kind);
    }
    let is_bare = row.export.is_none() && !is_worked_on(state, row_id);
    if is_bare {
        // The row of a server without a host has no device. Its detach takes a flagged volume along, as only the end of the
        // server does otherwise (nova-volume-attachments.md §6).
        let without_host = row.bdm.as_ref().is_some_and(|bdm| bdm.device.is_none());
        let flagged = results::release_with_server(&mut draft, row_id);
        if flagged && (server_gone || without_host) {
            results::delete_with_server(&mut draft, &caller.requester);
        }
    } else {
        if let Some(bdm) = draft.next.attachment_mut(row_id).and_then(|row| row.bdm.as_mut()) {
            bdm.detaching = true;
        }
        // Accepted at once; it waits its turn behind another row's work.
        draft.begin(OperationKind::ServerDetach { attachment_id: row_id, server_id: server.clone(), server_gone }, 0);
    }
    settle::rows_changed(&mut draft.next);
    draft.finish()
}

/// Changes the flag of Compute's mapping, whatever the volume or the server are doing: nothing runs because of it.
pub(super) fn update(
    state: &VolumeState,
    server: &ServerId,
    delete_on_termination: bool,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let Some(row_id) = state.attachment_of_server(server).map(|row| row.id) else { return not_attached(state, server) };
    if state.is_swapped_out(row_id) {
        // The new volume has its own copy of the mapping already: what was answered here would be lost.
        return Verdict::Refuse(Refusal::Conflict(format!("volume {} is being swapped", state.id())));
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.speak_of(row_id);
    if let Some(bdm) = draft.next.attachment_mut(row_id).and_then(|row| row.bdm.as_mut()) {
        bdm.delete_on_termination = delete_on_termination;
    }
    draft.finish()
}

fn not_attached(state: &VolumeState, server: &ServerId) -> Verdict {
    let volume = state.id();
    Verdict::Refuse(Refusal::NotAttached(format!("instance {server} is not attached to volume {volume}")))
}

/// The conditions of os-begin_detaching, per row.
fn may_detach(state: &VolumeState, row_id: AttachmentId, detaching: bool) -> Result<(), Refusal> {
    let volume = &state.volume;
    let refuse = || {
        Err(Refusal::InvalidVolume(format!(
            "volume {} status must be in-use and attached to detach, but the current status is {}",
            volume.id, volume.status
        )))
    };
    if detaching || is_worked_on(state, row_id) || !state.is_migration_idle() {
        return refuse();
    }
    // A row that is not attached and that nothing works on (its attach was fenced, or its export is in doubt) is freed by
    // detaching it, whatever the word is.
    let in_doubt = state.attachment(row_id).is_some_and(|row| row.attach_status != AttachStatus::Attached);
    let status_allows = match volume.status {
        VolumeStatus::InUse => true,
        // An extend that failed must not keep its owner from freeing the server (docs/differences.md).
        VolumeStatus::ErrorExtending => true,
        VolumeStatus::Detaching => volume.multiattach,
        // Whoever has reserved a further attachment of a multiattach volume must not keep its servers.
        VolumeStatus::Attaching if volume.marker(MarkerKind::Reserved).is_some() => true,
        VolumeStatus::Reserved | VolumeStatus::Available | VolumeStatus::Attaching => in_doubt,
        _ => false,
    };
    if status_allows { Ok(()) } else { refuse() }
}

/// Whether an open operation has to do with the row. One that puts it back into its guest is in nobody's way.
fn is_worked_on(state: &VolumeState, row_id: AttachmentId) -> bool {
    let concerns =
        |kind: &OperationKind| !matches!(kind, OperationKind::Replug { .. }) && kind.attachment_id() == Some(row_id);
    state.operations.iter().any(|operation| concerns(&operation.kind))
}
