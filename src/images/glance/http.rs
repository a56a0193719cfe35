//! One HTTP call to Glance, and what its end means.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use sha2::{Digest as _, Sha512};

use super::token::TokenSource;
use crate::domain::ids::ImageId;
use crate::images::directory::hex;
use crate::images::service::ImageError;
use crate::outbound::{self, BuildError};

/// The largest JSON that is read.
const JSON_BYTES_MAX: usize = 4 << 20;
/// What an upload reads at once.
const PIECE_BYTES: usize = 256 << 10;
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Where Glance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlanceOptions {
    /// Without a version and without a slash at the end.
    pub endpoint: String,
    /// PEM certificates of the authorities that its certificate may be from; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// A call without any progress for so long has failed.
    pub timeout: Duration,
}

/// Why a call was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It would end like this again.
    Final(ImageError),
    /// It may help to try again; what the call would do may have been done.
    MayPass(ImageError),
}

impl Trouble {
    /// An answer that makes no sense.
    pub(super) fn nonsense() -> Self {
        tracing::warn!("the image service gave an answer that is none");
        Self::Final(ImageError::Unavailable)
    }

    pub(super) fn into_error(self) -> ImageError {
        match self {
            Self::Final(error) | Self::MayPass(error) => error,
        }
    }
}

impl From<ImageError> for Trouble {
    fn from(error: ImageError) -> Self {
        Self::Final(error)
    }
}

/// How an upload ended, and what was sent.
pub(super) struct Sent {
    pub(super) outcome: Result<(), Trouble>,
    pub(super) bytes: u64,
    pub(super) sha512: String,
}

/// Calls Glance.
pub(super) struct Http {
    client: reqwest::Client,
    /// The endpoint with the version.
    base: String,
    tokens: Arc<dyn TokenSource>,
    timeout: Duration,
}

impl Http {
    pub(super) fn new(options: GlanceOptions, tokens: Arc<dyn TokenSource>) -> Result<Self, BuildError> {
        let client = outbound::client(&options.endpoint, options.ca_file.as_deref(), options.timeout)?;
        Ok(Self { client, base: format!("{}/v2", options.endpoint), tokens, timeout: options.timeout })
    }

    /// A call with JSON in both directions. `of` is what a 404 speaks of.
    pub(super) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        of: Option<ImageId>,
    ) -> Result<Value, Trouble> {
        let call = async {
            let answer = self
                .send(|| {
                    let request = self.client.request(method.clone(), format!("{}/{path}", self.base));
                    let request = request.header(ACCEPT, "application/json");
                    match body {
                        Some(body) => request.json(body),
                        None => request,
                    }
                })
                .await?;
            let mut answer = succeeded(answer, of)?;
            let text = outbound::body(&mut answer, JSON_BYTES_MAX).await.map_err(|error| broken(&error))?;
            let text = text.ok_or_else(Trouble::nonsense)?;
            if text.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&text).map_err(|_| Trouble::nonsense())
        };
        self.timed(call).await
    }

    /// Begins to read an image's data.
    pub(super) async fn data(&self, id: ImageId) -> Result<Response, Trouble> {
        let url = format!("{}/images/{id}/file", self.base);
        let answer = self.timed(self.send(|| self.client.get(&url).header(ACCEPT, OCTET_STREAM))).await?;
        succeeded(answer, Some(id))
    }

    /// The next bytes, about `size` of them; none at the end.
    pub(super) async fn piece(&self, answer: &mut Response, size: usize) -> Result<Vec<u8>, Trouble> {
        let mut piece = Vec::new();
        while piece.len() < size {
            let next = async { answer.chunk().await.map_err(|error| broken(&error)) };
            match self.timed(next).await? {
                Some(chunk) => piece.extend_from_slice(&chunk),
                None => break,
            }
        }
        Ok(piece)
    }

    /// Sends `length` bytes of a file as an image's data.
    pub(super) async fn send_data(&self, id: ImageId, from: File, length: u64) -> Sent {
        let progress = Arc::new(Progress::default());
        let outcome = self.send_file(id, from, length, &progress).await;
        Sent { outcome, bytes: progress.bytes(), sha512: progress.sha512() }
    }

    async fn send_file(&self, id: ImageId, from: File, length: u64, progress: &Arc<Progress>) -> Result<(), Trouble> {
        let request = self.client.put(format!("{}/images/{id}/file", self.base));
        let request = request.header(CONTENT_TYPE, OCTET_STREAM).header(CONTENT_LENGTH, length);
        let request = with_token(request, self.token(None).await?.as_deref());
        let body = Body::wrap_stream(pieces(from, Arc::clone(progress)));
        let mut sending = pin!(request.body(body).send());
        let mut seen = 0;
        let answer = loop {
            match tokio::time::timeout(self.timeout, &mut sending).await {
                Ok(answer) => break answer.map_err(|error| unreachable(&error))?,
                Err(_) if progress.bytes() > seen => seen = progress.bytes(),
                Err(_) => return Err(silent()),
            }
        };
        succeeded(answer, Some(id)).map(|_| ())
    }

    /// Sends a request with the token, and once more if there is a better one.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, Trouble> {
        let token = self.token(None).await?;
        let sent = with_token(request(), token.as_deref()).send().await;
        let answer = sent.map_err(|error| unreachable(&error))?;
        if answer.status() != StatusCode::UNAUTHORIZED || token.is_none() {
            return Ok(answer);
        }
        let better = self.token(token.clone()).await?;
        if better == token {
            return Ok(answer);
        }
        with_token(request(), better.as_deref()).send().await.map_err(|error| unreachable(&error))
    }

    async fn token(&self, rejected: Option<String>) -> Result<Option<String>, Trouble> {
        Arc::clone(&self.tokens).token(rejected).await.map_err(|error| {
            tracing::error!(%error, "the token for the image service cannot be had");
            Trouble::Final(ImageError::Unavailable)
        })
    }

    async fn timed<T>(&self, call: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|_| Err(silent()))
    }
}

fn with_token(request: RequestBuilder, token: Option<&str>) -> RequestBuilder {
    // one that cannot be sent is left out, and the answer will say what is wrong
    match token.and_then(outbound::secret_header) {
        Some(token) => request.header("x-auth-token", token),
        None => request,
    }
}

/// The answer, if it is a success. Its words are Glance's: for the log, not for our clients.
fn succeeded(answer: Response, of: Option<ImageId>) -> Result<Response, Trouble> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let words = |text: &str| {
        Trouble::Final(match status.as_u16() {
            403 => ImageError::Forbidden(text.to_owned()),
            409 => ImageError::Conflict(text.to_owned()),
            413 => ImageError::OverLimit(text.to_owned()),
            _ => ImageError::Invalid(text.to_owned()),
        })
    };
    Err(match (status.as_u16(), of) {
        (404, Some(id)) => Trouble::Final(ImageError::NotFound(id)),
        (403, _) => words("The image service does not allow it."),
        (409, _) => words("The image is in a state that does not allow it."),
        (413, _) => words("The image service takes no more or nothing of this size."),
        (400 | 415 | 422, _) => words("The image service does not take this image."),
        (408 | 429 | 500.., _) => {
            tracing::warn!(%status, "the image service has failed");
            Trouble::MayPass(ImageError::Unavailable)
        }
        _ => {
            tracing::error!(%status, "the image service does not do what it is asked; token and endpoint may be wrong");
            Trouble::Final(ImageError::Unavailable)
        }
    })
}

fn unreachable(error: &reqwest::Error) -> Trouble {
    tracing::warn!(error = error as &dyn std::error::Error, "the image service cannot be reached");
    Trouble::MayPass(ImageError::Unavailable)
}

fn broken(error: &reqwest::Error) -> Trouble {
    tracing::warn!(error = error as &dyn std::error::Error, "an answer of the image service was cut short");
    Trouble::MayPass(ImageError::Corrupt)
}

fn silent() -> Trouble {
    tracing::warn!("the image service has been silent for too long");
    Trouble::MayPass(ImageError::Unavailable)
}

/// What has been sent.
#[derive(Default)]
struct Progress {
    bytes: AtomicU64,
    sha512: Mutex<Sha512>,
}

impl Progress {
    fn add(&self, piece: &[u8]) {
        self.sha512.lock().unwrap_or_else(PoisonError::into_inner).update(piece);
        self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn sha512(&self) -> String {
        hex(&self.sha512.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize())
    }
}

fn pieces(file: File, progress: Arc<Progress>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((file, progress), |(file, progress)| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            (&file).take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
            progress.add(&piece);
            Ok((!piece.is_empty()).then(|| (Bytes::from(piece), (file, progress))))
        });
        read.await.map_err(io::Error::other)?
    })
}

/// A text as a segment of a path, or as a value of a query.
pub(super) fn segment(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            coded.push(char::from(byte));
        } else {
            coded.push_str(&format!("%{byte:02X}"));
        }
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_segment_has_a_meaning() {
        assert_eq!(segment("a/../b?c=d&e"), "a%2F%2E%2E%2Fb%3Fc%3Dd%26e");
        assert_eq!(segment("ü "), "%C3%BC%20");
    }
}
