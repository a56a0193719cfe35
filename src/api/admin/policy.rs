//! `/admin/policy`: which rules differ from their defaults, and whether the files as they are now are in force.

use serde_json::{Value, json};

use crate::api::answer::Answer;
use crate::api::call::Call;

/// `GET /admin/policy`
pub fn policy(call: &Call) -> Answer {
    let status = call.api.options.policy.status();
    let changed = status.policy.rules().iter().filter(|rule| rule.origin.is_override());
    let changed: Vec<Value> =
        changed.map(|rule| json!({"name": rule.name, "check": rule.text, "origin": rule.origin.to_string()})).collect();
    Answer::ok(json!({"policy": {
        "files": status.files,
        "enforce_new_defaults": status.enforce_new_defaults,
        "rules": status.policy.rules().len(),
        "changed": changed,
        "warnings": status.policy.warnings(),
        "error": status.error,
    }}))
}
