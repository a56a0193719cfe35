//! Reads of servers' actions.

use diesel::prelude::*;

use super::super::connection::AnyConnection;
use super::super::rows::ServerActionRow;
use super::super::schema::server_actions;
use super::super::{ActionQuery, ListError, StoreError};
use super::{ReadFailure, snapshot};
use crate::domain::ids::{RequestId, ServerId};
use crate::domain::server_action::ServerAction;

/// A page of one server's actions, newest first.
pub(in super::super) fn action_list(
    connection: &mut AnyConnection,
    query: &ActionQuery,
) -> Result<Vec<ServerAction>, ListError> {
    snapshot(connection, |connection| {
        let own = || server_actions::table.filter(server_actions::server_id.eq(query.server_id.as_str()));
        let before = match &query.marker {
            // after every other
            None => (i64::MAX, String::new()),
            Some(request_id) => own()
                .filter(server_actions::request_id.eq(request_id.as_str()))
                .order((server_actions::started_at.asc(), server_actions::id.asc()))
                .select((server_actions::started_at, server_actions::id))
                .first::<(i64, String)>(connection)
                .optional()?
                .ok_or_else(|| ListError::MarkerNotFound(request_id.to_string()))?,
        };
        let since = query.changes_since.map_or(i64::MIN, |at| at.0);
        let until = query.changes_before.map_or(i64::MAX, |at| at.0);
        let ended_at = server_actions::ended_at.assume_not_null();
        // an action ends after it has begun: that it began since says that it has changed since
        let rows: Vec<ServerActionRow> = own()
            .filter(
                server_actions::started_at
                    .lt(before.0)
                    .or(server_actions::started_at.eq(before.0).and(server_actions::id.lt(before.1))),
            )
            .filter(
                server_actions::started_at.ge(since).or(server_actions::ended_at.is_not_null().and(ended_at.ge(since))),
            )
            .filter(server_actions::started_at.le(until))
            .filter(server_actions::ended_at.is_null().or(ended_at.le(until)))
            .order((server_actions::started_at.desc(), server_actions::id.desc()))
            .limit(i64::try_from(query.limit).unwrap_or(i64::MAX))
            .select(ServerActionRow::as_select())
            .load(connection)?;
        Ok(rows.into_iter().map(ServerActionRow::into_action).collect::<Result<_, _>>()?)
    })
}

/// The newest action of a server that a request has led to.
pub(in super::super) fn action_get(
    connection: &mut AnyConnection,
    server_id: &ServerId,
    request_id: &RequestId,
) -> Result<Option<ServerAction>, StoreError> {
    snapshot(connection, |connection| {
        let row: Option<ServerActionRow> = server_actions::table
            .filter(server_actions::server_id.eq(server_id.as_str()))
            .filter(server_actions::request_id.eq(request_id.as_str()))
            .order((server_actions::started_at.desc(), server_actions::id.desc()))
            .select(ServerActionRow::as_select())
            .first(connection)
            .optional()?;
        Ok::<_, ReadFailure<StoreError>>(row.map(ServerActionRow::into_action).transpose()?)
    })
}
