//! Images, their schema and the versions of the API as JSON.

use serde_json::{Map, Value, json};

use super::route::Resource;
use crate::api::views::time;
use crate::images::Image;

/// The version that is served, and those that it includes.
const CURRENT: &str = "v2.9";
const SUPPORTED: [&str; 9] = ["v2.8", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"];

/// The version document at a path, with its status; none: there is none. Clients without a catalogue look for the one at `/v2`,
/// also those that only want volumes.
pub(super) fn versions(resource: &Resource, base: &str, has_images: bool) -> Option<(u16, Value)> {
    let status = match resource {
        Resource::Root if has_images => 300,
        Resource::Versions if has_images => 200,
        Resource::Version => 200,
        _ => return None,
    };
    let version = |id: &str, status: &str| json!({"id": id, "status": status, "links": [{"rel": "self", "href": format!("{base}/v2/")}]});
    let supported = SUPPORTED.iter().map(|id| version(id, "SUPPORTED"));
    let all: Vec<Value> = std::iter::once(version(CURRENT, "CURRENT")).chain(supported).collect();
    Some((status, json!({ "versions": all })))
}

/// One image.
pub(super) fn image(image: &Image) -> Value {
    let mut members: Map<String, Value> =
        image.properties.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    // whatever the properties are called, these are what they are
    let base = [
        ("id", json!(image.id)),
        ("name", json!(image.name)),
        ("status", json!(image.status.as_str())),
        ("visibility", json!(image.visibility.as_str())),
        ("protected", json!(image.protected)),
        ("os_hidden", json!(image.hidden)),
        ("owner", json!(image.owner)),
        ("disk_format", json!(image.disk_format)),
        ("container_format", json!(image.container_format)),
        ("size", json!(image.size)),
        ("virtual_size", json!(image.virtual_size)),
        ("min_disk", json!(image.min_disk)),
        ("min_ram", json!(image.min_ram)),
        ("checksum", json!(image.checksum)),
        ("os_hash_algo", json!(image.os_hash_algo)),
        ("os_hash_value", json!(image.os_hash_value)),
        ("tags", json!(image.tags)),
        ("created_at", json!(time::seconds(image.created_at))),
        ("updated_at", json!(time::seconds(image.updated_at))),
        ("self", json!(format!("/v2/images/{}", image.id))),
        ("file", json!(format!("/v2/images/{}/file", image.id))),
        ("schema", json!("/v2/schemas/image")),
    ];
    members.extend(base.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(members)
}

/// The schema of this name.
pub(super) fn schema(name: &str) -> Option<Value> {
    match name {
        "image" => Some(image_schema()),
        "images" => Some(json!({
            "name": "images",
            "properties": {
                "images": {"type": "array", "items": image_schema()},
                "first": {"type": "string"},
                "next": {"type": "string"},
                "schema": {"type": "string"},
            },
            "links": [
                {"rel": "first", "href": "{first}"},
                {"rel": "next", "href": "{next}"},
                {"rel": "describedby", "href": "{schema}"},
            ],
        })),
        _ => None,
    }
}

fn image_schema() -> Value {
    let word = json!({"type": ["null", "string"], "maxLength": 255});
    let read_only = |kind: Value| json!({"type": kind, "readOnly": true});
    let text = read_only(json!("string"));
    let maybe_text = read_only(json!(["null", "string"]));
    let number = json!({"type": "integer"});
    json!({
        "name": "image",
        "properties": {
            "id": {"type": "string", "pattern": super::members::ID_PATTERN},
            "name": word,
            "status": {"type": "string", "readOnly": true, "enum": ["queued", "saving", "active", "deactivated"]},
            "visibility": {"type": "string", "enum": ["community", "public", "private", "shared"]},
            "protected": {"type": "boolean"},
            "os_hidden": {"type": "boolean"},
            "owner": word,
            "disk_format": {"type": ["null", "string"], "enum": formats(&super::members::DISK_FORMATS)},
            "container_format": {"type": ["null", "string"], "enum": formats(&super::members::CONTAINER_FORMATS)},
            "size": read_only(json!(["null", "integer"])),
            "virtual_size": read_only(json!(["null", "integer"])),
            "min_disk": number,
            "min_ram": number,
            "checksum": maybe_text,
            "os_hash_algo": maybe_text,
            "os_hash_value": maybe_text,
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 255}},
            "created_at": text,
            "updated_at": text,
            "self": text,
            "file": text,
            "schema": text,
        },
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    })
}

fn formats(words: &[&str]) -> Value {
    std::iter::once(Value::Null).chain(words.iter().map(|word| json!(word))).collect()
}
