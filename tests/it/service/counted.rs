//! A store that counts what tells how many actors a volume has had (loads, and commits that another writer was
//! faster than), and what is answered from memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hearth::domain::attachment::Attachment;
use hearth::domain::host::HostFence;
use hearth::domain::ids::{
    AttachmentId, OperationId, ProjectId, RequestId, ServerId, SnapshotId, VolumeId, VolumeTypeId,
};
use hearth::domain::qos::QosSpecs;
use hearth::domain::quota::{QuotaKey, QuotaOwner, StoredLimit, Usage};
use hearth::domain::server::{HypervisorKind, Server};
use hearth::domain::server_action::ServerAction;
use hearth::domain::service::{HostUsage, ServiceRecord};
use hearth::domain::snapshot::Snapshot;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::VolumeState;
use hearth::domain::volume_type::VolumeType;
use hearth::store::{
    Aborted, ActionQuery, AttachmentQuery, CommitOutcome, Event, GrowthRules, KeyUse, ListError, Message, MessageQuery,
    OpenOperation, Page, QosChange, QosRefused, Reading, ServerQuery, SnapshotQuery, Store, ThreadedStore, Transaction,
    TypeChange, TypeRefused, UsageAudit, VolumeQuery, VolumeSummary, VolumeSummaryQuery,
};
use uuid::Uuid;

/// The threaded store, counted.
pub struct Counted {
    inner: Arc<ThreadedStore>,
    loads: Mutex<BTreeMap<VolumeId, u64>>,
    look_ups: AtomicU64,
    stale: Arc<AtomicU64>,
}

impl Counted {
    pub fn new(inner: Arc<ThreadedStore>) -> Arc<Self> {
        Arc::new(Self { inner, loads: Mutex::default(), look_ups: AtomicU64::new(0), stale: Arc::default() })
    }

    /// How often the volume was read by id: by an actor that is activated, or by a view of a volume that is not active.
    pub fn loads(&self, id: VolumeId) -> u64 {
        self.loads.lock().expect("nobody panics with it").get(&id).copied().unwrap_or(0)
    }

    /// How often the database was asked which volume an attachment belongs to.
    pub fn look_ups(&self) -> u64 {
        self.look_ups.load(Ordering::SeqCst)
    }

    /// Commits that came second: with one service there is one writer for each volume, so there is none.
    pub fn stale(&self) -> u64 {
        self.stale.load(Ordering::SeqCst)
    }
}

impl Store for Counted {
    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, CommitOutcome> {
        let stale = Arc::clone(&self.stale);
        let outcome = self.inner.commit(transaction);
        async move {
            let outcome = outcome.await;
            if matches!(outcome, CommitOutcome::Aborted(Aborted::Stale)) {
                stale.fetch_add(1, Ordering::SeqCst);
            }
            outcome
        }
        .boxed()
    }

    fn settled(&self) -> Reading<()> {
        self.inner.settled()
    }

    fn volume_get(&self, id: VolumeId) -> Reading<Option<VolumeState>> {
        *self.loads.lock().expect("nobody panics with it").entry(id).or_default() += 1;
        self.inner.volume_get(id)
    }

    fn volume_list(&self, query: VolumeQuery) -> BoxFuture<'static, Result<Page<VolumeState>, ListError>> {
        self.inner.volume_list(query)
    }
    fn volume_summary(&self, query: VolumeSummaryQuery) -> BoxFuture<'static, Result<VolumeSummary, ListError>> {
        self.inner.volume_summary(query)
    }
    fn attachment_volume(&self, id: AttachmentId) -> Reading<Option<VolumeId>> {
        self.look_ups.fetch_add(1, Ordering::SeqCst);
        self.inner.attachment_volume(id)
    }
    fn attachment_list(&self, query: AttachmentQuery) -> BoxFuture<'static, Result<Page<Attachment>, ListError>> {
        self.inner.attachment_list(query)
    }
    fn snapshot_volume(&self, id: SnapshotId) -> Reading<Option<VolumeId>> {
        self.inner.snapshot_volume(id)
    }
    fn snapshot_list(&self, query: SnapshotQuery) -> BoxFuture<'static, Result<Page<Snapshot>, ListError>> {
        self.inner.snapshot_list(query)
    }
    fn server_attachments(&self, id: ServerId) -> Reading<Vec<Attachment>> {
        self.inner.server_attachments(id)
    }
    fn server_get(&self, id: ServerId) -> Reading<Option<Server>> {
        self.inner.server_get(id)
    }
    fn server_list(&self, query: ServerQuery) -> BoxFuture<'static, Result<Page<Server>, ListError>> {
        self.inner.server_list(query)
    }
    fn volume_types(&self) -> Reading<Vec<VolumeType>> {
        self.inner.volume_types()
    }
    fn action_list(&self, query: ActionQuery) -> BoxFuture<'static, Result<Vec<ServerAction>, ListError>> {
        self.inner.action_list(query)
    }
    fn action_get(&self, server_id: ServerId, request_id: RequestId) -> Reading<Option<ServerAction>> {
        self.inner.action_get(server_id, request_id)
    }
    fn services(&self) -> Reading<Vec<ServiceRecord>> {
        self.inner.services()
    }
    fn service_put(&self, record: ServiceRecord) -> Reading<()> {
        self.inner.service_put(record)
    }
    fn host_fences(&self) -> Reading<Vec<HostFence>> {
        self.inner.host_fences()
    }
    fn host_fence_put(&self, fence: HostFence) -> Reading<()> {
        self.inner.host_fence_put(fence)
    }
    fn servers_on_host(&self, host: String) -> Reading<Vec<ServerId>> {
        self.inner.servers_on_host(host)
    }
    fn volumes_on_host(&self, host: String) -> Reading<Vec<VolumeId>> {
        self.inner.volumes_on_host(host)
    }
    fn host_usage(&self) -> Reading<Vec<HostUsage>> {
        self.inner.host_usage()
    }
    fn type_change(&self, change: TypeChange) -> Reading<Result<(), TypeRefused>> {
        self.inner.type_change(change)
    }
    fn qos_specs(&self) -> Reading<Vec<QosSpecs>> {
        self.inner.qos_specs()
    }
    fn qos_change(&self, change: QosChange) -> Reading<Result<(), QosRefused>> {
        self.inner.qos_change(change)
    }
    fn default_type(&self, project_id: ProjectId) -> Reading<Option<VolumeTypeId>> {
        self.inner.default_type(project_id)
    }
    fn default_types(&self) -> Reading<Vec<(ProjectId, VolumeTypeId)>> {
        self.inner.default_types()
    }
    fn message_list(&self, query: MessageQuery) -> BoxFuture<'static, Result<Page<Message>, ListError>> {
        self.inner.message_list(query)
    }
    fn message_get(&self, project_id: ProjectId, id: Uuid) -> Reading<Option<Message>> {
        self.inner.message_get(project_id, id)
    }
    fn message_delete(&self, project_id: ProjectId, id: Uuid) -> Reading<bool> {
        self.inner.message_delete(project_id, id)
    }
    fn events(&self, volume_id: VolumeId, before: Option<u64>, limit: u64) -> Reading<Vec<Event>> {
        self.inner.events(volume_id, before, limit)
    }
    fn key_use(&self, id: String, now: Timestamp) -> Reading<Option<KeyUse>> {
        self.inner.key_use(id, now)
    }
    fn open_operations(&self, after: Option<OperationId>, limit: u64) -> Reading<Vec<OpenOperation>> {
        self.inner.open_operations(after, limit)
    }
    fn unsettled_volumes(&self) -> Reading<Vec<VolumeId>> {
        self.inner.unsettled_volumes()
    }
    fn deleted_servers_with_attachments(&self) -> Reading<Vec<ServerId>> {
        self.inner.deleted_servers_with_attachments()
    }
    fn servers_of_hypervisor(&self, kind: HypervisorKind) -> Reading<Vec<Server>> {
        self.inner.servers_of_hypervisor(kind)
    }
    fn usage_audit(&self) -> Reading<Vec<UsageAudit>> {
        self.inner.usage_audit()
    }
    fn usage(&self, project_id: ProjectId) -> Reading<Usage> {
        self.inner.usage(project_id)
    }
    fn usages(&self, project_id: ProjectId) -> Reading<Vec<(Option<VolumeTypeId>, Usage)>> {
        self.inner.usages(project_id)
    }
    fn growth_rules(&self, project_id: ProjectId, volume_type_id: Option<VolumeTypeId>) -> Reading<GrowthRules> {
        self.inner.growth_rules(project_id, volume_type_id)
    }
    fn quota_limits(&self, owners: Vec<QuotaOwner>) -> Reading<Vec<StoredLimit>> {
        self.inner.quota_limits(owners)
    }
    fn limits_set(&self, owner: QuotaOwner, limits: Vec<(QuotaKey, i64)>) -> Reading<()> {
        self.inner.limits_set(owner, limits)
    }
    fn limits_clear(&self, owner: QuotaOwner) -> Reading<()> {
        self.inner.limits_clear(owner)
    }
    fn history_purge(&self, before: Timestamp, batch: u64) -> Reading<u64> {
        self.inner.history_purge(before, batch)
    }
}
