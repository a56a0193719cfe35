//! Create, extend, delete: durable, never destructive, honest about room.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hearth::domain::backend::{Call, CauseKind, Outcome, Request, Truth};
use hearth::domain::ids::VolumeId;
use hearth::drivers::Backend;
use hearth::drivers::file::{FileBackend, FileOptions, OpenError};
use uuid::Uuid;

use super::{GIB, Pool, assert_failed, assert_refused, key, sized, until, within};

#[tokio::test]
async fn a_volume_is_a_private_sparse_raw_file_of_its_size() {
    let pool = Pool::start().await;
    let volume = pool.create(3).await;
    let found = fs::metadata(pool.file(volume)).expect("there");
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (3 * GIB, 0o600));
    assert!(std::os::unix::fs::MetadataExt::blocks(&found) < 1024, "sparse");
    let dir = fs::metadata(&pool.options.path).expect("there");
    assert_eq!(dir.permissions().mode() & 0o777, 0o700);
    let truth = Truth { exists: true, size_gib: 3, ..Truth::default() };
    assert_eq!(pool.probe(volume).await, truth);
    assert_eq!(within(pool.backend.clone().inventory()).await.expect("listed"), [(volume, truth)]);
}

#[tokio::test]
async fn create_is_idempotent_and_never_overwrites() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    fs::write(pool.file(volume), "data").expect("written");
    fs::File::options().write(true).open(pool.file(volume)).and_then(|file| file.set_len(GIB)).expect("sized");
    assert_eq!(pool.call(volume, Request::Create { size_gib: 1 }).await, sized(1));
    assert_refused(&pool.call(volume, Request::Create { size_gib: 2 }).await, CauseKind::Other);
    assert!(pool.first_bytes(volume).starts_with(b"data"), "the data is untouched");
    assert_eq!(fs::metadata(pool.file(volume)).expect("there").len(), GIB);
}

#[tokio::test]
async fn creates_of_one_volume_at_once_make_one_and_leave_no_temporary() {
    let pool = Pool::start().await;
    let volume = VolumeId(Uuid::new_v4());
    let outcomes =
        futures_util::future::join_all((0..16).map(|_| pool.call(volume, Request::Create { size_gib: 1 }))).await;
    assert!(outcomes.iter().all(|outcome| *outcome == sized(1)), "{outcomes:?}");
    assert_eq!(names(&pool.options.path, "raw").len(), 1);
    assert!(names(&pool.options.path, "tmp").is_empty());
}

#[tokio::test]
async fn a_create_repeated_after_the_delete_answers_as_before_and_makes_nothing() {
    let pool = Pool::start().await;
    let volume = VolumeId(Uuid::new_v4());
    let create = Call { key: key(volume), request: Request::Create { size_gib: 1 } };
    assert_eq!(within(pool.backend.clone().call(create.clone())).await, sized(1));
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
    assert_eq!(within(pool.backend.clone().call(create)).await, sized(1));
    assert!(!pool.probe(volume).await.exists, "a late duplicate does not bring a volume back");
}

#[tokio::test]
async fn a_symbolic_link_in_the_volumes_place_is_never_followed() {
    let pool = Pool::start().await;
    let volume = VolumeId(Uuid::new_v4());
    let elsewhere = pool.options.state_dir.join("elsewhere");
    fs::write(&elsewhere, "precious").expect("written");
    std::os::unix::fs::symlink(&elsewhere, pool.file(volume)).expect("linked");
    for request in [Request::Create { size_gib: 1 }, Request::Extend { new_size_gib: 1 }, Request::Delete] {
        assert_refused(&pool.call(volume, request).await, CauseKind::Other);
    }
    assert_eq!(fs::read(&elsewhere).expect("there"), b"precious");
}

#[tokio::test]
async fn r46_extend_grows_never_shrinks_and_says_the_real_size() {
    let pool = Pool::start().await;
    let volume = pool.create(2).await;
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 4 }).await, sized(4));
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 3 }).await, sized(4));
    assert_eq!(fs::metadata(pool.file(volume)).expect("there").len(), 4 * GIB);
    assert_refused(&pool.call(VolumeId(Uuid::new_v4()), Request::Extend { new_size_gib: 1 }).await, CauseKind::Other);
}

#[tokio::test]
async fn r47_a_size_that_is_no_whole_number_of_gib_reports_the_whole_ones() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let file = fs::File::options().write(true).open(pool.file(volume)).expect("there");
    file.set_len(2 * GIB + 512).expect("sized");
    assert_eq!(pool.probe(volume).await.size_gib, 2);
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 3 }).await, sized(3));
}

#[tokio::test]
async fn delete_removes_everything_of_the_volume_and_is_idempotent() {
    let pool = Pool::start().await;
    let (volume, other) = (pool.create(1).await, pool.create(1).await);
    fs::write(pool.options.path.join(format!("{volume}.7.tmp")), "").expect("written");
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
    assert!(names(&pool.options.path, "tmp").is_empty());
    assert_eq!(names(&pool.options.path, "raw"), [format!("{other}.raw")]);
}

#[tokio::test]
async fn temporaries_of_dead_calls_are_removed_at_start_and_nothing_else() {
    let mut pool = Pool::start().await;
    let volume = pool.create(1).await;
    fs::write(pool.options.path.join(format!("{}.3.tmp", Uuid::new_v4())), "half").expect("written");
    fs::write(pool.options.path.join("notes.tmp"), "mine").expect("written");
    pool.restart().await;
    assert_eq!(names(&pool.options.path, "tmp"), ["notes.tmp"]);
    assert!(pool.probe(volume).await.exists);
}

#[tokio::test]
async fn more_than_the_over_subscription_limit_is_no_space() {
    let total = within(Pool::start().await.backend.clone().capacity()).await.expect("measured").total_gib;
    // Room for four GiB of promises.
    let pool = Pool::start_with(|options| options.max_over_subscription_ratio = 4.5 / total).await;
    let volume = pool.create(2).await;
    assert_refused(&pool.call(VolumeId(Uuid::new_v4()), Request::Create { size_gib: 3 }).await, CauseKind::NoSpace);
    assert_refused(&pool.call(volume, Request::Extend { new_size_gib: 5 }).await, CauseKind::NoSpace);
    assert_eq!(pool.call(volume, Request::Extend { new_size_gib: 4 }).await, sized(4));
    assert_refused(&pool.call(VolumeId(Uuid::new_v4()), Request::Create { size_gib: 1 }).await, CauseKind::NoSpace);
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
    pool.create(4).await;
}

/// A small file system of its own. Only root may mount one: elsewhere the tests that need it say so and end.
pub struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    pub fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&at).expect("made");
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        eprintln!("not tested: this user may not mount file systems");
        None
    }

    fn remount(&self, options: &str) {
        let changed =
            std::process::Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(changed.is_ok_and(|status| status.success()));
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

async fn small_pool(root: &Path, mount: &str) -> Option<(Arc<FileBackend>, SmallFileSystem, FileOptions)> {
    let small = SmallFileSystem::mount(root.join("pool"), mount)?;
    let mut options = FileOptions::new("small", root.join("pool"), root.join("state"));
    options.max_over_subscription_ratio = 1e6;
    let backend = FileBackend::open(options.clone()).expect("opened");
    within(backend.start()).await.expect("started");
    Some((backend, small, options))
}

async fn create(backend: &Arc<FileBackend>) -> (VolumeId, Outcome) {
    let volume = VolumeId(Uuid::new_v4());
    let call = Call { key: key(volume), request: Request::Create { size_gib: 1 } };
    (volume, within(backend.clone().call(call)).await)
}

#[tokio::test]
async fn a_full_file_system_is_no_space_and_works_again_with_room() {
    let root = tempfile::tempdir().expect("a directory");
    let Some((backend, _small, options)) = small_pool(root.path(), "size=8m").await else { return };
    let filler = options.path.join("filler");
    let mut file = fs::File::create(&filler).expect("made");
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);
    assert_refused(&create(&backend).await.1, CauseKind::NoSpace);
    fs::remove_file(&filler).expect("removed");
    assert_eq!(create(&backend).await.1, sized(1));
}

#[tokio::test]
async fn a_file_system_without_a_free_inode_is_no_space_and_keeps_no_temporary() {
    let root = tempfile::tempdir().expect("a directory");
    // The root directory, the marker and one volume.
    let Some((backend, small, options)) = small_pool(root.path(), "size=8m,nr_inodes=3").await else { return };
    let first = create(&backend).await;
    assert_eq!(first.1, sized(1));
    assert_refused(&create(&backend).await.1, CauseKind::NoSpace);
    assert!(names(&options.path, "tmp").is_empty());
    small.remount("nr_inodes=64");
    assert_eq!(create(&backend).await.1, sized(1));
}

#[tokio::test]
async fn a_read_only_file_system_is_unavailable_and_its_volumes_still_exist() {
    let root = tempfile::tempdir().expect("a directory");
    let Some((backend, small, _)) = small_pool(root.path(), "size=8m").await else { return };
    let (volume, made) = create(&backend).await;
    assert_eq!(made, sized(1));
    small.remount("ro");
    assert_failed(&create(&backend).await.1, CauseKind::Unavailable);
    for request in [Request::Extend { new_size_gib: 2 }, Request::Delete] {
        let call = Call { key: key(volume), request };
        assert_failed(&within(backend.clone().call(call)).await, CauseKind::Unavailable);
    }
    small.remount("rw");
    let call = Call { key: key(volume), request: Request::Extend { new_size_gib: 2 } };
    assert_eq!(within(backend.clone().call(call)).await, sized(2));
}

#[tokio::test]
async fn a_missing_or_unmounted_directory_is_unavailable_and_never_an_absent_volume() {
    let mut pool = Pool::start().await;
    let volume = pool.create(1).await;
    let away = pool.options.path.with_extension("away");
    fs::rename(&pool.options.path, &away).expect("moved");
    for unmounted in [false, true] {
        if unmounted {
            // The mount point of a file system that is not mounted: there, empty, and not the pool.
            fs::create_dir(&pool.options.path).expect("made");
        }
        for request in
            [Request::Create { size_gib: 1 }, Request::Extend { new_size_gib: 2 }, Request::Delete, Request::Probe]
        {
            assert_failed(&pool.call(volume, request).await, CauseKind::Unavailable);
        }
        assert!(within(pool.backend.clone().capacity()).await.is_err());
        pool.restart().await;
    }
    fs::remove_dir(&pool.options.path).expect("still empty");
    fs::rename(&away, &pool.options.path).expect("moved");
    assert!(pool.probe(volume).await.exists);
}

#[tokio::test]
async fn one_process_drives_a_pool() {
    let pool = Pool::start().await;
    let second = FileBackend::open(pool.options.clone()).expect("looking is allowed");
    assert!(matches!(within(second.start()).await, Err(OpenError::InUse { .. })));
    until("the first goes on", || async { pool.probe(VolumeId(Uuid::nil())).await == Truth::default() }).await;
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let options = FileOptions::new("local", root.path().join("pool"), root.path().join("state"));
    let deep = root.path().join("d".repeat(100));
    for bad in [
        FileOptions { daemons_per_pool: 0, ..options.clone() },
        FileOptions { daemons_per_pool: 1000, ..options.clone() },
        FileOptions { max_over_subscription_ratio: 0.0, ..options.clone() },
        FileOptions { max_over_subscription_ratio: f64::NAN, ..options.clone() },
        FileOptions { state_dir: deep, ..options.clone() },
    ] {
        assert!(matches!(FileBackend::open(bad), Err(OpenError::Options { .. })));
    }
    assert!(FileBackend::open(options).is_ok());
}

fn names(dir: &Path, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("there").map(|entry| entry.expect("readable").path());
    let mut names: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| path.file_name().expect("named").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
