//! What the disk itself can do: append 4 KiB, then fdatasync.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// More than is written over in one probe.
const IN_PLACE: usize = 128 << 20;
const BLOCK: [u8; 4096] = [0x5a; 4096];

/// Of one probe, microseconds.
pub struct Disk {
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
}

/// Appends and syncs for this long, in a file below `directory`.
pub fn probe(directory: &Path, duration: Duration) -> Disk {
    measure(tempfile::tempfile_in(directory).expect("a file"), duration)
}

/// The same over blocks that are on disk already, as in a write-ahead log after its first checkpoint: the file system has
/// nothing of its own to write.
pub fn probe_in_place(directory: &Path, duration: Duration) -> Disk {
    let mut file = tempfile::tempfile_in(directory).expect("a file");
    file.write_all(&vec![0; IN_PLACE])
        .and_then(|()| file.sync_all())
        .and_then(|()| file.rewind())
        .expect("the disk writes");
    measure(file, duration)
}

fn measure(mut file: File, duration: Duration) -> Disk {
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

/// Of sorted values.
pub fn percentile(sorted: &[u32], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied().map_or(f64::NAN, f64::from)
}
