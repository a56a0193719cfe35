//! Volume types: their changes are guarded, and no volume is ever of a type that is gone.

use futures_util::future::{join, join_all};
use hearth::domain::ids::{ProjectId, VolumeTypeId};
use hearth::domain::time::Timestamp;
use hearth::domain::volume::VolumeState;
use hearth::domain::volume_type::VolumeType;
use hearth::store::{Aborted, CommitOutcome, Store, StoreOptions, Transaction, TypeChange, TypeRefused, open_threaded};

use super::bench::Bench;
use super::build::*;
use super::cluster;

super::on_every_store!(
    a_type_is_kept_as_it_is_written,
    a_change_is_guarded_by_the_revision,
    a_name_is_used_once,
    a_used_type_stays_as_it_is,
    a_default_and_the_last_type_stay,
    a_commit_is_guarded_by_the_types_revision,
    r52_a_type_that_goes_takes_no_volume_with_it,
);

const TYPE_CHANGED: CommitOutcome = CommitOutcome::Aborted(Aborted::TypeChanged);

pub fn type_id(n: u128) -> VolumeTypeId {
    VolumeTypeId(uuid(0xe_0000_0000 + n))
}

pub fn volume_type(n: u128) -> VolumeType {
    VolumeType {
        id: type_id(n),
        revision: 1,
        name: format!(" type {n} "),
        description: None,
        is_public: true,
        projects: [].into(),
        extra_specs: [("a".to_owned(), Some("b".to_owned())), ("none".to_owned(), None)].into(),
        encryption: None,
        qos_specs_id: None,
        created_at: Timestamp(5),
        updated_at: None,
    }
}

pub async fn create(store: &dyn Store, new: &VolumeType) {
    assert_eq!(store.type_change(TypeChange::Create(new.clone())).await, Ok(Ok(())));
}

fn changed(old: &VolumeType, edit: impl FnOnce(&mut VolumeType)) -> VolumeType {
    let mut new = VolumeType { revision: old.revision + 1, updated_at: Some(Timestamp(9)), ..old.clone() };
    edit(&mut new);
    new
}

fn update(new: &VolumeType, while_unused: bool) -> TypeChange {
    TypeChange::Update { new: new.clone(), while_unused }
}

fn delete(of: &VolumeType) -> TypeChange {
    TypeChange::Delete { id: of.id, revision: of.revision }
}

pub fn volume_of(n: u128, project: &str, of: &VolumeType) -> VolumeState {
    let mut state = volume(n, project, 1);
    state.volume.volume_type_id = Some(of.id);
    state
}

pub fn insert_of(state: &VolumeState, of: &VolumeType) -> Transaction {
    Transaction { type_guard: Some((of.id, of.revision)), ..insert(state) }
}

async fn a_type_is_kept_as_it_is_written(bench: Bench) {
    let store = bench.store();
    let first = volume_type(1);
    create(store.as_ref(), &first).await;
    let second = changed(&first, |new| {
        new.name = "other".to_owned();
        new.description = Some("d".to_owned());
        new.is_public = false;
        new.projects = [ProjectId::from("p"), ProjectId::from("q")].into();
        new.extra_specs.clear();
    });
    let named = async |name: &str| {
        let types = bench.store().volume_types().await.unwrap();
        types.into_iter().find(|found| found.name == name)
    };
    assert_eq!(named(&first.name).await, Some(first.clone()));
    assert_eq!(store.type_change(update(&second, true)).await, Ok(Ok(())));
    bench.crash();
    assert_eq!((named(&first.name).await, named("other").await), (None, Some(second.clone())));
    let emptied = changed(&second, |new| new.description = None);
    assert_eq!(bench.store().type_change(update(&emptied, false)).await, Ok(Ok(())));
    assert_eq!(named("other").await, Some(emptied.clone()));
    assert_eq!(bench.store().type_change(delete(&emptied)).await, Ok(Ok(())));
    assert_eq!(named("other").await, None);
}

async fn a_change_is_guarded_by_the_revision(bench: Bench) {
    let store = bench.store();
    let first = volume_type(1);
    create(store.as_ref(), &first).await;
    let rivals: Vec<_> = (0..8).map(|n| changed(&first, |new| new.name = format!("rival {n}"))).collect();
    let answers = join_all(rivals.iter().map(|new| store.type_change(update(new, false)))).await;
    let won: Vec<_> = rivals.iter().zip(&answers).filter(|(_, answer)| **answer == Ok(Ok(()))).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Err(TypeRefused::Stale))).count(), 7);
    assert!(store.volume_types().await.unwrap().contains(won[0].0), "the winner's is there");
    assert_eq!(store.type_change(delete(&first)).await, Ok(Err(TypeRefused::Stale)));
    assert_eq!(store.type_change(delete(won[0].0)).await, Ok(Ok(())));
    assert_eq!(store.type_change(delete(won[0].0)).await, Ok(Err(TypeRefused::Stale)), "it is gone");
    let revived = changed(won[0].0, |_| {});
    assert_eq!(store.type_change(update(&revived, false)).await, Ok(Err(TypeRefused::Stale)));
}

async fn a_name_is_used_once(bench: Bench) {
    let store = bench.store();
    let named = |n: u128, name: &str| VolumeType { name: name.to_owned(), ..volume_type(n) };
    let rivals = join_all((1..=6).map(|n| store.type_change(TypeChange::Create(named(n, "same"))))).await;
    assert_eq!(rivals.iter().filter(|answer| **answer == Ok(Ok(()))).count(), 1, "{rivals:?}");
    assert_eq!(rivals.iter().filter(|answer| **answer == Ok(Err(TypeRefused::NameTaken))).count(), 5);
    let other = named(7, "Same");
    create(store.as_ref(), &other).await;
    let renamed = changed(&other, |new| new.name = "same".to_owned());
    assert_eq!(store.type_change(update(&renamed, false)).await, Ok(Err(TypeRefused::NameTaken)));
    assert_eq!(store.type_change(update(&changed(&other, |_| {}), false)).await, Ok(Ok(())), "its own name is its own");
}

async fn a_used_type_stays_as_it_is(bench: Bench) {
    let store = bench.store();
    let used = volume_type(1);
    create(store.as_ref(), &used).await;
    let mut state = volume_of(1, "p", &used);
    state.volume.consumes_quota = false;
    assert_committed(bench.commit(insert_of(&state, &used)).await);
    let renamed = changed(&used, |new| new.name = "renamed".to_owned());
    assert_eq!(store.type_change(update(&renamed, true)).await, Ok(Err(TypeRefused::InUse)));
    assert_eq!(store.type_change(delete(&used)).await, Ok(Err(TypeRefused::InUse)));
    assert_eq!(store.type_change(update(&renamed, false)).await, Ok(Ok(())));
    let gone = next(&state, |new| {
        new.volume.deleted = true;
        new.volume.deleted_at = Some(Timestamp(50));
    });
    assert_committed(bench.commit(change(Some(&state), &gone)).await);
    assert_eq!(store.type_change(update(&changed(&renamed, |_| {}), true)).await, Ok(Ok(())));
    assert_eq!(store.type_change(delete(&changed(&renamed, |_| {}))).await, Ok(Ok(())), "nobody has it any more");
}

async fn a_default_and_the_last_type_stay(bench: Bench) {
    let store = bench.store();
    let kind = volume_type(1);
    create(store.as_ref(), &kind).await;
    let set = |project: &str, id| TypeChange::Default { project_id: ProjectId::from(project), volume_type_id: id };
    assert_eq!(store.type_change(set("p", Some(type_id(9)))).await, Ok(Err(TypeRefused::Stale)), "there is none");
    for project in ["q", "p"] {
        assert_eq!(store.type_change(set(project, Some(kind.id))).await, Ok(Ok(())));
        assert_eq!(store.type_change(set(project, Some(kind.id))).await, Ok(Ok(())), "once more");
    }
    assert_eq!(store.default_type(ProjectId::from("p")).await, Ok(Some(kind.id)));
    assert_eq!(store.default_type(ProjectId::from("r")).await, Ok(None));
    let all = [("p", kind.id), ("q", kind.id)].map(|(project, id)| (ProjectId::from(project), id));
    assert_eq!(store.default_types().await, Ok(all.to_vec()));
    assert_eq!(store.type_change(delete(&kind)).await, Ok(Err(TypeRefused::IsDefault)));
    for project in ["p", "q", "q"] {
        assert_eq!(store.type_change(set(project, None)).await, Ok(Ok(())));
    }
    let default = store.volume_types().await.unwrap().into_iter().find(|found| found.name == "__DEFAULT__").unwrap();
    // two at once: one of them is the last
    let both = join(store.type_change(delete(&kind)), store.type_change(delete(&default))).await;
    let mut answers = [both.0.unwrap(), both.1.unwrap()];
    answers.sort_by_key(Result::is_err);
    assert_eq!(answers, [Ok(()), Err(TypeRefused::IsLast)]);
}

async fn a_commit_is_guarded_by_the_types_revision(bench: Bench) {
    let store = bench.store();
    let first = volume_type(1);
    create(store.as_ref(), &first).await;
    let second = changed(&first, |new| new.is_public = false);
    assert_committed(bench.commit(insert_of(&volume_of(1, "p", &first), &first)).await);
    assert_eq!(store.type_change(update(&second, false)).await, Ok(Ok(())));
    assert_eq!(bench.commit(insert_of(&volume_of(2, "p", &first), &first)).await, TYPE_CHANGED);
    assert_eq!(store.volume_get(volume_id(2)).await.unwrap(), None, "it left nothing");
    // in one group with others
    let unknown = volume_type(7);
    let group = vec![
        insert_of(&volume_of(3, "p", &second), &second),
        insert_of(&volume_of(4, "p", &first), &first),
        insert_of(&volume_of(5, "p", &unknown), &unknown),
        insert(&volume(6, "p", 1)),
    ];
    let outcomes = bench.commit_together(group).await;
    assert_eq!(outcomes, [CommitOutcome::Committed, TYPE_CHANGED, TYPE_CHANGED, CommitOutcome::Committed]);
    super::commits::audit(&bench).await;
}

/// While volumes are made with a type, it is deleted: it goes only when there is none, and none comes after it.
async fn r52_a_type_that_goes_takes_no_volume_with_it(bench: Bench) {
    let store = bench.store();
    for round in 0..20_u128 {
        let kind = volume_type(round);
        create(store.as_ref(), &kind).await;
        let made = (0..6).map(|n| store.commit(insert_of(&volume_of(100 * round + n, "p", &kind), &kind)));
        let before: Vec<_> = made.collect();
        let deleted = store.type_change(delete(&kind));
        let after: Vec<_> =
            (6..12).map(|n| store.commit(insert_of(&volume_of(100 * round + n, "p", &kind), &kind))).collect();
        let (outcomes, deleted) = join(join_all(before.into_iter().chain(after)), deleted).await;
        let committed = outcomes.iter().filter(|outcome| **outcome == CommitOutcome::Committed).count();
        let refused = outcomes.iter().filter(|outcome| **outcome == TYPE_CHANGED).count();
        assert_eq!(committed + refused, 12, "{outcomes:?}");
        match deleted.unwrap() {
            Ok(()) => assert_eq!(committed, 0, "round {round}: volumes are of a type that is gone"),
            Err(refused) => assert_eq!(refused, TypeRefused::InUse, "round {round}"),
        }
        let is_there = store.volume_types().await.unwrap().iter().any(|found| found.id == kind.id);
        assert_eq!(is_there, committed > 0);
    }
}

/// Two nodes, each with writers of its own, on one PostgreSQL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r52_a_type_deleted_by_another_node_takes_no_volume_with_it() {
    let Some(url) = cluster::fresh_database() else { return };
    let nodes = [(); 2].map(|()| open_threaded(&url, StoreOptions::default()).unwrap());
    let (mut went, mut stayed) = (0, 0);
    for round in 0..60_u128 {
        let kind = volume_type(round);
        create(&nodes[0], &kind).await;
        let creates = (0..4).map(|n| nodes[0].commit(insert_of(&volume_of(100 * round + n, "p", &kind), &kind)));
        // who is first differs from round to round
        let (outcomes, deleted) = if round % 2 == 0 {
            let deleted = nodes[1].type_change(delete(&kind));
            join(join_all(creates), deleted).await
        } else {
            let creates: Vec<_> = creates.collect();
            let deleted = nodes[1].type_change(delete(&kind));
            join(join_all(creates), deleted).await
        };
        let committed = outcomes.iter().filter(|outcome| **outcome == CommitOutcome::Committed).count();
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == TYPE_CHANGED).count(), 4 - committed, "{outcomes:?}");
        match deleted.unwrap() {
            Ok(()) => {
                assert_eq!(committed, 0, "round {round}");
                went += 1;
            }
            Err(refused) => {
                assert_eq!((refused, committed > 0), (TypeRefused::InUse, true), "round {round}");
                stayed += 1;
            }
        }
    }
    assert_eq!(went + stayed, 60);
}
