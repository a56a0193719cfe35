//! An attachment of an active volume is found without a read, and the index that finds it never says anything that the
//! record does not: rows that are deleted are gone, volumes that leave take their rows with them.

use std::time::Duration;

use futures_util::future::{join, join_all};
use hearth::actors::ActorOptions;
use hearth::domain::ids::VolumeId;
use hearth::telemetry::metrics::SampleValue;
use serde_json::{Value, json};

use super::live::{Got, Live, LiveOptions, wait_until};

async fn attach(live: &Live, id: VolumeId) -> String {
    let got = live.post("/v3/attachments", json!({"attachment": {"volume_uuid": id}})).await;
    assert_eq!(got.status, 200, "{got:?}");
    format!("/v3/attachments/{}", got.body["attachment"]["id"].as_str().expect("an id"))
}

async fn connect(live: &Live, row: &str) -> Got {
    live.ask("PUT", row, Some(&json!({"attachment": {"connector": {"host": "h"}}}))).await
}

async fn complete(live: &Live, row: &str) -> Got {
    live.post(&format!("{row}/action"), json!({"os-complete": null})).await
}

/// How many attachments the index knows.
fn indexed(live: &Live) -> u64 {
    let samples = live.service.samples();
    match samples.iter().find(|sample| sample.name == "attachments_indexed").map(|sample| sample.value) {
        Some(SampleValue::Gauge(count)) => count,
        other => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn a_row_of_an_active_volume_costs_no_read_until_it_is_gone() {
    let live = Live::start(LiveOptions::default()).await;
    let id = live.volume("v").await;
    live.settle().await;
    let (look_ups, loads) = (live.counted.look_ups(), live.counted.loads(id));
    for _ in 0..3 {
        let row = attach(&live, id).await;
        assert_eq!(indexed(&live), 1);
        assert_eq!(connect(&live, &row).await.status, 200);
        assert_eq!(complete(&live, &row).await.status, 204);
        assert_eq!(live.get(&row).await.body["attachment"]["status"], "attached");
        let before_the_end = live.counted.look_ups();
        assert_eq!(live.delete(&row).await.status, 200);
        assert_eq!(live.counted.look_ups(), before_the_end, "no request so far asked the database");
        assert_eq!(indexed(&live), 0);
        for gone in [live.get(&row).await, connect(&live, &row).await, live.delete(&row).await] {
            assert_eq!(gone.status, 404, "{gone:?}");
        }
    }
    assert_eq!(live.counted.look_ups(), look_ups + 9, "rows that are gone are asked for in the database");
    assert_eq!(live.counted.loads(id), loads, "the state came from memory");
    assert_eq!(live.delete(&format!("/v3/volumes/{id}")).await.status, 202);
    live.until(id, "gone").await;
    assert_eq!(indexed(&live), 0);
    live.stop().await;
}

/// While the commit that removes a row is on its way, the row's requests go to the database and not by what is in memory.
#[actix_web::test]
async fn a_commit_in_flight_sends_readers_to_the_database() {
    let live = Live::start(LiveOptions::default()).await;
    let id = live.volume("v").await;
    let row = attach(&live, id).await;
    live.settle().await;
    let loads = live.counted.loads(id);
    let held = live.store.hold_commits();
    let looks = async {
        wait_until("the delete waits for its commit", async || live.actor(id).await["observation"] == "stale").await;
        assert_eq!(live.get(&row).await.status, 200, "it is not deleted yet");
        assert!(live.counted.loads(id) > loads, "the database said so");
        drop(held);
    };
    let (deleted, ()) = join(live.delete(&row), looks).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(live.get(&row).await.status, 404);
    live.stop().await;
}

#[actix_web::test]
async fn passive_volumes_have_no_rows_in_the_index_and_bring_them_back() {
    let defaults = LiveOptions::default();
    let actors = ActorOptions { idle_ttl: Duration::ZERO, ..defaults.actors.clone() };
    let live = Live::start(LiveOptions { actors, ..defaults }).await;
    let (one, other) = (live.volume("one").await, live.volume("other").await);
    let (row, other_row) = (attach(&live, one).await, attach(&live, other).await);
    let shown = live.get(&row).await.body;
    wait_until("all volumes are passive", async || {
        live.service.sweep();
        live.service.actors().is_empty()
    })
    .await;
    assert_eq!(indexed(&live), 0);
    assert_eq!(live.get(&row).await.body, shown, "passive");
    assert_eq!(live.rename(one, "again").await.status, 200);
    assert_eq!(indexed(&live), 1, "the one that was activated");
    assert_eq!(live.get(&row).await.body, shown, "active again");
    assert_eq!(live.delete(&other_row).await.status, 200);
    assert_eq!(live.get(&other_row).await.status, 404);
    assert_eq!(indexed(&live), 1);
    live.stop().await;
}

/// The rows of a volume whose actor has crashed are looked up, until its successor knows them.
#[actix_web::test]
async fn a_crash_neither_hides_a_row_nor_brings_one_back() {
    let live = Live::start(LiveOptions::default()).await;
    let id = live.volume("unlucky").await;
    let gone = attach(&live, id).await;
    assert_eq!(live.delete(&gone).await.status, 200);
    let row = attach(&live, id).await;
    let shown: Value = live.get(&row).await.body;
    for turn in 1..=3_u64 {
        live.make_panic(id).await;
        assert_eq!(live.rename(id, "lost").await.status, 500);
        assert_eq!(live.get(&row).await.body, shown, "between two incarnations");
        assert_eq!(live.get(&gone).await.status, 404);
        wait_until("the successor has loaded", async || live.rename(id, &format!("n{turn}")).await.status == 200).await;
        assert_eq!(live.actor(id).await["restarts"], turn);
        let look_ups = live.counted.look_ups();
        assert_eq!(live.get(&row).await.body, shown, "in its successor");
        assert_eq!(live.counted.look_ups(), look_ups, "its rows are found again");
        assert_eq!(indexed(&live), 1);
    }
    assert_eq!(live.delete(&row).await.status, 200);
    assert_eq!(live.get(&row).await.status, 404);
    assert_eq!(indexed(&live), 0);
    live.stop().await;
}

const CROWD: usize = 40;

/// Those who come second are refused by the volume itself, behind the winner's commit: none of them asks the database.
#[actix_web::test]
async fn refusals_cost_no_read_and_no_commit() {
    let live = Live::start(LiveOptions::default()).await;
    let id = live.volume("wanted").await;
    live.settle().await;
    let generation = live.actor(id).await["generation"].as_u64().expect("a number");
    let (look_ups, loads) = (live.counted.look_ups(), live.counted.loads(id));
    let held = live.store.hold_commits();
    let crowd = join_all((0..CROWD).map(|_| live.post("/v3/attachments", json!({"attachment": {"volume_uuid": id}}))));
    let release = async {
        let all_wait = async || live.actor(id).await["mailbox"]["admitted"] == CROWD;
        wait_until("everybody waits for the winner's commit", all_wait).await;
        drop(held);
    };
    let (answers, ()) = join(crowd, release).await;
    let won: Vec<&Got> = answers.iter().filter(|got| got.status == 200).collect();
    assert_eq!((won.len(), answers.iter().filter(|got| got.status == 400).count()), (1, CROWD - 1), "{answers:?}");
    assert_eq!(live.actor(id).await["generation"], generation + 1, "one commit");
    let row = format!("/v3/attachments/{}", won[0].body["attachment"]["id"].as_str().expect("an id"));
    let held = live.store.hold_commits();
    let release = async {
        wait_until("two deletes wait", async || live.actor(id).await["mailbox"]["admitted"] == 2).await;
        drop(held);
    };
    let ((one, other), ()) = join(join(live.delete(&row), live.delete(&row)), release).await;
    assert_eq!(one.status.min(other.status), 200, "{one:?} {other:?}");
    assert_eq!(one.status.max(other.status), 404, "{one:?} {other:?}");
    assert_eq!((live.counted.look_ups(), live.counted.loads(id)), (look_ups, loads), "nobody asked the database");
    live.stop().await;
}
