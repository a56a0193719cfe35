//! What a decision about a volume is for servers: their actions begin and end in the commits that they tell of
//! (`spec/nova-volume-attachments.md` §8.2).

use uuid::Uuid;

use crate::domain::ids::AttachmentId;
use crate::domain::operation::Operation;
use crate::domain::server_action::{ActingPart, ServerAction, ServerActionEnd, ServerActionKind};
use crate::domain::time::Timestamp;
use crate::domain::volume::command::Decision;
use crate::domain::volume::{Caller, Command, VolumeState};
use crate::store::ActionChange;

/// The changes that go with the commit of `decision`. Mostly none, and then nothing is allocated.
pub(super) fn told(
    state: Option<&VolumeState>,
    command: &Command,
    caller: &Caller,
    decision: &Decision,
    now: Timestamp,
    new_id: impl FnOnce() -> Uuid,
) -> Vec<ActionChange> {
    let mut changes = Vec::new();
    let next = &*decision.next;
    let before = state.map(|state| state.operations.as_slice()).unwrap_or_default();
    for operation in before {
        let Some(part) = acting(operation, state) else { continue };
        let goes_on = |after: &Operation| acting(after, Some(next)).is_some_and(|after| after.id == part.id);
        if !next.operations.iter().any(goes_on) {
            let end = ServerActionEnd { at: now, failure: failure(operation, &part, decision) };
            changes.push(ActionChange::End {
                id: part.id,
                server_id: part.server_id.clone(),
                started_at: part.started_at,
                end,
            });
        }
    }
    let mut begins = false;
    for operation in &next.operations {
        let Some(part) = acting(operation, Some(next)) else { continue };
        let was_there = |before: &Operation| acting(before, state).is_some_and(|before| before.id == part.id);
        if !before.iter().any(was_there) {
            begins = true;
            changes.push(ActionChange::Begin(ServerAction {
                id: part.id,
                server_id: part.server_id.clone(),
                kind: part.kind,
                requester: operation.requester.clone(),
                started_at: part.started_at,
                end: None,
            }));
        }
    }
    // A server without a host: all is done in this commit.
    let (server_id, kind) = match command {
        Command::ServerAttach(request) if !request.is_boot => (&request.server_id, ServerActionKind::AttachVolume),
        Command::ServerDetach { server_id, server_gone: false } => (server_id, ServerActionKind::DetachVolume),
        _ => return changes,
    };
    if !begins {
        changes.push(ActionChange::Begin(ServerAction {
            id: new_id(),
            server_id: server_id.clone(),
            kind,
            requester: caller.requester.clone(),
            started_at: now,
            end: Some(ServerActionEnd { at: now, failure: None }),
        }));
    }
    changes
}

fn acting<'a>(operation: &'a Operation, state: Option<&'a VolumeState>) -> Option<ActingPart<'a>> {
    operation.acting(|row: AttachmentId| state?.attachment(row)?.bdm.as_ref().map(|bdm| &bdm.server_id))
}

/// Why what `part` tells of has failed, if it has.
fn failure(operation: &Operation, part: &ActingPart<'_>, decision: &Decision) -> Option<String> {
    if part.id != operation.id.0 {
        return decision.cause.clone().filter(|cause| !cause.is_empty());
    }
    let ended = decision.ended.iter().rev().find(|(id, _)| *id == operation.id);
    match ended {
        Some((_, answer)) => answer.as_ref().err().map(ToString::to_string),
        None => operation.undoing.as_ref().map(|cause| cause.text.clone()),
    }
}
