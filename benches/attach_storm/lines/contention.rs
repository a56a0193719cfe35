//! Everybody wants one volume; and a load that arrives whether or not it is served.

use std::time::Duration;

use futures_util::future::{join, join_all};
use hearth::storm::Step;

use crate::baseline::Kind;
use crate::cycles;
use crate::disk;
use crate::http::{Connection, render};
use crate::load::Load;
use crate::options::Options;
use crate::process::{Server, epoch_seconds};
use crate::site::{Site, SiteOptions, make_volumes, record};
use crate::table::Line;

use super::{VOLUMES, compare, interleave};

/// Clients that want the same volume.
const CROWD: usize = 256;
/// The instance of those who come too late.
const STRANGER: &str = "99999999-2222-3333-4444-555555555555";
/// How often they fight for it.
const ROUNDS: usize = 30;
/// Growth of the resident memory over an open loop that counts as flat.
const FLAT: f64 = 1.05;

/// A refused reservation: somebody has the volume.
fn refused() -> Step {
    let mut step = cycles::reserve_for(STRANGER);
    step.captures.clear();
    Step { expect: vec![400], ..step }
}

/// Reserves the volume for good.
async fn occupy(server: &Server, volume: &str) {
    record(server.address, &[cycles::reserve()], volume).await;
}

fn crowd(server: &Server, volume: &str, duration: Duration) -> Load {
    let volumes = vec![volume.to_owned()];
    Load { address: server.address, cycle: vec![refused()], volumes, clients: CROWD, duration, rate: None }
}

/// Refusals against answers that cost nothing; what they write and read.
pub async fn hot(options: &Options) -> Vec<Line> {
    if !options.wants("hot") {
        return Vec::new();
    }
    let site = Site::new(&options.scratch, &SiteOptions::default());
    let server = site.start().await;
    let volume = make_volumes(&server, 1).await.remove(0);
    occupy(&server, &volume).await;
    let replies = record(server.address, &[refused()], &volume).await;
    let noop = site.start_baseline(Kind::Noop, &[], replies).await;
    let own = crowd(&server, &volume, options.run);
    let base = Load { address: noop.address, ..own.clone() };
    let compared = compare(&interleave(options.pairs, (&server, &own), (&noop, &base)).await);
    noop.stop().await;
    server.stop().await;
    let met = compared.rate >= 0.3 && compared.errors == 0;
    let rate = Line::judged("hot-refusals", "≥ 0.3 × no-op", format!("{:.2} ×", compared.rate), met, compared.raw);

    // each read transaction of SQLite takes and gives back a lock of a file, which is a system call
    let server = site.start_traced().await;
    let load = crowd(&server, &volume, options.run);
    server.measure(&load).await;
    let (from, commits) = (epoch_seconds(), commits(&server).await);
    let cost = server.measure(&load).await;
    let locks = server.locks(from, epoch_seconds());
    let commits = self::commits(&server).await - commits;
    server.stop().await;
    let refusals = cost.report.requests();
    let raw = format!("{refusals} refusals: {commits} commits (/metrics), {locks} locks of database files (strace)");
    let measured = format!("{commits} commits, {locks} SQL reads");
    let met = commits == 0.0 && locks == 0 && cost.report.errors() == 0;
    vec![rate, Line::judged("hot-cost", "0 SQL, 0 commits", measured, met, raw)]
}

async fn commits(server: &Server) -> f64 {
    server.metric("hearth_commits_total", "").await
}

/// How many groups the winner of a fight waits for.
pub async fn winner(options: &Options) -> Vec<Line> {
    if !options.wants("hot") {
        return Vec::new();
    }
    let site = Site::new(&options.scratch, &SiteOptions::default());
    let server = site.start_traced().await;
    let volume = make_volumes(&server, 1).await.remove(0);
    let mut clients = Vec::new();
    for _ in 0..CROWD {
        clients.push(Connection::open(server.address).await.expect("a connection"));
    }
    let step_of = |client: usize| cycles::reserve_for(&uuid::Uuid::from_u128(client as u128 + 1).to_string());
    let steps: Vec<Step> = (0..CROWD).map(step_of).collect();
    let mut waited = Vec::new();
    for _ in 0..ROUNDS {
        let tries = clients.iter_mut().zip(&steps).map(async |(client, step)| {
            let (method, path, body) = render(step, &volume, "");
            let from = epoch_seconds();
            let answer = client.ask(&method, &path, &body).await.expect("an answer");
            (from, epoch_seconds(), answer)
        });
        let answers = join_all(tries).await;
        let won: Vec<_> = answers.iter().filter(|(_, _, answer)| answer.status == 200).collect();
        let [(from, until, answer)] = won.as_slice() else { panic!("{} winners", won.len()) };
        waited.push((*from, *until));
        let id = answer.json()["attachment"]["id"].as_str().expect("an id").to_owned();
        clients[0].ask("DELETE", &format!("/v3/attachments/{id}"), "").await.expect("an answer");
    }
    let syncs = waited.iter().map(|(from, until)| server.syncs(*from, *until));
    let most = syncs.max().unwrap_or(0);
    server.stop().await;
    let raw = format!("{ROUNDS} fights of {CROWD} clients, one winner each");
    vec![Line::judged("hot-winner", "≤ 2 fsync groups", format!("at most {most}"), most <= 2, raw)]
}

/// 70 % of what the closed loop reaches, arriving evenly.
pub async fn open_loop(options: &Options) -> Vec<Line> {
    if !options.wants("open-loop") {
        return Vec::new();
    }
    let site = Site::new(&options.scratch, &SiteOptions::default());
    let server = site.start().await;
    let volumes = make_volumes(&server, VOLUMES).await;
    let closed = Load {
        address: server.address,
        cycle: cycles::attachments(),
        volumes,
        clients: CROWD,
        duration: options.run * 2,
        rate: None,
    };
    let steps = closed.cycle.len() as f64;
    let most = server.measure(&closed).await.report.rate();
    let disk = disk::probe(&options.scratch, options.run);
    let rate = 0.7 * most;
    let open = Load { rate: Some(rate / steps), clients: VOLUMES / 4, duration: options.open_loop, ..closed };
    let (cost, warm) = join(server.measure(&open), async {
        // connections and caches are there after a third
        wait_until_warm(options.open_loop / 3).await;
        server.resident()
    })
    .await;
    let growth = server.resident() as f64 / warm as f64;
    server.stop().await;
    let goal = 25e3 + 3.0 * disk.p99;
    let met = cost.report.p99() <= goal && cost.report.errors() == 0 && growth <= FLAT;
    let measured = format!(
        "p99 {:.1} of {:.1} ms, {} errors, memory × {growth:.2}",
        cost.report.p99() / 1e3,
        goal / 1e3,
        cost.report.errors()
    );
    let raw = format!(
        "{:.0} of {rate:.0} req/s due for {:?} (closed loop {most:.0}), p50 {:.2} ms, fdatasync p99 {:.2} ms, {} MiB",
        cost.report.rate(),
        options.open_loop,
        cost.report.p50() / 1e3,
        disk.p99 / 1e3,
        warm >> 20
    );
    vec![Line::judged("open-loop", "p99 ≤ 25 ms + 3 × fdatasync p99, no error, flat", measured, met, raw)]
}

async fn wait_until_warm(wait: Duration) {
    tokio::time::sleep(wait).await;
}
