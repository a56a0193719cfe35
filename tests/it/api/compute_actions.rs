//! Servers' actions and their events (nova-volume-attachments §8.2).

use hearth::domain::ids::ServerId;
use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER};

/// A server, an attached volume, and the answers to the attach and the detach.
async fn attached_and_detached(harness: &Harness) -> (String, [Got; 2]) {
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("web-1").await;
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    let attached = harness.post(&path, &attach).token(MEMBER).compute("2.101").send().await;
    assert_eq!(attached.status, 202, "{}", attached.text);
    harness.until(&volume, "in-use").await;
    let detached = harness.ask("DELETE", &format!("{path}/{volume}")).token(MEMBER).send().await;
    assert_eq!(detached.status, 202, "{}", detached.text);
    harness.until(&volume, "available").await;
    (server, [attached, detached])
}

fn request_id(got: &Got) -> &str {
    got.header("x-compute-request-id").expect("a controller answers")
}

fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[actix_web::test]
async fn one_action_is_found_by_the_requests_id() {
    let harness = Harness::start().await;
    let (server, answers) = attached_and_detached(&harness).await;
    let path = format!("/compute/v2.1/servers/{server}/os-instance-actions");
    for (got, word) in answers.iter().zip(["attach_volume", "detach_volume"]) {
        let id = request_id(got);
        let shown = harness.ask("GET", &format!("{path}/{id}")).token(MEMBER).compute("2.58").send().await.json();
        let action = &shown["instanceAction"];
        assert_eq!((&action["action"], &action["request_id"]), (&json!(word), &json!(id)));
        let event = &action["events"][0];
        assert_eq!((&event["event"], &event["result"]), (&json!(format!("compute_{word}")), &json!("Success")));
        assert_eq!(event["finish_time"], action["updated_at"], "an action ends with its event");
        assert_eq!(event["start_time"], action["start_time"]);
    }
    harness.stop().await;
}

#[actix_web::test]
async fn events_and_their_members() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("web-1").await;
    harness.fail("plug");
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    let got = harness.post(&path, &attach).token(MEMBER).send().await;
    harness.until(&volume, "available").await;
    let path = format!("/compute/v2.1/servers/{server}/os-instance-actions/{}", request_id(&got));
    let always = ["event", "finish_time", "result", "start_time"];
    for (token, version, more) in [
        (MEMBER, "2.51", &[][..]),
        (MEMBER, "2.61", &[]),
        (MEMBER, "2.62", &["hostId"]),
        (MEMBER, "2.104", &["hostId"]),
        (ADMIN, "2.1", &["traceback"]),
        (ADMIN, "2.61", &["traceback"]),
        (ADMIN, "2.62", &["traceback", "hostId", "host"]),
        (ADMIN, "2.83", &["traceback", "hostId", "host"]),
        (ADMIN, "2.84", &["traceback", "hostId", "host", "details"]),
    ] {
        let shown = harness.ask("GET", &path).token(token).compute(version).send().await.json();
        let event = &shown["instanceAction"]["events"][0];
        let mut expected = [&always[..], more].concat();
        expected.sort_unstable();
        assert_eq!(names(event), expected, "{token} at {version}");
        assert_eq!(event["result"], "Error");
    }
    for version in ["2.1", "2.50"] {
        let shown = harness.ask("GET", &path).token(MEMBER).compute(version).send().await.json();
        assert_eq!(shown["instanceAction"].get("events"), None, "at {version}");
        assert_eq!(shown["instanceAction"]["message"], "Error");
    }
    let shown = harness.ask("GET", &path).token(ADMIN).compute("2.84").send().await.json();
    let event = &shown["instanceAction"]["events"][0];
    assert_eq!(event["host"], "h1");
    assert!(event["details"].as_str().is_some_and(|details| !details.is_empty()), "{event}");
    harness.stop().await;
}

#[actix_web::test]
async fn actions_are_paged_by_their_requests() {
    let harness = Harness::start().await;
    let (server, answers) = attached_and_detached(&harness).await;
    let newest_first = [request_id(&answers[1]), request_id(&answers[0])];
    let mut next = format!("/compute/v2.1/servers/{server}/os-instance-actions?limit=1");
    for id in newest_first {
        let page = harness.ask("GET", &next).token(MEMBER).compute("2.58").send().await.json();
        let rows = page["instanceActions"].as_array().expect("rows");
        assert_eq!(rows.iter().map(|row| &row["request_id"]).collect::<Vec<_>>(), [id]);
        let href = page["links"][0]["href"].as_str().expect("a full page has a next one");
        next = href.split_once("/compute").map(|(_, path)| format!("/compute{path}")).expect("of Compute");
    }
    let page = harness.ask("GET", &next).token(MEMBER).compute("2.58").send().await.json();
    assert_eq!(page, json!({"instanceActions": []}));
    harness.stop().await;
}

/// The guest is told the size that the record has, whoever says that it has changed.
#[actix_web::test]
async fn an_event_makes_the_guest_follow_the_size() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("web-1").await;
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(harness.post(&path, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&volume, "in-use").await;
    // its own word to the guest is lost
    harness.fail("resize_guest");
    let extend = json!({"os-extend": {"new_size": 3}});
    let action = format!("/v3/volumes/{volume}/action");
    assert_eq!(harness.post(&action, &extend).token(MEMBER).volume("3.71").send().await.status, 202);
    let shown = harness.until(&volume, "in-use").await;
    assert_eq!(shown["size"], 3);
    let row = shown["attachments"][0]["attachment_id"].as_str().expect("a row").parse().expect("an id");
    let size = || harness.truth.device(&ServerId::from(server.as_str()), row).map(|device| device.size_gib);
    assert_eq!(size(), Some(1), "the guest has not heard");
    let event = json!({"events": [{"name": "volume-extended", "server_uuid": server, "tag": volume}]});
    let got = harness.post("/compute/v2.1/os-server-external-events", &event).token(ADMIN).compute("2.51").send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    let actions = format!("/compute/v2.1/servers/{server}/os-instance-actions");
    harness.until_at(&actions, "/instanceActions/0/request_id", &json!(request_id(&got))).await;
    assert_eq!(size(), Some(3));
    harness.stop().await;
}
