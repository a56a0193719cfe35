//! Block Storage's version document (microversions §2): the same at `/` and `/v3/`, without a token.

use serde_json::{Value, json};

use crate::api::links::Links;
use crate::api::microversion::BLOCK_STORAGE;

/// The document.
pub fn document(links: &Links) -> Value {
    json!({"versions": [{
        "id": "v3.0",
        "status": "CURRENT",
        "version": BLOCK_STORAGE.1.to_string(),
        "min_version": BLOCK_STORAGE.0.to_string(),
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": format!("{}/v3/", without_version(&links.base))},
        ],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"},
        ],
    }]})
}

/// The base without a trailing `v<digits>` segment.
fn without_version(base: &str) -> &str {
    match base.rsplit_once('/') {
        Some((prefix, last))
            if last
                .strip_prefix('v')
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) =>
        {
            prefix
        }
        _ => base,
    }
}

#[cfg(test)]
mod tests {
    use super::without_version;

    #[test]
    fn a_version_at_the_end_of_the_endpoint_is_cut() {
        assert_eq!(without_version("http://h/volume/v3"), "http://h/volume");
        assert_eq!(without_version("http://h:8776"), "http://h:8776");
        assert_eq!(without_version("http://h/v"), "http://h/v");
    }
}
