//! Access rules of application credentials.

use hearth::domain::ids::RequestId;
use hearth::identity::{Presented, Refusal};
use serde_json::{Value, json};

use super::stand_in::{StandIn, status};

fn credential(rules: Value) -> Value {
    let catalog = json!([{"type": "volumev3"}, {"type": "compute"}]);
    json!({"application_credential": {"id": "a", "name": "n", "restricted": true, "access_rules": rules}, "catalog": catalog})
}

#[tokio::test]
async fn a_credential_opens_what_its_rules_name() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    let rule = |service: &str, method: &str, path: &str| json!({"id": "r", "service": service, "method": method, "path": path});
    stand_in.token("service", &json!({"roles": [{"name": "service"}]}));
    stand_in.token("free", &credential(Value::Null));
    stand_in.token("none", &credential(json!([])));
    stand_in.token("list", &credential(json!([rule("volumev3", "GET", "/v3/*/volumes")])));
    stand_in.token(
        "two",
        &credential(json!([
            rule("compute", "POST", "/compute/v2.1/**"),
            rule("volumev3", "DELETE", "/v3/{project}/volumes/{id}"),
        ])),
    );
    // a service that the catalogue of the token does not have
    stand_in.token("elsewhere", &credential(json!([rule("block-storage", "GET", "/v3/*/volumes")])));
    const BLOCK: &[&str] = &["block-storage", "volumev3"];
    const COMPUTE: &[&str] = &["compute"];
    for (token, method, path, services, service_token, expected) in [
        ("free", "PUT", "/v3/x", BLOCK, None, 200),
        ("none", "GET", "/v3/p/volumes", BLOCK, None, 401),
        ("list", "GET", "/v3/p/volumes", BLOCK, None, 200),
        ("list", "get", "/v3/p/volumes", BLOCK, None, 401),
        ("list", "POST", "/v3/p/volumes", BLOCK, None, 401),
        ("list", "GET", "/v3/p/volumes/v", BLOCK, None, 401),
        ("list", "GET", "/v3/p/volumes", COMPUTE, None, 401),
        ("list", "GET", "/v3/p/volumes", &[][..], None, 401),
        ("two", "POST", "/compute/v2.1/servers/s/os-volume_attachments", COMPUTE, None, 200),
        ("two", "POST", "/compute/v2.1/servers/s/os-volume_attachments", BLOCK, None, 401),
        ("two", "DELETE", "/v3/p/volumes/v", BLOCK, None, 200),
        ("two", "DELETE", "/v3/p/volumes/v/x", BLOCK, None, 401),
        ("elsewhere", "GET", "/v3/p/volumes", BLOCK, None, 401),
        // what a service does for the user is not what the rules are about
        ("list", "POST", "/v3/p/attachments", BLOCK, Some("service"), 200),
        ("list", "POST", "/v3/p/attachments", BLOCK, Some("free"), 401),
    ] {
        let presented = Presented {
            token: Some(token),
            service_token,
            method,
            path,
            service_types: services,
            ..Presented::default()
        };
        let found: Result<_, Refusal> = keystone.authenticate(presented, &RequestId::from("r")).await;
        assert_eq!(status(&found), expected, "{token} {method} {path} {services:?} {service_token:?}");
    }
}
