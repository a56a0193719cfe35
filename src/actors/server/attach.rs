//! Compute's attach and detach, the server's part.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::{AsyncContext, Context, WrapFuture, fut::ActorFutureExt};
use serde_json::{Value, json};

use super::device::{DeviceRefusal, choose};
use super::{AttachRequest, DetachRequest, Exchange, ServerActor, ServerMessage, rules};
use crate::actors::booting::BootDisk;
use crate::actors::reply::{ReplyTo, Returned};
use crate::actors::service::RequestError;
use crate::domain::attachment::{Attachment, mapped};
use crate::domain::guest::GuestRoom;
use crate::domain::ids::VolumeId;
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::status::VmState;
use crate::domain::volume::command::ServerAttach;
use crate::domain::volume::{Command, Refusal, Reply, VolumeState, mapping_refusal};
use crate::store::StoreError;

/// How often an attach or detach is decided again because the server or its device names changed in between, or because the
/// volume's actor left before it looked at it.
const MAX_TRIES: u32 = 8;

/// How long an attach waits for the guest's word on its room. Without it the plug will tell.
const ROOM_PATIENCE: Duration = Duration::from_secs(2);

impl ServerActor {
    /// Judges the server and reads the device names in use.
    pub(super) fn attach(&mut self, request: Box<AttachRequest>, ctx: &mut Context<Self>) {
        let Some(server) = self.live() else {
            return refuse(*request, RequestError::ServerNotFound(self.id.clone()));
        };
        let judged = match request.request.boot {
            Some(_) => rules::booting(server),
            None => rules::shelved(server, "attach_volume", request.request.shelved_allowed)
                .and_then(|()| rules::usable(server, "attach_volume", &request.caller)),
        };
        let judged = judged.and_then(|()| well_formed(&request));
        if let Err(error) = judged {
            return refuse(*request, error);
        }
        let Some(volume) = request.volume.as_deref() else {
            let missing = Refusal::VolumeNotFound(request.volume_id);
            return refuse(*request, RequestError::Refused(missing));
        };
        // Step 11, by what is committed: the volume itself has the last word.
        let mapped = mapping_refusal(volume, &self.id).map(RequestError::Refused);
        let judged = mapped.map_or(Ok(()), Err).and_then(|()| with_or_without_host(server, volume, &request));
        if let Err(error) = judged {
            return refuse(*request, error);
        }
        let reading = self.core.world.store.server_attachments(self.id.clone());
        let drivers = &self.core.world.drivers;
        // A simulated guest has room for any number, and is not asked.
        let guest = Some(server).filter(|server| server.has_guest() && server.hypervisor == HypervisorKind::Qmp);
        let looking = guest.map(|server| tokio::time::timeout(ROOM_PATIENCE, drivers.room(server.guest())));
        let asking = async move {
            // When nobody can tell, the plug has the last word.
            let room = match looking {
                Some(looking) => looking.await.ok().and_then(Result::ok).flatten(),
                None => None,
            };
            (reading.await, room)
        };
        self.busy = true;
        self.decided.clear();
        ctx.spawn(asking.into_actor(self).map(move |(read, room), actor, ctx| {
            actor.busy = false;
            actor.reserve(request, read, room.as_ref(), ctx);
            actor.go_on(ctx);
        }));
    }

    /// Reserves a device name and asks the volume.
    fn reserve(
        &mut self,
        request: Box<AttachRequest>,
        read: Result<Vec<Attachment>, StoreError>,
        room: Option<&GuestRoom>,
        ctx: &mut Context<Self>,
    ) {
        let attachments = match read {
            // A disk that is being swapped is one.
            Ok(attachments) => mapped(attachments),
            Err(error) => return refuse(*request, RequestError::Store(error)),
        };
        let Some(server) = self.live().cloned() else {
            return refuse(*request, RequestError::ServerNotFound(self.id.clone()));
        };
        let without_host = server.vm_state == VmState::ShelvedOffloaded;
        let device = if without_host { Ok(None) } else { self.device(&server, &request, &attachments).map(Some) };
        // An answer may be on its way that tells of a row which is there already.
        let has_no_row = |id: &VolumeId| attachments.iter().all(|row| row.volume_id != *id);
        let deciding = self.exchanges.values().map(|exchange| &exchange.request.volume_id);
        let deciding = deciding.chain(self.decided.iter().map(|(id, _)| id)).filter(|id| has_no_row(id)).count();
        let device = device.and_then(|device| match room {
            Some(room) if room.is_full(&attachments, deciding) => Err(RequestError::ServerForbidden(format!(
                "Instance {} has no free PCI slot or port for another disk.",
                self.id
            ))),
            _ => Ok(device),
        });
        let chosen = device.and_then(|device| {
            let volume = request.volume.as_deref().filter(|_| !self.core.options.server_attach.cross_az_attach);
            volume.map_or(Ok(()), |volume| same_zone(&server, volume)).map(|()| device)
        });
        let device = match chosen {
            Ok(device) => device,
            Err(error) => return refuse_late(*request, error, without_host),
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
            is_boot: request.request.boot.is_some(),
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
        self.exchanges.insert(exchange, Exchange { device, without_host, request });
        self.core.send(volume_id, Box::new(command), caller, reply);
    }

    /// The device name of a new attachment (steps 14 and 15).
    fn device(
        &self,
        server: &Server,
        request: &AttachRequest,
        attachments: &[Attachment],
    ) -> Result<String, RequestError> {
        let options = self.core.options.server_attach;
        let committed = attachments.iter().filter_map(|row| row.bdm.as_ref()?.device.as_deref());
        let reserved = self.exchanges.values().map(|exchange| &exchange.device);
        let reserved = reserved.chain(self.decided.iter().map(|(_, device)| device)).filter_map(Option::as_deref);
        let used = committed.chain(reserved).collect::<BTreeSet<_>>();
        // The root and the new one besides.
        if let Some(most) = options.max_disk_devices.filter(|most| used.len() + 2 > *most as usize) {
            return Err(RequestError::ServerForbidden(format!(
                "The maximum allowed number of disk devices ({most}) to attach to a single instance has been exceeded."
            )));
        }
        if request.request.boot == Some(BootDisk::Root) {
            return Ok(server.root_device_name.clone());
        }
        let requested = request.request.device.as_deref();
        let wanted = requested.filter(|_| !options.ignore_requested_device);
        choose(wanted, &server.root_device_name, used.into_iter()).map_err(|refusal| match refusal {
            DeviceRefusal::InUse => {
                let name = requested.unwrap_or_default();
                RequestError::ServerConflict(format!("The supplied device path ({name}) is in use."))
            }
            DeviceRefusal::Malformed => malformed(),
        })
    }

    /// The volume has decided; the device name belongs to its row now, or to nobody.
    pub(super) fn attach_outcome(
        &mut self,
        exchange: u64,
        result: Result<Reply, RequestError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(Exchange { mut request, device, without_host }) = self.exchanges.remove(&exchange) else { return };
        if self.busy && result.is_ok() {
            self.decided.push((request.volume_id, device));
        }
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
        match result {
            // What the volume itself refuses is step 18; whatever else is in the way leaves nothing behind.
            Err(error @ RequestError::Refused(_)) => refuse_late(*request, error, without_host),
            // A caller that has gone away does not change what was committed.
            result => drop(request.answer.send(result)),
        }
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
        let Some(row) = volume.attachment_of_server(&self.id) else {
            return Err(RequestError::Refused(Refusal::NotAttached(format!(
                "instance {} is not attached to volume {volume_id}",
                self.id
            ))));
        };
        if server.is_root(row.bdm.as_ref().and_then(|bdm| bdm.device.as_deref())) {
            return Err(RequestError::ServerBadRequest("Cannot detach a root device volume".to_owned()));
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

/// A refusal of step 13 or later: from 2.101 it comes after the answer, unless the server has no host.
fn refuse_late(request: AttachRequest, error: RequestError, without_host: bool) {
    let is_late = request.request.answered_early && !without_host;
    refuse(request, if is_late { RequestError::AfterAnswer(Box::new(error)) } else { error });
}

fn malformed() -> RequestError {
    RequestError::ServerBadRequest("The supplied device path is invalid".to_owned())
}

fn well_formed(request: &AttachRequest) -> Result<(), RequestError> {
    match choose(request.request.device.as_deref(), "/dev/vda", std::iter::empty()) {
        Err(DeviceRefusal::Malformed) => Err(malformed()),
        _ => Ok(()),
    }
}

/// Step 12, and that there is somebody to do the work.
fn with_or_without_host(server: &Server, volume: &VolumeState, request: &AttachRequest) -> Result<(), RequestError> {
    let bad = |text: &str| Err(RequestError::ServerBadRequest(text.to_owned()));
    match (server.vm_state, &server.host) {
        (VmState::ShelvedOffloaded, _) if request.request.tag.is_some() => {
            bad("tagged attachment is not supported for shelved-offloaded instances")
        }
        (VmState::ShelvedOffloaded, _) if volume.volume.multiattach => {
            bad("attaching multiattach volumes is not supported for shelved-offloaded instances")
        }
        (VmState::ShelvedOffloaded, _) | (_, Some(_)) => Ok(()),
        (_, None) => Err(RequestError::ServerConflict(format!("Instance {} has no host", server.id))),
    }
}

/// Step 16, where volumes stay in their zones.
pub(super) fn same_zone(server: &Server, volume: &VolumeState) -> Result<(), RequestError> {
    let (own, other) = (&server.availability_zone, &volume.volume.availability_zone);
    if **own == **other {
        return Ok(());
    }
    Err(RequestError::ServerBadRequest(format!(
        "Invalid volume: Instance {} and volume {} are not in the same availability_zone. Instance is in {own}. Volume is in {other}",
        server.id,
        volume.id()
    )))
}

/// The connector of the server's host, as Compute would send it.
pub(in crate::actors) fn connector(server: &Server) -> Value {
    json!({
        "host": server.host.clone().unwrap_or_default(),
        "instance": server.id.as_str(),
        "platform": "x86_64",
        "os_type": "linux",
        "multipath": false,
        "do_local_attach": false,
    })
}
