//! `compute.nova`: the Nova whose servers use the volumes (`compute.mode = external`).

use std::path::PathBuf;
use std::time::Duration;

use super::backend::absolute;
use super::keystone::{KeystonePassword, given, password};
use super::parse::{endpoint, one_of};
use super::reader::{Problem, Table};

/// `compute.nova`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NovaSettings {
    /// Its address with the version; none: the one of the catalogue.
    pub endpoint: Option<String>,
    /// The compute endpoint of the catalogue that is asked.
    pub interface: String,
    /// Its region; none: any.
    pub region_name: Option<String>,
    /// As whom.
    pub credentials: NovaCredentials,
    /// PEM certificates of the authorities that the certificates of Nova and of its Keystone may be from; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a call may take.
    pub timeout: Duration,
    /// Calls at the same time.
    pub max_connections: usize,
}

/// With what Nova is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NovaCredentials {
    /// The service user of `auth.keystone`.
    ServiceUser,
    /// A user of its own.
    User {
        /// Where it logs in; without a version.
        auth_url: String,
        /// Its name.
        username: String,
        /// Its password.
        password: KeystonePassword,
        /// The project that its role is in.
        project_name: String,
        /// The domain of the user.
        user_domain_name: String,
        /// The domain of the project.
        project_domain_name: String,
    },
    /// An application credential.
    ApplicationCredential {
        /// Where it logs in; without a version.
        auth_url: String,
        /// Its id.
        id: String,
        /// Its secret.
        secret: KeystonePassword,
    },
    /// The token in a file, which is read again when it is rejected.
    TokenFile(PathBuf),
}

const COMMON: [&str; 6] = ["endpoint", "interface", "region_name", "ca_file", "timeout", "max_connections"];
const LOGIN: [&str; 10] = [
    "auth_url",
    "username",
    "password",
    "password_file",
    "project_name",
    "user_domain_name",
    "project_domain_name",
    "application_credential_id",
    "application_credential_secret",
    "application_credential_secret_file",
];

/// Reads the section. `chosen_at` is where the mode was chosen.
pub(super) fn parse(
    mut table: Table,
    has_keystone: bool,
    chosen_at: Option<&str>,
    problems: &mut Vec<Problem>,
) -> NovaSettings {
    table.forget_empty();
    let endpoint_key = table.key("endpoint");
    let told = problems.len();
    let address = table.take(problems, "endpoint", String::new(), |value| endpoint(value, &[]));
    let is_wrong = problems.len() > told;
    let credentials = credentials(&mut table, has_keystone, chosen_at, problems);
    if matches!(credentials, NovaCredentials::TokenFile(_)) && address.is_empty() && !is_wrong {
        problems.push(Problem {
            key: endpoint_key,
            reason: "must be the address of Nova: a token from a file brings no catalogue".to_owned(),
            origin: chosen_at.map(str::to_owned),
        });
    }
    let interface =
        table.take(problems, "interface", "internal", |value| one_of(value, &["internal", "public", "admin"]));
    let settings = NovaSettings {
        endpoint: given(Some(address)).map(with_version),
        interface: interface.to_owned(),
        region_name: given(table.optional_text(problems, "region_name")),
        credentials,
        ca_file: given(table.optional_text(problems, "ca_file")).map(|path| absolute(PathBuf::from(path))),
        timeout: table.duration(problems, "timeout", Duration::from_secs(10), false),
        max_connections: table.number(problems, "max_connections", 32, 1..=1024),
    };
    let known: Vec<&str> = COMMON.into_iter().chain(LOGIN).chain(["token_file"]).collect();
    table.finish(problems, &known);
    settings
}

/// Nova's own address has the version in it; a host alone is given one.
fn with_version(address: String) -> String {
    let path = address.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    if path.split('/').any(|part| part.starts_with("v2")) { address } else { format!("{address}/v2.1") }
}

fn credentials(
    table: &mut Table,
    has_keystone: bool,
    chosen_at: Option<&str>,
    problems: &mut Vec<Problem>,
) -> NovaCredentials {
    let logs_in = LOGIN.iter().any(|name| table.has(name));
    let token_origin = table.origin_of("token_file");
    let token_file = given(table.optional_text(problems, "token_file"));
    match token_file {
        Some(file) if !logs_in => return NovaCredentials::TokenFile(absolute(PathBuf::from(file))),
        Some(_) => problems.push(Problem {
            key: table.key("token_file"),
            reason: "is there instead of a login, not beside one".to_owned(),
            origin: token_origin,
        }),
        None => {}
    }
    if !logs_in && has_keystone {
        return NovaCredentials::ServiceUser;
    }
    let told = problems.len();
    let key = table.key("auth_url");
    let auth_url = table.take(problems, "auth_url", String::new(), |value| endpoint(value, &["/v3", "/v2.0"]));
    if auth_url.is_empty() && problems.len() == told {
        problems.push(Problem {
            key,
            reason:
                "must be the address of the Keystone where Hearth logs in to ask Nova; or token_file must be set; or \
                     auth.strategy must be \"keystone\", whose service user is taken then"
                    .to_owned(),
            origin: chosen_at.map(str::to_owned),
        });
    }
    if let Some(id) = given(table.optional_text(problems, "application_credential_id")) {
        let secret = password(table, "application_credential_secret", chosen_at, problems);
        return NovaCredentials::ApplicationCredential { auth_url, id, secret };
    }
    NovaCredentials::User {
        auth_url,
        username: table.text(problems, "username", "hearth"),
        password: password(table, "password", chosen_at, problems),
        project_name: table.text(problems, "project_name", "service"),
        user_domain_name: table.text(problems, "user_domain_name", "Default"),
        project_domain_name: table.text(problems, "project_domain_name", "Default"),
    }
}
