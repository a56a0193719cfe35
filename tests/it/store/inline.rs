//! The inline store: crashes and virtual time.

use std::time::Duration;

use futures_util::FutureExt;
use hearth::store::{InlineFault, InlineStore, Store, Transaction};
use tokio::time::Instant;

use super::build::*;

const LATENCY: Duration = Duration::from_millis(3);

#[tokio::test(start_paused = true)]
async fn a_commit_takes_its_virtual_latency_and_barriers_wait_for_it() {
    let store = InlineStore::in_memory().unwrap();
    store.set_latency(LATENCY);
    let start = Instant::now();
    let commits: Vec<_> = (0..10).map(|n| store.commit(insert(&volume(n, "p", 1)))).collect();
    // nobody waits for the first: it is carried out all the same
    let mut commits = commits.into_iter();
    drop(commits.next());
    assert_committed(store.commit(Transaction::default()).await);
    assert_eq!(start.elapsed(), LATENCY);
    for commit in commits {
        assert_committed(commit.now_or_never().expect("ended before the barrier"));
    }
    assert!(store.volume_get(volume_id(0)).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn r99_a_crash_before_or_after_the_commit_answers_nobody() {
    for fault in [InlineFault::CrashBefore, InlineFault::CrashAfter] {
        let store = InlineStore::in_memory().unwrap();
        store.set_latency(LATENCY);
        store.set_fault_hook(Some(Box::new(move |transaction| {
            let id = transaction.volume.as_ref().map(|change| change.new.id());
            if id == Some(volume_id(1)) { fault } else { InlineFault::None }
        })));
        assert_committed(store.commit(insert(&volume(0, "p", 1))).await);
        let mut struck = store.commit(insert(&volume(1, "p", 1)));
        let mut behind = store.commit(insert(&volume(2, "p", 1)));
        tokio::time::sleep(LATENCY * 4).await;
        assert!(store.has_crashed());
        let mut late = store.commit(insert(&volume(3, "p", 1)));
        let restarted = store.reopen();
        tokio::time::sleep(LATENCY * 4).await;
        for future in [&mut struck, &mut behind, &mut late] {
            assert_eq!(future.now_or_never(), None, "the dead do not answer");
        }
        let mut found = Vec::new();
        for n in 0..4 {
            found.push(restarted.volume_get(volume_id(n)).await.unwrap().is_some());
        }
        assert_eq!(found, [true, fault == InlineFault::CrashAfter, false, false], "{fault:?}");
        assert_committed(restarted.commit(insert(&volume(4, "p", 1))).await);
    }
}
