//! What is true at the model's storage backend and in its guests. It never fails by itself: faults are the world's.

use std::collections::{BTreeMap, BTreeSet};

use hearth::domain::backend::{Answer, Call, Cause, CauseKind, Outcome, Request, Truth};
use hearth::domain::ids::{AttachmentId, ExportName, ImageId, OperationId, ServerId, SnapshotId};
use hearth::domain::operation::Step;
use hearth::domain::reference::{snapshot_reference, volume_reference};
use serde_json::json;

use crate::decide::build;

/// A call that goes on at the backend although its caller has given it up, or has died.
#[derive(Clone, Debug)]
pub struct Running {
    pub call: Call,
    pub guest: Option<ServerId>,
    /// Its return is told to the volume; not after a crash.
    pub is_heard: bool,
}

/// Who reaches the volume through an export.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Consumer {
    /// Of a row of a server, which may be on its way to another host; a connection of the old actions has none.
    pub server: Option<ServerId>,
    pub host: String,
}

impl Consumer {
    /// Whether both together are two writers.
    pub fn is_another(&self, other: &Self) -> bool {
        match (&self.server, &other.server) {
            (Some(own), Some(others)) => own != others,
            _ => self.host != other.host,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Backend {
    /// GiB; none: there is no such volume.
    pub size_gib: Option<u32>,
    pub exports: BTreeMap<ExportName, Consumer>,
    pub fenced: BTreeSet<ExportName>,
    pub devices: BTreeMap<(ServerId, AttachmentId), ExportName>,
    pub snapshots: BTreeSet<SnapshotId>,
    /// What the volume holds is an image's.
    pub is_filled: bool,
    /// The images that were made of it, and whether they are whole.
    pub images: BTreeMap<ImageId, bool>,
    /// Images that were given up: later calls have no effect.
    pub discarded: BTreeSet<ImageId>,
    /// What is not Hearth's, by its reference.
    pub objects: BTreeSet<String>,
    pub running: Vec<Running>,
}

impl Default for Backend {
    /// With one object that can be managed.
    fn default() -> Self {
        Self {
            size_gib: None,
            exports: BTreeMap::new(),
            fenced: BTreeSet::new(),
            devices: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            is_filled: false,
            images: BTreeMap::new(),
            discarded: BTreeSet::new(),
            objects: BTreeSet::from([build::OBJECT.to_owned()]),
            running: Vec::new(),
        }
    }
}

impl Backend {
    /// Carries a call out. `consumer` is who an export would be for; `busy` is what a probe says about other calls.
    pub fn carry_out(
        &mut self,
        request: &Request,
        guest: Option<&ServerId>,
        consumer: Consumer,
        busy: bool,
    ) -> Outcome {
        match request {
            Request::Create { size_gib } => match self.size_gib {
                Some(existing) if existing != *size_gib => refused(CauseKind::Other),
                _ => {
                    self.size_gib = Some(*size_gib);
                    done(Answer::Size { size_gib: *size_gib })
                }
            },
            // No operation of this model issues them.
            Request::CreateClonedVolume { .. } | Request::CreateVolumeFromSnapshot { .. } => refused(CauseKind::Other),
            Request::Adopt { reference, size_gib } => match self.size_gib {
                None if self.objects.remove(reference) => {
                    self.size_gib = Some(*size_gib);
                    done(Answer::Size { size_gib: *size_gib })
                }
                Some(existing) if existing == *size_gib => done(Answer::Size { size_gib: *size_gib }),
                _ => refused(CauseKind::Other),
            },
            Request::Disown if !self.exports.is_empty() || !self.snapshots.is_empty() => refused(CauseKind::Busy),
            Request::Disown => {
                if self.size_gib.take().is_some() {
                    self.objects.insert(volume_reference(build::VOLUME));
                }
                Outcome::done()
            }
            Request::AdoptSnapshot { snapshot_id, reference, .. } => {
                let is_there = self.size_gib.is_some() && self.snapshots.contains(snapshot_id);
                if is_there || (self.size_gib.is_some() && self.objects.remove(reference)) {
                    self.snapshots.insert(*snapshot_id);
                    Outcome::done()
                } else {
                    refused(CauseKind::Other)
                }
            }
            Request::DisownSnapshot { snapshot_id } => {
                if self.snapshots.remove(snapshot_id) {
                    self.objects.insert(snapshot_reference(*snapshot_id));
                }
                Outcome::done()
            }
            Request::ListObjects => refused(CauseKind::Other),
            Request::CreateSnapshot { .. } | Request::RevertToSnapshot { .. } if self.size_gib.is_none() => {
                refused(CauseKind::Other)
            }
            Request::CreateSnapshot { snapshot_id } => {
                self.snapshots.insert(*snapshot_id);
                Outcome::done()
            }
            Request::DeleteSnapshot { snapshot_id } => {
                self.snapshots.remove(snapshot_id);
                Outcome::done()
            }
            Request::RevertToSnapshot { .. } if !self.exports.is_empty() => refused(CauseKind::Busy),
            Request::RevertToSnapshot { snapshot_id } => {
                if self.snapshots.contains(snapshot_id) {
                    Outcome::done()
                } else {
                    refused(CauseKind::Other)
                }
            }
            Request::CreateFromImage { size_gib, .. } => match self.size_gib {
                Some(_) if !self.is_filled => refused(CauseKind::Other),
                _ => {
                    (self.size_gib, self.is_filled) = (Some(*size_gib), true);
                    done(Answer::Size { size_gib: *size_gib })
                }
            },
            Request::Reimage { .. } if self.size_gib.is_none() => refused(CauseKind::Other),
            Request::Reimage { .. } if !self.exports.is_empty() => refused(CauseKind::Busy),
            Request::Reimage { .. } => {
                self.is_filled = true;
                Outcome::done()
            }
            Request::CreateImage { image } | Request::UploadImage { image }
                if self.discarded.contains(&image.image_id) =>
            {
                refused(CauseKind::Image)
            }
            Request::CreateImage { image } => {
                self.images.entry(image.image_id).or_insert(false);
                Outcome::done()
            }
            Request::UploadImage { image } => match self.images.get_mut(&image.image_id) {
                Some(is_whole) if self.size_gib.is_some() => {
                    *is_whole = true;
                    Outcome::done()
                }
                _ => refused(CauseKind::Image),
            },
            Request::DiscardImage { image_id, .. } => {
                self.discarded.insert(*image_id);
                self.images.retain(|id, is_whole| id != image_id || *is_whole);
                Outcome::done()
            }
            Request::Delete if !self.exports.is_empty() || !self.snapshots.is_empty() => refused(CauseKind::Busy),
            Request::Delete => {
                (self.size_gib, self.is_filled) = (None, false);
                Outcome::done()
            }
            Request::Extend { new_size_gib } => match self.size_gib {
                None => refused(CauseKind::Other),
                Some(size_gib) => {
                    let size_gib = size_gib.max(*new_size_gib);
                    self.size_gib = Some(size_gib);
                    done(Answer::Size { size_gib })
                }
            },
            Request::Export { export, .. } => {
                if self.fenced.contains(export) || self.size_gib.is_none() {
                    return refused(CauseKind::Other);
                }
                self.exports.insert(export.clone(), consumer);
                done(Answer::Connection { info: json!({"driver_volume_type": "model", "export": export}) })
            }
            Request::Unexport { export } => {
                self.exports.remove(export);
                self.fenced.insert(export.clone());
                Outcome::done()
            }
            Request::Probe => done(Answer::Truth {
                truth: Truth {
                    exists: self.size_gib.is_some(),
                    size_gib: self.size_gib.unwrap_or(0),
                    exports: self.exports.keys().cloned().collect(),
                    snapshots: self.snapshots.iter().copied().collect(),
                    busy,
                },
            }),
            Request::Plug { attachment_id, connection_info, .. } => {
                let export = ExportName(connection_info.text("export").unwrap_or_default().into());
                if !self.exports.contains_key(&export) {
                    return refused(CauseKind::Guest);
                }
                self.devices.insert((guest.expect("a guest's call").clone(), *attachment_id), export);
                Outcome::done()
            }
            Request::Unplug { attachment_id } => {
                self.devices.remove(&(guest.expect("a guest's call").clone(), *attachment_id));
                Outcome::done()
            }
            Request::ResizeGuest { attachment_id, .. } => {
                match self.devices.get(&(guest.expect("a guest's call").clone(), *attachment_id)) {
                    Some(_) => Outcome::done(),
                    None => refused(CauseKind::Guest),
                }
            }
            Request::ProbeGuest { attachment_id } => {
                let plugged = self.devices.contains_key(&(guest.expect("a guest's call").clone(), *attachment_id));
                done(Answer::Plugged { plugged, export: None })
            }
            Request::CopyFromBackend { .. }
            | Request::CreateMirrorTarget { .. }
            | Request::MirrorGuest { .. }
            | Request::PivotGuest { .. }
            | Request::UnmirrorGuest { .. } => refused(CauseKind::Other),
        }
    }

    /// A call of the same key that is under way is the same call: whoever asks again waits for it.
    pub fn join(&mut self, call: &Call) {
        self.running.retain(|running| running.call.key != call.key || running.call.request != call.request);
    }
}

/// What tells one operation's step from another.
pub type Late = (OperationId, u64, Step, Outcome);

pub fn done(answer: Answer) -> Outcome {
    Outcome::Done { answer }
}

pub fn refused(kind: CauseKind) -> Outcome {
    Outcome::Refused { cause: Cause::new(kind, "the model refuses") }
}

pub fn failed(kind: CauseKind) -> Outcome {
    Outcome::Failed { cause: Cause::new(kind, "an injected failure") }
}

pub fn unknown() -> Outcome {
    Outcome::Unknown { cause: Cause::new(CauseKind::Deadline, "an injected silence") }
}
