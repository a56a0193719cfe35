//! PostgreSQL: a group is written in sets, one statement for each kind of change, not member by member. A statement is a
//! trip to the server and back, and those are what a commit there costs.
//!
//! Most groups are `progress`: one statement and its COMMIT. In the others, the rows that guards look at are locked and
//! read first; then every member is judged here, in order, against what it would see after those before it; then what the
//! accepted ones change is written together. Whatever the judge cannot know (a row that another node made between the read
//! and the write, a statement that the server refuses) fails the whole database transaction, and the writer then runs the
//! members alone, each by `apply`. So this must never accept what `apply` refuses, nor refuse what it accepts.
//!
//! Called by the writer only, for groups of two and more.

mod columns;
mod judge;
mod mappings;
mod progress;
mod reads;
mod statement;
mod wave;

use diesel::connection::SimpleConnection;
use diesel::{PgConnection, QueryResult};

use self::judge::Judge;
use self::progress::Progress;
use self::wave::Wave;
use super::Transaction;
use super::apply::Judgement;

/// What a writer's connection is told once. The reads after the locks rely on seeing what was committed while they waited
/// for them. Every statement here finds its rows by key: one plan serves all groups, and it must be the one by key whatever
/// the tables held when it was made, a join by hash where there is one, and never compiled.
pub(super) const SESSION: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_nestloop = off; \
    SET enable_mergejoin = off; SET jit = off;";

/// Begins, judges and writes, without COMMIT. How each member ended, and the number of the transaction.
pub(super) fn write_group(
    connection: &mut PgConnection,
    members: &[&Transaction],
) -> QueryResult<(Vec<Judgement>, i64)> {
    connection.batch_execute("BEGIN")?;
    if let Some(progress) = Progress::of(members) {
        if let Some(number) = progress.write(connection)? {
            return Ok((vec![Ok(()); members.len()], number));
        }
        connection.batch_execute("ROLLBACK; BEGIN")?;
    }
    let (number, mut judge) = Judge::load(connection, members)?;
    let mut wave = Wave::default();
    let mut judgements = Vec::with_capacity(members.len());
    for member in members {
        let judgement = judge.judge(member);
        if judgement.is_ok() {
            if wave.touches(member) {
                std::mem::take(&mut wave).write(connection)?;
            }
            wave.add(member);
        }
        judgements.push(judgement);
    }
    wave.write(connection)?;
    judge.write_usage(connection)?;
    Ok((judgements, number))
}
