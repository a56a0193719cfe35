//! The store over an engine: which query answers what. The engines differ only in where a query runs and how a commit
//! gets to disk.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::connection::AnyConnection;
use super::idempotency;
use super::journal::Overlay;
use super::queries::operation::Cursor;
use super::queries::{
    attachment, history, host, message, operation, qos, quota, server, server_action, service, usage, volume,
    volume_snapshot, volume_type,
};
use super::{
    ActionQuery, AttachmentQuery, CommitOutcome, Event, GrowthRules, KeyUse, ListError, Message, MessageQuery,
    OpenOperation, Page, QosChange, QosRefused, Reading, ServerQuery, SnapshotQuery, Store, StoreError, Transaction,
    TypeChange, TypeRefused, UsageAudit, VolumeQuery, VolumeSummary, VolumeSummaryQuery,
};
use crate::domain::attachment::Attachment;
use crate::domain::host::HostFence;
use crate::domain::ids::{
    AttachmentId, OperationId, ProjectId, RequestId, ServerId, SnapshotId, VolumeId, VolumeTypeId,
};
use crate::domain::qos::QosSpecs;
use crate::domain::quota::{QuotaKey, QuotaOwner, StoredLimit, Usage};
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::server_action::ServerAction;
use crate::domain::service::{HostUsage, ServiceRecord};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::volume::VolumeState;
use crate::domain::volume_type::VolumeType;

/// Pages of open operations whose ends are remembered: an operation may settle while the scan goes on.
const REMEMBERED_CURSORS: usize = 64;

/// Which pool a read runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A few rows by key.
    Point,
    /// A scan.
    List,
}

/// Where queries run and how commits get to disk.
pub trait Engine: Send + Sync + 'static {
    /// See [`Store::commit`].
    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, CommitOutcome>;

    /// What is committed and not in the tables yet.
    fn overlay(&self) -> &Overlay;

    /// Puts into the tables what is committed by now.
    fn settle(&self) -> Reading<()>;

    /// Runs a read of the tables.
    fn read<T, E, Q>(&self, lane: Lane, query: Q) -> BoxFuture<'static, Result<T, E>>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, E> + Send + 'static;

    /// Runs a write that no volume or server is touched by.
    fn write<T, Q>(&self, errand: Q) -> Reading<T>
    where
        T: Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, StoreError> + Send + 'static;
}

/// A store over an engine.
pub struct Database<E> {
    pub(super) engine: Arc<E>,
    cursors: Arc<Mutex<VecDeque<Cursor>>>,
}

impl<E: Engine> Database<E> {
    pub(super) fn new(engine: E) -> Self {
        Self { engine: Arc::new(engine), cursors: Arc::default() }
    }

    /// Runs a read that must see everything which is committed by now.
    fn read_settled<T, E2, Q>(&self, lane: Lane, query: Q) -> BoxFuture<'static, Result<T, E2>>
    where
        T: Send + 'static,
        E2: From<StoreError> + Send + 'static,
        Q: FnOnce(&mut AnyConnection) -> Result<T, E2> + Send + 'static,
    {
        if self.engine.overlay().is_empty() {
            return self.engine.read(lane, query);
        }
        let settled = self.engine.settle();
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            settled.await?;
            engine.read(lane, query).await
        })
    }
}

impl<E: Engine> Store for Database<E> {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, CommitOutcome> {
        self.engine.commit(transaction)
    }

    fn settled(&self) -> Reading<()> {
        self.engine.settle()
    }

    fn volume_get(&self, id: VolumeId) -> Reading<Option<VolumeState>> {
        if let Some(state) = self.engine.overlay().get(id) {
            return Box::pin(std::future::ready(Ok(Some(VolumeState::clone(&state)))));
        }
        self.engine.read(Lane::Point, move |connection| volume::volume_get(connection, id))
    }

    fn volume_list(&self, query: VolumeQuery) -> BoxFuture<'static, Result<Page<VolumeState>, ListError>> {
        self.read_settled(Lane::List, move |connection| volume::volume_list(connection, &query))
    }

    fn volume_summary(&self, query: VolumeSummaryQuery) -> BoxFuture<'static, Result<VolumeSummary, ListError>> {
        self.read_settled(Lane::List, move |connection| volume::volume_summary(connection, &query))
    }

    fn attachment_volume(&self, id: AttachmentId) -> Reading<Option<VolumeId>> {
        if let Some(volume_id) = self.engine.overlay().volume_of(id) {
            return Box::pin(std::future::ready(Ok(Some(volume_id))));
        }
        let engine = Arc::clone(&self.engine);
        let read = self.engine.read(Lane::Point, move |connection| attachment::attachment_volume(connection, id));
        Box::pin(async move {
            let has_it = |volume_id: &VolumeId| {
                engine.overlay().get(*volume_id).is_none_or(|state| state.attachment(id).is_some())
            };
            Ok(read.await?.filter(has_it))
        })
    }

    fn attachment_list(&self, query: AttachmentQuery) -> BoxFuture<'static, Result<Page<Attachment>, ListError>> {
        self.read_settled(Lane::List, move |connection| attachment::attachment_list(connection, &query))
    }

    fn snapshot_volume(&self, id: SnapshotId) -> Reading<Option<VolumeId>> {
        self.engine.read(Lane::Point, move |connection| volume_snapshot::snapshot_volume(connection, id))
    }

    fn snapshot_list(&self, query: SnapshotQuery) -> BoxFuture<'static, Result<Page<Snapshot>, ListError>> {
        self.read_settled(Lane::List, move |connection| volume_snapshot::snapshot_list(connection, &query))
    }

    fn server_attachments(&self, id: ServerId) -> Reading<Vec<Attachment>> {
        self.engine.read(Lane::Point, move |connection| attachment::server_attachments(connection, &id))
    }

    fn server_get(&self, id: ServerId) -> Reading<Option<Server>> {
        self.engine.read(Lane::Point, move |connection| server::server_get(connection, &id))
    }

    fn server_list(&self, query: ServerQuery) -> BoxFuture<'static, Result<Page<Server>, ListError>> {
        self.engine.read(Lane::List, move |connection| server::server_list(connection, &query))
    }

    fn volume_types(&self) -> Reading<Vec<VolumeType>> {
        self.engine.read(Lane::Point, volume_type::volume_types)
    }

    fn type_change(&self, change: TypeChange) -> Reading<Result<(), TypeRefused>> {
        self.engine.write(move |connection| volume_type::type_change(connection, &change))
    }

    fn qos_specs(&self) -> Reading<Vec<QosSpecs>> {
        self.engine.read(Lane::Point, qos::qos_specs)
    }

    fn qos_change(&self, change: QosChange) -> Reading<Result<(), QosRefused>> {
        self.engine.write(move |connection| qos::qos_change(connection, &change))
    }

    fn default_type(&self, project_id: ProjectId) -> Reading<Option<VolumeTypeId>> {
        self.engine.read(Lane::Point, move |connection| volume_type::default_type(connection, &project_id))
    }

    fn default_types(&self) -> Reading<Vec<(ProjectId, VolumeTypeId)>> {
        self.engine.read(Lane::List, volume_type::default_types)
    }

    fn action_list(&self, query: ActionQuery) -> BoxFuture<'static, Result<Vec<ServerAction>, ListError>> {
        self.engine.read(Lane::Point, move |connection| server_action::action_list(connection, &query))
    }

    fn action_get(&self, server_id: ServerId, request_id: RequestId) -> Reading<Option<ServerAction>> {
        self.engine.read(Lane::Point, move |connection| server_action::action_get(connection, &server_id, &request_id))
    }

    fn services(&self) -> Reading<Vec<ServiceRecord>> {
        self.engine.read(Lane::Point, service::service_list)
    }

    fn service_put(&self, record: ServiceRecord) -> Reading<()> {
        self.engine.write(move |connection| service::service_put(connection, record))
    }

    fn host_fences(&self) -> Reading<Vec<HostFence>> {
        self.engine.read(Lane::Point, host::host_fences)
    }

    fn host_fence_put(&self, fence: HostFence) -> Reading<()> {
        self.engine.write(move |connection| host::host_fence_put(connection, fence))
    }

    fn servers_on_host(&self, host: String) -> Reading<Vec<ServerId>> {
        self.engine.read(Lane::List, move |connection| host::servers_on_host(connection, &host))
    }

    fn volumes_on_host(&self, host: String) -> Reading<Vec<VolumeId>> {
        self.read_settled(Lane::List, move |connection| host::volumes_on_host(connection, &host))
    }

    fn host_usage(&self) -> Reading<Vec<HostUsage>> {
        self.read_settled(Lane::List, service::host_usage)
    }

    fn message_list(&self, query: MessageQuery) -> BoxFuture<'static, Result<Page<Message>, ListError>> {
        self.engine.read(Lane::List, move |connection| message::message_list(connection, &query))
    }

    fn message_get(&self, project_id: ProjectId, id: Uuid) -> Reading<Option<Message>> {
        self.engine.read(Lane::Point, move |connection| message::message_get(connection, &project_id, id))
    }

    fn message_delete(&self, project_id: ProjectId, id: Uuid) -> Reading<bool> {
        self.engine.write(move |connection| message::message_delete(connection, &project_id, id))
    }

    fn events(&self, volume_id: VolumeId, before: Option<u64>, limit: u64) -> Reading<Vec<Event>> {
        self.read_settled(Lane::Point, move |connection| history::event_list(connection, volume_id, before, limit))
    }

    fn key_use(&self, id: String, now: Timestamp) -> Reading<Option<KeyUse>> {
        self.engine.read(Lane::Point, move |connection| idempotency::key_use(connection, id, now))
    }

    fn open_operations(&self, after: Option<OperationId>, limit: u64) -> Reading<Vec<OpenOperation>> {
        let cursors = Arc::clone(&self.cursors);
        self.read_settled(Lane::List, move |connection| {
            let lock = || cursors.lock().unwrap_or_else(PoisonError::into_inner);
            let remembered = after.and_then(|id| lock().iter().find(|cursor| cursor.id == id).copied());
            let page = operation::open_operations(connection, after, remembered, limit)?;
            if let Some(last) = page.last() {
                let mut known = lock();
                known.truncate(REMEMBERED_CURSORS - 1);
                known.push_front(Cursor { started_at: last.operation.started_at, id: last.operation.id });
            }
            Ok(page)
        })
    }

    fn unsettled_volumes(&self) -> Reading<Vec<VolumeId>> {
        self.read_settled(Lane::List, volume::unsettled_volumes)
    }

    fn deleted_servers_with_attachments(&self) -> Reading<Vec<ServerId>> {
        self.engine.read(Lane::List, server::deleted_servers_with_attachments)
    }

    fn servers_of_hypervisor(&self, kind: HypervisorKind) -> Reading<Vec<Server>> {
        self.engine.read(Lane::List, move |connection| server::servers_of_hypervisor(connection, kind))
    }

    fn usage_audit(&self) -> Reading<Vec<UsageAudit>> {
        self.read_settled(Lane::List, usage::usage_audit)
    }

    fn usage(&self, project_id: ProjectId) -> Reading<Usage> {
        self.engine.read(Lane::Point, move |connection| usage::usage(connection, &project_id))
    }

    fn usages(&self, project_id: ProjectId) -> Reading<Vec<(Option<VolumeTypeId>, Usage)>> {
        self.engine.read(Lane::Point, move |connection| usage::usages(connection, &project_id))
    }

    fn growth_rules(&self, project_id: ProjectId, volume_type_id: Option<VolumeTypeId>) -> Reading<GrowthRules> {
        self.engine.read(Lane::Point, move |connection| quota::growth_rules(connection, &project_id, volume_type_id))
    }

    fn quota_limits(&self, owners: Vec<QuotaOwner>) -> Reading<Vec<StoredLimit>> {
        self.engine.read(Lane::Point, move |connection| quota::quota_limits(connection, &owners))
    }

    fn limits_set(&self, owner: QuotaOwner, limits: Vec<(QuotaKey, i64)>) -> Reading<()> {
        self.engine.write(move |connection| quota::limits_set(connection, &owner, &limits))
    }

    fn limits_clear(&self, owner: QuotaOwner) -> Reading<()> {
        self.engine.write(move |connection| quota::limits_clear(connection, &owner))
    }

    fn history_purge(&self, before: Timestamp, batch: u64) -> Reading<u64> {
        self.engine.write(move |connection| history::history_purge(connection, before, batch))
    }
}
