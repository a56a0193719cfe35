//! Volume types (types-qos-encryption §1).

use serde_json::{Map, Value, json};

use super::time;
use crate::domain::volume_type::{AVAILABILITY_ZONES, MULTIATTACH, VolumeType};

/// Extra specs that everybody with access to the type may see.
pub const VISIBLE_SPECS: &[&str] = &[AVAILABILITY_ZONES, MULTIATTACH, "replication_enabled"];

/// What the caller may see of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Any extra specs at all.
    pub specs: bool,
    /// All of them.
    pub sensitive: bool,
    /// `qos_specs_id`.
    pub qos: bool,
    /// `os-volume-type-access:is_public`.
    pub access: bool,
}

/// One type; `default` views lack the access member.
pub fn shown(row: &VolumeType, sight: Sight, is_default_view: bool) -> Value {
    let mut body = written(row, false);
    body["extra_specs"] = if sight.specs { specs(row, sight.sensitive) } else { json!({}) };
    if sight.qos {
        body["qos_specs_id"] = json!(row.qos_specs_id);
    }
    if sight.access && !is_default_view {
        body["os-volume-type-access:is_public"] = json!(row.is_public);
    }
    body
}

/// The answer of a write.
pub fn written(row: &VolumeType, with_access: bool) -> Value {
    let mut body = json!({
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "is_public": row.is_public,
        "extra_specs": row.extra_specs,
    });
    if with_access {
        body["os-volume-type-access:is_public"] = json!(row.is_public);
    }
    body
}

/// The whole row, as the answer of an upload to an image has it.
pub fn stored(row: &VolumeType, sensitive: bool) -> Value {
    json!({
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "is_public": row.is_public,
        "extra_specs": specs(row, sensitive),
        "qos_specs_id": null,
        "created_at": time::micros(row.created_at),
        "updated_at": row.updated_at.map(time::micros),
        "deleted_at": null,
        "deleted": false,
    })
}

/// The extra specs: all of them for those who may see `sensitive` ones.
pub fn specs(row: &VolumeType, sensitive: bool) -> Value {
    let seen = row.extra_specs.iter().filter(|(key, _)| sensitive || VISIBLE_SPECS.contains(&key.as_str()));
    seen.map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>().into()
}
