//! What the disk itself can do: append 4 KiB, then fdatasync.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::load::percentile;

const BLOCK: [u8; 4096] = [0x5a; 4096];

/// Of one probe, microseconds.
pub struct Disk {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
}

/// Appends and syncs for this long, in a file below `directory`.
pub fn probe(directory: &Path, duration: Duration) -> Disk {
    let mut file: File = tempfile::tempfile_in(directory).expect("a file");
    let begun = Instant::now();
    let mut times = Vec::new();
    while begun.elapsed() < duration {
        let started = Instant::now();
        file.write_all(&BLOCK).and_then(|()| file.sync_data()).expect("the disk writes");
        times.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Disk { per_second, p50: percentile(&times, 50.0), p99: percentile(&times, 99.0) }
}
