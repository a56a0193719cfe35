//! The user that this service is at Keystone, and its token.

use std::fmt;
use std::io;
use std::path::PathBuf;

use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::{Value, json};

use super::token::instant;
use crate::domain::time::Timestamp;

/// A password is no longer than this.
const PASSWORD_BYTES_MAX: u64 = 4096;
/// A token is renewed so many seconds before its end, or when the last part of a short life begins, so that no question is asked
/// with one that ends on the way.
const MARGIN_SECONDS: u64 = 60;
const LAST_PART: u32 = 4;

/// Who asks Keystone.
#[derive(Clone, Debug)]
pub struct ServiceUser {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: Password,
    /// The project that its role is in.
    pub project_name: String,
    /// The domain of the user.
    pub user_domain_name: String,
    /// The domain of the project.
    pub project_domain_name: String,
}

/// A password; never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// As text.
    Text(String),
    /// In a file, read at each login, so that it can be changed while the service runs.
    File(PathBuf),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Password {
    async fn read(&self) -> io::Result<String> {
        let path = match self {
            Self::Text(text) => return Ok(text.clone()),
            Self::File(path) => path,
        };
        if tokio::fs::metadata(path).await?.len() > PASSWORD_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long for a password"));
        }
        let text = tokio::fs::read_to_string(path).await?;
        // editors end a file with a newline
        Ok(text.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// What this service logs in with.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A user, by its password.
    User(ServiceUser),
    /// An application credential, which brings its project along.
    ApplicationCredential {
        /// Its id.
        id: String,
        /// Its secret.
        secret: Password,
    },
}

impl Credentials {
    /// For the log.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.username,
            Self::ApplicationCredential { id, .. } => id,
        }
    }

    /// What a login says.
    pub(super) async fn login(&self) -> io::Result<Value> {
        match self {
            Self::User(user) => user.login().await,
            Self::ApplicationCredential { id, secret } => Ok(json!({"auth": {"identity": {
                "methods": ["application_credential"],
                "application_credential": {"id": id, "secret": secret.read().await?},
            }}})),
        }
    }
}

impl ServiceUser {
    async fn login(&self) -> io::Result<Value> {
        let password = self.password.read().await?;
        Ok(json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": self.username,
                "domain": {"name": self.user_domain_name},
                "password": password,
            }}},
            "scope": {"project": {"name": self.project_name, "domain": {"name": self.project_domain_name}}},
        }}))
    }
}

/// The service's own token.
pub struct OwnToken {
    /// Sensitive: never shown.
    pub(super) header: HeaderValue,
    pub(super) text: String,
    pub(super) renew_at: Timestamp,
    pub(super) catalog: Vec<Entry>,
}

impl OwnToken {
    /// The token; a secret.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The address of a service in the catalogue, in this region (none: any).
    pub fn endpoint(&self, kind: &str, interface: &str, region: Option<&str>) -> Option<&str> {
        let mut endpoints = self.catalog.iter().filter(|entry| entry.kind == kind).flat_map(|entry| &entry.endpoints);
        let found = endpoints.find(|endpoint| {
            endpoint.interface == interface && region.is_none_or(|region| endpoint.region_id.as_deref() == Some(region))
        });
        found.map(|endpoint| endpoint.url.as_str())
    }
}

/// A login's answer, as far as it matters.
#[derive(Deserialize)]
pub(super) struct LoggedIn {
    token: LoggedInToken,
}

#[derive(Deserialize)]
struct LoggedInToken {
    expires_at: String,
    #[serde(default)]
    catalog: Vec<Entry>,
}

/// A service of the catalogue.
#[derive(Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    region_id: Option<String>,
    url: String,
}

impl LoggedIn {
    /// When the token, which is new, has to be renewed.
    pub(super) fn renew_at(&self, now: Timestamp) -> Option<Timestamp> {
        let life = instant(&self.token.expires_at)?.since(now);
        let margin = (life / LAST_PART).min(std::time::Duration::from_secs(MARGIN_SECONDS));
        Some(now.plus(life - margin))
    }

    /// What it brings along.
    pub(super) fn catalog(self) -> Vec<Entry> {
        self.token.catalog
    }
}

/// An address of Keystone, with or without a version, with its version.
pub(super) fn versioned(url: &str) -> String {
    let bare = url.trim_end_matches('/');
    let bare = bare.strip_suffix("/v3").or_else(|| bare.strip_suffix("/v2.0")).unwrap_or(bare);
    format!("{bare}/v3")
}
