//! What can be seen of an actor, beside its mailbox: taken from the slot, never by asking the actor.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::service::ActorSummary;
use super::slot::{Occupant, VolumeSlot};
use crate::domain::operation::Operation;
use crate::domain::time::Timestamp;

/// One line of the list.
pub(super) fn summary(slot: &VolumeSlot) -> ActorSummary {
    let view = slot.last_view();
    ActorSummary {
        volume_id: slot.volume_id,
        state: state_of(slot),
        status: view.as_ref().map(|view| view.volume.status.to_string()),
        generation: view.as_ref().map(|view| view.volume.generation),
        admitted: slot.admitted(),
        restarts: slot.restarts(),
        operations: view.as_ref().map_or_else(Vec::new, |view| {
            let line = |operation: &Operation| {
                format!("{} {} #{}", operation.kind.name(), operation.step.name(), operation.attempt)
            };
            view.operations.iter().map(line).collect()
        }),
    }
}

/// How long an operation's present step may take, given the volume's host.
pub(super) type Deadline<'a> = &'a dyn Fn(Option<&str>, &Operation) -> Option<Duration>;

/// How far the copy of an operation's present step is, in per cent.
pub(super) type Progress<'a> = &'a dyn Fn(&Operation) -> Option<u64>;

/// Everything about one actor.
pub(super) fn inspect(slot: &VolumeSlot, now: Timestamp, deadline: Deadline<'_>, progress: Progress<'_>) -> Value {
    let view = slot.last_view();
    // Labelled by how far it can be trusted: a commit in flight makes it stale, a crashed actor leaves a post-mortem.
    let label = match (state_of(slot), slot.fresh_view().is_some()) {
        ("active", true) => "fresh",
        ("active", false) => "stale",
        _ => "post-mortem",
    };
    let operations = view.as_ref().map_or_else(Vec::new, |view| {
        let host = view.volume.host.as_deref();
        let describe = |operation: &Operation| {
            json!({
                "id": operation.id,
                "kind": operation.kind.name(),
                "epoch": operation.epoch,
                "step": operation.step.name(),
                "attempt": operation.attempt,
                "probing": operation.probing.is_some(),
                "undoing": operation.undoing.as_ref().map(|cause| cause.text.clone()),
                "request_id": operation.requester.request_id,
                "age_seconds": now.since(operation.started_at).as_secs_f64(),
                "step_age_seconds": now.since(operation.step_started_at).as_secs_f64(),
                "step_deadline_seconds": deadline(host, operation).map(|deadline| deadline.as_secs_f64()),
                "progress_percent": progress(operation),
            })
        };
        view.operations.iter().map(describe).collect()
    });
    json!({
        "volume_id": slot.volume_id,
        "observation": label,
        "state": state_of(slot),
        "status": view.as_ref().map(|view| view.volume.status),
        "generation": view.as_ref().map(|view| view.volume.generation),
        "epoch": view.as_ref().map(|view| view.volume.epoch),
        "mailbox": {
            "admitted": slot.admitted(),
            "parked": slot.parked.load(Ordering::Relaxed),
            "connection_queue": slot.queued.load(Ordering::Relaxed),
        },
        "operations": operations,
        "outstanding_calls": view.as_ref().map(|view| view.volume.outstanding.len()),
        "orphan_exports": view.as_ref().map(|view| view.volume.orphan_exports.clone()),
        "connections": view.as_ref().map(|view| view.volume.connections().iter().map(|own| &own.host).cloned().collect::<Vec<_>>()),
        "marker": view.as_ref().map(|view| view.volume.claims.as_ref().map(|claims| claims.marker.clone())),
        "restarts": slot.restarts(),
        "idle_seconds": now.since(slot.last_used()).as_secs_f64(),
    })
}

fn state_of(slot: &VolumeSlot) -> &'static str {
    match &*slot.occupant() {
        Occupant::Vacant => "vacant",
        Occupant::Active { .. } => "active",
        Occupant::Retired => "retired",
        Occupant::BackingOff { .. } => "backing_off",
        Occupant::Quarantined { .. } => "quarantined",
    }
}
