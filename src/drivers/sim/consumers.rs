//! The check of promise I1 against the backend's own truth: who could reach one volume at the same time.
//!
//! The backend does not know which volumes are multiattach, nor which server migrates; it therefore records every moment
//! at which a volume had consumers of more than one server or host, and the checker of a test decides which were allowed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::ids::{AttachmentId, ExportName, ServerId, VolumeId};

use super::state::State;

/// Overlaps recorded in detail; beyond it only counted. A correct run of plain volumes has none.
pub const OVERLAP_BOUND: usize = 10_000;

/// Somebody who can reach a volume: the holder of a live export, and the guest that has it open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Consumer {
    /// The live export.
    pub export: ExportName,
    /// The attachment it was made for.
    pub attachment_id: AttachmentId,
    /// The host that the connector named.
    pub host: Option<String>,
    /// The server in whose guest the device is plugged.
    pub server_id: Option<ServerId>,
}

/// A moment at which one volume had consumers of several servers or hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The volume.
    pub volume_id: VolumeId,
    /// Everybody who could reach it.
    pub consumers: Vec<Consumer>,
    /// How many different servers or hosts they are.
    pub distinct: usize,
}

/// The record of who was connected at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    peaks: BTreeMap<VolumeId, usize>,
    overlaps: Vec<Overlap>,
    overlaps_dropped: u64,
}

impl Watch {
    /// Looks at `volume_id` after a change.
    pub fn look(&mut self, volume_id: VolumeId, state: &State) {
        let consumers = consumers(state, volume_id);
        let distinct = distinct(&consumers);
        let peak = self.peaks.entry(volume_id).or_default();
        *peak = distinct.max(*peak);
        if distinct < 2 {
            return;
        }
        if self.overlaps.len() >= OVERLAP_BOUND {
            self.overlaps_dropped += 1;
            return;
        }
        self.overlaps.push(Overlap { volume_id, consumers, distinct });
    }

    /// The largest number of different servers or hosts that could reach the volume at once, ever.
    pub fn max_concurrent_consumers(&self, volume_id: VolumeId) -> usize {
        self.peaks.get(&volume_id).copied().unwrap_or(0)
    }

    /// Every moment with more than one.
    pub fn overlaps(&self) -> &[Overlap] {
        &self.overlaps
    }

    /// Moments which are not in [`Self::overlaps`] because of [`OVERLAP_BOUND`].
    pub fn overlaps_dropped(&self) -> u64 {
        self.overlaps_dropped
    }
}

/// Everybody who can reach the volume now. A device whose export is fenced is dead and reaches nothing.
pub fn consumers(state: &State, volume_id: VolumeId) -> Vec<Consumer> {
    state
        .exports_of(volume_id)
        .into_iter()
        .filter_map(|name| {
            let export = state.exports.get(&name)?;
            Some(Consumer {
                attachment_id: export.attachment_id,
                host: export.host.clone(),
                server_id: state.holder(&name).cloned(),
                export: name,
            })
        })
        .collect()
}

/// Different hosts among all, or different servers among the plugged, whichever is more: two rows of one server on one
/// host are one consumer, two servers on one host are two.
fn distinct(consumers: &[Consumer]) -> usize {
    let hosts: BTreeSet<String> = consumers
        .iter()
        .map(|consumer| consumer.host.clone().unwrap_or_else(|| consumer.attachment_id.to_string()))
        .collect();
    let servers: BTreeSet<&ServerId> = consumers.iter().filter_map(|consumer| consumer.server_id.as_ref()).collect();
    hosts.len().max(servers.len())
}
