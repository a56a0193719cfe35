//! SQLite's journal: what is committed and not in the tables yet is what every reader sees, also after a crash. The random
//! histories run on every store, since nobody may be able to tell the difference.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection};
use hearth::domain::attachment::Attachment;
use hearth::domain::ids::VolumeId;
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::VolumeState;
use hearth::runtime::Randomness;
use hearth::store::{
    Aborted, AttachmentQuery, CommitOutcome, Event, Store, StoreOptions, ThreadedStore, open_threaded,
};

use super::bench::Bench;
use super::build::*;
use super::commits::audit;

super::on_every_store!(r98_no_reader_can_tell_the_journal_from_the_tables);

const VOLUMES: u128 = 10;
const ROUNDS: u128 = 60;

/// What was committed, by volume.
#[derive(Default)]
struct Truth {
    volumes: BTreeMap<VolumeId, VolumeState>,
    events: BTreeMap<VolumeId, Vec<Event>>,
}

impl Truth {
    fn attachments(&self) -> Vec<&Attachment> {
        self.volumes.values().flat_map(|state| &state.attachments).collect()
    }

    /// Reads everything in every way and compares it.
    async fn assert_seen_by(&self, store: &dyn Store) {
        for (id, events) in &self.events {
            assert_eq!(store.volume_get(*id).await.unwrap().as_ref(), self.volumes.get(id));
            let mut found = store.events(*id, None, 1_000).await.unwrap();
            found.reverse();
            assert_eq!(found, *events);
        }
        let mut listed = store.volume_list(volumes_of(None, vec![], paging(&[], 1_000))).await.unwrap().rows;
        listed.sort_by_key(VolumeState::id);
        assert_eq!(listed.iter().collect::<Vec<_>>(), self.volumes.values().collect::<Vec<_>>());
        let query = AttachmentQuery { project_id: None, filters: vec![], paging: paging(&[], 1_000) };
        let mut listed = store.attachment_list(query).await.unwrap().rows;
        let mut expected = self.attachments();
        listed.sort_by_key(|row| row.id);
        expected.sort_by_key(|row| row.id);
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
        let mut operations: Vec<_> = store.open_operations(None, 1_000).await.unwrap();
        operations.sort_by_key(|open| open.operation.id);
        let mut expected: Vec<_> = self.volumes.values().flat_map(|state| &state.operations).collect();
        expected.sort_by_key(|operation| operation.id);
        assert_eq!(operations.iter().map(|open| &open.operation).collect::<Vec<_>>(), expected);
    }

    /// Only what needs no settled tables.
    async fn assert_seen_by_id(&self, store: &dyn Store) {
        for id in self.events.keys() {
            assert_eq!(store.volume_get(*id).await.unwrap().as_ref(), self.volumes.get(id));
        }
        for row in self.attachments() {
            assert_eq!(store.attachment_volume(row.id).await.unwrap(), Some(row.volume_id));
        }
    }
}

/// The next state of one volume: changes that may wait in the journal, and a few that the tables must judge.
fn mutate(random: &Randomness, old: Option<&VolumeState>, n: u128, round: u128) -> VolumeState {
    let Some(old) = old else { return volume(n, "p", 1) };
    next(old, |new| match random.below(13) {
        0 => end(new),
        1 => new.volume.size_gib += 1,
        2 => {
            let server = format!("server-{n}-{round}");
            new.attachments.push(attachment(n * 1_000 + round, old, Some(&server), Some("/dev/vdb")));
        }
        3 => new.attachments.clear(),
        4 => new.operations = vec![extend(n * 1_000 + round, old, 0)],
        5 => new.operations.clear(),
        6 => new.volume.metadata = [("round".to_owned(), round.to_string())].into_iter().collect(),
        7 => drop(new.attachments.pop()),
        8 | 9 => new.attachments.push(attachment(n * 1_000 + round, old, None, None)),
        11 => new.volume.claims = claims(round),
        10 => new.attachments.iter_mut().for_each(|row| row.mountpoint = Some(round.to_string().into())),
        _ => new.volume.status = VolumeStatus::InUse,
    })
}

/// A volume ends with all that it has.
fn end(state: &mut VolumeState) {
    state.volume.deleted = true;
    state.attachments.clear();
    state.operations.clear();
}

async fn r98_no_reader_can_tell_the_journal_from_the_tables(bench: Bench) {
    for seed in 1..=3_u64 {
        let random = Randomness::from_seed(seed);
        let base = u128::from(seed) * 100;
        let mut truth = Truth::default();
        let mut gone = Vec::new();
        for round in 0..ROUNDS {
            let mut group = Vec::new();
            for n in base..base + VOLUMES {
                if random.below(3) == 0 || gone.contains(&n) {
                    continue;
                }
                let old = truth.volumes.get(&volume_id(n));
                let new = mutate(&random, old, n, round);
                group.push((old.cloned(), new));
                // now and then two members of a group want the same volume: the second comes too late
                if random.below(10) == 0 {
                    group.push((old.cloned(), mutate(&random, old, n, round)));
                }
            }
            let members = group.iter().map(|(old, new)| change(old.as_ref(), new)).collect();
            let outcomes = bench.commit_together(members).await;
            for ((old, new), outcome) in group.into_iter().zip(outcomes) {
                let id = new.id();
                if truth.volumes.get(&id) != old.as_ref() || gone.iter().any(|n| volume_id(*n) == id) {
                    assert_eq!(outcome, CommitOutcome::Aborted(Aborted::Stale), "seed {seed}, round {round}");
                    continue;
                }
                assert_committed(outcome);
                truth.events.entry(id).or_default().push(event(&new));
                if new.volume.deleted {
                    truth.volumes.remove(&id);
                    gone.extend((base..base + VOLUMES).filter(|n| volume_id(*n) == id));
                } else {
                    truth.volumes.insert(id, new);
                }
            }
            truth.assert_seen_by_id(&*bench.store()).await;
            if random.below(8) == 0 {
                truth.assert_seen_by(&*bench.store()).await;
                audit(&bench).await;
            }
            if random.below(8) == 0 {
                bench.crash();
            }
        }
        truth.assert_seen_by(&*bench.store()).await;
        // the next seed begins with empty tables
        for state in truth.volumes.values() {
            assert_committed(bench.commit(change(Some(state), &next(state, end))).await);
        }
    }
}

fn open(directory: &Path, options: StoreOptions) -> ThreadedStore {
    open_threaded(&format!("sqlite://{}/hearth.db", directory.display()), options).unwrap()
}

/// Commits changes of `state` until one waits in the journal, and keeps it there for as long as the guard lives.
async fn until_one_waits<'a>(store: &'a ThreadedStore, state: &mut VolumeState) -> hearth::store::HeldCommits<'a> {
    for n in 0.. {
        let new = next(state, |new| new.attachments.push(attachment(n, &state.clone(), None, None)));
        assert_committed(store.commit(change(Some(state), &new)).await);
        *state = new;
        let held = store.hold_commits();
        if store.journal_depth() > 0 {
            return held;
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r99_what_waits_in_the_journal_survives_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = open(directory.path(), StoreOptions::default());
    let mut state = volume(1, "p", 1);
    assert_committed(store.commit(insert(&state)).await);
    let held = until_one_waits(&store, &mut state).await;
    for name in ["hearth.db", "hearth.db-wal"] {
        std::fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    drop(held);
    let shown = |directory: &Path| {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            generation: i64,
        }
        let mut tables = SqliteConnection::establish(&directory.join("hearth.db").to_string_lossy()).unwrap();
        let row: Row = diesel::sql_query("SELECT generation FROM volumes").get_result(&mut tables).unwrap();
        u64::try_from(row.generation).unwrap()
    };
    assert!(shown(copy.path()) < state.volume.generation, "the tables of the copy are behind");
    let restarted = open(copy.path(), StoreOptions::default());
    assert_eq!(shown(copy.path()), state.volume.generation, "opening it has settled it");
    assert_eq!(restarted.volume_get(state.id()).await.unwrap(), Some(state.clone()));
    let kept = restarted.events(state.id(), None, 1_000).await.unwrap();
    assert_eq!(kept, store.events(state.id(), None, 1_000).await.unwrap());
    assert_eq!(kept.first().map(|event| event.generation), Some(state.volume.generation));
    assert_committed(restarted.commit(change(Some(&state), &next(&state, |_| {}))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_end_leaves_nothing_in_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), StoreOptions::default());
    let mut state = volume(1, "p", 1);
    assert_committed(store.commit(insert(&state)).await);
    drop(until_one_waits(&store, &mut state).await);
    store.stop();
    let observer = open(directory.path(), StoreOptions { observer: true, ..StoreOptions::default() });
    assert_eq!(observer.volume_get(state.id()).await.unwrap(), Some(state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_waits_for_the_owner_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), StoreOptions::default());
    let mut state = volume(1, "p", 1);
    assert_committed(store.commit(insert(&state)).await);
    let observer = open(directory.path(), StoreOptions { observer: true, ..StoreOptions::default() });
    let held = until_one_waits(&store, &mut state).await;
    let before = observer.volume_get(state.id()).await.unwrap().unwrap();
    assert!(before.volume.generation < state.volume.generation, "it reads the tables");
    let settled = observer.settled();
    drop(held);
    settled.await.unwrap();
    assert_eq!(observer.volume_get(state.id()).await.unwrap(), Some(state.clone()));
    let refused = observer.commit(change(Some(&state), &next(&state, |_| {}))).await;
    assert!(matches!(refused, CommitOutcome::Unknown(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_was_changed_behind_the_journal_ends_the_service_and_loses_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (told, on_unknown) = counted_unknowns();
    let store = open(directory.path(), StoreOptions { on_unknown: Some(on_unknown), ..StoreOptions::default() });
    let (mut state, neighbour) = (volume(1, "p", 1), volume(2, "p", 1));
    for state in [&state, &neighbour] {
        assert_committed(store.commit(insert(state)).await);
    }
    let held = until_one_waits(&store, &mut state).await;
    let path = directory.path().join("hearth.db");
    let mut tables = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    let by_hand = format!("UPDATE volumes SET generation = 1000 WHERE id = '{}'", state.id());
    tables.batch_execute(&by_hand).unwrap();
    let neighbours = store.commit(change(Some(&neighbour), &next(&neighbour, |_| {})));
    drop(held);
    let neighbours = neighbours.await;
    assert!(store.settled().await.is_err());
    assert_eq!(told.load(Ordering::SeqCst), 1);
    let late = store.commit(insert(&volume(3, "p", 1))).await;
    assert!(matches!(late, CommitOutcome::Unknown(_)), "{late:?}");
    drop(store);
    let store = open(directory.path(), StoreOptions::default());
    let kept = store.volume_get(neighbour.id()).await.unwrap().unwrap();
    assert_committed(neighbours);
    assert_eq!(kept, next(&neighbour, |_| {}));
    assert_eq!(store.volume_get(state.id()).await.unwrap().unwrap().volume.generation, 1_000, "the newer one stays");
}
