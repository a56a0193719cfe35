//! `POST /volumes` (volumes §3). Blank volumes only: the other sources do not exist yet, and say so as the look-ups of
//! Cinder would.

use serde_json::Value;

use super::placement;
use super::volumes::{metadata_member, text_member, volume_answer};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::schema::{self, formats};
use crate::api::type_cache::Types;
use crate::api::views::volume::Shown;
use crate::domain::ids::{VolumeId, VolumeTypeId};
use crate::domain::volume::Command;
use crate::domain::volume::command::CreateVolume;
use crate::store::VolumeType;

fn text<'a>(members: &'a Value, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// `POST /volumes`
pub async fn volume_create(call: &Call) -> Result<Answer, Problem> {
    schema::VOLUME_CREATE.check(call.version, &call.body)?;
    let members = &call.body["volume"];
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let volume_type = match text(members, "volume_type") {
        Some(wanted) => Some(type_wanted(call, &types, wanted).await?),
        None => None,
    };
    sources(call, members).await?;
    call.enforce_own("volume:create")?;
    let size_gib = size(members)?;
    let volume_type = match volume_type {
        Some(volume_type) => volume_type,
        None => types
            .by_name(&call.api.options.default_volume_type)
            .cloned()
            .ok_or_else(|| Problem::NotFoundText("Default volume type can not be found.".to_owned()))?,
    };
    type_limits(&volume_type, size_gib)?;
    let availability_zone = placement::zone(call, text(members, "availability_zone"), &volume_type)?;
    if multiattach_member(members) {
        return Err(Problem::InvalidInput(
            "multiattach cannot be asked for directly: use a volume type with multiattach".to_owned(),
        ));
    }
    let multiattach = is_multiattach(&volume_type);
    if multiattach {
        call.enforce_own("volume:multiattach")?;
    }
    let wanted = placement::wanted(call, &availability_zone, size_gib, &volume_type).await?;
    let volume_id = VolumeId(call.api.randomness.uuid());
    let create = CreateVolume {
        volume_id,
        size_gib,
        name: text_member(members, ["name", "display_name"]).flatten(),
        description: text_member(members, ["description", "display_description"]).flatten(),
        metadata: metadata_member(members).unwrap_or_default(),
        volume_type_id: Some(volume_type.id),
        multiattach,
        availability_zone,
        host: None,
        wanted: Some(wanted),
    };
    let command = Command::Create(Box::new(create));
    let reply = call.service().volume_command(volume_id, command, call.context.caller()).await?;
    volume_answer(call, 202, &reply.state, Shown::Created).await
}

/// A type by id or name that the caller may use. A type made a moment ago is looked for once more.
async fn type_wanted(call: &Call, types: &Types, wanted: &str) -> Result<VolumeType, Problem> {
    let find = |types: &Types| match formats::uuid_any(wanted) {
        Some(id) => types.by_id(VolumeTypeId(id)).or_else(|| types.by_name(wanted)).cloned(),
        None => types.by_name(wanted).cloned(),
    };
    let found = match find(types) {
        Some(found) => Some(found),
        None => find(call.api.types.fresh(call.service().store().as_ref()).await?.as_ref()),
    };
    let kind = if formats::uuid_any(wanted).is_some() { Kind::VolumeType } else { Kind::VolumeTypeName };
    found
        .filter(|volume_type| volume_type.is_public || call.context.is_admin)
        .ok_or_else(|| Problem::NotFound(kind, wanted.to_owned()))
}

/// Rows 3 to 5: what a volume could be made from. None of it exists yet but volumes themselves.
async fn sources(call: &Call, members: &Value) -> Result<(), Problem> {
    let absent = |kind, id: &str| Err(Problem::NotFound(kind, id.to_owned()));
    if let Some(id) = text(members, "snapshot_id") {
        return absent(Kind::Snapshot, id);
    }
    if let Some(id) = text(members, "source_volid") {
        let id = formats::uuid_any(id).map_or_else(|| id.to_owned(), |id| id.to_string());
        let source = call.volume_visible(&id).await?;
        call.enforce("volume:get", &source.volume.project_id)?;
        return Err(Problem::InvalidInput("cloning is not available yet".to_owned()));
    }
    for name in ["consistencygroup_id", "group_id"] {
        match members.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(id)) if id.is_empty() => {}
            Some(id) => return absent(Kind::Group, &crate::api::python::display(id)),
        }
    }
    if let Some(image) = text(members, "imageRef").or_else(|| text(members, "image_id")) {
        call.enforce_own("volume:create")?;
        call.enforce_own("volume:create_from_image")?;
        return Err(Problem::BadRequest(format!(
            "Invalid image identifier or unable to access requested image: {image}"
        )));
    }
    match members.get("backup_id") {
        None | Some(Value::Null) => Ok(()),
        Some(id) => absent(Kind::Backup, &crate::api::python::display(id)),
    }
}

/// Row 8. The schema has judged the number; what is left is its absence.
fn size(members: &Value) -> Result<u32, Problem> {
    let size = match members.get("size") {
        Some(Value::Number(number)) => number.as_u64().and_then(|size| u32::try_from(size).ok()),
        Some(Value::String(text)) => formats::size_of(text),
        _ => None,
    };
    size.ok_or_else(|| Problem::InvalidInput("Volume size must be specified and greater than 0.".to_owned()))
}

/// `provisioning:min_vol_size` and `provisioning:max_vol_size`.
pub fn type_limits(volume_type: &VolumeType, size_gib: u32) -> Result<(), Problem> {
    let limit = |key: &str| volume_type.extra_specs.get(key).and_then(|text| text.trim().parse::<u32>().ok());
    let name = &volume_type.name;
    if let Some(least) = limit("provisioning:min_vol_size").filter(|least| size_gib < *least) {
        return Err(Problem::InvalidInput(format!(
            "Specified volume size of '{size_gib}' is less than the minimum required size of '{least}' for volume \
             type '{name}'."
        )));
    }
    if let Some(most) = limit("provisioning:max_vol_size").filter(|most| size_gib > *most) {
        return Err(Problem::InvalidInput(format!(
            "Specified volume size of '{size_gib}' is greater than the maximum allowable size of '{most}' for volume \
             type '{name}'."
        )));
    }
    Ok(())
}

fn is_multiattach(volume_type: &VolumeType) -> bool {
    volume_type.extra_specs.get("multiattach").is_some_and(|value| value.trim() == "<is> True")
}

fn multiattach_member(members: &Value) -> bool {
    match members.get("multiattach") {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) => crate::api::query::word(text).unwrap_or(false),
        _ => false,
    }
}
