//! What an answer is worth when the disk fails or loses its power (promise I4, R-99).

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use hearth::store::{CommitOutcome, Store, StoreOptions, Synchronous, ThreadedStore, open_threaded};

use super::build::*;
use super::vfs;

fn open(directory: &tempfile::TempDir, options: StoreOptions) -> ThreadedStore {
    vfs::register();
    let url = format!("sqlite://{}/hearth.db", directory.path().display());
    open_threaded(&url, StoreOptions { vfs: Some(vfs::NAME.to_owned()), ..options }).unwrap()
}

/// How many commits had been answered when the power went, and how many of these are there afterwards.
async fn lose_power_while_committing(synchronous: Synchronous) -> (usize, usize) {
    const BEFORE_THE_CUT: usize = 60;
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { synchronous, ..StoreOptions::default() };
    let store = Arc::new(open(&directory, options.clone()));
    let answered = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..6_u128)
        .map(|client| {
            let (store, answered) = (Arc::clone(&store), Arc::clone(&answered));
            let directory = directory.path().to_owned();
            tokio::spawn(async move {
                for n in 0.. {
                    let state = volume(client * 10_000 + n, "p", 1);
                    match store.commit(insert(&state)).await {
                        CommitOutcome::Committed => {
                            let mut answered = answered.lock().unwrap();
                            answered.push(state.id());
                            if answered.len() == BEFORE_THE_CUT {
                                vfs::cut_power(&directory);
                            }
                        }
                        CommitOutcome::Unknown(_) => return,
                        CommitOutcome::Aborted(aborted) => panic!("{aborted:?}"),
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    store.stop();
    drop(store);
    vfs::restore(directory.path());
    let store = open(&directory, options);
    let answered = std::mem::take(&mut *answered.lock().unwrap());
    let mut kept = 0;
    for id in &answered {
        kept += usize::from(store.volume_get(*id).await.unwrap().is_some());
    }
    for project in store.usage_audit().await.unwrap() {
        assert_eq!(project.stored, project.counted);
    }
    (answered.len(), kept)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r99_what_was_answered_survives_a_power_loss() {
    let (answered, kept) = lose_power_while_committing(Synchronous::Full).await;
    assert!(answered >= 60);
    assert_eq!(kept, answered);
}

/// The test above can fail: without syncs the same run loses what it has answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r99_without_syncs_the_power_loss_is_noticed() {
    let (answered, kept) = lose_power_while_committing(Synchronous::Off).await;
    assert!(kept < answered, "{kept} of {answered} survived although nothing was synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r99_an_io_error_at_commit_is_unknown_for_the_whole_group() {
    let directory = tempfile::tempdir().unwrap();
    let (told, on_unknown) = counted_unknowns();
    let store = open(&directory, StoreOptions { on_unknown: Some(on_unknown), ..StoreOptions::default() });
    let before = volume(1000, "p", 1);
    assert_committed(store.commit(insert(&before)).await);
    vfs::fail_log_syncs(directory.path(), true);
    let held = store.hold_commits();
    let commits: Vec<_> = (0..64).map(|n| store.commit(insert(&volume(n, "p", 1)))).collect();
    drop(held);
    for outcome in join_all(commits).await {
        assert!(matches!(outcome, CommitOutcome::Unknown(_)), "{outcome:?}");
    }
    assert_eq!(told.load(Ordering::SeqCst), 1);
    // even when the disk works again: only a restart knows the truth
    vfs::fail_log_syncs(directory.path(), false);
    let later = store.commit(insert(&volume(2000, "p", 1))).await;
    assert!(matches!(later, CommitOutcome::Unknown(_)), "{later:?}");
    assert_eq!(told.load(Ordering::SeqCst), 1, "told once");
    drop(store);

    let store = open(&directory, StoreOptions::default());
    assert!(store.volume_get(before.id()).await.unwrap().is_some());
    assert_eq!(store.volume_get(volume_id(2000)).await.unwrap(), None);
    let mut found = 0;
    for n in 0..64 {
        found += usize::from(store.volume_get(volume_id(n)).await.unwrap().is_some());
    }
    assert!(found == 0 || found == 64, "a group is written whole or not at all: {found}");
    for project in store.usage_audit().await.unwrap() {
        assert_eq!(project.stored, project.counted);
        assert_eq!(project.stored.volumes, 1 + i64::try_from(found).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_finishes_what_is_queued_and_the_files_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/sub/hearth.db", directory.path().display());
    let store = open_threaded(&url, StoreOptions::default()).unwrap();
    let held = store.hold_commits();
    let commits: Vec<_> = (0..1000).map(|n| store.commit(insert(&volume(n, "p", 1)))).collect();
    for entry in std::fs::read_dir(directory.path().join("sub")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    store.stop();
    drop(held);
    for outcome in join_all(commits).await {
        assert_committed(outcome);
    }
    let late = store.commit(insert(&volume(5000, "p", 1))).await;
    assert!(matches!(late, CommitOutcome::Unknown(_)), "{late:?}");
}
