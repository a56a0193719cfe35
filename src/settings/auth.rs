//! `auth`: how callers are told apart.

use std::collections::BTreeMap;
use std::fmt;

use super::keystone::{self, KeystoneSettings};
use super::parse::{one_of, word};
use super::reader::{Problem, Table};

/// `auth`.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// `auth.strategy`.
    pub strategy: AuthStrategy,
    /// The project of a token that names none, when the URL names none either.
    pub noauth_project: String,
    /// Fixed tokens with an identity of their own, so that clients can be tested as reader or member (auth-and-policy §4).
    pub tokens: BTreeMap<String, FixedToken>,
    /// A token that speaks for a service has one of these roles (strategy `keystone`).
    pub service_token_roles: Vec<String>,
    /// The Keystone of the strategy `keystone`.
    pub keystone: Option<KeystoneSettings>,
}

impl fmt::Debug for AuthSettings {
    // a token is a secret: only what it stands for is shown
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSettings")
            .field("strategy", &self.strategy)
            .field("noauth_project", &self.noauth_project)
            .field("tokens", &self.tokens.values().collect::<Vec<_>>())
            .field("service_token_roles", &self.service_token_roles)
            .field("keystone", &self.keystone)
            .finish()
    }
}

/// `auth.strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStrategy {
    /// The token's text says who asks, and everyone is an admin: on loopback only.
    Noauth,
    /// Keystone says who asks.
    Keystone,
}

/// Who a fixed token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedToken {
    /// User id.
    pub user: String,
    /// Project id.
    pub project: String,
    /// Role names: `admin`, `member`, `reader`, `service`.
    pub roles: Vec<String>,
}

/// Reads the section.
pub(super) fn parse(mut table: Table, problems: &mut Vec<Problem>) -> AuthSettings {
    let chosen_at = table.origin_of("strategy");
    let strategy = table.take(problems, "strategy", AuthStrategy::Noauth, |value| {
        match one_of(value, &["noauth", "local", "basic", "keystone"])? {
            "noauth" => Ok(AuthStrategy::Noauth),
            "keystone" => Ok(AuthStrategy::Keystone),
            other => Err(format!(
                "{other:?} is not implemented in this release; use \"keystone\", or \"noauth\" on loopback"
            )),
        }
    });
    let noauth_project = table.take(problems, "noauth_project", "admin".to_owned(), |value| {
        word(value).and_then(|project| match project.as_str() {
            "" => Err("must not be empty".to_owned()),
            text if text.contains(['/', ':']) => Err("must not contain '/' or ':'".to_owned()),
            _ => Ok(project),
        })
    });
    let mut tokens = BTreeMap::new();
    for mut entry in table.tables(problems, "tokens") {
        let (key, origin) = (entry.key("token"), entry.origin_of("token"));
        let token = entry.text(problems, "token", "");
        let fixed = FixedToken {
            user: entry.text(problems, "user", "user"),
            project: entry.text(problems, "project", &noauth_project),
            roles: entry.texts(problems, "roles", vec!["member".to_owned(), "reader".to_owned()]),
        };
        entry.finish(problems, &["token", "user", "project", "roles"]);
        if token.is_empty() {
            problems.push(Problem { key, reason: "must not be empty".to_owned(), origin });
        } else if tokens.insert(token, fixed).is_some() {
            problems.push(Problem { key, reason: "stands for two identities".to_owned(), origin });
        }
    }
    let service_token_roles = table.texts(problems, "service_token_roles", vec!["service".to_owned()]);
    let keystone = (strategy == AuthStrategy::Keystone).then(|| {
        let section = table.table(problems, "keystone");
        keystone::parse(section, chosen_at.as_deref(), problems)
    });
    table.finish(problems, &["strategy", "noauth_project", "tokens", "service_token_roles"]);
    AuthSettings { strategy, noauth_project, tokens, service_token_roles, keystone }
}
