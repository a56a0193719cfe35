//! Power loss: at the kill everything is gone that was not synced, and every answer still holds.
//!
//! The service is the shipped one, command line and all, in a process of its own; only SQLite's default file system is the
//! shim of the store's tests, which keeps beside each file what was last synced. The storage is another machine: it keeps
//! its power.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use super::service::{Commander, Service};
use super::site::{Said, Site};
use super::storm::{Storm, seed};
use crate::e2e::hearth::Environment;
use crate::store::vfs;

/// Tells the child below where its shim keeps what was synced.
const SYNCED: &str = "HEARTH_TEST_SYNCED";
/// The child's name among the tests.
const CHILD: &str = "crash::power::behind_the_shim";

/// Not a test by itself: `hearth serve` in a process whose disk loses what was not synced. Without its variable it only shows
/// that the shim is accepted by SQLite.
#[test]
fn behind_the_shim() {
    vfs::register_as_default();
    let Some(synced) = std::env::var_os(SYNCED) else { return };
    let state = PathBuf::from(std::env::var_os("HEARTH__STATE__PATH").expect("the state directory"));
    vfs::keep_synced(&state, Path::new(&synced));
    hearth::cli::main(["hearth".into(), "serve".into()]);
}

fn child(environment: &Environment, synced: &Path) -> Command {
    // the settings of `environment`, and of no other
    let mut command = crate::e2e::hearth::command_of(&std::env::current_exe().expect("this program"), environment);
    command.args(["--exact", CHILD, "--nocapture", "--test-threads=1"]).env(SYNCED, synced).stdin(Stdio::null());
    command
}

async fn site(settings: &[(&str, &str)]) -> Arc<Site> {
    Site::start_as(Vec::new(), settings, |state, environment, plans| {
        let (state, synced) = (state.to_owned(), state.join("synced"));
        std::fs::create_dir(&synced).expect("a directory");
        let commander: Commander = {
            let (environment, synced) = (environment.clone(), synced.clone());
            Box::new(move |_| child(&environment, &synced))
        };
        let logs = state.clone();
        Service::start(logs, plans, commander, Box::new(move || vfs::lose_power(&state, &synced)))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r99_power_loss_in_a_storm_loses_no_answer() {
    let seed = seed();
    let site = site(&[]).await;
    site.storage_takes(Duration::from_millis(5), Duration::from_millis(50)).await;
    let mut storm = Storm::begin(&site, seed).await;
    for cut in 0..4_u64 {
        storm.wait_for_requests(20 + 15 * cut, Duration::from_millis(3 * cut)).await;
        site.service.kill().await;
        storm.check().await;
    }
    println!("seed {seed}: {}", storm.end().await);
}

/// The test above can fail: with a service that does not wait for the disk the same cut loses what was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r99_without_syncs_the_power_loss_is_noticed() {
    let site = site(&[("faults.enabled", "true"), ("faults.no_sync", "true")]).await;
    let mut answered = Vec::new();
    for number in 0..10 {
        let name = format!("volume-{number}");
        site.ask("POST", "/v3/volumes", &json!({"volume": {"name": name, "size": 1}})).await.body(202);
        answered.push(name);
    }
    site.service.kill().await;
    let mut kept = 0;
    for name in &answered {
        kept += site.named(name).await.len();
    }
    assert!(kept < answered.len(), "{kept} of {} survived although nothing was synced", answered.len());
    // it goes on with what it has
    let said = site.ask("POST", "/v3/volumes", &json!({"volume": {"name": "later", "size": 1}})).await;
    assert!(matches!(said, Said::Answer(202, _)), "{said:?}");
}
