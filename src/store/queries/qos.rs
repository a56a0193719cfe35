//! QoS specs: reads, and their changes, which like those of types are no [`Transaction`](super::super::Transaction). Which types
//! have them is said in the rows of the types, and a change of that is a change of the type.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;

use super::super::connection::AnyConnection;
use super::super::rows::{QosRow, to_i64};
use super::super::schema::{qos_specs, volume_types};
use super::super::{QosChange, QosRefused, StoreError};
use super::{ReadFailure, snapshot, unavailable};
use crate::domain::ids::{QosSpecsId, VolumeTypeId};
use crate::domain::qos::QosSpecs;

/// All QoS specs, by name.
pub(in super::super) fn qos_specs(connection: &mut AnyConnection) -> Result<Vec<QosSpecs>, StoreError> {
    snapshot(connection, |connection| {
        let rows: Vec<QosRow> = qos_specs::table.order(qos_specs::name).load(connection)?;
        Ok::<_, ReadFailure<StoreError>>(rows.into_iter().map(QosRow::into_qos).collect::<Result<_, _>>()?)
    })
}

enum Failed {
    Refused(QosRefused),
    Query(DieselError),
}

impl From<DieselError> for Failed {
    fn from(error: DieselError) -> Self {
        Self::Query(error)
    }
}

/// Carries out a change. Runs on a writer's connection.
pub(in super::super) fn qos_change(
    connection: &mut AnyConnection,
    change: &QosChange,
) -> Result<Result<(), QosRefused>, StoreError> {
    let written = connection.transaction(|connection| {
        // one at a time with the changes of types, which have the specs
        if let AnyConnection::Postgres(inner) = connection {
            inner.batch_execute("LOCK TABLE volume_types IN SHARE ROW EXCLUSIVE MODE")?;
        }
        match change {
            QosChange::Create(new) => {
                refuse_taken_name(connection, new)?;
                diesel::insert_into(qos_specs::table).values(&QosRow::of(new)).execute(connection)?;
                Ok(())
            }
            QosChange::Update(new) => {
                if revision(connection, new.id)? != to_i64(new.revision - 1) {
                    return Err(Failed::Refused(QosRefused::Stale));
                }
                refuse_taken_name(connection, new)?;
                let row = QosRow::of(new);
                diesel::update(qos_specs::table.filter(qos_specs::id.eq(&row.id))).set(&row).execute(connection)?;
                Ok(())
            }
            QosChange::Delete { id, force } => delete(connection, *id, *force),
            QosChange::Associate { id, volume_type_id } => associate(connection, *id, *volume_type_id),
            QosChange::Disassociate { id, volume_type_id } => disassociate(connection, *id, *volume_type_id),
        }
    });
    match written {
        Ok(()) => Ok(Ok(())),
        Err(Failed::Refused(refused)) => Ok(Err(refused)),
        Err(Failed::Query(error)) => Err(unavailable(error)),
    }
}

fn revision(connection: &mut AnyConnection, id: QosSpecsId) -> Result<i64, Failed> {
    let own = qos_specs::table.filter(qos_specs::id.eq(id.to_string())).select(qos_specs::revision);
    let found: Option<i64> = own.get_result(connection).optional()?;
    found.ok_or(Failed::Refused(QosRefused::Missing))
}

fn refuse_taken_name(connection: &mut AnyConnection, new: &QosSpecs) -> Result<(), Failed> {
    let others = qos_specs::table.filter(qos_specs::name.eq(&new.name)).filter(qos_specs::id.ne(new.id.to_string()));
    let is_taken: bool = diesel::select(diesel::dsl::exists(others)).get_result(connection)?;
    if is_taken { Err(Failed::Refused(QosRefused::NameTaken)) } else { Ok(()) }
}

fn delete(connection: &mut AnyConnection, id: QosSpecsId, force: bool) -> Result<(), Failed> {
    revision(connection, id)?;
    let text = id.to_string();
    let having = volume_types::table.filter(volume_types::qos_specs_id.eq(&text));
    let is_used: bool = diesel::select(diesel::dsl::exists(having)).get_result(connection)?;
    if is_used && !force {
        return Err(Failed::Refused(QosRefused::InUse));
    }
    disassociate(connection, id, None)?;
    diesel::delete(qos_specs::table.filter(qos_specs::id.eq(&text))).execute(connection)?;
    Ok(())
}

fn associate(connection: &mut AnyConnection, id: QosSpecsId, volume_type_id: VolumeTypeId) -> Result<(), Failed> {
    revision(connection, id)?;
    let (text, type_id) = (id.to_string(), volume_type_id.to_string());
    let own = || volume_types::table.filter(volume_types::id.eq(&type_id));
    let present: Option<Option<String>> = own().select(volume_types::qos_specs_id).get_result(connection).optional()?;
    match present {
        None => Err(Failed::Refused(QosRefused::TypeMissing)),
        Some(Some(present)) if present == text => Ok(()),
        Some(Some(other)) => Err(Failed::Refused(match other.parse() {
            Ok(other) => QosRefused::HasOthers(other),
            Err(_) => QosRefused::Stale,
        })),
        Some(None) => {
            diesel::update(own())
                .set((volume_types::qos_specs_id.eq(Some(text)), volume_types::revision.eq(volume_types::revision + 1)))
                .execute(connection)?;
            Ok(())
        }
    }
}

fn disassociate(
    connection: &mut AnyConnection,
    id: QosSpecsId,
    volume_type_id: Option<VolumeTypeId>,
) -> Result<(), Failed> {
    revision(connection, id)?;
    let having = volume_types::table.filter(volume_types::qos_specs_id.eq(id.to_string()));
    let none = (volume_types::qos_specs_id.eq(None::<String>), volume_types::revision.eq(volume_types::revision + 1));
    match volume_type_id.map(|id| id.to_string()) {
        None => diesel::update(having).set(none).execute(connection)?,
        Some(only) => {
            let known = volume_types::table.filter(volume_types::id.eq(&only));
            let is_known: bool = diesel::select(diesel::dsl::exists(known)).get_result(connection)?;
            if !is_known {
                return Err(Failed::Refused(QosRefused::TypeMissing));
            }
            diesel::update(having.filter(volume_types::id.eq(&only))).set(none).execute(connection)?
        }
    };
    Ok(())
}
