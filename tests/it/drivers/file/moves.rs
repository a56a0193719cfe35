//! Volumes that come from another backend: byte for byte, in the way of nobody, and whole or not at all.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::process::Command;

use futures_util::future::BoxFuture;
use hearth::domain::backend::{Call, CallKey, CauseKind, Outcome, Request};
use hearth::domain::ids::VolumeId;
use hearth::drivers::Backend;
use uuid::Uuid;

use super::clone::{CopyingPool, copying_pool, fill, temporaries};
use super::reflink::ReflinkFileSystem;
use super::{NbdClient, Pool, assert_failed, assert_refused, key, sized, until, within};
use crate::drivers::inside::blocks;

const MIB: u64 = 1 << 20;

fn copy_request() -> Request {
    Request::CopyFromBackend { source_backend: "host@other#pool".into(), size_gib: 1 }
}

fn copy_call(volume: VolumeId) -> Call {
    Call { key: key(volume), request: copy_request() }
}

fn copying(from: &Pool, to: &Pool, call: &Call) -> BoxFuture<'static, Outcome> {
    to.backend.clone().copy_from(call.clone(), from.backend.clone())
}

async fn copy(from: &Pool, to: &Pool, volume: VolumeId) -> Outcome {
    within(copying(from, to, &copy_call(volume))).await
}

/// A copy that has begun and is not over.
async fn copy_under_way(from: &Pool, to: &Pool, volume: VolumeId) -> (Call, BoxFuture<'static, Outcome>) {
    let call = copy_call(volume);
    let mut answer = copying(from, to, &call);
    loop {
        assert!(futures_util::poll!(&mut answer).is_pending(), "it has ended before it was seen");
        if to.backend.progress(&call.key).is_some_and(|progress| progress.done > 0) {
            return (call, answer);
        }
        tokio::task::yield_now().await;
    }
}

fn assert_nothing_there(pool: &Pool, volume: VolumeId) {
    assert!(!pool.file(volume).exists());
    assert_eq!(temporaries(pool), 0);
}

fn allocated_kib(pool: &Pool, volume: VolumeId) -> u64 {
    fs::metadata(pool.file(volume)).expect("there").blocks() / 2
}

#[tokio::test]
async fn a_copy_is_equal_keeps_the_holes_and_is_made_once() {
    let root = tempfile::tempdir().expect("a directory");
    // Between two file systems, where the system has, and within one.
    let other = copying_pool(root.path(), "size=64m").await;
    let (from, mut to) = (Pool::start().await, Pool::start().await);
    let volume = from.create(1).await;
    fill(&from, volume, 20);
    let before = blocks(&from.file(volume));
    assert!(before.len() > 1_000);

    let call = copy_call(volume);
    assert_eq!(within(copying(&from, &to, &call)).await, sized(1));
    assert!(blocks(&to.file(volume)) == before && blocks(&from.file(volume)) == before);
    assert!(allocated_kib(&to, volume) <= allocated_kib(&from, volume) + 64);
    assert_eq!(temporaries(&to), 0);

    let inode = fs::metadata(to.file(volume)).expect("there").ino();
    to.restart().await;
    // Recovery runs an operation under a new epoch, and the source may be gone by then.
    assert_eq!(from.call(volume, Request::Delete).await, Outcome::done());
    let again = Call { key: CallKey { epoch: call.key.epoch + 1_000, ..call.key }, ..call };
    assert_eq!(within(copying(&from, &to, &again)).await, sized(1));
    assert_eq!(fs::metadata(to.file(volume)).expect("there").ino(), inode, "it is not made again");
    assert_refused(&copy(&from, &to, volume).await, CauseKind::Other);

    if let Some(CopyingPool { pool: far, _mounted }) = other {
        assert_eq!(copy(&to, &far, volume).await, sized(1));
        assert!(blocks(&far.file(volume)) == before);
        assert!(allocated_kib(&far, volume) <= allocated_kib(&to, volume) + 64);
        // And it is a volume like every other one.
        assert_eq!(far.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
        let (_, info) = far.exported(volume).await;
        assert!(NbdClient::connect(&info, 0).await.expect("connected").write(0x11, 0).await);
    }
}

#[tokio::test]
async fn where_blocks_are_shared_between_two_pools_nothing_is_copied() {
    let Some(mounted) = ReflinkFileSystem::mount() else { return };
    let pool_at = |name: &str| {
        let path = mounted.pool().with_file_name(name);
        Pool::start_with(move |options| {
            options.path = path;
            options.max_over_subscription_ratio = 1e6;
        })
    };
    let (from, to) = (pool_at("one").await, pool_at("two").await);
    let volume = from.create(1).await;
    fill(&from, volume, 100);
    let free = || async { within(to.backend.clone().capacity()).await.expect("measured").free_gib };
    let before = free().await;
    assert_eq!(copy(&from, &to, volume).await, sized(1));
    let taken = before - free().await;
    assert!(taken < 0.02, "100 MiB are shared, not copied: {taken} GiB");
    assert!(blocks(&to.file(volume)) == blocks(&from.file(volume)));
}

/// What a guest writes is bytes: nobody ever asks what format they are.
#[tokio::test]
async fn a_guests_qcow2_header_with_a_backing_file_is_copied_and_not_obeyed() {
    let (from, to) = (Pool::start().await, Pool::start().await);
    let volume = from.create(1).await;
    let secret = "/etc/passwd";
    let dir = tempfile::tempdir().expect("a directory");
    let image = dir.path().join("evil.qcow2");
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret])
        .arg(&image)
        .arg("1G")
        .status()
        .expect("qemu-img runs");
    assert!(made.success());
    let header = fs::read(&image).expect("read");
    assert!(header.starts_with(b"QFI\xfb") && find(&header, secret.as_bytes()), "it is what it is meant to be");
    let file = fs::File::options().write(true).open(from.file(volume)).expect("there");
    file.write_all_at(&header, 0).expect("written");

    assert_eq!(copy(&from, &to, volume).await, sized(1));
    let copied = fs::read(to.file(volume)).expect("read");
    assert!(copied[..header.len()] == header[..] && copied[header.len()..].iter().all(|byte| *byte == 0));
    let password_line = fs::read_to_string(secret).expect("read").lines().next().expect("a line").to_owned();
    assert!(!find(&copied, password_line.as_bytes()));

    let (_, info) = to.exported(volume).await;
    let mut client = NbdClient::connect(&info, 0).await.expect("connected");
    let first = client.run("read -P 0x51 0 1").await;
    assert!(first.contains("read 1/1") && !first.contains("verification failed"), "{first}");
    assert!(client.run("length").await.contains("1 GiB"), "raw, and as large as the volume");
}

fn find(within: &[u8], what: &[u8]) -> bool {
    within.windows(what.len()).any(|window| window == what)
}

#[tokio::test]
async fn a_source_with_live_exports_is_refused_and_one_that_is_exported_meanwhile_is_given_up() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool: from, _mounted }) = copying_pool(root.path(), "size=700m").await else { return };
    let to = Pool::start().await;
    let volume = from.create(1).await;
    fill(&from, volume, 500);
    let (name, _) = from.exported(volume).await;
    assert_refused(&copy(&from, &to, volume).await, CauseKind::Busy);
    assert_nothing_there(&to, volume);
    assert_eq!(from.unexport(volume, &name).await, Outcome::done());

    let (_, answer) = copy_under_way(&from, &to, volume).await;
    let (exported, copied) = tokio::join!(from.exported(volume), within(answer));
    assert_refused(&copied, CauseKind::Busy);
    assert_nothing_there(&to, volume);
    let mut client = NbdClient::connect(&exported.1, 0).await.expect("connected");
    assert!(client.write(0x22, 0).await);
}

#[tokio::test]
async fn while_it_is_copied_the_source_is_not_extended_or_removed() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool: from, _mounted }) = copying_pool(root.path(), "size=700m").await else { return };
    let to = Pool::start().await;
    let volume = from.create(1).await;
    fill(&from, volume, 500);
    let (call, answer) = copy_under_way(&from, &to, volume).await;
    assert_failed(&from.call(volume, Request::Extend { new_size_gib: 2 }).await, CauseKind::Busy);
    assert_failed(&from.call(volume, Request::Delete).await, CauseKind::Busy);
    assert!(from.probe(volume).await.busy && to.probe(volume).await.busy);
    let progress = to.backend.progress(&call.key).expect("all of it was said while it was copied");
    assert!(progress.percent() < 100 && progress.total >= 2 * 500 * MIB, "written and read again: {progress:?}");
    drop(answer);
    until("the copy has ended", || async { !from.probe(volume).await.busy }).await;
    assert_nothing_there(&to, volume);
    assert_eq!(from.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
}

/// This is how a migration is cancelled.
#[tokio::test]
async fn a_delete_stops_the_copy_and_no_late_call_brings_the_volume_back() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool: from, _mounted }) = copying_pool(root.path(), "size=700m").await else { return };
    let to = Pool::start().await;
    let volume = from.create(1).await;
    fill(&from, volume, 500);
    let (call, answer) = copy_under_way(&from, &to, volume).await;
    let (copied, deleted) = tokio::join!(within(answer), to.call(volume, Request::Delete));
    assert_eq!(deleted, Outcome::done());
    assert_failed(&copied, CauseKind::Busy);
    assert_nothing_there(&to, volume);
    assert_eq!(to.backend.progress(&call.key), None);
    assert_refused(&within(copying(&from, &to, &call)).await, CauseKind::Other);
    let blank = Request::CreateMirrorTarget { size_gib: 1 };
    let late = Call { key: call.key, request: blank.clone() };
    assert_refused(&within(to.backend.clone().call(late)).await, CauseKind::Other);
    assert_nothing_there(&to, volume);
    assert_eq!(to.call(volume, blank).await, sized(1), "a later operation may bring it");
    assert_eq!(from.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2), "the source is free");
}

#[tokio::test]
async fn a_destination_without_room_says_so_and_keeps_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool: to, _mounted }) = copying_pool(root.path(), "size=24m").await else { return };
    let from = Pool::start().await;
    let volume = from.create(1).await;
    fill(&from, volume, 30);
    let free = || async { within(to.backend.clone().capacity()).await.expect("measured").free_gib };
    let before = free().await;
    assert_refused(&copy(&from, &to, volume).await, CauseKind::NoSpace);
    assert_nothing_there(&to, volume);
    assert!((free().await - before).abs() < 0.001);
    assert_eq!(from.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2), "the source is free");
}

#[tokio::test]
async fn a_copy_that_was_killed_midway_leaves_no_volume_and_its_repetition_makes_it() {
    let (from, mut to) = (Pool::start().await, Pool::start().await);
    let volume = from.create(1).await;
    fill(&from, volume, 2);
    let call = copy_call(volume);
    // What a kill leaves: half of the data, and the record that precedes the volume's name.
    fs::write(to.options.path.join(format!("{volume}.{}.tmp", call.key.epoch)), "half").expect("written");
    let record = serde_json::to_vec(&call.key.operation_id).expect("written");
    fs::write(to.options.state_dir.join("origins").join(format!("{volume}.json")), record).expect("written");
    to.restart().await;
    assert_nothing_there(&to, volume);
    assert_eq!(within(copying(&from, &to, &call)).await, sized(1));
    assert_eq!(blocks(&to.file(volume)), blocks(&from.file(volume)));
}

#[tokio::test]
async fn a_volume_is_not_copied_to_where_it_is_or_from_where_it_is_not() {
    let (from, to) = (Pool::start().await, Pool::start().await);
    let volume = from.create(1).await;
    assert_refused(&copy(&from, &from, volume).await, CauseKind::Other);
    let missing = VolumeId(Uuid::new_v4());
    assert_refused(&copy(&from, &from, missing).await, CauseKind::Other);
    assert_refused(&copy(&from, &to, missing).await, CauseKind::Other);
    assert_nothing_there(&to, missing);
    assert_refused(&to.call(volume, copy_request()).await, CauseKind::Other);
    assert_nothing_there(&to, volume);
}
