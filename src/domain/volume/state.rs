//! The state of one volume: its record, its attachment rows and its open operations. They change in one commit.

use serde::{Deserialize, Serialize};

use crate::domain::attachment::Attachment;
use crate::domain::claims::{Claims, Connection, Marker, MarkerKind};
use crate::domain::ids::{AttachmentId, ExportName, ProjectId, ServerId, SnapshotId, UserId, VolumeId, VolumeTypeId};
use crate::domain::metadata::Metadata;
use crate::domain::operation::{Lane, Operation, OperationKind, OutstandingCall};
use crate::domain::snapshot::Snapshot;
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;

/// The volume's own record (`spec/volumes.md` §2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Its id.
    pub id: VolumeId,
    /// Raised by one in each commit; every write is guarded by it.
    pub generation: u64,
    /// The last operation epoch given out. Raised by every operation and by every fence (P3).
    pub epoch: u64,
    /// Owner.
    pub project_id: ProjectId,
    /// Creator.
    pub user_id: UserId,
    /// Display name.
    pub name: Option<Text>,
    /// Display description.
    pub description: Option<Text>,
    /// Size, GiB.
    pub size_gib: u32,
    /// Status word.
    pub status: VolumeStatus,
    /// A hint for display.
    pub previous_status: Option<VolumeStatus>,
    /// Summary of the rows.
    pub attach_status: AttachStatus,
    /// Null unless migrating; kept as the API's word.
    pub migration_status: Option<Text>,
    /// Shown as a string.
    pub bootable: bool,
    /// From the type.
    pub multiattach: bool,
    /// The type.
    pub volume_type_id: Option<VolumeTypeId>,
    /// Availability zone.
    pub availability_zone: Text,
    /// `host@backend#pool`; none while no backend was found.
    pub host: Option<Text>,
    /// User metadata.
    pub metadata: Metadata,
    /// Of the image it was made from, or what a client says of it; shown as `volume_image_metadata`.
    pub image_metadata: Metadata,
    /// Admin metadata (`readonly`, `attached_mode`), merged into the view.
    pub admin_metadata: Metadata,
    /// Whether it counts in the quota.
    pub consumes_quota: bool,
    /// What it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
    /// The backend's own id.
    pub provider_id: Option<Text>,
    /// Exports that no row owns any more and which are still to be removed.
    pub orphan_exports: Vec<ExportName>,
    /// Volumes that are being made from its contents: until they are given back, nothing may change or remove them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loans: Vec<Loan>,
    /// Calls that may still have effects.
    pub outstanding: Vec<OutstandingCall>,
    /// What clients of the old actions hold; never empty ones.
    pub claims: Option<Box<Claims>>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change that the API shows.
    pub updated_at: Option<Timestamp>,
    /// When its deletion began.
    pub terminated_at: Option<Timestamp>,
    /// Soft-deleted: final.
    pub deleted: bool,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// What a volume was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The volume whose contents it got.
    pub source_volume_id: VolumeId,
    /// The snapshot of that volume; none: the volume itself, as it was then.
    pub snapshot_id: Option<SnapshotId>,
}

impl Origin {
    /// The volume that it is a clone of; none when it was made from a snapshot.
    pub fn cloned_volume(&self) -> Option<VolumeId> {
        self.snapshot_id.is_none().then_some(self.source_volume_id)
    }
}

/// The contents of a volume are being read for a new one: the durable marker on the source's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loan {
    /// The volume that is being made.
    pub borrower: VolumeId,
    /// From this snapshot; none: from the volume itself.
    pub snapshot_id: Option<SnapshotId>,
}

impl Volume {
    /// Who has set it to `attaching` or `detaching`, if it is of this kind.
    pub fn marker(&self, kind: MarkerKind) -> Option<&Marker> {
        self.claims.as_ref()?.marker.as_ref().filter(|marker| marker.kind == kind)
    }

    /// The connections of hosts.
    pub fn connections(&self) -> &[Connection] {
        self.claims.as_ref().map_or(&[], |claims| &claims.connections)
    }

    /// The connection with this id.
    pub fn connection(&self, id: AttachmentId) -> Option<&Connection> {
        self.connections().iter().find(|connection| connection.id == id)
    }

    /// Takes a marker of this kind away.
    pub fn drop_marker(&mut self, kind: MarkerKind) {
        if self.marker(kind).is_some() {
            self.change_claims(|claims| claims.marker = None);
        }
    }

    /// Changes the claims; empty ones are none, so that equal volumes are equal.
    pub fn change_claims(&mut self, change: impl FnOnce(&mut Claims)) {
        let mut claims = self.claims.take().unwrap_or_default();
        change(&mut claims);
        self.claims = (*claims != Claims::default()).then_some(claims);
    }
}

/// The aggregate that one volume actor owns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeState {
    /// The record.
    pub volume: Volume,
    /// Live rows, in creation order.
    pub attachments: Vec<Attachment>,
    /// Open operations in the order of their epochs; the first of each lane runs, the others wait at `Queued`.
    pub operations: Vec<Operation>,
    /// Its snapshots, in creation order.
    pub snapshots: Vec<Snapshot>,
}

impl Volume {
    /// Something besides an open operation has not come to its end yet.
    pub fn is_unsettled(&self) -> bool {
        let is_settled = self.outstanding.is_empty() && self.orphan_exports.is_empty() && self.loans.is_empty();
        !self.deleted && !is_settled
    }
}

impl VolumeState {
    /// Gives back room that its lists do not need: a state stays in memory for as long as its volume is active.
    pub fn shrink_to_fit(&mut self) {
        self.attachments.shrink_to_fit();
        self.operations.shrink_to_fit();
        self.snapshots.shrink_to_fit();
        self.volume.orphan_exports.shrink_to_fit();
        self.volume.outstanding.shrink_to_fit();
        self.volume.loans.shrink_to_fit();
    }

    /// The volume's id.
    pub fn id(&self) -> VolumeId {
        self.volume.id
    }

    /// The running operation of `lane`.
    pub fn operation_in(&self, lane: Lane) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.kind.lane() == lane)
    }

    /// The work on the data that is open: it owns the status.
    pub fn data_work(&self) -> Option<&Operation> {
        self.operation_in(Lane::Data)
    }

    /// The row with this id.
    pub fn attachment(&self, id: AttachmentId) -> Option<&Attachment> {
        self.attachments.iter().find(|row| row.id == id)
    }

    /// The row with this id, to change it.
    pub fn attachment_mut(&mut self, id: AttachmentId) -> Option<&mut Attachment> {
        self.attachments.iter_mut().find(|row| row.id == id)
    }

    /// The snapshot with this id.
    pub fn snapshot(&self, id: SnapshotId) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.id == id)
    }

    /// The snapshot with this id, to change it.
    pub fn snapshot_mut(&mut self, id: SnapshotId) -> Option<&mut Snapshot> {
        self.snapshots.iter_mut().find(|snapshot| snapshot.id == id)
    }

    /// Work that has not come to its end: open operations, calls that nobody waits for, exports that nobody owns, contents
    /// that are lent.
    pub fn is_unsettled(&self) -> bool {
        !self.operations.is_empty() || self.volume.is_unsettled()
    }

    /// The row that Compute made for this server: the newest one when a migration left two.
    pub fn attachment_of_server(&self, server: &ServerId) -> Option<&Attachment> {
        self.attachments.iter().rev().find(|row| row.bdm.as_ref().is_some_and(|bdm| bdm.server_id == *server))
    }

    /// No migration is under way (MIG_IDLE, `spec/volume-actions.md` §0.6): neither by the word, which may have been set by hand,
    /// nor by work.
    pub fn is_migration_idle(&self) -> bool {
        matches!(self.volume.migration_status.as_deref(), None | Some("deleting" | "error" | "success"))
            && self.migration().is_none()
    }

    /// The swap that the volume has a part in, as the new volume or the old one.
    pub fn swap(&self) -> Option<&Operation> {
        let is_part = |kind: &OperationKind| matches!(kind, OperationKind::SwapIn(_) | OperationKind::SwapOut(_));
        self.operations.iter().find(|operation| is_part(&operation.kind))
    }

    /// Whether the row's guest is just being taken over by another volume.
    pub fn is_swapped_out(&self, row: AttachmentId) -> bool {
        self.operations.iter().any(|operation| operation.kind.swap_out().is_some_and(|swap| swap.attachment_id == row))
    }

    /// The migration that is open.
    pub fn migration(&self) -> Option<&Operation> {
        self.data_work().filter(|running| running.kind.migration().is_some())
    }
}
