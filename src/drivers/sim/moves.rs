//! The rules of the requests that bring a volume to another backend, with its guest or without, and a guest to another volume.

use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Answer, Call, CallKey, Cause, CauseKind, Guest, Outcome, Request};
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ExportName, VolumeId};

use super::carry_out::{EXPORT_MEMBER, Effect, is_deleted_later};
use super::state::{Change, SimContents, SimDevice, State};
use super::truth::SimTruth;

/// What a call has to do with another backend.
#[derive(Clone)]
pub enum Elsewhere {
    /// Nothing.
    Nothing,
    /// What is read there, or why it cannot be.
    Contents(Result<SimContents, Cause>),
    /// The guest's disk goes there.
    Destination(SimTruth),
}

/// What a step of a guest's way changes, at the destination and where the guest is.
pub struct Moved {
    /// At the destination.
    pub arrives: Change,
    /// Where the guest is.
    pub leaves: Change,
}

/// What a volume holds that nobody can write to.
pub fn contents(state: &State, volume_id: VolumeId) -> Result<SimContents, Cause> {
    let Some(volume) = state.volumes.get(&volume_id) else {
        return Err(Cause::new(CauseKind::Other, "the volume does not exist at the backend"));
    };
    if !state.exports_of(volume_id).is_empty() {
        return Err(Cause::new(CauseKind::Busy, "the volume has live exports"));
    }
    Ok(SimContents { size_gib: volume.size_gib, markers: volume.markers.clone() })
}

/// A volume comes from another backend, or is made blank for a mirror.
pub fn arrive(
    state: &State,
    key: &CallKey,
    contents: &Result<SimContents, Cause>,
    size_gib: u32,
    free_gib: u64,
) -> Effect {
    let volume_id = key.volume_id;
    if is_deleted_later(state, key) {
        return Effect::refused(CauseKind::Other, "the volume was deleted by a later operation");
    }
    match state.volumes.get(&volume_id) {
        Some(volume) if volume.moved_by == Some(key.operation_id) => {
            Effect::unchanged(Answer::Size { size_gib: volume.size_gib })
        }
        Some(_) => Effect::refused(CauseKind::Other, "another volume exists at the backend under this id"),
        None if u64::from(size_gib) > free_gib => Effect::refused(CauseKind::NoSpace, "the backend has no room"),
        None => match contents {
            Err(cause) if cause.kind == CauseKind::Unavailable => {
                Effect { change: None, outcome: Outcome::Failed { cause: cause.clone() } }
            }
            Err(cause) => Effect::refused(cause.kind, &cause.text),
            Ok(contents) if contents.size_gib > size_gib => {
                Effect::refused(CauseKind::Other, "the source is larger than the new volume")
            }
            Ok(contents) => {
                let contents = SimContents { size_gib, markers: contents.markers.clone() };
                Effect::changed(
                    Change::VolumeArrived { volume_id, contents, moved_by: key.operation_id },
                    Answer::Size { size_gib },
                )
            }
        },
    }
}

/// The destination, `volume_id` there, is made level, and gets every write from now on.
pub fn mirror(
    home: &State,
    destination: &State,
    guest: &Guest,
    volume_id: VolumeId,
    attachment_id: AttachmentId,
    info: &Document,
) -> Result<Moved, Box<Effect>> {
    let server_id = &guest.server_id;
    let refused = |text| Err(Box::new(Effect::refused(CauseKind::Guest, text)));
    let Some(device) = home.device(server_id, attachment_id) else {
        return refused("the guest has no such device");
    };
    let Some(export) = reached(destination, volume_id, info) else {
        return refused("the guest cannot open the destination");
    };
    if home.mirror(server_id, attachment_id) == Some(&export) {
        return Err(Box::new(Effect::unchanged(Answer::Nothing)));
    }
    if export.is_older_than(&device.export) {
        return refused("the guest was moved by a later operation");
    }
    if home.stopped_mirrors.contains(&export) {
        return refused("the copy was stopped by a later request");
    }
    let (from, to) = (home.volumes.get(&device.volume_id), destination.volumes.get(&volume_id));
    let Some(markers) = from.zip(to).filter(|(from, to)| from.size_gib <= to.size_gib).map(|(from, _)| &from.markers)
    else {
        return refused("the destination is smaller");
    };
    Ok(Moved {
        arrives: Change::VolumeFilled { volume_id, markers: markers.clone() },
        leaves: Change::MirrorBegun { server_id: server_id.clone(), attachment_id, export },
    })
}

/// The guest goes to the destination of its mirror, `volume_id` there.
pub fn pivot(
    home: &State,
    destination: &State,
    guest: &Guest,
    volume_id: VolumeId,
    attachment_id: AttachmentId,
    info: &Document,
) -> Result<Moved, Box<Effect>> {
    let server_id = &guest.server_id;
    let device = home.device(server_id, attachment_id);
    let level = device.and_then(|device| {
        let export = reached(destination, volume_id, info)?;
        (home.mirror(server_id, attachment_id) == Some(&export)).then_some((device, export))
    });
    let Some((device, export)) = level else {
        return Err(Box::new(Effect::refused(CauseKind::Guest, "there is no mirror that is level")));
    };
    let (server_id, device) = (server_id.clone(), SimDevice { volume_id, export, ..device.clone() });
    Ok(Moved {
        arrives: Change::Plugged { server_id: server_id.clone(), attachment_id, device },
        leaves: Change::Unplugged { server_id, attachment_id },
    })
}

/// The destination's export, if it is served and can be written through.
fn reached(destination: &State, volume_id: VolumeId, info: &Document) -> Option<ExportName> {
    let export = export_of(info)?;
    let live = destination.exports.get(&export)?;
    (live.volume_id == volume_id && live.mode == AttachMode::ReadWrite).then_some(export)
}

/// A mirror or a pivot whose destination is at no other backend: the guest is there already, goes to another volume of the same one, or
/// cannot get there.
pub fn here(state: &State, guest: &Guest, call: &Call, attachment_id: AttachmentId, info: &Document) -> Effect {
    let volume_id = call.key.volume_id;
    match state.device(&guest.server_id, attachment_id) {
        Some(device) if Some(&device.export) == export_of(info).as_ref() => return Effect::unchanged(Answer::Nothing),
        Some(device) if device.volume_id != volume_id => {}
        _ => return Effect::refused(CauseKind::Guest, "the guest does not reach the destination"),
    }
    let moved = match call.request {
        Request::PivotGuest { .. } => pivot(state, state, guest, volume_id, attachment_id, info),
        _ => mirror(state, state, guest, volume_id, attachment_id, info),
    };
    let change = match moved {
        Err(effect) => return *effect,
        Ok(Moved { arrives: Change::Plugged { server_id, attachment_id, device }, .. }) => {
            Change::Pivoted { server_id, attachment_id, device }
        }
        Ok(Moved {
            arrives: Change::VolumeFilled { volume_id, markers },
            leaves: Change::MirrorBegun { server_id, attachment_id, export },
        }) => Change::Mirrored { server_id, attachment_id, export, volume_id, markers },
        Ok(_) => return Effect::refused(CauseKind::Other, "the request moves no guest"),
    };
    Effect::changed(change, Answer::Nothing)
}

/// Ends the mirror of a device; the guest stays where it is.
pub fn unmirror(state: &State, guest: &Guest, attachment_id: AttachmentId, destination: &Document) -> Effect {
    let (server_id, export) = (&guest.server_id, export_of(destination));
    if state.device(server_id, attachment_id).is_some_and(|device| Some(&device.export) == export.as_ref()) {
        return Effect::refused(CauseKind::Guest, "the guest has been moved already");
    }
    let is_stopped = export.as_ref().is_none_or(|export| state.stopped_mirrors.contains(export));
    if is_stopped && state.mirror(server_id, attachment_id).is_none() {
        return Effect::unchanged(Answer::Nothing);
    }
    Effect::changed(Change::MirrorEnded { server_id: server_id.clone(), attachment_id, export }, Answer::Nothing)
}

/// The export that a connection information names.
pub fn export_of(connection_info: &Document) -> Option<ExportName> {
    connection_info.text(EXPORT_MEMBER).map(|name| ExportName(name.into()))
}
