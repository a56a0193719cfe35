//! Quotas: limits are kept as they are set, and usage is exact for each project and for each of its types (promise I5).

use std::sync::Arc;

use futures_util::future::join_all;
use hearth::domain::ids::{ProjectId, SnapshotId};
use hearth::domain::metadata::Metadata;
use hearth::domain::quota::{Limits, OverQuota, QuotaKey, QuotaOwner, Resource, StoredLimit, TypeLimits, Usage};
use hearth::domain::snapshot::Snapshot;
use hearth::domain::status::SnapshotStatus;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::VolumeState;
use hearth::domain::volume_type::VolumeType;
use hearth::store::{Aborted, CommitOutcome, GrowthRules, Store, StoreOptions, Transaction, TypeChange, open_threaded};

use super::bench::Bench;
use super::build::*;
use super::cluster;
use super::commits::audit;
use super::types::{create, type_id, volume_of, volume_type};

super::on_every_store!(
    limits_are_kept_as_they_are_set,
    what_is_said_of_a_type_goes_with_it,
    usage_is_kept_for_each_type,
    r52_concurrent_creates_never_pass_the_limit_of_a_type,
);

pub fn snapshot(n: u128, of: &VolumeState) -> Snapshot {
    Snapshot {
        id: SnapshotId(uuid(0xf_0000_0000 + n)),
        volume_id: of.id(),
        project_id: of.volume.project_id.clone(),
        user_id: "user".into(),
        name: None,
        description: None,
        status: SnapshotStatus::Available,
        progress: 100,
        size_gib: of.volume.size_gib,
        metadata: Metadata::default(),
        consumes_quota: true,
        created_at: Timestamp(6),
        updated_at: None,
    }
}

fn of_all(resource: Resource) -> QuotaKey {
    QuotaKey { resource, volume_type_id: None }
}

fn project(id: &str) -> QuotaOwner {
    QuotaOwner::Project(ProjectId::from(id))
}

fn class(name: &str) -> QuotaOwner {
    QuotaOwner::Class(name.to_owned())
}

async fn limits_of(bench: &Bench, owners: &[QuotaOwner]) -> Vec<StoredLimit> {
    let mut limits = bench.store().quota_limits(owners.to_vec()).await.unwrap();
    limits.sort_by_key(|row| (format!("{:?}", row.owner), row.key));
    limits
}

async fn limits_are_kept_as_they_are_set(bench: Bench) {
    let store = bench.store();
    let of_type = QuotaKey { resource: Resource::Volumes, volume_type_id: Some(type_id(1)) };
    let set = async |owner: &QuotaOwner, limits: &[(QuotaKey, i64)]| {
        bench.store().limits_set(owner.clone(), limits.to_vec()).await.unwrap();
    };
    // a project and a class of one name are two
    set(&project("default"), &[(of_all(Resource::Volumes), 1)]).await;
    set(&class("default"), &[(of_all(Resource::Volumes), 2), (of_type, -1)]).await;
    set(&project("p"), &[(of_all(Resource::Gigabytes), 3), (of_type, 4), (of_all(Resource::Groups), 5)]).await;
    set(&project("p"), &[(of_type, 6)]).await;
    let row = |owner: &QuotaOwner, key, limit| StoredLimit { owner: owner.clone(), key, limit };
    bench.crash();
    let (p, default) = (project("p"), class("default"));
    let of_p = [row(&p, of_type, 6), row(&p, of_all(Resource::Gigabytes), 3), row(&p, of_all(Resource::Groups), 5)];
    assert_eq!(limits_of(&bench, std::slice::from_ref(&p)).await, of_p);
    let of_class = [row(&default, of_all(Resource::Volumes), 2), row(&default, of_type, -1)];
    assert_eq!(limits_of(&bench, std::slice::from_ref(&default)).await, of_class);
    assert_eq!(limits_of(&bench, &[project("q")]).await, []);
    let mut rules = store.growth_rules(ProjectId::from("p"), Some(type_id(1))).await.unwrap();
    rules.limits.sort_by_key(|row| (format!("{:?}", row.owner), row.key));
    let both = of_class.iter().chain(&of_p).cloned().collect();
    assert_eq!(rules, GrowthRules { limits: both, volume_type: None });
    bench.store().limits_clear(p.clone()).await.unwrap();
    bench.store().limits_clear(p.clone()).await.unwrap();
    assert_eq!(limits_of(&bench, &[p]).await, []);
    assert_eq!(limits_of(&bench, &[default]).await, of_class);
}

async fn what_is_said_of_a_type_goes_with_it(bench: Bench) {
    let store = bench.store();
    let (kept, gone) = (volume_type(1), volume_type(2));
    create(store.as_ref(), &kept).await;
    create(store.as_ref(), &gone).await;
    let key = |of: &VolumeType| QuotaKey { resource: Resource::Gigabytes, volume_type_id: Some(of.id) };
    store.limits_set(project("p"), vec![(key(&kept), 1), (key(&gone), 2)]).await.unwrap();
    let state = volume_of(1, "p", &gone);
    assert_committed(bench.commit(insert(&state)).await);
    let rules = store.growth_rules(ProjectId::from("p"), Some(gone.id)).await.unwrap();
    assert_eq!(rules.volume_type.as_ref(), Some(&gone));
    let deleted = next(&state, |new| {
        new.volume.deleted = true;
        new.volume.deleted_at = Some(Timestamp(5));
    });
    assert_committed(bench.commit(change(Some(&state), &deleted)).await);
    let delete = TypeChange::Delete { id: gone.id, revision: gone.revision };
    assert_eq!(store.type_change(delete).await, Ok(Ok(())));
    let left = limits_of(&bench, &[project("p")]).await;
    assert_eq!(left.iter().map(|row| (row.key, row.limit)).collect::<Vec<_>>(), [(key(&kept), 1)]);
    let usages = store.usages(ProjectId::from("p")).await.unwrap();
    assert_eq!(usages, [(None, Usage::default())]);
}

async fn usage_is_kept_for_each_type(bench: Bench) {
    let (one, other) = (type_id(1), type_id(2));
    let usages = async |project: &str| {
        let mut usages = bench.store().usages(ProjectId::from(project)).await.unwrap();
        usages.retain(|(_, usage)| !usage.is_zero());
        usages.sort_by_key(|(id, _)| *id);
        usages
    };
    let mut state = volume(1, "p", 10);
    state.volume.volume_type_id = Some(one);
    let plain = Usage { volumes: 1, gigabytes: 10, live_volumes: 1, ..Usage::default() };
    assert_committed(bench.commit(insert(&state)).await);
    assert_eq!(usages("p").await, [(None, plain), (Some(one), plain)]);

    let with_snapshots = next(&state, |new| {
        let mut uncounted = snapshot(3, new);
        uncounted.consumes_quota = false;
        // one that its owner did not give away with the volume
        let mut foreign = snapshot(2, new);
        foreign.project_id = ProjectId::from("q");
        new.snapshots = vec![snapshot(1, new), foreign, uncounted];
        new.operations.push(extend(1, &state, 5));
    });
    assert_committed(bench.commit(change(Some(&state), &with_snapshots)).await);
    let own = Usage { snapshots: 1, snapshot_gigabytes: 10, reserved_gigabytes: 5, ..plain };
    let foreign = Usage { snapshots: 1, snapshot_gigabytes: 10, ..Usage::default() };
    assert_eq!(usages("p").await, [(None, own), (Some(one), own)]);
    assert_eq!(usages("q").await, [(None, foreign), (Some(one), foreign)]);
    audit(&bench).await;

    let retyped = next(&with_snapshots, |new| {
        new.volume.volume_type_id = Some(other);
        new.operations.clear();
    });
    assert_committed(bench.commit(change(Some(&with_snapshots), &retyped)).await);
    let own = Usage { reserved_gigabytes: 0, ..own };
    assert_eq!(usages("p").await, [(None, own), (Some(other), own)]);
    assert_eq!(usages("q").await, [(None, foreign), (Some(other), foreign)]);
    audit(&bench).await;

    let uncounted = next(&retyped, |new| {
        new.volume.consumes_quota = false;
        new.snapshots.clear();
    });
    assert_committed(bench.commit(change(Some(&retyped), &uncounted)).await);
    let live = Usage { live_volumes: 1, ..Usage::default() };
    assert_eq!(usages("p").await, [(None, live), (Some(other), live)], "it is still of its type");
    assert_eq!(usages("q").await, []);
    let given = next(&uncounted, |new| {
        new.volume.consumes_quota = true;
        new.volume.project_id = ProjectId::from("q");
    });
    assert_committed(bench.commit(change(Some(&uncounted), &given)).await);
    bench.crash();
    assert_eq!((usages("p").await, usages("q").await), (vec![], vec![(None, plain), (Some(other), plain)]));
    audit(&bench).await;
}

/// No limit for all types together, and these for one.
fn limited_type(of: &VolumeType, volumes: i64, gigabytes: i64) -> Limits {
    let of_type = TypeLimits {
        id: of.id,
        revision: of.revision,
        name: of.name.clone(),
        sizes: of.sizes(),
        volumes,
        snapshots: -1,
        gigabytes,
    };
    Limits { of_type: Some(Arc::new(of_type)), ..Limits::NONE }
}

fn limited_insert(n: u128, of: &VolumeType, limits: &Limits) -> Transaction {
    Transaction {
        limits: Some(limits.clone()),
        type_guard: Some((of.id, of.revision)),
        ..insert(&volume_of(n, "p", of))
    }
}

async fn r52_concurrent_creates_never_pass_the_limit_of_a_type(bench: Bench) {
    let store = bench.store();
    let (kind, free) = (volume_type(1), volume_type(2));
    create(store.as_ref(), &kind).await;
    create(store.as_ref(), &free).await;
    let limits = limited_type(&kind, 7, -1);
    let group = (0..16).map(|n| limited_insert(n, &kind, &limits)).collect();
    let outcomes = bench.commit_together(group).await;
    let over = OverQuota::Volumes { key: format!("volumes_{}", kind.name), limit: 7 };
    let refused = CommitOutcome::Aborted(Aborted::OverQuota(over));
    assert_eq!(outcomes[..7], vec![CommitOutcome::Committed; 7]);
    assert_eq!(outcomes[7..], vec![refused; 9]);
    // another type of the same project has room
    assert_committed(bench.commit(limited_insert(50, &free, &limited_type(&free, 1, -1))).await);
    let tasks = (0..6_u128).map(|task| {
        let (store, kind) = (bench.store(), kind.clone());
        tokio::spawn(async move {
            let limits = limited_type(&kind, -1, 20);
            let mut committed = 0;
            for n in 0..6 {
                match store.commit(limited_insert(100 + 10 * task + n, &kind, &limits)).await {
                    CommitOutcome::Committed => committed += 1,
                    CommitOutcome::Aborted(Aborted::OverQuota(OverQuota::Gigabytes { .. })) => {}
                    other => panic!("{other:?}"),
                }
            }
            committed
        })
    });
    let committed: i64 = join_all(tasks).await.into_iter().map(|count| count.unwrap()).sum();
    assert_eq!(committed, 13, "7 were there, and 20 may be");
    audit(&bench).await;
}

/// Two nodes with writers of their own share the limits of a project and of a type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_two_nodes_never_pass_a_limit_together() {
    let Some(url) = cluster::fresh_database() else { return };
    let nodes = [(); 2].map(|()| Arc::new(open_threaded(&url, StoreOptions::default()).unwrap()));
    let kind = volume_type(1);
    create(nodes[0].as_ref(), &kind).await;
    let limits = Limits { volumes: 25, ..limited_type(&kind, 15, -1) };
    let tasks = (0..8_u128).map(|task| {
        let store = Arc::clone(&nodes[task as usize % 2]);
        let (kind, limits) = (kind.clone(), limits.clone());
        tokio::spawn(async move {
            let mut committed = (0, 0);
            for n in 0..10 {
                let number = 100 * task + n;
                let member = if n % 2 == 0 {
                    limited_insert(number, &kind, &limits)
                } else {
                    Transaction { limits: Some(limits.clone()), ..insert(&volume(number, "p", 1)) }
                };
                match store.commit(member).await {
                    CommitOutcome::Committed if n % 2 == 0 => committed.0 += 1,
                    CommitOutcome::Committed => committed.1 += 1,
                    CommitOutcome::Aborted(Aborted::OverQuota(OverQuota::Volumes { .. })) => {}
                    other => panic!("{other:?}"),
                }
            }
            committed
        })
    });
    let committed: Vec<(i64, i64)> = join_all(tasks).await.into_iter().map(|count| count.unwrap()).collect();
    let (of_type, others) = committed.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(of_type <= 15, "{of_type}");
    assert_eq!(of_type + others, 25);
    for audited in nodes[0].usage_audit().await.unwrap() {
        assert_eq!(audited.stored, audited.counted, "{:?}", audited.scope);
    }
}
