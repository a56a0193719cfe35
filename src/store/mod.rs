//! The record of truth. The only folder that knows diesel and SQL.
//!
//! Everything is written by [`Store::commit`]: one guarded transaction, many of which share one fsync. Reads see committed
//! state only. Called by actors (commits, loads) and by the API (lists); never decides anything.

mod apply;
mod checkpoint;
mod connection;
mod database;
mod difference;
mod failure;
pub mod fill;
mod idempotency;
mod inline;
mod journal;
mod open;
mod postgres;
mod qos;
mod queries;
mod queue;
mod readers;
mod rows;
mod schema;
mod server_action;
mod sql;
mod statements;
mod threaded;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use connection::Synchronous;
pub use idempotency::{KeyChange, KeyUse, Keyed};
pub use inline::{FaultHook, InlineFault, InlineStore};
pub use open::{OpenError, StoreOptions, migrate, open, open_threaded, recover};
pub use qos::{QosChange, QosRefused};
pub use server_action::{ActionChange, ActionQuery};
pub use threaded::{HeldCommits, ThreadedStore};
pub use writer::OnUnknown;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::attachment::Attachment;
use crate::domain::host::HostFence;
use crate::domain::ids::{AttachmentId, ProjectId, RequestId, ServerId, SnapshotId, VolumeId, VolumeTypeId};
use crate::domain::operation::Operation;
use crate::domain::qos::QosSpecs;
use crate::domain::quota::{Limits, OverQuota, QuotaKey, QuotaOwner, Scope, StoredLimit, Usage};
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::server_action::ServerAction;
use crate::domain::service::{HostUsage, ServiceRecord};
use crate::domain::snapshot::Snapshot;
use crate::domain::status::VmState;
use crate::domain::time::Timestamp;
use crate::domain::volume::VolumeState;
use crate::domain::volume_type::VolumeType;

/// One transaction: all of it commits or nothing.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// A volume's change, guarded by its generation.
    pub volume: Option<VolumeChange>,
    /// A server's change, guarded by its epoch.
    pub server: Option<ServerChange>,
    /// This server must be live and have this epoch; else [`Aborted::ServerChanged`].
    pub server_guard: Option<(ServerId, u64)>,
    /// This type must exist and have this revision; else [`Aborted::TypeChanged`].
    pub type_guard: Option<(VolumeTypeId, u64)>,
    /// Judge the growth of the project's usage by these limits; none: the growth is a fact and is only recorded.
    pub limits: Option<Limits>,
    /// User messages to keep.
    pub messages: Vec<Message>,
    /// The line in the volume's history.
    pub event: Option<Arc<Event>>,
    /// What it is for servers that their actions tell.
    pub actions: Vec<ActionChange>,
    /// What becomes of the request's idempotency key.
    pub key: Option<KeyChange>,
}

impl Transaction {
    /// Whether there is nothing to write or to check: a barrier.
    pub fn is_empty(&self) -> bool {
        self.volume.is_none()
            && self.server.is_none()
            && self.server_guard.is_none()
            && self.type_guard.is_none()
            && self.messages.is_empty()
            && self.event.is_none()
            && self.actions.is_empty()
            && self.key.is_none()
    }
}

/// The change of one volume: rows to write are the difference between the two states; so is the quota.
#[derive(Clone, Debug)]
pub struct VolumeChange {
    /// The committed state that the decision saw (its generation is the guard); none inserts the volume.
    pub old: Option<Arc<VolumeState>>,
    /// The next state, generation already raised by one.
    pub new: Arc<VolumeState>,
}

/// The change of one server.
#[derive(Clone, Debug)]
pub struct ServerChange {
    /// The epoch that the record must have; none inserts.
    pub expected_epoch: Option<u64>,
    /// The next record.
    pub server: Server,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It is on disk.
    Committed,
    /// Certainly not written; other members of its group are not hurt.
    Aborted(Aborted),
    /// Nobody knows (I/O error at COMMIT, connection lost): no reply may go out; the truth must be read again.
    Unknown(String),
}

/// Why a transaction was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aborted {
    /// The guard failed: another writer was first (or the id exists already).
    Stale,
    /// The growth would pass a limit.
    OverQuota(OverQuota),
    /// Another live row has this (server, device) or (server, volume).
    Duplicate,
    /// The server guard failed.
    ServerChanged,
    /// The type guard failed.
    TypeChanged,
    /// The request's idempotency key is in use: another copy of the request was first.
    KeyUsed,
}

/// A failed read. Never shown to clients in detail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be read now.
    #[error("the database cannot be read: {0}")]
    Unavailable(String),
    /// A row does not decode.
    #[error("the record of {what} is damaged: {reason}")]
    Damaged {
        /// Which record.
        what: String,
        /// Why.
        reason: String,
    },
}

/// A user message (`spec/services-hosts-pools.md`, messages).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub project_id: ProjectId,
    /// The request that failed.
    pub request_id: RequestId,
    /// `VOLUME`.
    pub resource_type: String,
    /// The volume.
    pub resource_uuid: Option<String>,
    /// `001`…
    pub action_id: String,
    /// `001`…
    pub detail_id: String,
    /// The particular cause.
    pub cause: Option<String>,
    /// When.
    pub created_at: Timestamp,
    /// Kept at least until then.
    pub expires_at: Timestamp,
}

/// One committed transition of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The volume.
    pub volume_id: VolumeId,
    /// The generation it led to.
    pub generation: u64,
    /// When.
    pub at: Timestamp,
    /// The command.
    pub command: String,
    /// The request behind it.
    pub request_id: RequestId,
    /// Status before; none for a new volume.
    pub from_status: Option<String>,
    /// Status after.
    pub to_status: String,
    /// The cause of a failure, or what a result said.
    pub cause: Option<String>,
}

/// A change of a volume type. One transaction, judged by what is committed when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeChange {
    /// A new type.
    Create(VolumeType),
    /// The next state of a type, its revision already raised by one: the stored one must be the one before.
    Update {
        /// What it becomes.
        new: VolumeType,
        /// Only while no volume is of this type.
        while_unused: bool,
    },
    /// The type goes, with all that is said of it elsewhere.
    Delete {
        /// Which.
        id: VolumeTypeId,
        /// The revision that it must have.
        revision: u64,
    },
    /// The type of a project's volumes that name none; none: as everywhere.
    Default {
        /// The project.
        project_id: ProjectId,
        /// The type.
        volume_type_id: Option<VolumeTypeId>,
    },
}

/// Why a change of a volume type is refused; nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeRefused {
    /// The revision is another one, or the type is gone.
    Stale,
    /// Another type has the name.
    NameTaken,
    /// A volume is of this type.
    InUse,
    /// It is the default of a project.
    IsDefault,
    /// There must be a type.
    IsLast,
}

/// A direction of sorting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Ascending.
    Ascending,
    /// Descending.
    Descending,
}

/// How the pages of a list are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// Sort keys (column names of the table) with directions; the caller has appended `created_at` and `id`.
    pub sort: Vec<(String, Direction)>,
    /// The id of the last row seen. Unknown, deleted or not visible: [`ListError::MarkerNotFound`].
    pub marker: Option<String>,
    /// Rows to skip after the marker.
    pub offset: u64,
    /// At most so many rows.
    pub limit: u64,
}

/// One condition of a list; all must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// The column equals one of these (text form; `None` is SQL NULL).
    OneOf {
        /// Column name.
        column: String,
        /// Values.
        values: Vec<Option<String>>,
    },
    /// Substring, ASCII case-insensitive, `%` and `_` act as wildcards.
    Like {
        /// Column name.
        column: String,
        /// Pattern without the outer `%`.
        pattern: String,
    },
    /// A time comparison.
    Time {
        /// `created_at` or `updated_at`.
        column: String,
        /// gt, gte, eq, neq, lt, lte.
        operator: String,
        /// The other side.
        at: Timestamp,
    },
    /// All pairs are in the user metadata or the admin metadata.
    Metadata(Vec<(String, String)>),
    /// All pairs are in the image metadata.
    ImageMetadata(Vec<(String, String)>),
    /// Exact, or as prefix up to a `#` or `@` boundary.
    Host(String),
    /// No volume that a migration is filling, which only administrators see.
    NoMigrationTarget,
    /// Matches nothing (an unknown column asked for by an admin).
    Nothing,
}

/// A list of volumes.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeQuery {
    /// Only this project; none: all projects.
    pub project_id: Option<ProjectId>,
    /// Conditions.
    pub filters: Vec<Filter>,
    /// Page.
    pub paging: Paging,
    /// Count all matching rows too.
    pub with_count: bool,
    /// How much of each.
    pub extent: Extent,
}

/// How much of each volume a list brings. Only a whole one may be decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The volume alone.
    Volume,
    /// What a list shows in detail: the volume and its attachments that are attached, these without connector and connection
    /// information. No operations.
    Detail,
    /// The whole aggregate.
    Whole,
}

/// The sums of all volumes.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeSummaryQuery {
    /// Only this project; none: all projects.
    pub project_id: Option<ProjectId>,
    /// Collect the metadata too.
    pub with_metadata: bool,
}

/// What they come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeSummary {
    /// How many volumes.
    pub count: u64,
    /// Their sizes together, GiB.
    pub size_gib: u64,
    /// Each key with its different values, both in order.
    pub metadata: BTreeMap<String, Vec<String>>,
}

/// A list of attachments. `project_id` is the volume's.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachmentQuery {
    /// Only this project; none: all.
    pub project_id: Option<ProjectId>,
    /// Conditions on attachment columns (id, volume_id, instance_uuid, attached_host, mountpoint, attach_status, attach_mode).
    pub filters: Vec<Filter>,
    /// Page.
    pub paging: Paging,
}

/// A list of snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotQuery {
    /// Only this project; none: all.
    pub project_id: Option<ProjectId>,
    /// Conditions on columns of snapshots, and `availability_zone` and `host` of their volumes.
    pub filters: Vec<Filter>,
    /// Page.
    pub paging: Paging,
    /// Count all matching rows too.
    pub with_count: bool,
}

/// A list of servers.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerQuery {
    /// Only this project; none: all.
    pub project_id: Option<ProjectId>,
    /// Only these states; empty: every state.
    pub vm_states: Vec<VmState>,
    /// Live servers, newest first, after this id.
    pub marker: Option<ServerId>,
    /// At most so many rows; the caller filters by the name's regular expression itself and asks for more.
    pub limit: u64,
}

/// A list of user messages of one project.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageQuery {
    /// The project.
    pub project_id: ProjectId,
    /// Conditions on resource_uuid, resource_type, event_id, request_id, message_level.
    pub filters: Vec<Filter>,
    /// Page.
    pub paging: Paging,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// All matching rows, when asked for.
    pub count: Option<u64>,
}

/// Why a list cannot be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// 404.
    #[error("marker {0} could not be found")]
    MarkerNotFound(String),
    /// 400: the sort key is no column.
    #[error("invalid sort key")]
    InvalidSortKey,
    /// The read failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An open operation found at start.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenOperation {
    /// The volume.
    pub volume_id: VolumeId,
    /// The operation.
    pub operation: Operation,
}

/// What the projects have used, for `fsck` and the quota views: stored against counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageAudit {
    /// Whose.
    pub scope: Scope,
    /// The stored usage.
    pub stored: Usage,
    /// The sum over volumes and open operations, in the same snapshot.
    pub counted: Usage,
}

/// What growth is judged by, as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrowthRules {
    /// The limits set for the project and for the default class.
    pub limits: Vec<StoredLimit>,
    /// The type, if it is there.
    pub volume_type: Option<VolumeType>,
}

/// A future that a store gives.
pub type Reading<T> = BoxFuture<'static, Result<T, StoreError>>;

/// The record of truth: SQLite or PostgreSQL, threaded (production) or inline (virtual time).
pub trait Store: Send + Sync + 'static {
    /// Commits. The answer comes after the fsync of the group. An empty transaction is a barrier: it is answered when every
    /// transaction submitted before it has ended.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, CommitOutcome>;

    /// Ends when everything that was committed before is to be seen by other processes too, which read the tables.
    fn settled(&self) -> Reading<()>;

    /// A live volume with its live rows and open operations, from one snapshot.
    fn volume_get(&self, id: VolumeId) -> Reading<Option<VolumeState>>;
    /// A page of live volumes, each from one snapshot.
    fn volume_list(&self, query: VolumeQuery) -> BoxFuture<'static, Result<Page<VolumeState>, ListError>>;
    /// Number and size of live volumes, added up by the database.
    fn volume_summary(&self, query: VolumeSummaryQuery) -> BoxFuture<'static, Result<VolumeSummary, ListError>>;

    /// The live volume that a live attachment belongs to.
    fn attachment_volume(&self, id: AttachmentId) -> Reading<Option<VolumeId>>;
    /// A page of live attachments.
    fn attachment_list(&self, query: AttachmentQuery) -> BoxFuture<'static, Result<Page<Attachment>, ListError>>;
    /// The live attachments that Compute made for a server, in creation order.
    fn server_attachments(&self, id: ServerId) -> Reading<Vec<Attachment>>;

    /// The volume that a snapshot is of.
    fn snapshot_volume(&self, id: SnapshotId) -> Reading<Option<VolumeId>>;
    /// A page of snapshots.
    fn snapshot_list(&self, query: SnapshotQuery) -> BoxFuture<'static, Result<Page<Snapshot>, ListError>>;

    /// A live server.
    fn server_get(&self, id: ServerId) -> Reading<Option<Server>>;
    /// Live servers.
    fn server_list(&self, query: ServerQuery) -> BoxFuture<'static, Result<Page<Server>, ListError>>;

    /// A page of a server's actions.
    fn action_list(&self, query: ActionQuery) -> BoxFuture<'static, Result<Vec<ServerAction>, ListError>>;
    /// The newest action of a server that a request has led to.
    fn action_get(&self, server_id: ServerId, request_id: RequestId) -> Reading<Option<ServerAction>>;

    /// All volume types, by name.
    fn volume_types(&self) -> Reading<Vec<VolumeType>>;
    /// Changes a volume type, or a project's default.
    fn type_change(&self, change: TypeChange) -> Reading<Result<(), TypeRefused>>;
    /// All QoS specs, by name.
    fn qos_specs(&self) -> Reading<Vec<QosSpecs>>;
    /// Changes QoS specs, or which types have them.
    fn qos_change(&self, change: QosChange) -> Reading<Result<(), QosRefused>>;
    /// The type of a project's volumes that name none, if the project has its own.
    fn default_type(&self, project_id: ProjectId) -> Reading<Option<VolumeTypeId>>;
    /// The defaults of all projects that have their own, by project.
    fn default_types(&self) -> Reading<Vec<(ProjectId, VolumeTypeId)>>;

    /// What administrators said of the parts of the service.
    fn services(&self) -> Reading<Vec<ServiceRecord>>;
    /// Writes one of these records, new or changed.
    fn service_put(&self, record: ServiceRecord) -> Reading<()>;
    /// Operators' words that hosts are dead, also those that have been taken back, by host.
    fn host_fences(&self) -> Reading<Vec<HostFence>>;
    /// Writes one of these records, new or changed.
    fn host_fence_put(&self, fence: HostFence) -> Reading<()>;
    /// The live servers on a host, by id.
    fn servers_on_host(&self, host: String) -> Reading<Vec<ServerId>>;
    /// The volumes that a host has something of, or is about to. A few more may be named.
    fn volumes_on_host(&self, host: String) -> Reading<Vec<VolumeId>>;
    /// What every project has at every backend.
    fn host_usage(&self) -> Reading<Vec<HostUsage>>;

    /// A page of messages.
    fn message_list(&self, query: MessageQuery) -> BoxFuture<'static, Result<Page<Message>, ListError>>;
    /// One message.
    fn message_get(&self, project_id: ProjectId, id: Uuid) -> Reading<Option<Message>>;
    /// Deletes a message; whether there was one.
    fn message_delete(&self, project_id: ProjectId, id: Uuid) -> Reading<bool>;

    /// The last `limit` events of a volume, newest first; those that led to a generation before this one.
    fn events(&self, volume_id: VolumeId, before: Option<u64>, limit: u64) -> Reading<Vec<Event>>;
    /// What a request with this idempotency key has made, unless the key has expired at `now`.
    fn key_use(&self, id: String, now: Timestamp) -> Reading<Option<KeyUse>>;

    /// Open operations, oldest first, after this id, at most `limit`.
    fn open_operations(
        &self,
        after: Option<crate::domain::ids::OperationId>,
        limit: u64,
    ) -> Reading<Vec<OpenOperation>>;
    /// Live volumes that have outstanding calls or orphan exports but no open operation.
    fn unsettled_volumes(&self) -> Reading<Vec<VolumeId>>;
    /// Deleted servers which still have live attachments that Compute made: their detach was cut short.
    fn deleted_servers_with_attachments(&self) -> Reading<Vec<ServerId>>;
    /// Live servers whose guests run there.
    fn servers_of_hypervisor(&self, kind: HypervisorKind) -> Reading<Vec<Server>>;
    /// Stored and counted usage of every project, and of its volumes of each type, from one snapshot.
    fn usage_audit(&self) -> Reading<Vec<UsageAudit>>;
    /// Stored usage of one project, all types together.
    fn usage(&self, project_id: ProjectId) -> Reading<Usage>;
    /// Stored usage of one project: of all types together, and of each.
    fn usages(&self, project_id: ProjectId) -> Reading<Vec<(Option<VolumeTypeId>, Usage)>>;
    /// By what it is judged that a project adds to its volumes of a type, from one snapshot.
    fn growth_rules(&self, project_id: ProjectId, volume_type_id: Option<VolumeTypeId>) -> Reading<GrowthRules>;
    /// The limits that are set for these owners.
    fn quota_limits(&self, owners: Vec<QuotaOwner>) -> Reading<Vec<StoredLimit>>;
    /// Sets limits of one owner, all or none.
    fn limits_set(&self, owner: QuotaOwner, limits: Vec<(QuotaKey, i64)>) -> Reading<()>;
    /// Forgets what is set for one owner.
    fn limits_clear(&self, owner: QuotaOwner) -> Reading<()>;

    /// Removes at most `batch` rows of each kind of old record: events and actions, soft-deleted rows and tombstones that ended before
    /// `before`, and messages and idempotency keys that expired before it. Events that were settled together share a row, which ends with the last
    /// of them. How many went; 0: nothing is left to remove.
    fn history_purge(&self, before: Timestamp, batch: u64) -> Reading<u64>;
}
