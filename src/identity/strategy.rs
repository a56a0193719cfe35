//! The way a request's caller is found: one of four, chosen by `auth.strategy` (auth-and-policy §1).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::domain::ids::RequestId;

use super::basic::{self, Basic};
use super::context::RequestContext;
use super::keystone::Keystone;
use super::local::Local;
use super::noauth::{self, Noauth};

/// What a request says of who asks, as sent.
#[derive(Clone, Copy, Debug)]
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
    /// Where the client is.
    pub address: IpAddr,
}

impl Default for Presented<'_> {
    /// Nothing, from this machine.
    fn default() -> Self {
        Self {
            token: None,
            service_token: None,
            authorization: None,
            url_project: None,
            method: "",
            path: "",
            service_types: &[],
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
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
    /// Hearth's own users and tokens.
    Local(Arc<Local>),
    /// User and password on every request.
    Basic(Arc<Basic>),
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
        let found = match self {
            Self::Noauth(noauth) => noauth.authenticate(presented, request_id),
            Self::Local(local) => local.authenticate(presented, request_id),
            Self::Basic(basic) => basic.authenticate(presented, request_id).await,
            Self::Keystone(keystone) => return keystone.authenticate(presented, request_id).await,
        };
        found.ok_or_else(|| Refusal::Unauthenticated { challenge: self.challenge() })
    }

    /// How somebody can authenticate: `WWW-Authenticate` of a 401.
    pub fn challenge(&self) -> Arc<str> {
        match self {
            Self::Noauth(_) => noauth::CHALLENGE.into(),
            Self::Local(local) => local.challenge(),
            Self::Basic(_) => basic::CHALLENGE.into(),
            Self::Keystone(keystone) => keystone.challenge(),
        }
    }

    /// Only clients of this machine are served, and only those that mean it (design §8).
    pub fn is_loopback_only(&self) -> bool {
        matches!(self, Self::Noauth(_))
    }
}
