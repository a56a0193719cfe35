//! The way a request's caller is found: one of four, chosen by `auth.strategy` (auth-and-policy §1).

use std::sync::Arc;

use crate::domain::ids::RequestId;

use super::context::RequestContext;
use super::keystone::Keystone;
use super::noauth::{self, Noauth};

/// What a request says of who asks, as sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presented<'a> {
    /// `X-Auth-Token`, else `X-Storage-Token`.
    pub token: Option<&'a str>,
    /// `X-Service-Token`.
    pub service_token: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
    /// The project of the URL.
    pub url_project: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The path, as sent.
    pub path: &'a str,
    /// The names that a catalogue may have for the service that is asked.
    pub service_types: &'static [&'static str],
}

/// Nobody is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody that is known: 401, with this as `WWW-Authenticate`.
    #[error("not authenticated")]
    Unauthenticated {
        /// How to authenticate.
        challenge: Arc<str>,
    },
    /// Who it is cannot be found out now: 503.
    #[error("{0}")]
    Unavailable(String),
}

/// Who finds out who asks.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// The token's text is the identity.
    Noauth(Noauth),
    /// Keystone is asked.
    Keystone(Arc<Keystone>),
}

impl Default for Strategy {
    fn default() -> Self {
        Self::Noauth(Noauth::default())
    }
}

impl Strategy {
    /// The caller of a request.
    pub async fn authenticate(
        &self,
        presented: Presented<'_>,
        request_id: &RequestId,
    ) -> Result<RequestContext, Refusal> {
        match self {
            Self::Noauth(noauth) => noauth.authenticate(presented, request_id).ok_or_else(noauth::refusal),
            Self::Keystone(keystone) => keystone.authenticate(presented, request_id).await,
        }
    }

    /// Only clients of this machine are served, and only those that mean it (design §8).
    pub fn is_loopback_only(&self) -> bool {
        matches!(self, Self::Noauth(_))
    }
}
