//! One change in the journal: what a volume's next state has that the one before had not.

use serde::{Deserialize, Serialize};

use super::super::apply::is_progress_only;
use super::super::difference::Step;
use super::super::rows::Line;
use super::super::{Event, VolumeChange};
use crate::domain::attachment::Attachment;
use crate::domain::claims::Claims;
use crate::domain::ids::{AttachmentId, ExportName, OperationId, VolumeId};
use crate::domain::metadata::Metadata;
use crate::domain::operation::{Operation, OutstandingCall};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::time::Timestamp;
use crate::domain::volume::{Volume, VolumeState};

/// A change of one volume.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    id: VolumeId,
    volume: Part,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rows: Vec<Row>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<AttachmentId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    operations: Vec<Operation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<OperationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(borrow)]
    event: Option<Line<'a>>,
}

/// Of the volume's own record.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// All that attach, detach and the steps of operations change.
    Progress(Progress),
    /// Everything.
    Whole(Box<Volume>),
}

#[derive(Serialize, Deserialize)]
struct Progress {
    generation: u64,
    epoch: u64,
    status: VolumeStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_status: Option<VolumeStatus>,
    attach_status: AttachStatus,
    #[serde(default, skip_serializing_if = "is_default")]
    admin_metadata: Metadata,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    orphan_exports: Vec<ExportName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outstanding: Vec<OutstandingCall>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claims: Option<Box<Claims>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
}

/// A row that is new or has changed, without the large documents that it had before.
#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    row: Attachment,
    #[serde(default, skip_serializing_if = "is_default")]
    same_connector: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    same_connection_info: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<'a> Entry<'a> {
    /// Of a change, with its line in the history.
    pub(super) fn of(change: &VolumeChange, event: Option<&'a Event>) -> Self {
        let new = &change.new;
        let mut entry = Self {
            id: new.id(),
            volume: Part::of(change.old.as_deref(), &new.volume),
            rows: Vec::new(),
            gone: Vec::new(),
            operations: Vec::new(),
            ended: Vec::new(),
            event: event.map(Line::of),
        };
        for step in change.attachments() {
            match step {
                Step::End(row) => entry.gone.push(row.id),
                Step::Change(old, row) => entry.rows.push(Row::of(Some(old), row)),
                Step::Make(row, _) => entry.rows.push(Row::of(None, row)),
            }
        }
        for step in change.operations() {
            match step {
                Step::End(operation) => entry.ended.push(operation.id),
                Step::Change(_, operation) | Step::Make(operation, _) => entry.operations.push(operation.clone()),
            }
        }
        entry
    }

    /// Whose it is.
    pub(super) fn id(&self) -> VolumeId {
        self.id
    }

    /// The generation that it led to.
    pub(super) fn generation(&self) -> u64 {
        match &self.volume {
            Part::Progress(progress) => progress.generation,
            Part::Whole(volume) => volume.generation,
        }
    }

    /// Makes the state before into the state after; the line in the history.
    pub(super) fn replay(self, state: &mut VolumeState) -> Option<Event> {
        match self.volume {
            Part::Progress(progress) => progress.replay(&mut state.volume),
            Part::Whole(volume) => state.volume = *volume,
        }
        state.attachments.retain(|row| !self.gone.contains(&row.id));
        for row in self.rows {
            row.replay(&mut state.attachments);
        }
        state.operations.retain(|operation| !self.ended.contains(&operation.id));
        for operation in self.operations {
            match state.operations.iter_mut().find(|known| known.id == operation.id) {
                Some(known) => *known = operation,
                None => state.operations.push(operation),
            }
        }
        self.event.map(|line| line.into_event(self.id))
    }
}

impl Part {
    fn of(old: Option<&VolumeState>, new: &Volume) -> Self {
        if !old.is_some_and(|old| is_progress_only(&old.volume, new)) {
            return Self::Whole(Box::new(new.clone()));
        }
        Self::Progress(Progress {
            generation: new.generation,
            epoch: new.epoch,
            status: new.status,
            previous_status: new.previous_status,
            attach_status: new.attach_status,
            admin_metadata: new.admin_metadata.clone(),
            orphan_exports: new.orphan_exports.clone(),
            outstanding: new.outstanding.clone(),
            claims: new.claims.clone(),
            updated_at: new.updated_at,
        })
    }
}

impl Progress {
    fn replay(self, volume: &mut Volume) {
        volume.generation = self.generation;
        volume.epoch = self.epoch;
        volume.status = self.status;
        volume.previous_status = self.previous_status;
        volume.attach_status = self.attach_status;
        volume.admin_metadata = self.admin_metadata;
        volume.orphan_exports = self.orphan_exports;
        volume.outstanding = self.outstanding;
        volume.claims = self.claims;
        volume.updated_at = self.updated_at;
    }
}

impl Row {
    fn of(old: Option<&Attachment>, new: &Attachment) -> Self {
        let mut row = Self { row: new.clone(), same_connector: false, same_connection_info: false };
        if let Some(old) = old {
            row.same_connector = old.connector == new.connector;
            row.same_connection_info = old.connection_info == new.connection_info;
        }
        if row.same_connector {
            row.row.connector = None;
        }
        if row.same_connection_info {
            row.row.connection_info = None;
        }
        row
    }

    fn replay(self, rows: &mut Vec<Attachment>) {
        let mut row = self.row;
        match rows.iter_mut().find(|known| known.id == row.id) {
            Some(known) => {
                if self.same_connector {
                    row.connector = known.connector.take();
                }
                if self.same_connection_info {
                    row.connection_info = known.connection_info.take();
                }
                *known = row;
            }
            None => rows.push(row),
        }
    }
}
