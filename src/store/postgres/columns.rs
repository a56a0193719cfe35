//! Which columns each kind of change writes. The names are checked against the schema.

use diesel::QueryResult;
use diesel::expression::Expression;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};

use super::super::rows::{
    ActionEndRow, AttachmentRow, EventRow, MessageRow, OperationRow, ServerActionRow, ServerRow, SnapshotRow, UsageRow,
    VolumeRow,
};
use super::super::schema;
use super::statement::Columns;

/// The value of a column in a row.
trait Held {
    type Value;
}
impl Held for Text {
    type Value = String;
}
impl Held for BigInt {
    type Value = i64;
}
impl Held for Bool {
    type Value = bool;
}
impl<T: Held + diesel::sql_types::SqlType<IsNull = diesel::sql_types::is_nullable::NotNull>> Held for Nullable<T> {
    type Value = Option<T::Value>;
}

type Values<Column> = Vec<<<Column as Expression>::SqlType as Held>::Value>;

macro_rules! columns {
    ($(#[$doc:meta])* $name:ident of $row:ident in $table:ident [$first:ident $(, $field:ident)* $(,)?]) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name {
            $first: Values<schema::$table::$first>,
            $($field: Values<schema::$table::$field>,)*
        }

        impl Columns for $name {
            type Row = $row;
            const TABLE: &'static str = stringify!($table);
            const NAMES: &'static [&'static str] = &[stringify!($first) $(, stringify!($field))*];

            fn push(&mut self, row: $row) {
                self.$first.push(row.$first);
                $(self.$field.push(row.$field);)*
            }

            fn len(&self) -> usize {
                self.$first.len()
            }

            fn keys(&self) -> &Vec<String> {
                &self.$first
            }

            fn bind<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_bind_param::<Array<<schema::$table::$first as Expression>::SqlType>, _>(&self.$first)?;
                $(
                    out.push_sql(", ");
                    out.push_bind_param::<Array<<schema::$table::$field as Expression>::SqlType>, _>(&self.$field)?;
                )*
                Ok(())
            }
        }
    };
}

columns! {
    /// A whole volume.
    Volumes of VolumeRow in volumes [
        id, generation, epoch, project_id, user_id, display_name, display_description, size, status, previous_status,
        attach_status, migration_status, bootable, multiattach, volume_type_id, availability_zone, host, metadata,
        image_metadata, admin_metadata, consumes_quota, origin_volume_id, snapshot_id, provider_id, loans, orphan_exports,
        outstanding, claims, unsettled, created_at, updated_at, terminated_at, deleted, deleted_at,
    ]
}

columns! {
    /// What attach, detach and the steps of operations change of a volume. Leaves every index alone except the one on the
    /// status.
    VolumesProgress of VolumeRow in volumes [
        id, generation, epoch, status, previous_status, attach_status, admin_metadata, orphan_exports, outstanding,
        claims, unsettled, updated_at,
    ]
}

columns! {
    /// A whole attachment.
    Attachments of AttachmentRow in attachments [
        id, volume_id, project_id, ordinal, instance_uuid, attached_host, mountpoint, attach_time, attach_status,
        attach_mode, connector, connection_info, export_name, bdm_uuid, device, tag, delete_on_termination, detaching,
        guest_device, created_at,
    ]
}

columns! {
    /// What can change of an attachment while it lives.
    AttachmentsProgress of AttachmentRow in attachments [
        id, project_id, instance_uuid, attached_host, mountpoint, attach_time, attach_status, attach_mode, connector,
        connection_info, export_name, bdm_uuid, device, tag, delete_on_termination, detaching, guest_device,
    ]
}

columns! {
    /// A whole snapshot.
    Snapshots of SnapshotRow in snapshots [
        id, volume_id, project_id, user_id, ordinal, display_name, display_description, status, progress, volume_size,
        metadata, consumes_quota, created_at, updated_at,
    ]
}

columns! {
    /// What can change of a snapshot while it lives.
    SnapshotsProgress of SnapshotRow in snapshots [
        id, project_id, user_id, display_name, display_description, status, progress, metadata, updated_at,
    ]
}

columns! {
    /// An open operation.
    Operations of OperationRow in operations [
        id, volume_id, epoch, kind, step, attempt, reserved_gib, started_at, other_backend, retyping_to, body,
    ]
}

columns! {
    /// What changes of an operation.
    OperationsProgress of OperationRow in operations [id, step, attempt, reserved_gib, body]
}

columns! {
    /// A whole server.
    Servers of ServerRow in servers [
        id, name, project_id, user_id, host, hypervisor, qmp_socket, qmp_check_uuid, vm_state, task_state, locked,
        availability_zone, root_device_name, launched_at, created_at, updated_at, epoch, deleted,
    ]
}

columns! {
    /// A whole usage.
    Usages of UsageRow in quota_usages [
        id, project_id, volume_type_id, volumes, snapshots, gigabytes, snapshot_gigabytes, reserved_gigabytes,
        live_volumes,
    ]
}

columns! {
    /// What changes of a usage.
    UsagesProgress of UsageRow in quota_usages [
        id, volumes, snapshots, gigabytes, snapshot_gigabytes, reserved_gigabytes, live_volumes,
    ]
}

columns! {
    /// A user message.
    Messages of MessageRow in messages [
        id, project_id, request_id, resource_type, resource_uuid, action_id, detail_id, event_id, message_level, cause,
        created_at, expires_at,
    ]
}

columns! {
    /// A line of a volume's history.
    Events of EventRow in events [volume_id, generation, at, body]
}

columns! {
    /// An action of a server.
    Actions of ServerActionRow in server_actions [
        id, server_id, started_at, action, request_id, user_id, project_id, ended_at, failure,
    ]
}

columns! {
    /// The end of an action.
    ActionEnds of ActionEndRow in server_actions [id, ended_at, failure]
}
