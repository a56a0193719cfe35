//! An answer held against what was expected of it.

use serde_json::Value;
use uuid::Uuid;

use crate::api::harness::Got;

/// What is wrong with the answer; none: nothing.
pub fn deviation(got: &Got, expected: &str) -> Option<String> {
    let (code, mut rest) = expected.split_once(' ').unwrap_or((expected, ""));
    if !fits(&got.status.to_string(), code) {
        return Some(format!("answered {} {}", got.status, got.text));
    }
    while let Some((header, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        let (name, value) = header.split_once(": ").expect("a header is `Name: value`");
        let found = got.header(name).unwrap_or("@absent");
        if !fits(found, value) {
            return Some(format!("{name} is {found:?}"));
        }
        rest = after.trim_start();
    }
    let text = &got.text;
    match rest {
        "" => None,
        "empty" => {
            (!text.is_empty() || got.header("content-length") != Some("0")).then(|| format!("the body is {text:?}"))
        }
        _ => match rest.strip_prefix("plain ") {
            Some(plain) => (!fits(text, plain)).then(|| format!("the body is {text:?}")),
            None if rest.starts_with(['{', '[']) => {
                let expected: Value = serde_json::from_str(rest).unwrap_or_else(|error| panic!("{rest}: {error}"));
                let found = serde_json::from_str(text).unwrap_or(Value::String(text.clone()));
                difference(&found, &expected, "")
            }
            None => match fault_message(got) {
                Ok(message) => (!fits(&message, rest)).then(|| format!("the message is {message:?}")),
                Err(deviation) => Some(deviation),
            },
        },
    }
}

/// The names of faults by their code (volume-actions §0.2).
fn fault_name(code: u16) -> &'static str {
    match code {
        400 => "badRequest",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 => "overLimit",
        415 => "badMediaType",
        501 => "notImplemented",
        503 => "serviceUnavailable",
        _ => "computeFault",
    }
}

/// The message of a fault that has the form of one.
fn fault_message(got: &Got) -> Result<String, String> {
    let name = fault_name(got.status);
    let body: Value = serde_json::from_str(&got.text).map_err(|_| format!("no fault: {:?}", got.text))?;
    let fault = &body[name];
    match fault["message"].as_str() {
        Some(message) if fault["code"] == got.status && body.as_object().is_some_and(|body| body.len() == 1) => {
            Ok(message.to_owned())
        }
        _ => Err(format!("it is no {name}: {body}")),
    }
}

/// Whether a text is the expected one, in which `…` stands for any.
fn fits(found: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let Some(mut rest) = found.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The first member that is not as expected.
pub fn difference(found: &Value, expected: &Value, at: &str) -> Option<String> {
    let other = || Some(format!("{at} is {found} and not {expected}"));
    match expected {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let names = || found.as_object().map(|found| found.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
            let listed = || value.as_array().expect("names").iter().filter_map(Value::as_str).collect::<Vec<_>>();
            match name.as_str() {
                "@exactly" => {
                    let (mut names, mut listed) = (names(), listed());
                    names.sort_unstable();
                    listed.sort_unstable();
                    (names != listed).then(|| format!("{at} has {names:?}"))
                }
                "@without" => {
                    let listed = listed();
                    names().iter().find(|name| listed.contains(&name.as_str())).map(|name| format!("{at} has {name}"))
                }
                _ => match found.get(name) {
                    None if value == "@absent" => None,
                    None => Some(format!("{at}/{name} is absent from {found}")),
                    Some(found) => difference(found, value, &format!("{at}/{name}")),
                },
            }
        }),
        Value::Array(wanted) if wanted.first().is_some_and(|first| first == "@has") => {
            let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
            let is_there = |wanted: &&Value| !found.iter().any(|one| difference(one, wanted, at).is_none());
            wanted[1..].iter().find(is_there).map(|missing| format!("{at} has no {missing}: {found:?}"))
        }
        Value::Array(wanted) => match found.as_array() {
            Some(found) if found.len() == wanted.len() => found
                .iter()
                .zip(wanted)
                .enumerate()
                .find_map(|(index, (found, wanted))| difference(found, wanted, &format!("{at}/{index}"))),
            _ => other(),
        },
        Value::String(text) if text.starts_with('@') => {
            (!is_a(found, text)).then(|| format!("{at} is {found}: {text}"))
        }
        Value::String(text) if text.contains('…') => match found.as_str() {
            Some(found) if fits(found, text) => None,
            _ => other(),
        },
        _ => (found != expected).then(other).flatten(),
    }
}

fn is_a(found: &Value, what: &str) -> bool {
    let text = found.as_str();
    match what {
        "@any" => true,
        "@absent" => false,
        "@text" => text.is_some(),
        "@integer" => found.is_u64(),
        "@uuid" => text.is_some_and(|text| Uuid::parse_str(text).is_ok()),
        // as `2026-01-01T00:00:00.000000`
        "@time" => text.is_some_and(|text| {
            text.len() == 26
                && text.chars().zip("0000-00-00T00:00:00.000000".chars()).all(|(sign, form)| match form {
                    '0' => sign.is_ascii_digit(),
                    other => sign == other,
                })
        }),
        _ => panic!("nothing is called {what}"),
    }
}

#[test]
fn answers_are_told_apart() {
    use serde_json::json;
    assert!(fits("Invalid volume: x", "Invalid volume: …") && !fits("Invalid input: x", "Invalid volume: …"));
    assert!(fits("a b c", "a…c") && !fits("a b", "a") && !fits("ab", "a…x…b") && fits("a", "a"));
    let found = json!({"a": 1, "b": [{"c": "x"}, {"c": "y"}], "d": "2026-01-01T00:00:00.000000"});
    for (expected, fits) in [
        (json!({"a": 1}), true),
        (json!({"a": 2}), false),
        (json!({"z": "@absent"}), true),
        (json!({"a": "@absent"}), false),
        (json!({"b": [{"c": "x"}]}), false),
        (json!({"b": ["@has", {"c": "y"}]}), true),
        (json!({"b": ["@has", {"c": "z"}]}), false),
        (json!({"@exactly": ["b", "a", "d"]}), true),
        (json!({"@exactly": ["a", "b"]}), false),
        (json!({"@without": ["z"]}), true),
        (json!({"@without": ["a"]}), false),
        (json!({"d": "@time"}), true),
        (json!({"d": "@uuid"}), false),
        (json!({"b": [{}, {"c": "…y"}]}), true),
    ] {
        assert_eq!(difference(&found, &expected, "").is_none(), fits, "{expected}");
    }
}
