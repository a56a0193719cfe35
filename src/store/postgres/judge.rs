//! Judges the members of a group, in order, before anything is written: what each would see is what was read under lock,
//! and what those before it have changed.
//!
//! Locks are taken in the common order (`apply`): volumes, servers, types, usage, each by id.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use diesel::{PgConnection, QueryResult, RunQueryDsl};

use super::super::apply::{Judgement, Ledger, usage_deltas};
use super::super::rows::{UsageRow, to_i64};
use super::super::{Aborted, ServerChange, Transaction, VolumeChange};
use super::columns::{Usages, UsagesProgress};
use super::mappings::{Mappings, servers_claimed};
use super::reads::{LockServers, LockUsages, LockVolumes, ShareServers, ShareTypes};
use super::statement::{Columns, InsertMissing, Keyed, Update};
use crate::domain::ids::ServerId;
use crate::domain::quota::{Scope, Usage};

/// What a guard looks at: a generation or an epoch, while the record lives.
#[derive(Clone, Copy)]
struct Guarded {
    counter: i64,
    deleted: bool,
}

impl Guarded {
    fn stands_at(self, counter: u64) -> bool {
        !self.deleted && self.counter == to_i64(counter)
    }
}

/// What the members of a group see.
pub(super) struct Judge {
    volumes: HashMap<String, Guarded>,
    servers: HashMap<String, Guarded>,
    /// The revisions of types.
    types: HashMap<String, i64>,
    ledger: Ledger,
    /// None: no member claims a device or a volume for a server.
    mappings: Option<Mappings>,
}

impl Judge {
    /// Locks and reads what `members` need; also the number of the transaction.
    pub(super) fn load(connection: &mut PgConnection, members: &[&Transaction]) -> QueryResult<(i64, Self)> {
        let (number, volumes) = lock_volumes(connection, members)?;
        let servers = lock_servers(connection, members)?;
        let types = lock_types(connection, members)?;
        let ledger = Ledger::of(lock_usages(connection, members)?);
        // read last: whoever held one of the locks has ended
        let claimed: BTreeSet<String> =
            members.iter().filter_map(|member| member.volume.as_ref()).flat_map(servers_claimed).collect();
        let mappings = if claimed.is_empty() { None } else { Some(Mappings::load(connection, claimed)?) };
        Ok((number, Self { volumes, servers, types, ledger, mappings }))
    }

    /// Whether `member` is to be written; if so, those after it see what it changes.
    pub(super) fn judge(&mut self, member: &Transaction) -> Judgement {
        let deltas = usage_deltas(member);
        self.ledger.judge(member.limits.as_ref(), &deltas)?;
        if let Some((id, epoch)) = &member.server_guard
            && !self.servers.get(id.as_str()).is_some_and(|server| server.stands_at(*epoch))
        {
            return Err(Aborted::ServerChanged);
        }
        if let Some((id, revision)) = member.type_guard
            && self.types.get(&id.to_string()) != Some(&to_i64(revision))
        {
            return Err(Aborted::TypeChanged);
        }
        if member.volume.as_ref().is_some_and(|change| !self.volume_stands(change)) {
            return Err(Aborted::Stale);
        }
        let server_stands = member.server.as_ref().is_none_or(|change| self.server_stands(change));
        if let (Some(mappings), Some(change)) = (&mut self.mappings, &member.volume) {
            let undo = mappings.claim(change).ok_or(Aborted::Duplicate)?;
            if !server_stands {
                mappings.take_back(undo);
            }
        }
        if !server_stands {
            return Err(Aborted::Stale);
        }
        self.accept(member);
        self.ledger.add(&deltas);
        Ok(())
    }

    fn volume_stands(&self, change: &VolumeChange) -> bool {
        match (self.volumes.get(&change.new.id().to_string()), &change.old) {
            (Some(found), Some(old)) => found.stands_at(old.volume.generation),
            (None, None) => true,
            _ => false,
        }
    }

    fn server_stands(&self, change: &ServerChange) -> bool {
        match (self.servers.get(change.server.id.as_str()), change.expected_epoch) {
            (Some(found), Some(epoch)) => found.stands_at(epoch),
            (None, None) => true,
            _ => false,
        }
    }

    fn accept(&mut self, member: &Transaction) {
        if let Some(change) = &member.volume {
            let volume = &change.new.volume;
            let guarded = Guarded { counter: to_i64(volume.generation), deleted: volume.deleted };
            self.volumes.insert(volume.id.to_string(), guarded);
        }
        if let Some(ServerChange { server, .. }) = &member.server {
            let guarded = Guarded { counter: to_i64(server.epoch), deleted: server.deleted };
            self.servers.insert(server.id.to_string(), guarded);
        }
    }

    /// Writes what the accepted members add to usages.
    pub(super) fn write_usage(self, connection: &mut PgConnection) -> QueryResult<()> {
        let mut usages = UsagesProgress::default();
        self.ledger.changed().for_each(|row| usages.push(row));
        if usages.len() > 0 {
            Update(usages).execute(connection)?;
        }
        Ok(())
    }
}

fn lock_volumes(
    connection: &mut PgConnection,
    members: &[&Transaction],
) -> QueryResult<(i64, HashMap<String, Guarded>)> {
    let ids = members.iter().filter_map(|member| member.volume.as_ref()).map(|change| change.new.id().to_string());
    type Row = (i64, Option<String>, Option<i64>, Option<bool>);
    let rows = Keyed::<LockVolumes>::new(ids).load::<Row>(connection)?;
    let number = rows.first().map(|row| row.0).ok_or(diesel::NotFound)?;
    let volumes = rows
        .into_iter()
        .filter_map(|(_, id, counter, deleted)| Some((id?, Guarded { counter: counter?, deleted: deleted? })));
    Ok((number, volumes.collect()))
}

fn lock_servers(connection: &mut PgConnection, members: &[&Transaction]) -> QueryResult<HashMap<String, Guarded>> {
    let changed = || members.iter().filter_map(|member| member.server.as_ref()).map(|change| &change.server.id);
    let guarded = members.iter().filter_map(|member| member.server_guard.as_ref()).map(|(id, _)| id);
    let ids: BTreeSet<String> = changed().chain(guarded).map(ServerId::to_string).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    type Row = (String, i64, bool);
    // one statement for both kinds keeps the order by id; a group with a server's change in it is rare
    let rows: Vec<Row> = if changed().next().is_none() {
        Keyed::<ShareServers>::new(ids).load(connection)?
    } else {
        Keyed::<LockServers>::new(ids).load(connection)?
    };
    Ok(rows.into_iter().map(|(id, counter, deleted)| (id, Guarded { counter, deleted })).collect())
}

fn lock_types(connection: &mut PgConnection, members: &[&Transaction]) -> QueryResult<HashMap<String, i64>> {
    let ids: BTreeSet<String> =
        members.iter().filter_map(|member| member.type_guard).map(|(id, _)| id.to_string()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(Keyed::<ShareTypes>::new(ids).load::<(String, i64)>(connection)?.into_iter().collect())
}

fn lock_usages(
    connection: &mut PgConnection,
    members: &[&Transaction],
) -> QueryResult<impl Iterator<Item = (String, Scope, Usage)> + use<>> {
    let deltas = members.iter().flat_map(|member| usage_deltas(member));
    let mut scopes: BTreeMap<String, Scope> = deltas.map(|(scope, _)| (UsageRow::key_of(&scope), scope)).collect();
    let mut rows = Vec::new();
    if !scopes.is_empty() {
        let mut none = Usages::default();
        scopes.values().for_each(|scope| none.push(UsageRow::of(scope, Usage::default())));
        InsertMissing(none).execute(connection)?;
        type Row = (String, i64, i64, i64, i64, i64, i64);
        rows = Keyed::<LockUsages>::new(scopes.keys().cloned()).load::<Row>(connection)?;
    }
    Ok(rows.into_iter().filter_map(move |row| {
        let (key, volumes, snapshots, gigabytes, snapshot_gigabytes, reserved_gigabytes, live_volumes) = row;
        let scope = scopes.remove(&key)?;
        let usage = Usage { volumes, snapshots, gigabytes, snapshot_gigabytes, reserved_gigabytes, live_volumes };
        Some((key, scope, usage))
    }))
}
