//! `os-migrate_volume`, `os-migrate_volume_completion` and `os-retype` (`spec/volume-actions.md` §2.13, §2.14): what is admitted, and
//! how a migration is called off. Where it goes, how much room is left there, and what it counts for are judged in the step that
//! admits it; how it goes on is in [`super::moving`].

use super::draft::Draft;
use super::{moving, settle};
use crate::domain::attachment::Attachment;
use crate::domain::backend::{Cause, CauseKind};
use crate::domain::ids::VolumeId;
use crate::domain::operation::{GuestDisk, Lane, Migration, Operation, OperationKind, Retype, Step};
use crate::domain::placement::{Standing, Wanted, fits, meets, place};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::volume::command::{
    Caller, FROZEN, Facts, MigrateVolume, Refusal, RetypeVolume, UserMessage, Verdict,
};
use crate::domain::volume::state::VolumeState;

/// Source statuses of a migration, and of a change of the type.
pub const MIGRATABLE: &[VolumeStatus] = &[VolumeStatus::Available, VolumeStatus::InUse];

/// The user messages of what fails after its 202: Cinder has no words for these actions (docs/differences.md).
pub(super) const MIGRATE_ACTION: &str = "019";
pub(super) const RETYPE_ACTION: &str = "020";
const UNKNOWN_ERROR: &str = "001";
const NO_BACKEND: &str = "003";

pub(super) fn migrate(state: &VolumeState, request: &MigrateVolume, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    let asked = service_of(&request.host);
    // Read in this very step.
    let Some(destination) = facts.hosts.standings.iter().find(|known| known.service() == asked && known.is_open())
    else {
        return Verdict::Refuse(Refusal::BadRequest(format!(
            "Invalid host: {} is no backend that takes volumes.",
            request.host
        )));
    };
    if let Err(refusal) = may_change(state, "migrate") {
        return Verdict::Refuse(refusal);
    }
    if !state.snapshots.is_empty() || volume.host.as_deref().map(service_of) == Some(asked) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!(
            "volume {} must have no snapshots, and the destination must differ from its host, to migrate",
            volume.id
        )));
    }
    if let Err(refusal) = may_leave(state, facts) {
        return Verdict::Refuse(refusal);
    }
    let mut draft = Draft::of(state, caller, facts);
    let wanted = Wanted {
        zone: destination.zone.clone(),
        size_gib: volume.size_gib,
        extra_specs: request.extra_specs.clone(),
        ..Wanted::default()
    };
    let user = user_of(state);
    let refused = match &user {
        Err(text) => Some((UNKNOWN_ERROR, Some(text.clone()))),
        Ok(_) if !fits(&wanted, destination) => Some((NO_BACKEND, None)),
        Ok(_) => None,
    };
    if let Some((detail, cause)) = refused {
        // As if the destination had refused it: accepted, and over at once.
        draft.next.volume.migration_status = Some(Text::common("error"));
        draft.next.volume.epoch += 1;
        draft.tell_owner(told(caller, MIGRATE_ACTION, detail, cause));
        return draft.finish();
    }
    begin(&mut draft, destination, user.unwrap_or_default(), None);
    if request.lock_volume && volume.status == VolumeStatus::Available {
        draft.next.volume.previous_status = Some(volume.status);
        draft.next.volume.status = VolumeStatus::Maintenance;
    }
    draft.finish()
}

pub(super) fn retype(state: &VolumeState, request: &RetypeVolume, caller: &Caller, facts: &Facts) -> Verdict {
    let volume = &state.volume;
    if let Some(of_type) = &facts.limits.of_type
        && let Err(text) = of_type.sizes.check(volume.size_gib, &of_type.name)
    {
        return Verdict::Refuse(Refusal::InvalidInput(text));
    }
    if request.multiattach != volume.multiattach && volume.status != VolumeStatus::Available {
        return Verdict::Refuse(Refusal::InvalidInput(
            "a volume must be available to be changed from or to a multiattach type".to_owned(),
        ));
    }
    if let Err(refusal) = may_change(state, "retype") {
        return Verdict::Refuse(refusal);
    }
    if volume.volume_type_id == Some(request.volume_type_id) {
        return Verdict::Refuse(Refusal::InvalidVolume(format!("volume {} is of this type already", volume.id)));
    }
    let held = state.attachments.iter().any(Attachment::holds_volume) || !volume.connections().is_empty();
    if request.multiattach != volume.multiattach && held {
        // The word was set by hand.
        return Verdict::Refuse(Refusal::InvalidVolume(format!("somebody holds volume {}", volume.id)));
    }
    let retype = Retype { volume_type_id: request.volume_type_id, multiattach: request.multiattach };
    let mut draft = Draft::of(state, caller, facts);
    draft.judge_growth();
    draft.guard_type(request.volume_type_id, request.type_revision);
    let wanted = Wanted {
        zone: volume.availability_zone.to_string(),
        size_gib: volume.size_gib,
        extra_specs: request.extra_specs.clone(),
        different_host: volume.host.iter().cloned().collect(),
        ..Wanted::default()
    };
    let present = facts.hosts.standings.iter().find(|known| volume.host.as_ref() == Some(&known.host));
    if present.is_some_and(|present| meets(&wanted, present)) {
        // Nothing moves, so that nothing can fail half way: the type, what it counts for and what it allows change at once.
        moving::take_type(&mut draft.next, retype);
        return draft.finish();
    }
    let stays = |mut draft: Draft<'_>, detail, cause: Option<&str>| {
        draft.next.volume.epoch += 1;
        draft.tell_owner(told(caller, RETYPE_ACTION, detail, cause.map(str::to_owned)));
        draft.finish()
    };
    if !request.migration_allowed {
        return stays(draft, NO_BACKEND, Some("the volume would have to be migrated"));
    }
    if !state.snapshots.is_empty() {
        return stays(draft, UNKNOWN_ERROR, Some("a volume with snapshots cannot be migrated"));
    }
    if let Err(refusal) = may_leave(state, facts) {
        return Verdict::Refuse(refusal);
    }
    let Some(destination) = place(&wanted, &facts.hosts.standings) else { return stays(draft, NO_BACKEND, None) };
    let user = match user_of(state) {
        Ok(user) => user,
        Err(text) => return stays(draft, UNKNOWN_ERROR, Some(&text)),
    };
    begin(&mut draft, destination, user, Some(retype));
    draft.next.volume.previous_status = Some(volume.status);
    draft.next.volume.status = VolumeStatus::Retyping;
    draft.finish()
}

/// `os-migrate_volume_completion`. Hearth completes its migrations itself, and there is no second volume: the volume that a
/// migration has made is the volume. `other_migrates`: the one that is named has a migration status of its own.
pub(super) fn complete(
    state: &VolumeState,
    new_volume: VolumeId,
    other_migrates: bool,
    error: bool,
    caller: &Caller,
    facts: &Facts,
) -> Verdict {
    let volume = &state.volume;
    let refuse = |text: String| Verdict::Refuse(Refusal::InvalidVolume(text));
    let settled = Verdict::Nothing { jobs: Vec::new(), attachment_id: None };
    if new_volume != volume.id {
        if volume.migration_status.is_some() || other_migrates {
            return refuse(format!("volume {new_volume} is not the target of a migration of volume {}", volume.id));
        }
        return if error || state.attachments.is_empty() {
            settled
        } else {
            refuse(format!("attachments cannot be moved from volume {} to volume {new_volume}", volume.id))
        };
    }
    let Some(running) = state.data_work().filter(|running| running.kind.migration().is_some()) else {
        // Whoever asks again hears how it ended.
        return settled;
    };
    if !error {
        return refuse(format!("the migration of volume {} is not finished, and completes itself", volume.id));
    }
    if matches!(running.step, Step::Pivot { .. }) {
        return refuse(format!("the guest of volume {} is being moved, which cannot be undone", volume.id));
    }
    let mut draft = Draft::of(state, caller, facts);
    call_off(&mut draft, running, "the migration was called off");
    draft.finish()
}

/// Ends a migration from outside, in any of its steps: nothing of it is left at the destination in the end. A guest's mirror is
/// stopped first, as the operation's own last step; past the pivot there is nothing to call off any more.
pub(super) fn call_off(draft: &mut Draft<'_>, operation: &Operation, why: &str) {
    let cause = Cause::new(CauseKind::Other, why);
    match &operation.step {
        Step::Pivot { .. } | Step::Unmirror { .. } => {}
        Step::Mirror { .. } => moving::undo(draft, operation, &cause),
        Step::Queued | Step::Drain | Step::Survey => moving::gave_up(draft, operation, &cause, false),
        _ => moving::gave_up(draft, operation, &cause, true),
    }
}

fn begin(draft: &mut Draft<'_>, destination: &Standing, guest: Option<GuestDisk>, retype: Option<Retype>) {
    let migration = Migration {
        destination: destination.host.clone(),
        zone: Text::common(&destination.zone),
        guest,
        connection_info: None,
        retype,
    };
    draft.next.volume.migration_status = Some(Text::common("starting"));
    draft.begin(OperationKind::Migrate(Box::new(migration)), 0);
}

/// Conditions of both. The word may have been set by hand; running work counts all the same (P5).
fn may_change(state: &VolumeState, verb: &str) -> Result<(), Refusal> {
    let volume = &state.volume;
    let is_worked_on = [Lane::Data, Lane::Snapshot].into_iter().any(|lane| state.operation_in(lane).is_some());
    if !MIGRATABLE.contains(&volume.status) || !state.is_migration_idle() || is_worked_on {
        return Err(Refusal::InvalidVolume(format!(
            "volume {} status must be {}, and it must not be migrating, to {verb}, but the current status is: {}",
            volume.id,
            MIGRATABLE.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(" or "),
            volume.status
        )));
    }
    Ok(())
}

/// Whether its own backend can let it go now.
fn may_leave(state: &VolumeState, facts: &Facts) -> Result<(), Refusal> {
    let volume = &state.volume;
    if facts.hosts.frozen {
        return Err(Refusal::InvalidInput(FROZEN.to_owned()));
    }
    // Whoever can bring the guest along is a Nova, which would have to swap the volume for another one.
    let of_nova = |row: &Attachment| row.instance_uuid.is_some() && row.holds_volume();
    if facts.compute.is_elsewhere() && state.attachments.iter().any(of_nova) {
        return Err(Refusal::InvalidVolume(format!(
            "volume {} is attached to a server of Nova, and is not moved under it: detach it first",
            volume.id
        )));
    }
    let held = state.attachments.iter().any(Attachment::holds_volume);
    let lies = volume.host.is_none() || (volume.status == VolumeStatus::Available && held);
    // Nobody could bring a host along that has connected itself (§2.11).
    let connects = |operation: &Operation| {
        operation.kind.lane() == Lane::Connection && !matches!(operation.kind, OperationKind::Repair)
    };
    if lies || super::connection::is_connected(state) || state.operations.iter().any(connects) {
        return Err(Refusal::InvalidVolume(format!("volume {} is connected, or is just being", volume.id)));
    }
    Ok(())
}

/// The guest that has to be brought along; none: nobody uses it. An error: whoever uses it cannot be brought along.
fn user_of(state: &VolumeState) -> Result<Option<GuestDisk>, String> {
    let mut users = state.attachments.iter().filter(|row| row.holds_volume());
    match (users.next(), users.next()) {
        (None, _) if state.volume.status == VolumeStatus::Available => Ok(None),
        (Some(row), None) if row.attach_status == AttachStatus::Attached && row.export.is_some() => match &row.bdm {
            Some(bdm) => {
                Ok(Some(GuestDisk { attachment_id: row.id, device: row.device_id(), server_id: bdm.server_id.clone() }))
            }
            None => Err("the volume is attached to a client that Hearth does not manage".to_owned()),
        },
        (Some(_), Some(_)) => Err("the volume is attached more than once".to_owned()),
        _ => Err("nobody can be asked to follow the volume".to_owned()),
    }
}

fn told(caller: &Caller, action: &'static str, detail: &'static str, cause: Option<String>) -> UserMessage {
    UserMessage { action, detail, cause, requester: caller.requester.clone(), snapshot_id: None }
}

/// `host@backend` of `host@backend#pool`.
fn service_of(host: &str) -> &str {
    host.split('#').next().unwrap_or_default()
}

/// The words of a migration that has ended otherwise than well; the rows decide about the status.
pub(super) fn words_back(next: &mut VolumeState, migration_status: &str) {
    // An administrator may have set others meanwhile.
    if matches!(next.volume.migration_status.as_deref(), Some("starting" | "migrating")) {
        next.volume.migration_status = Some(Text::common(migration_status));
    }
    if matches!(next.volume.status, VolumeStatus::Retyping | VolumeStatus::Maintenance) {
        settle::data_work_ended(next);
    }
}
