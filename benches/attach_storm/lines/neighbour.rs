//! A slow backend must not be felt at another one.

use std::collections::BTreeMap;

use futures_util::future::join;

use crate::cycles;
use crate::load::{Load, run};
use crate::options::Options;
use crate::site::{Site, SiteOptions, get, make_volumes};
use crate::table::{Line, median};

/// Volumes of both backends together.
const VOLUMES: usize = 512;
const CLIENTS: usize = 64;
const WORKERS: usize = 8;
const SLOW_MS: u64 = 100;

/// The rate and p99 at one backend, alone and beside a storm on a slow one.
pub async fn slow_backend(options: &Options) -> Vec<Line> {
    if !options.wants("neighbour") {
        return Vec::new();
    }
    let settings =
        |slow| SiteOptions { backends: vec![("fast", 0), ("slow", slow)], workers: WORKERS, ..SiteOptions::default() };
    let site = Site::new(&options.scratch, &settings(0));
    let server = site.start().await;
    make_volumes(&server, VOLUMES).await;
    let listed = get(server.address, "/v3/volumes/detail").await;
    server.stop().await;
    let mut of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for volume in listed["volumes"].as_array().expect("volumes") {
        let text = |member: &str| volume[member].as_str().expect("text").to_owned();
        let host = text("os-vol-host-attr:host");
        of.entry(host.rsplit('#').next().unwrap_or_default().to_owned()).or_default().push(text("id"));
    }
    site.set(&settings(SLOW_MS));
    let server = site.start().await;
    let load = |backend: &str| Load {
        address: server.address,
        cycle: cycles::attachments(),
        volumes: of.get(backend).cloned().unwrap_or_default(),
        clients: CLIENTS,
        duration: options.run,
        rate: None,
    };
    let (fast, slow) = (load("fast"), load("slow"));
    assert!(fast.volumes.len() >= CLIENTS && slow.volumes.len() >= CLIENTS, "volumes on both backends");
    let mut pairs = Vec::new();
    let mut slow_rate = Vec::new();
    for _ in 0..options.neighbour_pairs {
        let alone = run(&fast).await;
        let (beside, neighbour) = join(run(&fast), run(&slow)).await;
        slow_rate.push(neighbour.rate());
        assert_eq!(alone.errors() + beside.errors() + neighbour.errors(), 0, "{:?}", beside.first_error());
        pairs.push((alone, beside));
    }
    server.stop().await;
    let rate = median(pairs.iter().map(|(alone, beside)| beside.rate() / alone.rate()));
    let p99 = median(pairs.iter().map(|(alone, beside)| beside.p99() / alone.p99()));
    let raw = format!(
        "{} pairs: {:.0} req/s alone, {:.0} beside {:.0} req/s on the slow one; p99 {:.2}, {:.2} ms",
        pairs.len(),
        median(pairs.iter().map(|(alone, _)| alone.rate())),
        median(pairs.iter().map(|(_, beside)| beside.rate())),
        median(slow_rate),
        median(pairs.iter().map(|(alone, _)| alone.p99() / 1e3)),
        median(pairs.iter().map(|(_, beside)| beside.p99() / 1e3)),
    );
    let measured = format!("rate {rate:.2} ×, p99 {p99:.2} ×");
    vec![Line::judged("neighbour", "rate ≥ 0.9 ×, p99 ≤ 1.5 ×", measured, rate >= 0.9 && p99 <= 1.5, raw)]
}
