//! From the layered values to [`Settings`].

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Map, Value, ValueKind};

use super::backend::absolute;
use super::reader::{Problem, Table, layered};
use super::{
    ActorSettings, AuthStrategy, ConnectionSettings, Database, FaultSettings, HistorySettings, HypervisorSettings,
    Invalid, Loaded, PolicySettings, QuotaSettings, ServerSettings, Settings, StateSettings, auth, backend, compute,
    image, tls,
};
use crate::faults::NoCrashPoint;

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8776);
/// In seconds.
const DAYS: u64 = 24 * 3600;

/// Limits of `quota.*`: what the quota API takes, too.
const QUOTA: std::ops::RangeInclusive<i64> = -1..=2_147_483_647;

/// Reads the layers.
pub(super) fn settings(file: Option<&Path>, environment: Vec<(String, String)>) -> Result<Loaded, Invalid> {
    let (mut root, origins) =
        layered(file, environment, default_backends()).map_err(|problem| Invalid(vec![problem]))?;
    let mut problems = Vec::new();
    let settings = read(&mut root, &mut problems);
    root.finish(&mut problems, &SECTIONS);
    let directory = file.map(|file| absolute(file.parent().unwrap_or(Path::new("")).to_owned()));
    if problems.is_empty() { Ok(Loaded { settings, directory, origins }) } else { Err(Invalid(problems)) }
}

const SECTIONS: [&str; 17] = [
    "server",
    "tls",
    "cors",
    "actors",
    "state",
    "database",
    "auth",
    "policy",
    "compute",
    "backends",
    "image",
    "hypervisor",
    "quota",
    "connections",
    "history",
    "faults",
    "availability_zone",
];

/// One `file` backend named `local`.
fn default_backends() -> Vec<Map<String, Value>> {
    let member = |key: &str, value: &str| (key.to_owned(), Value::new(None, ValueKind::String(value.to_owned())));
    vec![Map::from_iter([member("name", "local"), member("driver", "file")])]
}

fn read(root: &mut Table, problems: &mut Vec<Problem>) -> Settings {
    let state = state(root.table(problems, "state"), problems);
    let auth = auth::parse(root.table(problems, "auth"), &state.path, problems);
    Settings {
        server: server(root.table(problems, "server"), auth.strategy, problems),
        tls: tls::parse(root.table(problems, "tls"), problems),
        cors: cors(root, auth.strategy, problems),
        actors: actors(root.table(problems, "actors"), problems),
        database: database(root.table(problems, "database"), &state.path, problems),
        compute: compute::parse(root.table(problems, "compute"), auth.strategy, problems),
        auth,
        policy: policy(root.table(problems, "policy"), problems),
        backends: backends(root, &state.path, problems),
        image: image::parse(root.table(problems, "image"), &state.path, problems),
        hypervisor: hypervisor(root.table(problems, "hypervisor"), problems),
        quota: quota(root.table(problems, "quota"), problems),
        connections: connections(root.table(problems, "connections"), problems),
        history: history(root.table(problems, "history"), problems),
        faults: faults(root.table(problems, "faults"), problems),
        availability_zone: availability_zone(root, problems),
        state,
    }
}

fn server(mut table: Table, strategy: AuthStrategy, problems: &mut Vec<Problem>) -> ServerSettings {
    let listen = table.take(problems, "listen", LISTEN, |value| {
        let address: SocketAddr = word(value)?
            .parse()
            .map_err(|_| "must be an address with a port, such as 127.0.0.1:8776 or [::1]:8776".to_owned())?;
        // noauth makes everyone an admin (design §8)
        if strategy != AuthStrategy::Noauth || address.ip().is_loopback() {
            Ok(address)
        } else {
            Err(format!(
                "auth.strategy = \"noauth\" makes everyone an admin, so it is served on loopback only; {} is no \
                 loopback address",
                address.ip()
            ))
        }
    });
    let workers = table.number(problems, "workers", 0, 0..=1024);
    let public_endpoint = table.take(problems, "public_endpoint", None, |value| {
        let text = word(value)?;
        let is_address = text.starts_with("https://") || text.starts_with("http://");
        match text.trim_end_matches('/') {
            "" => Ok(None),
            bare if is_address && text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Some(bare.to_owned())),
            _ => Err("must be an address such as https://volumes.example.org".to_owned()),
        }
    });
    let max_connections = table.number(problems, "max_connections", 10_000, 1..=1_000_000);
    table.finish(problems, &["listen", "workers", "public_endpoint", "max_connections"]);
    ServerSettings { listen, workers, public_endpoint, max_connections }
}

fn cors(root: &mut Table, strategy: AuthStrategy, problems: &mut Vec<Problem>) -> Vec<String> {
    let table = root.table(problems, "cors");
    let (key, origin) = (table.key("allowed_origins"), table.origin_of("allowed_origins"));
    let origins = tls::parse_cors(table, problems);
    if strategy == AuthStrategy::Noauth && !origins.is_empty() {
        let reason = "auth.strategy = \"noauth\" makes everyone an admin: no page may use it".to_owned();
        problems.push(Problem { key, reason, origin });
    }
    origins
}

fn actors(mut table: Table, problems: &mut Vec<Problem>) -> ActorSettings {
    let actors = ActorSettings {
        arbiters: table.number(problems, "arbiters", 0, 0..=1024),
        idle_ttl: table.duration(problems, "idle_ttl", Duration::from_secs(600), false),
        max_active: table.number(problems, "max_active", 50_000, 1..=100_000_000),
        admission: table.number(problems, "admission", 1024, 1..=65_535),
    };
    table.finish(problems, &["arbiters", "idle_ttl", "max_active", "admission"]);
    actors
}

fn state(mut table: Table, problems: &mut Vec<Problem>) -> StateSettings {
    let path = table.take(problems, "path", "./data".to_owned(), |value| {
        word(value).and_then(|path| if path.is_empty() { Err("must not be empty".to_owned()) } else { Ok(path) })
    });
    table.finish(problems, &["path"]);
    StateSettings { path: absolute(PathBuf::from(path)) }
}

fn database(mut table: Table, state_path: &Path, problems: &mut Vec<Problem>) -> Database {
    let default = Database::Sqlite(state_path.join("hearth.db"));
    let database = table.take(problems, "url", default.clone(), |value| {
        let url = word(value)?;
        if url.is_empty() { Ok(default) } else { database_url(&url) }
    });
    table.finish(problems, &["url"]);
    database
}

/// The reasons never repeat the URL: it may hold a password.
fn database_url(url: &str) -> Result<Database, String> {
    const FORMS: &str = "must be sqlite://PATH or postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE";
    let Some((scheme, rest)) = url.split_once("://") else { return Err(FORMS.to_owned()) };
    match scheme {
        "sqlite" if rest.is_empty() => Err("names no file: sqlite://PATH".to_owned()),
        "sqlite" if rest.contains('?') => Err("takes no options after '?': Hearth sets the pragmas itself".to_owned()),
        "sqlite" => Ok(Database::Sqlite(absolute(PathBuf::from(rest)))),
        "postgres" | "postgresql" => {
            let location = rest.split('?').next().unwrap_or_default();
            match location.split_once('/') {
                Some((_, database)) if !database.is_empty() => Ok(Database::Postgres(url.to_owned())),
                _ => Err("names no database: postgres://HOST/DATABASE".to_owned()),
            }
        }
        _ => Err(FORMS.to_owned()),
    }
}

fn policy(mut table: Table, problems: &mut Vec<Problem>) -> PolicySettings {
    let mut path =
        |name| Some(table.text(problems, name, "")).filter(|path| !path.is_empty()).map(|path| absolute(path.into()));
    let (file, directory) = (path("file"), path("directory"));
    let enforce_new_defaults = table.flag(problems, "enforce_new_defaults", true);
    table.finish(problems, &["file", "directory", "enforce_new_defaults"]);
    PolicySettings { file, directory, enforce_new_defaults }
}

fn backends(root: &mut Table, state_path: &Path, problems: &mut Vec<Problem>) -> Vec<backend::BackendSettings> {
    let mut names = BTreeSet::new();
    let mut backends = Vec::new();
    for table in root.tables(problems, "backends") {
        let (key, origin) = (table.key("name"), table.origin_of("name"));
        let parsed = backend::parse(table, state_path, problems);
        if !parsed.name.is_empty() && !names.insert(parsed.name.clone()) {
            let reason = format!("another backend is named {:?} already", parsed.name);
            problems.push(Problem { key, reason, origin });
        }
        backends.push(parsed);
    }
    backends
}

fn hypervisor(mut table: Table, problems: &mut Vec<Problem>) -> HypervisorSettings {
    let qmp_dirs = table.take(problems, "qmp_dirs", Vec::new(), |value| {
        let paths = match value.kind {
            ValueKind::Array(items) => items.into_iter().map(word).collect::<Result<Vec<_>, _>>()?,
            ValueKind::String(joined) => joined.split(',').map(|path| path.trim().to_owned()).collect(),
            _ => return Err("must be a list of directories".to_owned()),
        };
        let paths: Vec<PathBuf> = paths.into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        // a relative directory would change its meaning with the working directory, and it is a security boundary
        match paths.iter().find(|path| !path.is_absolute()) {
            Some(path) => Err(format!("{} is not absolute", path.display())),
            None => Ok(paths),
        }
    });
    let follow_guests = table.flag(problems, "follow_guests", true);
    table.finish(problems, &["qmp_dirs", "follow_guests"]);
    HypervisorSettings { qmp_dirs, follow_guests }
}

fn quota(mut table: Table, problems: &mut Vec<Problem>) -> QuotaSettings {
    let quota = QuotaSettings {
        volumes: table.number(problems, "volumes", 10, QUOTA),
        gigabytes: table.number(problems, "gigabytes", 1000, QUOTA),
        snapshots: table.number(problems, "snapshots", 10, QUOTA),
        per_volume_gigabytes: table.number(problems, "per_volume_gigabytes", -1, QUOTA),
        backups: table.number(problems, "backups", 10, QUOTA),
        backup_gigabytes: table.number(problems, "backup_gigabytes", 1000, QUOTA),
        groups: table.number(problems, "groups", 10, QUOTA),
        no_snapshot_gb_quota: table.flag(problems, "no_snapshot_gb_quota", false),
    };
    table.finish(
        problems,
        &[
            "volumes",
            "gigabytes",
            "snapshots",
            "per_volume_gigabytes",
            "backups",
            "backup_gigabytes",
            "groups",
            "no_snapshot_gb_quota",
        ],
    );
    quota
}

fn connections(mut table: Table, problems: &mut Vec<Problem>) -> ConnectionSettings {
    let queue_deadline = table.duration(problems, "queue_deadline", Duration::from_secs(60), false);
    table.finish(problems, &["queue_deadline"]);
    ConnectionSettings { queue_deadline }
}

fn history(mut table: Table, problems: &mut Vec<Problem>) -> HistorySettings {
    let retention = table.duration(problems, "retention", Duration::from_secs(30 * DAYS), false);
    table.finish(problems, &["retention"]);
    HistorySettings { retention }
}

fn faults(mut table: Table, problems: &mut Vec<Problem>) -> FaultSettings {
    let enabled = table.flag(problems, "enabled", false);
    let places = ["crash_at", "no_sync"].map(|name| (table.key(name), table.origin_of(name)));
    let crash_at = table.take(problems, "crash_at", None, |value| match word(value)?.as_str() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error: NoCrashPoint| error.to_string()),
    });
    let no_sync = table.flag(problems, "no_sync", false);
    for (is_set, (key, origin)) in [crash_at.is_some(), no_sync].into_iter().zip(places) {
        if is_set && !enabled {
            problems.push(Problem { key, reason: "takes effect only with faults.enabled".to_owned(), origin });
        }
    }
    table.finish(problems, &["enabled", "crash_at", "no_sync"]);
    FaultSettings { enabled, crash_at, no_sync }
}

fn availability_zone(root: &mut Table, problems: &mut Vec<Problem>) -> String {
    root.take(problems, "availability_zone", "nova".to_owned(), |value| {
        word(value).and_then(|zone| if zone.is_empty() { Err("must not be empty".to_owned()) } else { Ok(zone) })
    })
}

/// A text.
pub(super) fn word(value: Value) -> Result<String, String> {
    match value.kind {
        ValueKind::String(text) => Ok(text),
        _ => Err("must be a text".to_owned()),
    }
}

/// One of `words`, literally.
pub(super) fn one_of(value: Value, words: &[&'static str]) -> Result<&'static str, String> {
    let text = word(value)?;
    words
        .iter()
        .find(|candidate| **candidate == text)
        .copied()
        .ok_or_else(|| format!("{text:?} must be one of {}", words.join(", ")))
}

/// The address of another service, without a slash at the end and without any of `versions`. The reasons never repeat it: it
/// may hold a password by mistake.
pub(super) fn endpoint(value: Value, versions: &[&str]) -> Result<String, String> {
    let text = word(value)?;
    if text.is_empty() {
        return Ok(text);
    }
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or("must begin with https:// or http://")?;
    let host = rest.split('/').next().unwrap_or_default();
    let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['?', '#', '@', '\\', '%', '"']);
    if host.is_empty() || !is_clean {
        return Err("must be an address such as https://cloud.example.org, without user, query or fragment".to_owned());
    }
    let bare = text.trim_end_matches('/');
    Ok(versions.iter().find_map(|version| bare.strip_suffix(version)).unwrap_or(bare).to_owned())
}
