//! Cinder's words for a schema error: python-jsonschema's reason, and the field in front of it unless it is at the top.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::paths::LocationSegment;
use serde_json::Value;

use super::formats;
use crate::api::python::{display, repr};
use crate::domain::status::SnapshotStatus;

/// `Invalid input for field/attribute <name>. Value: <value>. <reason>`, or the bare reason.
pub fn sentence(error: &ValidationError<'_>, schema: &Value) -> String {
    if matches!(error.kind(), Kind::Format { format } if format == "name") {
        return "An invalid 'name' value was provided. The 'name' can not be empty.".to_owned();
    }
    let reason = reason(error, schema);
    let last = error.instance_path().segments().last().map(|segment| match segment {
        LocationSegment::Property(name) => name.to_string(),
        LocationSegment::Index(index) => index.to_string(),
    });
    match last {
        None => reason,
        Some(name) => {
            format!("Invalid input for field/attribute {name}. Value: {}. {reason}", display(error.instance()))
        }
    }
}

/// The schema object that holds the keyword which failed, and the keyword.
fn holder<'a>(error: &ValidationError<'_>, schema: &'a Value) -> Option<&'a Value> {
    let path = error.schema_path().as_str();
    schema.pointer(path.rsplit_once('/').map_or("", |(parent, _)| parent))
}

fn reason(error: &ValidationError<'_>, schema: &Value) -> String {
    let instance = error.instance();
    let shown = || repr(instance);
    let holder = holder(error, schema);
    match error.kind() {
        Kind::Type { .. } => {
            let words = match holder.and_then(|holder| holder.get("type")) {
                Some(Value::Array(words)) => words.iter().map(repr).collect::<Vec<_>>().join(", "),
                Some(word) => repr(word),
                None => String::new(),
            };
            format!("{} is not of type {words}", shown())
        }
        Kind::Required { property } => format!("{} is a required property", repr(property)),
        Kind::AdditionalProperties { unexpected } => {
            let names = unexpected.iter().map(|name| repr(&Value::from(name.as_str()))).collect::<Vec<_>>().join(", ");
            let patterns = holder.and_then(|holder| holder.get("patternProperties")).and_then(Value::as_object);
            match patterns {
                Some(patterns) => {
                    let patterns = patterns.keys().map(|name| format!("'{}'", name.replace("\\-", "-")));
                    let verb = if unexpected.len() == 1 { "does" } else { "do" };
                    format!("{names} {verb} not match any of the regexes: {}", patterns.collect::<Vec<_>>().join(", "))
                }
                None => {
                    let verb = if unexpected.len() == 1 { "was" } else { "were" };
                    format!("Additional properties are not allowed ({names} {verb} unexpected)")
                }
            }
        }
        Kind::Enum { options } => format!("{} is not one of {}", shown(), repr(options)),
        Kind::Minimum { limit } => format!("{} is less than the minimum of {limit}", shown()),
        Kind::Maximum { limit } => format!("{} is greater than the maximum of {limit}", shown()),
        Kind::MinLength { limit: 1 } | Kind::MinProperties { limit: 1 } | Kind::MinItems { limit: 1 } => {
            format!("{} should be non-empty", shown())
        }
        Kind::MinLength { .. } => format!("{} is too short", shown()),
        Kind::MinProperties { .. } => format!("{} does not have enough properties", shown()),
        Kind::MaxLength { .. } | Kind::MaxItems { .. } => format!("{} is too long", shown()),
        Kind::MaxProperties { .. } => format!("{} has too many properties", shown()),
        Kind::UniqueItems => format!("{} has non-unique elements", shown()),
        Kind::Pattern { pattern } => format!("{} does not match '{pattern}'", shown()),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => {
            format!("{} is not valid under any of the given schemas", shown())
        }
        Kind::Format { format } => format_reason(instance, format),
        // Kinds that no schema here can give; the crate's own words are as good.
        _ => error.to_string(),
    }
}

fn format_reason(instance: &Value, format: &str) -> String {
    let text = instance.as_str().unwrap_or_default();
    match format {
        "size" if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{} does not match '^[0-9]+$'", repr(instance))
        }
        "size" if text.bytes().all(|byte| byte == b'0') => format!("{} is less than the minimum of 1", repr(instance)),
        "size" => format!("{} is greater than the maximum of {}", repr(instance), formats::SIZE_MAX),
        "text255" if formats::is_stored(text) => {
            format!("{} characters, more than {}.", text.trim().chars().count(), formats::TEXT_MAX)
        }
        "bytes65535" if formats::is_stored(text) => {
            format!("Value of length {} is longer than {} bytes.", text.len(), formats::BYTES_MAX)
        }
        "device" => format!("{} does not match '(^/dev/x{{0,1}}[a-z]{{0,1}}d{{0,1}})([a-z]+)[0-9]*$'", repr(instance)),
        "tag" => format!("{} does not match '^[^,/]*$'", repr(instance)),
        "uuid_or_empty" => format!("{} is not a 'uuid'", repr(instance)),
        "snapshot_status" => {
            let words: Vec<_> = SnapshotStatus::ALL.iter().map(|status| Value::from(status.as_str())).collect();
            format!("{} is not one of {}", repr(instance), repr(&Value::from(words)))
        }
        format => format!("{} is not a '{format}'", repr(instance)),
    }
}
