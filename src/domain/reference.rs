//! What volumes and snapshots are called among the objects of a backend: as Cinder names them, so that what was let go of is
//! found again under the name by which clients know it.

use super::ids::{SnapshotId, VolumeId};

const VOLUME: &str = "volume-";
const SNAPSHOT: &str = "_snapshot-";

/// The reference of a volume.
pub fn volume_reference(id: VolumeId) -> String {
    format!("{VOLUME}{id}")
}

/// The reference of a snapshot.
pub fn snapshot_reference(id: SnapshotId) -> String {
    format!("{SNAPSHOT}{id}")
}

/// The volume that a reference of this form is of.
pub fn volume_referred(reference: &str) -> Option<VolumeId> {
    let id = VolumeId(reference.strip_prefix(VOLUME)?.parse().ok()?);
    (volume_reference(id) == reference).then_some(id)
}

/// The snapshot that a reference of this form is of.
pub fn snapshot_referred(reference: &str) -> Option<SnapshotId> {
    let id = SnapshotId(reference.strip_prefix(SNAPSHOT)?.parse().ok()?);
    (snapshot_reference(id) == reference).then_some(id)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_reference_tells_the_id_in_one_spelling_only() {
        let (volume, snapshot) = (VolumeId(Uuid::from_u128(0xab)), SnapshotId(Uuid::from_u128(0xcd)));
        assert_eq!(volume_referred(&volume_reference(volume)), Some(volume));
        assert_eq!(snapshot_referred(&snapshot_reference(snapshot)), Some(snapshot));
        let shouted = volume_reference(volume).replace("ab", "AB");
        for foreign in ["volume-", "lvol0", &volume.to_string(), &snapshot_reference(snapshot), &shouted] {
            assert_eq!(volume_referred(foreign), None, "{foreign}");
        }
    }
}
