//! Builds the image service from the settings. Only `serve` has one: the embedded store sweeps its directory when it is
//! opened, which no second process may do beside it.

use std::io;
use std::sync::Arc;

use crate::images::convert::ConvertLimits;
use crate::images::{Converter, DirectoryStore, ImageService, StoreLimits};
use crate::runtime::{Clock, Randomness};
use crate::settings::{ImageServiceSettings, ImageStoreSettings, Settings};

const GIB: u64 = 1 << 30;

/// The image service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ImagePartError {
    /// The embedded store's directory.
    #[error("the directory of images cannot be used")]
    Directory(#[source] io::Error),
}

/// What there is of images in a process.
pub struct ImageParts {
    /// The image service, if there is one.
    pub service: Option<Arc<dyn ImageService>>,
    /// The same, when it is the embedded store: what is served under `/image`.
    pub store: Option<Arc<DirectoryStore>>,
    /// Converts disk formats.
    pub converter: Converter,
}

/// Opens what the settings name. Blocks; the state directory must be held.
pub fn open(settings: &Settings) -> Result<ImageParts, ImagePartError> {
    let store = match &settings.image.service {
        ImageServiceSettings::Embedded(embedded) => Some(open_store(embedded)?),
        ImageServiceSettings::Glance(_) | ImageServiceSettings::None => None,
    };
    let service = store.clone().map(|store| store as Arc<dyn ImageService>);
    Ok(ImageParts { service, store, converter: converter(settings) })
}

fn open_store(settings: &ImageStoreSettings) -> Result<Arc<DirectoryStore>, ImagePartError> {
    let limits = StoreLimits {
        image_bytes_max: settings.max_size_gib.saturating_mul(GIB),
        images_max: settings.max_images,
        free_bytes_min: settings.reserved_gib.saturating_mul(GIB),
    };
    DirectoryStore::open(settings.path.clone(), limits, Clock::System, Randomness::from_os())
        .map_err(ImagePartError::Directory)
}

fn converter(settings: &Settings) -> Converter {
    let limits = ConvertLimits { deadline: settings.image.convert_timeout, ..ConvertLimits::default() };
    Converter { program: settings.image.qemu_img.clone(), limits }
}
