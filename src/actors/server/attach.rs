//! Compute's attach and detach, the server's part.

use actix::{AsyncContext, Context, WrapFuture, fut::ActorFutureExt};
use serde_json::{Value, json};

use super::device::{DeviceRefusal, choose};
use super::{AttachRequest, DetachRequest, Exchange, ServerActor, ServerMessage, rules};
use crate::actors::reply::{ReplyTo, Returned};
use crate::actors::service::RequestError;
use crate::domain::attachment::Attachment;
use crate::domain::server::Server;
use crate::domain::status::VmState;
use crate::domain::volume::command::ServerAttach;
use crate::domain::volume::{Command, Refusal, Reply};
use crate::store::StoreError;

/// How often an attach or detach is decided again because the server or its device names changed in between, or because the
/// volume's actor left before it looked at it.
const MAX_TRIES: u32 = 8;

impl ServerActor {
    /// Judges the server and reads the device names in use.
    pub(super) fn attach(&mut self, request: Box<AttachRequest>, ctx: &mut Context<Self>) {
        let Some(server) = self.live() else {
            return refuse(*request, RequestError::ServerNotFound(self.id.clone()));
        };
        let judged = rules::shelved(server, "attach_volume", request.request.shelved_allowed)
            .and_then(|()| rules::usable(server, "attach_volume", &request.caller))
            .and_then(|()| well_formed(&request));
        if let Err(error) = judged {
            return refuse(*request, error);
        }
        if request.volume.is_none() {
            let missing = Refusal::VolumeNotFound(request.volume_id);
            return refuse(*request, RequestError::Refused(missing));
        }
        let reading = self.core.world.store.server_attachments(self.id.clone());
        self.busy = true;
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
            actor.busy = false;
            actor.reserve(request, read, ctx);
            actor.go_on(ctx);
        }));
    }

    /// Reserves a device name and asks the volume.
    fn reserve(
        &mut self,
        request: Box<AttachRequest>,
        read: Result<Vec<Attachment>, StoreError>,
        ctx: &mut Context<Self>,
    ) {
        let attachments = match read {
            Ok(attachments) => attachments,
            Err(error) => return refuse(*request, RequestError::Store(error)),
        };
        let Some(server) = self.live().cloned() else {
            return refuse(*request, RequestError::ServerNotFound(self.id.clone()));
        };
        let without_host = server.vm_state == VmState::ShelvedOffloaded;
        if without_host && request.request.tag.is_some() {
            let error = "tagged attachment is not supported for shelved-offloaded instances";
            return refuse(*request, RequestError::ServerBadRequest(error.to_owned()));
        }
        if !without_host && server.host.is_none() {
            let error = format!("Instance {} has no host", server.id);
            return refuse(*request, RequestError::ServerConflict(error));
        }
        let device = if without_host {
            None
        } else {
            let committed = attachments.iter().filter_map(|row| row.bdm.as_ref()?.device.as_deref());
            let reserved = self.exchanges.values().filter_map(|exchange| exchange.device.as_deref());
            match choose(request.request.device.as_deref(), &server.root_device_name, committed.chain(reserved)) {
                Ok(device) => Some(device),
                // That the volume is attached already is said before that its name is taken (steps 11 and 15).
                Err(DeviceRefusal::InUse) if !is_mapped(&request) => {
                    let name = request.request.device.clone().unwrap_or_default();
                    let error = format!("The supplied device path ({name}) is in use.");
                    return refuse(*request, RequestError::ServerConflict(error));
                }
                // The volume will refuse; if it has been freed meanwhile, the unique index does.
                Err(DeviceRefusal::InUse) => request.request.device.clone(),
                Err(DeviceRefusal::Malformed) => {
                    let error = "The supplied device path is invalid".to_owned();
                    return refuse(*request, RequestError::ServerBadRequest(error));
                }
            }
        };
        let exchange = self.next_exchange;
        self.next_exchange += 1;
        let command = Command::ServerAttach(Box::new(ServerAttach {
            server_id: server.id.clone(),
            server_epoch: server.epoch,
            device: device.clone(),
            tag: request.request.tag.clone(),
            delete_on_termination: request.request.delete_on_termination,
            connector: connector(&server),
            without_host,
            multiattach_allowed: request.request.multiattach_allowed,
        }));
        let address = ctx.address();
        let reply = ReplyTo::new(move |returned| {
            let result = match returned {
                Returned::Answer(answer) => answer,
                Returned::Refused(refusal, _) => Err(RequestError::Refused(refusal)),
                Returned::Undelivered(_) => Err(RequestError::Refused(Refusal::ServerChanged)),
                Returned::Lost => Err(RequestError::Lost),
            };
            address.do_send(ServerMessage::AttachOutcome { exchange, result });
        });
        let (volume_id, caller) = (request.volume_id, request.caller.clone());
        self.exchanges.insert(exchange, Exchange { device, request });
        self.core.send(volume_id, Box::new(command), caller, reply);
    }

    /// The volume has decided; the device name belongs to its row now, or to nobody.
    pub(super) fn attach_outcome(
        &mut self,
        exchange: u64,
        result: Result<Reply, RequestError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(Exchange { mut request, .. }) = self.exchanges.remove(&exchange) else { return };
        if matches!(result, Err(RequestError::Refused(Refusal::ServerChanged))) {
            request.tries += 1;
            if request.tries < MAX_TRIES {
                // Nothing is decided before the record has been read again.
                self.loaded = false;
                self.parked.push_front(ServerMessage::Attach(request));
                return self.load(ctx);
            }
            let error = format!("Instance {} changed during the request", self.id);
            return refuse(*request, RequestError::ServerConflict(error));
        }
        // A caller that has gone away does not change what was committed.
        let _ = request.answer.send(result);
    }

    /// Judges the server, then the volume decides.
    pub(super) fn detach(&mut self, mut request: DetachRequest, ctx: &Context<Self>) {
        let volume = request.volume.as_deref();
        let judged = self.judge_detach(request.volume_id, volume, request.shelved_allowed, &request.caller);
        if let Err(error) = judged {
            let _ = request.answer.send(Err(error));
            return;
        }
        let command = Command::ServerDetach { server_id: self.id.clone(), server_gone: false };
        let (volume_id, caller) = (request.volume_id, request.caller.clone());
        let address = ctx.address();
        let reply = ReplyTo::new(move |returned| {
            let result = match returned {
                Returned::Answer(answer) => answer,
                Returned::Refused(refusal, _) => Err(RequestError::Refused(refusal)),
                // The volume's actor was just leaving and has not looked at it. Through the mailbox, because this may run
                // inside the supervisor's locks.
                Returned::Undelivered(_) if request.tries < MAX_TRIES => {
                    request.tries += 1;
                    return address.do_send(ServerMessage::Detach(Box::new(request)));
                }
                Returned::Undelivered(_) => {
                    Err(RequestError::Overloaded { retry_after: std::time::Duration::from_secs(1) })
                }
                Returned::Lost => Err(RequestError::Lost),
            };
            let _ = request.answer.send(result);
        });
        self.core.send(volume_id, Box::new(command), caller, reply);
    }

    fn judge_detach(
        &self,
        volume_id: crate::domain::ids::VolumeId,
        volume: Option<&crate::domain::volume::VolumeState>,
        shelved_allowed: bool,
        caller: &crate::domain::volume::Caller,
    ) -> Result<(), RequestError> {
        let server = self.live().ok_or_else(|| RequestError::ServerNotFound(self.id.clone()))?;
        rules::shelved(server, "detach_volume", shelved_allowed)?;
        let volume = volume.ok_or(RequestError::Refused(Refusal::VolumeNotFound(volume_id)))?;
        if volume.attachment_of_server(&self.id).is_none() {
            return Err(RequestError::Refused(Refusal::NotAttached(format!(
                "instance {} is not attached to volume {volume_id}",
                self.id
            ))));
        }
        rules::usable(server, "detach_volume", caller)?;
        if server.host.is_none() && server.vm_state != VmState::ShelvedOffloaded {
            return Err(RequestError::ServerConflict(format!("Instance {} has no host", server.id)));
        }
        Ok(())
    }
}

fn refuse(request: AttachRequest, error: RequestError) {
    let _ = request.answer.send(Err(error));
}

fn well_formed(request: &AttachRequest) -> Result<(), RequestError> {
    match choose(request.request.device.as_deref(), "/dev/vda", std::iter::empty()) {
        Err(DeviceRefusal::Malformed) => {
            Err(RequestError::ServerBadRequest("The supplied device path is invalid".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Whether a server has the volume already (so that the volume will refuse it).
fn is_mapped(request: &AttachRequest) -> bool {
    request.volume.as_ref().is_some_and(|volume| volume.attachments.iter().any(|row| row.bdm.is_some()))
}

/// The connector of the server's host, as Compute would send it.
fn connector(server: &Server) -> Value {
    json!({
        "host": server.host.clone().unwrap_or_default(),
        "instance": server.id.as_str(),
        "platform": "x86_64",
        "os_type": "linux",
        "multipath": false,
        "do_local_attach": false,
    })
}
