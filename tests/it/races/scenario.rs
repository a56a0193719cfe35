//! Short words for scenarios: requests as clients make them, and what they expect.

use std::sync::Arc;
use std::time::Duration;

use hearth::actors::{RequestError, ServerAttachRequest};
use hearth::domain::ids::{AttachmentId, ServerId, VolumeId};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Command, Refusal, Reply, VolumeState};
use hearth::drivers::sim::{Fault, FaultRule, Latency};
use hearth::sim::{Node, World, WorldOptions, simulate};
use serde_json::{Value, json};

/// More than every deadline, probe and back-off of one operation together.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A scenario in a world of its own, with a running service.
pub fn in_world(seed: u64, scenario: impl AsyncFnOnce(&Client<'_>)) {
    simulate(WorldOptions::seeded(seed), async |world: &World| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        node.run(scenario(&client)).await.expect("the process lives");
    });
}

/// The next call of `request` takes so long.
pub fn slow(request: &str, seconds: u64) -> FaultRule {
    FaultRule::once(request, Fault::Delay { latency: Latency::Fixed { us: seconds * 1_000_000 } })
}

/// What a living process answered.
#[track_caller]
pub fn alive<T>(answer: Option<T>) -> T {
    answer.expect("alive")
}

/// One client of one incarnation of the service.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    pub world: &'a World,
    pub node: &'a Node,
}

impl<'a> Client<'a> {
    pub fn new(world: &'a World, node: &'a Node) -> Self {
        Self { world, node }
    }

    /// Sends a command. None: the process died before it answered.
    pub async fn ask(&self, id: VolumeId, command: Command) -> Option<Result<Reply, RequestError>> {
        let caller = self.world.caller();
        self.node.run(self.node.service.volume_command(id, command, caller)).await
    }

    pub async fn create(&self, id: VolumeId, size_gib: u32) -> Option<Result<Reply, RequestError>> {
        self.ask(id, self.world.create_command(id, size_gib)).await
    }

    /// Creates and waits until the volume is available.
    pub async fn available(&self, size_gib: u32) -> VolumeId {
        let id = self.world.volume_id();
        self.create(id, size_gib).await.expect("alive").expect("created");
        self.wait(id, VolumeStatus::Available).await.expect("alive");
        id
    }

    /// A multiattach volume, available.
    pub async fn multiattach(&self) -> VolumeId {
        let id = self.world.volume_id();
        let Command::Create(mut request) = self.world.create_command(id, 1) else { unreachable!("it creates") };
        request.multiattach = true;
        accepted(self.ask(id, Command::Create(request)).await);
        self.wait(id, VolumeStatus::Available).await.expect("alive");
        id
    }

    /// A volume in use by this server.
    pub async fn attached(&self, server: &str) -> VolumeId {
        let id = self.available(1).await;
        self.server(server).await.expect("alive");
        accepted(self.server_attach(server, id).await);
        self.wait(id, VolumeStatus::InUse).await.expect("alive");
        id
    }

    pub async fn extend(&self, id: VolumeId, new_size_gib: u32) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::Extend { new_size_gib, in_use_allowed: true }).await
    }

    pub async fn delete(&self, id: VolumeId) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::Delete { force: false, cascade: false }).await
    }

    pub async fn reset(&self, id: VolumeId, status: VolumeStatus) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::ResetStatus { status: Some(status), attach_status: None, migration_status: None }).await
    }

    pub async fn attachment_create(
        &self,
        id: VolumeId,
        server: Option<&str>,
        connector: Option<Value>,
    ) -> Option<Result<Reply, RequestError>> {
        let instance_uuid = server.map(ServerId::from);
        self.ask(id, Command::AttachmentCreate { instance_uuid, connector, mode: None }).await
    }

    pub async fn attachment_update(
        &self,
        id: VolumeId,
        row: AttachmentId,
        host: &str,
    ) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::AttachmentUpdate { attachment_id: row, connector: json!({"host": host}) }).await
    }

    pub async fn attachment_complete(&self, id: VolumeId, row: AttachmentId) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::AttachmentComplete { attachment_id: row }).await
    }

    pub async fn attachment_delete(&self, id: VolumeId, row: AttachmentId) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::AttachmentDelete { attachment_id: row }).await
    }

    pub async fn server(&self, name: &str) -> Option<()> {
        let server = self.world.server(name);
        match self.node.run(self.node.service.server_create(server)).await? {
            Ok(_) | Err(RequestError::ServerConflict(_)) => Some(()),
            Err(error) => panic!("the server was not registered: {error}"),
        }
    }

    pub async fn server_attach(&self, server: &str, id: VolumeId) -> Option<Result<Reply, RequestError>> {
        let request = ServerAttachRequest { shelved_allowed: true, multiattach_allowed: true, ..Default::default() };
        let caller = self.world.caller();
        self.node.run(self.node.service.server_attach(ServerId::from(server), id, request, caller)).await
    }

    pub async fn server_detach(&self, server: &str, id: VolumeId) -> Option<Result<Reply, RequestError>> {
        let caller = self.world.caller();
        self.node.run(self.node.service.server_detach(ServerId::from(server), id, true, caller)).await
    }

    /// Waits for a status with nothing running.
    pub async fn wait(&self, id: VolumeId, status: VolumeStatus) -> Option<()> {
        self.node
            .until(id, PATIENCE, |state| {
                state.is_some_and(|state| state.volume.status == status && state.operations.is_empty())
            })
            .await
    }

    /// Waits until the volume is gone.
    pub async fn wait_gone(&self, id: VolumeId) -> Option<()> {
        self.node.until(id, PATIENCE, |state| state.is_none()).await
    }

    pub async fn view(&self, id: VolumeId) -> Option<Arc<VolumeState>> {
        alive(self.node.run(self.node.service.volume_view(id)).await).expect("the store reads")
    }

    /// Everything agrees, once it is quiet.
    pub async fn assert_clean(&self) {
        self.node.settle(PATIENCE).await.expect("alive");
        let differences = self.world.differences().await;
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

/// The row an answer speaks of.
#[track_caller]
pub fn row_of(reply: &Reply) -> AttachmentId {
    reply.attachment_id.expect("the answer speaks of an attachment")
}

/// The refusal of an answer.
#[track_caller]
pub fn refusal(answer: Option<Result<Reply, RequestError>>) -> Refusal {
    match answer.expect("alive") {
        Err(RequestError::Refused(refusal)) => refusal,
        other => panic!("not a refusal: {other:?}"),
    }
}

/// The reply of an answer.
#[track_caller]
pub fn accepted(answer: Option<Result<Reply, RequestError>>) -> Reply {
    answer.expect("alive").expect("accepted")
}
