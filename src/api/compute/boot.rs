//! What a simulated server is made with: its image, and `block_device_mapping_v2`.
//!
//! What can be said at once is a 400, as in Nova; what comes of making and attaching volumes is said by the server's status and by its
//! action.

use serde_json::{Value, json};

use super::block_storage::Asker;
use super::volume_attachments::flag;
use crate::actors::{BootDisk, BootVolume, ServerAttachRequest};
use crate::api::call::Call;
use crate::api::fault::{Fault, Problem};
use crate::api::query::Query;
use crate::api::route::Route;
use crate::api::schema::formats;
use crate::api::v3::snapshots::snapshot_visible;
use crate::api::v3::volume_images::image_visible;
use crate::domain::ids::VolumeId;
use crate::domain::status::VolumeStatus;
use crate::images::ImageStatus;

/// A volume of a server to be.
pub struct Disk {
    volume: Source,
    request: ServerAttachRequest,
}

/// Where it comes from.
enum Source {
    /// It is there.
    There(VolumeId),
    /// It is made with these members.
    Made(Value),
}

/// All volumes of a server to be, in the order in which they are attached.
pub async fn disks(call: &Call, members: &Value) -> Result<Vec<Disk>, Problem> {
    if members.get("block_device_mapping").is_some() {
        let text = "block_device_mapping is not supported: use block_device_mapping_v2.";
        return Err(Problem::BadRequest(text.to_owned()));
    }
    if let Some(image) = members.get("imageRef").and_then(Value::as_str).filter(|image| !image.is_empty()) {
        image_check(call, image).await?;
    }
    let mappings = members.get("block_device_mapping_v2").and_then(Value::as_array).filter(|list| !list.is_empty());
    let Some(mappings) = mappings else { return Ok(Vec::new()) };
    let mut indexes: Vec<i64> = mappings.iter().filter_map(boot_index).collect();
    indexes.sort_unstable();
    if indexes.is_empty() || indexes.iter().zip(0..).any(|(index, expected)| *index != expected) {
        let text = "Boot sequence for the instance and image/block device mapping combination is not valid.";
        return Err(invalid(text));
    }
    let mut disks = Vec::new();
    for mapping in mappings {
        disks.extend(disk(call, mapping).await?);
    }
    Ok(disks)
}

/// Nothing for a disk that is no volume: there is no guest to see it.
async fn disk(call: &Call, mapping: &Value) -> Result<Option<Disk>, Problem> {
    let text = |name: &str| mapping.get(name).and_then(Value::as_str);
    let size = match mapping.get("volume_size") {
        Some(Value::String(text)) => formats::size_of(text),
        Some(size) => size.as_u64().and_then(|size| u32::try_from(size).ok()),
        None => None,
    };
    let is_volume = text("destination_type").map_or(text("source_type") == Some("volume"), |to| to == "volume");
    let source = text("source_type").unwrap_or("volume");
    let uuid = match (source, text("uuid")) {
        ("blank", _) => "",
        (_, Some(uuid)) => uuid,
        (_, None) => return Err(invalid("Missing device UUID.")),
    };
    let made = |member: &str| json!({member: uuid, "size": size, "volume_type": text("volume_type")});
    let volume = match (source, is_volume) {
        ("image", _) => {
            image_check(call, uuid).await?;
            if !is_volume {
                return Ok(None);
            }
            let missing = "Images with destination_type 'volume' need to have a non-zero size specified";
            size.ok_or_else(|| invalid(missing))?;
            Source::Made(made("imageRef"))
        }
        ("blank", false) => return Ok(None),
        ("blank", true) => {
            let missing = "Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size";
            let size = size.ok_or_else(|| invalid(missing))?;
            Source::Made(json!({"size": size, "volume_type": text("volume_type")}))
        }
        (source, false) => return Err(invalid(&format!("Mapping {source} to local is not supported."))),
        ("snapshot", true) => {
            let missing = |_| invalid(&format!("failed to get snapshot {uuid}."));
            snapshot_visible(call, uuid).await.map_err(missing)?;
            Source::Made(made("snapshot_id"))
        }
        (_, true) => Source::There(there(call, uuid, boot_index(mapping) == Some(0)).await?),
    };
    let request = ServerAttachRequest {
        device: text("device_name").map(str::to_owned),
        tag: text("tag").map(str::to_owned),
        delete_on_termination: flag(mapping.get("delete_on_termination")),
        shelved_allowed: false,
        multiattach_allowed: call.compute_since(60),
        answered_early: false,
        boot: Some(if boot_index(mapping) == Some(0) { BootDisk::Root } else { BootDisk::Further }),
    };
    Ok(Some(Disk { volume, request }))
}

/// A volume that can be attached, and booted from if it is the first one.
async fn there(call: &Call, id: &str, is_root: bool) -> Result<VolumeId, Problem> {
    let state = call.volume_visible(id).await.map_err(|_| invalid(&format!("failed to get volume {id}.")))?;
    let volume = &state.volume;
    if volume.status != VolumeStatus::Available && !(volume.multiattach && volume.status == VolumeStatus::InUse) {
        return Err(Problem::BadRequest(format!(
            "Invalid volume: volume '{id}' status must be 'available'. Currently in '{}'",
            volume.status
        )));
    }
    if volume.multiattach && !call.compute_since(60) {
        let text = "Multiattach volumes are only supported starting with compute API version 2.60.";
        return Err(Problem::BadRequest(text.to_owned()));
    }
    if is_root && !volume.bootable {
        return Err(Problem::BadRequest(format!("Block Device {id} is not bootable.")));
    }
    Ok(state.id())
}

async fn image_check(call: &Call, id: &str) -> Result<(), Problem> {
    let bad = |text: String| Err(Problem::BadRequest(text));
    match image_visible(call, id).await {
        None => bad(format!("Image {id} could not be found.")),
        Some(image) if image.status != ImageStatus::Active => bad(format!("Image {id} is not active.")),
        Some(_) => Ok(()),
    }
}

/// A place in the boot sequence; none: it is not booted from.
fn boot_index(mapping: &Value) -> Option<i64> {
    let index = match mapping.get("boot_index") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(index) => index.as_i64(),
        None => None,
    };
    index.filter(|index| *index >= 0)
}

fn invalid(text: &str) -> Problem {
    Problem::BadRequest(format!("Block Device Mapping is Invalid: {text}"))
}

/// Makes the volumes that are not there yet.
pub async fn made(asker: Asker, disks: Vec<Disk>) -> Result<Vec<BootVolume>, String> {
    let mut volumes = Vec::with_capacity(disks.len());
    for Disk { volume, request } in disks {
        let id = match volume {
            Source::There(id) => id,
            Source::Made(members) => {
                let made = asker.ask(&Route::VolumeCreate, Query::default(), json!({"volume": members})).await;
                let made = made.map_err(|problem| Fault::from(problem).message)?;
                let id = made["volume"]["id"].as_str().and_then(formats::uuid_any);
                VolumeId(id.ok_or_else(|| "a volume without an id was made".to_owned())?)
            }
        };
        volumes.push((id, request));
    }
    Ok(volumes)
}
