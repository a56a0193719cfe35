//! A life with images: a volume from one, an image of that, a volume of this, and another image in its place; with a crash at every
//! commit and on each side of every driver call, and with every call lost, doubled, failed or hung.

use hearth::domain::backend::CauseKind;
use hearth::domain::ids::{ImageId, VolumeId};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::{Command, VolumeState};
use hearth::drivers::sim::{Fault, FaultRule, When};
use hearth::images::ImageStatus;
use hearth::sim::{WorldOptions, simulate};

use super::crashes::{self, Life};
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

impl Life for Things {
    fn new(client: &Client<'_>) -> Self {
        let id = || client.world.volume_id();
        Self { volume: id(), copy: id(), image: client.image(), upload: client.image_id() }
    }

    async fn live(&mut self, client: &Client<'_>) -> Option<()> {
        let Things { volume, copy, image, upload } = *self;
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

    async fn aftermath(&self, client: &Client<'_>) {
        assert_images_whole(client.world);
        for id in [self.volume, self.copy] {
            let Some(state) = client.view(id).await else { continue };
            assert!(!state.volume.status.is_error(), "no fault put the volume into {}", state.volume.status);
            assert!(state.volume.bootable && client.contents(id) == mark(self.image));
            accepted(client.delete(id).await);
            client.wait_gone(id).await.expect("alive");
        }
    }
}

#[test]
fn r92_r93_crash_before_and_after_every_commit_settles_by_itself() {
    crashes::at_every_commit::<Things>(15);
}

#[test]
fn r92_r93_crash_on_each_side_of_every_driver_call_settles_by_itself() {
    crashes::around_every_call::<Things>(7);
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
