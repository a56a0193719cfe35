//! `POST /volumes` (volumes §3). Blank volumes only: the other sources do not exist yet, and say so as the look-ups of
//! Cinder would.

use serde_json::Value;

use super::types::{Named, type_default, type_visible};
use super::volumes::{metadata_member, text_member, volume_answer};
use crate::actors::RequestError;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::schema::{self, formats};
use crate::api::views::volume::Shown;
use crate::domain::ids::VolumeId;
use crate::domain::volume::command::CreateVolume;
use crate::domain::volume::{Command, Refusal};
use crate::domain::volume_type::{AVAILABILITY_ZONES, MULTIATTACH, VolumeType};

fn text<'a>(members: &'a Value, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// How often a type is looked at anew because it changed before the volume was committed.
const TYPE_LOOKS_MAX: u32 = 8;

/// `POST /volumes`
pub async fn volume_create(call: &Call) -> Result<Answer, Problem> {
    schema::VOLUME_CREATE.check(call.version, &call.body)?;
    for _ in 0..TYPE_LOOKS_MAX {
        match create_as_the_type_is(call).await {
            Err(Problem::Request(RequestError::Refused(Refusal::TypeChanged))) => call.api.types.changed(),
            answer => return answer,
        }
    }
    Err(Problem::Busy("the volume type is being changed"))
}

/// The checks by what is known of the type, and the commit that holds only while it is true.
async fn create_as_the_type_is(call: &Call) -> Result<Answer, Problem> {
    let members = &call.body["volume"];
    let volume_type = match text(members, "volume_type") {
        Some(wanted) => Some(type_visible(call, Named::Any(wanted)).await?),
        None => None,
    };
    sources(call, members).await?;
    call.enforce_own("volume:create")?;
    let size_gib = size(members)?;
    let volume_type = match volume_type {
        Some(volume_type) => volume_type,
        None => type_default(call).await?,
    };
    volume_type.sizes().check(size_gib, &volume_type.name).map_err(Problem::InvalidInput)?;
    let availability_zone = zone(call, members, &volume_type)?;
    if multiattach_member(members) {
        return Err(Problem::InvalidInput(
            "multiattach cannot be asked for directly: use a volume type with multiattach".to_owned(),
        ));
    }
    let multiattach = volume_type.says_yes(MULTIATTACH);
    if multiattach {
        call.enforce_own("volume:multiattach")?;
    }
    let volume_id = VolumeId(call.api.randomness.uuid());
    let create = CreateVolume {
        volume_id,
        size_gib,
        name: text_member(members, ["name", "display_name"]).flatten(),
        description: text_member(members, ["description", "display_description"]).flatten(),
        metadata: metadata_member(members).unwrap_or_default(),
        volume_type_id: Some(volume_type.id),
        type_revision: Some(volume_type.revision),
        multiattach,
        availability_zone,
        host: call.service().place(size_gib),
    };
    let command = Command::Create(Box::new(create));
    let reply = call.service().volume_command(volume_id, command, call.context.caller()).await?;
    volume_answer(call, 202, &reply.state, Shown::Created).await
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

/// Row 17: the one zone there is; the type may be limited to others.
fn zone(call: &Call, members: &Value, volume_type: &VolumeType) -> Result<String, Problem> {
    let ours = &call.api.options.availability_zone;
    if let Some(wanted) = text(members, "availability_zone").filter(|wanted| wanted != ours) {
        return Err(Problem::InvalidInput(format!("Availability zone '{wanted}' is invalid.")));
    }
    if let Some(zones) = volume_type.spec(AVAILABILITY_ZONES)
        && !zones.split(',').any(|zone| zone.trim() == ours)
    {
        return Err(Problem::InvalidInput(format!(
            "Volume type '{}' is limited to the availability zones '{zones}'.",
            volume_type.name
        )));
    }
    Ok(ours.clone())
}

fn multiattach_member(members: &Value) -> bool {
    match members.get("multiattach") {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) => crate::api::query::word(text).unwrap_or(false),
        _ => false,
    }
}
