//! What a handler gives back when all went well.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use serde::Serialize;

use super::admin::events::EventBody;

/// Room for JSON at the beginning: enough for one volume.
const ROOM: usize = 2 * 1024;
/// The same for each row of a page.
const ROW_ROOM: usize = 1_280;

/// What an API with a way of its own has answered, and what the log and the metrics say of it.
pub struct Answered {
    /// The response.
    pub response: HttpResponse,
    /// The path without what a client chose.
    pub template: &'static str,
    /// The internal cause of a 5xx.
    pub cause: Option<String>,
}

/// A successful answer.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Body,
    /// `ETag`.
    pub etag: Option<String>,
}

/// The body of an answer.
pub enum Body {
    /// None.
    Empty,
    /// JSON, as text.
    Json(Bytes),
    /// Text of this media type.
    Text(&'static str, String),
    /// Events, until the client leaves or the service ends.
    Events(EventBody),
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: impl Serialize) -> Self {
        Self::json(200, body)
    }

    /// With a body.
    pub fn json(status: u16, body: impl Serialize) -> Self {
        Self::json_in(ROOM, status, body)
    }

    /// 200 with a page of so many rows: with room for all of them from the beginning.
    pub fn page(rows: usize, body: impl Serialize) -> Self {
        Self::json_in(ROOM.max(rows * ROW_ROOM), 200, body)
    }

    fn json_in(room: usize, status: u16, body: impl Serialize) -> Self {
        let mut text = Vec::with_capacity(room);
        serde_json::to_writer(&mut text, &body).expect("a view has text keys and nothing that can fail");
        Self::with_body(status, Body::Json(text.into()))
    }

    /// With a body that is written already.
    pub fn json_text(status: u16, text: String) -> Self {
        Self::with_body(status, Body::Json(text.into()))
    }

    /// 200 with text.
    pub fn text(media_type: &'static str, text: String) -> Self {
        Self::with_body(200, Body::Text(media_type, text))
    }

    /// Without a body.
    pub fn empty(status: u16) -> Self {
        Self::with_body(status, Body::Empty)
    }

    /// With this `ETag`.
    pub fn with_etag(self, etag: String) -> Self {
        Self { etag: Some(etag), ..self }
    }

    /// With this body.
    pub fn with_body(status: u16, body: Body) -> Self {
        Self { status, body, etag: None }
    }
}

/// A long body in pieces. actix copies each piece into the connection's buffer, which it keeps as long as it stays small; for
/// a whole page it would make a new one of that size each time.
pub struct Pieces(Bytes);

impl Pieces {
    /// Bodies of at most this many bytes are better sent whole.
    pub const SIZE: usize = 64 * 1024;

    /// `body` in pieces of [`Self::SIZE`].
    pub fn of(body: Bytes) -> Self {
        Self(body)
    }
}

impl MessageBody for Pieces {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = self.0.len().min(Self::SIZE);
        Poll::Ready((next > 0).then(|| Ok(self.0.split_to(next))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn pieces_are_the_body() {
        let body: Bytes =
            (0..Pieces::SIZE * 2 + 5).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<_>>().into();
        let pieces = Pieces::of(body.clone());
        assert_eq!(pieces.size(), BodySize::Sized(body.len() as u64));
        let mut pieces = std::pin::pin!(pieces);
        let (mut whole, mut count) = (Vec::new(), 0);
        while let Some(Ok(piece)) = std::future::poll_fn(|context| pieces.as_mut().poll_next(context)).await {
            assert!(piece.len() <= Pieces::SIZE);
            whole.extend_from_slice(&piece);
            count += 1;
        }
        assert_eq!((whole, count), (body.to_vec(), 3));
    }
}
