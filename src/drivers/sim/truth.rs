//! The shared truth of one simulated backend and its hypervisor: the state under a lock, with its journal if it has one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::domain::attachment::AttachMode;
use crate::domain::backend::{Answer, Call, CallKey, Cause, CauseKind, Guest, Outcome, Request, Truth};
use crate::domain::ids::{AttachmentId, ExportName, ServerId, SnapshotId, VolumeId};

use super::carry_out::{self, Effect, Meanwhile};
use super::consumers::{Consumer, Overlap, consumers};
use super::engine::Work;
use super::journal::{Durability, Journal, JournalError};
use super::moves::{self, Elsewhere};
use super::state::{Change, Entry, Remembered, SimContents, SimDevice, SimExport, SimObject, State, WriteRecord};

/// The truth. Cheap to clone; all clones are the same truth.
#[derive(Clone)]
pub struct SimTruth(Arc<Mutex<Kept>>);

struct Kept {
    state: State,
    journal: Option<Journal>,
}

impl Kept {
    /// Write-ahead: what cannot be kept does not happen.
    fn commit(&mut self, entry: Entry) -> Result<(), JournalError> {
        if let Some(journal) = &mut self.journal {
            journal.append(&entry)?;
        }
        self.state.apply(entry);
        Ok(())
    }
}

impl SimTruth {
    /// In memory: gone with the process; for virtual time.
    pub fn in_memory() -> Self {
        Self(Arc::new(Mutex::new(Kept { state: State::default(), journal: None })))
    }

    /// In a file of its own.
    pub fn open(path: &Path, durability: Durability) -> Result<Self, JournalError> {
        let (journal, state) = Journal::open(path, durability)?;
        Ok(Self(Arc::new(Mutex::new(Kept { state, journal: Some(journal) }))))
    }

    /// Carries out a call for the first time or again, without looking at what was answered before. `image_marks` is what the
    /// image holds that the call is about.
    pub(super) fn carry_out(
        &self,
        work: &Work,
        total_gib: u64,
        meanwhile: Meanwhile,
        image_marks: &[String],
    ) -> Outcome {
        let call = &work.call;
        if let (Some(guest), Elsewhere::Destination(destination)) = (&work.guest, &work.elsewhere) {
            return self.move_guest(destination, guest, call);
        }
        let mut kept = self.lock();
        let free_gib = total_gib.saturating_sub(kept.state.used_gib);
        let effect = match (&work.guest, &work.elsewhere) {
            (Some(guest), _) => carry_out::guest(&kept.state, guest, call),
            (None, Elsewhere::Contents(contents)) => match call.request {
                Request::CopyFromBackend { size_gib, .. } => {
                    moves::arrive(&kept.state, &call.key, contents, size_gib, free_gib)
                }
                _ => Effect::refused(CauseKind::Other, "the request takes no contents"),
            },
            (None, _) => carry_out::storage(&kept.state, call, free_gib, meanwhile, image_marks),
        };
        keep(&mut kept, call, effect)
    }

    /// A mirror or a pivot. What arrives at the destination is kept there first: should the process die before this one has
    /// forgotten the guest, the repeated request moves it again.
    fn move_guest(&self, destination: &Self, guest: &Guest, call: &Call) -> Outcome {
        let volume_id = call.key.volume_id;
        let (mut kept, mut there) = self.lock_both(destination);
        let moved = match &call.request {
            Request::MirrorGuest { attachment_id, connection_info, .. } => {
                moves::mirror(&kept.state, &there.state, guest, volume_id, *attachment_id, connection_info)
            }
            Request::PivotGuest { attachment_id, connection_info } => {
                moves::pivot(&kept.state, &there.state, guest, volume_id, *attachment_id, connection_info)
            }
            _ => Err(Box::new(Effect::refused(CauseKind::Other, "the request moves no guest"))),
        };
        match moved {
            Err(effect) => keep(&mut kept, call, *effect),
            Ok(moves::Moved { arrives, leaves }) => {
                if let Err(error) = there.commit(Entry { change: Some(arrives), remembered: None }) {
                    return not_kept(&error);
                }
                keep(&mut kept, call, Effect::changed(leaves, Answer::Nothing))
            }
        }
    }

    /// Both, whoever else locks both the other way round.
    fn lock_both<'a>(&'a self, other: &'a Self) -> (MutexGuard<'a, Kept>, MutexGuard<'a, Kept>) {
        if Arc::as_ptr(&self.0) < Arc::as_ptr(&other.0) {
            let own = self.lock();
            (own, other.lock())
        } else {
            let others = other.lock();
            (self.lock(), others)
        }
    }

    /// What a volume holds, for another backend.
    pub(super) fn contents(&self, volume_id: VolumeId) -> Result<SimContents, Cause> {
        moves::contents(&self.lock().state, volume_id)
    }
}

/// Keeps what a call has changed and answered.
fn keep(kept: &mut Kept, call: &Call, effect: Effect) -> Outcome {
    let Effect { change, outcome } = effect;
    let remembered = match &outcome {
        Outcome::Done { answer } if !call.request.is_read_only() => {
            Some(Remembered { key: call.key.clone(), request: call.request.name().into(), answer: answer.clone() })
        }
        _ => None,
    };
    if change.is_none() && remembered.is_none() {
        return outcome;
    }
    match kept.commit(Entry { change, remembered }) {
        Ok(()) => outcome,
        Err(error) => not_kept(&error),
    }
}

fn not_kept(error: &JournalError) -> Outcome {
    tracing::error!(%error, "the simulated backend could not keep a change");
    Outcome::Failed { cause: Cause::new(CauseKind::Unavailable, "the backend cannot keep its data") }
}

impl SimTruth {
    /// What an equal call answered that ended `Done`.
    pub(super) fn remembered(&self, call: &Call) -> Option<Outcome> {
        let kept = self.lock();
        let answer = kept.state.remembered(&call.key, call.request.name())?;
        Some(Outcome::Done { answer: answer.clone() })
    }

    /// A client writes through an export, as a host does that connected itself. The record says whether it reached a
    /// volume; a write through a fenced or read-only export reaches none.
    pub fn write(&self, export: &ExportName, marker: &str) -> Result<WriteRecord, JournalError> {
        let mut kept = self.lock();
        let write = carry_out::write(&kept.state, export, None, marker);
        kept.commit(Entry { change: Some(Change::Wrote { write: write.clone() }), remembered: None })?;
        Ok(write)
    }

    /// The export to which the device is copied.
    pub(in crate::drivers) fn mirror_of(
        &self,
        server_id: &ServerId,
        attachment_id: AttachmentId,
    ) -> Option<ExportName> {
        self.lock().state.mirror(server_id, attachment_id).cloned()
    }

    /// Whether the export is served here.
    pub(in crate::drivers) fn serves(&self, export: &ExportName) -> bool {
        self.lock().state.exports.contains_key(export)
    }

    /// A guest writes to a device that is copied to `destination`: it hears that it is done when it is on both.
    pub(in crate::drivers) fn mirrored_write(
        &self,
        destination: &Self,
        guest: &Guest,
        attachment_id: AttachmentId,
        marker: &str,
    ) -> Result<Option<WriteRecord>, JournalError> {
        if Arc::ptr_eq(&self.0, &destination.0) {
            let mut kept = self.lock();
            if let Some(export) = kept.state.mirror(&guest.server_id, attachment_id).cloned() {
                let copied = carry_out::write(&kept.state, &export, Some(guest), marker);
                kept.commit(Entry { change: Some(Change::Wrote { write: copied }), remembered: None })?;
            }
            return guest_writes(&mut kept, guest, attachment_id, marker);
        }
        let (mut kept, mut there) = self.lock_both(destination);
        if let Some(export) = kept.state.mirror(&guest.server_id, attachment_id).cloned() {
            let copied = carry_out::write(&there.state, &export, Some(guest), marker);
            there.commit(Entry { change: Some(Change::Wrote { write: copied }), remembered: None })?;
        }
        guest_writes(&mut kept, guest, attachment_id, marker)
    }

    /// A guest writes to the device of an attachment; none when it has no such device. Of a device that is copied elsewhere:
    /// [`super::super::hypervisor::sim::SimHypervisor::guest_write`].
    pub fn guest_write(
        &self,
        guest: &Guest,
        attachment_id: AttachmentId,
        marker: &str,
    ) -> Result<Option<WriteRecord>, JournalError> {
        guest_writes(&mut self.lock(), guest, attachment_id, marker)
    }

    /// Makes a volume with its exports true that nobody has asked for: for records that are made in bulk.
    pub fn adopt(
        &self,
        volume_id: VolumeId,
        size_gib: u32,
        exports: impl IntoIterator<Item = (ExportName, SimExport)>,
    ) -> Result<(), JournalError> {
        let opened = exports.into_iter().map(|(export, of)| Change::ExportOpened { export, of });
        let mut kept = self.lock();
        for change in std::iter::once(Change::VolumeCreated { volume_id, size_gib }).chain(opened) {
            kept.commit(Entry { change: Some(change), remembered: None })?;
        }
        Ok(())
    }

    /// Puts something at the backend that is not Hearth's.
    pub fn place_object(&self, reference: &str, object: SimObject) -> Result<(), JournalError> {
        let change = Change::ObjectPlaced { reference: reference.to_owned(), object };
        self.lock().commit(Entry { change: Some(change), remembered: None })
    }

    /// What lies there that is not Hearth's.
    pub fn object(&self, reference: &str) -> Option<SimObject> {
        self.lock().state.objects.get(reference).cloned()
    }

    /// What is true of a volume, seen from outside the driver.
    pub fn volume(&self, volume_id: VolumeId) -> Truth {
        carry_out::truth(&self.lock().state, volume_id, false)
    }

    /// Every volume that exists.
    pub fn volumes(&self) -> Vec<VolumeId> {
        self.lock().state.volumes.keys().copied().collect()
    }

    /// What was written to a volume, in order.
    pub fn markers(&self, volume_id: VolumeId) -> Vec<String> {
        self.lock().state.volumes.get(&volume_id).map(|volume| volume.markers.clone()).unwrap_or_default()
    }

    /// The same, none when there is no such volume.
    pub(super) fn held(&self, volume_id: VolumeId) -> Option<Vec<String>> {
        self.lock().state.volumes.get(&volume_id).map(|volume| volume.markers.clone())
    }

    /// Whether this operation has given the volume an image's contents already.
    pub(super) fn is_filled_by(&self, key: &CallKey) -> bool {
        let kept = self.lock();
        kept.state.volumes.get(&key.volume_id).is_some_and(|volume| volume.filled_by == Some(key.operation_id))
    }

    /// What a snapshot keeps, in the order in which it was written; none when there is no such snapshot.
    pub fn snapshot_markers(&self, volume_id: VolumeId, snapshot_id: SnapshotId) -> Option<Vec<String>> {
        self.lock().state.snapshot(volume_id, snapshot_id).map(|snapshot| snapshot.markers.clone())
    }

    /// The device of an attachment in a guest.
    pub fn device(&self, server_id: &ServerId, attachment_id: AttachmentId) -> Option<SimDevice> {
        self.lock().state.device(server_id, attachment_id).cloned()
    }

    /// The attachments whose devices are in a guest.
    pub fn devices(&self, server_id: &ServerId) -> Vec<AttachmentId> {
        self.lock().state.guests.get(server_id).map(|devices| devices.keys().copied().collect()).unwrap_or_default()
    }

    /// A guest's process has ended, and with it its devices.
    pub fn end_guest(&self, server_id: &ServerId) -> Result<(), JournalError> {
        let mut kept = self.lock();
        let devices = kept.state.guests.get(server_id).map(|devices| devices.keys().copied().collect::<Vec<_>>());
        for attachment_id in devices.unwrap_or_default() {
            let change = Change::Unplugged { server_id: server_id.clone(), attachment_id };
            kept.commit(Entry { change: Some(change), remembered: None })?;
        }
        Ok(())
    }

    /// Everybody who can reach a volume now.
    pub fn consumers(&self, volume_id: VolumeId) -> Vec<Consumer> {
        consumers(&self.lock().state, volume_id)
    }

    /// The largest number of different servers or hosts that could reach the volume at once, ever (promise I1).
    pub fn max_concurrent_consumers(&self, volume_id: VolumeId) -> usize {
        self.lock().state.watch.max_concurrent_consumers(volume_id)
    }

    /// The moments at which a volume had consumers of several servers or hosts and that `is_violation` does not excuse
    /// (multiattach, live migration).
    pub fn violations(&self, is_violation: impl Fn(&Overlap) -> bool) -> Vec<Overlap> {
        self.lock().state.watch.overlaps().iter().filter(|overlap| is_violation(overlap)).cloned().collect()
    }

    /// The last writes, in order, and who made them.
    pub fn writes(&self) -> Vec<WriteRecord> {
        self.lock().state.writes.iter().cloned().collect()
    }

    /// Writes that reached no volume, ever.
    pub fn writes_refused(&self) -> u64 {
        self.lock().state.writes_refused
    }

    /// The whole truth as JSON.
    pub fn snapshot(&self) -> Value {
        serde_json::to_value(&self.lock().state).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }

    pub(super) fn used_gib(&self) -> u64 {
        self.lock().state.used_gib
    }

    pub(super) fn inventory(&self, busy: &BTreeSet<VolumeId>) -> Vec<(VolumeId, Truth)> {
        let kept = self.lock();
        let mut ids: BTreeSet<VolumeId> = kept.state.volumes.keys().copied().collect();
        ids.extend(kept.state.exports.values().map(|export| export.volume_id));
        ids.extend(kept.state.snapshots.keys());
        ids.into_iter().map(|id| (id, carry_out::truth(&kept.state, id, busy.contains(&id)))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every critical section applies one whole entry; a panic inside one would be a defect of `State::apply`.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn guest_writes(
    kept: &mut Kept,
    guest: &Guest,
    attachment_id: AttachmentId,
    marker: &str,
) -> Result<Option<WriteRecord>, JournalError> {
    let Some(device) = kept.state.device(&guest.server_id, attachment_id) else { return Ok(None) };
    let mut write = carry_out::write(&kept.state, &device.export, Some(guest), marker);
    if device.mode != AttachMode::ReadWrite {
        write.reached = None;
    }
    kept.commit(Entry { change: Some(Change::Wrote { write: write.clone() }), remembered: None })?;
    Ok(Some(write))
}
