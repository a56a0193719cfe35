//! Idempotency keys: used in the commit of what they stand for, once until they expire.

use futures_util::future::join_all;
use hearth::domain::ids::RequestId;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::VolumeState;
use hearth::store::{Aborted, CommitOutcome, KeyChange, KeyUse, Keyed, Transaction};

use super::bench::Bench;
use super::build::*;

super::on_every_store!(
    one_of_many_uses_a_key_and_only_its_effect_is_there,
    a_key_ends_with_its_time_or_its_request,
    a_refused_member_leaves_its_key_unused,
);

const KEY_USED: CommitOutcome = CommitOutcome::Aborted(Aborted::KeyUsed);
const DAY: i64 = 100;

fn key_use(n: u128, key: &str, now: i64) -> KeyUse {
    KeyUse {
        keyed: Keyed { id: key.to_owned(), request: format!("digest {n}") },
        request_id: RequestId::from(format!("req-{n}")),
        volume_id: volume_id(n),
        object_id: n.is_multiple_of(2).then(|| uuid(n)),
        expires_at: Timestamp(now + DAY),
    }
}

fn used(n: u128, key: &str, now: i64) -> Option<KeyChange> {
    Some(KeyChange::Use { key: key_use(n, key, now), now: Timestamp(now) })
}

async fn one_of_many_uses_a_key_and_only_its_effect_is_there(bench: Bench) {
    let states: Vec<VolumeState> = (1..=8).map(|n| volume(n, "p", 1)).collect();
    let commits = (1..=8).zip(&states).map(|(n, state)| {
        let transaction = Transaction { key: used(n, "k", 10), ..insert(state) };
        bench.commit(transaction)
    });
    let outcomes = join_all(commits).await;
    let won: Vec<usize> = (0..8).filter(|place| outcomes[*place] == CommitOutcome::Committed).collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == KEY_USED).count(), 7);
    bench.crash();
    for (place, state) in states.iter().enumerate() {
        assert_eq!(bench.store().volume_get(state.id()).await.unwrap().is_some(), place == won[0]);
    }
    let number = won[0] as u128 + 1;
    assert_eq!(bench.store().key_use("k".into(), Timestamp(10)).await.unwrap(), Some(key_use(number, "k", 10)));
    assert_eq!(bench.store().key_use("K".into(), Timestamp(10)).await.unwrap(), None);
}

async fn a_key_ends_with_its_time_or_its_request(bench: Bench) {
    let alone = |key| Transaction { key, ..Transaction::default() };
    assert_committed(bench.commit(alone(used(1, "k", 10))).await);
    assert_eq!(bench.commit(alone(used(2, "k", 9 + DAY))).await, KEY_USED);
    assert_eq!(bench.store().key_use("k".into(), Timestamp(10 + DAY)).await.unwrap(), None, "expired");
    assert_committed(bench.commit(alone(used(2, "k", 10 + DAY))).await);
    let found = async || bench.store().key_use("k".into(), Timestamp(11 + DAY)).await.unwrap();
    assert_eq!(found().await, Some(key_use(2, "k", 10 + DAY)));
    let free = |n: u128| Some(KeyChange::Free { id: "k".to_owned(), request_id: RequestId::from(format!("req-{n}")) });
    assert_committed(bench.commit(alone(free(1))).await);
    assert!(found().await.is_some(), "it is another request's");
    assert_committed(bench.commit(alone(free(2))).await);
    assert_eq!(found().await, None);
    for n in 1..=3 {
        assert_committed(bench.commit(alone(used(n, &format!("k{n}"), 10))).await);
    }
    assert_eq!(bench.store().history_purge(Timestamp(10 + DAY), 2).await.unwrap(), 0);
    assert_eq!(bench.store().history_purge(Timestamp(11 + DAY), 2).await.unwrap(), 2);
    assert_eq!(bench.store().history_purge(Timestamp(11 + DAY), 2).await.unwrap(), 1);
}

async fn a_refused_member_leaves_its_key_unused(bench: Bench) {
    let state = volume(1, "p", 1);
    assert_committed(bench.commit(insert(&state)).await);
    let stale = CommitOutcome::Aborted(Aborted::Stale);
    let twice = Transaction { key: used(1, "k", 10), ..insert(&state) };
    assert_eq!(bench.commit(twice).await, stale);
    assert_eq!(bench.store().key_use("k".into(), Timestamp(10)).await.unwrap(), None);
    // What usually waits in a journal goes to the tables with its key.
    let new = next(&state, |new| new.volume.epoch += 1);
    assert_committed(bench.commit(Transaction { key: used(1, "k", 10), ..change(Some(&state), &new) }).await);
    bench.crash();
    assert_eq!(bench.store().key_use("k".into(), Timestamp(10)).await.unwrap(), Some(key_use(1, "k", 10)));
    assert_eq!(bench.store().volume_get(state.id()).await.unwrap(), Some(new));
}
