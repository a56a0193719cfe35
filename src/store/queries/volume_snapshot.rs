//! Reads of volumes' snapshots.

use diesel::prelude::*;

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::SnapshotRow;
use super::super::schema::snapshots;
use super::super::{ListError, Page, SnapshotQuery, StoreError};
use super::list::{Listing, list};
use super::{ReadFailure, snapshot};
use crate::domain::ids::{SnapshotId, VolumeId};
use crate::domain::snapshot::Snapshot;

/// The volume that a snapshot is of.
pub(in super::super) fn snapshot_volume(
    connection: &mut AnyConnection,
    id: SnapshotId,
) -> Result<Option<VolumeId>, StoreError> {
    snapshot(connection, |connection| {
        let own = snapshots::table.filter(snapshots::id.eq(id.to_string())).select(snapshots::volume_id);
        let found: Option<String> = on_each!(connection, inner => own.get_result(inner)).optional()?;
        Ok::<_, ReadFailure<StoreError>>(found.map(|id| super::volume_id(&id)).transpose()?)
    })
}

/// A page of snapshots.
pub(in super::super) fn snapshot_list(
    connection: &mut AnyConnection,
    query: &SnapshotQuery,
) -> Result<Page<Snapshot>, ListError> {
    snapshot(connection, |connection| {
        let listing = Listing {
            project_id: query.project_id.as_ref().map(|id| id.as_str()),
            filters: &query.filters,
            paging: &query.paging,
            with_count: query.with_count,
        };
        let page = list::<SnapshotRow>(connection, &listing)?;
        let rows = page.rows.into_iter().map(SnapshotRow::into_snapshot).collect::<Result<_, _>>()?;
        Ok::<_, ReadFailure<ListError>>(Page { rows, count: page.count })
    })
}
