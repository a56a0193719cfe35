//! A client of Glance (Image API v2).
//!
//! Only the endpoint of the settings is ever asked: ids are ids, links in answers are not followed, nor are redirects. Glance is
//! asked with the service's own token, which sees everything: what a caller sees is judged here.
//!
//! Whatever has the same effect when it is done twice is tried again after an error that may pass; each call ends when there was
//! no progress for a while.

mod http;
mod json;
mod token;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use md5::Md5;
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

pub use self::http::GlanceOptions;
use self::http::{Http, Sent, Trouble};
pub use self::token::{NoToken, TokenFile, TokenSource};
use super::directory::hex;
use super::image::{Image, ImageCaller, ImageStatus, NewImage, Visibility};
use super::service::{ImageError, ImageService};
use crate::domain::ids::ImageId;
use crate::outbound::BuildError;
use crate::runtime::Randomness;

/// A call that may be repeated is tried so often.
const TRIES: u32 = 4;
/// Before the second try; the pause doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// Pages of a search by name, and images of one.
const PAGES_MAX: usize = 100;
const PAGE: usize = 100;
/// Data that has arrived is written in pieces of at least this size.
const PIECE_BYTES: usize = 1 << 20;

/// The image service at an endpoint.
pub struct GlanceClient {
    http: Http,
    randomness: Randomness,
}

impl GlanceClient {
    /// A client; asks nothing yet.
    pub fn new(
        options: GlanceOptions,
        tokens: Arc<dyn TokenSource>,
        randomness: Randomness,
    ) -> Result<Arc<Self>, BuildError> {
        Ok(Arc::new(Self { http: Http::new(options, tokens)?, randomness }))
    }

    fn tries(&self) -> Tries<'_> {
        Tries { randomness: &self.randomness, left: TRIES - 1, pause: PAUSE }
    }

    /// A call that may be repeated.
    async fn ask(&self, method: Method, path: &str, of: Option<ImageId>) -> Result<Value, ImageError> {
        let mut tries = self.tries();
        loop {
            match self.http.json(method.clone(), path, None, of).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => tries.again(trouble).await?,
            }
        }
    }

    async fn image(&self, id: ImageId) -> Result<Image, ImageError> {
        let found = self.ask(Method::GET, &format!("images/{id}"), Some(id)).await?;
        let image = json::image(&found).filter(|image| image.id == id);
        image.ok_or_else(|| Trouble::nonsense().into_error())
    }

    /// One that the caller sees.
    async fn visible(&self, caller: &ImageCaller, id: ImageId) -> Result<Image, ImageError> {
        let image = self.image(id).await?;
        if self.sees(caller, &image).await? { Ok(image) } else { Err(ImageError::NotFound(id)) }
    }

    async fn sees(&self, caller: &ImageCaller, image: &Image) -> Result<bool, ImageError> {
        Ok(caller.sees(image) || (image.visibility == Visibility::Shared && self.is_member(caller, image.id).await?))
    }

    async fn is_member(&self, caller: &ImageCaller, id: ImageId) -> Result<bool, ImageError> {
        let path = format!("images/{id}/members/{}", http::segment(caller.project_id.as_str()));
        match self.ask(Method::GET, &path, Some(id)).await {
            Ok(member) => Ok(member["member_id"] == caller.project_id.as_str() && member["status"] != "rejected"),
            Err(ImageError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One that the caller may change.
    async fn own(&self, caller: &ImageCaller, id: ImageId) -> Result<Image, ImageError> {
        let image = self.visible(caller, id).await?;
        if caller.may_change(&image) {
            return Ok(image);
        }
        Err(ImageError::Forbidden("The image belongs to another project.".to_owned()))
    }

    async fn find_named(&self, caller: &ImageCaller, name: &str) -> Result<Vec<Image>, ImageError> {
        let name_filter = format!("name={}", http::segment(name));
        // the service's own list has no community images of others: the caller's are asked for
        let own = format!("{name_filter}&visibility=community&owner={}", http::segment(caller.project_id.as_str()));
        let mut found = self.find(caller, name, &name_filter).await?;
        found.extend(self.find(caller, name, &own).await?.into_iter().filter(|image| caller.owns(image)));
        found.sort_by_key(|image| image.id);
        found.dedup_by_key(|image| image.id);
        Ok(found)
    }

    /// Images of this name that these filters find: all, or at least two.
    async fn find(&self, caller: &ImageCaller, name: &str, filters: &str) -> Result<Vec<Image>, ImageError> {
        let mut found = Vec::new();
        let mut marker: Option<ImageId> = None;
        for _ in 0..PAGES_MAX {
            let after = marker.map(|id| format!("&marker={id}")).unwrap_or_default();
            let page = self.ask(Method::GET, &format!("images?limit={PAGE}&{filters}{after}"), None).await?;
            let images = json::images(&page).ok_or(ImageError::Unavailable)?;
            marker = images.last().map(|image| image.id);
            let is_last = images.len() < PAGE;
            for image in images.into_iter().filter(|image| image.name.as_deref() == Some(name) && !image.hidden) {
                if caller.lists(&image) && self.sees(caller, &image).await? {
                    found.push(image);
                }
            }
            if is_last || found.len() > 1 {
                break;
            }
        }
        Ok(found)
    }

    async fn make(&self, caller: &ImageCaller, new: NewImage) -> Result<Image, ImageError> {
        // the id is always ours, so that a repeated create is known again
        let id = new.id.unwrap_or_else(|| ImageId(self.randomness.uuid()));
        if new.owner.as_ref().is_some_and(|owner| *owner != caller.project_id) && !caller.is_admin {
            return Err(ImageError::Forbidden("The image would belong to another project.".to_owned()));
        }
        if new.visibility == Visibility::Public && !caller.is_admin {
            return Err(ImageError::Forbidden("Only administrators make images public.".to_owned()));
        }
        let owner = new.owner.clone().unwrap_or_else(|| caller.project_id.clone());
        let body = json::new_image(id, &owner, &new);
        let mut tries = self.tries();
        loop {
            let trouble = match self.http.json(Method::POST, "images", Some(&body), Some(id)).await {
                Ok(made) => {
                    let image = json::image(&made).filter(|image| image.id == id);
                    return image.ok_or_else(|| Trouble::nonsense().into_error());
                }
                Err(trouble) => trouble,
            };
            if tries.have_been() && matches!(trouble, Trouble::Final(ImageError::Conflict(_))) {
                // an earlier try has made it, or somebody else has an image of this id
                let found = self.image(id).await?;
                let is_ours = found.status == ImageStatus::Queued && found.owner.as_ref() == Some(&owner);
                return if is_ours { Ok(found) } else { Err(trouble.into_error()) };
            }
            tries.again(trouble).await?;
        }
    }

    /// Writes the data to a file without a name, and compares it with what is known of it.
    async fn download(&self, image: &Image, scratch: &Path, bytes_max: u64) -> Result<File, Trouble> {
        let mut answer = self.http.data(image.id).await?;
        let limit = image.size.unwrap_or(bytes_max).min(bytes_max);
        let mut taken = Taken::new(scratch, image)?;
        loop {
            let piece = self.http.piece(&mut answer, PIECE_BYTES).await?;
            if piece.is_empty() {
                break;
            }
            taken = taken.write(piece, limit).await?;
        }
        taken.finish(image).await
    }

    async fn give(&self, caller: &ImageCaller, id: ImageId, from: File) -> Result<Image, ImageError> {
        self.own(caller, id).await?;
        let length = from.metadata().map_err(|error| unreadable(&error))?.len();
        let Sent { outcome, bytes, sha512 } = self.http.send_data(id, from, length).await;
        let is_whole = |image: &Image| {
            let is_same =
                image.os_hash_algo.as_deref() != Some("sha512") || image.os_hash_value.as_ref() == Some(&sha512);
            image.status == ImageStatus::Active && image.size == Some(length) && bytes == length && is_same
        };
        match outcome {
            Err(Trouble::Final(error)) => Err(error),
            // what has become of it only Glance knows
            outcome => match self.image(id).await {
                Ok(image) if is_whole(&image) => Ok(image),
                Ok(image) => {
                    tracing::warn!(image = %id, status = image.status.as_str(), "an upload did not arrive whole");
                    Err(outcome.err().map_or(ImageError::Corrupt, Trouble::into_error))
                }
                Err(error) => Err(error),
            },
        }
    }

    async fn remove(&self, caller: &ImageCaller, id: ImageId) -> Result<(), ImageError> {
        let image = self.own(caller, id).await?;
        if image.protected {
            return Err(ImageError::Forbidden(format!("Image {id} is protected and cannot be deleted.")));
        }
        let mut tries = self.tries();
        loop {
            match self.http.json(Method::DELETE, &format!("images/{id}"), None, Some(id)).await {
                Ok(_) => return Ok(()),
                // an earlier try has removed it
                Err(Trouble::Final(ImageError::NotFound(_))) if tries.have_been() => return Ok(()),
                Err(trouble) => tries.again(trouble).await?,
            }
        }
    }
}

/// Whether a call is tried again.
struct Tries<'a> {
    randomness: &'a Randomness,
    left: u32,
    pause: Duration,
}

impl Tries<'_> {
    /// Whether this is not the first one: an earlier one may have had its effect.
    fn have_been(&self) -> bool {
        self.left < TRIES - 1
    }

    /// Pauses before the next one, if it may help.
    async fn again(&mut self, trouble: Trouble) -> Result<(), ImageError> {
        match trouble {
            Trouble::MayPass(_) if self.left > 0 => {}
            trouble => return Err(trouble.into_error()),
        }
        self.left -= 1;
        // clients that failed together shall not come back together
        let jitter = self.randomness.below(u64::try_from(self.pause.as_millis()).unwrap_or(u64::MAX));
        tokio::time::sleep(self.pause + Duration::from_millis(jitter)).await;
        self.pause *= 2;
        Ok(())
    }
}

/// Data that is arriving.
struct Taken {
    file: File,
    bytes: u64,
    md5: Md5,
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl Taken {
    fn new(scratch: &Path, image: &Image) -> Result<Self, Trouble> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC);
        let algorithm = image.os_hash_algo.as_deref();
        Ok(Self {
            file: options.open(scratch).map_err(|error| unwritable(&error))?,
            bytes: 0,
            md5: Md5::new(),
            sha256: (algorithm == Some("sha256")).then(Sha256::new),
            sha512: (algorithm == Some("sha512")).then(Sha512::new),
        })
    }

    async fn write(mut self, piece: Vec<u8>, limit: u64) -> Result<Self, Trouble> {
        self.bytes += piece.len() as u64;
        if self.bytes > limit {
            return Err(ImageError::TooLarge { bytes_max: limit }.into());
        }
        blocking(move || {
            self.file.write_all(&piece).map_err(|error| unwritable(&error))?;
            self.md5.update(&piece);
            self.sha256.iter_mut().for_each(|hash| hash.update(&piece));
            self.sha512.iter_mut().for_each(|hash| hash.update(&piece));
            Ok(self)
        })
        .await
    }

    async fn finish(mut self, image: &Image) -> Result<File, Trouble> {
        let better = match (self.sha256, self.sha512) {
            (Some(hash), _) => Some(hex(&hash.finalize())),
            (_, Some(hash)) => Some(hex(&hash.finalize())),
            _ => None,
        };
        let is_same = match better {
            Some(found) => image.os_hash_value.as_ref() == Some(&found),
            None => image.checksum.as_ref().is_none_or(|md5| *md5 == hex(&self.md5.finalize())),
        };
        if image.size != Some(self.bytes) || !is_same {
            return Err(Trouble::MayPass(ImageError::Corrupt));
        }
        blocking(move || {
            self.file.rewind().map_err(|error| unwritable(&error))?;
            Ok(self.file)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => {
            tracing::error!(%error, "work on an image ended early");
            Err(ImageError::Unavailable.into())
        }
    }
}

fn unwritable(error: &io::Error) -> ImageError {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => ImageError::NoSpace,
        _ => {
            tracing::error!(%error, "an image cannot be kept while it is converted");
            ImageError::Unavailable
        }
    }
}

fn unreadable(error: &io::Error) -> ImageError {
    tracing::error!(%error, "what is to be uploaded cannot be read");
    ImageError::Unavailable
}

impl ImageService for GlanceClient {
    fn show(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<Image, ImageError>> {
        async move { self.visible(&caller, id).await }.boxed()
    }

    fn named(self: Arc<Self>, caller: ImageCaller, name: String) -> BoxFuture<'static, Result<Vec<Image>, ImageError>> {
        async move { self.find_named(&caller, &name).await }.boxed()
    }

    fn create(self: Arc<Self>, caller: ImageCaller, new: NewImage) -> BoxFuture<'static, Result<Image, ImageError>> {
        async move { self.make(&caller, new).await }.boxed()
    }

    fn fetch(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        scratch: PathBuf,
        bytes_max: u64,
    ) -> BoxFuture<'static, Result<File, ImageError>> {
        async move {
            let image = self.visible(&caller, id).await?;
            if image.status != ImageStatus::Active {
                return Err(ImageError::Conflict(format!("Image {id} has no data: it is {}.", image.status.as_str())));
            }
            if image.size.is_some_and(|size| size > bytes_max) {
                return Err(ImageError::TooLarge { bytes_max });
            }
            let mut tries = self.tries();
            loop {
                match self.download(&image, &scratch, bytes_max).await {
                    Ok(file) => return Ok(file),
                    Err(trouble) => tries.again(trouble).await?,
                }
            }
        }
        .boxed()
    }

    fn upload(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        from: File,
    ) -> BoxFuture<'static, Result<Image, ImageError>> {
        async move { self.give(&caller, id, from).await }.boxed()
    }

    fn delete(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<(), ImageError>> {
        async move { self.remove(&caller, id).await }.boxed()
    }
}
