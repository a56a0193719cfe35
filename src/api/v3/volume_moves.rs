//! `os-migrate_volume`, `os-migrate_volume_completion`, `os-retype` (volume-actions §2.13, §2.14).

use serde_json::{Value, json};

use super::qos;
use super::types::{Named, refuse_encrypted, type_visible};
use super::volume_create::TYPE_LOOKS_MAX;
use super::volume_flags::flag;
use crate::actors::RequestError;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::query::word;
use crate::api::schema::{self, formats};
use crate::domain::ids::VolumeId;
use crate::domain::status::VolumeStatus;
use crate::domain::volume::command::{MigrateVolume, RetypeVolume};
use crate::domain::volume::{Command, Refusal, VolumeState};
use crate::domain::volume_type::{ExtraSpecs, MULTIATTACH};
use crate::rule;

/// `os-migrate_volume`. Every migration copies; `force_host_copy` asks for what happens anyway.
pub async fn volume_migrate(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_MIGRATE.check(call.version, &call.body)?;
    let members = &call.body["os-migrate_volume"];
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume_extension:volume_admin_actions:migrate_volume"), &state.volume)?;
    let host = match (text("host"), text("cluster")) {
        (Some(host), None) => host.to_owned(),
        (None, Some(cluster)) => {
            return Err(Problem::BadRequest(format!("Invalid host: there is no cluster {cluster}.")));
        }
        _ => return Err(Problem::InvalidInput("exactly one of host and cluster must be given".to_owned())),
    };
    let lock_volume = members.get("lock_volume").is_some_and(flag);
    let extra_specs = type_specs(call, &state).await?;
    let command = Command::Migrate(Box::new(MigrateVolume { host, lock_volume, extra_specs }));
    call.command(state.id(), command).await?;
    Ok(Answer::empty(202))
}

/// What the volume's type asks of every backend.
async fn type_specs(call: &Call, state: &VolumeState) -> Result<ExtraSpecs, Problem> {
    let Some(id) = state.volume.volume_type_id else { return Ok(ExtraSpecs::default()) };
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    Ok(types.by_id(id).map(|known| known.extra_specs.clone()).unwrap_or_default())
}

/// `os-migrate_volume_completion`: 200, although it is documented as 202 (Q1).
pub async fn volume_migrate_completion(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_MIGRATE_COMPLETION.check(call.version, &call.body)?;
    let members = &call.body["os-migrate_volume_completion"];
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume_extension:volume_admin_actions:migrate_volume_completion"), &state.volume)?;
    let new_volume = members["new_volume"].as_str().unwrap_or_default();
    let new_volume = formats::uuid_any(new_volume).map_or_else(|| new_volume.to_owned(), |id| id.to_string());
    let new_volume = call.volume_visible(&new_volume).await?;
    let error = match members.get("error") {
        Some(Value::Bool(error)) => *error,
        // Words of falsehood are false (Q10).
        Some(Value::String(text)) => !text.is_empty() && word(text).unwrap_or(true),
        _ => false,
    };
    let other_migrates = new_volume.id() != state.id() && new_volume.volume.migration_status.is_some();
    let command = Command::CompleteMigration { new_volume: new_volume.id(), other_migrates, error };
    call.command(state.id(), command).await?;
    Ok(saved(new_volume.id()))
}

fn saved(volume_id: VolumeId) -> Answer {
    Answer::ok(json!({"save_volume_id": volume_id}))
}

/// The same answer once more.
pub fn completed(call: &Call, state: &VolumeState) -> Answer {
    let named = call.body["os-migrate_volume_completion"]["new_volume"].as_str().and_then(formats::uuid_any);
    saved(named.map_or(state.id(), VolumeId))
}

/// `os-retype`
pub async fn volume_retype(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_RETYPE.check(call.version, &call.body)?;
    for _ in 0..TYPE_LOOKS_MAX {
        match retype_as_the_type_is(call, id).await {
            Err(Problem::Request(RequestError::Refused(Refusal::TypeChanged))) => call.api.types.changed(),
            answer => return answer,
        }
    }
    Err(Problem::Busy("the volume type is being changed"))
}

/// The checks by what is known of the type, and the commit that holds only while it is true.
async fn retype_as_the_type_is(call: &Call, id: &str) -> Result<Answer, Problem> {
    let members = &call.body["os-retype"];
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:retype"), &state.volume)?;
    let wanted = members["new_type"].as_str().unwrap_or_default();
    let volume_type = type_visible(call, Named::Any(wanted)).await?;
    let multiattach = volume_type.says_yes(MULTIATTACH);
    if multiattach {
        call.enforce(rule!("volume:multiattach"), &state.volume)?;
    }
    refuse_encrypted(&volume_type)?;
    if state.volume.status == VolumeStatus::InUse && qos::is_told_otherwise(call, &state.volume, &volume_type).await? {
        let text = format!("Retype cannot change front-end qos specs for in-use volume: {}.", state.id());
        return Err(Problem::InvalidInput(text));
    }
    let command = Command::Retype(Box::new(RetypeVolume {
        volume_type_id: volume_type.id,
        type_revision: volume_type.revision,
        multiattach,
        extra_specs: volume_type.extra_specs,
        migration_allowed: members.get("migration_policy").and_then(Value::as_str) == Some("on-demand"),
    }));
    call.command(state.id(), command).await?;
    Ok(Answer::empty(202))
}
