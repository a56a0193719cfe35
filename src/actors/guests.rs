//! Guests that go their own way: they pause, shut down, die and come back, and nobody asks Hearth. Each guest of a `qmp` server is
//! followed, and its server's record with it; one that has come without the disks of its server gets them back.
//!
//! Nothing here decides: the server's actor judges what was seen, and each volume judges for itself whether its disk is put
//! back ([`Command::ServerReplug`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::core::{Core, system_caller};
use super::reply::{ReplyTo, Returned};
use super::server::{ServerMessage, connector};
use crate::domain::attachment::{Attachment, mapped};
use crate::domain::backend::{Cause, Guest};
use crate::domain::ids::ServerId;
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::volume::Command;
use crate::domain::volume::command::ServerReplug;
use crate::store::StoreError;

/// Between the first and the second look at what a guest lacks, and at most between two later ones. A disk is plugged in less
/// than a second, and within seconds into a guest that boots.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Who is followed, and who is being given disks back.
#[derive(Default)]
pub(super) struct GuestBook {
    followed: Mutex<HashMap<ServerId, Followed>>,
    put_back: Mutex<HashMap<ServerId, AbortHandle>>,
}

struct Followed {
    guest: Guest,
    following: AbortHandle,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl GuestBook {
    /// Nobody is followed any more.
    pub(super) fn close(&self) {
        lock(&self.followed).clear();
        lock(&self.put_back).drain().for_each(|(_, task)| task.abort());
    }
}

/// Each change of the books is one step.
fn lock<T>(book: &Mutex<T>) -> MutexGuard<'_, T> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a look at a guest came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("{}", .0.text)]
    Guest(Cause),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Core {
    /// Follows the guests of every server whose hypervisor tells what they do.
    pub(super) async fn guests_resume(self: &Arc<Self>) -> Result<(), StoreError> {
        for server in self.world.store.servers_of_hypervisor(HypervisorKind::Qmp).await? {
            self.follow_guest(&server);
        }
        Ok(())
    }

    /// Follows the server's guest from now on, if there is one to be followed, where its record says that it is.
    pub(super) fn follow_guest(self: &Arc<Self>, server: &Server) {
        let tells = self.options.follow_guests && server.hypervisor == HypervisorKind::Qmp;
        let guest = Some(server.guest()).filter(|_| tells && !server.deleted && !self.is_stopping());
        let mut followed = lock(&self.guests.followed);
        if followed.get(&server.id).map(|known| &known.guest) == guest.as_ref() {
            return;
        }
        followed.remove(&server.id);
        let Some(guest) = guest else { return };
        let Some(mut seen) = self.world.drivers.follow(guest.clone()) else { return };
        let (core, id) = (Arc::downgrade(self), server.id.clone());
        let following = actix_rt::spawn(async move {
            while let Some(seen) = seen.recv().await {
                let Some(core) = core.upgrade() else { return };
                core.server(&id).do_send(ServerMessage::GuestSeen(seen));
            }
        });
        followed.insert(server.id.clone(), Followed { guest, following: following.abort_handle() });
    }

    /// Looks what the server's guest lacks, and has it put back, until nothing is missing. One task for each server: the
    /// youngest.
    pub(super) fn put_back(self: &Arc<Self>, id: ServerId) {
        let putting = actix_rt::spawn(Arc::clone(self).put_back_until_whole(id.clone())).abort_handle();
        if let Some(former) = lock(&self.guests.put_back).insert(id, putting) {
            former.abort();
        }
    }

    async fn put_back_until_whole(self: Arc<Self>, id: ServerId) {
        let (mut pause, most) = PAUSES;
        let mut is_first = true;
        while !self.is_stopping() {
            match self.put_back_once(&id, is_first).await {
                Ok(Lacking::Nothing) => return,
                Ok(Lacking::NotYet) => {}
                // What is told is told once: the owner is not, each time.
                Ok(Lacking::Asked) => is_first = false,
                Err(error) => tracing::debug!(server_id = %id, %error, "what the guest lacks is not known"),
            }
            tokio::time::sleep(pause).await;
            pause = most.min(pause * 2);
        }
    }

    /// Looks once. The guest is asked first: a volume that is detached meanwhile is not in the rows any more.
    async fn put_back_once(self: &Arc<Self>, id: &ServerId, is_told: bool) -> Result<Lacking, LookError> {
        let server = self.world.store.server_get(id.clone()).await?;
        let Some(server) = server.filter(Server::has_guest) else { return Ok(Lacking::Nothing) };
        let plugged = self.world.drivers.inventory(server.guest()).await.map_err(LookError::Guest)?;
        let rows = mapped(self.world.store.server_attachments(id.clone()).await?).into_iter();
        let is_staying = |row: &Attachment| row.bdm.as_ref().is_some_and(|bdm| !bdm.detaching);
        let missing = rows.filter(|row| is_staying(row) && !plugged.contains(&row.device_id())).collect::<Vec<_>>();
        if missing.is_empty() {
            return Ok(Lacking::Nothing);
        }
        let mut caller = system_caller();
        caller.requester.request_id = format!("req-{}", self.world.randomness.uuid()).into();
        let mut lacking = Lacking::NotYet;
        // What is just being attached was perhaps plugged into the former process: that is known when it is attached.
        for row in missing.iter().filter(|row| row.belongs_in_guest()) {
            lacking = Lacking::Asked;
            let request = ServerReplug {
                server_id: id.clone(),
                server_epoch: server.epoch,
                connector: connector(&server),
                is_told,
            };
            let (reply, receiver) = ReplyTo::channel();
            let command = Box::new(Command::ServerReplug(Box::new(request)));
            self.send(row.volume_id, command, caller.clone(), reply);
            // What the volume refuses now it is asked for at the next look.
            if let Ok(Returned::Refused(refusal, _)) = receiver.await {
                tracing::debug!(server_id = %id, volume_id = %row.volume_id, %refusal, "not put back");
            }
        }
        Ok(lacking)
    }
}

/// What a look at a guest has shown.
enum Lacking {
    /// It has all disks of its server.
    Nothing,
    /// Disks that are on their way, perhaps.
    NotYet,
    /// The volumes of some have been told.
    Asked,
}
