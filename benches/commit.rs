//! The commit path of the embedded store: group commit on SQLite with `synchronous=FULL`. With more committers than one the
//! fsync is shared, so transactions a second must rise far beyond fsyncs a second.

use std::sync::Arc;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use hearth::domain::volume::VolumeState;
use hearth::store::{Store, StoreOptions, open};

#[allow(dead_code, reason = "each bench uses a part")]
mod support;

use support::{commit, new_volume};

/// Commits that are in flight at the same time.
const COMMITTERS: [usize; 3] = [1, 64, 256];

/// One committer's work: rename its volume `times` times, each time waiting for the disk.
async fn rename(store: Arc<dyn Store>, mut state: Arc<VolumeState>, times: u64) -> Arc<VolumeState> {
    for _ in 0..times {
        let mut next = (*state).clone();
        next.volume.generation += 1;
        next.volume.name = Some(format!("data-{}", next.volume.generation).into());
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
