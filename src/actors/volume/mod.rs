//! The volume actor: the only writer of one volume. It decides with the pure core, commits, publishes, and starts jobs; it
//! never waits for any of them.

mod actions;
mod commit;

pub use commit::KEY_TTL;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, WrapFuture, fut::ActorFutureExt};

use super::core::{Admission, Beside, Core};
use super::hosts::places;
use super::reply::ReplyTo;
use super::service::RequestError;
use super::slot::VolumeSlot;
use crate::domain::compute::Compute;
use crate::domain::ids::OperationId;
use crate::domain::operation::Lane;
use crate::domain::time::Timestamp;
use crate::domain::volume::{Caller, Command, Facts, Refusal, Reply, Verdict, VolumeState, decide};
use crate::store::{StoreError, Transaction};

/// The pause before a volume that could not be loaded is tried again.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);
/// How often a command is decided again after its commit was `Stale`.
const MAX_STALE: u32 = 5;

/// A command on its way to a volume. Dropped unopened (the actor has ended), it goes back to its sender.
pub(super) struct Envelope(Option<Content>);

/// What an envelope holds.
pub(super) struct Content {
    command: Box<Command>,
    caller: Caller,
    reply: ReplyTo,
    permit: Admission,
    beside: Beside,
    /// When it entered the connection queue.
    queued_at: Option<Timestamp>,
    stale: u32,
}

impl Content {
    /// Answers. The place in the volume's admission is free before the client can send its next request.
    fn answer(self, answer: Result<Reply, RequestError>) {
        drop(self.permit);
        self.reply.answer(answer);
    }

    /// Answers that this state refuses; the same of the place.
    fn refuse(self, refusal: Refusal, state: Option<Arc<VolumeState>>) {
        drop(self.permit);
        self.reply.refuse(refusal, state);
    }
}

impl Envelope {
    pub(super) fn new(command: Box<Command>, caller: Caller, reply: ReplyTo, permit: Admission) -> Self {
        Self(Some(Content { command, caller, reply, permit, beside: Beside::default(), queued_at: None, stale: 0 }))
    }

    /// The same, with what goes along with the command.
    pub(super) fn with(mut self, beside: Beside) -> Self {
        if let Some(content) = &mut self.0 {
            content.beside = beside;
        }
        self
    }

    /// Whether it creates the volume, so that there is nothing to load.
    pub(super) fn creates(&self) -> bool {
        self.0.as_ref().is_some_and(|content| matches!(*content.command, Command::Create(_)))
    }

    /// Answers without delivery.
    pub(super) fn refuse(mut self, error: RequestError) {
        if let Some(content) = self.0.take() {
            content.answer(Err(error));
        }
    }
}

impl Drop for Envelope {
    fn drop(&mut self) {
        if let Some(content) = self.0.take() {
            content.reply.undelivered(content.command);
        }
    }
}

impl Message for Envelope {
    type Result = ();
}

/// Asks an idle actor to leave.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Passivate;

/// Where the actor stands.
enum Phase {
    /// Reading its state; everything parks.
    Loading,
    /// Ready to decide.
    Ready,
    /// One commit is in flight; everything parks.
    Committing,
}

/// The actor of one volume.
pub(super) struct VolumeActor {
    core: Arc<Core>,
    slot: Arc<VolumeSlot>,
    incarnation: u32,
    /// The volume is about to be created: nothing to load.
    fresh: bool,
    phase: Phase,
    /// It stopped by itself.
    clean: bool,
    /// The committed state; none: there is no such volume.
    state: Option<Arc<VolumeState>>,
    /// Whoever waits. None while nobody does: most active volumes are idle, and there are many of them.
    backlog: Option<Box<Backlog>>,
}

/// Whoever waits for a volume.
#[derive(Default)]
struct Backlog {
    /// Commands that arrived while it could not decide, in order.
    parked: VecDeque<Content>,
    /// Requests that wait for the connection lane (P4).
    connection_queue: VecDeque<Content>,
    /// Requests that are answered when their operation ends.
    waiting: Vec<(OperationId, ReplyTo, Admission)>,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.connection_queue.is_empty() && self.waiting.is_empty()
    }

    /// Somebody who waits for the end of this operation.
    fn waits_for(&mut self, operation: OperationId) -> Option<(ReplyTo, Admission)> {
        let index = self.waiting.iter().position(|(id, _, _)| *id == operation)?;
        let (_, reply, permit) = self.waiting.swap_remove(index);
        Some((reply, permit))
    }

    /// Everything that has not been decided on.
    fn into_undecided(self) -> impl Iterator<Item = Content> {
        self.parked.into_iter().chain(self.connection_queue)
    }
}

impl VolumeActor {
    pub(super) fn new(core: Arc<Core>, slot: Arc<VolumeSlot>, incarnation: u32, fresh: bool) -> Self {
        Self { core, slot, incarnation, fresh, phase: Phase::Loading, clean: false, state: None, backlog: None }
    }

    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    /// Loads the state. After a crash the writer's barrier comes first: a commit of the predecessor may be in flight.
    fn load(&mut self, ctx: &mut Context<Self>, barrier: bool) {
        self.phase = Phase::Loading;
        let store = Arc::clone(&self.core.world.store);
        let id = self.slot.volume_id;
        let reading = async move {
            if barrier {
                store.commit(Transaction::default()).await;
            }
            store.volume_get(id).await
        };
        ctx.spawn(reading.into_actor(self).map(|read, actor, ctx| actor.loaded(read, ctx)));
    }

    fn loaded(&mut self, read: Result<Option<VolumeState>, StoreError>, ctx: &mut Context<Self>) {
        match read {
            Ok(state) => {
                self.state = state.map(Arc::new);
                self.slot.publish(self.state.clone());
                self.slot.commit_ended(None);
                // A commit whose outcome was unknown may have ended what they wait for.
                self.state.iter().for_each(|state| self.core.settling.published(state));
                self.phase = Phase::Ready;
                if self.state.as_ref().is_some_and(|state| state.is_unsettled()) {
                    let resume = Content {
                        command: Box::new(Command::Resume),
                        caller: super::core::system_caller(),
                        reply: ReplyTo::nobody(),
                        permit: None,
                        beside: Beside::default(),
                        queued_at: None,
                        stale: 0,
                    };
                    self.backlog().parked.push_front(resume);
                }
                self.go_on(ctx);
            }
            Err(error) => {
                tracing::error!(volume_id = %self.slot.volume_id, %error, "the volume cannot be loaded");
                for content in self.backlog.iter_mut().flat_map(|backlog| backlog.parked.drain(..)) {
                    content.answer(Err(RequestError::Store(error.clone())));
                }
                // Its operations must go on when the database can be read again.
                let core = Arc::clone(&self.core);
                let volume_id = self.slot.volume_id;
                self.core.after(RELOAD_PAUSE, move || core.deliver(volume_id, Command::Wake));
                self.leave(ctx);
            }
        }
    }

    /// Takes parked commands while nothing is in flight, then whoever waits for the connection lane.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        while let Some(content) = self.next_ready() {
            self.take(content, ctx);
        }
        let (parked, queued) = match &self.backlog {
            Some(backlog) if backlog.is_empty() => {
                self.backlog = None;
                (0, 0)
            }
            Some(backlog) => (backlog.parked.len(), backlog.connection_queue.len()),
            None => (0, 0),
        };
        self.slot.parked.store(u32::try_from(parked).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.slot.queued.store(u32::try_from(queued).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// The next command that can be decided on now.
    fn next_ready(&mut self) -> Option<Content> {
        let backlog = self.backlog.as_mut().filter(|_| matches!(self.phase, Phase::Ready))?;
        backlog.parked.pop_front().or_else(|| {
            let lane_is_free = self.state.as_ref().is_none_or(|state| state.operation_in(Lane::Connection).is_none());
            backlog.connection_queue.pop_front_if(|_| lane_is_free)
        })
    }

    /// Decides about one command.
    fn take(&mut self, content: Content, ctx: &mut Context<Self>) {
        let core = Arc::clone(&self.core);
        let placing = places(&content.command).then(|| core.placing());
        let facts = self.facts(&content);
        let verdict = decide(self.slot.volume_id, self.state.as_deref(), &content.command, &content.caller, &facts);
        let promise = match &verdict {
            Verdict::Commit(decision) => self.core.promise(self.state.as_deref(), &decision.next),
            _ => None,
        };
        drop(placing);
        match verdict {
            Verdict::Refuse(refusal) => content.refuse(refusal, self.state.clone()),
            Verdict::Nothing { jobs, attachment_id } => {
                self.core.start_jobs(self.slot.volume_id, jobs);
                let answer = match &self.state {
                    Some(state) => Ok(Reply { state: Arc::clone(state), attachment_id }),
                    None => Err(RequestError::Refused(Refusal::VolumeNotFound(self.slot.volume_id))),
                };
                content.answer(answer);
            }
            Verdict::Queue => self.enqueue(content, ctx),
            Verdict::Commit(decision) => self.commit(content, decision, promise, ctx),
        }
    }

    fn facts(&self, content: &Content) -> Facts {
        let ids = &self.core.world.randomness;
        Facts {
            now: self.core.world.clock.now(),
            ids: ids.uuids(),
            limits: content.beside.limits.as_deref().unwrap_or(&self.core.options.limits).clone(),
            drain_deadline: self.core.options.drain_deadline,
            hosts: self.core.hosts(&content.command, self.state.as_deref()),
            compute: match &self.core.world.compute {
                Some(_) => Compute::Elsewhere(content.beside.answer.as_deref().cloned()),
                None => Compute::Own,
            },
        }
    }

    /// Waits for the connection lane, up to the deadline.
    fn enqueue(&mut self, mut content: Content, ctx: &mut Context<Self>) {
        let now = self.core.world.clock.now();
        let since = *content.queued_at.get_or_insert(now);
        let left = self.core.options.queue_deadline.saturating_sub(now.since(since));
        self.backlog().connection_queue.push_back(content);
        ctx.run_later(left + Duration::from_millis(1), |actor, ctx| actor.expire(ctx));
    }

    fn expire(&mut self, ctx: &mut Context<Self>) {
        let now = self.core.world.clock.now();
        let deadline = self.core.options.queue_deadline;
        if let Some(backlog) = &mut self.backlog {
            let (expired, still) = std::mem::take(&mut backlog.connection_queue)
                .into_iter()
                .partition(|content| content.queued_at.is_some_and(|since| now.since(since) >= deadline));
            backlog.connection_queue = still;
            let expired: VecDeque<Content> = expired;
            for content in expired {
                content.refuse(Refusal::QueueDeadline, self.state.clone());
            }
        }
        self.go_on(ctx);
    }

    /// Ends this actor for good; the slot becomes vacant.
    fn leave(&mut self, ctx: &mut Context<Self>) {
        self.clean = true;
        ctx.stop();
    }

    fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Ready)
            && self.backlog.is_none()
            && self.state.as_ref().is_none_or(|state| !state.is_unsettled())
    }
}

impl Actor for VolumeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.fresh {
            self.phase = Phase::Ready;
        } else {
            self.load(ctx, self.incarnation > 1);
        }
    }
}

impl Handler<Envelope> for VolumeActor {
    type Result = ();

    fn handle(&mut self, mut envelope: Envelope, ctx: &mut Context<Self>) {
        let Some(content) = envelope.0.take() else { return };
        if content.permit.is_some() {
            assert!(!self.slot.panic_next.swap(false, Ordering::SeqCst), "injected panic");
        }
        let is_next = self.backlog.as_ref().is_none_or(|backlog| backlog.parked.is_empty());
        if is_next && matches!(self.phase, Phase::Ready) {
            self.take(content, ctx);
        } else {
            self.backlog().parked.push_back(content);
        }
        self.go_on(ctx);
    }
}

impl Handler<Passivate> for VolumeActor {
    type Result = ();

    fn handle(&mut self, _: Passivate, ctx: &mut Context<Self>) {
        if self.is_idle() && self.slot.admitted() == 0 {
            self.core.retire(&self.slot);
            self.leave(ctx);
        }
    }
}

impl Drop for VolumeActor {
    fn drop(&mut self) {
        // What was parked has not been looked at: it may be sent again.
        if let Some(backlog) = self.backlog.take() {
            for content in backlog.into_undecided() {
                content.reply.undelivered(content.command);
            }
        }
        self.core.volume_ended(&self.slot, self.incarnation, self.clean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What there is tens of thousands of. The allocator has sizes in steps: one byte more than the largest of a step costs an
    /// eighth. A task is an actor and 104 bytes, and lies on a boundary of 128.
    #[test]
    fn an_idle_volume_is_small() {
        assert!(size_of::<actix::dev::ContextFut<VolumeActor, Context<VolumeActor>>>() <= 512 - 104);
        assert!(size_of::<VolumeSlot>() <= 160 - 16);
        assert!(size_of::<VolumeState>() <= 448 - 16, "{}", size_of::<VolumeState>());
    }
}
