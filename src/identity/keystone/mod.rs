//! Keystone finds out who asks (auth-and-policy §2), as its own middleware does.
//!
//! A token is shown to Keystone once and then known for a while; when it expires is judged at every request, by this service's
//! clock. Many requests with one new token make one question. What Keystone calls invalid is not remembered. While Keystone
//! cannot be asked, tokens that are known go on and all others are 503: nobody is let in by a guess.
//!
//! Of a request only what [`Presented`] holds is read, so that a client cannot say who it is by any other header. Only the
//! strategy calls this; the clients of the image service and of Nova borrow the service user's login.

mod access_rule;
mod cache;
mod client;
mod flights;
mod login;
mod service_user;
mod token;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use self::cache::Cache;
use self::client::Client;
use self::flights::{Flights, Joined};
pub use self::login::{Login, LoginOptions};
pub use self::service_user::{Credentials, OwnToken, Password, ServiceUser};
use self::token::Token;
use super::context::RequestContext;
use super::strategy::{Presented, Refusal};
use crate::domain::ids::RequestId;
use crate::outbound::BuildError;
use crate::runtime::Clock;
use crate::telemetry::Sample;

/// The words of every 503.
const UNAVAILABLE: &str = "The Keystone service is temporarily unavailable.";

/// What is remembered instead of a token.
type Fingerprint = [u8; 32];

/// How Keystone is asked.
#[derive(Clone, Debug)]
pub struct KeystoneOptions {
    /// Where the service user logs in; without a version and without a slash at the end.
    pub auth_url: String,
    /// What a 401 says: where clients log in.
    pub www_authenticate_uri: String,
    /// Who asks.
    pub user: ServiceUser,
    /// The identity endpoint of the catalogue that tokens are shown to: `internal`, `public` or `admin`.
    pub interface: String,
    /// The region of that endpoint; none: any.
    pub region_name: Option<String>,
    /// PEM certificates of the authorities that Keystone's certificate may be from; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// A request waits so long for Keystone, whatever has to be asked.
    pub timeout: Duration,
    /// A token is known for so long; zero: never.
    pub token_cache_time: Duration,
    /// Tokens that are known at once; beyond it the oldest are forgotten.
    pub max_cached_tokens: usize,
    /// Questions that Keystone gets at the same time.
    pub max_connections: usize,
    /// New tokens that wait for Keystone; beyond it 503.
    pub max_waiting: usize,
    /// A service token has one of these roles.
    pub service_token_roles: Vec<String>,
}

/// Keystone cannot be asked now. Why, only the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Keystone service is temporarily unavailable")]
pub struct Unavailable;

/// What Keystone says of a token: nothing, if it is none.
type Verdict = Result<Option<Arc<Token>>, Unavailable>;

/// Asks Keystone.
pub struct Keystone {
    client: Client,
    cache: Cache,
    flights: Flights,
    connections: Semaphore,
    clock: Clock,
    challenge: Arc<str>,
    timeout: Duration,
    max_connections: usize,
    service_token_roles: Vec<String>,
    counted: Counted,
}

/// How questions about tokens ended.
#[derive(Default)]
struct Counted {
    valid: AtomicU64,
    invalid: AtomicU64,
    failed: AtomicU64,
}

impl fmt::Debug for Keystone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystone").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Keystone {
    /// Asks nothing yet.
    pub fn new(options: KeystoneOptions, clock: Clock) -> Result<Arc<Self>, BuildError> {
        Ok(Arc::new(Self {
            cache: Cache::new(options.token_cache_time, options.max_cached_tokens),
            flights: Flights::new(options.max_waiting),
            connections: Semaphore::new(options.max_connections),
            challenge: format!("Keystone uri=\"{}\"", options.www_authenticate_uri).into(),
            timeout: options.timeout,
            max_connections: options.max_connections,
            service_token_roles: options.service_token_roles.iter().map(|role| role.to_lowercase()).collect(),
            counted: Counted::default(),
            client: Client::new(options, clock.clone())?,
            clock,
        }))
    }

    /// `WWW-Authenticate` of a 401.
    pub fn challenge(&self) -> Arc<str> {
        Arc::clone(&self.challenge)
    }

    /// The caller of a request.
    pub async fn authenticate(
        self: &Arc<Self>,
        presented: Presented<'_>,
        request_id: &RequestId,
    ) -> Result<RequestContext, Refusal> {
        match self.caller(presented).await {
            Ok(Some((token, service))) => Ok(token.context(service.as_deref(), request_id)),
            Ok(None) => Err(Refusal::Unauthenticated { challenge: self.challenge() }),
            Err(Unavailable) => Err(Refusal::Unavailable(UNAVAILABLE.to_owned())),
        }
    }

    /// The user's token and the service's; none: 401.
    async fn caller(
        self: &Arc<Self>,
        presented: Presented<'_>,
    ) -> Result<Option<(Arc<Token>, Option<Arc<Token>>)>, Unavailable> {
        let Some(user) = given(presented.token) else { return Ok(None) };
        let service = match given(presented.service_token) {
            None => None,
            Some(text) => match self.token(text, false).await? {
                Some(token) if self.is_service(&token) => Some(token),
                // whoever speaks for a service must be one, however good the user's token is
                _ => return Ok(None),
            },
        };
        // what a service goes on with for a user may take longer than the user's token lives
        let expired_too = service.is_some();
        let Some(token) = self.token(user, expired_too).await? else { return Ok(None) };
        // access rules are about what a user asks for, not about what a service does for the user
        let is_let_in = (expired_too || !token.has_expired(self.clock.now()))
            && token.allows(presented.method, presented.path, presented.service_types, service.is_some());
        Ok(is_let_in.then_some((token, service)))
    }

    fn is_service(&self, token: &Token) -> bool {
        !token.has_expired(self.clock.now()) && self.service_token_roles.iter().any(|role| token.has_role(role))
    }

    /// The token as Keystone described it, now or lately.
    async fn token(self: &Arc<Self>, text: &str, expired_too: bool) -> Verdict {
        let fingerprint: Fingerprint = Sha256::digest(text).into();
        let known = || self.cache.get(&fingerprint, self.clock.now());
        if let Some(token) = known() {
            return Ok(Some(token));
        }
        let verdict = match self.flights.join((fingerprint, expired_too), known) {
            Joined::Known(token) => return Ok(Some(token)),
            Joined::Full => {
                tracing::warn!("too many new tokens wait for Keystone");
                return Err(Unavailable);
            }
            Joined::Waits(verdict) => verdict,
            Joined::Starts(flight) => {
                let (keystone, text, verdict) = (Arc::clone(self), text.to_owned(), flight.verdict());
                // a client that goes away takes nothing from others who wait for the same token
                tokio::spawn(async move {
                    let verdict = keystone.ask(&text, expired_too).await;
                    if let Ok(Some(token)) = &verdict {
                        keystone.cache.put(fingerprint, Arc::clone(token), keystone.clock.now());
                    }
                    flight.land(verdict);
                });
                verdict
            }
        };
        verdict.await.unwrap_or(Err(Unavailable))
    }

    async fn ask(&self, text: &str, expired_too: bool) -> Verdict {
        let asked = async {
            let _connection = self.connections.acquire().await.map_err(|_| Unavailable)?;
            self.client.validate(text, expired_too).await
        };
        let verdict = tokio::time::timeout(self.timeout, asked).await.unwrap_or_else(|_| {
            tracing::error!(timeout = ?self.timeout, "Keystone does not answer in time");
            Err(Unavailable)
        });
        let counter = match &verdict {
            Ok(Some(_)) => &self.counted.valid,
            Ok(None) => &self.counted.invalid,
            Err(Unavailable) => &self.counted.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        verdict.map(|token| token.map(Arc::new))
    }

    /// The service user's own token, for other services; a better one than `rejected`, if there is one.
    pub async fn service_user_token(&self, rejected: Option<&str>) -> Result<String, Unavailable> {
        let token = tokio::time::timeout(self.timeout, self.client.login().token(rejected)).await;
        Ok(token.map_err(|_| Unavailable)??.text().to_owned())
    }

    /// The service user's login, for other services.
    pub fn login(&self) -> Arc<Login> {
        Arc::clone(self.client.login())
    }

    /// For metrics.
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples: Vec<Sample> = Vec::new();
        samples.extend(Sample::bound("keystone.cached_tokens", "", self.cache.len() as u64, self.cache.max() as u64));
        samples.extend(Sample::bound("keystone.waiting", "", self.flights.len() as u64, self.flights.max() as u64));
        let busy = self.max_connections.saturating_sub(self.connections.available_permits());
        samples.extend(Sample::bound("keystone.connections", "", busy as u64, self.max_connections as u64));
        let ended =
            [("valid", &self.counted.valid), ("invalid", &self.counted.invalid), ("failed", &self.counted.failed)];
        samples.extend(ended.map(|(outcome, count)| {
            let help = "Tokens that Keystone was asked about";
            Sample::counter("keystone_validations", help, count.load(Ordering::Relaxed)).label("outcome", outcome)
        }));
        samples
    }
}

/// A token without the white space around it; an empty one is none.
fn given(token: Option<&str>) -> Option<&str> {
    token.map(str::trim).filter(|token| !token.is_empty())
}
