//! What is true at the model's storage backend and in its guests. It never fails by itself: faults are the world's.

use std::collections::{BTreeMap, BTreeSet};

use hearth::domain::backend::{Answer, Call, CallKey, Cause, CauseKind, Outcome, Request, Truth};
use hearth::domain::document::Document;
use hearth::domain::ids::{AttachmentId, ExportName, ImageId, OperationId, ServerId, SnapshotId};
use hearth::domain::operation::Step;
use hearth::domain::reference::{snapshot_reference, volume_reference};
use serde_json::json;

use crate::decide::build;

/// A call that goes on at the backend although its caller has given it up, or has died.
#[derive(Clone, Debug)]
pub struct Running {
    pub call: Call,
    /// At the backend where the volume was made, or in a guest; else at the other one.
    pub is_here: bool,
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

#[derive(Clone, Debug, Default)]
pub struct Backend {
    /// GiB; none: there is no such volume.
    pub size_gib: Option<u32>,
    pub exports: BTreeMap<ExportName, Consumer>,
    pub fenced: BTreeSet<ExportName>,
    pub snapshots: BTreeSet<SnapshotId>,
    /// What the volume holds is an image's.
    pub is_filled: bool,
    /// The images that were made of it, and whether they are whole.
    pub images: BTreeMap<ImageId, bool>,
    /// Images that were given up: later calls have no effect.
    pub discarded: BTreeSet<ImageId>,
    /// What is not Hearth's, by its reference.
    pub objects: BTreeSet<String>,
    /// Whoever brought the volume here.
    pub moved_by: Option<OperationId>,
    /// The epoch of the last delete: what is older brings nothing back.
    pub removed: u64,
    /// How often somebody could write, as far as what is here knows of it.
    pub written: u8,
}

/// What is true at both backends, and in the guests.
#[derive(Clone, Debug)]
pub struct Truths {
    /// Where the volume is made.
    pub here: Backend,
    /// Where it comes only by a migration.
    pub there: Backend,
    /// What each device reads from.
    pub devices: BTreeMap<(ServerId, AttachmentId), ExportName>,
    /// What devices are copied to while they are used.
    pub mirrors: BTreeMap<(ServerId, AttachmentId), ExportName>,
    /// Destinations of copies that were stopped: what is late begins none any more.
    pub stopped: BTreeSet<ExportName>,
    /// Calls that go on without anybody waiting for them.
    pub running: Vec<Running>,
}

impl Default for Truths {
    /// With one object that can be managed.
    fn default() -> Self {
        Self {
            here: Backend { objects: BTreeSet::from([build::OBJECT.to_owned()]), ..Backend::default() },
            there: Backend::default(),
            devices: BTreeMap::new(),
            mirrors: BTreeMap::new(),
            stopped: BTreeSet::new(),
            running: Vec::new(),
        }
    }
}

impl Truths {
    pub fn at(&self, is_here: bool) -> &Backend {
        if is_here { &self.here } else { &self.there }
    }

    fn at_mut(&mut self, is_here: bool) -> &mut Backend {
        if is_here { &mut self.here } else { &mut self.there }
    }

    /// Every live export.
    pub fn exports(&self) -> impl Iterator<Item = (&ExportName, &Consumer)> {
        self.here.exports.iter().chain(&self.there.exports)
    }

    fn serves(&self, export: &ExportName) -> bool {
        self.exports().any(|(live, _)| live == export)
    }

    /// Carries out a call of the storage; `by`: whose it is, where that matters.
    pub fn of_storage(
        &mut self,
        request: &Request,
        by: Option<&CallKey>,
        is_here: bool,
        consumer: Consumer,
        busy: bool,
    ) -> Outcome {
        let (size_gib, (written, is_filled)) = match request {
            Request::CopyFromBackend { size_gib, .. } => {
                let source = self.at(!is_here);
                if source.size_gib != Some(*size_gib) || !source.exports.is_empty() {
                    return refused(CauseKind::Busy);
                }
                (*size_gib, (source.written, source.is_filled))
            }
            Request::CreateMirrorTarget { size_gib } => (*size_gib, (0, false)),
            _ => return self.at_mut(is_here).carry_out(request, by, consumer, busy),
        };
        let by = by.expect("a call of an operation");
        let target = self.at_mut(is_here);
        let is_new = target.size_gib.is_none();
        let outcome = target.arrive(by, size_gib, written);
        if is_new && target.size_gib.is_some() {
            target.is_filled = is_filled;
        }
        outcome
    }

    /// Carries out a guest's call.
    pub fn of_guest(&mut self, request: &Request, guest: &ServerId) -> Outcome {
        let named = |info: &Document| ExportName(info.text("export").unwrap_or_default().into());
        let device = |id: &AttachmentId| (guest.clone(), *id);
        match request {
            Request::Plug { attachment_id, connection_info, .. } => {
                let export = named(connection_info);
                let has_another = self.devices.get(&device(attachment_id)).is_some_and(|known| *known != export);
                if has_another || !self.serves(&export) {
                    return refused(CauseKind::Guest);
                }
                self.devices.insert(device(attachment_id), export);
                Outcome::done()
            }
            Request::Unplug { attachment_id } => {
                self.devices.remove(&device(attachment_id));
                self.mirrors.remove(&device(attachment_id));
                Outcome::done()
            }
            Request::ResizeGuest { attachment_id, .. } => match self.devices.get(&device(attachment_id)) {
                Some(_) => Outcome::done(),
                None => refused(CauseKind::Guest),
            },
            Request::ProbeGuest { attachment_id } => {
                let export = self.devices.get(&device(attachment_id)).cloned();
                done(Answer::Plugged { plugged: export.is_some(), export })
            }
            Request::MirrorGuest { attachment_id, connection_info, .. } => {
                let (device, export) = (device(attachment_id), named(connection_info));
                let is_here = self.here.exports.contains_key(&export);
                if self.devices.get(&device) == Some(&export) {
                    return Outcome::done();
                }
                let is_late = self.devices.get(&device).is_none_or(|present| export.is_older_than(present));
                if is_late || !self.serves(&export) || self.stopped.contains(&export) {
                    return refused(CauseKind::Guest);
                }
                // What another volume holds, whose disk it was, is not this one's.
                if self.devices.get(&device).is_some_and(|present| self.serves(present)) {
                    let source = self.at(!is_here);
                    let (written, is_filled) = (source.written, source.is_filled);
                    let target = self.at_mut(is_here);
                    (target.written, target.is_filled) = (written, is_filled);
                }
                self.mirrors.insert(device, export);
                Outcome::done()
            }
            Request::PivotGuest { attachment_id, connection_info } => {
                let (device, export) = (device(attachment_id), named(connection_info));
                if self.devices.get(&device) == Some(&export) {
                    return Outcome::done();
                }
                let is_level = self.mirrors.get(&device) == Some(&export) && self.serves(&export);
                if !is_level || !self.devices.contains_key(&device) {
                    return refused(CauseKind::Guest);
                }
                self.mirrors.remove(&device);
                self.devices.insert(device, export);
                Outcome::done()
            }
            Request::UnmirrorGuest { attachment_id, connection_info } => {
                let device = device(attachment_id);
                if self.devices.get(&device) == Some(&named(connection_info)) {
                    return refused(CauseKind::Guest);
                }
                self.mirrors.remove(&device);
                self.stopped.insert(named(connection_info));
                Outcome::done()
            }
            _ => refused(CauseKind::Other),
        }
    }

    /// The process of a guest has ended, and with it whatever it was just doing.
    pub fn guest_dies(&mut self, server: &str) {
        self.devices.retain(|(guest, _), _| guest.as_str() != server);
        self.mirrors.retain(|(guest, _), _| guest.as_str() != server);
        self.running.retain(|running| running.guest.as_ref().is_none_or(|guest| guest.as_str() != server));
    }

    /// A call of the same key that is under way is the same call: whoever asks again waits for it.
    pub fn join(&mut self, call: &Call) {
        self.running.retain(|running| running.call.key != call.key || running.call.request != call.request);
    }
}

impl Backend {
    fn arrive(&mut self, by: &CallKey, size_gib: u32, written: u8) -> Outcome {
        if by.epoch <= self.removed {
            return refused(CauseKind::Other);
        }
        match self.size_gib {
            Some(_) if self.moved_by != Some(by.operation_id) => refused(CauseKind::Other),
            Some(_) => done(Answer::Size { size_gib }),
            None => {
                (self.size_gib, self.moved_by, self.written) = (Some(size_gib), Some(by.operation_id), written);
                done(Answer::Size { size_gib })
            }
        }
    }

    /// Carries a call out. `consumer` is who an export would be for; `busy` is what a probe says about other calls.
    fn carry_out(&mut self, request: &Request, by: Option<&CallKey>, consumer: Consumer, busy: bool) -> Outcome {
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
                (self.size_gib, self.is_filled, self.moved_by) = (None, false, None);
                self.removed = self.removed.max(by.map_or(0, |by| by.epoch));
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
                if self.exports.insert(export.clone(), consumer).is_none() {
                    self.written = self.written.saturating_add(1);
                }
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
            _ => refused(CauseKind::Other),
        }
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
