//! The supervisor: finds the slot of a volume, activates its actor once, restarts it after a panic with a fresh state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::attachments::AttachmentIndex;
use super::events::EventFeed;
use super::fences::FenceBook;
use super::guests::GuestBook;
use super::hosts::{HostBook, PlacementOptions};
use super::reply::{ReplyTo, Returned};
use super::server::{ServerActor, ServerAttachOptions};
use super::service::{Backends, RequestError};
use super::settling::Settling;
use super::slot::{CRASHES_TO_QUARANTINE, Occupant, Permit, QUARANTINE, VolumeSlot};
use super::volume::{Envelope, VolumeActor};
use crate::compute::ComputeService;
use crate::domain::compute::UseAnswer;
use crate::domain::ids::{ServerId, VolumeId};
use crate::domain::operation::backoff;
use crate::domain::quota::Limits;
use crate::domain::volume::{Caller, Command};
use crate::drivers::pool::SharedCaller;
use crate::runtime::{Clock, Placement, Randomness};
use crate::store::{Keyed, Store};
use dashmap::DashMap;

/// The pause before a command that must not be lost is sent again.
pub(super) const RESEND_PAUSE: Duration = Duration::from_millis(500);

/// Bounds and times of the actors.
#[derive(Clone, Debug)]
pub struct ActorOptions {
    /// An actor without work is dropped after this time (`actors.idle_ttl`).
    pub idle_ttl: Duration,
    /// Active volumes beyond which the longest idle ones are dropped (`actors.max_active`).
    pub max_active: usize,
    /// Requests admitted per volume (`actors.admission`).
    pub admission: u32,
    /// How long a request may wait in a volume's connection queue (`connections.queue_deadline`).
    pub queue_deadline: Duration,
    /// How long an operation waits for outstanding calls of earlier ones.
    pub drain_deadline: Duration,
    /// The limits of a project, as far as no administrator has set others.
    pub limits: Limits,
    /// User messages are kept for so long.
    pub message_ttl: Duration,
    /// Compute swaps only a volume that has a migration status (`compute.swap_requires_migration`).
    pub swap_requires_migration: bool,
    /// What the settings say of each backend, by its full name.
    pub placement: BTreeMap<String, PlacementOptions>,
    /// The rules of Compute's attach.
    pub server_attach: ServerAttachOptions,
    /// Servers' states follow what their guests do (`hypervisor.follow_guests`).
    pub follow_guests: bool,
}

impl Default for ActorOptions {
    fn default() -> Self {
        Self {
            idle_ttl: Duration::from_secs(600),
            max_active: 50_000,
            admission: 1_024,
            queue_deadline: Duration::from_secs(60),
            drain_deadline: Duration::from_secs(30),
            limits: Limits::default(),
            message_ttl: Duration::from_secs(30 * 24 * 3600),
            swap_requires_migration: true,
            placement: BTreeMap::new(),
            server_attach: ServerAttachOptions::default(),
            follow_guests: true,
        }
    }
}

/// Everything that actors need of the world.
#[derive(Clone)]
pub struct Dependencies {
    /// The record of truth.
    pub store: Arc<dyn Store>,
    /// The driver pool.
    pub drivers: SharedCaller,
    /// The Nova whose servers use the volumes; none: they are Hearth's own, or nobody's.
    pub compute: Option<Arc<dyn ComputeService>>,
    /// Time.
    pub clock: Clock,
    /// Ids.
    pub randomness: Randomness,
    /// Where actors run.
    pub placement: Placement,
}

/// What goes along with a client's command.
#[derive(Default)]
pub(super) struct Beside {
    /// What its growth is judged by; none: by what holds for everybody.
    pub(super) limits: Option<Box<Limits>>,
    /// What a Compute elsewhere has said of the use that it would end.
    pub(super) answer: Option<Box<UseAnswer>>,
    /// The request's idempotency key, used in the same commit.
    pub(super) key: Option<Arc<Keyed>>,
}

/// The supervisor's shared state.
pub(super) struct Core {
    pub(super) world: Dependencies,
    pub(super) options: ActorOptions,
    pub(super) volumes: DashMap<VolumeId, Arc<VolumeSlot>>,
    /// Which of them an attachment belongs to.
    pub(super) attachments: Arc<AttachmentIndex>,
    pub(super) servers: DashMap<ServerId, actix::Addr<ServerActor>>,
    /// Who follows the committed transitions.
    pub(super) events: EventFeed,
    /// Who waits for the end of an operation.
    pub(super) settling: Arc<Settling>,
    /// What the pool knows of the backends.
    pub(super) backends: Arc<dyn Backends>,
    /// What is known of them besides.
    pub(super) host_book: HostBook,
    /// Which hosts are dead.
    pub(super) fences: FenceBook,
    /// Which guests are followed.
    pub(super) guests: GuestBook,
    /// Actors that crashed since the start.
    pub(super) restarts: AtomicU64,
    /// Requests turned away by admission since the start.
    pub(super) overloads: AtomicU64,
    pub(super) stopping: AtomicBool,
}

impl Core {
    pub(super) fn new(world: Dependencies, options: ActorOptions, backends: Arc<dyn Backends>) -> Arc<Self> {
        Arc::new(Self {
            world,
            options,
            volumes: DashMap::new(),
            attachments: Arc::default(),
            servers: DashMap::new(),
            events: EventFeed::default(),
            settling: Arc::default(),
            backends,
            host_book: HostBook::default(),
            fences: FenceBook::default(),
            guests: GuestBook::default(),
            restarts: AtomicU64::new(0),
            overloads: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        })
    }

    /// No actor is restarted from now on.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.events.close();
        self.settling.close();
        self.guests.close();
    }

    /// The slot of a volume, made if there is none.
    pub(super) fn slot(&self, id: VolumeId) -> Arc<VolumeSlot> {
        if let Some(slot) = self.volumes.get(&id) {
            return Arc::clone(&slot);
        }
        Arc::clone(
            &self.volumes.entry(id).or_insert_with(|| Arc::new(VolumeSlot::new(id, Arc::clone(&self.attachments)))),
        )
    }

    /// The slot of an active volume.
    pub(super) fn slot_if_active(&self, id: VolumeId) -> Option<Arc<VolumeSlot>> {
        self.volumes.get(&id).map(|slot| Arc::clone(&slot))
    }

    /// Sends a client's command: admission first, then the mailbox.
    pub(super) fn send(self: &Arc<Self>, id: VolumeId, command: Box<Command>, caller: Caller, reply: ReplyTo) {
        self.send_within(Beside::default(), id, command, caller, reply);
    }

    /// The same, with what is known beside the command.
    pub(super) fn send_within(
        self: &Arc<Self>,
        beside: Beside,
        id: VolumeId,
        command: Box<Command>,
        caller: Caller,
        reply: ReplyTo,
    ) {
        let slot = self.slot(id);
        let now = self.world.clock.now();
        let Some(permit) = slot.admit(self.options.admission, now) else {
            self.overloads.fetch_add(1, Ordering::Relaxed);
            return reply.answer(Err(RequestError::Overloaded { retry_after: Duration::from_secs(1) }));
        };
        self.post(&slot, Envelope::new(command, caller, reply, Some(permit)).with(beside));
    }

    /// Sends a command until the volume has decided about it: nobody would send it again if it were lost because the volume's
    /// actor was just leaving, restarting, or had no room.
    pub(super) async fn send_surely(self: Arc<Self>, id: VolumeId, command: Command, caller: Caller) {
        while !self.is_stopping() {
            let (reply, receiver) = ReplyTo::channel();
            self.send(id, Box::new(command.clone()), caller.clone(), reply);
            if let Ok(Returned::Refused(..) | Returned::Answer(Ok(_) | Err(RequestError::Refused(_)))) = receiver.await
            {
                return;
            }
            tokio::time::sleep(RESEND_PAUSE).await;
        }
    }

    /// Sends a result or another internal command: never refused for want of room, since its number is bounded by the jobs.
    pub(super) fn deliver(self: &Arc<Self>, id: VolumeId, command: Command) {
        let slot = self.slot(id);
        let envelope = Envelope::new(Box::new(command), system_caller(), ReplyTo::nobody(), None);
        self.post(&slot, envelope);
    }

    fn post(self: &Arc<Self>, slot: &Arc<VolumeSlot>, envelope: Envelope) {
        let mut occupant = slot.occupant();
        let now = self.world.clock.now();
        // One that crashed and whose end has not been noticed yet is replaced; `volume_ended` will count it.
        if let Occupant::Active { address, .. } = &*occupant
            && address.connected()
        {
            return address.do_send(envelope);
        }
        match &*occupant {
            // Dropped here, the envelope goes back to its sender, who looks the slot up again.
            Occupant::Retired => return,
            Occupant::BackingOff { until } if *until > now => {
                let wait = until.since(now);
                drop(occupant);
                return envelope.refuse(RequestError::Overloaded { retry_after: wait });
            }
            Occupant::Quarantined { until } if *until > now => {
                drop(occupant);
                return envelope.refuse(RequestError::Quarantined);
            }
            _ => {}
        }
        let incarnation = slot.next_incarnation();
        let fresh = incarnation == 1 && envelope.creates();
        let actor = VolumeActor::new(Arc::clone(self), Arc::clone(slot), incarnation, fresh);
        let address = self.world.placement.start(shard_of(slot.volume_id), actor);
        address.do_send(envelope);
        *occupant = Occupant::Active { address, incarnation };
    }

    /// Gives a slot up: nobody can activate it any more, and the directory forgets it. One step under the occupant's lock,
    /// so that there are never two actors for one volume.
    pub(super) fn retire(&self, slot: &Arc<VolumeSlot>) {
        self.give_up(slot, &mut slot.occupant());
    }

    /// Gives a slot without an actor up, unless somebody is about to activate it. The look and the step are one: an actor
    /// that came in between would live in a slot that the directory has forgotten, beside its successor.
    pub(super) fn retire_if_vacant(&self, slot: &Arc<VolumeSlot>) {
        let mut occupant = slot.occupant();
        if matches!(*occupant, Occupant::Vacant) && slot.admitted() == 0 {
            self.give_up(slot, &mut occupant);
        }
    }

    /// The directory forgets the slot. `occupant` is the slot's own, locked by the caller.
    fn give_up(&self, slot: &Arc<VolumeSlot>, occupant: &mut Occupant) {
        *occupant = Occupant::Retired;
        // Before there can be another slot, whose rows must stay in the index.
        slot.publish(None);
        self.volumes.remove_if(&slot.volume_id, |_, current| Arc::ptr_eq(current, slot));
    }

    /// An actor's value was dropped. `clean`: it stopped by itself (passivation, or its volume is deleted).
    pub(super) fn volume_ended(self: &Arc<Self>, slot: &Arc<VolumeSlot>, incarnation: u32, clean: bool) {
        {
            let mut occupant = slot.occupant();
            match &*occupant {
                Occupant::Active { incarnation: current, .. } if *current == incarnation => {
                    *occupant = Occupant::Vacant;
                }
                // Given up, or another incarnation has taken over already.
                Occupant::Retired => return,
                Occupant::Active { .. } if clean => return,
                _ => {}
            }
        }
        if clean || self.is_stopping() {
            return;
        }
        slot.forget_view();
        let now = self.world.clock.now();
        let crashes = slot.crashed(now);
        self.restarts.fetch_add(1, Ordering::Relaxed);
        tracing::error!(volume_id = %slot.volume_id, crashes, "volume actor crashed");
        let wait = backoff(u32::try_from(crashes).unwrap_or(u32::MAX));
        {
            let mut occupant = slot.occupant();
            if let Occupant::Vacant = &*occupant {
                if crashes >= CRASHES_TO_QUARANTINE {
                    *occupant = Occupant::Quarantined { until: now.plus(QUARANTINE) };
                } else if !wait.is_zero() {
                    *occupant = Occupant::BackingOff { until: now.plus(wait) };
                }
            }
        }
        let wait = if crashes >= CRASHES_TO_QUARANTINE { QUARANTINE } else { wait };
        // Its operations must go on without anybody asking.
        let core = Arc::clone(self);
        let volume_id = slot.volume_id;
        self.after(wait, move || core.deliver(volume_id, Command::Wake));
    }

    /// Runs `action` after `wait`, on the calling thread's runtime.
    pub(super) fn after(&self, wait: Duration, action: impl FnOnce() + 'static) {
        actix_rt::spawn(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            action();
        });
    }

    /// Sends a message to a server's actor, activating it if need be.
    pub(super) fn server(self: &Arc<Self>, id: &ServerId) -> actix::Addr<ServerActor> {
        if let Some(address) = self.servers.get(id)
            && address.connected()
        {
            return address.clone();
        }
        let mut entry = self.servers.entry(id.clone()).or_insert_with(|| self.start_server(id));
        if !entry.connected() {
            *entry = self.start_server(id);
        }
        entry.clone()
    }

    fn start_server(self: &Arc<Self>, id: &ServerId) -> actix::Addr<ServerActor> {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let shard = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        self.world.placement.start(shard, ServerActor::new(Arc::clone(self), id.clone()))
    }
}

/// Which arbiter a volume lives on: from its id, so that it is the same in every run.
fn shard_of(id: VolumeId) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    high ^ low
}

/// Who asks when the service itself does.
pub(super) fn system_caller() -> Caller {
    Caller {
        requester: crate::domain::operation::Requester {
            request_id: "req-00000000-0000-0000-0000-000000000000".into(),
            user_id: "hearth".into(),
            project_id: "hearth".into(),
        },
        is_admin: true,
        is_service: true,
    }
}

/// The permit of an admitted request; internal commands have none.
pub(super) type Admission = Option<Permit>;
