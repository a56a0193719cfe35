//! One storage daemon: its process, its QMP connection, and what it serves.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::link::{Link, LinkError};
use super::process::{Process, ProcessRecord};
use super::registry::{read_json, write_json};
use crate::domain::ids::{ExportName, VolumeId};
use crate::drivers::qmp::Qmp;
use crate::drivers::qmp_features::Features;

/// From the start of a daemon until it answers; measured 7–13 ms.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// An adopted daemon at whose socket nobody listens gets this long: it may have been starting when the service died.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a starting daemon's socket is tried.
const START_POLL: Duration = Duration::from_millis(2);

/// A daemon that is told to end gets this long before it is killed; measured 1.4–6 ms.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A log larger than this is begun afresh when the daemon is started.
const LOG_BYTES_KEPT: u64 = 1 << 20;

/// A command that met a broken connection is tried again over a new one, this often in all.
pub(super) const ATTEMPTS: usize = 3;

/// Longest path of a unix socket, without the final NUL (`sun_path`).
pub(super) const SOCKET_PATH_MAX: usize = 107;

/// Why a daemon cannot be used now.
#[derive(Debug, Error)]
pub(super) enum DaemonError {
    /// It does not start.
    #[error("the storage daemon does not start: {0}")]
    Start(io::Error),
    /// It lives, and does not answer.
    #[error("the storage daemon does not answer: {0}")]
    Unreachable(io::Error),
    /// It runs and answers, but is of a version that cannot serve volumes.
    #[error("the storage daemon on this machine lacks {0}")]
    Lacking(String),
}

/// The files of a daemon.
#[derive(Clone)]
pub(super) struct Paths {
    dir: PathBuf,
}

impl Paths {
    /// In the directory `daemons/<index>` of the backend's state.
    pub(super) fn new(state_dir: &Path, index: usize) -> Self {
        Self { dir: state_dir.join(index.to_string()) }
    }

    /// Its QMP socket.
    pub(super) fn qmp(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }

    /// Its NBD socket.
    pub(super) fn nbd(&self) -> PathBuf {
        self.dir.join("nbd.sock")
    }

    /// The QMP socket of those who only look (`hearth fsck`, `hearth daemons`): a socket serves one client at a time, and
    /// the service holds the other one.
    pub(super) fn watch(&self) -> PathBuf {
        self.dir.join("watch.sock")
    }

    /// The file that it shows an export as, for protocols that go by files.
    pub(super) fn shown(&self, export: &ExportName) -> PathBuf {
        self.dir.join("files").join(export.as_str())
    }

    fn record(&self) -> PathBuf {
        self.dir.join("daemon.json")
    }

    fn pid(&self) -> PathBuf {
        self.dir.join("pid")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

/// A slot for a daemon, whether one runs or not.
pub(super) struct Daemon {
    pub(super) index: usize,
    pub(super) paths: Paths,
    binary: Option<PathBuf>,
    features: Arc<Features>,
    /// Whether this process drives the pool; if not it only looks.
    owned: AtomicBool,
    /// Held while a process is looked for, started, connected or stopped: never two in one slot.
    gate: tokio::sync::Mutex<()>,
    /// The connection to the present process.
    current: Mutex<Option<Arc<Link>>>,
    /// Told when there is another process, and when the backend goes away.
    pub(super) changed: Notify,
}

impl Daemon {
    /// The slot `index` of the backend with this state directory; without a binary it can adopt, but not start.
    pub(super) fn new(state_dir: &Path, index: usize, binary: Option<PathBuf>, features: Arc<Features>) -> Self {
        Self {
            index,
            paths: Paths::new(state_dir, index),
            binary,
            features,
            owned: AtomicBool::new(false),
            gate: tokio::sync::Mutex::new(()),
            current: Mutex::new(None),
            changed: Notify::new(),
        }
    }

    /// From here on this process drives the daemon: it may start and end it, and uses the first of its sockets.
    pub(super) fn own(&self) {
        self.owned.store(true, Ordering::Relaxed);
    }

    fn is_owned(&self) -> bool {
        self.owned.load(Ordering::Relaxed)
    }

    /// The connection if it is usable now; waits for nothing.
    pub(super) fn current(&self) -> Option<Arc<Link>> {
        self.slot().clone().filter(|link| link.is_usable())
    }

    /// A connection to the daemon, which is started if it does not run. What it serves is asked for whenever the
    /// connection is new, so that a link's books are right from the start.
    pub(super) async fn link(self: &Arc<Self>, home: &Handle) -> Result<Arc<Link>, DaemonError> {
        match self.acquire(home, true).await? {
            // What it serves from former times is still ended through `existing_link`.
            Some(link) if !link.lacking.is_empty() => Err(DaemonError::Lacking(link.lacking.join(", "))),
            Some(link) => Ok(link),
            None => Err(DaemonError::Start(io::Error::other("no process"))),
        }
    }

    /// The connection if a daemon runs; never starts one. None is proof that nothing is served in this slot.
    pub(super) async fn existing_link(self: &Arc<Self>, home: &Handle) -> Result<Option<Arc<Link>>, DaemonError> {
        self.acquire(home, false).await
    }

    async fn acquire(self: &Arc<Self>, home: &Handle, start: bool) -> Result<Option<Arc<Link>>, DaemonError> {
        let _gate = self.gate.lock().await;
        if let Some(link) = self.current() {
            return Ok(Some(link));
        }
        loop {
            let adopted = self.blocking(home, Self::find_process).await.map_err(DaemonError::Unreachable)?;
            let fresh = adopted.is_none();
            let process = match adopted {
                Some(process) => process,
                None if !start || !self.is_owned() => {
                    *self.slot() = None;
                    return Ok(None);
                }
                None => self.blocking(home, Self::start_process).await.map_err(DaemonError::Start)?,
            };
            let process = Arc::new(process);
            match self.connect(&process, fresh, home).await? {
                Some(link) => {
                    let link = Arc::new(link);
                    *self.slot() = Some(link.clone());
                    self.changed.notify_one();
                    return Ok(Some(link));
                }
                None if !self.is_owned() => {
                    return Err(DaemonError::Unreachable(io::ErrorKind::ConnectionRefused.into()));
                }
                // Nobody can ever talk to it again: its socket is gone. Only its death makes room for another.
                None => end(&process).await.map_err(DaemonError::Unreachable)?,
            }
        }
    }

    /// Ends the daemon. The caller has made sure that it serves nothing.
    pub(super) async fn stop(self: &Arc<Self>, home: &Handle) -> io::Result<()> {
        let _gate = self.gate.lock().await;
        if let Some(process) = self.blocking(home, Self::find_process).await? {
            end(&process).await?;
        }
        *self.slot() = None;
        let record = self.paths.record();
        self.blocking(home, move |_| super::images::remove_if_there(&record)).await
    }

    /// What the daemon really serves; empty when none runs: a dead daemon serves nothing.
    pub(super) async fn exports(
        self: &Arc<Self>,
        home: &Handle,
    ) -> Result<HashMap<VolumeId, BTreeSet<ExportName>>, LinkError> {
        let mut broken = LinkError::Broken("no connection".into());
        for _ in 0..ATTEMPTS {
            match self.existing_link(home).await.map_err(|error| LinkError::Broken(error.to_string()))? {
                None => return Ok(HashMap::new()),
                Some(link) => match link.exports().await {
                    // It died while it was asked, or a new connection will answer.
                    Err(error @ LinkError::Broken(_)) => broken = error,
                    answer => return answer,
                },
            }
        }
        Err(broken)
    }

    async fn blocking<T, F>(self: &Arc<Self>, home: &Handle, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> io::Result<T> + Send + 'static,
    {
        let this = self.clone();
        home.spawn_blocking(move || work(&this)).await.map_err(io::Error::other)?
    }

    /// The live process of this slot: the recorded one, or one that was started and not yet recorded when
    /// the service died (it has written its pid itself).
    fn find_process(&self) -> io::Result<Option<Process>> {
        if let Some(record) = read_json::<ProcessRecord>(&self.paths.record())?
            && let Some(process) = Process::open(&record)?
        {
            return Ok(Some(process));
        }
        let Ok(text) = fs::read_to_string(self.paths.pid()) else { return Ok(None) };
        let Ok(pid) = text.trim().parse::<i32>() else { return Ok(None) };
        let Some(record) = Process::find(pid, &self.paths.qmp().to_string_lossy())? else { return Ok(None) };
        if self.is_owned() {
            write_json(&self.paths.record(), &record)?;
        }
        Process::open(&record)
    }

    /// Starts a daemon. It holds a lock on its pid file for as long as it lives, so a second one in this slot is
    /// impossible even if every record were lost.
    fn start_process(&self) -> io::Result<Process> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.paths.dir)?;
        let log = self.paths.log();
        let begin = fs::metadata(&log).is_ok_and(|found| found.len() > LOG_BYTES_KEPT);
        let output =
            OpenOptions::new().create(true).append(!begin).write(true).truncate(begin).mode(0o600).open(&log)?;
        let binary = self.binary.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut command = Command::new(binary);
        command
            .arg("--pidfile")
            .arg(self.paths.pid())
            .arg("--nbd-server")
            .arg(format!("addr.type=unix,addr.path={},max-connections=0", option(&self.paths.nbd())))
            .arg("--chardev")
            .arg(format!("socket,id=qmp,path={},server=on,wait=off", option(&self.paths.qmp())))
            .args(["--monitor", "chardev=qmp"])
            .arg("--chardev")
            .arg(format!("socket,id=watch,path={},server=on,wait=off", option(&self.paths.watch())))
            .args(["--monitor", "chardev=watch"])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let process = Process::spawn(command)?;
        write_json(&self.paths.record(), process.record())?;
        tracing::info!(daemon = self.index, pid = process.record().pid, "storage daemon started");
        Ok(process)
    }

    /// Connects; none when an adopted process cannot be talked to any more, because nobody listens at its socket.
    async fn connect(&self, process: &Arc<Process>, fresh: bool, home: &Handle) -> Result<Option<Link>, DaemonError> {
        let patience = if fresh { START_TIMEOUT } else { ADOPT_TIMEOUT };
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let path = if self.is_owned() { self.paths.qmp() } else { self.paths.watch() };
            let tried = home.spawn(async move { Qmp::connect(&path).await }).await;
            match tried.map_err(|error| DaemonError::Unreachable(io::Error::other(error)))? {
                Ok(qmp) => {
                    let unreachable = |error| DaemonError::Unreachable(io::Error::other(error));
                    let lacking = self.features.lacking(&qmp).await.map_err(|error| unreachable(error.into()))?;
                    let link = Link::new(qmp, process.clone(), lacking);
                    link.learn().await.map_err(unreachable)?;
                    return Ok(Some(link));
                }
                Err(error) if !process.is_alive() => return Err(DaemonError::Start(error)),
                Err(error) => {
                    let nobody = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound);
                    if !nobody || tokio::time::Instant::now() >= deadline {
                        return if nobody && !fresh { Ok(None) } else { Err(DaemonError::Unreachable(error)) };
                    }
                    tokio::time::sleep(START_POLL).await;
                }
            }
        }
    }

    /// The pid on record, when nothing better is known.
    pub(super) fn recorded_pid(&self) -> Option<i32> {
        read_json::<ProcessRecord>(&self.paths.record()).ok().flatten().map(|record| record.pid)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a process and waits until it is dead.
pub(super) async fn end(process: &Process) -> io::Result<()> {
    process.signal(libc::SIGTERM)?;
    if let Ok(ended) = tokio::time::timeout(STOP_TIMEOUT, process.exited()).await {
        return ended;
    }
    process.signal(libc::SIGKILL)?;
    process.exited().await
}

/// A path inside a comma-separated option.
fn option(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
