//! The named crash points: a life in which the process dies at the nth passage of one point, for every n that there is.
//!
//! A failure says `POINT:N`; with it in `HEARTH_CRASH_AT` only this one is run.

use std::collections::BTreeMap;
use std::time::Duration;

use hearth::faults::CrashPoint;
use serde_json::json;

use super::ledger::Change;
use super::life::{Owner, Took, life};
use super::service::Start;
use super::site::{Said, Site};

/// Runs the life with a crash at every passage of `point`; at least `least` there are. What retries were told.
async fn die_at_every(point: CrashPoint, least: u64) -> BTreeMap<&'static str, u16> {
    let only = std::env::var("HEARTH_CRASH_AT").ok();
    let mut told = BTreeMap::new();
    for nth in 1.. {
        let at = format!("{}:{nth}", point.name());
        if only.as_ref().is_some_and(|only| *only != at) {
            assert!(nth < 1_000, "{only:?} is no passage of {}", point.name());
            continue;
        }
        println!("HEARTH_CRASH_AT={at}");
        let site = Site::start(vec![Start { crash_at: Some(at.clone()) }]).await;
        told.extend(life(&site, &mut async |_| {}).await);
        match site.service.deaths().as_slice() {
            [] => {
                assert!(nth > least, "the life passes {} only {} times", point.name(), nth - 1);
                break;
            }
            [death] => assert!(death.was_at(&at), "{death:?}"),
            deaths => panic!("it died again after {at}: {deaths:#?}"),
        }
        if only.is_some() {
            break;
        }
    }
    told
}

#[tokio::test]
async fn dying_before_every_commit_settles_by_itself() {
    die_at_every(CrashPoint::CommitBefore, 20).await;
}

#[tokio::test]
async fn dying_after_every_commit_settles_by_itself() {
    die_at_every(CrashPoint::CommitAfter, 20).await;
}

#[tokio::test]
async fn dying_before_every_settlement_settles_by_itself() {
    die_at_every(CrashPoint::SettleBefore, 3).await;
}

#[tokio::test]
async fn dying_after_every_settlement_settles_by_itself() {
    die_at_every(CrashPoint::SettleAfter, 3).await;
}

#[tokio::test]
async fn dying_before_every_driver_step_settles_by_itself() {
    die_at_every(CrashPoint::DriverBefore, 10).await;
}

#[tokio::test]
async fn dying_after_every_driver_step_settles_by_itself() {
    die_at_every(CrashPoint::DriverAfter, 10).await;
}

/// The commit is done and the answer is lost: the client asks again and gets the documented answer, never a second effect.
#[tokio::test]
async fn r100_dying_before_every_reply_and_a_retry_gets_the_documented_answer() {
    let told = die_at_every(CrashPoint::ReplyBefore, 11).await;
    let documented = [
        // no idempotency key: a second volume
        ("create", 202),
        ("delete", 404),
        ("manage", 400),
        ("unmanage", 404),
        // a second attachment of the same server: live migration needs it
        ("attachment create", 200),
        ("attachment update", 200),
        ("attachment complete", 204),
        ("attachment delete", 404),
        ("extend", 400),
        ("server attach", 400),
        ("server detach", 404),
    ];
    if std::env::var_os("HEARTH_CRASH_AT").is_none() {
        assert_eq!(told, BTreeMap::from(documented));
    }
}

/// The same with idempotency keys: whoever asks again is told what the lost answer said, and nothing happens twice.
#[tokio::test]
async fn a_retry_with_its_key_gets_the_answer_that_was_lost() {
    // Each incarnation answers the retry of what the one before did not, and dies before its next answer.
    let plans = ["1", "2", "2", "2", "2"].map(|nth| Start { crash_at: Some(format!("reply.before:{nth}")) });
    let site = Site::start(plans.to_vec()).await;
    let twice = async |path: &str, body: &serde_json::Value, expected: u16| {
        assert_eq!(site.ask_keyed("POST", path, body, Some("the key")).await, Said::Lost, "{path} {body}");
        loop {
            match site.ask_keyed("POST", path, body, Some("the key")).await {
                // Its process is just ending.
                Said::NotSent | Said::Lost => site.poll_again().await,
                said => break said.body(expected),
            }
        }
    };
    let volume = twice("/v3/volumes", &json!({"volume": {"size": 1, "name": "n"}}), 202).await["volume"].clone();
    let id = volume["id"].as_str().expect("an id");
    assert_eq!(site.named("n").await, [id]);
    assert_eq!(site.settled(id).await.map(|known| known.size), Some(1));
    let snapshot = twice("/v3/snapshots", &json!({"snapshot": {"volume_id": id}}), 202).await["snapshot"].clone();
    site.settled(id).await;
    let (_, listed) = site.get("/v3/snapshots").await;
    let ids: Vec<_> = listed["snapshots"].as_array().expect("snapshots").iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&snapshot["id"]]);
    let action = format!("/v3/volumes/{id}/action");
    twice(&action, &json!({"os-extend": {"new_size": 2}}), 202).await;
    assert_eq!(site.settled(id).await.map(|known| known.size), Some(2));
    let row = json!({"attachment": {"volume_uuid": id, "connector": {"host": "h"}}});
    let attachment = twice("/v3/attachments", &row, 200).await["attachment"].clone();
    let (_, listed) = site.get("/v3/attachments").await;
    let ids: Vec<_> = listed["attachments"].as_array().expect("attachments").iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&attachment["id"]]);
    let other = twice("/v3/volumes", &json!({"volume": {"size": 1, "name": "m"}}), 422).await;
    assert_eq!(other["unprocessableEntity"]["code"], 422);
    assert_eq!(site.service.deaths().len(), plans.len());
    site.assert_sound().await;
}

/// Work of every kind is open; then the service dies again and again in the middle of recovering it.
#[tokio::test]
async fn dying_in_the_middle_of_recovery_settles_by_itself() {
    let site = Site::start(Vec::new()).await;
    site.server("server-1").await;
    let server = || "server-1".to_owned();
    let changes = [
        Change::ServerDetach(server()),
        Change::Extend(2),
        Change::ServerAttach(server()),
        Change::Extend(2),
        Change::Delete,
    ];
    let mut owners: Vec<Owner> = Vec::new();
    for number in 0..3 * changes.len() {
        let mut owner = Owner::new(&site, format!("volume-{number}"));
        owner.insist_on_creation(1, &mut BTreeMap::new()).await;
        // the first two changes are of attached volumes
        if number % changes.len() < 2 {
            owner.insist(&Change::ServerAttach(server()), &mut BTreeMap::new()).await;
        }
        owners.push(owner);
    }
    site.storage_takes(Duration::from_millis(300), Duration::from_millis(600)).await;
    for (owner, change) in owners.iter_mut().zip(changes.iter().cycle()) {
        assert_eq!(owner.change(change).await, Took::Effect, "{change:?}");
    }
    let mut newest = Owner::new(&site, "");
    assert_eq!(newest.create("newest".to_owned(), 1).await, Took::Effect);
    owners.push(newest);

    let points = [CrashPoint::DriverBefore, CrashPoint::CommitBefore, CrashPoint::CommitAfter, CrashPoint::DriverAfter];
    let plans: Vec<Start> = (1..=3)
        .flat_map(|nth| points.map(|point| Start { crash_at: Some(format!("{}:{nth}", point.name())) }))
        .collect();
    site.service.plan(plans.clone());
    site.service.kill().await;
    for owner in &owners {
        owner.assert_as_known().await;
    }
    site.assert_sound().await;
    let deaths = site.service.deaths();
    let in_recovery = deaths[1..]
        .iter()
        .zip(&plans)
        .take_while(|(death, plan)| death.was_at(plan.crash_at.as_deref().expect("every plan has a point")));
    let in_recovery = in_recovery.count();
    assert!(in_recovery >= points.len() && in_recovery == deaths.len() - 1, "{in_recovery} of {deaths:#?}");
}
