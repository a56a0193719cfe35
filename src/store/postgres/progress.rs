//! The common group: each member takes a volume of its own on (attach, detach, a step of an operation), and nothing but
//! the volume's guard decides on it. Then nothing has to be read first: one statement writes everything and tells how many
//! guards have held. If one has not, nothing of it may stay, and the members are judged.
//!
//! Locks are taken in the common order (`apply`): the statement reads how many volumes it has changed before it does
//! anything else, and it changes them in the order of their ids.

use std::collections::BTreeMap;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::BigInt;
use diesel::{PgConnection, QueryResult, RunQueryDsl};

use super::super::apply::{is_progress_only, usage_deltas};
use super::super::difference::Step;
use super::super::rows::to_i64;
use super::super::{Transaction, VolumeChange};
use super::columns::{Attachments, Operations};
use super::statement::{walk_delete, walk_guarded_update, walk_insert, walk_update};
use super::wave::Wave;

/// What such a group writes.
pub(super) struct Progress {
    wave: Wave,
    /// The generation that each volume must have, in the order of the wave's.
    expected: Vec<i64>,
}

impl Progress {
    /// None: some member needs more than its volume's guard, or two change the same volume.
    pub(super) fn of(members: &[&Transaction]) -> Option<Self> {
        let mut by_volume = BTreeMap::new();
        for member in members {
            let change = member.volume.as_ref().filter(|change| is_decided_by_guard(member, change))?;
            let expected = to_i64(change.old.as_ref()?.volume.generation);
            if by_volume.insert(change.new.id(), (expected, *member)).is_some() {
                return None;
            }
        }
        let mut progress = Self { wave: Wave::default(), expected: Vec::with_capacity(members.len()) };
        for (expected, member) in by_volume.into_values() {
            progress.wave.add(member);
            progress.expected.push(expected);
        }
        Some(progress)
    }

    /// Writes everything inside of the open transaction; its number. None: a guard has not held, so that it must not commit.
    pub(super) fn write(&self, connection: &mut PgConnection) -> QueryResult<Option<i64>> {
        match AtOnce(self).get_result::<(i64, i64)>(connection) {
            Ok((number, stood)) => {
                let is_whole = usize::try_from(stood).is_ok_and(|stood| stood == self.expected.len());
                Ok(is_whole.then_some(number))
            }
            // what goes with a change that somebody has already made is there already
            Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_decided_by_guard(member: &Transaction, change: &VolumeChange) -> bool {
    let Transaction { volume: _, server, server_guard, type_guard, limits: _, messages, event: _, actions, key } =
        member;
    let goes_on = change.old.as_ref().is_some_and(|old| is_progress_only(&old.volume, &change.new.volume));
    // rows that hold a device name must be written in an order, which parts of one statement do not have
    let claims_nothing = || {
        change.attachments().all(|step| match step {
            Step::End(row) | Step::Make(row, _) => row.bdm.is_none(),
            Step::Change(old, new) => old.bdm.is_none() && new.bdm.is_none(),
        })
    };
    server.is_none()
        && server_guard.is_none()
        && type_guard.is_none()
        && key.is_none()
        && messages.is_empty()
        && actions.is_empty()
        && goes_on
        && change.snapshots().next().is_none()
        && claims_nothing()
        && usage_deltas(member).is_empty()
}

/// One statement. Its text has every part, also those for which there are no rows: so it is always the same.
struct AtOnce<'a>(&'a Progress);

impl QueryFragment<Pg> for AtOnce<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Progress { wave, expected } = self.0;
        out.push_sql("WITH stood AS (");
        walk_guarded_update(&wave.volumes_progressed, expected, out.reborrow())?;
        out.push_sql(" RETURNING 1), attachments_ended AS (");
        walk_delete::<Attachments>(&wave.attachments_ended, out.reborrow())?;
        out.push_sql("), attachments_changed AS (");
        walk_update(&wave.attachments_changed, out.reborrow())?;
        out.push_sql("), attachments_made AS (");
        walk_insert(&wave.attachments_made, out.reborrow())?;
        out.push_sql("), operations_ended AS (");
        walk_delete::<Operations>(&wave.operations_ended, out.reborrow())?;
        out.push_sql("), operations_changed AS (");
        walk_update(&wave.operations_changed, out.reborrow())?;
        out.push_sql("), operations_made AS (");
        walk_insert(&wave.operations_made, out.reborrow())?;
        out.push_sql("), told AS (");
        walk_insert(&wave.events, out.reborrow())?;
        out.push_sql(") SELECT txid_current(), count(*) FROM stood");
        Ok(())
    }
}

impl Query for AtOnce<'_> {
    type SqlType = (BigInt, BigInt);
}

impl QueryId for AtOnce<'_> {
    type QueryId = AtOnce<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<PgConnection> for AtOnce<'_> {}
