//! What Compute asks of Block Storage for a client: the same calls, judged by the same rules, without a way over the network.

use std::sync::Arc;

use actix_web::web::Data;
use serde_json::Value;

use crate::api::answer::Body;
use crate::api::call::{Asides, Call};
use crate::api::fault::Problem;
use crate::api::links::Links;
use crate::api::microversion::Microversion;
use crate::api::query::Query;
use crate::api::route::Route;
use crate::api::server::ApiState;
use crate::api::v3;
use crate::identity::RequestContext;
use crate::policy::Policy;

/// A client, apart from its request.
#[derive(Clone)]
pub struct Asker {
    api: Data<ApiState>,
    context: RequestContext,
    policy: Arc<Policy>,
    links: Links,
}

impl Asker {
    /// Who has made this call.
    pub fn of(call: &Call) -> Self {
        Self {
            api: call.api.clone(),
            context: call.context.clone(),
            policy: Arc::clone(&call.policy),
            links: Links { service: "/v3", ..call.links.clone() },
        }
    }

    /// The body of the answer, of the first version.
    pub async fn ask(&self, route: &Route, query: Query, body: Value) -> Result<Value, Problem> {
        let call = Call {
            api: self.api.clone(),
            context: self.context.clone(),
            policy: Arc::clone(&self.policy),
            version: Microversion::v3(0),
            query,
            body,
            if_match: None,
            wait: None,
            key: None,
            links: self.links.clone(),
            asides: Asides::default(),
        };
        match v3::handle(&call, route, None).await?.body {
            Body::Json(text) => Ok(serde_json::from_slice(&text).expect("an answer is JSON")),
            _ => Ok(Value::Null),
        }
    }
}
