//! HTTP to the other services of a cloud: what all their clients have in common.
//!
//! Nobody is asked whom the settings, or Keystone's own catalogue, do not name: no redirect is followed, and no proxy of the
//! environment is used.
//! It knows no service and reads no settings. Called by the clients of the image service and of Keystone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Response, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};

/// A connection stands within this time, or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const USER_AGENT: &str = concat!("hearth/", env!("CARGO_PKG_VERSION"));

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `ca_file`.
    #[error("{} cannot be used as certificates of authorities", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate in `ca_file`, or none on this system.
    #[error("there is no certificate of an authority")]
    NoAuthority,
    /// Its TLS.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// Its HTTP.
    #[error("the client cannot be set up")]
    Client(#[from] reqwest::Error),
}

/// A client of the service at `endpoint`. Its certificate is from an authority of `ca_file` (PEM), or of the system if there
/// is none. How long a whole call may take is the caller's to say.
pub fn client(endpoint: &str, ca_file: Option<&Path>, timeout: Duration) -> Result<reqwest::Client, BuildError> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(endpoint, ca_file)?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(timeout.min(CONNECT_TIMEOUT))
        .user_agent(USER_AGENT);
    Ok(client.build()?)
}

/// TLS with ring, whatever the process has as its default.
fn tls(endpoint: &str, ca_file: Option<&Path>) -> Result<ClientConfig, BuildError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let unusable = |source| BuildError::Authorities { path: path.to_owned(), source };
        for certificate in CertificateDer::pem_file_iter(path).map_err(unusable)? {
            roots.add(certificate.map_err(unusable)?)?;
        }
    } else {
        // also for http: a catalogue may lead on to https
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if (ca_file.is_some() || endpoint.starts_with("https:")) && roots.is_empty() {
        return Err(BuildError::NoAuthority);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A token as a header that is never shown; none if it could not be sent.
pub fn secret_header(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(token).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// All of an answer; none if it is longer than `bytes_max`.
pub async fn body(answer: &mut Response, bytes_max: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if text.len() + chunk.len() > bytes_max {
            return Ok(None);
        }
        text.extend_from_slice(&chunk);
    }
    Ok(Some(text))
}
