//! What the actors show to `/metrics`: sums over the slots, taken beside the mailboxes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::settling::WAITERS_MAX;
use super::slot::Occupant;
use crate::telemetry::Sample;

/// Sums and bounds at this instant.
pub(super) fn samples(core: &Core) -> Vec<Sample> {
    let (mut active, mut backing_off, mut quarantined) = (0_u64, 0_u64, 0_u64);
    let (mut admitted, mut fullest, mut parked, mut queued) = (0_u64, 0_u64, 0_u64, 0_u64);
    // Not from within the directory: whoever retires a slot holds its lock while it changes the directory, and the two would
    // wait for each other.
    let slots = core.volumes.iter().map(|slot| Arc::clone(&slot)).collect::<Vec<_>>();
    for slot in &slots {
        match &*slot.occupant() {
            Occupant::Active { .. } => active += 1,
            Occupant::BackingOff { .. } => backing_off += 1,
            Occupant::Quarantined { .. } => quarantined += 1,
            Occupant::Vacant | Occupant::Retired => {}
        }
        let own = u64::from(slot.admitted());
        admitted += own;
        fullest = fullest.max(own);
        parked += u64::from(slot.parked.load(Ordering::Relaxed));
        queued += u64::from(slot.queued.load(Ordering::Relaxed));
    }
    let (restarts, missed) = (core.restarts.load(Ordering::Relaxed), core.overloads.load(Ordering::Relaxed));
    let indexed = u64::try_from(core.attachments.len()).unwrap_or(u64::MAX);
    let max_active = u64::try_from(core.options.max_active).unwrap_or(u64::MAX);
    let mut samples = vec![
        Sample::gauge("actors_active", "Volumes whose actor is active", active),
        Sample::gauge("actors_backing_off", "Volumes whose actor crashed and waits for its restart", backing_off),
        Sample::gauge("actors_quarantined", "Volumes out of service after repeated crashes", quarantined),
        Sample::gauge("requests_admitted", "Requests admitted and not answered, all volumes", admitted),
        Sample::gauge("requests_parked", "Commands parked behind a load or a commit", parked),
        Sample::gauge("requests_in_connection_queues", "Requests that wait for a connection lane", queued),
        Sample::gauge("attachments_indexed", "Attachments that are found by id without a read", indexed),
        Sample::counter("actor_restarts", "Actors that crashed", restarts),
        Sample::counter("requests_overloaded", "Requests turned away because too many of a volume waited", missed),
    ];
    samples.extend(Sample::bound("actors.max_active", "", active, max_active));
    // Per volume: the fullest one is the one that matters.
    samples.extend(Sample::bound("actors.admission", "", fullest, u64::from(core.options.admission)));
    samples.extend(Sample::bound("api.waiters", "", core.settling.waiters() as u64, WAITERS_MAX as u64));
    samples
}
