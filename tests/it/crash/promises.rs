//! What an answer is worth, what becomes of requests that wait when the process dies, and that nobody waits for recovery.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::ledger::Change;
use super::life::{Owner, Took, life};
use super::site::{Said, Site};

/// A life in which the process is killed in the moment of each answer.
#[tokio::test]
async fn r99_what_was_answered_survives_a_kill_in_the_moment_of_the_answer() {
    let site = Site::start(Vec::new()).await;
    site.server("server-1").await;
    let mut owner = Owner::new(&site, "");
    assert_eq!(owner.create("volume".to_owned(), 1).await, Took::Effect);
    let mut row = String::new();
    for step in 0..11 {
        site.service.kill().await;
        owner.assert_as_known().await;
        if let Some(super::ledger::Known { row: super::ledger::Row::Reserved(id), .. }) = &owner.known {
            row.clone_from(id);
        }
        let change = match step {
            0 => Change::ServerAttach("server-1".to_owned()),
            1 => Change::Extend(2),
            2 => Change::ServerDetach("server-1".to_owned()),
            3 => Change::Reserve,
            4 => Change::Connect(row.clone()),
            5 => Change::Complete(row.clone()),
            6 => Change::Release(row.clone()),
            7 => Change::Extend(3),
            8 => Change::Delete,
            _ => continue,
        };
        assert_eq!(owner.change(&change).await, Took::Effect, "{change:?}");
    }
    site.assert_sound().await;
    assert!(site.stored().await.is_empty());
    assert_eq!(site.service.deaths().len(), 11);
}

#[tokio::test]
async fn an_ordered_end_between_all_requests_changes_nothing() {
    let site = Site::start(Vec::new()).await;
    let mut ends = 0;
    life(&site, &mut async |_| {
        let number = site.service.number();
        let (status, took) = site.service.terminate().await;
        assert_eq!(status.code(), Some(0), "{status}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        site.service.incarnation(number + 1).await;
        ends += 1;
    })
    .await;
    assert_eq!(ends, 12);
}

/// Many requests wait in one volume's actor and in the writer's queue when the process dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r102_requests_that_wait_at_the_kill_are_carried_out_once_or_never() {
    const CREATES: usize = 40;
    const UPDATES: usize = 40;
    let site = Site::start(Vec::new()).await;
    let (mut answered_in_all, mut lost_in_all) = (0, 0);
    for round in 0..4_u64 {
        let mut owner = Owner::new(&site, "");
        assert_eq!(owner.create(format!("updated-{round}"), 1).await, Took::Effect);
        owner.assert_as_known().await;
        let id = owner.id.clone();
        let answers = Arc::new(AtomicU64::new(0));
        let ask = async |method: &str, path: &str, body: &Value| {
            let said = site.ask(method, path, body).await;
            answers.fetch_add(u64::from(matches!(said, Said::Answer(..))), Ordering::Relaxed);
            said
        };
        let name = |number: usize| format!("created-{round}-{number}");
        let creates = (0..CREATES).map(async |number| {
            ask("POST", "/v3/volumes", &json!({"volume": {"name": name(number), "size": 1}})).await
        });
        let updates = (0..UPDATES).map(async |number| {
            let body = json!({"volume": {"description": format!("description {number}")}});
            ask("PUT", &format!("/v3/volumes/{id}"), &body).await
        });
        let killer = async {
            // some are answered by then, the others wait or are on the wire
            while answers.load(Ordering::Relaxed) < 5 + 15 * round {
                tokio::task::yield_now().await;
            }
            site.service.kill().await;
        };
        let (updated, created, ()) = tokio::join!(join_all(updates), join_all(creates), killer);

        site.assert_sound().await;
        let mut lost = 0;
        for (number, said) in created.into_iter().enumerate() {
            let found = site.named(&name(number)).await;
            match &said {
                Said::Answer(202, body) => assert_eq!(found, [body["volume"]["id"].as_str().expect("an id")]),
                Said::Answer(status, body) => panic!("{status} {body}"),
                Said::Lost => assert!(found.len() <= 1, "one request made {found:?}"),
                Said::NotSent => assert!(found.is_empty(), "nobody asked for {found:?}"),
            }
            lost += usize::from(said == Said::Lost);
        }
        let answered = updated.iter().filter(|said| matches!(said, Said::Answer(200, _))).count();
        let sent = updated.iter().filter(|said| **said != Said::NotSent).count();
        let carried_out = || async {
            let (_, body) = site.get(&format!("/admin/actors/{id}")).await;
            let history = body["actor"]["history"].as_array().expect("a history").clone();
            let requests = history.iter().filter(|event| event["command"] == "volume_update");
            requests.map(|event| event["request_id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
        };
        let found = carried_out().await;
        let different: BTreeSet<&String> = found.iter().collect();
        assert_eq!(different.len(), found.len(), "a request was carried out twice: {found:?}");
        assert!((answered..=sent).contains(&found.len()), "{} of {answered} to {sent}", found.len());
        answered_in_all += answered;
        lost_in_all += lost + sent - answered;
    }
    assert!(answered_in_all > 0, "no update was carried out: the test shows nothing");
    assert!(lost_in_all > 0, "no request waited when the process died: the test shows nothing");
}

/// Hundreds of volumes are to be recovered on a slow storage, and a client that comes at once is served at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r104_the_api_serves_at_once_while_recovery_runs() {
    const VOLUMES: usize = 300;
    /// For one answer, on a machine that compiles something else meanwhile.
    const AT_ONCE: Duration = Duration::from_secs(2);
    let site = Site::start(Vec::new()).await;
    site.storage_takes(Duration::from_secs(1), Duration::from_secs(2)).await;
    let creates =
        (0..VOLUMES).map(|number| {
            let (site, body) = (Arc::clone(&site), json!({"volume": {"name": format!("v-{number}"), "size": 1}}));
            async move {
                site.ask("POST", "/v3/volumes", &body).await.body(202)["volume"]["id"].as_str().unwrap().to_owned()
            }
        });
    let ids = join_all(creates).await;

    site.service.kill().await;
    let mut slowest = Duration::ZERO;
    for id in ids.iter().step_by(30) {
        let begun = Instant::now();
        let (status, body) = site.get(&format!("/v3/volumes/{id}")).await;
        assert_eq!(status, 200, "{body}");
        site.ask("PUT", &format!("/v3/volumes/{id}"), &json!({"volume": {"name": "touched"}})).await.body(200);
        site.ask("POST", "/v3/volumes", &json!({"volume": {"name": "new", "size": 1}})).await.body(202);
        slowest = slowest.max(begun.elapsed());
    }
    let (_, open) = site.get("/admin/operations").await;
    let open = open["operations"].as_array().expect("operations").len();
    assert!(open > VOLUMES / 4, "only {open} operations are still open: recovery was over before the API was asked");
    assert!(slowest < AT_ONCE, "three answers took {slowest:?} while {open} operations were open");

    site.storage_takes(Duration::ZERO, Duration::ZERO).await;
    site.assert_sound().await;
    for id in ids {
        let (_, body) = site.get(&format!("/v3/volumes/{id}")).await;
        assert_eq!(body["volume"]["status"], Value::from("available"), "{body}");
    }
}
