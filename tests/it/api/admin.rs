//! What operators see: metrics, operations, events, server records.

use std::collections::BTreeSet;
use std::time::Duration;

use hearth::domain::operation::Step;
use serde_json::{Value, json};

use super::harness::{ADMIN, BACKEND, Harness, MEMBER};

/// The value of the one line of `page` that begins with `series`.
#[track_caller]
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is missing in\n{page}")).parse().unwrap()
}

#[actix_web::test]
async fn metrics_count_by_route_and_show_every_bound() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    for path in ["/v3/nonsense", "/v3/volumes/detail", "/nowhere"] {
        harness.get(path).send().await;
    }
    harness.ask("BREW", "/v3/volumes").token(ADMIN).send().await;
    harness.ask("GET", "/v3/volumes").send().await;
    let got = harness.ask("GET", "/metrics").send().await;
    assert_eq!(got.status, 200, "no token is needed: {}", got.text);
    assert!(got.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let page = got.text;
    for (service, method, route, status) in [
        ("volume", "POST", "/volumes", "2xx"),
        ("volume", "GET", "/volumes/detail", "2xx"),
        ("volume", "GET", "/volumes", "4xx"),
        ("volume", "GET", "-", "4xx"),
        ("volume", "OTHER", "-", "4xx"),
        ("-", "GET", "-", "4xx"),
    ] {
        let labels = format!("service=\"{service}\",method=\"{method}\",route=\"{route}\"");
        assert_eq!(value(&page, &format!("hearth_http_requests_total{{{labels},status=\"{status}\"}}")), 1.0);
        assert_eq!(value(&page, &format!("hearth_http_request_duration_seconds_count{{{labels}}}")), 1.0);
    }
    assert_eq!(value(&page, "hearth_actors_active"), 1.0);
    assert_eq!(value(&page, "hearth_actor_restarts_total"), 0.0);
    let calls = format!("hearth_driver_calls_total{{driver=\"{BACKEND}\",request=\"create\",outcome=\"done\"}}");
    assert_eq!(value(&page, &calls), 1.0);
    assert_eq!(value(&page, "hearth_bound_limit{bound=\"actors.admission\"}"), 1024.0);
    assert_eq!(value(&page, "hearth_bound_limit{bound=\"actors.max_active\"}"), 50_000.0);
    for bound in ["drivers.queue", "drivers.workers", "drivers.max_outstanding"] {
        assert!(value(&page, &format!("hearth_bound_limit{{bound=\"{bound}\",of=\"{BACKEND}\"}}")) > 0.0);
        assert_eq!(value(&page, &format!("hearth_bound_used{{bound=\"{bound}\",of=\"{BACKEND}\"}}")), 0.0);
    }
    assert!(!page.contains(&volume), "never an id");
    let types: Vec<&str> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
    assert_eq!(types.iter().collect::<BTreeSet<_>>().len(), types.len(), "each name is described once: {types:?}");
    assert_eq!(harness.ask("POST", "/metrics").send().await.status, 404);
    assert_eq!(harness.ask("GET", "/metrics").header("Host", "evil.example").send().await.status, 403);
    harness.stop().await;
}

#[actix_web::test]
async fn operations_say_how_long_their_step_may_take() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    // Nothing ends while the driver does not answer.
    harness.hang("export");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    assert_eq!(harness.post(&path, &attach).token(MEMBER).send().await.status, 200);
    let shown = harness.get("/admin/operations").send().await.json()["operations"][0].clone();
    assert_eq!((&shown["volume_id"], &shown["kind"]), (&json!(volume), &json!("server_attach")));
    assert_eq!((&shown["step"], &shown["attempt"]), (&json!("export"), &json!(1)));
    assert_eq!(shown["step_deadline_seconds"], json!(30.0), "the backend's own deadline: {shown}");
    assert!(shown["age_seconds"].as_f64().unwrap() >= shown["step_age_seconds"].as_f64().unwrap());
    let actor = harness.get(&format!("/admin/actors/{volume}")).send().await.json()["actor"].clone();
    assert_eq!(actor["operations"][0]["step_deadline_seconds"], json!(30.0), "{actor}");
    harness.until_released().await;
    harness.until(&volume, "in-use").await;
    harness.stop().await;
}

#[test]
fn each_step_has_the_deadline_of_its_call() {
    use hearth::domain::backend::Deadlines;
    use hearth::domain::ids::{AttachmentId, ExportName};
    let seconds = Duration::from_secs;
    let deadlines = Deadlines {
        create: seconds(1),
        delete: seconds(2),
        extend: seconds(3),
        export: seconds(4),
        unexport: seconds(5),
        probe: seconds(6),
        copy_stall: seconds(7),
    };
    let attachment_id = AttachmentId(uuid::Uuid::nil());
    let export = || ExportName::new(attachment_id, 1);
    for (step, expected) in [
        (Step::Queued, None),
        (Step::Drain, None),
        (Step::Create, Some(1)),
        (Step::Delete, Some(2)),
        (Step::Extend, Some(3)),
        (Step::ResizeGuest { attachment_id }, Some(3)),
        (Step::Export { export: export() }, Some(4)),
        (Step::Plug { attachment_id }, Some(4)),
        (Step::Unexport { export: export() }, Some(5)),
        (Step::Unplug { attachment_id }, Some(5)),
    ] {
        assert_eq!(deadlines.of_step(&step, false), expected.map(seconds), "{step:?}");
        assert_eq!(deadlines.of_step(&step, true), expected.map(|_| seconds(6)), "the probe of {step:?}");
    }
}

/// Reads one event after the other.
struct Follower {
    answer: reqwest::Response,
    text: String,
}

impl Follower {
    async fn start(harness: &Harness, query: &str) -> Self {
        let url = format!("http://{}/admin/events{query}", harness.address);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).header("X-Auth-Token", ADMIN).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut follower = Self { answer, text: String::new() };
        assert_eq!(follower.block().await.as_deref(), Some(": following"));
        follower
    }

    /// The next block of lines; none at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.answer.chunk()).await.expect("in time");
            self.text.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    /// The next transition of this volume.
    async fn transition_of(&mut self, id: &Value) -> Value {
        loop {
            let transition = self.transition().await;
            if transition["volume_id"] == *id {
                return transition;
            }
        }
    }

    async fn transition(&mut self) -> Value {
        let block = self.block().await.expect("an event");
        let data = block.strip_prefix("event: transition\ndata: ").unwrap_or_else(|| panic!("{block}"));
        serde_json::from_str(data).unwrap()
    }
}

#[actix_web::test]
async fn events_follow_every_committed_transition() {
    let harness = Harness::start().await;
    assert_eq!(harness.ask("GET", "/admin/events").token(MEMBER).send().await.status, 403);
    assert_eq!(harness.get("/admin/events?volume_id=x").send().await.status, 404);
    let quiet = harness.volume(MEMBER, json!({"size": 1})).await;
    let mut follower = Follower::start(&harness, "").await;
    let mut only_quiet = Follower::start(&harness, &format!("?volume_id={quiet}")).await;

    let got = harness.post("/v3/volumes", &json!({"volume": {"size": 1}})).token(MEMBER).send().await;
    let id = got.json()["volume"]["id"].clone();
    let first = follower.transition_of(&id).await;
    assert_eq!((&first["volume_id"], &first["command"]), (&id, &json!("volume_create")));
    assert_eq!((&first["from_status"], &first["to_status"]), (&Value::Null, &json!("creating")));
    assert_eq!(first["request_id"].as_str(), got.header("x-openstack-request-id"));
    let second = follower.transition_of(&id).await;
    assert_eq!((&second["generation"], &second["to_status"]), (&json!(2), &json!("available")));
    assert_eq!(second["request_id"], first["request_id"], "the request behind the operation");

    let rename = json!({"volume": {"name": "n"}});
    harness.put(&format!("/v3/volumes/{quiet}"), &rename).token(MEMBER).send().await;
    // The end of its creation may still be on its way when the follower starts.
    let mut seen = only_quiet.transition().await;
    while seen["command"] != "volume_update" {
        assert_eq!(seen["volume_id"], json!(quiet), "nothing of other volumes");
        seen = only_quiet.transition().await;
    }
    assert_eq!(seen["volume_id"], json!(quiet), "nothing of other volumes");

    // The end of the service ends the stream, so that nobody holds it.
    harness.service.stop();
    while follower.block().await.is_some() {}
    harness.stop().await;
}

#[actix_web::test]
async fn readers_of_events_are_bounded() {
    let harness = Harness::start().await;
    let mut readers = Vec::new();
    for _ in 0..hearth::api::admin::events::READERS_MAX {
        readers.push(Follower::start(&harness, "").await);
    }
    let got = harness.get("/admin/events").send().await;
    assert_eq!(got.fault().0, 503);
    assert!(got.header("retry-after").is_some());
    assert_eq!(harness.get("/v3/volumes").send().await.status, 200, "others are served");
    harness.service.stop();
    harness.stop().await;
}

#[actix_web::test]
async fn every_member_of_a_server_can_change_and_none_alone_that_needs_another() {
    let harness = Harness::start().await;
    let body = |members: Value| json!({"server": members});
    let made = body(json!({"id": "s1", "name": "n", "project_id": "p", "vm_state": "building"}));
    assert_eq!(harness.post("/admin/servers", &made).token(ADMIN).send().await.status, 201);
    let one = "/admin/servers/s1";
    let change = json!({
        "name": "m", "host": "h2", "hypervisor": "qmp", "qmp_socket": "/run/q.sock", "qmp_check_uuid": false,
        "vm_state": "active", "task_state": "rebooting", "locked": true, "availability_zone": "az2",
        "root_device_name": "/dev/sda",
    });
    let got = harness.put(one, &body(change.clone())).token(ADMIN).send().await;
    assert_eq!(got.status, 200, "{}", got.text);
    let shown = harness.get(one).send().await.json()["server"].clone();
    for (name, expected) in change.as_object().unwrap() {
        assert_eq!(shown[name], *expected, "{name}");
    }
    assert!(shown["launched_at"].is_string(), "it runs now: {shown}");
    assert_eq!(shown["epoch"], 2, "attaches that judged the old record are fenced");
    for bad in [
        json!({"qmp_socket": null}),
        json!({"hypervisor": "sim"}),
        json!({"id": "s2"}),
        json!({"project_id": "q"}),
        json!({"root_device_name": "vda"}),
        json!({"hypervisor": "kvm"}),
    ] {
        assert_eq!(harness.put(one, &body(bad.clone())).token(ADMIN).send().await.fault().0, 400, "{bad}");
    }
    assert_eq!(harness.get(one).send().await.json()["server"], shown, "a refused change changes nothing");
    let got = harness.put(one, &body(json!({"hypervisor": "none", "qmp_socket": null}))).token(ADMIN).send().await;
    assert_eq!(got.status, 200, "both at once: {}", got.text);
    harness.stop().await;
}

#[actix_web::test]
async fn r44_removing_a_server_detaches_its_volumes() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    assert_eq!(harness.post(&path, &attach).token(MEMBER).send().await.status, 200);
    harness.until(&volume, "in-use").await;
    let one = format!("/admin/servers/{server}");
    assert_eq!(harness.ask("DELETE", &one).token(ADMIN).send().await.status, 204);
    let free = harness.until(&volume, "available").await;
    assert_eq!(free["attachments"], json!([]));
    assert_eq!(harness.get(&one).send().await.status, 404);
    assert_eq!(harness.ask("DELETE", &one).token(ADMIN).send().await.status, 404);
    harness.stop().await;
}
