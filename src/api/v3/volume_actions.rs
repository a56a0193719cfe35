//! `POST /volumes/{id}/action` (volume-actions §2).

use serde_json::Value;

use super::{manage, volume_flags, volume_images, volume_metadata, volume_moves};
use crate::actors::RequestError;
use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::Problem;
use crate::api::schema::{self, formats};
use crate::domain::ids::SnapshotId;
use crate::domain::status::VolumeStatus;
use crate::domain::volume::Command;
use crate::domain::volume::decide::revert_target;
use crate::rule;

/// Carries out one action; its name has been checked.
pub async fn volume_action(call: &Call, id: &str, action: &str) -> Result<Answer, Problem> {
    match action {
        "os-extend" => volume_extend(call, id).await,
        "os-extend_volume_completion" => volume_extend_completion(call, id).await,
        "os-force_delete" => volume_force_delete(call, id).await,
        "os-reset_status" => volume_reset_status(call, id).await,
        "os-unmanage" => manage::volume_unmanage(call, id).await,
        "revert" => volume_revert(call, id).await,
        "os-migrate_volume" => volume_moves::volume_migrate(call, id).await,
        "os-migrate_volume_completion" => volume_moves::volume_migrate_completion(call, id).await,
        "os-retype" => volume_moves::volume_retype(call, id).await,
        "os-set_bootable" => volume_flags::set_bootable(call, id).await,
        "os-update_readonly_flag" => volume_flags::update_readonly_flag(call, id).await,
        "os-set_image_metadata" => volume_metadata::image_metadata_set(call, id).await,
        "os-unset_image_metadata" => volume_metadata::image_metadata_unset(call, id).await,
        "os-show_image_metadata" => volume_metadata::image_metadata_show(call, id).await,
        "os-reimage" => volume_images::volume_reimage(call, id).await,
        "os-volume_upload_image" => volume_images::volume_upload_image(call, id).await,
        other => super::volume_connections::volume_connection_action(call, id, other).await,
    }
}

async fn volume_extend(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_EXTEND.check(call.version, &call.body)?;
    let new_size = &call.body["os-extend"]["new_size"];
    let new_size_gib = match new_size {
        Value::String(text) => formats::size_of(text),
        other => other.as_u64().and_then(|size| u32::try_from(size).ok()),
    }
    .ok_or_else(|| Problem::InvalidInput("new_size must be a number of GiB".to_owned()))?;
    let state = call.volume_visible(id).await?;
    let in_use_allowed = call.since(42);
    // The path, and with it the rule, follows the status of this instant; the decision itself looks again.
    let attached_path = in_use_allowed && state.volume.status == VolumeStatus::InUse;
    let rule = if attached_path { rule!("volume:extend_attached_volume") } else { rule!("volume:extend") };
    call.enforce(rule, &state.volume)?;
    let command = Command::Extend { new_size_gib, in_use_allowed };
    call.command(state.id(), command).await?;
    Ok(Answer::empty(202))
}

/// Any value; any status, as long as nothing is attached (§2.15).
async fn volume_force_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume_extension:volume_admin_actions:force_delete"), &state.volume)?;
    call.enforce(rule!("volume:delete"), &state.volume)?;
    call.command(state.id(), Command::Delete { force: true, cascade: false }).await?;
    Ok(Answer::empty(202))
}

/// §2.2: for backends that grow a volume in use with the help of Compute, which says by this call that it has done its part.
/// Every backend here grows volumes by itself and tells the guests as steps of the same operation: no extend ever waits.
async fn volume_extend_completion(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_EXTEND_COMPLETION.check(call.version, &call.body)?;
    let state = call.volume_visible(id).await?;
    call.enforce(rule!("volume_extension:volume_admin_actions:extend_volume_completion"), &state.volume)?;
    Err(Problem::InvalidVolume(match state.volume.status {
        VolumeStatus::Extending => format!("no extend of volume {id} waits for its completion"),
        status => format!("volume {id} status must be extending, but current status is: {status}"),
    }))
}

/// §2.4 (3.40). The look at the volume has a rule of its own, before the volume is looked at; which snapshot is meant is looked
/// at before the rule of the revert itself.
async fn volume_revert(call: &Call, id: &str) -> Result<Answer, Problem> {
    if !call.since(40) {
        return Err(Problem::Hidden);
    }
    schema::VOLUME_REVERT.check(call.version, &call.body)?;
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:get"), &state.volume)?;
    let asked = call.body["revert"].get("snapshot_id").and_then(Value::as_str);
    // An id that is none is the id of no snapshot.
    let snapshot_id = asked.map(|text| SnapshotId(url_id(text).unwrap_or_default()));
    revert_target(&state, snapshot_id).map_err(|refusal| Problem::Request(RequestError::Refused(refusal)))?;
    call.enforce(rule!("volume:revert_to_snapshot"), &state.volume)?;
    let command = Command::Revert { snapshot_id };
    call.command(state.id(), command).await?;
    Ok(Answer::empty(202))
}

async fn volume_reset_status(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_RESET_STATUS.check(call.version, &call.body)?;
    let members = &call.body["os-reset_status"];
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let status = text("status").and_then(formats::reset_status);
    let attach_status = text("attach_status").and_then(formats::reset_attach_status);
    let migration_status = text("migration_status").and_then(formats::reset_migration_status);
    if status.is_none() && attach_status.is_none() && migration_status.is_none() {
        return Err(Problem::InvalidInput(
            "Must specify 'status', 'attach_status' or 'migration_status' for update.".to_owned(),
        ));
    }
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume_extension:volume_admin_actions:reset_status"), &state.volume)?;
    let command = Command::ResetStatus { status, attach_status, migration_status };
    call.command(state.id(), command).await?;
    Ok(Answer::empty(202))
}
