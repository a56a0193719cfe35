//! The changes of rows that every transition makes, each as a statement whose text never changes: prepared once for each
//! connection. diesel counts its own UPDATE among those that must be prepared anew each time, and everything that goes
//! through the enum of connections is written out anew; either costs more than the change itself.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;
use diesel::{PgConnection, QueryResult, RunQueryDsl, SqliteConnection};

use super::connection::{AnyConnection, on_each};

/// A statement: pieces of text, each followed by the value of a field.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident<$life:lifetime> { $($text:literal $field:ident: $sql:ty = $rust:ty,)* }) => {
        $(#[$doc])*
        pub(super) struct $name<$life> {
            $(pub(super) $field: $rust,)*
        }

        impl $name<'_> {
            /// Runs it; the number of rows it touched.
            pub(super) fn run(self, connection: &mut AnyConnection) -> QueryResult<usize> {
                on_each!(connection, inner => self.execute(inner))
            }
        }

        impl QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl RunQueryDsl<SqliteConnection> for $name<'_> {}
        impl RunQueryDsl<PgConnection> for $name<'_> {}

        statement!(@ Sqlite, $name { $($text $field: $sql,)* });
        statement!(@ Pg, $name { $($text $field: $sql,)* });
    };
    (@ $backend:ty, $name:ident { $($text:literal $field:ident: $sql:ty,)* }) => {
        impl QueryFragment<$backend> for $name<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $backend>) -> QueryResult<()> {
                $(
                    out.push_sql($text);
                    out.push_bind_param::<$sql, _>(&self.$field)?;
                )*
                Ok(())
            }
        }
    };
}

statement! {
    /// What attach, detach and the steps of operations change of a volume, guarded by the generation it had. Leaves every
    /// index alone except the one on the status.
    VolumeProgress<'a> {
        "UPDATE volumes SET generation = " generation: BigInt = i64,
        ", epoch = " epoch: BigInt = i64,
        ", status = " status: Text = &'a str,
        ", previous_status = " previous_status: Nullable<Text> = Option<&'a str>,
        ", attach_status = " attach_status: Text = &'a str,
        ", admin_metadata = " admin_metadata: Text = &'a str,
        ", orphan_exports = " orphan_exports: Text = &'a str,
        ", outstanding = " outstanding: Text = &'a str,
        ", claims = " claims: Nullable<Text> = Option<&'a str>,
        ", unsettled = " unsettled: Bool = bool,
        ", updated_at = " updated_at: Nullable<BigInt> = Option<i64>,
        " WHERE NOT deleted AND id = " id: Text = &'a str,
        " AND generation = " old_generation: BigInt = i64,
    }
}

statement! {
    /// What can change of an attachment while it lives.
    AttachmentProgress<'a> {
        "UPDATE attachments SET project_id = " project_id: Text = &'a str,
        ", instance_uuid = " instance_uuid: Nullable<Text> = Option<&'a str>,
        ", attached_host = " attached_host: Nullable<Text> = Option<&'a str>,
        ", mountpoint = " mountpoint: Nullable<Text> = Option<&'a str>,
        ", attach_time = " attach_time: Nullable<BigInt> = Option<i64>,
        ", attach_status = " attach_status: Text = &'a str,
        ", attach_mode = " attach_mode: Nullable<Text> = Option<&'a str>,
        ", connector = " connector: Nullable<Text> = Option<&'a str>,
        ", connection_info = " connection_info: Nullable<Text> = Option<&'a str>,
        ", export_name = " export_name: Nullable<Text> = Option<&'a str>,
        ", bdm_uuid = " bdm_uuid: Nullable<Text> = Option<&'a str>,
        ", device = " device: Nullable<Text> = Option<&'a str>,
        ", tag = " tag: Nullable<Text> = Option<&'a str>,
        ", delete_on_termination = " delete_on_termination: Nullable<Bool> = Option<bool>,
        ", detaching = " detaching: Nullable<Bool> = Option<bool>,
        ", guest_device = " guest_device: Nullable<Text> = Option<&'a str>,
        " WHERE id = " id: Text = &'a str,
    }
}

statement! {
    /// An attachment is gone: the history of its volume tells of it.
    AttachmentGone<'a> {
        "DELETE FROM attachments WHERE id = " id: Text = &'a str,
    }
}

statement! {
    /// An operation goes on.
    OperationProgress<'a> {
        "UPDATE operations SET step = " step: Text = &'a str,
        ", attempt = " attempt: BigInt = i64,
        ", reserved_gib = " reserved_gib: BigInt = i64,
        ", body = " body: Text = &'a str,
        " WHERE id = " id: Text = &'a str,
    }
}

statement! {
    /// An action of a server has ended. The whole key of SQLite's table finds it.
    ActionEnded<'a> {
        "UPDATE server_actions SET ended_at = " ended_at: BigInt = i64,
        ", failure = " failure: Nullable<Text> = Option<&'a str>,
        " WHERE server_id = " server_id: Text = &'a str,
        " AND started_at = " started_at: BigInt = i64,
        " AND id = " id: Text = &'a str,
    }
}

statement! {
    /// An operation has ended.
    OperationEnded<'a> {
        "DELETE FROM operations WHERE id = " id: Text = &'a str,
    }
}
