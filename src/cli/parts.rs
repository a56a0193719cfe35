//! Builds the parts from the settings: store, backends, hypervisors. Shared by the commands, so that `fsck` looks at exactly
//! what `serve` works with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::actors::PlacementOptions;
use crate::domain::server::HypervisorKind;
use crate::drivers::file::{FileBackend, FileOptions, IscsiOptions, Protocol};
use crate::drivers::hypervisor::qmp::QmpHypervisor;
use crate::drivers::pool::PoolOptions;
use crate::drivers::sim::remote::SimRemote;
use crate::drivers::sim::{Durability, Latency, LatencyTable, SimBackend, SimOptions, SimTruth};
use crate::drivers::{Backend, Hypervisor};
use crate::settings::{BackendSettings, DriverSettings, Settings, SimProcess, TargetProtocol};

/// The host part of every backend's name. A constant, not the machine's name: a volume must find its backend again after the
/// machine was renamed.
const HOST: &str = "hearth";

/// A part cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// A `file` backend.
    #[error(transparent)]
    File(#[from] crate::drivers::file::OpenError),
    /// The truth of a `sim` backend.
    #[error("backend {name}: {source}")]
    Sim {
        /// The backend.
        name: String,
        /// Why.
        #[source]
        source: crate::drivers::sim::JournalError,
    },
}

/// The storage side of a process.
pub struct Parts {
    /// Every backend with its full name and bounds, in the order of the settings.
    pub backends: Vec<(String, Arc<dyn Backend>, PoolOptions)>,
    /// The hypervisors that there are.
    pub hypervisors: Vec<(HypervisorKind, Arc<dyn Hypervisor>, PoolOptions)>,
    /// The `file` backends, for their daemons.
    pub files: Vec<(String, Arc<FileBackend>)>,
}

/// `host@backend#pool` of a configured backend.
pub fn full_name(backend: &BackendSettings) -> String {
    format!("{HOST}@{name}#{name}", name = backend.name)
}

/// What the settings say of each backend as far as new volumes are concerned, by its full name.
pub fn placement(settings: &Settings) -> BTreeMap<String, PlacementOptions> {
    let of = |backend: &BackendSettings| PlacementOptions {
        zone: backend.availability_zone.clone().unwrap_or_else(|| settings.availability_zone.clone()),
        reserved_percentage: backend.reserved_percentage,
        max_over_subscription_ratio: backend.max_over_subscription_ratio,
    };
    settings.backends.iter().map(|backend| (full_name(backend), of(backend))).collect()
}

/// Opens every backend and hypervisor of the settings. Starts no daemon.
pub fn open(settings: &Settings) -> Result<Parts, PartError> {
    let mut parts = Parts { backends: Vec::new(), hypervisors: Vec::new(), files: Vec::new() };
    let mut simulated: Vec<(Arc<SimBackend>, PoolOptions)> = Vec::new();
    for backend in &settings.backends {
        let name = full_name(backend);
        let options = bounds(backend);
        match &backend.driver {
            DriverSettings::File(file) => {
                let mut driver = FileOptions::new(&backend.name, &file.path, socket_dir(settings, &backend.name));
                driver.daemons_per_pool = file.daemons_per_pool;
                driver.max_over_subscription_ratio = backend.max_over_subscription_ratio;
                driver.protocol = match &file.target_protocol {
                    TargetProtocol::Nbd => Protocol::Nbd,
                    TargetProtocol::Local => Protocol::Local,
                    TargetProtocol::Iscsi { portal, prefix } => {
                        Protocol::Iscsi(IscsiOptions { portal: *portal, prefix: prefix.clone() })
                    }
                };
                let driver = FileBackend::open(driver)?;
                parts.files.push((name.clone(), Arc::clone(&driver)));
                parts.backends.push((name, driver, options));
            }
            DriverSettings::Sim(sim) => {
                let driver: Arc<dyn Backend> = match &sim.process {
                    SimProcess::InProcess => {
                        let truth = SimTruth::open(&sim.truth, Durability::Process)
                            .map_err(|source| PartError::Sim { name: backend.name.clone(), source })?;
                        let latency = LatencyTable::all(Latency::Fixed { us: micros(sim.latency) });
                        let driver = SimBackend::new(SimOptions { latency, ..SimOptions::with_truth(truth, sim.seed) });
                        simulated.push((Arc::clone(&driver), options));
                        driver
                    }
                    SimProcess::Separate { socket } => {
                        let remote = SimRemote::new(socket);
                        if !parts.hypervisors.iter().any(|(kind, _, _)| *kind == HypervisorKind::Sim) {
                            parts.hypervisors.push((HypervisorKind::Sim, remote.clone(), options));
                        }
                        remote
                    }
                };
                parts.backends.push((name, driver, options));
            }
        }
    }
    // One for all that are simulated in this process: guests move between them.
    if let Some((first, options)) = simulated.first()
        && parts.hypervisors.is_empty()
    {
        let hypervisor: Arc<dyn Hypervisor> = first.hypervisor_with(simulated[1..].iter().map(|(other, _)| &**other));
        parts.hypervisors.push((HypervisorKind::Sim, hypervisor, *options));
    }
    let qmp = QmpHypervisor::new(settings.hypervisor.qmp_dirs.clone());
    parts.hypervisors.push((HypervisorKind::Qmp, qmp, PoolOptions::default()));
    Ok(parts)
}

/// The sockets and records of one backend's daemons.
fn socket_dir(settings: &Settings, backend: &str) -> PathBuf {
    settings.state.socket_dir().join(backend)
}

fn bounds(backend: &BackendSettings) -> PoolOptions {
    PoolOptions {
        queue: backend.queue,
        workers: backend.workers,
        max_outstanding: backend.max_outstanding,
        deadlines: backend.deadlines,
        ..PoolOptions::default()
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
