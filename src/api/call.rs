//! One request on its way to its handler: authenticated, negotiated, routed, body parsed.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use serde_json::Value;

use super::fault::{Kind, Problem};
use super::links::Links;
use super::microversion::Microversion;
use super::query::Query;
use super::server::ApiState;
use crate::actors::{RequestError, Service, Unanswered};
use crate::domain::ids::{AttachmentId, VolumeId};
use crate::domain::volume::{Command, Reply, VolumeState};
use crate::identity::RequestContext;
use crate::policy::{Own, Policy, Rule, Target};
use crate::store::Keyed;

/// What a handler gets.
pub struct Call {
    /// Shared state.
    pub api: Data<ApiState>,
    /// Who asks.
    pub context: RequestContext,
    /// The rules that this request is judged by to its end.
    pub policy: Arc<Policy>,
    /// The version in force (0.0 at `/admin`).
    pub version: Microversion,
    /// The query.
    pub query: Query,
    /// The body; null when there is none.
    pub body: Value,
    /// `If-Match`.
    pub if_match: Option<String>,
    /// How long the client would wait for what it begins (`Prefer`).
    pub wait: Option<Duration>,
    /// The request's idempotency key.
    pub key: Option<Arc<Keyed>>,
    /// For links.
    pub links: Links,
    /// What is said beside the answer.
    pub asides: Asides,
}

/// What a call learns on its way that is said in headers, not in the answer itself.
#[derive(Default)]
pub struct Asides {
    /// The last refusal of a volume.
    pub unanswered: RefCell<Option<Unanswered>>,
    /// The answer is of when all that the request has begun had settled, or of when the wait was over.
    pub has_waited: Cell<bool>,
    /// The volume that has answered, and the row that it spoke of.
    pub acted_on: Cell<Option<(VolumeId, Option<AttachmentId>)>>,
}

impl Call {
    /// The service.
    pub fn service(&self) -> &Service {
        &self.api.service
    }

    /// Sends a volume a command of the caller, and waits for its answer; and for the end of what it begins, if the client
    /// would.
    pub async fn command(&self, volume_id: VolumeId, command: Command) -> Result<Reply, RequestError> {
        match self.service().volume_ask(volume_id, command, self.context.caller(), self.key.clone()).await {
            Ok(reply) => {
                self.asides.acted_on.set(Some((volume_id, reply.attachment_id)));
                Ok(self.settled(reply).await)
            }
            Err(unanswered) => {
                let error = unanswered.error.clone();
                self.asides.unanswered.replace(Some(unanswered));
                Err(error)
            }
        }
    }

    async fn settled(&self, reply: Reply) -> Reply {
        let Some(wait) = self.wait else { return reply };
        match self.service().settled(&reply, &self.context.request_id, wait).await {
            Some(state) => {
                self.asides.has_waited.set(true);
                Reply { state, ..reply }
            }
            None => reply,
        }
    }

    /// Keeps what can be said of a refusal that a volume has given to somebody else on the caller's behalf.
    pub fn explained(&self, volume_id: VolumeId, error: RequestError) -> RequestError {
        let unanswered = self.service().unanswered(volume_id, error.clone(), None);
        self.asides.unanswered.replace(Some(unanswered));
        error
    }

    /// Whether the version is at least Block Storage `3.minor`.
    pub fn since(&self, minor: u32) -> bool {
        self.version >= Microversion::v3(minor)
    }

    /// Whether the version is at least Compute `2.minor`.
    pub fn compute_since(&self, minor: u32) -> bool {
        self.version >= Microversion::v2(minor)
    }

    /// Policy on this object.
    pub fn enforce(&self, rule: Rule, target: &dyn Target) -> Result<(), Problem> {
        Ok(self.policy.enforce(&self.context, rule, target)?)
    }

    /// Whether the caller passes `rule` on this object.
    pub fn allows(&self, rule: Rule, target: &dyn Target) -> bool {
        self.policy.allows(&self.context, rule, target)
    }

    /// Policy where there is no object: the caller's own project and user are the target.
    pub fn enforce_own(&self, rule: Rule) -> Result<(), Problem> {
        self.enforce(rule, &Own(&self.context))
    }

    /// Whether the caller passes `rule` where there is no object.
    pub fn allows_own(&self, rule: Rule) -> bool {
        self.allows(rule, &Own(&self.context))
    }

    /// A live volume that the caller sees, to be shown; else 404.
    pub async fn volume_visible(&self, id: &str) -> Result<Arc<VolumeState>, Problem> {
        let missing = || Problem::NotFound(Kind::Volume, id.to_owned());
        let volume_id = url_id(id).map(VolumeId).ok_or_else(missing)?;
        self.visible(self.service().volume_view(volume_id).await?, missing)
    }

    /// A live volume that the caller sees, to send it a command; else 404.
    pub async fn volume_target(&self, id: &str) -> Result<Arc<VolumeState>, Problem> {
        let missing = || Problem::NotFound(Kind::Volume, id.to_owned());
        let volume_id = url_id(id).map(VolumeId).ok_or_else(missing)?;
        self.visible(self.service().volume_target(volume_id).await?, missing)
    }

    fn visible(
        &self,
        state: Option<Arc<VolumeState>>,
        missing: impl Fn() -> Problem,
    ) -> Result<Arc<VolumeState>, Problem> {
        let state = state.ok_or_else(&missing)?;
        if state.volume.deleted || !self.context.sees(&state.volume.project_id) {
            return Err(missing());
        }
        Ok(state)
    }
}

/// An id in a URL: the dashed form only; another spelling is simply not found.
pub fn url_id(text: &str) -> Option<uuid::Uuid> {
    if text.len() == 36 { uuid::Uuid::try_parse(text).ok() } else { None }
}
