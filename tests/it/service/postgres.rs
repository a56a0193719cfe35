//! The shipped binary with PostgreSQL as its record: the whole life of a volume over HTTP, a restart in the middle of it.

use serde_json::{Value, json};

use crate::e2e::hearth::{Environment, Hearth, wait_until};
use crate::store::cluster;

struct Client<'a>(&'a Hearth);

impl Client<'_> {
    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut request = client.request(method, self.0.url(path)).header("X-Auth-Token", "root:p");
        request = request.header("OpenStack-API-Version", "volume 3.71, compute 2.89");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    async fn expect(&self, wanted: u16, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert_eq!(status, wanted, "{method} {path}: {answer}");
        answer
    }

    async fn show(&self, id: &str) -> Value {
        let (status, body) = self.ask("GET", &format!("/v3/volumes/{id}"), None).await;
        if status == 404 { json!({"status": "gone"}) } else { body["volume"].clone() }
    }

    async fn until(&self, id: &str, status: &str) -> Value {
        wait_until(&format!("{id} is {status}"), async || self.show(id).await["status"] == status).await;
        self.show(id).await
    }
}

#[tokio::test]
async fn the_life_of_a_volume_on_postgresql_survives_restarts() {
    let Some(database) = cluster::fresh_database() else { return };
    // The backend's truth outlives the service, as a real backend does; its state directory is new each time.
    let truth = tempfile::tempdir().expect("temporary directory");
    let environment = Environment::default()
        .set("database.url", database)
        .set("backends.0.name", "sim")
        .set("backends.0.driver", "sim")
        .set("backends.0.latency_ms", "1")
        .set("backends.0.truth", truth.path().join("truth").to_str().expect("utf-8 path"));

    let hearth = Hearth::start(environment.clone()).await;
    let client = Client(&hearth);
    let server = json!({"server": {"id": "s", "name": "s", "project_id": "p", "host": "h", "hypervisor": "sim"}});
    client.expect(201, "POST", "/admin/servers", Some(server)).await;
    let body = json!({"volume": {"size": 1, "name": "data", "metadata": {"k": "\u{e4}\u{1f4be}"}}});
    let created = client.expect(202, "POST", "/v3/volumes", Some(body)).await;
    let id = created["volume"]["id"].as_str().expect("an id").to_owned();
    client.until(&id, "available").await;
    let mappings = "/compute/v2.1/servers/s/os-volume_attachments";
    let attach = json!({"volumeAttachment": {"volumeId": id}});
    client.expect(200, "POST", mappings, Some(attach)).await;
    let before = client.until(&id, "in-use").await;
    assert_eq!(hearth.terminate().await.0.code(), Some(0));

    let hearth = Hearth::start(environment.clone()).await;
    let client = Client(&hearth);
    let after = client.show(&id).await;
    let without_links = |mut shown: Value| {
        shown["links"] = Value::Null;
        shown
    };
    assert_eq!(without_links(after), without_links(before), "the port is new, everything else as it was");
    let listed = client.expect(200, "GET", mappings, None).await;
    assert_eq!(listed["volumeAttachments"][0]["volumeId"], json!(id));
    let extend = json!({"os-extend": {"new_size": 3}});
    client.expect(202, "POST", &format!("/v3/volumes/{id}/action"), Some(extend)).await;
    assert_eq!(client.until(&id, "in-use").await["size"], 3);
    client.expect(202, "DELETE", &format!("{mappings}/{id}"), None).await;
    client.until(&id, "available").await;
    client.expect(202, "DELETE", &format!("/v3/volumes/{id}"), None).await;
    client.until(&id, "gone").await;
    assert_eq!(hearth.terminate().await.0.code(), Some(0));

    let hearth = Hearth::start(environment).await;
    let client = Client(&hearth);
    assert_eq!(client.expect(200, "GET", "/v3/volumes", None).await["volumes"], json!([]));
    let history = client.expect(200, "GET", &format!("/admin/actors/{id}"), None).await;
    assert_eq!(history["actor"]["state"], "deleted");
}
