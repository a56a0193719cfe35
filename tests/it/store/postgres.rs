//! What PostgreSQL's own schema promises: cheap changes of the status, lists by status all the same, and rows that never
//! outlive their volume without the database watching over them.

use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use hearth::domain::status::VolumeStatus;
use hearth::domain::time::Timestamp;
use hearth::store::{Direction, Filter, Store, StoreOptions, open_threaded};

use super::build::*;
use super::cluster;

/// The statuses that a volume has while it is attached and detached, and others.
const STATUSES: [VolumeStatus; 7] = [
    VolumeStatus::Available,
    VolumeStatus::Reserved,
    VolumeStatus::Attaching,
    VolumeStatus::InUse,
    VolumeStatus::Detaching,
    VolumeStatus::Error,
    VolumeStatus::Extending,
];

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many of the rows that `update` changes needed no entry in any index. Nothing stays changed.
fn updated_in_place(tables: &mut PgConnection, update: &str) -> i64 {
    let count = |tables: &mut PgConnection| {
        let query = "SELECT pg_stat_get_xact_tuples_hot_updated('volumes'::regclass) AS count";
        diesel::sql_query(query).get_result::<Count>(tables).unwrap().count
    };
    tables.batch_execute("BEGIN").unwrap();
    // what the session has counted earlier may still be there
    let before = count(tables);
    tables.batch_execute(update).unwrap();
    let updated = count(tables) - before;
    tables.batch_execute("ROLLBACK").unwrap();
    updated
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_volume_changes_its_status_without_touching_an_index() {
    let Some(url) = cluster::fresh_database() else { return };
    let store = open_threaded(&url, StoreOptions::default()).unwrap();
    let mut state = volume(1, "p", 1);
    state.volume.status = VolumeStatus::Reserved;
    assert_committed(store.commit(insert(&state)).await);
    let mut tables = PgConnection::establish(&url).unwrap();
    for status in ["attaching", "in-use", "detaching"] {
        let update = format!(
            "UPDATE volumes SET status = '{status}', generation = 2, epoch = 2, previous_status = 'reserved', \
             attach_status = 'attached', admin_metadata = '{{\"a\":\"b\"}}', updated_at = 7"
        );
        assert_eq!(updated_in_place(&mut tables, &update), 1, "{status}");
    }
    assert_eq!(updated_in_place(&mut tables, "UPDATE volumes SET status = 'available'"), 0, "a move to another class");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_by_status_tell_the_statuses_of_a_class_apart() {
    let Some(url) = cluster::fresh_database() else { return };
    let store = open_threaded(&url, StoreOptions::default()).unwrap();
    for (n, status) in (0_u128..).zip(STATUSES.iter().chain(&STATUSES)) {
        let mut state = volume(n, "p", 1);
        state.volume.status = *status;
        state.volume.created_at = Timestamp(n as i64);
        assert_committed(store.commit(insert(&state)).await);
    }
    for (index, first) in STATUSES.iter().enumerate() {
        for second in &STATUSES[index..] {
            let values = [first, second].map(|status| Some(status.as_str().to_owned())).to_vec();
            let filter = Filter::OneOf { column: "status".to_owned(), values };
            let order = paging(&[("created_at", Direction::Ascending)], 100);
            let page = store.volume_list(volumes_of(Some("p"), vec![filter], order)).await.unwrap();
            let found: Vec<_> = page.rows.iter().map(|state| state.volume.status).collect();
            let all = STATUSES.iter().chain(&STATUSES).copied();
            let expected: Vec<_> = all.filter(|status| status == first || status == second).collect();
            assert_eq!(found, expected, "{first:?}, {second:?}");
        }
    }
}
