//! Calls of drivers to the image service: what every backend asks of it in the same way.

use std::sync::Arc;

use crate::domain::backend::{Cause, CauseKind, Outcome};
use crate::domain::ids::{ImageId, ProjectId};
use crate::domain::image::ToImage;
use crate::images::{DiskFormat, Image, ImageCaller, ImageError, ImageService, ImageStatus, NewImage, Visibility};

/// The image service.
pub(super) type Service = Arc<dyn ImageService>;

/// Makes the image, unless an earlier try of the same operation has: nobody else knows its id.
pub(super) async fn create(service: &Service, image: &ToImage) -> Result<(), ImageError> {
    let caller = ImageCaller::service(image.project_id.clone());
    let visibilities = [Visibility::Public, Visibility::Community, Visibility::Shared, Visibility::Private];
    let named = |word: &str| visibilities.into_iter().find(|visibility| visibility.as_str() == word);
    let new = NewImage {
        id: Some(image.image_id),
        name: Some(image.name.clone()),
        owner: Some(image.project_id.clone()),
        visibility: image.visibility.as_deref().and_then(named).unwrap_or_default(),
        protected: image.is_protected,
        disk_format: Some(image.disk_format.clone()),
        container_format: Some(image.container_format.clone()),
        properties: image.properties.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ..NewImage::default()
    };
    match service.clone().create(caller.clone(), new).await {
        Ok(_) => Ok(()),
        Err(ImageError::Conflict(text)) => match service.clone().show(caller, image.image_id).await {
            Ok(_) => Ok(()),
            Err(ImageError::NotFound(_)) => Err(ImageError::Conflict(text)),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Whether the image's data is whole already.
pub(super) async fn is_whole(service: &Service, image: &ToImage) -> Result<bool, ImageError> {
    let caller = ImageCaller::service(image.project_id.clone());
    Ok(service.clone().show(caller, image.image_id).await?.status.has_data())
}

/// Removes the image unless it is whole.
pub(super) async fn discard(service: &Service, project_id: ProjectId, id: ImageId) -> Result<(), ImageError> {
    let caller = ImageCaller::service(project_id);
    let removed = async {
        let found = service.clone().show(caller.clone(), id).await?;
        if found.status.has_data() { Ok(()) } else { service.clone().delete(caller, id).await }
    };
    match removed.await {
        Err(ImageError::NotFound(_)) => Ok(()),
        other => other,
    }
}

/// The image, and the format that its data is declared to have.
pub(super) async fn declared(
    service: &Service,
    project_id: ProjectId,
    id: ImageId,
) -> Result<(Image, DiskFormat), ImageError> {
    let image = service.clone().show(ImageCaller::service(project_id), id).await?;
    if image.status != ImageStatus::Active {
        return Err(ImageError::Conflict(format!("Image {id} is not active.")));
    }
    if let Some(container) = image.container_format.as_deref().filter(|word| PACKED.contains(word)) {
        return Err(ImageError::Invalid(format!("an image in the container format {container} is not a disk")));
    }
    let word = image.disk_format.as_deref().unwrap_or("none");
    match DiskFormat::parse(word) {
        Some(format) => Ok((image, format)),
        None => Err(ImageError::Invalid(format!("an image of the disk format {word} cannot become a volume"))),
    }
}

/// Container formats whose bytes are not those of a disk.
const PACKED: [&str; 4] = ["compressed", "docker", "ova", "oci"];

/// What the caller of the driver is told.
pub(super) fn outcome_of(error: &ImageError) -> Outcome {
    let cause = Cause::new(CauseKind::Image, error.to_string());
    match error {
        ImageError::Corrupt | ImageError::Unavailable => Outcome::Failed { cause },
        _ => Outcome::Refused { cause },
    }
}

/// The same of an image's creation, after which it may be there all the same.
pub(super) fn outcome_of_creation(error: &ImageError) -> Outcome {
    match outcome_of(error) {
        Outcome::Failed { cause } => Outcome::Unknown { cause },
        certain => certain,
    }
}

/// The same for a backend that has no image service.
pub(super) fn no_service() -> Outcome {
    let cause = Cause::new(CauseKind::Image, "this backend has no image service");
    Outcome::Refused { cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Randomness;
    use crate::sim::MemoryImages;

    /// An image that was made whole stays, also if its owner has deactivated it before we look.
    #[tokio::test]
    async fn only_an_image_without_its_data_is_discarded() {
        let (images, randomness) = (MemoryImages::new(), Randomness::from_seed(1));
        let service: Service = images.clone();
        for (status, stays) in [
            (ImageStatus::Queued, false),
            (ImageStatus::Saving, false),
            (ImageStatus::Active, true),
            (ImageStatus::Deactivated, true),
        ] {
            let id = ImageId(randomness.uuid());
            images.put(id, b"data", |image| image.status = status);
            discard(&service, "p".into(), id).await.expect("discarded");
            assert_eq!(images.image(id).is_some(), stays, "{status:?}");
        }
    }
}
