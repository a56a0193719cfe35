//! Random histories: whatever happens, the stored usage is the counted one and no row is torn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use hearth::domain::ids::{ProjectId, VolumeTypeId};
use hearth::domain::quota::Limits;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::VolumeState;
use hearth::runtime::Randomness;
use hearth::store::{Aborted, CommitOutcome, Transaction};

use super::bench::Bench;
use super::build::*;
use super::commits::audit;
use super::quotas::snapshot;
use super::types::type_id;

super::on_every_store!(r52_usage_is_exact_after_every_group, r119_no_reader_sees_a_torn_volume);

const VOLUMES: u128 = 12;
const ROUNDS: usize = 60;

async fn r52_usage_is_exact_after_every_group(bench: Bench) {
    for seed in [1, 2] {
        let random = Randomness::from_seed(seed);
        let base = u128::from(seed) * 1000;
        let mut truth: Vec<Option<VolumeState>> = vec![None; VOLUMES as usize];
        for round in 0..ROUNDS {
            let mut group = Vec::new();
            let mut plans: Vec<(usize, VolumeState)> = Vec::new();
            for (index, present) in truth.iter().enumerate() {
                if random.below(2) == 0 {
                    continue;
                }
                let new = mutate(&random, present.as_ref(), base + index as u128, round);
                let mut old = present.clone();
                if let Some(old) = &mut old
                    && random.below(8) == 0
                {
                    old.volume.generation += 3;
                }
                let limits = Limits { volumes: 6, gigabytes: 60, ..Limits::NONE };
                let limits = (random.below(3) > 0).then_some(limits);
                group.push(Transaction { limits, ..change(old.as_ref(), &new) });
                plans.push((index, new));
            }
            let outcomes = bench.commit_together(group).await;
            for ((index, new), outcome) in plans.into_iter().zip(outcomes) {
                match outcome {
                    CommitOutcome::Committed => truth[index] = Some(new),
                    CommitOutcome::Aborted(Aborted::Stale | Aborted::OverQuota(_)) => {}
                    other => panic!("seed {seed}, round {round}: {other:?}"),
                }
            }
            audit(&bench).await;
        }
        for (index, expected) in truth.into_iter().enumerate() {
            let found = bench.store().volume_get(volume_id(base + index as u128)).await.unwrap();
            assert_eq!(found, expected.filter(|state| !state.volume.deleted), "seed {seed}, volume {index}");
        }
    }
}

fn mutate(random: &Randomness, old: Option<&VolumeState>, n: u128, round: usize) -> VolumeState {
    let project = if random.below(2) == 0 { "p" } else { "q" };
    let Some(old) = old else {
        let mut new = volume(n, project, 1 + u32::try_from(random.below(20)).unwrap());
        new.volume.volume_type_id = type_of(random);
        return new;
    };
    let operation_id = n * 1000 + round as u128;
    next(old, |new| match random.below(9) {
        0 => {
            new.volume.deleted = true;
            new.snapshots.clear();
        }
        1 => new.volume.size_gib += u32::try_from(random.below(10)).unwrap(),
        2 => new.operations = vec![extend(operation_id, old, u32::try_from(random.below(9)).unwrap())],
        3 => new.operations.clear(),
        6 => new.volume.volume_type_id = type_of(random),
        7 => new.snapshots.push(snapshot(operation_id, old)),
        8 => new.snapshots.clear(),
        4 => new.volume.project_id = ProjectId::from(project),
        _ => new.volume.consumes_quota = !new.volume.consumes_quota,
    })
}

fn type_of(random: &Randomness) -> Option<VolumeTypeId> {
    (random.below(3) > 0).then(|| type_id(u128::from(random.below(2))))
}

async fn r119_no_reader_sees_a_torn_volume(bench: Bench) {
    /// Everything in a state tells its generation.
    fn shape(state: &mut VolumeState) {
        let generation = state.volume.generation;
        state.volume.size_gib = u32::try_from(generation).unwrap();
        state.volume.description = Some(format!("{}", generation * 7).into());
        let base = volume(1, "p", 1);
        state.attachments = (0..generation % 3)
            .map(|n| {
                let mut row = attachment(u128::from(generation * 10 + n), &base, None, None);
                row.mountpoint = Some(generation.to_string().into());
                row
            })
            .collect();
        let mut operation = extend(u128::from(generation), &base, 0);
        operation.epoch = generation;
        operation.started_at = Timestamp(1);
        state.operations = vec![operation];
    }
    fn check(state: &VolumeState) {
        let mut expected = state.clone();
        shape(&mut expected);
        assert_eq!(*state, expected, "torn");
    }
    let mut state = volume(1, "p", 1);
    shape(&mut state);
    assert_committed(bench.commit(insert(&state)).await);
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (store, done) = (bench.store(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut versions = std::collections::BTreeSet::new();
                while !done.load(Ordering::Acquire) {
                    let states = if reader % 2 == 0 {
                        store.volume_list(volumes_of(None, vec![], paging(&[], 10))).await.unwrap().rows
                    } else {
                        store.volume_get(volume_id(1)).await.unwrap().into_iter().collect()
                    };
                    states.iter().for_each(check);
                    versions.extend(states.iter().map(|state| state.volume.generation));
                    tokio::task::yield_now().await;
                }
                versions.len()
            })
        })
        .collect();
    for _ in 0..200 {
        let new = next(&state, shape);
        assert_committed(bench.commit(change(Some(&state), &new)).await);
        state = new;
        tokio::task::yield_now().await;
    }
    done.store(true, Ordering::Release);
    for versions in join_all(readers).await {
        assert!(versions.unwrap() > 1, "the readers saw the volume change");
    }
}
