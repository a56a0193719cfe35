//! Reads of attachments.

use diesel::prelude::*;

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::AttachmentRow;
use super::super::schema::{attachments, volumes};
use super::super::{AttachmentQuery, ListError, Page, StoreError};
use super::list::{Listing, list};
use super::{ReadFailure, snapshot};
use crate::domain::attachment::Attachment;
use crate::domain::ids::{AttachmentId, ServerId, VolumeId};

/// The live volume of a live attachment.
pub(in super::super) fn attachment_volume(
    connection: &mut AnyConnection,
    id: AttachmentId,
) -> Result<Option<VolumeId>, StoreError> {
    snapshot(connection, |connection| {
        let live = attachments::table
            .inner_join(volumes::table.on(volumes::id.eq(attachments::volume_id)))
            .filter(attachments::id.eq(id.to_string()))
            .filter(volumes::deleted.eq(false))
            .select(attachments::volume_id);
        let found: Option<String> = on_each!(connection, inner => live.get_result(inner)).optional()?;
        Ok::<_, ReadFailure<StoreError>>(found.map(|id| super::volume_id(&id)).transpose()?)
    })
}

/// A page of live attachments.
pub(in super::super) fn attachment_list(
    connection: &mut AnyConnection,
    query: &AttachmentQuery,
) -> Result<Page<Attachment>, ListError> {
    snapshot(connection, |connection| {
        let page = list::<AttachmentRow>(
            connection,
            &Listing {
                project_id: query.project_id.as_ref().map(|id| id.as_str()),
                filters: &query.filters,
                paging: &query.paging,
                with_count: false,
            },
        )?;
        let rows = page.rows.into_iter().map(AttachmentRow::into_attachment).collect::<Result<_, _>>()?;
        Ok::<_, ReadFailure<ListError>>(Page { rows, count: page.count })
    })
}

/// The live attachments that Compute made for a server, in creation order.
pub(in super::super) fn server_attachments(
    connection: &mut AnyConnection,
    id: &ServerId,
) -> Result<Vec<Attachment>, StoreError> {
    snapshot(connection, |connection| {
        let made = attachments::table
            .filter(attachments::instance_uuid.eq(id.as_str()))
            .filter(attachments::bdm_uuid.is_not_null())
            .order((attachments::created_at, attachments::ordinal, attachments::id));
        let rows: Vec<AttachmentRow> = on_each!(connection, inner => made.load(inner))?;
        Ok::<_, ReadFailure<StoreError>>(
            rows.into_iter().map(AttachmentRow::into_attachment).collect::<Result<_, _>>()?,
        )
    })
}
