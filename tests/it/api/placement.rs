//! Where new volumes go, over the wire: zones, hints, closed backends; and what becomes of one that fits nowhere.

use hearth::actors::PlacementOptions;
use hearth::domain::volume::command::FROZEN;
use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER, STRANGER};

const A: &str = "h@a#a";
const B: &str = "h@b#b";
const MARS: &str = "h@m#m";

fn in_zone(zone: &str) -> PlacementOptions {
    PlacementOptions { zone: zone.to_owned(), ..PlacementOptions::default() }
}

async fn three() -> Harness {
    // B may promise less: A is what the scheduler prefers
    let small = PlacementOptions { reserved_percentage: 50, ..in_zone("nova") };
    Harness::start_on(&[(A, in_zone("nova")), (B, small), (MARS, in_zone("mars"))]).await
}

/// Creates; its host, or the error that it ends in.
async fn host_of(harness: &Harness, token: &str, body: Value) -> (String, Option<String>) {
    let got = harness.post("/v3/volumes", &body).token(token).volume("3.71").send().await;
    assert_eq!(got.status, 202, "{}", got.text);
    let id = got.json()["volume"]["id"].as_str().unwrap().to_owned();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let shown = harness.get(&format!("/v3/volumes/{id}")).send().await.json()["volume"].clone();
        if ["available", "error"].contains(&shown["status"].as_str().unwrap()) {
            let host = shown["os-vol-host-attr:host"].as_str().map(str::to_owned);
            assert_eq!(host.is_some(), shown["status"] == "available", "{shown}");
            return (id, host);
        }
        assert!(tokio::time::Instant::now() < deadline, "{shown}");
        tokio::task::yield_now().await;
    }
}

async fn placed(harness: &Harness, members: Value, hints: Value) -> Option<String> {
    let body = json!({"volume": members, "OS-SCH-HNT:scheduler_hints": hints});
    host_of(harness, MEMBER, body).await.1
}

async fn say(harness: &Harness, action: &str, body: Value) {
    let got = harness.put(&format!("/v3/os-services/{action}"), &body).token(ADMIN).send().await;
    assert_eq!(got.status, 200, "{action}: {}", got.text);
}

#[actix_web::test]
async fn zones_hints_and_closed_backends() {
    let harness = three().await;
    let plain = || json!({"size": 1});
    assert_eq!(placed(&harness, plain(), Value::Null).await.as_deref(), Some(A));
    let mars = json!({"size": 1, "availability_zone": "mars"});
    let (there, host) = host_of(&harness, MEMBER, json!({"volume": mars})).await;
    assert_eq!(host.as_deref(), Some(MARS));
    let venus = json!({"volume": {"size": 1, "availability_zone": "venus"}});
    let got = harness.post("/v3/volumes", &venus).token(MEMBER).send().await;
    assert_eq!(got.fault(), (400, "Invalid input received: Availability zone 'venus' is invalid.".to_owned()));

    let (at_a, _) = host_of(&harness, MEMBER, json!({"volume": plain()})).await;
    assert_eq!(placed(&harness, plain(), json!({"different_host": at_a})).await.as_deref(), Some(B));
    let (at_b, _) =
        host_of(&harness, MEMBER, json!({"volume": plain(), "OS-SCH-HNT:scheduler_hints": {"different_host": [at_a]}}))
            .await;
    assert_eq!(placed(&harness, plain(), json!({"same_host": at_b})).await.as_deref(), Some(B));
    assert_eq!(placed(&harness, plain(), json!({"same_host": [at_a, at_b]})).await.as_deref(), Some(A));
    assert_eq!(placed(&harness, plain(), json!({"different_host": [at_a, at_b]})).await, None);
    assert_eq!(placed(&harness, plain(), json!({"same_host": there})).await, None, "it is in another zone");
    // A stranger's hint speaks of volumes that he does not see.
    let foreign = json!({"volume": plain(), "OS-SCH-HNT:scheduler_hints": {"different_host": at_a}});
    assert_eq!(host_of(&harness, STRANGER, foreign).await.1.as_deref(), Some(A));

    say(&harness, "disable", json!({"host": "h@a", "binary": "cinder-volume"})).await;
    assert_eq!(placed(&harness, plain(), Value::Null).await.as_deref(), Some(B));
    let delete = harness.ask("DELETE", &format!("/v3/volumes/{at_a}")).token(MEMBER).send().await;
    assert_eq!(delete.status, 202, "a disabled backend serves what it has: {}", delete.text);
    harness.until(&at_a, "gone").await;
    say(&harness, "freeze", json!({"host": "h@b"})).await;
    let frozen = harness.ask("DELETE", &format!("/v3/volumes/{at_b}")).token(MEMBER).send().await;
    assert_eq!(frozen.fault(), (400, format!("Invalid input received: {FROZEN}")));
    let force = json!({"os-force_delete": {}});
    let forced = harness.post(&format!("/v3/volumes/{at_b}/action"), &force).token(ADMIN).send().await;
    assert_eq!(forced.fault().0, 400);

    // Both of the zone are closed: the volume ends in error, and its owner can read why.
    let (nowhere, host) = host_of(&harness, MEMBER, json!({"volume": plain()})).await;
    assert_eq!(host, None);
    let messages = format!("/v3/messages?resource_uuid={nowhere}");
    let messages = harness.ask("GET", &messages).token(MEMBER).volume("3.31").send().await.json();
    let message = &messages["messages"][0];
    assert_eq!(message["event_id"], "VOLUME_VOLUME_001_003");
    let words = "schedule allocate volume:Could not find any available weighted backend.";
    assert_eq!(message["user_message"], words);
    let delete = harness.ask("DELETE", &format!("/v3/volumes/{nowhere}")).token(MEMBER).send().await;
    assert_eq!(delete.status, 202, "what lies nowhere is not frozen");
    harness.until(&nowhere, "gone").await;

    say(&harness, "thaw", json!({"host": "h@b"})).await;
    assert_eq!(placed(&harness, plain(), Value::Null).await.as_deref(), Some(B));
    harness.stop().await;
}

#[actix_web::test]
async fn what_is_larger_than_any_room_fits_nowhere() {
    let harness = three().await;
    // rooms are measured when the backends start
    let pools = async || harness.get("/v3/scheduler-stats/get_pools?detail=true").send().await.json()["pools"].clone();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while pools().await[0]["capabilities"]["total_capacity_gb"] == "unknown" {
        assert!(tokio::time::Instant::now() < deadline, "the room is measured");
        tokio::task::yield_now().await;
    }
    let room = pools().await[0]["capabilities"]["total_capacity_gb"].as_f64().unwrap();
    assert!(f64::from(i32::MAX) > room * 20.0, "a size that passes the schema and no room: {room}");
    assert_eq!(placed(&harness, json!({"size": i32::MAX - 1_000}), Value::Null).await, None);
    // What is promised counts at once.
    let before = pools().await[0]["capabilities"]["provisioned_capacity_gb"].as_u64().unwrap();
    assert_eq!(placed(&harness, json!({"size": 7}), Value::Null).await.as_deref(), Some(A));
    assert_eq!(pools().await[0]["capabilities"]["provisioned_capacity_gb"], before + 7);
    harness.stop().await;
}
