//! The `Hearth-*` headers of refusals: what stands in the way of a request, and whether it helps to come again.
//!
//! They are beside the fault, which stays as clients of Cinder and Nova know it.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::actors::Unanswered;

/// Kind and id of the operation in the way: `extend; id="…"`.
pub const OPERATION: HeaderName = HeaderName::from_static("hearth-blocking-operation");
/// The step that it stands at.
pub const STEP: HeaderName = HeaderName::from_static("hearth-blocking-step");
/// Since when it is open, seconds.
pub const AGE: HeaderName = HeaderName::from_static("hearth-blocking-age");
/// How long the step may go on, seconds.
pub const DEADLINE: HeaderName = HeaderName::from_static("hearth-blocking-deadline");
/// `later`: the same request can succeed when that has ended; `never`: not by waiting.
pub const RETRY: HeaderName = HeaderName::from_static("hearth-retry");

/// Adds them to a fault that comes of the volume's state.
pub fn explain(headers: &mut HeaderMap, status: u16, unanswered: &Unanswered) {
    // The other statuses do not depend on what a volume is doing.
    if !matches!(status, 400 | 409 | 500 | 503) {
        return;
    }
    let mut insert = |name, text: &str| {
        headers.insert(name, HeaderValue::from_str(text).expect("names of operations, ids and numbers are ASCII"));
    };
    if let Some(blocking) = &unanswered.blocking {
        insert(OPERATION, &format!("{}; id=\"{}\"", blocking.kind, blocking.id));
        insert(STEP, blocking.step);
        insert(AGE, &blocking.age.as_secs().to_string());
        if let Some(left) = blocking.left {
            insert(DEADLINE, &seconds_up(left).to_string());
        }
    }
    if let Some(retry) = unanswered.retry {
        insert(RETRY, retry.as_str());
    }
}

/// Whoever comes again after this time does not come too early.
fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
