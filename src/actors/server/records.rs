//! Registering, changing and removing servers (`/admin/servers`).

use actix::{AsyncContext, Context, WrapFuture, fut::ActorFutureExt};

use super::{Answered, ServerActor, ServerMessage, rules};
use crate::actors::service::{RequestError, ServerUpdate};
use crate::domain::guest::{GuestSeen, GuestState};
use crate::domain::lifecycle::ServerVerb;
use crate::domain::server::Server;
use crate::domain::status::VmState;
use crate::domain::volume::{Caller, Command};
use crate::store::{Aborted, CommitOutcome, ServerChange, StoreError, Transaction};

/// What [`Server::is_reachable`] asks.
const NO_WAY_TO_GUEST: &str = "A server has a qmp_socket exactly when its hypervisor is 'qmp'.";

impl ServerActor {
    pub(super) fn create(&mut self, server: Server, answer: Answered<Server>, ctx: &mut Context<Self>) {
        if !server.is_reachable() {
            let _ = answer.send(Err(RequestError::ServerBadRequest(NO_WAY_TO_GUEST.to_owned())));
            return;
        }
        if self.server.is_some() {
            let error = RequestError::ServerConflict(format!("Instance {} exists already", self.id));
            let _ = answer.send(Err(error));
            return;
        }
        self.commit(None, server, answer, |server| server, ctx);
    }

    pub(super) fn update(&mut self, update: &ServerUpdate, answer: Answered<Server>, ctx: &mut Context<Self>) {
        let Some(current) = self.live().cloned() else {
            let _ = answer.send(Err(RequestError::ServerNotFound(self.id.clone())));
            return;
        };
        let mut server = current.clone();
        if let Some(name) = &update.name {
            server.name.clone_from(name);
        }
        if let Some(vm_state) = update.vm_state {
            server.vm_state = vm_state;
        }
        if let Some(task_state) = &update.task_state {
            server.task_state.clone_from(task_state);
        }
        if let Some(locked) = update.locked {
            server.locked = locked;
        }
        if let Some(host) = &update.host {
            server.host.clone_from(host);
        }
        if let Some(socket) = &update.qmp_socket {
            server.qmp_socket.clone_from(socket);
        }
        if let Some(hypervisor) = update.hypervisor {
            server.hypervisor = hypervisor;
        }
        if let Some(check) = update.qmp_check_uuid {
            server.qmp_check_uuid = check;
        }
        if let Some(zone) = &update.availability_zone {
            server.availability_zone.clone_from(zone);
        }
        if let Some(root) = &update.root_device_name {
            server.root_device_name.clone_from(root);
        }
        if !server.is_reachable() {
            let error = RequestError::ServerBadRequest(NO_WAY_TO_GUEST.to_owned());
            let _ = answer.send(Err(error));
            return;
        }
        // A server that was registered while it was built has run from here on.
        if server.launched_at.is_none() && !matches!(server.vm_state, VmState::Building | VmState::Error) {
            server.launched_at = Some(self.core.world.clock.now());
        }
        // Every change fences attaches that judged the server before it.
        server.epoch = current.epoch + 1;
        server.updated_at = Some(self.core.world.clock.now());
        self.commit(Some(current.epoch), server, answer, |server| server, ctx);
    }

    /// Judged and done in one step, as a lock and an attach are.
    pub(super) fn act(&mut self, verb: ServerVerb, caller: &Caller, answer: Answered<()>, ctx: &mut Context<Self>) {
        let Some(current) = self.live().cloned() else {
            let _ = answer.send(Err(RequestError::ServerNotFound(self.id.clone())));
            return;
        };
        if let Err(refusal) = rules::may_act(&current, verb, caller) {
            let _ = answer.send(Err(refusal));
            return;
        }
        let mut server = current.clone();
        server.vm_state = verb.to().unwrap_or(current.vm_state);
        server.locked = match verb {
            ServerVerb::Lock => true,
            ServerVerb::Unlock => false,
            _ => current.locked,
        };
        server.epoch = current.epoch + 1;
        server.updated_at = Some(self.core.world.clock.now());
        self.commit(Some(current.epoch), server, answer, |_| (), ctx);
    }

    /// Its guest has done something by itself. A guest in another process than before may lack disks.
    pub(super) fn guest_seen(&mut self, seen: GuestSeen, ctx: &mut Context<Self>) {
        let Some(current) = self.live().cloned() else { return };
        let process = (seen.state != GuestState::Gone).then_some(seen.process);
        if self.process != process {
            self.process = process;
            self.is_unlooked = process.is_some();
        }
        let vm_state = seen.state.follow(current.vm_state);
        if vm_state == current.vm_state {
            return self.look_at_guest(false);
        }
        tracing::info!(server_id = %self.id, from = %current.vm_state, to = %vm_state, "the guest has changed its state");
        let now = self.core.world.clock.now();
        let server = Server {
            vm_state,
            launched_at: current.launched_at.or((vm_state != VmState::Stopped).then_some(now)),
            epoch: current.epoch + 1,
            updated_at: Some(now),
            ..current.clone()
        };
        let done = move |committed: Result<Server, RequestError>, actor: &mut Self| {
            if committed.is_err() {
                // Somebody else has changed the record: what the guest does is judged by that.
                actor.parked.push_front(ServerMessage::GuestSeen(seen));
            }
        };
        self.commit_then(Some(current.epoch), server, done, ctx);
    }

    /// Gives the guest the disks that it lacks, if it may have come without some. `has_come`: there was no guest before.
    fn look_at_guest(&mut self, has_come: bool) {
        let has_guest = self.live().is_some_and(Server::has_guest);
        if has_guest && (has_come || std::mem::take(&mut self.is_unlooked)) {
            self.core.put_back(self.id.clone());
        }
    }

    /// The tombstone first, so that no new attach can commit; then every volume is detached.
    pub(super) fn delete(&mut self, caller: Caller, answer: Answered<()>, ctx: &mut Context<Self>) {
        let Some(current) = self.live().cloned() else {
            let _ = answer.send(Err(RequestError::ServerNotFound(self.id.clone())));
            return;
        };
        let mut server = current.clone();
        server.deleted = true;
        server.vm_state = VmState::Deleted;
        server.epoch = current.epoch + 1;
        server.updated_at = Some(self.core.world.clock.now());
        let core = std::sync::Arc::clone(&self.core);
        let id = self.id.clone();
        self.commit(
            Some(current.epoch),
            server,
            answer,
            move |_| {
                actix_rt::spawn(async move { core.detach_all(id, caller).await });
            },
            ctx,
        );
    }

    fn commit<T: 'static>(
        &mut self,
        expected_epoch: Option<u64>,
        server: Server,
        answer: Answered<T>,
        finish: impl FnOnce(Server) -> T + 'static,
        ctx: &mut Context<Self>,
    ) {
        let done = move |committed: Result<Server, RequestError>, _: &mut Self| {
            let _ = answer.send(committed.map(finish));
        };
        self.commit_then(expected_epoch, server, done, ctx);
    }

    fn commit_then(
        &mut self,
        expected_epoch: Option<u64>,
        server: Server,
        done: impl FnOnce(Result<Server, RequestError>, &mut Self) + 'static,
        ctx: &mut Context<Self>,
    ) {
        let change = ServerChange { expected_epoch, server: server.clone() };
        let transaction = Transaction { server: Some(change), ..Transaction::default() };
        self.busy = true;
        let commit = self.core.world.store.commit(transaction);
        ctx.spawn(commit.into_actor(self).map(move |outcome, actor, ctx| {
            match outcome {
                CommitOutcome::Committed => {
                    let former = actor.server.replace(server.clone());
                    let is_other = |former: Server| !former.has_guest() || former.guest() != server.guest();
                    actor.core.follow_guest(&server);
                    actor.look_at_guest(former.is_some_and(is_other));
                    done(Ok(server), actor);
                }
                CommitOutcome::Aborted(Aborted::Stale) => {
                    let error = format!("Instance {} was changed by somebody else, or exists already", actor.id);
                    done(Err(RequestError::ServerConflict(error)), actor);
                    actor.loaded = false;
                    actor.load(ctx);
                }
                CommitOutcome::Aborted(_) => done(Err(RequestError::Lost), actor),
                // No reply may go out: the process is about to end.
                CommitOutcome::Unknown(_) => std::mem::forget(done),
            }
            actor.busy = false;
            actor.go_on(ctx);
        }));
    }
}

impl crate::actors::core::Core {
    /// Detaches every volume of a server that is gone. Repeated at start for tombstones whose rows are still there.
    pub(in crate::actors) async fn detach_all(
        self: std::sync::Arc<Self>,
        id: crate::domain::ids::ServerId,
        caller: Caller,
    ) {
        match self.world.store.server_attachments(id.clone()).await {
            Ok(rows) => {
                for row in rows {
                    let command = Command::ServerDetach { server_id: id.clone(), server_gone: true };
                    actix_rt::spawn(std::sync::Arc::clone(&self).send_surely(row.volume_id, command, caller.clone()));
                }
            }
            Err(StoreError::Unavailable(reason) | StoreError::Damaged { reason, .. }) => {
                tracing::error!(server_id = %id, %reason, "the volumes of a deleted server cannot be read");
            }
        }
    }
}
