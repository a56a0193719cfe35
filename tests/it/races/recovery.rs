//! `spec/races.md` §2.6, §2.7 and §3: administrators' interventions, stale jobs, crash and restart.

use std::time::Duration;

use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::volume::{Command, Refusal};
use hearth::drivers::sim::{Fault, FaultRule, Latency};
use hearth::sim::{CallSide, World, WorldOptions, simulate};
use serde_json::json;

use super::scenario::{Client, PATIENCE, accepted, alive, in_world, refusal, row_of, slow};

#[test]
fn r83_reset_fences_a_running_extend() {
    in_world(83, async |client| {
        let id = client.available(1).await;
        client.world.backend().faults().set(vec![slow("extend", 3)]).expect("rules");
        accepted(client.extend(id, 2).await);
        accepted(client.reset(id, VolumeStatus::Available).await);
        let reset = alive(client.view(id).await);
        assert_eq!((reset.volume.status, reset.volume.size_gib), (VolumeStatus::Available, 1));
        assert!(reset.operations.is_empty());
        // A new job waits until the old backend call has ended.
        accepted(client.extend(id, 3).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert_eq!(alive(client.view(id).await).volume.size_gib, 3);
        client.assert_clean().await;
    });
}

#[test]
fn r83_what_a_fenced_extend_did_is_taken_into_the_books() {
    in_world(831, async |client| {
        let id = client.available(1).await;
        client.world.backend().faults().set(vec![slow("extend", 3)]).expect("rules");
        accepted(client.extend(id, 2).await);
        accepted(client.reset(id, VolumeStatus::Error).await);
        client.node.settle(PATIENCE).await.expect("alive");
        let state = alive(client.view(id).await);
        assert_eq!((state.volume.status, state.volume.size_gib), (VolumeStatus::Error, 2));
        client.assert_clean().await;
    });
}

#[test]
fn r83_a_running_delete_cannot_be_reset() {
    in_world(832, async |client| {
        let id = client.available(1).await;
        client.world.backend().faults().set(vec![slow("delete", 3)]).expect("rules");
        accepted(client.delete(id).await);
        assert!(matches!(refusal(client.reset(id, VolumeStatus::Available).await), Refusal::InvalidVolume(_)));
        client.wait_gone(id).await.expect("alive");
    });
}

#[test]
fn r85_reset_to_detached_leaves_no_export_behind() {
    in_world(85, async |client| {
        let id = client.attached("a").await;
        let reset = Command::ResetStatus {
            status: Some(VolumeStatus::Available),
            attach_status: Some(AttachStatus::Detached),
            migration_status: None,
        };
        accepted(client.ask(id, reset).await);
        assert!(alive(client.view(id).await).attachments.is_empty());
        client.server("b").await.expect("alive");
        // The export is removed before the next attach.
        accepted(client.server_attach("b", id).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        assert_eq!(client.world.backend().truth().volume(id).exports.len(), 1);
    });
}

#[test]
fn r87_reset_rules() {
    in_world(87, async |client| {
        let id = client.available(1).await;
        assert!(matches!(refusal(client.reset(id, VolumeStatus::Deleting).await), Refusal::InvalidInput(_)));
        assert!(matches!(refusal(client.reset(id, VolumeStatus::InUse).await), Refusal::InvalidInput(_)));
        for status in [VolumeStatus::Creating, VolumeStatus::Attaching, VolumeStatus::Maintenance] {
            accepted(client.reset(id, status).await);
            assert_eq!(alive(client.view(id).await).volume.status, status);
        }
        accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
        client.wait_gone(id).await.expect("alive");
        client.assert_clean().await;
    });
}

/// Dies on each side of the `nth` driver call of `act`, restarts, and hands the settled world to `check`.
pub(super) fn crash_at(
    nth: u64,
    seed: u64,
    prepare: impl AsyncFn(&Client<'_>) -> hearth::domain::ids::VolumeId,
    act: impl AsyncFn(&Client<'_>, hearth::domain::ids::VolumeId),
    check: impl AsyncFn(&Client<'_>, hearth::domain::ids::VolumeId, CallSide),
) {
    for side in [CallSide::Before, CallSide::After] {
        simulate(WorldOptions::seeded(seed), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            let id = prepare(&client).await;
            let store = world.store();
            world.crash_plan.arm(nth, side, move || store.crash());
            act(&client, id).await;
            node.run(std::future::pending::<()>()).await;
            world.crash_plan.disarm();
            node.crash();
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.assert_clean().await;
            check(&client, id, side).await;
        });
    }
}

#[test]
fn r91_crash_in_creating_is_finished() {
    crash_at(
        1,
        91,
        async |client| client.world.volume_id(),
        async |client, id| drop(client.create(id, 1).await),
        async |client, id, side| {
            assert_eq!(alive(client.view(id).await).volume.status, VolumeStatus::Available, "{side:?}");
        },
    );
}

#[test]
fn r94_crash_in_attaching_is_undone_for_a_lost_client() {
    crash_at(
        1,
        94,
        async |client| {
            let id = client.available(1).await;
            accepted(client.attachment_create(id, Some("a"), None).await);
            id
        },
        async |client, id| {
            let row = alive(client.view(id).await).attachments[0].id;
            drop(client.attachment_update(id, row, "h").await);
        },
        async |client, id, side| {
            let state = alive(client.view(id).await);
            assert_eq!(state.volume.status, VolumeStatus::Reserved, "{side:?}");
            assert_eq!(state.attachments[0].attach_status, AttachStatus::Reserved);
            assert!(client.world.backend().truth().volume(id).exports.is_empty());
            // The client repeats its request and gets its connection.
            let row = state.attachments[0].id;
            accepted(client.attachment_update(id, row, "h").await);
        },
    );
}

#[test]
fn r95_crash_in_detaching_is_finished() {
    for nth in [1, 2] {
        crash_at(
            nth,
            95,
            async |client| client.attached("a").await,
            async |client, id| drop(client.server_detach("a", id).await),
            async |client, id, side| {
                let state = alive(client.view(id).await);
                assert_eq!(state.volume.status, VolumeStatus::Available, "call {nth} {side:?}");
                assert!(state.attachments.is_empty());
            },
        );
    }
}

#[test]
fn r95_crash_in_an_attachment_delete_is_finished() {
    crash_at(
        1,
        951,
        async |client| {
            let id = client.available(1).await;
            let row = row_of(&accepted(client.attachment_create(id, None, Some(json!({"host": "h"}))).await));
            accepted(client.attachment_complete(id, row).await);
            id
        },
        async |client, id| {
            let row = alive(client.view(id).await).attachments[0].id;
            drop(client.attachment_delete(id, row).await);
        },
        async |client, id, side| {
            let state = alive(client.view(id).await);
            assert_eq!((state.volume.status, state.attachments.len()), (VolumeStatus::Available, 0), "{side:?}");
        },
    );
}

#[test]
fn r59_crash_in_deleting_is_finished() {
    crash_at(
        1,
        59,
        async |client| client.available(1).await,
        async |client, id| drop(client.delete(id).await),
        async |client, id, _| assert!(client.view(id).await.is_none()),
    );
}

#[test]
fn r99_an_answer_goes_out_only_after_its_commit() {
    for fault in [hearth::store::InlineFault::CrashBefore, hearth::store::InlineFault::CrashAfter] {
        simulate(WorldOptions::seeded(99), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            world.store().set_fault_hook(Some(Box::new(move |_| fault)));
            let answer = client.create(world.volume_id(), 1).await;
            assert!(answer.is_none(), "answered although the commit was not known to be on disk: {answer:?}");
        });
    }
}

#[test]
fn r100_a_client_whose_answer_was_lost_retries() {
    in_world(100, async |client| {
        let id = client.attached("a").await;
        assert!(matches!(refusal(client.server_attach("a", id).await), Refusal::InvalidVolume(_)));
        accepted(client.extend(id, 2).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        assert!(matches!(refusal(client.extend(id, 2).await), Refusal::InvalidInput(_)));
        accepted(client.server_detach("a", id).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert!(matches!(refusal(client.server_detach("a", id).await), Refusal::NotAttached(_)));
        accepted(client.delete(id).await);
        client.wait_gone(id).await.expect("alive");
        assert!(matches!(refusal(client.delete(id).await), Refusal::VolumeNotFound(_)));
    });
}

/// The create takes longer than its deadline and its probes: it is unknown, then looked up, never assumed.
#[test]
fn r101_a_call_beyond_its_deadline_is_probed() {
    in_world(101, async |client| {
        let late = Fault::Delay { latency: Latency::Fixed { us: 6_000_000 } };
        client.world.backend().faults().set(vec![FaultRule::once("create", late)]).expect("rules");
        let id = client.world.volume_id();
        accepted(client.create(id, 1).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        client.assert_clean().await;
    });
}

/// As a restart on one node: what was queued and unanswered is executed once or never, not twice.
#[test]
fn r102_queued_requests_are_executed_once_or_never_across_a_restart() {
    for nth in 1..=4 {
        simulate(WorldOptions::seeded(102 + nth), async |world: &World| {
            let node = world.start().await;
            let client = Client::new(world, &node);
            let id = client.available(1).await;
            let mut seen = 0;
            world.store().set_fault_hook(Some(Box::new(move |_| {
                seen += 1;
                if seen == nth { hearth::store::InlineFault::CrashAfter } else { hearth::store::InlineFault::None }
            })));
            let queued =
                (0..4).map(|n| client.attachment_create(id, Some("a"), (n == 0).then(|| json!({"host": "h"}))));
            let answers = futures_util::future::join_all(queued).await;
            let answered = answers.iter().filter(|answer| matches!(answer, Some(Ok(_)))).count();
            world.store().set_fault_hook(None);
            node.crash();
            let node = world.start().await;
            let client = Client::new(world, &node);
            client.assert_clean().await;
            let rows = alive(client.view(id).await).attachments.len();
            assert!(rows >= answered && rows <= 4, "{answered} answered, {rows} rows");
        });
    }
}

/// No other volume notices a backend that keeps silent about one of them.
#[test]
fn r120_a_hung_connection_has_a_deadline_and_hurts_nobody_else() {
    in_world(120, async |client| {
        let hung = client.available(1).await;
        let other = client.available(1).await;
        let hang = FaultRule::on("export", Fault::Hang { effect_first: true }).of(hung);
        client.world.backend().faults().set(vec![hang]).expect("rules");
        let start = client.world.now();
        let (first, second) =
            futures_util::join!(client.attachment_create(hung, Some("a"), Some(json!({"host": "h"}))), async {
                let answer = client.attachment_create(other, Some("a"), Some(json!({"host": "h"}))).await;
                (answer, client.world.now())
            });
        assert!(matches!(refusal(first), Refusal::Backend(_)), "500 after the deadline");
        accepted(second.0);
        assert!(second.1.since(start) < Duration::from_secs(1), "the other volume did not wait");
        client.world.backend().faults().clear();
        client.world.backend().faults().release(None);
        client.node.settle(PATIENCE).await.expect("alive");
    });
}

#[test]
fn r119_a_row_is_never_torn() {
    in_world(119, async |client| {
        let id = client.available(1).await;
        let reading = async {
            for _ in 0..200 {
                let listed = client.world.volumes().await;
                let state = &listed[0];
                let attached = state.attachments.iter().any(|row| row.attach_status == AttachStatus::Attached);
                assert_eq!(attached, state.volume.status == VolumeStatus::InUse, "{state:#?}");
                let usage = client.world.store_now().usage_audit().await.expect("reads");
                assert!(usage.iter().all(|audit| audit.stored == audit.counted), "{usage:?}");
                client.world.pass_time(Duration::from_micros(700)).await;
            }
        };
        let writing = async {
            for _ in 0..10 {
                let made = client.attachment_create(id, Some("a"), Some(json!({"host": "h"}))).await;
                let row = row_of(&accepted(made));
                accepted(client.attachment_complete(id, row).await);
                accepted(client.attachment_delete(id, row).await);
            }
        };
        futures_util::join!(reading, writing);
    });
}

/// An attach that an administrator fenced leaves a row which its owner can free.
#[test]
fn r83_a_fenced_attach_is_freed_by_its_owner() {
    in_world(833, async |client| {
        let id = client.available(1).await;
        client.server("a").await.expect("alive");
        client.world.backend().faults().set(vec![slow("export", 3)]).expect("rules");
        accepted(client.server_attach("a", id).await);
        accepted(client.reset(id, VolumeStatus::Available).await);
        accepted(client.server_detach("a", id).await);
        client.node.settle(PATIENCE).await.expect("alive");
        let state = alive(client.view(id).await);
        assert_eq!((state.volume.status, state.attachments.len()), (VolumeStatus::Available, 0));
        client.assert_clean().await;
    });
}

/// A volume whose backend call never ends is looked after for ever; the bound on overdue calls belongs to all volumes.
#[test]
fn looking_after_a_hung_volume_never_uses_up_the_backends_bounds() {
    let mut options = WorldOptions::seeded(7);
    options.pool.max_outstanding = 3;
    simulate(options, async |world: &World| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let hung = client.available(1).await;
        let other = client.available(1).await;
        let hang = |request: &str| FaultRule::on(request, Fault::Hang { effect_first: false }).of(hung);
        world.backend().faults().set(vec![hang("extend"), hang("probe")]).expect("rules");
        accepted(client.extend(hung, 2).await);
        node.run(world.pass_time(Duration::from_secs(1_200))).await.expect("alive");
        assert_eq!(alive(client.view(hung).await).volume.status, VolumeStatus::ErrorExtending);
        accepted(client.extend(other, 2).await);
        client.wait(other, VolumeStatus::Available).await.expect("alive");
        world.backend().faults().clear();
        world.backend().faults().release(None);
        client.assert_clean().await;
    });
}
