//! Images: volumes made from them, their contents anew, images of volumes.

use std::time::Duration;

use hearth::domain::ids::{ImageId, ProjectId, VolumeId};
use hearth::domain::image::{FromImage, ImageNeeds, ToImage};
use hearth::domain::metadata::Metadata;
use hearth::domain::status::{AttachStatus, VolumeStatus};
use hearth::domain::volume::command::Reimage;
use hearth::domain::volume::{Command, Refusal};
use hearth::drivers::sim::{Fault, FaultRule};
use hearth::images::{ImageError, ImageStatus};
use hearth::sim::{ImageCall, World, WorldOptions, simulate};
use serde_json::json;

use super::scenario::{Client, PATIENCE, accepted, alive, in_world, refusal, row_of, slow};

type Answer = Option<Result<hearth::domain::volume::Reply, hearth::actors::RequestError>>;

pub fn from_image(image_id: ImageId) -> FromImage {
    FromImage { image_id, metadata: [("image_id".to_owned(), image_id.to_string())].into_iter().collect() }
}

/// The mark of a volume that holds an image which no volume was made into.
pub fn mark(image_id: ImageId) -> Vec<String> {
    vec![format!("image {image_id}")]
}

impl Client<'_> {
    pub fn image_id(&self) -> ImageId {
        ImageId(self.world.randomness().uuid())
    }

    /// An active image.
    pub fn image(&self) -> ImageId {
        let id = self.image_id();
        self.world.images().put(id, b"a disk", |_| {});
        id
    }

    pub async fn create_from_image(&self, id: VolumeId, image_id: ImageId) -> Answer {
        let Command::Create(mut request) = self.world.create_command(id, 1) else { unreachable!("it creates") };
        request.image = Some(from_image(image_id));
        self.ask(id, Command::Create(request)).await
    }

    pub async fn reimage(&self, id: VolumeId, image_id: ImageId, reserved_allowed: bool) -> Answer {
        let needs = ImageNeeds { image_id, is_active: true, data_bytes: 1, disk_bytes: None, min_disk_gib: 0 };
        let request = Reimage { image: from_image(image_id), needs, reserved_allowed };
        self.ask(id, Command::Reimage(Box::new(request))).await
    }

    pub async fn upload(&self, id: VolumeId, image_id: ImageId, in_use_allowed: bool) -> Answer {
        let image = ToImage {
            image_id,
            name: "copy".to_owned(),
            project_id: ProjectId::from("p"),
            disk_format: "raw".to_owned(),
            container_format: "bare".to_owned(),
            visibility: None,
            is_protected: false,
            properties: Metadata::default(),
        };
        self.ask(id, Command::UploadImage { image: Box::new(image), in_use_allowed }).await
    }

    /// Waits for a status, whatever runs.
    async fn until_status(&self, id: VolumeId, status: VolumeStatus) -> Option<()> {
        self.node.until(id, PATIENCE, |state| state.is_some_and(|state| state.volume.status == status)).await
    }

    fn status_of(&self, id: ImageId) -> Option<ImageStatus> {
        self.world.images().image(id).map(|image| image.status)
    }

    pub fn faults(&self, rules: impl IntoIterator<Item = FaultRule>) {
        self.world.backend().faults().set(rules.into_iter().collect()).expect("the rules make sense");
    }

    /// What is kept of the volume's image, and whether it can be booted.
    async fn image_kept(&self, id: VolumeId) -> (Option<String>, bool) {
        let state = alive(self.view(id).await);
        (state.volume.image_metadata.get("image_id").map(str::to_owned), state.volume.bootable)
    }
}

/// No image is left that is not whole.
#[track_caller]
pub fn assert_images_whole(world: &World) {
    let images = world.images().images();
    assert!(images.iter().all(|image| image.status == ImageStatus::Active), "{images:#?}");
}

#[test]
fn r20_a_reservation_made_while_the_image_is_fetched_excludes_the_next_one() {
    in_world(20, async |client| {
        let (id, image) = (client.world.volume_id(), client.image());
        client.faults([slow("create_from_image", 5)]);
        let reply = accepted(client.create_from_image(id, image).await);
        assert_eq!(reply.state.volume.status, VolumeStatus::Creating);
        client.until_status(id, VolumeStatus::Downloading).await.expect("alive");
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        let second = refusal(client.attachment_create(id, Some("b"), None).await);
        assert!(matches!(second, Refusal::InvalidVolume(_)), "{second:?}");
        // To contents that are whole only.
        let early = refusal(client.attachment_update(id, row, "h").await);
        assert!(matches!(early, Refusal::InvalidVolume(_)), "{early:?}");
        client.wait(id, VolumeStatus::Reserved).await.expect("alive");
        assert_eq!((client.contents(id), client.image_kept(id).await), (mark(image), (Some(image.to_string()), true)));
        refusal(client.attachment_create(id, Some("b"), None).await);
        accepted(client.attachment_update(id, row, "h").await);
        accepted(client.attachment_complete(id, row).await);
        client.wait(id, VolumeStatus::InUse).await.expect("alive");
        client.assert_clean().await;
    });
}

#[test]
fn r65_the_end_of_an_upload_says_what_the_rows_say() {
    for is_detached in [false, true] {
        in_world(65, async |client| {
            let id = client.available(1).await;
            client.write(id, "data").await;
            let connector = json!({"host": "h"});
            let row = row_of(&accepted(client.attachment_create(id, Some("a"), Some(connector)).await));
            accepted(client.attachment_complete(id, row).await);
            let image = client.image_id();
            refusal(client.upload(id, image, false).await);
            client.faults([slow("upload_image", 5)]);
            let reply = accepted(client.upload(id, image, true).await);
            assert_eq!(reply.state.volume.status, VolumeStatus::Uploading);
            refusal(client.upload(id, client.image_id(), true).await);
            refusal(client.attachment_create(id, Some("b"), None).await);
            if is_detached {
                accepted(client.attachment_delete(id, row).await);
                let state = alive(client.view(id).await);
                let words = (state.volume.status, state.volume.attach_status);
                assert_eq!(words, (VolumeStatus::Uploading, AttachStatus::Detached));
            }
            let end = if is_detached { VolumeStatus::Available } else { VolumeStatus::InUse };
            client.wait(id, end).await.expect("alive");
            assert_eq!(client.status_of(image), Some(ImageStatus::Active));
            client.assert_clean().await;
        });
    }
}

#[test]
fn an_image_of_a_volume_is_a_volume_again() {
    in_world(1, async |client| {
        let id = client.available(1).await;
        client.write(id, "first").await;
        client.write(id, "second").await;
        let image = client.image_id();
        accepted(client.upload(id, image, false).await);
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        let copy = client.world.volume_id();
        accepted(client.create_from_image(copy, image).await);
        client.wait(copy, VolumeStatus::Available).await.expect("alive");
        assert_eq!((client.contents(copy), client.contents(id).len()), (client.contents(id), 2));
        client.assert_clean().await;
    });
}

#[test]
fn an_image_that_the_service_refuses_is_refused_and_changes_nothing() {
    in_world(2, async |client| {
        let id = client.available(1).await;
        client.world.images().fail(ImageCall::Create, ImageError::OverLimit("too many images".to_owned()));
        let refused = refusal(client.upload(id, client.image_id(), false).await);
        assert!(matches!(&refused, Refusal::BadRequest(text) if text.contains("too many images")), "{refused:?}");
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert_eq!(client.world.images().images().len(), 0);
        client.assert_clean().await;
    });
}

#[test]
fn r93_an_image_of_which_nobody_knows_whether_it_was_made_is_made_again_or_removed() {
    for failures in [1, 3] {
        in_world(5, async |client| {
            let (id, image) = (client.available(1).await, client.image_id());
            for _ in 0..failures {
                client.world.images().fail(ImageCall::Create, ImageError::Unavailable);
            }
            match failures {
                1 => drop(accepted(client.upload(id, image, false).await)),
                _ => drop(refusal(client.upload(id, image, false).await)),
            }
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            assert_eq!(client.status_of(image), (failures == 1).then_some(ImageStatus::Active));
            client.assert_clean().await;
        });
    }
}

#[test]
fn r80_a_failed_fetch_rolls_back_and_the_old_contents_stay() {
    for (reserved, before) in [(false, VolumeStatus::Available), (true, VolumeStatus::Reserved)] {
        in_world(80, async |client| {
            let (id, image) = (client.available(1).await, client.image());
            client.write(id, "precious").await;
            if reserved {
                accepted(client.attachment_create(id, Some("a"), None).await);
                refusal(client.reimage(id, image, false).await);
            }
            client.world.images().fail(ImageCall::Fetch, ImageError::Corrupt);
            let reply = accepted(client.reimage(id, image, reserved).await);
            assert_eq!(reply.state.volume.status, VolumeStatus::Downloading);
            client.wait(id, before).await.expect("alive");
            assert_eq!(
                (client.contents(id), client.image_kept(id).await),
                (vec!["precious".to_owned()], (None, false))
            );
            // Asked again, it is done.
            accepted(client.reimage(id, image, reserved).await);
            client.wait(id, before).await.expect("alive");
            assert_eq!((client.contents(id), client.image_kept(id).await.1), (mark(image), true));
            client.assert_clean().await;
        });
    }
}

#[test]
fn r80_a_reimage_in_doubt_is_an_error_and_names_what_was_before() {
    in_world(81, async |client| {
        let (id, image) = (client.available(1).await, client.image());
        let hang = Fault::Hang { effect_first: false };
        client.faults([FaultRule::once("reimage", hang.clone()), FaultRule::on("probe", hang)]);
        accepted(client.reimage(id, image, false).await);
        client.until_status(id, VolumeStatus::Error).await.expect("alive");
        let state = alive(client.view(id).await);
        assert_eq!(state.volume.previous_status, Some(VolumeStatus::Available));
        client.world.backend().faults().clear();
        client.world.backend().faults().release(None);
        client.assert_clean().await;
        // An error can be reimaged, and stays what its owner has to see.
        accepted(client.reimage(id, image, false).await);
        client.wait(id, VolumeStatus::Error).await.expect("alive");
        assert_eq!(client.contents(id), mark(image));
    });
}

#[test]
fn reimage_takes_nobody_s_volume_away() {
    in_world(3, async |client| {
        let image = client.image();
        let id = client.attached("a").await;
        refusal(client.reimage(id, image, true).await);
        let id = client.available(1).await;
        accepted(client.attachment_create(id, Some("a"), None).await);
        accepted(client.attachment_create(id, Some("a"), None).await);
        let two = refusal(client.reimage(id, image, true).await);
        assert!(matches!(two, Refusal::Conflict(_)), "{two:?}");
        // While it runs nobody is connected, and it does not begin under a connection.
        let id = client.available(1).await;
        let row = row_of(&accepted(client.attachment_create(id, Some("a"), None).await));
        client.faults([slow("reimage", 5)]);
        accepted(client.reimage(id, image, true).await);
        refusal(client.attachment_update(id, row, "h").await);
        client.wait(id, VolumeStatus::Reserved).await.expect("alive");
        accepted(client.attachment_update(id, row, "h").await);
        client.assert_clean().await;
    });
}

/// Starts work that takes long, lets the process die in the midst of it, and goes on in the next one.
fn dies_in(
    seed: u64,
    request: &'static str,
    begin: impl AsyncFnOnce(&Client<'_>) -> (VolumeId, ImageId),
    meanwhile: impl FnOnce(&World, ImageId),
    end: impl AsyncFnOnce(&Client<'_>, VolumeId, ImageId),
) {
    simulate(WorldOptions::seeded(seed), async |world| {
        let node = world.start().await;
        let (id, image) = {
            let client = Client::new(world, &node);
            client.faults([slow(request, 3)]);
            let begun = node.run(begin(&client)).await.expect("alive");
            let waiting = client.world.pass_time(Duration::from_secs(1));
            node.run(waiting).await.expect("alive");
            begun
        };
        node.crash();
        world.backend().faults().clear();
        meanwhile(world, image);
        let node = world.start().await;
        let client = Client::new(world, &node);
        client.assert_clean().await;
        end(&client, id, image).await;
        assert_images_whole(world);
    });
}

#[test]
fn r92_a_crash_while_an_image_is_fetched_is_done_again_or_is_an_error() {
    let begin = async |client: &Client<'_>| {
        let (id, image) = (client.world.volume_id(), client.image());
        accepted(client.create_from_image(id, image).await);
        client.until_status(id, VolumeStatus::Downloading).await.expect("alive");
        (id, image)
    };
    dies_in(
        92,
        "create_from_image",
        begin,
        |_, _| {},
        async |client, id, image| {
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            assert_eq!((client.contents(id), client.image_kept(id).await.1), (mark(image), true));
        },
    );
    let is_gone = |world: &World, _| world.images().put_away();
    dies_in(93, "create_from_image", begin, is_gone, async |client, id, _| {
        client.wait(id, VolumeStatus::Error).await.expect("alive");
        assert_eq!(client.image_kept(id).await, (None, false));
        accepted(client.delete(id).await);
        client.wait_gone(id).await.expect("alive");
    });
}

#[test]
fn r81_r92_a_crash_in_a_reimage_ends_in_what_was_before() {
    let begin = async |client: &Client<'_>| {
        let (id, image) = (client.available(1).await, client.image());
        client.write(id, "old").await;
        accepted(client.attachment_create(id, Some("a"), None).await);
        accepted(client.reimage(id, image, true).await);
        (id, image)
    };
    dies_in(
        81,
        "reimage",
        begin,
        |_, _| {},
        async |client, id, image| {
            client.wait(id, VolumeStatus::Reserved).await.expect("alive");
            assert_eq!((client.contents(id), client.image_kept(id).await.1), (mark(image), true));
        },
    );
    let is_gone = |world: &World, _| world.images().put_away();
    dies_in(82, "reimage", begin, is_gone, async |client, id, _| {
        // The backend has told that the old call is over and had no effect.
        client.wait(id, VolumeStatus::Reserved).await.expect("alive");
        assert_eq!((client.contents(id), client.image_kept(id).await.1), (vec!["old".to_owned()], false));
    });
}

#[test]
fn r93_a_crash_in_an_upload_resumes_it_or_removes_the_image() {
    let begin = async |client: &Client<'_>| {
        let (id, image) = (client.available(1).await, client.image_id());
        accepted(client.upload(id, image, false).await);
        (id, image)
    };
    dies_in(
        93,
        "upload_image",
        begin,
        |_, _| {},
        async |client, id, image| {
            client.wait(id, VolumeStatus::Available).await.expect("alive");
            assert_eq!(client.status_of(image), Some(ImageStatus::Active));
        },
    );
    let half = |world: &World, _| world.images().fail(ImageCall::Upload, ImageError::Unavailable);
    dies_in(94, "upload_image", begin, half, async |client, id, image| {
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert_eq!(client.status_of(image), None);
    });
    // The image service has another mind for a while.
    let stubborn = |world: &World, _| {
        world.images().fail(ImageCall::Upload, ImageError::Unavailable);
        world.images().fail(ImageCall::Delete, ImageError::Unavailable);
        world.images().fail(ImageCall::Delete, ImageError::Unavailable);
    };
    dies_in(95, "upload_image", begin, stubborn, async |client, id, image| {
        client.wait(id, VolumeStatus::Available).await.expect("alive");
        assert_eq!(client.status_of(image), None);
    });
}

#[test]
fn r93_an_upload_that_is_cut_off_leaves_no_image() {
    let force = |id| (Command::Delete { force: true, cascade: false }, id);
    let reset = |id| {
        let status = Some(VolumeStatus::Error);
        (Command::ResetStatus { status, attach_status: None, migration_status: None }, id)
    };
    for (cut_off, is_gone) in [(&force as &dyn Fn(VolumeId) -> (Command, VolumeId), true), (&reset, false)] {
        in_world(93, async |client| {
            let (id, image) = (client.available(1).await, client.image_id());
            client.faults([slow("upload_image", 20)]);
            accepted(client.upload(id, image, false).await);
            assert_eq!(client.status_of(image), Some(ImageStatus::Queued));
            let (command, id) = cut_off(id);
            accepted(client.ask(id, command).await);
            client.assert_clean().await;
            assert_images_whole(client.world);
            match is_gone {
                true => client.wait_gone(id).await.expect("alive"),
                false => client.wait(id, VolumeStatus::Error).await.expect("alive"),
            }
        });
    }
}

#[test]
fn a_volume_whose_image_is_being_fetched_can_be_forced_out() {
    in_world(4, async |client| {
        let (id, image) = (client.world.volume_id(), client.image());
        client.faults([slow("create_from_image", 20)]);
        accepted(client.create_from_image(id, image).await);
        client.until_status(id, VolumeStatus::Downloading).await.expect("alive");
        refusal(client.delete(id).await);
        accepted(client.ask(id, Command::Delete { force: true, cascade: false }).await);
        client.wait_gone(id).await.expect("alive");
        client.assert_clean().await;
        assert!(client.contents(id).is_empty(), "the late call made nothing");
    });
}
