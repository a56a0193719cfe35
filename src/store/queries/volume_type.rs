//! Volume types: reads, and their changes, which are no [`Transaction`](super::super::Transaction): nothing else changes with
//! them. A volume that is made with a type guards its own commit by the type's revision.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::{VolumeTypeRow, to_i64};
use super::super::schema::{default_volume_types, quota_limits, quota_usages, volume_types};
use super::super::{StoreError, TypeChange, TypeRefused};
use super::{ReadFailure, snapshot, unavailable};
use crate::domain::ids::{ProjectId, VolumeTypeId};
use crate::domain::volume_type::VolumeType;

/// All volume types, by name.
pub(in super::super) fn volume_types(connection: &mut AnyConnection) -> Result<Vec<VolumeType>, StoreError> {
    snapshot(connection, |connection| {
        let rows: Vec<VolumeTypeRow> = volume_types::table.order(volume_types::name).load(connection)?;
        Ok::<_, ReadFailure<StoreError>>(rows.into_iter().map(|row| row.into_volume_type()).collect::<Result<_, _>>()?)
    })
}

/// The default of one project.
pub(in super::super) fn default_type(
    connection: &mut AnyConnection,
    project_id: &ProjectId,
) -> Result<Option<VolumeTypeId>, StoreError> {
    snapshot(connection, |connection| {
        let own = default_volume_types::table
            .filter(default_volume_types::project_id.eq(project_id.as_str()))
            .select(default_volume_types::volume_type_id);
        let id: Option<String> = on_each!(connection, inner => own.get_result(inner)).optional()?;
        Ok::<_, ReadFailure<StoreError>>(id.map(|id| type_id(&id)).transpose()?)
    })
}

/// The defaults of all projects.
pub(in super::super) fn default_types(
    connection: &mut AnyConnection,
) -> Result<Vec<(ProjectId, VolumeTypeId)>, StoreError> {
    snapshot(connection, |connection| {
        let rows: Vec<(String, String)> =
            default_volume_types::table.order(default_volume_types::project_id).load(connection)?;
        let defaults = rows.into_iter().map(|(project_id, id)| Ok((ProjectId::from(project_id), type_id(&id)?)));
        Ok::<_, ReadFailure<StoreError>>(defaults.collect::<Result<_, StoreError>>()?)
    })
}

pub(super) fn type_id(text: &str) -> Result<VolumeTypeId, StoreError> {
    text.parse().map_err(|error: uuid::Error| StoreError::Damaged {
        what: format!("volume type id {text:?}"),
        reason: error.to_string(),
    })
}

enum Failed {
    Refused(TypeRefused),
    Query(DieselError),
}

impl From<DieselError> for Failed {
    fn from(error: DieselError) -> Self {
        Self::Query(error)
    }
}

/// Carries out a change. Runs on a writer's connection.
pub(in super::super) fn type_change(
    connection: &mut AnyConnection,
    change: &TypeChange,
) -> Result<Result<(), TypeRefused>, StoreError> {
    let written = connection.transaction(|connection| {
        // one at a time; the guards of commits, which lock single rows, are not in its way
        if let AnyConnection::Postgres(inner) = connection {
            inner.batch_execute("LOCK TABLE volume_types IN SHARE ROW EXCLUSIVE MODE")?;
        }
        match change {
            TypeChange::Create(new) => {
                refuse_taken_name(connection, new)?;
                diesel::insert_into(volume_types::table).values(&VolumeTypeRow::of(new)).execute(connection)?;
                Ok(())
            }
            TypeChange::Update { new, while_unused } => {
                lock(connection, new.id, new.revision - 1)?;
                refuse_taken_name(connection, new)?;
                if *while_unused {
                    refuse_used(connection, new.id)?;
                }
                let row = VolumeTypeRow::of(new);
                diesel::update(volume_types::table.filter(volume_types::id.eq(&row.id)))
                    .set(&row)
                    .execute(connection)?;
                Ok(())
            }
            TypeChange::Delete { id, revision } => delete(connection, *id, *revision),
            TypeChange::Default { project_id, volume_type_id } => {
                set_default(connection, project_id.as_str(), *volume_type_id)
            }
        }
    });
    match written {
        Ok(()) => Ok(Ok(())),
        Err(Failed::Refused(refused)) => Ok(Err(refused)),
        Err(Failed::Query(error)) => Err(unavailable(error)),
    }
}

/// Keeps commits that are guarded by the type away until the change has ended; those before it have ended.
fn lock(connection: &mut AnyConnection, id: VolumeTypeId, revision: u64) -> Result<(), Failed> {
    let own = volume_types::table.filter(volume_types::id.eq(id.to_string())).select(volume_types::revision);
    let stored: Option<i64> = match connection {
        AnyConnection::Sqlite(inner) => own.get_result(inner),
        AnyConnection::Postgres(inner) => own.for_update().get_result(inner),
    }
    .optional()?;
    if stored == Some(to_i64(revision)) { Ok(()) } else { Err(Failed::Refused(TypeRefused::Stale)) }
}

fn refuse_taken_name(connection: &mut AnyConnection, new: &VolumeType) -> Result<(), Failed> {
    let others =
        volume_types::table.filter(volume_types::name.eq(&new.name)).filter(volume_types::id.ne(new.id.to_string()));
    refuse_if(diesel::select(diesel::dsl::exists(others)).get_result(connection)?, TypeRefused::NameTaken)
}

fn refuse_used(connection: &mut AnyConnection, id: VolumeTypeId) -> Result<(), Failed> {
    let of_type = quota_usages::table
        .filter(quota_usages::volume_type_id.eq(id.to_string()))
        .filter(quota_usages::live_volumes.gt(0));
    refuse_if(diesel::select(diesel::dsl::exists(of_type)).get_result(connection)?, TypeRefused::InUse)
}

fn delete(connection: &mut AnyConnection, id: VolumeTypeId, revision: u64) -> Result<(), Failed> {
    lock(connection, id, revision)?;
    let text = id.to_string();
    let defaults = default_volume_types::table.filter(default_volume_types::volume_type_id.eq(&text));
    refuse_if(diesel::select(diesel::dsl::exists(defaults)).get_result(connection)?, TypeRefused::IsDefault)?;
    refuse_used(connection, id)?;
    let others = volume_types::table.filter(volume_types::id.ne(&text));
    let is_last = !diesel::select(diesel::dsl::exists(others)).get_result::<bool>(connection)?;
    refuse_if(is_last, TypeRefused::IsLast)?;
    diesel::delete(quota_usages::table.filter(quota_usages::volume_type_id.eq(&text))).execute(connection)?;
    diesel::delete(quota_limits::table.filter(quota_limits::volume_type_id.eq(&text))).execute(connection)?;
    diesel::delete(volume_types::table.filter(volume_types::id.eq(&text))).execute(connection)?;
    Ok(())
}

fn set_default(
    connection: &mut AnyConnection,
    project_id: &str,
    volume_type_id: Option<VolumeTypeId>,
) -> Result<(), Failed> {
    let own = default_volume_types::table.filter(default_volume_types::project_id.eq(project_id));
    diesel::delete(own).execute(connection)?;
    let Some(id) = volume_type_id.map(|id| id.to_string()) else { return Ok(()) };
    let known = volume_types::table.filter(volume_types::id.eq(&id));
    let is_gone = !diesel::select(diesel::dsl::exists(known)).get_result::<bool>(connection)?;
    refuse_if(is_gone, TypeRefused::Stale)?;
    let row = (default_volume_types::project_id.eq(project_id), default_volume_types::volume_type_id.eq(id));
    diesel::insert_into(default_volume_types::table).values(row).execute(connection)?;
    Ok(())
}

fn refuse_if(condition: bool, refused: TypeRefused) -> Result<(), Failed> {
    if condition { Err(Failed::Refused(refused)) } else { Ok(()) }
}
