//! What an image service can be asked, whichever it is.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::image::{Image, ImageCaller, NewImage};
use crate::domain::ids::ImageId;

/// Why an image service did not do what it was asked. The texts are for clients: they hold no path, address or secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is none, or the caller does not see it.
    #[error("Image {0} could not be found.")]
    NotFound(ImageId),
    /// The caller sees it but may not do this; also: it is protected.
    #[error("{0}")]
    Forbidden(String),
    /// The request contradicts the image's state.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense, or the data is not what was declared.
    #[error("{0}")]
    Invalid(String),
    /// The data is longer than allowed.
    #[error("the image is larger than the {bytes_max} bytes that are allowed")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// A bound on their number is reached.
    #[error("{0}")]
    OverLimit(String),
    /// There is no room for the data.
    #[error("there is no room for the image")]
    NoSpace,
    /// The data that came is not the image's: cut short or changed on its way. It may help to try again.
    #[error("the image's data did not arrive whole")]
    Corrupt,
    /// The service does not answer, or answers with nonsense. It may help to try again.
    #[error("the image service is unavailable")]
    Unavailable,
}

/// An image service. What a caller does not see is not found.
pub trait ImageService: Send + Sync + 'static {
    /// One image.
    fn show(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<Image, ImageError>>;

    /// The images of this name that are in the caller's list: none, one, or (being ambiguous) at least two.
    fn named(self: Arc<Self>, caller: ImageCaller, name: String) -> BoxFuture<'static, Result<Vec<Image>, ImageError>>;

    /// Makes an image without data: `queued`.
    fn create(self: Arc<Self>, caller: ImageCaller, new: NewImage) -> BoxFuture<'static, Result<Image, ImageError>>;

    /// The data of an active image, whole, open for reading at its beginning. Data that is elsewhere is first written to a
    /// file without a name in `scratch`, so that nothing stays however this ends, and compared with its hash; beyond
    /// `bytes_max` it is refused, as soon as that is known. The file must not be written to: it may be the store's own.
    fn fetch(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        scratch: PathBuf,
        bytes_max: u64,
    ) -> BoxFuture<'static, Result<File, ImageError>>;

    /// Gives a queued image all of `from` as data, from where it stands, which must be the beginning; then it is active. After an error the image is queued
    /// again or (if its service has gone meanwhile) in doubt, and never active with less than all.
    fn upload(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        from: File,
    ) -> BoxFuture<'static, Result<Image, ImageError>>;

    /// Removes an image and its data; not there is [`ImageError::NotFound`].
    fn delete(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<(), ImageError>>;
}
