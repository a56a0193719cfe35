//! The columns that clients can sort and filter by, with Cinder's names.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::super::connection::{AnyConnection, on_each};
use super::super::rows::{AttachmentRow, MessageRow, ServerRow, SnapshotRow, VolumeRow};
use super::super::schema::{attachments, messages, servers, snapshots, volumes};
use super::super::sql::{Sql, Value};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Int,
    Bool,
}

/// One column.
pub(super) struct Column<R> {
    /// The client's name.
    pub name: &'static str,
    /// The database's.
    pub sql: &'static str,
    pub kind: Kind,
    pub nullable: bool,
    /// Its value in a row, to continue a list after it.
    pub value: fn(&R) -> Value,
}

/// Which of the rows that fulfil a condition.
pub(super) struct Cut {
    /// What stands behind `ORDER BY`.
    pub order: String,
    pub limit: i64,
    pub offset: i64,
}

/// The columns of a listed table.
pub(super) trait Listed: Sized + 'static {
    /// The table.
    const TABLE: &'static str;
    /// Its columns.
    const COLUMNS: &'static [Column<Self>];
    /// Columns that Cinder has and whose value is always null here.
    const ALWAYS_NULL: &'static [&'static str] = &[];
    /// Whether rows are soft-deleted.
    const SOFT_DELETED: bool = true;

    fn id(&self) -> &str;
    fn project_id(&self) -> &str;

    /// Reads rows. diesel writes the list of columns and takes them by position: a page has thousands of values.
    fn load(connection: &mut AnyConnection, conditions: Sql, cut: Cut) -> QueryResult<Vec<Self>>;

    fn column(name: &str) -> Option<&'static Column<Self>> {
        Self::COLUMNS.iter().find(|column| column.name == name)
    }
}

macro_rules! columns {
    ($($name:literal => $field:ident: $kind:ident $null:ident),+ $(,)? $(; $($sql:literal as $expression:literal: $of:ident),+ $(,)?)?) => {
        &[$(Column {
            name: $name,
            sql: stringify!($field),
            kind: Kind::$kind,
            nullable: columns!(@ $null),
            value: |row| row.$field.clone().into(),
        }),+ $(, $(Column {
            name: $expression,
            sql: $sql,
            kind: Kind::$of,
            nullable: true,
            value: |_| Value::Null,
        }),+)?]
    };
    (@ null) => { true };
    (@ set) => { false };
}

/// [`Listed::load`] of one table.
macro_rules! load {
    ($table:ident) => {
        fn load(connection: &mut AnyConnection, conditions: Sql, cut: Cut) -> QueryResult<Vec<Self>> {
            let order = sql::<Bool>(&cut.order);
            let query = $table::table.filter(conditions).order(order).limit(cut.limit).offset(cut.offset);
            on_each!(connection, inner => query.load(inner))
        }
    };
}

impl Listed for VolumeRow {
    const TABLE: &'static str = "volumes";
    const COLUMNS: &'static [Column<Self>] = columns![
        "id" => id: Text set,
        "name" => display_name: Text null,
        "display_name" => display_name: Text null,
        "description" => display_description: Text null,
        "display_description" => display_description: Text null,
        "status" => status: Text set,
        "previous_status" => previous_status: Text null,
        "size" => size: Int set,
        "host" => host: Text null,
        "created_at" => created_at: Int set,
        "updated_at" => updated_at: Int null,
        "terminated_at" => terminated_at: Int null,
        "availability_zone" => availability_zone: Text set,
        "bootable" => bootable: Bool set,
        "multiattach" => multiattach: Bool set,
        "volume_type_id" => volume_type_id: Text null,
        "project_id" => project_id: Text set,
        "user_id" => user_id: Text set,
        "attach_status" => attach_status: Text set,
        "migration_status" => migration_status: Text null,
        "consumes_quota" => consumes_quota: Bool set,
        "provider_id" => provider_id: Text null,
        "snapshot_id" => snapshot_id: Text null;
        "CASE WHEN snapshot_id IS NULL THEN origin_volume_id END" as "source_volid": Text,
    ];
    const ALWAYS_NULL: &'static [&'static str] = &[
        "cluster_name",
        "consistencygroup_id",
        "encryption_key_id",
        "group_id",
        "launched_at",
        "replication_driver_data",
        "replication_extended_status",
        "replication_status",
        "scheduled_at",
        "service_uuid",
        "shared_targets",
    ];

    load!(volumes);

    fn id(&self) -> &str {
        &self.id
    }
    fn project_id(&self) -> &str {
        &self.project_id
    }
}

impl Listed for SnapshotRow {
    const TABLE: &'static str = "snapshots";
    const COLUMNS: &'static [Column<Self>] = columns![
        "id" => id: Text set,
        "volume_id" => volume_id: Text set,
        "project_id" => project_id: Text set,
        "user_id" => user_id: Text set,
        "name" => display_name: Text null,
        "display_name" => display_name: Text null,
        "description" => display_description: Text null,
        "display_description" => display_description: Text null,
        "status" => status: Text set,
        "progress" => progress: Int set,
        "volume_size" => volume_size: Int set,
        "size" => volume_size: Int set,
        "consumes_quota" => consumes_quota: Bool set,
        "created_at" => created_at: Int set,
        "updated_at" => updated_at: Int null;
        "(SELECT volumes.availability_zone FROM volumes WHERE volumes.id = volume_id)" as "availability_zone": Text,
        "(SELECT volumes.host FROM volumes WHERE volumes.id = volume_id)" as "host": Text,
        "(SELECT volumes.volume_type_id FROM volumes WHERE volumes.id = volume_id)" as "volume_type_id": Text,
    ];
    const ALWAYS_NULL: &'static [&'static str] =
        &["cluster_name", "encryption_key_id", "cgsnapshot_id", "group_snapshot_id", "provider_id"];
    const SOFT_DELETED: bool = false;

    load!(snapshots);

    fn id(&self) -> &str {
        &self.id
    }
    fn project_id(&self) -> &str {
        &self.project_id
    }
}

impl Listed for AttachmentRow {
    const TABLE: &'static str = "attachments";
    const COLUMNS: &'static [Column<Self>] = columns![
        "id" => id: Text set,
        "volume_id" => volume_id: Text set,
        "project_id" => project_id: Text set,
        "instance_uuid" => instance_uuid: Text null,
        "instance_id" => instance_uuid: Text null,
        "attached_host" => attached_host: Text null,
        "mountpoint" => mountpoint: Text null,
        "attach_time" => attach_time: Int null,
        "attach_status" => attach_status: Text set,
        "attach_mode" => attach_mode: Text null,
        "created_at" => created_at: Int set,
    ];
    const ALWAYS_NULL: &'static [&'static str] = &["detach_time", "updated_at"];
    const SOFT_DELETED: bool = false;

    load!(attachments);

    fn id(&self) -> &str {
        &self.id
    }
    fn project_id(&self) -> &str {
        &self.project_id
    }
}

impl Listed for MessageRow {
    const TABLE: &'static str = "messages";
    const COLUMNS: &'static [Column<Self>] = columns![
        "id" => id: Text set,
        "project_id" => project_id: Text set,
        "event_id" => event_id: Text set,
        "request_id" => request_id: Text set,
        "resource_type" => resource_type: Text set,
        "resource_uuid" => resource_uuid: Text null,
        "action_id" => action_id: Text set,
        "detail_id" => detail_id: Text set,
        "message_level" => message_level: Text set,
        "created_at" => created_at: Int set,
        "expires_at" => expires_at: Int set,
        "guaranteed_until" => expires_at: Int set,
    ];
    const ALWAYS_NULL: &'static [&'static str] = &["updated_at"];
    const SOFT_DELETED: bool = false;

    load!(messages);

    fn id(&self) -> &str {
        &self.id
    }
    fn project_id(&self) -> &str {
        &self.project_id
    }
}

impl Listed for ServerRow {
    const TABLE: &'static str = "servers";
    const COLUMNS: &'static [Column<Self>] = columns![
        "id" => id: Text set,
        "created_at" => created_at: Int set,
        "vm_state" => vm_state: Text set,
    ];

    load!(servers);

    fn id(&self) -> &str {
        &self.id
    }
    fn project_id(&self) -> &str {
        &self.project_id
    }
}
