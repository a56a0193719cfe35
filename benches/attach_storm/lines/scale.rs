//! Starts: with many volumes, and with many open operations.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::filled;
use crate::http::Connection;
use crate::options::Options;
use crate::site::{Site, SiteOptions, get, wait_until_settled};
use crate::table::{Line, median};

/// Operations that are open when the process is killed.
const OPEN: usize = 10_000;
/// Clients that open them.
const CLIENTS: usize = 64;
/// How long their backend would take.
const NEVER_MS: u64 = 3_600_000;
/// The API serves at once: no answer takes longer than this while the operations resume.
const AT_ONCE_US: f64 = 50_000.0;

/// Creates under way, `kill -9`, a start with a backend that answers at once.
pub async fn recovery(options: &Options) -> Vec<Line> {
    if !options.wants("recovery") {
        return Vec::new();
    }
    let settings = |latency| SiteOptions { backends: vec![("sim", latency)], ..SiteOptions::default() };
    let site = Site::new(&options.scratch, &settings(NEVER_MS));
    let server = site.start().await;
    let address = server.address;
    let clients = (0..CLIENTS).map(async |_| {
        let mut connection = Connection::open(address).await.expect("a connection");
        for _ in 0..OPEN / CLIENTS + 1 {
            let body = json!({"volume": {"size": 1}}).to_string();
            let answer = connection.ask("POST", "/v3/volumes", &body).await.expect("an answer");
            assert_eq!(answer.status, 202);
        }
    });
    futures_util::future::join_all(clients).await;
    server.kill().await;

    site.set(&settings(0));
    let begun = Instant::now();
    let server = site.start().await;
    let ready = server.ready_after;
    let address = server.address;
    let reads = async {
        let mut connection = Connection::open(address).await.expect("a connection");
        let mut times = Vec::new();
        loop {
            let started = Instant::now();
            let answer = connection.ask("GET", "/v3/volumes?limit=1", "").await.expect("an answer");
            assert_eq!(answer.status, 200);
            times.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
            if get(address, "/admin/operations?limit=1").await["operations"] == json!([]) {
                break times;
            }
        }
    };
    let mut times = reads.await;
    wait_until_settled(&server).await;
    let stable = begun.elapsed();
    let listed = get(address, "/v3/volumes?limit=1&status=available&with_count=true").await;
    let available = listed["count"].as_u64().unwrap_or(0);
    server.stop().await;
    times.sort_unstable();
    let p99 = crate::disk::percentile(&times, 99.0);
    let met = stable <= Duration::from_secs(5) && available >= OPEN as u64 && p99 <= AT_ONCE_US;
    let measured = format!("{:.1} s, reads p99 {:.0} ms", stable.as_secs_f64(), p99 / 1e3);
    let raw = format!(
        "{available} available again; ready after {:.2} s; {} reads meanwhile",
        ready.as_secs_f64(),
        times.len()
    );
    vec![Line::judged("recovery", "10,000 stable ≤ 5 s, served at once", measured, met, raw)]
}

/// From the start of the process to the first answer.
pub async fn start(options: &Options) -> Vec<Line> {
    if !options.wants("start") {
        return Vec::new();
    }
    let made = (options.small, options.large);
    let sites = filled::site(options, made.0).and_then(|small| Ok((small, filled::site(options, made.1)?)));
    let (small, large) = match sites {
        Ok(sites) => sites,
        Err(reason) => return vec![Line::shown("start", "not measured".to_owned(), reason)],
    };
    let mut times = Vec::new();
    for _ in 0..options.pairs {
        let mut pair = [0.0; 2];
        for (time, site) in pair.iter_mut().zip([&large, &small]) {
            let server = site.start().await;
            *time = server.ready_after.as_secs_f64();
            server.stop().await;
        }
        times.push(pair);
    }
    let [large_s, small_s] = [0, 1].map(|which| median(times.iter().map(|pair| pair[which])));
    let measured = format!("{large_s:.2} s, {:.2} × that of {}", large_s / small_s, made.0);
    let raw = format!("{} volumes: {large_s:.3} s; {} volumes: {small_s:.3} s", made.1, made.0);
    vec![Line::judged(
        "start",
        "≤ 1 s, independent of N",
        measured,
        large_s <= 1.0 && large_s <= 1.5 * small_s + 0.05,
        raw,
    )]
}
