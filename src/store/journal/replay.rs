//! What a process that has ended left in the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::result::Error as DieselError;

use super::super::VolumeChange;
use super::super::apply::settle_volume;
use super::super::connection::AnyConnection;
use super::super::queries::volume::volume_get;
use super::super::schema::journal;
use super::entry::Entry;
use super::{Journal, Overlay, sqlite};
use crate::domain::ids::VolumeId;

/// Settles everything that the journal holds, in one transaction. The journal is empty afterwards.
pub(in super::super) fn replay(connection: &mut AnyConnection, overlay: Arc<Overlay>) -> QueryResult<Journal> {
    let rows: Vec<(i64, String)> = journal::table.order(journal::sequence).load(sqlite(connection))?;
    let next_sequence = rows.last().map_or(1, |(sequence, _)| sequence + 1);
    let mut waiting: BTreeMap<VolumeId, Vec<Entry<'_>>> = BTreeMap::new();
    for (_, body) in &rows {
        let entries: Vec<Entry<'_>> =
            serde_json::from_str(body).map_err(|error| DieselError::DeserializationError(Box::new(error)))?;
        for entry in entries {
            waiting.entry(entry.id()).or_default().push(entry);
        }
    }
    let mut changes = Vec::with_capacity(waiting.len());
    for (id, entries) in waiting {
        let shown = volume_get(connection, id).map_err(|error| DieselError::DeserializationError(Box::new(error)))?;
        // deleted: what waited was settled before
        let Some(shown) = shown else { continue };
        let mut latest = shown.clone();
        let mut events = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.generation() > shown.volume.generation) {
            events.extend(entry.replay(&mut latest).map(Arc::new));
        }
        if latest.volume.generation > shown.volume.generation {
            changes.push((VolumeChange { old: Some(Arc::new(shown)), new: Arc::new(latest) }, events));
        }
    }
    if !rows.is_empty() {
        connection.batch_execute("BEGIN IMMEDIATE")?;
        let written = changes.iter().try_for_each(|(change, events)| settle_volume(connection, change, events));
        let written = written.and_then(|()| diesel::delete(journal::table).execute(sqlite(connection)).map(drop));
        match written {
            Ok(()) => connection.batch_execute("COMMIT")?,
            Err(error) => {
                // the connection is given up with the error
                let _ = connection.batch_execute("ROLLBACK");
                return Err(error);
            }
        }
    }
    Ok(Journal::new(overlay, next_sequence))
}
