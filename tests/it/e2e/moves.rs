//! A real guest's disk, moved to another backend while the guest writes: nothing is lost, and whatever goes wrong the guest goes
//! on where it was.

use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use futures_util::future::BoxFuture;
use hearth::domain::attachment::AttachMode;
use hearth::domain::backend::{Call, CauseKind, Outcome, Request};
use hearth::domain::ids::{AttachmentId, ExportName, VolumeId};
use serde_json::Value;

use super::guest::Machine;
use super::hearth::wait_until;
use super::plug::{Host, attachment};
use super::writer::Writer;
use crate::drivers::file::clone::{CopyingPool, copying_pool, fill};
use crate::drivers::file::{
    GIB, Pool, assert_failed, assert_refused, connection, daemon_pids, export_name, key, kill, signal, sized, within,
};

/// Data beside the guest's records.
const BESIDE_MIB: u64 = 200;

/// Blocks of 512 bytes that a copy may take beyond its source: the file system's own, and records that share a block.
const BLOCKS_BESIDE: u64 = 256;

/// A guest with a disk, and another pool with the place for it.
struct Moving {
    host: Host,
    to: Pool,
    volume: VolumeId,
    attachment: AttachmentId,
    old: ExportName,
    new: ExportName,
    info: Value,
}

impl Moving {
    /// The disk has data, and the guest writes to it.
    async fn start(to: Pool, mode: AttachMode) -> Self {
        let mut host = Host::start(Machine::Pc).await;
        let volume = host.pool.create(1).await;
        fill(&host.pool, volume, BESIDE_MIB);
        let (attachment, old) = (attachment(), export_name());
        let info = connection(host.pool.export(volume, &old, mode).await);
        assert_eq!(host.plug(volume, attachment, &info).await, Outcome::done());
        host.guest.until("[ -b /dev/vda ]").await;
        if mode == AttachMode::ReadWrite {
            Writer::start(&mut host.guest).await;
        }
        let (new, info) = place(&to, volume).await;
        Self { host, to, volume, attachment, old, new, info }
    }

    async fn writing() -> Self {
        Self::start(Pool::start().await, AttachMode::ReadWrite).await
    }

    fn mirror_call(&self) -> Call {
        let request = Request::MirrorGuest {
            attachment_id: self.attachment,
            connection_info: self.info.clone().into(),
            mode: AttachMode::ReadWrite,
        };
        Call { key: key(self.volume), request }
    }

    async fn mirror(&self) -> Outcome {
        within(self.host.begin(&self.mirror_call())).await
    }

    async fn pivot(&self) -> Outcome {
        let (attachment_id, connection_info) = (self.attachment, self.info.clone().into());
        self.host.call(self.volume, Request::PivotGuest { attachment_id, connection_info }).await
    }

    async fn unmirror(&self) -> Outcome {
        let (attachment_id, connection_info) = (self.attachment, self.info.clone().into());
        self.host.call(self.volume, Request::UnmirrorGuest { attachment_id, connection_info }).await
    }

    async fn unplug(&self) -> Outcome {
        self.host.call(self.volume, Request::Unplug { attachment_id: self.attachment }).await
    }

    /// A mirror that is under way, and goes on so slowly that it does not end by itself.
    async fn mirror_under_way(&mut self) -> (Call, BoxFuture<'static, Outcome>) {
        let call = self.mirror_call();
        let mut answer = self.host.begin(&call);
        let slow = async {
            loop {
                let jobs = self.host.guest.monitor("info block-jobs").await;
                if let Some((_, job)) = jobs.split_once("device ") {
                    let name = job.split(':').next().expect("a name");
                    self.host.guest.monitor(&format!("block_job_set_speed {name} 1M")).await;
                    return;
                }
            }
        };
        tokio::select! {
            outcome = &mut answer => panic!("it has ended before it was seen: {outcome:?}"),
            () = within(slow) => {}
        }
        (call, answer)
    }

    fn signal_destination(&self, number: i32) {
        self.to.daemon_pids().into_iter().for_each(|pid| signal(pid, number));
    }

    /// The guest writes on, on the old connection, and its hypervisor has no other one of this disk.
    async fn assert_on_the_old_one_only(&mut self) {
        assert_eq!(self.host.probe(self.volume, self.attachment).await, (true, Some(self.old.clone())));
        self.assert_no_trace_of(&self.new.clone()).await;
        Writer::advance(&mut self.host.guest).await;
    }

    async fn assert_no_trace_of(&self, export: &ExportName) {
        let nodes = self.host.guest.monitor("info block -n").await;
        assert!(!nodes.contains(export.as_str()), "{nodes}");
        let jobs = self.host.guest.monitor("info block-jobs").await;
        assert!(jobs.contains("No active jobs"), "{jobs}");
    }

    /// The guest's last records are in the file of `pool`.
    async fn stop_and_check(&mut self, old_pool: bool) {
        let safe = Writer::stop(&mut self.host.guest).await;
        let pool = if old_pool { &self.host.pool } else { &self.to };
        Writer::check(&pool.file(self.volume), safe);
    }
}

/// A blank volume and its export.
async fn place(pool: &Pool, volume: VolumeId) -> (ExportName, Value) {
    assert_eq!(pool.call(volume, Request::CreateMirrorTarget { size_gib: 1 }).await, sized(1));
    pool.exported(volume).await
}

fn blocks_taken(pool: &Pool, volume: VolumeId) -> u64 {
    std::fs::metadata(pool.file(volume)).expect("there").blocks()
}

#[tokio::test]
async fn a_disk_moves_while_its_guest_writes_and_lives_on_there() {
    let mut moving = Moving::writing().await;
    let (volume, attachment) = (moving.volume, moving.attachment);
    let before = blocks_taken(&moving.host.pool, volume);
    let call = moving.mirror_call();
    let begun = Instant::now();
    let mut answer = moving.host.begin(&call);
    let mut seen = Vec::new();
    let outcome = loop {
        tokio::select! {
            outcome = &mut answer => break outcome,
            () = tokio::task::yield_now() => seen.extend(moving.host.progress(&call)),
        }
    };
    assert_eq!(outcome, Outcome::done());
    eprintln!("{BESIDE_MIB} MiB of a disk with 1 GiB were level after {:?}", begun.elapsed());
    assert!(seen.is_sorted_by_key(|progress| progress.done) && seen.last().is_some_and(|progress| progress.total > 0));
    assert_eq!(moving.host.progress(&call), None);
    let safe = Writer::advance(&mut moving.host.guest).await;
    for pool in [&moving.host.pool, &moving.to] {
        Writer::check(&pool.file(volume), safe);
    }
    assert_eq!(moving.host.probe(volume, attachment).await, (true, Some(moving.old.clone())), "not moved yet");
    assert_eq!(moving.mirror().await, Outcome::done(), "level already");

    let begun = Instant::now();
    assert_eq!(moving.pivot().await, Outcome::done());
    eprintln!("the guest was moved after {:?}", begun.elapsed());
    assert_eq!(moving.host.probe(volume, attachment).await, (true, Some(moving.new.clone())));
    moving.assert_no_trace_of(&moving.old.clone()).await;
    let left = std::fs::metadata(moving.host.pool.file(volume)).expect("there").modified().expect("known");
    Writer::advance(&mut moving.host.guest).await;
    for again in [moving.pivot().await, moving.mirror().await] {
        assert_eq!(again, Outcome::done());
    }
    assert_refused(&moving.unmirror().await, CauseKind::Guest);
    assert_eq!(moving.host.probe(volume, attachment).await, (true, Some(moving.new.clone())));
    assert_eq!(moving.host.pool.unexport(volume, &moving.old).await, Outcome::done());

    let safe = Writer::stop(&mut moving.host.guest).await;
    Writer::check(&moving.to.file(volume), safe);
    let end = std::fs::metadata(moving.host.pool.file(volume)).expect("there").modified().expect("known");
    assert_eq!(end, left, "nobody writes to the old file any more");
    let after = blocks_taken(&moving.to, volume);
    eprintln!("{after} blocks at the destination, {before} at the source before");
    assert!(after <= before + BLOCKS_BESIDE, "holes are kept: {after} blocks of {before}");

    // It grows there, moves once more, to a third pool, and goes.
    assert_eq!(moving.to.call(volume, Request::Extend { new_size_gib: 2 }).await, sized(2));
    let resize = Request::ResizeGuest { attachment_id: attachment, new_size_gib: 2 };
    assert_eq!(moving.host.call(volume, resize).await, Outcome::done());
    moving.host.guest.until(&format!("[ $(cat /sys/block/vda/size) = {} ]", 2 * GIB / 512)).await;
    let third = Pool::start().await;
    assert_eq!(third.call(volume, Request::CreateMirrorTarget { size_gib: 2 }).await, sized(2));
    (moving.old, (moving.new, moving.info)) = (moving.new.clone(), third.exported(volume).await);
    let second = std::mem::replace(&mut moving.to, third);
    Writer::start(&mut moving.host.guest).await;
    assert_eq!(moving.mirror().await, Outcome::done());
    assert_eq!(moving.pivot().await, Outcome::done());
    assert_eq!(moving.host.probe(volume, attachment).await, (true, Some(moving.new.clone())));
    assert_eq!(second.unexport(volume, &moving.old).await, Outcome::done());
    Writer::advance(&mut moving.host.guest).await;
    moving.stop_and_check(false).await;
    assert_eq!(moving.unplug().await, Outcome::done());
    moving.host.guest.until("[ ! -e /dev/vda ]").await;
    assert_eq!(moving.host.probe(volume, attachment).await, (false, None));
    moving.assert_no_trace_of(&moving.new.clone()).await;
}

/// How an administrator calls a migration off, before and after the disks are level.
#[tokio::test]
async fn a_mirror_that_is_called_off_leaves_the_guest_where_it_was() {
    let mut moving = Moving::writing().await;
    assert_eq!(moving.unmirror().await, Outcome::done(), "there is none");
    let (call, answer) = moving.mirror_under_way().await;
    assert_refused(&moving.pivot().await, CauseKind::Guest);
    let (mirrored, stopped) = tokio::join!(within(answer), moving.unmirror());
    assert_eq!(stopped, Outcome::done());
    assert_failed(&mirrored, CauseKind::Guest);
    moving.assert_on_the_old_one_only().await;
    assert_failed(&within(moving.host.begin(&call)).await, CauseKind::Guest);
    assert_refused(&moving.pivot().await, CauseKind::Guest);
    moving.assert_on_the_old_one_only().await;

    assert_eq!(moving.mirror().await, Outcome::done(), "a later one may begin");
    assert_eq!(moving.unmirror().await, Outcome::done());
    moving.assert_on_the_old_one_only().await;
    moving.stop_and_check(true).await;
}

#[tokio::test]
async fn what_a_dead_service_has_begun_is_found_and_goes_on() {
    let mut moving = Moving::writing().await;
    let (call, answer) = moving.mirror_under_way().await;
    drop(answer);
    moving.host.restart();
    // The same call finds it under way, and another one ends it.
    let mut again = moving.host.begin(&call);
    tokio::select! {
        outcome = &mut again => panic!("the mirror is slow: {outcome:?}"),
        () = wait_until("the mirror's progress is seen again", async || moving.host.progress(&call).is_some()) => {}
    }
    drop(again);
    moving.host.restart();
    assert_eq!(moving.unmirror().await, Outcome::done());
    moving.assert_on_the_old_one_only().await;

    assert_eq!(moving.mirror().await, Outcome::done());
    moving.host.restart();
    assert_eq!(moving.host.probe(moving.volume, moving.attachment).await, (true, Some(moving.old.clone())));
    assert_eq!(moving.mirror().await, Outcome::done());
    assert_eq!(moving.pivot().await, Outcome::done());
    moving.host.restart();
    assert_eq!(moving.host.probe(moving.volume, moving.attachment).await, (true, Some(moving.new.clone())));
    assert_eq!(moving.pivot().await, Outcome::done(), "it has been moved");
    Writer::advance(&mut moving.host.guest).await;
    moving.stop_and_check(false).await;
}

/// A pivot whose answer nobody hears, as often as the moment of it can be met.
#[tokio::test]
async fn a_pivot_that_nobody_waits_for_is_settled_by_its_repetition() {
    let mut moving = Moving::writing().await;
    let mut left_behind = Vec::new();
    for polls in [1, 3, 6, 10, 20, 40] {
        assert_eq!(moving.mirror().await, Outcome::done());
        let (attachment_id, connection_info) = (moving.attachment, moving.info.clone().into());
        let request = Request::PivotGuest { attachment_id, connection_info };
        let mut left = moving.host.begin(&Call { key: key(moving.volume), request });
        for _ in 0..polls {
            if futures_util::poll!(&mut left).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(left);
        moving.host.restart();
        let (plugged, export) = moving.host.probe(moving.volume, moving.attachment).await;
        assert!(plugged && [&moving.old, &moving.new].into_iter().any(|one| Some(one) == export.as_ref()));
        // Whatever the interrupted one did, the repetition moves the guest, or says that it is where it was.
        match moving.pivot().await {
            Outcome::Refused { .. } => {
                assert_eq!(moving.mirror().await, Outcome::done());
                assert_eq!(moving.pivot().await, Outcome::done());
            }
            outcome => assert_eq!(outcome, Outcome::done()),
        }
        moving.assert_no_trace_of(&moving.old.clone()).await;
        Writer::advance(&mut moving.host.guest).await;
        let next = Pool::start().await;
        (moving.old, (moving.new, moving.info)) = (moving.new.clone(), place(&next, moving.volume).await);
        left_behind.push(std::mem::replace(&mut moving.to, next));
    }
    let safe = Writer::stop(&mut moving.host.guest).await;
    Writer::check(&left_behind.pop().expect("six").file(moving.volume), safe);
}

#[tokio::test]
async fn a_destination_without_room_costs_the_guest_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let Some(CopyingPool { pool, _mounted }) = copying_pool(root.path(), "size=24m").await else { return };
    let mut moving = Moving::start(pool, AttachMode::ReadWrite).await;
    assert_refused(&moving.mirror().await, CauseKind::NoSpace);
    moving.assert_on_the_old_one_only().await;
    moving.stop_and_check(true).await;
}

#[tokio::test]
async fn the_mirror_outlives_the_destinations_daemon_and_ends_when_the_destination_is_gone() {
    let mut moving = Moving::writing().await;
    let (_, answer) = moving.mirror_under_way().await;
    let dead = moving.to.daemon_pids();
    dead.iter().copied().for_each(kill);
    wait_until("there is another daemon", async || {
        let now = daemon_pids(&moving.to.options.state_dir);
        !now.is_empty() && now.iter().all(|pid| !dead.contains(pid))
    })
    .await;
    Writer::advance(&mut moving.host.guest).await;
    // Its writes wait while the client tries to connect again, and then they are written where they belong.
    assert_eq!(moving.to.unexport(moving.volume, &moving.new).await, Outcome::done());
    assert_failed(&within(answer).await, CauseKind::Unavailable);
    moving.assert_on_the_old_one_only().await;
    moving.stop_and_check(true).await;
}

/// QEMU waits for a destination that hangs, with its whole guest, if one makes it. Nobody does: the guest's writes wait until the
/// destination answers again, or its daemon is killed, and nothing else of the guest.
#[tokio::test]
async fn a_destination_that_hangs_holds_up_the_disks_writes_only_and_the_mirror_is_stopped_when_it_answers() {
    let mut moving = Moving::writing().await;
    let (_, answer) = moving.mirror_under_way().await;
    moving.signal_destination(libc::SIGSTOP);
    let (mirrored, stopped) = tokio::join!(within(answer), moving.unmirror());
    assert_failed(&mirrored, CauseKind::Guest);
    assert!(matches!(stopped, Outcome::Unknown { .. }), "{stopped:?}");
    assert!(moving.host.guest.run("true").await.1 && moving.host.plugged(moving.volume, moving.attachment).await);
    moving.signal_destination(libc::SIGCONT);
    assert_eq!(moving.unmirror().await, Outcome::done());
    moving.assert_on_the_old_one_only().await;

    assert_eq!(moving.mirror().await, Outcome::done());
    moving.signal_destination(libc::SIGSTOP);
    assert_failed(&moving.pivot().await, CauseKind::Unavailable);
    assert_eq!(moving.host.probe(moving.volume, moving.attachment).await, (true, Some(moving.old.clone())));
    moving.signal_destination(libc::SIGCONT);
    assert_eq!(moving.unmirror().await, Outcome::done());
    moving.assert_on_the_old_one_only().await;

    moving.signal_destination(libc::SIGSTOP);
    assert_failed(&moving.mirror().await, CauseKind::Unavailable);
    moving.assert_on_the_old_one_only().await;
    moving.stop_and_check(true).await;
}

#[tokio::test]
async fn an_unplug_ends_the_mirror_of_the_disk() {
    let mut moving = Moving::writing().await;
    let (_, answer) = moving.mirror_under_way().await;
    Writer::stop(&mut moving.host.guest).await;
    let (mirrored, unplugged) = tokio::join!(within(answer), moving.unplug());
    assert_eq!(unplugged, Outcome::done());
    assert_failed(&mirrored, CauseKind::Guest);
    moving.assert_no_trace_of(&moving.old.clone()).await;
    moving.assert_no_trace_of(&moving.new.clone()).await;
    assert_refused(&moving.mirror().await, CauseKind::Guest);
    assert_refused(&moving.pivot().await, CauseKind::Guest);
    assert_eq!(moving.unmirror().await, Outcome::done());
}

#[tokio::test]
async fn a_read_only_disk_moves_and_stays_read_only() {
    let mut moving = Moving::start(Pool::start().await, AttachMode::ReadOnly).await;
    assert_eq!(moving.mirror().await, Outcome::done());
    assert_eq!(moving.pivot().await, Outcome::done());
    assert_eq!(moving.host.probe(moving.volume, moving.attachment).await, (true, Some(moving.new.clone())));
    assert_eq!(moving.host.guest.run("cat /sys/block/vda/ro").await.0, "1");
    let nodes = moving.host.guest.monitor("info block").await;
    assert!(nodes.contains("read-only"), "{nodes}");
    let (read, _) = moving.host.guest.run("dd if=/dev/vda bs=1M skip=8 count=8 2>/dev/null | md5sum").await;
    let file = |pool: &Pool| std::fs::read(pool.file(moving.volume)).expect("read");
    assert!(file(&moving.host.pool) == file(&moving.to) && read.len() > 32);
}

#[tokio::test]
async fn a_destination_that_cannot_be_reached_is_not_moved_to() {
    let mut moving = Moving::writing().await;
    let info = std::mem::take(&mut moving.info);
    moving.info = info.clone();
    moving.info["export"] = "nothing".into();
    assert_failed(&moving.mirror().await, CauseKind::Unavailable);
    moving.info["driver_volume_type"] = "iscsi".into();
    assert_refused(&moving.mirror().await, CauseKind::Guest);
    moving.info = info;
    moving.assert_on_the_old_one_only().await;
    moving.stop_and_check(true).await;
}
