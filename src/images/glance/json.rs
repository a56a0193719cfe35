//! Images as Glance writes them, and as it wants them written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::ids::{ImageId, ProjectId};
use crate::domain::time::Timestamp;
use crate::images::image::{Image, ImageStatus, NewImage, Visibility};

/// What Glance says of an image. What is missing has its default: Glance has left out members, over the years.
#[derive(Deserialize)]
struct Shown {
    id: ImageId,
    name: Option<String>,
    status: ImageStatus,
    visibility: Visibility,
    #[serde(default)]
    protected: bool,
    #[serde(default)]
    os_hidden: bool,
    owner: Option<ProjectId>,
    disk_format: Option<String>,
    container_format: Option<String>,
    size: Option<u64>,
    virtual_size: Option<u64>,
    #[serde(default)]
    min_disk: u64,
    #[serde(default)]
    min_ram: u64,
    checksum: Option<String>,
    os_hash_algo: Option<String>,
    os_hash_value: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    created_at: String,
    updated_at: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Members which are no properties.
const NO_PROPERTIES: [&str; 7] = ["self", "file", "schema", "stores", "locations", "direct_url", "metadata"];

/// One image; none: that is none.
pub(super) fn image(value: &Value) -> Option<Image> {
    let shown = Shown::deserialize(value).ok()?;
    let others = shown.others.into_iter().filter(|(name, _)| !NO_PROPERTIES.contains(&name.as_str()));
    let properties: BTreeMap<String, String> =
        others.filter_map(|(name, value)| value.as_str().map(|text| (name, text.to_owned()))).collect();
    Some(Image {
        id: shown.id,
        name: shown.name,
        status: shown.status,
        visibility: shown.visibility,
        protected: shown.protected,
        hidden: shown.os_hidden,
        owner: shown.owner,
        disk_format: shown.disk_format,
        container_format: shown.container_format,
        size: shown.size,
        virtual_size: shown.virtual_size,
        min_disk: shown.min_disk,
        min_ram: shown.min_ram,
        checksum: shown.checksum,
        os_hash_algo: shown.os_hash_algo,
        os_hash_value: shown.os_hash_value,
        tags: shown.tags,
        properties,
        created_at: instant(&shown.created_at)?,
        updated_at: instant(&shown.updated_at)?,
    })
}

/// A page; none: that is none.
pub(super) fn images(page: &Value) -> Option<Vec<Image>> {
    page["images"].as_array()?.iter().map(image).collect()
}

fn instant(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_microsecond()))
}

/// The body of a create.
pub(super) fn new_image(id: ImageId, owner: &ProjectId, new: &NewImage) -> Value {
    let base = json!({
        "id": id,
        "name": new.name,
        "owner": owner,
        "visibility": new.visibility,
        "protected": new.protected,
        "os_hidden": new.hidden,
        "disk_format": new.disk_format,
        "container_format": new.container_format,
        "min_disk": new.min_disk,
        "min_ram": new.min_ram,
        "tags": new.tags,
    });
    let mut members: Map<String, Value> =
        new.properties.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    // whatever the properties are called, these are what they are
    members.extend(base.as_object().cloned().unwrap_or_default());
    Value::Object(members)
}
