//! Who asks: noauth's tokens, the URL's project, personas, hosts (auth-and-policy §4–§6).

use hearth::api::ApiOptions;
use hearth::domain::ids::ProjectId;
use hearth::domain::quota::Limits;
use hearth::identity::{Noauth, Strategy};
use serde_json::json;

use super::harness::{ADMIN, Harness, MEMBER, NOBODY, READER, STRANGER};

#[actix_web::test]
async fn without_a_token_there_is_401() {
    let harness = Harness::start().await;
    for path in ["/v3/volumes", "/v3/p/volumes", "/v3/nonsense", "/compute/v2.1/servers", "/admin/actors", "/x"] {
        let got = harness.ask("GET", path).send().await;
        assert_eq!(got.status, 401, "{path}");
        assert_eq!(got.json()["error"]["code"], 401);
        assert!(got.header("www-authenticate").is_some());
        assert_eq!(got.header("openstack-api-version"), None);
        assert!(got.header("x-openstack-request-id").is_some());
        let got = harness.ask("GET", path).token(" ").send().await;
        assert_eq!(got.status, 401, "{path} with a blank token");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn every_noauth_client_gets_its_project() {
    let noauth = Noauth { project: ProjectId::from("home"), ..Noauth::default() };
    let options = ApiOptions { auth: Strategy::Noauth(noauth), ..ApiOptions::default() };
    let harness = Harness::start_with(options, Limits::default()).await;
    // token, URL prefix, the project that a new volume gets (none: 400)
    let cases = [
        ("u:p", "/v3", Some("p")),
        ("u:p", "/v3/p", Some("p")),
        ("u:p", "/v3/q", None),
        ("notused", "/v3", Some("home")),
        ("notused", "/v3/q", Some("q")),
        ("admin", "/v3/admin", Some("admin")),
        ("u:p", "/v3/P", None),
        (MEMBER, "/v3/p", Some("p")),
        (MEMBER, "/v3/q", None),
    ];
    for (token, prefix, project) in cases {
        let body = json!({"volume": {"size": 1}});
        let got = harness.post(&format!("{prefix}/volumes"), &body).token(token).send().await;
        let Some(project) = project else {
            assert_eq!(got.fault(), (400, "Malformed request url".to_owned()), "{token} on {prefix}");
            continue;
        };
        assert_eq!(got.status, 202, "{token} on {prefix}: {}", got.text);
        let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
        let shown = harness.get(&format!("/v3/volumes/{id}")).send().await.json();
        assert_eq!(shown["volume"]["os-vol-tenant-attr:tenant_id"], project, "{token} on {prefix}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn personas_see_and_may_what_their_role_says() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let volume = format!("/v3/volumes/{id}");
    let action = format!("{volume}/action");
    let extend = json!({"os-extend": {"new_size": 2}});
    let reset = json!({"os-reset_status": {"status": "error"}});
    let rename = json!({"volume": {"name": "x"}});
    let bad = json!({"os-extend": {"new_size": 0}});
    // persona, [show, update, extend with a bad body, reset, list]
    let cases = [
        (READER, [200, 403, 400, 403, 200]),
        (MEMBER, [200, 200, 400, 403, 200]),
        (STRANGER, [404, 404, 400, 404, 200]),
        (NOBODY, [404, 403, 400, 403, 403]),
    ];
    for (token, expected) in cases {
        let got = [
            harness.ask("GET", &volume).token(token).send().await.status,
            harness.put(&volume, &rename).token(token).send().await.status,
            // A bad body beats policy and visibility.
            harness.post(&action, &bad).token(token).send().await.status,
            harness.post(&action, &reset).token(token).send().await.status,
            harness.ask("GET", "/v3/volumes").token(token).send().await.status,
        ];
        assert_eq!(got, expected, "{token}");
    }
    let denied = harness.post(&action, &extend).token(READER).send().await;
    assert_eq!(denied.fault(), (403, "Policy doesn't allow volume:extend to be performed.".to_owned()));
    for (token, status) in [(READER, 403), (MEMBER, 403), (ADMIN, 200)] {
        assert_eq!(harness.ask("GET", "/admin/actors").token(token).send().await.status, status, "{token}");
    }
    let mine = harness.ask("GET", "/v3/volumes?all_tenants=1").token(STRANGER).send().await.json();
    assert_eq!(mine["volumes"], json!([]), "all_tenants means nothing for members");
    harness.stop().await;
}

#[actix_web::test]
async fn foreign_hosts_are_refused() {
    let harness = Harness::start().await;
    for (host, status) in [("localhost:1", 200), ("127.0.0.1", 200), ("evil.example", 403), ("127.0.0.1.evil", 403)] {
        let got = harness.get("/v3/volumes").header("Host", host).send().await;
        assert_eq!(got.status, status, "{host}");
        let got = harness.ask("GET", "/v3/").header("Host", host).send().await;
        assert_eq!(got.status, status, "{host}, version document");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn the_callers_request_id_is_never_echoed() {
    let harness = Harness::start().await;
    let own = "req-11111111-2222-3333-4444-555555555555";
    let got = harness.get("/v3/volumes").header("X-OpenStack-Request-ID", own).send().await;
    let id = got.header("x-openstack-request-id").unwrap();
    assert_ne!(id, own);
    assert_eq!(got.header("x-compute-request-id"), Some(id));
    harness.stop().await;
}
