//! Exports: what is written through them is in the file, what is fenced never is, and growth does not disturb a client.

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{CauseKind, Outcome, Request};
use hearth::domain::ids::{ExportName, VolumeId};
use hearth::drivers::Backend;
use hearth::drivers::file::{DaemonKind, StopError};
use serde_json::json;
use uuid::Uuid;

use super::{GIB, NbdClient, Pool, assert_refused, connection, export_name, sized, within};

/// A client which is cut off tries for this long.
const RECONNECT_S: u32 = 20;

#[tokio::test]
async fn what_is_written_and_flushed_through_an_export_is_in_the_file() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    assert_eq!(
        (&info["driver_volume_type"], &info["transport"], &info["access_mode"], &info["export"]),
        (&json!("nbd"), &json!("unix"), &json!("rw"), &json!(name.as_str()))
    );
    assert_eq!(pool.probe(volume).await.exports, std::slice::from_ref(&name));
    let mut client = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(client.write(0xaa, 0).await);
    assert_eq!(pool.first_bytes(volume), [0xaa; 4096]);
    assert!(client.reads(0xaa, 0).await);
    assert_eq!(pool.unexport(volume, &name).await, Outcome::done());
    assert!(pool.probe(volume).await.exports.is_empty());
}

#[tokio::test]
async fn a_read_only_export_takes_no_writes_beside_a_writable_one() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let (writable, info) = pool.exported(volume).await;
    let read_only = export_name();
    let ro_info = connection(pool.export(volume, &read_only, AttachMode::ReadOnly).await);
    assert_eq!(ro_info["access_mode"], "ro");
    let mut writer = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(writer.write(0x11, 0).await);
    let mut reader = NbdClient::connect(&ro_info, 0).await.expect("connected");
    assert!(reader.reads(0x11, 0).await);
    let mut lying = ro_info.clone();
    lying["access_mode"] = json!("rw");
    let refused = match NbdClient::connect(&lying, 0).await {
        Err(_) => true,
        Ok(mut client) => !client.write(0x22, 0).await,
    };
    assert!(refused && pool.first_bytes(volume) == [0x11; 4096]);
    let mut both = vec![writable.clone(), read_only.clone()];
    both.sort();
    assert_eq!(pool.probe(volume).await.exports, both);
    // Ending one leaves the other.
    assert_eq!(pool.unexport(volume, &read_only).await, Outcome::done());
    assert!(writer.write(0x33, 0).await);
    assert_eq!(pool.probe(volume).await.exports, [writable]);
}

#[tokio::test]
async fn r94_export_is_idempotent_and_a_name_has_one_mode() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let mut client = NbdClient::connect(&info, 0).await.expect("connected");
    assert_eq!(connection(pool.export(volume, &name, AttachMode::ReadWrite).await), info);
    assert!(client.write(0x44, 0).await, "the repeated call did not disturb the client");
    assert_refused(&pool.export(volume, &name, AttachMode::ReadOnly).await, CauseKind::Busy);
    assert_refused(&pool.export(volume, &export_name(), AttachMode::Undecided).await, CauseKind::Other);
    assert_refused(&pool.export(volume, &ExportName("a/b".into()), AttachMode::ReadWrite).await, CauseKind::Other);
    let absent = VolumeId(Uuid::new_v4());
    assert_refused(&pool.export(absent, &export_name(), AttachMode::ReadWrite).await, CauseKind::Other);
}

#[tokio::test]
async fn r95_no_byte_of_a_fenced_client_reaches_the_disk() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let (old, old_info) = pool.exported(volume).await;
    let mut stale = NbdClient::connect(&old_info, 3).await.expect("connected");
    assert!(stale.write(0xaa, 0).await);

    assert_eq!(pool.unexport(volume, &old).await, Outcome::done());
    let (new, new_info) = pool.exported(volume).await;
    assert_eq!(new_info["path"], old_info["path"], "the same server, where the stale client looks for its name");
    let mut owner = NbdClient::connect(&new_info, 0).await.expect("connected");
    assert!(owner.write(0xbb, 0).await);

    // It tries again until its patience ends, and fails.
    assert!(!stale.write(0xaa, 0).await);
    assert_eq!(pool.first_bytes(volume), [0xbb; 4096]);
    assert!(NbdClient::connect(&old_info, 0).await.is_err(), "the old name is not served");
    assert_refused(&pool.export(volume, &old, AttachMode::ReadWrite).await, CauseKind::Other);
    assert_eq!(pool.probe(volume).await.exports, [new]);
    assert_eq!(pool.unexport(volume, &old).await, Outcome::done());
}

#[tokio::test]
async fn an_exported_volume_is_not_deleted() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let (name, _) = pool.exported(volume).await;
    assert_refused(&pool.call(volume, Request::Delete).await, CauseKind::Busy);
    assert!(pool.file(volume).exists());
    assert_eq!(pool.unexport(volume, &name).await, Outcome::done());
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
    // Nobody holds the file open, so its room is free.
    for pid in pool.daemon_pids() {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("alive");
        let held = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        assert_eq!(held.filter(|path| path.starts_with(&pool.options.path)).count(), 0);
    }
}

#[tokio::test]
async fn an_extend_under_connected_clients_disturbs_none_and_all_names_show_the_new_size() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let (first, first_info) = pool.exported(volume).await;
    let (second, second_info) = pool.exported(volume).await;
    let mut busy = NbdClient::connect(&first_info, RECONNECT_S).await.expect("connected");
    let mut idle = NbdClient::connect(&second_info, RECONNECT_S).await.expect("connected");
    assert!(busy.write(0x51, 0).await);

    let write = async {
        let mut written = 0;
        for _ in 0..200 {
            written += u32::from(busy.write(0x52, 8192).await);
        }
        written
    };
    let extend = pool.call(volume, Request::Extend { new_size_gib: 2 });
    let (written, extended) = tokio::join!(write, extend);
    assert_eq!((written, extended), (200, sized(2)));
    assert!(idle.reads(0x51, 0).await, "an idle client reconnects by itself");
    for info in [&first_info, &second_info] {
        let mut fresh = NbdClient::connect(info, 0).await.expect("connected");
        assert!(fresh.write(0x53, 2 * GIB - 4096).await, "the new room is usable");
    }
    let mut both = vec![first, second];
    both.sort();
    assert_eq!(pool.probe(volume).await.exports, both);
    // The same again changes nothing.
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
    assert!(busy.write(0x54, 0).await);
}

#[tokio::test]
async fn volumes_are_spread_over_daemons_that_stop_only_when_nothing_is_exported() {
    let pool = Pool::start().await;
    let mut exports = Vec::new();
    let mut paths = std::collections::BTreeSet::new();
    while paths.len() < 2 {
        assert!(exports.len() < 64, "all volumes went to one daemon");
        let volume = pool.create(1).await;
        let (name, info) = pool.exported(volume).await;
        paths.insert(info["path"].to_string());
        exports.push((volume, name));
    }
    let daemons = within(pool.backend.daemons()).await;
    assert_eq!(daemons.len(), 2);
    assert_eq!(daemons.iter().filter_map(|daemon| daemon.exports).sum::<usize>(), exports.len());
    assert!(matches!(within(pool.backend.stop_daemon(DaemonKind::Storage(0))).await, Err(StopError::InUse(_))));
    assert!(matches!(
        within(pool.backend.stop_daemon(DaemonKind::Storage(7))).await,
        Err(StopError::NotFound(DaemonKind::Storage(7)))
    ));
    for (volume, name) in &exports {
        assert_eq!(pool.unexport(*volume, name).await, Outcome::done());
    }
    for index in 0..2 {
        within(pool.backend.stop_daemon(DaemonKind::Storage(index))).await.expect("stopped");
    }
    assert!(within(pool.backend.daemons()).await.is_empty());
    assert!(pool.daemon_pids().is_empty());
    // And is started again when it is needed.
    pool.exported(exports[0].0).await;
}

#[tokio::test]
async fn without_a_storage_daemon_everything_works_but_exports() {
    let pool = Pool::start_with(|options| options.storage_daemon = Some("/nonexistent/daemon".into())).await;
    assert!(!pool.backend.capabilities().exports);
    let volume = pool.create(1).await;
    let refused = pool.export(volume, &export_name(), AttachMode::ReadWrite).await;
    let Outcome::Refused { cause } = &refused else { panic!("{refused:?}") };
    assert_eq!(
        (cause.kind, cause.text.as_str()),
        (CauseKind::Unavailable, "exports are unavailable: no storage daemon on this machine")
    );
    assert_eq!(pool.unexport(volume, &export_name()).await, Outcome::done());
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
}

#[tokio::test]
async fn a_daemon_that_does_not_start_fails_the_export_and_leaves_nothing_behind() {
    let pool = Pool::start_with(|options| options.storage_daemon = Some("/bin/false".into())).await;
    let volume = pool.create(1).await;
    let outcome = pool.export(volume, &export_name(), AttachMode::ReadWrite).await;
    super::assert_failed(&outcome, CauseKind::Unavailable);
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done(), "no export is remembered");
}
