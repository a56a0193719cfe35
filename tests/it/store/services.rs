//! What administrators say of services, and what lies at each backend.

use hearth::domain::ids::{ProjectId, SnapshotId};
use hearth::domain::metadata::Metadata;
use hearth::domain::service::{HostUsage, ServiceRecord};
use hearth::domain::snapshot::Snapshot;
use hearth::domain::status::SnapshotStatus;
use hearth::domain::time::Timestamp;
use hearth::domain::volume::VolumeState;

use super::bench::Bench;
use super::build::*;

super::on_every_store!(what_is_said_of_a_service_is_kept, volumes_are_added_up_by_backend_and_project);

async fn what_is_said_of_a_service_is_kept(bench: Bench) {
    assert_eq!(bench.store().services().await.unwrap(), []);
    let record = |host: &str, binary: &str| ServiceRecord {
        host: host.to_owned(),
        binary: binary.to_owned(),
        disabled: true,
        disabled_reason: Some("new 'disks'".to_owned()),
        frozen: false,
        updated_at: Timestamp(7),
    };
    let (first, second, third) = (record("h@a", "cinder-volume"), record("h", "cinder-scheduler"), record("h", "x"));
    for record in [&first, &second, &third] {
        bench.store().service_put(record.clone()).await.unwrap();
    }
    let changed =
        ServiceRecord { disabled: false, disabled_reason: None, frozen: true, updated_at: Timestamp(8), ..first };
    bench.store().service_put(changed.clone()).await.unwrap();
    assert_eq!(bench.store().services().await.unwrap(), [second, third, changed]);
}

async fn volumes_are_added_up_by_backend_and_project(bench: Bench) {
    let mut number = 0;
    let mut put = async |host: Option<&str>, project: &str, size: u32, deleted: bool| {
        number += 1;
        let mut state = volume(number, project, size);
        state.volume.host = host.map(Into::into);
        state.volume.deleted = deleted;
        assert_committed(bench.commit(insert(&state)).await);
    };
    put(Some("h@a#a"), "p", 1, false).await;
    put(Some("h@a#a"), "p", 2, false).await;
    put(Some("h@a#a"), "q", 4, false).await;
    put(Some("h@b#b"), "p", 8, false).await;
    put(Some("h@b#b"), "p", 16, true).await;
    put(None, "p", 32, false).await;
    let mut source = volume(100, "p", 64);
    source.volume.host = Some("h@c#c".into());
    for (n, project) in [(1, "p"), (2, "p"), (3, "q")] {
        source.snapshots.push(snapshot(n, &source, project, 3));
    }
    assert_committed(bench.commit(insert(&source)).await);
    let usage = |host: &str, project: &str, volumes, gigabytes| HostUsage {
        host: host.to_owned(),
        project_id: ProjectId::from(project),
        volumes,
        gigabytes,
        snapshots: 0,
        snapshot_gigabytes: 0,
    };
    let expected = [
        usage("h@a#a", "p", 2, 3),
        usage("h@a#a", "q", 1, 4),
        usage("h@b#b", "p", 1, 8),
        HostUsage { snapshots: 2, snapshot_gigabytes: 6, ..usage("h@c#c", "p", 1, 64) },
        HostUsage { snapshots: 1, snapshot_gigabytes: 3, ..usage("h@c#c", "q", 0, 0) },
    ];
    assert_eq!(bench.store().host_usage().await.unwrap(), expected);
}

fn snapshot(n: u128, of: &VolumeState, project: &str, size_gib: u32) -> Snapshot {
    Snapshot {
        id: SnapshotId(uuid(0xe_0000_0000 + n)),
        volume_id: of.id(),
        project_id: ProjectId::from(project),
        user_id: "user".into(),
        name: None,
        description: None,
        status: SnapshotStatus::Available,
        progress: 100,
        size_gib,
        metadata: Metadata::default(),
        consumes_quota: true,
        created_at: Timestamp(1),
        updated_at: None,
    }
}
