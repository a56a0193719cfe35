//! The load: Hearth's own generator, on one thread beside the server.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hearth::storm::client::Waits;
use hearth::storm::{Cycle, Limit, Pace, Plan, Site, Step, Unit};

use super::http::HEADERS;

/// What is to be done, by whom and for how long.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub cycle: Vec<Step>,
    /// Values of `{volume}`; each client has its share.
    pub volumes: Vec<String>,
    pub clients: usize,
    pub duration: Duration,
    /// Cycles that arrive each second, whether or not the earlier ones have ended; none: each client begins the next one
    /// when its last has ended.
    pub rate: Option<f64>,
}

/// What came of it. Times are microseconds; in an open loop a cycle's first request counts from its intended arrival.
pub struct Report(hearth::storm::Report);

impl Report {
    pub fn requests(&self) -> u64 {
        self.0.requests
    }

    pub fn rate(&self) -> f64 {
        self.0.requests_per_second
    }

    /// Cycles that failed, and in an open loop those that nobody was free to begin.
    pub fn errors(&self) -> u64 {
        self.0.cycles_failed + self.0.unstarted
    }

    pub fn first_error(&self) -> Option<&str> {
        self.0.failures.first().map(String::as_str)
    }

    pub fn p50(&self) -> f64 {
        self.0.latency_us.p50 as f64
    }

    pub fn p99(&self) -> f64 {
        self.0.latency_us.p99 as f64
    }

    /// The median of one step of the cycle.
    pub fn step_p50(&self, step: usize) -> f64 {
        self.0.steps[step].latency_us.p50 as f64
    }
}

/// Runs it to its end: every cycle that began is finished, so that every volume is left as it was found.
pub async fn run(load: &Load) -> Report {
    let unit = |volume: &String| Unit::from([("volume".to_owned(), volume.clone())]);
    let mut site = Site::bare(load.address);
    site.headers = HEADERS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let plan = Plan {
        site,
        cycle: Cycle::new("bench", load.cycle.clone()),
        units: load.volumes.iter().map(unit).collect(),
        clients: load.clients,
        threads: 1,
        pace: load.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        limit: Limit::Duration(load.duration),
        warmup: Duration::ZERO,
        drain: hearth::storm::DRAIN,
        waits: Waits::default(),
    };
    let storm = move || hearth::storm::run(&plan, &AtomicBool::new(false), &mut |_| {});
    Report(tokio::task::spawn_blocking(storm).await.expect("the storm ends").expect("the storm runs"))
}
