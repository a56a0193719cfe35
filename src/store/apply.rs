//! What a group of transactions does inside of one database transaction: each member is judged and written, or refused
//! without a trace; none hurts another. Statement by statement: all groups of SQLite, where a statement is cheap, and
//! members of PostgreSQL which stand alone. Groups of PostgreSQL are written in sets (`postgres`).
//!
//! Locks are taken in one order everywhere: volumes, servers, types, usage, each by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::connection::{AnyConnection, on_each};
use super::difference::Step;
use super::idempotency::write_key;
use super::rows::{
    AttachmentRow, EventRow, MessageRow, OperationRow, ServerActionRow, ServerRow, SnapshotRow, UsageRow, VolumeRow,
    to_i64, to_json,
};
use super::schema::{
    attachments, events, messages, operations, quota_usages, server_actions, servers, snapshots, volume_types, volumes,
};
use super::sql::{Dialect, Id, Sql, Value};
use super::statements::{ActionEnded, AttachmentGone, OperationEnded, VolumeProgress};
use super::{Aborted, ActionChange, Event, ServerChange, Transaction, VolumeChange};
use crate::domain::quota::{Limits, Scope, Usage};
use crate::domain::volume::{Volume, usage_growth};

/// How one member of a group ended inside of the (not yet committed) database transaction.
pub(super) type Judgement = Result<(), Aborted>;

/// Applies `members` in order. An error spoils the whole database transaction: the caller rolls back and runs the members
/// one by one.
pub(super) fn apply_group(connection: &mut AnyConnection, members: &[&Transaction]) -> QueryResult<Vec<Judgement>> {
    lock_servers(connection, members)?;
    lock_types(connection, members)?;
    let mut ledger = Ledger::load(connection, members)?;
    let mut judgements = Vec::with_capacity(members.len());
    for member in members {
        judgements.push(apply_member(connection, member, &mut ledger)?);
    }
    ledger.write(connection)?;
    Ok(judgements)
}

fn apply_member(connection: &mut AnyConnection, member: &Transaction, ledger: &mut Ledger) -> QueryResult<Judgement> {
    let deltas = usage_deltas(member);
    if let Err(aborted) = ledger.judge(member.limits.as_ref(), &deltas) {
        return Ok(Err(aborted));
    }
    // a member which can only be refused by its first statement leaves nothing behind: it needs no savepoint
    let savepoint = may_be_refused_late(member);
    if savepoint {
        connection.batch_execute("SAVEPOINT member")?;
    }
    let refused = match write_member(connection, member) {
        Ok(()) => None,
        Err(Refused::By(aborted)) => Some(aborted),
        Err(Refused::Error(error)) => return Err(error),
    };
    match (&refused, savepoint) {
        (None, true) => connection.batch_execute("RELEASE SAVEPOINT member")?,
        (Some(_), true) => {
            connection.batch_execute("ROLLBACK TO SAVEPOINT member; RELEASE SAVEPOINT member")?;
        }
        (_, false) => {}
    }
    Ok(match refused {
        None => {
            ledger.add(&deltas);
            Ok(())
        }
        Some(aborted) => Err(aborted),
    })
}

enum Refused {
    By(Aborted),
    Error(DieselError),
}

impl From<DieselError> for Refused {
    fn from(error: DieselError) -> Self {
        Self::Error(error)
    }
}

/// Which refusal a violated uniqueness means, where a statement of a member violates one.
fn refuse_duplicates(result: QueryResult<usize>, as_what: Aborted) -> Result<usize, Refused> {
    match result {
        Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Err(Refused::By(as_what)),
        other => Ok(other?),
    }
}

fn may_be_refused_late(member: &Transaction) -> bool {
    let collides = member.volume.as_ref().is_some_and(|change| {
        change
            .new
            .attachments
            .iter()
            .any(|row| row.bdm.is_some() && change.old.as_ref().and_then(|old| old.attachment(row.id)) != Some(row))
    });
    collides
        || (member.volume.is_some() && member.server.is_some())
        || !member.messages.is_empty()
        || member.key.is_some()
}

fn write_member(connection: &mut AnyConnection, member: &Transaction) -> Result<(), Refused> {
    if let Some((id, epoch)) = &member.server_guard {
        let stands: bool = diesel::select(diesel::dsl::exists(
            servers::table
                .filter(servers::id.eq(id.as_str()))
                .filter(servers::epoch.eq(to_i64(*epoch)))
                .filter(servers::deleted.eq(false)),
        ))
        .get_result(connection)?;
        if !stands {
            return Err(Refused::By(Aborted::ServerChanged));
        }
    }
    if let Some((id, revision)) = member.type_guard {
        let stands: bool = diesel::select(diesel::dsl::exists(
            volume_types::table
                .filter(volume_types::id.eq(id.to_string()))
                .filter(volume_types::revision.eq(to_i64(revision))),
        ))
        .get_result(connection)?;
        if !stands {
            return Err(Refused::By(Aborted::TypeChanged));
        }
    }
    if let Some(change) = &member.key
        && !write_key(connection, change)?
    {
        return Err(Refused::By(Aborted::KeyUsed));
    }
    if let Some(change) = &member.volume {
        write_volume(connection, change)?;
        write_attachments(connection, change)?;
        write_snapshots(connection, change)?;
        write_operations(connection, change)?;
    }
    if let Some(change) = &member.server {
        write_server(connection, change)?;
    }
    for message in &member.messages {
        let inserted = diesel::insert_into(messages::table).values(&MessageRow::of(message)).execute(connection);
        refuse_duplicates(inserted, Aborted::Stale)?;
    }
    if let Some(event) = &member.event {
        write_event(connection, &EventRow::of(event))?;
    }
    for change in &member.actions {
        write_action(connection, change)?;
    }
    Ok(())
}

fn write_action(connection: &mut AnyConnection, change: &ActionChange) -> QueryResult<()> {
    match change {
        ActionChange::Begin(action) => {
            let row = ServerActionRow::of(action);
            let insert = diesel::insert_into(server_actions::table).values(&row);
            on_each!(connection, inner => insert.execute(inner)).map(drop)
        }
        ActionChange::End { id, server_id, started_at, end } => ActionEnded {
            ended_at: end.at.0,
            failure: end.failure.as_deref(),
            server_id: server_id.as_str(),
            started_at: started_at.0,
            id: &id.to_string(),
        }
        .run(connection)
        .map(drop),
    }
}

/// Writes what the journal held of a volume: the tables' last state and the committed one, and the history between them.
pub(super) fn settle_volume(
    connection: &mut AnyConnection,
    change: &VolumeChange,
    events: &[Arc<Event>],
) -> QueryResult<()> {
    let written = write_volume(connection, change)
        .and_then(|()| write_attachments(connection, change))
        .and_then(|()| write_operations(connection, change));
    // snapshots never wait in the journal
    match written {
        Ok(()) => EventRow::of_all(events).map_or(Ok(()), |row| write_event(connection, &row)),
        Err(Refused::Error(error)) => Err(error),
        // every change was judged when it was committed, so somebody else has written
        Err(Refused::By(aborted)) => Err(DieselError::QueryBuilderError(
            format!("the record of volume {} was changed behind the journal: {aborted:?}", change.new.id()).into(),
        )),
    }
}

fn write_event(connection: &mut AnyConnection, row: &EventRow) -> QueryResult<()> {
    let insert = diesel::insert_into(events::table).values(row);
    on_each!(connection, inner => insert.execute(inner)).map(drop)
}

fn write_volume(connection: &mut AnyConnection, change: &VolumeChange) -> Result<(), Refused> {
    let Some(old) = &change.old else {
        let row = VolumeRow::of(&change.new.volume);
        let inserted = on_each!(connection, inner => {
            diesel::insert_into(volumes::table).values(&row).on_conflict_do_nothing().execute(inner)
        })?;
        return if inserted == 1 { Ok(()) } else { Err(Refused::By(Aborted::Stale)) };
    };
    let updated = if is_progress_only(&old.volume, &change.new.volume) {
        progress(connection, &change.new.volume, old.volume.generation)?
    } else {
        let row = VolumeRow::of(&change.new.volume);
        let guarded = volumes::table
            .filter(volumes::id.eq(&row.id))
            .filter(volumes::generation.eq(to_i64(old.volume.generation)))
            .filter(volumes::deleted.eq(false));
        diesel::update(guarded).set(&row).execute(connection)?
    };
    if updated == 1 { Ok(()) } else { Err(Refused::By(Aborted::Stale)) }
}

fn progress(connection: &mut AnyConnection, volume: &Volume, old_generation: u64) -> QueryResult<usize> {
    VolumeProgress {
        generation: to_i64(volume.generation),
        epoch: to_i64(volume.epoch),
        status: volume.status.as_str(),
        previous_status: volume.previous_status.map(|status| status.as_str()),
        attach_status: volume.attach_status.as_str(),
        admin_metadata: &to_json(&volume.admin_metadata),
        orphan_exports: &to_json(&volume.orphan_exports),
        outstanding: &to_json(&volume.outstanding),
        unsettled: volume.is_unsettled(),
        claims: volume.claims.as_ref().map(to_json).as_deref(),
        updated_at: volume.updated_at.map(|at| at.0),
        id: &volume.id.to_string(),
        old_generation: to_i64(old_generation),
    }
    .run(connection)
}

/// Whether only what [`VolumeProgress`] writes differs. Names every field, so that a new one must be judged.
pub(super) fn is_progress_only(old: &Volume, new: &Volume) -> bool {
    let Volume {
        id,
        generation: _,
        epoch: _,
        project_id,
        user_id,
        name,
        description,
        size_gib,
        status: _,
        previous_status: _,
        attach_status: _,
        migration_status,
        bootable,
        multiattach,
        volume_type_id,
        availability_zone,
        host,
        metadata,
        image_metadata,
        admin_metadata: _,
        consumes_quota,
        origin,
        provider_id,
        loans,
        orphan_exports: _,
        outstanding: _,
        claims: _,
        created_at,
        updated_at: _,
        terminated_at,
        deleted,
        deleted_at,
    } = new;
    *id == old.id
        && *project_id == old.project_id
        && *user_id == old.user_id
        && *name == old.name
        && *description == old.description
        && *size_gib == old.size_gib
        && *migration_status == old.migration_status
        && *bootable == old.bootable
        && *multiattach == old.multiattach
        && *volume_type_id == old.volume_type_id
        && *availability_zone == old.availability_zone
        && *host == old.host
        && *metadata == old.metadata
        && *image_metadata == old.image_metadata
        && *consumes_quota == old.consumes_quota
        && *origin == old.origin
        && *provider_id == old.provider_id
        && *loans == old.loans
        && *created_at == old.created_at
        && *terminated_at == old.terminated_at
        && *deleted == old.deleted
        && *deleted_at == old.deleted_at
}

fn write_attachments(connection: &mut AnyConnection, change: &VolumeChange) -> Result<(), Refused> {
    let project_id = change.new.volume.project_id.as_str();
    for step in change.attachments() {
        match step {
            Step::End(gone) => {
                AttachmentGone { id: &gone.id.to_string() }.run(connection)?;
            }
            Step::Change(_, attachment) => {
                let row = AttachmentRow::of(attachment, project_id, 0);
                let updated = row.progress().run(connection);
                refuse_duplicates(updated, Aborted::Duplicate)?;
            }
            Step::Make(attachment, ordinal) => {
                let row = AttachmentRow::of(attachment, project_id, ordinal);
                let insert = diesel::insert_into(attachments::table).values(&row);
                let inserted = on_each!(connection, inner => insert.execute(inner));
                refuse_duplicates(inserted, Aborted::Duplicate)?;
            }
        }
    }
    Ok(())
}

fn write_snapshots(connection: &mut AnyConnection, change: &VolumeChange) -> Result<(), Refused> {
    for step in change.snapshots() {
        match step {
            Step::End(gone) => {
                diesel::delete(snapshots::table.filter(snapshots::id.eq(gone.id.to_string()))).execute(connection)?;
            }
            Step::Change(_, snapshot) => {
                let row = SnapshotRow::of(snapshot, 0);
                let changes = (
                    snapshots::project_id.eq(&row.project_id),
                    snapshots::user_id.eq(&row.user_id),
                    snapshots::display_name.eq(&row.display_name),
                    snapshots::display_description.eq(&row.display_description),
                    snapshots::status.eq(&row.status),
                    snapshots::progress.eq(row.progress),
                    snapshots::metadata.eq(&row.metadata),
                    snapshots::updated_at.eq(row.updated_at),
                );
                diesel::update(snapshots::table.filter(snapshots::id.eq(&row.id))).set(changes).execute(connection)?;
            }
            Step::Make(snapshot, ordinal) => {
                let row = SnapshotRow::of(snapshot, ordinal);
                let insert = diesel::insert_into(snapshots::table).values(&row);
                on_each!(connection, inner => insert.execute(inner))?;
            }
        }
    }
    Ok(())
}

fn write_operations(connection: &mut AnyConnection, change: &VolumeChange) -> Result<(), Refused> {
    let volume_id = change.new.id();
    for step in change.operations() {
        match step {
            Step::End(ended) => {
                OperationEnded { id: &ended.id.to_string() }.run(connection)?;
            }
            Step::Change(_, operation) => {
                OperationRow::of(volume_id, operation).progress().run(connection)?;
            }
            Step::Make(operation, _) => {
                let row = OperationRow::of(volume_id, operation);
                let insert = diesel::insert_into(operations::table).values(&row);
                on_each!(connection, inner => insert.execute(inner))?;
            }
        }
    }
    Ok(())
}

fn write_server(connection: &mut AnyConnection, change: &ServerChange) -> Result<(), Refused> {
    let row = ServerRow::of(&change.server);
    let written = match change.expected_epoch {
        None => on_each!(connection, inner => {
            diesel::insert_into(servers::table).values(&row).on_conflict_do_nothing().execute(inner)
        })?,
        Some(epoch) => diesel::update(
            servers::table
                .filter(servers::id.eq(&row.id))
                .filter(servers::epoch.eq(to_i64(epoch)))
                .filter(servers::deleted.eq(false)),
        )
        .set(&row)
        .execute(connection)?,
    };
    if written == 1 { Ok(()) } else { Err(Refused::By(Aborted::Stale)) }
}

/// What the member adds to the usages it touches.
pub(super) fn usage_deltas(member: &Transaction) -> Vec<(Scope, Usage)> {
    member.volume.as_ref().map_or_else(Vec::new, |change| usage_growth(change.old.as_deref(), &change.new))
}

/// PostgreSQL: takes the locks on servers in the common order. The one volume of a lone member is locked out of order, by its
/// own guarded statement: only a second writer of the same volume can meet it, and the victim of a deadlock is tried again.
/// SQLite has one writer.
fn lock_servers(connection: &mut AnyConnection, members: &[&Transaction]) -> QueryResult<()> {
    if Dialect::of(connection) == Dialect::Sqlite {
        return Ok(());
    }
    let changed: BTreeSet<String> =
        members.iter().filter_map(|member| member.server.as_ref()).map(|change| change.server.id.to_string()).collect();
    let guarded: BTreeSet<String> =
        members.iter().filter_map(|member| member.server_guard.as_ref()).map(|(id, _)| id.to_string()).collect();
    // one statement for both kinds keeps the order by id
    let strength = if changed.is_empty() { "SHARE" } else { "NO KEY UPDATE" };
    let ids: BTreeSet<String> = changed.into_iter().chain(guarded).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut sql = Sql::new(Dialect::Postgres, "SELECT id FROM servers WHERE id IN ");
    sql.bind_list(ids.into_iter().map(Value::Text)).push(&format!(" ORDER BY id FOR {strength}"));
    sql.load::<Id>(connection).map(drop)
}

/// PostgreSQL: takes the locks on the types that guards look at, after those on servers.
fn lock_types(connection: &mut AnyConnection, members: &[&Transaction]) -> QueryResult<()> {
    let ids: BTreeSet<String> =
        members.iter().filter_map(|member| member.type_guard).map(|(id, _)| id.to_string()).collect();
    if ids.is_empty() || Dialect::of(connection) == Dialect::Sqlite {
        return Ok(());
    }
    let mut sql = Sql::new(Dialect::Postgres, "SELECT id FROM volume_types WHERE id IN ");
    sql.bind_list(ids.into_iter().map(Value::Text)).push(" ORDER BY id FOR SHARE");
    sql.load::<Id>(connection).map(drop)
}

/// The usages as the group goes along: read under lock, judged member by member, written once at the end.
pub(super) struct Ledger {
    /// By their keys, which are in the order of the locks.
    accounts: BTreeMap<String, Account>,
}

struct Account {
    scope: Scope,
    /// None: there is no row yet (SQLite only).
    stored: Option<Usage>,
    added: Usage,
}

impl Account {
    fn total(&self) -> Usage {
        self.stored.unwrap_or_default().plus(self.added)
    }
}

impl Ledger {
    fn load(connection: &mut AnyConnection, members: &[&Transaction]) -> QueryResult<Self> {
        let mut accounts = BTreeMap::new();
        for (scope, _) in members.iter().flat_map(|member| usage_deltas(member)) {
            let account = Account { scope, stored: None, added: Usage::default() };
            accounts.insert(UsageRow::key_of(&account.scope), account);
        }
        for (key, account) in &mut accounts {
            let own = quota_usages::table.filter(quota_usages::id.eq(key));
            let row: Option<UsageRow> = match connection {
                AnyConnection::Sqlite(inner) => own.first(inner).optional()?,
                AnyConnection::Postgres(inner) => {
                    diesel::insert_into(quota_usages::table)
                        .values(&UsageRow::of(&account.scope, Usage::default()))
                        .on_conflict_do_nothing()
                        .execute(inner)?;
                    Some(own.for_update().first(inner)?)
                }
            };
            account.stored = row.map(|row| row.usage());
        }
        Ok(Self { accounts })
    }

    /// A ledger of usages that have been read, by their keys.
    pub(super) fn of(stored: impl IntoIterator<Item = (String, Scope, Usage)>) -> Self {
        let account = |scope, usage| Account { scope, stored: Some(usage), added: Usage::default() };
        Self { accounts: stored.into_iter().map(|(key, scope, usage)| (key, account(scope, usage))).collect() }
    }

    /// Whether `limits` allow what a member adds.
    pub(super) fn judge(&self, limits: Option<&Limits>, deltas: &[(Scope, Usage)]) -> Judgement {
        let Some(limits) = limits else { return Ok(()) };
        let usage = |scope: &Scope| self.accounts.get(&UsageRow::key_of(scope)).map(Account::total).unwrap_or_default();
        limits.check(deltas.iter().map(|(scope, delta)| (scope, usage(scope), *delta))).map_err(Aborted::OverQuota)
    }

    pub(super) fn add(&mut self, deltas: &[(Scope, Usage)]) {
        for (scope, delta) in deltas {
            if let Some(account) = self.accounts.get_mut(&UsageRow::key_of(scope)) {
                account.added = account.added.plus(*delta);
            }
        }
    }

    /// The rows that have changed.
    pub(super) fn changed(&self) -> impl Iterator<Item = UsageRow> {
        let changed = self.accounts.values().filter(|account| !account.added.is_zero());
        changed.map(|account| UsageRow::of(&account.scope, account.total()))
    }

    fn write(self, connection: &mut AnyConnection) -> QueryResult<()> {
        for row in self.changed() {
            if self.accounts.get(&row.id).is_some_and(|account| account.stored.is_some()) {
                diesel::update(quota_usages::table.filter(quota_usages::id.eq(&row.id)))
                    .set(&row)
                    .execute(connection)?;
            } else {
                diesel::insert_into(quota_usages::table).values(&row).execute(connection)?;
            }
        }
        Ok(())
    }
}
