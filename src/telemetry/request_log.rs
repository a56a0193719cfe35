//! The log line of a request.

use std::time::Duration;

use super::request_id::RequestIds;

/// What is said about one request. The query is left out: clients put secrets there by mistake.
#[derive(Debug)]
pub struct RequestLine<'a> {
    /// Method.
    pub method: &'a str,
    /// Path without the query.
    pub path: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// From the first byte read until the answer was ready.
    pub elapsed: Duration,
    /// Its ids.
    pub ids: &'a RequestIds,
    /// Why a 5xx was answered; never shown to the client.
    pub cause: Option<&'a str>,
}

/// Writes the line: `info`, or `error` for a 5xx.
pub fn request_log(line: &RequestLine<'_>) {
    let micros = u64::try_from(line.elapsed.as_micros()).unwrap_or(u64::MAX);
    let global = line.ids.global.as_deref().unwrap_or("-");
    if line.status >= 500 {
        tracing::error!(
            method = line.method,
            path = line.path,
            status = line.status,
            micros,
            request_id = line.ids.local.as_str(),
            global_request_id = global,
            cause = line.cause.unwrap_or("-"),
            "request"
        );
    } else {
        tracing::info!(
            method = line.method,
            path = line.path,
            status = line.status,
            micros,
            request_id = line.ids.local.as_str(),
            global_request_id = global,
            "request"
        );
    }
}
