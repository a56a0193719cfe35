//! The idempotency keys that clients have used, each with what its request made: written in the transaction that makes it, so
//! that whoever has lost the answer finds either both or neither.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use uuid::Uuid;

use super::StoreError;
use super::connection::AnyConnection;
use super::queries::unavailable;
use super::sql::{Dialect, Sql, Value};
use crate::domain::ids::{RequestId, VolumeId};
use crate::domain::time::Timestamp;

/// A request with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// The key with all that it is of: user, project and route. In full, since a digest that can be made to collide would
    /// show one client the answers of another.
    pub id: String,
    /// A digest of the body.
    pub request: String,
}

/// A key that has been used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// By which request.
    pub keyed: Keyed,
    /// Its id.
    pub request_id: RequestId,
    /// The volume that it made or changed.
    pub volume_id: VolumeId,
    /// The snapshot, the attachment or the connection that it made.
    pub object_id: Option<Uuid>,
    /// The key can be used anew from then on.
    pub expires_at: Timestamp,
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It is used; [`super::Aborted::KeyUsed`] if it is in use already.
    Use {
        /// The record.
        key: KeyUse,
        /// A record that has expired by now is replaced.
        now: Timestamp,
    },
    /// The request has failed: its key is free again.
    Free {
        /// The key.
        id: String,
        /// The request that used it; another one's use stays.
        request_id: RequestId,
    },
}

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = Text)]
    request: String,
    #[diesel(sql_type = Text)]
    request_id: String,
    #[diesel(sql_type = Text)]
    volume_id: String,
    #[diesel(sql_type = Nullable<Text>)]
    object_id: Option<String>,
    #[diesel(sql_type = BigInt)]
    expires_at: i64,
}

/// Writes a change; false: the key is in use.
pub(super) fn write_key(connection: &mut AnyConnection, change: &KeyChange) -> QueryResult<bool> {
    let dialect = Dialect::of(connection);
    match change {
        KeyChange::Use { key, now } => {
            let mut sql = Sql::new(
                dialect,
                "INSERT INTO idempotency_keys (id, request, request_id, volume_id, object_id, expires_at) VALUES ",
            );
            sql.bind_list([
                Value::Text(key.keyed.id.clone()),
                Value::Text(key.keyed.request.clone()),
                Value::Text(key.request_id.to_string()),
                Value::Text(key.volume_id.to_string()),
                key.object_id.map(|id| id.to_string()).into(),
                Value::Int(key.expires_at.0),
            ]);
            sql.push(
                " ON CONFLICT (id) DO UPDATE SET request = excluded.request, request_id = excluded.request_id, \
                 volume_id = excluded.volume_id, object_id = excluded.object_id, expires_at = excluded.expires_at \
                 WHERE idempotency_keys.expires_at <= ",
            );
            sql.bind(Value::Int(now.0));
            Ok(sql.execute(connection)? == 1)
        }
        KeyChange::Free { id, request_id } => {
            let mut sql = Sql::new(dialect, "DELETE FROM idempotency_keys WHERE id = ");
            sql.bind(Value::Text(id.clone())).push(" AND request_id = ").bind(Value::Text(request_id.to_string()));
            sql.execute(connection).map(|_| true)
        }
    }
}

/// The use of a key that has not expired at `now`.
pub(super) fn key_use(
    connection: &mut AnyConnection,
    id: String,
    now: Timestamp,
) -> Result<Option<KeyUse>, StoreError> {
    let mut sql = Sql::new(
        Dialect::of(connection),
        "SELECT request, request_id, volume_id, object_id, expires_at FROM idempotency_keys WHERE id = ",
    );
    sql.bind(Value::Text(id.clone())).push(" AND expires_at > ").bind(Value::Int(now.0));
    let Some(row) = sql.load::<KeyRow>(connection).map_err(unavailable)?.pop() else { return Ok(None) };
    let parse = |text: &str| {
        text.parse::<Uuid>()
            .map_err(|error| StoreError::Damaged { what: "an idempotency key".to_owned(), reason: error.to_string() })
    };
    Ok(Some(KeyUse {
        volume_id: VolumeId(parse(&row.volume_id)?),
        object_id: row.object_id.as_deref().map(parse).transpose()?,
        keyed: Keyed { id, request: row.request },
        request_id: RequestId::from(row.request_id),
        expires_at: Timestamp(row.expires_at),
    }))
}
