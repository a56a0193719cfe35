//! `hearth fill N`: volumes in bulk, straight into the database of the settings, for trials at scale.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::parts::{PartError, full_name};
use super::state_dir::{StateDir, StateDirError};
use crate::domain::attachment::Attachment;
use crate::domain::operation::Operation;
use crate::domain::status::VolumeStatus;
use crate::domain::volume::VolumeState;
use crate::drivers::sim::{Durability, SimExport, SimTruth};
use crate::runtime::{Clock, Randomness};
use crate::settings::{DriverSettings, Settings, SimProcess};
use crate::store::fill::{FillError, FillOptions, fill};
use crate::store::{StoreOptions, Synchronous};

/// The age of the oldest volume.
const SPAN: Duration = Duration::from_secs(2 * 365 * 24 * 3600);

/// Arguments of `hearth fill`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) file: super::ConfigFile,
    /// How many volumes.
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    volumes: u64,
    /// Per cent of them that are in use, connected by hosts that no server of Hearth stands for.
    #[arg(long, value_name = "PERCENT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    attachments: u8,
    /// Per cent of them whose creation failed.
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    errors: u8,
    /// How many of them are left with an open operation, as if the service had died in the middle of it: create, connect,
    /// extend, disconnect, delete in turn.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    open_operations: u64,
    /// Projects that they belong to: fill-0, fill-1…
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    projects: u32,
    /// Size of each, GiB. A simulated backend has room for a million GiB.
    #[arg(long, value_name = "GIB", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
}

/// The database cannot be filled.
#[derive(Debug, thiserror::Error)]
enum FillFailure {
    /// A running service, above all.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error(transparent)]
    Part(#[from] PartError),
    #[error(transparent)]
    Fill(#[from] FillError),
}

/// Fills, and says what was made.
pub(super) fn run(settings: &Settings, arguments: &Arguments) -> ExitCode {
    if u32::from(arguments.attachments) + u32::from(arguments.errors) > 100 {
        eprintln!("hearth: --attachments and --errors are more than 100 per cent together");
        return ExitCode::from(super::EXIT_SETTINGS);
    }
    if arguments.open_operations > arguments.volumes {
        eprintln!("hearth: --open-operations are some of the {} volumes, and cannot be more", arguments.volumes);
        return ExitCode::from(super::EXIT_SETTINGS);
    }
    super::outcome(make(settings, arguments))
}

fn make(settings: &Settings, arguments: &Arguments) -> Result<(), FillFailure> {
    // held until all is written: a service would not see what is made behind its back
    let _state = StateDir::open(&settings.state.path, &settings.state.socket_dir())?;
    let truths = Truths::open(settings)?;
    let options = FillOptions {
        volumes: arguments.volumes,
        open_operations: arguments.open_operations,
        attached_percent: arguments.attachments,
        error_percent: arguments.errors,
        projects: arguments.projects,
        size_gib: arguments.size,
        hosts: settings.backends.iter().map(full_name).collect(),
        availability_zone: settings.availability_zone.clone(),
        now: Clock::System.now(),
        span: SPAN,
    };
    let store = StoreOptions {
        synchronous: if settings.faults.no_sync { Synchronous::Off } else { Synchronous::Full },
        ..StoreOptions::default()
    };
    let begun = Instant::now();
    let url = settings.database.url();
    let filled = fill(&url, &options, &store, &Randomness::from_os(), |states| truths.tell(states))?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "hearth: {} volumes, {} attachments, {} open operations in {seconds:.1} s",
        filled.volumes, filled.attachments, filled.operations
    );
    for host in &truths.unknown {
        println!(
            "hearth: {host} cannot be told: its volumes are in the records only, and `hearth fsck` will miss them"
        );
    }
    Ok(())
}

/// The simulated backends of this process, which learn of the volumes; others would need real storage.
struct Truths {
    known: BTreeMap<String, SimTruth>,
    unknown: BTreeSet<String>,
}

impl Truths {
    fn open(settings: &Settings) -> Result<Self, PartError> {
        let mut truths = Self { known: BTreeMap::new(), unknown: BTreeSet::new() };
        for backend in &settings.backends {
            match &backend.driver {
                DriverSettings::Sim(sim) if matches!(sim.process, SimProcess::InProcess) => {
                    let truth = SimTruth::open(&sim.truth, Durability::Process)
                        .map_err(|source| PartError::Sim { name: backend.name.clone(), source })?;
                    truths.known.insert(full_name(backend), truth);
                }
                _ => {
                    truths.unknown.insert(full_name(backend));
                }
            }
        }
        Ok(truths)
    }

    fn tell(&self, states: &[VolumeState]) -> Result<(), String> {
        for state in states.iter().filter(|state| exists(state)) {
            let Some(truth) = state.volume.host.as_deref().and_then(|host| self.known.get(host)) else { continue };
            let exports = state.attachments.iter().filter(|row| row.is_connected()).filter_map(export_of);
            truth.adopt(state.id(), state.volume.size_gib, exports).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Whether a backend has the volume: its create went through. An open one died before the backend was asked.
fn exists(state: &VolumeState) -> bool {
    let is_create = |open: &Operation| open.kind.creates_volume();
    state.volume.status != VolumeStatus::Error && !state.operations.iter().any(is_create)
}

fn export_of(row: &Attachment) -> Option<(crate::domain::ids::ExportName, SimExport)> {
    let of = SimExport {
        volume_id: row.volume_id,
        attachment_id: row.id,
        mode: row.attach_mode?,
        host: row.attached_host.as_deref().map(str::to_owned),
    };
    Some((row.export.clone()?, of))
}
