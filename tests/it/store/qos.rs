//! QoS specs: what they say is guarded by their revision, and which types have them by the types' revisions.

use futures_util::future::{join, join_all};
use hearth::domain::ids::QosSpecsId;
use hearth::domain::qos::{Consumer, QosSpecs};
use hearth::domain::time::Timestamp;
use hearth::store::{Aborted, CommitOutcome, QosChange, QosRefused, Store, TypeChange};

use super::bench::Bench;
use super::build::*;
use super::types::{create, insert_of, type_id, volume_of, volume_type};

super::on_every_store!(
    qos_specs_are_kept_as_they_are_written,
    a_change_of_qos_specs_is_guarded_by_the_revision,
    a_name_of_qos_specs_is_used_once,
    a_type_has_one_kind_of_qos_specs,
    qos_specs_that_go_by_force_leave_no_trace,
    a_volume_is_made_by_the_type_with_the_specs_that_it_has,
);

fn qos_id(n: u128) -> QosSpecsId {
    QosSpecsId(uuid(0xd_0000_0000 + n))
}

fn qos(n: u128) -> QosSpecs {
    QosSpecs {
        id: qos_id(n),
        revision: 1,
        name: format!("q{n}"),
        consumer: Consumer::BackEnd,
        specs: [("k".to_owned(), "v".to_owned())].into(),
        created_at: Timestamp(5),
        updated_at: None,
    }
}

fn associate(qos: u128, kind: u128) -> QosChange {
    QosChange::Associate { id: qos_id(qos), volume_type_id: type_id(kind) }
}

fn disassociate(qos: u128, kind: Option<u128>) -> QosChange {
    QosChange::Disassociate { id: qos_id(qos), volume_type_id: kind.map(type_id) }
}

async fn change(store: &dyn Store, change: QosChange) -> Result<(), QosRefused> {
    store.qos_change(change).await.unwrap()
}

/// The specs that each type has, by its revision.
async fn had(store: &dyn Store) -> Vec<(Option<QosSpecsId>, u64)> {
    let mut types = store.volume_types().await.unwrap();
    types.retain(|kind| kind.name != "__DEFAULT__");
    types.sort_by_key(|kind| kind.id);
    types.iter().map(|kind| (kind.qos_specs_id, kind.revision)).collect()
}

async fn qos_specs_are_kept_as_they_are_written(bench: Bench) {
    let store = bench.store();
    assert_eq!(change(store.as_ref(), QosChange::Create(qos(1))).await, Ok(()));
    let next = QosSpecs {
        revision: 2,
        name: "other".to_owned(),
        consumer: Consumer::Both,
        specs: [].into(),
        updated_at: Some(Timestamp(9)),
        ..qos(1)
    };
    assert_eq!(change(store.as_ref(), QosChange::Update(next.clone())).await, Ok(()));
    let front = QosSpecs { consumer: Consumer::FrontEnd, ..qos(2) };
    assert_eq!(change(store.as_ref(), QosChange::Create(front.clone())).await, Ok(()));
    bench.crash();
    assert_eq!(bench.store().qos_specs().await, Ok(vec![next, front]));
}

async fn a_change_of_qos_specs_is_guarded_by_the_revision(bench: Bench) {
    let store = bench.store();
    let missing = QosChange::Update(QosSpecs { revision: 2, ..qos(9) });
    assert_eq!(change(store.as_ref(), missing).await, Err(QosRefused::Missing));
    assert_eq!(change(store.as_ref(), QosChange::Create(qos(1))).await, Ok(()));
    let rivals = (0..6).map(|n| {
        let new = QosSpecs { revision: 2, specs: [("n".to_owned(), n.to_string())].into(), ..qos(1) };
        store.qos_change(QosChange::Update(new))
    });
    let answers = join_all(rivals).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Ok(()))).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(()) | Err(QosRefused::Stale)))), "{answers:?}");
}

async fn a_name_of_qos_specs_is_used_once(bench: Bench) {
    let store = bench.store();
    let named = |n| QosSpecs { name: "same".to_owned(), ..qos(n) };
    let answers = join_all((1..=6).map(|n| store.qos_change(QosChange::Create(named(n))))).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Ok(()))).count(), 1, "{answers:?}");
    assert_eq!(store.qos_specs().await.unwrap().len(), 1);
    assert_eq!(change(store.as_ref(), QosChange::Create(qos(9))).await, Ok(()));
    let taken = QosSpecs { revision: 2, ..named(9) };
    assert_eq!(change(store.as_ref(), QosChange::Update(taken)).await, Err(QosRefused::NameTaken));
}

async fn a_type_has_one_kind_of_qos_specs(bench: Bench) {
    let store = bench.store();
    let store = store.as_ref();
    for n in [1, 2] {
        create(store, &volume_type(n)).await;
        assert_eq!(change(store, QosChange::Create(qos(n))).await, Ok(()));
    }
    assert_eq!(change(store, associate(1, 9)).await, Err(QosRefused::TypeMissing));
    assert_eq!(change(store, associate(9, 1)).await, Err(QosRefused::Missing));
    for _ in 0..2 {
        assert_eq!(change(store, associate(1, 1)).await, Ok(()));
    }
    assert_eq!(had(store).await, [(Some(qos_id(1)), 2), (None, 1)], "a repetition changes nothing");
    assert_eq!(change(store, associate(2, 1)).await, Err(QosRefused::HasOthers(qos_id(1))));
    assert_eq!(change(store, disassociate(2, Some(1))).await, Ok(()), "it has not these");
    assert_eq!(change(store, disassociate(1, Some(9))).await, Err(QosRefused::TypeMissing));
    assert_eq!(change(store, disassociate(9, None)).await, Err(QosRefused::Missing));
    assert_eq!(had(store).await, [(Some(qos_id(1)), 2), (None, 1)]);
    assert_eq!(change(store, associate(1, 2)).await, Ok(()));
    assert_eq!(change(store, disassociate(1, Some(1))).await, Ok(()));
    assert_eq!(had(store).await, [(None, 3), (Some(qos_id(1)), 2)]);
    assert_eq!(change(store, associate(1, 1)).await, Ok(()));
    assert_eq!(change(store, disassociate(1, None)).await, Ok(()));
    assert_eq!(had(store).await, [(None, 5), (None, 3)]);
    // two at once: one has it
    let both = join(store.qos_change(associate(1, 1)), store.qos_change(associate(2, 1))).await;
    let answers = [both.0.unwrap(), both.1.unwrap()];
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
}

async fn qos_specs_that_go_by_force_leave_no_trace(bench: Bench) {
    let store = bench.store();
    let store = store.as_ref();
    create(store, &volume_type(1)).await;
    assert_eq!(change(store, QosChange::Create(qos(1))).await, Ok(()));
    assert_eq!(change(store, associate(1, 1)).await, Ok(()));
    let delete = |force| QosChange::Delete { id: qos_id(1), force };
    assert_eq!(change(store, delete(false)).await, Err(QosRefused::InUse));
    assert_eq!(had(store).await, [(Some(qos_id(1)), 2)]);
    assert_eq!(change(store, delete(true)).await, Ok(()));
    assert_eq!((had(store).await, store.qos_specs().await), (vec![(None, 3)], Ok(Vec::new())));
    assert_eq!(change(store, delete(true)).await, Err(QosRefused::Missing));
    assert_eq!(change(store, QosChange::Create(qos(1))).await, Ok(()), "the name is free");
    assert_eq!(change(store, associate(1, 1)).await, Ok(()));
    let gone = TypeChange::Delete { id: type_id(1), revision: 4 };
    assert_eq!(store.type_change(gone).await, Ok(Ok(())));
    assert_eq!(change(store, delete(false)).await, Ok(()), "nobody has them any more");
}

async fn a_volume_is_made_by_the_type_with_the_specs_that_it_has(bench: Bench) {
    let store = bench.store();
    let before = volume_type(1);
    create(store.as_ref(), &before).await;
    assert_eq!(change(store.as_ref(), QosChange::Create(qos(1))).await, Ok(()));
    assert_eq!(change(store.as_ref(), associate(1, 1)).await, Ok(()));
    let outcome = bench.commit(insert_of(&volume_of(1, "p", &before), &before)).await;
    assert_eq!(outcome, CommitOutcome::Aborted(Aborted::TypeChanged));
}
