//! Builds from the settings what finds out who asks.

use std::sync::Arc;

use crate::identity::keystone::{Password, ServiceUser};
use crate::identity::{Keystone, KeystoneOptions, MappedToken, Noauth, Strategy};
use crate::outbound::BuildError;
use crate::runtime::Clock;
use crate::settings::{AuthSettings, KeystonePassword, KeystoneSettings};
use crate::telemetry::Metrics;

/// The strategy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The client of Keystone.
    #[error("Keystone cannot be asked")]
    Keystone(#[from] BuildError),
}

/// The strategy of the settings. Asks nobody yet.
pub fn open(settings: &AuthSettings, metrics: &Metrics) -> Result<Strategy, IdentityError> {
    let Some(keystone) = &settings.keystone else { return Ok(Strategy::Noauth(noauth(settings))) };
    let keystone = Keystone::new(options(keystone, settings.service_token_roles.clone()), Clock::System)?;
    let shown = Arc::clone(&keystone);
    metrics.register(move || shown.samples());
    Ok(Strategy::Keystone(keystone))
}

fn noauth(settings: &AuthSettings) -> Noauth {
    let tokens = settings.tokens.iter().map(|(token, who)| {
        let mapped = MappedToken {
            user_id: who.user.clone().into(),
            project_id: who.project.clone().into(),
            roles: who.roles.clone(),
        };
        (token.clone(), mapped)
    });
    Noauth { project: settings.noauth_project.clone().into(), tokens: tokens.collect() }
}

fn options(settings: &KeystoneSettings, service_token_roles: Vec<String>) -> KeystoneOptions {
    KeystoneOptions {
        auth_url: settings.auth_url.clone(),
        www_authenticate_uri: settings.www_authenticate_uri.clone(),
        user: ServiceUser {
            username: settings.username.clone(),
            password: match &settings.password {
                KeystonePassword::Text(text) => Password::Text(text.clone()),
                KeystonePassword::File(path) => Password::File(path.clone()),
            },
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
