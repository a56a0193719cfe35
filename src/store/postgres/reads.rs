//! What a group reads before it is judged.

use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::statement::ByKeys;

/// Locks volumes in the order of their ids and reads what their guards look at. A first row, and the number of the
/// transaction, come also when there is none of them.
pub(super) struct LockVolumes;

impl ByKeys for LockVolumes {
    type SqlType = (BigInt, Nullable<Text>, Nullable<BigInt>, Nullable<Bool>);
    const BEFORE: &'static str = "WITH found AS (SELECT id, generation, deleted FROM volumes WHERE id = ANY(";
    const AFTER: &'static str = ") ORDER BY id FOR NO KEY UPDATE) \
        SELECT (SELECT txid_current()), found.id, found.generation, found.deleted \
        FROM (SELECT 1) AS always LEFT JOIN found ON TRUE";
}

/// Locks servers against change, in the order of their ids: only guards look at them.
pub(super) struct ShareServers;

impl ByKeys for ShareServers {
    type SqlType = (Text, BigInt, Bool);
    const BEFORE: &'static str = "SELECT id, epoch, deleted FROM servers WHERE id = ANY(";
    const AFTER: &'static str = ") ORDER BY id FOR SHARE";
}

/// Locks servers of which some change, in the order of their ids.
pub(super) struct LockServers;

impl ByKeys for LockServers {
    type SqlType = (Text, BigInt, Bool);
    const BEFORE: &'static str = "SELECT id, epoch, deleted FROM servers WHERE id = ANY(";
    const AFTER: &'static str = ") ORDER BY id FOR NO KEY UPDATE";
}

/// Locks volume types against change, in the order of their ids: only guards look at them.
pub(super) struct ShareTypes;

impl ByKeys for ShareTypes {
    type SqlType = (Text, BigInt);
    const BEFORE: &'static str = "SELECT id, revision FROM volume_types WHERE id = ANY(";
    const AFTER: &'static str = ") ORDER BY id FOR SHARE";
}

/// Locks usages, in the order of their keys.
pub(super) struct LockUsages;

impl ByKeys for LockUsages {
    type SqlType = (Text, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt);
    const BEFORE: &'static str = "SELECT id, volumes, snapshots, gigabytes, snapshot_gigabytes, reserved_gigabytes, \
        live_volumes FROM quota_usages WHERE id = ANY(";
    const AFTER: &'static str = ") ORDER BY id FOR UPDATE";
}

/// The device names and volumes that servers have: what the two unique indices of attachments hold.
pub(super) struct MappingsOfServers;

impl ByKeys for MappingsOfServers {
    type SqlType = (Text, Nullable<Text>, Nullable<Text>, Text);
    const BEFORE: &'static str = "SELECT id, instance_uuid, CASE WHEN guest_device IS NULL THEN device END, volume_id FROM attachments \
         WHERE instance_uuid = ANY(";
    const AFTER: &'static str = ") AND bdm_uuid IS NOT NULL";
}
