//! What a request does: the rules of [`Request`] applied to the truth. Pure: it reads the state and says which change
//! would follow and what is answered.

use serde_json::json;

use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Answer, Call, CallKey, Cause, CauseKind, Guest, Outcome, Request, Truth};
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ExportName, SnapshotId, VolumeId};

use super::state::{Change, SimClone, SimContents, SimDevice, SimExport, State, WriteRecord};
use super::{moves, objects, snapshots};

/// The member of the connection information that names the export.
pub const EXPORT_MEMBER: &str = "export";

/// The protocol word of the simulated backend.
pub const PROTOCOL: &str = "sim";

/// An outcome and the change that makes it true.
pub struct Effect {
    /// What changes; none: everything is as it should be, or the request is refused.
    pub change: Option<Change>,
    /// What is answered.
    pub outcome: Outcome,
}

impl Effect {
    /// Everything is as it should be.
    pub(super) fn unchanged(answer: Answer) -> Self {
        Self { change: None, outcome: Outcome::Done { answer } }
    }

    /// `change` makes it so.
    pub(super) fn changed(change: Change, answer: Answer) -> Self {
        Self { change: Some(change), outcome: Outcome::Done { answer } }
    }

    /// Nothing changes.
    pub(super) fn refused(kind: CauseKind, text: &str) -> Self {
        Self { change: None, outcome: Outcome::Refused { cause: Cause::new(kind, text) } }
    }
}

/// What else goes on at the backend while a call is carried out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meanwhile {
    /// Another call of the volume is under way.
    pub busy: bool,
    /// A volume is being made from the snapshot that the call is about.
    pub snapshot_is_read: bool,
}

/// Carries out a storage call. `free_gib` is the room left, `image_marks` what the image holds that the call is about.
pub fn storage(state: &State, call: &Call, free_gib: u64, meanwhile: Meanwhile, image_marks: &[String]) -> Effect {
    let volume_id = call.key.volume_id;
    match &call.request {
        Request::Create { size_gib } => create(state, &call.key, *size_gib, free_gib),
        Request::CreateClonedVolume { source_volume_id, size_gib } => {
            create_copy(state, &call.key, *source_volume_id, None, *size_gib, free_gib)
        }
        Request::Adopt { reference, size_gib } => objects::adopt(state, &call.key, reference, *size_gib),
        Request::Disown => objects::disown(state, &call.key),
        Request::AdoptSnapshot { snapshot_id, reference, size_gib } => {
            objects::adopt_snapshot(state, &call.key, *snapshot_id, reference, *size_gib)
        }
        Request::DisownSnapshot { snapshot_id } => {
            objects::disown_snapshot(state, &call.key, *snapshot_id, meanwhile.snapshot_is_read)
        }
        Request::ListObjects => objects::list(state),
        Request::Delete => delete(state, &call.key),
        Request::Extend { new_size_gib } => extend(state, volume_id, *new_size_gib, free_gib),
        Request::Export { attachment_id, export, connector, mode } => {
            open(state, volume_id, *attachment_id, export, connector, *mode)
        }
        Request::Unexport { export } => fence(state, volume_id, export),
        Request::Probe => Effect::unchanged(Answer::Truth { truth: truth(state, volume_id, meanwhile.busy) }),
        Request::CreateVolumeFromSnapshot { source_volume_id, snapshot_id, size_gib } => {
            create_copy(state, &call.key, *source_volume_id, Some(*snapshot_id), *size_gib, free_gib)
        }
        Request::CreateSnapshot { snapshot_id } => snapshots::create(state, &call.key, *snapshot_id, free_gib),
        Request::DeleteSnapshot { snapshot_id } => {
            snapshots::delete(state, &call.key, *snapshot_id, meanwhile.snapshot_is_read)
        }
        Request::RevertToSnapshot { snapshot_id } => snapshots::revert(state, volume_id, *snapshot_id),
        Request::CreateFromImage { size_gib, .. } => {
            create_from_image(state, &call.key, *size_gib, free_gib, image_marks)
        }
        Request::Reimage { .. } => reimage(state, &call.key, image_marks),
        // What they change is at the image service.
        Request::CreateImage { .. } | Request::UploadImage { .. } | Request::DiscardImage { .. } => {
            Effect::unchanged(Answer::Nothing)
        }
        Request::CopyFromBackend { .. } => Effect::refused(CauseKind::Other, "the source's contents are missing"),
        Request::CreateMirrorTarget { size_gib } => {
            let blank = Ok(SimContents { size_gib: *size_gib, markers: Vec::new() });
            moves::arrive(state, &call.key, &blank, *size_gib, free_gib)
        }
        Request::Plug { .. }
        | Request::Unplug { .. }
        | Request::ResizeGuest { .. }
        | Request::ProbeGuest { .. }
        | Request::MirrorGuest { .. }
        | Request::PivotGuest { .. }
        | Request::UnmirrorGuest { .. } => Effect::refused(CauseKind::Other, "a storage backend has no guests"),
    }
}

/// Carries out a guest call.
pub fn guest(state: &State, guest: &Guest, call: &Call) -> Effect {
    match &call.request {
        Request::Plug { attachment_id, connection_info, mode } => {
            plug(state, guest, call.key.volume_id, *attachment_id, connection_info, *mode)
        }
        Request::Unplug { attachment_id } => match state.device(&guest.server_id, *attachment_id) {
            None => Effect::unchanged(Answer::Nothing),
            Some(_) => Effect::changed(
                Change::Unplugged { server_id: guest.server_id.clone(), attachment_id: *attachment_id },
                Answer::Nothing,
            ),
        },
        Request::ResizeGuest { attachment_id, new_size_gib } => resize(state, guest, *attachment_id, *new_size_gib),
        Request::ProbeGuest { attachment_id } => {
            let export = state.device(&guest.server_id, *attachment_id).map(|device| device.export.clone());
            Effect::unchanged(Answer::Plugged { plugged: export.is_some(), export })
        }
        Request::UnmirrorGuest { attachment_id, connection_info } => {
            moves::unmirror(state, guest, *attachment_id, connection_info)
        }
        Request::MirrorGuest { attachment_id, connection_info, .. }
        | Request::PivotGuest { attachment_id, connection_info } => {
            moves::here(state, guest, call, *attachment_id, connection_info)
        }
        _ => Effect::refused(CauseKind::Other, "a hypervisor has no volumes"),
    }
}

/// What is true of a volume.
pub fn truth(state: &State, volume_id: VolumeId, busy: bool) -> Truth {
    let size_gib = state.volumes.get(&volume_id).map(|volume| volume.size_gib);
    Truth {
        exists: size_gib.is_some(),
        size_gib: size_gib.unwrap_or(0),
        exports: state.exports_of(volume_id),
        snapshots: state.snapshots_of(volume_id),
        busy,
    }
}

/// A write through an export: it reaches the volume only when the export is live and writable.
pub fn write(state: &State, export: &ExportName, server: Option<&Guest>, marker: &str) -> WriteRecord {
    let reached = state
        .exports
        .get(export)
        .filter(|of| of.mode == AttachMode::ReadWrite)
        .map(|of| of.volume_id)
        .filter(|volume_id| state.volumes.contains_key(volume_id));
    WriteRecord {
        export: export.clone(),
        server_id: server.map(|guest| guest.server_id.clone()),
        marker: marker.to_owned(),
        reached,
    }
}

/// A message that was on its way when the volume was deleted must not bring it back.
pub(super) fn is_deleted_later(state: &State, key: &CallKey) -> bool {
    state.removed.get(&key.volume_id).is_some_and(|epoch| key.epoch <= *epoch)
}

fn create(state: &State, key: &CallKey, size_gib: u32, free_gib: u64) -> Effect {
    let volume_id = key.volume_id;
    if is_deleted_later(state, key) {
        return Effect::refused(CauseKind::Other, "the volume was deleted by a later operation");
    }
    match state.volumes.get(&volume_id) {
        Some(volume) if volume.size_gib == size_gib => Effect::unchanged(Answer::Size { size_gib }),
        Some(_) => Effect::refused(CauseKind::Other, "the volume exists with another size"),
        None if u64::from(size_gib) > free_gib => Effect::refused(CauseKind::NoSpace, "the backend has no room"),
        None => Effect::changed(Change::VolumeCreated { volume_id, size_gib }, Answer::Size { size_gib }),
    }
}

/// A volume with the contents of another one, or of a snapshot.
fn create_copy(
    state: &State,
    key: &CallKey,
    source_volume_id: VolumeId,
    snapshot_id: Option<SnapshotId>,
    size_gib: u32,
    free_gib: u64,
) -> Effect {
    let (volume_id, operation_id) = (key.volume_id, key.operation_id);
    if is_deleted_later(state, key) {
        return Effect::refused(CauseKind::Other, "the volume was deleted by a later operation");
    }
    if let Some(volume) = state.volumes.get(&volume_id) {
        return match &volume.cloned {
            Some(cloned) if cloned.operation_id == operation_id => {
                Effect::unchanged(Answer::Size { size_gib: volume.size_gib })
            }
            _ => Effect::refused(CauseKind::Other, "another volume exists at the backend under this id"),
        };
    }
    let source = match snapshot_id {
        Some(id) => state.snapshot(source_volume_id, id).map(|snapshot| (snapshot.size_gib, snapshot.markers.len())),
        None => state.volumes.get(&source_volume_id).map(|volume| (volume.size_gib, volume.markers.len())),
    };
    let Some((source_gib, writes)) = source else {
        return Effect::refused(CauseKind::Other, "the source does not exist at the backend");
    };
    if source_gib > size_gib {
        return Effect::refused(CauseKind::Other, "the source is larger than the new volume");
    }
    if u64::from(size_gib) > free_gib {
        return Effect::refused(CauseKind::NoSpace, "the backend has no room");
    }
    let cloned = SimClone { source_volume_id, snapshot_id, writes, operation_id };
    Effect::changed(Change::VolumeCloned { volume_id, size_gib, cloned }, Answer::Size { size_gib })
}

fn create_from_image(state: &State, key: &CallKey, size_gib: u32, free_gib: u64, marks: &[String]) -> Effect {
    let (volume_id, operation_id) = (key.volume_id, key.operation_id);
    if is_deleted_later(state, key) {
        return Effect::refused(CauseKind::Other, "the volume was deleted by a later operation");
    }
    match state.volumes.get(&volume_id) {
        Some(volume) if volume.filled_by == Some(operation_id) => {
            Effect::unchanged(Answer::Size { size_gib: volume.size_gib })
        }
        Some(_) => Effect::refused(CauseKind::Other, "another volume exists at the backend under this id"),
        None if u64::from(size_gib) > free_gib => Effect::refused(CauseKind::NoSpace, "the backend has no room"),
        None => {
            let change = Change::VolumeImaged { volume_id, size_gib, markers: marks.to_vec(), operation_id };
            Effect::changed(change, Answer::Size { size_gib })
        }
    }
}

fn reimage(state: &State, key: &CallKey, marks: &[String]) -> Effect {
    let (volume_id, operation_id) = (key.volume_id, key.operation_id);
    match state.volumes.get(&volume_id) {
        None => Effect::refused(CauseKind::Other, "the volume does not exist at the backend"),
        Some(volume) if volume.filled_by == Some(operation_id) => Effect::unchanged(Answer::Nothing),
        Some(_) if !state.exports_of(volume_id).is_empty() => {
            Effect::refused(CauseKind::Busy, "the volume has live exports")
        }
        Some(volume) => {
            let (size_gib, markers) = (volume.size_gib, marks.to_vec());
            Effect::changed(Change::VolumeImaged { volume_id, size_gib, markers, operation_id }, Answer::Nothing)
        }
    }
}

fn delete(state: &State, key: &CallKey) -> Effect {
    let volume_id = key.volume_id;
    if !state.exports_of(volume_id).is_empty() {
        return Effect::refused(CauseKind::Busy, "the volume has live exports");
    }
    if state.snapshots.contains_key(&volume_id) {
        return Effect::refused(CauseKind::Busy, "the volume has snapshots");
    }
    if state.removed.get(&volume_id) >= Some(&key.epoch) && !state.volumes.contains_key(&volume_id) {
        return Effect::unchanged(Answer::Nothing);
    }
    Effect::changed(Change::VolumeDeleted { volume_id, epoch: key.epoch }, Answer::Nothing)
}

fn extend(state: &State, volume_id: VolumeId, new_size_gib: u32, free_gib: u64) -> Effect {
    let Some(volume) = state.volumes.get(&volume_id) else {
        return Effect::refused(CauseKind::Other, "the volume does not exist at the backend");
    };
    if volume.size_gib >= new_size_gib {
        return Effect::unchanged(Answer::Size { size_gib: volume.size_gib });
    }
    if u64::from(new_size_gib - volume.size_gib) > free_gib {
        return Effect::refused(CauseKind::NoSpace, "the backend has no room");
    }
    let change = Change::VolumeGrown { volume_id, size_gib: new_size_gib };
    Effect::changed(change, Answer::Size { size_gib: new_size_gib })
}

fn open(
    state: &State,
    volume_id: VolumeId,
    attachment_id: AttachmentId,
    export: &ExportName,
    connector: &Document,
    mode: AttachMode,
) -> Effect {
    if !connector.is_object() {
        return Effect::refused(CauseKind::BadConnector, "the connector is not an object");
    }
    if mode == AttachMode::Undecided {
        return Effect::refused(CauseKind::Other, "the export has no mode");
    }
    if state.fenced.contains(export) {
        return Effect::refused(CauseKind::Other, "the export was ended and is never served again");
    }
    let info = json!({
        "driver_volume_type": PROTOCOL,
        "volume_id": volume_id,
        EXPORT_MEMBER: export,
        "access_mode": mode.as_str(),
    });
    let host = connector.text("host");
    let wanted = SimExport { volume_id, attachment_id, mode, host };
    match state.exports.get(export) {
        Some(live) if *live == wanted => Effect::unchanged(Answer::Connection { info }),
        Some(_) => Effect::refused(CauseKind::Busy, "the export name serves another connection"),
        None if !state.volumes.contains_key(&volume_id) => {
            Effect::refused(CauseKind::Other, "the volume does not exist at the backend")
        }
        None => {
            Effect::changed(Change::ExportOpened { export: export.clone(), of: wanted }, Answer::Connection { info })
        }
    }
}

fn fence(state: &State, volume_id: VolumeId, export: &ExportName) -> Effect {
    if state.exports.get(export).is_some_and(|of| of.volume_id != volume_id) {
        return Effect::refused(CauseKind::Other, "the export belongs to another volume");
    }
    if state.fenced.contains(export) {
        return Effect::unchanged(Answer::Nothing);
    }
    // A name that is not served is fenced as well: the export of a dead intent may still be on its way.
    Effect::changed(Change::ExportFenced { export: export.clone() }, Answer::Nothing)
}

fn plug(
    state: &State,
    guest: &Guest,
    volume_id: VolumeId,
    attachment_id: AttachmentId,
    connection_info: &Document,
    mode: AttachMode,
) -> Effect {
    let Some(name) = connection_info.text(EXPORT_MEMBER) else {
        return Effect::refused(CauseKind::Guest, "the connection information names no export");
    };
    let export = ExportName(name.into());
    if let Some(device) = state.device(&guest.server_id, attachment_id)
        && device.export == export
    {
        return Effect::unchanged(Answer::Nothing);
    }
    if state.device(&guest.server_id, attachment_id).is_some() {
        return Effect::refused(
            CauseKind::Guest,
            "the guest holds a device of this attachment with another connection",
        );
    }
    let Some(live) = state.exports.get(&export).filter(|live| live.volume_id == volume_id) else {
        return Effect::refused(CauseKind::Guest, "the guest cannot open the export");
    };
    let size_gib = state.volumes.get(&live.volume_id).map_or(0, |volume| volume.size_gib);
    let device = SimDevice { volume_id: live.volume_id, export, mode, size_gib };
    let change = Change::Plugged { server_id: guest.server_id.clone(), attachment_id, device };
    Effect::changed(change, Answer::Nothing)
}

fn resize(state: &State, guest: &Guest, attachment_id: AttachmentId, new_size_gib: u32) -> Effect {
    let Some(device) = state.device(&guest.server_id, attachment_id) else {
        return Effect::refused(CauseKind::Guest, "the guest has no such device");
    };
    let real = state.volumes.get(&device.volume_id).map_or(0, |volume| volume.size_gib);
    if new_size_gib > real {
        return Effect::refused(CauseKind::Other, "the volume is smaller than the size to be told");
    }
    if device.size_gib >= new_size_gib {
        return Effect::unchanged(Answer::Nothing);
    }
    let change = Change::GuestResized { server_id: guest.server_id.clone(), attachment_id, size_gib: new_size_gib };
    Effect::changed(change, Answer::Nothing)
}
