//! `/volumes/{id}/metadata` (volumes §4), and the image metadata that actions write (volume-actions §2.5).

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;
use serde_json::{Value, json};

use super::volumes::metadata_member;
use crate::actors::RequestError;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema;
use crate::domain::metadata::Metadata;
use crate::domain::volume::Command;
use crate::domain::volume::metadata::{MetadataChange, MetadataKind, MetadataWrite, metadata_tag, metadata_text};
use crate::domain::volume::{Refusal, Reply, VolumeState};
use crate::rule;

#[derive(Serialize)]
struct All<'a> {
    metadata: &'a Metadata,
}

/// `GET …/metadata`: the user's own. From 3.15 on with the tag that a conditional write must name.
pub async fn metadata_list(call: &Call, id: &str) -> Result<Answer, Problem> {
    let state = call.volume_visible(id).await?;
    call.enforce(rule!("volume:get_volume_metadata"), &state.volume)?;
    let metadata = &state.volume.metadata;
    let answer = Answer::json_text(200, metadata_text(metadata));
    Ok(if call.since(15) { answer.with_etag(metadata_tag(metadata)) } else { answer })
}

/// `POST …/metadata`: adds and overwrites. Never conditional.
pub async fn metadata_merge(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_METADATA.check(call.version, &call.body)?;
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:create_volume_metadata"), &state.volume)?;
    let more = metadata_member(&call.body).unwrap_or_default();
    let written = write(call, &state, MetadataKind::User, MetadataChange::Merge(more), None).await?;
    Ok(written.map_or_else(tag_differs, |reply| Answer::ok(All { metadata: &reply.state.volume.metadata })))
}

/// `PUT …/metadata`: replaces.
pub async fn metadata_replace(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_METADATA.check(call.version, &call.body)?;
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:update_volume_metadata"), &state.volume)?;
    let all = metadata_member(&call.body).unwrap_or_default();
    let written = write(call, &state, MetadataKind::User, MetadataChange::Replace(all), if_match(call)).await?;
    Ok(written.map_or_else(tag_differs, |reply| Answer::ok(All { metadata: &reply.state.volume.metadata })))
}

/// `GET …/metadata/{key}`
pub async fn metadata_show(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    let state = call.volume_visible(id).await?;
    call.enforce(rule!("volume:get_volume_metadata"), &state.volume)?;
    let value = state.volume.metadata.get(key).ok_or_else(|| absent(&state, key))?;
    Ok(Answer::ok(json!({"meta": {key: value}})))
}

/// `PUT …/metadata/{key}`: the one pair in the body must be of the key in the URL.
pub async fn metadata_set(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    schema::VOLUME_METADATA_ITEM.check(call.version, &call.body)?;
    let Some(value) = call.body["meta"].get(key).and_then(Value::as_str) else {
        return Err(Problem::BadRequest("Request body and URI mismatch".to_owned()));
    };
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:update_volume_metadata"), &state.volume)?;
    let change = MetadataChange::Merge(Metadata::from([(key, value)]));
    let written = write(call, &state, MetadataKind::User, change, if_match(call)).await?;
    Ok(written.map_or_else(tag_differs, |_| Answer::ok(json!({"meta": {key: value}}))))
}

/// `DELETE …/metadata/{key}`: whoever may read it learns first whether it is there.
pub async fn metadata_delete(call: &Call, id: &str, key: &str) -> Result<Answer, Problem> {
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:get_volume_metadata"), &state.volume)?;
    // What a write under way makes of it is for the volume to decide: only who may not delete is answered from what is seen.
    if let Err(denied) = call.enforce(rule!("volume:delete_volume_metadata"), &state.volume) {
        return Err(if state.volume.metadata.contains_key(key) { denied } else { absent(&state, key) });
    }
    let written = write(call, &state, MetadataKind::User, MetadataChange::Remove(key.into()), None).await?;
    Ok(written.map_or_else(tag_differs, |_| Answer::empty(200)))
}

/// `os-set_image_metadata`
pub async fn image_metadata_set(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_SET_IMAGE_METADATA.check(call.version, &call.body)?;
    let state = call.volume_target(id).await?;
    let volume = &state.volume;
    call.enforce(rule!("volume_extension:volume_image_metadata:set"), volume)?;
    call.enforce(rule!("volume:update_volume_metadata"), volume)?;
    let more = metadata_member(&call.body["os-set_image_metadata"]).unwrap_or_default();
    let written = write(call, &state, MetadataKind::Image, MetadataChange::Merge(more), None).await?;
    Ok(written.map_or_else(tag_differs, |reply| image_metadata_answer(&reply.state)))
}

/// The image metadata, as they are now.
pub fn image_metadata_answer(state: &VolumeState) -> Answer {
    Answer::ok(All { metadata: &state.volume.image_metadata })
}

/// `os-unset_image_metadata`
pub async fn image_metadata_unset(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_UNSET_IMAGE_METADATA.check(call.version, &call.body)?;
    let key = call.body["os-unset_image_metadata"]["key"].as_str().unwrap_or_default();
    let state = call.volume_target(id).await?;
    let volume = &state.volume;
    call.enforce(rule!("volume_extension:volume_image_metadata:remove"), volume)?;
    call.enforce(rule!("volume:get_volume_metadata"), volume)?;
    call.enforce(rule!("volume:delete_volume_metadata"), volume)?;
    let written = write(call, &state, MetadataKind::Image, MetadataChange::Remove(key.into()), None).await?;
    Ok(written.map_or_else(tag_differs, |_| Answer::empty(200)))
}

/// `os-show_image_metadata`: a volume without any has no such thing.
pub async fn image_metadata_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let state = call.volume_visible(id).await?;
    call.enforce(rule!("volume:get_volume_metadata"), &state.volume)?;
    let metadata = &state.volume.image_metadata;
    if metadata.is_empty() {
        return Err(RequestError::Refused(Refusal::ImageMetadataNotFound(state.id())).into());
    }
    Ok(Answer::ok(All { metadata }))
}

fn absent(state: &VolumeState, key: &str) -> Problem {
    RequestError::Refused(Refusal::MetadataNotFound { volume_id: state.id(), key: key.to_owned() }).into()
}

/// None: the tag differs.
async fn write(
    call: &Call,
    state: &VolumeState,
    kind: MetadataKind,
    change: MetadataChange,
    if_match: Option<Vec<String>>,
) -> Result<Option<Reply>, Problem> {
    let command = Command::WriteMetadata(Box::new(MetadataWrite { kind, change, if_match }));
    match call.command(state.id(), command).await {
        Ok(reply) => Ok(Some(reply)),
        Err(RequestError::Refused(Refusal::TagDiffers)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The one refusal without a body.
fn tag_differs() -> Answer {
    Answer::empty(412)
}

/// The tags of `If-Match`; none: the write is not conditional.
fn if_match(call: &Call) -> Option<Vec<String>> {
    if call.since(15) { call.if_match.as_deref().and_then(tags) } else { None }
}

/// A list of quoted tags, of which weak ones match nothing, or one tag without quotes. None for `*` and for nothing.
fn tags(header: &str) -> Option<Vec<String>> {
    static TAG: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"(?:^|\s)(W/)?"((?:\\"|.)*?)""#).expect("a regular expression"));
    let header = header.trim();
    if header.is_empty() || header == "*" {
        return None;
    }
    let mut found = TAG.captures_iter(header).peekable();
    if found.peek().is_none() {
        return Some(vec![header.to_owned()]);
    }
    Some(found.filter(|tag| tag.get(1).is_none()).map(|tag| tag[2].to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_if_match() {
        let cases: [(&str, Option<&[&str]>); 8] = [
            ("", None),
            (" ", None),
            ("*", None),
            ("abc", Some(&["abc"])),
            ("\"abc\"", Some(&["abc"])),
            ("\"a\", \"b\"", Some(&["a", "b"])),
            ("W/\"a\", \"b\"", Some(&["b"])),
            ("W/\"a\"", Some(&[])),
        ];
        for (header, expected) in cases {
            let expected = expected.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>());
            assert_eq!(tags(header), expected, "{header:?}");
        }
    }
}
