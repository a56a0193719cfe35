//! Builds the client of the Nova that has the servers (`compute.mode = external`), with the login that the settings name.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::auth::password;
use crate::compute::{Access, Grant, NovaClient, NovaOptions};
use crate::identity::Strategy;
use crate::identity::keystone::{Credentials, Login, LoginOptions, ServiceUser};
use crate::images::{TokenFile, TokenSource as _};
use crate::outbound::BuildError;
use crate::runtime::Clock;
use crate::settings::{NovaCredentials, NovaSettings};

/// The client; asks nobody yet.
pub fn open(settings: &NovaSettings, auth: &Strategy) -> Result<Arc<NovaClient>, BuildError> {
    let (access, address): (Arc<dyn Access>, &str) = match (&settings.credentials, auth) {
        (NovaCredentials::TokenFile(file), _) => {
            let endpoint = settings.endpoint.clone().expect("the settings ask for an address beside a token");
            (Arc::new(FromFile { token: Arc::new(TokenFile(file.clone())), endpoint }), "")
        }
        (NovaCredentials::ServiceUser, Strategy::Keystone(keystone)) => {
            (by_login(keystone.login(), settings), "https:")
        }
        (NovaCredentials::ServiceUser, _) => unreachable!("the settings take the service user of a Keystone only"),
        (
            NovaCredentials::User {
                auth_url,
                username,
                password: own,
                project_name,
                user_domain_name,
                project_domain_name,
            },
            _,
        ) => {
            let user = ServiceUser {
                username: username.clone(),
                password: password(own),
                project_name: project_name.clone(),
                user_domain_name: user_domain_name.clone(),
                project_domain_name: project_domain_name.clone(),
            };
            (log_in(settings, auth_url, Credentials::User(user))?, auth_url)
        }
        (NovaCredentials::ApplicationCredential { auth_url, id, secret }, _) => {
            let credentials = Credentials::ApplicationCredential { id: id.clone(), secret: password(secret) };
            (log_in(settings, auth_url, credentials)?, auth_url)
        }
    };
    let options = NovaOptions {
        address: settings.endpoint.clone().unwrap_or_else(|| address.to_owned()),
        ca_file: settings.ca_file.clone(),
        timeout: settings.timeout,
        max_connections: settings.max_connections,
    };
    NovaClient::new(options, access)
}

fn log_in(settings: &NovaSettings, auth_url: &str, credentials: Credentials) -> Result<Arc<dyn Access>, BuildError> {
    let options = LoginOptions {
        auth_url: auth_url.to_owned(),
        credentials,
        ca_file: settings.ca_file.clone(),
        timeout: settings.timeout,
    };
    Ok(by_login(Arc::new(Login::new(options, Clock::System)?), settings))
}

fn by_login(login: Arc<Login>, settings: &NovaSettings) -> Arc<dyn Access> {
    let (endpoint, interface) = (settings.endpoint.clone(), settings.interface.clone());
    Arc::new(ByLogin { login, endpoint, interface, region: settings.region_name.clone() })
}

/// The token of a login at Keystone, and Nova as its catalogue or the settings have it.
struct ByLogin {
    login: Arc<Login>,
    endpoint: Option<String>,
    interface: String,
    region: Option<String>,
}

impl Access for ByLogin {
    fn grant(self: Arc<Self>, rejected: Option<String>) -> BoxFuture<'static, io::Result<Grant>> {
        async move {
            let own = self.login.token(rejected.as_deref()).await.map_err(io::Error::other)?;
            let listed = || own.endpoint("compute", &self.interface, self.region.as_deref()).map(str::to_owned);
            let endpoint = self.endpoint.clone().or_else(listed);
            let endpoint = endpoint.ok_or_else(|| io::Error::other("the catalogue has no such compute endpoint"))?;
            Ok(Grant { token: own.text().to_owned(), endpoint })
        }
        .boxed()
    }
}

/// The token in a file.
struct FromFile {
    token: Arc<TokenFile>,
    endpoint: String,
}

impl Access for FromFile {
    fn grant(self: Arc<Self>, rejected: Option<String>) -> BoxFuture<'static, io::Result<Grant>> {
        async move {
            let token = Arc::clone(&self.token).token(rejected).await?.unwrap_or_default();
            Ok(Grant { token, endpoint: self.endpoint.clone() })
        }
        .boxed()
    }
}
