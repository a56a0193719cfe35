//! `/os-volumes` and `/os-snapshots`, which Compute had before 2.36: Block Storage's calls in Compute's words, by Block Storage's rules.

use serde_json::{Map, Value, json};

use super::block_storage::Asker;
use super::simulated::is_switched_on;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::query::Query;
use crate::api::route::{ProxyRoute, Route};

/// The first microversion without them.
const GONE: u32 = 36;

/// A member of Compute's and what Block Storage calls it.
type Names = [(&'static str, &'static str)];

const VOLUME_SENT: &Names = &[
    ("size", "size"),
    ("volume_type", "volume_type"),
    ("metadata", "metadata"),
    ("snapshot_id", "snapshot_id"),
    ("availability_zone", "availability_zone"),
    ("display_name", "name"),
    ("display_description", "description"),
];
const VOLUME_SHOWN: &Names = &[
    ("id", "id"),
    ("status", "status"),
    ("size", "size"),
    ("availabilityZone", "availability_zone"),
    ("createdAt", "created_at"),
    ("displayName", "name"),
    ("displayDescription", "description"),
    ("volumeType", "volume_type"),
    ("snapshotId", "snapshot_id"),
    ("metadata", "metadata"),
];
const SNAPSHOT_SENT: &Names =
    &[("volume_id", "volume_id"), ("force", "force"), ("display_name", "name"), ("display_description", "description")];
const SNAPSHOT_SHOWN: &Names = &[
    ("id", "id"),
    ("volumeId", "volume_id"),
    ("status", "status"),
    ("size", "size"),
    ("createdAt", "created_at"),
    ("displayName", "name"),
    ("displayDescription", "description"),
];

/// Answers each of them.
pub async fn handle(call: &Call, route: &ProxyRoute) -> Result<Answer, Problem> {
    is_switched_on(call)?;
    if call.compute_since(GONE) {
        return Err(Problem::Hidden);
    }
    let asker = Asker::of(call);
    let ask = async |route: Route, body: Value| asker.ask(&route, Query::default(), body).await;
    Ok(match route {
        ProxyRoute::VolumeList => {
            let listed = asker.ask(&Route::VolumeList { detail: true }, page(call)?, Value::Null).await?;
            Answer::ok(json!({"volumes": rows(&listed["volumes"], volume)}))
        }
        ProxyRoute::VolumeCreate => {
            let made = ask(Route::VolumeCreate, sent(&call.body, "volume", VOLUME_SENT)).await?;
            Answer::ok(json!({"volume": volume(&made["volume"])}))
        }
        ProxyRoute::VolumeShow(id) => {
            let shown = ask(Route::VolumeShow(id.clone()), Value::Null).await?;
            Answer::ok(json!({"volume": volume(&shown["volume"])}))
        }
        ProxyRoute::VolumeDelete(id) => {
            ask(Route::VolumeDelete(id.clone()), Value::Null).await?;
            Answer::empty(202)
        }
        ProxyRoute::SnapshotList => {
            let listed = asker.ask(&Route::SnapshotList { detail: true }, page(call)?, Value::Null).await?;
            Answer::ok(json!({"snapshots": rows(&listed["snapshots"], snapshot)}))
        }
        ProxyRoute::SnapshotCreate => {
            let made = ask(Route::SnapshotCreate, sent(&call.body, "snapshot", SNAPSHOT_SENT)).await?;
            Answer::ok(json!({"snapshot": snapshot(&made["snapshot"])}))
        }
        ProxyRoute::SnapshotShow(id) => {
            let shown = ask(Route::SnapshotShow(id.clone()), Value::Null).await?;
            Answer::ok(json!({"snapshot": snapshot(&shown["snapshot"])}))
        }
        ProxyRoute::SnapshotDelete(id) => {
            ask(Route::SnapshotDelete(id.clone()), Value::Null).await?;
            Answer::empty(202)
        }
    })
}

/// What is heeded of the query.
fn page(call: &Call) -> Result<Query, Problem> {
    let known = ["limit", "offset"].iter().filter_map(|name| Some((*name, call.query.get(name)?)));
    let parts: Vec<String> =
        known.map(|(name, value)| format!("{name}={}", crate::api::percent::encode(value))).collect();
    Query::parse(&parts.join("&"))
}

/// A body in Block Storage's words. What is no object is left to its schema.
fn sent(body: &Value, noun: &str, names: &Names) -> Value {
    match body.get(noun) {
        Some(Value::Object(members)) => {
            let renamed = names.iter().filter_map(|(from, to)| Some(((*to).to_owned(), members.get(*from)?.clone())));
            json!({noun: renamed.collect::<Map<_, _>>()})
        }
        _ => body.clone(),
    }
}

fn shown(object: &Value, names: &Names) -> Map<String, Value> {
    names.iter().map(|(to, from)| ((*to).to_owned(), object[*from].clone())).collect()
}

fn rows(list: &Value, view: fn(&Value) -> Value) -> Vec<Value> {
    list.as_array().into_iter().flatten().map(view).collect()
}

fn volume(object: &Value) -> Value {
    let mut members = shown(object, VOLUME_SHOWN);
    let mut attachment = Map::new();
    if let Some(first) = object["attachments"].get(0) {
        for (to, from) in
            [("id", "volume_id"), ("volumeId", "volume_id"), ("serverId", "server_id"), ("device", "device")]
        {
            if first[from].is_string() {
                attachment.insert(to.to_owned(), first[from].clone());
            }
        }
    }
    // without one there is one without members
    members.insert("attachments".to_owned(), json!([attachment]));
    Value::Object(members)
}

fn snapshot(object: &Value) -> Value {
    Value::Object(shown(object, SNAPSHOT_SHOWN))
}
