//! The version document of Identity, which stock clients look for before they talk to Block Storage or Compute. Its calls
//! themselves answer 404 until it is there; the document lets `auth_type: none` clients pass.

use serde_json::{Value, json};

use super::links::Links;

/// The document at `path` (with or without a slash at the end); none: it is not this one.
pub fn document(path: &str, links: &Links) -> Option<Value> {
    let base = &links.base;
    match path.strip_suffix('/').unwrap_or(path) {
        "/identity/v3" => Some(json!({"version": {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": format!("{base}/identity/v3/")}],
            "media-types": [
                {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"},
            ],
        }})),
        _ => None,
    }
}
