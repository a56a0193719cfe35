//! The history of volumes, and how old records go.

use diesel::Connection;
use diesel::prelude::*;

use super::super::connection::AnyConnection;
use super::super::rows::EventRow;
use super::super::schema::events;
use super::super::sql::{Dialect, Sql, Value};
use super::super::{Event, StoreError};
use super::{ReadFailure, snapshot, unavailable};
use crate::domain::ids::VolumeId;
use crate::domain::time::Timestamp;

/// The last `limit` events of a volume, newest first.
pub(in super::super) fn event_list(
    connection: &mut AnyConnection,
    volume_id: VolumeId,
    limit: u64,
) -> Result<Vec<Event>, StoreError> {
    snapshot(connection, |connection| {
        let rows: Vec<EventRow> = events::table
            .filter(events::volume_id.eq(volume_id.to_string()))
            .order(events::generation.desc())
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .load(connection)?;
        let mut found = Vec::new();
        for row in rows {
            found.extend(row.into_events()?.into_iter().rev());
        }
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok::<_, ReadFailure<StoreError>>(found)
    })
}

/// What is removed, in this order: rows which refer to others go first. `{}` stands for the instant and the batch.
const PURGES: [&str; 4] = [
    "DELETE FROM events WHERE (volume_id, generation) IN \
     (SELECT volume_id, generation FROM events WHERE at < {} ORDER BY at LIMIT {})",
    "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE expires_at < {} ORDER BY expires_at LIMIT {})",
    "DELETE FROM volumes WHERE id IN \
     (SELECT id FROM volumes WHERE deleted_at IS NOT NULL AND deleted AND deleted_at < {} \
      AND NOT EXISTS (SELECT 1 FROM attachments WHERE attachments.volume_id = volumes.id) \
      AND NOT EXISTS (SELECT 1 FROM operations WHERE operations.volume_id = volumes.id) ORDER BY deleted_at LIMIT {})",
    "DELETE FROM servers WHERE id IN \
     (SELECT id FROM servers WHERE deleted AND COALESCE(updated_at, created_at) < {} LIMIT {})",
];

/// Removes at most `batch` rows of each kind that ended before `before`; how many went. Runs on a writer's connection.
pub(in super::super) fn history_purge(
    connection: &mut AnyConnection,
    before: Timestamp,
    batch: u64,
) -> Result<u64, StoreError> {
    let batch = i64::try_from(batch).unwrap_or(i64::MAX);
    connection
        .transaction(|connection| {
            let mut removed = 0;
            for purge in PURGES {
                let mut parts = purge.split("{}");
                let mut sql = Sql::new(Dialect::of(connection), parts.next().unwrap_or_default());
                for value in [Value::Int(before.0), Value::Int(batch)] {
                    sql.bind(value).push(parts.next().unwrap_or_default());
                }
                removed += sql.execute(connection)? as u64;
            }
            Ok(removed)
        })
        .map_err(unavailable)
}
