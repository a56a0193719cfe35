//! `POST /os-server-external-events` (nova-volume-attachments §8.2): what other services say of servers. Hearth's own Block Storage
//! needs no such call: it tells its guests itself.

use serde_json::{Value, json};

use super::servers::server_seen;
use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::Problem;
use crate::api::schema;
use crate::domain::ids::VolumeId;
use crate::rule;

/// Events that are about a volume, which their tag names.
const OF_VOLUMES: [&str; 2] = ["volume-extended", "volume-reimaged"];

/// `POST /os-server-external-events`. A volume that has grown is told to the guest. The others ask for nothing: a volume is reimaged
/// while nobody is connected to it, and Hearth has no networks.
pub async fn events_create(call: &Call) -> Result<Answer, Problem> {
    schema::SERVER_EXTERNAL_EVENTS.check(call.version, &call.body)?;
    call.enforce_own(rule!("os_compute_api:os-server-external-events:create"))?;
    let events = call.body["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut told = Vec::with_capacity(events.len());
    let mut all_well = true;
    for event in events {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        let (name, tag) = (text("name").unwrap_or_default(), text("tag"));
        let code = match server_seen(call, text("server_uuid").unwrap_or_default()).await? {
            _ if OF_VOLUMES.contains(&name) && tag.is_none_or(str::is_empty) => 400,
            None => 404,
            Some(server) if server.host.is_none() => 422,
            Some(server) => {
                if name == "volume-extended"
                    && let Some(volume_id) = tag.and_then(url_id).map(VolumeId)
                {
                    call.service().server_volume_extended(server.id, volume_id, call.context.caller());
                }
                200
            }
        };
        all_well &= code == 200;
        told.push(answered(event, code));
    }
    Ok(Answer::json(if all_well { 200 } else { 207 }, json!({"events": told})))
}

/// The event as it was sent, with what has become of it.
fn answered(event: &Value, code: u16) -> Value {
    let mut event = event.clone();
    event["code"] = json!(code);
    if code != 200 {
        event["status"] = json!("failed");
    } else if event.get("status").is_none() {
        event["status"] = json!("completed");
    }
    event
}
