//! What a handler gives back when all went well.

use serde_json::Value;

/// A successful answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body; none is an empty one.
    pub body: Option<Value>,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    /// With a body.
    pub fn json(status: u16, body: Value) -> Self {
        Self { status, body: Some(body) }
    }

    /// Without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, body: None }
    }
}
