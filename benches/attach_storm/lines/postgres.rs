//! The same cycle on PostgreSQL, against the bare path on PostgreSQL.

use std::path::Path;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

use crate::bare_store::CONNECTIONS;
use crate::baseline::Kind;
use crate::cluster::{Cluster, find_binaries};
use crate::cycles;
use crate::load::Load;
use crate::options::Options;
use crate::site::{Site, SiteOptions, make_volumes, record};
use crate::table::Line;

use super::{compare, interleave};

/// As it comes, but with room for the connections.
const SETTINGS: &str = "-c fsync=on -c synchronous_commit=on -c shared_buffers=256MB -c max_connections=64";
const VOLUMES: usize = 2_048;

/// Baseline (d), and the cycle.
pub async fn cycle(options: &Options) -> Vec<Line> {
    if !options.wants("postgres") {
        return Vec::new();
    }
    if find_binaries().is_none() {
        return vec![Line::shown("postgres", "not measured".to_owned(), "no PostgreSQL on this machine".to_owned())];
    }
    remove_empty(&options.scratch);
    let cluster = Cluster::start(&options.scratch, SETTINGS);
    let commits = grouped_commits(&cluster.create_database("commits"), options.run);
    let mut lines = vec![Line::shown(
        "postgres-commits",
        format!("{commits:.0}/s"),
        format!("one row each, {CONNECTIONS} connections"),
    )];

    let database = cluster.create_database("hearth");
    let site = Site::new(&options.scratch, &SiteOptions { database, ..SiteOptions::default() });
    let server = site.start().await;
    let volumes = make_volumes(&server, VOLUMES).await;
    let cycle = cycles::attachments();
    let replies = record(server.address, &cycle, &volumes[0]).await;
    let bare = site.start_baseline(Kind::Postgres(cluster.create_database("bare")), &volumes, replies).await;
    let own = Load {
        address: server.address,
        cycle: cycle.clone(),
        volumes,
        clients: 256,
        duration: options.run,
        rate: None,
    };
    let base = Load { address: bare.address, cycle: cycles::for_baseline(&cycle), ..own.clone() };
    let compared = compare(&interleave(options.pairs, (&server, &own), (&bare, &base)).await);
    bare.stop().await;
    server.stop().await;
    let met = compared.rate >= 0.4 && compared.errors == 0;
    let measured = format!("{:.2} ×, CPU {:.2} ×", compared.rate, compared.cpu);
    lines.push(Line::judged("postgres-256", "≥ 0.4 × bare path on PostgreSQL", measured, met, compared.raw));
    lines
}

/// The folders of earlier clusters: who owns a cluster may empty its folder, and not always remove it.
fn remove_empty(scratch: &Path) {
    for entry in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("hearth-pg-") {
            // refused while there is anything in it
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Commits a second of one row each, over all connections: the server shares the fsyncs among them.
fn grouped_commits(url: &str, duration: Duration) -> f64 {
    let mut first = PgConnection::establish(url).expect("a connection");
    first.batch_execute("CREATE TABLE journal (number BIGSERIAL PRIMARY KEY, event TEXT NOT NULL)").expect("a table");
    let begun = Instant::now();
    let writers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut connection = PgConnection::establish(url).expect("a connection");
            std::thread::spawn(move || {
                let mut commits = 0_u64;
                while begun.elapsed() < duration {
                    connection.batch_execute("INSERT INTO journal (event) VALUES ('attached')").expect("a commit");
                    commits += 1;
                }
                commits
            })
        })
        .collect();
    let commits: u64 = writers.into_iter().map(|writer| writer.join().expect("a writer")).sum();
    commits as f64 / begun.elapsed().as_secs_f64()
}
