//! The operations' plans: which step comes first, what each step asks of whom.

use super::{connection, manage, moving, release, settle, swapping};
use crate::domain::attachment::{AttachMode, Attachment};
use crate::domain::backend::Request;
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ExportName, OperationId};
use crate::domain::operation::{Operation, OperationKind, Step};
use crate::domain::status::AttachStatus;
use crate::domain::volume::command::JobTarget;
use crate::domain::volume::state::{Origin, VolumeState};

/// The first step of an operation which is about to start. Names the export of a row that is about to get one: the name is
/// committed before the backend hears of it.
pub(super) fn first_step(state: &mut VolumeState, id: OperationId) -> Step {
    let Some(operation) = state.operations.iter().find(|operation| operation.id == id).cloned() else {
        return Step::Drain;
    };
    match &operation.kind {
        OperationKind::Create => Step::Create,
        OperationKind::CreateFrom(_) => Step::Borrow,
        // Where no backend fits, there is nothing to announce.
        OperationKind::CreateFromImage(_) if state.volume.host.is_none() => Step::FetchImage,
        OperationKind::CreateFromImage(_) => Step::Announce,
        OperationKind::Reimage(_) => Step::Reimage,
        OperationKind::UploadImage(_) => Step::CreateImage,
        OperationKind::Manage { .. } => Step::Adopt,
        OperationKind::Unmanage => manage::next_step(state),
        OperationKind::ManageSnapshot { snapshot_id, .. } => Step::AdoptSnapshot { snapshot_id: *snapshot_id },
        OperationKind::UnmanageSnapshot { snapshot_id } => Step::DisownSnapshot { snapshot_id: *snapshot_id },
        OperationKind::Extend { .. } => Step::Extend,
        OperationKind::Delete => next_removal(state),
        OperationKind::Revert { .. } => Step::Revert,
        OperationKind::Migrate(_) => Step::Survey,
        OperationKind::DiscardCopy { exports, .. } => moving::next_discard(exports),
        OperationKind::NotifyCompute(_) => Step::NotifyCompute,
        OperationKind::CreateSnapshot { snapshot_id } => Step::CreateSnapshot { snapshot_id: *snapshot_id },
        OperationKind::DeleteSnapshot { snapshot_id } => Step::DeleteSnapshot { snapshot_id: *snapshot_id },
        OperationKind::Repair => next_orphan(state).unwrap_or(Step::Drain),
        OperationKind::Connect { attachment_id, connector, .. } => {
            connect_step(state, &operation, *attachment_id, connector)
        }
        OperationKind::ServerAttach { attachment_id, .. } => export_step(state, &operation, *attachment_id),
        OperationKind::Disconnect { attachment_id } => match export_of(state, *attachment_id) {
            Some(export) => Step::Unexport { export },
            // Nothing was ever exported for this row: an export name that never existed is fenced all the same.
            None => Step::Unexport { export: ExportName::new(*attachment_id, operation.epoch) },
        },
        OperationKind::ServerDetach { attachment_id, .. } => Step::Unplug { attachment_id: *attachment_id },
        OperationKind::Replug { attachment_id, .. } => Step::LookAtGuest { attachment_id: *attachment_id },
        OperationKind::SwapIn(_) => Step::Yield,
        OperationKind::SwapOut(_) => Step::Yielded,
        OperationKind::Initialize { .. } => connection::first_step(state, &operation),
        OperationKind::Release { .. } => release::first_step(state, &operation),
    }
}

/// A connect to another host than before fences the old export first; the same host gets its export again.
fn connect_step(state: &mut VolumeState, operation: &Operation, row_id: AttachmentId, connector: &Document) -> Step {
    let Some(row) = state.attachment(row_id) else { return Step::Drain };
    match &row.export {
        Some(export) if row.is_connected() && row.connector.as_ref() == Some(connector) => {
            Step::Export { export: export.clone() }
        }
        Some(export) => Step::Unexport { export: export.clone() },
        None => export_step(state, operation, row_id),
    }
}

/// The step that makes a new export for a row, under a name never used before.
pub(super) fn export_step(state: &mut VolumeState, operation: &Operation, row_id: AttachmentId) -> Step {
    let export = ExportName::new(row_id, operation.epoch);
    if let Some(row) = state.attachment_mut(row_id) {
        row.export = Some(export.clone());
        if row.attach_status.is_error() {
            // With an export on its way the row holds the volume again.
            settle::rows_changed(state);
        }
    }
    Step::Export { export }
}

/// The export that a row has or may have.
pub(super) fn export_of(state: &VolumeState, row_id: AttachmentId) -> Option<ExportName> {
    state.attachment(row_id).and_then(|row| row.export.clone())
}

/// The step that removes the next export nobody owns.
pub(super) fn next_orphan(state: &VolumeState) -> Option<Step> {
    state.volume.orphan_exports.first().map(|export| Step::Unexport { export: export.clone() })
}

/// The next step of a delete: exports that nobody owns, the snapshots, the volume.
pub(super) fn next_removal(state: &VolumeState) -> Step {
    let snapshot = || state.snapshots.first().map(|snapshot| Step::DeleteSnapshot { snapshot_id: snapshot.id });
    next_orphan(state).or_else(snapshot).unwrap_or(Step::Delete)
}

/// The step that tells the next guest after `last` of the new size, in the order of the rows. Computed from the rows as
/// they are at the settle step.
pub(super) fn next_guest(state: &VolumeState, last: Option<AttachmentId>) -> Option<Step> {
    let mut rows = state
        .attachments
        .iter()
        .filter(|row| row.attach_status == AttachStatus::Attached && row.bdm.is_some() && row.export.is_some())
        .map(|row| row.id)
        .collect::<Vec<_>>();
    rows.sort_unstable();
    rows.into_iter()
        .find(|row| last.is_none_or(|last| *row > last))
        .map(|attachment_id| Step::ResizeGuest { attachment_id })
}

/// Whether a storage backend carries the step out, so that its late effects must be waited for.
pub(super) fn has_backend_call(step: &Step) -> bool {
    match step {
        Step::Create
        | Step::Copy
        | Step::FetchImage
        | Step::Reimage
        | Step::CreateImage
        | Step::UploadImage
        | Step::DiscardImage
        | Step::Adopt
        | Step::Disown
        | Step::AdoptSnapshot { .. }
        | Step::DisownSnapshot { .. }
        | Step::Delete
        | Step::Extend
        | Step::Revert
        | Step::CreateSnapshot { .. }
        | Step::DeleteSnapshot { .. }
        | Step::Survey
        | Step::Transfer
        | Step::CreateTarget
        | Step::Unexport { .. }
        | Step::Export { .. } => true,
        Step::Queued
        | Step::Drain
        | Step::Borrow
        | Step::Announce
        | Step::Yield
        | Step::Yielded
        | Step::Handover
        | Step::HandBack
        | Step::NotifyCompute
        | Step::Mirror { .. }
        | Step::Pivot { .. }
        | Step::Unmirror { .. }
        | Step::ResizeGuest { .. }
        | Step::LookAtGuest { .. }
        | Step::Plug { .. }
        | Step::Unplug { .. } => false,
    }
}

/// Whether the step copies a volume's contents for as long as it takes: its call is told when nobody wants it any more.
pub(super) fn copies(step: &Step) -> bool {
    matches!(step, Step::Copy | Step::FetchImage | Step::Reimage | Step::UploadImage)
}

/// The backend of the volume; a volume without one gets a name that no backend has, so that its calls fail with a cause.
pub(super) fn backend_of(state: &VolumeState) -> JobTarget {
    JobTarget::Backend(state.volume.host.clone().unwrap_or_default())
}

/// Read-only by the volume's flag (`spec/attachments.md` §6; only the value `True` counts).
pub(super) fn is_readonly(state: &VolumeState) -> bool {
    state.volume.admin_metadata.get("readonly") == Some("True")
}

/// The mode that a row's connection gets; `asked` is what its connector says.
pub(super) fn effective_mode(
    state: &VolumeState,
    row_mode: Option<AttachMode>,
    asked: Option<AttachMode>,
) -> AttachMode {
    if is_readonly(state) {
        return AttachMode::ReadOnly;
    }
    match row_mode {
        Some(mode @ (AttachMode::ReadWrite | AttachMode::ReadOnly)) => mode,
        _ => asked.unwrap_or(AttachMode::ReadWrite),
    }
}

/// The mode that was written into a connector that is kept.
pub(super) fn kept_mode(connector: &Document) -> Option<AttachMode> {
    connector.text("mode").as_deref().and_then(AttachMode::parse)
}

/// What the present step asks, and of whom. None when its row is gone.
pub(super) fn request(state: &VolumeState, operation: &Operation) -> Option<(JobTarget, Request)> {
    if operation.kind.other_backend().is_some() && !matches!(operation.step, Step::Queued | Step::Drain) {
        return moving::request(state, operation);
    }
    if swapping::owns(operation) {
        return swapping::request(state, operation);
    }
    let probing = operation.probing.is_some();
    let backend = backend_of(state);
    if probing && has_backend_call(&operation.step) {
        return Some((backend, Request::Probe));
    }
    let asked = match &operation.step {
        Step::Queued | Step::Drain | Step::Borrow | Step::Announce => return None,
        Step::Yield | Step::Yielded | Step::Handover | Step::HandBack | Step::NotifyCompute => return None,
        Step::FetchImage | Step::Reimage | Step::CreateImage | Step::UploadImage | Step::DiscardImage => {
            (backend, image_request(state, operation)?)
        }
        Step::Copy => match operation.kind {
            OperationKind::CreateFrom(origin) => (backend, copy_request(origin, state.volume.size_gib)),
            _ => return None,
        },
        Step::Revert => match operation.kind {
            OperationKind::Revert { snapshot_id } => (backend, Request::RevertToSnapshot { snapshot_id }),
            _ => return None,
        },
        Step::CreateSnapshot { snapshot_id } => (backend, Request::CreateSnapshot { snapshot_id: *snapshot_id }),
        Step::DeleteSnapshot { snapshot_id } => (backend, Request::DeleteSnapshot { snapshot_id: *snapshot_id }),
        Step::Create => (backend, Request::Create { size_gib: state.volume.size_gib }),
        Step::Adopt => match &operation.kind {
            OperationKind::Manage { reference, size_gib } => {
                (backend, Request::Adopt { reference: reference.to_string(), size_gib: *size_gib })
            }
            _ => return None,
        },
        Step::AdoptSnapshot { snapshot_id } => match &operation.kind {
            OperationKind::ManageSnapshot { reference, .. } => {
                let size_gib = state.snapshot(*snapshot_id)?.size_gib;
                let reference = reference.to_string();
                (backend, Request::AdoptSnapshot { snapshot_id: *snapshot_id, reference, size_gib })
            }
            _ => return None,
        },
        Step::Disown => (backend, Request::Disown),
        Step::DisownSnapshot { snapshot_id } => (backend, Request::DisownSnapshot { snapshot_id: *snapshot_id }),
        Step::Delete => (backend, Request::Delete),
        Step::Extend => match &operation.kind {
            OperationKind::Extend { new_size_gib } => (backend, Request::Extend { new_size_gib: *new_size_gib }),
            _ => return None,
        },
        Step::Unexport { export } => (backend, Request::Unexport { export: export.clone() }),
        Step::Export { export } => {
            let (attachment_id, connector, mode) = match &operation.kind {
                OperationKind::Initialize { connection_id, .. } => {
                    let known = state.volume.connection(*connection_id)?;
                    (known.id, &known.connector, known.mode)
                }
                OperationKind::Connect { attachment_id, connector, mode, .. } => (*attachment_id, connector, *mode),
                OperationKind::ServerAttach { attachment_id, connector, .. }
                | OperationKind::Replug { attachment_id, connector, .. } => {
                    let row = state.attachment(*attachment_id)?;
                    (*attachment_id, connector, effective_mode(state, row.attach_mode, kept_mode(connector)))
                }
                _ => return None,
            };
            let connector = connector.clone();
            (backend, Request::Export { attachment_id, export: export.clone(), connector, mode })
        }
        Step::Plug { attachment_id }
        | Step::Unplug { attachment_id }
        | Step::LookAtGuest { attachment_id }
        | Step::ResizeGuest { attachment_id } => {
            let row = state.attachment(*attachment_id)?;
            let server = row.bdm.as_ref()?.server_id.clone();
            let request = guest_request(state, operation, row, probing)?;
            (JobTarget::Guest(server), request)
        }
        Step::Survey
        | Step::Transfer
        | Step::CreateTarget
        | Step::Mirror { .. }
        | Step::Pivot { .. }
        | Step::Unmirror { .. } => return None,
    };
    Some(asked)
}

fn image_request(state: &VolumeState, operation: &Operation) -> Option<Request> {
    let volume = &state.volume;
    let project_id = volume.project_id.clone();
    Some(match (&operation.step, &operation.kind) {
        (Step::FetchImage, OperationKind::CreateFromImage(image)) => {
            Request::CreateFromImage { image_id: image.image_id, project_id, size_gib: volume.size_gib }
        }
        (Step::Reimage, OperationKind::Reimage(image)) => Request::Reimage { image_id: image.image_id, project_id },
        (Step::CreateImage, OperationKind::UploadImage(image)) => Request::CreateImage { image: image.clone() },
        (Step::UploadImage, OperationKind::UploadImage(image)) => Request::UploadImage { image: image.clone() },
        (Step::DiscardImage, OperationKind::UploadImage(image)) => {
            Request::DiscardImage { image_id: image.image_id, project_id: image.project_id.clone() }
        }
        _ => return None,
    })
}

fn copy_request(origin: Origin, size_gib: u32) -> Request {
    let source_volume_id = origin.source_volume_id;
    match origin.snapshot_id {
        None => Request::CreateClonedVolume { source_volume_id, size_gib },
        Some(snapshot_id) => Request::CreateVolumeFromSnapshot { source_volume_id, snapshot_id, size_gib },
    }
}

fn guest_request(state: &VolumeState, operation: &Operation, row: &Attachment, probing: bool) -> Option<Request> {
    let attachment_id = row.device_id();
    if probing {
        return Some(Request::ProbeGuest { attachment_id });
    }
    match &operation.step {
        Step::Plug { .. } => {
            let mode = effective_mode(state, row.attach_mode, None);
            let connection_info = row.connection_info.clone().unwrap_or_else(Document::empty);
            Some(Request::Plug { attachment_id, connection_info, mode })
        }
        Step::Unplug { .. } => Some(Request::Unplug { attachment_id }),
        Step::LookAtGuest { .. } => Some(Request::ProbeGuest { attachment_id }),
        Step::ResizeGuest { .. } => Some(Request::ResizeGuest { attachment_id, new_size_gib: state.volume.size_gib }),
        _ => None,
    }
}
