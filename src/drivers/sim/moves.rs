//! The rules of the requests that bring a volume to another backend, with its guest or without.
//!
//! Two truths are part of a move. What arrives at the destination is kept there first: should the process die before the source
//! has forgotten the guest, the repeated request finds it still there and moves it again.

use crate::domain::backend::{Answer, CallKey, CauseKind, Guest};
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ExportName};

use super::carry_out::{EXPORT_MEMBER, Effect, is_deleted_later};
use super::state::{Change, SimContents, State};

/// A volume comes from another backend, or is made blank for a mirror.
pub fn arrive(state: &State, key: &CallKey, contents: SimContents, free_gib: u64) -> Effect {
    let (volume_id, size_gib) = (key.volume_id, contents.size_gib);
    if is_deleted_later(state, key) {
        return Effect::refused(CauseKind::Other, "the volume was deleted by a later operation");
    }
    match state.volumes.get(&volume_id) {
        Some(volume) if volume.moved_by == Some(key.operation_id) => {
            Effect::unchanged(Answer::Size { size_gib: volume.size_gib })
        }
        Some(_) => Effect::refused(CauseKind::Other, "another volume exists at the backend under this id"),
        None if u64::from(size_gib) > free_gib => Effect::refused(CauseKind::NoSpace, "the backend has no room"),
        None => Effect::changed(
            Change::VolumeArrived { volume_id, contents, moved_by: key.operation_id },
            Answer::Size { size_gib },
        ),
    }
}

/// Ends the mirror of a device; the guest stays where it is.
pub fn unmirror(state: &State, guest: &Guest, attachment_id: AttachmentId, destination: &Document) -> Effect {
    let (server_id, export) = (&guest.server_id, export_of(destination));
    if state.device(server_id, attachment_id).is_some_and(|device| Some(&device.export) == export.as_ref()) {
        return Effect::refused(CauseKind::Guest, "the guest has been moved already");
    }
    if state.mirror(server_id, attachment_id).is_none() {
        return Effect::unchanged(Answer::Nothing);
    }
    Effect::changed(Change::MirrorEnded { server_id: server_id.clone(), attachment_id }, Answer::Nothing)
}

/// The export that a connection information names.
pub fn export_of(connection_info: &Document) -> Option<ExportName> {
    connection_info.text(EXPORT_MEMBER).map(|name| ExportName(name.into()))
}
