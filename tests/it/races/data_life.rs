//! The life of a volume's data: written, kept in a snapshot, reverted, cloned, and removed with all that came of it; with a
//! crash at every commit and on each side of every driver call, and with every kind of driver call lost, doubled, failed or
//! hung. Each run ends with records and backend in agreement, and everything can be removed by its owner.

use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{SnapshotId, VolumeId};
use hearth::domain::status::{SnapshotStatus, VolumeStatus};
use hearth::domain::volume::Command;
use hearth::drivers::sim::{Fault, FaultRule, When};
use hearth::sim::{WorldOptions, simulate};

use super::crashes::{self, Life};
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
    fn volumes(self) -> [VolumeId; 3] {
        [self.copy, self.clone, self.volume]
    }
}

impl Life for Things {
    fn new(client: &Client<'_>) -> Self {
        let id = || client.world.volume_id();
        Self { volume: id(), clone: id(), copy: id(), first: client.snapshot_id(), second: client.snapshot_id() }
    }

    async fn live(&mut self, client: &Client<'_>) -> Option<()> {
        let Things { volume, clone, copy, first, second } = *self;
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
        for id in self.volumes() {
            accepted(Some(client.cascade(id).await?));
            client.wait_gone(id).await?;
        }
        Some(())
    }

    async fn aftermath(&self, client: &Client<'_>) {
        for id in self.volumes() {
            let Some(state) = client.view(id).await else { continue };
            assert!(!state.volume.status.is_error(), "no fault put the volume into {}", state.volume.status);
            accepted(client.cascade(id).await);
            client.wait_gone(id).await.expect("alive");
        }
    }
}

#[test]
fn r92_r96_crash_before_and_after_every_commit_settles_by_itself() {
    crashes::at_every_commit::<Things>(27);
}

#[test]
fn r96_crash_on_each_side_of_every_driver_call_settles_by_itself() {
    crashes::around_every_call::<Things>(11);
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
