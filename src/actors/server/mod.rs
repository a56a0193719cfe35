//! The server actor: the only judge of one server's state, lock and device names, and the way to its guest.
//!
//! It never awaits a volume: an attach goes to the volume with an exchange number, and the volume's outcome comes back as a
//! message. A device name is reserved here in memory until that outcome is known; the database's unique index is the last
//! word.

mod attach;
pub(super) use attach::connector;
mod device;
mod options;
mod records;
mod rules;
mod swap;

pub use options::ServerAttachOptions;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, WrapFuture, fut::ActorFutureExt};
use tokio::sync::oneshot;

use super::core::Core;
use super::service::{RequestError, ServerAttachRequest, ServerUpdate};
use crate::domain::backend::{Answer, Call, Cause, CauseKind, Outcome, Request};
use crate::domain::guest::GuestSeen;
use crate::domain::ids::{ServerId, VolumeId};
use crate::domain::lifecycle::ServerVerb;
use crate::domain::operation::Requester;
use crate::domain::server::Server;
use crate::domain::volume::{Caller, Reply, VolumeState};
use crate::drivers::pool::{Completion, PoolTarget};
use crate::store::StoreError;

pub(super) type Answered<T> = oneshot::Sender<Result<T, RequestError>>;

/// Everything that is asked of a server.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum ServerMessage {
    /// Compute's attach.
    Attach(Box<AttachRequest>),
    /// The volume's word on an attach.
    AttachOutcome {
        /// Which exchange.
        exchange: u64,
        /// What it said.
        result: Result<Reply, RequestError>,
    },
    /// Compute's detach.
    Detach(Box<DetachRequest>),
    /// Compute's swap.
    Swap(Box<SwapRequest>),
    /// Register; or make, which is an action then.
    Create(Box<Server>, Option<Requester>, Answered<Server>),
    /// The volumes that it was made with are attached, or this is why they are not.
    Booted(Boot, Answered<()>),
    /// Change.
    Update(ServerUpdate, Answered<Server>),
    /// What its guest does.
    GuestSeen(GuestSeen),
    /// Change its state, as a simulated server's owner does.
    Act(ServerVerb, Caller, Answered<()>),
    /// Remove: tombstone first, then detaches.
    Delete {
        /// Who asks.
        caller: Caller,
        /// It is an action of the server.
        is_action: bool,
        answer: Answered<()>,
    },
}

/// How making a server with volumes has ended.
pub(super) enum Boot {
    /// Whoever made it says so; a text is why it failed.
    Ended(Result<(), String>),
    /// It was under way when the service ended: nobody goes on with it.
    LeftOver,
}

/// Compute's attach.
pub(super) struct AttachRequest {
    pub(super) volume_id: VolumeId,
    /// The volume as the caller may see it; none: 404 at the specified point of the checks.
    pub(super) volume: Option<Arc<VolumeState>>,
    pub(super) request: ServerAttachRequest,
    pub(super) caller: Caller,
    pub(super) answer: Answered<Reply>,
    /// How often it has been decided again because the server changed in between.
    pub(super) tries: u32,
}

/// Compute's detach.
pub(super) struct DetachRequest {
    pub(super) volume_id: VolumeId,
    pub(super) volume: Option<Arc<VolumeState>>,
    pub(super) shelved_allowed: bool,
    pub(super) caller: Caller,
    pub(super) answer: Answered<Reply>,
    /// How often it came back unopened because the volume's actor was leaving.
    pub(super) tries: u32,
}

/// Compute's swap.
pub(super) struct SwapRequest {
    pub(super) old_id: VolumeId,
    /// The volume that the server has, as the caller may see it.
    pub(super) old: Option<Arc<VolumeState>>,
    pub(super) new_id: VolumeId,
    /// The volume that takes its place, as the caller may see it.
    pub(super) new: Option<Arc<VolumeState>>,
    pub(super) caller: Caller,
    pub(super) answer: Answered<Reply>,
    /// How often it has been decided again because the server changed in between, or the volume's actor left.
    pub(super) tries: u32,
    /// The record has changed since it was judged: it is read again first.
    pub(super) is_stale: bool,
}

/// A call for the server's guest.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct GuestCall {
    pub(super) call: Call,
    pub(super) completion: Completion,
}

/// An attach that a volume is deciding about.
struct Exchange {
    device: Option<String>,
    /// The server was shelved and offloaded when it was judged.
    without_host: bool,
    request: Box<AttachRequest>,
}

/// The actor of one server.
pub(super) struct ServerActor {
    core: Arc<Core>,
    id: ServerId,
    /// Loaded; until then everything parks.
    loaded: bool,
    /// The committed record; none: no such server.
    server: Option<Server>,
    /// Its volumes are being made and attached by this process.
    boots: bool,
    /// A change of the record is being committed, or the device names are being read: requests park.
    busy: bool,
    parked: VecDeque<ServerMessage>,
    parked_calls: VecDeque<GuestCall>,
    exchanges: BTreeMap<u64, Exchange>,
    next_exchange: u64,
    /// Attaches that were decided while the server's rows were being read, and may not be among them: volume and device.
    decided: Vec<(VolumeId, Option<String>)>,
    /// The process that its guest was seen in.
    process: Option<u32>,
    /// Nobody has looked yet which disks it has there.
    is_unlooked: bool,
}

impl ServerActor {
    pub(super) fn new(core: Arc<Core>, id: ServerId) -> Self {
        Self {
            core,
            id,
            loaded: false,
            server: None,
            boots: false,
            busy: false,
            parked: VecDeque::new(),
            parked_calls: VecDeque::new(),
            exchanges: BTreeMap::new(),
            next_exchange: 1,
            decided: Vec::new(),
            process: None,
            is_unlooked: false,
        }
    }

    fn load(&mut self, ctx: &mut Context<Self>) {
        let reading = self.core.world.store.server_get(self.id.clone());
        ctx.spawn(reading.into_actor(self).map(|read, actor, ctx| actor.have_loaded(read, ctx)));
    }

    fn have_loaded(&mut self, read: Result<Option<Server>, StoreError>, ctx: &mut Context<Self>) {
        match read {
            Ok(server) => {
                self.server = server;
                self.loaded = true;
                for call in std::mem::take(&mut self.parked_calls) {
                    self.guest_call(call);
                }
                self.go_on(ctx);
            }
            Err(error) => {
                tracing::error!(server_id = %self.id, %error, "the server cannot be loaded");
                let cause = Cause::new(CauseKind::Other, "the record of the server cannot be read");
                for call in std::mem::take(&mut self.parked_calls) {
                    (call.completion.done)(Outcome::Failed { cause: cause.clone() });
                }
                // Dropped requests answer by themselves; the next message activates a new actor.
                ctx.stop();
            }
        }
    }

    fn go_on(&mut self, ctx: &mut Context<Self>) {
        while self.loaded && !self.busy {
            let Some(message) = self.parked.pop_front() else { break };
            self.take(message, ctx);
        }
    }

    fn take(&mut self, message: ServerMessage, ctx: &mut Context<Self>) {
        match message {
            ServerMessage::Attach(request) => self.attach(request, ctx),
            ServerMessage::AttachOutcome { exchange, result } => self.attach_outcome(exchange, result, ctx),
            ServerMessage::Detach(request) => self.detach(*request, ctx),
            ServerMessage::Swap(request) => self.swap(request, ctx),
            ServerMessage::Create(server, requester, answer) => self.create(*server, requester, answer, ctx),
            ServerMessage::Booted(boot, answer) => self.booted(boot, answer, ctx),
            ServerMessage::Update(update, answer) => self.update(&update, answer, ctx),
            ServerMessage::GuestSeen(seen) => self.guest_seen(seen, ctx),
            ServerMessage::Act(verb, caller, answer) => self.act(verb, &caller, answer, ctx),
            ServerMessage::Delete { caller, is_action, answer } => self.delete(caller, is_action, answer, ctx),
        }
    }

    /// The live record.
    fn live(&self) -> Option<&Server> {
        self.server.as_ref().filter(|server| !server.deleted)
    }

    /// Passes a call on to the guest's hypervisor; without a running guest there is nothing to plug or unplug.
    fn guest_call(&self, GuestCall { call, completion }: GuestCall) {
        let Some(server) = self.live() else {
            let gone = match call.request {
                Request::Plug { .. } | Request::MirrorGuest { .. } | Request::PivotGuest { .. } => {
                    Outcome::Refused { cause: Cause::new(CauseKind::Guest, "the server does not exist any more") }
                }
                Request::ProbeGuest { .. } => not_plugged(),
                _ => Outcome::done(),
            };
            return (completion.done)(gone);
        };
        if !server.has_guest() {
            let nothing = match call.request {
                Request::ProbeGuest { .. } => not_plugged(),
                Request::MirrorGuest { .. } | Request::PivotGuest { .. } => {
                    Outcome::Refused { cause: Cause::new(CauseKind::Guest, "the server has no running guest") }
                }
                _ => Outcome::done(),
            };
            return (completion.done)(nothing);
        }
        self.core.world.drivers.submit(PoolTarget::Guest(server.guest()), call, completion);
    }
}

impl Actor for ServerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.load(ctx);
    }
}

fn not_plugged() -> Outcome {
    Outcome::Done { answer: Answer::Plugged { plugged: false, export: None } }
}

impl Handler<ServerMessage> for ServerActor {
    type Result = ();

    fn handle(&mut self, message: ServerMessage, ctx: &mut Context<Self>) {
        match message {
            // Outcomes never park: they free what others wait for.
            ServerMessage::AttachOutcome { exchange, result } if self.loaded => {
                self.attach_outcome(exchange, result, ctx);
            }
            message => self.parked.push_back(message),
        }
        self.go_on(ctx);
    }
}

impl Handler<GuestCall> for ServerActor {
    type Result = ();

    fn handle(&mut self, call: GuestCall, _: &mut Context<Self>) {
        if self.loaded {
            self.guest_call(call);
        } else {
            self.parked_calls.push_back(call);
        }
    }
}
