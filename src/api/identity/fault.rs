//! Refusals in Keystone's form.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use serde_json::json;

use crate::api::fault::{self as common, Problem};
use crate::identity::local::{FileError, LoginError};

/// What nobody may know more about.
const UNAUTHORIZED: &str = "The request you have made requires authentication.";

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    status: u16,
    text: String,
    /// Seconds, of `Retry-After`.
    retry_after: Option<u64>,
    /// The internal cause of a 5xx, for the log only.
    pub(super) cause: Option<String>,
}

impl Fault {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), retry_after: None, cause: None }
    }

    /// 401.
    pub(super) fn unauthorized() -> Self {
        Self::new(401, UNAUTHORIZED)
    }

    /// 403 of an action in Keystone's policy.
    pub(super) fn forbidden(action: &str) -> Self {
        Self::new(403, format!("You are not authorized to perform the requested action: {action}."))
    }

    /// 404 of a path without a route.
    pub(super) fn unrouted() -> Self {
        Self::new(404, "The resource could not be found.")
    }

    /// 404 of an object.
    pub(super) fn missing(kind: &str, id: &str) -> Self {
        Self::new(404, format!("Could not find {kind}: {id}."))
    }

    /// 400: a body that is not what the call takes.
    pub(super) fn malformed(reason: &str) -> Self {
        Self::new(400, reason)
    }

    /// The response.
    pub(super) fn response(&self, challenge: &Arc<str>) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        if self.status == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, challenge.as_ref()));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        let title = status.canonical_reason().unwrap_or_default();
        let body = json!({"error": {"code": self.status, "message": self.text, "title": title}});
        response.insert_header((header::CONTENT_TYPE, "application/json")).body(body.to_string())
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let fault = common::Fault::from(problem);
        Self { cause: fault.cause, ..Self::new(fault.status, fault.message) }
    }
}

impl From<LoginError> for Fault {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong => Self::unauthorized(),
            LoginError::TooOften(wait) => {
                let seconds = wait.saturating_add(Duration::from_millis(999)).as_secs();
                Self { retry_after: Some(seconds), ..Self::new(429, error.to_string()) }
            }
            LoginError::ScopeOfCredential => Self::new(401, error.to_string()),
        }
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        let mut cause = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            cause = format!("{cause}: {source}");
        }
        Self { cause: Some(cause), ..Self::new(503, "The records of users and projects cannot be written now.") }
    }
}
