//! What the journal holds and the tables do not show yet, for those who read.

use std::sync::Arc;

use dashmap::DashMap;

use super::super::Event;
use crate::domain::ids::{AttachmentId, VolumeId};
use crate::domain::volume::VolumeState;

/// The volumes whose last changes are committed to the journal only. Changed by the writer alone, after each COMMIT and
/// before its answers; looked at by every reader. Always empty on PostgreSQL.
#[derive(Default)]
pub struct Overlay {
    volumes: DashMap<VolumeId, Pending>,
}

/// The changes of one volume that wait to be settled into the tables.
pub(super) struct Pending {
    /// The state that the tables show.
    pub(super) base: Arc<VolumeState>,
    /// The committed state.
    pub(super) latest: Arc<VolumeState>,
    /// The history between the two.
    pub(super) events: Vec<Arc<Event>>,
    /// The journal's row with the first of these changes; tells it from an earlier wait of the same volume.
    pub(super) first_sequence: i64,
}

impl Overlay {
    /// The committed state of a volume whose row is behind.
    pub(in super::super) fn get(&self, id: VolumeId) -> Option<Arc<VolumeState>> {
        if self.volumes.is_empty() {
            return None;
        }
        self.volumes.get(&id).map(|pending| Arc::clone(&pending.latest))
    }

    /// The volume of an attachment that the tables may not show yet. Looks at every waiting volume: for the rare read of an
    /// attachment whose volume is not in memory.
    pub(in super::super) fn volume_of(&self, attachment: AttachmentId) -> Option<VolumeId> {
        let holds = |pending: &Pending| pending.latest.attachment(attachment).is_some();
        self.volumes.iter().find(|entry| holds(entry.value())).map(|entry| *entry.key())
    }

    /// How many volumes wait.
    pub(in super::super) fn len(&self) -> usize {
        self.volumes.len()
    }

    /// Whether the tables show everything.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.volumes.is_empty()
    }

    pub(super) fn look<T>(&self, id: VolumeId, at: impl FnOnce(&Pending) -> T) -> Option<T> {
        self.volumes.get(&id).map(|pending| at(&pending))
    }

    pub(super) fn put(&self, id: VolumeId, pending: Pending) {
        self.volumes.insert(id, pending);
    }

    pub(super) fn advance(&self, id: VolumeId, latest: Arc<VolumeState>, event: Option<Arc<Event>>) {
        if let Some(mut pending) = self.volumes.get_mut(&id) {
            pending.latest = latest;
            pending.events.extend(event);
        }
    }

    pub(super) fn remove(&self, id: VolumeId) {
        self.volumes.remove(&id);
    }

    pub(super) fn clear(&self) {
        self.volumes.clear();
    }
}
