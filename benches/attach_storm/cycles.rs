//! The requests that are compared.

use super::load::Step;

/// The instance that the attachments are for.
const INSTANCE: &str = "11111111-2222-3333-4444-555555555555";

/// `POST /attachments` without connector: one commit.
pub fn reserve() -> Step {
    reserve_for(INSTANCE)
}

/// The same for this instance: a volume that is reserved for another one refuses it.
pub fn reserve_for(instance: &str) -> Step {
    Step {
        method: "POST",
        path: "/v3/attachments".to_owned(),
        body: format!(r#"{{"attachment":{{"volume_uuid":"{{volume}}","instance_uuid":"{instance}"}}}}"#),
        expect: &[200],
        captures: true,
    }
}

/// `PUT /attachments/{id}` with a connector: the intent and the result, two commits.
fn connect() -> Step {
    Step {
        method: "PUT",
        path: "/v3/attachments/{attachment}".to_owned(),
        body: r#"{"attachment":{"connector":{"host":"compute-1","ip":"10.0.0.1","initiator":"iqn.1993-08.org.debian:01:1"}}}"#
            .to_owned(),
        expect: &[200],
        captures: false,
    }
}

fn complete() -> Step {
    Step {
        method: "POST",
        path: "/v3/attachments/{attachment}/action".to_owned(),
        body: r#"{"os-complete":{}}"#.to_owned(),
        expect: &[204],
        captures: false,
    }
}

/// `DELETE /attachments/{id}`.
pub fn release() -> Step {
    Step {
        method: "DELETE",
        path: "/v3/attachments/{attachment}".to_owned(),
        body: String::new(),
        expect: &[200],
        captures: false,
    }
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
    let step =
        |step: &Step| Step { path: step.path.replace("{attachment}", "{volume}"), captures: false, ..step.clone() };
    cycle.iter().map(step).collect()
}
