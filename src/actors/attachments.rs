//! Which volume an attachment belongs to, for the volumes that are active: spares the requests that name only the
//! attachment a read.
//!
//! It is a hint about where to look, never the answer: rows come and go, but a row never moves to another volume, so
//! whoever follows an entry that is out of date finds the volume without the row, and that is the truth. An attachment
//! that is not here may still be in the database.

use dashmap::DashMap;

use crate::domain::attachment::Attachment;
use crate::domain::ids::{AttachmentId, VolumeId};

/// The attachments of the active volumes. As large as their published states, which it follows.
#[derive(Default)]
pub(super) struct AttachmentIndex(DashMap<AttachmentId, VolumeId>);

impl AttachmentIndex {
    /// The volume of this attachment, if the volume is active.
    pub(super) fn volume_of(&self, id: AttachmentId) -> Option<VolumeId> {
        self.0.get(&id).map(|volume_id| *volume_id)
    }

    /// The rows of `volume_id` were `before`, as far as the index is told, and are `after`.
    pub(super) fn change(&self, volume_id: VolumeId, before: &[Attachment], after: &[Attachment]) {
        let is_in = |rows: &[Attachment], id| rows.iter().any(|row| row.id == id);
        for row in after.iter().filter(|row| !is_in(before, row.id)) {
            self.0.insert(row.id, volume_id);
        }
        for row in before.iter().filter(|row| !is_in(after, row.id)) {
            self.0.remove(&row.id);
        }
    }

    /// How many attachments it knows.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
