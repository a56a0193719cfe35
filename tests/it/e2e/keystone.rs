//! The shipped binary in front of a real Keystone: its tokens, its catalogue, its stops; the stock clients log in at it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::clients::script_with;
use super::hearth::{Environment, Hearth, wait_until};
use super::keystone_server::{Keystone, Login};

/// A service on simulated hardware that asks this Keystone as its user `hearth`.
async fn hearth(keystone: &Keystone, token_cache_time: &str) -> Hearth {
    hearth_with(keystone, Environment::default().set("auth.keystone.token_cache_time", token_cache_time)).await
}

async fn hearth_with(keystone: &Keystone, environment: Environment) -> Hearth {
    let environment = environment
        .set("backends.0.name", "simulated")
        .set("backends.0.driver", "sim")
        .set("quota.volumes", "-1")
        .set("auth.strategy", "keystone")
        .set("auth.keystone.auth_url", keystone.url())
        .set("auth.keystone.password", "hearth-password");
    let hearth = Hearth::start(environment).await;
    hearth.wait_until_ready().await;
    hearth
}

/// Asks the service with these headers: status and body.
async fn ask(
    hearth: &Hearth,
    method: Method,
    path: &str,
    token: &str,
    service: Option<&str>,
    body: Option<&Value>,
) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.request(method, hearth.url(path)).header("X-Auth-Token", token);
    if let Some(service) = service {
        request = request.header("X-Service-Token", service);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    if status == 401 {
        let challenge = answer.headers()["www-authenticate"].to_str().expect("text").to_owned();
        assert!(challenge.starts_with("Keystone uri=\"http://127.0.0.1:"), "{challenge}");
    }
    (status, answer.json().await.unwrap_or_default())
}

async fn get(hearth: &Hearth, path: &str, token: &str) -> u16 {
    ask(hearth, Method::GET, path, token, None, None).await.0
}

fn one_gib() -> Value {
    json!({"volume": {"size": 1}})
}

/// Every kind of token; the cache is off, so that each request is Keystone's own word.
#[tokio::test]
async fn tokens_of_a_real_keystone() {
    let keystone = Keystone::start().await;
    let hearth = hearth(&keystone, "0").await;
    let demo = keystone.project("demo").await;
    for (user, role) in [("mia", "member"), ("rita", "reader"), ("root", "admin")] {
        keystone.user(user, &demo, role).await;
    }
    let other = keystone.project("other").await;
    keystone.user("sam", &other, "member").await;
    let [mia, rita, root] = ["mia", "rita", "root"].map(|user| Login::new(user, "demo"));
    let (mia, rita, root) = (keystone.token(&mia).await, keystone.token(&rita).await, keystone.token(&root).await);
    let sam = keystone.token(&Login::new("sam", "other")).await;

    // valid: what the roles allow; the URL's project is the token's
    let volumes = format!("/v3/{demo}/volumes");
    for (token, expected) in [(&mia, 202), (&rita, 403), (&root, 202)] {
        let (status, made) = ask(&hearth, Method::POST, &volumes, token, None, Some(&one_gib())).await;
        assert_eq!(status, expected, "{made:#}");
    }
    let (status, made) = ask(&hearth, Method::POST, "/v3/volumes", &mia, None, Some(&one_gib())).await;
    assert_eq!(status, 202, "{made:#}");
    let volume = made["volume"]["id"].as_str().expect("an id").to_owned();
    let (_, listed) = ask(&hearth, Method::GET, &format!("{volumes}/detail"), &rita, None, None).await;
    let owners: Vec<&Value> = listed["volumes"].as_array().expect("a list").iter().map(|row| &row["user_id"]).collect();
    assert_eq!(owners.len(), 3, "{listed:#}");

    // of another project
    assert_eq!(get(&hearth, &volumes, &sam).await, 400);
    assert_eq!(get(&hearth, &format!("/v3/volumes/{volume}"), &sam).await, 404);
    assert_eq!(get(&hearth, &format!("/v3/volumes/{volume}"), &rita).await, 200);
    let elsewhere = ask(&hearth, Method::POST, &format!("/v3/{other}/volumes"), &sam, None, Some(&one_gib())).await;
    assert_eq!(elsewhere.0, 202, "{:#}", elsewhere.1);
    let (_, all) = ask(&hearth, Method::GET, "/v3/volumes?all_tenants=1", &root, None, None).await;
    assert_eq!(all["volumes"].as_array().map(Vec::len), Some(4));
    // the other sides, for administrators and for everybody
    for (path, expected) in
        [("/admin/actors", [403, 200]), ("/compute/v2.1/servers", [200, 200]), ("/image/v2/images", [200, 200])]
    {
        assert_eq!([get(&hearth, path, &mia).await, get(&hearth, path, &root).await], expected, "{path}");
    }

    // no token, and none of this Keystone's
    assert_eq!(get(&hearth, &volumes, "").await, 401);
    assert_eq!(get(&hearth, &volumes, "admin:admin").await, 401);
    assert_eq!(get(&hearth, &volumes, &format!("{mia}A")).await, 401);

    // of the system: no project
    let system = keystone.token(&Login::system("admin")).await;
    assert_eq!(get(&hearth, "/v3/volumes", &system).await, 200);
    assert_eq!(ask(&hearth, Method::POST, "/v3/volumes", &system, None, Some(&one_gib())).await.0, 400);

    // over; a service may go on with it
    let nova = keystone.project_named("service").await;
    keystone.user("nova", &nova, "service").await;
    let service = keystone.token(&Login::new("nova", "service")).await;
    let short = keystone.token(&Login::new("mia", "demo").for_seconds(2)).await;
    assert_eq!(get(&hearth, &volumes, &short).await, 200);
    wait_until("the token is over", async || get(&hearth, &volumes, &short).await == 401).await;
    for (service_token, expected) in [(Some(&service), 200), (Some(&mia), 401), (Some(&short), 401), (None, 401)] {
        let (status, body) =
            ask(&hearth, Method::GET, &volumes, &short, service_token.map(|token| &**token), None).await;
        assert_eq!(status, expected, "{body:#}");
    }

    // revoked: without a cache at once
    keystone.revoke(&mia).await;
    assert_eq!(get(&hearth, &volumes, &mia).await, 401);
    assert_eq!(ask(&hearth, Method::GET, &volumes, &mia, Some(&service), None).await.0, 401, "also for a service");
    // the service user's own token goes with its password; it logs in again by itself, though Keystone also revokes what it gives out
    // within the same second
    keystone.disturb_service_user().await;
    wait_until("the service user is back", async || get(&hearth, &volumes, &rita).await == 200).await;

    // application credentials: with rules, and those have to fit
    let mia = keystone.token(&Login::new("mia", "demo")).await;
    keystone.endpoint("block-storage", &hearth.url("/v3/%(project_id)s")).await;
    let rules = json!([{"service": "block-storage", "method": "GET", "path": "/v3/*/volumes"}]);
    let restricted = keystone.application_credential(&mia, "restricted", Some(rules)).await;
    assert_eq!(get(&hearth, &volumes, &restricted).await, 200);
    assert_eq!(get(&hearth, &format!("{volumes}/detail"), &restricted).await, 401);
    assert_eq!(ask(&hearth, Method::POST, &volumes, &restricted, None, Some(&one_gib())).await.0, 401);
    let free = keystone.application_credential(&mia, "free", None).await;
    assert_eq!(get(&hearth, &format!("{volumes}/detail"), &free).await, 200);

    images_by_the_service_users_token(&keystone, &hearth, &mia).await;

    // what the stock clients do
    for (kind, url) in [("image", "/image"), ("compute", "/compute/v2.1")] {
        keystone.endpoint(kind, &hearth.url(url)).await;
    }
    script_with(&hearth, "with_keystone.py", &[("KEYSTONE_URL", &keystone.url())]).await;
}

/// A second service has its images at the first one, as at a Glance, and is known there as the service user.
async fn images_by_the_service_users_token(keystone: &Keystone, images: &Hearth, token: &str) {
    let image = json!({"name": "i", "disk_format": "raw", "container_format": "bare"});
    let (status, made) = ask(images, Method::POST, "/image/v2/images", token, None, Some(&image)).await;
    assert_eq!(status, 201, "{made:#}");
    let id = made["id"].as_str().expect("an id");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let data = client.put(images.url(&format!("/image/v2/images/{id}/file"))).header("X-Auth-Token", token);
    let data = data.header("Content-Type", "application/octet-stream").body(vec![7_u8; 4096]);
    assert_eq!(data.send().await.expect("an answer").status(), 204);

    let service = keystone.project_named("service").await;
    keystone.grant("hearth", &service, "admin").await;
    let environment = Environment::default().set("image.service", "glance").set("image.endpoint", images.url("/image"));
    let hearth = hearth_with(keystone, environment).await;
    let volume = json!({"volume": {"size": 1, "imageRef": id}});
    let (status, made) = ask(&hearth, Method::POST, "/v3/volumes", token, None, Some(&volume)).await;
    assert_eq!(status, 202, "{made:#}");
    let path = format!("/v3/volumes/{}", made["volume"]["id"].as_str().expect("an id"));
    wait_until("the volume is made from the image", async || {
        let (_, shown) = ask(&hearth, Method::GET, &path, token, None, None).await;
        assert!(!shown["volume"]["status"].as_str().is_none_or(|status| status.starts_with("error")), "{shown:#}");
        shown["volume"]["status"] == "available"
    })
    .await;
}

/// Keystone is killed and started again under load: whoever is known goes on, whoever is new is told to come again, and each volume
/// that was promised is there.
#[tokio::test]
async fn keystone_is_killed_and_started_again_under_load() {
    const KNOWN: usize = 12;
    const NEW: usize = 8;
    /// What each known client makes while Keystone is away.
    const VOLUMES: usize = 4;
    let mut keystone = Keystone::start().await;
    let hearth = hearth(&keystone, "300s").await;
    let demo = keystone.project("demo").await;
    keystone.user("mia", &demo, "member").await;
    let mut tokens = Vec::new();
    for _ in 0..KNOWN + NEW {
        tokens.push(keystone.token(&Login::new("mia", "demo")).await);
    }
    let fresh = tokens.split_off(KNOWN);
    for token in &tokens {
        assert_eq!(get(&hearth, "/v3/volumes", token).await, 200);
    }
    keystone.kill().await;

    let create = async |token: &str| ask(&hearth, Method::POST, "/v3/volumes", token, None, Some(&one_gib())).await;
    let known = tokens.iter().map(async |token| {
        let mut made = Vec::new();
        while made.len() < VOLUMES {
            let (status, body) = create(token).await;
            assert_eq!(status, 202, "a known token goes on: {body:#}");
            made.push(body["volume"]["id"].as_str().expect("an id").to_owned());
        }
        made
    });
    let turned_away = fresh.iter().map(async |token| {
        let (status, body) = create(token).await;
        assert_eq!(status, 503, "{body:#}");
        assert_eq!(body["serviceUnavailable"]["message"], "The Keystone service is temporarily unavailable.");
    });
    let known = async { futures_util::future::join_all(known).await };
    let turned_away = async { futures_util::future::join_all(turned_away).await };
    let (made, _) = tokio::join!(known, turned_away);

    // the clients come again while it starts
    let (keystone, comes_back) = (&mut keystone, &fresh);
    let waiting = comes_back.iter().map(async |token| {
        let mut made = None;
        wait_until("Keystone is back", async || {
            let (status, body) = create(token).await;
            assert!([202, 503].contains(&status), "{status} {body:#}");
            made = body["volume"]["id"].as_str().map(str::to_owned);
            status == 202
        })
        .await;
        vec![made.expect("an id")]
    });
    let waiting = async { futures_util::future::join_all(waiting).await };
    let ((), late) = tokio::join!(keystone.start_again(), waiting);

    let mut promised: Vec<String> = made.into_iter().chain(late).flatten().collect();
    promised.sort_unstable();
    assert_eq!(promised.len(), KNOWN * VOLUMES + NEW);
    let reader = &tokens[0];
    wait_until("every volume is available", async || {
        let (_, shown) = ask(&hearth, Method::GET, "/v3/volumes/detail", reader, None, None).await;
        let rows = shown["volumes"].as_array().expect("a list");
        let mut found: Vec<&str> = rows.iter().map(|row| row["id"].as_str().expect("an id")).collect();
        found.sort_unstable();
        assert_eq!(found, promised);
        rows.iter().all(|row| row["status"] == "available")
    })
    .await;
    // new tokens, revocations, everything is as before
    let token = keystone.token(&Login::new("mia", "demo")).await;
    assert_eq!(get(&hearth, "/v3/volumes", &token).await, 200);
    let (status, took) = hearth.terminate().await;
    assert!(status.success() && took < Duration::from_secs(5), "{status} {took:?}");
}
