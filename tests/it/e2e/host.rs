//! A machine with everything real: the shipped binary on the `file` driver, storage daemons, and guests that it may reach.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::guest::{Guest, Machine};
use super::hearth::{Environment, Hearth};
use crate::drivers::file::NbdClient;

/// A token that proves to be another service (Compute).
const SERVICE_TOKEN: &str = "compute-service";

/// A service and its guests. Fields end in this order.
pub struct Host {
    pub hearth: Hearth,
    pub guests: Vec<Server>,
    dir: TempDir,
}

/// A guest and the server that it is registered as.
pub struct Server {
    pub id: String,
    pub guest: Guest,
}

impl Host {
    /// A service with the default backend and a directory for guests' sockets.
    pub async fn start() -> Self {
        Self::start_with(Environment::default()).await
    }

    /// The same with further settings.
    pub async fn start_with(environment: Environment) -> Self {
        let dir = tempfile::Builder::new().prefix("guests").tempdir().expect("a directory");
        let environment = environment
            .set("hypervisor.qmp_dirs", dir.path().to_str().expect("utf-8 path"))
            .set("auth.tokens.0.token", SERVICE_TOKEN)
            .set("auth.tokens.0.user", "nova")
            .set("auth.tokens.0.project", "service")
            .set("auth.tokens.0.roles", "service");
        let hearth = Hearth::start(environment).await;
        hearth.wait_until_ready().await;
        Self { hearth, guests: Vec::new(), dir }
    }

    /// Boots a guest and registers it under this name; its index in `guests`.
    pub async fn boot(&mut self, name: &str) -> usize {
        self.boot_on(name, Machine::Pc).await
    }

    /// The same on such a machine.
    pub async fn boot_on(&mut self, name: &str, machine: Machine) -> usize {
        let id = Uuid::new_v4().to_string();
        let guest = Guest::boot(self.dir.path(), &id, machine).await;
        self.hearth.server_register(&id, name, "qmp", Some(guest.qmp())).await;
        self.guests.push(Server { id, guest });
        self.guests.len() - 1
    }

    /// Boots the guest of a registered server again, after its process has ended, as the machine's operator would.
    pub async fn boot_again(&mut self, index: usize) {
        let server = &mut self.guests[index];
        server.guest.kill();
        for end in ["qmp", "con"] {
            let _ = std::fs::remove_file(self.dir.path().join(format!("{}.{end}", server.id)));
        }
        server.guest = Guest::boot(self.dir.path(), &server.id, Machine::Pc).await;
    }

    /// Attaches a volume to a guest and waits until the guest has its only disk; the attachment's id.
    pub async fn plug_only_disk(&mut self, index: usize, volume: &str) -> String {
        let server = &mut self.guests[index];
        let attachment = self.hearth.server_add_volume(&server.id, volume).await;
        server.guest.until("[ -b /dev/vda ]").await;
        attachment
    }

    /// Deletes an attachment as Compute does, which may do so while a server has the volume.
    pub async fn attachment_delete_as_service(&self, attachment: &str) {
        let path = format!("/v3/attachments/{attachment}");
        let token = [("X-Service-Token", SERVICE_TOKEN)];
        let (status, body) = self.hearth.ask_with(Method::DELETE, &path, None, &token).await.expect("an answer");
        assert_eq!(status, 200, "{body:#}");
    }
}

/// An attachment that a host without a hypervisor of Hearth's made for itself.
pub struct NbdAttachment {
    pub id: String,
    pub connection: Value,
}

impl NbdAttachment {
    /// Reserves and connects in one call.
    pub async fn connect(hearth: &Hearth, volume: &str, host: &str) -> Self {
        let body = json!({"attachment": {"volume_uuid": volume, "connector": {"host": host}, "mode": "rw"}});
        let made = hearth.admin(Method::POST, "/v3/attachments", Some(body)).await;
        let attachment = &made["attachment"];
        Self {
            id: attachment["id"].as_str().expect("an id").to_owned(),
            connection: attachment["connection_info"].clone(),
        }
    }

    /// Marks it complete: the volume is in use.
    pub async fn complete(&self, hearth: &Hearth) {
        let path = format!("/v3/attachments/{}/action", self.id);
        hearth.admin(Method::POST, &path, Some(json!({"os-complete": {}}))).await;
    }

    /// QEMU's NBD client on this connection.
    pub async fn client(&self) -> NbdClient {
        NbdClient::connect(&self.connection, 0).await.unwrap_or_else(|words| panic!("{words}"))
    }

    /// Gives it up.
    pub async fn delete(self, hearth: &Hearth) {
        hearth.admin(Method::DELETE, &format!("/v3/attachments/{}", self.id), None).await;
    }
}
