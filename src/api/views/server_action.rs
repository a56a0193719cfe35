//! Actions of servers and their events (nova-volume-attachments §8.2).

use serde_json::{Map, Value, json};

use super::{server, time};
use crate::api::microversion::Microversion;
use crate::domain::server::Server;
use crate::domain::server_action::ServerAction;

/// How much of an action the caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its events.
    pub events: bool,
    /// Where they were, and what programs said.
    pub traces: bool,
    /// Why they failed (2.84).
    pub details: bool,
}

/// One row of a list.
pub fn summary(action: &ServerAction, version: Microversion) -> Value {
    Value::Object(base(action, version))
}

/// One action.
pub fn detail(action: &ServerAction, of: &Server, version: Microversion, sight: Sight) -> Value {
    let mut members = base(action, version);
    if sight.events {
        members.insert("events".to_owned(), json!([event(action, of, version, sight)]));
    }
    Value::Object(members)
}

fn base(action: &ServerAction, version: Microversion) -> Map<String, Value> {
    let failed = action.end.as_ref().is_some_and(|end| end.failure.is_some());
    let members = json!({
        "action": action.kind.as_str(),
        "instance_uuid": action.server_id,
        "request_id": action.requester.request_id,
        "user_id": action.requester.user_id,
        "project_id": action.requester.project_id,
        "start_time": time::micros(action.started_at),
        "message": failed.then_some("Error"),
    });
    let Value::Object(mut members) = members else { return Map::new() };
    if version >= Microversion::v2(58) {
        members.insert("updated_at".to_owned(), json!(time::micros(action.updated_at())));
    }
    members
}

/// The only event of an action.
fn event(action: &ServerAction, of: &Server, version: Microversion, sight: Sight) -> Value {
    let result = action.end.as_ref().map(|end| if end.failure.is_some() { "Error" } else { "Success" });
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("event", json!(action.kind.event()));
    put("start_time", json!(time::micros(action.started_at)));
    put("finish_time", json!(action.end.as_ref().map(|end| time::micros(end.at))));
    put("result", json!(result));
    if sight.traces {
        // a program's inside is nobody's business
        put("traceback", Value::Null);
    }
    if version >= Microversion::v2(62) {
        put("hostId", json!(server::host_id_of(of)));
        if sight.traces {
            put("host", json!(of.host));
        }
    }
    if version >= Microversion::v2(84) && sight.details {
        put("details", json!(action.end.as_ref().and_then(|end| end.failure.as_deref())));
    }
    Value::Object(members)
}
