//! What a handler gives back when all went well.

use serde::Serialize;

use super::admin::events::EventBody;

/// A successful answer.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// None.
    Empty,
    /// JSON, as text.
    Json(String),
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
        let text = serde_json::to_string(&body).expect("a view has text keys and nothing that can fail");
        Self { status, body: Body::Json(text) }
    }

    /// 200 with text.
    pub fn text(media_type: &'static str, text: String) -> Self {
        Self { status: 200, body: Body::Text(media_type, text) }
    }

    /// Without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, body: Body::Empty }
    }
}
