//! The life of a volume's data: written, kept in a snapshot, reverted, cloned, and removed with all that came of it; with a
//! crash at every commit and on each side of every driver call, and with every kind of driver call lost, doubled, failed or
//! hung. Each run ends with records and backend in agreement, and everything can be removed by its owner.

use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{SnapshotId, VolumeId};
use hearth::domain::status::{SnapshotStatus, VolumeStatus};
use hearth::domain::volume::Command;
use hearth::drivers::sim::{Fault, FaultRule, When};
use hearth::sim::{CallSide, Node, World, WorldOptions, simulate};
use hearth::store::InlineFault;

use super::scenario::{Client, PATIENCE, accepted};

/// What the life makes.
#[derive(Clone, Copy)]
struct Things {
    volume: VolumeId,
    clone: VolumeId,
    copy: VolumeId,
    first: SnapshotId,
    second: SnapshotId,
}

impl Things {
    fn new(client: &Client<'_>) -> Self {
        let id = || client.world.volume_id();
        Self { volume: id(), clone: id(), copy: id(), first: client.snapshot_id(), second: client.snapshot_id() }
    }

    fn volumes(self) -> [VolumeId; 3] {
        [self.copy, self.clone, self.volume]
    }
}

/// None: the process died on the way.
async fn life(client: &Client<'_>, things: Things) -> Option<()> {
    let Things { volume, clone, copy, first, second } = things;
    accepted(Some(client.create(volume, 1).await?));
    client.wait(volume, VolumeStatus::Available).await?;
    accepted(Some(client.snapshot(volume, first).await?));
    client.wait_snapshot(volume, first, SnapshotStatus::Available).await?;
    accepted(Some(client.create_from(clone, volume, None).await?));
    client.wait(clone, VolumeStatus::Available).await?;
    accepted(Some(client.create_from(copy, volume, Some(first)).await?));
    accepted(Some(client.snapshot(volume, second).await?));
    client.wait_snapshot(volume, second, SnapshotStatus::Available).await?;
    client.wait(copy, VolumeStatus::Available).await?;
    accepted(Some(client.revert(volume, second).await?));
    client.wait(volume, VolumeStatus::Available).await?;
    accepted(Some(client.snapshot_delete(volume, first).await?));
    client.node.settle(PATIENCE).await?;
    for id in things.volumes() {
        accepted(Some(client.cascade(id).await?));
        client.wait_gone(id).await?;
    }
    Some(())
}

/// After a crash everything settles by itself; then the owner removes what is there.
async fn aftermath(world: &World, things: Things) {
    world.crash_plan.disarm();
    world.store().set_fault_hook(None);
    let node = world.start().await;
    let client = Client::new(world, &node);
    client.assert_clean().await;
    for id in things.volumes() {
        let Some(state) = client.view(id).await else { continue };
        assert!(!state.volume.status.is_error(), "no fault put the volume into {}", state.volume.status);
        accepted(client.cascade(id).await);
        client.wait_gone(id).await.expect("alive");
    }
    client.assert_clean().await;
}

/// A life without faults; how many commits and driver calls it has.
fn measure() -> (u64, u64) {
    simulate(WorldOptions::seeded(1), async |world| {
        let commits = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = commits.clone();
        world.store().set_fault_hook(Some(Box::new(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            InlineFault::None
        })));
        world.crash_plan.arm(u64::MAX, CallSide::Before, || {});
        let node = world.start().await;
        let client = Client::new(world, &node);
        life(&client, Things::new(&client)).await.expect("nobody dies");
        client.assert_clean().await;
        (commits.load(std::sync::atomic::Ordering::SeqCst), world.crash_plan.calls())
    })
}

#[test]
fn r92_r96_crash_before_and_after_every_commit_settles_by_itself() {
    let (commits, _) = measure();
    assert!(commits > 20, "{commits} commits");
    for nth in 1..=commits {
        for fault in [InlineFault::CrashBefore, InlineFault::CrashAfter] {
            simulate(WorldOptions::seeded(nth), async |world| {
                let mut seen = 0;
                world.store().set_fault_hook(Some(Box::new(move |_| {
                    seen += 1;
                    if seen == nth { fault } else { InlineFault::None }
                })));
                let node = world.start().await;
                let things = run_until_death(world, &node, nth).await;
                node.crash();
                aftermath(world, things).await;
            });
        }
    }
}

#[test]
fn r96_crash_on_each_side_of_every_driver_call_settles_by_itself() {
    let (_, calls) = measure();
    assert!(calls > 8, "{calls} driver calls");
    for nth in 1..=calls {
        for side in [CallSide::Before, CallSide::After] {
            simulate(WorldOptions::seeded(nth), async |world| {
                let node = world.start().await;
                let store = world.store();
                world.crash_plan.arm(nth, side, move || store.crash());
                let things = run_until_death(world, &node, nth).await;
                node.crash();
                aftermath(world, things).await;
            });
        }
    }
}

async fn run_until_death(world: &World, node: &Node, nth: u64) -> Things {
    let client = Client::new(world, node);
    let things = Things::new(&client);
    assert!(life(&client, things).await.is_none(), "commit or call {nth} was never reached");
    things
}

const REQUESTS: [&str; 7] = [
    "create",
    "create_snapshot",
    "create_cloned_volume",
    "create_volume_from_snapshot",
    "revert_to_snapshot",
    "delete_snapshot",
    "delete",
];

/// The requests of a life, whatever becomes of each; then the owner removes everything, once the backend works again.
fn life_with(rules: Vec<FaultRule>, what: &str) {
    simulate(WorldOptions::seeded(7), async |world| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let things = Things::new(&client);
        world.backend().faults().set(rules).expect("the rules make sense");
        let Things { volume, clone, copy, first, second } = things;
        let quiet = async || {
            for id in things.volumes() {
                client
                    .node
                    .until(id, PATIENCE, |state| state.is_none_or(|state| state.operations.is_empty()))
                    .await
                    .expect("alive");
            }
        };
        drop(client.create(volume, 1).await);
        quiet().await;
        drop(client.snapshot(volume, first).await);
        drop(client.create_from(clone, volume, None).await);
        quiet().await;
        drop(client.create_from(copy, volume, Some(first)).await);
        drop(client.snapshot(volume, second).await);
        quiet().await;
        drop(client.revert(volume, second).await);
        quiet().await;
        drop(client.snapshot_delete(volume, first).await);
        quiet().await;
        drop(client.cascade(volume).await);
        quiet().await;
        world.backend().faults().clear();
        world.backend().faults().release(None);
        for _ in 0..3 {
            client.node.settle(PATIENCE).await.expect("alive");
            for id in things.volumes() {
                drop(client.ask(id, Command::Delete { force: true, cascade: true }).await);
            }
        }
        client.assert_clean().await;
        for id in things.volumes() {
            let left = client.view(id).await;
            assert!(left.is_none(), "{what}: the volume cannot be removed: {left:#?}");
        }
    });
}

#[test]
fn every_call_twice_lost_failed_or_hung_leaves_nothing_that_the_owner_cannot_remove() {
    let kind = CauseKind::Other;
    let faults = [
        Fault::Twice { after_us: 300_000 },
        Fault::AnswerLost,
        Fault::NothingDone,
        Fault::Fail { kind },
        Fault::Refuse { kind },
        Fault::Refuse { kind: CauseKind::Busy },
        Fault::Hang { effect_first: true },
        Fault::Hang { effect_first: false },
    ];
    for request in REQUESTS {
        for fault in &faults {
            let once = FaultRule::on(request, fault.clone()).when(When::Nth { n: 1 });
            life_with(vec![once], &format!("{request} {fault:?}"));
        }
        let hung = |request| FaultRule::once(request, Fault::Hang { effect_first: true });
        let probe = FaultRule::on("probe", Fault::Hang { effect_first: false });
        life_with(vec![hung(request), probe], &format!("{request} and its probe hang"));
    }
}
