//! Compute's volume attachments (nova-volume-attachments §1.5).

use serde_json::{Map, Value, json};

use crate::api::microversion::Microversion;
use crate::domain::attachment::{Attachment, BlockDeviceMapping};

/// One object of a GET. None for a row that Compute did not make.
pub fn shown(row: &Attachment, version: Microversion) -> Option<Value> {
    let bdm = row.bdm.as_ref()?;
    let mut members = base(row, bdm, version);
    if let Some(device) = &bdm.device {
        members.insert("device".to_owned(), json!(device));
    }
    if version >= Microversion::v2(89) {
        members.shift_remove("id");
        members.insert("attachment_id".to_owned(), json!(row.id));
        members.insert("bdm_uuid".to_owned(), json!(bdm.uuid));
    }
    Some(Value::Object(members))
}

/// The answer of a POST: the form of 2.79, with `id`, and with `device` even when it is null.
pub fn created(row: &Attachment, version: Microversion) -> Option<Value> {
    let bdm = row.bdm.as_ref()?;
    let mut members = base(row, bdm, version);
    members.insert("device".to_owned(), json!(bdm.device));
    Some(Value::Object(members))
}

fn base(row: &Attachment, bdm: &BlockDeviceMapping, version: Microversion) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("id".to_owned(), json!(row.volume_id));
    members.insert("volumeId".to_owned(), json!(row.volume_id));
    members.insert("serverId".to_owned(), json!(bdm.server_id));
    if version >= Microversion::v2(70) {
        members.insert("tag".to_owned(), json!(bdm.tag));
    }
    if version >= Microversion::v2(79) {
        members.insert("delete_on_termination".to_owned(), json!(bdm.delete_on_termination));
    }
    members
}
