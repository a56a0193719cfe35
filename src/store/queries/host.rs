//! Hosts that operators have declared dead, and what hosts have.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::super::StoreError;
use super::super::connection::{AnyConnection, on_each};
use super::super::rows::parse;
use super::super::schema::{attachments, host_fences, operations, servers, volumes};
use super::{ReadFailure, snapshot, unavailable};
use crate::domain::host::HostFence;
use crate::domain::ids::{ServerId, VolumeId};
use crate::domain::operation::CONNECTING;
use crate::domain::time::Timestamp;

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = host_fences, treat_none_as_null = true)]
struct FenceRow {
    host: String,
    epoch: i64,
    proof: String,
    user_id: String,
    request_id: String,
    fenced_at: i64,
    lifted_at: Option<i64>,
}

/// Every record, also of hosts that were taken back.
pub(in super::super) fn host_fences(connection: &mut AnyConnection) -> Result<Vec<HostFence>, StoreError> {
    snapshot(connection, |connection| {
        let rows: Vec<FenceRow> = host_fences::table.order(host_fences::host).load(connection)?;
        let fence = |row: FenceRow| HostFence {
            host: row.host,
            epoch: u64::try_from(row.epoch).unwrap_or(0),
            proof: row.proof,
            user_id: row.user_id.into(),
            request_id: row.request_id.into(),
            fenced_at: Timestamp(row.fenced_at),
            lifted_at: row.lifted_at.map(Timestamp),
        };
        Ok::<_, ReadFailure<StoreError>>(rows.into_iter().map(fence).collect())
    })
}

/// Writes one record, new or changed. Runs on a writer's connection.
pub(in super::super) fn host_fence_put(connection: &mut AnyConnection, fence: HostFence) -> Result<(), StoreError> {
    let row = FenceRow {
        host: fence.host,
        epoch: i64::try_from(fence.epoch).unwrap_or(i64::MAX),
        proof: fence.proof,
        user_id: fence.user_id.as_str().to_owned(),
        request_id: fence.request_id.as_str().to_owned(),
        fenced_at: fence.fenced_at.0,
        lifted_at: fence.lifted_at.map(|at| at.0),
    };
    let written = on_each!(connection, inner => {
        let insert = diesel::insert_into(host_fences::table).values(&row);
        insert.on_conflict(host_fences::host).do_update().set(&row).execute(inner)
    });
    written.map(drop).map_err(unavailable)
}

/// The live servers on a host.
pub(in super::super) fn servers_on_host(
    connection: &mut AnyConnection,
    host: &str,
) -> Result<Vec<ServerId>, StoreError> {
    snapshot(connection, |connection| {
        let there = servers::table.filter(servers::host.eq(host)).filter(servers::deleted.eq(false));
        let ids: Vec<String> = there.order(servers::id).select(servers::id).load(connection)?;
        Ok::<_, ReadFailure<StoreError>>(ids.into_iter().map(ServerId::from).collect())
    })
}

/// The volumes that a host has something of, or is about to: by a row that says so or whose server is there, by a connection,
/// by work that connects. A few more may be named: the volume itself is the judge.
pub(in super::super) fn volumes_on_host(
    connection: &mut AnyConnection,
    host: &str,
) -> Result<Vec<VolumeId>, StoreError> {
    let escaped = host.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let pattern = format!("%{escaped}%");
    snapshot(connection, |connection| {
        let servers = servers::table.filter(servers::host.eq(host)).filter(servers::deleted.eq(false));
        let rows = attachments::table.filter(
            attachments::attached_host.eq(host).or(attachments::attached_host
                .is_null()
                .and(attachments::device.is_not_null())
                .and(attachments::instance_uuid.eq_any(servers.select(servers::id.nullable())))),
        );
        let mut ids: BTreeSet<String> = rows.select(attachments::volume_id).load(connection)?.into_iter().collect();
        let connected =
            volumes::table.filter(volumes::claims.like(&pattern).escape('\\')).filter(volumes::deleted.eq(false));
        ids.extend(connected.select(volumes::id).load::<String>(connection)?);
        let connecting = operations::table
            .filter(operations::kind.eq_any(CONNECTING))
            .filter(operations::body.like(&pattern).escape('\\'));
        ids.extend(connecting.select(operations::volume_id).load::<String>(connection)?);
        let what = || format!("the volumes of host {host}");
        let ids = ids.iter().map(|id| parse(id, what).map(VolumeId)).collect::<Result<_, _>>()?;
        Ok::<_, ReadFailure<StoreError>>(ids)
    })
}
