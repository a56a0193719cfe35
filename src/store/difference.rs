//! Which rows of a volume a change writes: the difference between its two states.

use super::VolumeChange;
use super::rows::to_i64;
use crate::domain::attachment::Attachment;
use crate::domain::operation::Operation;
use crate::domain::snapshot::Snapshot;
use crate::domain::volume::VolumeState;

/// Rows that one commit may add to a volume: the low bits of a row's ordinal.
pub(super) const ORDINALS_PER_GENERATION: i64 = 1 << 16;

/// What becomes of a row.
pub(super) enum Step<'a, T> {
    /// It ends.
    End(&'a T),
    /// It changes from one to the other.
    Change(&'a T, &'a T),
    /// It is made; with its place among those of its volume.
    Make(&'a T, i64),
}

impl VolumeChange {
    /// The attachments, in the order in which they are written: what ends goes first, for a row made in the same commit may
    /// take over its device name.
    pub(super) fn attachments(&self) -> impl Iterator<Item = Step<'_, Attachment>> {
        let new = self.new.as_ref();
        let before = self.old.as_ref().map_or(&[][..], |old| old.attachments.as_slice());
        let moved = self.old.as_ref().is_some_and(|old| old.volume.project_id != new.volume.project_id);
        let after = if new.volume.deleted { &[][..] } else { new.attachments.as_slice() };
        let ended = before.iter().filter(|row| !after.iter().any(|left| left.id == row.id)).map(Step::End);
        let written =
            after.iter().enumerate().filter_map(move |(index, row)| match before.iter().find(|old| old.id == row.id) {
                Some(same) if same == row && !moved => None,
                Some(old) => Some(Step::Change(old, row)),
                None => Some(Step::Make(row, ordinal(new, index))),
            });
        ended.chain(written)
    }

    /// The snapshots.
    pub(super) fn snapshots(&self) -> impl Iterator<Item = Step<'_, Snapshot>> {
        let new = self.new.as_ref();
        let before = self.old.as_ref().map_or(&[][..], |old| old.snapshots.as_slice());
        let after = if new.volume.deleted { &[][..] } else { new.snapshots.as_slice() };
        let ended = before.iter().filter(|old| !after.iter().any(|left| left.id == old.id)).map(Step::End);
        let written = after.iter().enumerate().filter_map(move |(index, snapshot)| {
            match before.iter().find(|old| old.id == snapshot.id) {
                Some(same) if same == snapshot => None,
                Some(old) => Some(Step::Change(old, snapshot)),
                None => Some(Step::Make(snapshot, ordinal(new, index))),
            }
        });
        ended.chain(written)
    }

    /// The operations: what has ended, what has gone on, and what is new.
    pub(super) fn operations(&self) -> impl Iterator<Item = Step<'_, Operation>> {
        let after = self.new.operations.as_slice();
        let before = self.old.as_ref().map_or(&[][..], |old| old.operations.as_slice());
        let ended = before.iter().filter(|old| !after.iter().any(|left| left.id == old.id)).map(Step::End);
        let written = after.iter().filter_map(|operation| match before.iter().find(|old| old.id == operation.id) {
            Some(same) if same == operation => None,
            Some(old) => Some(Step::Change(old, operation)),
            None => Some(Step::Make(operation, 0)),
        });
        ended.chain(written)
    }
}

/// The place of a row that is made at `index`, among those of its volume.
fn ordinal(new: &VolumeState, index: usize) -> i64 {
    let index = i64::try_from(index).expect("few rows");
    to_i64(new.volume.generation) * ORDINALS_PER_GENERATION + index
}
