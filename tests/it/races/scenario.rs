//! Short words for scenarios: requests as clients make them, and what they expect.

use std::sync::Arc;
use std::time::Duration;

use hearth::actors::{RequestError, ServerAttachRequest, ServiceChange, ServiceError};
use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{AttachmentId, ServerId, SnapshotId, VolumeId, VolumeTypeId};
use hearth::domain::metadata::Metadata;
use hearth::domain::server_action::ServerAction;
use hearth::domain::service::{ServiceRecord, VOLUME_BINARY};
use hearth::domain::status::{SnapshotStatus, VolumeStatus};
use hearth::domain::volume::command::{CreateSnapshot, MigrateVolume};
use hearth::domain::volume::state::Origin;
use hearth::domain::volume::{Command, Refusal, Reply, VolumeState};
use hearth::domain::volume_type::{ExtraSpecs, VolumeType};
use hearth::drivers::sim::{Fault, FaultRule, Latency, SimObject};
use hearth::sim::{Node, World, WorldOptions, simulate};
use hearth::store::ActionQuery;
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

/// Each way in which a call at a guest, or for one, can go wrong.
pub fn faults_of_guests() -> [Fault; 8] {
    [
        Fault::Refuse { kind: CauseKind::Guest },
        Fault::Fail { kind: CauseKind::Other },
        Fault::NothingDone,
        Fault::AnswerLost,
        Fault::Hang { effect_first: true },
        Fault::Hang { effect_first: false },
        Fault::EffectLater { after_us: 3_000_000, hidden: true },
        Fault::Twice { after_us: 1_000_000 },
    ]
}

/// A type that only this backend satisfies; none: any does.
pub fn volume_type(world: &World, id: u128, name: String, backend: Option<&str>) -> VolumeType {
    VolumeType {
        id: VolumeTypeId(uuid::Uuid::from_u128(id)),
        revision: 1,
        name,
        description: None,
        is_public: true,
        projects: [].into(),
        extra_specs: backend
            .map(|name| ("volume_backend_name".to_owned(), Some(name.to_owned())))
            .into_iter()
            .collect(),
        created_at: world.now(),
        updated_at: None,
        encryption: None,
        qos_specs_id: None,
    }
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

    /// A volume made from another one, or from its snapshot.
    pub async fn create_from(
        &self,
        id: VolumeId,
        source: VolumeId,
        snapshot_id: Option<SnapshotId>,
    ) -> Option<Result<Reply, RequestError>> {
        let Command::Create(mut request) = self.world.create_command(id, 1) else { unreachable!("it creates") };
        request.origin = Some(Origin { source_volume_id: source, snapshot_id });
        self.ask(id, Command::Create(request)).await
    }

    /// Takes a snapshot, also of a volume in use.
    pub async fn snapshot(&self, id: VolumeId, snapshot_id: SnapshotId) -> Option<Result<Reply, RequestError>> {
        let request = CreateSnapshot {
            snapshot_id,
            name: None,
            description: None,
            metadata: Metadata::default(),
            in_use_allowed: true,
            adopts: None,
        };
        self.ask(id, Command::SnapshotCreate(Box::new(request))).await
    }

    /// Takes a snapshot and waits until it is available.
    pub async fn snapshotted(&self, id: VolumeId) -> SnapshotId {
        let snapshot_id = self.snapshot_id();
        accepted(self.snapshot(id, snapshot_id).await);
        self.wait_snapshot(id, snapshot_id, SnapshotStatus::Available).await.expect("alive");
        snapshot_id
    }

    pub async fn snapshot_delete(&self, id: VolumeId, snapshot_id: SnapshotId) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::SnapshotDelete { snapshot_id, force: false }).await
    }

    pub async fn revert(&self, id: VolumeId, snapshot_id: SnapshotId) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::Revert { snapshot_id: Some(snapshot_id) }).await
    }

    pub async fn cascade(&self, id: VolumeId) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::Delete { force: false, cascade: true }).await
    }

    /// Puts something at the backend that is not Hearth's, with one write in it.
    pub fn place(&self, reference: &str, marker: &str) {
        let object = SimObject { size_mib: 1024, markers: vec![marker.to_owned()], snapshot_of: None };
        self.world.backend().truth().place_object(reference, object).expect("kept");
    }

    /// Takes an object of 1 GiB as a volume.
    pub async fn manage(&self, id: VolumeId, reference: &str) -> Option<Result<Reply, RequestError>> {
        let Command::Create(mut request) = self.world.create_command(id, 1) else { unreachable!("it creates") };
        (request.adopts, request.wanted, request.host) =
            (Some(reference.into()), None, Some("sim@sim#pool".to_owned()));
        self.ask(id, Command::Create(request)).await
    }

    pub async fn unmanage(&self, id: VolumeId) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::Unmanage).await
    }

    /// A snapshot's id.
    pub fn snapshot_id(&self) -> SnapshotId {
        SnapshotId(self.world.randomness().uuid())
    }

    /// Waits until a snapshot has a status.
    pub async fn wait_snapshot(&self, id: VolumeId, snapshot_id: SnapshotId, status: SnapshotStatus) -> Option<()> {
        let is_there =
            |state: &VolumeState| state.snapshot(snapshot_id).map(|snapshot| snapshot.status) == Some(status);
        self.node.until(id, PATIENCE, |state| state.is_some_and(is_there)).await
    }

    /// A client writes to a volume through an attachment of its own.
    pub async fn write(&self, id: VolumeId, marker: &str) {
        let connector = json!({"host": "writer"});
        let row = row_of(&accepted(self.attachment_create(id, None, Some(connector)).await));
        let export = alive(self.view(id).await).attachment(row).and_then(|row| row.export.clone()).expect("exported");
        let reached =
            self.world.backends().map(|(_, backend)| backend.truth().write(&export, marker).expect("written"));
        assert!(reached.iter().any(|write| write.reached == Some(id)), "the write reached nothing");
        accepted(self.attachment_delete(id, row).await);
        self.wait(id, VolumeStatus::Available).await.expect("alive");
    }

    /// What is written in a volume.
    pub fn contents(&self, id: VolumeId) -> Vec<String> {
        let homes = self.world.backends().map(|(_, backend)| backend.truth());
        homes.into_iter().find(|truth| truth.volume(id).exists).map(|truth| truth.markers(id)).unwrap_or_default()
    }

    /// Brings the volume to another backend.
    pub async fn migrate(&self, id: VolumeId, host: &str) -> Option<Result<Reply, RequestError>> {
        let request = MigrateVolume { host: host.to_owned(), lock_volume: false, extra_specs: ExtraSpecs::default() };
        self.ask(id, Command::Migrate(Box::new(request))).await
    }

    /// Calls a migration off, or asks for its end.
    pub async fn complete(&self, id: VolumeId, error: bool) -> Option<Result<Reply, RequestError>> {
        self.ask(id, Command::CompleteMigration { new_volume: id, other_migrates: false, error }).await
    }

    /// Waits for a migration's word with nothing running, not even what removes what it has left.
    pub async fn wait_migration(&self, id: VolumeId, word: &str) -> Option<()> {
        let is_so =
            |state: &VolumeState| state.volume.migration_status.as_deref() == Some(word) && state.operations.is_empty();
        self.node.until(id, PATIENCE, |state| state.is_some_and(is_so)).await
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

    /// Compute's swap.
    pub async fn swap(&self, server: &str, old: VolumeId, new: VolumeId) -> Option<Result<Reply, RequestError>> {
        let caller = self.world.caller();
        self.node.run(self.node.service.server_swap(ServerId::from(server), old, new, caller)).await
    }

    /// Says something of the backend.
    pub async fn say(&self, change: ServiceChange) -> Option<Result<ServiceRecord, ServiceError>> {
        self.node.run(self.node.service.service_change("sim@sim", VOLUME_BINARY, change)).await
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
        for server in ["a", "b", "c"] {
            let open = self.actions(server).await.into_iter().filter(|action| action.end.is_none());
            assert_eq!(open.collect::<Vec<_>>(), [], "nothing runs, and every action has its end");
        }
    }

    /// The actions of a server, newest first.
    pub async fn actions(&self, server: &str) -> Vec<ServerAction> {
        let query = ActionQuery {
            server_id: ServerId::from(server),
            marker: None,
            changes_since: None,
            changes_before: None,
            limit: 1000,
        };
        self.world.store_now().action_list(query).await.expect("the store reads")
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
