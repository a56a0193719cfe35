//! What only clients see that ask for it, and what is said beside a fault: `Hearth-*`, `Prefer: wait`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER};

const HEADERS: [&str; 5] = [
    "hearth-blocking-operation",
    "hearth-blocking-step",
    "hearth-blocking-age",
    "hearth-blocking-deadline",
    "hearth-retry",
];

fn said(got: &Got) -> Vec<&'static str> {
    HEADERS.into_iter().filter(|name| got.header(name).is_some()).collect()
}

async fn act(harness: &Harness, id: &str, body: Value) -> Got {
    harness.post(&format!("/v3/volumes/{id}/action"), &body).token(ADMIN).volume("3.59").send().await
}

async fn extend(harness: &Harness, id: &str, size: u32) -> Got {
    act(harness, id, json!({"os-extend": {"new_size": size}})).await
}

#[actix_web::test]
async fn a_refusal_names_the_work_in_the_way() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    harness.hang("extend");
    let begun = extend(&harness, &id, 2).await;
    assert_eq!((begun.status, said(&begun)), (202, vec![]));
    let open = harness.get("/admin/operations").send().await.json()["operations"][0].clone();
    let path = format!("/v3/volumes/{id}");
    for got in [
        harness.ask("DELETE", &path).token(MEMBER).send().await,
        extend(&harness, &id, 3).await,
        harness
            .post("/v3/attachments", &json!({"attachment": {"volume_uuid": id}}))
            .token(ADMIN)
            .volume("3.54")
            .send()
            .await,
    ] {
        assert_eq!(got.fault().0, 400);
        assert_eq!(said(&got), HEADERS, "{}", got.text);
        let operation = format!("extend; id=\"{}\"", open["id"].as_str().unwrap());
        assert_eq!(got.header("hearth-blocking-operation"), Some(operation.as_str()));
        assert_eq!(got.header("hearth-blocking-step"), Some("extend"));
        assert_eq!(got.header("hearth-retry"), Some("later"));
        let seconds = |name: &str| got.header(name).unwrap().parse::<f64>().unwrap();
        assert!(seconds("hearth-blocking-age") < 20.0);
        let most = open["step_deadline_seconds"].as_f64().unwrap();
        assert!(seconds("hearth-blocking-deadline") <= most && seconds("hearth-blocking-deadline") > most - 20.0);
        assert!(got.text.starts_with(r#"{"badRequest":{"code":400,"message":"#), "the fault is as it was");
    }
    harness.until_released().await;
    harness.until(&id, "available").await;
    // What no waiting heals says so, and blames nobody.
    for body in [json!({"os-begin_detaching": {}}), json!({"os-extend": {"new_size": 1}})] {
        let got = act(&harness, &id, body).await;
        assert_eq!((got.fault().0, said(&got), got.header("hearth-retry")), (400, vec!["hearth-retry"], Some("never")));
    }
    for got in [
        act(&harness, &id, json!({"os-extend": {"new_size": "x"}})).await,
        harness.ask("DELETE", "/v3/volumes/00000000-0000-0000-0000-000000000000").token(MEMBER).send().await,
        harness.get(&path).send().await,
    ] {
        assert_eq!(said(&got), Vec::<&str>::new(), "{}", got.status);
    }
    harness.stop().await;
}

#[actix_web::test]
async fn nothing_comes_after_a_delete_and_a_volume_out_of_service_comes_back() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    harness.hang("delete");
    let path = format!("/v3/volumes/{id}");
    assert_eq!(harness.ask("DELETE", &path).token(MEMBER).send().await.status, 202);
    let got = extend(&harness, &id, 2).await;
    assert!(got.header("hearth-blocking-operation").unwrap().starts_with("delete; "), "{}", got.text);
    assert_eq!((got.fault().0, got.header("hearth-retry")), (400, Some("never")));
    harness.until_released().await;
    harness.until(&id, "gone").await;

    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let got = loop {
        harness.service.inject_panic(id.parse().map(hearth::domain::ids::VolumeId).unwrap());
        let got = extend(&harness, &id, 2).await;
        match got.status {
            500 => assert_eq!(said(&got), Vec::<&str>::new(), "nobody knows what became of it"),
            _ => break got,
        }
        assert!(Instant::now() < deadline);
    };
    assert_eq!((got.fault().0, said(&got), got.header("hearth-retry")), (503, vec!["hearth-retry"], Some("later")));
    assert!(got.header("retry-after").is_some());
    harness.stop().await;
}

#[actix_web::test]
async fn compute_names_the_work_in_the_way_too() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    harness.hang("extend");
    assert_eq!(extend(&harness, &id, 2).await.status, 202);
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let got = harness.post(&path, &json!({"volumeAttachment": {"volumeId": id}})).token(ADMIN).send().await;
    assert_eq!((got.status, said(&got), got.header("hearth-retry")), (400, HEADERS.to_vec(), Some("later")));
    harness.until_released().await;
    harness.until(&id, "available").await;
    harness.stop().await;
}

#[actix_web::test]
async fn a_history_tells_every_transition_page_by_page() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    harness.fail("extend");
    let request = extend(&harness, &id, 2).await.header("x-openstack-request-id").unwrap().to_owned();
    harness.until(&id, "error_extending").await;
    let path = format!("/admin/volumes/{id}/history");
    let whole = harness.get(&path).send().await.json()["history"].as_array().unwrap().clone();
    let of = |row: &Value, name: &str| row[name].as_str().map(str::to_owned);
    let generations: Vec<u64> = whole.iter().map(|row| row["generation"].as_u64().unwrap()).collect();
    assert_eq!(generations, (1..=whole.len() as u64).rev().collect::<Vec<_>>(), "newest first, without a gap");
    assert_eq!(of(&whole[0], "to_status").as_deref(), Some("error_extending"));
    assert_eq!(of(&whole[0], "request_id"), Some(request.clone()), "{:?}", whole[0]);
    assert!(of(&whole[0], "cause").is_some());
    let last = whole.last().unwrap();
    assert_eq!(
        (&last["command"], &last["from_status"], &last["to_status"]),
        (&json!("volume_create"), &json!(null), &json!("creating"))
    );
    let (mut pages, mut marker) = (Vec::new(), String::new());
    loop {
        let page =
            harness.get(&format!("{path}?limit=2{marker}")).send().await.json()["history"].as_array().unwrap().clone();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        marker = format!("&marker={}", last["generation"]);
        pages.extend(page);
    }
    assert_eq!(pages, whole);
    assert_eq!(harness.ask("GET", &path).token(MEMBER).send().await.status, 403);
    assert_eq!(harness.get(&format!("{path}?marker=x")).send().await.fault().0, 400);
    assert_eq!(harness.get("/admin/volumes/00000000-0000-0000-0000-000000000000/history").send().await.fault().0, 404);
    assert_eq!(harness.ask("DELETE", &format!("/v3/volumes/{id}")).token(MEMBER).send().await.status, 202);
    harness.until(&id, "gone").await;
    let got = harness.get(&format!("{path}?limit=1")).send().await.json();
    assert_eq!(got["history"][0]["to_status"], "deleted", "it outlives its volume");
    harness.stop().await;
}

async fn snapshot(harness: &Harness, volume: &str, prefer: &str) -> Got {
    let body = json!({"snapshot": {"volume_id": volume}});
    harness.post("/v3/snapshots", &body).token(MEMBER).header("Prefer", prefer).send().await
}

#[actix_web::test]
async fn who_prefers_to_wait_is_answered_when_all_is_done() {
    let harness = Harness::start().await;
    let create = async |prefer: &str| {
        let body = json!({"volume": {"size": 1}});
        harness.post("/v3/volumes", &body).token(MEMBER).header("Prefer", prefer).send().await
    };
    let plain = harness.post("/v3/volumes", &json!({"volume": {"size": 1}})).token(MEMBER).send().await;
    assert_eq!((plain.status, plain.header("preference-applied")), (202, None));
    let got = create("respond-async, wait=30").await;
    let volume = got.json()["volume"].clone();
    assert_eq!((got.status, got.header("preference-applied")), (202, Some("wait")));
    assert_eq!(volume["status"], "available");
    let members = |volume: &Value| volume.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&volume), members(&plain.json()["volume"]), "the members stay");
    let id = volume["id"].as_str().unwrap();
    let path = format!("/v3/volumes/{id}");

    let body = json!({"os-extend": {"new_size": 2}});
    let act = harness.post(&format!("{path}/action"), &body).token(MEMBER).header("Prefer", "wait=30").send().await;
    assert_eq!((act.status, act.text.as_str(), act.header("preference-applied")), (202, "", Some("wait")));
    let shown = harness.get(&path).send().await.json()["volume"].clone();
    assert_eq!((&shown["size"], &shown["status"]), (&json!(2), &json!("available")));

    let taken = snapshot(&harness, id, "wait=30").await;
    assert_eq!((taken.status, taken.json()["snapshot"]["status"].as_str()), (202, Some("available")));
    let of = format!("/v3/snapshots/{}", taken.json()["snapshot"]["id"].as_str().unwrap());
    let gone = harness.ask("DELETE", &of).token(MEMBER).header("Prefer", "wait=30").send().await;
    assert_eq!((gone.status, gone.text.as_str(), gone.header("preference-applied")), (202, "", Some("wait")));
    assert_eq!(harness.get(&of).send().await.status, 404);

    // What is done when it is answered has nothing to wait for.
    let put =
        harness.put(&path, &json!({"volume": {"name": "n"}})).token(MEMBER).header("Prefer", "wait=30").send().await;
    assert_eq!((put.status, put.header("preference-applied")), (200, None));
    let gone = harness.ask("DELETE", &path).token(MEMBER).header("Prefer", "wait=30").send().await;
    assert_eq!((gone.status, gone.text.as_str(), gone.header("preference-applied")), (202, "", Some("wait")));
    assert_eq!(harness.get(&path).send().await.status, 404);

    harness.fail("create");
    let failed = create("wait=30").await;
    assert_eq!((failed.status, failed.json()["volume"]["status"].as_str()), (202, Some("error")));
    harness.stop().await;
}

#[actix_web::test]
async fn a_wait_ends_with_its_time_and_holds_nobody_up() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    harness.hang("create_snapshot");
    let begun = Instant::now();
    let got = snapshot(&harness, &id, "wait=1").await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!((got.status, got.header("preference-applied")), (202, Some("wait")));
    assert_eq!(got.json()["snapshot"]["status"], "creating");
    harness.until_released().await;

    harness.hang("extend");
    let path = format!("/v3/volumes/{id}/action");
    let body = json!({"os-extend": {"new_size": 2}});
    let waiting = harness.post(&path, &body).token(MEMBER).header("Prefer", "wait=60").send();
    let meanwhile = async {
        harness.until(&id, "extending").await;
        let actor = harness.get(&format!("/admin/actors/{id}")).send().await.json()["actor"].clone();
        assert_eq!(actor["mailbox"]["admitted"], 0, "who waits holds no place in the volume's admission");
        harness.until_released().await;
    };
    let (got, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!((got.status, got.header("preference-applied")), (202, Some("wait")));
    assert_eq!(harness.until(&id, "available").await["size"], 2);
    harness.stop().await;
}
