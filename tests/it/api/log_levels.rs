//! Log levels that operators read and set (services-hosts-pools §1).

use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER};

async fn put(harness: &Harness, action: &str, body: &Value) -> Got {
    harness.put(&format!("/v3/os-services/{action}"), body).token(ADMIN).volume("3.32").send().await
}

/// The rows of an answer without their levels.
fn rows(got: &Got) -> Vec<(String, String)> {
    assert_eq!(got.status, 200, "{}", got.text);
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    got.json()["log_levels"].as_array().unwrap().iter().map(|row| (text(row, "host"), text(row, "binary"))).collect()
}

#[actix_web::test]
async fn what_is_set_is_read_in_every_row() {
    let harness = Harness::start_on(&[("h@a#p", Default::default())]).await;
    let level = async |body: &Value| {
        let got = put(&harness, "get-log", body).await;
        let levels = got.json()["log_levels"].as_array().unwrap().clone();
        let first = levels[0]["levels"].clone();
        assert!(levels.iter().all(|row| row["levels"] == first), "{levels:?}");
        first
    };
    let writer = "hearth::telemetry::request_log";
    assert_eq!(level(&json!({"prefix": writer})).await, json!({writer: "INFO"}));
    let got = put(&harness, "set-log", &json!({"prefix": "hearth::telemetry", "level": "warn"})).await;
    assert_eq!((got.status, got.text.as_str()), (202, ""));
    assert_eq!(level(&json!({"prefix": writer})).await, json!({writer: "WARNING"}));
    let all = level(&json!({})).await;
    assert_eq!(all["hearth::store::checkpoint"], "INFO", "{all}");
    assert_eq!(level(&json!({"prefix": "cinder.volume"})).await, json!({}));
    for level in ["DEBUG", "info", "Warning", "WARN", "error", "CRITICAL"] {
        assert_eq!(put(&harness, "set-log", &json!({"level": level})).await.status, 202, "{level}");
    }
    assert_eq!(level(&json!({"prefix": writer})).await, json!({writer: "CRITICAL"}));
    // who means nobody changes nothing
    for nobody in [json!({"binary": "cinder-backup"}), json!({"server": "elsewhere"})] {
        let mut body = nobody.clone();
        body["level"] = json!("DEBUG");
        assert_eq!(put(&harness, "set-log", &body).await.status, 202);
        assert_eq!(rows(&put(&harness, "get-log", &nobody).await), []);
        assert_eq!(level(&json!({"prefix": writer})).await, json!({writer: "CRITICAL"}));
    }
    harness.stop().await;
}

#[actix_web::test]
async fn rows_are_chosen_by_binary_and_server() {
    let harness = Harness::start_on(&[("h@a#p", Default::default()), ("h@b#p", Default::default())]).await;
    let (api, scheduler) = (("h", "cinder-api"), ("h", "cinder-scheduler"));
    let (a, b) = (("h@a", "cinder-volume"), ("h@b", "cinder-volume"));
    let cases: [(Value, &[(&str, &str)]); 12] = [
        (json!({}), &[api, scheduler, a, b]),
        (json!({"binary": "*", "server": "", "prefix": ""}), &[api, scheduler, a, b]),
        (json!({"binary": null, "server": null, "prefix": null}), &[api, scheduler, a, b]),
        (json!({"binary": ""}), &[api, scheduler, a, b]),
        (json!({"binary": "cinder-api"}), &[api]),
        (json!({"binary": "cinder-scheduler"}), &[scheduler]),
        (json!({"binary": "cinder-volume"}), &[a, b]),
        (json!({"binary": "cinder-backup"}), &[]),
        (json!({"server": "h"}), &[api, scheduler, a, b]),
        (json!({"server": "h@b"}), &[b]),
        (json!({"server": "h@"}), &[]),
        (json!({"server": "h@a", "binary": "cinder-api"}), &[]),
    ];
    for (body, expected) in cases {
        let found = rows(&put(&harness, "get-log", &body).await);
        let found: Vec<_> = found.iter().map(|(host, binary)| (host.as_str(), binary.as_str())).collect();
        assert_eq!(found, expected, "{body}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn what_is_refused() {
    let harness = Harness::start().await;
    let words = |got: &Got| got.fault();
    for level in [json!({"level": "LOUD"}), json!({"level": "TRACE"})] {
        let (status, text) = words(&put(&harness, "set-log", &level).await);
        let expected =
            format!("Invalid input received: {} is not a valid log level.", level["level"].as_str().unwrap());
        assert_eq!((status, text), (400, expected));
    }
    for body in [json!({}), json!({"level": null}), json!({"level": ""})] {
        let expected = (400, "Invalid input received:  is not a valid log level.".to_owned());
        assert_eq!(words(&put(&harness, "set-log", &body).await), expected, "{body}");
    }
    for (member, value) in [
        ("binary", json!("nova-compute")),
        ("binary", json!(1)),
        ("server", json!(1)),
        ("server", json!("h".repeat(256))),
        ("prefix", json!(["p"])),
        ("prefix", json!("p".repeat(256))),
        ("host", json!("h")),
    ] {
        for action in ["set-log", "get-log"] {
            let got = put(&harness, action, &json!({member: value})).await;
            assert_eq!(got.fault().0, 400, "{action} {member} {value}");
        }
    }
    assert_eq!(put(&harness, "get-log", &json!({"level": "INFO"})).await.fault().0, 400);
    assert_eq!(put(&harness, "set-log", &json!({"level": 10})).await.fault().0, 400);
    for action in ["set-log", "get-log"] {
        let path = format!("/v3/os-services/{action}");
        let body = json!({"level": "INFO"});
        assert_eq!(harness.put(&path, &body).token(ADMIN).volume("3.31").send().await.status, 404);
        // the rule comes before the body
        let got = harness.put(&path, &json!({"level": "LOUD"})).token(MEMBER).volume("3.32").send().await;
        assert_eq!(got.fault().0, 403);
    }
    harness.stop().await;
}
