//! Builders of states and transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hearth::domain::attachment::{AttachMode, Attachment, BlockDeviceMapping};
use hearth::domain::claims::{Claims, Connection, Marker, MarkerKind};
use hearth::domain::ids::{AttachmentId, ExportName, OperationId, ProjectId, RequestId, ServerId, UserId, VolumeId};
use hearth::domain::metadata::Metadata;
use hearth::domain::operation::{Operation, OperationKind, Requester, Step};
use hearth::domain::server::{HypervisorKind, Server};
use hearth::domain::status::{AttachStatus, VmState, VolumeStatus};
use hearth::domain::text::Text;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::{Volume, VolumeState};
use hearth::store::{
    CommitOutcome, Direction, Event, Extent, Filter, Message, OnUnknown, Paging, ServerChange, Transaction,
    VolumeChange, VolumeQuery,
};
use uuid::Uuid;

/// A readable id: `n` in the last digits.
pub fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x1111_2222_3333_4444_8000_0000_0000_0000 | n)
}

pub fn volume_id(n: u128) -> VolumeId {
    VolumeId(uuid(n))
}

pub fn volume(n: u128, project: &str, size_gib: u32) -> VolumeState {
    VolumeState {
        volume: Volume {
            id: volume_id(n),
            generation: 1,
            epoch: 0,
            project_id: ProjectId::from(project),
            user_id: UserId::from("user"),
            name: Some(format!("volume-{n}").into()),
            description: None,
            size_gib,
            status: VolumeStatus::Available,
            previous_status: None,
            attach_status: AttachStatus::Detached,
            migration_status: None,
            bootable: false,
            multiattach: false,
            volume_type_id: None,
            availability_zone: "nova".into(),
            host: Some("host@local#pool".into()),
            metadata: Metadata::default(),
            image_metadata: Metadata::default(),
            admin_metadata: Metadata::default(),
            consumes_quota: true,
            origin: None,
            provider_id: None,
            loans: Vec::new(),
            orphan_exports: Vec::new(),
            outstanding: Vec::new(),
            claims: None,
            created_at: Timestamp(1_000),
            updated_at: None,
            terminated_at: None,
            deleted: false,
            deleted_at: None,
        },
        attachments: Vec::new(),
        operations: Vec::new(),
        snapshots: Vec::new(),
    }
}

pub fn attachment(n: u128, of: &VolumeState, server: Option<&str>, device: Option<&str>) -> Attachment {
    Attachment {
        id: AttachmentId(uuid(0xa_0000_0000 + n)),
        volume_id: of.id(),
        instance_uuid: server.map(ServerId::from),
        attached_host: Some("compute-1".into()),
        mountpoint: device.map(Text::from),
        attach_time: Some(Timestamp(77)),
        attach_status: AttachStatus::Attached,
        attach_mode: Some(AttachMode::ReadWrite),
        connector: Some(serde_json::json!({"host": "compute-1", "ip": "10.0.0.1"}).into()),
        connection_info: Some(serde_json::json!({"driver_volume_type": "nbd", "data": {"a": [1, null]}}).into()),
        export: Some(ExportName(format!("{}.1", uuid(0xa_0000_0000 + n)).into())),
        bdm: server.map(|server| BlockDeviceMapping {
            uuid: uuid(0xb_0000_0000 + n),
            server_id: ServerId::from(server),
            device: device.map(Text::from),
            tag: Some("tag".into()),
            delete_on_termination: true,
            detaching: false,
            guest_device: None,
        }),
        created_at: Timestamp(5_000),
    }
}

/// What a client of the old actions holds; every other `n` has none.
pub fn claims(n: u128) -> Option<Box<Claims>> {
    let kind = if n.is_multiple_of(4) { MarkerKind::Reserved } else { MarkerKind::Detaching };
    let marker = Marker { kind, requester: requester("p"), since: Timestamp(9) };
    let connection = Connection {
        id: AttachmentId(uuid(0xd_0000_0000 + n)),
        host: "compute-1".into(),
        connector: serde_json::json!({"host": "compute-1", "ip": "10.0.0.1"}).into(),
        mode: AttachMode::ReadOnly,
        export: ExportName(format!("c.{n}").into()),
        connection_info: n.is_multiple_of(3).then(|| serde_json::json!({"a": [1, null]}).into()),
        requester: requester("p"),
        created_at: Timestamp(5),
    };
    (!n.is_multiple_of(2)).then(|| Box::new(Claims { marker: Some(marker), connections: vec![connection] }))
}

pub fn requester(project: &str) -> Requester {
    Requester {
        request_id: RequestId::from("req-1"),
        user_id: UserId::from("user"),
        project_id: ProjectId::from(project),
    }
}

pub fn extend(n: u128, of: &VolumeState, reserved_gib: u32) -> Operation {
    Operation {
        id: OperationId(uuid(0xc_0000_0000 + n)),
        epoch: 3,
        kind: OperationKind::Extend { new_size_gib: of.volume.size_gib + reserved_gib },
        step: Step::Extend,
        attempt: 1,
        probing: None,
        is_repeated: false,
        undoing: None,
        reserved_gib,
        previous_status: Some(VolumeStatus::Available),
        requester: requester(of.volume.project_id.as_str()),
        started_at: Timestamp(9_000),
        step_started_at: Timestamp(9_001),
    }
}

pub fn server(id: &str, project: &str) -> Server {
    Server {
        id: ServerId::from(id),
        name: format!("name of {id}"),
        project_id: ProjectId::from(project),
        user_id: UserId::from("user"),
        host: Some("compute-1".into()),
        hypervisor: HypervisorKind::Sim,
        qmp_socket: None,
        qmp_check_uuid: true,
        vm_state: VmState::Active,
        task_state: None,
        locked: false,
        availability_zone: "nova".into(),
        root_device_name: "/dev/vda".to_owned(),
        launched_at: Some(Timestamp(4)),
        created_at: Timestamp(3),
        updated_at: None,
        epoch: 1,
        deleted: false,
    }
}

pub fn event(new: &VolumeState) -> Event {
    Event {
        volume_id: new.id(),
        generation: new.volume.generation,
        at: Timestamp(10_000 + i64::try_from(new.volume.generation).unwrap()),
        command: "test".to_owned(),
        request_id: RequestId::from("req-1"),
        from_status: None,
        to_status: new.volume.status.as_str().to_owned(),
        cause: None,
    }
}

pub fn message(n: u128, project: &str, volume: VolumeId) -> Message {
    Message {
        id: uuid(0xd_0000_0000 + n),
        project_id: ProjectId::from(project),
        request_id: format!("req-{n}").into(),
        resource_type: "VOLUME".to_owned(),
        resource_uuid: Some(volume.to_string()),
        action_id: "001".to_owned(),
        detail_id: "003".to_owned(),
        cause: Some("no backend".to_owned()),
        created_at: Timestamp(100 + i64::try_from(n).unwrap()),
        expires_at: Timestamp(1_000_000),
    }
}

/// A new volume.
pub fn insert(new: &VolumeState) -> Transaction {
    change(None, new)
}

/// A volume's change, with its line in the history.
pub fn change(old: Option<&VolumeState>, new: &VolumeState) -> Transaction {
    Transaction {
        volume: Some(VolumeChange { old: old.cloned().map(Arc::new), new: Arc::new(new.clone()) }),
        event: Some(event(new).into()),
        ..Transaction::default()
    }
}

pub fn server_change(expected_epoch: Option<u64>, server: &Server) -> Transaction {
    Transaction { server: Some(ServerChange { expected_epoch, server: server.clone() }), ..Transaction::default() }
}

/// The next state: one generation on, changed by `edit`.
pub fn next(old: &VolumeState, edit: impl FnOnce(&mut VolumeState)) -> VolumeState {
    let mut new = old.clone();
    new.volume.generation += 1;
    edit(&mut new);
    new
}

/// How often a store has said that the truth is unknown, and what it is to be told by.
pub fn counted_unknowns() -> (Arc<AtomicUsize>, OnUnknown) {
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let on_unknown = move |_: &str| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    (told, Arc::new(on_unknown))
}

#[track_caller]
pub fn assert_committed(outcome: CommitOutcome) {
    assert_eq!(outcome, CommitOutcome::Committed);
}

pub fn paging(keys: &[(&str, Direction)], limit: u64) -> Paging {
    let mut sort: Vec<(String, Direction)> = keys.iter().map(|(key, dir)| ((*key).to_owned(), *dir)).collect();
    let direction = keys.first().map_or(Direction::Descending, |(_, direction)| *direction);
    sort.push(("created_at".to_owned(), direction));
    sort.push(("id".to_owned(), direction));
    Paging { sort, marker: None, offset: 0, limit }
}

pub fn volumes_of(project: Option<&str>, filters: Vec<Filter>, paging: Paging) -> VolumeQuery {
    VolumeQuery { project_id: project.map(ProjectId::from), filters, paging, with_count: true, extent: Extent::Whole }
}
