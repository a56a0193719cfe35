//! `/snapshots/{id}/metadata` (snapshots §2). Nothing here is conditional.

use serde_json::{Value, json};

use super::snapshots::{snapshot_command, snapshot_visible};
use super::volumes::metadata_member;
use crate::actors::RequestError;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::schema;
use crate::domain::ids::SnapshotId;
use crate::domain::metadata::Metadata;
use crate::domain::volume::metadata::MetadataChange;
use crate::domain::volume::{Command, Refusal, VolumeState};
use crate::policy::Rule;
use crate::rule;

const GET: Rule = rule!("volume:get_snapshot_metadata");
const UPDATE: Rule = rule!("volume:update_snapshot_metadata");
const DELETE: Rule = rule!("volume:delete_snapshot_metadata");

fn metadata(state: &VolumeState, id: SnapshotId) -> Result<&Metadata, Problem> {
    let snapshot = state.snapshot(id).ok_or_else(|| Problem::NotFound(Kind::Snapshot, id.to_string()))?;
    Ok(&snapshot.metadata)
}

fn absent(snapshot_id: SnapshotId, key: &str) -> Problem {
    RequestError::Refused(Refusal::SnapshotMetadataNotFound { snapshot_id, key: key.to_owned() }).into()
}

/// `GET …/metadata`
pub async fn metadata_list(call: &Call, id: &str) -> Result<Answer, Problem> {
    let (snapshot_id, state) = snapshot_visible(call, id).await?;
    call.enforce(GET, &state.volume)?;
    Ok(Answer::ok(json!({"metadata": metadata(&state, snapshot_id)?})))
}

/// `POST …/metadata` adds and overwrites, `PUT` replaces.
pub async fn metadata_write(
    call: &Call,
    id: &str,
    change: impl FnOnce(Metadata) -> MetadataChange,
) -> Result<Answer, Problem> {
    schema::SNAPSHOT_METADATA.check(call.version, &call.body)?;
    let change = change(metadata_member(&call.body).unwrap_or_default());
    let write = |snapshot_id| Command::SnapshotWriteMetadata { snapshot_id, change };
    let (snapshot_id, state) = snapshot_command(call, id, &[UPDATE], write).await?;
    Ok(Answer::ok(json!({"metadata": metadata(&state, snapshot_id)?})))
}

/// `GET …/metadata/{key}`
pub async fn metadata_show(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    let (snapshot_id, state) = snapshot_visible(call, id).await?;
    call.enforce(GET, &state.volume)?;
    let value = metadata(&state, snapshot_id)?.get(key).ok_or_else(|| absent(snapshot_id, key))?;
    Ok(Answer::ok(json!({"meta": {key: value}})))
}

/// `PUT …/metadata/{key}`: the one pair in the body must be of the key in the URL.
pub async fn metadata_set(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    schema::SNAPSHOT_METADATA_ITEM.check(call.version, &call.body)?;
    let Some(value) = call.body["meta"].get(key).and_then(Value::as_str) else {
        return Err(Problem::BadRequest("Request body and URI mismatch".to_owned()));
    };
    let change = MetadataChange::Merge(Metadata::from([(key, value)]));
    let write = |snapshot_id| Command::SnapshotWriteMetadata { snapshot_id, change };
    snapshot_command(call, id, &[UPDATE], write).await?;
    Ok(Answer::ok(json!({"meta": {key: value}})))
}

/// `DELETE …/metadata/{key}`
pub async fn metadata_delete(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    let change = MetadataChange::Remove(key.into());
    let write = |snapshot_id| Command::SnapshotWriteMetadata { snapshot_id, change };
    snapshot_command(call, id, &[GET, DELETE], write).await?;
    Ok(Answer::empty(200))
}
