//! `Idempotency-Key`: one effect and one answer, however often a request is sent.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use super::harness::{ADMIN, Got, Harness, MEMBER, STRANGER};

async fn post(harness: &Harness, path: &str, key: &str, body: &Value) -> Got {
    harness.post(path, body).token(MEMBER).volume("3.71").header("Idempotency-Key", key).send().await
}

async fn act(harness: &Harness, id: &str, key: &str, body: Value) -> Got {
    let asking = harness.post(&format!("/v3/volumes/{id}/action"), &body).token(ADMIN).volume("3.71");
    asking.header("Idempotency-Key", key).send().await
}

async fn count(harness: &Harness, noun: &str) -> usize {
    harness.get(&format!("/v3/{noun}?all_tenants=1")).volume("3.71").send().await.json()[noun].as_array().unwrap().len()
}

#[actix_web::test]
async fn a_volume_is_made_once_for_its_key() {
    let harness = Harness::start().await;
    let body = json!({"volume": {"size": 1, "name": "n"}});
    let first = post(&harness, "/v3/volumes", "k", &body).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let id = first.json()["volume"]["id"].clone();
    harness.until(id.as_str().unwrap(), "available").await;
    // The order of members and the project in the URL say nothing.
    let again = json!({"volume": {"name": "n", "size": 1}});
    for path in ["/v3/volumes", "/v3/p/volumes"] {
        let got = post(&harness, path, "k", &again).await;
        assert_eq!((got.status, &got.json()["volume"]["id"]), (202, &id));
        let members = |got: &Got| got.json()["volume"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(&got), members(&first));
    }
    assert_eq!(count(&harness, "volumes").await, 1);

    let got = post(&harness, "/v3/volumes", "k", &json!({"volume": {"size": 2, "name": "n"}})).await;
    assert_eq!((got.status, &got.json()["unprocessableEntity"]["code"]), (422, &json!(422)));
    assert_eq!(count(&harness, "volumes").await, 1);
    let longest = "~".repeat(255);
    let other = post(&harness, "/v3/volumes", &longest, &body).await;
    assert_eq!(other.status, 202);
    assert_ne!(other.json()["volume"]["id"], id);
    let strangers = harness.post("/v3/volumes", &body).token(STRANGER).header("Idempotency-Key", "k").send().await;
    assert_eq!(strangers.status, 202);
    assert_ne!(strangers.json()["volume"]["id"], id, "a key is its user's and project's");
    assert_eq!(count(&harness, "volumes").await, 3);

    for key in ["", "k".repeat(256).as_str()] {
        let got = post(&harness, "/v3/volumes", key, &body).await;
        assert_eq!(got.fault().0, 400, "{key:?}");
    }
    let delete = format!("/v3/volumes/{}", id.as_str().unwrap());
    assert_eq!(harness.ask("DELETE", &delete).token(MEMBER).send().await.status, 202);
    harness.until(id.as_str().unwrap(), "gone").await;
    let got = post(&harness, "/v3/volumes", "k", &body).await;
    assert_eq!(got.fault().0, 409, "what is gone is not made again");
    assert_eq!(count(&harness, "volumes").await, 2);
    harness.stop().await;
}

#[actix_web::test]
async fn snapshots_attachments_and_actions_happen_once() {
    let harness = Harness::start().await;
    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    let body = json!({"snapshot": {"volume_id": id}});
    let first = post(&harness, "/v3/snapshots", "k", &body).await;
    let again = post(&harness, "/v3/snapshots", "k", &body).await;
    assert_eq!((first.status, again.status), (202, 202), "{}", again.text);
    assert_eq!(first.json()["snapshot"]["id"], again.json()["snapshot"]["id"]);
    assert_eq!(count(&harness, "snapshots").await, 1);

    for size in [3, 3] {
        let got = act(&harness, &id, "extend", json!({"os-extend": {"new_size": size}})).await;
        assert_eq!((got.status, got.text.as_str()), (202, ""));
        assert_eq!(harness.until(&id, "available").await["size"], 3);
    }
    assert_eq!(act(&harness, &id, "extend", json!({"os-extend": {"new_size": 4}})).await.status, 422);

    // What had nothing to do then has nothing to do later.
    let unreserve = || act(&harness, &id, "unreserve", json!({"os-unreserve": {}}));
    assert_eq!(unreserve().await.status, 202);
    for _ in 0..2 {
        assert_eq!(act(&harness, &id, "reserve", json!({"os-reserve": {}})).await.status, 202);
        assert_eq!(unreserve().await.status, 202);
        harness.until(&id, "attaching").await;
    }
    assert_eq!(act(&harness, &id, "other", json!({"os-unreserve": {}})).await.status, 202);

    let set = json!({"os-set_image_metadata": {"metadata": {"k": "v"}}});
    let answers = [act(&harness, &id, "image", set.clone()).await, act(&harness, &id, "image", set).await];
    assert_eq!((answers[0].status, answers[1].status), (200, 200));
    assert_eq!(answers[0].text, answers[1].text);
    let connect = json!({"os-initialize_connection": {"connector": {"host": "h"}}});
    let answers = [act(&harness, &id, "connect", connect.clone()).await, act(&harness, &id, "connect", connect).await];
    assert_eq!((answers[0].status, &answers[0].text), (200, &answers[1].text));
    let end = json!({"os-terminate_connection": {"connector": {"host": "h"}}});
    assert_eq!(act(&harness, &id, "terminate", end).await.status, 202);
    harness.until(&id, "available").await;

    for connector in [Value::Null, json!({"host": "h", "initiator": "i"})] {
        let volume = harness.volume(MEMBER, json!({"size": 1})).await;
        let body = json!({"attachment": {"volume_uuid": volume, "connector": connector}});
        let first = post(&harness, "/v3/attachments", "k2", &body).await;
        let again = post(&harness, "/v3/attachments", "k2", &body).await;
        let expected = if connector.is_null() { 200 } else { 422 };
        assert_eq!((first.status, again.status), (expected, expected), "{}", first.text);
        let first = post(&harness, "/v3/attachments", &volume, &body).await;
        if connector.is_null() {
            assert_eq!(first.fault().0, 400, "it is reserved");
            continue;
        }
        let again = post(&harness, "/v3/attachments", &volume, &body).await;
        assert_eq!((first.status, &first.text), (200, &again.text));
    }
    assert_eq!(count(&harness, "attachments").await, 2);

    let id = harness.volume(MEMBER, json!({"size": 1})).await;
    assert_eq!(act(&harness, &id, "delete", json!({"os-force_delete": {}})).await.status, 202);
    harness.until(&id, "gone").await;
    assert_eq!(act(&harness, &id, "delete", json!({"os-force_delete": {}})).await.status, 202);
    assert_eq!(act(&harness, &id, "another", json!({"os-force_delete": {}})).await.status, 404);
    harness.stop().await;
}

#[actix_web::test]
async fn a_request_under_way_is_not_begun_again_and_a_failed_one_frees_its_key() {
    let harness = Harness::start().await;
    harness.hang("create");
    let body = json!({"volume": {"size": 1}});
    let waiting = harness.post("/v3/volumes", &body).token(MEMBER).header("Idempotency-Key", "k");
    let waiting = waiting.header("Prefer", "wait=60").send();
    let meanwhile = async {
        harness.until_busy().await;
        assert_eq!(post(&harness, "/v3/volumes", "k", &body).await.fault().0, 409);
        assert_eq!(post(&harness, "/v3/volumes", "k", &json!({"volume": {"size": 2}})).await.status, 422);
        harness.until_released().await;
    };
    let (first, ()) = tokio::join!(waiting, meanwhile);
    assert_eq!((first.status, first.json()["volume"]["status"].as_str()), (202, Some("available")));
    let id = first.json()["volume"]["id"].as_str().unwrap().to_owned();
    assert_eq!(post(&harness, "/v3/volumes", "k", &body).await.json()["volume"]["id"], id.as_str());

    assert_eq!(act(&harness, &id, "e", json!({"os-extend": {"new_size": 1}})).await.fault().0, 400);
    assert_eq!(act(&harness, &id, "e", json!({"os-extend": {"new_size": 2}})).await.status, 202);
    harness.until(&id, "available").await;
    harness.fail("export");
    let body = json!({"attachment": {"volume_uuid": id, "connector": {"host": "h"}}});
    assert_eq!(post(&harness, "/v3/attachments", "a", &body).await.status, 500);
    harness.until(&id, "available").await;
    assert_eq!(post(&harness, "/v3/attachments", "a", &body).await.status, 200, "its effect was undone");
    harness.stop().await;
}

#[actix_web::test]
async fn a_cut_connection_makes_no_second_volume() {
    let harness = Harness::start().await;
    for number in 1..=20 {
        let (key, body) = (format!("key {number}"), json!({"volume": {"size": 1}}));
        let text = body.to_string();
        let mut cut = TcpStream::connect(harness.address).unwrap();
        write!(
            cut,
            "POST /v3/volumes HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: {MEMBER}\r\nIdempotency-Key: {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
        .unwrap();
        drop(cut);
        let id = loop {
            let got = post(&harness, "/v3/volumes", &key, &body).await;
            match got.status {
                409 => tokio::task::yield_now().await,
                _ => break got.json()["volume"]["id"].as_str().expect("a volume").to_owned(),
            }
        };
        harness.until(&id, "available").await;
        assert_eq!(count(&harness, "volumes").await, number);
    }
    harness.stop().await;
}
