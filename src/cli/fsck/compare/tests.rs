//! One test per kind of difference, from a consistent picture which is then falsified.

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::domain::attachment::{AttachMode, Attachment, BlockDeviceMapping};
use crate::domain::backend::CauseKind;
use crate::domain::ids::{OperationId, RequestId, UserId};
use crate::domain::metadata::Metadata;
use crate::domain::operation::{Operation, OperationKind, Requester, Step};
use crate::domain::server::HypervisorKind;
use crate::domain::status::VmState;
use crate::domain::time::Timestamp;
use crate::domain::volume::Volume;

const HOST: &str = "host@local#pool";

fn volume_id() -> VolumeId {
    VolumeId(Uuid::from_u128(1))
}

fn row_id() -> AttachmentId {
    AttachmentId(Uuid::from_u128(2))
}

fn export() -> ExportName {
    ExportName::new(row_id(), 7)
}

fn server_id() -> ServerId {
    "vm-1".into()
}

fn row() -> Attachment {
    Attachment {
        id: row_id(),
        volume_id: volume_id(),
        instance_uuid: Some(server_id()),
        attached_host: Some("host".into()),
        mountpoint: Some("/dev/vdb".into()),
        attach_time: Some(Timestamp(1)),
        attach_status: AttachStatus::Attached,
        attach_mode: Some(AttachMode::ReadWrite),
        connector: Some(json!({"host": "host"}).into()),
        connection_info: Some(json!({"driver_volume_type": "nbd"}).into()),
        export: Some(export()),
        bdm: Some(BlockDeviceMapping {
            uuid: Uuid::from_u128(3),
            server_id: server_id(),
            device: Some("/dev/vdb".into()),
            tag: None,
            delete_on_termination: false,
            detaching: false,
            guest_device: None,
        }),
        created_at: Timestamp(1),
    }
}

fn state() -> VolumeState {
    VolumeState {
        volume: Volume {
            id: volume_id(),
            generation: 3,
            epoch: 7,
            project_id: "p".into(),
            user_id: "u".into(),
            name: None,
            description: None,
            size_gib: 2,
            status: VolumeStatus::InUse,
            previous_status: None,
            attach_status: AttachStatus::Attached,
            migration_status: None,
            bootable: false,
            multiattach: false,
            volume_type_id: None,
            availability_zone: "nova".into(),
            host: Some(HOST.into()),
            metadata: Metadata::default(),
            image_metadata: Metadata::default(),
            admin_metadata: Metadata::default(),
            consumes_quota: true,
            origin: None,
            provider_id: None,
            loans: vec![],
            orphan_exports: Vec::new(),
            outstanding: Vec::new(),
            claims: None,
            created_at: Timestamp(1),
            updated_at: None,
            terminated_at: None,
            deleted: false,
            deleted_at: None,
        },
        attachments: vec![row()],
        operations: Vec::new(),
        snapshots: Vec::new(),
    }
}

fn server() -> Server {
    Server {
        id: server_id(),
        name: "vm".into(),
        project_id: "p".into(),
        user_id: "u".into(),
        host: Some("host".into()),
        hypervisor: HypervisorKind::Sim,
        qmp_socket: None,
        qmp_check_uuid: true,
        vm_state: VmState::Active,
        task_state: None,
        locked: false,
        availability_zone: "nova".into(),
        root_device_name: "/dev/vda".into(),
        launched_at: Some(Timestamp(1)),
        created_at: Timestamp(1),
        updated_at: None,
        epoch: 1,
        deleted: false,
    }
}

fn truth() -> Truth {
    Truth { exists: true, size_gib: 2, exports: vec![export()], ..Truth::default() }
}

/// A picture in which everything agrees.
fn survey() -> Survey {
    let usage = state().usage();
    let scope = Scope { project_id: "p".into(), volume_type_id: None };
    Survey {
        volumes: vec![state()],
        servers: vec![server()],
        usage: vec![UsageAudit { scope, stored: usage, counted: usage }],
        backends: vec![BackendInventory { host: HOST.into(), volumes: Ok(vec![(volume_id(), truth())]) }],
        guests: vec![GuestInventory { server_id: server_id(), devices: Ok(vec![row_id()]) }],
    }
}

/// Falsifies the picture and gives the findings.
fn found(falsify: impl FnOnce(&mut Survey)) -> Vec<Finding> {
    let mut survey = survey();
    falsify(&mut survey);
    differences(&survey).into_iter().map(|difference| difference.finding).collect()
}

fn at_backend(survey: &mut Survey) -> &mut Truth {
    let volumes = survey.backends[0].volumes.as_mut().expect("readable");
    &mut volumes[0].1
}

fn operation() -> Operation {
    Operation {
        id: OperationId(Uuid::from_u128(9)),
        epoch: 8,
        kind: OperationKind::Extend { new_size_gib: 3 },
        step: Step::Extend,
        attempt: 1,
        probing: None,
        is_repeated: false,
        undoing: None,
        reserved_gib: 1,
        previous_status: None,
        requester: Requester {
            request_id: RequestId("req".into()),
            user_id: UserId("u".into()),
            project_id: ProjectId("p".into()),
        },
        started_at: Timestamp(1),
        step_started_at: Timestamp(1),
    }
}

#[test]
fn a_consistent_picture_has_no_difference() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn a_volume_that_its_backend_lacks() {
    let missing = Finding::VolumeMissing { volume_id: volume_id(), host: HOST.into(), status: VolumeStatus::InUse };
    assert_eq!(found(|survey| survey.backends[0].volumes = Ok(Vec::new())), std::slice::from_ref(&missing));
    assert_eq!(found(|survey| at_backend(survey).exists = false), [missing]);
}

#[test]
fn after_a_failed_create_or_delete_the_volume_may_be_there_or_not() {
    for status in
        [VolumeStatus::Error, VolumeStatus::ErrorDeleting, VolumeStatus::ErrorManaging, VolumeStatus::ErrorUnmanaging]
    {
        let without_rows = |survey: &mut Survey| {
            survey.volumes[0].volume.status = status;
            survey.volumes[0].attachments.clear();
            survey.guests.clear();
            at_backend(survey).exports.clear();
        };
        assert_eq!(found(without_rows), []);
        assert_eq!(
            found(|survey| {
                without_rows(survey);
                survey.backends[0].volumes = Ok(Vec::new());
            }),
            []
        );
    }
}

#[test]
fn a_volume_that_only_the_backend_has() {
    let stranger = VolumeId(Uuid::from_u128(5));
    let unowned = Finding::VolumeUnowned { volume_id: stranger, host: HOST.into() };
    let findings = found(|survey| {
        let volumes = survey.backends[0].volumes.as_mut().expect("readable");
        volumes.push((stranger, Truth { exists: true, ..Truth::default() }));
    });
    assert_eq!(findings, [unowned]);
}

#[test]
fn a_volume_on_another_backend_than_its_record_says() {
    let other = "host@other#pool";
    let findings = found(|survey| {
        let moved = std::mem::replace(&mut survey.backends[0].volumes, Ok(Vec::new()));
        survey.backends.push(BackendInventory { host: other.into(), volumes: moved });
    });
    assert_eq!(
        findings,
        [
            Finding::VolumeMissing { volume_id: volume_id(), host: HOST.into(), status: VolumeStatus::InUse },
            Finding::VolumeUnowned { volume_id: volume_id(), host: other.into() },
        ]
    );
}

/// A migration, or what removes what one has left, explains the other object, and no other one.
#[test]
fn a_volume_on_two_backends_while_it_migrates() {
    let other = "host@other#pool";
    for (at, is_explained) in [(other, true), ("host@third#pool", false)] {
        let mut survey = survey();
        let kind = OperationKind::DiscardCopy { backend: other.into(), exports: Vec::new() };
        survey.volumes[0].operations.push(Operation { kind, step: Step::Delete, reserved_gib: 0, ..operation() });
        let volumes = Ok(vec![(volume_id(), Truth { exports: Vec::new(), ..truth() })]);
        survey.backends.push(BackendInventory { host: at.into(), volumes });
        let differences = differences(&survey);
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert_eq!(differences[0].finding, Finding::VolumeUnowned { volume_id: volume_id(), host: at.into() });
        assert_eq!(differences[0].explained_by.is_some(), is_explained, "{differences:?}");
    }
}

#[test]
fn a_size_that_differs() {
    let differs = Finding::SizeDiffers { volume_id: volume_id(), recorded_gib: 2, actual_gib: 3 };
    assert_eq!(found(|survey| at_backend(survey).size_gib = 3), [differs]);
}

#[test]
fn exports_that_are_missing_or_unowned() {
    let missing = Finding::ExportMissing { volume_id: volume_id(), attachment_id: row_id(), export: export() };
    assert_eq!(found(|survey| at_backend(survey).exports.clear()), [missing]);

    let stale = ExportName::new(row_id(), 6);
    let unowned = Finding::ExportUnowned { volume_id: volume_id(), export: stale.clone() };
    assert_eq!(found(|survey| at_backend(survey).exports.push(stale)), [unowned]);
}

#[test]
fn devices_that_are_missing_or_unowned() {
    let missing = Finding::DeviceMissing { volume_id: volume_id(), attachment_id: row_id(), server_id: server_id() };
    assert_eq!(found(|survey| survey.guests[0].devices = Ok(Vec::new())), [missing]);

    let stranger = AttachmentId(Uuid::from_u128(6));
    let unowned = Finding::DeviceUnowned { attachment_id: stranger, server_id: server_id() };
    assert_eq!(found(|survey| survey.guests[0].devices = Ok(vec![row_id(), stranger])), [unowned]);
}

#[test]
fn a_device_in_the_guest_of_another_server_is_unowned_there() {
    let other: ServerId = "vm-2".into();
    let unowned = Finding::DeviceUnowned { attachment_id: row_id(), server_id: other.clone() };
    let findings = found(|survey| {
        survey.guests.push(GuestInventory { server_id: other, devices: Ok(vec![row_id()]) });
    });
    assert_eq!(findings, [unowned]);
}

#[test]
fn a_row_whose_server_is_gone() {
    let missing = Finding::ServerMissing { volume_id: volume_id(), attachment_id: row_id(), server_id: server_id() };
    let findings = found(|survey| {
        survey.servers.clear();
        survey.guests.clear();
    });
    assert_eq!(findings, [missing]);
}

#[test]
fn backends_and_guests_that_cannot_be_asked_are_said_once_and_nothing_is_guessed() {
    let cause = Cause::new(CauseKind::Unavailable, "no answer");
    let backend = Finding::BackendUnreadable { host: HOST.into(), cause: "no answer".into() };
    assert_eq!(found(|survey| survey.backends[0].volumes = Err(cause.clone())), [backend]);
    let guest = Finding::GuestUnreadable { server_id: server_id(), cause: "no answer".into() };
    assert_eq!(found(|survey| survey.guests[0].devices = Err(cause)), [guest]);
    let unknown = Finding::BackendUnknown { volume_id: volume_id(), host: HOST.into() };
    assert_eq!(found(|survey| survey.backends.clear()), [unknown]);
}

#[test]
fn usage_that_is_not_the_sum() {
    let stored = survey().usage[0].stored;
    let counted = Usage { volumes: 2, ..stored };
    let differs = Finding::UsageDiffers { project_id: "p".into(), volume_type_id: None, stored, counted };
    assert_eq!(found(|survey| survey.usage[0].counted = counted), [differs]);
}

#[test]
fn open_work_explains_a_difference_and_does_not_hide_it() {
    let explained = |open: fn(&mut VolumeState)| {
        let mut survey = survey();
        at_backend(&mut survey).size_gib = 3;
        open(&mut survey.volumes[0]);
        differences(&survey).remove(0).explained_by
    };
    assert_eq!(explained(|_| {}), None);
    let extend = explained(|state| state.operations.push(operation())).expect("explained");
    assert!(extend.contains("extend") && extend.contains(&OperationId(Uuid::from_u128(9)).to_string()), "{extend}");
    assert!(explained(|state| state.volume.orphan_exports.push(export())).is_some());
}

#[test]
fn a_difference_is_one_flat_json_object() {
    let mut survey = survey();
    at_backend(&mut survey).size_gib = 3;
    survey.volumes[0].operations.push(operation());
    let value = serde_json::to_value(&differences(&survey)[0]).expect("json");
    assert_eq!(
        value,
        json!({
            "difference": "size_differs",
            "volume_id": volume_id(),
            "recorded_gib": 2,
            "actual_gib": 3,
            "explained_by": format!("operation {} (extend)", OperationId(Uuid::from_u128(9))),
        })
    );
}
