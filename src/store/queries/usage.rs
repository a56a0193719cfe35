//! What projects use: stored, and counted again from the records (promise I5).

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::UsageRow;
use super::super::schema::quota_usages;
use super::super::sql::{Dialect, Sql};
use super::super::{StoreError, UsageAudit};
use super::{ReadFailure, snapshot};
use crate::domain::ids::{ProjectId, VolumeTypeId};
use crate::domain::quota::{Scope, Usage};

/// What one of the counts says of one project's volumes of one type.
#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = Text)]
    project_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    volume_type_id: Option<String>,
    #[diesel(sql_type = BigInt)]
    volumes: i64,
    #[diesel(sql_type = BigInt)]
    snapshots: i64,
    #[diesel(sql_type = BigInt)]
    gigabytes: i64,
    #[diesel(sql_type = BigInt)]
    snapshot_gigabytes: i64,
    #[diesel(sql_type = BigInt)]
    reserved_gigabytes: i64,
    #[diesel(sql_type = BigInt)]
    live_volumes: i64,
}

/// A volume with two open operations must count once: the reservations are summed beside it.
const COUNT_VOLUMES: &str = "SELECT project_id, volume_type_id, COUNT(*) AS live_volumes, \
     CAST(SUM(CASE WHEN consumes_quota THEN 1 ELSE 0 END) AS BIGINT) AS volumes, \
     CAST(SUM(CASE WHEN consumes_quota THEN size ELSE 0 END) AS BIGINT) AS gigabytes, \
     CAST(COALESCE(SUM(CASE WHEN consumes_quota THEN (SELECT SUM(operations.reserved_gib) FROM operations \
                        WHERE operations.volume_id = volumes.id) END), 0) AS BIGINT) AS reserved_gigabytes, \
     CAST(0 AS BIGINT) AS snapshots, CAST(0 AS BIGINT) AS snapshot_gigabytes \
     FROM volumes WHERE deleted = false GROUP BY project_id, volume_type_id";

const COUNT_SNAPSHOTS: &str = "SELECT snapshots.project_id AS project_id, volumes.volume_type_id AS volume_type_id, \
     COUNT(*) AS snapshots, CAST(SUM(snapshots.volume_size) AS BIGINT) AS snapshot_gigabytes, \
     CAST(0 AS BIGINT) AS live_volumes, CAST(0 AS BIGINT) AS volumes, CAST(0 AS BIGINT) AS gigabytes, \
     CAST(0 AS BIGINT) AS reserved_gigabytes \
     FROM snapshots JOIN volumes ON volumes.id = snapshots.volume_id WHERE snapshots.consumes_quota \
     GROUP BY snapshots.project_id, volumes.volume_type_id";

/// A volume that is to be of another type counts for that one too, but once for its project.
const COUNT_RETYPES: &str = "SELECT volumes.project_id AS project_id, operations.retyping_to AS volume_type_id, \
     COUNT(*) AS live_volumes, \
     CAST(SUM(CASE WHEN consumes_quota THEN 1 ELSE 0 END) AS BIGINT) AS volumes, \
     CAST(SUM(CASE WHEN consumes_quota THEN size ELSE 0 END) AS BIGINT) AS gigabytes, \
     CAST(0 AS BIGINT) AS reserved_gigabytes, CAST(0 AS BIGINT) AS snapshots, CAST(0 AS BIGINT) AS snapshot_gigabytes \
     FROM operations JOIN volumes ON volumes.id = operations.volume_id \
     WHERE volumes.deleted = false AND operations.retyping_to IS NOT NULL \
     GROUP BY volumes.project_id, operations.retyping_to";

impl Counted {
    fn usage(&self) -> Usage {
        Usage {
            volumes: self.volumes,
            snapshots: self.snapshots,
            gigabytes: self.gigabytes,
            snapshot_gigabytes: self.snapshot_gigabytes,
            reserved_gigabytes: self.reserved_gigabytes,
            live_volumes: self.live_volumes,
        }
    }
}

/// Stored and counted usage of every project, and of every project's volumes of each type.
pub(in super::super) fn usage_audit(connection: &mut AnyConnection) -> Result<Vec<UsageAudit>, StoreError> {
    snapshot(connection, |connection| {
        let mut audits: BTreeMap<Scope, (Usage, Usage)> = BTreeMap::new();
        let stored: Vec<UsageRow> = quota_usages::table.load(connection)?;
        for row in stored {
            audits.entry(row.scope()?).or_default().0 = row.usage();
        }
        for (query, of_project) in [(COUNT_VOLUMES, true), (COUNT_SNAPSHOTS, true), (COUNT_RETYPES, false)] {
            let counted: Vec<Counted> = Sql::new(Dialect::of(connection), query).load(connection)?;
            for row in counted {
                let of_type = row.volume_type_id.as_deref().map(super::volume_type::type_id).transpose()?;
                for volume_type_id in of_project.then_some(None).into_iter().chain(of_type.map(Some)) {
                    let scope = Scope { project_id: row.project_id.as_str().into(), volume_type_id };
                    let counted = &mut audits.entry(scope).or_default().1;
                    *counted = counted.plus(row.usage());
                }
            }
        }
        let audit = |(scope, (stored, counted))| UsageAudit { scope, stored, counted };
        Ok::<_, ReadFailure<StoreError>>(audits.into_iter().map(audit).collect())
    })
}

/// Stored usage of one project, all types together.
pub(in super::super) fn usage(connection: &mut AnyConnection, project_id: &ProjectId) -> Result<Usage, StoreError> {
    let key = UsageRow::key_of(&Scope { project_id: project_id.clone(), volume_type_id: None });
    snapshot(connection, |connection| {
        let own = quota_usages::table.filter(quota_usages::id.eq(&key));
        let row: Option<UsageRow> = on_each!(connection, inner => own.get_result(inner)).optional()?;
        Ok::<_, ReadFailure<StoreError>>(row.map_or_else(Usage::default, |row| row.usage()))
    })
}

/// Stored usage of one project: of all types together, and of each.
pub(in super::super) fn usages(
    connection: &mut AnyConnection,
    project_id: &ProjectId,
) -> Result<Vec<(Option<VolumeTypeId>, Usage)>, StoreError> {
    snapshot(connection, |connection| {
        let own = quota_usages::table.filter(quota_usages::project_id.eq(project_id.as_str()));
        let rows: Vec<UsageRow> = on_each!(connection, inner => own.load(inner))?;
        let usages = rows.into_iter().map(|row| Ok((row.scope()?.volume_type_id, row.usage())));
        Ok::<_, ReadFailure<StoreError>>(usages.collect::<Result<_, StoreError>>()?)
    })
}
