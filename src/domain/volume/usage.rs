//! What a volume counts for, and what a change of it adds to whose usage (promise I5).

use std::collections::BTreeMap;

use super::state::VolumeState;
use crate::domain::ids::{ProjectId, VolumeTypeId};
use crate::domain::quota::{Scope, Usage};
use crate::domain::snapshot::Snapshot;

impl VolumeState {
    /// What this volume and its snapshots count for, whosever they are.
    pub fn usage(&self) -> Usage {
        self.charges().fold(Usage::default(), |sum, (_, usage)| sum.plus(usage))
    }

    /// What is counted, and for which project: a snapshot may stay behind when its volume is given away.
    pub fn charges(&self) -> impl Iterator<Item = (&ProjectId, Usage)> {
        let volume = std::iter::once((&self.volume.project_id, self.own_usage()));
        volume.chain(self.snapshots.iter().map(|snapshot| (&snapshot.project_id, snapshot_usage(snapshot))))
    }

    /// The type that it counts for besides its own, while it is on its way to it (I5).
    fn next_type(&self) -> Option<VolumeTypeId> {
        self.operations.iter().find_map(|operation| operation.kind.retype()).map(|retype| retype.volume_type_id)
    }

    /// Of the volume without its snapshots.
    fn own_usage(&self) -> Usage {
        let volume = &self.volume;
        let live = Usage { live_volumes: i64::from(!volume.deleted), ..Usage::default() };
        if volume.deleted || !volume.consumes_quota {
            return live;
        }
        Usage {
            volumes: 1,
            gigabytes: i64::from(volume.size_gib),
            reserved_gigabytes: self.operations.iter().map(|operation| i64::from(operation.reserved_gib)).sum(),
            ..live
        }
    }
}

fn snapshot_usage(snapshot: &Snapshot) -> Usage {
    if !snapshot.consumes_quota {
        return Usage::default();
    }
    Usage { snapshots: 1, snapshot_gigabytes: i64::from(snapshot.size_gib), ..Usage::default() }
}

/// What the change from `old` to `new` adds to the usage of each project, and of each project's volumes of a type. Nothing
/// for most changes, and then nothing is reserved for it either.
pub fn usage_growth(old: Option<&VolumeState>, new: &VolumeState) -> Vec<(Scope, Usage)> {
    if old.is_some_and(|old| counts_the_same(old, new)) {
        return Vec::new();
    }
    let mut growth: BTreeMap<Scope, Usage> = BTreeMap::new();
    let mut add = |state: &VolumeState, sign: fn(Usage) -> Usage| {
        for (project_id, usage) in state.charges() {
            for volume_type_id in std::iter::once(None).chain(state.volume.volume_type_id.map(Some)) {
                let scope = Scope { project_id: project_id.clone(), volume_type_id };
                let sum = growth.entry(scope).or_default();
                *sum = sum.plus(sign(usage));
            }
        }
        if let Some(id) = state.next_type() {
            let scope = Scope { project_id: state.volume.project_id.clone(), volume_type_id: Some(id) };
            let sum = growth.entry(scope).or_default();
            *sum = sum.plus(sign(Usage { reserved_gigabytes: 0, ..state.own_usage() }));
        }
    };
    if let Some(old) = old {
        add(old, |usage| Usage::default().minus(usage));
    }
    add(new, |usage| usage);
    growth.into_iter().filter(|(_, usage)| !usage.is_zero()).collect()
}

fn counts_the_same(old: &VolumeState, new: &VolumeState) -> bool {
    old.volume.project_id == new.volume.project_id
        && old.volume.volume_type_id == new.volume.volume_type_id
        && old.own_usage() == new.own_usage()
        && old.next_type() == new.next_type()
        && old.snapshots.len() == new.snapshots.len()
        && old
            .snapshots
            .iter()
            .zip(&new.snapshots)
            .all(|(old, new)| old.project_id == new.project_id && snapshot_usage(old) == snapshot_usage(new))
}
