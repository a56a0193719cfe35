//! Images at the simulated backend. What a simulated volume holds are the marks that were written to it; an image that is made of
//! one holds them as lines of text. Any other image is one mark, its id.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::FromRawFd;

use super::engine::Engine;
use crate::domain::backend::{Call, Cause, CauseKind, Outcome, Request};
use crate::domain::ids::{ImageId, ProjectId};
use crate::domain::image::ToImage;
use crate::drivers::image_calls::{self, Service, no_service, outcome_of, outcome_of_creation};
use crate::images::{ImageCaller, ImageError};

/// The first line of an image that a simulated volume was made into.
const HEAD: &str = "marks of a simulated volume";

/// Most bytes of such an image that are read.
const BYTES_MAX: u64 = 64 << 20;

/// What a request that needs the image service came to, as far as the service is concerned.
pub(super) enum Asked {
    /// It is over.
    Ended(Outcome),
    /// The volume is to hold these marks.
    Holds(Vec<String>),
}

impl Engine {
    /// Asks the image service what a call needs of it; none for a call that needs nothing.
    pub(super) async fn ask_images(&self, call: &Call) -> Option<Asked> {
        if !call.request.needs_images() {
            return None;
        }
        let Some(service) = self.image_service() else { return Some(Asked::Ended(no_service())) };
        let asked = match &call.request {
            // A repetition must not ask for an image that may be gone by now.
            Request::CreateFromImage { .. } | Request::Reimage { .. } if self.truth().is_filled_by(&call.key) => {
                Ok(Asked::Holds(Vec::new()))
            }
            Request::CreateFromImage { image_id, project_id, size_gib } => {
                fetch(service, project_id, *image_id, Some(*size_gib)).await.map(Asked::Holds)
            }
            Request::Reimage { image_id, project_id } => {
                fetch(service, project_id, *image_id, None).await.map(Asked::Holds)
            }
            Request::CreateImage { image } if !self.is_discarded(image.image_id) => {
                let made = image_calls::create(service, image).await;
                self.unless_discarded(service, image, made).await.map(Asked::Ended)
            }
            Request::UploadImage { image } if !self.is_discarded(image.image_id) => {
                match self.truth().held(call.key.volume_id) {
                    Some(marks) => {
                        let uploaded = upload(service, image, &marks).await;
                        self.unless_discarded(service, image, uploaded).await.map(Asked::Ended)
                    }
                    None => Err(ImageError::Invalid("the volume does not exist at the backend".to_owned())),
                }
            }
            Request::DiscardImage { image_id, project_id } => {
                self.discard(*image_id);
                image_calls::discard(service, project_id.clone(), *image_id)
                    .await
                    .map(|()| Asked::Ended(Outcome::done()))
            }
            _ => Ok(Asked::Ended(discarded())),
        };
        let is_creation = matches!(call.request, Request::CreateImage { .. });
        let outcome = if is_creation { outcome_of_creation } else { outcome_of };
        Some(asked.unwrap_or_else(|error| Asked::Ended(outcome(&error))))
    }

    /// The end of a call that may have come too late.
    async fn unless_discarded(
        &self,
        service: &Service,
        image: &ToImage,
        ended: Result<(), ImageError>,
    ) -> Result<Outcome, ImageError> {
        if self.is_discarded(image.image_id) {
            image_calls::discard(service, image.project_id.clone(), image.image_id).await?;
            return Ok(discarded());
        }
        ended.map(|()| Outcome::done())
    }
}

async fn fetch(
    service: &Service,
    project_id: &ProjectId,
    id: ImageId,
    size_gib: Option<u32>,
) -> Result<Vec<String>, ImageError> {
    let (image, _) = image_calls::declared(service, project_id.clone(), id).await?;
    if size_gib.is_some_and(|size_gib| image.size_gib_min() > u64::from(size_gib)) {
        return Err(ImageError::Invalid("the disk in the image is larger than the volume".to_owned()));
    }
    let caller = ImageCaller::service(project_id.clone());
    let file = service.clone().fetch(caller, id, std::env::temp_dir(), BYTES_MAX).await?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(|_| ImageError::Corrupt)?;
    Ok(marks_of(&bytes).unwrap_or_else(|| vec![format!("image {id}")]))
}

fn marks_of(bytes: &[u8]) -> Option<Vec<String>> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    (lines.next()? == HEAD).then(|| lines.map(str::to_owned).collect())
}

async fn upload(service: &Service, image: &ToImage, marks: &[String]) -> Result<(), ImageError> {
    if image_calls::is_whole(service, image).await? {
        return Ok(());
    }
    let text = [HEAD].into_iter().chain(marks.iter().map(String::as_str)).collect::<Vec<_>>().join("\n");
    let data = in_memory(text.as_bytes()).map_err(|_| ImageError::NoSpace)?;
    let caller = ImageCaller::service(image.project_id.clone());
    service.clone().upload(caller, image.image_id, data).await.map(|_| ())
}

/// An empty file that is nowhere.
pub fn file_in_memory() -> io::Result<File> {
    let name = CString::from(c"image");
    // SAFETY: the name is NUL-terminated and lives during the call.
    let descriptor = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is owned by nobody else.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = file_in_memory()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

fn discarded() -> Outcome {
    Outcome::Refused { cause: Cause::new(CauseKind::Image, "the image was given up by a later call") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_a_simulated_volume_is_read_back_and_any_other_is_not_taken_for_one() {
        assert_eq!(marks_of(format!("{HEAD}\na\nb").as_bytes()), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(marks_of(HEAD.as_bytes()), Some(Vec::new()));
        assert_eq!((marks_of(b"a\nb"), marks_of(&[0xff])), (None, None));
    }
}
