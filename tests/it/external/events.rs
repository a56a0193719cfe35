//! What Nova is told: volumes that have grown or were reimaged under its servers.

use serde_json::{Value, json};

use super::stand_in::{Step, TOKEN};
use super::{Cloud, OTHER_SERVER, SERVER};
use crate::api::harness::{ADMIN, MEMBER, SERVICE};
use hearth::domain::ids::ImageId;
use uuid::Uuid;

fn event(name: &str, server: &str, volume: &str) -> Value {
    json!({"name": name, "server_uuid": server, "tag": volume})
}

impl Cloud {
    async fn extend(&self, volume: &str, size: u32) {
        let got = self.act(MEMBER, volume, &json!({"os-extend": {"new_size": size}})).await;
        assert_eq!(got.status, 202, "{}", got.text);
    }

    /// The causes of the volume's user messages.
    async fn messages(&self, volume: &str) -> Vec<Value> {
        let listed = self.harness.get("/v3/messages").volume("3.71").send().await.json();
        let messages = listed["messages"].as_array().unwrap().iter();
        messages.filter(|message| message["resource_uuid"] == volume).cloned().collect()
    }
}

#[actix_web::test]
async fn external_nova_is_told_that_a_volume_has_grown_under_its_server() {
    let cloud = Cloud::start().await;
    let (volume, _) = cloud.attached(SERVER).await;
    cloud.extend(&volume, 2).await;
    let seen = cloud.nova.wait_for_calls(1).await;
    assert_eq!(seen[0].line, "POST /v2.1/os-server-external-events");
    assert_eq!(seen[0].body, json!({"events": [event("volume-extended", SERVER, &volume)]}));
    assert_eq!((seen[0].version.as_deref(), seen[0].old_version.as_deref()), (Some("compute 2.51"), Some("2.51")));
    assert_eq!(seen[0].token, Some(format!("{TOKEN}-1")));
    cloud.until_idle().await;
    assert_eq!((cloud.nova.seen().len(), cloud.messages(&volume).await), (1, vec![]));
    cloud.stop().await;
}

/// Nova looks at the volume when it hears of it: it is whole by then, and nothing else waits for Nova.
#[actix_web::test]
async fn external_the_volume_is_whole_and_free_while_nova_is_told() {
    let cloud = Cloud::start().await;
    let (volume, _) = cloud.attached(SERVER).await;
    cloud.nova.hold();
    cloud.extend(&volume, 2).await;
    cloud.nova.wait_for_calls(1).await;
    let shown = cloud.harness.get(&format!("/v3/volumes/{volume}")).send().await.json();
    assert_eq!((&shown["volume"]["status"], &shown["volume"]["size"]), (&json!("in-use"), &json!(2)));
    let open = cloud.harness.get("/admin/operations").send().await.json();
    assert_eq!(
        (&open["operations"][0]["kind"], &open["operations"][0]["step_deadline_seconds"]),
        (&json!("notify_compute"), &json!(0.4))
    );
    // the next one waits for its turn, the volume does not
    cloud.extend(&volume, 3).await;
    cloud.harness.until(&volume, "in-use").await;
    let snapshot = json!({"snapshot": {"volume_id": volume, "force": true}});
    let snapshot = cloud.harness.post("/v3/snapshots", &snapshot).token(MEMBER).send().await;
    assert_eq!(snapshot.status, 202, "{}", snapshot.text);
    cloud.nova.release();
    let seen = cloud.nova.wait_for_calls(2).await;
    assert!(seen.iter().all(|call| call.body["events"] == json!([event("volume-extended", SERVER, &volume)])));
    cloud.until_idle().await;
    cloud.stop().await;
}

#[actix_web::test]
async fn external_nova_is_told_of_its_own_servers_only() {
    let cloud = Cloud::start().await;
    // nobody has it
    let free = cloud.volume().await;
    cloud.extend(&free, 2).await;
    cloud.harness.until(&free, "available").await;
    // no server of Nova's has it
    let elsewhere = cloud.volume().await;
    let attachment = cloud.reserve(&elsewhere, None).await;
    cloud.connect(&attachment, "h1").await;
    cloud.complete(&attachment).await;
    cloud.extend(&elsewhere, 2).await;
    cloud.harness.until(&elsewhere, "in-use").await;
    cloud.until_idle().await;
    assert_eq!(cloud.nova.seen(), []);
    cloud.stop().await;
}

#[actix_web::test]
async fn external_one_call_tells_of_all_servers_of_a_volume() {
    let cloud = Cloud::start().await;
    let made = json!({"volume_type": {"name": "multi", "extra_specs": {"multiattach": "<is> True"}}});
    assert_eq!(cloud.harness.post("/v3/types", &made).token(ADMIN).send().await.status, 200);
    let volume = cloud.harness.volume(ADMIN, json!({"size": 1, "volume_type": "multi"})).await;
    // two rows of one server, as a live migration makes them
    for (server, host) in [(OTHER_SERVER, "h2"), (SERVER, "h1"), (SERVER, "h3")] {
        let attachment = cloud.reserve(&volume, Some(server)).await;
        cloud.connect(&attachment, host).await;
        cloud.complete(&attachment).await;
    }
    let events = [SERVER, OTHER_SERVER].map(|server| event("volume-extended", server, &volume));
    // that one of the servers does not hear it is Nova's business
    let codes = [(200, "completed"), (422, "failed")];
    let answers = events.iter().zip(codes).map(|(event, (code, status))| {
        let mut answer = event.clone();
        answer["code"] = json!(code);
        answer["status"] = json!(status);
        answer
    });
    cloud.nova.script([Step::json(207, &json!({"events": answers.collect::<Vec<_>>()}))]);
    cloud.extend(&volume, 2).await;
    let seen = cloud.nova.wait_for_calls(1).await;
    assert_eq!(seen[0].body, json!({"events": events}));
    cloud.until_idle().await;
    assert_eq!((cloud.nova.seen().len(), cloud.messages(&volume).await), (1, vec![]));
    cloud.stop().await;
}

/// The servers are those that have the volume when it has grown, not those that had it when somebody asked for it.
#[actix_web::test]
async fn external_r48_a_server_that_lets_go_meanwhile_is_not_told() {
    let cloud = Cloud::start().await;
    let (volume, attachment) = cloud.attached(SERVER).await;
    cloud.harness.hang("extend");
    cloud.extend(&volume, 2).await;
    let path = format!("/v3/attachments/{attachment}");
    let by_nova = cloud.harness.ask("DELETE", &path).volume("3.71").token(MEMBER).header("X-Service-Token", SERVICE);
    assert_eq!(by_nova.send().await.status, 200);
    cloud.harness.until_released().await;
    assert_eq!(cloud.harness.until(&volume, "available").await["size"], 2);
    cloud.until_idle().await;
    assert_eq!(cloud.nova.seen(), []);
    cloud.stop().await;
}

/// It is tried again while that may help.
#[actix_web::test]
async fn external_r49_nova_is_told_again_after_a_failure() {
    let cloud = Cloud::start().await;
    let (volume, _) = cloud.attached(SERVER).await;
    cloud.nova.script([Step::Reply(503, String::new()), Step::json(200, &json!({"events": "senseless"}))]);
    cloud.extend(&volume, 2).await;
    let seen = cloud.nova.wait_for_calls(3).await;
    assert!(seen.iter().all(|call| *call == seen[0]), "{seen:?}");
    cloud.until_idle().await;
    assert_eq!(cloud.messages(&volume).await, Vec::<Value>::new());
    cloud.stop().await;
}

/// What Nova refuses it would refuse again: the owner reads it, and the volume is what it is.
#[actix_web::test]
async fn external_a_refusal_of_nova_is_a_message() {
    for (status, body) in [(404, "itemNotFound"), (403, "forbidden"), (400, "badRequest")] {
        let cloud = Cloud::start().await;
        let (volume, _) = cloud.attached(SERVER).await;
        cloud.nova.script([Step::json(status, &json!({body: {"code": status, "message": "x"}}))]);
        cloud.extend(&volume, 2).await;
        cloud.nova.wait_for_calls(1).await;
        cloud.until_idle().await;
        let messages = cloud.messages(&volume).await;
        assert_eq!(messages.len(), 1, "{status}");
        let text = messages[0]["user_message"].as_str().unwrap();
        assert!(text.starts_with("extend volume:Compute service failed to extend volume."), "{text}");
        assert_eq!(cloud.harness.until(&volume, "in-use").await["size"], 2);
        assert_eq!(cloud.nova.seen().len(), 1, "{status}");
        cloud.stop().await;
    }
}

/// A server's rebuild: Nova reserves the volume, has it reimaged, and waits for the word.
#[actix_web::test]
async fn external_nova_is_told_that_a_volume_was_reimaged() {
    let cloud = Cloud::start().await;
    let volume = cloud.volume().await;
    let image = ImageId(Uuid::new_v4());
    cloud.harness.images.put(image, b"a disk", |_| ());
    cloud.reserve(&volume, Some(SERVER)).await;
    cloud.harness.until(&volume, "reserved").await;
    let body = json!({"os-reimage": {"image_id": image, "reimage_reserved": true}});
    let got = cloud.act(MEMBER, &volume, &body).await;
    assert_eq!(got.status, 202, "{}", got.text);
    let seen = cloud.nova.wait_for_calls(1).await;
    assert_eq!(seen[0].body, json!({"events": [event("volume-reimaged", SERVER, &volume)]}));
    assert_eq!(seen[0].version.as_deref(), Some("compute 2.93"));
    cloud.harness.until(&volume, "reserved").await;
    cloud.until_idle().await;
    cloud.stop().await;
}

/// An administrator's word ends no notice, and a delete leaves none behind.
#[actix_web::test]
async fn external_a_reset_keeps_the_notice() {
    let cloud = Cloud::start().await;
    let (volume, _) = cloud.attached(SERVER).await;
    // the second try is on its way already, the third one is made by the notice alone
    cloud.nova.script([Step::Reply(500, String::new()), Step::Reply(500, String::new())]);
    cloud.extend(&volume, 2).await;
    cloud.nova.wait_for_calls(1).await;
    let got = cloud.act(ADMIN, &volume, &json!({"os-reset_status": {"status": "error"}})).await;
    assert_eq!(got.status, 202, "{}", got.text);
    cloud.nova.wait_for_calls(3).await;
    cloud.until_idle().await;
    cloud.harness.until(&volume, "error").await;

    // all is taken from it and it is deleted while Nova is not there
    cloud.act(ADMIN, &volume, &json!({"os-reset_status": {"status": "in-use"}})).await;
    cloud.nova.stop().await;
    cloud.extend(&volume, 3).await;
    cloud.harness.until(&volume, "in-use").await;
    cloud.harness.until_busy().await;
    cloud.act(ADMIN, &volume, &json!({"os-reset_status": {"status": "error", "attach_status": "detached"}})).await;
    let deleted = cloud.harness.ask("DELETE", &format!("/v3/volumes/{volume}")).token(ADMIN).send().await;
    assert_eq!(deleted.status, 202, "{}", deleted.text);
    cloud.harness.until(&volume, "gone").await;
    cloud.until_idle().await;
    cloud.stop().await;
}

/// What a guest uses of a Nova's is not moved: nothing is begun, and the owner reads why.
#[actix_web::test]
async fn external_a_volume_in_use_is_not_migrated() {
    let cloud = Cloud::start().await;
    let (volume, attachment) = cloud.attached(SERVER).await;
    let body = json!({"os-migrate_volume": {"host": crate::api::harness::OTHER_BACKEND}});
    let got = cloud.act(ADMIN, &volume, &body).await;
    assert_eq!(got.status, 400, "{}", got.text);
    assert!(got.fault().1.contains("detach it first"), "{}", got.text);
    let shown = cloud.harness.until(&volume, "in-use").await;
    assert_eq!(shown["migration_status"], Value::Null);
    assert_eq!((cloud.nova.seen(), cloud.rows(&volume).await), (vec![], vec![attachment]));
    cloud.stop().await;
}
