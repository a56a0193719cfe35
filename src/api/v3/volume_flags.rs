//! `os-set_bootable` and `os-update_readonly_flag` (volume-actions §2.6, §2.18), and the volume's encryption (volumes §2).

use serde_json::{Value, json};

use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::query::word;
use crate::api::schema;
use crate::domain::volume::Command;
use crate::rule;

/// `os-set_bootable`
pub async fn set_bootable(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_SET_BOOTABLE.check(call.version, &call.body)?;
    let bootable = flag(&call.body["os-set_bootable"]["bootable"]);
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:update"), &state.volume)?;
    call.command(state.id(), Command::SetBootable { bootable }).await?;
    Ok(Answer::empty(200))
}

/// `os-update_readonly_flag`
pub async fn update_readonly_flag(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_UPDATE_READONLY_FLAG.check(call.version, &call.body)?;
    let readonly = flag(&call.body["os-update_readonly_flag"]["readonly"]);
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:update_readonly_flag"), &state.volume)?;
    call.command(state.id(), Command::SetReadonly { readonly }).await?;
    Ok(Answer::empty(202))
}

/// A boolean, or a word for one; the schema has judged it.
pub(super) fn flag(value: &Value) -> bool {
    value.as_bool().or_else(|| value.as_str().and_then(word)).unwrap_or(false)
}

/// `GET …/encryption`: no volume is encrypted yet.
pub async fn encryption_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    encryption_seen(call, id).await?;
    Ok(Answer::ok(json!({"encryption_key_id": null})))
}

/// `GET …/encryption/{key}`: the bare value, of which null has no text.
pub async fn encryption_value(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    encryption_seen(call, id).await?;
    match key {
        "encryption_key_id" => Ok(Answer::empty(200)),
        _ => Err(Problem::NotFoundText(format!("Volume {id} has no encryption metadata with key {key}."))),
    }
}

async fn encryption_seen(call: &Call, id: &str) -> Result<(), Problem> {
    let state = call.volume_visible(id).await?;
    call.enforce(rule!("volume_extension:volume_encryption_metadata"), &state.volume)
}
