//! Hot-plug into a running QEMU over its QMP socket.
//!
//! For: making an exported volume a disk of a guest, showing it its new size, and taking it away with proof. Never: connects
//! to a socket outside the configured directories, or to a guest whose uuid is not the server's (unless told so); keeps a
//! connection for longer than a moment while no call needs it (the socket serves one client at a time, and others may want
//! it). Called by the driver pool; `hearth fsck` uses the inventory.
//!
//! * `socket`: which sockets may be used.
//! * `guest`: one connection, shared by the calls under way for that guest.
//! * `plug`: plug, unplug, resize; `moves`: a disk moved to another export.
//! * `follow`: what a guest does by itself.

mod follow;
mod guest;
mod moves;
mod moving;
mod plug;
mod socket;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::guest::{ConnectError, GuestLink};
use self::moves::{Destination, Move};
use self::moving::{Moves, Moving};
use self::socket::{SocketError, SocketRules};
use crate::domain::backend::{Answer, Call, CallKey, Cause, CauseKind, Guest, Outcome, Request};
use crate::domain::guest::{GuestRoom, GuestSeen};
use crate::domain::ids::{AttachmentId, VolumeId};
use crate::drivers::qmp::QmpError;
use crate::drivers::qmp_features::Features;
use crate::drivers::recent::Recent;
use crate::drivers::{Hypervisor, Progress};

/// What a guest's QEMU must have for a volume's whole life in it: asked before a plug, because afterwards it is too late.
const NEEDED: &[&str] = &[
    "blockdev-add/+raw",
    "blockdev-add/+nbd/reconnect-delay",
    "blockdev-del",
    "block_resize/node-name",
    "device_add",
    "device_del",
    "human-monitor-command",
    "qom-list",
    "query-block",
    "DEVICE_DELETED",
];

/// Moves that were given up and are remembered, for calls that are later than that.
const STOPPED_REMEMBERED: usize = 65_536;

/// A process that is just ending has taken connections which it closes unserved, and is gone a moment later. Whoever closes them for longer
/// is there, and does not answer.
const ENDING_LIMIT: Duration = Duration::from_secs(1);

/// A place for the connection to one guest; locked while it is made.
type Slot = Arc<tokio::sync::Mutex<Weak<GuestLink>>>;

/// The `qmp` hypervisor.
pub struct QmpHypervisor {
    rules: SocketRules,
    features: Features,
    guests: Mutex<HashMap<PathBuf, Slot>>,
    features_to_move: Features,
    moving: Moves,
    /// Moves of a disk to a volume that were given up: the epochs of that. Only those of one volume have an order.
    stopped: Recent<(AttachmentId, VolumeId), u64>,
}

impl QmpHypervisor {
    /// One which uses sockets beneath `qmp_dirs` only (setting `hypervisor.qmp_dirs`).
    pub fn new(qmp_dirs: Vec<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            rules: SocketRules::new(qmp_dirs),
            features: Features::new(NEEDED),
            guests: Mutex::default(),
            features_to_move: Features::new(moves::NEEDED),
            moving: Moves::default(),
            stopped: Recent::new(STOPPED_REMEMBERED),
        })
    }

    async fn answer(self: Arc<Self>, guest: Guest, call: Call) -> Outcome {
        let Call { key, request } = call;
        match request {
            Request::Plug { attachment_id, connection_info, mode } => match self.connect(&guest).await {
                Ok(link) => match self.features.lacking(&link.qmp).await {
                    Ok(lacking) if lacking.is_empty() => {
                        plug::plug(&link, key.volume_id, attachment_id, &connection_info.to_value(), mode).await
                    }
                    Ok(lacking) => {
                        let text = format!("the guest's hypervisor lacks {}", lacking.join(", "));
                        Outcome::Refused { cause: Cause::new(CauseKind::Guest, text) }
                    }
                    Err(error) => Outcome::Failed { cause: plug::cause_of(&error) },
                },
                Err(error) => error.into_outcome(),
            },
            Request::Unplug { attachment_id } => self.unplug(&guest, attachment_id).await,
            Request::ResizeGuest { attachment_id, new_size_gib } => match self.connect(&guest).await {
                Ok(link) => plug::resize(&link, attachment_id, new_size_gib).await,
                Err(error) => error.into_outcome(),
            },
            Request::ProbeGuest { attachment_id } => match self.probe(&guest, attachment_id).await {
                Ok(answer) => Outcome::Done { answer },
                Err(cause) => Outcome::Failed { cause },
            },
            Request::MirrorGuest { attachment_id, connection_info, .. } => {
                self.mirror(&guest, &key, attachment_id, &connection_info.to_value()).await
            }
            Request::PivotGuest { attachment_id, connection_info } => {
                self.pivot(&guest, &key, attachment_id, &connection_info.to_value()).await
            }
            Request::UnmirrorGuest { attachment_id, connection_info } => {
                self.unmirror(&guest, &key, attachment_id, &connection_info.to_value()).await
            }
            Request::Create { .. }
            | Request::CreateClonedVolume { .. }
            | Request::CreateVolumeFromSnapshot { .. }
            | Request::CreateFromImage { .. }
            | Request::Reimage { .. }
            | Request::CreateImage { .. }
            | Request::UploadImage { .. }
            | Request::DiscardImage { .. }
            | Request::Adopt { .. }
            | Request::Disown
            | Request::AdoptSnapshot { .. }
            | Request::DisownSnapshot { .. }
            | Request::ListObjects
            | Request::CopyFromBackend { .. }
            | Request::CreateMirrorTarget { .. }
            | Request::Delete
            | Request::CreateSnapshot { .. }
            | Request::DeleteSnapshot { .. }
            | Request::RevertToSnapshot { .. }
            | Request::Extend { .. }
            | Request::Export { .. }
            | Request::Unexport { .. }
            | Request::Probe => Outcome::Refused { cause: Cause::new(CauseKind::Other, "a hypervisor has no volumes") },
        }
    }

    /// Asks the guest until it lets go, its process is gone, or the time is over.
    async fn unplug(&self, guest: &Guest, attachment: AttachmentId) -> Outcome {
        let deadline = tokio::time::Instant::now() + plug::UNPLUG_LIMIT;
        loop {
            let broken = match self.connect(guest).await {
                Ok(link) => match plug::unplug(&link, attachment, deadline).await {
                    Ok(outcome) => return outcome,
                    Err(error) => error,
                },
                // No process, no device, no connection.
                Err(ConnectError::Gone) => return Outcome::done(),
                Err(error) => return error.into_outcome(),
            };
            if tokio::time::Instant::now() >= deadline {
                tracing::warn!(server = %guest.server_id, error = %broken, "unplug");
                return unknown();
            }
            tokio::time::sleep(plug::POLL).await;
        }
    }

    /// Copies the disk until both are level. The connection may break meanwhile: QEMU goes on without it.
    async fn mirror(&self, guest: &Guest, key: &CallKey, attachment: AttachmentId, info: &Value) -> Outcome {
        let Some(to) = Destination::parse(info) else {
            return moves::refused("the guest cannot be moved to this kind of connection");
        };
        let moving = self.moving.begin(key);
        let (mut begun, mut heard) = (false, Instant::now());
        loop {
            let broken = match self.connect(guest).await {
                Ok(link) => {
                    heard = Instant::now();
                    let disk = Move { link: &link, attachment, to: &to };
                    match self.mirror_through(&disk, key, &mut begun, &moving).await {
                        Ok(outcome) => return outcome,
                        Err(error) => error.to_string(),
                    }
                }
                Err(ConnectError::NoAnswer(details)) if begun => details,
                Err(error) => return error.into_outcome(),
            };
            if heard.elapsed() >= moves::RECONNECT_LIMIT {
                tracing::warn!(server = %guest.server_id, broken, "mirror");
                return unknown();
            }
            tokio::time::sleep(moves::RECONNECT_POLL).await;
        }
    }

    async fn mirror_through(
        &self,
        disk: &Move<'_>,
        key: &CallKey,
        begun: &mut bool,
        moving: &Moving<'_>,
    ) -> Result<Outcome, QmpError> {
        if !*begun {
            let _changing = disk.link.changing.lock().await;
            // A younger move ends every older one: what is late begins nothing any more.
            self.stop_before(disk.attachment, key, key.epoch.saturating_sub(1));
            if self.is_stopped(key, disk.attachment) {
                return Ok(moves::stopped());
            }
            if let Some(outcome) = disk.begin(&self.features_to_move).await? {
                return Ok(outcome);
            }
            *begun = true;
        }
        disk.level(|| self.is_stopped(key, disk.attachment), |progress| moving.tell(progress)).await
    }

    async fn pivot(&self, guest: &Guest, key: &CallKey, attachment: AttachmentId, info: &Value) -> Outcome {
        let Some(to) = Destination::parse(info) else {
            return moves::refused("the guest cannot be moved to this kind of connection");
        };
        let link = match self.connect(guest).await {
            Ok(link) => link,
            Err(error) => return error.into_outcome(),
        };
        let _changing = link.changing.lock().await;
        if self.is_stopped(key, attachment) {
            return moves::stopped();
        }
        let pivoted = Move { link: &link, attachment, to: &to }.pivot().await;
        pivoted.unwrap_or_else(|error| {
            tracing::warn!(server = %guest.server_id, %error, "pivot");
            unknown()
        })
    }

    async fn unmirror(&self, guest: &Guest, key: &CallKey, attachment: AttachmentId, info: &Value) -> Outcome {
        // From here on no call of before begins anything, and one that copies ends.
        self.stop_before(attachment, key, key.epoch);
        // No mirror leads there.
        let Some(to) = Destination::parse(info) else { return Outcome::done() };
        let link = match self.connect(guest).await {
            Ok(link) => link,
            // No process, no connection.
            Err(ConnectError::Gone) => return Outcome::done(),
            Err(error) => return error.into_outcome(),
        };
        let _changing = link.changing.lock().await;
        let stopped = Move { link: &link, attachment, to: &to }.stop().await;
        stopped.unwrap_or_else(|error| {
            tracing::warn!(server = %guest.server_id, %error, "unmirror");
            unknown()
        })
    }

    /// The moves to the call's volume up to this epoch have ended.
    fn stop_before(&self, attachment: AttachmentId, key: &CallKey, epoch: u64) {
        let known = self.stopped.get(&(attachment, key.volume_id)).unwrap_or_default();
        self.stopped.insert((attachment, key.volume_id), epoch.max(known));
    }

    /// Whether the move that the call belongs to was given up, or is followed by another one.
    fn is_stopped(&self, key: &CallKey, attachment: AttachmentId) -> bool {
        self.stopped.get(&(attachment, key.volume_id)).is_some_and(|stopped| key.epoch <= stopped)
    }

    async fn probe(&self, guest: &Guest, attachment: AttachmentId) -> Result<Answer, Cause> {
        let found = match self.connect(guest).await {
            Ok(link) => async {
                match link.has(attachment).await? {
                    true => Ok((true, link.plugged_disk(attachment).await?.and_then(|disk| disk.export))),
                    false => Ok((false, None)),
                }
            }
            .await
            .map_err(|error| plug::cause_of(&error))?,
            Err(ConnectError::Gone) => (false, None),
            Err(error) => return Err(error.into_cause()),
        };
        let (plugged, export) = found;
        Ok(Answer::Plugged { plugged, export })
    }

    async fn plugged(&self, guest: &Guest) -> Result<Vec<AttachmentId>, Cause> {
        match self.connect(guest).await {
            Ok(link) => link.attachments().await.map_err(|error| plug::cause_of(&error)),
            Err(ConnectError::Gone) => Ok(Vec::new()),
            Err(error) => Err(error.into_cause()),
        }
    }

    /// The connection to the guest: the one in use, or a new one.
    async fn connect(&self, guest: &Guest) -> Result<Arc<GuestLink>, ConnectError> {
        let path = guest.qmp_socket.as_deref().map(Path::new).ok_or(SocketError::Missing)?;
        let socket = self.rules.check(path).await?;
        let slot = self.slot(&socket);
        let mut current = slot.lock().await;
        let link = match current.upgrade().filter(|link| link.is_open()) {
            Some(link) => link,
            None => {
                let link = Arc::new(open(&socket).await?);
                *current = Arc::downgrade(&link);
                link
            }
        };
        if guest.check_uuid && !link.is_server(&guest.server_id) {
            return Err(ConnectError::AnotherGuest);
        }
        Ok(link)
    }

    fn slot(&self, socket: &Path) -> Slot {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        // Guests come and go: places without a connection that nobody holds are of no use.
        guests
            .retain(|_, slot| Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|link| link.strong_count() > 0));
        guests.entry(socket.to_owned()).or_default().clone()
    }
}

impl Hypervisor for QmpHypervisor {
    fn call(self: Arc<Self>, guest: Guest, call: Call) -> BoxFuture<'static, Outcome> {
        self.answer(guest, call).boxed()
    }

    fn progress(&self, key: &CallKey) -> Option<Progress> {
        self.moving.progress(key)
    }

    fn inventory(self: Arc<Self>, guest: Guest) -> BoxFuture<'static, Result<Vec<AttachmentId>, Cause>> {
        async move { self.plugged(&guest).await }.boxed()
    }

    fn room(self: Arc<Self>, guest: Guest) -> BoxFuture<'static, Result<Option<GuestRoom>, Cause>> {
        async move {
            match self.connect(&guest).await {
                Ok(link) => link.room().await.map(Some).map_err(|error| plug::cause_of(&error)),
                Err(error) => Err(error.into_cause()),
            }
        }
        .boxed()
    }

    fn follow(self: Arc<Self>, guest: Guest) -> Option<mpsc::Receiver<GuestSeen>> {
        let (told, seen) = mpsc::channel(1);
        tokio::spawn(follow::follow(self, guest, told));
        Some(seen)
    }
}

/// Connects to a guest.
async fn open(socket: &Path) -> Result<GuestLink, ConnectError> {
    let begun = Instant::now();
    loop {
        match GuestLink::connect(socket).await {
            // Closed at once: who keeps silent is waited for longer than that.
            Err(ConnectError::NoAnswer(_)) if begun.elapsed() < ENDING_LIMIT => tokio::time::sleep(plug::POLL).await,
            answered => return answered,
        }
    }
}

/// The connection broke: nobody knows.
fn unknown() -> Outcome {
    let text = "the connection to the guest's hypervisor broke";
    Outcome::Unknown { cause: Cause::new(CauseKind::Unavailable, text) }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// Takes connections and closes them, so many; then it is gone.
    async fn close(listener: UnixListener, connections: usize) {
        for _ in 0..connections {
            drop(listener.accept().await.expect("a client"));
        }
    }

    #[tokio::test]
    async fn a_process_that_closes_its_connections_is_gone_if_it_ends_soon() {
        let dir = tempfile::tempdir().expect("a directory");
        for connections in [1, 3] {
            let path = dir.path().join(connections.to_string());
            let ending = tokio::spawn(close(UnixListener::bind(&path).expect("bound"), connections));
            assert!(matches!(open(&path).await, Err(ConnectError::Gone)), "{connections}");
            ending.await.expect("it has ended");
        }
        let path = dir.path().join("lives");
        let living = tokio::spawn(close(UnixListener::bind(&path).expect("bound"), usize::MAX));
        assert!(matches!(open(&path).await, Err(ConnectError::NoAnswer(_))));
        living.abort();
    }
}
