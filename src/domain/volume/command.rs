//! What can be asked of a volume. What its decisions consist of is in [`decision`](super::decision).

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

pub use super::attach::{AttachVolume, OldAnswer, ServerAttach, ServerReplug, ServerSwap, SwapWord, YieldDisk};
pub use super::decision::{Decision, Job, JobTarget, Reply, ReplyWhen, Ticket, UserMessage, Verdict};
use super::metadata::{MetadataChange, MetadataKind, MetadataWrite};
pub use super::refusal::Refusal;
use super::state::Origin;
use crate::domain::attachment::AttachMode;
use crate::domain::backend::Outcome;
use crate::domain::compute::Compute;
use crate::domain::ids::{AttachmentId, OperationId, ServerId, SnapshotId, VolumeId, VolumeTypeId};
use crate::domain::image::{FromImage, ImageNeeds, ToImage};
use crate::domain::metadata::Metadata;
use crate::domain::operation::{Requester, Step};
use crate::domain::placement::{Standing, Wanted};
use crate::domain::quota::Limits;
use crate::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::domain::volume_type::ExtraSpecs;

/// Who asks, as far as decisions depend on it. Visibility and policy are settled before a command is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Request, user and project.
    pub requester: Requester,
    /// An administrator.
    pub is_admin: bool,
    /// The call carries a valid service token (`spec/volume-actions.md` §0.3).
    pub is_service: bool,
}

/// Everything a decision may depend on besides the state and the command.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The present instant.
    pub now: Timestamp,
    /// Fresh ids, from the seeded source: an operation, a row, a block-device mapping, a repair operation.
    pub ids: [Uuid; 4],
    /// The limits of whoever the command adds to, as they were when it was admitted.
    pub limits: Limits,
    /// How long an operation waits for outstanding calls before it gives up.
    pub drain_deadline: Duration,
    /// The backends, as they stand in this step.
    pub hosts: Hosts,
    /// Whose servers use the volumes, and what is known of their use.
    pub compute: Compute,
}

/// The words in which a frozen backend refuses.
pub const FROZEN: &str = "Modification operations are not allowed on frozen storage backends.";

/// What a decision may know of the backends.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// The volume's own is frozen: nothing is created or deleted there (see [`FROZEN`]).
    pub frozen: bool,
    /// The host that the command connects the volume to is fenced (see [`Command::connects`]).
    pub fenced: bool,
    /// All of them, for a create.
    pub standings: Vec<Standing>,
}

/// A request or a result for one volume.
#[derive(Clone, Debug)]
pub enum Command {
    /// `POST /volumes`.
    Create(Box<CreateVolume>),
    /// `PUT /volumes/{id}`.
    Update(UpdateVolume),
    /// `…/metadata…`, `os-set_image_metadata`, `os-unset_image_metadata`.
    WriteMetadata(Box<MetadataWrite>),
    /// `os-set_bootable`.
    SetBootable {
        /// The flag.
        bootable: bool,
    },
    /// `os-update_readonly_flag`.
    SetReadonly {
        /// The flag.
        readonly: bool,
    },
    /// `DELETE /volumes/{id}`.
    Delete {
        /// Any status, as long as nothing is attached.
        force: bool,
        /// With its snapshots.
        cascade: bool,
    },
    /// `os-unmanage`.
    Unmanage,
    /// `os-extend`.
    Extend {
        /// GiB.
        new_size_gib: u32,
        /// The caller's microversion (≥ 3.42) allows a volume in use.
        in_use_allowed: bool,
    },
    /// `os-reset_status`.
    ResetStatus {
        /// New status.
        status: Option<VolumeStatus>,
        /// `attached` or `detached`.
        attach_status: Option<AttachStatus>,
        /// New migration status; `Some(None)` clears it.
        migration_status: Option<Option<String>>,
    },
    /// `POST /attachments`.
    AttachmentCreate {
        /// The server, if any.
        instance_uuid: Option<ServerId>,
        /// Connect at once.
        connector: Option<Value>,
        /// 3.54.
        mode: Option<AttachMode>,
    },
    /// `PUT /attachments/{id}`.
    AttachmentUpdate {
        /// The row.
        attachment_id: AttachmentId,
        /// With `host`.
        connector: Value,
    },
    /// `os-complete`.
    AttachmentComplete {
        /// The row.
        attachment_id: AttachmentId,
    },
    /// `DELETE /attachments/{id}`.
    AttachmentDelete {
        /// The row.
        attachment_id: AttachmentId,
    },
    /// `POST /snapshots`.
    SnapshotCreate(Box<CreateSnapshot>),
    /// `PUT /snapshots/{id}`: outer `None` leaves a field alone.
    SnapshotUpdate {
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// Display name.
        name: Option<Option<String>>,
        /// Display description.
        description: Option<Option<String>>,
    },
    /// `/snapshots/{id}/metadata…`.
    SnapshotWriteMetadata {
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// What becomes of it.
        change: MetadataChange,
    },
    /// `DELETE /snapshots/{id}`, and its `os-force_delete`.
    SnapshotDelete {
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// In any status.
        force: bool,
    },
    /// `os-unmanage` of a snapshot.
    SnapshotUnmanage {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// `os-reset_status` of a snapshot.
    SnapshotResetStatus {
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// New status.
        status: SnapshotStatus,
    },
    /// `os-update_snapshot_status`: whoever takes a snapshot for us says how far it is.
    SnapshotProgress {
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// New status.
        status: SnapshotStatus,
        /// Percent.
        progress: Option<u8>,
    },
    /// `revert`.
    Revert {
        /// The snapshot; anything but the latest one is refused.
        snapshot_id: Option<SnapshotId>,
    },
    /// `os-reimage`.
    Reimage(Box<Reimage>),
    /// `os-volume_upload_image`.
    UploadImage {
        /// The image to be.
        image: Box<ToImage>,
        /// A volume in use will do as well: `force`, where the service has it switched on.
        in_use_allowed: bool,
    },
    /// `os-migrate_volume`.
    Migrate(Box<MigrateVolume>),
    /// `os-migrate_volume_completion`.
    CompleteMigration {
        /// The volume that is said to be the new one.
        new_volume: VolumeId,
        /// That one, another than this, has a migration status.
        other_migrates: bool,
        /// The migration is to be undone.
        error: bool,
    },
    /// `os-retype`.
    Retype(Box<RetypeVolume>),
    /// Another volume, which exists with the intent to be made from this one's contents, asks for them (P8).
    Lend {
        /// That volume.
        borrower: VolumeId,
        /// Its size, GiB.
        size_gib: u32,
        /// From this snapshot; none: from the volume as it is.
        snapshot_id: Option<SnapshotId>,
    },
    /// What the source has answered to [`Command::Lend`].
    Lent {
        /// Which job it was.
        ticket: Ticket,
        /// Yes, or why not.
        answer: Result<(), Refusal>,
    },
    /// That volume does not read them any more.
    Returned {
        /// That volume.
        borrower: VolumeId,
    },
    /// `os-reserve`.
    Reserve,
    /// `os-unreserve`.
    Unreserve,
    /// `os-begin_detaching`.
    BeginDetaching,
    /// `os-roll_detaching`.
    RollDetaching,
    /// `os-attach`.
    Attach(Box<AttachVolume>),
    /// `os-detach`.
    Detach {
        /// The row; it may be left out while there is at most one.
        attachment_id: Option<AttachmentId>,
    },
    /// `os-initialize_connection`.
    InitializeConnection {
        /// With `host`.
        connector: Value,
    },
    /// `os-terminate_connection`.
    TerminateConnection {
        /// Whose connection; none: everybody's.
        connector: Option<Value>,
    },
    /// `os-force_detach`.
    ForceDetach {
        /// The row; it may be left out while there is at most one.
        attachment_id: Option<AttachmentId>,
        /// Whose connection; none: everybody's.
        connector: Option<Value>,
    },
    /// Compute's attach, sent by the server actor which has judged the server and reserved the device name.
    ServerAttach(Box<ServerAttach>),
    /// Compute's detach.
    ServerDetach {
        /// The server.
        server_id: ServerId,
        /// The server is going away: no state check, no guest needed.
        server_gone: bool,
    },
    /// The server's guest runs and has not got the volume's disk.
    ServerReplug(Box<ServerReplug>),
    /// `PUT …/os-volume_attachments/{volume}`: the one member of Compute's mapping that may change.
    ServerAttachmentUpdate {
        /// The server.
        server_id: ServerId,
        /// Whether the volume is deleted together with the server.
        delete_on_termination: bool,
    },
    /// Compute's swap, at the new volume.
    ServerSwap(Box<ServerSwap>),
    /// The new volume of a swap speaks to the old one.
    SwapWord(Box<SwapWord>),
    /// What the old volume of a swap has answered.
    SwapAnswered {
        /// Which job it was.
        ticket: Ticket,
        /// What it said, or why not.
        answer: Result<OldAnswer, Refusal>,
    },
    /// The old volume wants its guest back: a hint, the swap may have come too far.
    SwapCallOff {
        /// The operation of the new volume.
        swap: OperationId,
    },
    /// `hearth host fence`: a host is dead.
    FenceHost(Arc<FenceHost>),
    /// How a call of an operation's step, or its probe, ended.
    JobResult {
        /// Which job it was.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
    /// A call that nobody waited for any more has returned after all.
    CallReturned {
        /// The call's operation.
        operation_id: OperationId,
        /// Its epoch.
        epoch: u64,
        /// Its step.
        step: Step,
        /// How it ended.
        outcome: Outcome,
    },
    /// The truth about a volume with outstanding calls.
    OutstandingProbed {
        /// How the probe ended.
        outcome: Outcome,
        /// How many probes there were.
        attempt: u32,
        /// The generation at which it was decided to look: the answer says nothing about calls recorded later.
        asked_at: u64,
    },
    /// The actor has just been activated: open operations go on where the record says they stood (P7).
    Resume,
    /// Does nothing: sent to activate the actor, whose activation resumes what is open.
    Wake,
}

impl Command {
    /// The name for events, logs and admin views.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create(request) => match request.adopts {
                None => "volume_create",
                Some(_) => "volume_manage",
            },
            Self::Unmanage => "volume_unmanage",
            Self::Update(_) => "volume_update",
            Self::Delete { force: false, .. } => "volume_delete",
            Self::Delete { force: true, .. } => "volume_force_delete",
            Self::WriteMetadata(write) => match write.kind {
                MetadataKind::User => "volume_metadata_write",
                MetadataKind::Image => "volume_image_metadata_write",
            },
            Self::SetBootable { .. } => "volume_set_bootable",
            Self::SetReadonly { .. } => "volume_set_readonly",
            Self::Extend { .. } => "volume_extend",
            Self::ResetStatus { .. } => "volume_reset_status",
            Self::SnapshotCreate(request) => match request.adopts {
                None => "snapshot_create",
                Some(_) => "snapshot_manage",
            },
            Self::SnapshotUnmanage { .. } => "snapshot_unmanage",
            Self::SnapshotUpdate { .. } => "snapshot_update",
            Self::SnapshotWriteMetadata { .. } => "snapshot_metadata_write",
            Self::SnapshotDelete { force: false, .. } => "snapshot_delete",
            Self::SnapshotDelete { force: true, .. } => "snapshot_force_delete",
            Self::SnapshotResetStatus { .. } => "snapshot_reset_status",
            Self::SnapshotProgress { .. } => "snapshot_update_status",
            Self::Revert { .. } => "volume_revert",
            Self::Reimage(_) => "volume_reimage",
            Self::UploadImage { .. } => "volume_upload_image",
            Self::Migrate(_) => "volume_migrate",
            Self::CompleteMigration { .. } => "volume_complete_migration",
            Self::Retype(_) => "volume_retype",
            Self::Lend { .. } => "volume_lend",
            Self::Lent { .. } => "volume_lent",
            Self::Returned { .. } => "volume_returned",
            Self::AttachmentCreate { .. } => "attachment_create",
            Self::AttachmentUpdate { .. } => "attachment_update",
            Self::AttachmentComplete { .. } => "attachment_complete",
            Self::AttachmentDelete { .. } => "attachment_delete",
            Self::Reserve => "volume_reserve",
            Self::Unreserve => "volume_unreserve",
            Self::BeginDetaching => "volume_begin_detaching",
            Self::RollDetaching => "volume_roll_detaching",
            Self::Attach(_) => "volume_attach",
            Self::Detach { .. } => "volume_detach",
            Self::InitializeConnection { .. } => "volume_initialize_connection",
            Self::TerminateConnection { .. } => "volume_terminate_connection",
            Self::ForceDetach { .. } => "volume_force_detach",
            Self::ServerAttach(_) => "server_attach",
            Self::ServerDetach { .. } => "server_detach",
            Self::ServerReplug(_) => "server_replug",
            Self::ServerAttachmentUpdate { .. } => "server_attachment_update",
            Self::ServerSwap(_) => "server_swap",
            Self::SwapWord(_) => "swap_word",
            Self::SwapAnswered { .. } => "swap_answered",
            Self::SwapCallOff { .. } => "swap_call_off",
            Self::FenceHost(_) => "host_fence",
            Self::JobResult { .. } => "job_result",
            Self::CallReturned { .. } => "call_returned",
            Self::OutstandingProbed { .. } => "outstanding_probed",
            Self::Resume => "resume",
            Self::Wake => "wake",
        }
    }
}

impl Command {
    /// Whether it may end what a server has, so that a Compute elsewhere may have to be asked.
    pub const fn may_disconnect(&self) -> bool {
        matches!(
            self,
            Self::AttachmentDelete { .. }
                | Self::Detach { .. }
                | Self::TerminateConnection { .. }
                | Self::ForceDetach { .. }
        )
    }

    /// The host that the volume is connected to, if the command is admitted.
    pub fn connects(&self) -> Option<&str> {
        let connector = match self {
            Self::AttachmentCreate { connector, .. } => connector.as_ref()?,
            Self::AttachmentUpdate { connector, .. } | Self::InitializeConnection { connector } => connector,
            Self::ServerAttach(request) if !request.without_host => &request.connector,
            Self::ServerReplug(request) => &request.connector,
            Self::Attach(request) => return request.host_name.as_deref(),
            Self::ServerSwap(request) => return Some(&request.host),
            _ => return None,
        };
        connector.get("host").and_then(Value::as_str)
    }
}

/// What is released because a host is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceHost {
    /// `connector.host`.
    pub host: String,
    /// How often it was fenced.
    pub epoch: u64,
    /// How it is known.
    pub proof: String,
    /// The servers on it.
    pub servers: Vec<ServerId>,
}

/// The arguments of a create, validated and with every default filled in.
#[derive(Clone, Debug)]
pub struct CreateVolume {
    /// The new id.
    pub volume_id: VolumeId,
    /// GiB.
    pub size_gib: u32,
    /// Display name.
    pub name: Option<String>,
    /// Display description.
    pub description: Option<String>,
    /// User metadata.
    pub metadata: Metadata,
    /// The type.
    pub volume_type_id: Option<VolumeTypeId>,
    /// The type's revision that the request was judged by: the commit holds only while the type has it. None: not looked at.
    pub type_revision: Option<u64>,
    /// From the type.
    pub multiattach: bool,
    /// Availability zone.
    pub availability_zone: String,
    /// `host@backend#pool`, where its source is; none: see `wanted`.
    pub host: Option<String>,
    /// What its backend must have; none, and no host either: no backend fits, the volume ends in `error`.
    pub wanted: Option<Wanted>,
    /// Whether servers may boot from it: as its source.
    pub bootable: bool,
    /// What it is made from.
    pub origin: Option<Origin>,
    /// The image that it is made from; never beside an origin.
    pub image: Option<FromImage>,
    /// It is an object of the backend already, called so, of `size_gib`.
    pub adopts: Option<Text>,
}

/// The arguments of a reimage, validated.
#[derive(Clone, Debug)]
pub struct Reimage {
    /// The image.
    pub image: FromImage,
    /// What it asks of the volume.
    pub needs: ImageNeeds,
    /// A reserved volume will do as well.
    pub reserved_allowed: bool,
}

/// The arguments of a migration, validated.
#[derive(Clone, Debug)]
pub struct MigrateVolume {
    /// `host@backend` or `host@backend#pool`.
    pub host: String,
    /// Show a volume that nobody uses as in maintenance meanwhile.
    pub lock_volume: bool,
    /// What the volume's type asks of a backend.
    pub extra_specs: ExtraSpecs,
}

/// The arguments of a change of the type, validated. Its limits are those of the new type.
#[derive(Clone, Debug)]
pub struct RetypeVolume {
    /// The new type.
    pub volume_type_id: VolumeTypeId,
    /// Its revision that the request was judged by: the commit holds only while the type has it.
    pub type_revision: u64,
    /// From the new type.
    pub multiattach: bool,
    /// What the new type asks of a backend.
    pub extra_specs: ExtraSpecs,
    /// The volume may be brought to another backend (`migration_policy`).
    pub migration_allowed: bool,
}

/// The arguments of a snapshot's creation, validated.
#[derive(Clone, Debug)]
pub struct CreateSnapshot {
    /// The new id.
    pub snapshot_id: SnapshotId,
    /// Display name.
    pub name: Option<String>,
    /// Display description.
    pub description: Option<String>,
    /// User metadata.
    pub metadata: Metadata,
    /// A volume in use will do as well: `force`, or the caller's microversion (≥ 3.66).
    pub in_use_allowed: bool,
    /// It is an object of the backend already.
    pub adopts: Option<Adoption>,
}

/// An object that becomes a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// What it is called.
    pub reference: Text,
    /// GiB.
    pub size_gib: u32,
}

/// The arguments of an update: outer `None` leaves the field alone.
#[derive(Clone, Debug, Default)]
pub struct UpdateVolume {
    /// Display name.
    pub name: Option<Option<String>>,
    /// Display description.
    pub description: Option<Option<String>>,
    /// Replaces all user metadata.
    pub metadata: Option<Metadata>,
}
