//! The strategy of `auth.strategy`, built from its settings.

use std::net::SocketAddr;
use std::sync::Arc;

use super::serve::endpoint;
use crate::domain::ids::ProjectId;
use crate::identity::basic::HtpasswdError;
use crate::identity::keystone::{Password, ServiceUser};
use crate::identity::local::{self, FileError, Files};
use crate::identity::{
    Basic, BasicUser, Keystone, KeystoneOptions, Local, LocalOptions, MappedToken, Noauth, Strategy,
};
use crate::outbound::BuildError;
use crate::runtime::{Clock, Randomness};
use crate::settings::{AuthSettings, AuthStrategy, KeystonePassword, KeystoneSettings, LocalAuthSettings, Settings};
use crate::telemetry::Metrics;

/// The strategy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The files of the identity service.
    #[error(transparent)]
    Local(#[from] FileError),
    /// The users of `auth.basic`.
    #[error(transparent)]
    Htpasswd(#[from] HtpasswdError),
    /// The client of Keystone.
    #[error("Keystone cannot be asked")]
    Keystone(#[from] BuildError),
}

/// A strategy, and who can log in by it at once.
pub struct Auth {
    /// It.
    pub strategy: Strategy,
    /// Those whose passwords Hearth has made up; for `clouds.yaml`.
    pub accounts: Vec<Account>,
}

/// Somebody who can log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// The project's name.
    pub project: String,
    /// The password; none: it has been changed since.
    pub password: Option<String>,
}

/// Builds it, for a service that listens there. Asks nobody yet.
pub fn strategy(settings: &Settings, listening: SocketAddr, metrics: &Metrics) -> Result<Auth, AuthError> {
    let auth = &settings.auth;
    match auth.strategy {
        AuthStrategy::Noauth => Ok(Auth { strategy: Strategy::Noauth(noauth(auth)), accounts: Vec::new() }),
        AuthStrategy::Keystone => {
            let settings = auth.keystone.as_ref().expect("the section is read whenever its strategy is chosen");
            let keystone = Keystone::new(keystone_options(settings, auth.service_token_roles.clone()), Clock::System)?;
            let shown = Arc::clone(&keystone);
            metrics.register(move || shown.samples());
            Ok(Auth { strategy: Strategy::Keystone(keystone), accounts: Vec::new() })
        }
        AuthStrategy::Local => {
            let endpoint = endpoint(settings, listening);
            let (local, accounts) = local(auth, format!("{endpoint}/identity/v3"))?;
            Ok(Auth { strategy: Strategy::Local(Arc::new(local)), accounts })
        }
        AuthStrategy::Basic => {
            let users = auth.basic.users.iter().map(|(name, who)| {
                let user = BasicUser { project_id: who.project.clone().into(), roles: who.roles.clone() };
                (name.clone(), user)
            });
            let path = auth.basic.file.as_deref().unwrap_or("".as_ref());
            let project = ProjectId::from(auth.noauth_project.as_str());
            let basic = Basic::open(path, project, users.collect(), Clock::System, &Randomness::from_os())?;
            Ok(Auth { strategy: Strategy::Basic(Arc::new(basic)), accounts: Vec::new() })
        }
    }
}

fn noauth(auth: &AuthSettings) -> Noauth {
    let tokens = auth.tokens.iter().map(|(token, who)| {
        let mapped = MappedToken {
            user_id: who.user.clone().into(),
            project_id: who.project.clone().into(),
            roles: who.roles.clone(),
        };
        (token.clone(), mapped)
    });
    Noauth { project: auth.noauth_project.clone().into(), tokens: tokens.collect() }
}

/// The identity service of these settings.
pub fn open_local(auth: &AuthSettings, www_authenticate_uri: String) -> Result<Local, FileError> {
    let LocalAuthSettings { path, token_ttl, .. } = &auth.local;
    let options = LocalOptions {
        token_ttl: *token_ttl,
        service_token_roles: auth.service_token_roles.clone(),
        www_authenticate_uri,
    };
    Local::open(path, options, Clock::System, Randomness::from_os())
}

fn local(auth: &AuthSettings, www_authenticate_uri: String) -> Result<(Local, Vec<Account>), FileError> {
    let files = Files::open(&auth.local.path)?;
    local::bootstrap(&files, &Randomness::from_os(), Clock::System.now())?;
    let local = open_local(auth, www_authenticate_uri)?;
    let passwords = local::initial_passwords(&files, &local.directory())?;
    let account = |user: &str, project: &str| Account {
        user: user.to_owned(),
        project: project.to_owned(),
        password: passwords.get(user).cloned(),
    };
    Ok((local, vec![account("admin", "admin"), account("demo", "demo")]))
}

/// A password of the settings.
pub(super) fn password(settings: &KeystonePassword) -> Password {
    match settings {
        KeystonePassword::Text(text) => Password::Text(text.clone()),
        KeystonePassword::File(path) => Password::File(path.clone()),
    }
}

fn keystone_options(settings: &KeystoneSettings, service_token_roles: Vec<String>) -> KeystoneOptions {
    KeystoneOptions {
        auth_url: settings.auth_url.clone(),
        www_authenticate_uri: settings.www_authenticate_uri.clone(),
        user: ServiceUser {
            username: settings.username.clone(),
            password: password(&settings.password),
            project_name: settings.project_name.clone(),
            user_domain_name: settings.user_domain_name.clone(),
            project_domain_name: settings.project_domain_name.clone(),
        },
        interface: settings.interface.clone(),
        region_name: settings.region_name.clone(),
        ca_file: settings.ca_file.clone(),
        timeout: settings.timeout,
        token_cache_time: settings.token_cache_time,
        max_cached_tokens: settings.max_cached_tokens,
        max_connections: settings.max_connections,
        max_waiting: settings.max_waiting,
        service_token_roles,
    }
}
