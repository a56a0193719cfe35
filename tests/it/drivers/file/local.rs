//! `target_protocol = "local"`: a file on this machine for each connection, which the storage daemon shows and can take away.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{CauseKind, Outcome, Request};
use hearth::domain::ids::{SnapshotId, VolumeId};
use hearth::drivers::Backend;
use hearth::drivers::file::{DaemonKind, Protocol};
use serde_json::Value;
use uuid::Uuid;

use super::snapshots::pool_that_shares;
use super::{GIB, Pool, assert_refused, connection, export_name, kill, sized, until};

async fn start() -> Pool {
    Pool::start_with(|options| {
        options.protocol = Protocol::Local;
        options.daemons_per_pool = 1;
    })
    .await
}

fn path(info: &Value) -> PathBuf {
    assert_eq!(info["driver_volume_type"], "local");
    info["device_path"].as_str().expect("a path").into()
}

fn open(info: &Value) -> File {
    OpenOptions::new().read(true).write(true).open(path(info)).expect("opened")
}

/// Whether 4 KiB of `byte` are written for good.
fn write(client: &File, byte: u8, at: u64) -> bool {
    client.write_all_at(&[byte; 4096], at).and_then(|()| client.sync_all()).is_ok()
}

fn reads(client: &File, byte: u8, at: u64) -> bool {
    let mut bytes = [0; 4096];
    client.read_exact_at(&mut bytes, at).is_ok_and(|()| bytes == [byte; 4096])
}

#[tokio::test]
async fn a_local_path_is_the_volume() {
    let pool = start().await;
    assert_eq!(pool.backend.capabilities().storage_protocol, "local");
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let client = open(&info);
    assert_eq!(client.metadata().expect("there").len(), GIB);
    assert!(write(&client, 0x11, 0) && write(&client, 0x12, GIB - 4096));
    assert_eq!(pool.first_bytes(volume), [0x11; 4096]);
    assert!(reads(&open(&info), 0x12, GIB - 4096));
    assert_eq!(connection(pool.export(volume, &name, AttachMode::ReadWrite).await), info, "the same again");
    assert_eq!(pool.probe(volume).await.exports, [name]);

    let (_, read_only) = pool.exported_as(volume, AttachMode::ReadOnly).await;
    assert_ne!(path(&read_only), path(&info));
    let reader = File::open(path(&read_only)).expect("opened");
    assert!(reads(&reader, 0x11, 0));
    let written = OpenOptions::new().write(true).open(path(&read_only)).and_then(|file| file.write_all_at(&[1], 0));
    assert!(written.is_err(), "a read-only path is not written to");
}

#[tokio::test]
async fn r95_an_ended_local_path_is_taken_from_who_has_it_open() {
    let pool = start().await;
    let volume = pool.create(1).await;
    let (old, old_info) = pool.exported(volume).await;
    let stale = open(&old_info);
    assert!(write(&stale, 0xaa, 0));

    assert_eq!(pool.unexport(volume, &old).await, Outcome::done());
    assert!(!path(&old_info).exists());
    let (new, new_info) = pool.exported(volume).await;
    let owner = open(&new_info);
    assert!(write(&owner, 0xbb, 0));
    assert!(!write(&stale, 0xaa, 0) && !reads(&stale, 0xbb, 0));
    assert_eq!(pool.first_bytes(volume), [0xbb; 4096]);
    assert_refused(&pool.export(volume, &old, AttachMode::ReadWrite).await, CauseKind::Other);

    assert_refused(&pool.call(volume, Request::Delete).await, CauseKind::Busy);
    assert_eq!(pool.unexport(volume, &new).await, Outcome::done());
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
    assert!(pool.open_at_daemons().is_empty());
}

#[tokio::test]
async fn a_local_path_grows_under_who_has_it_open() {
    let pool = start().await;
    let volume = pool.create(1).await;
    let (_, info) = pool.exported(volume).await;
    let client = open(&info);
    assert!(write(&client, 0x21, 0));
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
    assert_eq!(client.metadata().expect("there").len(), 2 * GIB);
    assert!(write(&client, 0x22, 2 * GIB - 4096) && reads(&client, 0x21, 0));
    let (_, second) = pool.exported(volume).await;
    assert!(reads(&open(&second), 0x22, 2 * GIB - 4096));
}

#[tokio::test]
async fn r97_local_paths_outlive_the_service_and_return_after_the_daemon() {
    let mut pool = start().await;
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let (ended, ended_info) = pool.exported(volume).await;
    assert_eq!(pool.unexport(volume, &ended).await, Outcome::done());
    let client = open(&info);
    pool.restart().await;
    assert!(write(&client, 0x31, 0), "the client noticed nothing");

    kill(pool.pid(DaemonKind::Storage(0)).expect("runs"));
    until("the file is shown again", || async { File::open(path(&info)).is_ok_and(|file| reads(&file, 0x31, 0)) })
        .await;
    assert!(!write(&client, 0x32, 0), "who had the old one open has to open it again");
    assert!(write(&open(&info), 0x33, 0));
    assert_eq!(pool.first_bytes(volume), [0x33; 4096]);
    assert_eq!(pool.probe(volume).await.exports, [name]);
    assert!(!path(&ended_info).exists());
}

#[tokio::test]
async fn a_connected_local_volume_is_copied_where_the_file_system_shares_blocks() {
    let Some((pool, _mounted)) = pool_that_shares(|options| options.protocol = Protocol::Local).await else { return };
    copies_while_connected(pool, true).await;
}

#[tokio::test]
async fn a_connected_local_volume_is_not_copied_where_it_does_not() {
    let pool = start().await;
    let shares = pool.backend.capabilities().reflink;
    copies_while_connected(pool, shares).await;
}

async fn copies_while_connected(pool: Pool, copied: bool) {
    let volume = pool.create(1).await;
    let (name, info) = pool.exported(volume).await;
    let client = open(&info);
    assert!(write(&client, 0x41, 0));
    let (snapshot_id, made) = (SnapshotId(Uuid::new_v4()), VolumeId(Uuid::new_v4()));
    let taken = pool.call(volume, Request::CreateSnapshot { snapshot_id }).await;
    let cloned = pool.call(made, Request::CreateClonedVolume { source_volume_id: volume, size_gib: 1 }).await;
    if copied {
        assert_eq!((taken, cloned), (Outcome::done(), sized(1)));
        assert_eq!(pool.first_bytes(made), [0x41; 4096]);
    } else {
        assert_refused(&taken, CauseKind::Other);
        assert_refused(&cloned, CauseKind::Other);
        assert!(!pool.file(made).exists());
    }
    assert!(write(&client, 0x42, 0), "the client goes on");
    assert_eq!(pool.unexport(volume, &name).await, Outcome::done());
    assert_eq!(pool.call(volume, Request::CreateSnapshot { snapshot_id }).await, Outcome::done());
}

#[tokio::test]
async fn a_file_that_is_shown_is_no_way_to_a_name_outside() {
    let pool = start().await;
    let volume = pool.create(1).await;
    let (name, _) = pool.exported(volume).await;
    assert!(
        path(&connection(pool.export(volume, &name, AttachMode::ReadWrite).await)).starts_with(&pool.options.state_dir)
    );
    let mut odd = export_name();
    odd.0 = format!("../{odd}").into();
    assert_refused(&pool.export(volume, &odd, AttachMode::ReadWrite).await, CauseKind::Other);
}
