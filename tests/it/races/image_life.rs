//! A life with images: a volume from one, an image of that, a volume of this, and another image in its place; with a crash at every
//! commit and on each side of every driver call, and with every call lost, doubled, failed or hung.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{ImageId, VolumeId};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Command, VolumeState};
use hearth::drivers::sim::{Fault, FaultRule, When};
use hearth::images::ImageStatus;
use hearth::sim::{CallSide, Node, World, WorldOptions, simulate};
use hearth::store::InlineFault;

use super::images::{assert_images_whole, mark};
use super::scenario::{Client, PATIENCE, accepted};

/// What the life makes.
#[derive(Clone, Copy)]
struct Things {
    volume: VolumeId,
    copy: VolumeId,
    image: ImageId,
    upload: ImageId,
}

impl Things {
    fn new(client: &Client<'_>) -> Self {
        let id = || client.world.volume_id();
        Self { volume: id(), copy: id(), image: client.image(), upload: client.image_id() }
    }
}

/// None: the process died on the way.
async fn life(client: &Client<'_>, things: Things) -> Option<()> {
    let Things { volume, copy, image, upload } = things;
    accepted(Some(client.create_from_image(volume, image).await?));
    client.wait(volume, VolumeStatus::Available).await?;
    accepted(Some(client.upload(volume, upload, false).await?));
    client.wait(volume, VolumeStatus::Available).await?;
    accepted(Some(client.create_from_image(copy, upload).await?));
    client.wait(copy, VolumeStatus::Available).await?;
    accepted(Some(client.reimage(copy, image, false).await?));
    client.wait(copy, VolumeStatus::Available).await?;
    for id in [volume, copy] {
        accepted(Some(client.delete(id).await?));
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
    assert_images_whole(world);
    for id in [things.volume, things.copy] {
        let Some(state) = client.view(id).await else { continue };
        assert!(!state.volume.status.is_error(), "no fault put the volume into {}", state.volume.status);
        assert!(state.volume.bootable && client.contents(id) == mark(things.image));
        accepted(client.delete(id).await);
        client.wait_gone(id).await.expect("alive");
    }
    client.assert_clean().await;
}

async fn run_until_death(world: &World, node: &Node, nth: u64) -> Things {
    let client = Client::new(world, node);
    let things = Things::new(&client);
    assert!(life(&client, things).await.is_none(), "commit or call {nth} was never reached");
    things
}

/// A life without faults; how many commits and driver calls it has.
fn measure() -> (u64, u64) {
    simulate(WorldOptions::seeded(1), async |world| {
        let commits = Arc::new(AtomicU64::new(0));
        let counter = commits.clone();
        world.store().set_fault_hook(Some(Box::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            InlineFault::None
        })));
        world.crash_plan.arm(u64::MAX, CallSide::Before, || {});
        let node = world.start().await;
        let client = Client::new(world, &node);
        life(&client, Things::new(&client)).await.expect("nobody dies");
        client.assert_clean().await;
        (commits.load(Ordering::SeqCst), world.crash_plan.calls())
    })
}

#[test]
fn r92_r93_crash_before_and_after_every_commit_settles_by_itself() {
    let (commits, _) = measure();
    assert!(commits > 12, "{commits} commits");
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
fn r92_r93_crash_on_each_side_of_every_driver_call_settles_by_itself() {
    let (_, calls) = measure();
    assert!(calls >= 7, "{calls} driver calls");
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

/// The requests of a life, whatever becomes of each; then the owner removes everything, once the backend works again.
fn life_with(rules: Vec<FaultRule>, what: &str) {
    simulate(WorldOptions::seeded(7), async |world| {
        let node = world.start().await;
        let client = Client::new(world, &node);
        let Things { volume, copy, image, upload } = Things::new(&client);
        client.faults(rules);
        let quiet = async || {
            for id in [volume, copy] {
                let is_quiet = |state: Option<&VolumeState>| state.is_none_or(|state| state.operations.is_empty());
                client.node.until(id, PATIENCE * 10, is_quiet).await.expect("alive");
            }
        };
        drop(client.create_from_image(volume, image).await);
        quiet().await;
        drop(client.upload(volume, upload, false).await);
        quiet().await;
        drop(client.create_from_image(copy, upload).await);
        quiet().await;
        drop(client.reimage(copy, image, false).await);
        quiet().await;
        world.backend().faults().clear();
        world.backend().faults().release(None);
        for _ in 0..3 {
            client.node.settle(PATIENCE).await.expect("alive");
            for id in [volume, copy] {
                drop(client.ask(id, Command::Delete { force: true, cascade: true }).await);
            }
        }
        client.assert_clean().await;
        let images = world.images().images();
        let half = images.iter().filter(|image| image.status != ImageStatus::Active).count();
        assert_eq!(half, 0, "{what}: {images:#?}");
        for id in [volume, copy] {
            let left = client.view(id).await;
            assert!(left.is_none(), "{what}: the volume cannot be removed: {left:#?}");
        }
    });
}

#[test]
fn every_call_twice_lost_failed_or_hung_leaves_no_half_image_and_no_volume_that_stays() {
    let kind = CauseKind::Other;
    let faults = [
        Fault::Twice { after_us: 300_000 },
        Fault::EffectLater { after_us: 3_000_000, hidden: false },
        Fault::AnswerLost,
        Fault::NothingDone,
        Fault::Fail { kind },
        Fault::Refuse { kind },
        Fault::Refuse { kind: CauseKind::Busy },
        Fault::Hang { effect_first: true },
        Fault::Hang { effect_first: false },
    ];
    for fault in &faults {
        // The removal of what is left goes wrong as well.
        let removal = FaultRule::on("discard_image", fault.clone()).when(When::Nth { n: 1 });
        let failed = FaultRule::once("upload_image", Fault::Refuse { kind });
        life_with(vec![failed, removal], &format!("upload_image is refused, and discard_image {fault:?}"));
    }
    for request in ["create_from_image", "create_image", "upload_image", "reimage"] {
        for fault in &faults {
            let once = FaultRule::on(request, fault.clone()).when(When::Nth { n: 1 });
            life_with(vec![once], &format!("{request} {fault:?}"));
        }
        let hung = FaultRule::once(request, Fault::Hang { effect_first: true });
        let probe = FaultRule::on("probe", Fault::Hang { effect_first: false });
        life_with(vec![hung, probe], &format!("{request} and its probe hang"));
    }
}
