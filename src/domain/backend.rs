//! The language spoken with storage backends and hypervisors: requests, their keys, and what may come back.
//!
//! It is data, so that the same request can be decided on by the pure core, kept in an operation, sent to a driver in this
//! process or to `hearth sim-backend` over a socket, and replayed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::attachment::AttachMode;
pub use super::deadlines::Deadlines;
use super::document::Document;
use super::ids::{AttachmentId, ExportName, ImageId, OperationId, ProjectId, ServerId, SnapshotId, VolumeId};
use super::image::ToImage;
use super::operation::Step;
use super::text::Text;

/// The idempotency key of one backend call (design §3.8). A driver that has already carried a key out answers as before;
/// one that is carrying it out lets the second caller wait for the first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallKey {
    /// The volume.
    pub volume_id: VolumeId,
    /// The operation.
    pub operation_id: OperationId,
    /// The operation's epoch.
    pub epoch: u64,
    /// The operation's step.
    pub step: Step,
}

/// One call to a backend or hypervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Idempotency key.
    pub key: CallKey,
    /// What to do.
    pub request: Request,
}

/// Everything that a backend or a hypervisor can be asked to do. Every request is idempotent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Make the volume. Already there with this size and complete: `Done`. There with another size: `Refused`; never
    /// overwritten.
    Create {
        /// Size in GiB.
        size_gib: u32,
    },
    /// Make the volume with the contents that another volume of the same backend has at one moment of the call, and grow it to
    /// `size_gib`. The source is not changed. A repetition by the same operation: `Done` as before. A volume that is there
    /// already, and was not made by this operation: `Refused`, never overwritten. A source that is missing or larger:
    /// `Refused`. A clone that was cut off leaves no volume.
    CreateClonedVolume {
        /// The volume that is copied.
        source_volume_id: VolumeId,
        /// Size of the new volume in GiB, at least that of the source.
        size_gib: u32,
    },
    /// The same from one of the source's snapshots.
    CreateVolumeFromSnapshot {
        /// The volume that the snapshot is of.
        source_volume_id: VolumeId,
        /// The snapshot.
        snapshot_id: SnapshotId,
        /// Size of the new volume in GiB, at least that of the snapshot.
        size_gib: u32,
    },
    /// Take an object that is not Hearth's as the volume, by its `reference` and with all it holds; then it is not under that
    /// reference any more. It must have `size_gib`, rounded up to whole GiB, and is given the rest of the last one. The volume
    /// is there already with this size: `Done`. No such object, one of another size or one that may not be taken (in use, not a
    /// whole object of its own): `Refused`, and it stays what it is.
    Adopt {
        /// What the object is called.
        reference: String,
        /// Its size in GiB.
        size_gib: u32,
    },
    /// Let go of the volume: it becomes an object that is not Hearth's, with all it holds, under the reference
    /// [`volume_reference`](super::reference::volume_reference). Not there: `Done`. Live exports or snapshots of the volume:
    /// `Refused`. An adoption that was on its way meanwhile must not bring the volume back.
    Disown,
    /// [`Self::Adopt`] for a snapshot of the volume, which must be there and be no smaller.
    AdoptSnapshot {
        /// Its id.
        snapshot_id: SnapshotId,
        /// What the object is called.
        reference: String,
        /// Its size in GiB.
        size_gib: u32,
    },
    /// [`Self::Disown`] for a snapshot: [`snapshot_reference`](super::reference::snapshot_reference). While a volume is being
    /// made from it: `Refused` as busy.
    DisownSnapshot {
        /// Its id.
        snapshot_id: SnapshotId,
    },
    /// What the backend holds, Hearth's and not. Read-only, and of no volume.
    ListObjects,
    /// Make the volume as a byte-exact copy of what another backend holds under the same id, holes kept, compared with the
    /// source and durable before `Done`. The source has no live exports, and nobody changes or removes it while the operation
    /// stands. It is carried out by the destination's driver, which gets the source's by `drivers::Backend::copy_from`. A
    /// repetition by the same operation: `Done` as before. A volume that is there already, and was not made by this operation:
    /// `Refused`, never overwritten. A copy that was cut off leaves no volume.
    CopyFromBackend {
        /// `host@backend#pool` of the source.
        source_backend: Text,
        /// Size of the volume in GiB, that of the source.
        size_gib: u32,
    },
    /// Make the volume, blank, for [`Request::MirrorGuest`] to fill. A repetition by the same operation: `Done` as before. A
    /// volume that is there already, and was not made by this operation: `Refused`.
    CreateMirrorTarget {
        /// Size of the volume in GiB, that of the source.
        size_gib: u32,
    },
    /// Remove the volume and everything of it; not there: `Done`. Live exports or snapshots of the volume: `Refused`. A create
    /// that was on its way meanwhile must not bring the volume back; a copy of an earlier epoch that makes this volume is
    /// stopped, and leaves nothing: this is how copies are cancelled.
    Delete,
    /// Keep what the volume holds at one moment of the call, also while guests write to it; then the moment lies behind
    /// everything that they were told is on disk before the call. Already there: `Done`, and not taken again.
    CreateSnapshot {
        /// Its id.
        snapshot_id: SnapshotId,
    },
    /// Remove a snapshot; not there: `Done`. While a volume is being made from it: `Refused` as busy. A creation that was on its
    /// way meanwhile must not bring it back.
    DeleteSnapshot {
        /// Its id.
        snapshot_id: SnapshotId,
    },
    /// Put the volume back to what the snapshot keeps, whole or not at all. The snapshot stays. Live exports, a snapshot that is
    /// missing or has another size than the volume: `Refused`.
    RevertToSnapshot {
        /// The snapshot.
        snapshot_id: SnapshotId,
    },
    /// Make the volume with the contents of an image, and grow it to `size_gib`. A repetition by the same operation: `Done` as
    /// before. A volume that is there already, and was not made by this operation: `Refused`, never overwritten. An image that
    /// does not fit, is not what it is declared to be, or refers to anything outside of itself: `Refused`. What was cut off
    /// leaves no volume.
    CreateFromImage {
        /// The image.
        image_id: ImageId,
        /// Whose volume it is.
        project_id: ProjectId,
        /// Size of the volume in GiB, at least that of the disk in the image.
        size_gib: u32,
    },
    /// Replace what the volume holds by the contents of an image, whole or not at all; its size stays. Live exports, a volume
    /// that is missing, and an image that [`Self::CreateFromImage`] would refuse: `Refused`. A repetition by the same operation:
    /// `Done` as before.
    Reimage {
        /// The image.
        image_id: ImageId,
        /// Whose volume it is.
        project_id: ProjectId,
    },
    /// Have the image service make an image without data. There already: `Done`. After [`Self::DiscardImage`]: `Refused`.
    CreateImage {
        /// The image.
        image: Box<ToImage>,
    },
    /// Give the image what the volume holds at one moment of the call, also while guests write to it. The volume is read as plain
    /// blocks, whatever they look like. Whole already: `Done`, and not given again. After [`Self::DiscardImage`]: `Refused`.
    UploadImage {
        /// The image.
        image: Box<ToImage>,
    },
    /// Remove an image that is not whole; not there, or whole: `Done`. Calls of the same operation that were on their way end
    /// first, and later ones have no effect.
    DiscardImage {
        /// The image.
        image_id: ImageId,
        /// Whose it is.
        project_id: ProjectId,
    },
    /// Grow to at least this size; never shrinks. Exports that exist come back under their names with the new size.
    /// `Done` says the real size afterwards.
    Extend {
        /// New size in GiB.
        new_size_gib: u32,
    },
    /// Make the volume reachable under `export`. `Done` carries the connection information.
    Export {
        /// The attachment it is for.
        attachment_id: AttachmentId,
        /// Its name, new for each connection.
        export: ExportName,
        /// The connector, as the client gave it.
        connector: Document,
        /// Effective mode, never `Undecided`.
        mode: AttachMode,
    },
    /// End the export for good: a hard fence. Nobody reads or writes through this name afterwards, and the name is never
    /// served again. Not there: `Done`.
    Unexport {
        /// Its name.
        export: ExportName,
    },
    /// What is true of the volume at the backend now. Read-only.
    Probe,
    /// Plug the volume into a running guest. Already plugged for this attachment: `Done`.
    Plug {
        /// The attachment (also the guest's device id).
        attachment_id: AttachmentId,
        /// How to reach the volume: what `Export` answered.
        connection_info: Document,
        /// Effective mode.
        mode: AttachMode,
    },
    /// Unplug it. Not plugged: `Done`. `Done` is the proof that the device is gone from the guest and its connection
    /// closed; a guest that does not let go in time: `Refused`, and the device stays.
    Unplug {
        /// The attachment.
        attachment_id: AttachmentId,
    },
    /// Tell a running guest the new size of a plugged volume; idle guests too (one guest I/O is caused if needed).
    ResizeGuest {
        /// The attachment.
        attachment_id: AttachmentId,
        /// New size in GiB.
        new_size_gib: u32,
    },
    /// Whether the attachment's device is in the guest, and which export it uses. Read-only.
    ProbeGuest {
        /// The attachment.
        attachment_id: AttachmentId,
    },
    /// Copy the plugged volume to another connection while the guest goes on, until both are level; from then on every
    /// write of the guest is on both before the guest hears that it is done. `Done`: they are level; the guest still reads
    /// through the old connection. Already level for this destination, or moved there: `Done`; under way for it: joined, also across
    /// a restart of the service. A call that is late, so that the guest has been moved by a younger operation since: `Refused`.
    /// `Refused` or `Failed`: the guest uses the old connection only, and nothing of the new one is left open. The other connection leads to
    /// the same volume at another backend, or to another volume, which is no smaller: the volume of the call's key.
    MirrorGuest {
        /// What the device is named after.
        attachment_id: AttachmentId,
        /// How to reach the destination: what its `Export` answered.
        connection_info: Document,
        /// Effective mode of the device. The export behind `connection_info` takes writes in any case: the copy needs it.
        mode: AttachMode,
    },
    /// End the level mirror by moving the guest to the new connection and closing the old one: the point of no return of a
    /// migration. Already moved: `Done`. Not level, or no mirror: `Refused`. `Refused` or `Failed`: the guest is still on the old one.
    PivotGuest {
        /// The attachment.
        attachment_id: AttachmentId,
        /// How to reach the destination, as in the mirror.
        connection_info: Document,
    },
    /// Stop the mirror, however far it is, and close the new connection: `Done` is the proof that the guest uses the old one
    /// only, or has no such device, and that no mirror or pivot to this destination that was on its way can begin any more. No mirror: `Done`. The guest
    /// has been moved already: `Refused`, and nothing changes. It does not wait for the mirror's own call, which ends `Failed`.
    UnmirrorGuest {
        /// The attachment.
        attachment_id: AttachmentId,
        /// How to reach the destination, as in the mirror.
        connection_info: Document,
    },
}

impl Request {
    /// Whether a hypervisor answers it rather than a storage backend.
    pub const fn is_for_guest(&self) -> bool {
        matches!(
            self,
            Self::Plug { .. }
                | Self::Unplug { .. }
                | Self::ResizeGuest { .. }
                | Self::ProbeGuest { .. }
                | Self::MirrorGuest { .. }
                | Self::PivotGuest { .. }
                | Self::UnmirrorGuest { .. }
        )
    }

    /// Whether it only looks: carried out any number of times it changes nothing, so its answer is never remembered for its
    /// key, it may be asked of a backend that is not trusted with changes, and it is never what makes a volume busy.
    pub const fn is_read_only(&self) -> bool {
        matches!(self, Self::Probe | Self::ProbeGuest { .. } | Self::ListObjects)
    }

    /// Whether it may copy all bytes of a volume, and so take hours where every other request takes seconds.
    pub const fn is_copy(&self) -> bool {
        matches!(
            self,
            Self::CreateClonedVolume { .. }
                | Self::CreateVolumeFromSnapshot { .. }
                | Self::CreateSnapshot { .. }
                | Self::RevertToSnapshot { .. }
                | Self::CopyFromBackend { .. }
                | Self::MirrorGuest { .. }
                | Self::CreateFromImage { .. }
                | Self::Reimage { .. }
                | Self::UploadImage { .. }
        )
    }

    /// Whether the image service has a part in it.
    pub const fn needs_images(&self) -> bool {
        matches!(
            self,
            Self::CreateFromImage { .. }
                | Self::Reimage { .. }
                | Self::CreateImage { .. }
                | Self::UploadImage { .. }
                | Self::DiscardImage { .. }
        )
    }

    /// Whether it takes room of the backend, or gives it back.
    pub const fn changes_capacity(&self) -> bool {
        self.is_copy()
            || matches!(
                self,
                Self::Create { .. }
                    | Self::CreateMirrorTarget { .. }
                    | Self::Delete
                    | Self::DeleteSnapshot { .. }
                    | Self::Extend { .. }
                    | Self::Adopt { .. }
                    | Self::Disown
                    | Self::AdoptSnapshot { .. }
                    | Self::DisownSnapshot { .. }
            )
    }

    /// A short name for logs, metrics and fault rules.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::CreateClonedVolume { .. } => "create_cloned_volume",
            Self::CreateVolumeFromSnapshot { .. } => "create_volume_from_snapshot",
            Self::Adopt { .. } => "adopt",
            Self::Disown => "disown",
            Self::AdoptSnapshot { .. } => "adopt_snapshot",
            Self::DisownSnapshot { .. } => "disown_snapshot",
            Self::ListObjects => "list_objects",
            Self::CopyFromBackend { .. } => "copy_from_backend",
            Self::CreateMirrorTarget { .. } => "create_mirror_target",
            Self::Delete => "delete",
            Self::CreateSnapshot { .. } => "create_snapshot",
            Self::DeleteSnapshot { .. } => "delete_snapshot",
            Self::RevertToSnapshot { .. } => "revert_to_snapshot",
            Self::CreateFromImage { .. } => "create_from_image",
            Self::Reimage { .. } => "reimage",
            Self::CreateImage { .. } => "create_image",
            Self::UploadImage { .. } => "upload_image",
            Self::DiscardImage { .. } => "discard_image",
            Self::Extend { .. } => "extend",
            Self::Export { .. } => "export",
            Self::Unexport { .. } => "unexport",
            Self::Probe => "probe",
            Self::Plug { .. } => "plug",
            Self::Unplug { .. } => "unplug",
            Self::ResizeGuest { .. } => "resize_guest",
            Self::ProbeGuest { .. } => "probe_guest",
            Self::MirrorGuest { .. } => "mirror_guest",
            Self::PivotGuest { .. } => "pivot_guest",
            Self::UnmirrorGuest { .. } => "unmirror_guest",
        }
    }
}

/// A running guest, as the server's record tells it when the call is made (the server actor fills it in).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The server.
    pub server_id: ServerId,
    /// The hypervisor that runs it.
    pub hypervisor: super::server::HypervisorKind,
    /// QMP socket path, for `qmp`.
    pub qmp_socket: Option<String>,
    /// Whether the guest's uuid must equal the server id.
    pub check_uuid: bool,
}

/// How a call ended. Certain and uncertain failures are different: `Unknown` is probed, never assumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is done, durably.
    Done {
        /// What the request answers.
        answer: Answer,
    },
    /// Certainly not done, and asking again would be refused again (no space, bad connector, guest holds on).
    Refused {
        /// Why; safe to show to the owner: no path, no secret.
        cause: Cause,
    },
    /// Certainly not done and nothing is left behind; asking again may succeed.
    Failed {
        /// Why.
        cause: Cause,
    },
    /// Nobody knows: the deadline passed, the connection broke, the backend contradicted itself.
    Unknown {
        /// Why.
        cause: Cause,
    },
}

impl Outcome {
    /// `Done` without an answer.
    pub const fn done() -> Self {
        Self::Done { answer: Answer::Nothing }
    }
}

/// The reason of a failure, in words for the volume's owner and a code for user messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What kind.
    pub kind: CauseKind,
    /// For people: lower case, no full stop, no host path, no secret.
    pub text: String,
}

impl Cause {
    /// A cause of `kind`.
    pub fn new(kind: CauseKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

/// The kinds of failure which lead to different answers or user messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// The backend has no room.
    NoSpace,
    /// The backend is missing, not writable or not reachable.
    Unavailable,
    /// The connector lacks what the backend needs: the client's mistake (400).
    BadConnector,
    /// The object is in use at the backend.
    Busy,
    /// The image, or the image service: no fault of the backend.
    Image,
    /// The guest refused or did not let go of the device.
    Guest,
    /// The pool turned the call away or let it wait in vain (full queue, open circuit): it was never started, and the
    /// operation asks again.
    NotStarted,
    /// The call had no answer in time.
    Deadline,
    /// Anything else.
    Other,
}

/// What a successful call says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// Nothing more than that it is done.
    Nothing,
    /// The real size after create or extend, GiB.
    Size {
        /// GiB.
        size_gib: u32,
    },
    /// What `Export` made: the connection information without the members that Hearth adds.
    Connection {
        /// Flat object with `driver_volume_type` at the same level.
        info: Value,
    },
    /// The truth about a volume.
    Truth {
        /// The truth.
        truth: Truth,
    },
    /// What the backend holds.
    Objects {
        /// In no order.
        objects: Vec<BackendObject>,
    },
    /// Whether the device is in the guest.
    Plugged {
        /// Yes or no.
        plugged: bool,
        /// The export that it reads from now; none when it is not plugged, or when its connection names none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        export: Option<ExportName>,
    },
}

/// Something that a backend holds: a volume or snapshot of Hearth's, or what could become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendObject {
    /// What it is called.
    pub reference: String,
    /// Its size, rounded up to whole GiB.
    pub size_gib: u32,
    /// What it is, as far as that can be told.
    pub kind: ObjectKind,
    /// Why it cannot be taken, besides being Hearth's.
    pub trouble: Option<String>,
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ObjectKind {
    /// A volume.
    Volume {
        /// Hearth's.
        id: Option<VolumeId>,
    },
    /// A snapshot.
    Snapshot {
        /// Hearth's.
        id: Option<SnapshotId>,
        /// The volume that it was taken of.
        volume_id: VolumeId,
    },
}

/// What a backend knows of one volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// The volume exists, complete.
    pub exists: bool,
    /// Its real size, GiB; 0 when it does not exist.
    pub size_gib: u32,
    /// The exports that are served now.
    pub exports: Vec<ExportName>,
    /// Its snapshots that exist, complete.
    #[serde(default)]
    pub snapshots: Vec<SnapshotId>,
    /// A call for this volume is still under way at the backend (its effects may still appear).
    pub busy: bool,
}
