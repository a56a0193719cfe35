//! What a token is, how long it is known, and what speaks for a service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::stand_in::{StandIn, advance, ask, instant, status};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_token_says_who_asks() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("good", &json!({"roles": [{"name": "Member"}, {"name": "ADMIN"}]}));
    let caller = ask(&keystone, " good\t", None).await.unwrap();
    assert_eq!((caller.user_id.as_str(), caller.project_id.as_str()), ("u1", "p"));
    assert_eq!(*caller.roles, ["member".to_owned(), "admin".to_owned()]);
    assert!(caller.has_role("admin") && !caller.is_service);
    assert!(!caller.is_admin, "who is an admin the policy says");
    let scope = &caller.scope;
    assert_eq!((scope.user_domain_id.as_deref(), scope.project_domain_id.as_deref()), (Some("d1"), Some("d2")));
    assert!(scope.is_admin_project && scope.service_roles.is_empty(), "{scope:?}");
    stand_in.token("plain", &json!({"is_admin_project": false}));
    let caller = ask(&keystone, "plain", None).await.unwrap();
    assert!(!caller.has_role("admin") && !caller.scope.is_admin_project);
    // of a domain, of the system, of nothing
    for (name, members) in [
        ("domain", json!({"project": null, "domain": {"id": "d1", "name": "D"}})),
        ("some", json!({"project": null, "system": {"all": false}})),
        ("system", json!({"project": null, "system": {"all": true}, "roles": [{"name": "admin"}]})),
        ("unscoped", json!({"project": null, "roles": [], "catalog": []})),
    ] {
        stand_in.token(name, &members);
        let caller = ask(&keystone, name, None).await.unwrap();
        assert_eq!((caller.project_id.as_str(), caller.has_role("admin")), ("", name == "system"), "{name}");
        assert_eq!(caller.scope.domain_id.as_deref(), (name == "domain").then_some("d1"), "{name}");
        assert_eq!(caller.scope.system_scope.as_deref(), (name == "system").then_some("all"), "{name}");
    }
    let lines: Vec<_> = stand_in.seen().into_iter().map(|seen| (seen.line, seen.token, seen.subject)).collect();
    let own = Some("own-1".to_owned());
    assert_eq!(lines[0], ("POST /v3/auth/tokens".to_owned(), None, None));
    assert_eq!(lines[1], ("GET /v3/auth/tokens".to_owned(), own.clone(), Some("good".to_owned())));
    assert_eq!(lines[2], ("GET /v3/auth/tokens".to_owned(), own, Some("plain".to_owned())));
}

#[tokio::test]
async fn what_is_no_token_is_not_shown_to_keystone() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    for token in ["", "  ", "a\u{1}b", "ä\u{7f}"] {
        assert_eq!(status(&ask(&keystone, token, None).await), 401, "{token:?}");
    }
    assert_eq!(stand_in.validations(), 0);
}

#[tokio::test]
async fn an_invalid_token_is_not_remembered() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    assert_eq!(status(&ask(&keystone, "new", None).await), 401);
    assert_eq!(status(&ask(&keystone, "new", None).await), 401);
    assert_eq!(stand_in.validations(), 2);
    stand_in.token("new", &json!({}));
    assert_eq!(status(&ask(&keystone, "new", None).await), 200);
}

#[tokio::test]
async fn a_valid_token_is_known_for_the_cache_time() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("good", &json!({}));
    for _ in 0..3 {
        assert_eq!(status(&ask(&keystone, "good", None).await), 200);
    }
    stand_in.revoke("good");
    advance(4 * MINUTE).await;
    assert_eq!(status(&ask(&keystone, "good", None).await), 200, "a revocation is seen late");
    assert_eq!(stand_in.validations(), 1);
    advance(MINUTE).await;
    assert_eq!(status(&ask(&keystone, "good", None).await), 401);
    assert_eq!(stand_in.validations(), 2);
}

/// Without a cache every request asks, and a revocation is seen at once.
#[tokio::test]
async fn the_cache_can_be_off() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy_with(|options| options.token_cache_time = Duration::ZERO);
    stand_in.token("good", &json!({}));
    for _ in 0..3 {
        assert_eq!(status(&ask(&keystone, "good", None).await), 200);
    }
    assert_eq!((stand_in.validations(), stand_in.logins()), (3, 1));
    stand_in.revoke("good");
    assert_eq!(status(&ask(&keystone, "good", None).await), 401);
}

#[tokio::test]
async fn expiry_is_judged_at_every_request() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("short", &json!({"expires_at": instant(2 * MINUTE)}));
    stand_in.token("over", &json!({"expires_at": instant(Duration::ZERO)}));
    assert_eq!(status(&ask(&keystone, "short", None).await), 200);
    assert_eq!(status(&ask(&keystone, "over", None).await), 401);
    let asked = stand_in.validations();
    advance(MINUTE).await;
    assert_eq!(status(&ask(&keystone, "short", None).await), 200);
    advance(MINUTE).await;
    assert_eq!(status(&ask(&keystone, "short", None).await), 401, "known, and over");
    assert_eq!(stand_in.validations(), asked);
}

/// The clock of the service decides, whatever Keystone's says.
#[tokio::test]
async fn what_keystone_calls_valid_may_be_over_by_our_clock() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("good", &json!({"expires_at": "2025-12-31T23:59:59.000000Z"}));
    stand_in.validates(super::stand_in::Mood::Answers(
        200,
        json!({"token": {"expires_at": "2025-12-31T23:59:59Z", "user": {"id": "u"}}}).to_string(),
    ));
    assert_eq!(status(&ask(&keystone, "good", None).await), 401);
}

#[tokio::test]
async fn a_service_may_go_on_for_a_user_whose_token_is_over() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    let service = json!({"roles": [{"name": "Service"}], "user": {"id": "nova"}});
    stand_in.token("service", &service);
    stand_in.token("over", &json!({"expires_at": instant(Duration::ZERO)}));
    stand_in.token("good", &json!({}));
    assert_eq!(status(&ask(&keystone, "over", None).await), 401);
    let caller = ask(&keystone, "over", Some("service")).await.unwrap();
    assert!(caller.is_service && !caller.has_role("service"));
    assert_eq!(caller.scope.service_roles, ["service"]);
    assert_eq!(caller.scope.service_user_id.as_deref(), Some("nova"));
    assert_eq!(caller.scope.user_domain_id.as_deref(), Some("d1"), "the user's");
    assert_eq!((caller.user_id.as_str(), caller.project_id.as_str()), ("u1", "p"), "the user asks, not the service");
    assert_eq!(stand_in.seen().last().unwrap().line, "GET /v3/auth/tokens?allow_expired=1");
    // it is known now, which lets nobody else in
    let asked = stand_in.validations();
    assert_eq!(status(&ask(&keystone, "over", Some("service")).await), 200);
    assert_eq!(status(&ask(&keystone, "over", None).await), 401);
    assert_eq!(stand_in.validations(), asked);
    assert!(ask(&keystone, "good", Some("service")).await.unwrap().is_service);
    assert!(!ask(&keystone, "good", None).await.unwrap().is_service);
    assert!(!ask(&keystone, "good", Some(" ")).await.unwrap().is_service, "an empty header is none");
}

/// A token that claims to speak for a service and does not ends the request, however good the user's is.
#[tokio::test]
async fn who_speaks_for_a_service_must_be_one() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("good", &json!({}));
    stand_in.token("admin", &json!({"roles": [{"name": "admin"}]}));
    stand_in.token("late", &json!({"roles": [{"name": "service"}], "expires_at": instant(MINUTE)}));
    stand_in.token("over", &json!({"roles": [{"name": "service"}], "expires_at": instant(Duration::ZERO)}));
    for service in ["unknown", "good", "admin", "over", "a\u{1}"] {
        assert_eq!(status(&ask(&keystone, "good", Some(service)).await), 401, "{service}");
    }
    assert_eq!(status(&ask(&keystone, "good", Some("late")).await), 200);
    advance(MINUTE).await;
    assert_eq!(status(&ask(&keystone, "good", Some("late")).await), 401, "known, and over");
    assert_eq!(status(&ask(&keystone, "unknown", Some("late")).await), 401);
    let other = stand_in.strategy_with(|options| options.service_token_roles = vec!["x".into(), "Admin".into()]);
    assert_eq!(status(&ask(&other, "good", Some("admin")).await), 200);
    let nobody = stand_in.strategy_with(|options| options.service_token_roles.clear());
    assert_eq!(status(&ask(&nobody, "good", Some("admin")).await), 401);
}

/// However many requests come with one new token, Keystone is asked once; also when the first of them gives up.
#[tokio::test]
async fn a_storm_of_one_token_is_one_question() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy_with(|options| options.timeout = MINUTE);
    stand_in.token("good", &json!({}));
    stand_in.hold();
    let request = |token: &'static str| {
        let keystone = Arc::clone(&keystone);
        tokio::spawn(async move { status(&ask(&keystone, token, None).await) })
    };
    let first = request("good");
    stand_in.wait_for_validations(1).await;
    let others: Vec<_> = (0..200).map(|_| request("good")).collect();
    let bad: Vec<_> = (0..50).map(|_| request("bad")).collect();
    stand_in.wait_for_validations(2).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    stand_in.release();
    for other in others {
        assert_eq!(other.await.unwrap(), 200);
    }
    for other in bad {
        assert_eq!(other.await.unwrap(), 401);
    }
    assert_eq!((stand_in.validations(), stand_in.logins()), (2, 1));
}

/// A known token costs no question, no waiting, and next to no time: the bound is a hundred times what it takes.
#[tokio::test]
async fn a_known_token_costs_nothing() {
    const TIMES: u32 = 10_000;
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("good", &json!({}));
    assert_eq!(status(&ask(&keystone, "good", None).await), 200);
    stand_in.stop().await;
    let begun = Instant::now();
    for _ in 0..TIMES {
        let asked = ask(&keystone, "good", None);
        // it is there at the first look
        assert!(futures_util::FutureExt::now_or_never(asked).is_some_and(|found| found.is_ok()));
    }
    let each = begun.elapsed() / TIMES;
    println!("a known token takes {each:?}");
    assert!(each < Duration::from_micros(500), "{each:?}");
    assert_eq!(stand_in.validations(), 1);
}

/// The oldest are forgotten, and asked about again.
#[tokio::test]
async fn the_cache_has_a_bound() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy_with(|options| options.max_cached_tokens = 8);
    for number in 0..20 {
        stand_in.token(&format!("t{number}"), &json!({}));
        assert_eq!(status(&ask(&keystone, &format!("t{number}"), None).await), 200);
        let shown = keystone.samples();
        let used = shown.iter().find(|sample| sample.name == "bound_used").unwrap();
        assert_eq!(used.labels[0].1, "keystone.cached_tokens");
        let count: usize = format!("{:?}", used.value).trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert!((1..=8).contains(&count), "{used:?}");
    }
    assert_eq!(stand_in.validations(), 20);
    assert_eq!(status(&ask(&keystone, "t19", None).await), 200);
    assert_eq!(stand_in.validations(), 20);
    assert_eq!(status(&ask(&keystone, "t0", None).await), 200);
    assert_eq!(stand_in.validations(), 21);
}

/// Nothing that is shown of the strategy opens anything.
#[tokio::test]
async fn no_secret_is_shown() {
    let stand_in = StandIn::start().await;
    let keystone = stand_in.strategy();
    stand_in.token("good-token", &json!({}));
    assert_eq!(status(&ask(&keystone, "good-token", None).await), 200);
    let shown = format!("{keystone:?} {:?} {:?}", keystone.samples(), stand_in.options());
    for secret in [super::stand_in::PASSWORD, "good-token", "own-1"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("username: \"hearth\""), "{shown}");
}
