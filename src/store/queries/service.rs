//! What administrators say of the parts of the service, and what lies at each backend.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::super::StoreError;
use super::super::connection::{AnyConnection, on_each};
use super::super::schema::services;
use super::super::sql::{Dialect, Sql};
use super::{ReadFailure, snapshot, unavailable};
use crate::domain::service::{HostUsage, ServiceRecord};
use crate::domain::time::Timestamp;

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = services, treat_none_as_null = true)]
struct ServiceRow {
    host: String,
    /// The binary: a word that SQL keeps for itself.
    program: String,
    disabled: bool,
    disabled_reason: Option<String>,
    frozen: bool,
    updated_at: i64,
}

/// Every record.
pub(in super::super) fn service_list(connection: &mut AnyConnection) -> Result<Vec<ServiceRecord>, StoreError> {
    snapshot(connection, |connection| {
        let rows: Vec<ServiceRow> = services::table.order((services::host, services::program)).load(connection)?;
        let record = |row: ServiceRow| ServiceRecord {
            host: row.host,
            binary: row.program,
            disabled: row.disabled,
            disabled_reason: row.disabled_reason,
            frozen: row.frozen,
            updated_at: Timestamp(row.updated_at),
        };
        Ok::<_, ReadFailure<StoreError>>(rows.into_iter().map(record).collect())
    })
}

/// Writes one record, new or changed. Runs on a writer's connection.
pub(in super::super) fn service_put(connection: &mut AnyConnection, record: ServiceRecord) -> Result<(), StoreError> {
    let row = ServiceRow {
        host: record.host,
        program: record.binary,
        disabled: record.disabled,
        disabled_reason: record.disabled_reason,
        frozen: record.frozen,
        updated_at: record.updated_at.0,
    };
    let written = on_each!(connection, inner => {
        let insert = diesel::insert_into(services::table).values(&row);
        insert.on_conflict((services::host, services::program)).do_update().set(&row).execute(inner)
    });
    written.map(drop).map_err(unavailable)
}

#[derive(QueryableByName)]
struct Sums {
    #[diesel(sql_type = Text)]
    host: String,
    #[diesel(sql_type = Text)]
    project_id: String,
    #[diesel(sql_type = BigInt)]
    volumes: i64,
    #[diesel(sql_type = BigInt)]
    gigabytes: i64,
    #[diesel(sql_type = BigInt)]
    snapshots: i64,
    #[diesel(sql_type = BigInt)]
    snapshot_gigabytes: i64,
}

/// Snapshots lie where their volume is, and count for whom they belong to. A volume that migrates has room at both backends.
const USAGE: &str = "SELECT host, project_id, CAST(SUM(volumes) AS BIGINT) AS volumes, \
     CAST(SUM(gigabytes) AS BIGINT) AS gigabytes, CAST(SUM(snapshots) AS BIGINT) AS snapshots, \
     CAST(SUM(snapshot_gigabytes) AS BIGINT) AS snapshot_gigabytes FROM ( \
         SELECT host, project_id, 1 AS volumes, size AS gigabytes, 0 AS snapshots, 0 AS snapshot_gigabytes \
         FROM volumes WHERE deleted = false AND host IS NOT NULL \
         UNION ALL \
         SELECT volumes.host, snapshots.project_id, 0, 0, 1, snapshots.volume_size \
         FROM snapshots JOIN volumes ON volumes.id = snapshots.volume_id \
         WHERE volumes.deleted = false AND volumes.host IS NOT NULL \
         UNION ALL \
         SELECT operations.other_backend, volumes.project_id, 1, volumes.size, 0, 0 \
         FROM operations JOIN volumes ON volumes.id = operations.volume_id WHERE operations.other_backend IS NOT NULL \
     ) AS held GROUP BY host, project_id ORDER BY host, project_id";

/// What every project has at every backend.
pub(in super::super) fn host_usage(connection: &mut AnyConnection) -> Result<Vec<HostUsage>, StoreError> {
    snapshot(connection, |connection| {
        let rows: Vec<Sums> = Sql::new(Dialect::of(connection), USAGE).load(connection)?;
        let number = |sum: i64| u64::try_from(sum).unwrap_or(0);
        let usage = |row: Sums| HostUsage {
            host: row.host,
            project_id: row.project_id.as_str().into(),
            volumes: number(row.volumes),
            gigabytes: number(row.gigabytes),
            snapshots: number(row.snapshots),
            snapshot_gigabytes: number(row.snapshot_gigabytes),
        };
        Ok::<_, ReadFailure<StoreError>>(rows.into_iter().map(usage).collect())
    })
}
