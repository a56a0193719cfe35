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

/// `GET /admin/actors/{volume_id}`: the live actor with its own label (`fresh`, `stale`, `post-mortem`); of a passive volume
/// what the record says, which is `fresh`; of a deleted one its history, `post-mortem`.
pub async fn actor_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let missing = || Problem::NotFound(Kind::Volume, id.to_owned());
    let volume_id = url_id(id).map(VolumeId).ok_or_else(missing)?;
    let inspected = call.service().actor_inspect(volume_id);
    let events = call.service().store().events(volume_id, None, HISTORY).await?;
    let mut members = match inspected {
        Some(Value::Object(members)) => members,
        _ => match call.service().volume_view(volume_id).await? {
            Some(state) => passive(call, &state),
            None if events.is_empty() => return Err(missing()),
            None => deleted(volume_id),
        },
    };
    members.insert("history".to_owned(), Value::Array(events.iter().map(event).collect()));
    Ok(Answer::ok(json!({"actor": members})))
}

fn passive(call: &Call, state: &VolumeState) -> Map<String, Value> {
    let volume = &state.volume;
    Map::from_iter([
        ("volume_id".to_owned(), json!(volume.id)),
        ("observation".to_owned(), json!("fresh")),
        ("state".to_owned(), json!("passive")),
        ("status".to_owned(), json!(volume.status.as_str())),
        ("generation".to_owned(), json!(volume.generation)),
        ("epoch".to_owned(), json!(volume.epoch)),
        ("operations".to_owned(), operations(call, state)),
        ("outstanding_calls".to_owned(), json!(volume.outstanding.len())),
        ("orphan_exports".to_owned(), json!(volume.orphan_exports)),
        (
            "connections".to_owned(),
            json!(volume.connections().iter().map(|connection| &connection.host).collect::<Vec<_>>()),
        ),
        ("marker".to_owned(), json!(volume.claims.as_ref().map(|claims| &claims.marker))),
        ("restarts".to_owned(), json!(0)),
    ])
}

fn deleted(volume_id: VolumeId) -> Map<String, Value> {
    Map::from_iter([
        ("volume_id".to_owned(), json!(volume_id)),
        ("observation".to_owned(), json!("post-mortem")),
        ("state".to_owned(), json!("deleted")),
        ("status".to_owned(), Value::Null),
        ("operations".to_owned(), json!([])),
        ("restarts".to_owned(), json!(0)),
    ])
}

fn operations(call: &Call, state: &VolumeState) -> Value {
    let host = state.volume.host.as_deref();
    state.operations.iter().map(|operation| operation_body(call, host, operation)).collect()
}

/// One open operation of a volume at `host`.
pub fn operation_body(call: &Call, host: Option<&str>, operation: &Operation) -> Value {
    let deadline = call.service().step_deadline(host, operation);
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
        "step_deadline_seconds": deadline.map(|deadline| deadline.as_secs_f64()),
        "progress_percent": call.service().progress(operation),
    })
}

/// One committed transition.
pub fn event(event: &Event) -> Value {
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
