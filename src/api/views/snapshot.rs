//! Snapshots (snapshots §1).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::time;
use crate::api::microversion::Microversion;
use crate::domain::snapshot::Snapshot;

/// Which answer shows the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A line of the short list: what every version has.
    Summary,
    /// The answer of a create or an update.
    Changed,
    /// A show or a detail list: the extension members are there too.
    Detail,
}

/// A snapshot as `shown`.
pub fn view(snapshot: &Snapshot, shown: Shown, version: Microversion) -> View<'_> {
    View { snapshot, shown, version }
}

/// A snapshot, written member by member.
pub struct View<'a> {
    snapshot: &'a Snapshot,
    shown: Shown,
    version: Microversion,
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { snapshot, shown, version } = self;
        let since = |minor| *version >= Microversion::v3(minor) && *shown != Shown::Summary;
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("id", &snapshot.id)?;
        members.serialize_entry("volume_id", &snapshot.volume_id)?;
        members.serialize_entry("name", &snapshot.name)?;
        members.serialize_entry("description", &snapshot.description)?;
        members.serialize_entry("status", snapshot.status.as_str())?;
        members.serialize_entry("size", &snapshot.size_gib)?;
        members.serialize_entry("created_at", &time::micros(snapshot.created_at))?;
        members.serialize_entry("updated_at", &snapshot.updated_at.map(time::micros))?;
        members.serialize_entry("metadata", &snapshot.metadata)?;
        if *shown == Shown::Detail {
            members.serialize_entry("os-extended-snapshot-attributes:project_id", &snapshot.project_id)?;
            let progress = format!("{}%", snapshot.progress);
            members.serialize_entry("os-extended-snapshot-attributes:progress", &progress)?;
        }
        if since(14) {
            members.serialize_entry("group_snapshot_id", &None::<()>)?;
        }
        if since(41) {
            members.serialize_entry("user_id", &snapshot.user_id)?;
        }
        if since(65) {
            members.serialize_entry("consumes_quota", &snapshot.consumes_quota)?;
        }
        members.end()
    }
}
