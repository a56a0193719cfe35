//! The service user: its logins, the renewal of its token, the endpoint of its catalogue.

use std::sync::Arc;
use std::time::Duration;

use hearth::identity::keystone::Password;
use serde_json::{Value, json};

use super::stand_in::{Mood, OWN_LIFE, PASSWORD, StandIn, advance, ask, status};

#[tokio::test]
async fn a_rejected_token_is_renewed_once() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    for name in ["a", "b", "c"] {
        stand_in.token(name, &json!({}));
    }
    assert_eq!(status(&ask(&keystone, "a", None).await), 200);
    stand_in.forget_own_tokens();
    assert_eq!(status(&ask(&keystone, "b", None).await), 200);
    assert_eq!((stand_in.logins(), stand_in.validations()), (2, 3));
    // a Keystone that rejects whatever it gives: the request ends, and it ends soon
    stand_in.validates(Mood::Answers(401, String::new()));
    assert_eq!(status(&ask(&keystone, "c", None).await), 503);
    assert_eq!((stand_in.logins(), stand_in.validations()), (3, 5));
    stand_in.validates(Mood::Well);
    assert_eq!(status(&ask(&keystone, "c", None).await), 200);
}

/// All who wait use the one new token.
#[tokio::test]
async fn many_questions_need_one_login() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy_with(|options| options.timeout = Duration::from_secs(60));
    let ask_all = async || {
        let asked = (0..20).map(|number| {
            let (name, keystone) = (format!("t{number}"), Arc::clone(&keystone));
            tokio::spawn(async move { status(&ask(&keystone, &name, None).await) })
        });
        for asked in asked.collect::<Vec<_>>() {
            assert_eq!(asked.await.unwrap(), 401);
        }
    };
    ask_all().await;
    assert_eq!((stand_in.logins(), stand_in.validations()), (1, 20));
    stand_in.forget_own_tokens();
    ask_all().await;
    assert_eq!(stand_in.logins(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy_with(|options| options.token_cache_time = Duration::ZERO);
    stand_in.token("good", &json!({"expires_at": "2099-01-01T00:00:00Z"}));
    assert_eq!(status(&ask(&keystone, "good", None).await), 200);
    advance(OWN_LIFE - Duration::from_secs(120)).await;
    assert_eq!(status(&ask(&keystone, "good", None).await), 200);
    assert_eq!(stand_in.logins(), 1);
    advance(Duration::from_secs(61)).await;
    assert_eq!(status(&ask(&keystone, "good", None).await), 200);
    assert_eq!(stand_in.logins(), 2);
}

#[tokio::test]
async fn the_password_may_change_while_the_service_runs() {
    let stand_in = StandIn::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{PASSWORD}\n")).unwrap();
    let path = file.path().to_owned();
    let keystone = stand_in.strategy_with(|options| options.user.password = Password::File(path));
    stand_in.token("good", &json!({}));
    stand_in.token("other", &json!({}));
    assert_eq!(status(&ask(&keystone, "good", None).await), 200);
    stand_in.set_password("battery staple");
    stand_in.forget_own_tokens();
    assert_eq!(status(&ask(&keystone, "other", None).await), 503, "whose fault it is only the log says");
    std::fs::write(file.path(), "battery staple").unwrap();
    assert_eq!(status(&ask(&keystone, "other", None).await), 200);
    std::fs::write(file.path(), "x".repeat(5_000)).unwrap();
    stand_in.forget_own_tokens();
    stand_in.token("third", &json!({}));
    assert_eq!(status(&ask(&keystone, "third", None).await), 503);
}

#[tokio::test]
async fn a_login_that_fails_is_503() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("good", &json!({}));
    for mood in [
        Mood::Answers(401, String::new()),
        Mood::Answers(500, String::new()),
        Mood::Answers(201, "{}".to_owned()),
        Mood::Leads(201, "X-Subject-Token: t\r\n".to_owned()),
        Mood::Leads(302, format!("Location: http://{}/\r\n", stand_in.address)),
        Mood::Closes,
        Mood::Silent,
    ] {
        stand_in.logs_in(mood.clone());
        assert_eq!(status(&ask(&keystone, "good", None).await), 503, "{mood:?}");
        assert_eq!(keystone.service_user_token(None).await, Err(hearth::identity::keystone::Unavailable));
    }
    assert_eq!(stand_in.validations(), 0);
    stand_in.logs_in(Mood::Well);
    assert_eq!(status(&ask(&keystone, "good", None).await), 200);
}

/// What the client of the image service borrows.
#[tokio::test]
async fn the_service_users_token_serves_others_too() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    assert_eq!(keystone.service_user_token(None).await.as_deref(), Ok("own-1"));
    assert_eq!(keystone.service_user_token(Some("another")).await.as_deref(), Ok("own-1"));
    assert_eq!(keystone.service_user_token(Some("own-1")).await.as_deref(), Ok("own-2"));
    assert_eq!(keystone.service_user_token(Some("own-1")).await.as_deref(), Ok("own-2"));
}

fn identity(interface: &str, region: &str, url: &str) -> Value {
    json!({"type": "identity", "endpoints": [{"interface": interface, "region_id": region, "region": region, "url": url}]})
}

#[tokio::test]
async fn tokens_are_shown_to_the_endpoint_of_the_catalogue() {
    for (catalog, region, expected) in [
        (vec![identity("internal", "one", "{}/identity/v3/")], None, "/identity/v3/auth/tokens"),
        (vec![identity("internal", "one", "{}/v2.0")], None, "/v3/auth/tokens"),
        (
            vec![identity("internal", "one", "{}/a"), identity("internal", "two", "{}/b")],
            Some("two"),
            "/b/v3/auth/tokens",
        ),
        (
            vec![identity("public", "one", "{}/a"), identity("internal", "one", "{}/b")],
            Some("one"),
            "/b/v3/auth/tokens",
        ),
        // none that fits: where the user logs in
        (vec![identity("public", "one", "{}/a")], None, "/v3/auth/tokens"),
        (vec![identity("internal", "one", "{}/a")], Some("two"), "/v3/auth/tokens"),
        (vec![json!({"type": "image", "endpoints": []})], None, "/v3/auth/tokens"),
    ] {
        let stand_in = StandIn::start().await;
        let text = serde_json::to_string(&catalog).unwrap().replace("{}", &format!("http://{}", stand_in.address));
        stand_in.set_catalog(serde_json::from_str(&text).unwrap());
        stand_in.token("good", &json!({}));
        let keystone = stand_in.strategy_with(|options| options.region_name = region.map(str::to_owned));
        assert_eq!(status(&ask(&keystone, "good", None).await), 200, "{text}");
        let lines: Vec<String> = stand_in.seen().into_iter().map(|seen| seen.line).collect();
        assert_eq!(lines, ["POST /v3/auth/tokens".to_owned(), format!("GET {expected}")], "{text}");
    }
}
