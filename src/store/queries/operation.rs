//! Open operations, for recovery at start.

use diesel::prelude::*;

use super::super::connection::AnyConnection;
use super::super::rows::OperationRow;
use super::super::schema::operations;
use super::super::{OpenOperation, StoreError};
use super::{ReadFailure, snapshot};
use crate::domain::ids::OperationId;
use crate::domain::time::Timestamp;

/// Where a scan of the open operations stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Cursor {
    pub started_at: Timestamp,
    pub id: OperationId,
}

/// Open operations, oldest first, after `after`. `remembered` is where `after` stood when it was read: it may have ended
/// since. When nobody remembers, the scan starts again at the oldest.
pub(in super::super) fn open_operations(
    connection: &mut AnyConnection,
    after: Option<OperationId>,
    remembered: Option<Cursor>,
    limit: u64,
) -> Result<Vec<OpenOperation>, StoreError> {
    snapshot(connection, |connection| {
        let start = match (after, remembered) {
            (None, _) => None,
            (Some(_), Some(cursor)) => Some(cursor),
            (Some(id), None) => operations::table
                .filter(operations::id.eq(id.to_string()))
                .select(operations::started_at)
                .first::<i64>(connection)
                .optional()?
                .map(|started_at| Cursor { started_at: Timestamp(started_at), id }),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let ordered = operations::table.order((operations::started_at, operations::id)).limit(limit);
        let rows: Vec<OperationRow> = match start {
            None => ordered.load(connection)?,
            Some(cursor) => ordered
                .filter(operations::started_at.ge(cursor.started_at.0))
                .filter(operations::started_at.gt(cursor.started_at.0).or(operations::id.gt(cursor.id.0.to_string())))
                .load(connection)?,
        };
        rows.into_iter()
            .map(|row| {
                let volume_id = super::volume_id(&row.volume_id)?;
                Ok(OpenOperation { volume_id, operation: row.into_operation()? })
            })
            .collect::<Result<_, StoreError>>()
            .map_err(ReadFailure::Answer)
    })
}
