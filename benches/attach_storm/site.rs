//! Hearth on a directory of its own, its settings in a file, its log beside them; and the baselines beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::baseline::{Kind, Orders, Reply};
use super::cycles::for_baseline;
use hearth::storm::Step;

use super::http::{Connection, render};
use super::process::{Server, wait_until};

/// The binary under measurement.
pub const HEARTH: &str = env!("CARGO_BIN_EXE_hearth");
/// Volumes that are asked for at the same time while a site is filled.
const FILLING: usize = 64;

/// Settings that differ between lines.
#[derive(Clone, Default)]
pub struct SiteOptions {
    /// `""`: SQLite below the site.
    pub database: String,
    /// Names and latencies of the simulated backends; none: one without latency.
    pub backends: Vec<(&'static str, u64)>,
    /// Backend calls at the same time; 0: [`WORKERS`].
    pub workers: usize,
    /// The backends are other processes, which nobody has started: as good as storage elsewhere as long as it is not asked.
    /// Otherwise a start reads what the simulated storage remembers.
    pub elsewhere: bool,
    /// `actors.idle_ttl`; none: the default.
    pub idle_ttl: Option<&'static str>,
}

/// Backend calls at the same time, unless a line says otherwise.
const WORKERS: usize = 16;

/// A directory with settings.
pub struct Site {
    directory: TempDir,
}

impl Site {
    /// Below `scratch`, which is on the disk that is measured.
    pub fn new(scratch: &Path, options: &SiteOptions) -> Self {
        let directory = tempfile::Builder::new().prefix("site-").tempdir_in(scratch).expect("a directory");
        let site = Self { directory };
        site.set(options);
        site
    }

    /// Writes the settings for the next start.
    pub fn set(&self, options: &SiteOptions) {
        let (state, database) = (self.state().display().to_string(), &options.database);
        let workers = if options.workers == 0 { WORKERS } else { options.workers };
        let idle_ttl = options.idle_ttl.unwrap_or("10min");
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[state]\npath = \"{state}\"\n[database]\nurl = \"{database}\"\n\
             [actors]\nidle_ttl = \"{idle_ttl}\"\n[quota]\nvolumes = -1\ngigabytes = -1\n"
        );
        let default = [("sim", 0)];
        let backends = if options.backends.is_empty() { &default[..] } else { &options.backends };
        for (name, latency) in backends {
            let process = if options.elsewhere { "separate" } else { "in-process" };
            text.push_str(&format!(
                "[[backends]]\nname = \"{name}\"\ndriver = \"sim\"\nlatency_ms = {latency}\nworkers = {workers}\nqueue = 65536\n\
                 process = \"{process}\"\n"
            ));
        }
        std::fs::write(self.settings(), text).expect("the settings");
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn settings(&self) -> PathBuf {
        self.directory.path().join("hearth.toml")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts Hearth with the log of every request in a file.
    pub async fn start(&self) -> Server {
        let settings = self.settings();
        let arguments = ["serve", "--config", settings.to_str().expect("utf-8")];
        Server::start(Path::new(HEARTH), &arguments, &self.file("log")).await
    }

    /// The same below strace, which `scripts/setup.sh bench` installs.
    pub async fn start_traced(&self) -> Server {
        let settings = self.settings();
        let arguments = ["serve", "--config", settings.to_str().expect("utf-8")];
        Server::start_traced(Path::new(HEARTH), &arguments, &self.file("log"), &self.file("trace")).await
    }

    /// Starts a baseline which answers `cycle` as Hearth at `like` answers it for `volume`.
    pub async fn start_baseline(&self, kind: Kind, volumes: &[String], replies: Vec<Reply>) -> Server {
        let orders = Orders {
            kind,
            threads: threads(),
            replies,
            volumes: volumes.iter().map(|id| Uuid::parse_str(id).expect("a uuid")).collect(),
        };
        let file = tempfile::Builder::new().suffix(".json").tempfile_in(self.directory.path()).expect("a file");
        serde_json::to_writer(&file, &orders).expect("the orders");
        let (_, path) = file.keep().expect("the orders stay");
        let program = std::env::current_exe().expect("this program");
        let arguments = [super::BASELINE, path.to_str().expect("utf-8")];
        Server::start(&program, &arguments, &self.file("baseline-log")).await
    }

    /// The bare path on SQLite, for the cycle as recorded.
    pub async fn start_bare_sqlite(&self, volumes: &[String], replies: Vec<Reply>) -> Server {
        let path = self.file("bare.db").to_str().expect("utf-8").to_owned();
        self.start_baseline(Kind::Sqlite(path), volumes, replies).await
    }
}

/// HTTP workers and arbiters of Hearth by default: half of the cores each.
fn threads() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}

/// What Hearth answers to each request of a cycle.
pub async fn record(address: SocketAddr, cycle: &[Step], volume: &str) -> Vec<Reply> {
    let mut connection = Connection::open(address).await.expect("a connection");
    let mut attachment = String::new();
    let mut replies = Vec::new();
    for (step, like) in cycle.iter().zip(for_baseline(cycle)) {
        let (method, path, body) = render(step, volume, &attachment);
        let answer = connection.ask(&method, &path, &body).await.expect("an answer");
        assert!(step.expect.contains(&answer.status), "{method} {path}: {}", answer.status);
        replies.push(Reply::like(&method, &like.path, &answer));
        if let Some(id) = answer.json()["attachment"]["id"].as_str().filter(|_| !step.captures.is_empty()) {
            id.clone_into(&mut attachment);
        }
    }
    replies
}

/// Makes `count` volumes of 1 GiB and waits until they are available; their ids.
pub async fn make_volumes(server: &Server, count: usize) -> Vec<String> {
    let address = server.address;
    let one = |numbers: std::ops::Range<usize>| async move {
        let mut connection = Connection::open(address).await.expect("a connection");
        let mut ids = Vec::with_capacity(numbers.len());
        for number in numbers {
            let body = json!({"volume": {"size": 1, "name": format!("storm-{number}")}}).to_string();
            let answer = connection.ask("POST", "/v3/volumes", &body).await.expect("an answer");
            assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
            ids.push(answer.json()["volume"]["id"].as_str().expect("an id").to_owned());
        }
        ids
    };
    let share = count.div_ceil(FILLING);
    let ranges = (0..count).step_by(share).map(|start| start..(start + share).min(count));
    let ids = futures_util::future::join_all(ranges.map(one)).await.concat();
    wait_until_settled(server).await;
    ids
}

/// Waits until no operation is open.
pub async fn wait_until_settled(server: &Server) -> std::time::Duration {
    wait_until("everything settles", async || {
        get(server.address, "/admin/operations?limit=1").await["operations"] == json!([])
    })
    .await
}

/// One GET as JSON.
pub async fn get(address: SocketAddr, path: &str) -> Value {
    serde_json::from_str(&super::process::ask(address, path).await).expect("JSON")
}
