//! Builds the image service from the settings. Only `serve` has one: the embedded store sweeps its directory when it is
//! opened, which no second process may do beside it.

use std::io;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::identity::{Keystone, Strategy};
use crate::images::convert::ConvertLimits;
use crate::images::{
    Converter, DirectoryStore, GlanceClient, GlanceOptions, ImageService, NoToken, StoreLimits, TokenFile, TokenSource,
};
use crate::outbound::BuildError;
use crate::runtime::{Clock, Randomness};
use crate::settings::{GlanceSettings, ImageServiceSettings, ImageStoreSettings, Settings};

const GIB: u64 = 1 << 30;

/// The image service cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ImagePartError {
    /// The embedded store's directory.
    #[error("the directory of images cannot be used")]
    Directory(#[source] io::Error),
    /// The client of Glance.
    #[error("the image service cannot be used")]
    Glance(#[from] BuildError),
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
///
/// A Glance without a token of its own is asked with the service user's, if there is a Keystone.
pub fn open(settings: &Settings, auth: &Strategy) -> Result<ImageParts, ImagePartError> {
    let mut parts = ImageParts { service: None, store: None, converter: converter(settings) };
    match &settings.image.service {
        ImageServiceSettings::Embedded(embedded) => {
            let store = open_store(embedded)?;
            parts.store = Some(Arc::clone(&store));
            parts.service = Some(store);
        }
        ImageServiceSettings::Glance(glance) => parts.service = Some(open_glance(glance, auth)?),
        ImageServiceSettings::None => {}
    }
    Ok(parts)
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

fn open_glance(settings: &GlanceSettings, auth: &Strategy) -> Result<Arc<GlanceClient>, BuildError> {
    let tokens: Arc<dyn TokenSource> = match (settings.token_file.clone(), auth) {
        (Some(file), _) => Arc::new(TokenFile(file)),
        (None, Strategy::Keystone(keystone)) => Arc::new(ServiceUserToken(Arc::clone(keystone))),
        (None, _) => Arc::new(NoToken),
    };
    let options = GlanceOptions {
        endpoint: settings.endpoint.clone(),
        ca_file: settings.ca_file.clone(),
        timeout: settings.timeout,
    };
    GlanceClient::new(options, tokens, Randomness::from_os())
}

/// The token that Keystone gives this service.
struct ServiceUserToken(Arc<Keystone>);

impl TokenSource for ServiceUserToken {
    fn token(self: Arc<Self>, rejected: Option<String>) -> BoxFuture<'static, io::Result<Option<String>>> {
        async move {
            let token = self.0.service_user_token(rejected.as_deref()).await;
            token.map(Some).map_err(io::Error::other)
        }
        .boxed()
    }
}

fn converter(settings: &Settings) -> Converter {
    let limits = ConvertLimits { deadline: settings.image.convert_timeout, ..ConvertLimits::default() };
    Converter { program: settings.image.qemu_img.clone(), limits }
}
