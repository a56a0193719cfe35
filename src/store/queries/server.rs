//! Reads of servers.

use diesel::prelude::*;

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::ServerRow;
use super::super::schema::{attachments, servers};
use super::super::{Direction, Filter, ListError, Page, Paging, ServerQuery, StoreError};
use super::list::{Listing, list};
use super::{ReadFailure, snapshot};
use crate::domain::ids::ServerId;
use crate::domain::server::{HypervisorKind, Server};

/// A live server.
pub(in super::super) fn server_get(
    connection: &mut AnyConnection,
    id: &ServerId,
) -> Result<Option<Server>, StoreError> {
    snapshot(connection, |connection| {
        let live = servers::table.filter(servers::id.eq(id.as_str())).filter(servers::deleted.eq(false));
        let row: Option<ServerRow> = on_each!(connection, inner => live.get_result(inner)).optional()?;
        Ok::<_, ReadFailure<StoreError>>(row.map(ServerRow::into_server).transpose()?)
    })
}

/// Live servers, newest first.
pub(in super::super) fn server_list(
    connection: &mut AnyConnection,
    query: &ServerQuery,
) -> Result<Page<Server>, ListError> {
    let states: Vec<Option<String>> = query.vm_states.iter().map(|state| Some(state.as_str().to_owned())).collect();
    let filters = match states.is_empty() {
        true => Vec::new(),
        false => vec![Filter::OneOf { column: "vm_state".to_owned(), values: states }],
    };
    let paging = Paging {
        sort: vec![("created_at".to_owned(), Direction::Descending), ("id".to_owned(), Direction::Descending)],
        marker: query.marker.as_ref().map(ServerId::to_string),
        offset: 0,
        limit: query.limit,
    };
    let project_id = query.project_id.as_ref().map(|id| id.as_str());
    snapshot(connection, |connection| {
        let listing = Listing { project_id, filters: &filters, paging: &paging, with_count: false };
        let page = list::<ServerRow>(connection, &listing)?;
        let rows = page.rows.into_iter().map(ServerRow::into_server).collect::<Result<_, _>>()?;
        Ok::<_, ReadFailure<ListError>>(Page { rows, count: page.count })
    })
}

/// Live servers whose guests run there.
pub(in super::super) fn servers_of_hypervisor(
    connection: &mut AnyConnection,
    kind: HypervisorKind,
) -> Result<Vec<Server>, StoreError> {
    snapshot(connection, |connection| {
        let live = servers::table.filter(servers::hypervisor.eq(kind.as_str())).filter(servers::deleted.eq(false));
        let rows: Vec<ServerRow> = on_each!(connection, inner => live.get_results(inner))?;
        let servers = rows.into_iter().map(ServerRow::into_server).collect::<Result<_, _>>()?;
        Ok::<_, ReadFailure<StoreError>>(servers)
    })
}

/// Deleted servers which still have live attachments that Compute made: their detach was cut short by a crash.
pub(in super::super) fn deleted_servers_with_attachments(
    connection: &mut AnyConnection,
) -> Result<Vec<ServerId>, StoreError> {
    snapshot(connection, |connection| {
        let tombstones = servers::table.filter(servers::deleted.eq(true)).select(servers::id.nullable());
        let ids: Vec<Option<String>> = attachments::table
            .filter(attachments::bdm_uuid.is_not_null())
            .filter(attachments::instance_uuid.eq_any(tombstones))
            .select(attachments::instance_uuid)
            .distinct()
            .load(connection)?;
        Ok::<_, ReadFailure<StoreError>>(ids.into_iter().flatten().map(ServerId::from).collect())
    })
}
