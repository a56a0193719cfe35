//! The settings: built-in defaults, then FILE (TOML), then the environment (`HEARTH__SECTION__KEY`).
//!
//! Read once at start by the command line, which hands each part its own section; nothing else reads files or the
//! environment. Parsing is strict: an unknown key or a wrong value is an error which names the key, the reason and where
//! it was written, and all errors are told at once. `config/hearth.toml` is the annotated list of every setting; a test holds
//! that it equals the defaults here.

mod auth;
mod backend;
mod check;
mod compute;
mod duration;
mod image;
mod keystone;
mod nova;
mod parse;
mod reader;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use auth::{AuthSettings, AuthStrategy, BasicAuthSettings, FixedIdentity, FixedToken, LocalAuthSettings};
pub use backend::{BackendSettings, DriverSettings, FileDriverSettings, SimDriverSettings, SimProcess, TargetProtocol};
pub use compute::{ComputeMode, ComputeSettings};
pub use duration::parse as parse_duration;
pub use image::{GlanceSettings, ImageServiceSettings, ImageSettings, ImageStoreSettings};
pub use keystone::{KeystonePassword, KeystoneSettings};
pub use nova::{NovaCredentials, NovaSettings};
pub use reader::{ENVIRONMENT_PREFIX, Problem};
pub use tls::TlsSettings;

use crate::domain::quota::Limits;
use crate::faults::CrashAt;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `server`.
    pub server: ServerSettings,
    /// `tls`; none: plain HTTP.
    pub tls: Option<TlsSettings>,
    /// `cors.allowed_origins`: origins whose pages may use the API in a browser.
    pub cors: Vec<String>,
    /// `actors`.
    pub actors: ActorSettings,
    /// `state`.
    pub state: StateSettings,
    /// `database.url`.
    pub database: Database,
    /// `auth`.
    pub auth: AuthSettings,
    /// `policy`.
    pub policy: PolicySettings,
    /// `compute`.
    pub compute: ComputeSettings,
    /// `[[backends]]`.
    pub backends: Vec<BackendSettings>,
    /// `image`.
    pub image: ImageSettings,
    /// `hypervisor`.
    pub hypervisor: HypervisorSettings,
    /// `quota`.
    pub quota: QuotaSettings,
    /// `connections`.
    pub connections: ConnectionSettings,
    /// `history`.
    pub history: HistorySettings,
    /// `faults`.
    pub faults: FaultSettings,
    /// `availability_zone`: the zone of volumes that ask for none, and of backends that have none of their own.
    pub availability_zone: String,
}

/// `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// HTTP worker threads; zero chooses by cores.
    pub workers: usize,
    /// Where clients reach this service, without a slash at the end; none: where their Host header says.
    pub public_endpoint: Option<String>,
    /// Connections at the same time; more wait until one ends.
    pub max_connections: usize,
}

/// `actors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorSettings {
    /// Threads that run actors; zero chooses by cores.
    pub arbiters: usize,
    /// An actor idle for so long is passivated.
    pub idle_ttl: Duration,
    /// At most so many active volumes; beyond it the longest idle one is passivated first.
    pub max_active: usize,
    /// Requests admitted per volume; beyond: 503 with Retry-After.
    pub admission: u32,
}

/// `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// The directory of the database, the default pool and the sockets; absolute.
    pub path: PathBuf,
}

impl StateSettings {
    /// Where sockets of storage daemons are made. Its name is short because a socket path has at most 107 bytes.
    pub fn socket_dir(&self) -> PathBuf {
        self.path.join("run")
    }
}

/// `database.url`.
#[derive(Clone, PartialEq, Eq)]
pub enum Database {
    /// The embedded database, in this file.
    Sqlite(PathBuf),
    /// PostgreSQL, by its URL. The URL may hold a password: it is never printed.
    Postgres(String),
}

impl Database {
    /// The URL that the store opens. May hold a password.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite://{}", path.display()),
            Self::Postgres(url) => url.clone(),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

/// `policy`: where the rules are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySettings {
    /// The main file, absolute, which must be there; none: `policy.yaml` beside the settings file, if it is there.
    pub file: Option<PathBuf>,
    /// The directory of further files, absolute; none: `policy.d` beside the settings file.
    pub directory: Option<PathBuf>,
    /// The old defaults of rules count no more.
    pub enforce_new_defaults: bool,
}

/// `hypervisor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HypervisorSettings {
    /// A server's QMP socket must lie under one of these directories; none: no guest can be plugged.
    pub qmp_dirs: Vec<PathBuf>,
    /// The state of a server follows what its QEMU says.
    pub follow_guests: bool,
}

/// `quota`: the default limits of a project, −1 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaSettings {
    /// Volumes.
    pub volumes: i64,
    /// GiB of volumes and snapshots.
    pub gigabytes: i64,
    /// Snapshots.
    pub snapshots: i64,
    /// GiB of one volume.
    pub per_volume_gigabytes: i64,
    /// Backups.
    pub backups: i64,
    /// GiB of backups.
    pub backup_gigabytes: i64,
    /// Groups.
    pub groups: i64,
    /// The GiB of snapshots do not count.
    pub no_snapshot_gb_quota: bool,
}

impl QuotaSettings {
    /// The limits of a project for which none are set.
    pub fn limits(&self) -> Limits {
        Limits {
            volumes: self.volumes,
            snapshots: self.snapshots,
            gigabytes: self.gigabytes,
            backups: self.backups,
            backup_gigabytes: self.backup_gigabytes,
            groups: self.groups,
            per_volume_gigabytes: self.per_volume_gigabytes,
            no_snapshot_gigabytes: self.no_snapshot_gb_quota,
            ..Limits::NONE
        }
    }
}

/// `connections`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// How long a call that must answer with a backend's result waits for its turn (`spec/races.md` P4).
    pub queue_deadline: Duration,
}

/// `history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistorySettings {
    /// Events and soft-deleted rows are kept for so long.
    pub retention: Duration,
}

/// `faults`: failures on demand, for tests. The others are refused unless `enabled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSettings {
    /// `/admin/faults` exists.
    pub enabled: bool,
    /// The process dies there.
    pub crash_at: Option<CrashAt>,
    /// The embedded database does not wait for the disk: breaks promise I4, so that the power-loss test can be seen to fail.
    pub no_sync: bool,
}

/// The settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Settings that were read, and where each of them was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The directory of the settings file; none: there is no file.
    pub directory: Option<PathBuf>,
    origins: reader::Origins,
}

impl Settings {
    /// Reads FILE (the built-in defaults when there is none) and the process's environment.
    pub fn load(file: Option<&Path>) -> Result<Loaded, Invalid> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            name.starts_with(ENVIRONMENT_PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
        });
        Self::load_from(file, environment.collect())
    }

    /// Reads FILE and this environment (names with their `HEARTH__` prefix).
    pub fn load_from(file: Option<&Path>, environment: Vec<(String, String)>) -> Result<Loaded, Invalid> {
        parse::settings(file, environment)
    }
}

impl Loaded {
    /// What on this machine would keep Hearth from running with these settings: a directory that cannot be written, a
    /// socket path that would be too long. Makes and removes one probe file per directory; changes nothing else.
    pub fn problems_on_this_machine(&self) -> Vec<Problem> {
        check::problems(&self.settings, &self.origins)
    }
}

#[cfg(test)]
mod tests;
