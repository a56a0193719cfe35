//! Builders: volumes, rows, commands and facts, with the fewest words.

use std::time::Duration;

use hearth::domain::attachment::{AttachMode, BlockDeviceMapping};
use hearth::domain::compute::Compute;
use hearth::domain::document::Document;
use hearth::domain::ids::{
    AttachmentId, ExportName, ImageId, OperationId, ProjectId, RequestId, ServerId, SnapshotId, UserId, VolumeId,
    VolumeTypeId,
};
use hearth::domain::image::{FromImage, ImageNeeds, ToImage};
use hearth::domain::metadata::Metadata;
use hearth::domain::operation::Requester;
use hearth::domain::placement::Standing;
use hearth::domain::quota::Limits;
use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::swap::YieldedDisk;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::command::{
    Adoption, CreateSnapshot, CreateVolume, Hosts, MigrateVolume, Reimage, RetypeVolume, ServerAttach, ServerReplug,
    ServerSwap, YieldDisk,
};
use hearth::domain::volume::{Caller, Command, Facts};
use hearth::domain::volume_type::ExtraSpecs;
use serde_json::{Value, json};
use uuid::Uuid;

pub const VOLUME: VolumeId = VolumeId(Uuid::from_u128(0x10));
pub const BACKEND: &str = "host@model#pool";
pub const OTHER_BACKEND: &str = "host@other#pool";

/// The `n`th row.
pub const fn row_id(n: u128) -> AttachmentId {
    AttachmentId(Uuid::from_u128(0xa000 + n))
}

/// The `n`th snapshot.
pub const fn snapshot_id(n: u128) -> SnapshotId {
    SnapshotId(Uuid::from_u128(0x5000 + n))
}

/// A snapshot.
pub fn snapshot_create(n: u8, in_use_allowed: bool) -> Command {
    Command::SnapshotCreate(Box::new(CreateSnapshot {
        snapshot_id: snapshot_id(n.into()),
        name: None,
        description: None,
        metadata: Metadata::default(),
        in_use_allowed,
        adopts: None,
    }))
}

/// The image that volumes are made from.
pub const IMAGE: ImageId = ImageId(Uuid::from_u128(0x1a));

/// What a volume keeps of it.
pub fn from_image() -> FromImage {
    FromImage { image_id: IMAGE, metadata: [("image_id".to_owned(), IMAGE.to_string())].into_iter().collect() }
}

/// The contents of the image in the place of the volume's own.
pub fn reimage(reserved_allowed: bool) -> Command {
    let needs =
        ImageNeeds { image_id: IMAGE, is_active: true, data_bytes: 1, disk_bytes: Some(1 << 30), min_disk_gib: 1 };
    Command::Reimage(Box::new(Reimage { image: from_image(), needs, reserved_allowed }))
}

/// An image of the volume.
pub fn upload(n: u8, in_use_allowed: bool) -> Command {
    let image = ToImage {
        image_id: ImageId(Uuid::from_u128(0xe000 + u128::from(n))),
        name: "copy".to_owned(),
        project_id: ProjectId::from("project"),
        disk_format: "raw".to_owned(),
        container_format: "bare".to_owned(),
        visibility: None,
        is_protected: false,
        properties: Metadata::default(),
    };
    Command::UploadImage { image: Box::new(image), in_use_allowed }
}

/// What lies at the backend and is not Hearth's.
pub const OBJECT: &str = "lvol0";

/// A snapshot that is there already.
pub fn snapshot_manage(n: u8) -> Command {
    let Command::SnapshotCreate(mut request) = snapshot_create(n, true) else { unreachable!("it creates") };
    request.adopts = Some(Adoption { reference: OBJECT.into(), size_gib: 1 });
    Command::SnapshotCreate(request)
}

/// A volume that is there already.
pub fn manage_command() -> Command {
    Command::Create(Box::new(CreateVolume { adopts: Some(OBJECT.into()), ..create_volume(false) }))
}

/// The `n`th operation.
pub const fn operation_id(n: u128) -> OperationId {
    OperationId(Uuid::from_u128(0xb000 + n))
}

pub fn member() -> Caller {
    Caller { requester: requester("user"), is_admin: false, is_service: false }
}

pub fn system() -> Caller {
    Caller { requester: requester("system"), is_admin: true, is_service: true }
}

pub fn requester(user: &str) -> Requester {
    Requester {
        request_id: RequestId::from("req-1"),
        user_id: UserId::from(user),
        project_id: ProjectId::from("project"),
    }
}

/// Facts whose ids are never used twice: an operation always raises the epoch, a row is always asked for.
pub fn facts_of(epoch: u64, asked: u8) -> Facts {
    let (epoch, asked) = (u128::from(epoch), u128::from(asked));
    Facts {
        now: Timestamp(1_000),
        ids: [
            operation_id(epoch).0,
            row_id(asked).0,
            Uuid::from_u128(0xc000 + asked),
            OperationId(Uuid::from_u128(0xd000 + epoch)).0,
        ],
        limits: Limits { volumes: 10, gigabytes: 1_000, ..Limits::NONE },
        drain_deadline: Duration::from_secs(30),
        hosts: Hosts { frozen: false, fenced: false, standings: vec![standing(BACKEND), standing(OTHER_BACKEND)] },
        compute: Compute::Own,
    }
}

/// A backend that takes everything.
fn standing(host: &str) -> Standing {
    Standing {
        host: host.into(),
        zone: "nova".to_owned(),
        enabled: true,
        frozen: false,
        up: true,
        room: None,
        provisioned_gib: 0,
        volumes: 0,
        reserved_percentage: 0,
        max_over_subscription_ratio: 1.0,
        storage_protocol: "model".to_owned(),
        online_extend: true,
    }
}

pub fn migrate(host: &str, lock_volume: bool) -> Command {
    let request = MigrateVolume { host: host.to_owned(), lock_volume, extra_specs: ExtraSpecs::default() };
    Command::Migrate(Box::new(request))
}

/// To a type that only this backend satisfies.
pub fn retype(backend: &str) -> Command {
    let name = if backend == BACKEND { "model" } else { "other" };
    let extra_specs = [("volume_backend_name".to_owned(), Some(name.to_owned()))];
    Command::Retype(Box::new(RetypeVolume {
        volume_type_id: VolumeTypeId(Uuid::from_u128(if backend == BACKEND { 0xe000 } else { 0xe001 })),
        type_revision: 1,
        multiattach: false,
        extra_specs: extra_specs.into_iter().collect(),
        migration_allowed: true,
    }))
}

pub fn connector(host: &str) -> Value {
    json!({"host": host})
}

pub fn create_command(multiattach: bool) -> Command {
    Command::Create(Box::new(create_volume(multiattach)))
}

/// No backend fits the volume.
pub fn create_nowhere_command() -> Command {
    Command::Create(Box::new(CreateVolume { host: None, ..create_volume(false) }))
}

/// A volume from the image.
pub fn create_from_image_command(is_placed: bool) -> Command {
    let host = is_placed.then(|| BACKEND.to_owned());
    Command::Create(Box::new(CreateVolume { image: Some(from_image()), host, ..create_volume(false) }))
}

fn create_volume(multiattach: bool) -> CreateVolume {
    CreateVolume {
        volume_id: VOLUME,
        size_gib: 1,
        name: None,
        description: None,
        metadata: Metadata::default(),
        volume_type_id: None,
        type_revision: None,
        multiattach,
        availability_zone: "nova".to_owned(),
        host: Some(BACKEND.to_owned()),
        wanted: None,
        bootable: false,
        origin: None,
        image: None,
        adopts: None,
    }
}

/// Compute's attach of a server that runs on the host of its name.
pub fn server_attach(server: &str) -> ServerAttach {
    ServerAttach {
        server_id: ServerId::from(server),
        server_epoch: 1,
        device: Some("/dev/vdb".to_owned()),
        tag: None,
        delete_on_termination: false,
        connector: connector(server),
        without_host: false,
        multiattach_allowed: true,
    }
}

pub fn server_replug(server: &str) -> ServerReplug {
    ServerReplug { server_id: ServerId::from(server), server_epoch: 1, connector: connector(server), is_told: true }
}

pub fn attachment_create(server: Option<&str>, host: Option<&str>) -> Command {
    Command::AttachmentCreate { instance_uuid: server.map(ServerId::from), connector: host.map(connector), mode: None }
}

pub fn reset(status: Option<VolumeStatus>, attach_status: Option<AttachStatus>) -> Command {
    Command::ResetStatus { status, attach_status, migration_status: None }
}

/// The other volume of a swap, its row and its operation.
pub const OTHER_VOLUME: VolumeId = VolumeId(Uuid::from_u128(0xf0));
pub const OLD_ROW: AttachmentId = AttachmentId(Uuid::from_u128(0xf1));
pub const SWAP: OperationId = OperationId(Uuid::from_u128(0xf2));

/// What the guest's disk reads from while it is the other volume's.
pub fn old_export() -> ExportName {
    ExportName::new(OLD_ROW, 7)
}

/// This volume takes the other one's place.
pub fn server_swap(server: &str) -> ServerSwap {
    ServerSwap { server_id: ServerId::from(server), server_epoch: 1, host: server.to_owned(), old_volume: OTHER_VOLUME }
}

/// What the other volume says of its disk.
pub fn yielded_disk(server: &ServerId) -> YieldedDisk {
    YieldedDisk {
        mapping: BlockDeviceMapping {
            uuid: Uuid::from_u128(0xf3),
            server_id: server.clone(),
            device: Some("/dev/vdb".into()),
            tag: None,
            delete_on_termination: false,
            detaching: false,
            guest_device: Some(OLD_ROW),
        },
        mode: AttachMode::ReadWrite,
        connector: Document::from(&connector(server.as_str())),
        size_gib: 1,
    }
}

/// The other volume takes this one's place.
pub fn yield_disk(server: &str) -> YieldDisk {
    YieldDisk { swap: SWAP, new_volume: OTHER_VOLUME, size_gib: 100, server_id: ServerId::from(server) }
}
