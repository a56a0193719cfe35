//! The data of images, as streams.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::{Stream, StreamExt as _, stream};

use super::fault::Fault;
use super::{Asked, empty, image_id};
use crate::api::dispatch::{DRAIN_MAX, text};
use crate::images::{ImageError, Upload};
use crate::rule;

/// What an upload gathers before it is written, and what a download reads at once.
const PIECE_BYTES: usize = 1 << 20;
/// An upload of which nothing comes for so long is given up.
const UPLOAD_STALL: Duration = Duration::from_secs(60);

const OCTET_STREAM: &str = "application/octet-stream";
/// The length of data that is sent in chunks.
const IMAGE_SIZE: HeaderName = HeaderName::from_static("x-openstack-image-size");

/// `PUT …/file`
pub(super) async fn upload(asked: Asked<'_>, id: &str) -> Result<HttpResponse, Fault> {
    asked.enforce(rule!("upload_image"))?;
    let id = image_id(id)?;
    let media_type = text(asked.headers, &header::CONTENT_TYPE).unwrap_or_default();
    if media_type.split(';').next().is_none_or(|essence| !essence.trim().eq_ignore_ascii_case(OCTET_STREAM)) {
        return Err(Fault::new(415, "Unsupported Content-Type."));
    }
    let declared = declared(asked.headers)?;
    let mut payload = asked.payload;
    let taken = match asked.store.upload_begin(asked.caller, id, declared).await {
        Ok(upload) => receive(upload, &mut payload).await,
        Err(error) => Err(error),
    };
    match taken {
        Ok(()) => Ok(empty()),
        Err(error) => {
            drain(payload).await;
            Err(error.into())
        }
    }
}

/// The length that the client says its data has.
fn declared(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let length = |name: &HeaderName| match text(headers, name).map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Fault::new(400, format!("{name} must be a number of bytes."))),
    };
    match (length(&header::CONTENT_LENGTH)?, length(&IMAGE_SIZE)?) {
        (Some(sent), Some(said)) if sent != said => {
            Err(Fault::new(400, format!("The data has {sent} bytes, and not {said} as {IMAGE_SIZE} says.")))
        }
        (sent, said) => Ok(sent.or(said)),
    }
}

/// All of the data; an image without all of it stays queued.
async fn receive(mut upload: Upload, payload: &mut Payload) -> Result<(), ImageError> {
    let mut piece = BytesMut::new();
    loop {
        let next = tokio::time::timeout(UPLOAD_STALL, payload.next()).await.map_err(|_| ImageError::Corrupt)?;
        let Some(chunk) = next else { break };
        // the connection was cut
        let chunk = chunk.map_err(|_| ImageError::Corrupt)?;
        piece.extend_from_slice(&chunk);
        if piece.len() >= PIECE_BYTES {
            upload = upload.write(std::mem::take(&mut piece).freeze()).await?;
        }
    }
    if !piece.is_empty() {
        upload = upload.write(piece.freeze()).await?;
    }
    upload.finish().await.map(|_| ())
}

/// Reads on for a while, so that the client gets its answer instead of a reset connection.
async fn drain(mut payload: Payload) {
    let mut seen = 0;
    while let Ok(Some(Ok(chunk))) = tokio::time::timeout(UPLOAD_STALL, payload.next()).await {
        seen += chunk.len();
        if seen > DRAIN_MAX {
            return;
        }
    }
}

/// `GET …/file`
pub(super) async fn download(asked: Asked<'_>, id: &str) -> Result<HttpResponse, Fault> {
    asked.enforce(rule!("download_image"))?;
    let id = image_id(id)?;
    let image = asked.store.image(&asked.caller, id)?;
    let Some(size) = image.size else { return Ok(empty()) };
    let (image, file) = asked.store.data(asked.caller, id).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, OCTET_STREAM));
    if let Some(md5) = image.checksum.as_deref() {
        response.insert_header((HeaderName::from_static("content-md5"), md5));
    }
    Ok(response.body(SizedStream::new(size, pieces(file, size).boxed_local())))
}

/// A file's first `left` bytes, a piece at a time, read away from the threads that serve requests.
fn pieces(file: File, left: u64) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold((file, left), async |(file, left)| {
        if left == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES));
            (&file).take(piece.capacity() as u64).read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let left = left.saturating_sub(piece.len() as u64);
            Ok((Bytes::from(piece), (file, left)))
        });
        read.await.map_err(io::Error::other)?.map(Some)
    })
}
