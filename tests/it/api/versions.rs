//! Version documents and negotiation on the wire (microversions §1, §2; nova-volume-attachments §1.1, §8.1).

use serde_json::json;

use super::harness::{ADMIN, Harness};

#[actix_web::test]
async fn version_documents_need_no_token() {
    let harness = Harness::start().await;
    let own = format!("http://{}/v3/", harness.address);
    for (path, status) in [("/", 300), ("/v3", 200), ("/v3/", 200), ("/v3.json", 200)] {
        let got = harness.ask("GET", path).send().await;
        assert_eq!(got.status, status, "{path}");
        let body = got.json();
        let versions = body["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1);
        assert_eq!(versions[0]["id"], "v3.0");
        assert_eq!((&versions[0]["min_version"], &versions[0]["version"]), (&json!("3.0"), &json!("3.71")));
        assert_eq!(versions[0]["status"], "CURRENT");
        assert_eq!(versions[0]["updated"], "2023-08-31T00:00:00Z");
        assert_eq!(versions[0]["links"][1], json!({"rel": "self", "href": own}), "{path}");
        assert_eq!(got.header("openstack-api-version"), Some("volume 3.0"));
        assert_eq!(got.header("x-compute-request-id"), got.header("x-openstack-request-id"));
    }
    let got = harness.ask("GET", "/v3/").volume("3.50").send().await;
    assert_eq!(got.header("openstack-api-version"), Some("volume 3.50"));
    for path in ["/v1", "/v2", "/v1/", "/v2/p/volumes"] {
        assert_eq!(harness.get(path).send().await.status, 404, "{path}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn compute_version_documents() {
    let harness = Harness::start().await;
    for path in ["/compute", "/compute/"] {
        // The root ignores version headers and has none of its own.
        let got = harness.ask("GET", path).compute("9.9").send().await;
        assert_eq!(got.status, 200, "{path}");
        assert_eq!(got.json()["versions"][0]["id"], "v2.1");
        assert_eq!(got.header("openstack-api-version"), None);
        assert_eq!(got.header("x-openstack-request-id"), None);
    }
    for path in ["/compute/v2.1", "/compute/v2.1/"] {
        let got = harness.ask("GET", path).compute("2.60").send().await;
        assert_eq!(got.status, 200, "{path}");
        let version = &got.json()["version"];
        assert_eq!((&version["id"], &version["min_version"]), (&json!("v2.1"), &json!("2.1")));
        assert_eq!(version["version"], "2.104");
        assert_eq!(version["links"][0]["href"], format!("http://{}/compute/v2.1/", harness.address));
        assert_eq!(version["media-types"][0]["type"], "application/vnd.openstack.compute+json;version=2.1");
        assert_eq!(got.header("openstack-api-version"), Some("compute 2.60"));
        assert_eq!(got.header("x-openstack-nova-api-version"), Some("2.60"));
        assert_eq!(got.header("vary"), Some("OpenStack-API-Version, X-OpenStack-Nova-API-Version"));
    }
    let got = harness.ask("GET", "/compute/v2.1/").compute("2.105").send().await;
    assert_eq!(got.fault().0, 406);
    assert_eq!(got.header("openstack-api-version"), Some("compute 2.105"));
    harness.stop().await;
}

#[actix_web::test]
async fn versions_are_negotiated_on_every_call() {
    let harness = Harness::start().await;
    // header, status, version echoed
    let cases: &[(Option<&str>, u16, Option<&str>)] = &[
        (None, 200, Some("volume 3.0")),
        (Some("volume latest"), 200, Some("volume 3.71")),
        (Some("compute 2.1, volume 3.5"), 200, Some("volume 3.5")),
        (Some("volume 3.72"), 406, Some("volume 3.72")),
        (Some("volume 2.0"), 406, None),
        (Some("volume 4.0"), 406, Some("volume 4.0")),
        (Some("volume 3.x"), 400, None),
        (Some("volume"), 400, None),
        (Some("3.5"), 400, None),
    ];
    for (header, status, echoed) in cases {
        let mut asking = harness.get("/v3/volumes");
        if let Some(header) = header {
            asking = asking.header("OpenStack-API-Version", header);
        }
        let got = asking.send().await;
        assert_eq!((got.status, got.header("openstack-api-version")), (*status, *echoed), "{header:?}");
        assert_eq!(got.header("vary").is_some(), echoed.is_some(), "{header:?}");
        assert!(got.header("x-openstack-request-id").unwrap().starts_with("req-"));
    }
    let compute: &[(&str, &str, u16, Option<&str>)] = &[
        ("OpenStack-API-Version", "compute 2.79", 200, Some("2.79")),
        ("X-OpenStack-Nova-API-Version", "2.60", 200, Some("2.60")),
        ("OpenStack-API-Version", "compute latest", 200, Some("2.104")),
        ("OpenStack-API-Version", "volume 3.50", 200, Some("2.1")),
        ("OpenStack-API-Version", "compute 2.01", 400, None),
        ("OpenStack-API-Version", "compute 2.0", 406, Some("2.0")),
    ];
    for (name, value, status, echoed) in compute {
        let got = harness.get("/compute/v2.1/servers").header(name, value).send().await;
        assert_eq!((got.status, got.header("x-openstack-nova-api-version")), (*status, *echoed), "{value}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn routes_below_their_version_do_not_exist() {
    let harness = Harness::start().await;
    let nil = "00000000-0000-0000-0000-000000000000";
    let cases = [
        ("/v3/attachments".to_owned(), "3.26", 404),
        ("/v3/attachments".to_owned(), "3.27", 200),
        (format!("/v3/attachments/{nil}"), "3.26", 404),
        ("/v3/messages".to_owned(), "3.2", 404),
        ("/v3/messages".to_owned(), "3.3", 200),
    ];
    for (path, version, status) in cases {
        let got = harness.get(&path).volume(version).send().await;
        assert_eq!(got.status, status, "{path} at {version}");
        if status == 404 {
            assert_eq!(got.fault().1, "The resource could not be found.");
            assert_eq!(got.header("openstack-api-version"), Some(format!("volume {version}").as_str()));
        }
    }
    // The gate comes before the schema and the look-up, and after the project.
    let action = format!("/v3/attachments/{nil}/action");
    let got = harness.post(&action, &json!({"os-complete": null})).token(ADMIN).volume("3.43").send().await;
    assert_eq!(got.fault(), (404, "The resource could not be found.".to_owned()));
    let got = harness.post(&action, &json!({"os-complete": null})).token(ADMIN).volume("3.44").send().await;
    assert!(got.fault().1.contains("attachment_id"), "{}", got.text);
    harness.stop().await;
}
