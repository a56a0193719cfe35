//! What projects use: stored, and counted again from the records (promise I5).

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::UsageRow;
use super::super::schema::quota_usages;
use super::super::sql::{Dialect, Sql};
use super::super::{StoreError, UsageAudit};
use super::{ReadFailure, snapshot};
use crate::domain::ids::ProjectId;
use crate::domain::quota::Usage;

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Text)]
    project_id: String,
    #[diesel(sql_type = BigInt)]
    volumes: i64,
    #[diesel(sql_type = BigInt)]
    gigabytes: i64,
    #[diesel(sql_type = BigInt)]
    reserved: i64,
}

/// A volume with two open operations must count once: the reservations are summed beside it.
const COUNT: &str = "SELECT volumes.project_id AS project_id, COUNT(*) AS volumes, \
     CAST(SUM(volumes.size) AS BIGINT) AS gigabytes, \
     CAST(COALESCE(SUM((SELECT SUM(operations.reserved_gib) FROM operations \
                        WHERE operations.volume_id = volumes.id)), 0) AS BIGINT) AS reserved \
     FROM volumes WHERE volumes.deleted = false AND volumes.consumes_quota GROUP BY volumes.project_id";

/// Stored and counted usage of every project.
pub(in super::super) fn usage_audit(connection: &mut AnyConnection) -> Result<Vec<UsageAudit>, StoreError> {
    snapshot(connection, |connection| {
        let mut audits: BTreeMap<String, UsageAudit> = BTreeMap::new();
        let entry = |project_id: &str| UsageAudit {
            project_id: ProjectId::from(project_id),
            stored: Usage::default(),
            counted: Usage::default(),
        };
        let stored: Vec<UsageRow> = quota_usages::table.load(connection)?;
        for row in stored {
            audits.entry(row.project_id.clone()).or_insert_with(|| entry(&row.project_id)).stored = row.usage();
        }
        let counted: Vec<Counted> = Sql::new(Dialect::of(connection), COUNT).load(connection)?;
        for row in counted {
            audits.entry(row.project_id.clone()).or_insert_with(|| entry(&row.project_id)).counted =
                Usage { volumes: row.volumes, gigabytes: row.gigabytes, reserved_gigabytes: row.reserved };
        }
        Ok::<_, ReadFailure<StoreError>>(audits.into_values().collect())
    })
}

/// Stored usage of one project.
pub(in super::super) fn usage(connection: &mut AnyConnection, project_id: &ProjectId) -> Result<Usage, StoreError> {
    snapshot(connection, |connection| {
        let own = quota_usages::table.filter(quota_usages::project_id.eq(project_id.as_str()));
        let row: Option<UsageRow> = on_each!(connection, inner => own.get_result(inner)).optional()?;
        Ok::<_, ReadFailure<StoreError>>(row.map_or_else(Usage::default, |row| row.usage()))
    })
}
