//! Paths: what is routed, and the order of checks around it.

use hearth::api::route::{OperatorRoute, Route, TypeRoute, path_parse, route_find};
use serde_json::json;

use super::harness::{ADMIN, Harness};

#[track_caller]
fn check(method: &str, path: &str, project: Option<&str>, route: Option<Route>) {
    let parsed = path_parse(path).unwrap();
    assert_eq!((parsed.project.as_deref(), route_find(method, &parsed)), (project, route), "{method} {path}");
}

#[test]
fn paths_lead_to_routes_and_slashes_are_never_merged() {
    let x = || "x".to_owned();
    check("GET", "/", None, Some(Route::BlockVersions { status: 300 }));
    check("GET", "/v3", None, Some(Route::BlockVersions { status: 200 }));
    check("GET", "/v3/", None, Some(Route::BlockVersions { status: 200 }));
    check("GET", "/v3/p/", Some("p"), None);
    check("GET", "/v3/p", None, None);
    check("GET", "/compute/v2.1/p/", Some("p"), None);
    check("GET", "/v3/volumes", None, Some(Route::VolumeList { detail: false }));
    check("GET", "/v3/p/volumes", Some("p"), Some(Route::VolumeList { detail: false }));
    check("GET", "/v3/p%2Fq/volumes", Some("p/q"), Some(Route::VolumeList { detail: false }));
    check("GET", "/v3/p/volumes/detail", Some("p"), Some(Route::VolumeList { detail: true }));
    check("GET", "/v3/volumes/detail.json", None, Some(Route::VolumeList { detail: true }));
    check("GET", "/v3/p/volumes/summary", Some("p"), Some(Route::VolumeSummary));
    check("PUT", "/v3/volumes/summary", None, Some(Route::VolumeUpdate("summary".to_owned())));
    check("GET", "/v3/volumes/x.json", None, Some(Route::VolumeShow(x())));
    check("GET", "/v3/volumes/x.xml", None, Some(Route::VolumeShow("x.xml".to_owned())));
    check("GET", "/v3/volumes/", None, None);
    check("GET", "/v3//volumes", None, None);
    check("GET", "//v3/volumes", None, None);
    check("GET", "/v3/p//volumes", Some("p"), None);
    check("POST", "/v3/volumes//action", None, None);
    check("POST", "/v3/volumes/x/action", None, Some(Route::VolumeAction(x())));
    check("GET", "/v3/volumes/x/action", None, None);
    check("PATCH", "/v3/volumes/x", None, None);
    check("HEAD", "/v3/volumes", None, None);
    check("PUT", "/v3/volumes", None, None);
    check("GET", "/v3/p/attachments/x", Some("p"), Some(Route::AttachmentShow(x())));
    check("GET", "/v3/types/default", None, Some(Route::Type(TypeRoute::Show("default".to_owned()))));
    check("DELETE", "/v3/p/messages/x", Some("p"), Some(Route::MessageDelete(x())));
    check("GET", "/v3/snapshots", None, Some(Route::SnapshotList { detail: false }));
    check("GET", "/v3/snapshots/detail", None, Some(Route::SnapshotList { detail: true }));
    check("GET", "/v3/p/os-services", Some("p"), Some(Route::Operator(OperatorRoute::ServiceList)));
    check("GET", "/v3/capabilities/h@b", None, Some(Route::Operator(OperatorRoute::CapabilityShow("h@b".to_owned()))));
    check("GET", "/v3/clusters/", None, None);
    check("GET", "/compute/", None, Some(Route::ComputeVersions));
    check("GET", "/compute/v2.1", None, Some(Route::ComputeVersion));
    check("GET", "/compute/v2.1/servers/x", None, Some(Route::ServerShow(x())));
    check("GET", "/compute/v2.1/p/servers", Some("p"), Some(Route::ServerList { detail: false }));
    check("GET", "/compute/v2.1/servers/x/os-volume_attachments/", None, None);
    let (server, volume) = (x(), "y".to_owned());
    check("PUT", "/compute/v2.1/servers/x/os-volume_attachments/y", None, Some(Route::MappingUpdate(server, volume)));
    check("PATCH", "/compute/v2.1/servers/x/os-volume_attachments/y", None, None);
    check(
        "DELETE",
        "/compute/v2.1/p/servers/x/os-volume_attachments/y",
        Some("p"),
        Some(Route::MappingDelete(x(), "y".to_owned())),
    );
    check("GET", "/compute/v2/servers", None, None);
    check("GET", "/admin/actors/x", None, Some(Route::AdminActorShow(x())));
    check("GET", "/admin/volumes/x/history", None, Some(Route::AdminVolumeHistory(x())));
    check("GET", "/admin/events", None, Some(Route::AdminEvents));
    check("GET", "/admin/policy", None, Some(Route::AdminPolicy));
    check("GET", "/admin", None, None);
    check("GET", "/nonsense", None, None);
    assert_eq!(path_parse("/v3/%ff/volumes"), None);
}

#[actix_web::test]
async fn health() {
    let harness = Harness::start().await;
    let got = harness.ask("GET", "/healthcheck").header("Host", "10.0.0.1").send().await;
    assert_eq!((got.status, got.text.as_str()), (200, "OK"));
    assert_eq!(got.header("openstack-api-version"), None);
    let got = harness.ask("GET", "/healthcheck").header("Accept", "application/json").send().await;
    assert_eq!(got.json(), json!({"detailed": false, "reasons": ["OK"]}));
    assert_eq!(harness.ask("HEAD", "/healthcheck").send().await.status, 204);
    harness.stop().await;
}

#[actix_web::test]
async fn the_first_failed_check_answers() {
    let harness = Harness::start().await;
    let nil = "00000000-0000-0000-0000-000000000000";
    let action = format!("/v3/volumes/{nil}/action");
    let no_action = |name: &str| {
        format!("There is no such action: {name}. Verify the request body and Content-Type header and try again.")
    };
    // path, content type, body, status, text
    let cases: Vec<(&str, Option<&str>, &str, u16, String)> = vec![
        (&action, Some("text/xml"), "<x/>", 415, "Unsupported Content-Type".into()),
        (&action, Some("application/json"), "{", 400, "Malformed request body".into()),
        (&action, Some("application/json"), "null", 400, "Malformed request body".into()),
        (&action, Some("application/json"), "[]", 400, "Malformed request body".into()),
        (&action, Some("application/json"), "{}", 400, "Malformed request body".into()),
        (&action, Some("application/json"), r#"{"a": 1, "b": 2}"#, 400, "Malformed request body".into()),
        (&action, Some("application/json"), r#"{"os-fly": {}}"#, 400, no_action("os-fly")),
        (&action, Some("application/json"), "", 400, no_action("None")),
        (&action, None, r#"{"os-extend": {"new_size": 2}}"#, 400, no_action("None")),
        (
            &action,
            Some("application/json; charset=UTF-8"),
            r#"{"os-extend": {"new_size": 2}}"#,
            404,
            format!("Volume {nil} could not be found."),
        ),
        (
            &action,
            Some("application/vnd.openstack.volume+json"),
            r#"{"os-extend": {}}"#,
            400,
            "Invalid input for field/attribute os-extend. Value: {}. 'new_size' is a required property".into(),
        ),
        ("/v3/volumes", Some("application/json"), "", 400, "Malformed request body".into()),
        ("/v3/volumes", None, r#"{"volume": {"size": 1}}"#, 400, "Malformed request body".into()),
        ("/v3/volumes", Some("application/json"), "null", 400, "None is not of type 'object'".into()),
        ("/v3/volumes", Some("application/json"), "[]", 400, "[] is not of type 'object'".into()),
        ("/v3/volumes", Some("application/json"), "{}", 400, "'volume' is a required property".into()),
        ("/v3/q/volumes", Some("application/json"), "{}", 400, "Malformed request url".into()),
        ("/v3/q/volumes", Some("application/json"), "{", 400, "Malformed request body".into()),
        (
            "/v3/volumes/x/action",
            Some("application/json"),
            r#"{"os-extend": {"new_size": 2}}"#,
            404,
            "Volume x could not be found.".into(),
        ),
    ];
    for (path, kind, body, status, text) in cases {
        let mut asking = harness.ask("POST", path).token(ADMIN).raw(body.to_owned());
        if let Some(kind) = kind {
            asking = asking.header("Content-Type", kind);
        }
        let got = asking.send().await;
        assert_eq!(got.fault(), (status, text), "POST {path} {kind:?} {body}");
        assert_eq!(got.header("openstack-api-version"), Some("volume 3.0"), "faults carry the version");
    }
    for (method, path) in [("PATCH", "/v3/volumes/x"), ("GET", "/v3/volumes/"), ("GET", "/v3/volumes/x/action")] {
        let got = harness.ask(method, path).token(ADMIN).send().await;
        assert_eq!((got.status, got.header("openstack-api-version")), (404, None), "{method} {path}");
        assert!(got.header("content-type").unwrap().starts_with("text/plain"));
    }
    let got = harness.get("/v3/volumes").header("Accept", "application/vnd.openstack.volume+json").send().await;
    assert_eq!(got.header("content-type"), Some("application/vnd.openstack.volume+json"));
    let got = harness.get("/v3/volumes").header("Accept", "text/html").send().await;
    assert_eq!(got.header("content-type"), Some("application/json"));
    harness.stop().await;
}

#[actix_web::test]
async fn links_follow_the_url_and_the_proxy() {
    let harness = Harness::start().await;
    let id = harness.volume(ADMIN, json!({"size": 1})).await;
    let href = |body: &serde_json::Value| body["volume"]["links"][0]["href"].as_str().unwrap().to_owned();
    let host = harness.address;
    let got = harness.get(&format!("/v3/p/volumes/{id}")).send().await.json();
    assert_eq!(href(&got), format!("http://{host}/v3/p/volumes/{id}"));
    let got = harness.get(&format!("/v3/volumes/{id}")).header("X-Forwarded-Host", "a, cloud.example").send().await;
    assert_eq!(href(&got.json()), format!("http://cloud.example/v3/volumes/{id}"));
    harness.stop().await;
}
