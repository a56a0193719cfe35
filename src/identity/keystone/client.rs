//! The questions to Keystone, and what their answers mean.

use std::fmt;
use std::sync::{Arc, Once};

use reqwest::StatusCode;
use reqwest::header::ACCEPT;

use super::login::{Login, LoginOptions, nonsense, read, send};
use super::service_user::{Credentials, OwnToken, versioned};
use super::token::Token;
use super::{KeystoneOptions, Unavailable};
use crate::outbound::{BuildError, secret_header};
use crate::runtime::Clock;

/// Says that access rules are kept here: a token that has some is not valid for services which do not say so.
const ACCESS_RULES: (&str, &str) = ("openstack-identity-access-rules", "1");

/// Asks with the service user's token.
pub(super) struct Client {
    login: Arc<Login>,
    options: KeystoneOptions,
    /// It has been told that the catalogue lacks the identity endpoint.
    is_told: Once,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(options: KeystoneOptions, clock: Clock) -> Result<Self, BuildError> {
        let login = LoginOptions {
            auth_url: options.auth_url.clone(),
            credentials: Credentials::User(options.user.clone()),
            ca_file: options.ca_file.clone(),
            timeout: options.timeout,
        };
        Ok(Self { login: Arc::new(Login::new(login, clock)?), options, is_told: Once::new() })
    }

    /// The service user's login, for other services.
    pub(super) const fn login(&self) -> &Arc<Login> {
        &self.login
    }

    /// What a token is; none if it is not valid.
    pub(super) async fn validate(&self, text: &str, expired_too: bool) -> Result<Option<Token>, Unavailable> {
        // what is in no header cannot be anybody's token
        let Some(subject) = secret_header(text) else { return Ok(None) };
        let mut own = self.login.token(None).await?;
        let mut is_renewed = false;
        loop {
            let mut url = format!("{}/auth/tokens", self.identity(&own));
            if expired_too {
                url.push_str("?allow_expired=1");
            }
            let question = || {
                let question = self.login.http().get(&url).header(ACCEPT, "application/json");
                let question = question.header("x-auth-token", own.header.clone());
                question.header("x-subject-token", subject.clone()).header(ACCESS_RULES.0, ACCESS_RULES.1)
            };
            let mut answer = send(question).await?;
            match answer.status() {
                StatusCode::OK => {
                    let token = Token::parse(&read(&mut answer).await?);
                    return token.map(Some).ok_or_else(|| nonsense("a token"));
                }
                StatusCode::NOT_FOUND => return Ok(None),
                StatusCode::UNAUTHORIZED if !is_renewed => {
                    own = self.login.token(Some(&own.text)).await?;
                    is_renewed = true;
                }
                status => {
                    tracing::error!(%status, "Keystone does not validate tokens for the service user");
                    return Err(Unavailable);
                }
            }
        }
    }

    /// Where tokens are validated, with the version.
    fn identity(&self, own: &OwnToken) -> String {
        let (interface, region) = (&self.options.interface, self.options.region_name.as_deref());
        let found = own.endpoint("identity", interface, region).unwrap_or_else(|| {
            self.is_told.call_once(|| {
                tracing::warn!(
                    interface,
                    region,
                    "the catalogue has no such identity endpoint; tokens are validated where the service user logs in"
                );
            });
            &self.options.auth_url
        });
        versioned(found)
    }
}
