//! `spec/races.md` §2.3 and §2.4: extend, size, quota, delete.

use std::time::Duration;

use hearth::domain::backend::CauseKind;
use hearth::domain::ids::ProjectId;
use hearth::domain::quota::{Limits, OverQuota};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Command, Refusal};
use hearth::drivers::sim::{Fault, FaultRule, Latency};
use hearth::sim::{CallSide, World, WorldOptions, simulate};
use hearth::store::Store;

use super::scenario::{Client, PATIENCE, accepted, alive, in_world, refusal};

#[test]
fn r45_two_extends_and_one_wins() {
    for seed in 0..10 {
        in_world(seed, async |client| {
            let id = client.available(1).await;
            let (first, second) = futures_util::join!(client.extend(id, 2), client.extend(id, 3));
            accepted(first);
            refusal(second);
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            assert_eq!(alive(client.view(id).await).volume.size_gib, 2);
            client.assert_clean().await;
            let smaller = refusal(client.extend(id, 2).await);
            assert!(matches!(smaller, Refusal::InvalidInput(_)), "R-100: the same size again is a 400");
        });
    }
}

#[test]
fn r46_a_failed_extend_releases_its_quota_and_keeps_the_size() {
    in_world(46, async |client| {
        let id = client.available(1).await;
        let rule = FaultRule::on("extend", Fault::Fail { kind: CauseKind::Other });
        client.world.backend().faults().set(vec![rule]).expect("rules");
        accepted(client.extend(id, 5).await);
        client.wait(id, VolumeStatus::ErrorExtending).await.expect("alive");
        assert_eq!(alive(client.view(id).await).volume.size_gib, 1);
        client.assert_clean().await;
        let usage = client.world.store_now().usage(ProjectId::from("p")).await.expect("reads");
        assert_eq!((usage.gigabytes, usage.reserved_gigabytes), (1, 0));
    });
}

#[test]
fn r46_a_full_backend_gives_the_volume_back() {
    in_world(461, async |client| {
        let id = client.available(1).await;
        let rule = FaultRule::on("extend", Fault::Refuse { kind: CauseKind::NoSpace });
        client.world.backend().faults().set(vec![rule]).expect("rules");
        accepted(client.extend(id, 5).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

/// The process dies on either side of the backend's extend: the size, the quota and the backend agree afterwards.
#[test]
fn r47_crash_during_extend_settles_size_and_quota() {
    for side in [CallSide::Before, CallSide::After] {
        simulate(WorldOptions::seeded(47), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            let id = client.available(1).await;
            let store = world.store();
            world.crash_plan.arm(1, side, move || store.crash());
            drop(client.extend(id, 4).await);
            node.run(std::future::pending::<()>()).await;
            world.crash_plan.disarm();
            node.crash();
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.assert_clean().await;
            let state = alive(client.view(id).await);
            assert_eq!((state.volume.status, state.volume.size_gib), (VolumeStatus::Available, 4), "{side:?}");
        });
    }
}

#[test]
fn r48_guests_are_told_by_the_rows_at_the_settle_step() {
    in_world(48, async |client| {
        let id = client.attached("a").await;
        accepted(client.extend(id, 2).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        let row = alive(client.view(id).await).attachments[0].id;
        let device = client.world.backend().truth().device(&"a".into(), row).expect("plugged");
        assert_eq!(device.size_gib, 2, "the guest sees the new size");
    });
}

#[test]
fn r49_r103_a_guest_is_told_again_after_a_crash() {
    for nth in 1..=3 {
        simulate(WorldOptions::seeded(49), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            let id = client.attached("a").await;
            let store = world.store();
            world.crash_plan.arm(nth, CallSide::Before, move || store.crash());
            drop(client.extend(id, 2).await);
            if nth <= 2 {
                node.run(std::future::pending::<()>()).await;
            } else {
                client.wait(id, VolumeStatus::InUse).await.expect("alive");
            }
            world.crash_plan.disarm();
            node.crash();
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.assert_clean().await;
            let row = alive(client.view(id).await).attachments[0].id;
            let device = world.backend().truth().device(&"a".into(), row).expect("plugged");
            assert_eq!(device.size_gib, 2, "crash at call {nth}");
        });
    }
}

fn limited(volumes: i64, gigabytes: i64, per_volume_gigabytes: i64) -> WorldOptions {
    let mut options = WorldOptions::seeded(52);
    options.actors.limits = Limits { volumes, gigabytes, per_volume_gigabytes, ..Limits::NONE };
    options
}

#[test]
fn r52_parallel_creates_and_extends_never_pass_a_limit() {
    simulate(limited(5, 12, -1), async |world: &World| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let ids = (0..12).map(|_| world.volume_id()).collect::<Vec<_>>();
        let answers = futures_util::future::join_all(ids.iter().map(|id| client.create(*id, 2))).await;
        let created = answers.iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
        assert_eq!(created, 5, "five volumes of 2 GiB fit in both limits");
        let over = answers.into_iter().find(|answer| !matches!(answer, Some(Ok(_)))).expect("one is refused");
        assert!(matches!(refusal(over), Refusal::OverQuota(OverQuota::Volumes { limit: 5, .. })));
        client.node.settle(PATIENCE).await.expect("alive");
        let grown = futures_util::future::join_all(ids.iter().map(|id| client.extend(*id, 3))).await;
        let accepted = grown.iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
        assert_eq!(accepted, 2, "two more GiB fit");
        client.assert_clean().await;
        let usage = world.store().usage(ProjectId::from("p")).await.expect("reads");
        assert_eq!((usage.volumes, usage.gigabytes, usage.reserved_gigabytes), (5, 12, 0));
    });
}

#[test]
fn r53_over_quota_leaves_no_trace_of_an_extend() {
    simulate(limited(-1, 2, 10), async |world: &World| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let id = client.available(1).await;
        let before = alive(client.view(id).await);
        assert!(matches!(refusal(client.extend(id, 4).await), Refusal::OverQuota(OverQuota::Gigabytes { .. })));
        assert!(matches!(refusal(client.extend(id, 11).await), Refusal::OverVolumeSize { .. }));
        assert_eq!(alive(client.view(id).await), before, "the status never flipped");
    });
}

#[test]
fn r56_delete_twice() {
    in_world(56, async |client| {
        let id = client.available(1).await;
        let slow = Fault::Delay { latency: Latency::Fixed { us: 2_000_000 } };
        client.world.backend().faults().set(vec![FaultRule::once("delete", slow)]).expect("rules");
        accepted(client.delete(id).await);
        assert!(matches!(refusal(client.delete(id).await), Refusal::InvalidVolume(_)));
        accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
        client.wait_gone(id).await.expect("alive");
        assert!(matches!(refusal(client.delete(id).await), Refusal::VolumeNotFound(_)));
        client.assert_clean().await;
    });
}

#[test]
fn r60_a_volume_in_creation_is_not_deleted_unless_forced() {
    in_world(60, async |client| {
        let slow = Fault::Delay { latency: Latency::Fixed { us: 2_000_000 } };
        client.world.backend().faults().set(vec![FaultRule::on("create", slow)]).expect("rules");
        let id = client.world.volume_id();
        accepted(client.create(id, 1).await);
        assert!(matches!(refusal(client.delete(id).await), Refusal::InvalidVolume(_)));
        accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
        client.wait_gone(id).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r61_a_create_that_comes_late_leaves_no_orphan() {
    in_world(61, async |client| {
        let late = Fault::EffectLater { after_us: 20_000_000, hidden: false };
        let rules =
            vec![FaultRule::once("create", late), FaultRule::on("probe", Fault::Fail { kind: CauseKind::Other })];
        client.world.backend().faults().set(rules).expect("rules");
        let id = client.world.volume_id();
        accepted(client.create(id, 1).await);
        client.wait(id, VolumeStatus::Error).await.expect("alive");
        client.world.backend().faults().clear();
        accepted(client.delete(id).await);
        client.wait_gone(id).await.expect("alive");
        client.world.pass_time(Duration::from_secs(60)).await;
        client.assert_clean().await;
    });
}
