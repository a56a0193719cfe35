//! Block Storage's attachments (`spec/attachments.md` §2): create, update (connect), complete, delete.

use serde_json::Value;

use super::draft::Draft;
use super::{connection, guard, image, settle, steps};
use crate::domain::attachment::{AttachMode, Attachment};
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ServerId};
use crate::domain::operation::{Lane, OperationKind};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::command::{Caller, Facts, Refusal, Verdict};
use crate::domain::volume::state::VolumeState;

/// Source statuses of an attach.
pub const ATTACHABLE: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::Downloading];
/// Source statuses of an attach of a multiattach volume: a further server may come at any time.
pub const ATTACHABLE_MULTI: &[VolumeStatus] = &[
    VolumeStatus::Available,
    VolumeStatus::Downloading,
    VolumeStatus::InUse,
    VolumeStatus::Reserved,
    VolumeStatus::Attaching,
    VolumeStatus::Detaching,
];
/// Statuses in which a second row for the *same* server may be made: live migration needs two.
const SAME_SERVER: &[VolumeStatus] = &[VolumeStatus::InUse, VolumeStatus::Reserved];

/// Whether a row for `server` may be added now: status, rows and operations in one look.
pub(super) fn may_attach(state: &VolumeState, server: Option<&ServerId>) -> Result<(), Refusal> {
    let volume = &state.volume;
    if volume.status.is_error() {
        return Err(Refusal::InvalidVolume(format!("volume {} status is {}", volume.id, volume.status)));
    }
    // Neither the data nor the word of a migration may be attached to, whoever has set it.
    if !state.is_migration_idle() {
        return Err(Refusal::InvalidVolume(format!("volume {} is migrating", volume.id)));
    }
    // What it holds is being written over by a guest's disk, for which there is one row.
    if state.operations.iter().any(|operation| operation.kind.swap_in().is_some()) {
        return Err(Refusal::InvalidVolume(format!("volume {} is being swapped", volume.id)));
    }
    // Only an administrator's word can bring it here: there is nothing to connect, and no backend to say that an export is gone.
    if volume.host.is_none() {
        return Err(Refusal::InvalidVolume(format!("volume {} has no backend", volume.id)));
    }
    let allowed = if volume.multiattach { ATTACHABLE_MULTI } else { ATTACHABLE };
    let mut holders = state.attachments.iter().filter(|row| row.holds_volume());
    // The word may have been set by hand; a live row of somebody else blocks a plain volume whatever it says.
    let is_free = volume.multiattach || holders.next().is_none();
    let idle = state.operation_in(Lane::Data).is_none_or(|running| running.kind.creates_volume());
    if allowed.contains(&volume.status) && is_free && idle {
        return Ok(());
    }
    let same_server = server.is_some()
        && SAME_SERVER.contains(&volume.status)
        && state.attachments.iter().any(|row| row.instance_uuid.as_ref() == server)
        && state.attachments.iter().all(|row| row.instance_uuid.as_ref() == server || !row.holds_volume());
    if same_server {
        return Ok(());
    }
    Err(Refusal::InvalidVolume(format!(
        "volume {} status must be {} to reserve, but the current status is {}",
        volume.id,
        if volume.multiattach { "available or in-use or downloading" } else { "available or downloading" },
        volume.status
    )))
}

pub(super) fn create(
    state: &VolumeState,
    instance_uuid: Option<&ServerId>,
    connector: Option<&Value>,
    mode: Option<AttachMode>,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    if let Err(refusal) = may_attach(state, instance_uuid) {
        return Verdict::Refuse(refusal);
    }
    let connector = connector.filter(|connector| connector.as_object().is_some_and(|members| !members.is_empty()));
    if let Some(refusal) = connector.and_then(connector_refusal) {
        return Verdict::Refuse(refusal);
    }
    if let Some(refusal) = connector.and_then(|_| image::refuse_connect(state)) {
        return Verdict::Refuse(refusal);
    }
    if connector.is_some() && state.operation_in(Lane::Connection).is_some() {
        return Verdict::Queue;
    }
    if connector.is_some_and(|connector| connection::has_connection_elsewhere(state, host_of(connector))) {
        let volume = state.id();
        return Verdict::Refuse(Refusal::InvalidVolume(format!("volume {volume} is connected to another host")));
    }
    let mut draft = Draft::of(state, caller, facts);
    let row_mode = if steps::is_readonly(state) { Some(AttachMode::ReadOnly) } else { mode };
    let row = new_row(state, AttachmentId(facts.ids[1]), instance_uuid.cloned(), row_mode, facts);
    let row_id = row.id;
    draft.next.attachments.reserve_exact(1);
    draft.next.attachments.push(row);
    draft.speak_of(row_id);
    settle::rows_changed(&mut draft.next);
    if let Some(connector) = connector {
        let mode = steps::effective_mode(state, row_mode, asked_mode(connector));
        let kind = OperationKind::Connect {
            attachment_id: row_id,
            connector: with_mode(connector, mode),
            mode,
            row_is_new: true,
        };
        let id = draft.begin(kind, 0);
        draft.reply_when_ended(id);
    }
    draft.finish()
}

/// Nobody comes, goes, or gets another connection while the data are on their way, or the guest is.
pub(super) fn migrating(state: &VolumeState) -> Option<Refusal> {
    let running = state.migration().or_else(|| state.swap())?;
    let (verb, id) = (running.kind.name(), state.id());
    Some(Refusal::InvalidVolume(format!("a {verb} of volume {id} is running: its connections cannot change")))
}

/// The same, while a guest is taken over: that may last, so that nobody waits for its end.
pub(super) fn swapping(state: &VolumeState) -> Option<Refusal> {
    state.swap().and_then(|_| migrating(state))
}

/// A fresh, reserved row.
pub(super) fn new_row(
    state: &VolumeState,
    id: AttachmentId,
    instance_uuid: Option<ServerId>,
    mode: Option<AttachMode>,
    facts: &Facts,
) -> Attachment {
    Attachment {
        id,
        volume_id: state.id(),
        instance_uuid,
        attached_host: None,
        mountpoint: None,
        attach_time: None,
        attach_status: AttachStatus::Reserved,
        attach_mode: Some(mode.unwrap_or(AttachMode::Undecided)),
        connector: None,
        connection_info: Some(Document::empty()),
        export: None,
        bdm: None,
        created_at: facts.now,
    }
}

pub(super) fn update(
    state: &VolumeState,
    row_id: AttachmentId,
    connector: &Value,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let Some(row) = state.attachment(row_id) else { return Verdict::Refuse(Refusal::AttachmentNotFound(row_id)) };
    if let Some(refusal) = connector_refusal(connector) {
        return Verdict::Refuse(refusal);
    }
    // Compute connects its own rows. Another connector would cut the export under the guest's device, and leave a row that
    // neither Compute's detach (400) nor a delete can free.
    if let Some(bdm) = &row.bdm
        && !caller.is_service
    {
        return Verdict::Refuse(Refusal::UsedByServer(bdm.server_id.clone()));
    }
    if let Some(refusal) = swapping(state) {
        return Verdict::Refuse(refusal);
    }
    if state.operation_in(Lane::Connection).is_some() {
        return Verdict::Queue;
    }
    let volume = &state.volume;
    if volume.status.is_error() {
        return Verdict::Refuse(Refusal::Conflict(format!("volume {} status is {}", volume.id, volume.status)));
    }
    if volume.status == VolumeStatus::Deleting {
        return Verdict::Refuse(Refusal::InvalidVolume(format!("volume {} is being deleted", volume.id)));
    }
    if let Some(refusal) = image::refuse_connect(state).or_else(|| migrating(state)) {
        return Verdict::Refuse(refusal);
    }
    // Test and connect are one step of the actor, so two hosts cannot both pass it.
    let connected =
        state.attachments.iter().any(|row| row.is_connected() || (row.export.is_some() && row.id != row_id));
    let elsewhere = connection::has_connection_elsewhere(state, host_of(connector));
    if elsewhere || state.attachments.len() > 1 && !volume.multiattach && connected {
        return Verdict::Refuse(Refusal::Conflict(
            "duplicate connectors are not allowed on a volume that is not multiattach".to_owned(),
        ));
    }
    let mode = steps::effective_mode(state, row.attach_mode, asked_mode(connector));
    let kind = OperationKind::Connect {
        attachment_id: row_id,
        connector: with_mode(connector, mode),
        mode,
        row_is_new: false,
    };
    let mut draft = Draft::of(state, caller, facts);
    let id = draft.begin(kind, 0);
    draft.speak_of(row_id);
    draft.reply_when_ended(id);
    draft.finish()
}

pub(super) fn complete(state: &VolumeState, row_id: AttachmentId, caller: &Caller, facts: &Facts) -> Verdict {
    let Some(row) = state.attachment(row_id) else { return Verdict::Refuse(Refusal::AttachmentNotFound(row_id)) };
    let volume = &state.volume;
    if volume.status.is_error() || volume.status == VolumeStatus::Deleting {
        // A late complete must not resurrect the volume.
        return Verdict::Refuse(Refusal::InvalidVolume(format!("volume {} status is {}", volume.id, volume.status)));
    }
    const COMPLETABLE: [AttachStatus; 3] = [AttachStatus::Reserved, AttachStatus::Attaching, AttachStatus::Attached];
    if !COMPLETABLE.contains(&row.attach_status) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!("attachment {row_id} is {}", row.attach_status)));
    }
    if let Some(refusal) = swapping(state) {
        return Verdict::Refuse(refusal);
    }
    let busy = state.operation_in(Lane::Connection).is_some_and(|running| running.kind.attachment_id() == Some(row_id));
    if busy {
        return Verdict::Queue;
    }
    let mut draft = Draft::of(state, caller, facts);
    let now = facts.now;
    if let Some(row) = draft.next.attachment_mut(row_id) {
        row.attach_status = AttachStatus::Attached;
        row.attach_time.get_or_insert(now);
    }
    settle::rows_changed(&mut draft.next);
    draft.speak_of(row_id);
    draft.finish()
}

pub(super) fn delete(state: &VolumeState, row_id: AttachmentId, caller: &Caller, facts: &Facts) -> Verdict {
    let Some(row) = state.attachment(row_id) else { return Verdict::Refuse(Refusal::AttachmentNotFound(row_id)) };
    if let Err(refusal) = guard::of_row(row, caller, facts) {
        return Verdict::Refuse(refusal);
    }
    if let Some(refusal) = migrating(state) {
        return Verdict::Refuse(refusal);
    }
    if state.operation_in(Lane::Connection).is_some_and(|running| {
        running.kind.attachment_id() == Some(row_id) || row.export.is_some() || running.kind == OperationKind::Repair
    }) {
        return Verdict::Queue;
    }
    let mut draft = Draft::of(state, caller, facts);
    draft.speak_of(row_id);
    if row.export.is_none() {
        // Reserved, or made without a connector: no backend work.
        draft.remove_row(row_id);
        settle::rows_changed(&mut draft.next);
    } else {
        let id = draft.begin(OperationKind::Disconnect { attachment_id: row_id }, 0);
        draft.reply_when_ended(id);
    }
    draft.finish()
}

/// A connector must name its host, and a mode that is one (`spec/attachments.md` §2.4).
pub(super) fn connector_refusal(connector: &Value) -> Option<Refusal> {
    let has_host = connector.get("host").and_then(Value::as_str).is_some_and(|host| !host.is_empty());
    if !has_host {
        return Some(Refusal::InvalidInput("the connector must contain the member host".to_owned()));
    }
    match connector.get("mode") {
        None | Some(Value::Null) => None,
        Some(Value::String(word)) if AttachMode::parse(word).is_some() => None,
        Some(_) => Some(Refusal::InvalidInput("the connector's mode must be rw or ro".to_owned())),
    }
}

pub(super) fn host_of(connector: &Value) -> &str {
    connector.get("host").and_then(Value::as_str).unwrap_or_default()
}

/// The connector as it is kept: with the effective mode written into it.
pub(super) fn with_mode(connector: &Value, mode: AttachMode) -> Document {
    Document::with_members(connector, &[("mode", mode.as_str())])
}

/// What a row tells its client: the backend's answer, and the members that clients rely on whatever the backend. The QoS
/// specs are those of the moment in which somebody looks, and added then.
pub(super) fn connection_told(info: &Value, row: &Attachment, mode: AttachMode) -> Document {
    let connector = row.connector.as_ref();
    let is_multipath = connector.and_then(|connector| connector.member("enforce_multipath")) == Some(Value::Bool(true));
    let own = [
        ("attachment_id", row.id.to_string().into()),
        ("access_mode", mode.as_str().into()),
        ("qos_specs", Value::Null),
        ("encrypted", false.into()),
        ("cacheable", false.into()),
        ("enforce_multipath", is_multipath.into()),
    ];
    Document::with_members(info, &own)
}

/// The mode that a connector asks for.
pub(super) fn asked_mode(connector: &Value) -> Option<AttachMode> {
    connector.get("mode").and_then(Value::as_str).and_then(AttachMode::parse)
}
