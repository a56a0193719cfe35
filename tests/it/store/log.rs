//! SQLite's write-ahead log: it begins anew whatever is read meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use hearth::domain::volume::VolumeState;
use hearth::store::{Filter, Store, StoreOptions, open_threaded};

use super::build::*;

const VOLUMES: u128 = 64;
/// Written in all: several times what the log may hold.
const ROUNDS: usize = 40;
const DESCRIPTION: usize = 64_000;
/// 32 MiB, from which on no scan begins, and what is written until those under way have ended.
const MOST: u64 = 72 << 20;

fn length(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("hearth.db-wal")).unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_bounded_beside_scans_that_overlap() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/hearth.db", directory.path().display());
    let store = Arc::new(open_threaded(&url, StoreOptions::default()).unwrap());
    let mut states: Vec<VolumeState> = (0..VOLUMES).map(|n| volume(n, "p", 1)).collect();
    join_all(states.iter().map(|state| store.commit(insert(state)))).await.into_iter().for_each(assert_committed);

    let done = Arc::new(AtomicBool::new(false));
    let scans: Vec<_> = (0..4)
        .map(|_| {
            let (store, done) = (Arc::clone(&store), Arc::clone(&done));
            tokio::spawn(async move {
                let mut scans = 0_usize;
                while !done.load(Ordering::Acquire) {
                    let name = Filter::Like { column: "display_name".to_owned(), pattern: "volume".to_owned() };
                    let page = store.volume_list(volumes_of(None, vec![name], paging(&[], 1_000))).await.unwrap();
                    assert_eq!(page.rows.len(), VOLUMES as usize);
                    scans += 1;
                }
                scans
            })
        })
        .collect();
    for round in 0..ROUNDS {
        let changed: Vec<VolumeState> = states
            .iter()
            .map(|state| next(state, |new| new.volume.description = Some(format!("{round:0DESCRIPTION$}").into())))
            .collect();
        let commits = states.iter().zip(&changed).map(|(old, new)| store.commit(change(Some(old), new)));
        join_all(commits).await.into_iter().for_each(assert_committed);
        states = changed;
        let length = length(directory.path());
        assert!(length <= MOST, "{} MiB in round {round}", length >> 20);
    }
    done.store(true, Ordering::Release);
    for scan in scans {
        assert!(scan.await.unwrap() > 0, "nobody is kept out for ever");
    }
    let written = ROUNDS * VOLUMES as usize * DESCRIPTION;
    assert!(u64::try_from(written).unwrap() > MOST * 3 / 2, "too little was written to show anything");
}
