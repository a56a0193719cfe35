//! Keystone is down, fails, lies or hangs: 503 within the time-out, and tokens that are known go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::images::stand_in::serve_tls;

use super::stand_in::{Mood, StandIn, TIMEOUT, ask, instant, status};

#[tokio::test]
async fn whatever_keystone_does_instead_is_503_and_known_tokens_go_on() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    let elsewhere = StandIn::start().await;
    stand_in.token("known", &json!({}));
    stand_in.token("new", &json!({}));
    elsewhere.token("new", &json!({}));
    assert_eq!(status(&ask(&keystone, "known", None).await), 200);
    let away = format!("Location: http://{}/v3/auth/tokens\r\n", elsewhere.address);
    let text = |status, text: &str| Mood::Answers(status, text.to_owned());
    for mood in [
        text(500, ""),
        text(502, ""),
        text(503, ""),
        text(400, ""),
        text(403, ""),
        text(429, ""),
        text(201, r#"{"token": {}}"#),
        text(204, ""),
        text(200, ""),
        text(200, "<html>"),
        text(200, "{}"),
        text(200, r#"{"token": {"user": {"id": "u"}}}"#),
        text(200, r#"{"token": {"user": {}, "expires_at": "2030-01-01T00:00:00Z"}}"#),
        text(200, r#"{"token": {"user": {"id": "u"}, "expires_at": "tomorrow"}}"#),
        text(200, &" ".repeat(5 << 20)),
        Mood::Leads(302, away.clone()),
        Mood::Leads(307, away),
        Mood::Closes,
        Mood::Silent,
    ] {
        stand_in.validates(mood.clone());
        let begun = Instant::now();
        assert_eq!(status(&ask(&keystone, "new", None).await), 503, "{mood:?}");
        assert!(begun.elapsed() < 10 * TIMEOUT, "{mood:?}: {:?}", begun.elapsed());
        assert_eq!(status(&ask(&keystone, "known", None).await), 200, "{mood:?}");
        assert_eq!(status(&ask(&keystone, "known", Some("new")).await), 503, "the service's token: {mood:?}");
    }
    assert!(elsewhere.seen().is_empty(), "nobody else is ever asked");
    stand_in.validates(Mood::Well);
    assert_eq!(status(&ask(&keystone, "new", None).await), 200);
}

#[tokio::test]
async fn keystone_goes_and_comes_back() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("known", &json!({"expires_at": instant(Duration::from_secs(60))}));
    stand_in.token("new", &json!({}));
    assert_eq!(status(&ask(&keystone, "known", None).await), 200);
    stand_in.stop().await;
    assert_eq!(status(&ask(&keystone, "new", None).await), 503);
    assert_eq!(status(&ask(&keystone, "known", None).await), 200);
    super::stand_in::advance(Duration::from_secs(60)).await;
    assert_eq!(status(&ask(&keystone, "known", None).await), 401, "known tokens go on until they expire");
    stand_in.start_again().await;
    assert_eq!(status(&ask(&keystone, "new", None).await), 200);
}

/// It was never there: the service starts without it.
#[tokio::test]
async fn keystone_may_come_later() {
    let stand_in = StandIn::start().await;
    stand_in.stop().await;
    let keystone = stand_in.strategy();
    stand_in.token("good", &json!({}));
    assert_eq!(status(&ask(&keystone, "good", None).await), 503);
    stand_in.start_again().await;
    assert_eq!(status(&ask(&keystone, "good", None).await), 200);
}

/// A connection that Keystone closes in the moment in which it is used costs nobody anything.
#[tokio::test]
async fn one_broken_connection_is_not_an_outage() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("good", &json!({}));
    stand_in.hold();
    stand_in.validates(Mood::Closes);
    let asked = {
        let keystone = Arc::clone(&keystone);
        tokio::spawn(async move { status(&ask(&keystone, "good", None).await) })
    };
    stand_in.wait_for_validations(1).await;
    // the first question has its mood already; the second one meets a well Keystone
    stand_in.validates(Mood::Well);
    stand_in.release();
    assert_eq!(asked.await.unwrap(), 200);
    assert_eq!(stand_in.validations(), 2);
}

/// Beyond the bound new tokens are turned away at once, and nothing is lost for those that wait.
#[tokio::test]
async fn new_tokens_wait_within_a_bound() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy_with(|options| {
        options.timeout = Duration::from_secs(60);
        options.max_connections = 2;
        options.max_waiting = 5;
    });
    stand_in.token("known", &json!({}));
    assert_eq!(status(&ask(&keystone, "known", None).await), 200);
    stand_in.hold();
    let waiting: Vec<_> = (0..5)
        .map(|number| {
            let (name, keystone) = (format!("t{number}"), Arc::clone(&keystone));
            stand_in.token(&name, &json!({}));
            tokio::spawn(async move { status(&ask(&keystone, &name, None).await) })
        })
        .collect();
    stand_in.wait_for_validations(3).await;
    let refused = tokio::time::timeout(TIMEOUT, ask(&keystone, "one too many", None)).await;
    assert_eq!(status(&refused.expect("at once")), 503);
    assert_eq!(status(&ask(&keystone, "known", None).await), 200);
    assert_eq!(stand_in.validations(), 3, "two at the same time");
    stand_in.release();
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), 200);
    }
    assert_eq!(stand_in.validations(), 6);
    assert_eq!(status(&ask(&keystone, "one too many", None).await), 401);
}

/// Neither a password nor a token goes to somebody whose certificate is from no authority of the settings.
#[tokio::test]
async fn its_certificate_must_be_from_an_authority_of_the_settings() {
    let (asked, all) = std::sync::mpsc::channel();
    let port = serve_tls(move |request| {
        asked.send(request.to_owned()).unwrap();
        let end = "2099-01-01T00:00:00.000000Z";
        let body = json!({"token": {"expires_at": end, "user": {"id": "u"}}}).to_string();
        if request.starts_with("POST ") { (201, "X-Subject-Token: own\r\n", body) } else { (200, "", body) }
    });
    let stand_in = StandIn::start().await;
    let authority = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/images/tls/ca.pem");
    let over_tls = |ca_file: Option<std::path::PathBuf>| {
        stand_in.strategy_with(|options| {
            options.auth_url = format!("https://localhost:{port}");
            options.ca_file = ca_file;
        })
    };
    for ca_file in [None, Some(authority.with_file_name("server.pem"))] {
        assert_eq!(status(&ask(&over_tls(ca_file), "good", None).await), 503);
        assert!(all.try_recv().is_err(), "it was asked");
    }
    assert_eq!(status(&ask(&over_tls(Some(authority)), "good", None).await), 200);
    assert!(all.recv().unwrap().starts_with("POST /v3/auth/tokens"));
}
