//! A login of this service at Keystone: its own token, and the catalogue that comes with it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use reqwest::header::ACCEPT;
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::sync::Mutex;

use super::Unavailable;
use super::service_user::{Credentials, LoggedIn, OwnToken, versioned};
use crate::outbound::{self, BuildError, secret_header};
use crate::runtime::Clock;

/// The largest answer that is read: a catalogue of a large cloud is far below it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// As whom, and where.
#[derive(Clone, Debug)]
pub struct LoginOptions {
    /// Where Keystone is; without a version and without a slash at the end.
    pub auth_url: String,
    /// Who logs in.
    pub credentials: Credentials,
    /// PEM certificates of the authorities that Keystone's certificate may be from; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// A connection stands within this time, or not at all.
    pub timeout: Duration,
}

/// Keeps one token, which is renewed before it expires and when somebody rejects it.
pub struct Login {
    http: reqwest::Client,
    options: LoginOptions,
    clock: Clock,
    own: ArcSwapOption<OwnToken>,
    /// Held by whoever logs in, so that the others wait for the one new token.
    logging_in: Mutex<()>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Login {
    /// Logs in when somebody needs the token.
    pub fn new(options: LoginOptions, clock: Clock) -> Result<Self, BuildError> {
        let http = outbound::client(&options.auth_url, options.ca_file.as_deref(), options.timeout)?;
        Ok(Self { http, options, clock, own: ArcSwapOption::empty(), logging_in: Mutex::new(()) })
    }

    /// What asks Keystone.
    pub(super) const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The token; a better one than `rejected`, if there is one.
    pub async fn token(&self, rejected: Option<&str>) -> Result<Arc<OwnToken>, Unavailable> {
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
        let login = self.options.credentials.login().await.map_err(|error| {
            tracing::error!(%error, "the password of the service user cannot be read");
            Unavailable
        })?;
        let url = format!("{}/auth/tokens", versioned(&self.options.auth_url));
        let mut answer = send(|| self.http.post(&url).header(ACCEPT, "application/json").json(&login)).await?;
        if answer.status() != StatusCode::CREATED {
            let (status, user) = (answer.status(), self.options.credentials.name());
            tracing::error!(%status, user, "the service user cannot log in at Keystone");
            return Err(Unavailable);
        }
        let text = answer.headers().get("x-subject-token").and_then(|token| token.to_str().ok()).map(str::to_owned);
        let body = read(&mut answer).await?;
        let logged_in: Option<LoggedIn> = serde_json::from_slice(&body).ok();
        let (Some(text), Some(logged_in)) = (text, logged_in) else { return Err(nonsense("a login")) };
        let header = secret_header(&text).ok_or_else(|| nonsense("a login"))?;
        let renew_at = logged_in.renew_at(self.clock.now()).ok_or_else(|| nonsense("a login"))?;
        Ok(OwnToken { header, text, renew_at, catalog: logged_in.catalog() })
    }
}

/// Sends a request whose repetition changes nothing. A kept connection may be one that Keystone closes in this moment,
/// hence the second try.
pub(super) async fn send(request: impl Fn() -> RequestBuilder) -> Result<Response, Unavailable> {
    let sent = match request().send().await {
        Err(error) if !error.is_timeout() => request().send().await,
        sent => sent,
    };
    sent.map_err(|error| broken(&error))
}

pub(super) async fn read(answer: &mut Response) -> Result<Vec<u8>, Unavailable> {
    let body = outbound::body(answer, ANSWER_BYTES_MAX).await.map_err(|error| broken(&error))?;
    body.ok_or_else(|| nonsense("a token"))
}

fn broken(error: &reqwest::Error) -> Unavailable {
    tracing::error!(error = error as &dyn std::error::Error, "Keystone cannot be reached");
    Unavailable
}

pub(super) fn nonsense(what: &'static str) -> Unavailable {
    tracing::error!(what, "Keystone gave an answer that is none");
    Unavailable
}
