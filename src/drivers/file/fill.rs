//! Volumes that get their contents from an image, and images that are made from volumes.
//!
//! An image is a stranger's bytes: it is fetched into a file without a name, inspected and converted (`images::convert`) into the
//! new file of the volume, which gets its name when it is whole, as every other file of the pool (`images`). A volume is a
//! stranger's bytes as well: it is read as plain blocks, whatever they look like.
//!
//! The image service and the converter end their calls by their own bounds; while they are at work the call counts as one that
//! makes progress, and it is cut off by dropping theirs.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use super::copies::{Copy, Running};
use super::copy::{CopyState, CopyWatch};
use super::images::{FileError, GIB, Images, NewImage};
use super::locks::Locked;
use super::names::Image;
use super::{FileBackend, sized, whole_gib};
use crate::domain::backend::{Answer, CallKey, Cause, CauseKind, Outcome};
use crate::domain::ids::{ImageId, ProjectId};
use crate::domain::image::ToImage;
use crate::drivers::image_calls::{self, Service};
use crate::images::{ConvertError, Converter, DiskFormat, ImageCaller, ImageError};

/// A call to the image service or the converter is looked at this often, whether it is still wanted.
const POLL: Duration = Duration::from_millis(200);

/// The image service, and what converts its images.
pub(super) struct ImageAccess {
    service: Service,
    converter: Converter,
}

/// Why a volume is not filled, or an image not made.
enum FillError {
    File(FileError),
    Image(ImageError),
    Convert(ConvertError),
    /// Nobody wants it any more.
    CutOff,
}

impl From<FileError> for FillError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl From<ImageError> for FillError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

impl From<ConvertError> for FillError {
    fn from(error: ConvertError) -> Self {
        Self::Convert(error)
    }
}

impl FillError {
    fn into_outcome(self) -> Outcome {
        let of_image = |text: String| Cause::new(CauseKind::Image, text);
        match self {
            Self::File(error) => error.into_outcome(),
            Self::Image(error) => image_calls::outcome_of(&error),
            Self::Convert(ConvertError::NoSpace) => {
                Outcome::Refused { cause: Cause::new(CauseKind::NoSpace, "the backend has no space left") }
            }
            Self::Convert(error @ (ConvertError::Deadline(_) | ConvertError::Unavailable(_))) => {
                tracing::warn!(%error, "an image is not converted");
                let text = match error {
                    ConvertError::Deadline(_) => error.to_string(),
                    _ => "images cannot be converted at this backend".to_owned(),
                };
                Outcome::Failed { cause: of_image(text) }
            }
            Self::Convert(error) => Outcome::Refused { cause: of_image(error.to_string()) },
            Self::CutOff => FileError::Later("the copy was cut off".into()).into_outcome(),
        }
    }
}

impl FileBackend {
    /// Gives the backend its images; once, before it serves. Without, calls about images are refused.
    pub fn use_images(&self, service: Service, converter: Converter) {
        // A second service would leave calls under way with the first.
        let _ = self.image_access.set(ImageAccess { service, converter });
    }

    pub(super) async fn create_from_image(
        &self,
        key: CallKey,
        image_id: ImageId,
        project_id: ProjectId,
        size_gib: u32,
    ) -> Outcome {
        let Some(access) = self.image_access.get() else { return image_calls::no_service() };
        let volume = key.volume_id;
        // Held to the end: repetitions wait for it.
        let guard = self.locks.acquire(volume).await;
        if let Some(answer) = self.answered.get(&key) {
            return Outcome::Done { answer };
        }
        let (operation, epoch, origins) = (key.operation_id, key.epoch, self.origins.clone());
        let bytes = u64::from(size_gib) * GIB;
        let begin = move |images: &Arc<Images>| match images.size(volume)? {
            Some(found) if origins.is(volume, operation)? => Ok(Err(found)),
            Some(_) => Err(FileError::Conflict("another volume exists at the backend under this id".into())),
            None => images.begin(volume, epoch, bytes).map(Ok),
        };
        let (begun, guard) = match self.on_files_holding(guard, begin).await {
            Ok(begun) => begun,
            Err(error) => return error.into_outcome(),
        };
        let new = match begun {
            Ok(new) => new,
            Err(found) => return sized(found),
        };
        let (_watch, state, running) = self.begin_filling(&key);
        let new = match access.fill(self, new, &state, image_id, project_id, bytes).await {
            Ok(new) => new,
            Err(error) => return error.into_outcome(),
        };
        let (origins, to_end) = (self.origins.clone(), state.clone());
        let publish = move |_: &Arc<Images>| {
            to_end.check()?;
            origins.record(volume, operation)?;
            match new.publish(bytes)? {
                true => Ok(()),
                false => Err(FileError::Conflict("another volume exists at the backend under this id".into())),
            }
        };
        match self.on_files_holding((guard, running), publish).await {
            Ok(_) => {
                self.answered.insert(key, Answer::Size { size_gib: whole_gib(bytes) });
                sized(bytes)
            }
            Err(error) => error.into_outcome(),
        }
    }

    pub(super) async fn reimage(&self, key: CallKey, image_id: ImageId, project_id: ProjectId) -> Outcome {
        let Some(access) = self.image_access.get() else { return image_calls::no_service() };
        let volume = key.volume_id;
        let (contents, own) = self.locks.acquire_two(Locked::Contents(volume), Locked::Volume(volume)).await;
        if let Some(answer) = self.answered.get(&key) {
            return Outcome::Done { answer };
        }
        if let Some(busy) = self.being_copied(volume) {
            return busy;
        }
        // A daemon that has the old file open would go on serving that.
        if let Err(outcome) = self.let_go(volume).await {
            return outcome;
        }
        let (operation, epoch, origins) = (key.operation_id, key.epoch, self.origins.clone());
        let begin = move |images: &Arc<Images>| {
            let Some(bytes) = images.size(volume)? else {
                return Err(FileError::Conflict("the volume does not exist at the backend".into()));
            };
            let inode = images.inode(volume)?.unwrap_or(0);
            if origins.has_reverted(volume, operation, inode)? {
                return Ok(None);
            }
            // It is counted already.
            Ok(Some((bytes, images.begin(volume, epoch, 0)?)))
        };
        let (begun, (contents, own)) = match self.on_files_holding((contents, own), begin).await {
            Ok(begun) => begun,
            Err(error) => return error.into_outcome(),
        };
        let Some((bytes, new)) = begun else { return Outcome::done() };
        let (_watch, state, running) = self.begin_filling(&key);
        // From here on the copies under way tell what must not happen to the volume, and fences go through.
        drop(own);
        let new = match access.fill(self, new, &state, image_id, project_id, bytes).await {
            Ok(new) => new,
            Err(error) => return error.into_outcome(),
        };
        let (origins, to_end) = (self.origins.clone(), state.clone());
        let replace = move |_: &Arc<Images>| {
            new.file.set_len(bytes)?;
            to_end.check()?;
            origins.record_revert(volume, operation, new.file.metadata()?.ino())?;
            new.replace()
        };
        match self.on_files_holding((contents, running), replace).await {
            Ok(_) => {
                self.answered.insert(key, Answer::Nothing);
                Outcome::done()
            }
            Err(error) => error.into_outcome(),
        }
    }

    fn begin_filling(&self, key: &CallKey) -> (CopyWatch, CopyState, Running) {
        let watch = CopyWatch::default();
        let (state, volume) = (watch.state(), Image::Volume(key.volume_id));
        let copy = Copy {
            key: Some(key.clone()),
            from: Some(volume),
            to: Some(volume),
            is_mirror: true,
            state: state.clone(),
        };
        let running = self.copies.begin(copy);
        (watch, state, running)
    }

    pub(super) async fn create_image(&self, image: &ToImage) -> Outcome {
        let Some(access) = self.image_access.get() else { return image_calls::no_service() };
        let _guard = self.locks.lock(Locked::Image(image.image_id)).await;
        if self.discarded.get(&image.image_id).is_some() {
            return discarded();
        }
        match image_calls::create(&access.service, image).await {
            Ok(()) => Outcome::done(),
            Err(error) => image_calls::outcome_of_creation(&error),
        }
    }

    pub(super) async fn upload_image(&self, key: CallKey, image: &ToImage) -> Outcome {
        let Some(access) = self.image_access.get() else { return image_calls::no_service() };
        let _guard = self.locks.lock(Locked::Image(image.image_id)).await;
        let is_given_up = || self.discarded.get(&image.image_id).is_some();
        if is_given_up() {
            return discarded();
        }
        match image_calls::is_whole(&access.service, image).await {
            Ok(true) => return Outcome::done(),
            Ok(false) => {}
            Err(error) => return image_calls::outcome_of(&error),
        }
        let moment = Image::Moment(key.volume_id, image.image_id);
        let blocks = match self.keep_moment(&key, moment).await {
            Ok(blocks) => blocks,
            Err(outcome) => return outcome,
        };
        let watch = CopyWatch::default();
        let state = watch.state();
        let copy = Copy { key: Some(key), from: Some(moment), to: Some(moment), is_mirror: true, state: state.clone() };
        let _running = self.copies.begin(copy);
        if is_given_up() {
            return discarded();
        }
        match access.upload(self, &state, image, blocks).await {
            Ok(()) => Outcome::done(),
            Err(error) => error.into_outcome(),
        }
    }

    /// What the volume holds at one moment, in a file that goes with its last reader. A copy, also of a volume that nobody
    /// writes to: the service that reads it cannot be stopped at once when a client is about to write.
    async fn keep_moment(&self, key: &CallKey, moment: Image) -> Result<File, Outcome> {
        // One that is left of an earlier try is of an earlier moment.
        self.on_files(move |images| images.delete_moment(moment)).await.map_err(FileError::into_outcome)?;
        match self.copy_moment(key.clone(), moment).await {
            Outcome::Done { .. } => {}
            failed => return Err(failed),
        }
        // The call is not over.
        self.answered.forget(key);
        let open = move |images: &Arc<Images>| {
            let file = images.open(moment)?;
            images.delete_moment(moment)?;
            file.ok_or_else(|| FileError::Later("the copy was cut off".into()))
        };
        self.on_files(open).await.map_err(FileError::into_outcome)
    }

    /// Calls of before end first; later ones are refused.
    pub(super) async fn discard_image(&self, key: &CallKey, image_id: ImageId, project_id: ProjectId) -> Outcome {
        let Some(access) = self.image_access.get() else { return image_calls::no_service() };
        self.discarded.insert(image_id, ());
        self.copies.cut_off(Image::Moment(key.volume_id, image_id));
        let _guard = self.locks.lock(Locked::Image(image_id)).await;
        match image_calls::discard(&access.service, project_id, image_id).await {
            Ok(()) => Outcome::done(),
            Err(error) => image_calls::outcome_of(&error),
        }
    }
}

impl ImageAccess {
    /// Fills a new file with what the image holds, which has at most `bytes_max`.
    async fn fill(
        &self,
        backend: &FileBackend,
        new: NewImage,
        state: &CopyState,
        image_id: ImageId,
        project_id: ProjectId,
        bytes_max: u64,
    ) -> Result<NewImage, FillError> {
        let filling = async {
            let (_, format) = image_calls::declared(&self.service, project_id.clone(), image_id).await?;
            let caller = ImageCaller::service(project_id);
            let scratch = backend.images.dir().to_owned();
            let fetched = self.service.clone().fetch(caller, image_id, scratch, bytes_max).await?;
            self.converter.to_raw(&fetched, format, &new.file, bytes_max).await?;
            Ok(())
        };
        watched(state, filling).await?;
        Ok(new)
    }

    /// Gives the image these blocks, in its format.
    async fn upload(
        &self,
        backend: &FileBackend,
        state: &CopyState,
        image: &ToImage,
        blocks: File,
    ) -> Result<(), FillError> {
        let Some(format) = DiskFormat::parse(&image.disk_format) else {
            let text = format!("an image of the disk format {} cannot be made", image.disk_format);
            return Err(ImageError::Invalid(text).into());
        };
        let uploading = async {
            let data = if format == DiskFormat::Raw {
                blocks
            } else {
                let converted = backend.on_files(|images| images.unnamed()).await?;
                self.converter.from_raw(&blocks, format, &converted).await?;
                converted
            };
            let caller = ImageCaller::service(image.project_id.clone());
            self.service.clone().upload(caller, image.image_id, data).await?;
            Ok(())
        };
        watched(state, uploading).await
    }
}

/// Waits for somebody else's work as long as it is wanted, and lets it count as progress.
async fn watched<T>(state: &CopyState, work: impl Future<Output = Result<T, FillError>>) -> Result<T, FillError> {
    tokio::pin!(work);
    loop {
        match tokio::time::timeout(POLL, &mut work).await {
            Ok(done) => return done,
            Err(_) if state.check().is_err() => return Err(FillError::CutOff),
            Err(_) => state.tick(),
        }
    }
}

fn discarded() -> Outcome {
    Outcome::Refused { cause: Cause::new(CauseKind::Image, "the image was given up by a later call") }
}
