//! The commit path of the embedded store: group commit on SQLite with `synchronous=FULL`. With more committers than one the
//! fsync is shared, so transactions a second must rise far beyond fsyncs a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use hearth::domain::ids::{ProjectId, RequestId, UserId, VolumeId};
use hearth::domain::operation::Requester;
use hearth::domain::quota::Limits;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::command::CreateVolume;
use hearth::domain::volume::{Caller, Command, Facts, Verdict, VolumeState, decide};
use hearth::store::{CommitOutcome, Store, StoreOptions, Transaction, VolumeChange, open};
use uuid::Uuid;

/// Commits that are in flight at the same time.
const COMMITTERS: [usize; 3] = [1, 64, 256];

fn new_volume(number: u128) -> Arc<VolumeState> {
    let volume_id = VolumeId(Uuid::from_u128(number));
    let requester = Requester {
        request_id: RequestId::from("req-1"),
        user_id: UserId::from("user"),
        project_id: ProjectId::from("project"),
    };
    let create = Command::Create(Box::new(CreateVolume {
        volume_id,
        size_gib: 1,
        name: Some("data".to_owned()),
        description: None,
        metadata: BTreeMap::new(),
        volume_type_id: None,
        multiattach: false,
        availability_zone: "nova".to_owned(),
        host: Some("host@local#pool".to_owned()),
    }));
    let facts = Facts {
        now: Timestamp(1_000),
        ids: [0, 1, 2, 3].map(|offset| Uuid::from_u128((1 << 100) + number * 4 + offset)),
        limits: Limits { volumes: -1, gigabytes: -1, per_volume_gigabytes: -1 },
        drain_deadline: Duration::from_secs(30),
    };
    let caller = Caller { requester, is_admin: false, is_service: false };
    match decide(volume_id, None, &create, &caller, &facts) {
        Verdict::Commit(decision) => decision.next,
        other => panic!("{other:?}"),
    }
}

async fn commit(store: &dyn Store, old: Option<Arc<VolumeState>>, new: Arc<VolumeState>) {
    let volume = Some(VolumeChange { old, new });
    let outcome = store.commit(Transaction { volume, ..Transaction::default() }).await;
    assert_eq!(outcome, CommitOutcome::Committed);
}

/// One committer's work: rename its volume `times` times, each time waiting for the disk.
async fn rename(store: Arc<dyn Store>, mut state: Arc<VolumeState>, times: u64) -> Arc<VolumeState> {
    for _ in 0..times {
        let mut next = (*state).clone();
        next.volume.generation += 1;
        next.volume.name = Some(format!("data-{}", next.volume.generation));
        let next = Arc::new(next);
        commit(&*store, Some(state), Arc::clone(&next)).await;
        state = next;
    }
    state
}

fn commits(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group("commit");
    for committers in COMMITTERS {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite://{}/bench.db", directory.path().display());
        let store = open(&url, StoreOptions::default()).expect("a store");
        let mut states = (1..=committers as u128).map(new_volume).collect::<Vec<_>>();
        runtime.block_on(join_all(states.iter().map(|state| commit(&*store, None, Arc::clone(state)))));

        group.throughput(Throughput::Elements(committers as u64));
        group.bench_function(BenchmarkId::from_parameter(committers), |bencher| {
            bencher.iter_custom(|times| {
                let started = Instant::now();
                let work = states.drain(..).map(|state| rename(Arc::clone(&store), state, times)).collect::<Vec<_>>();
                states = runtime.block_on(join_all(work));
                started.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commits);
criterion_main!(benches);
