//! PostgreSQL: a group that is written in sets ends exactly as its members one by one would. Random groups of every kind
//! of member go to two databases, in one as groups and in the other each alone; outcomes and tables must be equal.

use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Text};
use diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl};
use hearth::domain::ids::{ProjectId, ServerId, VolumeTypeId};
use hearth::domain::quota::Limits;
use hearth::domain::server::Server;
use hearth::domain::status::VolumeStatus;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::VolumeState;
use hearth::runtime::Randomness;
use hearth::store::{Aborted, CommitOutcome, Store, StoreOptions, ThreadedStore, Transaction, open_threaded};

use uuid::Uuid;

use super::build::*;
use super::cluster;

const TABLES: [&str; 7] = ["volumes", "attachments", "operations", "servers", "quota_usages", "messages", "events"];
const SEEDS: u64 = 6;
const ROUNDS: u128 = 12;
const MEMBERS: usize = 24;
const VOLUMES: u64 = 8;
/// The type of the migrations.
const DEFAULT_TYPE: VolumeTypeId = VolumeTypeId(Uuid::from_u128(0x6f5a_1d0e_7b7c_4c55_9a3f_1f0f_4d1c_2b3a));
const SERVERS: u64 = 3;
const DEVICES: u64 = 3;

/// A store, and a connection beside it that looks at its tables.
struct Side {
    store: ThreadedStore,
    tables: PgConnection,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl Side {
    fn fresh() -> Option<Self> {
        let url = cluster::fresh_database()?;
        let store = open_threaded(&url, StoreOptions::default()).unwrap();
        let mut tables = PgConnection::establish(&url).unwrap();
        tables
            .batch_execute(
                "CREATE TABLE seen (number TEXT);
                 CREATE TABLE updates (statement TEXT);
                 CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO updates VALUES (current_query()); RETURN NULL; END $$;
                 CREATE TRIGGER note AFTER UPDATE ON volumes FOR EACH STATEMENT EXECUTE FUNCTION note();",
            )
            .unwrap();
        Some(Self { store, tables })
    }

    async fn together(&self, group: Vec<Transaction>) -> Vec<CommitOutcome> {
        let held = self.store.hold_commits();
        let commits: Vec<_> = group.into_iter().map(|member| self.store.commit(member)).collect();
        drop(held);
        futures_util::future::join_all(commits).await
    }

    async fn one_by_one(&self, group: Vec<Transaction>) -> Vec<CommitOutcome> {
        let mut outcomes = Vec::new();
        for member in group {
            outcomes.push(self.store.commit(member).await);
        }
        outcomes
    }

    fn contents(&mut self) -> Vec<(&'static str, Vec<String>)> {
        TABLES
            .map(|table| {
                let query = format!("SELECT t::text AS line FROM {table} AS t ORDER BY t::text COLLATE \"C\"");
                let lines = diesel::sql_query(query).load::<Line>(&mut self.tables).unwrap();
                (table, lines.into_iter().map(|row| row.line).collect())
            })
            .into()
    }

    /// In how many database transactions the history has been written since it was last asked for.
    fn transactions(&mut self) -> i64 {
        let query = "WITH new AS (INSERT INTO seen SELECT DISTINCT xmin::text FROM events \
                     WHERE xmin::text NOT IN (SELECT number FROM seen) RETURNING 1) SELECT count(*) AS count FROM new";
        diesel::sql_query(query).get_result::<Count>(&mut self.tables).unwrap().count
    }

    /// The statements of committed transactions that have updated volumes since they were last asked for.
    fn updates(&mut self) -> Vec<String> {
        let query = "WITH gone AS (DELETE FROM updates RETURNING statement) SELECT statement AS line FROM gone";
        let lines = diesel::sql_query(query).load::<Line>(&mut self.tables).unwrap();
        lines.into_iter().map(|row| row.line).collect()
    }
}

/// What the generator believes to be there: every member accepted.
struct World {
    random: Randomness,
    volumes: Vec<Option<VolumeState>>,
    servers: Vec<Option<Server>>,
    /// Makes ids that were never used.
    made: u128,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Randomness::from_seed(seed),
            volumes: vec![None; VOLUMES as usize],
            servers: vec![None; SERVERS as usize],
            made: 0,
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn one_in(&self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn unused(&mut self) -> u128 {
        self.made += 1;
        self.made
    }

    fn server_name(index: u64) -> String {
        format!("server-{index}")
    }

    fn member(&mut self) -> Transaction {
        let mut member = match self.below(12) {
            0 => self.server_member(),
            1 => Transaction {
                event: Some(event(&volume(1_000_000 + self.unused(), "p", 1)).into()),
                ..Transaction::default()
            },
            _ => self.volume_member(),
        };
        if self.one_in(8) {
            let number = self.unused();
            member.messages.push(message(number, "p", volume_id(1)));
        }
        if self.one_in(6) {
            let index = self.below(SERVERS);
            let epoch = self.servers[index as usize].as_ref().map_or(1, |server| server.epoch);
            member.server_guard = Some((ServerId::from(Self::server_name(index)), epoch + u64::from(self.one_in(4))));
        }
        if self.one_in(12) {
            // the default type, as it is or as it never was, and one that is not there
            let id = if self.one_in(5) { VolumeTypeId(uuid(1)) } else { DEFAULT_TYPE };
            member.type_guard = Some((id, 1 + u64::from(self.one_in(5))));
        }
        if self.one_in(3) {
            member.limits = Some(Limits { volumes: 5, gigabytes: 40, ..Limits::NONE });
        }
        if self.one_in(20) && member.volume.is_some() {
            let other = self.server_member();
            member.server = other.server;
        }
        member
    }

    fn server_member(&mut self) -> Transaction {
        let index = self.below(SERVERS);
        let known = self.servers[index as usize].clone();
        let mut next = known.clone().unwrap_or_else(|| server(&Self::server_name(index), "p"));
        if known.is_some() {
            next.epoch += 1;
            next.locked = !next.locked;
            next.deleted = self.one_in(30);
        }
        let expected = known.map(|server| server.epoch + 5 * u64::from(self.one_in(6)));
        self.servers[index as usize] = Some(next.clone());
        server_change(expected, &next)
    }

    fn volume_member(&mut self) -> Transaction {
        let index = self.below(VOLUMES);
        let known = self.volumes[index as usize].clone().filter(|_| !self.one_in(30));
        let Some(mut old) = known else {
            // the generator may also insert what exists; a generation is only ever one state, whichever member made it
            let project = if index.is_multiple_of(3) { "q" } else { "p" };
            let new = volume(u128::from(index), project, 1 + (5 * index % 12) as u32);
            self.volumes[index as usize].get_or_insert_with(|| new.clone());
            return insert(&new);
        };
        let mut new = old.clone();
        new.volume.generation += 1;
        new.volume.updated_at = Some(Timestamp(20_000 + self.made as i64));
        for _ in 0..=self.below(2) {
            self.edit(&mut new);
        }
        if self.one_in(60) {
            new.volume.deleted = true;
            new.volume.deleted_at = Some(Timestamp(50_000));
        }
        self.volumes[index as usize] = Some(new.clone());
        if self.one_in(8) {
            old.volume.generation += 3;
        }
        change(Some(&old), &new)
    }

    fn edit(&mut self, new: &mut VolumeState) {
        let number = self.unused();
        let server = Self::server_name(self.below(SERVERS));
        let device = format!("/dev/vd{}", self.below(DEVICES));
        match self.below(10) {
            0 => new.volume.name = Some("it's \"new\", {with} \\ NULL,".into()),
            1 => new.volume.status = VolumeStatus::InUse,
            2 => new.volume.project_id = ProjectId::from(if self.one_in(2) { "p" } else { "q" }),
            3 => {
                let operation = extend(number, new, self.below(9) as u32);
                new.operations = vec![operation];
            }
            4 => new.operations.iter_mut().for_each(|operation| operation.attempt += 1),
            5 => new.operations.clear(),
            6 | 9 => {
                let device = (!self.one_in(5)).then_some(device.as_str());
                let mut row = attachment(number, new, Some(&server), device);
                if self.one_in(3) {
                    row.bdm = None;
                }
                new.attachments.push(row);
            }
            7 => {
                if let Some(row) = new.attachments.first_mut() {
                    row.connection_info = None;
                    row.attach_time = None;
                    if let Some(bdm) = &mut row.bdm {
                        bdm.device = Some(device.into());
                    }
                }
            }
            _ => {
                if !new.attachments.is_empty() {
                    new.attachments.remove(self.below(new.attachments.len() as u64) as usize);
                }
            }
        }
    }

    /// A step on for each of some volumes, on which nothing but its guard decides.
    fn common_group(&mut self) -> Vec<Transaction> {
        let mut members = Vec::new();
        for index in 0..VOLUMES as usize {
            let Some(known) = self.volumes[index].clone().filter(|_| !self.one_in(8)) else { continue };
            let new = next(&known, |new| {
                for _ in 0..=self.below(2) {
                    self.step(new);
                }
            });
            let mut old = known;
            if self.one_in(30) {
                old.volume.generation += 3;
            }
            members.push(change(Some(&old), &new));
        }
        members
    }

    fn step(&mut self, new: &mut VolumeState) {
        let number = self.unused();
        match self.below(7) {
            0 => new.volume.status = VolumeStatus::InUse,
            1 => new.volume.status = VolumeStatus::Available,
            2 => new.operations = vec![extend(number, new, 0)],
            3 => new.operations.iter_mut().for_each(|operation| operation.attempt += 1),
            4 => new.attachments.push(attachment(number, new, None, None)),
            5 => new.attachments.iter_mut().for_each(|row| row.connection_info = None),
            _ => {
                new.operations.clear();
                new.attachments.clear();
            }
        }
    }

    /// What is really there.
    async fn learn(&mut self, side: &Side) {
        for index in 0..VOLUMES {
            self.volumes[index as usize] = side.store.volume_get(volume_id(u128::from(index))).await.unwrap();
        }
        for index in 0..SERVERS {
            self.servers[index as usize] =
                side.store.server_get(ServerId::from(Self::server_name(index))).await.unwrap();
        }
    }
}

fn kind(outcome: &CommitOutcome) -> &'static str {
    match outcome {
        CommitOutcome::Committed => "committed",
        CommitOutcome::Aborted(Aborted::Stale) => "stale",
        CommitOutcome::Aborted(Aborted::OverQuota(_)) => "over quota",
        CommitOutcome::Aborted(Aborted::Duplicate) => "duplicate",
        CommitOutcome::Aborted(Aborted::ServerChanged) => "server changed",
        CommitOutcome::Aborted(Aborted::TypeChanged) => "type changed",
        CommitOutcome::Aborted(Aborted::KeyUsed) => "key used",
        CommitOutcome::Unknown(_) => "unknown",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_ends_as_its_members_one_by_one() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 1..=SEEDS {
        let (Some(mut grouped), Some(mut alone)) = (Side::fresh(), Side::fresh()) else { return };
        let mut world = World::new(seed);
        for round in 0..ROUNDS {
            let group: Vec<_> = (0..MEMBERS).map(|_| world.member()).collect();
            let outcomes = grouped.together(group.clone()).await;
            let expected = alone.one_by_one(group.clone()).await;
            for (index, (outcome, expected)) in outcomes.iter().zip(&expected).enumerate() {
                assert_eq!(outcome, expected, "seed {seed}, round {round}, member {index}: {:#?}", group[index]);
                *seen.entry(kind(outcome)).or_insert(0_u32) += 1;
            }
            for (table, expected) in grouped.contents().iter().zip(alone.contents()) {
                assert_eq!(*table, expected, "seed {seed}, round {round}");
            }
            assert_eq!(grouped.transactions(), 1, "seed {seed}, round {round}: written as one");
            world.learn(&grouped).await;
        }
        for project in grouped.store.usage_audit().await.unwrap() {
            assert_eq!(project.stored, project.counted, "seed {seed}, {:?}", project.scope);
        }
    }
    println!("{seen:?}");
    for kind in ["committed", "stale", "over quota", "duplicate", "server changed", "type changed"] {
        assert!(seen.get(kind).is_some_and(|count| *count >= 20), "{kind}: {seen:?}");
    }
}

/// One statement, unless a guard does not hold; then the members are judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_common_group_ends_as_its_members_one_by_one() {
    let (mut at_once, mut judged) = (0_u32, 0_u32);
    for seed in 1..=SEEDS {
        let (Some(mut grouped), Some(mut alone)) = (Side::fresh(), Side::fresh()) else { return };
        let inserts: Vec<_> = (0..VOLUMES).map(|n| insert(&volume(u128::from(n), "p", 1))).collect();
        grouped.together(inserts.clone()).await.into_iter().for_each(assert_committed);
        alone.one_by_one(inserts).await.into_iter().for_each(assert_committed);
        grouped.transactions();
        let mut world = World::new(seed);
        for round in 0..ROUNDS {
            world.learn(&grouped).await;
            let group = world.common_group();
            let outcomes = grouped.together(group.clone()).await;
            assert_eq!(outcomes, alone.one_by_one(group.clone()).await, "seed {seed}, round {round}: {group:#?}");
            for (table, expected) in grouped.contents().iter().zip(alone.contents()) {
                assert_eq!(*table, expected, "seed {seed}, round {round}");
            }
            let stale = outcomes.iter().filter(|outcome| kind(outcome) == "stale").count();
            let updates = grouped.updates();
            if stale == outcomes.len() {
                continue;
            }
            assert_eq!(grouped.transactions(), 1, "seed {seed}, round {round}: written as one");
            let whole = updates.iter().filter(|statement| statement.starts_with("WITH stood AS")).count();
            assert_eq!((updates.len(), whole), (1, usize::from(stale == 0)), "seed {seed}, round {round}: {updates:?}");
            *(if stale == 0 { &mut at_once } else { &mut judged }) += 1;
        }
    }
    assert!(at_once >= 20 && judged >= 5, "{at_once} at once, {judged} judged");
}

/// What the judge cannot know fails the sets; the members then go alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_the_server_refuses_is_written_member_by_member() {
    let Some(mut side) = Side::fresh() else { return };
    let told = |n: u128, number: u128| Transaction {
        messages: vec![message(number, "p", volume_id(n))],
        ..insert(&volume(n, "p", 1))
    };
    let outcomes = side.together(vec![told(1, 1), told(2, 1), told(3, 2)]).await;
    let stale = CommitOutcome::Aborted(Aborted::Stale);
    assert_eq!(outcomes, [CommitOutcome::Committed, stale, CommitOutcome::Committed], "one message id is used twice");
    assert_eq!(side.transactions(), 2, "each by itself");
    assert_eq!(side.store.volume_get(volume_id(2)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_name_changes_hands_within_a_group() {
    let Some(mut side) = Side::fresh() else { return };
    let attach = |state: &VolumeState, rows: &[(u128, &str)]| {
        next(state, |new| {
            new.attachments.extend(rows.iter().map(|(n, device)| attachment(*n, state, Some("s"), Some(device))));
        })
    };
    let states: Vec<_> = (0..5).map(|n| volume(n, "p", 1)).collect();
    let holder = attach(&states[0], &[(1, "/dev/vdb")]);
    let mut inserts: Vec<_> = states[1..].iter().map(insert).collect();
    inserts.push(insert(&holder));
    side.together(inserts).await.into_iter().for_each(assert_committed);
    side.transactions();

    let outcomes = side
        .together(vec![
            // its first row would be well, its second is not: neither may stand in the way of others
            change(Some(&states[1]), &attach(&states[1], &[(2, "/dev/vdc"), (3, "/dev/vdb")])),
            change(Some(&states[2]), &attach(&states[2], &[(4, "/dev/vdc")])),
            change(Some(&holder), &next(&holder, |new| new.attachments.clear())),
            change(Some(&states[3]), &attach(&states[3], &[(5, "/dev/vdb")])),
            change(Some(&states[4]), &attach(&states[4], &[(6, "/dev/vdb")])),
        ])
        .await;
    let duplicate = CommitOutcome::Aborted(Aborted::Duplicate);
    let committed = CommitOutcome::Committed;
    assert_eq!(outcomes, [duplicate.clone(), committed.clone(), committed.clone(), committed, duplicate]);
    assert_eq!(side.transactions(), 1, "written as one");
}
