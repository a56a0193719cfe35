//! Compute's swap of two volumes under one guest (`spec/nova-volume-attachments.md` §5): what the new volume admits, and the part of
//! the old one. The new volume leads ([`super::swapping`]): it exists with its intent and its row before the old one hears of it.
//! The old one records that it has left its guest's disk, and waits; whoever finds that after a crash can look whether the swap is still
//! there. It is told how the swap ended before the new volume's operation ends, so that where there is none the guest has stayed.

use super::attachment::{may_attach, new_row};
use super::draft::Draft;
use super::{image, results, settle, steps};
use crate::domain::attachment::{AttachMode, Attachment};
use crate::domain::ids::{AttachmentId, OperationId, ServerId};
use crate::domain::operation::{Lane, OperationKind, Step};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::swap::{SwapIn, SwapOut, YieldedDisk};
use crate::domain::volume::command::{Caller, Facts, Job, Refusal, ServerSwap, SwapWord, Verdict, YieldDisk};
use crate::domain::volume::state::VolumeState;

/// Source statuses of the volume that comes.
pub const SWAPPABLE_IN: &[VolumeStatus] = &[VolumeStatus::Available];
/// Source statuses of the volume that goes.
pub const SWAPPABLE_OUT: &[VolumeStatus] = &[VolumeStatus::InUse];

/// At the new volume: its row and its intent in one step. Answered when the old volume has said yes or no (§5, rows 11 and 12).
pub(super) fn take(state: &VolumeState, request: &ServerSwap, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    if let Some(bdm) = state.attachments.iter().find_map(|row| row.bdm.as_ref()) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "volume {} is already attached to instances: {}",
            volume.id, bdm.server_id
        )));
    }
    if let Err(refusal) = may_attach(state, None) {
        return Verdict::Refuse(refusal);
    }
    // Everything that it holds is written over: nobody reads it, changes it or has it connected (P5, R-55).
    let is_held = state.attachments.iter().any(Attachment::holds_volume) || !volume.connections().is_empty();
    let is_worked_on = state.operation_in(Lane::Data).is_some() || state.operation_in(Lane::Snapshot).is_some();
    if !SWAPPABLE_IN.contains(&volume.status) || is_held || is_worked_on || !volume.loans.is_empty() {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "volume {} status must be available, and nobody may use or read it, to be swapped to, but the current status is {}",
            volume.id, volume.status
        )));
    }
    if let Some(refusal) = image::refuse_connect(state) {
        return Verdict::Refuse(refusal);
    }
    if steps::is_readonly(state) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!("volume {} is read-only", volume.id)));
    }
    if state.operation_in(Lane::Connection).is_some() {
        // Repair of an old export goes first: two hosts are never connected at once.
        return Verdict::Queue;
    }
    let mut draft = Draft::of(state, caller, facts);
    // Compute's half stays with the old row until the guest has moved.
    let row = new_row(state, AttachmentId(facts.ids[1]), Some(request.server_id.clone()), None, facts);
    let attachment_id = row.id;
    draft.next.attachments.reserve_exact(1);
    draft.next.attachments.push(row);
    draft.speak_of(attachment_id);
    draft.guard_server(request.server_id.clone(), request.server_epoch);
    let swap = SwapIn {
        attachment_id,
        server_id: request.server_id.clone(),
        old_volume: request.old_volume,
        disk: None,
        connection_info: None,
    };
    let id = draft.begin(OperationKind::SwapIn(Box::new(swap)), 0);
    draft.reply_when_ended(id);
    settle::rows_changed(&mut draft.next);
    draft.finish()
}

/// At the old volume: a word of the new one.
pub(super) fn word(state: &VolumeState, word: &SwapWord, caller: &Caller, facts: &Facts) -> Verdict {
    match word {
        SwapWord::Yield(asked) => leave(state, asked, caller, facts),
        SwapWord::Moved { swap } => moved(state, *swap, caller, facts),
        SwapWord::Stays { swap } => stays(state, *swap, caller, facts),
    }
}

/// Why a server's volume cannot be left to one of `size_gib` (§5, rows 7 to 10).
pub fn refusal(state: &VolumeState, server: &ServerId, size_gib: u32) -> Option<Refusal> {
    let volume = &state.volume;
    if size_gib < volume.size_gib {
        return Some(Refusal::InvalidInput("New volume must be the same size or larger.".to_owned()));
    }
    // The word may have been set by hand; work counts all the same (P5).
    let is_busy = state.migration().is_some() || state.swap().is_some() || state.operation_in(Lane::Data).is_some();
    if !SWAPPABLE_OUT.contains(&volume.status) || volume.attach_status != AttachStatus::Attached || is_busy {
        return Some(Refusal::InvalidVolume(format!(
            "volume {} status must be in-use and attached to detach, but the current status is {}",
            volume.id, volume.status
        )));
    }
    // Looked at before anything changes.
    let writers = state.attachments.iter().filter(|row| row.attach_mode != Some(AttachMode::ReadOnly));
    if writers.count() > 1 {
        return Some(Refusal::InvalidVolume(format!("volume {} has more than one writer", volume.id)));
    }
    let Some(row) = state.attachment_of_server(server) else {
        return Some(Refusal::NotAttached(format!("instance {server} is not attached to volume {}", volume.id)));
    };
    let is_whole = row.attach_status == AttachStatus::Attached && row.export.is_some() && row.connector.is_some();
    let is_leaving = row.bdm.as_ref().is_some_and(|bdm| bdm.detaching);
    let is_worked_on = state.operations.iter().any(|operation| operation.kind.attachment_id() == Some(row.id));
    if !is_whole || is_leaving || is_worked_on {
        return Some(Refusal::InvalidVolume(format!("attachment {} of volume {} is not in use", row.id, volume.id)));
    }
    None
}

fn leave(state: &VolumeState, asked: &YieldDisk, caller: &Caller, facts: &Facts) -> Verdict {
    if let Some(operation) = state.operations.iter().find(|operation| waits_for(&operation.kind, asked.swap)) {
        // The new volume asks again, because it did not hear the answer. One that has been answered otherwise since is told nothing.
        return match operation.step {
            Step::Yielded => Verdict::Nothing { jobs: watch(&operation.kind), attachment_id: None },
            _ => Verdict::Refuse(Refusal::Conflict("the swap is over".to_owned())),
        };
    }
    if let Some(refusal) = refusal(state, &asked.server_id, asked.size_gib) {
        return Verdict::Refuse(refusal);
    }
    if state.operation_in(Lane::Connection).is_some() {
        return Verdict::Queue;
    }
    let Some(row_id) = state.attachment_of_server(&asked.server_id).map(|row| row.id) else {
        return Verdict::Refuse(Refusal::NotAttached(format!("instance {} is not attached", asked.server_id)));
    };
    let mut draft = Draft::of(state, caller, facts);
    draft.speak_of(row_id);
    let swap = SwapOut {
        attachment_id: row_id,
        server_id: asked.server_id.clone(),
        new_volume: asked.new_volume,
        swap: asked.swap,
    };
    draft.begin(OperationKind::SwapOut(Box::new(swap)), 0);
    settle::rows_changed(&mut draft.next);
    draft.finish()
}

/// The guest reads and writes the new volume: nothing of this one is in it any more, and Compute does not speak of it.
fn moved(state: &VolumeState, swap: OperationId, caller: &Caller, facts: &Facts) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    if let Some(operation) = waiting(state, swap)
        && let Some(row_id) = operation.kind.attachment_id()
    {
        if let Some(row) = draft.next.attachment_mut(row_id) {
            row.bdm = None;
        }
        // The end of the server is asked of the row that has its guest now.
        let detaches = |kind: &OperationKind| matches!(kind, OperationKind::ServerDetach { attachment_id, .. } if *attachment_id == row_id);
        for waiting in state.operations.iter().filter(|other| detaches(&other.kind)) {
            draft.end(waiting.id, Ok(()));
        }
        results::unexport_row(&mut draft, operation.id, row_id);
    }
    draft.finish()
}

/// Nothing has happened: the guest has what it had.
fn stays(state: &VolumeState, swap: OperationId, caller: &Caller, facts: &Facts) -> Verdict {
    let mut draft = Draft::of(state, caller, facts);
    if let Some(operation) = waiting(state, swap) {
        draft.end(operation.id, Err(Refusal::Conflict("the volume was not swapped".to_owned())));
        settle::rows_changed(&mut draft.next);
    }
    draft.finish()
}

/// The disk that this volume has left to a swap; none: it has not, or not any more.
pub fn yielded_disk(state: &VolumeState, swap: OperationId) -> Option<YieldedDisk> {
    let row = waiting(state, swap).and_then(|operation| state.attachment(operation.kind.attachment_id()?))?;
    let mut mapping = row.bdm.clone()?;
    mapping.guest_device = Some(row.device_id());
    mapping.detaching = false;
    Some(YieldedDisk {
        mapping,
        mode: steps::effective_mode(state, row.attach_mode, None),
        connector: row.connector.clone()?,
        size_gib: state.volume.size_gib,
    })
}

/// Whether the end of the server was asked of a volume that has left its guest to this swap.
fn is_server_gone(state: &VolumeState, swap: OperationId) -> bool {
    let Some(row) = state.operations.iter().find(|operation| waits_for(&operation.kind, swap)) else { return false };
    let row = row.kind.attachment_id();
    let goes = |kind: &OperationKind| matches!(kind, OperationKind::ServerDetach { server_gone: true, .. });
    state.operations.iter().any(|other| goes(&other.kind) && other.kind.attachment_id() == row)
}

/// What an operation that waits for the new volume does meanwhile: it looks whether the swap is still there, and asks for its guest when
/// the server is gone.
pub(super) fn jobs(state: &VolumeState, kind: &OperationKind) -> Vec<Job> {
    let mut jobs = watch(kind);
    if let Some(swap) = kind.swap_out().filter(|swap| is_server_gone(state, swap.swap)) {
        jobs.push(Job::CallOffSwap { new_volume: swap.new_volume, swap: swap.swap });
    }
    jobs
}

fn watch(kind: &OperationKind) -> Vec<Job> {
    let watched = kind.swap_out().map(|swap| Job::WatchSwap { new_volume: swap.new_volume, swap: swap.swap });
    watched.into_iter().collect()
}

/// An administrator, or the end of the server, wants this volume's part ended. Only the new volume knows how far it is.
pub(super) fn ask_back(draft: &mut Draft<'_>, kind: &OperationKind) {
    if let Some(swap) = kind.swap_out() {
        draft.start_job(Job::CallOffSwap { new_volume: swap.new_volume, swap: swap.swap });
    }
}

fn waits_for(kind: &OperationKind, swap: OperationId) -> bool {
    kind.swap_out().is_some_and(|own| own.swap == swap)
}

fn waiting(state: &VolumeState, swap: OperationId) -> Option<&crate::domain::operation::Operation> {
    state.operations.iter().find(|operation| waits_for(&operation.kind, swap) && operation.step == Step::Yielded)
}
