//! The limits that administrators have set.

use diesel::prelude::*;

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::{LimitRow, VolumeTypeRow};
use super::super::schema::{quota_limits, volume_types};
use super::super::{GrowthRules, StoreError};
use super::{ReadFailure, snapshot, unavailable};
use crate::domain::ids::{ProjectId, VolumeTypeId};
use crate::domain::quota::{DEFAULT_CLASS, QuotaKey, QuotaOwner, StoredLimit};

/// The limits of some owners.
pub(in super::super) fn quota_limits(
    connection: &mut AnyConnection,
    owners: &[QuotaOwner],
) -> Result<Vec<StoredLimit>, StoreError> {
    snapshot(connection, |connection| limits_of(connection, owners))
}

fn limits_of(
    connection: &mut AnyConnection,
    owners: &[QuotaOwner],
) -> Result<Vec<StoredLimit>, ReadFailure<StoreError>> {
    let mut limits = Vec::new();
    for owner in owners {
        // one by one: a list of keys would be a statement of its own for each length
        let own = quota_limits::table.filter(quota_limits::owner.eq(LimitRow::owner_key(owner)));
        let rows: Vec<LimitRow> = on_each!(connection, inner => own.load(inner))?;
        for row in rows {
            limits.push(row.into_limit()?);
        }
    }
    Ok(limits)
}

/// What a project may add to its volumes of a type.
pub(in super::super) fn growth_rules(
    connection: &mut AnyConnection,
    project_id: &ProjectId,
    volume_type_id: Option<VolumeTypeId>,
) -> Result<GrowthRules, StoreError> {
    let owners = [QuotaOwner::Project(project_id.clone()), QuotaOwner::Class(DEFAULT_CLASS.to_owned())];
    snapshot(connection, |connection| {
        let limits = limits_of(connection, &owners)?;
        let mut volume_type = None;
        if let Some(id) = volume_type_id {
            let own = volume_types::table.filter(volume_types::id.eq(id.to_string()));
            let row: Option<VolumeTypeRow> = on_each!(connection, inner => own.get_result(inner)).optional()?;
            volume_type = row.map(VolumeTypeRow::into_volume_type).transpose()?;
        }
        Ok::<_, ReadFailure<StoreError>>(GrowthRules { limits, volume_type })
    })
}

/// Sets limits of one owner, all or none. Runs on a writer's connection.
pub(in super::super) fn limits_set(
    connection: &mut AnyConnection,
    owner: &QuotaOwner,
    limits: &[(QuotaKey, i64)],
) -> Result<(), StoreError> {
    connection
        .transaction(|connection| {
            // in one order, as every writer's
            let mut rows: Vec<_> = limits.iter().map(|(key, limit)| LimitRow::of(owner, *key, *limit)).collect();
            rows.sort_by(|a, b| (&a.resource, &a.volume_type_id).cmp(&(&b.resource, &b.volume_type_id)));
            for row in rows {
                let insert = diesel::insert_into(quota_limits::table)
                    .values(&row)
                    .on_conflict((quota_limits::owner, quota_limits::resource, quota_limits::volume_type_id))
                    .do_update()
                    .set(quota_limits::hard_limit.eq(row.hard_limit));
                on_each!(connection, inner => insert.execute(inner))?;
            }
            Ok(())
        })
        .map_err(unavailable)
}

/// Forgets the limits of one owner. Runs on a writer's connection.
pub(in super::super) fn limits_clear(connection: &mut AnyConnection, owner: &QuotaOwner) -> Result<(), StoreError> {
    let own = quota_limits::table.filter(quota_limits::owner.eq(LimitRow::owner_key(owner)));
    diesel::delete(own).execute(connection).map(drop).map_err(unavailable)
}
