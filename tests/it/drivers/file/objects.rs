//! What may be taken out of the pool's directory: whole regular files of its own that nobody has open, and nothing else.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;

use hearth::domain::backend::{Answer, BackendObject, CauseKind, ObjectKind, Outcome, Request};
use hearth::domain::ids::VolumeId;
use hearth::domain::reference::volume_reference;
use hearth::drivers::Backend;
use uuid::Uuid;

use super::{GIB, Pool, assert_refused, sized, within};

fn new_id() -> VolumeId {
    VolumeId(Uuid::new_v4())
}

fn adopt(reference: &str, size_gib: u32) -> Request {
    Request::Adopt { reference: reference.to_owned(), size_gib }
}

impl Pool {
    fn path(&self, name: &str) -> PathBuf {
        self.options.path.join(name)
    }

    /// A file that is not Hearth's.
    fn place(&self, name: &str, bytes: u64) -> File {
        let file = File::options().read(true).write(true).create_new(true).open(self.path(name)).expect("made");
        file.set_len(bytes).expect("sized");
        file.write_all_at(b"data", 0).expect("written");
        file
    }

    async fn objects(&self) -> Vec<BackendObject> {
        match self.call(new_id(), Request::ListObjects).await {
            Outcome::Done { answer: Answer::Objects { objects } } => objects,
            other => panic!("no list: {other:?}"),
        }
    }

    /// What is said against an object; none: it is not in the list.
    async fn trouble(&self, reference: &str) -> Option<String> {
        let found = self.objects().await.into_iter().find(|object| object.reference == reference);
        found.map(|object| object.trouble.unwrap_or_default())
    }
}

#[tokio::test]
async fn an_adopted_file_is_renamed_filled_up_with_zeros_and_private() {
    let pool = Pool::start().await;
    let (volume, bytes) = (new_id(), GIB + 512);
    let file = pool.place("disk.img", bytes);
    file.write_all_at(b"end", bytes - 3).expect("written");
    fs::set_permissions(pool.path("disk.img"), fs::Permissions::from_mode(0o666)).expect("open to all");
    drop(file);
    assert_eq!(pool.call(volume, adopt("disk.img", 2)).await, sized(2));
    assert!(!pool.path("disk.img").exists());
    let found = fs::metadata(pool.file(volume)).expect("there");
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (2 * GIB, 0o600));
    assert!(pool.first_bytes(volume).starts_with(b"data"));
    let mut end = [1; 6];
    File::open(pool.file(volume)).and_then(|file| file.read_exact_at(&mut end, bytes - 3)).expect("read");
    assert_eq!(&end, b"end\0\0\0");
    assert_eq!(pool.call(volume, Request::Disown).await, Outcome::done());
    assert!(pool.path(&volume_reference(volume)).exists() && !pool.file(volume).exists());
}

#[tokio::test]
async fn what_is_no_whole_file_of_the_pool_is_not_adopted() {
    let pool = Pool::start().await;
    let (elsewhere, own) = (pool.options.state_dir.join("elsewhere"), pool.create(1).await);
    let precious = File::create_new(&elsewhere).expect("made");
    precious.set_len(GIB).expect("sized");
    symlink(&elsewhere, pool.path("link")).expect("linked");
    symlink(pool.file(own), pool.path("link-to-own")).expect("linked");
    fs::create_dir(pool.path("directory")).expect("made");
    fs::write(pool.path("directory").join("inside"), "data").expect("written");
    let pipe = std::ffi::CString::new(pool.path("pipe").to_str().expect("utf-8")).expect("no NUL");
    // SAFETY: the path is NUL-terminated.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    pool.place("twice", GIB);
    fs::hard_link(pool.path("twice"), pool.path("twice-too")).expect("linked");
    fs::hard_link(&elsewhere, pool.path("also-elsewhere")).expect("linked");
    fs::write(pool.path("empty"), "").expect("written");
    pool.place(".hidden", GIB);
    let own_file = format!("{own}.raw");
    let climbing = format!("../{}/elsewhere", pool.options.state_dir.file_name().expect("a name").display());
    let absolute = elsewhere.to_str().expect("utf-8");
    for reference in [
        "link",
        "link-to-own",
        "directory",
        "directory/inside",
        "pipe",
        "twice",
        "twice-too",
        "also-elsewhere",
        "empty",
        ".hidden",
        ".",
        "..",
        "",
        "nothing",
        "with\0NUL",
        &own_file,
        &climbing,
        absolute,
    ] {
        let volume = new_id();
        for size_gib in [0, 1] {
            assert_refused(&pool.call(volume, adopt(reference, size_gib)).await, CauseKind::Other);
        }
        assert!(!pool.file(volume).exists(), "{reference}");
    }
    assert!(elsewhere.exists() && pool.probe(own).await.exists);
    let mut listed: Vec<(String, bool)> = Vec::new();
    for object in pool.objects().await.into_iter().filter(|object| object.kind == (ObjectKind::Volume { id: None })) {
        listed.push((object.reference, object.trouble.is_some()));
    }
    listed.sort();
    let unsafe_ones = ["also-elsewhere", "empty", "twice", "twice-too"];
    assert_eq!(listed, unsafe_ones.map(|name| (name.to_owned(), true)), "only regular files are shown");
}

#[tokio::test]
async fn a_file_that_somebody_has_locked_is_in_use() {
    let pool = Pool::start().await;
    let file = pool.place("disk", GIB);
    // SAFETY: `flock` is plain data.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    // As QEMU does: a shared lock of one byte.
    (lock.l_type, lock.l_start, lock.l_len) = (libc::F_RDLCK as libc::c_short, 100, 1);
    // SAFETY: the descriptor is open, and the call reads `lock`.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) }, 0);
    assert_eq!(pool.trouble("disk").await.as_deref(), Some("the object is in use"));
    let volume = new_id();
    assert_refused(&pool.call(volume, adopt("disk", 1)).await, CauseKind::Other);
    drop(file);
    assert_eq!(pool.trouble("disk").await.as_deref(), Some(""));
    assert_eq!(pool.call(volume, adopt("disk", 1)).await, sized(1));
}

/// There is room for 4 GiB: what is let go of leaves its room, and what is adopted takes room.
#[tokio::test]
async fn adopted_volumes_count_as_provisioned_and_those_let_go_of_do_not() {
    let total = within(Pool::start().await.backend.clone().capacity()).await.expect("measured").total_gib;
    let pool = Pool::start_with(|options| options.max_over_subscription_ratio = 4.5 / total).await;
    let (first, adopted) = (pool.create(3).await, new_id());
    assert_eq!(pool.call(first, Request::Disown).await, Outcome::done());
    let second = pool.create(3).await;
    assert_eq!(pool.call(second, Request::Delete).await, Outcome::done());
    assert_eq!(pool.call(adopted, adopt(&volume_reference(first), 3)).await, sized(3));
    assert_refused(&pool.call(new_id(), Request::Create { size_gib: 3 }).await, CauseKind::NoSpace);
    pool.create(1).await;
}
