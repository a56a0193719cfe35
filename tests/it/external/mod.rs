//! A Nova elsewhere (`compute.mode = external`): what it is asked before somebody takes a volume from its servers, what it is told,
//! and what happens when it fails.

mod binary;
mod events;
mod guard;
mod stand_in;

use serde_json::{Value, json};

use self::stand_in::StandIn;
use crate::api::harness::{ADMIN, Got, Harness, MEMBER, SERVICE};

/// Its servers.
const SERVER: &str = "5b1e2c3a-0000-4000-8000-000000000001";
const OTHER_SERVER: &str = "5b1e2c3a-0000-4000-8000-000000000002";

/// A service for the servers of a Nova.
struct Cloud {
    harness: Harness,
    nova: StandIn,
}

impl Cloud {
    async fn start() -> Self {
        let nova = StandIn::start().await;
        let harness = Harness::start_for(nova.client()).await;
        Self { harness, nova }
    }

    async fn stop(self) {
        self.harness.stop().await;
    }

    /// A volume of 1 GiB; its id.
    async fn volume(&self) -> String {
        self.harness.volume(MEMBER, json!({"size": 1})).await
    }

    /// An attachment, as Nova makes it for one of its servers (none: somebody else makes it); its id.
    async fn reserve(&self, volume: &str, server: Option<&str>) -> String {
        let mut members = json!({"volume_uuid": volume});
        if let Some(server) = server {
            members["instance_uuid"] = json!(server);
        }
        let got = self.harness.post("/v3/attachments", &json!({"attachment": members})).volume("3.71").token(MEMBER);
        let got = got.send().await;
        assert_eq!(got.status, 200, "{}", got.text);
        got.json()["attachment"]["id"].as_str().unwrap().to_owned()
    }

    /// Connects an attachment to a host.
    async fn connect(&self, attachment: &str, host: &str) {
        let body = json!({"attachment": {"connector": {"host": host, "initiator": "iqn.x:y"}}});
        let path = format!("/v3/attachments/{attachment}");
        let got = self.harness.put(&path, &body).volume("3.71").token(ADMIN).header("X-Service-Token", SERVICE);
        let got = got.send().await;
        assert_eq!(got.status, 200, "{}", got.text);
    }

    async fn complete(&self, attachment: &str) {
        let path = format!("/v3/attachments/{attachment}/action");
        let got = self.harness.post(&path, &json!({"os-complete": null})).volume("3.71").token(MEMBER).send().await;
        assert_eq!(got.status, 204, "{}", got.text);
    }

    /// A volume that Nova has attached to its server: both ids.
    async fn attached(&self, server: &str) -> (String, String) {
        let volume = self.volume().await;
        let attachment = self.reserve(&volume, Some(server)).await;
        self.connect(&attachment, "h1").await;
        self.complete(&attachment).await;
        self.nova.attach(server, &volume, &attachment);
        (volume, attachment)
    }

    /// `DELETE /attachments/{id}` by a user.
    async fn delete(&self, attachment: &str) -> Got {
        self.harness.ask("DELETE", &format!("/v3/attachments/{attachment}")).volume("3.71").token(MEMBER).send().await
    }

    /// An action on a volume.
    async fn act(&self, token: &str, volume: &str, body: &Value) -> Got {
        self.harness.post(&format!("/v3/volumes/{volume}/action"), body).volume("3.71").token(token).send().await
    }

    /// The ids of the volume's attachments.
    async fn rows(&self, volume: &str) -> Vec<String> {
        let path = format!("/v3/attachments?volume_id={volume}");
        let listed = self.harness.get(&path).volume("3.71").send().await.json();
        let id = |row: &Value| row["id"].as_str().unwrap().to_owned();
        listed["attachments"].as_array().unwrap().iter().map(id).collect()
    }

    /// Waits until nothing is open.
    async fn until_idle(&self) {
        self.harness.until_at("/admin/operations", "/operations", &json!([])).await;
    }
}

#[actix_web::test]
async fn external_compute_is_not_served() {
    let cloud = Cloud::start().await;
    for path in [
        "/admin/servers",
        "/compute/",
        "/compute/v2.1",
        "/compute/v2.1/servers",
        "/compute/v2.1/servers/x/os-volume_attachments",
    ] {
        let got = cloud.harness.get(path).send().await;
        assert_eq!(got.status, 404, "{path}: {}", got.text);
    }
    assert_eq!(cloud.harness.get("/v3/volumes").send().await.status, 200);
    cloud.stop().await;
}
