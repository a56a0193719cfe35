//! SQLite: a redo journal in front of the tables.
//!
//! A change of a row costs a database many times what an append costs, and a volume that is attached and detached changes
//! its rows six times in a moment. So most transactions of a group are committed as *one* row of the journal, which holds
//! what is new of each volume. What the journal holds is *settled* into the tables later, within one of the next
//! groups: a volume's row is then written once for all that happened to it, and an attachment or an operation that came and
//! went in between is never written.
//!
//! It stays one truth. Journal and tables are in one database and change in its transactions, so that a crash leaves either
//! a change in the journal or the same change in the tables. Reads by id look into the [`Overlay`] first, lists wait until
//! what was committed before them is settled, and opening a database settles all of its journal. Settling twice is harmless:
//! an entry counts only while its generation is above the row's.
//!
//! Which transactions: those that change one existing volume and nothing which the tables must judge. Quota, servers, the
//! uniqueness of device names and the insertion and deletion of volumes are judged by the tables and are written to them at
//! once, after what the journal holds of the same volume.
//!
//! Used by the writers only; readers know the overlay.

mod entry;
mod overlay;
mod replay;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::prelude::*;

use self::entry::Entry;
pub(super) use self::overlay::Overlay;
use self::overlay::Pending;
pub(super) use self::replay::replay;
use super::apply::{Judgement, apply_group, settle_volume, usage_deltas};
use super::connection::AnyConnection;
use super::queries::unavailable;
use super::rows::to_i64;
use super::schema::{journal, volumes};
use super::{Aborted, StoreError, Transaction, VolumeChange};
use crate::domain::ids::VolumeId;
use crate::domain::volume::VolumeState;

/// How long changes are collected before they are settled: a few times what a volume's whole attachment takes in a storm.
pub(super) const SETTLE_AFTER: Duration = Duration::from_millis(500);
/// Volumes that one group settles besides its own work: a few milliseconds.
pub(super) const SETTLED_BY_A_GROUP: usize = 64;
/// With more volumes waiting than that, a group settles the rest as well: it bounds memory, the wait of a list and the work
/// at the next start.
pub(super) const MOST_PENDING: usize = 4_096;

/// The writer's side.
pub(super) struct Journal {
    overlay: Arc<Overlay>,
    /// Waiting volumes, oldest first. An entry counts while the overlay knows of the same first row.
    order: VecDeque<Waiting>,
    /// The sequence of the next row.
    next_sequence: i64,
    /// Rows below are gone.
    lowest: i64,
}

struct Waiting {
    id: VolumeId,
    first_sequence: i64,
    since: Instant,
}

/// What a group may settle.
#[derive(Clone, Copy)]
pub(super) struct Allowance {
    /// What has waited since before this instant.
    pub(super) before: Option<Instant>,
    /// And the oldest of what is more than so many.
    pub(super) keep: usize,
    /// But not more than so many; beyond [`Self::keep`] always.
    pub(super) most: usize,
}

impl Allowance {
    /// Nothing that is not in the way of a member.
    pub(super) const NOTHING: Self = Self { before: None, keep: usize::MAX, most: 0 };
    /// Everything that waits.
    pub(super) const ALL: Self = Self { before: None, keep: 0, most: usize::MAX };

    /// What is due at `now`.
    pub(super) fn due(now: Instant) -> Self {
        Self { before: now.checked_sub(SETTLE_AFTER), keep: MOST_PENDING, most: SETTLED_BY_A_GROUP }
    }
}

/// What a database transaction has written; takes effect with its COMMIT, by [`Journal::committed`].
#[derive(Default)]
pub(super) struct Staged {
    /// Members that went to the journal, by their place in the group.
    entered: Vec<usize>,
    settled: Vec<VolumeId>,
    lowest: i64,
}

impl Journal {
    /// An empty journal: the tables show everything, and rows begin at `next_sequence`.
    fn new(overlay: Arc<Overlay>, next_sequence: i64) -> Self {
        overlay.clear();
        Self { overlay, order: VecDeque::new(), next_sequence, lowest: next_sequence }
    }

    /// Whether nothing waits.
    pub(super) fn is_settled(&self) -> bool {
        self.overlay.is_empty()
    }

    /// When the oldest is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.valid().next().map(|waiting| waiting.since + SETTLE_AFTER)
    }

    /// Judges and writes `members` inside of the open transaction, and settles what is allowed.
    pub(super) fn write_group(
        &self,
        connection: &mut AnyConnection,
        members: &[&Transaction],
        allowance: Allowance,
    ) -> QueryResult<(Vec<Judgement>, Staged)> {
        let (entering, direct) = sort(members);
        let mut staged = Staged { lowest: self.lowest, ..Staged::default() };
        for member in direct.iter().map(|place| members[*place]) {
            if let Some(change) = &member.volume {
                self.settle(connection, change.new.id(), &mut staged)?;
            }
        }
        let mut judgements: Vec<Judgement> = vec![Ok(()); members.len()];
        if !direct.is_empty() {
            let written: Vec<&Transaction> = direct.iter().map(|place| members[*place]).collect();
            for (place, judgement) in direct.iter().zip(apply_group(connection, &written)?) {
                judgements[*place] = judgement;
            }
        }
        for (place, change) in &entering {
            if self.generation(connection, change.new.id())? == Some(generation_before(change)) {
                staged.entered.push(*place);
            } else {
                judgements[*place] = Err(Aborted::Stale);
            }
        }
        if !staged.entered.is_empty() {
            let body = body_of(staged.entered.iter().map(|place| members[*place]));
            let row = (journal::sequence.eq(self.next_sequence), journal::body.eq(body));
            diesel::insert_into(journal::table).values(row).execute(sqlite(connection))?;
        }
        let entered = entering.iter().map(|(_, change)| change.new.id());
        let touched: HashSet<VolumeId> = entered.chain(staged.settled.iter().copied()).collect();
        for id in self.due(allowance, &touched) {
            self.settle(connection, id, &mut staged)?;
        }
        staged.lowest = self.lowest_after(&staged);
        if staged.lowest > self.lowest {
            diesel::delete(journal::table.filter(journal::sequence.lt(staged.lowest))).execute(sqlite(connection))?;
        }
        Ok((judgements, staged))
    }

    /// The COMMIT of `staged` has returned; `take` gives up a member.
    pub(super) fn committed(&mut self, staged: Staged, mut take: impl FnMut(usize) -> Transaction) {
        for id in &staged.settled {
            self.overlay.remove(*id);
        }
        self.lowest = staged.lowest;
        if !staged.entered.is_empty() {
            let now = Instant::now();
            for place in &staged.entered {
                self.enter(take(*place), now);
            }
            self.next_sequence += 1;
        }
        while self.order.front().is_some_and(|oldest| !self.is_valid(oldest)) {
            self.order.pop_front();
        }
    }

    fn enter(&mut self, member: Transaction, now: Instant) {
        let Some(VolumeChange { old: Some(old), new }) = member.volume else { return };
        let (id, event) = (new.id(), member.event);
        if self.overlay.look(id, |_| ()).is_some() {
            return self.overlay.advance(id, new, event);
        }
        let first_sequence = self.next_sequence;
        let pending = Pending { base: old, latest: new, events: event.into_iter().collect(), first_sequence };
        self.overlay.put(id, pending);
        self.order.push_back(Waiting { id, first_sequence, since: now });
    }

    /// The generation of a live volume.
    fn generation(&self, connection: &mut AnyConnection, id: VolumeId) -> QueryResult<Option<i64>> {
        if let Some(generation) = self.overlay.look(id, |pending| to_i64(pending.latest.volume.generation)) {
            return Ok(Some(generation));
        }
        volumes::table
            .filter(volumes::id.eq(id.to_string()))
            .filter(volumes::deleted.eq(false))
            .select(volumes::generation)
            .first(sqlite(connection))
            .optional()
    }

    fn valid(&self) -> impl Iterator<Item = &Waiting> {
        self.order.iter().filter(|waiting| self.is_valid(waiting))
    }

    fn is_valid(&self, waiting: &Waiting) -> bool {
        self.overlay.look(waiting.id, |pending| pending.first_sequence) == Some(waiting.first_sequence)
    }

    fn due(&self, allowance: Allowance, touched: &HashSet<VolumeId>) -> Vec<VolumeId> {
        let excess = self.overlay.len().saturating_sub(allowance.keep);
        let waiting = self.valid().filter(|waiting| !touched.contains(&waiting.id)).enumerate();
        waiting
            .take_while(|(place, waiting)| {
                let is_old = allowance.before.is_some_and(|before| waiting.since <= before);
                *place < excess || (is_old && *place < allowance.most)
            })
            .map(|(_, waiting)| waiting.id)
            .collect()
    }

    /// Writes what waits of `id` to the tables.
    fn settle(&self, connection: &mut AnyConnection, id: VolumeId, staged: &mut Staged) -> QueryResult<()> {
        let written = self.overlay.look(id, |pending| {
            let change = VolumeChange { old: Some(Arc::clone(&pending.base)), new: Arc::clone(&pending.latest) };
            settle_volume(connection, &change, &pending.events)
        });
        match written {
            None => Ok(()),
            Some(result) => {
                staged.settled.push(id);
                result
            }
        }
    }

    /// The first row that is still needed once `staged` is committed.
    fn lowest_after(&self, staged: &Staged) -> i64 {
        let settled: HashSet<VolumeId> = staged.settled.iter().copied().collect();
        let oldest = self.valid().find(|waiting| !settled.contains(&waiting.id));
        oldest.map_or(self.next_sequence, |waiting| waiting.first_sequence)
    }
}

/// Which members go to the journal, and the places of those that are written at once. A volume that a group changes
/// more than once is written at once: its members depend on each other's order.
fn sort<'a>(members: &[&'a Transaction]) -> (Vec<(usize, &'a VolumeChange)>, Vec<usize>) {
    let mut changes: HashMap<VolumeId, usize> = HashMap::with_capacity(members.len());
    for change in members.iter().filter_map(|member| member.volume.as_ref()) {
        *changes.entry(change.new.id()).or_default() += 1;
    }
    let mut entering = Vec::with_capacity(members.len());
    let mut direct = Vec::new();
    for (place, member) in members.iter().enumerate() {
        match &member.volume {
            Some(change) if may_wait(member, change) && changes[&change.new.id()] == 1 => {
                entering.push((place, change));
            }
            _ => direct.push(place),
        }
    }
    (entering, direct)
}

/// Whether the tables need not judge it.
fn may_wait(member: &Transaction, change: &VolumeChange) -> bool {
    let compute_has_a_part = |state: &VolumeState| state.attachments.iter().any(|row| row.bdm.is_some());
    change.old.as_ref().is_some_and(|old| !compute_has_a_part(old))
        && !compute_has_a_part(&change.new)
        && !change.new.volume.deleted
        && change.snapshots().next().is_none()
        && member.server.is_none()
        && member.server_guard.is_none()
        && member.type_guard.is_none()
        && member.key.is_none()
        && member.messages.is_empty()
        && member.actions.is_empty()
        && usage_deltas(member).is_empty()
}

/// The first and the last row that there are.
pub(super) fn bounds(connection: &mut AnyConnection) -> Result<Option<(i64, i64)>, StoreError> {
    let Some(inner) = connection.sqlite() else { return Ok(None) };
    let bounds: (Option<i64>, Option<i64>) = journal::table
        .select((diesel::dsl::min(journal::sequence), diesel::dsl::max(journal::sequence)))
        .first(inner)
        .map_err(unavailable)?;
    Ok(bounds.0.zip(bounds.1))
}

fn generation_before(change: &VolumeChange) -> i64 {
    change.old.as_ref().map_or(0, |old| to_i64(old.volume.generation))
}

fn body_of<'a>(members: impl Iterator<Item = &'a Transaction>) -> String {
    let entries: Vec<Entry<'_>> =
        members.filter_map(|member| Some(Entry::of(member.volume.as_ref()?, member.event.as_deref()))).collect();
    serde_json::to_string(&entries).expect("a state has text keys only")
}

/// The journal is SQLite's.
fn sqlite(connection: &mut AnyConnection) -> &mut SqliteConnection {
    connection.sqlite().expect("PostgreSQL has no journal")
}
