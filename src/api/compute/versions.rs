//! Compute's version documents (nova-volume-attachments §8.1).

use serde_json::{Value, json};

use crate::api::links::Links;
use crate::api::microversion::COMPUTE;

fn entry(links: &Links, described: bool) -> Value {
    let mut of = vec![json!({"rel": "self", "href": format!("{}/compute/v2.1/", links.base)})];
    if described {
        of.push(json!({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}));
    }
    json!({
        "id": "v2.1",
        "status": "CURRENT",
        "version": COMPUTE.1.to_string(),
        "min_version": COMPUTE.0.to_string(),
        "updated": "2013-07-23T11:33:21Z",
        "links": of,
    })
}

/// `GET /compute/`: the versions there are. `/v2` is not served, so that it is not named.
pub fn list(links: &Links) -> Value {
    json!({"versions": [entry(links, false)]})
}

/// `GET /compute/v2.1/`
pub fn document(links: &Links) -> Value {
    let mut version = entry(links, true);
    version["media-types"] =
        json!([{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]);
    json!({"version": version})
}
