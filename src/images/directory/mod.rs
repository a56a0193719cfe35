//! The embedded store: a directory with two files for each image, its record and its data.
//!
//! The record is the truth: an image is there when its record is, and has data when its record says `active` or `deactivated`. Data gets its
//! name before its record says so, and loses it after the record is gone, so that whatever a crash leaves belongs to nobody
//! and is removed at the next start. The records are beside the data, not in the database, because they change together;
//! several nodes that share a database share images through Glance.

mod files;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use self::files::{Confirmed, Files, Part};
pub use self::upload::Upload;
pub(in crate::images) use self::upload::hex;
use super::image::{Image, ImageCaller, ImageStatus, NewImage, Visibility};
use super::service::{ImageError, ImageService};
use crate::domain::ids::ImageId;
use crate::runtime::{Clock, Randomness};

/// Properties of one image, as Glance's default.
pub const PROPERTIES_MAX: usize = 128;
/// Tags of one image, as Glance's default.
pub const TAGS_MAX: usize = 128;

/// How much the store takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of one image's data.
    pub image_bytes_max: u64,
    /// Images, of all projects.
    pub images_max: usize,
    /// Bytes of the file system that stay free.
    pub free_bytes_min: u64,
}

/// The embedded store.
pub struct DirectoryStore(Arc<Store>);

/// What uploads share with it.
pub(in crate::images) struct Store {
    files: Files,
    limits: StoreLimits,
    clock: Clock,
    randomness: Randomness,
    /// For names of parts.
    numbers: AtomicU64,
    /// Held while files change, so that changes are decided on what they replace. Never taken while `entries` is held.
    changing: Mutex<()>,
    /// What the files say. Held for moments.
    entries: Mutex<BTreeMap<ImageId, Entry>>,
}

#[derive(Clone)]
struct Entry {
    /// As its record says; `saving` is never on disk.
    image: Arc<Image>,
    /// The upload that is under way.
    upload: Option<u64>,
}

impl Entry {
    fn shown(&self) -> Arc<Image> {
        match self.upload {
            Some(_) => Arc::new(Image { status: ImageStatus::Saving, ..(*self.image).clone() }),
            None => Arc::clone(&self.image),
        }
    }
}

impl fmt::Debug for DirectoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryStore").field("images", &self.0.entries().len()).finish_non_exhaustive()
    }
}

impl DirectoryStore {
    /// Opens the store and removes what a crash has left. Blocks.
    pub fn open(dir: PathBuf, limits: StoreLimits, clock: Clock, randomness: Randomness) -> io::Result<Arc<Self>> {
        let files = Files::open(dir)?;
        let entry = |image: Image| (image.id, Entry { image: Arc::new(image), upload: None });
        let entries = files.load()?.into_iter().map(entry).collect();
        Ok(Arc::new(Self(Arc::new(Store {
            files,
            limits,
            clock,
            randomness,
            numbers: AtomicU64::new(0),
            changing: Mutex::new(()),
            entries: Mutex::new(entries),
        }))))
    }

    /// One image that the caller sees.
    pub fn image(&self, caller: &ImageCaller, id: ImageId) -> Result<Arc<Image>, ImageError> {
        Ok(self.0.visible(caller, id)?.shown())
    }

    /// Every image that the caller sees, in no order that means anything.
    pub fn images(&self, caller: &ImageCaller) -> Vec<Arc<Image>> {
        self.0.entries().values().filter(|entry| caller.sees(&entry.image)).map(Entry::shown).collect()
    }

    /// Makes an image without data.
    pub async fn make(&self, caller: ImageCaller, new: NewImage) -> Result<Arc<Image>, ImageError> {
        let store = Arc::clone(&self.0);
        blocking(move || store.make(&caller, new)).await
    }

    /// Changes what is said of an image; `change` refuses, or makes the new image of the old one.
    pub async fn change(
        &self,
        caller: ImageCaller,
        id: ImageId,
        change: impl FnOnce(&mut Image) -> Result<(), ImageError> + Send + 'static,
    ) -> Result<Arc<Image>, ImageError> {
        let store = Arc::clone(&self.0);
        blocking(move || store.change(&caller, id, change)).await
    }

    /// Removes an image and its data. Who reads the data at this moment reads it to its end.
    pub async fn remove(&self, caller: ImageCaller, id: ImageId) -> Result<(), ImageError> {
        let store = Arc::clone(&self.0);
        blocking(move || store.remove(&caller, id)).await
    }

    /// Begins to write the data of a queued image; `declared` is its length where that is known.
    pub async fn upload_begin(
        &self,
        caller: ImageCaller,
        id: ImageId,
        declared: Option<u64>,
    ) -> Result<Upload, ImageError> {
        let store = Arc::clone(&self.0);
        blocking(move || store.upload_begin(&caller, id, declared)).await
    }

    /// The data of an active image; of a deactivated one for administrators.
    pub async fn data(&self, caller: ImageCaller, id: ImageId) -> Result<(Arc<Image>, File), ImageError> {
        let store = Arc::clone(&self.0);
        blocking(move || store.data(&caller, id)).await
    }
}

impl Store {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<ImageId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn visible(&self, caller: &ImageCaller, id: ImageId) -> Result<Entry, ImageError> {
        let entry = self.entries().get(&id).cloned();
        entry.filter(|entry| caller.sees(&entry.image)).ok_or(ImageError::NotFound(id))
    }

    /// One that the caller may change.
    fn own(&self, caller: &ImageCaller, id: ImageId, doing: &str) -> Result<Entry, ImageError> {
        let entry = self.visible(caller, id)?;
        if caller.may_change(&entry.image) {
            return Ok(entry);
        }
        Err(ImageError::Forbidden(format!("You are not authorized to complete {doing} action.")))
    }

    fn make(&self, caller: &ImageCaller, new: NewImage) -> Result<Arc<Image>, ImageError> {
        let now = self.clock.now();
        let image = Image {
            id: new.id.unwrap_or_else(|| ImageId(self.randomness.uuid())),
            name: new.name,
            status: ImageStatus::Queued,
            visibility: new.visibility,
            protected: new.protected,
            hidden: new.hidden,
            owner: Some(new.owner.unwrap_or_else(|| caller.project_id.clone())),
            disk_format: new.disk_format,
            container_format: new.container_format,
            size: None,
            virtual_size: None,
            min_disk: new.min_disk,
            min_ram: new.min_ram,
            checksum: None,
            os_hash_algo: None,
            os_hash_value: None,
            tags: new.tags,
            properties: new.properties,
            created_at: now,
            updated_at: now,
        };
        if !caller.may_change(&image) {
            return Err(ImageError::Forbidden("You are not permitted to create images owned by another.".to_owned()));
        }
        judge(caller, None, &image)?;
        let _changing = self.changing();
        {
            let entries = self.entries();
            if entries.contains_key(&image.id) {
                return Err(ImageError::Conflict(format!("Image ID {} already exists!", image.id)));
            }
            if entries.len() >= self.limits.images_max {
                let text = format!("There are {} images already, which is the most there may be.", entries.len());
                return Err(ImageError::OverLimit(text));
            }
        }
        self.put(Entry { image: Arc::new(image), upload: None })
    }

    fn change(
        &self,
        caller: &ImageCaller,
        id: ImageId,
        change: impl FnOnce(&mut Image) -> Result<(), ImageError>,
    ) -> Result<Arc<Image>, ImageError> {
        let _changing = self.changing();
        let entry = self.own(caller, id, "modify_image")?;
        let mut image = (*entry.image).clone();
        change(&mut image)?;
        judge(caller, Some(&entry.image), &image)?;
        image.updated_at = self.clock.now();
        self.put(Entry { image: Arc::new(image), ..entry })
    }

    fn remove(&self, caller: &ImageCaller, id: ImageId) -> Result<(), ImageError> {
        let _changing = self.changing();
        let entry = self.own(caller, id, "delete_image")?;
        if entry.image.protected {
            let text = format!("Image {id} is protected and cannot be deleted.");
            return Err(ImageError::Forbidden(text));
        }
        let confirmed = self.files.remove_record(id).map_err(|error| no_room(&error))?;
        self.entries().remove(&id);
        self.files.remove_data(id);
        confirm(confirmed)
    }

    /// Writes the record of `entry`, and shows it. `changing` is held.
    fn put(&self, entry: Entry) -> Result<Arc<Image>, ImageError> {
        let confirmed = self.files.write_record(&entry.image, self.number()).map_err(|error| no_room(&error))?;
        let shown = entry.shown();
        {
            let mut entries = self.entries();
            // an upload may have ended meanwhile
            let upload = entries.get(&shown.id).map_or(entry.upload, |known| known.upload);
            entries.insert(shown.id, Entry { upload, ..entry });
        }
        confirm(confirmed).map(|()| shown)
    }

    fn upload_begin(
        self: &Arc<Self>,
        caller: &ImageCaller,
        id: ImageId,
        declared: Option<u64>,
    ) -> Result<Upload, ImageError> {
        let image = self.own(caller, id, "upload_image")?.image;
        let missing = [("disk_format", &image.disk_format), ("container_format", &image.container_format)];
        if let Some((name, _)) = missing.into_iter().find(|(_, value)| value.is_none()) {
            return Err(ImageError::Invalid(format!("Property {name} must be set prior to saving data.")));
        }
        let number = self.number();
        {
            let mut entries = self.entries();
            let entry = entries.get_mut(&id).ok_or(ImageError::NotFound(id))?;
            let status = entry.shown().status;
            if status != ImageStatus::Queued {
                let text = format!("Image status transition from {} to saving is not allowed", status.as_str());
                return Err(ImageError::Conflict(text));
            }
            entry.upload = Some(number);
        }
        match self.files.part(id, number) {
            Ok(part) => Upload::new(Arc::clone(self), &image, number, part, declared),
            Err(error) => {
                self.upload_ended(id, number);
                Err(no_room(&error))
            }
        }
    }

    fn upload_ended(&self, id: ImageId, number: u64) {
        if let Some(entry) = self.entries().get_mut(&id)
            && entry.upload == Some(number)
        {
            entry.upload = None;
        }
    }

    /// Gives an image its data, unless it has gone meanwhile.
    fn activate(
        &self,
        id: ImageId,
        number: u64,
        part: Part,
        describe: impl FnOnce(&mut Image),
    ) -> Result<Arc<Image>, ImageError> {
        let _changing = self.changing();
        let entry = self.entries().get(&id).filter(|entry| entry.upload == Some(number)).cloned();
        let entry = entry.ok_or(ImageError::NotFound(id))?;
        let mut image = Image { status: ImageStatus::Active, ..(*entry.image).clone() };
        describe(&mut image);
        image.updated_at = self.clock.now();
        let named = self.files.name_data(part, id).map_err(|error| no_room(&error));
        let written =
            named.and_then(|()| self.files.write_record(&image, self.number()).map_err(|error| no_room(&error)));
        match written {
            Ok(confirmed) => {
                let image = Arc::new(image);
                self.entries().insert(id, Entry { image: Arc::clone(&image), upload: None });
                confirm(confirmed).map(|()| image)
            }
            Err(error) => {
                self.files.remove_data(id);
                Err(error)
            }
        }
    }

    fn data(&self, caller: &ImageCaller, id: ImageId) -> Result<(Arc<Image>, File), ImageError> {
        let image = self.visible(caller, id)?.shown();
        if image.status == ImageStatus::Deactivated && !caller.is_admin {
            let text = "The requested image has been deactivated. Image data download is forbidden.";
            return Err(ImageError::Forbidden(text.to_owned()));
        }
        if !image.status.has_data() {
            return Err(ImageError::Conflict(format!("Image {id} has no data: it is {}.", image.status.as_str())));
        }
        let file = match self.files.data(id) {
            // it has been removed at this moment
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.visible(caller, id).is_err() => {
                return Err(ImageError::NotFound(id));
            }
            other => other.map_err(|error| no_room(&error))?,
        };
        let length = file.metadata().map_err(|error| no_room(&error))?.len();
        if image.size != Some(length) {
            tracing::error!(image = %id, length, "the data of this image is not what was stored");
            return Err(ImageError::Corrupt);
        }
        Ok((image, file))
    }
}

/// Rules of an image as a whole, wherever it comes from.
fn judge(caller: &ImageCaller, before: Option<&Image>, after: &Image) -> Result<(), ImageError> {
    let was_public = before.is_some_and(|image| image.visibility == Visibility::Public);
    if after.visibility == Visibility::Public && !was_public && !caller.is_admin {
        return Err(ImageError::Forbidden("You are not authorized to complete publicize_image action.".to_owned()));
    }
    if before.is_some_and(|image| image.owner != after.owner) && !caller.is_admin {
        return Err(ImageError::Forbidden("You are not permitted to modify 'owner' on this image.".to_owned()));
    }
    for (what, count, most) in
        [("properties", after.properties.len(), PROPERTIES_MAX), ("tags", after.tags.len(), TAGS_MAX)]
    {
        if count > most {
            return Err(ImageError::OverLimit(format!(
                "The limit has been exceeded on the number of allowed image {what}. Attempted: {count}, Maximum: {most}"
            )));
        }
    }
    Ok(())
}

/// A change that may not survive a power cut is not answered as done.
fn confirm(confirmed: Confirmed) -> Result<(), ImageError> {
    match confirmed {
        Confirmed::Yes => Ok(()),
        Confirmed::No => Err(ImageError::Unavailable),
    }
}

/// What the disk's error means to a client.
fn no_room(error: &io::Error) -> ImageError {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => ImageError::NoSpace,
        _ => {
            tracing::error!(%error, "the directory of images reports an error");
            ImageError::Unavailable
        }
    }
}

/// Runs file work away from the threads that serve requests.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "work on images ended early");
            Err(ImageError::Unavailable)
        }
    }
}

impl ImageService for DirectoryStore {
    fn show(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<Image, ImageError>> {
        let image = self.image(&caller, id).map(Arc::unwrap_or_clone);
        std::future::ready(image).boxed()
    }

    fn named(self: Arc<Self>, caller: ImageCaller, name: String) -> BoxFuture<'static, Result<Vec<Image>, ImageError>> {
        let mut images = self.images(&caller);
        images.retain(|image| image.name.as_deref() == Some(&*name) && !image.hidden && caller.lists(image));
        std::future::ready(Ok(images.into_iter().map(Arc::unwrap_or_clone).collect())).boxed()
    }

    fn create(self: Arc<Self>, caller: ImageCaller, new: NewImage) -> BoxFuture<'static, Result<Image, ImageError>> {
        async move { self.make(caller, new).await.map(Arc::unwrap_or_clone) }.boxed()
    }

    fn fetch(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        _scratch: PathBuf,
        bytes_max: u64,
    ) -> BoxFuture<'static, Result<File, ImageError>> {
        async move {
            let (image, file) = self.data(caller, id).await?;
            if image.size.is_some_and(|size| size > bytes_max) {
                return Err(ImageError::TooLarge { bytes_max });
            }
            Ok(file)
        }
        .boxed()
    }

    fn upload(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        from: File,
    ) -> BoxFuture<'static, Result<Image, ImageError>> {
        let store = Arc::clone(&self.0);
        blocking(move || {
            let declared = from.metadata().map_err(|error| no_room(&error))?.len();
            let upload = store.upload_begin(&caller, id, Some(declared))?;
            upload.take(from).map(Arc::unwrap_or_clone)
        })
        .boxed()
    }

    fn delete(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<(), ImageError>> {
        async move { self.remove(caller, id).await }.boxed()
    }
}
