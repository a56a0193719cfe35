//! What is true at the simulated backend, and the changes that make it so.
//!
//! [`State::apply`] is total and deterministic: the journal holds changes, and replaying it gives the same state. What may
//! change is decided in `carry_out`; what it means for promise I1 in `consumers`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Answer, CallKey};
use crate::domain::ids::{AttachmentId, ExportName, OperationId, ServerId, SnapshotId, VolumeId};
use crate::domain::reference::{snapshot_reference, volume_reference};

pub use super::change::{Change, Entry};
use super::consumers::Watch;

/// Answers kept for repeated keys. Older keys are carried out again, which is idempotent by state.
pub const MEMO_BOUND: usize = 65_536;

/// Write records kept; older ones are dropped and only counted.
pub const WRITE_LOG_BOUND: usize = 100_000;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimVolume {
    /// Size, GiB.
    pub size_gib: u32,
    /// What was written, in order; a clone begins with what its source had.
    pub markers: Vec<String>,
    /// What it was cloned from, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloned: Option<SimClone>,
    /// The operation that gave it an image's contents last: its repetitions find their own work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filled_by: Option<OperationId>,
    /// The operation that has brought it here from another backend: its repetitions find their own work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_by: Option<OperationId>,
}

impl SimVolume {
    fn holding(size_gib: u32, markers: Vec<String>) -> Self {
        Self { size_gib, markers, cloned: None, filled_by: None, moved_by: None }
    }
}

/// What a volume holds, on its way to another backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimContents {
    /// Size, GiB.
    pub size_gib: u32,
    /// What was written, in order.
    pub markers: Vec<String>,
}

/// The origin of a volume that was made as a clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimClone {
    /// The volume whose contents were copied.
    pub source_volume_id: VolumeId,
    /// The snapshot that kept them; none when they were the volume's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<SnapshotId>,
    /// How many writes were copied: all that there were.
    pub writes: usize,
    /// The operation that made it: its repetitions find their own work.
    pub operation_id: OperationId,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimSnapshot {
    /// The volume's size when it was taken, GiB.
    pub size_gib: u32,
    /// What had been written to the volume until then, in order.
    pub markers: Vec<String>,
}

/// Something at the backend that is not Hearth's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimObject {
    /// Its size, MiB: it need not be whole GiB.
    pub size_mib: u64,
    /// What was written to it, in order.
    #[serde(default)]
    pub markers: Vec<String>,
    /// It was a snapshot of this volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_of: Option<VolumeId>,
}

impl SimObject {
    /// Rounded up.
    pub fn size_gib(&self) -> u32 {
        u32::try_from(self.size_mib.div_ceil(1024)).unwrap_or(u32::MAX)
    }
}

/// A live export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimExport {
    /// The volume behind it.
    pub volume_id: VolumeId,
    /// The attachment it was made for.
    pub attachment_id: AttachmentId,
    /// Whether writes pass.
    pub mode: AttachMode,
    /// `connector.host`.
    pub host: Option<String>,
}

/// A device in a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimDevice {
    /// The volume.
    pub volume_id: VolumeId,
    /// The export that the guest has open.
    pub export: ExportName,
    /// Mode of the device.
    pub mode: AttachMode,
    /// The size that the guest sees, GiB.
    pub size_gib: u32,
}

/// One write that somebody tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteRecord {
    /// Through which export.
    pub export: ExportName,
    /// The server whose guest wrote, or none for a client that connected itself.
    pub server_id: Option<ServerId>,
    /// What was written.
    pub marker: String,
    /// The volume it reached; none when it was refused and no byte reached any volume.
    pub reached: Option<VolumeId>,
}

/// A call that ended `Done`, to be answered the same when it is repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its key.
    pub key: CallKey,
    /// The request's name: a step's probe has the key of the step's own call.
    pub request: Cow<'static, str>,
    /// What it answered.
    pub answer: Answer,
}

/// Under what an answer is remembered.
type Slot = (CallKey, Cow<'static, str>);

/// The truth.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct State {
    /// Volumes that exist.
    pub volumes: BTreeMap<VolumeId, SimVolume>,
    /// Snapshots, by their volumes.
    pub snapshots: BTreeMap<VolumeId, BTreeMap<SnapshotId, SimSnapshot>>,
    /// What is not Hearth's, by its reference.
    pub objects: BTreeMap<String, SimObject>,
    /// Snapshots that were deleted, and the epoch of the last delete.
    pub removed_snapshots: BTreeMap<SnapshotId, u64>,
    /// Exports that are served.
    pub exports: BTreeMap<ExportName, SimExport>,
    /// Names that are never served again.
    pub fenced: BTreeSet<ExportName>,
    /// Volumes that were deleted, and the epoch of the last delete.
    pub removed: BTreeMap<VolumeId, u64>,
    /// Devices in guests.
    pub guests: BTreeMap<ServerId, BTreeMap<AttachmentId, SimDevice>>,
    /// Devices that are copied to other backends, and by which exports of those.
    pub mirrors: BTreeMap<ServerId, BTreeMap<AttachmentId, ExportName>>,
    /// Destinations of copies that were stopped: a copy that is late does not begin any more.
    pub stopped_mirrors: BTreeSet<ExportName>,
    /// The last writes.
    pub writes: VecDeque<WriteRecord>,
    /// Writes that reached no volume, ever.
    pub writes_refused: u64,
    /// Writes no longer in [`Self::writes`].
    pub writes_dropped: u64,
    /// Who was connected at the same time.
    pub watch: Watch,
    /// GiB of all volumes and snapshots.
    pub used_gib: u64,
    #[serde(skip)]
    exports_by_volume: BTreeMap<VolumeId, BTreeSet<ExportName>>,
    #[serde(skip)]
    holders: BTreeMap<ExportName, ServerId>,
    #[serde(skip)]
    memo: HashMap<Slot, Answer>,
    #[serde(skip)]
    memo_order: VecDeque<Slot>,
}

impl State {
    /// The answer of an equal call that ended `Done`.
    pub fn remembered(&self, key: &CallKey, request: &'static str) -> Option<&Answer> {
        self.memo.get(&(key.clone(), Cow::Borrowed(request)))
    }

    /// The exports of a volume that are served.
    pub fn exports_of(&self, volume_id: VolumeId) -> Vec<ExportName> {
        self.exports_by_volume.get(&volume_id).map(|names| names.iter().cloned().collect()).unwrap_or_default()
    }

    /// A snapshot of a volume.
    pub fn snapshot(&self, volume_id: VolumeId, snapshot_id: SnapshotId) -> Option<&SimSnapshot> {
        self.snapshots.get(&volume_id)?.get(&snapshot_id)
    }

    /// The snapshots of a volume.
    pub fn snapshots_of(&self, volume_id: VolumeId) -> Vec<SnapshotId> {
        self.snapshots.get(&volume_id).map(|snapshots| snapshots.keys().copied().collect()).unwrap_or_default()
    }

    /// The server whose guest has the export open.
    pub fn holder(&self, export: &ExportName) -> Option<&ServerId> {
        self.holders.get(export)
    }

    /// The device of an attachment in a guest.
    pub fn device(&self, server_id: &ServerId, attachment_id: AttachmentId) -> Option<&SimDevice> {
        self.guests.get(server_id).and_then(|devices| devices.get(&attachment_id))
    }

    /// The destination's export by which the device is copied to another backend.
    pub fn mirror(&self, server_id: &ServerId, attachment_id: AttachmentId) -> Option<&ExportName> {
        self.mirrors.get(server_id).and_then(|mirrors| mirrors.get(&attachment_id))
    }

    /// Makes `entry` true.
    pub fn apply(&mut self, entry: Entry) {
        if let Some(remembered) = entry.remembered {
            self.remember(remembered);
        }
        let Some(change) = entry.change else { return };
        let touched = self.apply_change(change);
        if let Some(volume_id) = touched {
            let mut watch = std::mem::take(&mut self.watch);
            watch.look(volume_id, self);
            self.watch = watch;
        }
    }

    /// Applies and says on which volume the set of consumers may have changed.
    fn apply_change(&mut self, change: Change) -> Option<VolumeId> {
        match change {
            Change::VolumeCreated { volume_id, size_gib } => {
                self.volumes.insert(volume_id, SimVolume::holding(size_gib, Vec::new()));
                self.used_gib += u64::from(size_gib);
                None
            }
            Change::VolumeCloned { volume_id, size_gib, cloned } => {
                let source = match cloned.snapshot_id {
                    Some(snapshot_id) => &self.snapshot(cloned.source_volume_id, snapshot_id)?.markers,
                    None => &self.volumes.get(&cloned.source_volume_id)?.markers,
                };
                let markers = source.iter().take(cloned.writes).cloned().collect();
                self.volumes
                    .insert(volume_id, SimVolume { cloned: Some(cloned), ..SimVolume::holding(size_gib, markers) });
                self.used_gib += u64::from(size_gib);
                None
            }
            Change::VolumeArrived { volume_id, contents: SimContents { size_gib, markers }, moved_by } => {
                let volume = SimVolume { moved_by: Some(moved_by), ..SimVolume::holding(size_gib, markers) };
                self.volumes.insert(volume_id, volume);
                self.used_gib += u64::from(size_gib);
                None
            }
            Change::VolumeImaged { volume_id, size_gib, markers, operation_id } => {
                let filled = SimVolume { filled_by: Some(operation_id), ..SimVolume::holding(size_gib, markers) };
                let before = self.volumes.insert(volume_id, filled).map_or(0, |volume| volume.size_gib);
                self.used_gib = self.used_gib + u64::from(size_gib) - u64::from(before);
                None
            }
            Change::ObjectPlaced { reference, object } => {
                self.objects.insert(reference, object);
                None
            }
            Change::VolumeAdopted { volume_id, reference } => {
                let object = self.objects.remove(&reference)?;
                let size_gib = object.size_gib();
                self.volumes.insert(volume_id, SimVolume::holding(size_gib, object.markers));
                self.used_gib += u64::from(size_gib);
                None
            }
            Change::VolumeDisowned { volume_id, epoch } => {
                let fence = self.removed.entry(volume_id).or_default();
                *fence = epoch.max(*fence);
                let SimVolume { size_gib, markers, .. } = self.volumes.remove(&volume_id)?;
                self.used_gib -= u64::from(size_gib);
                let object = SimObject { size_mib: u64::from(size_gib) * 1024, markers, snapshot_of: None };
                self.objects.insert(volume_reference(volume_id), object);
                None
            }
            Change::SnapshotAdopted { volume_id, snapshot_id, reference } => {
                let object = self.objects.remove(&reference)?;
                let kept = SimSnapshot { size_gib: object.size_gib(), markers: object.markers };
                self.used_gib += u64::from(kept.size_gib);
                self.snapshots.entry(volume_id).or_default().insert(snapshot_id, kept);
                None
            }
            Change::SnapshotDisowned { volume_id, snapshot_id, epoch } => {
                let SimSnapshot { size_gib, markers } = self.take_snapshot(volume_id, snapshot_id, epoch)?;
                let size_mib = u64::from(size_gib) * 1024;
                let object = SimObject { size_mib, markers, snapshot_of: Some(volume_id) };
                self.objects.insert(snapshot_reference(snapshot_id), object);
                None
            }
            Change::VolumeDeleted { volume_id, epoch } => {
                let fence = self.removed.entry(volume_id).or_default();
                *fence = epoch.max(*fence);
                let gone = self.volumes.remove(&volume_id)?;
                self.used_gib -= u64::from(gone.size_gib);
                None
            }
            Change::VolumeGrown { volume_id, size_gib } => {
                let volume = self.volumes.get_mut(&volume_id)?;
                self.used_gib = self.used_gib - u64::from(volume.size_gib) + u64::from(size_gib);
                volume.size_gib = size_gib;
                None
            }
            Change::SnapshotCreated { volume_id, snapshot_id } => {
                let volume = self.volumes.get(&volume_id)?;
                let kept = SimSnapshot { size_gib: volume.size_gib, markers: volume.markers.clone() };
                self.used_gib += u64::from(kept.size_gib);
                self.snapshots.entry(volume_id).or_default().insert(snapshot_id, kept);
                None
            }
            Change::SnapshotDeleted { volume_id, snapshot_id, epoch } => {
                self.take_snapshot(volume_id, snapshot_id, epoch);
                None
            }
            Change::VolumeReverted { volume_id, snapshot_id } => {
                let markers = self.snapshot(volume_id, snapshot_id)?.markers.clone();
                self.volumes.get_mut(&volume_id)?.markers = markers;
                None
            }
            Change::ExportOpened { export, of } => {
                let volume_id = of.volume_id;
                self.exports_by_volume.entry(volume_id).or_default().insert(export.clone());
                self.exports.insert(export, of);
                Some(volume_id)
            }
            Change::ExportFenced { export } => {
                let volume_id = self.exports.remove(&export).map(|of| of.volume_id);
                if let Some(names) = volume_id.and_then(|id| self.exports_by_volume.get_mut(&id)) {
                    names.remove(&export);
                }
                self.fenced.insert(export);
                volume_id
            }
            Change::Plugged { server_id, attachment_id, device } => {
                let volume_id = device.volume_id;
                self.holders.insert(device.export.clone(), server_id.clone());
                self.guests.entry(server_id).or_default().insert(attachment_id, device);
                Some(volume_id)
            }
            Change::Mirrored { server_id, attachment_id, export, volume_id, markers } => {
                self.apply_change(Change::VolumeFilled { volume_id, markers });
                self.apply_change(Change::MirrorBegun { server_id, attachment_id, export })
            }
            Change::Pivoted { server_id, attachment_id, device } => {
                self.apply_change(Change::Unplugged { server_id: server_id.clone(), attachment_id });
                self.apply_change(Change::Plugged { server_id, attachment_id, device })
            }
            Change::MirrorBegun { server_id, attachment_id, export } => {
                self.mirrors.entry(server_id).or_default().insert(attachment_id, export);
                None
            }
            Change::MirrorEnded { server_id, attachment_id, export } => {
                self.stopped_mirrors.extend(export);
                self.end_mirror(&server_id, attachment_id);
                None
            }
            Change::VolumeFilled { volume_id, markers } => {
                if let Some(volume) = self.volumes.get_mut(&volume_id) {
                    volume.markers = markers;
                }
                None
            }
            Change::Unplugged { server_id, attachment_id } => {
                self.end_mirror(&server_id, attachment_id);
                let devices = self.guests.get_mut(&server_id)?;
                let device = devices.remove(&attachment_id)?;
                if devices.is_empty() {
                    self.guests.remove(&server_id);
                }
                self.holders.remove(&device.export);
                Some(device.volume_id)
            }
            Change::GuestResized { server_id, attachment_id, size_gib } => {
                let device = self.guests.get_mut(&server_id).and_then(|devices| devices.get_mut(&attachment_id))?;
                device.size_gib = size_gib;
                None
            }
            Change::Wrote { write } => {
                self.apply_write(write);
                None
            }
        }
    }

    /// Takes a snapshot away, and what might bring it back.
    fn take_snapshot(&mut self, volume_id: VolumeId, snapshot_id: SnapshotId, epoch: u64) -> Option<SimSnapshot> {
        let fence = self.removed_snapshots.entry(snapshot_id).or_default();
        *fence = epoch.max(*fence);
        let snapshots = self.snapshots.get_mut(&volume_id)?;
        let gone = snapshots.remove(&snapshot_id)?;
        if snapshots.is_empty() {
            self.snapshots.remove(&volume_id);
        }
        self.used_gib -= u64::from(gone.size_gib);
        Some(gone)
    }

    fn end_mirror(&mut self, server_id: &ServerId, attachment_id: AttachmentId) {
        let Some(mirrors) = self.mirrors.get_mut(server_id) else { return };
        mirrors.remove(&attachment_id);
        if mirrors.is_empty() {
            self.mirrors.remove(server_id);
        }
    }

    fn apply_write(&mut self, write: WriteRecord) {
        match write.reached.and_then(|volume_id| self.volumes.get_mut(&volume_id)) {
            Some(volume) => volume.markers.push(write.marker.clone()),
            None => self.writes_refused += 1,
        }
        self.writes.push_back(write);
        if self.writes.len() > WRITE_LOG_BOUND {
            self.writes.pop_front();
            self.writes_dropped += 1;
        }
    }

    fn remember(&mut self, remembered: Remembered) {
        let slot = (remembered.key, remembered.request);
        if self.memo.insert(slot.clone(), remembered.answer).is_none() {
            self.memo_order.push_back(slot);
        }
        if self.memo_order.len() > MEMO_BOUND
            && let Some(oldest) = self.memo_order.pop_front()
        {
            self.memo.remove(&oldest);
        }
    }
}
