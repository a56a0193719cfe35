//! The rules of `domain::backend::Request` about images, each as a function over any backend that has an image service.

use hearth::domain::backend::{Call, CallKey, CauseKind, Outcome, Request, Truth};
use hearth::domain::ids::{ImageId, ProjectId, VolumeId};
use hearth::domain::image::ToImage;
use hearth::domain::metadata::Metadata;
use hearth::images::{ImageCaller, ImageStatus};
use uuid::Uuid;

use super::subject::{Subject, assert_refused, size, volume};

/// Rules of images.
pub mod images {
    use super::*;

    pub async fn a_volume_becomes_an_image_and_the_image_a_volume(mut subject: Subject) {
        let image = uploaded(&mut subject, 1).await;
        let contents = subject.contents(volume(1)).await;
        assert_eq!(contents.len(), 1);
        subject.write(volume(1), 5).await;
        assert_eq!(subject.ask(volume(2), from(image, 2)).await, size(2));
        assert_eq!(subject.contents(volume(2)).await, contents, "what it held at the upload");
        assert_eq!(subject.probe(volume(2)).await, Truth { exists: true, size_gib: 2, ..Truth::default() });
        assert!(subject.allocated_kib(volume(2)) < 4096, "the holes are kept");
    }

    pub async fn a_volume_from_an_image_is_idempotent_by_key_and_never_overwrites(mut subject: Subject) {
        let image = uploaded(&mut subject, 1).await;
        let first = subject.fresh(volume(2), from(image, 1));
        assert_eq!(subject.carry_out(first.clone()).await, size(1));
        subject.write(volume(2), 5).await;
        let contents = subject.contents(volume(2)).await;
        assert_eq!(subject.carry_out(first.clone()).await, size(1));
        // Also when the image has gone meanwhile.
        remove(&subject, image).await;
        assert_eq!(subject.carry_out(first).await, size(1));
        assert!(matches!(subject.ask(volume(2), from(image, 1)).await, Outcome::Refused { .. }));
        assert_eq!(subject.contents(volume(2)).await, contents);
    }

    pub async fn an_image_that_is_missing_or_has_no_data_makes_nothing(mut subject: Subject) {
        assert_refused(&subject.ask(volume(1), from(image_id(9), 1)).await, CauseKind::Image);
        let image = to_image(&subject, 1);
        assert_eq!(subject.ask(volume(1), Request::CreateImage { image }).await, Outcome::done());
        assert_refused(&subject.ask(volume(1), from(image_id(1), 1)).await, CauseKind::Image);
        assert_eq!(subject.inventory().await, []);
    }

    pub async fn a_reimage_replaces_everything_and_is_idempotent_by_key(mut subject: Subject) {
        let image = uploaded(&mut subject, 1).await;
        let contents = subject.contents(volume(1)).await;
        subject.create(volume(2), 2).await;
        subject.write(volume(2), 100).await;
        let first = subject.fresh(volume(2), into(image));
        for _ in 0..2 {
            assert_eq!(subject.carry_out(first.clone()).await, Outcome::done());
            assert_eq!(subject.contents(volume(2)).await, contents, "nothing of before");
        }
        assert_eq!(subject.probe(volume(2)).await.size_gib, 2);
        subject.write(volume(2), 5).await;
        let written = subject.contents(volume(2)).await;
        remove(&subject, image).await;
        assert_eq!(subject.carry_out(first).await, Outcome::done());
        assert_eq!(subject.contents(volume(2)).await, written, "it is not done again");
        // Another one is, and cannot be.
        assert_refused(&subject.ask(volume(2), into(image)).await, CauseKind::Image);
        assert_eq!(subject.contents(volume(2)).await, written, "whole or not at all");
    }

    pub async fn a_reimage_refuses_live_exports_and_a_volume_that_is_not_there(mut subject: Subject) {
        let image = uploaded(&mut subject, 1).await;
        assert!(matches!(subject.ask(volume(2), into(image)).await, Outcome::Refused { .. }));
        subject.create(volume(2), 1).await;
        subject.export(volume(2), 1, 1).await;
        assert_refused(&subject.ask(volume(2), into(image)).await, CauseKind::Busy);
        assert!(subject.contents(volume(2)).await.is_empty());
        assert_eq!(subject.probe(volume(2)).await.exports.len(), 1, "and leaves them");
    }

    pub async fn an_upload_is_done_once(mut subject: Subject) {
        let image = uploaded(&mut subject, 1).await;
        let before = show(&subject, image).expect("there");
        subject.write(volume(1), 5).await;
        let again = to_image(&subject, 1);
        for request in [Request::CreateImage { image: again.clone() }, Request::UploadImage { image: again }] {
            assert_eq!(subject.ask(volume(1), request).await, Outcome::done());
        }
        assert_eq!(show(&subject, image), Some(before), "it is not given again");
        assert_eq!(subject.ask(volume(1), discard(image)).await, Outcome::done());
        assert!(show(&subject, image).is_some(), "a whole image is not removed");
    }

    pub async fn an_upload_without_an_image_or_a_volume_is_refused(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        let image = to_image(&subject, 1);
        assert_refused(&subject.ask(volume(1), Request::UploadImage { image: image.clone() }).await, CauseKind::Image);
        assert_eq!(subject.ask(volume(1), Request::CreateImage { image: image.clone() }).await, Outcome::done());
        let of_nothing = subject.ask(volume(9), Request::UploadImage { image }).await;
        assert!(matches!(of_nothing, Outcome::Refused { .. }), "{of_nothing:?}");
        assert_eq!(show(&subject, image_id(1)).expect("there").status, ImageStatus::Queued);
    }

    pub async fn an_image_that_is_given_up_is_gone_and_does_not_come_back(mut subject: Subject) {
        subject.create(volume(1), 1).await;
        // Messages of one process: nothing is on its way across a restart.
        let backend = subject.backend();
        let image = to_image(&subject, 1);
        let [create, upload, discard] =
            [Request::CreateImage { image: image.clone() }, Request::UploadImage { image }, discard(image_id(1))]
                .map(|request| subject.fresh(volume(1), request));
        assert_eq!(backend.clone().call(create.clone()).await, Outcome::done());
        assert_eq!(backend.clone().call(discard.clone()).await, Outcome::done());
        assert!(show(&subject, image_id(1)).is_none());
        for late in [create, upload] {
            let late = Call { key: CallKey { epoch: 7, ..late.key }, ..late };
            assert_refused(&backend.clone().call(late).await, CauseKind::Image);
        }
        assert_eq!(backend.call(discard).await, Outcome::done());
        assert!(show(&subject, image_id(1)).is_none());
    }
}

fn project() -> ProjectId {
    ProjectId::from("p")
}

fn image_id(number: u128) -> ImageId {
    ImageId(Uuid::from_u128(0x1_0000 + number))
}

fn to_image(subject: &Subject, number: u128) -> Box<ToImage> {
    Box::new(ToImage {
        image_id: image_id(number),
        name: "image".to_owned(),
        project_id: project(),
        disk_format: subject.disk_format().to_owned(),
        container_format: "bare".to_owned(),
        visibility: None,
        is_protected: false,
        properties: Metadata::default(),
    })
}

fn from(image_id: ImageId, size_gib: u32) -> Request {
    Request::CreateFromImage { image_id, project_id: project(), size_gib }
}

fn into(image_id: ImageId) -> Request {
    Request::Reimage { image_id, project_id: project() }
}

fn discard(image_id: ImageId) -> Request {
    Request::DiscardImage { image_id, project_id: project() }
}

/// Volume 1 with one write, and its image.
async fn uploaded(subject: &mut Subject, number: u128) -> ImageId {
    let id: VolumeId = volume(1);
    subject.create(id, 1).await;
    subject.write(id, 1).await;
    let image = to_image(subject, number);
    assert_eq!(subject.ask(id, Request::CreateImage { image: image.clone() }).await, Outcome::done());
    assert_eq!(subject.ask(id, Request::UploadImage { image }).await, Outcome::done());
    assert_eq!(show(subject, image_id(number)).expect("there").status, ImageStatus::Active);
    image_id(number)
}

fn show(subject: &Subject, id: ImageId) -> Option<hearth::images::Image> {
    subject.images().image(&ImageCaller::service(project()), id).ok().map(|image| (*image).clone())
}

async fn remove(subject: &Subject, id: ImageId) {
    subject.images().remove(ImageCaller::service(project()), id).await.expect("removed");
}
