//! The durable operation: the owner of every transitional status (promise I2). It is written before its first effect and
//! removed in the commit that settles the volume.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attachment::AttachMode;
use super::backend::{CallKey, Cause};
use super::compute::ComputeNotice;
use super::document::Document;
use super::ids::{AttachmentId, ExportName, OperationId, ProjectId, RequestId, ServerId, SnapshotId, UserId};
use super::image::{FromImage, ToImage};
pub use super::lane::Lane;
pub use super::migration::{GuestDisk, Migration, Retype};
use super::server_action::ServerActionKind;
use super::status::VolumeStatus;
use super::swap::{SwapIn, SwapOut};
use super::text::Text;
use super::time::Timestamp;
use super::volume::state::Origin;

/// What an operation is for, with its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OperationKind {
    /// Make the volume at its backend.
    Create,
    /// Make the volume from another one's contents, which are borrowed first (P8).
    CreateFrom(Origin),
    /// Make it from an image.
    CreateFromImage(Box<FromImage>),
    /// Replace its contents by an image's.
    Reimage(Box<FromImage>),
    /// Make an image from its contents.
    UploadImage(Box<ToImage>),
    /// Take an object of the backend, which is not Hearth's, as the volume.
    Manage {
        /// What the object is called at the backend.
        reference: Text,
        /// Its size, GiB.
        size_gib: u32,
    },
    /// Forget the volume; its backend keeps the data as an object that is not Hearth's.
    Unmanage,
    /// Take an object of the backend as a snapshot.
    ManageSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// What the object is called at the backend.
        reference: Text,
    },
    /// Forget a snapshot; its backend keeps the data.
    UnmanageSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Grow it.
    Extend {
        /// Target size, GiB.
        new_size_gib: u32,
    },
    /// Remove it, its snapshots first.
    Delete,
    /// Put it back to its latest snapshot.
    Revert {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Bring it to another backend, and to another type if that is why.
    Migrate(Box<Migration>),
    /// Remove what the volume has at a backend that is not its own: where it was before a migration, or where one that failed
    /// wanted to bring it. Retried until it succeeds.
    DiscardCopy {
        /// `host@backend#pool`.
        backend: Text,
        /// Exports of it there, which end first.
        exports: Vec<ExportName>,
    },
    /// Tell a Nova elsewhere what has happened to the volume.
    NotifyCompute(Box<ComputeNotice>),
    /// Take a snapshot.
    CreateSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Remove a snapshot.
    DeleteSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Connect an attachment row: `PUT /attachments/{id}`, or `POST` with a connector.
    Connect {
        /// The row.
        attachment_id: AttachmentId,
        /// As the client gave it, mode filled in.
        connector: Document,
        /// Effective mode.
        mode: AttachMode,
        /// The row was made by the same request and vanishes when it fails.
        row_is_new: bool,
    },
    /// End an attachment: `DELETE /attachments/{id}`.
    Disconnect {
        /// The row.
        attachment_id: AttachmentId,
    },
    /// Compute's attach: export, plug, complete.
    ServerAttach {
        /// The row.
        attachment_id: AttachmentId,
        /// The server.
        server_id: ServerId,
        /// The connector of the server's host.
        connector: Document,
        /// The server is being made with it: part of that action, not one of its own.
        #[serde(default)]
        is_boot: bool,
    },
    /// Compute's detach: unplug, unexport, remove the row with its block-device mapping.
    ServerDetach {
        /// The row.
        attachment_id: AttachmentId,
        /// The server.
        server_id: ServerId,
        /// The server is going away: a guest that does not answer does not stop the detach, the fence of the export does.
        server_gone: bool,
    },
    /// Put the volume back into a guest that has come without it: one that was started again, or at last. Its export is made
    /// anew, so that whatever is left of the guest's former process reaches nothing.
    Replug {
        /// The row.
        attachment_id: AttachmentId,
        /// The connector of the server's host.
        connector: Document,
        /// Whether the owner is told when it fails: not each time that it is tried again.
        is_told: bool,
    },
    /// Take another volume's place under its guest.
    SwapIn(Box<SwapIn>),
    /// Leave the guest to another volume.
    SwapOut(Box<SwapOut>),
    /// Remove exports that no row owns any more. Retried until it succeeds.
    Repair,
    /// Connect a host: `os-initialize_connection`.
    Initialize {
        /// The connection, new or the one that the host has already.
        connection_id: AttachmentId,
        /// As the client gave it.
        connector: Document,
        /// Effective mode.
        mode: AttachMode,
    },
    /// End what clients of the old actions hold; nothing of it is released before all of it is proven gone.
    Release {
        /// What was asked for.
        verb: ReleaseVerb,
        /// The row that goes.
        attachment_id: Option<AttachmentId>,
        /// The connections that end.
        connections: Vec<AttachmentId>,
    },
}

/// The actions that release something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseVerb {
    /// `os-detach`.
    Detach,
    /// `os-terminate_connection`.
    Terminate,
    /// `os-force_detach`: both.
    ForceDetach,
}

/// The names of those that connect a volume to a host.
pub const CONNECTING: [&str; 4] = ["connect", "initialize", "replug", "server_attach"];

impl OperationKind {
    /// The word used in logs, metrics, admin views and the `operations` table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateFrom(_) => "create_from",
            Self::CreateFromImage(_) => "create_from_image",
            Self::Reimage(_) => "reimage",
            Self::UploadImage(_) => "upload_image",
            Self::Manage { .. } => "manage",
            Self::Unmanage => "unmanage",
            Self::ManageSnapshot { .. } => "manage_snapshot",
            Self::UnmanageSnapshot { .. } => "unmanage_snapshot",
            Self::Extend { .. } => "extend",
            Self::Delete => "delete",
            Self::Revert { .. } => "revert",
            Self::Migrate(migration) if migration.retype.is_some() => "retype",
            Self::Migrate(_) => "migrate",
            Self::DiscardCopy { .. } => "discard_copy",
            Self::NotifyCompute(_) => "notify_compute",
            Self::CreateSnapshot { .. } => "create_snapshot",
            Self::DeleteSnapshot { .. } => "delete_snapshot",
            Self::Connect { .. } => "connect",
            Self::Disconnect { .. } => "disconnect",
            Self::ServerAttach { .. } => "server_attach",
            Self::ServerDetach { .. } => "server_detach",
            Self::Replug { .. } => "replug",
            Self::SwapIn(_) => "swap_in",
            Self::SwapOut(_) => "swap_out",
            Self::Repair => "repair",
            Self::Initialize { .. } => "initialize",
            Self::Release { .. } => "release",
        }
    }

    /// Which lane it runs in.
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Create
            | Self::CreateFrom(_)
            | Self::CreateFromImage(_)
            | Self::Reimage(_)
            | Self::UploadImage(_)
            | Self::Manage { .. }
            | Self::Unmanage
            | Self::Extend { .. }
            | Self::Delete
            | Self::Revert { .. }
            | Self::Migrate(_) => Lane::Data,
            Self::DiscardCopy { .. } => Lane::Cleanup,
            Self::NotifyCompute(_) => Lane::Notice,
            Self::CreateSnapshot { .. }
            | Self::DeleteSnapshot { .. }
            | Self::ManageSnapshot { .. }
            | Self::UnmanageSnapshot { .. } => Lane::Snapshot,
            _ => Lane::Connection,
        }
    }

    /// Whether it makes the volume.
    pub const fn creates_volume(&self) -> bool {
        matches!(self, Self::Create | Self::CreateFrom(_) | Self::CreateFromImage(_) | Self::Manage { .. })
    }

    /// Whether the contents are being written: nobody may be connected to them before they are whole.
    pub const fn writes_contents(&self) -> bool {
        self.creates_volume() || matches!(self, Self::Reimage(_) | Self::Revert { .. })
    }

    /// Whether it takes the volume or a snapshot out of the record and promises that the data stay.
    pub const fn keeps_data(&self) -> bool {
        matches!(self, Self::Unmanage | Self::UnmanageSnapshot { .. })
    }

    /// The migration that it is.
    pub fn migration(&self) -> Option<&Migration> {
        match self {
            Self::Migrate(migration) => Some(migration),
            _ => None,
        }
    }

    /// The swap that it leads.
    pub fn swap_in(&self) -> Option<&SwapIn> {
        match self {
            Self::SwapIn(swap) => Some(swap),
            _ => None,
        }
    }

    /// The swap that it waits for.
    pub fn swap_out(&self) -> Option<&SwapOut> {
        match self {
            Self::SwapOut(swap) => Some(swap),
            _ => None,
        }
    }

    /// The change of the type that it brings.
    pub fn retype(&self) -> Option<Retype> {
        self.migration().and_then(|migration| migration.retype)
    }

    /// The backend that it changes, where that is not the volume's own: what is promised or left there counts as its room.
    pub fn other_backend(&self) -> Option<&Text> {
        match self {
            Self::Migrate(migration) => Some(&migration.destination),
            Self::DiscardCopy { backend, .. } => Some(backend),
            _ => None,
        }
    }

    /// The snapshot that it takes or removes.
    pub const fn snapshot_id(&self) -> Option<SnapshotId> {
        match self {
            Self::CreateSnapshot { snapshot_id }
            | Self::DeleteSnapshot { snapshot_id }
            | Self::ManageSnapshot { snapshot_id, .. }
            | Self::UnmanageSnapshot { snapshot_id } => Some(*snapshot_id),
            _ => None,
        }
    }

    /// The attachment row it works on.
    pub fn attachment_id(&self) -> Option<AttachmentId> {
        match self {
            Self::Connect { attachment_id, .. }
            | Self::Disconnect { attachment_id }
            | Self::ServerAttach { attachment_id, .. }
            | Self::ServerDetach { attachment_id, .. }
            | Self::Replug { attachment_id, .. } => Some(*attachment_id),
            Self::SwapIn(swap) => Some(swap.attachment_id),
            Self::SwapOut(swap) => Some(swap.attachment_id),
            Self::Release { attachment_id, .. } => *attachment_id,
            _ => None,
        }
    }

    /// The action of a server that the whole operation is (§8.2). The detach of a server that goes away is part of its deletion.
    pub fn server_action(&self) -> Option<(&ServerId, ServerActionKind)> {
        use ServerActionKind as Kind;
        match self {
            Self::ServerAttach { server_id, is_boot: false, .. } => Some((server_id, Kind::AttachVolume)),
            Self::ServerDetach { server_id, server_gone: false, .. } => Some((server_id, Kind::DetachVolume)),
            // What the old volume refuses has never been one.
            Self::SwapIn(swap) if swap.disk.is_some() => Some((&swap.server_id, Kind::SwapVolume)),
            _ => None,
        }
    }

    /// Whose id names the exports that it makes.
    pub fn export_owner(&self) -> Option<AttachmentId> {
        match self {
            Self::Initialize { connection_id, .. } => Some(*connection_id),
            _ => self.attachment_id(),
        }
    }
}

/// The step an operation stands at. Part of the idempotency key, therefore it names its object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Wait for the operation before it in the same lane, or for those who read what it changes.
    Queued,
    /// Wait until the backend has answered the outstanding calls of earlier operations (design §3.8, R-83).
    Drain,
    /// Make the volume.
    Create,
    /// Ask the source for its contents.
    Borrow,
    /// Make the volume from the source's contents.
    Copy,
    /// Let clients see the new volume before its image is fetched.
    Announce,
    /// Make the volume from the image.
    FetchImage,
    /// Replace the volume's contents by the image's.
    Reimage,
    /// Have the image made, without data.
    CreateImage,
    /// Give the image the volume's contents.
    UploadImage,
    /// Remove the image unless it is whole.
    DiscardImage,
    /// Make an object of the backend the volume.
    Adopt,
    /// Make the volume an object that is not Hearth's.
    Disown,
    /// Make an object of the backend the snapshot.
    AdoptSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Make the snapshot an object that is not Hearth's.
    DisownSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Remove the volume.
    Delete,
    /// Grow the volume.
    Extend,
    /// Put the volume back to the snapshot.
    Revert,
    /// Take the snapshot.
    CreateSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Remove the snapshot.
    DeleteSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Look whether there is nothing of the volume at the migration's destination yet.
    Survey,
    /// Make the volume at the destination from what its own backend holds.
    Transfer,
    /// Make the volume at the destination, blank, for the guest's mirror.
    CreateTarget,
    /// Copy the plugged volume to the destination while the guest writes.
    Mirror {
        /// The row.
        attachment_id: AttachmentId,
    },
    /// Move the guest to the destination.
    Pivot {
        /// The row.
        attachment_id: AttachmentId,
    },
    /// Stop the mirror; the guest stays where it is.
    Unmirror {
        /// The row.
        attachment_id: AttachmentId,
    },
    /// Ask the old volume for its guest's disk.
    Yield,
    /// Wait for the word of the volume that takes the place.
    Yielded,
    /// Tell the old volume that its guest has left it.
    Handover,
    /// Tell the old volume that its guest stays.
    HandBack,
    /// Tell a Nova elsewhere.
    NotifyCompute,
    /// Tell one server's guest the new size.
    ResizeGuest {
        /// The row of that server.
        attachment_id: AttachmentId,
    },
    /// End an export, so that the row can get another one or be released.
    Unexport {
        /// Its name.
        export: ExportName,
    },
    /// Make an export.
    Export {
        /// Its name.
        export: ExportName,
    },
    /// Ask the guest whether it has the disk.
    LookAtGuest {
        /// The row.
        attachment_id: AttachmentId,
    },
    /// Plug the guest.
    Plug {
        /// The row.
        attachment_id: AttachmentId,
    },
    /// Unplug the guest.
    Unplug {
        /// The row.
        attachment_id: AttachmentId,
    },
}

impl Step {
    /// Whether a guest carries it out, not the backend.
    pub const fn is_at_guest(&self) -> bool {
        matches!(
            self,
            Self::ResizeGuest { .. }
                | Self::LookAtGuest { .. }
                | Self::Plug { .. }
                | Self::Unplug { .. }
                | Self::Mirror { .. }
                | Self::Pivot { .. }
                | Self::Unmirror { .. }
        )
    }

    /// The word for logs and views.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Drain => "drain",
            Self::Create => "create",
            Self::Borrow => "borrow",
            Self::Copy => "copy",
            Self::Announce => "announce",
            Self::FetchImage => "fetch_image",
            Self::Reimage => "reimage",
            Self::CreateImage => "create_image",
            Self::UploadImage => "upload_image",
            Self::DiscardImage => "discard_image",
            Self::Adopt => "adopt",
            Self::Disown => "disown",
            Self::AdoptSnapshot { .. } => "adopt_snapshot",
            Self::DisownSnapshot { .. } => "disown_snapshot",
            Self::Delete => "delete",
            Self::Extend => "extend",
            Self::Revert => "revert",
            Self::CreateSnapshot { .. } => "create_snapshot",
            Self::DeleteSnapshot { .. } => "delete_snapshot",
            Self::Survey => "survey",
            Self::Transfer => "transfer",
            Self::CreateTarget => "create_target",
            Self::Mirror { .. } => "mirror",
            Self::Pivot { .. } => "pivot",
            Self::Unmirror { .. } => "unmirror",
            Self::Yield => "yield",
            Self::Yielded => "yielded",
            Self::Handover => "handover",
            Self::HandBack => "hand_back",
            Self::NotifyCompute => "notify_compute",
            Self::ResizeGuest { .. } => "resize_guest",
            Self::Unexport { .. } => "unexport",
            Self::Export { .. } => "export",
            Self::LookAtGuest { .. } => "look_at_guest",
            Self::Plug { .. } => "plug",
            Self::Unplug { .. } => "unplug",
        }
    }
}

/// An open operation. A row of the `operations` table while it is open; gone when it has settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// Its fencing epoch, unique among the operations of its volume.
    pub epoch: u64,
    /// What it is for.
    pub kind: OperationKind,
    /// Where it stands.
    pub step: Step,
    /// How often the step has been tried, from 1.
    pub attempt: u32,
    /// The step was issued before, by a process that is gone, and nobody knows what became of it: a certain failure of the
    /// present call says nothing about that one, so the truth is looked up.
    #[serde(default)]
    pub is_repeated: bool,
    /// The step's outcome is unknown and is being probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probing: Option<Probing>,
    /// The operation is being undone, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoing: Option<Cause>,
    /// GiB reserved in the project's quota until it settles.
    pub reserved_gib: u32,
    /// The status before it, a hint for going back (P10: the result is derived, not remembered).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_status: Option<VolumeStatus>,
    /// Who asked.
    pub requester: Requester,
    /// When it was committed.
    pub started_at: Timestamp,
    /// When the present step began.
    pub step_started_at: Timestamp,
}

/// A probe under way, because the outcome of a step is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probing {
    /// Why the outcome is unknown.
    pub cause: Cause,
    /// Which probe this is, from 1.
    pub attempt: u32,
}

impl Operation {
    /// The key of the present step's call.
    pub fn call_key(&self, volume_id: super::ids::VolumeId) -> CallKey {
        CallKey { volume_id, operation_id: self.id, epoch: self.epoch, step: self.step.clone() }
    }
}

/// The request behind an operation, a message or an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// Request id.
    pub request_id: RequestId,
    /// The caller.
    pub user_id: UserId,
    /// The caller's project.
    pub project_id: ProjectId,
}

/// A backend call that nobody waits for any more but which may still have effects: it blocks new data work, release and
/// deletion until the backend has answered or is known not to be working on it (design §3.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutstandingCall {
    /// The call.
    pub key: CallKey,
    /// Since when.
    pub since: Timestamp,
    /// The volume's generation when it was recorded: only a look decided on since then says anything about it.
    #[serde(default)]
    pub recorded_at: u64,
}

/// The wait before try number `attempt` (from 1; the first one does not wait): 0.5 s doubling up to 30 s.
pub fn backoff(attempt: u32) -> Duration {
    if attempt <= 1 {
        return Duration::ZERO;
    }
    let doubled = 500_u64.saturating_mul(1 << (attempt - 2).min(16));
    Duration::from_millis(doubled.min(30_000))
}
