//! How steps fail: what is undone, what is handed to repair, which error status has a name, and when a step is given up
//! (design §3.8, `spec/races.md` §3).

use super::draft::Draft;
use super::results::{MAX_STARTS, MAX_TRIES, done, settle_ended, unexport_row, unexported};
use super::snapshot::set_status;
use super::{connection, image, manage, moving, release, replug, settle, swapping};
use crate::domain::backend::{Answer, Cause, CauseKind};
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ExportName, OperationId, SnapshotId};
use crate::domain::operation::{Operation, OperationKind, Step};
use crate::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use crate::domain::volume::command::{Refusal, UserMessage};

/// Nothing of a connect is left at the backend: the row goes back, or away if the same request had made it.
pub(super) fn connection_undone(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    match &operation.kind {
        OperationKind::Connect { attachment_id, row_is_new, .. } => {
            if *row_is_new {
                draft.remove_row(*attachment_id);
            } else if let Some(row) = draft.next.attachment_mut(*attachment_id) {
                row.attach_status = AttachStatus::Reserved;
                row.connector = None;
                row.connection_info = Some(Document::empty());
                row.attached_host = None;
                row.mountpoint = None;
                row.attach_time = None;
            }
        }
        OperationKind::ServerAttach { attachment_id, .. } => {
            draft.remove_row(*attachment_id);
            draft.tell_owner(message(operation, "002", "021", cause));
        }
        _ => {}
    }
    settle::rows_changed(&mut draft.next);
    draft.end(operation.id, Err(connection_refusal(cause)));
}

/// A connector that lacks what the backend needs is the client's mistake (400), everything else the backend's (500).
pub(super) fn connection_refusal(cause: &Cause) -> Refusal {
    match cause.kind {
        CauseKind::BadConnector => Refusal::BadConnector(cause.text.clone()),
        _ => Refusal::Backend(cause.text.clone()),
    }
}

/// The step has certainly failed.
pub(super) fn failed(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let id = operation.id;
    match &operation.step {
        Step::Queued | Step::Drain => drain_over(draft, operation),
        // Their answers are commands of their own (`lend::lent`, `swapping::answered`, `swap::word`).
        Step::Borrow | Step::Announce | Step::Yield | Step::Yielded | Step::Handover | Step::HandBack => {}
        // It ends by itself (`notice::ended`).
        Step::NotifyCompute => {}
        Step::FetchImage if draft.next.volume.host.is_some() => image::failed(draft, operation, cause),
        Step::Reimage | Step::CreateImage | Step::UploadImage => image::failed(draft, operation, cause),
        // The image service may be back soon.
        Step::DiscardImage if operation.attempt < MAX_STARTS => {
            if let Some(operation) = draft.operation_mut(id) {
                operation.attempt += 1;
            }
            draft.issue(id);
        }
        Step::DiscardImage => image::not_discarded(draft, operation, cause),
        Step::Create | Step::Copy | Step::FetchImage => {
            settle::data_work_failed(&mut draft.next, VolumeStatus::Error);
            if draft.next.volume.host.is_none() {
                // No backend fits: that there is none of no name is not what the owner asked.
                draft.end(id, Err(Refusal::Backend("no backend fits the volume".to_owned())));
                let told = message(operation, "001", "003", cause);
                return draft.tell_owner(UserMessage { cause: None, ..told });
            }
            draft.tell_owner(message(operation, "008", "012", cause));
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::Adopt => {
            settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorManaging);
            draft.tell_owner(message(operation, "008", "012", cause));
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::Disown => manage::failed(draft, operation, cause),
        Step::Extend if matches!(cause.kind, CauseKind::NoSpace | CauseKind::Busy) => {
            // Nothing was begun. Like a capacity check that fails: the volume goes back to what its rows say (volume-actions.md §2.1).
            draft.tell_owner(message(operation, "007", "003", cause));
            settle_ended(draft, id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::Extend => {
            draft.tell_owner(message(operation, "007", "010", cause));
            settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorExtending);
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::ResizeGuest { attachment_id } => {
            // The volume has grown; that the guest was not told is only a message (volume-actions.md §2.1).
            if draft.next.attachment(*attachment_id).is_some() {
                draft.tell_owner(message(operation, "007", "009", cause));
            }
            done(draft, operation, &Answer::Nothing);
        }
        Step::Delete => delete_failed(draft, operation, cause),
        Step::Revert => {
            match cause.kind {
                // It was not begun.
                CauseKind::Busy => settle::data_work_ended(&mut draft.next),
                _ => settle::data_work_failed(&mut draft.next, VolumeStatus::Error),
            }
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::CreateSnapshot { snapshot_id } | Step::AdoptSnapshot { snapshot_id } => {
            set_status(draft, *snapshot_id, SnapshotStatus::Error);
            draft.tell_owner(about_snapshot(operation, *snapshot_id, "009", "013", cause));
            draft.end(id, Err(Refusal::Backend(cause.text.clone())));
        }
        Step::DeleteSnapshot { snapshot_id } | Step::DisownSnapshot { snapshot_id } => {
            snapshot_delete_failed(draft, operation, *snapshot_id, cause);
        }
        Step::Export { export } if !is_own_export(operation, export) => connection_kept(draft, operation, cause),
        Step::Export { export } if matches!(operation.kind, OperationKind::Initialize { .. }) => {
            connection::forget(&mut draft.next, export);
            connection_undone(draft, operation, cause);
        }
        Step::Export { .. } => {
            // Certainly not exported: the name is free of any effect.
            if let Some(row) = operation.kind.attachment_id().and_then(|row| draft.next.attachment_mut(row)) {
                row.export = None;
            }
            connection_undone(draft, operation, cause);
        }
        Step::Unexport { export } if matches!(operation.kind, OperationKind::Release { .. }) => {
            release::failed(draft, operation, export, cause);
        }
        Step::Unexport { export } => {
            let export = export.clone();
            unexport_failed(draft, operation, &export);
        }
        Step::Plug { attachment_id } => undo_attach(draft, id, *attachment_id, cause),
        Step::Unplug { attachment_id } => match &operation.kind {
            OperationKind::ServerDetach { server_gone: false, .. } if operation.undoing.is_none() => {
                roll_detaching(draft, operation, *attachment_id, cause);
            }
            // The server is going, or an attach is being undone: the fence of the export is what counts.
            _ => unexport_row(draft, id, *attachment_id),
        },
        // Their plans are of their own (`moving`, `replug`).
        Step::LookAtGuest { .. }
        | Step::Survey
        | Step::Transfer
        | Step::CreateTarget
        | Step::Mirror { .. }
        | Step::Pivot { .. }
        | Step::Unmirror { .. } => {}
    }
}

/// Whether this operation has made up the export's name; else it asks again for an earlier connection's export.
pub(super) fn is_own_export(operation: &Operation, export: &ExportName) -> bool {
    operation.kind.export_owner().is_some_and(|owner| ExportName::new(owner, operation.epoch) == *export)
}

/// Nothing has been done for this connect: an earlier connection of the row stays as it is, a row made by the same request
/// goes.
pub(super) fn connection_kept(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    match operation.kind {
        OperationKind::Connect { row_is_new: false, .. } | OperationKind::Initialize { .. } => {
            draft.end(operation.id, Err(connection_refusal(cause)));
        }
        _ => connection_undone(draft, operation, cause),
    }
}

/// The export exists or may exist, and its operation has failed.
pub(super) fn undo_export(draft: &mut Draft<'_>, operation: &Operation, export: &ExportName, cause: &Cause) {
    if !is_own_export(operation, export) {
        return connection_kept(draft, operation, cause);
    }
    if let Some(operation) = draft.operation_mut(operation.id) {
        operation.undoing = Some(cause.clone());
    }
    draft.run(operation.id, Step::Unexport { export: export.clone() });
}

pub(super) fn delete_failed(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    if cause.kind == CauseKind::Busy {
        // "Backend busy": back to available, no error (volumes.md §6).
        draft.next.volume.terminated_at = None;
        settle_ended(draft, operation.id, Err(Refusal::Backend(cause.text.clone())));
    } else {
        draft.tell_owner(message(operation, "017", "001", cause));
        settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
        draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
    }
}

/// "Backend busy": back to available (`spec/snapshots.md` §5). In a cascade the volume fails with it, and trying again resumes
///
fn snapshot_delete_failed(draft: &mut Draft<'_>, operation: &Operation, snapshot_id: SnapshotId, cause: &Cause) {
    let goes_along = draft.next.operations.iter().any(|waiting| waiting.kind == OperationKind::Delete);
    if goes_along && operation.kind != OperationKind::Delete {
        // The volume is waiting to be deleted with it, and tries again.
        return draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
    }
    let (status, detail) = match cause.kind {
        CauseKind::Busy => (SnapshotStatus::Available, "015"),
        _ => (SnapshotStatus::ErrorDeleting, "016"),
    };
    set_status(draft, snapshot_id, status);
    draft.tell_owner(about_snapshot(operation, snapshot_id, "010", detail, cause));
    if operation.kind == OperationKind::Delete {
        settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
    }
    draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
}

/// The export is certainly still there: repair keeps at it, and nothing else is connected before that.
pub(super) fn unexport_failed(draft: &mut Draft<'_>, operation: &Operation, export: &ExportName) {
    if matches!(operation.kind, OperationKind::Repair | OperationKind::Delete | OperationKind::Unmanage) {
        if operation.kind != OperationKind::Repair && operation.attempt >= MAX_TRIES {
            let cause = Cause::new(CauseKind::Busy, "an export of the volume cannot be removed");
            if operation.kind == OperationKind::Unmanage {
                return manage::failed(draft, operation, &cause);
            }
            draft.tell_owner(message(operation, "017", "001", &cause));
            settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
            return draft.end(operation.id, Err(Refusal::Backend(cause.text)));
        }
        if let Some(operation) = draft.operation_mut(operation.id) {
            operation.probing = None;
            operation.attempt += 1;
        }
        return draft.issue(operation.id);
    }
    if !draft.next.volume.orphan_exports.contains(export) {
        draft.next.volume.orphan_exports.push(export.clone());
    }
    if let Some(row) = operation.kind.attachment_id().and_then(|row| draft.next.attachment_mut(row)) {
        row.export = None;
    }
    connection::forget(&mut draft.next, export);
    let connects = matches!(operation.kind, OperationKind::Connect { .. } | OperationKind::Initialize { .. });
    if connects && operation.undoing.is_none() {
        // The old export of a reconnect cannot be removed: the row must not get a second one.
        let cause = Cause::new(CauseKind::Unavailable, "the previous connection could not be ended");
        return connection_undone(draft, operation, &cause);
    }
    unexported(draft, operation);
}

pub(super) fn undo_attach(draft: &mut Draft<'_>, id: OperationId, row_id: AttachmentId, cause: &Cause) {
    if let Some(operation) = draft.operation_mut(id) {
        operation.undoing = Some(cause.clone());
        operation.probing = None;
    }
    unexport_row(draft, id, row_id);
}

/// The guest keeps the device: the detach is rolled back (`spec/nova-volume-attachments.md` §6).
pub(super) fn roll_detaching(draft: &mut Draft<'_>, operation: &Operation, row_id: AttachmentId, cause: &Cause) {
    if let Some(bdm) = draft.next.attachment_mut(row_id).and_then(|row| row.bdm.as_mut()) {
        bdm.detaching = false;
    }
    settle::rows_changed(&mut draft.next);
    draft.tell_owner(message(operation, "018", "022", cause));
    draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
}

/// Step and probe have both hung: a named error status, and a record of the call that may still have effects.
pub(super) fn given_up(draft: &mut Draft<'_>, operation: &Operation, cause: &Cause) {
    let hung = Cause::new(CauseKind::Deadline, format!("the backend does not answer ({})", cause.text));
    draft.remember_outstanding(operation, 2);
    match &operation.step {
        Step::Export { export } if matches!(operation.kind, OperationKind::Initialize { .. }) => {
            if is_own_export(operation, export) {
                connection::orphan(&mut draft.next, |connection| connection.export == *export);
            }
            connection_kept(draft, operation, &hung);
        }
        Step::Export { .. } => connection_in_doubt(draft, operation, AttachStatus::ErrorAttaching, &hung),
        Step::Unexport { export } if matches!(operation.kind, OperationKind::Release { .. }) => {
            release::failed(draft, operation, export, &hung);
        }
        Step::Unexport { export } if matches!(operation.kind, OperationKind::Initialize { .. }) => {
            connection::orphan(&mut draft.next, |connection| connection.export == *export);
            connection_kept(draft, operation, &hung);
        }
        Step::Unexport { .. } => match operation.kind {
            OperationKind::Disconnect { .. } | OperationKind::ServerDetach { .. } | OperationKind::SwapOut(_) => {
                connection_in_doubt(draft, operation, AttachStatus::ErrorDetaching, &hung);
            }
            OperationKind::Delete => {
                draft.tell_owner(message(operation, "017", "001", &hung));
                settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
                draft.end(operation.id, Err(Refusal::Backend(hung.text)));
            }
            OperationKind::Unmanage => manage::failed(draft, operation, &hung),
            OperationKind::Repair => {
                // The orphan stays registered; repair waits at `Drain` until the backend has answered.
                draft.run(operation.id, Step::Drain);
            }
            _ => connection_in_doubt(draft, operation, AttachStatus::ErrorAttaching, &hung),
        },
        Step::Plug { attachment_id } => {
            // The guest does not answer. Unplugging is tried once more, then the export's fence decides.
            let row_id = *attachment_id;
            if let Some(operation) = draft.operation_mut(operation.id) {
                operation.undoing = Some(hung);
            }
            draft.run(operation.id, Step::Unplug { attachment_id: row_id });
        }
        _ => failed(draft, operation, &hung),
    }
}

/// The row's export may or may not be live: the row keeps its name and an error status, and holds the volume.
pub(super) fn connection_in_doubt(draft: &mut Draft<'_>, operation: &Operation, status: AttachStatus, cause: &Cause) {
    let row_id = operation.kind.attachment_id();
    // Compute's detach of the same row may have been accepted meanwhile and wait for its turn.
    let detach_waits = draft.next.operations.iter().any(|other| {
        other.id != operation.id
            && matches!(other.kind, OperationKind::ServerDetach { attachment_id, .. } if Some(attachment_id) == row_id)
    });
    if let Some(row) = row_id.and_then(|row| draft.next.attachment_mut(row)) {
        row.attach_status = status;
        if let Some(bdm) = row.bdm.as_mut() {
            bdm.detaching = detach_waits;
        }
    }
    settle::rows_changed(&mut draft.next);
    let codes = if status == AttachStatus::ErrorDetaching { ("018", "022") } else { ("002", "021") };
    draft.tell_owner(message(operation, codes.0, codes.1, cause));
    draft.end(operation.id, Err(Refusal::Backend(cause.text.clone())));
}

/// Earlier calls were not answered in time, so the operation was never started: it ends without a trace, or in the error
/// status of its verb where the volume must not be used.
pub(super) fn drain_over(draft: &mut Draft<'_>, operation: &Operation) {
    let cause = Cause::new(CauseKind::Deadline, "an earlier call to the backend has not been answered yet");
    let id = operation.id;
    match &operation.kind {
        OperationKind::Create => failed(draft, &Operation { step: Step::Create, ..operation.clone() }, &cause),
        OperationKind::CreateFrom(_) => {
            failed(draft, &Operation { step: Step::Copy, ..operation.clone() }, &cause);
        }
        OperationKind::CreateFromImage(_) => {
            failed(draft, &Operation { step: Step::FetchImage, ..operation.clone() }, &cause);
        }
        OperationKind::Reimage(_) => failed(draft, &Operation { step: Step::Reimage, ..operation.clone() }, &cause),
        OperationKind::UploadImage(_) => {
            failed(draft, &Operation { step: Step::CreateImage, ..operation.clone() }, &cause);
        }
        OperationKind::Manage { .. } => failed(draft, &Operation { step: Step::Adopt, ..operation.clone() }, &cause),
        OperationKind::Unmanage => manage::failed(draft, operation, &cause),
        OperationKind::ManageSnapshot { snapshot_id, .. } => {
            let step = Step::AdoptSnapshot { snapshot_id: *snapshot_id };
            failed(draft, &Operation { step, ..operation.clone() }, &cause);
        }
        OperationKind::UnmanageSnapshot { snapshot_id } => {
            let step = Step::DisownSnapshot { snapshot_id: *snapshot_id };
            failed(draft, &Operation { step, ..operation.clone() }, &cause);
        }
        OperationKind::Revert { .. } => settle_ended(draft, id, Err(Refusal::Backend(cause.text))),
        OperationKind::CreateSnapshot { snapshot_id } => {
            failed(
                draft,
                &Operation { step: Step::CreateSnapshot { snapshot_id: *snapshot_id }, ..operation.clone() },
                &cause,
            );
        }
        OperationKind::DeleteSnapshot { snapshot_id } => {
            failed(
                draft,
                &Operation { step: Step::DeleteSnapshot { snapshot_id: *snapshot_id }, ..operation.clone() },
                &cause,
            );
        }
        OperationKind::Extend { .. } => {
            draft.tell_owner(message(operation, "007", "010", &cause));
            settle_ended(draft, id, Err(Refusal::Backend(cause.text)));
        }
        OperationKind::Delete => {
            draft.tell_owner(message(operation, "017", "001", &cause));
            settle::data_work_failed(&mut draft.next, VolumeStatus::ErrorDeleting);
            draft.end(id, Err(Refusal::Backend(cause.text)));
        }
        OperationKind::Connect { .. } | OperationKind::ServerAttach { .. } | OperationKind::Initialize { .. } => {
            connection_kept(draft, operation, &cause);
        }
        // Nothing of it has begun, so that nothing is in doubt: it can be asked for again.
        OperationKind::Release { .. } => draft.end(id, Err(Refusal::Backend(cause.text))),
        OperationKind::Disconnect { .. } => {
            connection_in_doubt(draft, operation, AttachStatus::ErrorDetaching, &cause);
        }
        OperationKind::ServerDetach { attachment_id, .. } => {
            roll_detaching(draft, operation, *attachment_id, &cause);
        }
        OperationKind::Replug { .. } => replug::failed(draft, operation, &cause),
        OperationKind::Repair => draft.run(id, Step::Drain),
        OperationKind::Migrate(_) => moving::gave_up(draft, operation, &cause, false),
        OperationKind::SwapIn(_) => swapping::not_begun(draft, operation, &cause),
        // It asks its backend for nothing before the swap has ended.
        OperationKind::SwapOut(_) => draft.start(id),
        // They never wait for calls to the volume's own backend.
        OperationKind::DiscardCopy { .. } | OperationKind::NotifyCompute(_) => draft.start(id),
    }
}

pub(super) fn message(operation: &Operation, action: &'static str, detail: &'static str, cause: &Cause) -> UserMessage {
    let requester = operation.requester.clone();
    UserMessage { action, detail, cause: Some(cause.text.clone()), requester, snapshot_id: None }
}

fn about_snapshot(
    operation: &Operation,
    snapshot_id: SnapshotId,
    action: &'static str,
    detail: &'static str,
    cause: &Cause,
) -> UserMessage {
    UserMessage { snapshot_id: Some(snapshot_id), ..message(operation, action, detail, cause) }
}
