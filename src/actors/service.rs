//! The one handle that the API, the command line and the tests hold: requests in, answers out.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::domain::ids::{AttachmentId, ServerId, VolumeId};
use crate::domain::server::Server;
use crate::domain::status::VmState;
use crate::domain::volume::{Caller, Command, Refusal, Reply, VolumeState};
use crate::store::{Store, StoreError};

/// The running service. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    store: Arc<dyn Store>,
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
    /// QMP socket.
    pub qmp_socket: Option<Option<String>>,
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
    /// Sends a command to a volume and waits for its answer.
    pub async fn volume_command(
        &self,
        _volume_id: VolumeId,
        _command: Command,
        _caller: Caller,
    ) -> Result<Reply, RequestError> {
        Err(RequestError::Lost)
    }

    /// The committed state of a live volume: the published view if it is active, else one indexed read. Never activates.
    pub async fn volume_view(&self, volume_id: VolumeId) -> Result<Option<Arc<VolumeState>>, RequestError> {
        Ok(self.store.volume_get(volume_id).await?.map(Arc::new))
    }

    /// The committed state of the volume that this live attachment belongs to.
    pub async fn attachment_view(&self, id: AttachmentId) -> Result<Option<Arc<VolumeState>>, RequestError> {
        match self.store.attachment_volume(id).await? {
            Some(volume_id) => Ok(self.volume_view(volume_id).await?.filter(|state| state.attachment(id).is_some())),
            None => Ok(None),
        }
    }

    /// Compute's attach: through the server's actor to the volume. The reply's attachment has the device name.
    pub async fn server_attach(
        &self,
        _server_id: ServerId,
        _volume_id: VolumeId,
        _request: ServerAttachRequest,
        _caller: Caller,
    ) -> Result<Reply, RequestError> {
        Err(RequestError::Lost)
    }

    /// Compute's detach. `shelved_allowed`: the microversion is at least 2.20.
    pub async fn server_detach(
        &self,
        _server_id: ServerId,
        _volume_id: VolumeId,
        _shelved_allowed: bool,
        _caller: Caller,
    ) -> Result<Reply, RequestError> {
        Err(RequestError::Lost)
    }

    /// Registers a server (`/admin/servers`). An id that exists already is a conflict.
    pub async fn server_create(&self, _server: Server) -> Result<Server, RequestError> {
        Err(RequestError::Lost)
    }

    /// Changes a server.
    pub async fn server_update(&self, _id: ServerId, _update: ServerUpdate) -> Result<Server, RequestError> {
        Err(RequestError::Lost)
    }

    /// Removes a server: its tombstone commits first, then its volumes are detached.
    pub async fn server_delete(&self, _id: ServerId, _caller: Caller) -> Result<(), RequestError> {
        Err(RequestError::Lost)
    }

    /// The store, for lists.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The backend for a new volume of this size: `host@backend#pool`; none when no backend is configured.
    pub fn place(&self, _size_gib: u32) -> Option<String> {
        None
    }

    /// What is known of every active volume, by id. Never waits for an actor.
    pub fn actors(&self) -> Vec<ActorSummary> {
        Vec::new()
    }

    /// All that can be observed of one volume's actor, as JSON for `/admin/actors/{id}`; none if the volume is not active.
    /// Answered beside the mailbox, never behind it.
    pub fn actor_inspect(&self, _volume_id: VolumeId) -> Option<serde_json::Value> {
        None
    }

    /// The driver pool's state, as JSON for `/admin/drivers`.
    pub fn drivers(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Makes the volume's actor panic when it handles its next command (`/admin/faults`; tests only).
    pub fn inject_panic(&self, _volume_id: VolumeId) {}
}
