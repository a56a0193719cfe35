//! The `file` backend: raw files in a directory, exported over NBD on unix sockets by `qemu-storage-daemon`s.
//!
//! For: the data plane of one machine. Never: decides what a volume may do, opens a file outside its pool on behalf of a client, serves an
//! export under a name that was fenced, or starts a daemon beside one that may live. Called by the driver pool; `hearth
//! daemons` and `hearth fsck` use [`FileBackend::daemons`] and the inventory.
//!
//! * `images`: the files, made, grown, replaced and removed durably; `names`: what their names say.
//! * `moves`: a volume that comes from another backend, or is read by another one.
//! * `snapshots`: snapshots, clones and reverts; `make`: a file with the contents of another one; `copy` and `mirror`: how the
//!   bytes get there; `copies`: those under way; `origins`: which operation made what.
//! * `objects`: files of the pool that are not Hearth's, taken and let go of.
//! * `exports`: exports and online growth of one volume, under its lock; `protocol`: how clients reach them; `mountpoint`: the files
//!   that volumes are shown as; `target`, `tgt_wire`: the iSCSI target daemon that serves such files.
//! * `registry`: the exports that volumes shall have, on disk; `ended`: the names that must never be served again.
//! * `daemon`, `link`, `process`: one storage daemon: its slot, its connection, its process.
//! * `supervisor`: adoption at start, restart and rebuild after a death.

mod copies;
mod copy;
mod daemon;
mod ended;
mod exports;
mod images;
mod link;
mod locks;
mod make;
mod mirror;
mod mountpoint;
mod moves;
mod names;
mod objects;
mod origins;
mod process;
mod protocol;
mod registry;
mod snapshots;
mod supervisor;
mod target;
mod tgt_wire;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::runtime::Handle;

use self::copies::Copies;
use self::daemon::{Daemon, Paths, SOCKET_PATH_MAX};
use self::ended::Ended;
use self::images::{FileError, GIB, Images};
use self::locks::Locks;
use self::names::Image;
use self::origins::Origins;
pub use self::protocol::{IscsiOptions, Protocol};
use self::registry::{Registry, Wanted};
pub use self::supervisor::{DaemonInfo, DaemonKind, StopError};
use self::target::Targets;
use super::qmp_features::Features;
use super::recent::Recent;
use super::{Backend, Capabilities, Capacity, Contents, Progress};
use crate::domain::backend::{Answer, Call, CallKey, Cause, CauseKind, Outcome, Request, Truth};
use crate::domain::ids::{ExportName, SnapshotId, VolumeId};
use crate::runtime::Randomness;

/// Calls that made something and are remembered: a repeated one answers as before, even if it has been deleted since.
const ANSWERS_REMEMBERED: usize = 4096;

/// Deleted snapshots and volumes that are remembered, of each, for creations that are later than their deletion.
const REMOVED_REMEMBERED: usize = 65_536;

/// Fenced names that are remembered in memory, for the case that their record on disk cannot be written (no space).
const FENCED_REMEMBERED: usize = 65_536;

/// Most storage daemons a pool may have; more would spread nothing and cost 9 MiB each.
pub const DAEMONS_PER_POOL_MAX: usize = 64;

/// Options of a `file` backend.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Its name, for logs.
    pub name: String,
    /// The pool's directory. Made with mode 0700 on first use.
    pub path: PathBuf,
    /// Directory for sockets, the record of daemons and of exports; its own for each backend.
    pub state_dir: PathBuf,
    /// Storage daemons that volumes are spread over. Setting `daemons_per_pool`.
    pub daemons_per_pool: usize,
    /// How many times the real room may be promised to volumes. Setting `max_over_subscription_ratio`.
    pub max_over_subscription_ratio: f64,
    /// How clients reach volumes. Setting `target_protocol`.
    pub protocol: Protocol,
    /// The iSCSI target daemon's binary; none: `tgtd` from the search path, if it is there.
    pub target_daemon: Option<PathBuf>,
    /// The storage daemon's binary; none: `qemu-storage-daemon` from the search path, if it is there.
    pub storage_daemon: Option<PathBuf>,
}

impl FileOptions {
    /// The defaults: two daemons, twenty-fold over-subscription (as Cinder's drivers have it).
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            state_dir: state_dir.into(),
            daemons_per_pool: 2,
            max_over_subscription_ratio: 20.0,
            protocol: Protocol::default(),
            target_daemon: None,
            storage_daemon: None,
        }
    }
}

/// Why a backend cannot be used at all. Trouble with the pool's directory is not among it: that is told by the calls.
#[derive(Debug, Error)]
pub enum OpenError {
    /// An option makes no sense.
    #[error("backend {name}: {problem}")]
    Options {
        /// The backend.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The state directory cannot be used.
    #[error("backend {name}: the state directory cannot be used: {source}")]
    State {
        /// The backend.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Another process drives the same pool.
    #[error("backend {name}: another process uses this state directory")]
    InUse {
        /// The backend.
        name: String,
    },
}

/// The backend.
pub struct FileBackend {
    options: FileOptions,
    images: Arc<Images>,
    registry: Arc<Registry>,
    locks: Locks,
    daemons: Vec<Arc<Daemon>>,
    can_export: bool,
    /// The iSCSI targets, where that is the protocol.
    targets: Option<Arc<Targets>>,
    /// Where the accounts of connections come from.
    randomness: Randomness,
    wanted: Mutex<HashMap<VolumeId, Wanted>>,
    fenced: Recent<(VolumeId, ExportName), ()>,
    ended: Arc<Ended>,
    answered: Recent<CallKey, Answer>,
    /// The epochs of deletions.
    removed: Recent<SnapshotId, u64>,
    /// The epochs at which volumes were let go of.
    disowned: Recent<VolumeId, u64>,
    removed_volumes: Recent<VolumeId, u64>,
    copies: Copies,
    origins: Arc<Origins>,
    /// Whether clones share blocks with their source: found out by [`Self::start`], shown, and relied on by nobody.
    reflink: AtomicBool,
    /// The runtime that carries connections and watchers: a worker's own may end before the backend does.
    home: OnceLock<Handle>,
    /// Held from [`Self::start`] on: one driver per pool. Threads that work on its files hold it as well, so that nobody
    /// follows before the last of them has ended.
    exclusive: Arc<Mutex<Option<fs::File>>>,
}

impl FileBackend {
    /// Opens the backend: reads what is on disk and starts nothing. Call [`Self::start`] before serving; without it the backend
    /// can only be looked at, also while another process drives the same pool.
    pub fn open(mut options: FileOptions) -> Result<Arc<Self>, OpenError> {
        let name = options.name.clone();
        let problem = |problem: &str| OpenError::Options { name: name.clone(), problem: problem.into() };
        let state = |source| OpenError::State { name: name.clone(), source };
        if !(1..=DAEMONS_PER_POOL_MAX).contains(&options.daemons_per_pool) {
            return Err(problem("daemons_per_pool must be from 1 to 64"));
        }
        if !options.max_over_subscription_ratio.is_finite() || options.max_over_subscription_ratio <= 0.0 {
            return Err(problem("max_over_subscription_ratio must be greater than 0"));
        }
        // Clients get the socket's path, so it must not depend on the working directory.
        options.state_dir = std::path::absolute(&options.state_dir).map_err(state)?;
        options.path = std::path::absolute(&options.path).map_err(state)?;
        let longest = Paths::new(&options.state_dir, DAEMONS_PER_POOL_MAX).watch();
        if longest.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(problem("the state directory's path is too long for a unix socket"));
        }
        // It separates the parameters of the target daemon's commands, which have no way to quote.
        if matches!(options.protocol, Protocol::Iscsi(_))
            && options.state_dir.as_os_str().as_encoded_bytes().contains(&b',')
        {
            return Err(problem("the state directory's path has a comma, which the iSCSI target daemon cannot read"));
        }
        let exports = options.state_dir.join("exports");
        let ended = options.state_dir.join("ended");
        let origins = options.state_dir.join("origins");
        for dir in [&exports, &ended, &origins] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(state)?;
        }

        let registry = Registry::new(exports);
        let wanted = registry.load().map_err(state)?;
        let binary = find_binary(options.storage_daemon.as_ref(), "qemu-storage-daemon");
        let slots = daemon_slots(&options, &wanted).map_err(state)?;
        let by_file: &[_] = if options.protocol.is_by_file() { link::NEEDED_FOR_FILES } else { &[] };
        let features = Arc::new(Features::new(&[link::NEEDED, by_file].concat()));
        let targets = match &options.protocol {
            Protocol::Iscsi(_) if options.state_dir.as_os_str().as_encoded_bytes().contains(&b',') => {
                return Err(problem(
                    "the state directory's path has a comma, which the iSCSI target daemon cannot read",
                ));
            }
            Protocol::Iscsi(iscsi) => {
                let binary = find_binary(options.target_daemon.as_ref(), "tgtd");
                Some(Arc::new(Targets::new(&options.state_dir, iscsi.clone(), binary)))
            }
            Protocol::Nbd | Protocol::Local => None,
        };
        let daemon = |index| Arc::new(Daemon::new(&options.state_dir, index, binary.clone(), features.clone()));
        let daemons = (0..slots).map(daemon).collect();
        let images = Images::new(options.path.clone(), &options.state_dir, options.max_over_subscription_ratio);
        Ok(Arc::new(Self {
            images: Arc::new(images),
            registry: Arc::new(registry),
            locks: Locks::default(),
            daemons,
            can_export: binary.is_some(),
            targets,
            randomness: Randomness::from_os(),
            wanted: Mutex::new(wanted),
            fenced: Recent::new(FENCED_REMEMBERED),
            ended: Arc::new(Ended::new(ended)),
            answered: Recent::new(ANSWERS_REMEMBERED),
            removed: Recent::new(REMOVED_REMEMBERED),
            disowned: Recent::new(REMOVED_REMEMBERED),
            removed_volumes: Recent::new(REMOVED_REMEMBERED),
            copies: Copies::default(),
            origins: Arc::new(Origins::new(origins)),
            reflink: AtomicBool::new(false),
            home: OnceLock::new(),
            exclusive: Arc::default(),
            options,
        }))
    }

    async fn answer(self: Arc<Self>, call: Call) -> Outcome {
        let Call { key, request } = call;
        let volume = key.volume_id;
        match request {
            Request::Create { size_gib } => self.create(key, size_gib).await,
            Request::CreateClonedVolume { source_volume_id, size_gib } => {
                self.create_copy(key, Image::Volume(source_volume_id), size_gib).await
            }
            Request::CreateVolumeFromSnapshot { source_volume_id, snapshot_id, size_gib } => {
                self.create_copy(key, Image::Snapshot(source_volume_id, snapshot_id), size_gib).await
            }
            Request::CreateSnapshot { snapshot_id } => self.create_snapshot(key, snapshot_id).await,
            Request::DeleteSnapshot { snapshot_id } => self.delete_snapshot(key, snapshot_id).await,
            Request::RevertToSnapshot { snapshot_id } => self.revert_to_snapshot(key, snapshot_id).await,
            Request::Adopt { reference, size_gib } => self.adopt(key, reference, size_gib).await,
            Request::Disown => self.disown(key).await,
            Request::AdoptSnapshot { snapshot_id, reference, size_gib } => {
                self.adopt_snapshot(key, snapshot_id, reference, size_gib).await
            }
            Request::DisownSnapshot { snapshot_id } => self.disown_snapshot(key, snapshot_id).await,
            Request::ListObjects => self.list_objects().await,
            Request::Delete => self.delete(&key).await,
            Request::Extend { new_size_gib } => self.extend(volume, new_size_gib).await,
            Request::Export { export, connector, mode, .. } => self.export(volume, export, &connector, mode).await,
            Request::Unexport { export } => self.unexport(volume, export).await,
            Request::Probe => match self.truth(volume).await {
                Ok(truth) => Outcome::Done { answer: Answer::Truth { truth } },
                Err(cause) => Outcome::Failed { cause },
            },
            Request::Plug { .. }
            | Request::Unplug { .. }
            | Request::ResizeGuest { .. }
            | Request::ProbeGuest { .. }
            | Request::MirrorGuest { .. }
            | Request::PivotGuest { .. }
            | Request::UnmirrorGuest { .. } => {
                Outcome::Refused { cause: Cause::new(CauseKind::Other, "a storage backend has no guests") }
            }
            Request::CreateMirrorTarget { size_gib } => self.create_mirror_target(key, size_gib).await,
            Request::CopyFromBackend { .. } => {
                Outcome::Refused { cause: Cause::new(CauseKind::Other, "a copy needs the source's driver") }
            }
        }
    }

    async fn create(&self, key: CallKey, size_gib: u32) -> Outcome {
        let guard = self.locks.acquire(key.volume_id).await;
        if let Some(answer) = self.answered.get(&key) {
            return Outcome::Done { answer };
        }
        let (volume, epoch) = (key.volume_id, key.epoch);
        let create = move |images: &Arc<Images>| images.create(volume, epoch, u64::from(size_gib) * GIB);
        match self.on_files_holding(guard, create).await {
            Ok((bytes, _guard)) => {
                self.answered.insert(key, Answer::Size { size_gib });
                sized(bytes)
            }
            Err(error) => error.into_outcome(),
        }
    }

    async fn delete(&self, key: &CallKey) -> Outcome {
        let volume = key.volume_id;
        // Before the lock, which a copy that brings the volume here has: first what ends those that come, then those that are.
        let epoch = self.removed_volumes.get(&volume).map_or(key.epoch, |epoch| epoch.max(key.epoch));
        self.removed_volumes.insert(volume, epoch);
        self.copies.cut_off_creation(volume);
        let _guard = self.locks.acquire(volume).await;
        if let Some(busy) = self.being_copied(volume) {
            return busy;
        }
        match self.let_go(volume).await {
            Ok(()) => {
                let (ended, origins) = (self.ended.clone(), self.origins.clone());
                let delete = move |images: &Arc<Images>| {
                    images.delete(volume)?;
                    // Only now: while there is a volume, an export call may come.
                    ended.forget(volume)?;
                    Ok(origins.forget(volume)?)
                };
                match self.on_files(delete).await {
                    Ok(()) => Outcome::done(),
                    Err(error) => error.into_outcome(),
                }
            }
            Err(outcome) => outcome,
        }
    }

    async fn extend(&self, volume: VolumeId, new_size_gib: u32) -> Outcome {
        let _guard = self.locks.acquire(volume).await;
        if let Some(busy) = self.being_copied(volume) {
            return busy;
        }
        if let Err(refused) = self.may_grow(volume, u64::from(new_size_gib) * GIB).await {
            return refused;
        }
        // The file first: an export that shows more than the file has would fail its clients.
        let bytes = match self.on_files(move |images| images.extend(volume, u64::from(new_size_gib) * GIB)).await {
            Ok(bytes) => bytes,
            Err(error) => return error.into_outcome(),
        };
        let shown = async {
            self.show_size(volume, bytes).await?;
            self.renew_targets(volume).await
        };
        match shown.await {
            Ok(()) => sized(bytes),
            // The volume has grown, its exports may lack: only a probe can tell what is true.
            Err(cause) => Outcome::Unknown { cause },
        }
    }

    async fn truth(&self, volume: VolumeId) -> Result<Truth, Cause> {
        let busy = self.is_busy(volume);
        let look = move |images: &Arc<Images>| Ok((images.size(volume)?, images.snapshots(volume)?));
        let (bytes, snapshots) = self.on_files(look).await.map_err(FileError::into_cause)?;
        Ok(Truth {
            exists: bytes.is_some(),
            size_gib: bytes.map_or(0, whole_gib),
            exports: self.exports_served(volume).await?,
            snapshots,
            busy,
        })
    }

    /// File work on a thread that may block.
    async fn on_files<T, F>(&self, work: F) -> Result<T, FileError>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<Images>) -> Result<T, FileError> + Send + 'static,
    {
        let (images, exclusive) = (self.images.clone(), self.exclusive.clone());
        let work = move || {
            let _exclusive = exclusive;
            work(&images)
        };
        match self.home().spawn_blocking(work).await {
            Ok(result) => result,
            Err(_) => Err(FileError::Uncertain("the work on the backend's storage was cut off".into())),
        }
    }

    /// The same for work that must not meet another call's: a thread goes on when its future is dropped, so the locks are
    /// its own until it ends.
    async fn on_files_holding<T, G, F>(&self, held: G, work: F) -> Result<(T, G), FileError>
    where
        T: Send + 'static,
        G: Send + 'static,
        F: FnOnce(&Arc<Images>) -> Result<T, FileError> + Send + 'static,
    {
        self.on_files(move |images| Ok((work(images)?, held))).await
    }

    fn home(&self) -> Handle {
        self.home.get_or_init(Handle::current).clone()
    }

    fn wanted(&self) -> MutexGuard<'_, HashMap<VolumeId, Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FileBackend {
    /// The daemons live on; only those who watch them are told to go.
    fn drop(&mut self) {
        for daemon in &self.daemons {
            daemon.changed.notify_one();
        }
        if let Some(targets) = &self.targets {
            targets.changed.notify_one();
        }
    }
}

impl Backend for FileBackend {
    fn call(self: Arc<Self>, call: Call) -> BoxFuture<'static, Outcome> {
        self.answer(call).boxed()
    }

    fn copy_from(self: Arc<Self>, call: Call, source: Arc<dyn Backend>) -> BoxFuture<'static, Outcome> {
        async move {
            match call.request {
                Request::CopyFromBackend { size_gib, .. } => self.copy_here(call.key, size_gib, source).await,
                _ => self.answer(call).await,
            }
        }
        .boxed()
    }

    fn contents(self: Arc<Self>, volume_id: VolumeId) -> BoxFuture<'static, Result<Contents, Cause>> {
        async move { self.lend(volume_id).await }.boxed()
    }

    fn progress(&self, key: &CallKey) -> Option<Progress> {
        self.copies.progress(key)
    }

    fn capacity(self: Arc<Self>) -> BoxFuture<'static, Result<Capacity, Cause>> {
        async move { self.on_files(|images| images.capacity()).await.map_err(FileError::into_cause) }.boxed()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            storage_protocol: self.options.protocol.storage_protocol().into(),
            reflink: self.reflink.load(Ordering::Relaxed),
            exports: self.can_export,
            // An initiator sees the size that the disk had when it logged in.
            online_extend: self.can_export && self.targets.is_none(),
        }
    }

    fn problem(&self) -> Option<String> {
        if !self.can_export {
            return Some("there is no storage daemon on this machine: volumes cannot be exported".into());
        }
        if self.targets.as_ref().is_some_and(|targets| !targets.can_serve()) {
            return Some("there is no tgtd on this machine: volumes cannot be exported by iSCSI".into());
        }
        let current = self.daemons.iter().filter_map(|daemon| Some((daemon.index, daemon.current()?)));
        let lacking = current.filter(|(_, link)| !link.lacking.is_empty()).map(|(index, link)| {
            let lacking = link.lacking.join(", ");
            format!("storage daemon {index} lacks {lacking}: volumes cannot be exported through it")
        });
        Some(lacking.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
    }

    fn inventory(self: Arc<Self>) -> BoxFuture<'static, Result<Vec<(VolumeId, Truth)>, Cause>> {
        async move { self.take_inventory().await }.boxed()
    }
}

/// The slots for daemons: those of the setting, and beyond them those which are in use from a time when it was larger.
fn daemon_slots(options: &FileOptions, wanted: &HashMap<VolumeId, Wanted>) -> io::Result<usize> {
    let mut slots = wanted.values().map(|wanted| wanted.daemon + 1).max().unwrap_or(0).max(options.daemons_per_pool);
    for entry in fs::read_dir(&options.state_dir)? {
        if let Some(Ok(index)) = entry?.file_name().to_str().map(str::parse::<usize>) {
            slots = slots.max(index + 1);
        }
    }
    Ok(slots.min(DAEMONS_PER_POOL_MAX))
}

/// The configured binary, or the one of the search path; the administrator's directories count, where Debian has `tgtd` and
/// which the path of other users lacks.
fn find_binary(configured: Option<&PathBuf>, name: &str) -> Option<PathBuf> {
    if let Some(path) = configured {
        return path.is_file().then(|| path.clone());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&paths).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir: PathBuf| dir.join(name)).find(|path| Path::is_file(path))
}

/// A size that is not a whole number of GiB reports the whole ones.
fn whole_gib(bytes: u64) -> u32 {
    u32::try_from(bytes / GIB).unwrap_or(u32::MAX)
}

fn sized(bytes: u64) -> Outcome {
    Outcome::Done { answer: Answer::Size { size_gib: whole_gib(bytes) } }
}
