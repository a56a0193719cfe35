//! Keeps the exports alive: adopts daemons at start, and when one dies, starts another and rebuilds what it served under the
//! same names. A fenced name is in no record, so it never comes back.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use thiserror::Error;

use super::copy::Calls;
use super::daemon::Daemon;
use super::mirror::abandon;
use super::names::Image;
use super::target::Targets;
use super::{FileBackend, OpenError};
use crate::domain::ids::VolumeId;

/// Volumes that are rebuilt side by side, so that one with a call under way does not hold up the others.
const REBUILD_CONCURRENCY: usize = 64;

/// Wait before the first and at most between attempts to rebuild what could not be rebuilt.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// How long the start waits for the pool's lock: calls of the process's previous backend may still be ending.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Which daemon of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonKind {
    /// The storage daemon with this index.
    Storage(usize),
    /// The iSCSI target daemon.
    Target,
}

impl fmt::Display for DaemonKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(index) => index.fmt(formatter),
            Self::Target => formatter.write_str("target"),
        }
    }
}

/// A daemon, for `hearth daemons list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonInfo {
    /// Which one.
    pub kind: DaemonKind,
    /// Its process.
    pub pid: i32,
    /// Exports that it serves; none when it does not answer.
    pub exports: Option<usize>,
}

/// Why a daemon is not stopped.
#[derive(Debug, Error)]
pub enum StopError {
    /// No such slot.
    #[error("there is no daemon {0}")]
    NotFound(DaemonKind),
    /// Somebody may be reading and writing through it.
    #[error("the daemon serves {0} exports: detach the volumes first")]
    InUse(usize),
    /// It does not say what it serves.
    #[error("the daemon does not answer, so it may be in use")]
    Unreachable,
    /// The operating system did not do it.
    #[error("the daemon did not end: {0}")]
    Io(#[from] io::Error),
}

impl FileBackend {
    /// Takes the pool for this process, removes what dead calls have left, adopts the daemons that live, and serves every
    /// recorded export again. Exports that cannot be served yet are retried in the background.
    pub async fn start(self: &Arc<Self>) -> Result<(), OpenError> {
        self.take_pool().await?;
        for daemon in &self.daemons {
            daemon.own();
        }
        if let Some(targets) = &self.targets {
            targets.own();
        }
        let removed = match self.on_files(|images| images.remove_temporaries(|_| true)).await {
            Ok(removed) => removed,
            Err(error) => {
                tracing::warn!(backend = %self.options.name, ?error, "temporaries are not removed");
                Vec::new()
            }
        };
        if !removed.is_empty() {
            tracing::info!(backend = %self.options.name, count = removed.len(), "temporaries of dead calls removed");
        }
        match self.on_files(|images| images.can_share(Calls::default())).await {
            Ok(can_share) => self.reflink.store(can_share, Ordering::Relaxed),
            // File systems without unnamed files, and a pool that is not there yet: clones try it themselves.
            Err(error) => tracing::debug!(backend = %self.options.name, ?error, "reflink is not tried out"),
        }
        let complete = join_all(self.daemons.iter().map(|daemon| self.restore(daemon))).await;
        for daemon in &self.daemons {
            self.abandon_copies(daemon, &removed).await;
        }
        for (daemon, complete) in self.daemons.iter().zip(complete) {
            self.home().spawn(supervise(Arc::downgrade(self), daemon.clone(), complete));
        }
        if let Some(targets) = &self.targets {
            let wanted = self.wanted().clone();
            let names = wanted.values().flat_map(|wanted| wanted.exports.keys());
            if let Err(error) = targets.keep_only(names).await {
                tracing::warn!(backend = %self.options.name, %error, "targets of ended exports are left");
            }
            self.home().spawn(supervise_targets(Arc::downgrade(self), targets.clone()));
        }
        Ok(())
    }

    /// A daemon that lives may still be writing what dead calls have begun, for nobody.
    async fn abandon_copies(&self, daemon: &Daemon, images: &[Image]) {
        let Some(link) = daemon.current() else { return };
        for image in images {
            if let Err(error) = abandon(&link, image.id()).await {
                tracing::warn!(backend = %self.options.name, ?image, %error, "a copy of a dead call goes on");
            }
        }
    }

    /// The daemons that run.
    pub async fn daemons(&self) -> Vec<DaemonInfo> {
        let mut infos = Vec::new();
        for daemon in &self.daemons {
            let link = match daemon.existing_link(&self.home()).await {
                Ok(None) => continue,
                Ok(Some(link)) => Some(link),
                Err(_) => None,
            };
            let pid = match &link {
                Some(link) => Some(link.process().record().pid),
                None => daemon.recorded_pid(),
            };
            let exports = match &link {
                Some(link) => link.exports().await.ok().map(|exports| exports.values().map(|names| names.len()).sum()),
                None => None,
            };
            infos.extend(pid.map(|pid| DaemonInfo { kind: DaemonKind::Storage(daemon.index), pid, exports }));
        }
        if let Some(targets) = &self.targets {
            match targets.info().await {
                Ok(running) => infos.extend(running.map(|(pid, count)| DaemonInfo {
                    kind: DaemonKind::Target,
                    pid,
                    exports: Some(count),
                })),
                Err(error) => tracing::warn!(backend = %self.options.name, %error, "the target daemon is not asked"),
            }
        }
        infos
    }

    /// Ends a daemon that nobody uses; refused while it serves, or shall serve, an export.
    pub async fn stop_daemon(&self, kind: DaemonKind) -> Result<(), StopError> {
        let index = match (kind, &self.targets) {
            (DaemonKind::Storage(index), _) => index,
            (DaemonKind::Target, None) => return Err(StopError::NotFound(kind)),
            (DaemonKind::Target, Some(targets)) => {
                let unreachable = |_| StopError::Unreachable;
                return match targets.info().await.map_err(unreachable)? {
                    Some((_, count)) if count > 0 => Err(StopError::InUse(count)),
                    _ => targets.stop().await.map_err(|error| StopError::Io(io::Error::other(error))),
                };
            }
        };
        let daemon = self.daemons.get(index).ok_or(StopError::NotFound(kind))?;
        let exports = daemon.exports(&self.home()).await.map_err(|_| StopError::Unreachable)?;
        let served: usize = exports.values().map(|names| names.len()).sum();
        let wanted: usize = self.wanted_at(index).values().sum();
        if served.max(wanted) > 0 {
            return Err(StopError::InUse(served.max(wanted)));
        }
        Ok(daemon.stop(&self.home()).await?)
    }

    /// Volumes that shall be exported by this daemon, and how many exports each.
    fn wanted_at(&self, index: usize) -> BTreeMap<VolumeId, usize> {
        let wanted = self.wanted();
        wanted
            .iter()
            .filter(|(_, wanted)| wanted.daemon == index)
            .map(|(id, wanted)| (*id, wanted.exports.len()))
            .collect()
    }

    /// Connects to the daemon if it lives, starts it if exports want it, and serves what is missing. Whether all is served.
    async fn restore(&self, daemon: &Arc<Daemon>) -> bool {
        let volumes = self.wanted_at(daemon.index);
        let connected = match volumes.is_empty() {
            true => daemon.existing_link(&self.home()).await.map(|_| ()),
            false => daemon.link(&self.home()).await.map(|_| ()),
        };
        if let Err(error) = connected {
            tracing::error!(backend = %self.options.name, daemon = daemon.index, %error, "exports are not served");
            return false;
        }
        futures_util::stream::iter(volumes.into_keys().map(|volume| self.restore_volume(daemon, volume)))
            .buffer_unordered(REBUILD_CONCURRENCY)
            // All of them, whatever becomes of the first.
            .fold(true, |all, complete| async move { all && complete })
            .await
    }

    async fn restore_volume(&self, daemon: &Arc<Daemon>, volume: VolumeId) -> bool {
        let _guard = self.locks.acquire(volume).await;
        // Under the lock: what is wanted may have changed while it was awaited.
        let wanted = self.wanted_of(volume);
        if wanted.exports.is_empty() || wanted.daemon != daemon.index {
            return true;
        }
        let bytes = match self.on_files(move |images| images.size(volume)).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                tracing::error!(%volume, "an exported volume does not exist");
                return false;
            }
            Err(error) => {
                tracing::error!(%volume, ?error, "an exported volume cannot be read");
                return false;
            }
        };
        match self.serve(daemon, volume, bytes, wanted.exports).await {
            Ok(()) => true,
            Err(error) => {
                let cause = error.into_cause();
                tracing::error!(%volume, cause = cause.text, "exports are not served");
                false
            }
        }
    }

    /// One process per pool: two would each believe that they know what is exported.
    async fn take_pool(&self) -> Result<(), OpenError> {
        let name = || self.options.name.clone();
        let path = self.options.state_dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| OpenError::State { name: name(), source })?;
        let deadline = tokio::time::Instant::now() + LOCK_WAIT;
        // SAFETY: plain system call on an open descriptor.
        while unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            if tokio::time::Instant::now() >= deadline {
                return Err(OpenError::InUse { name: name() });
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
        *self.exclusive.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(file);
        Ok(())
    }
}

/// Lives as long as the backend, which it does not keep alive: waits for the daemon's death, or for the time to try
/// again, and restores.
async fn supervise(backend: Weak<FileBackend>, daemon: Arc<Daemon>, mut complete: bool) {
    let mut retry = RETRY_FIRST;
    loop {
        let process = daemon.current().map(|link| link.process().clone());
        let died = async {
            match &process {
                // A watch that fails is as good as a death: the restore looks for itself.
                Some(process) => drop(process.exited().await),
                None => std::future::pending().await,
            }
        };
        let due = async {
            match complete {
                true => std::future::pending().await,
                false => tokio::time::sleep(retry).await,
            }
        };
        tokio::select! {
            () = died => tracing::warn!(daemon = daemon.index, "the storage daemon has died"),
            () = due => {}
            () = daemon.changed.notified() => {}
        }
        let Some(backend) = backend.upgrade() else { return };
        complete = backend.restore(&daemon).await;
        retry = if complete { RETRY_FIRST } else { (retry * 2).min(RETRY_MAX) };
    }
}

/// Lives as long as the backend: waits for the target daemon's death, and makes its targets again, by a new process.
async fn supervise_targets(backend: Weak<FileBackend>, targets: Arc<Targets>) {
    let mut retry = None;
    loop {
        let process = targets.process();
        let died = async {
            match &process {
                Some(process) => drop(process.exited().await),
                None => std::future::pending().await,
            }
        };
        let due = async {
            match retry {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = died => tracing::warn!("the iSCSI target daemon has died"),
            () = due => {}
            // Another process, made for an export: the others are still to be served.
            () = targets.changed.notified() => {}
        }
        let Some(backend) = backend.upgrade() else { return };
        let mut complete = true;
        for daemon in &backend.daemons {
            complete &= backend.restore(daemon).await;
        }
        retry = match (complete, retry) {
            (true, _) => None,
            (false, None) => Some(RETRY_FIRST),
            (false, Some(wait)) => Some((wait * 2).min(RETRY_MAX)),
        };
    }
}
