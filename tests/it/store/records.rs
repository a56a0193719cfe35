//! Records come back as they were written; recovery finds what is open; history goes in batches.

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Cause, CauseKind};
use hearth::domain::ids::{ExportName, VolumeTypeId};
use hearth::domain::metadata::Metadata;
use hearth::domain::operation::OutstandingCall;
use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::time::Timestamp;
use hearth::store::CommitOutcome;

use super::bench::Bench;
use super::build::*;

super::on_every_store!(
    a_volume_comes_back_as_it_was_written,
    rows_come_in_creation_order,
    open_operations_are_found_oldest_first_also_while_they_settle,
    unsettled_volumes_are_found,
    the_history_is_kept_and_purged_in_batches,
    there_is_a_default_type,
);

async fn a_volume_comes_back_as_it_was_written(bench: Bench) {
    let mut state = volume(1, "p", 12);
    let record = &mut state.volume;
    record.epoch = 9;
    record.description = Some("with 'quotes' and ünïcode \u{1f600}".into());
    record.previous_status = Some(VolumeStatus::InUse);
    record.attach_status = AttachStatus::Attached;
    record.migration_status = Some("success".into());
    record.bootable = true;
    record.volume_type_id = Some(VolumeTypeId(uuid(5)));
    record.metadata = Metadata::from([("a\"", "b\\")]);
    record.image_metadata = Metadata::from([("os_version", "ü"), ("min_disk", "1")]);
    record.admin_metadata = Metadata::from([("readonly", "False")]);
    record.consumes_quota = false;
    record.provider_id = Some("id".into());
    record.orphan_exports = vec![ExportName("x.1".into())];
    record.claims = claims(1);
    record.terminated_at = Some(Timestamp(-5));
    let mut operation = extend(1, &state, 3);
    let cause = Cause::new(CauseKind::Deadline, "no answer");
    operation.probing = Some(hearth::domain::operation::Probing { cause, attempt: 1 });
    state.volume.outstanding =
        vec![OutstandingCall { key: operation.call_key(state.id()), since: Timestamp(8), recorded_at: 3 }];
    state.operations.push(operation);
    for (n, mode) in [(1, None), (2, Some(AttachMode::Undecided)), (3, Some(AttachMode::ReadOnly))] {
        let mut row = attachment(n, &state, None, None);
        row.attach_mode = mode;
        row.connector = None;
        row.connection_info = Some(serde_json::json!({}).into());
        state.attachments.push(row);
    }
    assert_committed(bench.commit(insert(&state)).await);
    assert_eq!(bench.store().volume_get(state.id()).await.unwrap().as_ref(), Some(&state));
    // every column of the record and of a row can change
    let changed = next(&state, |new| {
        let (id, generation) = (new.volume.id, new.volume.generation);
        new.volume = volume(2, "q", 13).volume;
        new.volume.id = id;
        new.volume.generation = generation;
        new.volume.updated_at = Some(Timestamp(6));
        let mut row = attachment(9, &state, Some("s"), Some("/dev/vdc"));
        row.id = new.attachments[0].id;
        row.created_at = new.attachments[0].created_at;
        row.bdm.as_mut().unwrap().detaching = true;
        new.attachments[0] = row;
        new.operations[0].attempt = 4;
    });
    assert_committed(bench.commit(change(Some(&state), &changed)).await);
    let mut expected = changed.clone();
    // the instant of creation is not a thing that changes
    assert_eq!(expected.volume.created_at, state.volume.created_at);
    expected.volume.created_at = state.volume.created_at;
    assert_eq!(bench.store().volume_get(state.id()).await.unwrap(), Some(expected));
}

async fn rows_come_in_creation_order(bench: Bench) {
    let mut state = volume(1, "p", 1);
    assert_committed(bench.commit(insert(&state)).await);
    // the ids fall and the instants are equal: only the order of making tells
    for n in (0..6).rev() {
        let new = next(&state, |new| {
            for row in [attachment(n * 2 + 1, &state, None, None), attachment(n * 2, &state, None, None)] {
                new.attachments.push(row);
            }
        });
        assert_committed(bench.commit(change(Some(&state), &new)).await);
        state = new;
    }
    assert_eq!(bench.store().volume_get(state.id()).await.unwrap(), Some(state));
}

async fn open_operations_are_found_oldest_first_also_while_they_settle(bench: Bench) {
    let mut states = Vec::new();
    for n in 0..10_u128 {
        let mut state = volume(n, "p", 1);
        let mut operation = extend(99 - n, &state, 1);
        operation.started_at = Timestamp(i64::try_from(n / 3).unwrap());
        state.operations.push(operation);
        assert_committed(bench.commit(insert(&state)).await);
        states.push(state);
    }
    let mut expected: Vec<_> =
        states.iter().map(|state| (state.operations[0].started_at, state.operations[0].id)).collect();
    expected.sort();
    let mut found = Vec::new();
    while let page = bench.store().open_operations(found.last().map(|(_, id)| *id), 3).await.unwrap()
        && !page.is_empty()
    {
        for open in &page {
            let state = &states.iter().find(|state| state.id() == open.volume_id).unwrap();
            assert_eq!(state.operations[0], open.operation);
            found.push((open.operation.started_at, open.operation.id));
            // the operation settles before the next page is read
            let settled = next(state, |new| new.operations.clear());
            assert_committed(bench.commit(change(Some(state), &settled)).await);
        }
    }
    assert_eq!(found, expected);
}

async fn unsettled_volumes_are_found(bench: Bench) {
    let settled = volume(1, "p", 1);
    let mut orphan = volume(2, "p", 1);
    orphan.volume.orphan_exports = vec![ExportName("x.1".into())];
    let mut owned = volume(3, "p", 1);
    owned.volume.orphan_exports = vec![ExportName("y.1".into())];
    owned.operations.push(extend(1, &owned, 0));
    for state in [&settled, &orphan, &owned] {
        assert_committed(bench.commit(insert(state)).await);
    }
    assert_eq!(bench.store().unsettled_volumes().await.unwrap(), [orphan.id()]);
    let repaired = next(&orphan, |new| new.volume.orphan_exports.clear());
    assert_committed(bench.commit(change(Some(&orphan), &repaired)).await);
    assert_committed(bench.commit(change(Some(&owned), &next(&owned, |new| new.operations.clear()))).await);
    assert_eq!(bench.store().unsettled_volumes().await.unwrap(), [owned.id()]);
}

async fn the_history_is_kept_and_purged_in_batches(bench: Bench) {
    let mut state = volume(1, "p", 1);
    assert_committed(bench.commit(insert(&state)).await);
    for _ in 0..9 {
        let new = next(&state, |new| new.volume.epoch += 1);
        assert_committed(bench.commit(change(Some(&state), &new)).await);
        // what is settled together is kept and removed together
        bench.store().settled().await.unwrap();
        state = new;
    }
    let generations = async || -> Vec<u64> {
        bench.store().events(volume_id(1), None, 100).await.unwrap().iter().map(|event| event.generation).collect()
    };
    assert_eq!(generations().await, (1..=10).rev().collect::<Vec<_>>());
    assert_eq!(bench.store().events(volume_id(1), None, 1).await.unwrap(), [event(&state)]);
    // an event lies at 10,000 + its generation
    assert_eq!(bench.store().history_purge(Timestamp(10_006), 3).await.unwrap(), 3);
    assert_eq!(bench.store().history_purge(Timestamp(10_006), 3).await.unwrap(), 2);
    assert_eq!(bench.store().history_purge(Timestamp(10_006), 3).await.unwrap(), 0);
    assert_eq!(generations().await, [10, 9, 8, 7, 6]);

    let attached = next(&state, |new| new.attachments.push(attachment(1, &state, None, None)));
    assert_committed(bench.commit(change(Some(&state), &attached)).await);
    let gone = next(&attached, |new| {
        new.attachments.clear();
        new.volume.deleted = true;
        new.volume.deleted_at = Some(Timestamp(20_000));
    });
    assert_committed(bench.commit(change(Some(&attached), &gone)).await);
    let stale = CommitOutcome::Aborted(hearth::store::Aborted::Stale);
    assert_eq!(bench.commit(insert(&volume(1, "p", 1))).await, stale, "a deleted id is not given again");
    while bench.store().history_purge(Timestamp(30_000), 1).await.unwrap() > 0 {}
    assert_eq!(generations().await, [0_u64; 0]);
    assert_committed(bench.commit(insert(&volume(1, "p", 1))).await);
}

async fn there_is_a_default_type(bench: Bench) {
    let types = bench.store().volume_types().await.unwrap();
    assert_eq!(types.iter().map(|kind| kind.name.as_str()).collect::<Vec<_>>(), ["__DEFAULT__"]);
}
