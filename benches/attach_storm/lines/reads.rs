//! Reads of a large database: by id, in pages, and by id while somebody scans.

use std::path::Path;

use futures_util::future::join;
use hearth::storm::Step;
use serde_json::json;

use crate::baseline::Kind;
use crate::cycles;
use crate::filled;
use crate::load::{Load, run};
use crate::options::Options;
use crate::process::Server;
use crate::site::{Site, get, record};
use crate::table::{Line, median};

use super::{compare, interleave};

/// Volumes that are read by id.
const READ: usize = 20_000;
/// Rows of a page.
const PAGE: usize = 1_000;
/// Point reads that arrive each second while somebody scans.
const POINT_READS: f64 = 200.0;
/// Clients that scan: as many as there are threads for lists.
const SCANNERS: usize = 2;
/// A p99 that differs by less is unchanged.
const NOISE: f64 = 1.25;
/// Above this the write-ahead log is not bounded by its checkpoints (every 16 MiB) any more.
const WAL_MOST: u64 = 64 << 20;

/// Ids of about `count` volumes from all parts of the list.
pub async fn some_volumes(server: &Server, of: usize, count: usize) -> Vec<String> {
    let pages = count.div_ceil(PAGE);
    let stride = (of / pages).max(PAGE);
    let mut ids = Vec::with_capacity(count);
    for page in 0..pages {
        let listed = get(server.address, &format!("/v3/volumes?limit={PAGE}&offset={}", page * stride)).await;
        let volumes = listed["volumes"].as_array().expect("volumes");
        ids.extend(volumes.iter().map(|volume| volume["id"].as_str().expect("an id").to_owned()));
    }
    ids.truncate(count);
    ids
}

async fn large(options: &Options, line: &'static str) -> Result<(Site, Server), Vec<Line>> {
    match filled::site(options, options.large) {
        Ok(site) => {
            let server = site.start().await;
            Ok((site, server))
        }
        Err(reason) => Err(vec![Line::shown(line, "not measured".to_owned(), reason)]),
    }
}

/// GET of volumes without an actor.
pub async fn cold(options: &Options) -> Vec<Line> {
    if !options.wants("get-cold") {
        return Vec::new();
    }
    let (site, server) = match large(options, "get-cold").await {
        Ok(started) => started,
        Err(lines) => return lines,
    };
    let volumes = some_volumes(&server, options.large, READ).await;
    let cycle = vec![cycles::get("/volumes/{volume}")];
    let replies = record(server.address, &cycle, &volumes[0]).await;
    let noop = site.start_baseline(Kind::Noop, &[], replies).await;
    let own = Load { address: server.address, cycle, volumes, clients: 64, duration: options.run, rate: None };
    let base = Load { address: noop.address, ..own.clone() };
    let compared = compare(&interleave(options.pairs, (&server, &own), (&noop, &base)).await);
    noop.stop().await;
    server.stop().await;
    let met = compared.rate >= 0.15 && compared.errors == 0;
    vec![Line::judged("get-cold", "≥ 0.15 × no-op", format!("{:.2} ×", compared.rate), met, compared.raw)]
}

/// Pages of a thousand, of a small and of a large database in turn.
pub async fn lists(options: &Options) -> Vec<Line> {
    if !options.wants("lists") {
        return Vec::new();
    }
    let (_large_site, large) = match large(options, "lists").await {
        Ok(started) => started,
        Err(lines) => return lines,
    };
    let small_site = match filled::site(options, options.small) {
        Ok(site) => site,
        Err(reason) => return vec![Line::shown("lists", "not measured".to_owned(), reason)],
    };
    let small = small_site.start().await;
    let queries = [queries(&large, options.large).await, queries(&small, options.small).await];
    let mut lines = Vec::new();
    for (at_large, at_small) in queries[0].iter().zip(&queries[1]) {
        let load = |server: &Server, path: &str| Load {
            address: server.address,
            cycle: vec![cycles::get(path)],
            volumes: Vec::new(),
            clients: 1,
            duration: options.run / 2,
            rate: None,
        };
        let loads = [load(&large, &at_large.1), load(&small, &at_small.1)];
        let mut p50 = [Vec::new(), Vec::new()];
        for _ in 0..options.pairs {
            for (load, p50) in loads.iter().zip(&mut p50) {
                p50.push(run(load).await.p50() / 1e3);
            }
        }
        let ratio = median(p50[0].iter().zip(&p50[1]).map(|(large, small)| large / small));
        let [large_ms, small_ms] = p50.map(median);
        let measured = format!("{ratio:.2} ×, {large_ms:.1} ms");
        let raw = format!(
            "p50 at {}: {large_ms:.2} ms, at {}: {small_ms:.2} ms; {}",
            options.large, options.small, at_large.1
        );
        lines.push(Line::judged(at_large.0, "≤ 1.3 ×, ≤ 10 ms", measured, ratio <= 1.3 && large_ms <= 10.0, raw));
    }
    large.stop().await;
    small.stop().await;
    lines
}

/// The first page, one from the middle, and filtered ones.
async fn queries(server: &Server, of: usize) -> Vec<(&'static str, String)> {
    let middle = get(server.address, &format!("/v3/volumes/detail?limit=1&offset={}", of / 2)).await;
    let text = |member: &str| middle["volumes"][0][member].as_str().expect("text").to_owned();
    let (marker, name) = (text("id"), text("name"));
    let list = format!("/volumes/detail?limit={PAGE}");
    vec![
        ("list-first", list.clone()),
        ("list-deep", format!("{list}&marker={marker}")),
        ("list-status", format!("{list}&status=in-use")),
        ("list-name", format!("{list}&name={name}")),
    ]
}

/// Reads by id, arriving evenly, alone and beside scans; and the log of a database that is written and scanned.
pub async fn scans(options: &Options) -> Vec<Line> {
    if !options.wants("scans") {
        return Vec::new();
    }
    let (site, server) = match large(options, "scans").await {
        Ok(started) => started,
        Err(lines) => return lines,
    };
    let volumes = some_volumes(&server, options.large, READ).await;
    let reads = Load {
        address: server.address,
        cycle: vec![cycles::get("/volumes/{volume}")],
        volumes: volumes.clone(),
        clients: 64,
        duration: options.run,
        rate: Some(POINT_READS),
    };
    let offset = options.large / 2;
    let scan = Load {
        cycle: vec![
            cycles::get("/volumes?limit=10&name~=nobody-has-this-name"),
            cycles::get("/volumes?limit=10&with_count=true"),
            cycles::get(&format!("/volumes?limit=10&offset={offset}")),
        ],
        volumes: Vec::new(),
        clients: SCANNERS,
        rate: None,
        ..reads.clone()
    };
    let (mut quiet, mut noisy, mut scanned) = (Vec::new(), Vec::new(), 0);
    for _ in 0..options.pairs {
        quiet.push(run(&reads).await.p99());
        let (beside, scans) = join(run(&reads), run(&scan)).await;
        assert_eq!(scans.errors() + beside.errors(), 0, "{:?} {:?}", scans.first_error(), beside.first_error());
        scanned += scans.requests();
        noisy.push(beside.p99());
    }
    let ratio = median(noisy.iter().zip(&quiet).map(|(noisy, quiet)| noisy / quiet));
    // what the same load differs by when nothing else runs
    let spread = quiet.iter().copied().fold(0.0, f64::max) / quiet.iter().copied().fold(f64::INFINITY, f64::min);
    let [quiet, noisy] = [quiet, noisy].map(|times| median(times) / 1e3);
    let raw =
        format!("p99 {quiet:.2} ms alone, {noisy:.2} ms beside {scanned} scans; alone it differs by × {spread:.2}");
    let measured = format!("p99 {ratio:.2} ×");
    let reads_line = Line::judged("scans-reads", "p99 ≤ 1.25 ×", measured, ratio <= NOISE, raw);

    let describe = json!({"volume": {"description": "written while somebody scans"}});
    let rename = Step::new("update", "PUT", "/volumes/{volume}", &[200]).body(describe);
    let writes = Load { cycle: vec![rename], volumes, clients: 64, duration: options.run * 3, rate: None, ..reads };
    let scan = Load { duration: writes.duration, ..scan };
    let (written, _) = join(run(&writes), run(&scan)).await;
    // the file never shrinks while it is open: its size is the most it has held
    let wal = size(&site.state().join("hearth.db-wal"));
    server.stop().await;
    let raw =
        format!("{} writes at {:.0}/s beside scans, {} errors", written.requests(), written.rate(), written.errors());
    let met = wal <= WAL_MOST && written.errors() == 0;
    let wal_line = Line::judged("scans-wal", "≤ 64 MiB", format!("{} MiB", wal >> 20), met, raw);
    vec![reads_line, wal_line]
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}
