//! Which volume an attachment belongs to, for the volumes that are active: spares the requests that name only the
//! attachment a read.
//!
//! It is a hint about where to look, never the answer: rows come and go, but a row never moves to another volume, so
//! whoever follows an entry that is out of date finds the volume without the row, and that is the truth. An attachment
//! that is not here may still be in the database.

use dashmap::DashMap;

use crate::domain::ids::{AttachmentId, VolumeId};

/// The attachments of the active volumes. As large as their published states, which it follows.
#[derive(Default)]
pub(super) struct AttachmentIndex(DashMap<AttachmentId, VolumeId>);

impl AttachmentIndex {
    /// The volume of this attachment, if the volume is active.
    pub(super) fn volume_of(&self, id: AttachmentId) -> Option<VolumeId> {
        self.0.get(&id).map(|volume_id| *volume_id)
    }

    /// The rows of `volume_id` are now `rows`. `listed` is what the index holds for it, in the caller's keeping.
    pub(super) fn list(
        &self,
        volume_id: VolumeId,
        listed: &mut Vec<AttachmentId>,
        rows: impl Iterator<Item = AttachmentId> + Clone,
    ) {
        if rows.clone().eq(listed.iter().copied()) {
            return;
        }
        let before = std::mem::replace(listed, rows.collect());
        for id in listed.iter().filter(|id| !before.contains(id)) {
            self.0.insert(*id, volume_id);
        }
        for id in before.iter().filter(|id| !listed.contains(id)) {
            self.0.remove(id);
        }
    }

    /// How many attachments it knows.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
