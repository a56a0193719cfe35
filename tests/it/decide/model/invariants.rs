//! The promises (`spec/races.md` §5), looked at after everything that happens.

use std::collections::BTreeSet;

use hearth::domain::claims::MarkerKind;
use hearth::domain::ids::ExportName;
use hearth::domain::operation::{Lane, Operation, OperationKind, Step};
use hearth::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use hearth::domain::volume::command::Ticket;
use hearth::domain::volume::{Command, Decision, Job, Verdict, VolumeState};

use super::backend::Backend;
use super::world::{Broken, World};

macro_rules! hold {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}

/// What a decision may be, whatever the world is.
pub fn of_verdict(before: Option<&VolumeState>, command: &Command, verdict: &Verdict) -> Result<(), Broken> {
    if is_late(before, command) {
        // A late message starts a look at the truth at most (I3, races.md §5.8).
        hold!(matches!(verdict, Verdict::Nothing { .. }), "a late message changed the volume: {command:?}");
    }
    let Verdict::Commit(decision) = verdict else { return Ok(()) };
    of_operations(before, decision)?;
    of_failed_creates(before, command, decision)?;
    of_usage(before, command, decision)?;
    if let Some(before) = before {
        hold!(decision.next.volume.generation == before.volume.generation + 1, "the generation is not the next one");
        hold!(decision.next.volume.size_gib >= before.volume.size_gib, "the size decreases");
    }
    Ok(())
}

fn is_late(before: Option<&VolumeState>, command: &Command) -> bool {
    let waits_for =
        |is_meant: &dyn Fn(&Operation) -> bool| before.is_some_and(|state| state.operations.iter().any(is_meant));
    match command {
        Command::JobResult { ticket, .. } => !waits_for(&|operation| {
            ticket_of(operation) == *ticket
                || !ticket.probe && operation.id == ticket.operation_id && operation.step == ticket.step
        }),
        Command::SwapAnswered { ticket, .. } => !waits_for(&|operation| ticket_of(operation) == *ticket),
        Command::CallReturned { operation_id, epoch, step, .. } => !waits_for(&|operation| {
            operation.id == *operation_id && operation.epoch == *epoch && operation.step == *step
        }),
        _ => false,
    }
}

/// The ticket of the job that is under way for the operation.
pub fn ticket_of(operation: &Operation) -> Ticket {
    Ticket {
        operation_id: operation.id,
        epoch: operation.epoch,
        step: operation.step.clone(),
        attempt: operation.probing.as_ref().map_or(operation.attempt, |probing| probing.attempt),
        probe: operation.probing.is_some(),
    }
}

fn of_operations(before: Option<&VolumeState>, decision: &Decision) -> Result<(), Broken> {
    let next = &decision.next;
    let old_epoch = before.map_or(0, |before| before.volume.epoch);
    hold!(next.volume.epoch >= old_epoch, "the epoch decreases");
    hold!(next.operations.windows(2).all(|pair| pair[0].epoch < pair[1].epoch), "epochs are not in order");
    for operation in &next.operations {
        let known = before.is_some_and(|before| before.operations.iter().any(|old| old.id == operation.id));
        hold!(known || operation.epoch > old_epoch, "the epoch of a new operation is not a new one");
        hold!(operation.epoch <= next.volume.epoch, "an operation's epoch is ahead of its volume's");
    }
    for lane in [Lane::Data, Lane::Snapshot, Lane::Connection, Lane::Cleanup, Lane::Notice] {
        let mut of_lane = next.operations.iter().filter(|operation| operation.kind.lane() == lane);
        // Work that changes the data as a whole waits for snapshots that are being taken.
        let waits = match lane {
            Lane::Data => {
                let is_used = next.operation_in(Lane::Connection).is_some();
                next.operation_in(Lane::Snapshot).is_some() || is_used && next.migration().is_some()
            }
            // A guest that is just being moved is detached afterwards.
            Lane::Connection => next.migration().is_some(),
            _ => false,
        };
        hold!(of_lane.next().is_none_or(|first| first.step != Step::Queued || waits), "the first of a lane is queued");
        hold!(of_lane.all(|later| later.step == Step::Queued), "two operations run in one lane");
    }
    for job in &decision.jobs {
        if let Job::Step { ticket, .. } = job {
            hold!(
                next.operations.iter().any(|operation| ticket_of(operation) == *ticket),
                "a job without its operation"
            );
        }
    }
    // Whoever waits for an operation is answered when it leaves; for an image, when the image is there or never will be.
    for old in before.iter().flat_map(|before| &before.operations) {
        let is_answered_early = matches!(old.step, Step::CreateImage | Step::Yield);
        let goes_on = next.operations.iter().any(|operation| operation.id == old.id && operation.step == old.step)
            || !is_answered_early && next.operations.iter().any(|operation| operation.id == old.id);
        hold!(
            goes_on != decision.ended.iter().any(|(ended, _)| *ended == old.id),
            "the {} operation left without a word, or ended and stayed",
            old.kind.name()
        );
    }
    Ok(())
}

/// Nobody knows the id of a row whose create has failed: it goes with the answer, unless its export is in doubt or an
/// administrator has cut the work off.
fn of_failed_creates(before: Option<&VolumeState>, command: &Command, decision: &Decision) -> Result<(), Broken> {
    let is_failed = |id| decision.ended.iter().any(|(ended, answer)| *ended == id && answer.is_err());
    for operation in before.iter().flat_map(|before| &before.operations).filter(|operation| is_failed(operation.id)) {
        if let OperationKind::Connect { attachment_id, row_is_new: true, .. } = operation.kind {
            let row = decision.next.attachment(attachment_id);
            let in_doubt = row.is_some_and(|row| row.attach_status.is_error() && row.export.is_some());
            let cut_off = matches!(command, Command::ResetStatus { .. } | Command::ForceDetach { .. });
            hold!(row.is_none() || in_doubt || cut_off, "a create of an attachment failed and left its row");
        }
    }
    Ok(())
}

fn of_usage(before: Option<&VolumeState>, command: &Command, decision: &Decision) -> Result<(), Broken> {
    let next = &decision.next;
    for operation in &next.operations {
        let growth = match operation.kind {
            // the volume's own size counts from the moment it has grown
            OperationKind::Extend { new_size_gib } => new_size_gib.saturating_sub(next.volume.size_gib),
            OperationKind::Manage { size_gib, .. } => size_gib,
            _ => 0,
        };
        hold!(operation.reserved_gib == growth, "{} GiB reserved for {growth} GiB", operation.reserved_gib);
    }
    let usage = next.usage();
    let expected = if next.volume.deleted { (0, 0) } else { (1, i64::from(next.volume.size_gib)) };
    hold!((usage.volumes, usage.gigabytes) == expected, "the usage is not the volume's");
    let growth = usage.minus(before.map(VolumeState::usage).unwrap_or_default());
    let wished = matches!(
        command,
        Command::Create(_) | Command::Extend { .. } | Command::SnapshotCreate(_) | Command::Retype(_)
    );
    let gigabytes = growth.gigabytes + growth.snapshot_gigabytes + growth.reserved_gigabytes;
    let grows = growth.volumes > 0 || growth.snapshots > 0 || gigabytes > 0;
    hold!(!wished || !grows || decision.limits.is_some(), "a wish for more is not judged");
    hold!(wished || decision.limits.is_none(), "a fact is judged");
    Ok(())
}

/// What is true of the world at every moment.
pub fn of_world(world: &World) -> Result<(), Broken> {
    let Some(state) = &world.volume else { return Ok(()) };
    if !world.ghost.was_lied_to {
        of_backend(world, state)?;
    }
    if state.volume.deleted {
        return Ok(());
    }
    plain_volumes_have_one_server(state)?;
    every_word_has_an_owner(world, state)?;
    every_operation_has_its_word(world, state)?;
    if !world.is_down {
        every_operation_is_carried_out(world, state)?;
    }
    Ok(())
}

/// What is true of the backend as long as it says the truth.
fn of_backend(world: &World, state: &VolumeState) -> Result<(), Broken> {
    let has = |backend: &Backend| backend.size_gib.is_some() || !backend.objects.is_empty();
    let is_there = has(world.home()) || has(world.away());
    hold!(is_there || !world.ghost.keeps_data, "data are lost that nobody has asked to delete");
    if state.volume.deleted {
        for backend in [world.home(), world.away()] {
            hold!(backend.size_gib.is_none(), "the volume is deleted and exists at a backend");
            hold!(backend.exports.is_empty(), "the volume is deleted and exported");
            hold!(backend.snapshots.is_empty(), "the volume is deleted and has snapshots (R-54)");
        }
        return Ok(());
    }
    no_two_writers(world, state)?;
    what_is_elsewhere_is_accounted_for(world, state)?;
    every_export_is_accounted_for(world, state)?;
    every_call_is_known(world, state)
}

/// No work on the data goes on that no operation owns and that is not on record as outstanding: it would run beside new work.
/// Of exports only the name counts.
fn every_call_is_known(world: &World, state: &VolumeState) -> Result<(), Broken> {
    let on_data = |step: &Step| {
        matches!(
            step,
            Step::Create
                | Step::Adopt
                | Step::Disown
                | Step::AdoptSnapshot { .. }
                | Step::DisownSnapshot { .. }
                | Step::Extend
                | Step::Delete
                | Step::Revert
                | Step::FetchImage
                | Step::Reimage
                | Step::UploadImage
                | Step::CreateSnapshot { .. }
                | Step::DeleteSnapshot { .. }
        )
    };
    let at_home = world.truths.running.iter().filter(|running| running.guest.is_none() && world.is_home(running));
    for running in at_home.filter(|running| on_data(&running.call.key.step)) {
        let key = &running.call.key;
        let is_known = state.operations.iter().any(|operation| operation.id == key.operation_id)
            || state.volume.outstanding.iter().any(|call| call.key == *key);
        hold!(is_known, "nobody knows of the {} that goes on at the backend", key.step.name());
    }
    Ok(())
}

/// I1, judged by the backend.
fn no_two_writers(world: &World, state: &VolumeState) -> Result<(), Broken> {
    let consumers = world.truths.exports().map(|(_, consumer)| consumer).collect::<Vec<_>>();
    let is_shared = consumers.iter().any(|one| consumers.iter().any(|other| one.is_another(other)));
    hold!(state.volume.multiattach || !is_shared, "a plain volume is exported to {consumers:?}");
    Ok(())
}

/// No export that nobody would ever remove.
fn every_export_is_accounted_for(world: &World, state: &VolumeState) -> Result<(), Broken> {
    for export in world.home().exports.keys() {
        let owned = state.attachments.iter().any(|row| row.export.as_ref() == Some(export))
            || is_of_connection(state, export)
            || state.volume.orphan_exports.contains(export);
        let in_doubt = state.volume.outstanding.iter().any(
            |call| matches!(&call.key.step, Step::Export { export: of } | Step::Unexport { export: of } if of == export),
        );
        hold!(owned || in_doubt, "nobody owns the live export {export}");
    }
    Ok(())
}

/// What the other backend has of the volume belongs to the migration that makes it, or to the operation that removes it.
fn what_is_elsewhere_is_accounted_for(world: &World, state: &VolumeState) -> Result<(), Broken> {
    let away = world.away();
    let is_worked_on = state.operations.iter().any(|operation| operation.kind.other_backend().is_some());
    hold!(is_worked_on || away.size_gib.is_none(), "nobody removes what the other backend has");
    hold!(is_worked_on || away.exports.is_empty(), "nobody ends the exports of the other backend");
    Ok(())
}

/// Whether a connection of a host answers for the export.
fn is_of_connection(state: &VolumeState, export: &ExportName) -> bool {
    state.volume.connections().iter().any(|connection| connection.export == *export)
}

/// races.md §5.1: a plain volume is attached to one server.
fn plain_volumes_have_one_server(state: &VolumeState) -> Result<(), Broken> {
    let attached = state.attachments.iter().filter(|row| row.attach_status == AttachStatus::Attached);
    let servers = attached.map(|row| &row.instance_uuid).collect::<BTreeSet<_>>();
    hold!(state.volume.multiattach || servers.len() <= 1, "a plain volume is attached to {servers:?}");
    Ok(())
}

/// I2: a transitional word is owned by an operation or a row, unless an administrator has set it.
fn every_word_has_an_owner(world: &World, state: &VolumeState) -> Result<(), Broken> {
    let volume = &state.volume;
    let holders = || state.attachments.iter().filter(|row| row.holds_volume());
    let runs = |is_meant: &dyn Fn(&OperationKind) -> bool| {
        state.operation_in(Lane::Data).is_some_and(|operation| is_meant(&operation.kind))
    };
    if world.ghost.status_by_hand != Some(volume.status) {
        let has_owner = match volume.status {
            VolumeStatus::Creating => runs(&|kind| kind.creates_volume()),
            VolumeStatus::Downloading => {
                runs(&|kind| matches!(kind, OperationKind::CreateFromImage(_) | OperationKind::Reimage(_)))
            }
            VolumeStatus::Uploading => runs(&|kind| matches!(kind, OperationKind::UploadImage(_))),
            VolumeStatus::Managing => runs(&|kind| matches!(kind, OperationKind::Manage { .. })),
            VolumeStatus::Unmanaging | VolumeStatus::ErrorManagingDeleting => {
                runs(&|kind| *kind == OperationKind::Unmanage)
            }
            VolumeStatus::Extending => runs(&|kind| matches!(kind, OperationKind::Extend { .. })),
            VolumeStatus::Reverting => runs(&|kind| matches!(kind, OperationKind::Revert { .. })),
            // It may still wait for the removal of an image that was cut off.
            VolumeStatus::Deleting => state.operations.iter().any(|operation| operation.kind == OperationKind::Delete),
            VolumeStatus::Retyping => runs(&|kind| kind.retype().is_some()),
            VolumeStatus::Maintenance => runs(&|kind| kind.migration().is_some()),
            VolumeStatus::Detaching => {
                let attached = || holders().any(|row| row.attach_status == AttachStatus::Attached);
                volume.marker(MarkerKind::Detaching).is_some() && (attached() || world.ghost.was_reset)
                    || holders().any(|row| row.bdm.as_ref().is_some_and(|bdm| bdm.detaching))
                    || holders().any(|row| state.is_swapped_out(row.id))
            }
            VolumeStatus::Attaching => {
                volume.marker(MarkerKind::Reserved).is_some()
                    || holders().any(|row| row.attach_status == AttachStatus::Attaching)
            }
            VolumeStatus::Reserved => holders().next().is_some() && volume.marker(MarkerKind::Reserved).is_none(),
            VolumeStatus::InUse => {
                volume.claims.as_ref().is_none_or(|claims| claims.marker.is_none())
                    && holders()
                        .any(|row| matches!(row.attach_status, AttachStatus::Attached | AttachStatus::ErrorDetaching))
            }
            VolumeStatus::Available => {
                let in_repair = |export| volume.orphan_exports.contains(export) || is_of_connection(state, export);
                volume.marker(MarkerKind::Reserved).is_none()
                    && holders().next().is_none()
                    && (world.ghost.was_lied_to || world.home().exports.keys().all(in_repair))
            }
            _ => true,
        };
        hold!(has_owner, "the status {} has no owner", volume.status);
    }
    if !world.ghost.was_reset {
        let says_so = matches!(volume.migration_status.as_deref(), Some("starting" | "migrating" | "completing"));
        let migrates = runs(&|kind| kind.migration().is_some());
        hold!(says_so == migrates, "a migration runs: {migrates}, its word is {:?}", volume.migration_status);
    }
    if !world.ghost.attach_status_by_hand {
        let detached = volume.attach_status == AttachStatus::Detached;
        hold!(
            detached == holders().next().is_none(),
            "attach_status {} is not what the rows say",
            volume.attach_status
        );
    }
    Ok(())
}

/// The reverse: what runs is shown.
fn every_operation_has_its_word(world: &World, state: &VolumeState) -> Result<(), Broken> {
    if world.ghost.status_by_hand.is_none()
        && let Some(running) = state.operation_in(Lane::Data)
    {
        let word = match running.kind {
            OperationKind::Create => VolumeStatus::Creating,
            OperationKind::CreateFromImage(_) if running.step != Step::FetchImage || state.volume.host.is_none() => {
                VolumeStatus::Creating
            }
            OperationKind::CreateFromImage(_) | OperationKind::Reimage(_) => VolumeStatus::Downloading,
            // Work that was cut off has no word any more.
            OperationKind::UploadImage(_) if running.step == Step::DiscardImage => state.volume.status,
            OperationKind::UploadImage(_) => VolumeStatus::Uploading,
            OperationKind::Extend { .. } => VolumeStatus::Extending,
            OperationKind::Revert { .. } => VolumeStatus::Reverting,
            // Called off by a reset, it may go on to take its guest back.
            OperationKind::Migrate(_) if world.ghost.was_reset => state.volume.status,
            OperationKind::Migrate(ref migration) if migration.retype.is_some() => VolumeStatus::Retyping,
            OperationKind::Migrate(_) => state.volume.status,
            OperationKind::Manage { .. } => VolumeStatus::Managing,
            OperationKind::Unmanage if state.volume.status == VolumeStatus::Unmanaging => VolumeStatus::Unmanaging,
            OperationKind::Unmanage => VolumeStatus::ErrorManagingDeleting,
            _ => VolumeStatus::Deleting,
        };
        hold!(state.volume.status == word, "{} runs while the status is {}", running.kind.name(), state.volume.status);
    }
    every_snapshot_has_its_word(world, state)?;
    for row in &state.attachments {
        let detaches = state.operations.iter().any(|operation| {
            matches!(operation.kind, OperationKind::ServerDetach { attachment_id, .. } if attachment_id == row.id)
        });
        let marked = row.bdm.as_ref().is_some_and(|bdm| bdm.detaching);
        hold!(detaches == marked, "detach runs: {detaches}, the row says: {marked}");
    }
    Ok(())
}

/// A snapshot's word is that of the work on it, and of nothing else.
fn every_snapshot_has_its_word(world: &World, state: &VolumeState) -> Result<(), Broken> {
    for snapshot in &state.snapshots {
        let runs = |is_meant: &dyn Fn(&OperationKind) -> bool| {
            state.operations.iter().any(|operation| is_meant(&operation.kind))
        };
        let id = snapshot.id;
        let taken = runs(&|kind| match kind {
            OperationKind::CreateSnapshot { snapshot_id } | OperationKind::ManageSnapshot { snapshot_id, .. } => {
                *snapshot_id == id
            }
            _ => false,
        });
        let let_go = runs(&|kind| *kind == OperationKind::UnmanageSnapshot { snapshot_id: id });
        hold!(let_go == (snapshot.status == SnapshotStatus::Unmanaging), "let go: {let_go}, {}", snapshot.status);
        let removed = runs(&|kind| *kind == OperationKind::DeleteSnapshot { snapshot_id: id });
        let reverted = runs(&|kind| *kind == OperationKind::Revert { snapshot_id: id });
        let goes_along = runs(&|kind| *kind == OperationKind::Delete);
        hold!(taken == (snapshot.status == SnapshotStatus::Creating), "taken: {taken}, {}", snapshot.status);
        hold!(
            (removed || goes_along) == (snapshot.status == SnapshotStatus::Deleting),
            "removed: {removed}, with its volume: {goes_along}, {}",
            snapshot.status
        );
        // Reset by hand, the word may be another one.
        hold!(
            reverted == (snapshot.status == SnapshotStatus::Restoring) || world.ghost.snapshot_by_hand,
            "reverted to: {reverted}, {}",
            snapshot.status
        );
    }
    Ok(())
}

/// Nothing waits for a message that nobody will send.
fn every_operation_is_carried_out(world: &World, state: &VolumeState) -> Result<(), Broken> {
    for operation in state.operations.iter().filter(|operation| operation.step != Step::Queued) {
        hold!(
            world.is_under_way(&ticket_of(operation)) || world.is_watched(operation),
            "nothing is under way for {} at {}",
            operation.kind.name(),
            operation.step.name()
        );
    }
    let looks = world.jobs.iter().any(|pending| matches!(pending.job, Job::ProbeOutstanding { .. }));
    hold!(state.volume.outstanding.is_empty() || looks, "nobody looks after the outstanding calls");
    for id in &world.waiting {
        hold!(
            state.operations.iter().any(|operation| operation.id == *id),
            "a request waits for an operation that has ended"
        );
    }
    Ok(())
}

/// What is true when nothing is under way any more.
pub fn of_quiet(world: &World) -> Result<(), Broken> {
    hold!(world.queue.is_empty(), "a request waits in the connection queue of a quiet volume");
    let Some(state) = world.live() else { return Ok(()) };
    let volume = &state.volume;
    hold!(state.operations.is_empty(), "an operation is open");
    hold!(volume.outstanding.is_empty(), "calls are outstanding");
    hold!(volume.orphan_exports.is_empty(), "orphan exports are left");
    if world.ghost.was_lied_to {
        return Ok(());
    }
    for export in world.home().exports.keys() {
        hold!(
            state.attachments.iter().any(|row| row.export.as_ref() == Some(export)) || is_of_connection(state, export),
            "the export {export} is live without a row or a connection"
        );
    }
    for connection in volume.connections() {
        hold!(connection.connection_info.is_some(), "a connection is on record that nobody was told of");
        hold!(
            world.ghost.was_reset || world.home().exports.contains_key(&connection.export),
            "the connection's export {} is not served",
            connection.export
        );
    }
    for (image, is_whole) in world.truths.here.images.iter().chain(&world.truths.there.images) {
        hold!(is_whole, "the image {image} is there and not whole (R-93)");
    }
    let holds = world.home().is_filled || world.home().size_gib.is_none();
    hold!(holds || !volume.bootable, "the volume does not hold what its image does");
    for snapshot in &world.home().snapshots {
        hold!(state.snapshot(*snapshot).is_some(), "the snapshot {snapshot} is there and in no book");
    }
    for snapshot in state.snapshots.iter().filter(|snapshot| snapshot.status == SnapshotStatus::Available) {
        let is_there = world.home().snapshots.contains(&snapshot.id);
        hold!(is_there || world.ghost.snapshot_by_hand, "an available snapshot is not there");
    }
    for row in state.attachments.iter().filter(|row| row.attach_status == AttachStatus::Attached) {
        if let Some(export) = row.export.as_ref().filter(|_| !world.ghost.was_reset) {
            hold!(world.home().exports.contains_key(export), "the attached row's export {export} is not served");
        }
    }
    hold!(world.away().size_gib.is_none(), "something is left at the other backend");
    hold!(world.truths.mirrors.is_empty(), "a guest's disk is still copied");
    for ((server, row), export) in &world.truths.devices {
        let of_device = state.attachments.iter().find(|own| own.device_id() == *row);
        let of_row = of_device.filter(|row| row.attach_status == AttachStatus::Attached);
        let is_told = !world.ghost.was_reset && !world.ghost.was_reconnected;
        let known = of_row.filter(|_| is_told).and_then(|row| row.export.as_ref());
        hold!(known.is_none_or(|known| known == export), "{server} reads from {export} and not from {known:?}");
    }
    if !world.ghost.was_reset && world.home().size_gib.is_some() {
        let most = world.home().written.max(world.away().written);
        hold!(world.home().written == most, "what was written elsewhere is lost");
    }
    if let Some(size_gib) = world.home().size_gib {
        hold!(size_gib == volume.size_gib, "{size_gib} GiB at the backend, {} GiB in the books", volume.size_gib);
    } else {
        let may_be_missing = world.ghost.was_reset || volume.status.is_error();
        hold!(may_be_missing, "{} and not at the backend", volume.status);
    }
    Ok(())
}
