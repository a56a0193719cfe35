//! `Prefer: wait=N` (RFC 7240): an asynchronous call is answered when what it began has settled, or after N seconds.

use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};

/// The preferences of a request.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Those that were heeded.
pub const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The longest wait; longer ones are cut to it.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long the client would wait. Other preferences, and what cannot be read, mean nothing.
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(PREFER).filter_map(|line| line.to_str().ok());
    // Of a preference that is there more than once the first one counts (§2).
    let value = lines.flat_map(|line| split(line, ',')).find_map(|preference| {
        let whole = split(preference, ';').next()?;
        let (name, value) = whole.split_once('=').unwrap_or((whole, ""));
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim())
    })?;
    let digits = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Only a number that is too long for its type fails now.
    Some(digits.parse().map_or(WAIT_MAX, Duration::from_secs).min(WAIT_MAX))
}

/// The parts between separators that are not quoted.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |letter: char| {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        letter == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn preferences_are_read_as_rfc_7240_has_them() {
        let seconds = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            lines.iter().for_each(|line| headers.append(PREFER, HeaderValue::from_static(line)));
            wait(&headers).map(|wait| wait.as_secs())
        };
        for (lines, expected) in [
            (&["wait=5"][..], Some(5)),
            (&["WAIT = 5 ; foo=\"a,b\""], Some(5)),
            (&["wait=\"7\""], Some(7)),
            (&["wait=0"], Some(0)),
            (&["wait=61"], Some(60)),
            (&["wait=99999999999999999999999"], Some(60)),
            (&["respond-async, wait=10"], Some(10)),
            (&["respond-async", "handling=lenient, wait=10"], Some(10)),
            (&["foo=\"x, wait=1\", wait=2"], Some(2)),
            (&["foo=\"x\\\", wait=1\", wait=2"], Some(2)),
            (&["wait=3, wait=4"], Some(3)),
            (&["wait=x, wait=4"], None),
            (&["wait"], None),
            (&["wait="], None),
            (&["wait=-1"], None),
            (&["wait=+1"], None),
            (&["wait=1.5"], None),
            (&["foo; wait=5"], None),
            (&["waiting=5"], None),
            (&[], None),
        ] {
            assert_eq!(seconds(lines), expected, "{lines:?}");
        }
    }
}
