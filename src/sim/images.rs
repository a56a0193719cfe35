//! An image service in memory: it outlives the service's incarnations as the backend does, and fails when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use crate::domain::ids::ImageId;
use crate::domain::time::Timestamp;
use crate::images::{Image, ImageCaller, ImageError, ImageService, ImageStatus, NewImage, Visibility};

/// What a failure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageCall {
    /// [`ImageService::show`].
    Show,
    /// [`ImageService::create`].
    Create,
    /// [`ImageService::fetch`].
    Fetch,
    /// [`ImageService::upload`], which is cut off in the midst: the image stays in `saving`.
    Upload,
    /// [`ImageService::delete`].
    Delete,
}

/// The service.
#[derive(Default)]
pub struct MemoryImages(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    images: BTreeMap<ImageId, (Image, Vec<u8>)>,
    failures: VecDeque<(ImageCall, ImageError)>,
}

impl Inner {
    fn fails(&mut self, call: ImageCall) -> Result<(), ImageError> {
        match self.failures.iter().position(|(of, _)| *of == call).and_then(|index| self.failures.remove(index)) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    fn seen(&mut self, caller: &ImageCaller, id: ImageId) -> Result<&mut (Image, Vec<u8>), ImageError> {
        let found = self.images.get_mut(&id).filter(|(image, _)| is_seen(caller, image));
        found.ok_or(ImageError::NotFound(id))
    }
}

fn is_seen(caller: &ImageCaller, image: &Image) -> bool {
    let is_open = matches!(image.visibility, Visibility::Public | Visibility::Community);
    caller.is_admin || is_open || image.owner.as_ref() == Some(&caller.project_id)
}

impl MemoryImages {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next such call fails.
    pub fn fail(&self, call: ImageCall, error: ImageError) {
        self.lock().failures.push_back((call, error));
    }

    /// Puts an image there, with what its maker says of it.
    pub fn put(&self, id: ImageId, data: &[u8], change: impl FnOnce(&mut Image)) {
        let mut image = blank(id);
        image.status = ImageStatus::Active;
        image.size = Some(data.len() as u64);
        change(&mut image);
        self.lock().images.insert(id, (image, data.to_vec()));
    }

    /// Removes every image.
    pub fn put_away(&self) {
        self.lock().images.clear();
    }

    /// An image, whoever may see it.
    pub fn image(&self, id: ImageId) -> Option<Image> {
        self.lock().images.get(&id).map(|(image, _)| image.clone())
    }

    /// What it holds.
    pub fn data(&self, id: ImageId) -> Option<Vec<u8>> {
        self.lock().images.get(&id).map(|(_, data)| data.clone())
    }

    /// Every image there is.
    pub fn images(&self) -> Vec<Image> {
        self.lock().images.values().map(|(image, _)| image.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, caller: &ImageCaller, new: NewImage) -> Result<Image, ImageError> {
        let mut inner = self.lock();
        inner.fails(ImageCall::Create)?;
        let id = new.id.ok_or_else(|| ImageError::Invalid("here images are given their ids".to_owned()))?;
        if inner.images.contains_key(&id) {
            return Err(ImageError::Conflict(format!("Image ID {id} already exists!")));
        }
        let image = Image {
            name: new.name,
            visibility: new.visibility,
            protected: new.protected,
            owner: new.owner.or_else(|| Some(caller.project_id.clone())),
            disk_format: new.disk_format,
            container_format: new.container_format,
            min_disk: new.min_disk,
            min_ram: new.min_ram,
            properties: new.properties,
            ..blank(id)
        };
        inner.images.insert(id, (image.clone(), Vec::new()));
        Ok(image)
    }

    fn take(&self, caller: &ImageCaller, id: ImageId, mut from: File) -> Result<Image, ImageError> {
        let mut inner = self.lock();
        if inner.seen(caller, id)?.0.status != ImageStatus::Queued {
            return Err(ImageError::Conflict(format!("Image {id} is not queued")));
        }
        if let Err(error) = inner.fails(ImageCall::Upload) {
            inner.seen(caller, id)?.0.status = ImageStatus::Saving;
            return Err(error);
        }
        let (image, data) = inner.seen(caller, id)?;
        from.rewind().and_then(|()| from.read_to_end(data)).map_err(|_| ImageError::Corrupt)?;
        image.status = ImageStatus::Active;
        image.size = Some(data.len() as u64);
        Ok(image.clone())
    }

    fn give(&self, caller: &ImageCaller, id: ImageId, bytes_max: u64) -> Result<File, ImageError> {
        let mut inner = self.lock();
        inner.fails(ImageCall::Fetch)?;
        let (_, data) = inner.seen(caller, id)?;
        if data.len() as u64 > bytes_max {
            return Err(ImageError::TooLarge { bytes_max });
        }
        let written = || {
            let mut file = crate::drivers::sim::file_in_memory()?;
            file.write_all(data)?;
            file.rewind()?;
            Ok(file)
        };
        written().map_err(|_: std::io::Error| ImageError::NoSpace)
    }

    fn remove(&self, caller: &ImageCaller, id: ImageId) -> Result<(), ImageError> {
        let mut inner = self.lock();
        inner.fails(ImageCall::Delete)?;
        if inner.seen(caller, id)?.0.protected {
            return Err(ImageError::Forbidden(format!("Image {id} is protected and cannot be deleted.")));
        }
        inner.images.remove(&id);
        Ok(())
    }
}

fn blank(id: ImageId) -> Image {
    Image {
        id,
        name: None,
        status: ImageStatus::Queued,
        visibility: Visibility::Public,
        protected: false,
        hidden: false,
        owner: None,
        disk_format: Some("raw".to_owned()),
        container_format: Some("bare".to_owned()),
        size: None,
        virtual_size: None,
        min_disk: 0,
        min_ram: 0,
        checksum: None,
        os_hash_algo: None,
        os_hash_value: None,
        tags: Vec::new(),
        properties: BTreeMap::new(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

impl ImageService for MemoryImages {
    fn show(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<Image, ImageError>> {
        let shown = || {
            let mut inner = self.lock();
            inner.fails(ImageCall::Show)?;
            Ok(inner.seen(&caller, id)?.0.clone())
        };
        ready(shown()).boxed()
    }

    fn named(self: Arc<Self>, caller: ImageCaller, name: String) -> BoxFuture<'static, Result<Vec<Image>, ImageError>> {
        let is_meant = |image: &Image| image.name.as_ref() == Some(&name) && is_seen(&caller, image);
        ready(Ok(self.images().into_iter().filter(is_meant).collect())).boxed()
    }

    fn create(self: Arc<Self>, caller: ImageCaller, new: NewImage) -> BoxFuture<'static, Result<Image, ImageError>> {
        ready(self.make(&caller, new)).boxed()
    }

    fn fetch(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        _scratch: PathBuf,
        bytes_max: u64,
    ) -> BoxFuture<'static, Result<File, ImageError>> {
        ready(self.give(&caller, id, bytes_max)).boxed()
    }

    fn upload(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        from: File,
    ) -> BoxFuture<'static, Result<Image, ImageError>> {
        ready(self.take(&caller, id, from)).boxed()
    }

    fn delete(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<(), ImageError>> {
        ready(self.remove(&caller, id)).boxed()
    }
}
