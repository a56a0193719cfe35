//! What the environment asks for.

use std::path::PathBuf;
use std::time::Duration;

/// Seconds of one run, unless `HEARTH_BENCH_SECONDS` says otherwise.
const SECONDS: f64 = 2.0;
/// Volumes of the large and of the small database of the lines about scale.
const LARGE: usize = 1_000_000;
const SMALL: usize = 10_000;

/// The environment of a run.
pub struct Options {
    /// `HEARTH_BENCH_ONLY`: names of lines; empty: all.
    only: Vec<String>,
    /// `HEARTH_BENCH_SECONDS`: length of one run.
    pub run: Duration,
    /// Length of the open loop: 30 runs, 60 s by default.
    pub open_loop: Duration,
    /// Pairs of runs that are interleaved.
    pub pairs: usize,
    /// Pairs of the line about a slow neighbour, which is the noisiest.
    pub neighbour_pairs: usize,
    /// `HEARTH_BENCH_VOLUMES`: the large database; a smaller one is for trying the bench itself.
    pub large: usize,
    pub small: usize,
    /// `HEARTH_BENCH_DIR`: on the disk to measure; default: below `target/`.
    pub scratch: PathBuf,
}

impl Options {
    pub fn from_environment() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let seconds =
            text("HEARTH_BENCH_SECONDS").map_or(SECONDS, |text| text.parse().expect("HEARTH_BENCH_SECONDS: seconds"));
        let large =
            text("HEARTH_BENCH_VOLUMES").map_or(LARGE, |text| text.parse().expect("HEARTH_BENCH_VOLUMES: a number"));
        let only = text("HEARTH_BENCH_ONLY").unwrap_or_default();
        let scratch =
            text("HEARTH_BENCH_DIR").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
        std::fs::create_dir_all(&scratch).expect("HEARTH_BENCH_DIR: a directory");
        Self {
            only: only.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            run: Duration::from_secs_f64(seconds),
            open_loop: Duration::from_secs_f64(seconds * 30.0),
            pairs: 5,
            neighbour_pairs: 9,
            large,
            small: SMALL.min(large),
            scratch,
        }
    }

    pub fn wants(&self, line: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == line)
    }

    /// Nothing is left out or made smaller.
    pub fn is_whole(&self) -> bool {
        self.only.is_empty() && self.large == LARGE && self.run.as_secs_f64() >= SECONDS
    }
}
