//! The requests that are compared.

use hearth::storm::Step;
use serde_json::json;

/// The instance that the attachments are for.
const INSTANCE: &str = "11111111-2222-3333-4444-555555555555";

/// `GET` of a path below `/v3`.
pub fn get(path: &str) -> Step {
    Step::new(path, "GET", path, &[200])
}

/// `POST /attachments` without connector: one commit.
pub fn reserve() -> Step {
    reserve_for(INSTANCE)
}

/// The same for this instance: a volume that is reserved for another one refuses it.
pub fn reserve_for(instance: &str) -> Step {
    Step::new("create", "POST", "/attachments", &[200])
        .body(json!({"attachment": {"volume_uuid": "{volume}", "instance_uuid": instance}}))
        .capture("attachment", "attachment.id")
}

/// `PUT /attachments/{id}` with a connector: the intent and the result, two commits.
fn connect() -> Step {
    let connector = json!({"host": "compute-1", "ip": "10.0.0.1", "initiator": "iqn.1993-08.org.debian:01:1"});
    Step::new("connect", "PUT", "/attachments/{attachment}", &[200])
        .body(json!({"attachment": {"connector": connector}}))
}

fn complete() -> Step {
    Step::new("complete", "POST", "/attachments/{attachment}/action", &[204]).body(json!({"os-complete": {}}))
}

fn release() -> Step {
    Step::new("delete", "DELETE", "/attachments/{attachment}", &[200])
}

/// Reserve, connect, complete, delete: four durable requests.
pub fn attachments() -> Vec<Step> {
    vec![reserve(), connect(), complete(), release()]
}

/// Reserve, connect, delete, for the times of one client alone.
pub fn reserve_connect_release() -> Vec<Step> {
    vec![reserve(), connect(), release()]
}

/// The same requests for a baseline, which knows volumes but no attachments.
pub fn for_baseline(cycle: &[Step]) -> Vec<Step> {
    let step = |step: &Step| {
        let path = step.path.replace("{attachment}", "{volume}");
        Step { path, captures: std::collections::BTreeMap::new(), ..step.clone() }
    };
    cycle.iter().map(step).collect()
}
