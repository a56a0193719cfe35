//! User messages.

use diesel::prelude::*;
use uuid::Uuid;

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::MessageRow;
use super::super::schema::messages;
use super::super::{ListError, Message, MessageQuery, Page, StoreError};
use super::list::{Listing, list};
use super::{ReadFailure, snapshot, unavailable};
use crate::domain::ids::ProjectId;

/// A page of messages of one project.
pub(in super::super) fn message_list(
    connection: &mut AnyConnection,
    query: &MessageQuery,
) -> Result<Page<Message>, ListError> {
    snapshot(connection, |connection| {
        let page = list::<MessageRow>(
            connection,
            &Listing {
                project_id: Some(query.project_id.as_str()),
                filters: &query.filters,
                paging: &query.paging,
                with_count: false,
            },
        )?;
        let rows = page.rows.into_iter().map(MessageRow::into_message).collect::<Result<_, _>>()?;
        Ok::<_, ReadFailure<ListError>>(Page { rows, count: page.count })
    })
}

/// One message.
pub(in super::super) fn message_get(
    connection: &mut AnyConnection,
    project_id: &ProjectId,
    id: Uuid,
) -> Result<Option<Message>, StoreError> {
    snapshot(connection, |connection| {
        let own = messages::table
            .filter(messages::id.eq(id.to_string()))
            .filter(messages::project_id.eq(project_id.as_str()));
        let row: Option<MessageRow> = on_each!(connection, inner => own.get_result(inner)).optional()?;
        Ok::<_, ReadFailure<StoreError>>(row.map(MessageRow::into_message).transpose()?)
    })
}

/// Deletes a message; whether there was one. Runs on a writer's connection.
pub(in super::super) fn message_delete(
    connection: &mut AnyConnection,
    project_id: &ProjectId,
    id: Uuid,
) -> Result<bool, StoreError> {
    let deleted = diesel::delete(
        messages::table.filter(messages::id.eq(id.to_string())).filter(messages::project_id.eq(project_id.as_str())),
    )
    .execute(connection)
    .map_err(unavailable)?;
    Ok(deleted > 0)
}
