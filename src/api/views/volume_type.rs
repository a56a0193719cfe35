//! Volume types (types-qos-encryption §1).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::store::VolumeType;

/// Extra specs that everybody with access to the type may see.
pub const VISIBLE_SPECS: &[&str] = &["RESKEY:availability_zones", "multiattach", "replication_enabled"];

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
    let specs: BTreeMap<&str, &str> = row
        .extra_specs
        .iter()
        .filter(|(key, _)| sight.specs && (sight.sensitive || VISIBLE_SPECS.contains(&key.as_str())))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let mut body = json!({
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "is_public": row.is_public,
        "extra_specs": specs,
    });
    if sight.qos {
        body["qos_specs_id"] = Value::Null;
    }
    if sight.access && !is_default_view {
        body["os-volume-type-access:is_public"] = json!(row.is_public);
    }
    body
}
