//! `auth`: how callers are told apart.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::absolute;
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
    /// A token that speaks for a service has one of these roles.
    pub service_token_roles: Vec<String>,
    /// `auth.local`.
    pub local: LocalAuthSettings,
    /// `auth.basic`.
    pub basic: BasicAuthSettings,
    /// The Keystone of the strategy `keystone`.
    pub keystone: Option<KeystoneSettings>,
}

/// `auth.local`: Hearth's own identity service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalAuthSettings {
    /// The directory of users, projects and the tokens' key, made with mode 0700; absolute.
    pub path: PathBuf,
    /// How long a token is valid.
    pub token_ttl: Duration,
    /// The region that the catalog names.
    pub region: String,
}

/// `auth.basic`: user and password on every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuthSettings {
    /// The htpasswd file, with bcrypt hashes; absolute.
    pub file: Option<PathBuf>,
    /// Users that are not administrators of `auth.noauth_project`.
    pub users: BTreeMap<String, FixedIdentity>,
}

/// Who a user of `auth.basic` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedIdentity {
    /// Project id.
    pub project: String,
    /// Role names.
    pub roles: Vec<String>,
}

impl fmt::Debug for AuthSettings {
    // a token is a secret: only what it stands for is shown
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSettings")
            .field("strategy", &self.strategy)
            .field("noauth_project", &self.noauth_project)
            .field("tokens", &self.tokens.values().collect::<Vec<_>>())
            .field("service_token_roles", &self.service_token_roles)
            .field("local", &self.local)
            .field("basic", &self.basic)
            .field("keystone", &self.keystone)
            .finish()
    }
}

/// `auth.strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthStrategy {
    /// The token's text says who asks, and everyone is an admin: on loopback only.
    Noauth,
    /// Hearth's own users and tokens.
    Local,
    /// User and password on every request.
    Basic,
    /// Keystone says who asks.
    Keystone,
}

impl AuthStrategy {
    /// As the settings name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Noauth => "noauth",
            Self::Local => "local",
            Self::Basic => "basic",
            Self::Keystone => "keystone",
        }
    }
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
pub(super) fn parse(mut table: Table, state_path: &Path, problems: &mut Vec<Problem>) -> AuthSettings {
    let chosen_at = table.origin_of("strategy");
    let strategy = table.take(problems, "strategy", AuthStrategy::Noauth, |value| {
        match one_of(value, &["noauth", "local", "basic", "keystone"])? {
            "noauth" => Ok(AuthStrategy::Noauth),
            "local" => Ok(AuthStrategy::Local),
            "basic" => Ok(AuthStrategy::Basic),
            _ => Ok(AuthStrategy::Keystone),
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
    let local = local(table.table(problems, "local"), state_path, problems);
    let basic_key = table.key("basic.file");
    let basic = basic(table.table(problems, "basic"), &noauth_project, problems);
    if strategy == AuthStrategy::Basic && basic.file.is_none() {
        let reason = "must be the htpasswd file of the users".to_owned();
        problems.push(Problem { key: basic_key, reason, origin: chosen_at.clone() });
    }
    let keystone = (strategy == AuthStrategy::Keystone).then(|| {
        let section = table.table(problems, "keystone");
        keystone::parse(section, chosen_at.as_deref(), problems)
    });
    table.finish(problems, &["strategy", "noauth_project", "tokens", "service_token_roles", "local", "basic"]);
    AuthSettings { strategy, noauth_project, tokens, service_token_roles, local, basic, keystone }
}

fn local(mut table: Table, state_path: &Path, problems: &mut Vec<Problem>) -> LocalAuthSettings {
    let path = table.optional_text(problems, "path").filter(|path| !path.is_empty());
    let local = LocalAuthSettings {
        path: absolute(path.map_or_else(|| state_path.join("identity"), PathBuf::from)),
        token_ttl: table.duration(problems, "token_ttl", Duration::from_secs(3600), false),
        region: table.text(problems, "region", "RegionOne"),
    };
    table.finish(problems, &["path", "token_ttl", "region"]);
    local
}

fn basic(mut table: Table, project: &str, problems: &mut Vec<Problem>) -> BasicAuthSettings {
    let file = table.optional_text(problems, "file").filter(|path| !path.is_empty());
    let mut users = BTreeMap::new();
    for mut entry in table.tables(problems, "users") {
        let (key, origin) = (entry.key("name"), entry.origin_of("name"));
        let name = entry.text(problems, "name", "");
        let identity = FixedIdentity {
            project: entry.text(problems, "project", project),
            roles: entry.texts(problems, "roles", vec!["member".to_owned(), "reader".to_owned()]),
        };
        entry.finish(problems, &["name", "project", "roles"]);
        if name.is_empty() {
            problems.push(Problem { key, reason: "must not be empty".to_owned(), origin });
        } else if users.insert(name, identity).is_some() {
            problems.push(Problem { key, reason: "stands here twice".to_owned(), origin });
        }
    }
    table.finish(problems, &["file", "users"]);
    BasicAuthSettings { file: file.map(|path| absolute(PathBuf::from(path))), users }
}
