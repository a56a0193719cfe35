//! Bulk creation of records, for trials at scale: straight into the tables, in large transactions, without a service.
//!
//! What is written is what commits of a service would have written, built by the same decisions (`build`). Nothing else
//! may write at the same time: the caller holds the state directory's lock.

mod build;

use std::collections::BTreeMap;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::connection::{AnyConnection, Role};
use super::difference::ORDINALS_PER_GENERATION;
use super::open::{OpenError, StoreOptions, run_migrations, target_of};
use super::rows::{AttachmentRow, OperationRow, UsageRow, VolumeRow, VolumeTypeRow, to_i64};
use super::schema::{attachments, operations, quota_usages, volume_types, volumes};
use crate::domain::quota::{Scope, Usage};
use crate::domain::time::Timestamp;
use crate::domain::volume::{VolumeState, usage_growth};
use crate::runtime::Randomness;

pub use build::{OPEN_KINDS, Undecided};

/// Volumes in one transaction. Ids are random, so every transaction touches most pages of their index: fewer and larger
/// transactions write them less often.
const BATCH: u64 = 50_000;
/// SQLite's page cache while filling: room for the index of a million ids, so that none of it is read twice.
const CACHE_KIB: u32 = 512 * 1024;
/// The name of the type that every volume without one gets.
const DEFAULT_TYPE: &str = "__DEFAULT__";

/// What to make.
#[derive(Clone, Debug)]
pub struct FillOptions {
    /// Volumes in all.
    pub volumes: u64,
    /// Of these, volumes with an open operation: as they are found after a crash.
    pub open_operations: u64,
    /// Of the others, per cent that are in use.
    pub attached_percent: u8,
    /// Of the others, per cent whose creation failed.
    pub error_percent: u8,
    /// Projects that the volumes belong to: `fill-0`…
    pub projects: u32,
    /// Size of each volume, GiB.
    pub size_gib: u32,
    /// `host@backend#pool`s that the volumes lie on, in turn.
    pub hosts: Vec<String>,
    /// Availability zone of every volume.
    pub availability_zone: String,
    /// The present: the youngest volume is as old.
    pub now: Timestamp,
    /// The age of the oldest volume.
    pub span: Duration,
}

/// What was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Volumes.
    pub volumes: u64,
    /// Attachment rows.
    pub attachments: u64,
    /// Open operations.
    pub operations: u64,
}

/// The records cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A transaction failed; those before it are kept, whole and with their usage.
    #[error("the database refused the records")]
    Database(#[from] diesel::result::Error),
    /// A decision was not the one that a fill counts on.
    #[error(transparent)]
    Undecided(#[from] Undecided),
    /// Who wants to know of the volumes cannot keep them.
    #[error("a backend cannot be told of the volumes: {0}")]
    Told(String),
}

/// Fills the database at `url`. `tell` gets the volumes of each transaction before it commits.
pub fn fill(
    url: &str,
    options: &FillOptions,
    store: &StoreOptions,
    randomness: &Randomness,
    mut tell: impl FnMut(&[VolumeState]) -> Result<(), String>,
) -> Result<Filled, FillError> {
    let mut connection = target_of(url, store)?.connect(Role::Writer).map_err(OpenError::from)?;
    run_migrations(&mut connection)?;
    if let AnyConnection::Sqlite(_) = connection {
        connection.batch_execute(&format!("PRAGMA cache_size = -{CACHE_KIB}"))?;
    }
    let default_type = volume_types::table
        .filter(volume_types::name.eq(DEFAULT_TYPE))
        .select(VolumeTypeRow::as_select())
        .first(&mut connection)?;
    let type_id = default_type.into_volume_type().ok().map(|default_type| default_type.id);
    let mut builder = build::Builder::new(options, type_id, randomness);
    let mut filled = Filled::default();
    while filled.volumes < options.volumes {
        let count = BATCH.min(options.volumes - filled.volumes);
        let states = (0..count).map(|_| builder.next()).collect::<Result<Vec<_>, _>>()?;
        let batch = Batch::of(&states);
        connection.transaction::<_, FillError, _>(|connection| {
            batch.insert(connection)?;
            tell(&states).map_err(FillError::Told)
        })?;
        filled.volumes += count;
        filled.attachments += batch.attachments.len() as u64;
        filled.operations += batch.operations.len() as u64;
    }
    if let AnyConnection::Sqlite(_) = connection {
        // otherwise the first start after it would begin with a log of this size
        connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize")?;
    }
    Ok(filled)
}

/// The rows of one transaction.
struct Batch {
    volumes: Vec<VolumeRow>,
    attachments: Vec<AttachmentRow>,
    operations: Vec<OperationRow>,
    usage: BTreeMap<Scope, Usage>,
}

impl Batch {
    fn of(states: &[VolumeState]) -> Self {
        let mut batch = Self {
            volumes: Vec::with_capacity(states.len()),
            attachments: Vec::new(),
            operations: Vec::new(),
            usage: BTreeMap::new(),
        };
        for state in states {
            let volume = &state.volume;
            batch.volumes.push(VolumeRow::of(volume));
            let ordinal = to_i64(volume.generation) * ORDINALS_PER_GENERATION;
            let project_id = volume.project_id.as_str();
            let rows = (ordinal..).zip(&state.attachments);
            batch.attachments.extend(rows.map(|(ordinal, row)| AttachmentRow::of(row, project_id, ordinal)));
            batch.operations.extend(state.operations.iter().map(|open| OperationRow::of(volume.id, open)));
            for (scope, added) in usage_growth(None, state) {
                let usage = batch.usage.entry(scope).or_default();
                *usage = usage.plus(added);
            }
        }
        batch
    }

    fn insert(&self, connection: &mut AnyConnection) -> QueryResult<()> {
        match connection {
            // one prepared statement for each table, bound anew for each row
            AnyConnection::Sqlite(inner) => {
                for row in &self.volumes {
                    diesel::insert_into(volumes::table).values(row).execute(inner)?;
                }
                for row in &self.attachments {
                    diesel::insert_into(attachments::table).values(row).execute(inner)?;
                }
                for row in &self.operations {
                    diesel::insert_into(operations::table).values(row).execute(inner)?;
                }
            }
            AnyConnection::Postgres(inner) => {
                diesel::copy_from(volumes::table).from_insertable(&self.volumes).execute(inner)?;
                diesel::copy_from(attachments::table).from_insertable(&self.attachments).execute(inner)?;
                diesel::copy_from(operations::table).from_insertable(&self.operations).execute(inner)?;
            }
        }
        for (scope, added) in &self.usage {
            let key = UsageRow::key_of(scope);
            let stored = quota_usages::table.filter(quota_usages::id.eq(&key));
            let stored = stored.select(UsageRow::as_select()).first(connection).optional()?;
            let row = UsageRow::of(scope, stored.as_ref().map_or(Usage::default(), UsageRow::usage).plus(*added));
            if stored.is_some() {
                let own = quota_usages::table.filter(quota_usages::id.eq(&key));
                diesel::update(own).set(&row).execute(connection)?;
            } else {
                diesel::insert_into(quota_usages::table).values(&row).execute(connection)?;
            }
        }
        Ok(())
    }
}
