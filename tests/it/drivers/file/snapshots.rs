//! Snapshots of files: their names, their instant, and what becomes of them when something dies, is ended or has no room. The
//! rules for every driver are in `snapshot_rules`.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use futures_util::future::BoxFuture;
use hearth::domain::backend::{Call, CallKey, CauseKind, Outcome, Request, Truth};
use hearth::domain::ids::{SnapshotId, VolumeId};
use hearth::drivers::Backend;
use hearth::drivers::file::FileOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use uuid::Uuid;

use super::clone::{CopyingPool, copying_pool, fill, temporaries};
use super::reflink::ReflinkFileSystem;
use super::{GIB, NbdClient, Pool, assert_failed, assert_refused, export_name, key, kill, sized, until, within};
use crate::drivers::inside::blocks;

/// Data of a volume whose copy takes long enough to be met under way.
const MUCH_MIB: u64 = 600;
const MUCH_ROOM: &str = "size=1500m";

fn new_id() -> SnapshotId {
    SnapshotId(Uuid::new_v4())
}

const fn take(snapshot_id: SnapshotId) -> Request {
    Request::CreateSnapshot { snapshot_id }
}

pub async fn pool_that_shares(change: impl FnOnce(&mut FileOptions)) -> Option<(Pool, ReflinkFileSystem)> {
    let mounted = ReflinkFileSystem::mount()?;
    let pool = Pool::start_with(|options| {
        options.path = mounted.pool();
        options.max_over_subscription_ratio = 1e6;
        change(options);
    })
    .await;
    assert!(pool.backend.capabilities().reflink);
    Some((pool, mounted))
}

/// A snapshot that is being copied by the storage daemon of an exported volume.
struct UnderWay {
    pool: Pool,
    volume: VolumeId,
    snapshot: SnapshotId,
    guest: NbdClient,
    name: hearth::domain::ids::ExportName,
    call: Call,
    answer: BoxFuture<'static, Outcome>,
    _mounted: Option<super::files::SmallFileSystem>,
}

impl UnderWay {
    /// `reconnect_s`: how long the guest waits for an export that is gone.
    async fn begin(root: &Path, reconnect_s: u32) -> Option<Self> {
        let CopyingPool { pool, _mounted } = copying_pool(root, MUCH_ROOM).await?;
        let volume = pool.create(1).await;
        fill(&pool, volume, MUCH_MIB);
        let (name, info) = pool.exported(volume).await;
        let guest = NbdClient::connect(&info, reconnect_s).await.expect("connected");
        let snapshot = new_id();
        let call = Call { key: key(volume), request: take(snapshot) };
        let mut answer = pool.backend.clone().call(call.clone());
        loop {
            assert!(futures_util::poll!(&mut answer).is_pending(), "it has ended before it was seen");
            if pool.backend.progress(&call.key).is_some_and(|progress| progress.done > 0) {
                return Some(Self { pool, volume, snapshot, guest, name, call, answer, _mounted });
            }
            tokio::task::yield_now().await;
        }
    }

    /// Nothing of the snapshot is there, and its volume is served as before.
    async fn assert_nothing_left(&mut self) {
        until("the copy has ended", || async { !self.pool.probe(self.volume).await.busy }).await;
        let truth = self.pool.probe(self.volume).await;
        assert_eq!((truth.snapshots, truth.exports), (vec![], vec![self.name.clone()]));
        assert_eq!(temporaries(&self.pool), 0);
        assert!(self.guest.write(0x42, 0).await && self.guest.reads(0x42, 0).await, "the guest noticed nothing");
        assert_eq!(self.pool.backend.progress(&self.call.key), None);
    }
}

#[tokio::test]
async fn a_snapshot_is_a_private_file_with_the_holes_of_its_volume_and_counts_as_promised_room() {
    let total = within(Pool::start().await.backend.clone().capacity()).await.expect("measured").total_gib;
    let pool = Pool::start_with(|options| options.max_over_subscription_ratio = 4.5 / total).await;
    let volume = pool.create(2).await;
    fill(&pool, volume, 3);
    let snapshot = new_id();
    assert_eq!(pool.call(volume, take(snapshot)).await, Outcome::done());
    let found = fs::metadata(pool.snapshot_file(volume, snapshot)).expect("there");
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (2 * GIB, 0o600));
    assert!(found.blocks() * 512 < 4 << 20, "{} blocks", found.blocks());
    assert_eq!(blocks(&pool.snapshot_file(volume, snapshot)), blocks(&pool.file(volume)));
    assert_refused(&pool.call(volume, take(new_id())).await, CauseKind::NoSpace);
    let remove = Request::DeleteSnapshot { snapshot_id: snapshot };
    assert_eq!(pool.call(volume, remove).await, Outcome::done());
    assert_eq!(pool.call(volume, take(new_id())).await, Outcome::done());
    assert_eq!(temporaries(&pool), 0);
}

/// A guest writes records one after the other, each flushed before the next; a snapshot that is taken meanwhile holds the first
/// of them, without a gap: at least those that were answered before the call.
async fn holds_a_prefix(pool: &Pool) {
    const TAKEN: usize = 5;
    const TAKEN_FROM: u64 = 20;
    // What fits in the volume: nobody knows how long the snapshots take.
    const RECORDS_MAX: u64 = 10_000;
    let place = |record: u64| record * 64 * 1024;
    let volume = pool.create(1).await;
    fill(pool, volume, 40);
    let (_, info) = pool.exported(volume).await;
    let mut guest = NbdClient::connect(&info, 0).await.expect("connected");
    let (written, is_over) = (std::cell::Cell::new(0_u64), std::cell::Cell::new(false));
    let write = async {
        while !is_over.get() && written.get() < RECORDS_MAX {
            // Beyond what was filled in.
            assert!(guest.write(0x77, (64 << 20) + place(written.get())).await);
            written.set(written.get() + 1);
        }
    };
    let taking = async {
        let mut taken = Vec::new();
        while taken.len() < TAKEN {
            let from = written.get() + TAKEN_FROM;
            while written.get() < from.min(RECORDS_MAX) {
                tokio::task::yield_now().await;
            }
            let (snapshot, before) = (new_id(), written.get());
            assert_eq!(pool.call(volume, take(snapshot)).await, Outcome::done());
            taken.push((snapshot, before, written.get()));
        }
        is_over.set(true);
        taken
    };
    let ((), taken) = tokio::join!(write, taking);
    let records = written.get();
    for (snapshot, before, after) in taken {
        let file = fs::File::open(pool.snapshot_file(volume, snapshot)).expect("there");
        let has = |record: u64| {
            let mut bytes = [0; 4096];
            file.read_exact_at(&mut bytes, (64 << 20) + place(record)).expect("read");
            assert!(bytes == [0x77; 4096] || bytes == [0; 4096], "record {record} is torn");
            bytes[0] == 0x77
        };
        let held = (0..records).take_while(|record| has(*record)).count() as u64;
        assert!((held..records).all(|record| !has(record)), "a record after a gap");
        assert!((before..=after + 1).contains(&held), "{held} of {before} to {after}");
    }
}

#[tokio::test]
async fn a_snapshot_by_the_storage_daemon_is_of_one_instant() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=600m").await else { return };
    holds_a_prefix(&pool).await;
}

#[tokio::test]
async fn a_snapshot_of_shared_blocks_is_of_one_instant() {
    let Some((pool, _mounted)) = pool_that_shares(|_| {}).await else { return };
    holds_a_prefix(&pool).await;
}

#[tokio::test]
async fn while_a_storage_daemon_copies_a_volume_it_is_not_changed_and_exports_come_and_go() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(mut under_way) = UnderWay::begin(root.path(), 0).await else { return };
    let UnderWay { pool, volume, snapshot, guest, name, answer, .. } = &mut under_way;
    let (volume, snapshot) = (*volume, *snapshot);
    assert_failed(&pool.call(volume, Request::Extend { new_size_gib: 2 }).await, CauseKind::Busy);
    assert_failed(&pool.call(volume, Request::Delete).await, CauseKind::Busy);
    assert_failed(&pool.call(volume, take(new_id())).await, CauseKind::Busy);
    // Another call for the same snapshot waits, and holds up nobody.
    let another = Call { key: key(volume), request: take(snapshot) };
    let mut another = pool.backend.clone().call(another);
    assert!(futures_util::poll!(&mut another).is_pending());
    let (new_name, info) = pool.exported(volume).await;
    let mut second = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(second.write(0x66, 4096).await && guest.reads(0x66, 4096).await);
    for name in [&*name, &new_name] {
        assert_eq!(pool.unexport(volume, name).await, Outcome::done());
    }
    let truth = pool.probe(volume).await;
    assert!(truth.busy && truth.exports.is_empty() && truth.snapshots.is_empty(), "all of it meanwhile: {truth:?}");
    assert!(!guest.write(0x55, 0).await && !second.write(0x55, 0).await, "they are fenced");
    assert_eq!(within(answer).await, Outcome::done());
    assert_eq!(within(another).await, Outcome::done());
    // Its instant is the last one of the call.
    assert!(blocks(&pool.snapshot_file(volume, snapshot)) == blocks(&pool.file(volume)));
    assert_eq!(temporaries(pool), 0);
    assert_eq!(pool.open_at_daemons(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn an_export_that_comes_to_a_volume_which_is_being_copied_is_served_and_the_copy_is_whole() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=2000m").await else { return };
    let volume = pool.create(1).await;
    fill(&pool, volume, MUCH_MIB);
    let snapshot = new_id();
    let call = Call { key: key(volume), request: take(snapshot) };
    let mut answer = pool.backend.clone().call(call.clone());
    while pool.backend.progress(&call.key).is_none_or(|progress| progress.done == 0) {
        assert!(futures_util::poll!(&mut answer).is_pending(), "it has ended before it was seen");
        tokio::task::yield_now().await;
    }
    let serving = async {
        let (_, info) = pool.exported(volume).await;
        let mut guest = NbdClient::connect(&info, 0).await.expect("connected");
        for round in 0..50_u64 {
            assert!(guest.write(0x31, (1000 << 20) + round * 4096).await);
        }
    };
    let (outcome, ()) = tokio::join!(within(answer), serving);
    assert_eq!(outcome, Outcome::done());
    let (kept, now) = (blocks(&pool.snapshot_file(volume, snapshot)), blocks(&pool.file(volume)));
    assert!(kept.len() >= usize::try_from(MUCH_MIB << 8).expect("small") && kept[..] == now[..kept.len()], "a prefix");
    assert_eq!((temporaries(&pool), pool.probe(volume).await.snapshots), (0, vec![snapshot]));
}

#[tokio::test]
async fn a_snapshot_that_nobody_waits_for_ends_its_job_and_leaves_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(mut under_way) = UnderWay::begin(root.path(), 0).await else { return };
    let nobody: BoxFuture<'static, Outcome> = Box::pin(std::future::pending());
    drop(std::mem::replace(&mut under_way.answer, nobody));
    under_way.assert_nothing_left().await;
    let again = under_way.pool.backend.clone().call(under_way.call.clone());
    assert_eq!(within(again).await, Outcome::done());
    assert_eq!(under_way.pool.probe(under_way.volume).await.snapshots, [under_way.snapshot]);
}

#[tokio::test]
async fn deleting_a_snapshot_that_is_being_taken_cuts_it_off() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(mut under_way) = UnderWay::begin(root.path(), 0).await else { return };
    let remove = Request::DeleteSnapshot { snapshot_id: under_way.snapshot };
    let (taken, removed) = tokio::join!(&mut under_way.answer, under_way.pool.call(under_way.volume, remove));
    assert_failed(&taken, CauseKind::Busy);
    assert_eq!(removed, Outcome::done());
    under_way.assert_nothing_left().await;
    assert_refused(&within(under_way.pool.backend.clone().call(under_way.call.clone())).await, CauseKind::Other);
}

#[tokio::test]
async fn a_daemons_death_costs_the_snapshot_and_nothing_else() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(mut under_way) = UnderWay::begin(root.path(), 20).await else { return };
    kill(under_way.pool.daemon_pids()[0]);
    assert_failed(&within(&mut under_way.answer).await, CauseKind::Unavailable);
    let (pool, volume, name) = (&under_way.pool, under_way.volume, under_way.name.clone());
    until("the export is back", || async {
        let call = Call { key: key(volume), request: Request::Probe };
        let truth = Truth { exists: true, size_gib: 1, exports: vec![name.clone()], ..Truth::default() };
        pool.backend.clone().call(call).await
            == Outcome::Done { answer: hearth::domain::backend::Answer::Truth { truth } }
    })
    .await;
    under_way.assert_nothing_left().await;
    let again = under_way.pool.backend.clone().call(under_way.call.clone());
    assert_eq!(within(again).await, Outcome::done());
    let (file, of) = (under_way.pool.snapshot_file(volume, under_way.snapshot), under_way.pool.file(volume));
    assert_eq!(blocks(&file), blocks(&of));
}

#[tokio::test]
async fn a_snapshot_without_room_fails_alone() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=24m").await else { return };
    let volume = pool.create(1).await;
    fill(&pool, volume, 14);
    let (name, info) = pool.exported(volume).await;
    let mut guest = NbdClient::connect(&info, 0).await.expect("connected");
    assert_refused(&pool.call(volume, take(new_id())).await, CauseKind::NoSpace);
    let truth = Truth { exists: true, size_gib: 1, exports: vec![name.clone()], ..Truth::default() };
    assert_eq!(pool.probe(volume).await, truth);
    assert_eq!(temporaries(&pool), 0);
    assert!(guest.write(0x11, 0).await && guest.reads(0x11, 0).await);
    assert_eq!(pool.unexport(volume, &name).await, Outcome::done());
    assert_refused(&pool.call(volume, take(new_id())).await, CauseKind::NoSpace);
    assert_eq!((temporaries(&pool), pool.probe(volume).await.snapshots.len()), (0, 0));
}

/// What a service that is killed in the midst of a copy leaves: a temporary, and a daemon that goes on writing it.
#[tokio::test]
async fn a_copy_that_a_killed_service_has_left_is_ended_by_the_next_one() {
    let mut pool = Pool::start_with(|options| options.daemons_per_pool = 1).await;
    let volume = pool.create(1).await;
    fill(&pool, volume, 20);
    let (name, info) = pool.exported(volume).await;
    let mut guest = NbdClient::connect(&info, 0).await.expect("connected");
    let call = Call { key: key(volume), request: take(new_id()) };
    let Request::CreateSnapshot { snapshot_id } = call.request else { unreachable!() };
    let temporary = pool.options.path.join(format!("{volume}.{snapshot_id}.{}.tmp", call.key.epoch));
    let options = pool.options.clone();
    let away = std::mem::replace(&mut pool.backend, hearth::drivers::file::FileBackend::open(options).expect("opened"));
    let gone = std::sync::Arc::downgrade(&away);
    drop(away);
    until("the old backend is gone", || async { gone.strong_count() == 0 }).await;
    fs::File::create(&temporary).and_then(|file| file.set_len(GIB)).expect("made");
    let (source, target) = (node('v', volume.0), node('c', snapshot_id.0));
    let mut qmp = Qmp::connect(&pool).await;
    let file = json!({"driver": "file", "filename": temporary});
    qmp.run("blockdev-add", json!({"driver": "raw", "node-name": target, "file": file})).await;
    // So slowly that it would never end.
    let job = json!({"job-id": target, "device": source, "target": target, "sync": "full", "speed": 1,
                     "copy-mode": "write-blocking", "auto-dismiss": false});
    qmp.run("blockdev-mirror", job).await;
    assert_eq!(qmp.run("query-jobs", json!({})).await.as_array().map(Vec::len), Some(1));
    drop(qmp);

    pool.restart().await;
    assert_eq!(temporaries(&pool), 0);
    assert_eq!(pool.open_at_daemons(), [pool.file(volume)], "the daemon has let go of the temporary");
    let truth = Truth { exists: true, size_gib: 1, exports: vec![name], ..Truth::default() };
    assert_eq!(pool.probe(volume).await, truth);
    assert!(guest.write(0x42, 0).await, "the guest noticed nothing");
    // Replayed under a new epoch.
    let again = Call { key: CallKey { epoch: call.key.epoch + 1000, ..call.key }, ..call };
    assert_eq!(within(pool.backend.clone().call(again)).await, Outcome::done());
    assert_eq!(blocks(&pool.snapshot_file(volume, snapshot_id)), blocks(&pool.file(volume)));
    assert_eq!(pool.open_at_daemons(), [pool.file(volume)]);
}

#[tokio::test]
async fn a_revert_that_was_killed_midway_has_changed_nothing_and_its_repetition_puts_the_volume_back_once() {
    let mut pool = Pool::start().await;
    let volume = pool.create(1).await;
    fill(&pool, volume, 2);
    let snapshot_id = new_id();
    assert_eq!(pool.call(volume, take(snapshot_id)).await, Outcome::done());
    let kept = blocks(&pool.file(volume));
    fill(&pool, volume, 4);
    let later = blocks(&pool.file(volume));
    let call = Call { key: key(volume), request: Request::RevertToSnapshot { snapshot_id } };
    // What a kill just before the rename leaves.
    let temporary = pool.options.path.join(format!("{volume}.{}.tmp", call.key.epoch));
    fs::copy(pool.snapshot_file(volume, snapshot_id), &temporary).expect("copied");
    let inode = fs::metadata(&temporary).expect("there").ino();
    let record = json!({"operation_id": call.key.operation_id, "inode": inode});
    let record_path = pool.options.state_dir.join("origins").join(format!("{volume}.revert.json"));
    fs::write(&record_path, record.to_string()).expect("written");
    pool.restart().await;
    assert_eq!((temporaries(&pool), blocks(&pool.file(volume))), (0, later));
    for epoch in [1000, 2000] {
        let again = Call { key: CallKey { epoch, ..call.key.clone() }, ..call.clone() };
        assert_eq!(within(pool.backend.clone().call(again)).await, Outcome::done());
        pool.restart().await;
        if epoch == 1000 {
            assert_eq!(blocks(&pool.file(volume)), kept);
            fill(&pool, volume, 3);
        }
    }
    assert_ne!(blocks(&pool.file(volume)), kept, "it was put back once");
    let mode = fs::metadata(pool.file(volume)).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let remove = Request::DeleteSnapshot { snapshot_id };
    assert_eq!(pool.call(volume, remove).await, Outcome::done());
    assert_eq!(pool.call(volume, Request::Delete).await, Outcome::done());
    assert!(!record_path.exists());
}

#[tokio::test]
async fn a_volume_that_was_put_back_is_served_with_its_new_contents() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let (first, info) = pool.exported(volume).await;
    let mut guest = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(guest.write(0x11, 0).await);
    let snapshot_id = new_id();
    assert_eq!(pool.call(volume, take(snapshot_id)).await, Outcome::done());
    assert!(guest.write(0x22, 0).await);
    let revert = Request::RevertToSnapshot { snapshot_id };
    assert_refused(&pool.call(volume, revert.clone()).await, CauseKind::Busy);
    assert_eq!(pool.unexport(volume, &first).await, Outcome::done());
    assert_eq!(pool.call(volume, revert).await, Outcome::done());
    let (_, info) = pool.exported(volume).await;
    let mut guest = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(guest.reads(0x11, 0).await);
    assert!(guest.write(0x33, 0).await);
    assert_eq!(pool.first_bytes(volume), [0x33; 4096], "it is the file of the volume's name");
}

#[tokio::test]
async fn a_snapshot_is_not_deleted_while_it_is_read() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=2500m").await else { return };
    let volume = pool.create(1).await;
    fill(&pool, volume, MUCH_MIB);
    let snapshot_id = new_id();
    assert_eq!(pool.call(volume, take(snapshot_id)).await, Outcome::done());
    let made = VolumeId(Uuid::new_v4());
    let from = Request::CreateVolumeFromSnapshot { source_volume_id: volume, snapshot_id, size_gib: 1 };
    let remove = Request::DeleteSnapshot { snapshot_id };
    for (of, request, outcome) in
        [(made, from, sized(1)), (volume, Request::RevertToSnapshot { snapshot_id }, Outcome::done())]
    {
        let call = Call { key: key(of), request };
        let mut answer = pool.backend.clone().call(call.clone());
        while pool.backend.progress(&call.key).is_none_or(|progress| progress.done == 0) {
            assert!(futures_util::poll!(&mut answer).is_pending(), "it has ended before it was seen");
            tokio::task::yield_now().await;
        }
        assert_refused(&pool.call(volume, remove.clone()).await, CauseKind::Busy);
        assert_eq!(pool.unexport(volume, &export_name()).await, Outcome::done(), "a fence goes through");
        assert!(futures_util::poll!(&mut answer).is_pending(), "all of it meanwhile");
        assert_eq!(within(answer).await, outcome);
    }
    assert_eq!(pool.call(volume, remove).await, Outcome::done());
    assert_eq!(blocks(&pool.file(made)), blocks(&pool.file(volume)));
}

#[tokio::test]
async fn snapshots_of_volumes_that_are_gone_are_in_the_inventory() {
    let pool = Pool::start().await;
    let (volume, snapshot) = (VolumeId(Uuid::new_v4()), new_id());
    fs::write(pool.snapshot_file(volume, snapshot), "left behind").expect("written");
    let truth = Truth { snapshots: vec![snapshot], ..Truth::default() };
    assert_eq!(within(pool.backend.clone().inventory()).await.expect("listed"), [(volume, truth.clone())]);
    assert_eq!(pool.probe(volume).await, truth);
    let remove = Request::DeleteSnapshot { snapshot_id: snapshot };
    assert_eq!(pool.call(volume, remove).await, Outcome::done());
    assert_eq!(within(pool.backend.clone().inventory()).await.expect("listed"), []);
}

/// A daemon's QMP socket, without the driver.
struct Qmp {
    lines: BufReader<tokio::net::UnixStream>,
}

impl Qmp {
    async fn connect(pool: &Pool) -> Self {
        let stream = tokio::net::UnixStream::connect(pool.options.state_dir.join("0/qmp.sock")).await;
        let mut qmp = Self { lines: BufReader::new(stream.expect("connected")) };
        qmp.message().await;
        qmp.run("qmp_capabilities", json!({})).await;
        qmp
    }

    async fn run(&mut self, command: &str, arguments: Value) -> Value {
        let line = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        self.lines.get_mut().write_all(line.as_bytes()).await.expect("written");
        loop {
            let mut message = self.message().await;
            if message.get("event").is_none() {
                assert!(message.get("error").is_none(), "{command}: {message}");
                return message["return"].take();
            }
        }
    }

    async fn message(&mut self) -> Value {
        let mut line = String::new();
        within(self.lines.read_line(&mut line)).await.expect("read");
        serde_json::from_str(&line).expect("JSON")
    }
}

/// The name that the driver gives to a node: a letter and the id in base 36.
fn node(letter: char, id: Uuid) -> String {
    let mut rest = id.as_u128();
    let digits: Vec<char> = (0..25)
        .map(|_| {
            let digit = u32::try_from(rest % 36).expect("below 36");
            rest /= 36;
            char::from_digit(digit, 36).expect("a digit")
        })
        .collect();
    format!("{letter}{}", digits.iter().rev().collect::<String>())
}
