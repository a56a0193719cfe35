//! One commit in flight per volume: submit, publish, then reply and start jobs (design §3, steps 5–7 and 10).

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context, WrapFuture, fut::ActorFutureExt};
use uuid::Uuid;

use super::{Content, MAX_STALE, Phase, VolumeActor, actions};
use crate::actors::hosts::Promise;
use crate::actors::service::RequestError;
use crate::domain::volume::command::{Decision, ReplyWhen, UserMessage};
use crate::domain::volume::{Command, Refusal, Reply};
use crate::store::{Aborted, CommitOutcome, Event, KeyChange, KeyUse, Keyed, Message, Transaction, VolumeChange};

/// How long an idempotency key stands for what its request made.
pub const KEY_TTL: Duration = Duration::from_secs(24 * 3600);

impl VolumeActor {
    /// Submits a decision. Nothing of it is visible, answered or started before the outcome is known.
    pub(super) fn commit(
        &mut self,
        content: Content,
        decision: Box<Decision>,
        promise: Option<Promise>,
        ctx: &mut Context<Self>,
    ) {
        let transaction = self.transaction(&content, &decision);
        let event = transaction.event.clone();
        self.phase = Phase::Committing;
        self.slot.commit_begins();
        let commit = self.core.world.store.commit(transaction);
        ctx.spawn(commit.into_actor(self).map(move |outcome, actor, ctx| {
            match (&outcome, promise) {
                (CommitOutcome::Committed, _) => actor.core.events.publish(event),
                (CommitOutcome::Aborted(_), Some(promise)) => promise.take_back(),
                _ => {}
            }
            actor.committed(outcome, content, decision, ctx);
        }));
    }

    fn transaction(&self, content: &Content, decision: &Decision) -> Transaction {
        let next = &decision.next;
        let now = self.core.world.clock.now();
        let messages = decision.messages.iter().map(|message| self.message(message)).collect();
        let event = Event {
            volume_id: next.id(),
            generation: next.volume.generation,
            at: now,
            command: content.command.name().to_owned(),
            request_id: decision.requester.request_id.clone(),
            from_status: self.state.as_ref().map(|state| state.volume.status.to_string()),
            to_status: if next.volume.deleted { "deleted".to_owned() } else { next.volume.status.to_string() },
            cause: decision.cause.clone().filter(|cause| !cause.is_empty()),
        };
        Transaction {
            volume: Some(VolumeChange { old: self.state.clone(), new: Arc::clone(next) }),
            server: None,
            server_guard: decision.server_guard.clone(),
            type_guard: decision.type_guard,
            limits: decision.limits.clone(),
            messages,
            event: Some(Arc::new(event)),
            actions: actions::told(self.state.as_deref(), &content.command, &content.caller, decision, now, || {
                self.core.world.randomness.uuid()
            }),
            key: content
                .beside
                .key
                .as_ref()
                .map(|keyed| KeyChange::Use { key: self.key_use(keyed, content, decision), now }),
        }
    }

    /// What the request's key stands for from now on.
    fn key_use(&self, keyed: &Keyed, content: &Content, decision: &Decision) -> KeyUse {
        let made = match &*content.command {
            Command::SnapshotCreate(create) => Some(create.snapshot_id.0),
            Command::UploadImage { image, .. } => Some(image.image_id.0),
            _ => decision.attachment_id.map(|id| id.0),
        };
        KeyUse {
            keyed: keyed.clone(),
            request_id: content.caller.requester.request_id.clone(),
            volume_id: decision.next.id(),
            object_id: made,
            expires_at: self.core.world.clock.now().plus(KEY_TTL),
        }
    }

    fn message(&self, message: &UserMessage) -> Message {
        let now = self.core.world.clock.now();
        let id: Uuid = self.core.world.randomness.uuid();
        Message {
            id,
            project_id: message.requester.project_id.clone(),
            request_id: message.requester.request_id.clone(),
            resource_type: if message.snapshot_id.is_some() { "VOLUME_SNAPSHOT" } else { "VOLUME" }.to_owned(),
            resource_uuid: Some(
                message.snapshot_id.map_or_else(|| self.slot.volume_id.to_string(), |id| id.to_string()),
            ),
            action_id: message.action.to_owned(),
            detail_id: message.detail.to_owned(),
            cause: message.cause.clone(),
            created_at: now,
            expires_at: now.plus(self.core.options.message_ttl),
        }
    }

    fn committed(
        &mut self,
        outcome: CommitOutcome,
        content: Content,
        decision: Box<Decision>,
        ctx: &mut Context<Self>,
    ) {
        match outcome {
            CommitOutcome::Committed => self.apply(content, *decision, ctx),
            CommitOutcome::Aborted(Aborted::Stale) => return self.stale(content, ctx),
            CommitOutcome::Aborted(reason) => {
                self.slot.commit_ended(None);
                self.phase = Phase::Ready;
                content.answer(Err(RequestError::Refused(refusal_of(reason))));
            }
            CommitOutcome::Unknown(reason) => {
                // Nothing may be decided on or answered as done. After an I/O error the process is ending; a lost PostgreSQL
                // connection costs this volume a fresh look at the truth, behind the writer's barrier.
                tracing::error!(volume_id = %self.slot.volume_id, %reason, "the outcome of a commit is unknown");
                drop(content);
                return self.load(ctx, true);
            }
        }
        self.go_on(ctx);
    }

    fn apply(&mut self, content: Content, decision: Decision, ctx: &mut Context<Self>) {
        let next = decision.next;
        let deleted = next.volume.deleted;
        self.state = (!deleted).then(|| Arc::clone(&next));
        // Published before the reply is released: nobody can see an older state afterwards.
        self.slot.publish(self.state.clone());
        self.slot.commit_ended(None);
        self.core.settling.published(&next);
        self.phase = Phase::Ready;
        self.core.start_jobs(self.slot.volume_id, decision.jobs);

        let answer = |attachment_id| Reply { state: Arc::clone(&next), attachment_id };
        for (operation, result) in decision.ended {
            while let Some((reply, permit)) = self.backlog.as_mut().and_then(|backlog| backlog.waits_for(operation)) {
                drop(permit);
                let result = result.clone().map(|()| answer(decision.attachment_id)).map_err(RequestError::Refused);
                reply.answer(result);
            }
        }
        match decision.reply {
            ReplyWhen::Committed => content.answer(Ok(answer(decision.attachment_id))),
            ReplyWhen::OperationEnds(operation) => {
                self.backlog().waiting.push((operation, content.reply, content.permit))
            }
        }
        if deleted {
            self.retire(ctx);
        }
    }

    /// The volume is gone for good: whoever still asks gets a 404, and the slot is given up.
    fn retire(&mut self, ctx: &mut Context<Self>) {
        self.core.retire(&self.slot);
        for content in self.backlog.take().into_iter().flat_map(|backlog| backlog.into_undecided()) {
            content.answer(Err(RequestError::Refused(Refusal::VolumeNotFound(self.slot.volume_id))));
        }
        self.leave(ctx);
    }

    /// Another writer was first (another node): read the truth and decide again.
    fn stale(&mut self, mut content: Content, ctx: &mut Context<Self>) {
        content.stale += 1;
        if content.stale > MAX_STALE {
            content.answer(Err(RequestError::Overloaded { retry_after: std::time::Duration::from_secs(1) }));
        } else {
            self.backlog().parked.push_front(content);
        }
        self.load(ctx, false);
    }
}

fn refusal_of(reason: Aborted) -> Refusal {
    match reason {
        Aborted::OverQuota(over) => Refusal::OverQuota(over),
        Aborted::TypeChanged => Refusal::TypeChanged,
        Aborted::KeyUsed => Refusal::KeyUsed,
        Aborted::Duplicate | Aborted::ServerChanged | Aborted::Stale => Refusal::ServerChanged,
    }
}
