//! The durable attachments cycle: rate and CPU against the bare path, fsyncs, and one client alone against the disk.

use crate::cycles;
use crate::disk;
use crate::load::{Load, run};
use crate::options::Options;
use crate::process::epoch_seconds;
use crate::site::{Site, SiteOptions, make_volumes, record};
use crate::table::{Line, median};

use super::{VOLUMES, compare, interleave};

/// Baseline (c).
pub fn disk(options: &Options) -> Vec<Line> {
    if !options.wants("disk") {
        return Vec::new();
    }
    let line = |name, disk: disk::Disk| {
        let raw = format!("4 KiB + fdatasync: p50 {:.0} µs, p99 {:.0} µs", disk.p50, disk.p99);
        Line::shown(name, format!("{:.0}/s", disk.per_second), raw)
    };
    vec![
        line("disk-append", disk::probe(&options.scratch, options.run)),
        line("disk-in-place", disk::probe_in_place(&options.scratch, options.run)),
    ]
}

/// `attachments-256`, `attachments-64`, `alone`, `get-active`: all on one site.
pub async fn attachments(options: &Options) -> Vec<Line> {
    let names = ["attachments-256", "attachments-64", "alone", "get-active"];
    if !names.iter().any(|name| options.wants(name)) {
        return Vec::new();
    }
    let site = Site::new(&options.scratch, &SiteOptions::default());
    let server = site.start().await;
    let volumes = make_volumes(&server, VOLUMES).await;
    let mut lines = Vec::new();

    let cycle = cycles::attachments();
    let replies = record(server.address, &cycle, &volumes[0]).await;
    let bare = site.start_bare_sqlite(&volumes, replies).await;
    let load = Load {
        address: server.address,
        cycle: cycle.clone(),
        volumes: volumes.clone(),
        clients: 256,
        duration: options.run,
        rate: None,
    };
    for (name, clients) in [("attachments-256", 256), ("attachments-64", 64)] {
        if !options.wants(name) {
            continue;
        }
        let own = Load { clients, ..load.clone() };
        let base = Load { address: bare.address, cycle: cycles::for_baseline(&cycle), ..own.clone() };
        let compared = compare(&interleave(options.pairs, (&server, &own), (&bare, &base)).await);
        let measured = format!("{:.2} ×, CPU {:.2} ×", compared.rate, compared.cpu);
        let raw = format!("{}, {} errors", compared.raw, compared.errors);
        lines.push(if clients == 256 {
            let met = compared.rate >= 0.5 && compared.cpu <= 2.5 && compared.errors == 0;
            Line::judged(name, "≥ 0.5 × bare path, CPU ≤ 2.5 ×", measured, met, raw)
        } else {
            Line::shown(name, measured, raw)
        });
    }
    bare.stop().await;

    if options.wants("alone") {
        lines.extend(alone(options, &Load { clients: 1, ..load.clone() }).await);
    }
    if options.wants("get-active") {
        let cycle = vec![cycles::get("/volumes/{volume}")];
        let replies = record(server.address, &cycle, &volumes[0]).await;
        let noop = site.start_baseline(crate::baseline::Kind::Noop, &[], replies).await;
        let own = Load { cycle, clients: 64, ..load };
        let base = Load { address: noop.address, ..own.clone() };
        let compared = compare(&interleave(options.pairs, (&server, &own), (&noop, &base)).await);
        let met = compared.rate >= 0.4 && compared.errors == 0;
        lines.push(Line::judged("get-active", "≥ 0.4 × no-op", format!("{:.2} ×", compared.rate), met, compared.raw));
        noop.stop().await;
    }
    server.stop().await;
    lines
}

/// One client, between probes of the disk.
async fn alone(options: &Options, load: &Load) -> Vec<Line> {
    let load = Load { cycle: cycles::reserve_connect_release(), ..load.clone() };
    let mut disks = Vec::new();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..options.pairs {
        disks.push(disk::probe(&options.scratch, options.run / 2).p50);
        let report = run(&load).await;
        for (step, times) in times.iter_mut().enumerate() {
            times.push(report.step_p50(step));
        }
    }
    let disk = median(disks);
    let [post, put] = times.map(median);
    let raw = |p50: f64| format!("p50 {:.2} ms, fdatasync p50 {:.2} ms", p50 / 1e3, disk / 1e3);
    let judged = |name, goal, p50: f64, syncs: f64, more: f64| {
        let most = syncs * disk + more;
        let measured = format!("{:.2} of {:.2} ms", p50 / 1e3, most / 1e3);
        Line::judged(name, goal, measured, p50 <= most, raw(p50))
    };
    vec![
        judged("alone-post", "p50 ≤ 2 × fdatasync + 0.3 ms", post, 2.0, 300.0),
        judged("alone-put", "p50 ≤ 3 × fdatasync + 0.5 ms", put, 3.0, 500.0),
    ]
}

/// fsyncs for each durable request, counted from outside.
pub async fn fsyncs(options: &Options) -> Vec<Line> {
    if !options.wants("fsyncs") {
        return Vec::new();
    }
    let site = Site::new(&options.scratch, &SiteOptions::default());
    let server = site.start_traced().await;
    let volumes = make_volumes(&server, 1_024).await;
    let mut lines = Vec::new();
    for (name, clients, goal, most) in [("fsyncs-64", 64, "≤ 0.15", 0.15), ("fsyncs-256", 256, "≤ 0.05", 0.05)] {
        let load = Load {
            address: server.address,
            cycle: cycles::attachments(),
            volumes: volumes.clone(),
            clients,
            // long enough for several checkpoints
            duration: options.run * 4,
            rate: None,
        };
        let from = epoch_seconds();
        let report = run(&load).await;
        let count = server.syncs(from, epoch_seconds());
        let each = count as f64 / report.requests() as f64;
        let raw = format!("{count} fsyncs, {} requests, {:.0} req/s below strace", report.requests(), report.rate());
        lines.push(Line::judged(name, goal, format!("{each:.3}"), each <= most && report.errors() == 0, raw));
    }
    server.stop().await;
    lines
}
