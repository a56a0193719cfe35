//! `/admin/actors`: what lives, answered beside the mailboxes and never behind them.

use serde_json::{Map, Value, json};

use crate::actors::ActorSummary;
use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::api::paging;
use crate::api::views::time;
use crate::domain::ids::VolumeId;
use crate::domain::operation::Operation;
use crate::domain::volume::VolumeState;
use crate::store::Event;

/// How many commands of the history are shown.
const HISTORY: u64 = 50;

/// `GET /admin/actors?state=&status=&volume_id=&operation=&limit=&marker=`: by id.
pub fn actor_list(call: &Call) -> Result<Answer, Problem> {
    let limit = usize::try_from(paging::limit(&call.query)?).unwrap_or(usize::MAX);
    let marker = match call.query.get("marker") {
        None => None,
        Some(text) => Some(url_id(text).map(VolumeId).ok_or_else(|| Problem::NotFound(Kind::Volume, text.to_owned()))?),
    };
    let matches = |actor: &ActorSummary| {
        let equals = |name: &str, own: &str| call.query.get(name).is_none_or(|wanted| wanted == own);
        equals("state", actor.state)
            && equals("status", actor.status.as_deref().unwrap_or_default())
            && equals("volume_id", &actor.volume_id.to_string())
            && call
                .query
                .get("operation")
                .is_none_or(|wanted| actor.operations.iter().any(|operation| operation.starts_with(wanted)))
    };
    let mut actors: Vec<ActorSummary> = call.service().actors().into_iter().filter(matches).collect();
    actors.sort_by_key(|actor| actor.volume_id);
    let count = actors.len();
    actors.retain(|actor| marker.is_none_or(|marker| actor.volume_id > marker));
    actors.truncate(limit);
    Ok(Answer::ok(json!({"actors": actors, "count": count})))
}

/// `GET /admin/actors/{volume_id}`: the live actor (`fresh`), or what the record says (`stale` while nothing is known to be
/// wrong and the volume is merely passive, `post-mortem` when it is gone or its actor cannot start).
pub async fn actor_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let missing = || Problem::NotFound(Kind::Volume, id.to_owned());
    let volume_id = url_id(id).map(VolumeId).ok_or_else(missing)?;
    let inspected = call.service().actor_inspect(volume_id);
    let summary = call.service().actors().into_iter().find(|actor| actor.volume_id == volume_id);
    let state = call.service().volume_view(volume_id).await?;
    let events = call.service().store().events(volume_id, HISTORY).await?;
    if inspected.is_none() && state.is_none() && events.is_empty() {
        return Err(missing());
    }
    let down = summary.as_ref().is_some_and(|actor| matches!(actor.state, "quarantined" | "backing_off"));
    let label = match (&inspected, &state) {
        (_, None) => "post-mortem",
        _ if down => "post-mortem",
        (Some(_), _) => "fresh",
        (None, _) => "stale",
    };
    let mut members = match inspected {
        Some(Value::Object(members)) => members,
        Some(other) => Map::from_iter([("actor".to_owned(), other)]),
        None => Map::new(),
    };
    members.insert("volume_id".to_owned(), json!(volume_id));
    members.insert("label".to_owned(), json!(label));
    members.insert("restarts".to_owned(), json!(summary.as_ref().map_or(0, |actor| actor.restarts)));
    members.insert("admitted".to_owned(), json!(summary.as_ref().map_or(0, |actor| actor.admitted)));
    if let Some(state) = &state {
        members.insert("status".to_owned(), json!(state.volume.status.as_str()));
        members.insert("generation".to_owned(), json!(state.volume.generation));
        members.insert("operations".to_owned(), operations(call, state));
    }
    members.insert("history".to_owned(), Value::Array(events.iter().map(event).collect()));
    Ok(Answer::ok(json!({"actor": members})))
}

fn operations(call: &Call, state: &VolumeState) -> Value {
    state.operations.iter().map(|operation| operation_body(call, operation)).collect()
}

/// One open operation.
pub fn operation_body(call: &Call, operation: &Operation) -> Value {
    let now = call.api.clock.now();
    json!({
        "id": operation.id,
        "kind": operation.kind.name(),
        "step": operation.step.name(),
        "attempt": operation.attempt,
        "epoch": operation.epoch,
        "attachment_id": operation.kind.attachment_id(),
        "probing": operation.probing.as_ref().map(|probing| probing.cause.text.as_str()),
        "undoing": operation.undoing.as_ref().map(|cause| cause.text.as_str()),
        "request_id": operation.requester.request_id,
        "started_at": time::micros(operation.started_at),
        "age_seconds": now.since(operation.started_at).as_secs_f64(),
        "step_age_seconds": now.since(operation.step_started_at).as_secs_f64(),
    })
}

fn event(event: &Event) -> Value {
    json!({
        "generation": event.generation,
        "at": time::micros(event.at),
        "command": event.command,
        "request_id": event.request_id,
        "from_status": event.from_status,
        "to_status": event.to_status,
        "cause": event.cause,
    })
}
