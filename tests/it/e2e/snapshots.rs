//! Snapshots of a disk that a real guest writes to.

use hearth::domain::backend::{Outcome, Request};
use hearth::domain::ids::{SnapshotId, VolumeId};
use hearth::drivers::Backend;
use uuid::Uuid;

use super::guest::Machine;
use super::plug::{Host, attachment};
use super::writer::Writer;
use crate::drivers::file::clone::fill;
use crate::drivers::file::snapshots::pool_that_shares;
use crate::drivers::file::{Pool, sized};

/// Data beside the records, so that a copy takes its time.
const BESIDE_MIB: u64 = 200;

/// Snapshots that are taken while the guest writes.
const SNAPSHOTS: usize = 4;

/// A guest writes numbered records, each flushed before the next, while snapshots are taken of its disk. A volume that is made
/// from one holds every record that was safe before the call, and none after a gap.
async fn snapshots_hold_what_was_flushed_before_them(pool: Pool) {
    let mut host = Host::start_at(pool, Machine::Pc).await;
    let volume = host.pool.create(1).await;
    fill(&host.pool, volume, BESIDE_MIB);
    let (_, info) = host.pool.exported(volume).await;
    assert_eq!(host.plug(volume, attachment(), &info).await, Outcome::done());
    host.guest.until("[ -b /dev/vda ]").await;
    Writer::start(&mut host.guest).await;

    let mut taken = Vec::new();
    for _ in 0..SNAPSHOTS {
        let safe = Writer::advance(&mut host.guest).await;
        let snapshot_id = SnapshotId(Uuid::new_v4());
        assert_eq!(host.pool.call(volume, Request::CreateSnapshot { snapshot_id }).await, Outcome::done());
        taken.push((snapshot_id, safe));
    }
    Writer::advance(&mut host.guest).await;
    let last = Writer::stop(&mut host.guest).await;
    Writer::check(&host.pool.file(volume), last);

    let mut before = 0;
    for (snapshot_id, safe) in taken {
        let made = VolumeId(Uuid::new_v4());
        let request = Request::CreateVolumeFromSnapshot { source_volume_id: volume, snapshot_id, size_gib: 1 };
        assert_eq!(host.pool.call(made, request).await, sized(1));
        let held = Writer::check_prefix(&host.pool.file(made), last);
        assert!((safe.max(before)..last).contains(&held), "{held} records, of which {safe} were safe before the call");
        before = held;
        eprintln!("{safe} records were safe before the call, the snapshot holds {held} of {last}");
    }

    // And the other way round: the guest sees the disk of the last snapshot beside its own.
    let made = VolumeId(Uuid::new_v4());
    let (snapshot_id, first_lost) = (SnapshotId(Uuid::new_v4()), last + 1);
    assert_eq!(host.pool.call(volume, Request::CreateSnapshot { snapshot_id }).await, Outcome::done());
    let request = Request::CreateVolumeFromSnapshot { source_volume_id: volume, snapshot_id, size_gib: 1 };
    assert_eq!(host.pool.call(made, request).await, sized(1));
    let (_, info) = host.pool.exported(made).await;
    assert_eq!(host.plug(made, attachment(), &info).await, Outcome::done());
    host.guest.until("[ -b /dev/vdb ]").await;
    let compare = format!("dd if=/dev/vda bs=512 count={first_lost} 2>/dev/null | md5sum");
    let of_volume = host.guest.run(&compare).await;
    assert_eq!(host.guest.run(&compare.replace("vda", "vdb")).await, of_volume);
}

#[tokio::test]
async fn a_snapshot_by_the_storage_daemon_holds_what_the_guest_has_flushed() {
    let pool = Pool::start().await;
    if pool.backend.capabilities().reflink {
        eprintln!("not tested: the file system of temporary files shares blocks");
        return;
    }
    snapshots_hold_what_was_flushed_before_them(pool).await;
}

#[tokio::test]
async fn a_snapshot_of_shared_blocks_holds_what_the_guest_has_flushed() {
    let Some((pool, _mounted)) = pool_that_shares(|_| {}).await else { return };
    snapshots_hold_what_was_flushed_before_them(pool).await;
}
