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
}

const USAGE: &str = "SELECT host, project_id, COUNT(*) AS volumes, CAST(SUM(size) AS BIGINT) AS gigabytes FROM volumes \
     WHERE deleted = false AND host IS NOT NULL GROUP BY host, project_id ORDER BY host, project_id";

/// What every project has at every backend.
pub(in super::super) fn host_usage(connection: &mut AnyConnection) -> Result<Vec<HostUsage>, StoreError> {
    snapshot(connection, |connection| {
        let rows: Vec<Sums> = Sql::new(Dialect::of(connection), USAGE).load(connection)?;
        let usage = |row: Sums| HostUsage {
            host: row.host,
            project_id: row.project_id.as_str().into(),
            volumes: u64::try_from(row.volumes).unwrap_or(0),
            gigabytes: u64::try_from(row.gigabytes).unwrap_or(0),
        };
        Ok::<_, ReadFailure<StoreError>>(rows.into_iter().map(usage).collect())
    })
}
