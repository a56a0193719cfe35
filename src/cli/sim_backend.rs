//! `hearth sim-backend`: the simulated backend and hypervisor as a process of their own, so that calls in flight go on
//! while the service is dead (design §5).

use std::path::PathBuf;

use crate::drivers::sim::process::{ServeError, ServeOptions, serve};
use crate::drivers::sim::{DEFAULT_TOTAL_GIB, Durability, Latency, LatencyTable};

/// Arguments of `hearth sim-backend`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The unix socket to serve on.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// The file that keeps what is true.
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// How long each call takes, milliseconds.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Seed of latencies and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The backend's room, GiB.
    #[arg(long, default_value_t = DEFAULT_TOTAL_GIB)]
    total_gib: u64,
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(arguments: &Arguments) -> Result<(), ServeError> {
    let latency = Latency::Fixed { us: arguments.latency_ms.saturating_mul(1_000) };
    let options = ServeOptions {
        socket: arguments.socket.clone(),
        truth: arguments.truth.clone(),
        durability: Durability::Process,
        latency: LatencyTable::all(latency),
        seed: arguments.seed,
        total_gib: arguments.total_gib,
        faults: Vec::new(),
    };
    actix_web::rt::System::new().block_on(async move {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        serve(options, shutdown).await
    })
}
