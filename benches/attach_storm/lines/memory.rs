//! What an active volume takes in memory, and what is left of it when it is passive again.

use crate::filled;
use crate::http::Connection;
use crate::options::Options;
use crate::process::{Server, wait_until};
use crate::site::SiteOptions;
use crate::table::Line;

use super::reads::some_volumes;

/// Volumes activated before the first look, so that threads, caches and pools have what they need.
const WARM: usize = 10_000;
/// Volumes of one look.
const BATCH: usize = 10_000;
/// Clients that activate them.
const CLIENTS: usize = 16;
/// KiB of an active idle volume.
const GOAL_KIB: f64 = 2.5;
/// KiB of a passive one that are measurement noise.
const NOTHING_KIB: f64 = 0.1;

/// Resident memory by volume.
pub async fn resident(options: &Options) -> Vec<Line> {
    if !options.wants("memory") {
        return Vec::new();
    }
    let site = match filled::site(options, options.large) {
        Ok(site) => site,
        Err(reason) => return vec![Line::shown("memory", "not measured".to_owned(), reason)],
    };
    let server = site.start().await;
    let volumes = some_volumes(&server, options.large, WARM + 2 * BATCH).await;
    let batch = (volumes.len() - WARM) / 2;
    let (warm, rest) = volumes.split_at(WARM);
    let (first, second) = rest.split_at(batch);
    activate(&server, warm).await;
    let before = server.resident();
    activate(&server, first).await;
    let count = server.metric("hearth_actors_active", "").await;
    let kib_active = (server.resident().saturating_sub(before)) as f64 / 1024.0 / batch as f64;
    server.stop().await;

    site.set(&SiteOptions { idle_ttl: Some("1s"), ..filled::settings() });
    let server = site.start().await;
    let mut residents = Vec::new();
    // each round may use what the one before has given back: what grows belongs to passive volumes
    for batch in [first, second, first, second] {
        activate(&server, batch).await;
        wait_until("every volume is passive", async || server.metric("hearth_actors_active", "").await == 0.0).await;
        residents.push(server.resident() as f64 / 1024.0);
    }
    server.stop().await;
    let kib_passive = (residents[3] - residents[0]) / (3 * batch) as f64;
    let met = kib_active <= GOAL_KIB && kib_passive <= NOTHING_KIB;
    let measured = format!("{kib_active:.2} KiB, passive {kib_passive:.2} KiB");
    let raw = format!("{batch} volumes a batch, {count} active of {}", options.large);
    vec![Line::judged("memory", "≤ 2.5 KiB active and idle, none passive", measured, met, raw)]
}

/// A command that is refused: the volume's actor is loaded, and nothing is committed.
async fn activate(server: &Server, volumes: &[String]) {
    let address = server.address;
    let shares = volumes.chunks(volumes.len().div_ceil(CLIENTS)).map(async |share| {
        let mut connection = Connection::open(address).await.expect("a connection");
        for volume in share {
            let path = format!("/v3/volumes/{volume}/action");
            let answer = connection.ask("POST", &path, r#"{"os-extend":{"new_size":1}}"#).await.expect("an answer");
            assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(&answer.body));
        }
    });
    futures_util::future::join_all(shares).await;
}
