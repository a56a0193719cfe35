//! What administrators say of services, and what lies at each backend.

use hearth::domain::ids::ProjectId;
use hearth::domain::service::{HostUsage, ServiceRecord};
use hearth::domain::time::Timestamp;

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
    let usage = |host: &str, project: &str, volumes, gigabytes| HostUsage {
        host: host.to_owned(),
        project_id: ProjectId::from(project),
        volumes,
        gigabytes,
    };
    let expected = [usage("h@a#a", "p", 2, 3), usage("h@a#a", "q", 1, 4), usage("h@b#b", "p", 1, 8)];
    assert_eq!(bench.store().host_usage().await.unwrap(), expected);
}
