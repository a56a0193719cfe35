//! The checker: records, backend and guests must agree when everything is quiet.

use std::collections::{BTreeMap, BTreeSet};

use super::world::World;
use crate::domain::claims::MarkerKind;
use crate::domain::ids::{ExportName, ServerId, VolumeId};
use crate::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use crate::domain::volume::VolumeState;
use crate::store::{Direction, Extent, Paging, Store, VolumeQuery};

/// Something that does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The volume, if it is about one.
    pub volume_id: Option<VolumeId>,
    /// What.
    pub what: String,
}

/// Statuses a quiet volume may have.
const STABLE: [VolumeStatus; 8] = [
    VolumeStatus::Available,
    VolumeStatus::InUse,
    VolumeStatus::Reserved,
    VolumeStatus::Error,
    VolumeStatus::ErrorExtending,
    VolumeStatus::ErrorDeleting,
    VolumeStatus::ErrorManaging,
    VolumeStatus::ErrorUnmanaging,
];

impl World {
    /// Every live volume.
    pub async fn volumes(&self) -> Vec<VolumeState> {
        let paging = Paging {
            sort: vec![("created_at".to_owned(), Direction::Ascending), ("id".to_owned(), Direction::Ascending)],
            marker: None,
            offset: 0,
            limit: 10_000,
        };
        let query =
            VolumeQuery { project_id: None, filters: Vec::new(), paging, with_count: false, extent: Extent::Whole };
        self.store().volume_list(query).await.expect("the inline store reads").rows
    }

    /// Compares everything with everything. Empty: all agree. For quiet worlds only.
    pub async fn differences(&self) -> Vec<Difference> {
        let mut found = Vec::new();
        let records = self.volumes().await;
        let mappings = records.iter().flat_map(|state| &state.attachments).filter_map(|row| row.bdm.as_ref());
        let mut down = BTreeSet::new();
        for id in mappings.map(|bdm| &bdm.server_id).collect::<BTreeSet<_>>() {
            let server = self.store().server_get(id.clone()).await.expect("the inline store reads");
            if server.is_some_and(|server| !server.has_guest()) {
                down.insert(id.clone());
            }
        }
        for state in &records {
            compare(self, state, &down, &mut found);
        }
        let homes = records.iter().map(|state| (state.id(), state.volume.host.as_deref())).collect::<BTreeMap<_, _>>();
        for (name, backend) in self.backends() {
            for volume_id in backend.truth().volumes() {
                if homes.get(&volume_id) != Some(&Some(name)) {
                    let what = format!("exists at {name} and is not there by the records");
                    found.push(Difference { volume_id: Some(volume_id), what });
                }
            }
        }
        let rows = records.iter().flat_map(|state| &state.attachments).collect::<Vec<_>>();
        let servers = rows.iter().filter_map(|row| row.bdm.as_ref()).map(|bdm| &bdm.server_id).collect::<BTreeSet<_>>();
        for server in servers {
            for device in self.backends().iter().flat_map(|(_, backend)| backend.truth().devices(server)) {
                if !rows.iter().any(|row| row.device_id() == device) {
                    found.push(Difference {
                        volume_id: None,
                        what: format!("{server} has an unrecorded device {device}"),
                    });
                }
            }
        }
        for audit in self.store().usage_audit().await.expect("the inline store reads") {
            if audit.stored != audit.counted {
                found.push(Difference { volume_id: None, what: format!("quota usage is wrong: {audit:?}") });
            }
        }
        found
    }
}

/// `down`: servers without a running guest, in which nothing is plugged.
fn compare(world: &World, state: &VolumeState, down: &BTreeSet<ServerId>, found: &mut Vec<Difference>) {
    let id = state.id();
    let mut note = |what: String| found.push(Difference { volume_id: Some(id), what });
    let volume = &state.volume;
    let at = |name: Option<&str>| world.backends().into_iter().find(|(own, _)| name.is_none_or(|name| name == *own));
    let Some((_, backend)) = at(volume.host.as_deref()) else {
        return note(format!("its backend {:?} does not exist", volume.host));
    };
    let truth = backend.truth().volume(id);
    let owned = match volume.status {
        // of the client that has connected a row and has not completed it, or that has reserved the volume
        VolumeStatus::Attaching => {
            let connected = state.attachments.iter().any(|row| row.attach_status == AttachStatus::Attaching);
            connected || volume.marker(MarkerKind::Reserved).is_some()
        }
        VolumeStatus::Detaching => volume.marker(MarkerKind::Detaching).is_some(),
        _ => false,
    };
    if !STABLE.contains(&state.volume.status) && !owned {
        note(format!("its status is {}", state.volume.status));
    }
    let must_exist = !matches!(
        state.volume.status,
        VolumeStatus::Error | VolumeStatus::ErrorDeleting | VolumeStatus::ErrorManaging | VolumeStatus::ErrorUnmanaging
    );
    if must_exist && !truth.exists {
        note("is not at the backend".to_owned());
    }
    if truth.exists && truth.size_gib != state.volume.size_gib {
        note(format!("has {} GiB at the backend and {} in the records", truth.size_gib, state.volume.size_gib));
    }
    let of_rows = state.attachments.iter().filter_map(|row| row.export.clone());
    let of_connections = volume.connections().iter().map(|connection| connection.export.clone());
    let recorded = of_rows.chain(of_connections).collect::<BTreeSet<ExportName>>();
    let served = truth.exports.iter().cloned().collect::<BTreeSet<_>>();
    if recorded != served {
        note(format!("exports {served:?} are served and {recorded:?} recorded"));
    }
    for snapshot in &state.snapshots {
        use SnapshotStatus::{Available, Creating, Deleting, Restoring, Unmanaging};
        if matches!(snapshot.status, Creating | Deleting | Restoring | Unmanaging) {
            note(format!("its snapshot {} is {}", snapshot.id, snapshot.status));
        }
        if snapshot.status == Available && !truth.snapshots.contains(&snapshot.id) {
            note(format!("its snapshot {} is not at the backend", snapshot.id));
        }
    }
    for snapshot in truth.snapshots.iter().filter(|snapshot| state.snapshot(**snapshot).is_none()) {
        note(format!("its snapshot {snapshot} is at the backend and not in the records"));
    }
    if matches!(volume.migration_status.as_deref(), Some("starting" | "migrating" | "completing")) {
        note("it migrates by its word only".to_owned());
    }
    if !volume.loans.is_empty() {
        note("its contents are lent to nobody who reads them".to_owned());
    }
    for row in &state.attachments {
        let Some(bdm) = &row.bdm else { continue };
        let plugged = backend.truth().device(&bdm.server_id, row.device_id());
        if plugged.as_ref().is_some_and(|device| Some(&device.export) != row.export.as_ref()) {
            note(format!("the device of attachment {} reads from another export", row.id));
        }
        let plugged = plugged.is_some();
        if !down.contains(&bdm.server_id)
            && plugged != (row.attach_status == AttachStatus::Attached && row.export.is_some())
        {
            note(format!("attachment {} is {} and plugged: {plugged}", row.id, row.attach_status));
        }
    }
}
