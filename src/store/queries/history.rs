//! The history of volumes, and how old records go.

use diesel::Connection;
use diesel::prelude::*;

use super::super::connection::AnyConnection;
use super::super::rows::{EventRow, to_i64};
use super::super::schema::events;
use super::super::sql::{Dialect, Sql, Value};
use super::super::{Event, StoreError};
use super::{ReadFailure, snapshot, unavailable};
use crate::domain::ids::VolumeId;
use crate::domain::time::Timestamp;

/// The last `limit` events of a volume, newest first; those that led to a generation before this one. A row has the events
/// up to its generation: the first one that is not before may begin with some that are.
pub(in super::super) fn event_list(
    connection: &mut AnyConnection,
    volume_id: VolumeId,
    before: Option<u64>,
    limit: u64,
) -> Result<Vec<Event>, StoreError> {
    snapshot(connection, |connection| {
        let own = || events::table.filter(events::volume_id.eq(volume_id.to_string()));
        let bound = before.map_or(i64::MAX, to_i64);
        let mut rows: Vec<EventRow> =
            own().filter(events::generation.ge(bound)).order(events::generation.asc()).limit(1).load(connection)?;
        let earlier: Vec<EventRow> = own()
            .filter(events::generation.lt(bound))
            .order(events::generation.desc())
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .load(connection)?;
        rows.extend(earlier);
        let mut found = Vec::new();
        for row in rows {
            let events = row.into_events()?.into_iter().rev();
            found.extend(events.filter(|event| before.is_none_or(|before| event.generation < before)));
        }
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok::<_, ReadFailure<StoreError>>(found)
    })
}

/// What is removed, in this order: rows which refer to others go first. `{}` stands for the instant and the batch.
const PURGES: [&str; 6] = [
    "DELETE FROM events WHERE (volume_id, generation) IN \
     (SELECT volume_id, generation FROM events WHERE at < {} ORDER BY at LIMIT {})",
    "DELETE FROM server_actions WHERE (server_id, started_at, id) IN \
     (SELECT server_id, started_at, id FROM server_actions WHERE started_at < {} ORDER BY started_at LIMIT {})",
    "DELETE FROM idempotency_keys WHERE id IN \
     (SELECT id FROM idempotency_keys WHERE expires_at < {} ORDER BY expires_at LIMIT {})",
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
