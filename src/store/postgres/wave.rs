//! The writes of accepted members, gathered by kind and carried out together.
//!
//! Within a wave no volume and no server is written twice, so that the order of the statements is the order of the members
//! as far as any of them can tell: attachments which end come first, because a later row may take over their device name.

use std::collections::HashSet;

use diesel::result::Error as DieselError;
use diesel::{PgConnection, QueryResult, RunQueryDsl};

use super::super::apply::is_progress_only;
use super::super::difference::Step;
use super::super::rows::{
    ActionEndRow, AttachmentRow, EventRow, MessageRow, OperationRow, ServerActionRow, ServerRow, SnapshotRow, VolumeRow,
};
use super::super::{ActionChange, ServerChange, Transaction, VolumeChange};
use super::columns::{
    ActionEnds, Actions, Attachments, AttachmentsProgress, Events, Messages, Operations, OperationsProgress, Servers,
    Snapshots, SnapshotsProgress, Volumes, VolumesProgress,
};
use super::statement::{Columns, Delete, Insert, Update};
use crate::domain::ids::{ServerId, VolumeId};

/// What is to be written.
#[derive(Default)]
pub(super) struct Wave {
    volumes: HashSet<VolumeId>,
    servers: HashSet<ServerId>,
    volumes_made: Volumes,
    volumes_changed: Volumes,
    pub(super) volumes_progressed: VolumesProgress,
    pub(super) attachments_ended: Vec<String>,
    pub(super) attachments_changed: AttachmentsProgress,
    pub(super) attachments_made: Attachments,
    snapshots_ended: Vec<String>,
    snapshots_changed: SnapshotsProgress,
    snapshots_made: Snapshots,
    pub(super) operations_ended: Vec<String>,
    pub(super) operations_changed: OperationsProgress,
    pub(super) operations_made: Operations,
    servers_made: Servers,
    servers_changed: Servers,
    messages: Messages,
    pub(super) events: Events,
    actions_begun: Actions,
    actions_ended: ActionEnds,
}

impl Wave {
    /// Whether the wave already writes the volume or the server of `member`.
    pub(super) fn touches(&self, member: &Transaction) -> bool {
        member.volume.as_ref().is_some_and(|change| self.volumes.contains(&change.new.id()))
            || member.server.as_ref().is_some_and(|change| self.servers.contains(&change.server.id))
    }

    /// Adds what an accepted member writes.
    pub(super) fn add(&mut self, member: &Transaction) {
        if let Some(change) = &member.volume {
            self.add_volume(change);
            self.add_attachments(change);
            self.add_snapshots(change);
            self.add_operations(change);
        }
        if let Some(ServerChange { expected_epoch, server }) = &member.server {
            self.servers.insert(server.id.clone());
            let rows = if expected_epoch.is_none() { &mut self.servers_made } else { &mut self.servers_changed };
            rows.push(ServerRow::of(server));
        }
        for message in &member.messages {
            self.messages.push(MessageRow::of(message));
        }
        if let Some(event) = &member.event {
            self.events.push(EventRow::of(event));
        }
        for change in &member.actions {
            match change {
                ActionChange::Begin(action) => self.actions_begun.push(ServerActionRow::of(action)),
                ActionChange::End { id, end, .. } => self.actions_ended.push(ActionEndRow::of(*id, end)),
            }
        }
    }

    fn add_volume(&mut self, change: &VolumeChange) {
        let row = VolumeRow::of(&change.new.volume);
        self.volumes.insert(change.new.id());
        match &change.old {
            None => self.volumes_made.push(row),
            Some(old) if is_progress_only(&old.volume, &change.new.volume) => self.volumes_progressed.push(row),
            Some(_) => self.volumes_changed.push(row),
        }
    }

    fn add_attachments(&mut self, change: &VolumeChange) {
        let project_id = change.new.volume.project_id.as_str();
        for step in change.attachments() {
            match step {
                Step::End(row) => self.attachments_ended.push(row.id.to_string()),
                Step::Change(_, row) => self.attachments_changed.push(AttachmentRow::of(row, project_id, 0)),
                Step::Make(row, ordinal) => self.attachments_made.push(AttachmentRow::of(row, project_id, ordinal)),
            }
        }
    }

    fn add_snapshots(&mut self, change: &VolumeChange) {
        for step in change.snapshots() {
            match step {
                Step::End(snapshot) => self.snapshots_ended.push(snapshot.id.to_string()),
                Step::Change(_, snapshot) => self.snapshots_changed.push(SnapshotRow::of(snapshot, 0)),
                Step::Make(snapshot, ordinal) => self.snapshots_made.push(SnapshotRow::of(snapshot, ordinal)),
            }
        }
    }

    fn add_operations(&mut self, change: &VolumeChange) {
        let volume_id = change.new.id();
        for step in change.operations() {
            match step {
                Step::End(operation) => self.operations_ended.push(operation.id.to_string()),
                Step::Change(_, operation) => self.operations_changed.push(OperationRow::of(volume_id, operation)),
                Step::Make(operation, _) => self.operations_made.push(OperationRow::of(volume_id, operation)),
            }
        }
    }

    /// Writes everything.
    pub(super) fn write(self, connection: &mut PgConnection) -> QueryResult<()> {
        insert(connection, self.volumes_made)?;
        // their rows are locked, so that each must be found
        update_all(connection, self.volumes_changed)?;
        update_all(connection, self.volumes_progressed)?;
        delete::<Attachments>(connection, self.attachments_ended)?;
        update(connection, self.attachments_changed)?;
        insert(connection, self.attachments_made)?;
        delete::<Snapshots>(connection, self.snapshots_ended)?;
        update(connection, self.snapshots_changed)?;
        insert(connection, self.snapshots_made)?;
        delete::<Operations>(connection, self.operations_ended)?;
        update(connection, self.operations_changed)?;
        insert(connection, self.operations_made)?;
        insert(connection, self.servers_made)?;
        update_all(connection, self.servers_changed)?;
        insert(connection, self.messages)?;
        insert(connection, self.events)?;
        insert(connection, self.actions_begun)?;
        update(connection, self.actions_ended)
    }
}

fn insert<C: Columns>(connection: &mut PgConnection, rows: C) -> QueryResult<()> {
    if rows.len() > 0 {
        Insert(rows).execute(connection)?;
    }
    Ok(())
}

fn update<C: Columns>(connection: &mut PgConnection, rows: C) -> QueryResult<()> {
    if rows.len() > 0 {
        Update(rows).execute(connection)?;
    }
    Ok(())
}

fn delete<C: Columns>(connection: &mut PgConnection, keys: Vec<String>) -> QueryResult<()> {
    if !keys.is_empty() {
        Delete::<C>::new(keys).execute(connection)?;
    }
    Ok(())
}

/// As [`update`]; a row that is not there fails the transaction.
fn update_all<C: Columns>(connection: &mut PgConnection, rows: C) -> QueryResult<()> {
    let count = rows.len();
    if count > 0 && Update(rows).execute(connection)? != count {
        return Err(DieselError::NotFound);
    }
    Ok(())
}
