//! The one handle that the API, the command line and the tests hold: requests in, answers out.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::oneshot;

use super::blocking::Unanswered;
use super::booting::BootDisk;
use super::core::{ActorOptions, Beside, Core, Dependencies};
use super::events::EventStream;
use super::hosts::BackendReport;
use super::reply::{ReplyTo, Returned};
use super::server::{AttachRequest, DetachRequest, ServerMessage, SwapRequest};
use super::settling::is_open;
use crate::compute::ComputeError;
use crate::domain::ids::{AttachmentId, OperationId, RequestId, ServerId, SnapshotId, VolumeId};
use crate::domain::lifecycle::ServerVerb;
use crate::domain::operation::{Operation, Step};
use crate::domain::placement::Room;
use crate::domain::quota::Limits;
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::server_action::ServerActionKind;
use crate::domain::status::VmState;
use crate::domain::text::Text;
use crate::domain::volume::{Caller, Command, Refusal, Reply, VolumeState};
use crate::drivers::sim::FaultRule;
use crate::drivers::{FaultsRefused, Progress};
use crate::store::{Keyed, Store, StoreError};
use crate::telemetry::Sample;

/// How often a command is sent again because the actor it was sent to had left before looking at it.
const MAX_DELIVERIES: u32 = 8;

/// The running service. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(super) core: Arc<Core>,
}

/// What the service asks of the driver pool besides carrying out calls.
pub trait Backends: Send + Sync + 'static {
    /// Every backend, in the order of the settings. Asking may cause rooms to be measured again. Never waits.
    fn reports(&self) -> Vec<BackendReport>;
    /// How long a call of an operation's step, or its probe, may run at `host`; none for a step without a call.
    fn deadline(&self, host: Option<&str>, step: &Step, is_probe: bool) -> Option<Duration>;
    /// How far an operation's copy is, in per cent; none when it copies nothing now. Never waits.
    fn progress(&self, operation: OperationId) -> Option<u64>;
    /// What `/metrics` shows. Never waits.
    fn samples(&self) -> Vec<Sample>;
    /// The pool's state, for `/admin/drivers`. Never waits.
    fn observe(&self) -> serde_json::Value;
    /// Replaces the fault rules of simulated backends.
    fn set_faults(
        &self,
        backend: Option<String>,
        rules: Vec<FaultRule>,
    ) -> BoxFuture<'static, Result<(), FaultsRefused>>;
}

/// Why a request has no answer of a volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The volume refused it; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server does not exist (404).
    #[error("instance {0} could not be found")]
    ServerNotFound(ServerId),
    /// The server's state, lock or task refuses it (409), or a requested device name is in use (409).
    #[error("{0}")]
    ServerConflict(String),
    /// Compute's 400 (tag or multiattach where it is not supported…).
    #[error("{0}")]
    ServerBadRequest(String),
    /// Compute's 403: the server has as many disks as it may have.
    #[error("{0}")]
    ServerForbidden(String),
    /// Compute's attach was refused by a check that comes after its answer (`spec/nova-volume-attachments.md` §4, steps 13 to 18
    /// from 2.101): the client has been told 202, and the server's action tells it.
    #[error("{0}")]
    AfterAnswer(Box<RequestError>),
    /// Too many requests for this volume are waiting (503 with Retry-After).
    #[error("too many requests for this volume")]
    Overloaded {
        /// When to come again.
        retry_after: Duration,
    },
    /// The volume's actor keeps crashing and is out of service (503).
    #[error("the volume is out of service after repeated internal failures")]
    Quarantined,
    /// The answer was lost (a panic, or the process is ending): the effect is unknown (500).
    #[error("the answer was lost")]
    Lost,
    /// The store cannot be read (503).
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A Compute elsewhere could not be asked whether it uses what the request would end (503).
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

/// Compute's attach as the client asked for it.
#[derive(Clone, Debug, Default)]
pub struct ServerAttachRequest {
    /// `/dev/vdb`…, as sent.
    pub device: Option<String>,
    /// 2.49.
    pub tag: Option<String>,
    /// 2.79.
    pub delete_on_termination: bool,
    /// The microversion is at least 2.20: shelved servers may be used.
    pub shelved_allowed: bool,
    /// The microversion is at least 2.60.
    pub multiattach_allowed: bool,
    /// The microversion is at least 2.101: what a server with a host is refused for by step 13 and later is
    /// [`RequestError::AfterAnswer`].
    pub answered_early: bool,
    /// The server is being made with it.
    pub boot: Option<BootDisk>,
}

/// A change of a server record (`/admin/servers`); `None` leaves the field alone.
#[derive(Clone, Debug, Default)]
pub struct ServerUpdate {
    /// Name.
    pub name: Option<String>,
    /// State.
    pub vm_state: Option<VmState>,
    /// Task.
    pub task_state: Option<Option<String>>,
    /// Lock.
    pub locked: Option<bool>,
    /// Host.
    pub host: Option<Option<String>>,
    /// Hypervisor.
    pub hypervisor: Option<HypervisorKind>,
    /// QMP socket.
    pub qmp_socket: Option<Option<String>>,
    /// Whether the guest must prove its id.
    pub qmp_check_uuid: Option<bool>,
    /// Availability zone.
    pub availability_zone: Option<String>,
    /// Root device.
    pub root_device_name: Option<String>,
}

/// One line of `/admin/actors`.
#[derive(Clone, Debug, Serialize)]
pub struct ActorSummary {
    /// The volume.
    pub volume_id: VolumeId,
    /// `active`, `activating`, `backing_off`, `quarantined`.
    pub state: &'static str,
    /// Committed status.
    pub status: Option<String>,
    /// Committed generation.
    pub generation: Option<u64>,
    /// Requests admitted and not answered yet.
    pub admitted: u32,
    /// Restarts after a panic.
    pub restarts: u32,
    /// The running operations: name, step, attempt.
    pub operations: Vec<String>,
}

impl Service {
    /// Starts the supervisor. Must be called where actors can be started (an actix system, or a `LocalSet` under virtual
    /// time). Recovery is separate: [`Self::recover`].
    pub fn start(world: Dependencies, options: ActorOptions, backends: Arc<dyn Backends>) -> Self {
        let core = Core::new(world, options, backends);
        super::sweep::start(&core);
        super::hosts::start(&core);
        Self { core }
    }

    /// Actors that end from now on are not restarted; whatever is open is left to the next start's recovery.
    pub fn stop(&self) {
        self.core.stop();
    }

    /// Resumes every open operation in the background, oldest first and rate-limited (P7, R-104); volumes that clients touch
    /// meanwhile resume at once by being activated. Returns when every open operation has been handed to its volume.
    pub async fn recover(&self) -> Result<u64, StoreError> {
        crate::actors::recover::recover(&self.core).await
    }

    /// Sends a command to a volume and waits for its answer.
    pub async fn volume_command(
        &self,
        volume_id: VolumeId,
        command: Command,
        caller: Caller,
    ) -> Result<Reply, RequestError> {
        self.volume_ask(volume_id, command, caller, None).await.map_err(|unanswered| unanswered.error)
    }

    /// The same; a client can be told what stands in the way. An idempotency key is used in the commit of the decision.
    pub async fn volume_ask(
        &self,
        volume_id: VolumeId,
        command: Command,
        caller: Caller,
        key: Option<Arc<Keyed>>,
    ) -> Result<Reply, Unanswered> {
        let seen = OnceLock::new();
        let answer = self.delivered(volume_id, command, caller, key, &seen).await;
        answer.map_err(|error| self.unanswered(volume_id, error, seen.into_inner()))
    }

    /// What can be said of a request that a volume does not answer, by the state that refused, else by what was published
    /// last.
    pub fn unanswered(&self, volume_id: VolumeId, error: RequestError, state: Option<Arc<VolumeState>>) -> Unanswered {
        let state = state.or_else(|| self.core.slot_if_active(volume_id)?.last_view());
        let deadline = |host: Option<&str>, operation: &Operation| self.step_deadline(host, operation);
        Unanswered::of(error, state.as_deref(), self.core.world.clock.now(), &deadline)
    }

    /// Waits until the operations that a request has begun have ended, at most for `most`: the state as of then. None: too
    /// many wait already, or the service is ending.
    pub async fn settled(&self, begun: &Reply, request_id: &RequestId, most: Duration) -> Option<Arc<VolumeState>> {
        let own = begun.state.operations.iter().filter(|operation| operation.requester.request_id == *request_id);
        self.ended(&begun.state, own.map(|operation| operation.id).collect(), most).await
    }

    /// Waits until these operations of the volume have ended, as [`Self::settled`] does.
    pub(super) async fn ended(
        &self,
        begun: &Arc<VolumeState>,
        operations: Vec<OperationId>,
        most: Duration,
    ) -> Option<Arc<VolumeState>> {
        if operations.is_empty() {
            return Some(Arc::clone(begun));
        }
        let volume_id = begun.id();
        let mut waiting = self.core.settling.wait(volume_id, operations.clone())?;
        // Looked at with the place taken: what ended before that has been published.
        let seen = match self.volume_view(volume_id).await {
            // Deleted already, or nothing is known of it now.
            Ok(None) => Some(Arc::clone(begun)),
            Ok(Some(state)) if !is_open(&state, &operations) => Some(state),
            _ => None,
        };
        if let Some(seen) = seen {
            return Some(seen);
        }
        if let Ok(ended) = tokio::time::timeout(most, waiting.settled()).await {
            return ended;
        }
        let now = self.volume_view(volume_id).await.ok().flatten();
        Some(now.unwrap_or_else(|| Arc::clone(begun)))
    }

    async fn delivered(
        &self,
        volume_id: VolumeId,
        command: Command,
        caller: Caller,
        key: Option<Arc<Keyed>>,
        refused_by: &OnceLock<Arc<VolumeState>>,
    ) -> Result<Reply, RequestError> {
        let mut command = Box::new(command);
        let may_be_asked = self.core.world.compute.is_some() && command.may_disconnect();
        let mut answer = None;
        for _ in 0..MAX_DELIVERIES {
            let limits = self.limits_of(volume_id, &command, &caller).await?;
            // what was judged by limits that do not hold any more is judged again by those that do
            let again = (limits.is_some() || may_be_asked).then(|| command.clone());
            let (reply, receiver) = ReplyTo::channel();
            let beside = Beside { limits, answer: answer.take(), key: key.clone() };
            self.core.send_within(beside, volume_id, command, caller.clone(), reply);
            match (receiver.await, again) {
                (
                    Ok(
                        Returned::Refused(Refusal::TypeChanged, _)
                        | Returned::Answer(Err(RequestError::Refused(Refusal::TypeChanged))),
                    ),
                    Some(same),
                    // What was judged by the type itself goes back to whoever judged it.
                ) if !matches!(*same, Command::Create(_) | Command::Retype(_)) => {
                    command = same;
                }
                // Nobody holds the volume while Compute is asked; it looks itself whether the answer still fits.
                (Ok(Returned::Refused(Refusal::AskCompute(question), _)), Some(same)) => {
                    let request_id = caller.requester.request_id.clone();
                    answer = Some(self.core.ask_compute(volume_id, *question, request_id).await?);
                    command = same;
                }
                (Ok(Returned::Answer(answer)), _) => return answer,
                (Ok(Returned::Refused(refusal, state)), _) => {
                    if let Some(state) = state {
                        let _ = refused_by.set(state);
                    }
                    return Err(RequestError::Refused(refusal));
                }
                // The actor left or crashed before it looked at the command: nothing has happened, so it is sent again.
                (Ok(Returned::Undelivered(back)), _) => command = back,
                (Ok(Returned::Lost) | Err(_), _) => return Err(RequestError::Lost),
            }
        }
        Err(RequestError::Overloaded { retry_after: Duration::from_secs(1) })
    }

    /// The limits that a command's growth is judged by, as they are now; none for one that adds nothing.
    async fn limits_of(
        &self,
        volume_id: VolumeId,
        command: &Command,
        caller: &Caller,
    ) -> Result<Option<Box<Limits>>, RequestError> {
        let own = &caller.requester.project_id;
        let (project_id, type_id) = match command {
            Command::Create(request) => (own.clone(), request.volume_type_id),
            Command::Extend { .. } | Command::SnapshotCreate(_) => {
                let Some(state) = self.volume_target(volume_id).await? else { return Ok(None) };
                let of_volume = matches!(command, Command::Extend { .. });
                let project_id = if of_volume { &state.volume.project_id } else { own };
                (project_id.clone(), state.volume.volume_type_id)
            }
            Command::Retype(request) => {
                let Some(state) = self.volume_target(volume_id).await? else { return Ok(None) };
                (state.volume.project_id.clone(), Some(request.volume_type_id))
            }
            _ => return Ok(None),
        };
        let (store, everybodys) = (&self.core.world.store, &self.core.options.limits);
        let rules = store.growth_rules(project_id.clone(), type_id).await?;
        let mut limits = everybodys.of_project(&rules.limits, &project_id, rules.volume_type.as_ref());
        if project_id != *own {
            // how large one volume may be is the caller's limit, whosever the volume is
            let rules = store.growth_rules(own.clone(), None).await?;
            limits.per_volume_gigabytes = everybodys.of_project(&rules.limits, own, None).per_volume_gigabytes;
        }
        Ok(Some(Box::new(limits)))
    }

    /// The limits of a project, as far as no administrator has set others.
    pub fn default_limits(&self) -> &Limits {
        &self.core.options.limits
    }

    /// The committed state of a live volume: the published view if it is active, else one indexed read. Never activates.
    pub async fn volume_view(&self, volume_id: VolumeId) -> Result<Option<Arc<VolumeState>>, RequestError> {
        if let Some(view) = self.core.slot_if_active(volume_id).and_then(|slot| slot.fresh_view()) {
            return Ok(Some(view));
        }
        Ok(self.core.world.store.volume_get(volume_id).await?.map(Arc::new))
    }

    /// The committed state of the volume that this live attachment belongs to.
    pub async fn attachment_view(&self, id: AttachmentId) -> Result<Option<Arc<VolumeState>>, RequestError> {
        let volume_id = match self.core.attachments.volume_of(id) {
            Some(volume_id) => volume_id,
            None => match self.core.world.store.attachment_volume(id).await? {
                Some(volume_id) => volume_id,
                None => return Ok(None),
            },
        };
        Ok(self.volume_view(volume_id).await?.filter(|state| state.attachment(id).is_some()))
    }

    /// The committed state of the volume that this snapshot is of.
    pub async fn snapshot_view(&self, id: SnapshotId) -> Result<Option<Arc<VolumeState>>, RequestError> {
        let Some(volume_id) = self.core.world.store.snapshot_volume(id).await? else { return Ok(None) };
        Ok(self.volume_view(volume_id).await?.filter(|state| state.snapshot(id).is_some()))
    }

    /// The volume that a command is for: whose it is, and that it is there. While a commit is in flight this is the state
    /// before it, without a read: the command is decided behind that commit, and a client is shown nothing of this one.
    pub async fn volume_target(&self, volume_id: VolumeId) -> Result<Option<Arc<VolumeState>>, RequestError> {
        match self.core.slot_if_active(volume_id).and_then(|slot| slot.last_view()) {
            Some(view) => Ok(Some(view)),
            None => self.volume_view(volume_id).await,
        }
    }

    /// The volume of the attachment that a command is for, as [`Self::volume_target`] has it. A row that is not in that
    /// state may be in the next one.
    pub async fn attachment_target(&self, id: AttachmentId) -> Result<Option<Arc<VolumeState>>, RequestError> {
        let slot = self.core.attachments.volume_of(id).and_then(|volume_id| self.core.slot_if_active(volume_id));
        match slot.and_then(|slot| slot.last_view()).filter(|state| state.attachment(id).is_some()) {
            Some(view) => Ok(Some(view)),
            None => self.attachment_view(id).await,
        }
    }

    /// Compute's attach: through the server's actor to the volume. The reply's attachment has the device name. A volume of
    /// another project is not found, unless the caller is an administrator. A refusal that comes after the answer is in the
    /// server's actions when it is returned.
    pub async fn server_attach(
        &self,
        server_id: ServerId,
        volume_id: VolumeId,
        request: ServerAttachRequest,
        caller: Caller,
    ) -> Result<Reply, RequestError> {
        let started_at = self.core.world.clock.now();
        let requester = caller.requester.clone();
        let volume = self.visible(volume_id, &caller).await?;
        let (answer, receiver) = oneshot::channel();
        let request = AttachRequest { volume_id, volume, request, caller, answer, tries: 0 };
        self.core.server(&server_id).do_send(ServerMessage::Attach(Box::new(request)));
        let answered = receiver.await.unwrap_or(Err(RequestError::Lost));
        if let Err(RequestError::AfterAnswer(cause)) = &answered {
            let failure = Some(cause.to_string());
            self.action_ended(server_id, ServerActionKind::AttachVolume, requester, started_at, failure).await?;
        }
        answered
    }

    /// Compute's detach. `shelved_allowed`: the microversion is at least 2.20.
    pub async fn server_detach(
        &self,
        server_id: ServerId,
        volume_id: VolumeId,
        shelved_allowed: bool,
        caller: Caller,
    ) -> Result<Reply, RequestError> {
        let volume = self.visible(volume_id, &caller).await?;
        let (answer, receiver) = oneshot::channel();
        let request = DetachRequest { volume_id, volume, shelved_allowed, caller, answer, tries: 0 };
        self.core.server(&server_id).do_send(ServerMessage::Detach(Box::new(request)));
        receiver.await.unwrap_or(Err(RequestError::Lost))
    }

    /// Compute's swap: the server gets the volume `new_id` in the place of `old_id`, with all that its guest has written. Answered when
    /// both volumes have agreed.
    pub async fn server_swap(
        &self,
        server_id: ServerId,
        old_id: VolumeId,
        new_id: VolumeId,
        caller: Caller,
    ) -> Result<Reply, RequestError> {
        let (old, new) = (self.visible(old_id, &caller).await?, self.visible(new_id, &caller).await?);
        let (answer, receiver) = oneshot::channel();
        let request = SwapRequest { old_id, old, new_id, new, caller, answer, tries: 0, is_stale: false };
        self.core.server(&server_id).do_send(ServerMessage::Swap(Box::new(request)));
        receiver.await.unwrap_or(Err(RequestError::Lost))
    }

    async fn visible(&self, volume_id: VolumeId, caller: &Caller) -> Result<Option<Arc<VolumeState>>, RequestError> {
        let view = self.volume_view(volume_id).await?;
        Ok(view.filter(|state| caller.is_admin || state.volume.project_id == caller.requester.project_id))
    }

    /// Registers a server (`/admin/servers`). An id that exists already is a conflict.
    pub async fn server_create(&self, server: Server) -> Result<Server, RequestError> {
        let (answer, receiver) = oneshot::channel();
        self.core.server(&server.id).do_send(ServerMessage::Create(Box::new(server.clone()), None, answer));
        receiver.await.unwrap_or(Err(RequestError::Lost))
    }

    /// Changes a server.
    pub async fn server_update(&self, id: ServerId, update: ServerUpdate) -> Result<Server, RequestError> {
        let (answer, receiver) = oneshot::channel();
        self.core.server(&id).do_send(ServerMessage::Update(update, answer));
        receiver.await.unwrap_or(Err(RequestError::Lost))
    }

    /// Changes a server's state, as the owner of a simulated one does.
    pub async fn server_act(&self, id: ServerId, verb: ServerVerb, caller: Caller) -> Result<(), RequestError> {
        let (answer, receiver) = oneshot::channel();
        self.core.server(&id).do_send(ServerMessage::Act(verb, caller, answer));
        receiver.await.unwrap_or(Err(RequestError::Lost))
    }

    /// Removes a server: its tombstone commits first, then its volumes are detached.
    pub async fn server_delete(&self, id: ServerId, caller: Caller) -> Result<(), RequestError> {
        self.server_end(id, caller, false).await
    }

    pub(super) async fn server_end(&self, id: ServerId, caller: Caller, is_action: bool) -> Result<(), RequestError> {
        let (answer, receiver) = oneshot::channel();
        self.core.server(&id).do_send(ServerMessage::Delete { caller, is_action, answer });
        receiver.await.unwrap_or(Err(RequestError::Lost))
    }

    /// The store, for lists.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.core.world.store
    }

    /// What is known of every active volume, by id. Never waits for an actor.
    pub fn actors(&self) -> Vec<ActorSummary> {
        // The slots first: looking at one takes its lock, and whoever retires a slot holds that lock while it changes the
        // directory.
        let slots = self.core.volumes.iter().map(|slot| Arc::clone(&slot)).collect::<Vec<_>>();
        let mut actors = slots.iter().map(|slot| super::observe::summary(slot)).collect::<Vec<_>>();
        actors.sort_by_key(|actor| actor.volume_id);
        actors
    }

    /// All that can be observed of one volume's actor, as JSON for `/admin/actors/{id}`; none if the volume is not active.
    /// Answered beside the mailbox, never behind it.
    pub fn actor_inspect(&self, volume_id: VolumeId) -> Option<serde_json::Value> {
        let slot = self.core.slot_if_active(volume_id)?;
        let deadline = |host: Option<&str>, operation: &Operation| self.step_deadline(host, operation);
        let progress = |operation: &Operation| self.progress(operation);
        Some(super::observe::inspect(&slot, self.core.world.clock.now(), &deadline, &progress))
    }

    /// How long the present step of an operation on a volume at `host` may take from its start; none for one that waits for
    /// another operation.
    pub fn step_deadline(&self, host: Option<&str>, operation: &Operation) -> Option<Duration> {
        match operation.step {
            Step::Drain => Some(self.core.options.drain_deadline),
            Step::NotifyCompute => self.core.world.compute.as_ref().map(|compute| compute.timeout()),
            _ => {
                let host = operation.kind.other_backend().map(Text::as_str).or(host);
                self.backends().deadline(host, &operation.step, operation.probing.is_some())
            }
        }
    }

    /// How far the copy of an operation's present step is, in per cent; none: it copies nothing now.
    pub fn progress(&self, operation: &Operation) -> Option<u64> {
        self.backends().progress(operation.id)
    }

    /// Every transition that commits from now on.
    pub fn events(&self) -> EventStream {
        self.core.events.follow()
    }

    /// What the actors and the drivers show to `/metrics`. Never waits for either.
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = super::metrics::samples(&self.core);
        samples.extend(self.backends().samples());
        samples
    }

    /// The driver pool's state, as JSON for `/admin/drivers`.
    pub fn drivers(&self) -> serde_json::Value {
        self.backends().observe()
    }

    /// Makes the volume's actor panic when it handles its next command (`/admin/faults`; tests only).
    pub fn inject_panic(&self, volume_id: VolumeId) {
        self.core.slot(volume_id).panic_next.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Replaces the fault rules of a simulated backend, or of all of them; `rules` as `/admin/faults` takes them.
    pub async fn set_faults(&self, backend: Option<String>, rules: serde_json::Value) -> Result<(), FaultsRefused> {
        let rules = serde_json::from_value(rules).map_err(|error| FaultsRefused::Senseless(error.to_string()))?;
        self.backends().set_faults(backend, rules).await
    }

    /// Drops actors that have been idle, as the sweeper does from time to time.
    pub fn sweep(&self) {
        super::sweep::sweep(&self.core);
    }
}

impl Backends for crate::drivers::pool::DriverPool {
    fn reports(&self) -> Vec<BackendReport> {
        let report = |name: String| {
            let room = self.capacity(&name);
            let capabilities = self.capabilities(&name)?;
            Some(BackendReport {
                room: room.map(|room| Room { total_gib: room.total_gib, free_gib: room.free_gib }),
                up: self.is_answering(&name),
                storage_protocol: capabilities.storage_protocol,
                online_extend: capabilities.online_extend,
                name,
            })
        };
        self.backends().into_iter().filter_map(report).collect()
    }

    fn deadline(&self, host: Option<&str>, step: &Step, is_probe: bool) -> Option<Duration> {
        Self::deadline(self, host, step, is_probe)
    }

    fn progress(&self, operation: OperationId) -> Option<u64> {
        Self::progress(self, operation).map(Progress::percent)
    }

    fn samples(&self) -> Vec<Sample> {
        Self::samples(self)
    }

    fn observe(&self) -> serde_json::Value {
        Self::observe(self)
    }

    fn set_faults(
        &self,
        backend: Option<String>,
        rules: Vec<FaultRule>,
    ) -> BoxFuture<'static, Result<(), FaultsRefused>> {
        Self::set_faults(self, backend, rules)
    }
}
