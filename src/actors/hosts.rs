//! What is known of the backends besides their calls: what administrators say of them (`os-services`), and what is promised
//! there. Decisions see it as it is in their own step: a change is on disk, then in force, then answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::core::Core;
use super::service::{Backends, Service};
use crate::domain::placement::{Room, Standing};
use crate::domain::service::{HostUsage, SCHEDULER_BINARY, ServiceRecord, VOLUME_BINARY};
use crate::domain::time::Timestamp;
use crate::domain::volume::command::Hosts;
use crate::domain::volume::{Command, VolumeState};
use crate::store::{Store, StoreError};

/// What is promised at the backends is added up again when somebody asks and the last sum is older.
const SUMS_AGE_MAX: Duration = Duration::from_secs(30);
/// Another node's words are in force here after this time.
const REFRESH: Duration = Duration::from_secs(10);

/// A backend as the pool knows it.
#[derive(Clone, Debug)]
pub struct BackendReport {
    /// `host@backend#pool`.
    pub name: String,
    /// As last measured.
    pub room: Option<Room>,
    /// Its circuit is closed.
    pub up: bool,
    /// `nbd`…
    pub storage_protocol: String,
    /// Volumes can grow while they are attached.
    pub online_extend: bool,
}

/// What the settings say of a backend, as far as new volumes are concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementOptions {
    /// Availability zone.
    pub zone: String,
    /// Percent of the room that new volumes do not get.
    pub reserved_percentage: u8,
    /// So many times the room may be promised.
    pub max_over_subscription_ratio: f64,
}

impl Default for PlacementOptions {
    fn default() -> Self {
        Self { zone: "nova".to_owned(), reserved_percentage: 0, max_over_subscription_ratio: 20.0 }
    }
}

/// A part of the service, for operators.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceStanding {
    /// What was said of it, or that nothing was.
    pub record: ServiceRecord,
    /// Availability zone.
    pub zone: String,
    /// Of a backend: whether it answers.
    pub backend_up: Option<bool>,
}

/// What an administrator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceChange {
    /// Takes new volumes again.
    Enable,
    /// Takes no new volumes.
    Disable {
        /// Why.
        reason: Option<String>,
    },
    /// Nothing is created or deleted there.
    Freeze,
    /// The end of it.
    Thaw,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// No such part.
    #[error("there is no such service")]
    NotFound,
    /// It is frozen, or thawed, already.
    #[error("the service is so already")]
    Unchanged,
    /// The record cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Records = BTreeMap<(String, String), ServiceRecord>;

/// The state behind it.
#[derive(Default)]
pub(super) struct HostBook {
    records: ArcSwap<Records>,
    /// One write or refresh at a time: an older reading never replaces a younger word.
    writing: tokio::sync::Mutex<()>,
    sums: Mutex<Sums>,
    placing: Mutex<()>,
}

/// Room that a decision has promised. It counts at once: until the sums are read again, and over that while nobody knows
/// whether the reading has seen the commit. Dropped: the commit has ended, or nobody knows how.
pub(super) struct Promise {
    core: Arc<Core>,
    host: String,
    size_gib: u64,
    stands: bool,
}

#[derive(Default)]
struct Sums {
    /// Volumes and GiB.
    by_host: BTreeMap<String, (u64, u64)>,
    read_at: Option<Timestamp>,
    reading: bool,
    /// Promised, and not known to be committed.
    open: BTreeMap<String, (u64, u64)>,
    /// Committed while the sums were being read.
    meanwhile: BTreeMap<String, (u64, u64)>,
}

fn add(sums: &mut BTreeMap<String, (u64, u64)>, host: &str, more: (u64, u64)) {
    let (volumes, gigabytes) = sums.entry(host.to_owned()).or_default();
    *volumes += more.0;
    *gigabytes += more.1;
}

fn subtract(sums: &mut BTreeMap<String, (u64, u64)>, host: &str, size_gib: u64) {
    if let Some((volumes, gigabytes)) = sums.get_mut(host) {
        *volumes = volumes.saturating_sub(1);
        *gigabytes = gigabytes.saturating_sub(size_gib);
    }
}

impl Promise {
    /// It was certainly not committed.
    pub(super) fn take_back(mut self) {
        self.stands = false;
        subtract(&mut self.core.host_book.sums().by_host, &self.host, self.size_gib);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut sums = self.core.host_book.sums();
        subtract(&mut sums.open, &self.host, self.size_gib);
        if self.stands && sums.reading {
            add(&mut sums.meanwhile, &self.host, (1, self.size_gib));
        }
    }
}

impl HostBook {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        // every change is one assignment
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, host: &str, binary: &str) -> Option<ServiceRecord> {
        self.records.load().get(&(host.to_owned(), binary.to_owned())).cloned()
    }

    fn is_frozen(&self, host: &str) -> bool {
        let records = self.records.load();
        // mostly nobody has said anything
        let service = service_of(host);
        !records.is_empty()
            && records.get(&(service.to_owned(), VOLUME_BINARY.to_owned())).is_some_and(|record| record.frozen)
    }

    async fn refresh(&self, store: &dyn Store) -> Result<(), StoreError> {
        let _one = self.writing.lock().await;
        let records = store.services().await?.into_iter();
        let records = records.map(|record| ((record.host.clone(), record.binary.clone()), record)).collect::<Records>();
        self.records.store(Arc::new(records));
        Ok(())
    }
}

impl Core {
    /// What a decision may know of the backends.
    pub(super) fn hosts(self: &Arc<Self>, command: &Command, state: Option<&VolumeState>) -> Hosts {
        let standings = if places(command) { self.standings() } else { Vec::new() };
        let host = state.and_then(|state| state.volume.host.as_deref());
        Hosts {
            frozen: host.is_some_and(|host| self.host_book.is_frozen(host)),
            fenced: command.connects().is_some_and(|host| self.fences.is_fenced(host)),
            standings,
        }
    }

    /// Every backend as it stands, in the order of the settings.
    pub(super) fn standings(self: &Arc<Self>) -> Vec<Standing> {
        self.sums_if_old();
        let sums = self.host_book.sums();
        let standing = |report: BackendReport| {
            let options = self.options.placement.get(&report.name).cloned().unwrap_or_default();
            let (volumes, provisioned_gib) = sums.by_host.get(&report.name).copied().unwrap_or_default();
            let record = self.host_book.record(service_of(&report.name), VOLUME_BINARY).unwrap_or_default();
            Standing {
                host: report.name.as_str().into(),
                zone: options.zone,
                enabled: !record.disabled,
                frozen: record.frozen,
                up: report.up,
                room: report.room,
                provisioned_gib,
                volumes,
                reserved_percentage: options.reserved_percentage,
                max_over_subscription_ratio: options.max_over_subscription_ratio,
                storage_protocol: report.storage_protocol,
                online_extend: report.online_extend,
            }
        };
        self.backends.reports().into_iter().map(standing).collect()
    }

    /// Whoever may promise room looks at it and promises it before anybody else looks: of two that want the last room one gets it.
    /// Held for one decision, which waits for nothing.
    pub(super) fn placing(&self) -> MutexGuard<'_, ()> {
        self.host_book.placing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a decision promises at a backend, if it is committed: the volume's room where it is made, or where it goes to. It
    /// counts at once, and until the next sum.
    pub(super) fn promise(self: &Arc<Self>, before: Option<&VolumeState>, next: &VolumeState) -> Option<Promise> {
        let goes_to =
            |state: &VolumeState| state.migration().and_then(|migration| migration.kind.other_backend().cloned());
        // A volume that is being adopted has no size yet, only one that is reserved.
        let (host, reserved_gib) = match before {
            None => (next.volume.host.clone(), next.operations.iter().map(|operation| operation.reserved_gib).sum()),
            Some(before) if goes_to(before).is_none() => (goes_to(next), 0),
            Some(_) => (None, 0),
        };
        let (host, size_gib) = (host?.to_string(), u64::from(next.volume.size_gib) + u64::from(reserved_gib));
        let mut sums = self.host_book.sums();
        add(&mut sums.by_host, &host, (1, size_gib));
        add(&mut sums.open, &host, (1, size_gib));
        Some(Promise { core: Arc::clone(self), host, size_gib, stands: true })
    }

    /// Adds up in the background what is promised, if that was long ago. Whoever asks now still sees the old sums.
    fn sums_if_old(self: &Arc<Self>) {
        let now = self.world.clock.now();
        {
            let mut sums = self.host_book.sums();
            if sums.reading || sums.read_at.is_some_and(|at| now.since(at) < SUMS_AGE_MAX) {
                return;
            }
            sums.reading = true;
            sums.meanwhile.clear();
        }
        let core = Arc::clone(self);
        actix_rt::spawn(async move {
            let read = core.world.store.host_usage().await;
            let mut sums = core.host_book.sums();
            sums.reading = false;
            sums.read_at = Some(core.world.clock.now());
            match read {
                Ok(usage) => {
                    sums.by_host = by_host(&usage);
                    // The reading may have missed them; counted twice, they are so until the next one.
                    let unseen = std::mem::take(&mut sums.meanwhile).into_iter().chain(sums.open.clone());
                    unseen.collect::<Vec<_>>().iter().for_each(|(host, more)| add(&mut sums.by_host, host, *more));
                }
                Err(error) => tracing::warn!(%error, "what is promised at the backends could not be added up"),
            }
        });
    }
}

/// Whether the command may promise room at a backend.
pub(super) fn places(command: &Command) -> bool {
    matches!(command, Command::Create(_) | Command::Migrate(_) | Command::Retype(_))
}

/// `host@backend` of `host@backend#pool`.
fn service_of(name: &str) -> &str {
    name.split('#').next().unwrap_or_default()
}

fn by_host(usage: &[HostUsage]) -> BTreeMap<String, (u64, u64)> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for row in usage {
        let (volumes, gigabytes) = sums.entry(row.host.clone()).or_default();
        *volumes += row.volumes;
        *gigabytes += row.gigabytes;
    }
    sums
}

/// Reads the records again from time to time; ends with the service.
pub(super) fn start(core: &Arc<Core>) {
    let core = Arc::downgrade(core);
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(REFRESH).await;
            let Some(core) = core.upgrade() else { break };
            if let Err(error) = core.host_book.refresh(core.world.store.as_ref()).await {
                tracing::warn!(%error, "what administrators say of services could not be read");
            }
            match core.fences.refresh(core.world.store.as_ref()).await {
                // what was admitted just before a word is found now
                Ok(()) => core.fences_resume(),
                Err(error) => tracing::warn!(%error, "which hosts are fenced could not be read"),
            }
        }
    });
}

impl Service {
    /// Every backend as it stands.
    pub fn standings(&self) -> Vec<Standing> {
        self.core.standings()
    }

    /// Reads what administrators have said, also of hosts. Must have been done before the first request is taken.
    pub async fn services_load(&self) -> Result<(), StoreError> {
        self.core.host_book.refresh(self.core.world.store.as_ref()).await?;
        self.core.fences.refresh(self.core.world.store.as_ref()).await
    }

    /// The parts of the service: a `cinder-volume` for each backend, and the scheduler of their host.
    pub fn services(&self) -> Vec<ServiceStanding> {
        let mut services: Vec<ServiceStanding> = Vec::new();
        let record = |host: &str, binary: &str| {
            self.core.host_book.record(host, binary).unwrap_or_else(|| ServiceRecord {
                host: host.to_owned(),
                binary: binary.to_owned(),
                ..ServiceRecord::default()
            })
        };
        let reports = self.core.backends.reports();
        let zone =
            |report: &BackendReport| self.core.options.placement.get(&report.name).cloned().unwrap_or_default().zone;
        for report in &reports {
            let host = service_of(&report.name);
            if let Some(known) = services.iter_mut().find(|known| known.record.host == host) {
                // several pools of one backend
                known.backend_up = known.backend_up.map(|up| up && report.up);
                continue;
            }
            let record = record(host, VOLUME_BINARY);
            services.push(ServiceStanding { record, zone: zone(report), backend_up: Some(report.up) });
        }
        if let Some(first) = reports.first() {
            let host = first.name.split('@').next().unwrap_or_default();
            let record = record(host, SCHEDULER_BINARY);
            services.insert(0, ServiceStanding { record, zone: zone(first), backend_up: None });
        }
        services
    }

    /// Says something of one part. In force when this returns, also after a restart.
    pub async fn service_change(
        &self,
        host: &str,
        binary: &str,
        change: ServiceChange,
    ) -> Result<ServiceRecord, ServiceError> {
        let book = &self.core.host_book;
        let _one = book.writing.lock().await;
        let known = self.services().into_iter().map(|service| service.record);
        let mut record = known
            .into_iter()
            .find(|record| record.host == host && record.binary == binary)
            .ok_or(ServiceError::NotFound)?;
        match change {
            ServiceChange::Enable => {
                record.disabled = false;
                record.disabled_reason = None;
            }
            ServiceChange::Disable { reason } => {
                record.disabled = true;
                record.disabled_reason = reason;
            }
            ServiceChange::Freeze | ServiceChange::Thaw => {
                let frozen = change == ServiceChange::Freeze;
                if record.frozen == frozen {
                    return Err(ServiceError::Unchanged);
                }
                record.frozen = frozen;
            }
        }
        record.updated_at = self.core.world.clock.now();
        self.core.world.store.service_put(record.clone()).await?;
        let mut records = Records::clone(&book.records.load());
        records.insert((record.host.clone(), record.binary.clone()), record.clone());
        book.records.store(Arc::new(records));
        Ok(record)
    }

    /// The backends, for whoever asks more of them.
    pub(super) fn backends(&self) -> &dyn Backends {
        self.core.backends.as_ref()
    }
}
