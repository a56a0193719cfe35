//! Simulated servers that are made with volumes: the record first, in `building`, then one volume after the other, then `active` or
//! `error`. The server's action `create` begins and ends with it.
//!
//! Nothing of it is resumed after a restart: as in Nova, a server that was being made then is in error, and its owner deletes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::core::Core;
use super::server::{Boot, ServerMessage};
use super::service::{RequestError, ServerAttachRequest, Service};
use crate::domain::ids::{ServerId, VolumeId};
use crate::domain::server::Server;
use crate::domain::status::{AttachStatus, VmState};
use crate::domain::volume::Caller;
use crate::store::{ListError, ServerQuery, StoreError};

/// How long one volume may be made, and may be attached.
const STEP_MAX: Duration = Duration::from_secs(600);
/// Servers read at once at the start.
const BATCH: u64 = 256;

/// What a volume is to the server that is made with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootDisk {
    /// The server boots from it: it gets the name of the root device.
    Root,
    /// Another disk.
    Further,
}

/// A volume that a server is made with, and how it is attached.
pub type BootVolume = (VolumeId, ServerAttachRequest);

impl Service {
    /// Makes a simulated server: answered as soon as it is recorded. One that is booting gets `volumes` then, whoever waits for it.
    pub async fn server_boot(
        &self,
        server: Server,
        volumes: impl Future<Output = Result<Vec<BootVolume>, String>> + 'static,
        caller: Caller,
    ) -> Result<Server, RequestError> {
        let (answer, receiver) = oneshot::channel();
        let message = ServerMessage::Create(Box::new(server.clone()), Some(caller.requester.clone()), answer);
        self.core.server(&server.id).do_send(message);
        let server = receiver.await.unwrap_or(Err(RequestError::Lost))?;
        if server.is_booting() {
            let (service, id) = (self.clone(), server.id.clone());
            actix_rt::spawn(async move {
                let ended = match volumes.await {
                    Ok(volumes) => service.boot(&id, volumes, &caller).await,
                    Err(cause) => Err(cause),
                };
                service.core.booted(id, Boot::Ended(ended)).await;
            });
        }
        Ok(server)
    }

    /// Removes a simulated server for its owner: an action of it.
    pub async fn server_terminate(&self, id: ServerId, caller: Caller) -> Result<(), RequestError> {
        self.server_end(id, caller, true).await
    }

    async fn boot(&self, server_id: &ServerId, volumes: Vec<BootVolume>, caller: &Caller) -> Result<(), String> {
        for (volume_id, request) in volumes {
            let attached = self.boot_volume(server_id, volume_id, request, caller).await;
            attached.map_err(|cause| format!("volume {volume_id}: {cause}"))?;
        }
        Ok(())
    }

    /// Waits until the volume is made, attaches it, and waits until the guest has it.
    async fn boot_volume(
        &self,
        server_id: &ServerId,
        volume_id: VolumeId,
        request: ServerAttachRequest,
        caller: &Caller,
    ) -> Result<(), String> {
        let busy = || "too many requests wait".to_owned();
        let found = self.volume_view(volume_id).await.map_err(|error| error.to_string())?;
        let state = found.ok_or_else(|| "it does not exist".to_owned())?;
        let making = state.operations.iter().map(|operation| operation.id).collect();
        self.ended(&state, making, STEP_MAX).await.ok_or_else(busy)?;
        let attaching = self.server_attach(server_id.clone(), volume_id, request, caller.clone()).await;
        let reply = attaching.map_err(|error| error.to_string())?;
        let state = self.settled(&reply, &caller.requester.request_id, STEP_MAX).await.ok_or_else(busy)?;
        let row = state.attachment_of_server(server_id);
        if row.is_some_and(|row| row.attach_status == AttachStatus::Attached) {
            Ok(())
        } else {
            Err("it was not attached".to_owned())
        }
    }
}

impl Core {
    async fn booted(self: &Arc<Self>, id: ServerId, boot: Boot) {
        let (answer, receiver) = oneshot::channel();
        self.server(&id).do_send(ServerMessage::Booted(boot, answer));
        if let Ok(Err(error)) = receiver.await {
            tracing::error!(server_id = %id, %error, "the end of making a server cannot be recorded");
        }
    }

    /// Ends what was under way when the service ended.
    pub(super) async fn boots_end(self: &Arc<Self>) -> Result<(), StoreError> {
        let mut marker = None;
        loop {
            let query = ServerQuery { project_id: None, vm_states: vec![VmState::Building], marker, limit: BATCH };
            let servers = match self.world.store.server_list(query).await {
                Ok(page) => page.rows,
                Err(ListError::Store(error)) => return Err(error),
                // It is gone meanwhile; the next start sees to what comes after it.
                Err(ListError::MarkerNotFound(_) | ListError::InvalidSortKey) => return Ok(()),
            };
            let Some(last) = servers.last() else { return Ok(()) };
            marker = Some(last.id.clone());
            for server in servers.iter().filter(|server| server.is_booting()) {
                self.booted(server.id.clone(), Boot::LeftOver).await;
            }
        }
    }
}
