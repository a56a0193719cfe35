//! Paging, sorting, filters.

use std::collections::BTreeMap;

use hearth::domain::ids::{ProjectId, ServerId};
use hearth::domain::metadata::Metadata;
use hearth::domain::status::{AttachStatus, VmState, VolumeStatus};
use hearth::domain::time::Timestamp;
use hearth::domain::volume::VolumeState;
use hearth::store::Direction::{Ascending, Descending};
use hearth::store::{
    AttachmentQuery, Direction, Extent, Filter, ListError, MessageQuery, ServerQuery, Transaction, VolumeQuery,
    VolumeSummary, VolumeSummaryQuery,
};

use super::bench::Bench;
use super::build::*;

super::on_every_store!(
    every_order_can_be_paged_through_without_gaps_or_repeats,
    null_sorts_below_every_value_and_text_by_its_bytes,
    a_marker_must_be_live_and_visible,
    filters_hold_together,
    r110_lists_show_live_rows_only,
    a_list_brings_as_much_of_each_volume_as_is_asked_for,
    attachments_servers_and_messages_are_listed,
    a_summary_adds_up_what_a_list_shows,
);

fn one_of(column: &str, values: &[&str]) -> Filter {
    Filter::OneOf { column: column.to_owned(), values: values.iter().map(|v| Some((*v).to_owned())).collect() }
}

/// Thirty volumes with many ties and nulls.
async fn fill(bench: &Bench) -> Vec<VolumeState> {
    let mut states = Vec::new();
    for n in 0..30_u32 {
        // ids do not follow creation
        let mut state = volume(u128::from(n * 7 % 30), if n % 5 == 0 { "q" } else { "p" }, 1 + n % 3);
        state.volume.created_at = Timestamp(i64::from(n / 4));
        state.volume.name = (n % 3 != 0).then(|| ["alpha", "Beta", "gamma", "äther", "a%b_c"][n as usize % 5].into());
        state.volume.updated_at = (n % 2 == 0).then(|| Timestamp(i64::from(n % 4)));
        state.volume.host = (n % 4 != 0).then(|| format!("host{}@lvm#pool", n % 2).into());
        state.volume.multiattach = n % 2 == 0;
        state.volume.status = if n % 3 == 0 { VolumeStatus::Error } else { VolumeStatus::Available };
        assert_committed(bench.commit(insert(&state)).await);
        states.push(state);
    }
    states
}

async fn ids(bench: &Bench, query: VolumeQuery) -> Vec<String> {
    let page = bench.store().volume_list(query).await.unwrap();
    page.rows.iter().map(|state| state.id().to_string()).collect()
}

async fn a_list_brings_as_much_of_each_volume_as_is_asked_for(bench: Bench) {
    let mut state = volume(1, "p", 1);
    // made in this order, which is not the order of their ids
    for n in [9, 3, 5] {
        let attachment = attachment(n, &state, Some(&format!("server-{n}")), Some("/dev/vdb"));
        state.attachments.push(attachment);
    }
    state.attachments[1].attach_status = AttachStatus::Reserved;
    state.operations.push(extend(1, &state, 2));
    let bare = volume(2, "p", 1);
    for state in [&state, &bare] {
        assert_committed(bench.commit(insert(state)).await);
    }
    let list = async |extent| {
        let query = VolumeQuery { extent, ..volumes_of(None, vec![], paging(&[("id", Ascending)], 10)) };
        bench.store().volume_list(query).await.unwrap().rows
    };
    assert_eq!(list(Extent::Whole).await, [state.clone(), bare.clone()]);

    state.operations.clear();
    state.attachments.remove(1);
    for attachment in &mut state.attachments {
        (attachment.connector, attachment.connection_info) = (None, None);
    }
    assert_eq!(list(Extent::Detail).await, [state.clone(), bare.clone()]);

    state.attachments.clear();
    assert_eq!(list(Extent::Volume).await, [state, bare]);
}

async fn every_order_can_be_paged_through_without_gaps_or_repeats(bench: Bench) {
    fill(&bench).await;
    let orders: Vec<Vec<(&str, Direction)>> = vec![
        vec![],
        vec![("created_at", Ascending)],
        vec![("name", Ascending)],
        vec![("display_name", Descending)],
        vec![("host", Descending), ("size", Ascending)],
        vec![("updated_at", Ascending), ("name", Descending)],
        vec![("multiattach", Descending)],
        vec![("snapshot_id", Ascending)],
        vec![("status", Ascending), ("updated_at", Descending)],
        vec![("id", Ascending)],
    ];
    for order in &orders {
        for project in [None, Some("p")] {
            let whole = ids(&bench, volumes_of(project, vec![], paging(order, 1000))).await;
            assert_eq!(whole.len(), if project.is_none() { 30 } else { 24 });
            let mut paged: Vec<String> = Vec::new();
            loop {
                let mut query = volumes_of(project, vec![], paging(order, 4));
                query.paging.marker = paged.last().cloned();
                let page = ids(&bench, query).await;
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
                assert!(paged.len() <= whole.len(), "{order:?} repeats rows");
            }
            assert_eq!(paged, whole, "{order:?}");
            let mut query = volumes_of(project, vec![], paging(order, 3));
            query.paging.marker = Some(whole[4].clone());
            query.paging.offset = 2;
            assert_eq!(ids(&bench, query).await, whole[7..10], "the offset counts from the marker");
        }
    }
    let none = bench.store().volume_list(volumes_of(None, vec![], paging(&[], 0))).await.unwrap();
    assert_eq!((none.rows.len(), none.count), (0, Some(30)));
}

async fn null_sorts_below_every_value_and_text_by_its_bytes(bench: Bench) {
    let states = fill(&bench).await;
    for (direction, reversed) in [(Ascending, false), (Descending, true)] {
        let query = volumes_of(None, vec![], paging(&[("name", direction)], 1000));
        let mut expected: Vec<_> = states
            .iter()
            .map(|state| (state.volume.name.clone(), state.volume.created_at, state.id().to_string()))
            .collect();
        expected.sort();
        if reversed {
            expected.reverse();
        }
        let expected: Vec<String> = expected.into_iter().map(|(_, _, id)| id).collect();
        assert_eq!(ids(&bench, query).await, expected, "{direction:?}");
    }
}

async fn a_marker_must_be_live_and_visible(bench: Bench) {
    let states = fill(&bench).await;
    let with_marker = |marker: String| {
        let mut query = volumes_of(Some("p"), vec![], paging(&[], 10));
        query.paging.marker = Some(marker);
        query
    };
    let foreign = states.iter().find(|state| state.volume.project_id.as_str() == "q").unwrap().id().to_string();
    let own = states.iter().find(|state| state.volume.project_id.as_str() == "p").unwrap();
    for marker in [foreign, uuid(4711).to_string(), "no uuid'".to_owned()] {
        let error = bench.store().volume_list(with_marker(marker.clone())).await.unwrap_err();
        assert_eq!(error, ListError::MarkerNotFound(marker));
    }
    assert!(bench.store().volume_list(with_marker(own.id().to_string())).await.is_ok());
    assert_committed(bench.commit(change(Some(own), &next(own, |new| new.volume.deleted = true))).await);
    let error = bench.store().volume_list(with_marker(own.id().to_string())).await.unwrap_err();
    assert_eq!(error, ListError::MarkerNotFound(own.id().to_string()));
    let unknown = volumes_of(None, vec![], paging(&[("id; DROP TABLE volumes", Ascending)], 10));
    assert_eq!(bench.store().volume_list(unknown).await.unwrap_err(), ListError::InvalidSortKey);
}

async fn filters_hold_together(bench: Bench) {
    let mut states = fill(&bench).await;
    let mut tagged = volume(100, "p", 9);
    tagged.volume.metadata = Metadata::from([("k", "v"), ("quote\"'", "ü,\"k\":\"w")]);
    tagged.volume.image_metadata = Metadata::from([("os", "linux")]);
    tagged.volume.admin_metadata = Metadata::from([("readonly", "True")]);
    assert_committed(bench.commit(insert(&tagged)).await);
    states.push(tagged);
    let mut target = volume(101, "p", 1);
    target.volume.migration_status = Some("target:1".into());
    assert_committed(bench.commit(insert(&target)).await);
    states.push(target);

    let check = async |filters: Vec<Filter>, expected: &dyn Fn(&VolumeState) -> bool| {
        let what = format!("{filters:?}");
        let page = bench.store().volume_list(volumes_of(None, filters, paging(&[], 1000))).await.unwrap();
        let mut found: Vec<String> = page.rows.iter().map(|state| state.id().to_string()).collect();
        let mut wanted: Vec<String> =
            states.iter().filter(|state| expected(state)).map(|state| state.id().to_string()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{what}");
        assert_eq!(page.count, Some(wanted.len() as u64), "{what}");
    };
    let name_is = |state: &VolumeState, name: &str| state.volume.name.as_deref() == Some(name);
    check(vec![one_of("name", &["Beta"])], &|s| name_is(s, "Beta")).await;
    check(vec![one_of("name", &["beta"])], &|_| false).await;
    check(vec![one_of("status", &["error", "available"]), one_of("size", &["2"])], &|s| s.volume.size_gib == 2).await;
    check(vec![one_of("size", &["two"])], &|_| false).await;
    check(vec![one_of("multiattach", &["True"])], &|s| s.volume.multiattach).await;
    check(vec![one_of("no_column", &["x"])], &|_| false).await;
    check(vec![one_of("snapshot_id", &["x"])], &|_| false).await;
    check(vec![Filter::Nothing], &|_| false).await;
    let null_or = |column: &str, value: Option<&str>| {
        let values = std::iter::once(None).chain(value.map(|value| Some(value.to_owned()))).collect();
        Filter::OneOf { column: column.to_owned(), values }
    };
    check(vec![null_or("host", None)], &|s| s.volume.host.is_none()).await;
    check(vec![null_or("name", Some("alpha"))], &|s| s.volume.name.is_none() || name_is(s, "alpha")).await;
    check(vec![null_or("snapshot_id", None)], &|_| true).await;
    let like = |pattern: &str| Filter::Like { column: "name".to_owned(), pattern: pattern.to_owned() };
    let name_has = |state: &VolumeState, part: &str| {
        state.volume.name.as_ref().is_some_and(|name| name.to_ascii_lowercase().contains(part))
    };
    check(vec![like("A")], &|s| name_has(s, "a")).await;
    check(vec![like("B_TA")], &|s| name_is(s, "Beta")).await;
    check(vec![like("b_a")], &|_| false).await;
    check(vec![like("b%a")], &|s| name_is(s, "Beta")).await;
    check(vec![like("Ä")], &|_| false).await;
    check(vec![like("\\")], &|_| false).await;
    let time = |column: &str, operator: &str, at: i64| Filter::Time {
        column: column.to_owned(),
        operator: operator.to_owned(),
        at: Timestamp(at),
    };
    check(vec![time("created_at", "gte", 3), time("created_at", "lt", 5)], &|s| {
        (3..5).contains(&s.volume.created_at.0)
    })
    .await;
    check(vec![time("updated_at", "neq", 2)], &|s| s.volume.updated_at.is_some_and(|at| at.0 != 2)).await;
    let metadata = |pairs: &[(&str, &str)]| {
        Filter::Metadata(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    check(vec![metadata(&[("k", "v")])], &|s| s.volume.metadata.contains_key("k")).await;
    check(vec![metadata(&[("k", "w")])], &|_| false).await;
    check(vec![metadata(&[("quote\"'", "ü,\"k\":\"w"), ("readonly", "True")])], &|s| {
        s.volume.metadata.contains_key("k")
    })
    .await;
    check(vec![metadata(&[("k", "v"), ("missing", "")])], &|_| false).await;
    let image = |value: &str| Filter::ImageMetadata(vec![("os".to_owned(), value.to_owned())]);
    check(vec![image("linux")], &|s| !s.volume.image_metadata.is_empty()).await;
    check(vec![image("plan9")], &|_| false).await;
    check(vec![metadata(&[("os", "linux")])], &|_| false).await;
    check(vec![Filter::NoMigrationTarget], &|s| s.volume.migration_status.is_none()).await;
    let host_is = |state: &VolumeState, host: &str| state.volume.host.as_deref().is_some_and(|own| own == host);
    check(vec![Filter::Host("host1@lvm".to_owned())], &|s| host_is(s, "host1@lvm#pool")).await;
    check(vec![Filter::Host("host1".to_owned())], &|s| host_is(s, "host1@lvm#pool")).await;
    check(vec![Filter::Host("host1@lvm#pool".to_owned())], &|s| host_is(s, "host1@lvm#pool")).await;
    check(vec![Filter::Host("host1@lv".to_owned())], &|_| false).await;
    check(vec![Filter::Host("host%".to_owned())], &|_| false).await;
}

async fn r110_lists_show_live_rows_only(bench: Bench) {
    let mut state = volume(1, "p", 1);
    let row = attachment(1, &state, Some("s"), Some("/dev/vdb"));
    state.attachments.push(row.clone());
    assert_committed(bench.commit(insert(&state)).await);
    let attachments = || {
        let query =
            AttachmentQuery { project_id: Some(ProjectId::from("p")), filters: vec![], paging: paging(&[], 10) };
        bench.store().attachment_list(query)
    };
    assert_eq!(attachments().await.unwrap().rows, std::slice::from_ref(&row));
    assert_eq!(bench.store().attachment_volume(row.id).await.unwrap(), Some(state.id()));
    assert_eq!(bench.store().server_attachments(ServerId::from("s")).await.unwrap(), std::slice::from_ref(&row));
    let gone = next(&state, |new| new.attachments.clear());
    assert_committed(bench.commit(change(Some(&state), &gone)).await);
    assert_eq!(attachments().await.unwrap().rows, []);
    assert_eq!(bench.store().attachment_volume(row.id).await.unwrap(), None);
    assert_eq!(bench.store().server_attachments(ServerId::from("s")).await.unwrap(), []);
}

async fn attachments_servers_and_messages_are_listed(bench: Bench) {
    let mut state = volume(1, "p", 1);
    for n in 0..5 {
        let server = format!("s{n}");
        let row = attachment(n, &state, Some(&server), Some("/dev/vdb"));
        state.attachments.push(row);
    }
    assert_committed(bench.commit(insert(&state)).await);
    let query = |filters| AttachmentQuery { project_id: None, filters, paging: paging(&[("id", Ascending)], 10) };
    let rows = bench.store().attachment_list(query(vec![])).await.unwrap().rows;
    assert_eq!(rows, state.attachments);
    let rows = bench.store().attachment_list(query(vec![one_of("instance_uuid", &["s3"])])).await.unwrap().rows;
    assert_eq!(rows, state.attachments[3..4]);

    for n in 0..5 {
        let mut record = server(&format!("s{n}"), if n == 4 { "q" } else { "p" });
        record.created_at = Timestamp(n);
        record.vm_state = if n % 2 == 0 { VmState::Active } else { VmState::Shelved };
        assert_committed(bench.commit(server_change(None, &record)).await);
    }
    let servers = async |project: Option<&str>, vm_states: &[VmState], marker: Option<&str>| {
        let query = ServerQuery {
            project_id: project.map(ProjectId::from),
            vm_states: vm_states.to_vec(),
            marker: marker.map(ServerId::from),
            limit: 2,
        };
        let page = bench.store().server_list(query).await?;
        Ok(page.rows.into_iter().map(|server| server.id.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(servers(None, &[], None).await, Ok(vec!["s4".to_owned(), "s3".to_owned()]));
    assert_eq!(servers(Some("p"), &[], Some("s3")).await, Ok(vec!["s2".to_owned(), "s1".to_owned()]));
    assert_eq!(servers(None, &[VmState::Shelved], None).await, Ok(vec!["s3".to_owned(), "s1".to_owned()]));
    assert_eq!(servers(Some("p"), &[], Some("s4")).await, Err(ListError::MarkerNotFound("s4".to_owned())));

    let messages: Vec<_> = (0..4).map(|n| message(n, if n == 3 { "q" } else { "p" }, state.id())).collect();
    let kept = Transaction { messages: messages.clone(), ..change(Some(&state), &next(&state, |_| {})) };
    assert_committed(bench.commit(kept).await);
    let query = |filters| MessageQuery { project_id: ProjectId::from("p"), filters, paging: paging(&[], 10) };
    let newest_first: Vec<_> = messages[..3].iter().rev().cloned().collect();
    let all = vec![one_of("event_id", &["VOLUME_VOLUME_001_003"]), one_of("message_level", &["ERROR"])];
    assert_eq!(bench.store().message_list(query(all)).await.unwrap().rows, newest_first);
    let one = bench.store().message_list(query(vec![one_of("request_id", &["req-1"])])).await.unwrap().rows;
    assert_eq!(one, messages[1..2]);
    let (store, own) = (bench.store(), ProjectId::from("p"));
    assert_eq!(store.message_get(own.clone(), messages[0].id).await.unwrap().as_ref(), Some(&messages[0]));
    assert_eq!(store.message_get(own.clone(), messages[3].id).await.unwrap(), None, "another project's");
    assert!(!store.message_delete(own.clone(), messages[3].id).await.unwrap());
    assert!(store.message_delete(own.clone(), messages[0].id).await.unwrap());
    assert!(!store.message_delete(own, messages[0].id).await.unwrap());
}

async fn a_summary_adds_up_what_a_list_shows(bench: Bench) {
    let states = fill(&bench).await;
    let mut gone = states[0].clone();
    gone.volume.metadata = Metadata::from([("gone", "x")]);
    gone.volume.deleted = true;
    gone.volume.generation += 1;
    for (n, (project, value)) in [("p", "b"), ("p", "ä"), ("p", "b"), ("q", "c")].into_iter().enumerate() {
        let mut state = volume(100 + n as u128, project, 10);
        state.volume.metadata = Metadata::from([("k", value), ("other", "")]);
        assert_committed(bench.commit(insert(&state)).await);
    }
    assert_committed(bench.commit(change(Some(&states[0]), &gone)).await);
    let ask = async |project: Option<&str>, with_metadata| {
        let project_id = project.map(ProjectId::from);
        bench.store().volume_summary(VolumeSummaryQuery { project_id, with_metadata }).await.unwrap()
    };
    for project in [None, Some("p"), Some("q"), Some("nobody")] {
        let listed = bench.store().volume_list(volumes_of(project, vec![], paging(&[], 1000))).await;
        let rows = listed.unwrap().rows;
        let size_gib = rows.iter().map(|state| u64::from(state.volume.size_gib)).sum();
        let expected = VolumeSummary { count: rows.len() as u64, size_gib, metadata: BTreeMap::new() };
        assert_eq!(ask(project, false).await, expected, "{project:?}");
    }
    let metadata = |values: &[&str]| {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        BTreeMap::from([("k".to_owned(), values), ("other".to_owned(), vec![String::new()])])
    };
    assert_eq!(ask(Some("p"), true).await.metadata, metadata(&["b", "ä"]));
    assert_eq!(ask(None, true).await.metadata, metadata(&["b", "c", "ä"]));
}
