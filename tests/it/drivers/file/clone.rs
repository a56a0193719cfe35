//! Clones of files: shared or copied, cut off, killed, without room; the rules for every driver are in `rules`.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use hearth::domain::backend::{Call, CauseKind, Outcome, Request};
use hearth::domain::ids::VolumeId;
use hearth::drivers::Backend;
use hearth::drivers::file::FileBackend;
use uuid::Uuid;

use super::reflink::ReflinkFileSystem;
use super::{NbdClient, Pool, assert_failed, assert_refused, key, sized, until, within};
use crate::drivers::inside::blocks;

const MIB: u64 = 1 << 20;

fn clone_of(source: VolumeId) -> Request {
    Request::CreateClonedVolume { source_volume_id: source, size_gib: 1 }
}

fn new_id() -> VolumeId {
    VolumeId(Uuid::new_v4())
}

/// A pool that copies, because its file system shares nothing, whatever the machine's own can.
pub struct CopyingPool {
    pub pool: Pool,
    pub _mounted: Option<super::files::SmallFileSystem>,
}

pub async fn copying_pool(root: &Path, room: &str) -> Option<CopyingPool> {
    let mounted = super::files::SmallFileSystem::mount(root.join("pool"), room)?;
    let pool = Pool::start_with(|options| {
        options.path = root.join("pool");
        options.max_over_subscription_ratio = 1e6;
    })
    .await;
    assert!(!pool.backend.capabilities().reflink);
    Some(CopyingPool { pool, _mounted: Some(mounted) })
}

/// Writes so many MiB of data, none of it zero, from 8 MiB on.
pub fn fill(pool: &Pool, volume: VolumeId, mib: u64) {
    let file = fs::File::options().write(true).open(pool.file(volume)).expect("there");
    let data: Vec<u8> = (0..MIB).map(|at| u8::try_from(at % 251).expect("small") + 1).collect();
    for number in 0..mib {
        file.write_all_at(&data, (8 + number) * MIB).expect("written");
    }
}

pub fn temporaries(pool: &Pool) -> usize {
    let entries = fs::read_dir(&pool.options.path).expect("there").map(|entry| entry.expect("readable").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "tmp")).count()
}

/// A copy that has begun and is not over.
struct CopyUnderWay {
    volume: VolumeId,
    call: Call,
    answer: futures_util::future::BoxFuture<'static, Outcome>,
}

async fn copy_under_way(pool: &Pool, source: VolumeId) -> CopyUnderWay {
    let volume = new_id();
    let call = Call { key: key(volume), request: clone_of(source) };
    let mut answer = pool.backend.clone().call(call.clone());
    loop {
        assert!(futures_util::poll!(&mut answer).is_pending(), "it has ended before it was seen");
        if pool.backend.progress(&call.key).is_some_and(|progress| progress.done > 0) {
            return CopyUnderWay { volume, call, answer };
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_copy_that_is_cut_off_leaves_no_volume_and_its_repetition_makes_it() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=1500m").await else { return };
    let source = pool.create(1).await;
    fill(&pool, source, 600);
    let before = blocks(&pool.file(source));
    let CopyUnderWay { volume, call, answer } = copy_under_way(&pool, source).await;
    drop(answer);
    until("the copy has ended", || async { !pool.probe(volume).await.busy }).await;
    assert!(!pool.probe(volume).await.exists, "it was cut off, not finished in silence");
    assert_eq!((temporaries(&pool), pool.backend.progress(&call.key)), (0, None));
    assert_eq!(within(pool.backend.clone().call(call)).await, sized(1));
    assert!(blocks(&pool.file(volume)) == before && blocks(&pool.file(source)) == before);
}

#[tokio::test]
async fn while_it_is_copied_a_volume_is_not_extended_or_deleted_and_others_are_free() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=1500m").await else { return };
    let (source, other) = (pool.create(1).await, pool.create(1).await);
    fill(&pool, source, 600);
    let CopyUnderWay { volume, answer, .. } = copy_under_way(&pool, source).await;
    assert_failed(&pool.call(source, Request::Extend { new_size_gib: 2 }).await, CauseKind::Busy);
    assert_failed(&pool.call(source, Request::Delete).await, CauseKind::Busy);
    assert!(pool.probe(volume).await.busy, "all of it was said while it was copied");
    assert_eq!(pool.call(other, Request::Extend { new_size_gib: 2 }).await, sized(2));
    drop(answer);
    until("the copy has ended", || async { !pool.probe(volume).await.busy }).await;
    assert_eq!(pool.call(source, Request::Extend { new_size_gib: 2 }).await, sized(2));
}

#[tokio::test]
async fn a_clone_that_was_killed_midway_leaves_no_volume_and_is_made_by_its_repetition_only_once() {
    let mut pool = Pool::start().await;
    let source = pool.create(1).await;
    fill(&pool, source, 1);
    let call = Call { key: key(new_id()), request: clone_of(source) };
    let volume = call.key.volume_id;
    // What a kill leaves: half of the data, and the record that precedes the volume's name.
    fs::write(pool.options.path.join(format!("{volume}.{}.tmp", call.key.epoch)), "half").expect("written");
    let record = serde_json::to_vec(&call.key.operation_id).expect("written");
    fs::write(pool.options.state_dir.join("origins").join(format!("{volume}.json")), record).expect("written");
    pool.restart().await;
    assert!(!pool.probe(volume).await.exists);
    assert_eq!(temporaries(&pool), 0);
    assert_eq!(within(pool.backend.clone().call(call.clone())).await, sized(1));
    assert_eq!(blocks(&pool.file(volume)), blocks(&pool.file(source)));
    let inode = fs::metadata(pool.file(volume)).expect("there").ino();
    pool.restart().await;
    // Recovery runs an operation under a new epoch.
    let again = Call { key: hearth::domain::backend::CallKey { epoch: call.key.epoch + 1000, ..call.key }, ..call };
    assert_eq!(within(pool.backend.clone().call(again)).await, sized(1));
    assert_eq!(fs::metadata(pool.file(volume)).expect("there").ino(), inode, "it is not made again");
    assert_refused(&pool.call(volume, clone_of(source)).await, CauseKind::Other);
}

#[tokio::test]
async fn a_copy_without_room_is_no_space_and_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=24m").await else { return };
    let source = pool.create(1).await;
    fill(&pool, source, 14);
    let volume = new_id();
    assert_refused(&pool.call(volume, clone_of(source)).await, CauseKind::NoSpace);
    assert!(!pool.probe(volume).await.exists);
    assert_eq!(temporaries(&pool), 0);
}

#[tokio::test]
async fn a_source_in_use_is_copied_by_its_storage_daemon_with_its_holes() {
    let root = tempfile::tempdir().expect("a directory");
    // Room for two copies of the data, and not for a volume without holes.
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=32m").await else { return };
    let source = pool.create(1).await;
    fill(&pool, source, 10);
    let (name, info) = pool.exported(source).await;
    let mut guest = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(guest.write(0x21, 4096).await);
    let volume = new_id();
    let larger = Request::CreateClonedVolume { source_volume_id: source, size_gib: 2 };
    assert_eq!(pool.call(volume, larger).await, sized(2));
    assert_eq!(blocks(&pool.file(volume)), blocks(&pool.file(source)));
    assert!(guest.write(0x22, 4096).await, "the guest noticed nothing");
    assert_ne!(blocks(&pool.file(volume)), blocks(&pool.file(source)));
    assert_eq!(pool.probe(source).await.exports, [name]);
    assert_eq!(temporaries(&pool), 0);
}

#[tokio::test]
async fn where_blocks_are_shared_a_clone_takes_no_room_and_its_source_may_be_written_to() {
    let Some(mounted) = ReflinkFileSystem::mount() else { return };
    let pool = Pool::start_with(|options| {
        options.path = mounted.pool();
        options.max_over_subscription_ratio = 1e6;
    })
    .await;
    assert!(pool.backend.capabilities().reflink);
    let source = pool.create(1).await;
    fill(&pool, source, 100);
    let (_, info) = pool.exported(source).await;
    let mut guest = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(guest.write(0x33, 0).await);
    let free = |pool: &Pool| within(<FileBackend as Backend>::capacity(pool.backend.clone()));
    let before = free(&pool).await.expect("measured").free_gib;
    let volume = new_id();
    assert_eq!(pool.call(volume, clone_of(source)).await, sized(1));
    let taken = before - free(&pool).await.expect("measured").free_gib;
    assert!(taken < 0.02, "100 MiB are shared, not copied: {taken} GiB");
    assert_eq!(pool.first_bytes(volume), [0x33; 4096], "what the guest has flushed is in it");
    assert!(guest.write(0x44, 0).await);
    assert_eq!(pool.first_bytes(volume), [0x33; 4096]);
}
