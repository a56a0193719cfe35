//! The way of a request in front of Keystone: headers, words, the project of the URL, roles; on every side.

use std::sync::Arc;
use std::time::Duration;

use hearth::api::ApiOptions;
use hearth::domain::quota::Limits;
use hearth::identity::Strategy;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::stand_in::{Mood, StandIn, instant};
use crate::api::harness::{ADMIN, Harness};

const SIDES: [&str; 6] =
    ["/v3/volumes", "/v3/p/volumes", "/v3/nonsense", "/compute/v2.1/servers/s", "/admin/actors", "/x"];

/// A service in front of a Keystone which knows these tokens of project `p`: [`ADMIN`], `member`, `reader`, `service`.
async fn start() -> (StandIn, Harness) {
    let stand_in = StandIn::start().await;
    let roles = |names: &[&str]| json!({"roles": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    stand_in.token(ADMIN, &roles(&["admin", "member", "reader"]));
    stand_in.token("member", &roles(&["member", "reader"]));
    stand_in.token("reader", &roles(&["reader"]));
    stand_in.token("service", &roles(&["service"]));
    let options = ApiOptions { auth: Strategy::Keystone(stand_in.strategy()), ..ApiOptions::default() };
    let harness = Harness::start_with(options, Limits::NONE).await;
    (stand_in, harness)
}

/// Everything that the middleware would set, and with which a client might claim to be somebody.
const FORGED: [(&str, &str); 22] = [
    ("X-Identity-Status", "Confirmed"),
    ("X-Service-Identity-Status", "Confirmed"),
    ("X-User", "root"),
    ("X-User-Id", "root"),
    ("X-User-Name", "root"),
    ("X-User-Domain-Id", "default"),
    ("X-Project-Id", "p"),
    ("X-Project-Name", "p"),
    ("X-Project-Domain-Id", "default"),
    ("X-Tenant", "p"),
    ("X-Tenant-Id", "p"),
    ("X-Domain-Id", "default"),
    ("X-Role", "admin"),
    ("X-Roles", "admin,member,reader,service"),
    ("X-Is-Admin-Project", "True"),
    ("OpenStack-System-Scope", "all"),
    ("X-Service-User-Id", "nova"),
    ("X-Service-Project-Id", "service"),
    ("X-Service-Roles", "service"),
    ("X-Service-Catalog", "[]"),
    ("X-Auth-User", "root"),
    ("Authorization", "Basic cm9vdDpyb290"),
];

#[actix_web::test]
async fn without_a_valid_token_there_is_401() {
    let (stand_in, harness) = start().await;
    stand_in.token("over", &json!({"expires_at": instant(Duration::ZERO)}));
    for path in SIDES.into_iter().chain(["/image/v2/images"]) {
        for token in [None, Some(" "), Some("unknown"), Some("over")] {
            let asked = harness.ask("GET", path);
            let asked = FORGED.iter().fold(asked, |asked, (name, value)| asked.header(name, value));
            let got = match token {
                Some(token) => asked.token(token).send().await,
                None => asked.send().await,
            };
            assert_eq!(got.status, 401, "{path} {token:?}");
            let message = "The request you have made requires authentication.";
            assert_eq!(got.json(), json!({"error": {"code": 401, "title": "Unauthorized", "message": message}}));
            assert_eq!(got.header("www-authenticate"), Some("Keystone uri=\"https://identity.example.org/\""));
            assert_eq!(got.header("content-type"), Some("application/json"));
            assert_eq!(got.header("openstack-api-version"), None);
            assert!(got.header("x-openstack-request-id").is_some());
        }
    }
    for path in ["/", "/v3", "/v3/", "/compute/", "/healthcheck", "/image/v2"] {
        let got = harness.ask("GET", path).send().await;
        assert!([200, 300].contains(&got.status), "{path} needs no token: {}", got.status);
    }
    harness.stop().await;
}

#[actix_web::test]
async fn no_other_header_says_who_asks() {
    let (_stand_in, harness) = start().await;
    let made = |headers: &'static [(&'static str, &'static str)], token: &'static str| {
        let body = json!({"volume": {"size": 1}});
        let asked = harness.post("/v3/volumes", &body).token(token);
        headers.iter().fold(asked, |asked, (name, value)| asked.header(name, value)).send()
    };
    let forged = &FORGED[..];
    assert_eq!(made(forged, "reader").await.status, 403);
    let got = made(forged, "member").await;
    assert_eq!((got.status, &got.json()["volume"]["user_id"]), (202, &json!("u1")), "{}", got.text);
    let asked = harness.ask("GET", "/admin/actors").token("member");
    let got = FORGED.iter().fold(asked, |asked, (name, value)| asked.header(name, value)).send().await;
    assert_eq!(got.status, 403);
    harness.stop().await;
}

#[actix_web::test]
async fn roles_and_projects_are_the_tokens() {
    let (stand_in, harness) = start().await;
    stand_in.token("stranger", &json!({"project": {"id": "q"}}));
    stand_in.token("nobody", &json!({"roles": []}));
    let id = harness.volume(ADMIN, json!({"size": 1})).await;
    let volume = format!("/v3/volumes/{id}");
    let rename = json!({"volume": {"name": "n"}});
    for (token, expected) in [
        (ADMIN, [200, 200, 200, 400]),
        ("member", [200, 200, 403, 400]),
        ("reader", [200, 403, 403, 400]),
        ("stranger", [404, 404, 403, 200]),
        ("nobody", [404, 403, 403, 400]),
    ] {
        let got = [
            harness.ask("GET", &volume).token(token).send().await.status,
            harness.put(&volume, &rename).token(token).send().await.status,
            harness.ask("GET", "/admin/actors").token(token).send().await.status,
            harness.ask("GET", "/v3/q/volumes").token(token).send().await.status,
        ];
        assert_eq!(got, expected, "{token}");
    }
    let wrong = harness.ask("GET", "/v3/q/volumes").token("member").send().await;
    assert_eq!(wrong.fault(), (400, "Malformed request url".to_owned()));
    let asked = harness.ask("GET", &volume).header("X-Storage-Token", "member").send().await;
    assert_eq!(asked.status, 200, "the old name of the header");
    let asked = harness.ask("GET", &volume).header("X-Storage-Token", "member").token("unknown").send().await;
    assert_eq!(asked.status, 401, "the new name goes first");
    harness.stop().await;
}

/// A token of the system or of a domain sees no project's things unless it is an admin's, and nothing is made for it.
#[actix_web::test]
async fn without_a_project_nothing_is_made() {
    let (stand_in, harness) = start().await;
    let id = harness.volume(ADMIN, json!({"size": 1})).await;
    let roles = json!([{"name": "admin"}, {"name": "member"}, {"name": "reader"}]);
    stand_in.token("system", &json!({"project": null, "system": {"all": true}, "roles": roles}));
    stand_in.token(
        "domain",
        &json!({"project": null, "domain": {"id": "d"}, "roles": [{"name": "member"}, {"name": "reader"}]}),
    );
    for token in ["system", "domain"] {
        let got = harness.ask("GET", "/v3/volumes").token(token).send().await;
        assert_eq!((got.status, got.json()["volumes"].clone()), (200, json!([])), "{token}");
        assert_eq!(harness.ask("GET", "/v3/p/volumes").token(token).send().await.status, 400, "{token}");
        let got = harness.post("/v3/volumes", &json!({"volume": {"size": 1}})).token(token).send().await;
        assert_eq!(got.fault(), (400, "Malformed request url".to_owned()), "{token}");
    }
    let snapshot = json!({"snapshot": {"volume_id": id, "force": true}});
    assert_eq!(harness.post("/v3/snapshots", &snapshot).token("system").send().await.fault().0, 400);
    let all = harness.ask("GET", "/v3/volumes?all_tenants=1").token("system").send().await.json();
    assert_eq!(all["volumes"].as_array().map(Vec::len), Some(1));
    // what belongs to no project can be made
    let kind = harness.post("/v3/types", &json!({"volume_type": {"name": "t"}})).token("system").send().await;
    assert_eq!(kind.status, 200, "{}", kind.text);
    harness.stop().await;
}

#[actix_web::test]
async fn a_keystone_that_is_down_is_503_on_every_side() {
    let (stand_in, harness) = start().await;
    assert_eq!(harness.ask("GET", "/v3/volumes").token("member").send().await.status, 200);
    stand_in.validates(Mood::Closes);
    for path in SIDES {
        let got = harness.ask("GET", path).token("reader").send().await;
        let text = "The Keystone service is temporarily unavailable.";
        assert_eq!(got.fault(), (503, text.to_owned()), "{path}");
        assert_eq!(got.header("retry-after"), Some("1"), "{path}");
    }
    let got = harness.ask("GET", "/image/v2/images").token("reader").header("Accept", "application/json").send().await;
    assert_eq!((got.status, got.header("retry-after")), (503, Some("1")));
    assert!(got.text.contains("The Keystone service is temporarily unavailable."), "{}", got.text);
    assert_eq!(harness.ask("GET", "/v3/volumes").token("member").send().await.status, 200);
    assert_eq!(harness.ask("GET", "/healthcheck").send().await.status, 200, "the service itself is well");
    harness.stop().await;
}

/// Only noauth has to fear a browser that was lured to this machine: its tokens are no secret.
#[actix_web::test]
async fn every_host_name_is_served() {
    let (_stand_in, harness) = start().await;
    let got = harness.ask("GET", "/v3/volumes").token("member").header("Host", "volume.example.org").send().await;
    assert_eq!(got.status, 200);
    harness.stop().await;
}

/// A service may detach what a server uses; a user with the same token may not. The user's token may have expired meanwhile.
#[actix_web::test]
async fn a_service_detaches_for_a_user_whose_token_is_over() {
    let (stand_in, harness) = start().await;
    let id = harness.volume("member", json!({"size": 1})).await;
    let server = harness.server("s").await;
    let attach = json!({"volumeAttachment": {"volumeId": id}});
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    assert_eq!(harness.post(&path, &attach).token(ADMIN).send().await.status, 200);
    let shown = harness.until(&id, "in-use").await;
    let attachment = format!("/v3/attachments/{}", shown["attachments"][0]["attachment_id"].as_str().unwrap());
    stand_in.token("over", &json!({"expires_at": instant(Duration::ZERO)}));
    let delete = |token: &str| harness.ask("DELETE", &attachment).volume("3.27").token(token);
    assert_eq!(delete("over").send().await.status, 401);
    assert_eq!(delete("member").send().await.status, 409);
    assert_eq!(delete("over").header("X-Service-Token", "reader").send().await.status, 401);
    let got = delete("over").header("X-Service-Token", "service").send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    harness.stop().await;
}

/// Sixty clients while Keystone goes and comes back: whoever is known goes on, whoever is not is told so and comes again; each
/// volume that was promised is there, once.
#[actix_web::test]
async fn nothing_is_lost_while_keystone_is_away() {
    const CLIENTS: usize = 60;
    let (stand_in, harness) = start().await;
    let (stand_in, harness) = (Arc::new(stand_in), Arc::new(harness));
    for client in 0..CLIENTS {
        stand_in.token(&format!("client-{client}"), &json!({"user": {"id": format!("u{client}")}}));
    }
    let known = |client: usize| client.is_multiple_of(2);
    for client in (0..CLIENTS).filter(|client| known(*client)) {
        assert_eq!(harness.ask("GET", "/v3/volumes").token(&format!("client-{client}")).send().await.status, 200);
    }
    stand_in.stop().await;
    let (told, mut turned_away) = tokio::sync::mpsc::unbounded_channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (harness, told) = (Arc::clone(&harness), told.clone());
            actix_web::rt::spawn(async move { create_until_made(&harness, client, &told).await })
        })
        .collect();
    let mut away = std::collections::BTreeSet::new();
    while away.len() < CLIENTS / 2 {
        away.insert(turned_away.recv().await.unwrap());
    }
    assert!(away.iter().all(|client| !known(*client)), "{away:?}");
    stand_in.start_again().await;
    for (client, made) in clients.into_iter().enumerate() {
        let (refused, headers) = made.await.unwrap();
        assert_eq!(refused > 0, !known(client), "client {client} was turned away {refused} times");
        assert!(headers.contains_key("x-openstack-request-id"));
    }
    let all = harness.ask("GET", "/v3/volumes/detail?all_tenants=1").token(ADMIN).send().await.json();
    let mut users: Vec<&str> =
        all["volumes"].as_array().unwrap().iter().map(|volume| volume["user_id"].as_str().unwrap()).collect();
    users.sort_unstable();
    let mut expected: Vec<String> = (0..CLIENTS).map(|client| format!("u{client}")).collect();
    expected.sort_unstable();
    assert_eq!(users, expected);
}

/// Creates a volume; after 503 again. How often it was turned away, and the headers of the 202.
async fn create_until_made(
    harness: &Harness,
    client: usize,
    told: &tokio::sync::mpsc::UnboundedSender<usize>,
) -> (usize, HeaderMap) {
    let body: Value = json!({"volume": {"size": 1}});
    let mut refused = 0;
    loop {
        let got = harness.post("/v3/volumes", &body).token(&format!("client-{client}")).send().await;
        match got.status {
            202 => return (refused, got.headers),
            503 => {
                let _ = told.send(client);
                refused += 1;
                tokio::task::yield_now().await;
            }
            status => panic!("{status} {}", got.text),
        }
    }
}
