//! Refusals in Glance's form: what WebOb makes of them, in the type that the client accepts.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use serde_json::json;

use crate::api::fault::{self as common, Problem, RETRY_AFTER};
use crate::images::ImageError;
use crate::policy::Denied;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    status: u16,
    text: String,
    /// `Accept-Patch`, of a 415.
    accept_patch: Option<&'static str>,
    /// `WWW-Authenticate`, of a 401.
    challenge: Option<Arc<str>>,
    /// The internal cause of a 5xx, for the log only.
    pub(super) cause: Option<String>,
}

impl Fault {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), accept_patch: None, challenge: None, cause: None }
    }

    pub(super) fn unrouted() -> Self {
        Self::new(404, "The resource could not be found.")
    }

    pub(super) fn no_image(id: &str) -> Self {
        Self::new(404, format!("No image found with ID {id}"))
    }

    /// 400: an object that is no image.
    pub(super) fn no_match(reason: &str) -> Self {
        Self::new(400, format!("Provided object does not match schema 'image': {reason}"))
    }

    /// 415 that says what would be taken.
    pub(super) fn media_type(accepted: &'static str) -> Self {
        Self { accept_patch: Some(accepted), ..Self::new(415, "Unsupported Content-Type.") }
    }

    /// The response, in a type that the client accepts.
    pub(super) fn response(&self, accept: Option<&str>) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        if self.status == 503 {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER.to_string()));
        }
        if let Some(accepted) = self.accept_patch {
            response.insert_header((header::HeaderName::from_static("accept-patch"), accepted));
        }
        if let Some(challenge) = &self.challenge {
            // The authentication layer has a body of its own (auth-and-policy §2).
            response.insert_header((header::WWW_AUTHENTICATE, challenge.as_ref()));
            let body = json!({"error": {"code": 401, "title": "Unauthorized", "message": self.text}});
            return response.insert_header((header::CONTENT_TYPE, "application/json")).body(body.to_string());
        }
        let (code, title) = (status.as_str(), status.canonical_reason().unwrap_or_default());
        let accept = accept.unwrap_or("*/*");
        // Browsers and clients that take anything get HTML; a client that names JSON gets that.
        if accept.is_empty() || accept.contains("text/html") || accept.contains("*/*") {
            let text = escape(&self.text);
            let body = format!(
                "<html>\n <head>\n  <title>{code} {title}</title>\n </head>\n <body>\n  <h1>{code} {title}</h1>\n  \
                 {text}<br /><br />\n\n\n\n </body>\n</html>"
            );
            response.insert_header((header::CONTENT_TYPE, "text/html; charset=UTF-8")).body(body)
        } else if accept.contains("json") {
            let message = format!("{}<br /><br />\n\n\n", escape(&self.text));
            let body = json!({"message": message, "code": format!("{code} {title}"), "title": title});
            response.insert_header((header::CONTENT_TYPE, "application/json")).body(body.to_string())
        } else {
            let body = format!("{code} {title}\n\n{}\n\n\n", self.text);
            response.insert_header((header::CONTENT_TYPE, "text/plain; charset=UTF-8")).body(body)
        }
    }
}

/// Texts repeat what clients sent: nothing of it may become markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

impl From<Denied> for Fault {
    fn from(denied: Denied) -> Self {
        Self::new(403, format!("You are not authorized to complete {} action.", denied.0))
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let challenge = match &problem {
            Problem::Unauthenticated(challenge) => Some(Arc::clone(challenge)),
            _ => None,
        };
        let fault = common::Fault::from(problem);
        Self { cause: fault.cause, challenge, ..Self::new(fault.status, fault.message) }
    }
}

impl From<ImageError> for Fault {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::NotFound(id) => Self::no_image(&id.to_string()),
            ImageError::Forbidden(text) => Self::new(403, text),
            ImageError::Conflict(text) => Self::new(409, text),
            ImageError::Invalid(text) => Self::new(400, text),
            ImageError::TooLarge { bytes_max } => {
                Self::new(413, format!("Denying attempt to upload image larger than {bytes_max} bytes."))
            }
            ImageError::OverLimit(text) => Self::new(413, text),
            ImageError::NoSpace => Self::new(
                413,
                "Image storage media is full: There is not enough disk space on the image storage media.",
            ),
            ImageError::Corrupt => Self::new(400, error.to_string()),
            ImageError::Unavailable => {
                let cause = Some(error.to_string());
                Self { cause, ..Self::new(503, "The service is unavailable, try again later.") }
            }
        }
    }
}
