//! The in-use guard, row by row: which requests Nova is asked about, and what follows from what it says.

use std::time::Instant;

use serde_json::{Value, json};

use super::stand_in::{Step, TIMEOUT, TOKEN};
use super::{Cloud, OTHER_SERVER, SERVER};
use crate::api::harness::{ADMIN, MEMBER, SERVICE};

/// Every action by which a user could take a volume from a server, with the answer when nothing is in the way.
fn actions(attachment: &str) -> [(&'static str, Value); 5] {
    [
        (MEMBER, json!({"os-detach": {"attachment_id": attachment}})),
        (MEMBER, json!({"os-detach": {}})),
        (MEMBER, json!({"os-terminate_connection": {"connector": null}})),
        (ADMIN, json!({"os-force_detach": {"attachment_id": attachment, "connector": {"host": "h1"}}})),
        (ADMIN, json!({"os-force_detach": {}})),
    ]
}

#[actix_web::test]
async fn external_r40_a_user_does_not_take_what_a_server_uses() {
    let cloud = Cloud::start().await;
    let (volume, attachment) = cloud.attached(SERVER).await;
    let expected = format!("ConflictNovaUsingAttachment: Detach volume from instance {SERVER} using the Compute API");
    let refused = cloud.delete(&attachment).await;
    assert_eq!(refused.fault(), (409, expected.clone()));
    for (token, body) in actions(&attachment) {
        let refused = cloud.act(token, &volume, &body).await;
        assert_eq!(refused.fault(), (409, expected.clone()), "{body}");
    }
    assert_eq!(cloud.rows(&volume).await, [attachment]);
    cloud.harness.until(&volume, "in-use").await;

    let seen = cloud.nova.seen();
    assert_eq!(seen.len(), 6);
    for call in seen {
        assert_eq!(call.line, format!("GET /v2.1/servers/{SERVER}/os-volume_attachments/{volume}"));
        assert_eq!(call.token, Some(format!("{TOKEN}-1")), "the service's own token, not the user's");
        assert_eq!((call.version.as_deref(), call.old_version.as_deref()), (Some("compute 2.89"), Some("2.89")));
        assert!(call.request_id.is_some_and(|id| id.starts_with("req-")));
    }
    cloud.stop().await;
}

/// The row is left over: Nova has no such server, or the server has no such volume.
#[actix_web::test]
async fn external_r105_a_row_that_no_server_has_can_be_removed() {
    let cloud = Cloud::start().await;
    let volume = cloud.volume().await;
    let attachment = cloud.reserve(&volume, Some(SERVER)).await;
    cloud.connect(&attachment, "h1").await;
    let got = cloud.delete(&attachment).await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!((cloud.nova.seen().len(), cloud.rows(&volume).await), (1, vec![]));
    cloud.harness.until(&volume, "available").await;
    cloud.stop().await;
}

#[actix_web::test]
async fn external_r107_another_attachment_of_the_same_server_does_not_count() {
    let cloud = Cloud::start().await;
    let (volume, attachment) = cloud.attached(SERVER).await;
    cloud.nova.attach(SERVER, &volume, "11111111-2222-4333-8444-555555555555");
    let got = cloud.act(MEMBER, &volume, &json!({"os-detach": {"attachment_id": attachment}})).await;
    assert_eq!(got.status, 202, "{}", got.text);
    assert_eq!((cloud.nova.seen().len(), cloud.rows(&volume).await), (1, vec![]));
    cloud.stop().await;
}

#[actix_web::test]
async fn external_nova_is_not_asked_where_the_answer_is_known() {
    let cloud = Cloud::start().await;
    // what no server has
    let volume = cloud.volume().await;
    let attachment = cloud.reserve(&volume, None).await;
    cloud.connect(&attachment, "h1").await;
    assert_eq!(cloud.delete(&attachment).await.status, 200);
    // what is not connected
    let attachment = cloud.reserve(&volume, Some(SERVER)).await;
    assert_eq!(cloud.delete(&attachment).await.status, 200);
    // no row at all
    assert_eq!(cloud.act(MEMBER, &volume, &json!({"os-terminate_connection": {"connector": null}})).await.status, 202);
    // a row that is not known may be in use
    let unknown = json!({"os-detach": {"attachment_id": "11111111-2222-4333-8444-555555555555"}});
    assert_eq!(cloud.act(MEMBER, &volume, &unknown).await.status, 409);
    // a service, as Nova itself is
    let (volume, attachment) = cloud.attached(OTHER_SERVER).await;
    let path = format!("/v3/attachments/{attachment}");
    let by_nova = cloud.harness.ask("DELETE", &path).volume("3.71").token(MEMBER).header("X-Service-Token", SERVICE);
    assert_eq!(by_nova.send().await.status, 200);
    assert_eq!((cloud.rows(&volume).await, cloud.nova.seen()), (vec![], vec![]));
    cloud.stop().await;
}

#[actix_web::test]
async fn external_one_of_several_rows_has_to_be_named() {
    let cloud = Cloud::start().await;
    let made = json!({"volume_type": {"name": "multi", "extra_specs": {"multiattach": "<is> True"}}});
    let got = cloud.harness.post("/v3/types", &made).token(ADMIN).send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    let volume = cloud.harness.volume(ADMIN, json!({"size": 1, "volume_type": "multi"})).await;
    let mut rows = Vec::new();
    for (server, host) in [(SERVER, "h1"), (OTHER_SERVER, "h2")] {
        let attachment = cloud.reserve(&volume, Some(server)).await;
        cloud.connect(&attachment, host).await;
        cloud.complete(&attachment).await;
        rows.push(attachment);
    }
    cloud.nova.attach(SERVER, &volume, &rows[0]);
    assert_eq!(cloud.act(MEMBER, &volume, &json!({"os-detach": {}})).await.status, 409);
    assert_eq!(cloud.nova.seen(), []);
    let of = |row: &str| json!({"os-detach": {"attachment_id": row}});
    assert_eq!(cloud.act(MEMBER, &volume, &of(&rows[0])).await.status, 409);
    assert_eq!(cloud.act(MEMBER, &volume, &of(&rows[1])).await.status, 202);
    let asked: Vec<String> = cloud.nova.seen().into_iter().map(|call| call.line).collect();
    let line = |server| format!("GET /v2.1/servers/{server}/os-volume_attachments/{volume}");
    assert_eq!(asked, [line(SERVER), line(OTHER_SERVER)]);
    assert_eq!(cloud.rows(&volume).await, rows[..1]);
    cloud.stop().await;
}

/// Whatever is not Nova's own word is no answer: the volume stays with its server.
#[actix_web::test]
async fn external_nobody_is_let_in_by_a_guess() {
    let cloud = Cloud::start().await;
    let (volume, attachment) = cloud.attached(SERVER).await;
    let known = |attachment: Value| json!({"volumeAttachment": {"attachment_id": attachment}});
    for step in [
        Step::Reply(500, String::new()),
        Step::json(503, &json!({"serviceUnavailable": {"code": 503, "message": "x"}})),
        Step::json(403, &json!({"forbidden": {"code": 403, "message": "x"}})),
        Step::json(406, &json!({"computeFault": {"code": 406, "message": "x"}})),
        Step::json(429, &json!({"overLimit": {"code": 429, "message": "x"}})),
        // of a proxy, not of Nova
        Step::Reply(404, "<html>not here</html>".to_owned()),
        Step::json(404, &json!({"error": "not here"})),
        Step::Reply(301, String::new()),
        Step::Reply(200, "no json".to_owned()),
        Step::json(200, &json!({})),
        Step::json(200, &known(Value::Null)),
        Step::json(200, &known(json!("no id"))),
    ] {
        cloud.nova.script([step.clone()]);
        let got = cloud.delete(&attachment).await;
        let expected = (503, "The Compute service is temporarily unavailable.".to_owned());
        assert_eq!(got.fault(), expected, "{step:?}");
        assert_eq!((got.header("retry-after"), got.header("hearth-retry")), (Some("1"), Some("later")), "{step:?}");
    }
    cloud.nova.stop().await;
    assert_eq!(cloud.delete(&attachment).await.status, 503);
    assert_eq!(cloud.act(MEMBER, &volume, &json!({"os-detach": {}})).await.status, 503);
    assert_eq!(cloud.rows(&volume).await.as_slice(), std::slice::from_ref(&attachment));
    cloud.harness.until(&volume, "in-use").await;
    cloud.nova.start_again().await;
    assert_eq!(cloud.delete(&attachment).await.status, 409);
    cloud.stop().await;
}

/// A connection that is closed in this moment is no failure yet.
#[actix_web::test]
async fn external_a_connection_that_breaks_is_made_again_once() {
    let cloud = Cloud::start().await;
    let (_, attachment) = cloud.attached(SERVER).await;
    cloud.nova.script([Step::Close]);
    assert_eq!(cloud.delete(&attachment).await.status, 409);
    cloud.nova.script([Step::Close, Step::Close]);
    assert_eq!(cloud.delete(&attachment).await.status, 503);
    assert_eq!(cloud.nova.seen().len(), 4);
    cloud.stop().await;
}

#[actix_web::test]
async fn external_a_token_that_is_rejected_is_renewed_once() {
    let cloud = Cloud::start().await;
    let (_, attachment) = cloud.attached(SERVER).await;
    assert_eq!(cloud.delete(&attachment).await.status, 409);
    cloud.nova.forget_tokens();
    assert_eq!(cloud.delete(&attachment).await.status, 409);
    let tokens = |seen: Vec<super::stand_in::Seen>| seen.into_iter().filter_map(|call| call.token).collect::<Vec<_>>();
    let token = |number: usize| format!("{TOKEN}-{number}");
    assert_eq!(tokens(cloud.nova.seen()), [token(1), token(1), token(2)]);
    cloud.nova.script([Step::Reply(401, String::new()), Step::Reply(401, String::new())]);
    assert_eq!(cloud.delete(&attachment).await.status, 503, "not again and again");
    assert_eq!(tokens(cloud.nova.seen())[3..], [token(2), token(3)]);
    cloud.stop().await;
}

/// While Nova is asked nobody holds the volume: others are served, and the question ends with its time.
#[actix_web::test]
async fn external_r41_a_nova_that_hangs_holds_nobody_up() {
    let cloud = Cloud::start().await;
    let (volume, attachment) = cloud.attached(SERVER).await;
    cloud.nova.script([Step::Hang]);
    let began = Instant::now();
    let others = async {
        cloud.nova.wait_for_calls(1).await;
        let body = json!({"metadata": {"while": "nova hangs"}});
        let got = cloud.harness.post(&format!("/v3/volumes/{volume}/metadata"), &body).token(MEMBER).send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        let grown = cloud.act(MEMBER, &volume, &json!({"os-extend": {"new_size": 2}})).await;
        assert_eq!(grown.status, 202, "{}", grown.text);
        assert_eq!(cloud.harness.until(&volume, "in-use").await["size"], 2);
        began.elapsed()
    };
    let (refused, served) = tokio::join!(cloud.delete(&attachment), others);
    assert_eq!(refused.status, 503);
    assert!(served < began.elapsed() && began.elapsed() >= TIMEOUT, "{served:?}");
    assert_eq!(cloud.rows(&volume).await, [attachment]);
    cloud.stop().await;
}

/// What Nova has said of one connection says nothing of the next: it is asked again.
#[actix_web::test]
async fn external_r41_what_changes_while_nova_is_asked_is_asked_again() {
    let cloud = Cloud::start().await;
    let volume = cloud.volume().await;
    let old = cloud.reserve(&volume, Some(SERVER)).await;
    cloud.connect(&old, "h1").await;
    cloud.nova.hold();
    let meanwhile = async {
        cloud.nova.wait_for_calls(1).await;
        // the server moves to another host, and Nova knows its attachment a moment later
        cloud.connect(&old, "h2").await;
        cloud.nova.release();
        cloud.nova.attach(SERVER, &volume, &old);
    };
    cloud.nova.script([Step::json(404, &json!({"itemNotFound": {"code": 404, "message": "not yet"}}))]);
    let detach = json!({"os-detach": {}});
    let (refused, ()) = tokio::join!(cloud.act(MEMBER, &volume, &detach), meanwhile);
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!((cloud.nova.seen().len(), cloud.rows(&volume).await), (2, vec![old.clone()]));

    // another row in its place
    cloud.nova.hold();
    let meanwhile = async {
        cloud.nova.wait_for_calls(3).await;
        let path = format!("/v3/attachments/{old}");
        let gone = cloud.harness.ask("DELETE", &path).volume("3.71").token(MEMBER).header("X-Service-Token", SERVICE);
        assert_eq!(gone.send().await.status, 200);
        let new = cloud.reserve(&volume, Some(OTHER_SERVER)).await;
        cloud.connect(&new, "h3").await;
        cloud.nova.attach(OTHER_SERVER, &volume, &new);
        cloud.nova.release();
        new
    };
    cloud.nova.script([Step::json(404, &json!({"itemNotFound": {"code": 404, "message": "gone"}}))]);
    let (refused, new) = tokio::join!(cloud.act(MEMBER, &volume, &detach), meanwhile);
    assert!(refused.fault().1.contains(OTHER_SERVER), "{}", refused.text);
    assert_eq!((cloud.nova.seen().len(), cloud.rows(&volume).await), (4, vec![new]));
    cloud.stop().await;
}
