//! Reads of volumes: always the whole aggregate, from one snapshot.

use std::collections::HashMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::{AttachmentRow, OperationRow, SnapshotRow, VolumeRow, to_json};
use super::super::schema::{attachments, operations, snapshots, volumes};
use super::super::sql::{Dialect, Id, Sql, Value};
use super::super::{Extent, ListError, Page, StoreError, VolumeQuery, VolumeSummary, VolumeSummaryQuery};
use super::list::{Listing, list, push_conditions};
use super::{ReadFailure, snapshot};
use crate::domain::ids::VolumeId;
use crate::domain::status::AttachStatus;
use crate::domain::volume::VolumeState;

/// A live volume.
pub(in super::super) fn volume_get(
    connection: &mut AnyConnection,
    id: VolumeId,
) -> Result<Option<VolumeState>, StoreError> {
    let id = id.to_string();
    snapshot(connection, |connection| {
        on_each!(connection, inner => {
            let live = volumes::table.filter(volumes::id.eq(&id)).filter(volumes::deleted.eq(false));
            let Some(row) = live.get_result::<VolumeRow>(inner).optional()? else { return Ok(None) };
            let own_attachments: Vec<AttachmentRow> = attachments::table
                .filter(attachments::volume_id.eq(&id))
                .order((attachments::ordinal, attachments::id))
                .load(inner)?;
            let own_operations: Vec<OperationRow> = operations::table
                .filter(operations::volume_id.eq(&id))
                .order((operations::epoch, operations::id))
                .load(inner)?;
            let own_snapshots: Vec<SnapshotRow> = snapshots::table
                .filter(snapshots::volume_id.eq(&id))
                .order((snapshots::ordinal, snapshots::id))
                .load(inner)?;
            Ok::<_, ReadFailure<StoreError>>(Some(assemble(row, own_attachments, own_operations, own_snapshots)?))
        })
    })
}

/// A page of live volumes.
pub(in super::super) fn volume_list(
    connection: &mut AnyConnection,
    query: &VolumeQuery,
) -> Result<Page<VolumeState>, ListError> {
    snapshot(connection, |connection| {
        let page = list::<VolumeRow>(
            connection,
            &Listing {
                project_id: query.project_id.as_ref().map(|id| id.as_str()),
                filters: &query.filters,
                paging: &query.paging,
                with_count: query.with_count,
            },
        )?;
        let rows = with_parts(connection, page.rows, query.extent)?;
        Ok::<_, ReadFailure<ListError>>(Page { rows, count: page.count })
    })
}

#[derive(QueryableByName)]
struct Sums {
    #[diesel(sql_type = BigInt)]
    volumes: i64,
    #[diesel(sql_type = BigInt)]
    gigabytes: i64,
}

#[derive(QueryableByName)]
struct Pair {
    #[diesel(sql_type = Text)]
    word: String,
    #[diesel(sql_type = Text)]
    value: String,
}

/// Number and size of live volumes, and their different metadata.
pub(in super::super) fn volume_summary(
    connection: &mut AnyConnection,
    query: &VolumeSummaryQuery,
) -> Result<VolumeSummary, ListError> {
    let project_id = query.project_id.as_ref().map(|id| id.as_str());
    snapshot(connection, |connection| {
        let dialect = Dialect::of(connection);
        let sums =
            "SELECT COUNT(*) AS volumes, CAST(COALESCE(SUM(size), 0) AS BIGINT) AS gigabytes FROM volumes WHERE ";
        let mut sql = Sql::new(dialect, sums);
        push_conditions::<VolumeRow>(&mut sql, project_id, &[]);
        let sums: Vec<Sums> = sql.load(connection)?;
        let number = |of: fn(&Sums) -> i64| sums.first().and_then(|sums| u64::try_from(of(sums)).ok()).unwrap_or(0);
        let mut summary = VolumeSummary {
            count: number(|sums| sums.volumes),
            size_gib: number(|sums| sums.gigabytes),
            ..VolumeSummary::default()
        };
        if query.with_metadata {
            let pairs = match dialect {
                Dialect::Sqlite => "json_each(metadata)",
                Dialect::Postgres => "jsonb_each_text(metadata::jsonb)",
            };
            let select =
                format!("SELECT DISTINCT pair.key AS word, pair.value AS value FROM volumes, {pairs} AS pair WHERE ");
            let mut sql = Sql::new(dialect, &select);
            push_conditions::<VolumeRow>(&mut sql, project_id, &[]);
            for Pair { word, value } in sql.load(connection)? {
                summary.metadata.entry(word).or_default().push(value);
            }
            // The databases' orders of text differ.
            summary.metadata.values_mut().for_each(|values| values.sort_unstable());
        }
        Ok::<_, ReadFailure<ListError>>(summary)
    })
}

/// Adds to each volume of a page what belongs to it.
fn with_parts(
    connection: &mut AnyConnection,
    rows: Vec<VolumeRow>,
    extent: Extent,
) -> Result<Vec<VolumeState>, ReadFailure<ListError>> {
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let mut attachments_of: HashMap<String, Vec<AttachmentRow>> = HashMap::new();
    let mut operations_of: HashMap<String, Vec<OperationRow>> = HashMap::new();
    let mut snapshots_of: HashMap<String, Vec<SnapshotRow>> = HashMap::new();
    if extent != Extent::Volume && !ids.is_empty() {
        for row in attachments_of_page(connection, &ids, extent)? {
            attachments_of.entry(row.volume_id.clone()).or_default().push(row);
        }
    }
    if extent == Extent::Whole && !ids.is_empty() {
        let query = operations::table.filter(one_of(connection, "volume_id", &ids));
        let found: Vec<OperationRow> = on_each!(connection, inner => query.load(inner))?;
        for row in found {
            operations_of.entry(row.volume_id.clone()).or_default().push(row);
        }
        let query = snapshots::table.filter(one_of(connection, "volume_id", &ids));
        let found: Vec<SnapshotRow> = on_each!(connection, inner => query.load(inner))?;
        for row in found {
            snapshots_of.entry(row.volume_id.clone()).or_default().push(row);
        }
    }
    rows.into_iter()
        .map(|row| {
            let mut own_attachments = attachments_of.remove(&row.id).unwrap_or_default();
            let mut own_operations = operations_of.remove(&row.id).unwrap_or_default();
            let mut own_snapshots = snapshots_of.remove(&row.id).unwrap_or_default();
            // a volume has few: that is less than the database's sorting of all rows of the page
            own_attachments.sort_by(|a, b| (a.ordinal, &a.id).cmp(&(b.ordinal, &b.id)));
            own_operations.sort_by(|a, b| (a.epoch, &a.id).cmp(&(b.epoch, &b.id)));
            own_snapshots.sort_by(|a, b| (a.ordinal, &a.id).cmp(&(b.ordinal, &b.id)));
            Ok(assemble(row, own_attachments, own_operations, own_snapshots)?)
        })
        .collect()
}

fn attachments_of_page(
    connection: &mut AnyConnection,
    volume_ids: &[&str],
    extent: Extent,
) -> QueryResult<Vec<AttachmentRow>> {
    use attachments::columns::*;
    let of_page = one_of(connection, "volume_id", volume_ids);
    if extent == Extent::Whole {
        let query = attachments::table.filter(of_page);
        return on_each!(connection, inner => query.load(inner));
    }
    // the largest columns of all tables, and dear to parse
    let unread = || sql::<Nullable<Text>>("NULL");
    let query = attachments::table.filter(of_page).filter(attach_status.eq(AttachStatus::Attached.as_str())).select((
        id,
        volume_id,
        project_id,
        ordinal,
        instance_uuid,
        attached_host,
        mountpoint,
        attach_time,
        attach_status,
        attach_mode,
        unread(),
        unread(),
        export_name,
        bdm_uuid,
        device,
        tag,
        delete_on_termination,
        detaching,
        guest_device,
        created_at,
    ));
    on_each!(connection, inner => query.load(inner))
}

/// The condition that `column` is one of `values`, as one bound value: a page has as many as a statement may have.
fn one_of(connection: &AnyConnection, column: &str, values: &[&str]) -> Sql {
    let dialect = Dialect::of(connection);
    let mut sql = Sql::new(dialect, column);
    let list = Value::Text(to_json(&values));
    match dialect {
        Dialect::Sqlite => sql.push(" IN (SELECT value FROM json_each(").bind(list).push("))"),
        Dialect::Postgres => sql.push(" = ANY (ARRAY(SELECT jsonb_array_elements_text(").bind(list).push("::jsonb)))"),
    };
    sql
}

fn assemble(
    row: VolumeRow,
    own_attachments: Vec<AttachmentRow>,
    own_operations: Vec<OperationRow>,
    own_snapshots: Vec<SnapshotRow>,
) -> Result<VolumeState, StoreError> {
    let mut state = VolumeState {
        volume: row.into_volume()?,
        attachments: own_attachments.into_iter().map(AttachmentRow::into_attachment).collect::<Result<_, _>>()?,
        operations: own_operations.into_iter().map(OperationRow::into_operation).collect::<Result<_, _>>()?,
        snapshots: own_snapshots.into_iter().map(SnapshotRow::into_snapshot).collect::<Result<_, _>>()?,
    };
    state.shrink_to_fit();
    Ok(state)
}

/// Live volumes with outstanding calls, orphan exports or loans and without an open operation.
pub(in super::super) fn unsettled_volumes(connection: &mut AnyConnection) -> Result<Vec<VolumeId>, StoreError> {
    snapshot(connection, |connection| {
        // only live rows are ever marked: without another condition the partial index is what the planner takes
        let sql = Sql::new(
            Dialect::of(connection),
            "SELECT id FROM volumes WHERE unsettled AND NOT EXISTS \
             (SELECT 1 FROM operations WHERE operations.volume_id = volumes.id) ORDER BY id",
        );
        let ids: Vec<Id> = sql.load(connection)?;
        ids.into_iter().map(|row| super::volume_id(&row.id)).collect::<Result<_, _>>().map_err(ReadFailure::Answer)
    })
}
