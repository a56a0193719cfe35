//! Many requests for one volume at once: exactly one wins, the bound holds, and nothing is left behind.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use hearth::actors::ActorOptions;
use hearth::domain::ids::{ServerId, VolumeId};
use hearth::store::Store;
use serde_json::{Value, json};

use super::live::{Got, Live, LiveOptions, wait_until};

const SERVERS: usize = 1_000;

async fn servers(live: &Live) -> Vec<String> {
    let mut names = Vec::with_capacity(SERVERS);
    for start in (0..SERVERS).step_by(50) {
        let batch = (start..start + 50).map(|index| async move { live.server(&format!("server-{index}")).await });
        names.extend(join_all(batch).await);
    }
    names
}

/// One success; the others are 400 in the specified form, which `is_form` knows.
fn exactly_one(answers: Vec<Got>, is_form: impl Fn(&str) -> bool) -> usize {
    let winners: Vec<usize> =
        answers.iter().enumerate().filter(|(_, got)| got.status == 200).map(|(index, _)| index).collect();
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    for got in answers.iter().filter(|got| got.status != 200) {
        assert_eq!(got.status, 400, "{got:?}");
        assert_eq!(got.body["badRequest"]["code"], 400, "{got:?}");
        assert!(is_form(got.message()), "{got:?}");
    }
    winners[0]
}

/// Nothing of the losers is left in the records or at the backend, and nothing of anybody after the end.
async fn assert_only(live: &Live, id: VolumeId, names: &[String], winner: usize, consumers: usize) {
    let rows = live.get(&format!("/v3/attachments?volume_id={id}")).await.body["attachments"].clone();
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    assert_eq!(rows[0]["instance"], json!(names[winner]));
    for (index, name) in names.iter().enumerate() {
        let rows = live.store.server_attachments(ServerId::from(name.as_str())).await.expect("the store reads");
        let devices = live.sim().truth().devices(&ServerId::from(name.as_str()));
        if index != winner {
            assert!(rows.is_empty() && devices.is_empty(), "{name}: {rows:?} {devices:?}");
        }
    }
    assert_eq!(live.sim().truth().consumers(id).len(), consumers);
    assert!(live.sim().truth().max_concurrent_consumers(id) <= 1);
}

async fn assert_free(live: &Live, id: VolumeId) {
    live.settle().await;
    assert_eq!(live.until(id, "available").await["attachments"], json!([]));
    assert!(live.sim().truth().volume(id).exports.is_empty());
    assert!(live.sim().truth().consumers(id).is_empty());
}

#[actix_web::test]
async fn r01_a_thousand_attaches_through_compute_have_one_winner() {
    let live = Live::start(LiveOptions::default()).await;
    let names = servers(&live).await;
    let id = live.volume("wanted").await;
    let answers = join_all(names.iter().map(|name| live.server_attach(name, id))).await;
    // Compute's own look at its mappings, or Block Storage's refusal passed on: which of them depends on the moment.
    let seen = format!("Invalid volume: volume {id} is already attached to instances: ");
    let passed_on = format!("Invalid input received: Invalid volume: volume {id} status must be ");
    let winner = exactly_one(answers, |text| text.starts_with(&seen) || text.starts_with(&passed_on));
    live.until(id, "in-use").await;
    live.settle().await;
    assert_only(&live, id, &names, winner, 1).await;
    assert_eq!(live.server_detach(&names[winner], id).await.status, 202);
    assert_free(&live, id).await;
    assert!(live.sim().truth().devices(&ServerId::from(names[winner].as_str())).is_empty());
    live.stop().await;
}

#[actix_web::test]
async fn r01_a_thousand_attachments_of_one_volume_have_one_winner() {
    for connector in [None, Some(json!({"host": "h"}))] {
        let live = Live::start(LiveOptions::default()).await;
        let names: Vec<String> = (0..SERVERS).map(|_| uuid::Uuid::new_v4().to_string()).collect();
        let id = live.volume("wanted").await;
        let answers = join_all(names.iter().map(|name| {
            let mut body = json!({"attachment": {"volume_uuid": id, "instance_uuid": name}});
            if let Some(connector) = &connector {
                body["attachment"]["connector"] = connector.clone();
            }
            live.post("/v3/attachments", body)
        }))
        .await;
        let row = answers.iter().find(|got| got.status == 200).map(|got| got.body["attachment"]["id"].clone());
        let form = format!("Invalid volume: volume {id} status must be available or downloading");
        let winner = exactly_one(answers, |text| text.starts_with(&form));
        live.settle().await;
        assert_only(&live, id, &names, winner, usize::from(connector.is_some())).await;
        let row = row.as_ref().and_then(Value::as_str).expect("the winner has a row");
        assert_eq!(live.delete(&format!("/v3/attachments/{row}")).await.status, 200);
        assert_free(&live, id).await;
        live.stop().await;
    }
}

const ADMISSION: u32 = 8;
const CROWD: usize = 60;

/// Requests beyond the bound are told to come again; those within it are all carried out. Meanwhile the volume is observed
/// beside its mailbox, which cannot move.
#[actix_web::test]
async fn beyond_the_admission_bound_clients_get_503_and_nothing_is_lost() {
    let defaults = LiveOptions::default();
    let actors = ActorOptions { admission: ADMISSION, ..defaults.actors.clone() };
    let live = Live::start(LiveOptions { actors, ..defaults }).await;
    let (id, other) = (live.volume("crowded").await, live.volume("other").await);
    live.settle().await;
    let before = live.actor(id).await["generation"].as_u64().expect("a number");
    let held = live.store.hold_commits();
    let crowd = async { join_all((0..CROWD).map(|index| rename(&live, id, index))).await };
    let observing = async {
        wait_until("the volume is full and its first commit is held", async || {
            // An answer at all: the mailbox stands still until the commits are let go.
            let actor = live.actor(id).await;
            actor["mailbox"]["admitted"] == ADMISSION && actor["observation"] == "stale"
        })
        .await;
        let actor = live.actor(id).await;
        assert_eq!(actor["state"], "active");
        assert_eq!(actor["generation"], before, "{actor}");
        let listed = live.get(&format!("/admin/actors?volume_id={id}")).await;
        assert_eq!(listed.body["actors"][0]["admitted"], ADMISSION);
        for path in ["/admin/drivers", "/admin/operations", "/v3/volumes/detail"] {
            assert_eq!(live.get(path).await.status, 200, "{path}");
        }
        // Who is beyond the bound hears so at once.
        let refused = live.rename(id, "beyond").await;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(live.show(other).await["status"], "available");
        drop(held);
    };
    let (answers, ()) = futures_util::future::join(crowd, observing).await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, got)| got.status == 200);
    assert!(accepted.len() >= ADMISSION as usize, "{}", accepted.len());
    assert!(!refused.is_empty());
    for (_, got) in &refused {
        assert_eq!((got.status, got.header("Retry-After")), (503, Some("1")), "{got:?}");
        assert_eq!(got.body["serviceUnavailable"]["code"], 503, "{got:?}");
    }
    let after = live.actor(id).await;
    assert_eq!(
        after["generation"],
        before + accepted.len() as u64,
        "each accepted one committed once, the others never"
    );
    assert_eq!(after["mailbox"]["admitted"], 0);
    let names: BTreeSet<String> = accepted.iter().map(|(name, _)| name.clone()).collect();
    let last = live.show(id).await["name"].as_str().expect("a name").to_owned();
    assert!(names.contains(&last), "{last}");
    assert_eq!(live.rename(id, "again").await.status, 200);
    live.stop().await;
}

async fn rename(live: &Live, id: VolumeId, index: usize) -> (String, Got) {
    let name = format!("name-{index}");
    let got = live.rename(id, &name).await;
    (name, got)
}
