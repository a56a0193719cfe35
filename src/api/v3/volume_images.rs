//! Images: what a volume is made from (volumes §3), `os-reimage` and `os-volume_upload_image` (volume-actions §2.19, §2.16).
//!
//! Whether the caller sees an image, and whether it fits, is judged here; what the volume's operation does with it later it does
//! with the service's own rights, so that nobody's token is kept.

use std::sync::Arc;

use serde_json::{Value, json};

use super::types::type_row;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::query::word;
use crate::api::schema::{self, formats};
use crate::api::views::{time, volume_type};
use crate::domain::ids::ImageId;
use crate::domain::image::{FromImage, ImageNeeds, ToImage};
use crate::domain::metadata::Metadata;
use crate::domain::volume::command::Reimage;
use crate::domain::volume::{Command, VolumeState};
use crate::images::{DiskFormat, Image, ImageCaller, ImageError, ImageService, ImageStatus, image_id_of};
use crate::rule;

/// The property in which Compute keeps what an image of a server with volumes consists of.
const DEVICES: &str = "block_device_mapping";
/// Says whether an image's signature was verified; it is not, here.
const SIGNATURE_VERIFIED: &str = "signature_verified";
/// What of a volume's image metadata is of the image that it came from, and not of one that is made of it: Cinder's list, and
/// what image services keep for themselves.
const OWN_OF_IMAGE: [&str; 30] = [
    "checksum",
    "container_format",
    "disk_format",
    "image_name",
    "image_id",
    "min_disk",
    "min_ram",
    "name",
    "size",
    SIGNATURE_VERIFIED,
    "created_at",
    "direct_url",
    "file",
    "id",
    "is_public",
    "locations",
    "members",
    "os_hash_algo",
    "os_hash_value",
    "os_hidden",
    "owner",
    "protected",
    "schema",
    "self",
    "status",
    "stores",
    "tags",
    "updated_at",
    "virtual_size",
    "visibility",
];

fn image_service(call: &Call) -> Option<(Arc<dyn ImageService>, ImageCaller)> {
    let service = call.api.options.images.0.clone()?;
    let caller = ImageCaller { project_id: call.context.project_id.clone(), is_admin: call.context.is_admin };
    Some((service, caller))
}

/// An image that the caller sees.
pub async fn image_visible(call: &Call, id: &str) -> Option<Image> {
    let (service, caller) = image_service(call)?;
    service.show(caller, image_id_of(id)?).await.ok()
}

/// What a create means by `imageRef`: an id, a URL that ends in one, or a name that one image has (row 4).
pub async fn image_of_reference(call: &Call, reference: &str) -> Result<Image, Problem> {
    let unknown = || Problem::BadRequest("Invalid image identifier or unable to access requested image.".to_owned());
    let (service, caller) = image_service(call).ok_or_else(unknown)?;
    if let Some(id) = image_id_of(reference)
        && let Ok(image) = Arc::clone(&service).show(caller.clone(), id).await
    {
        return Ok(image);
    }
    let mut named = service.named(caller, reference.to_owned()).await.map_err(|_| unknown())?;
    match (named.pop(), named.is_empty()) {
        (Some(_), false) => {
            Err(Problem::Conflict(format!("Multiple matches found for '{reference}', use an ID to be more specific.")))
        }
        (only, _) => only.ok_or_else(unknown),
    }
}

/// What the image asks of a volume.
pub fn needs(image: &Image) -> ImageNeeds {
    ImageNeeds {
        image_id: image.id,
        is_active: image.status == ImageStatus::Active,
        data_bytes: image.size.unwrap_or(0),
        disk_bytes: image.virtual_size,
        min_disk_gib: image.min_disk,
    }
}

/// What the volume is to get, and what it keeps of it.
pub fn from_image(image: &Image) -> FromImage {
    let texts = [
        ("image_id", Some(image.id.to_string())),
        ("image_name", image.name.clone().filter(|name| !name.is_empty())),
        ("checksum", image.checksum.clone()),
        ("container_format", image.container_format.clone()),
        ("disk_format", image.disk_format.clone()),
        ("min_disk", Some(image.min_disk.to_string())),
        ("min_ram", Some(image.min_ram.to_string())),
        ("size", image.size.map(|size| size.to_string())),
        (SIGNATURE_VERIFIED, Some("False".to_owned())),
    ];
    let properties = image.properties.iter().map(|(key, value)| (key.clone(), value.clone()));
    let own = texts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    // Of equal keys the later one counts.
    FromImage { image_id: image.id, metadata: properties.chain(own).collect() }
}

/// The snapshot that an image of Compute stands for: such an image has no data of its own (microversion 3.46).
pub fn boot_snapshot(image: &Image) -> Option<String> {
    let devices: Value = serde_json::from_str(image.properties.get(DEVICES)?).ok()?;
    let is_boot = |device: &&Value| device["source_type"] == "snapshot" && device["boot_index"] == 0;
    let boot = devices.as_array()?.iter().find(is_boot)?;
    boot["snapshot_id"].as_str().map(str::to_owned)
}

/// `os-reimage` (3.68)
pub async fn volume_reimage(call: &Call, id: &str) -> Result<Answer, Problem> {
    if !call.since(68) {
        return Err(Problem::Hidden);
    }
    schema::VOLUME_REIMAGE.check(call.version, &call.body)?;
    let members = &call.body["os-reimage"];
    let state = call.volume_target(id).await?;
    let asked = members["image_id"].as_str().unwrap_or_default();
    let missing = || Problem::NotFoundText(format!("Image {asked} could not be found."));
    let image_id = formats::uuid_any(asked).map(ImageId).ok_or_else(missing)?;
    let (service, caller) = image_service(call).ok_or_else(missing)?;
    let image = service.show(caller, image_id).await.map_err(|error| match error {
        ImageError::NotFound(_) | ImageError::Forbidden(_) => missing(),
        _ => Problem::Busy("the image service is unavailable"),
    })?;
    let reserved_allowed = flag(members, "reimage_reserved");
    let rule = if reserved_allowed { rule!("volume:reimage_reserved") } else { rule!("volume:reimage") };
    call.enforce(rule, &state.volume)?;
    if boot_snapshot(&image).is_some() {
        return Err(Problem::InvalidInput(format!("Image {image_id} has no data of its own.")));
    }
    let reimage = Reimage { image: from_image(&image), needs: needs(&image), reserved_allowed };
    call.command(state.id(), Command::Reimage(Box::new(reimage))).await?;
    Ok(Answer::empty(202))
}

/// `os-volume_upload_image`
pub async fn volume_upload_image(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_UPLOAD_IMAGE.check(call.version, &call.body)?;
    let members = &call.body["os-volume_upload_image"];
    let state = call.volume_target(id).await?;
    call.enforce_own(rule!("volume_extension:volume_actions:upload_image"))?;
    let image = image_wished(call, members, &state);
    if image.visibility.as_deref() == Some("public") {
        call.enforce_own(rule!("volume_extension:volume_actions:upload_public"))?;
    }
    if DiskFormat::parse(&image.disk_format).is_none_or(|format| format == DiskFormat::Ploop) {
        let text = format!("images of the disk format {} cannot be made of volumes", image.disk_format);
        return Err(Problem::BadRequest(text));
    }
    if image.container_format == "compressed" {
        return Err(Problem::BadRequest("compressed images are not made of volumes".to_owned()));
    }
    if image_service(call).is_none() {
        return Err(Problem::BadRequest("there is no image service".to_owned()));
    }
    let in_use_allowed = flag(members, "force") && call.api.options.force_upload;
    let command = Command::UploadImage { image: Box::new(image.clone()), in_use_allowed };
    let reply = call.command(state.id(), command).await?;
    uploading(call, &reply.state, &image).await
}

/// The answer of an upload that was asked for before, for the image with this id.
pub async fn uploading_again(call: &Call, state: &VolumeState, image_id: ImageId) -> Result<Answer, Problem> {
    let image = image_wished(call, &call.body["os-volume_upload_image"], state);
    uploading(call, state, &ToImage { image_id, ..image }).await
}

async fn uploading(call: &Call, state: &VolumeState, image: &ToImage) -> Result<Answer, Problem> {
    let volume = &state.volume;
    let row = match volume.volume_type_id {
        Some(id) => type_row(call, id).await?,
        None => None,
    };
    let shown = |row| volume_type::stored(&row, call.context.is_admin);
    Ok(Answer::json(
        202,
        json!({"os-volume_upload_image": {
            "id": volume.id,
            "updated_at": volume.updated_at.map(time::micros),
            "status": "uploading",
            "display_description": volume.description,
            "size": volume.size_gib,
            "volume_type": row.map(shown),
            "image_id": image.image_id,
            "container_format": image.container_format,
            "disk_format": image.disk_format,
            "image_name": image.name,
            "protected": image.is_protected,
            "visibility": image.visibility.as_deref().unwrap_or("shared"),
        }}),
    ))
}

/// The image that a request asks for; the schema has judged its members.
fn image_wished(call: &Call, members: &Value, state: &VolumeState) -> ToImage {
    let text = |name: &str, default: &str| members.get(name).and_then(Value::as_str).unwrap_or(default).to_owned();
    let is_copied = |key: &str| !OWN_OF_IMAGE.contains(&key) && !key.starts_with("os_glance");
    let kept = state.volume.image_metadata.iter().filter(|(key, _)| is_copied(key));
    ToImage {
        image_id: ImageId(call.api.randomness.uuid()),
        name: text("image_name", ""),
        project_id: call.context.project_id.clone(),
        disk_format: text("disk_format", "raw"),
        container_format: text("container_format", "bare"),
        visibility: call.since(1).then(|| text("visibility", "private")),
        is_protected: flag(members, "protected"),
        properties: kept.collect::<Metadata>(),
    }
}

/// A boolean, or a word for one; absent is false.
fn flag(members: &Value, name: &str) -> bool {
    let value = members.get(name);
    value.and_then(|value| value.as_bool().or_else(|| value.as_str().and_then(word))).unwrap_or(false)
}
