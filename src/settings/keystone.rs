//! `auth.keystone`: the Keystone that says who asks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use config::{Value, ValueKind};

use super::backend::absolute;
use super::duration;
use super::parse::{endpoint, one_of, word};
use super::reader::{Problem, Table};

/// `auth.keystone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeystoneSettings {
    /// Where the service user logs in; without a version.
    pub auth_url: String,
    /// Where clients are told to log in.
    pub www_authenticate_uri: String,
    /// The service user.
    pub username: String,
    /// Its password.
    pub password: KeystonePassword,
    /// The project that its role is in.
    pub project_name: String,
    /// The domain of the user.
    pub user_domain_name: String,
    /// The domain of the project.
    pub project_domain_name: String,
    /// The identity endpoint of the catalogue that is asked.
    pub interface: String,
    /// Its region; none: any.
    pub region_name: Option<String>,
    /// PEM certificates of the authorities that Keystone's certificate may be from; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long a request waits for Keystone.
    pub timeout: Duration,
    /// How long a valid token is known; zero: never.
    pub token_cache_time: Duration,
    /// Tokens that are known at once.
    pub max_cached_tokens: usize,
    /// Questions at the same time.
    pub max_connections: usize,
    /// New tokens that wait for their question; beyond it 503.
    pub max_waiting: usize,
}

/// The password of the service user; never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum KeystonePassword {
    /// `password`.
    Text(String),
    /// `password_file`.
    File(PathBuf),
}

impl fmt::Debug for KeystonePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

const KNOWN: [&str; 16] = [
    "auth_url",
    "www_authenticate_uri",
    "username",
    "password",
    "password_file",
    "project_name",
    "user_domain_name",
    "project_domain_name",
    "interface",
    "region_name",
    "ca_file",
    "timeout",
    "token_cache_time",
    "max_cached_tokens",
    "max_connections",
    "max_waiting",
];

/// Reads the section. `chosen_at` is where the strategy was chosen.
pub(super) fn parse(mut table: Table, chosen_at: Option<&str>, problems: &mut Vec<Problem>) -> KeystoneSettings {
    let told = problems.len();
    let url_key = table.key("auth_url");
    let auth_url = table.take(problems, "auth_url", String::new(), |value| endpoint(value, &["/v3", "/v2.0"]));
    if auth_url.is_empty() && problems.len() == told {
        problems.push(Problem {
            key: url_key,
            reason: "must be the address of Keystone".to_owned(),
            origin: chosen_at.map(str::to_owned),
        });
    }
    let told = table.take(problems, "www_authenticate_uri", String::new(), |value| endpoint(value, &[]));
    let www_authenticate_uri = if told.is_empty() { auth_url.clone() } else { told };
    let password = password(&mut table, "password", chosen_at, problems);
    let settings = KeystoneSettings {
        auth_url,
        www_authenticate_uri,
        username: table.text(problems, "username", "hearth"),
        password,
        project_name: table.text(problems, "project_name", "service"),
        user_domain_name: table.text(problems, "user_domain_name", "Default"),
        project_domain_name: table.text(problems, "project_domain_name", "Default"),
        interface: table
            .take(problems, "interface", "internal", |value| one_of(value, &["internal", "public", "admin"]))
            .to_owned(),
        region_name: given(table.optional_text(problems, "region_name")),
        ca_file: given(table.optional_text(problems, "ca_file")).map(|path| absolute(PathBuf::from(path))),
        timeout: table.duration(problems, "timeout", Duration::from_secs(10), false),
        token_cache_time: table.take(problems, "token_cache_time", Duration::from_secs(300), cache_time),
        max_cached_tokens: table.number(problems, "max_cached_tokens", 20_000, 1..=10_000_000),
        max_connections: table.number(problems, "max_connections", 32, 1..=1024),
        max_waiting: table.number(problems, "max_waiting", 4096, 1..=1_000_000),
    };
    table.finish(problems, &KNOWN);
    settings
}

pub(super) fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// `name`, or `name_file`: one of them has to be there.
pub(super) fn password(
    table: &mut Table,
    name: &str,
    chosen_at: Option<&str>,
    problems: &mut Vec<Problem>,
) -> KeystonePassword {
    let in_file = format!("{name}_file");
    let (key, origin) = (table.key(name), table.origin_of(name));
    let text = given(table.optional_text(problems, name));
    let file = given(table.optional_text(problems, &in_file));
    match (text, file) {
        (Some(text), None) => KeystonePassword::Text(text),
        (None, Some(file)) => KeystonePassword::File(absolute(PathBuf::from(file))),
        (text, _) => {
            let reason = match text {
                Some(_) => format!("is set together with {in_file}; one of them is enough"),
                None => format!("must be the service's own, or {in_file} the file that holds it"),
            };
            problems.push(Problem { key, reason, origin: origin.or_else(|| chosen_at.map(str::to_owned)) });
            KeystonePassword::Text(String::new())
        }
    }
}

/// 0 and -1, which turns Keystone's own middleware off, need no unit.
fn cache_time(value: Value) -> Result<Duration, String> {
    match &value.kind {
        ValueKind::I64(-1 | 0) => return Ok(Duration::ZERO),
        ValueKind::I64(number) => return duration::parse(&number.to_string()),
        _ => {}
    }
    match word(value)?.as_str() {
        "-1" | "0" => Ok(Duration::ZERO),
        text => duration::parse(text),
    }
}
