//! The questions to Keystone, and what their answers mean.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use reqwest::header::ACCEPT;
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::sync::Mutex;

use super::service_user::{LoggedIn, OwnToken, versioned};
use super::token::Token;
use super::{KeystoneOptions, Unavailable};
use crate::outbound::{self, BuildError, secret_header};
use crate::runtime::Clock;

/// The largest answer that is read: a catalogue of a large cloud is far below it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Says that access rules are kept here: a token that has some is not valid for services which do not say so.
const ACCESS_RULES: (&str, &str) = ("openstack-identity-access-rules", "1");

/// Asks with the service user's token.
pub(super) struct Client {
    http: reqwest::Client,
    options: KeystoneOptions,
    clock: Clock,
    own: ArcSwapOption<OwnToken>,
    /// Held by whoever logs in, so that the others wait for the one new token.
    logging_in: Mutex<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(options: KeystoneOptions, clock: Clock) -> Result<Self, BuildError> {
        let http = outbound::client(&options.auth_url, options.ca_file.as_deref(), options.timeout)?;
        Ok(Self { http, options, clock, own: ArcSwapOption::empty(), logging_in: Mutex::new(()) })
    }

    /// What a token is; none if it is not valid.
    pub(super) async fn validate(&self, text: &str, expired_too: bool) -> Result<Option<Token>, Unavailable> {
        // what is in no header cannot be anybody's token
        let Some(subject) = secret_header(text) else { return Ok(None) };
        let mut own = self.own(None).await?;
        let mut is_renewed = false;
        loop {
            let mut url = format!("{}/auth/tokens", own.identity);
            if expired_too {
                url.push_str("?allow_expired=1");
            }
            let question = || {
                let question = self.http.get(&url).header(ACCEPT, "application/json");
                let question = question.header("x-auth-token", own.header.clone());
                question.header("x-subject-token", subject.clone()).header(ACCESS_RULES.0, ACCESS_RULES.1)
            };
            let mut answer = self.send(question).await?;
            match answer.status() {
                StatusCode::OK => {
                    let token = Token::parse(&read(&mut answer).await?);
                    return token.map(Some).ok_or_else(|| nonsense("a token"));
                }
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::UNAUTHORIZED if !is_renewed => {
                    own = self.own(Some(&own.text)).await?;
                    is_renewed = true;
                }
                status => {
                    tracing::error!(%status, "Keystone does not validate tokens for the service user");
                    return Err(Unavailable);
                }
            }
        }
    }

    /// The service user's token; a better one than `rejected`, if there is one.
    pub(super) async fn own_token(&self, rejected: Option<&str>) -> Result<String, Unavailable> {
        Ok(self.own(rejected).await?.text.clone())
    }

    async fn own(&self, rejected: Option<&str>) -> Result<Arc<OwnToken>, Unavailable> {
        let usable = || {
            let own = self.own.load_full()?;
            (self.clock.now() < own.renew_at && rejected != Some(own.text.as_str())).then_some(own)
        };
        if let Some(own) = usable() {
            return Ok(own);
        }
        let _turn = self.logging_in.lock().await;
        if let Some(own) = usable() {
            return Ok(own);
        }
        let own = Arc::new(self.log_in().await?);
        self.own.store(Some(Arc::clone(&own)));
        Ok(own)
    }

    async fn log_in(&self) -> Result<OwnToken, Unavailable> {
        let login = self.options.user.login().await.map_err(|error| {
            tracing::error!(%error, "the password of the service user cannot be read");
            Unavailable
        })?;
        let url = format!("{}/auth/tokens", versioned(&self.options.auth_url));
        let mut answer = self.send(|| self.http.post(&url).header(ACCEPT, "application/json").json(&login)).await?;
        if answer.status() != StatusCode::CREATED {
            let status = answer.status();
            tracing::error!(%status, user = self.options.user.username, "the service user cannot log in at Keystone");
            return Err(Unavailable);
        }
        let text = answer.headers().get("x-subject-token").and_then(|token| token.to_str().ok()).map(str::to_owned);
        let body = read(&mut answer).await?;
        let logged_in: Option<LoggedIn> = serde_json::from_slice(&body).ok();
        let (Some(text), Some(logged_in)) = (text, logged_in) else { return Err(nonsense("a login")) };
        let header = secret_header(&text).ok_or_else(|| nonsense("a login"))?;
        let renew_at = logged_in.renew_at(self.clock.now()).ok_or_else(|| nonsense("a login"))?;
        let identity = logged_in.identity(&self.options.interface, self.options.region_name.as_deref());
        let identity = identity.unwrap_or_else(|| {
            tracing::warn!(
                interface = self.options.interface,
                region = self.options.region_name,
                "the catalogue has no such identity endpoint; tokens are validated where the service user logs in"
            );
            versioned(&self.options.auth_url)
        });
        Ok(OwnToken { header, text, renew_at, identity })
    }

    /// Sends a request whose repetition changes nothing. A kept connection may be one that Keystone closes in this moment,
    /// hence the second try.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, Unavailable> {
        let sent = match request().send().await {
            Err(error) if !error.is_timeout() => request().send().await,
            sent => sent,
        };
        sent.map_err(|error| broken(&error))
    }
}

async fn read(answer: &mut Response) -> Result<Vec<u8>, Unavailable> {
    let body = outbound::body(answer, ANSWER_BYTES_MAX).await.map_err(|error| broken(&error))?;
    body.ok_or_else(|| nonsense("a token"))
}

fn broken(error: &reqwest::Error) -> Unavailable {
    tracing::error!(error = error as &dyn std::error::Error, "Keystone cannot be reached");
    Unavailable
}

fn nonsense(what: &'static str) -> Unavailable {
    tracing::error!(what, "Keystone gave an answer that is none");
    Unavailable
}
