//! When two worlds are the same: everything that what follows can depend on. Generations, instants and words for people are
//! left out.

use std::hash::{DefaultHasher, Hash, Hasher};

use hearth::domain::attachment::Attachment;
use hearth::domain::backend::{Answer, Outcome};
use hearth::domain::document::Document;
use hearth::domain::operation::{Operation, OperationKind};
use hearth::domain::volume::command::SwapWord;
use hearth::domain::volume::{Job, JobTarget, VolumeState};

use super::world::{Pending, World};

impl World {
    /// Equal for worlds that are the same.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let into = &mut hasher;
        self.volume.as_deref().inspect(|state| hash_state(state, into));
        for backend in [&self.truths.here, &self.truths.there] {
            (backend.size_gib, &backend.exports, &backend.snapshots, &backend.fenced, &backend.objects).hash(into);
            (backend.is_filled, &backend.images, &backend.discarded).hash(into);
            (backend.moved_by, backend.removed, backend.written).hash(into);
        }
        (&self.truths.devices, &self.truths.mirrors, &self.truths.stopped).hash(into);
        hash_unordered(&self.truths.running, into, |running, into| {
            (&running.call.key, running.call.request.name(), &running.guest, running.is_heard).hash(into);
            running.is_here.hash(into);
        });
        let outstanding = self.volume.as_deref().map_or(&[][..], |state| &state.volume.outstanding);
        hash_unordered(&self.jobs, into, |pending, into| {
            hash_pending(pending, into);
            if let Job::ProbeOutstanding { asked_at, .. } = &pending.job {
                // which calls the look can speak of
                outstanding.iter().for_each(|call| (call.recorded_at <= *asked_at).hash(into));
            }
        });
        hash_unordered(&self.late, into, |(id, epoch, step, outcome), into| {
            (id, epoch, step).hash(into);
            hash_outcome(outcome, into);
        });
        for (command, caller) in &self.queue {
            // the arguments follow from the row and the connector; their text is short
            format!("{command:?}").hash(into);
            caller.is_service.hash(into);
        }
        (&self.waiting, self.is_down, self.left, self.asked, &self.ghost).hash(into);
        hasher.finish()
    }
}

fn hash_unordered<T>(items: &[T], into: &mut DefaultHasher, hash_one: impl Fn(&T, &mut DefaultHasher)) {
    let mut hashes = items
        .iter()
        .map(|item| {
            let mut hasher = DefaultHasher::new();
            hash_one(item, &mut hasher);
            hasher.finish()
        })
        .collect::<Vec<_>>();
    hashes.sort_unstable();
    hashes.hash(into);
}

fn hash_state(state: &VolumeState, into: &mut DefaultHasher) {
    let volume = &state.volume;
    (volume.epoch, volume.size_gib, volume.status, volume.attach_status, volume.multiattach, volume.deleted).hash(into);
    (&volume.name, &volume.migration_status, &volume.orphan_exports, &volume.host, volume.volume_type_id).hash(into);
    volume.bootable.hash(into);
    for call in &volume.outstanding {
        call.key.hash(into);
    }
    if let Some(claims) = &volume.claims {
        claims.marker.as_ref().map(|marker| marker.kind).hash(into);
        for connection in &claims.connections {
            (connection.id, &connection.host, connection.mode, &connection.export).hash(into);
            connection.connection_info.is_some().hash(into);
        }
    }
    state.attachments.len().hash(into);
    for row in &state.attachments {
        hash_row(row, into);
    }
    for snapshot in &state.snapshots {
        (snapshot.id, snapshot.status, snapshot.size_gib).hash(into);
    }
    for operation in &state.operations {
        hash_operation(operation, into);
    }
}

fn hash_row(row: &Attachment, into: &mut DefaultHasher) {
    (row.id, &row.instance_uuid, &row.attached_host, row.attach_status, row.attach_mode, &row.export).hash(into);
    (row.is_connected(), host(row.connector.as_ref())).hash(into);
    row.bdm.as_ref().map(|bdm| (&bdm.server_id, bdm.detaching, bdm.guest_device)).hash(into);
}

fn host(connector: Option<&Document>) -> Option<String> {
    connector.and_then(|connector| connector.text("host"))
}

fn hash_operation(operation: &Operation, into: &mut DefaultHasher) {
    (
        operation.id,
        operation.epoch,
        operation.kind.name(),
        operation.kind.attachment_id(),
        operation.kind.snapshot_id(),
    )
        .hash(into);
    (&operation.step, operation.attempt, operation.is_repeated, operation.reserved_gib).hash(into);
    operation.probing.as_ref().map(|probing| (probing.attempt, probing.cause.kind)).hash(into);
    operation.undoing.as_ref().map(|cause| cause.kind).hash(into);
    operation.previous_status.hash(into);
    match &operation.kind {
        OperationKind::Extend { new_size_gib } => new_size_gib.hash(into),
        OperationKind::Manage { size_gib, .. } => size_gib.hash(into),
        OperationKind::Connect { connector, row_is_new, .. } => (host(Some(connector)), row_is_new).hash(into),
        OperationKind::Initialize { connection_id, connector, mode } => {
            (connection_id, host(Some(connector)), mode).hash(into);
        }
        OperationKind::Replug { connector, .. } => host(Some(connector)).hash(into),
        OperationKind::Release { verb, connections, .. } => (verb, connections).hash(into),
        OperationKind::ServerDetach { server_gone, .. } => server_gone.hash(into),
        OperationKind::Revert { snapshot_id } => snapshot_id.hash(into),
        OperationKind::Migrate(migration) => (&migration.destination, migration.connection_info.is_some()).hash(into),
        OperationKind::SwapIn(swap) => (swap.disk.is_some(), swap.connection_info.is_some()).hash(into),
        OperationKind::SwapOut(swap) => swap.swap.hash(into),
        OperationKind::DiscardCopy { backend, exports } => (backend, exports).hash(into),
        _ => {}
    }
}

fn hash_pending(pending: &Pending, into: &mut DefaultHasher) {
    match &pending.job {
        Job::Step { ticket, target, call, .. } => {
            (ticket.operation_id, ticket.epoch, &ticket.step, ticket.attempt, ticket.probe).hash(into);
            match target {
                JobTarget::Backend(name) => name.hash(into),
                JobTarget::Guest(server) => server.hash(into),
                JobTarget::Timer => 1.hash(into),
            }
            call.as_ref().map(|call| call.request.name()).hash(into);
        }
        Job::ProbeOutstanding { .. } => 2.hash(into),
        Job::TellOld { ticket, word, .. } => {
            (ticket.operation_id, ticket.epoch, &ticket.step, matches!(word, SwapWord::Yield(_))).hash(into);
        }
        Job::WatchSwap { swap, .. } => swap.hash(into),
        Job::Borrow { .. }
        | Job::WatchBorrower { .. }
        | Job::GiveBack { .. }
        | Job::CallOffSwap { .. }
        | Job::NotifyCompute { .. }
        | Job::CutOff { .. } => 3.hash(into),
    }
    if let Some(answer) = &pending.answer {
        hash_outcome(answer, into);
    }
}

fn hash_outcome(outcome: &Outcome, into: &mut DefaultHasher) {
    match outcome {
        Outcome::Done { answer } => match answer {
            Answer::Nothing => 0.hash(into),
            Answer::Size { size_gib } => (1, size_gib).hash(into),
            Answer::Connection { .. } => 2.hash(into),
            Answer::Truth { truth } => {
                (truth.exists, truth.size_gib, &truth.exports, &truth.snapshots, truth.busy).hash(into)
            }
            Answer::Objects { objects } => (7, objects.len()).hash(into),
            Answer::Plugged { plugged, export } => (3, plugged, export).hash(into),
        },
        Outcome::Refused { cause } => (4, cause.kind).hash(into),
        Outcome::Failed { cause } => (5, cause.kind).hash(into),
        Outcome::Unknown { cause } => (6, cause.kind).hash(into),
    }
}
