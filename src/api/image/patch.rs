//! Changes of an image: the part of JSON Patch that Glance takes.

use actix_web::http::header::{self, HeaderMap};
use serde_json::{Map, Value};

use super::fault::Fault;
use super::members::{self, Member};
use crate::api::dispatch::text;
use crate::images::{Image, ImageError};

/// Changes of one request.
const CHANGES_MAX: usize = 1024;

const MEDIA_TYPE: &str = "application/openstack-images-v2.1-json-patch";
/// The older form, whose operation is the name of a member: `{"replace": "/name", "value": …}`.
const MEDIA_TYPES: &str = "application/openstack-images-v2.0-json-patch, application/openstack-images-v2.1-json-patch";

/// The media type of a change is its version.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Fault> {
    let found = text(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let essence = found.split(';').next().unwrap_or_default().trim();
    if MEDIA_TYPES.split(", ").any(|known| essence.eq_ignore_ascii_case(known)) {
        Ok(())
    } else {
        Err(Fault::media_type(MEDIA_TYPE))
    }
}

/// The changes of one request, to be made in order, all or none.
#[derive(Debug, PartialEq)]
pub(super) struct Changes(Vec<Change>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

#[derive(Debug, PartialEq)]
enum Change {
    /// The bool: a property of this name must be there already.
    Set(Member, bool),
    Remove(String),
}

/// The body of a change.
pub(super) fn parse(body: Value) -> Result<Changes, Fault> {
    let Value::Array(items) = body else {
        return Err(Fault::new(400, "Request body must be a JSON array of operation objects."));
    };
    if items.len() > CHANGES_MAX {
        return Err(Fault::new(413, format!("More than {CHANGES_MAX} changes.")));
    }
    items.into_iter().map(change).collect::<Result<_, _>>().map(Changes)
}

fn change(item: Value) -> Result<Change, Fault> {
    let Value::Object(mut operation) = item else {
        return Err(Fault::new(400, "Operations must be JSON objects."));
    };
    let (verb, pointer) = verb_and_pointer(&operation)?;
    let name = member_name(&pointer)?;
    if verb == Verb::Remove {
        members::check_writable(&name)?;
        return Ok(Change::Remove(name));
    }
    let value = operation.remove("value").ok_or_else(|| {
        Fault::new(400, "Operation \"add\" and \"replace\" requires a member named \"value\".".to_owned())
    })?;
    Ok(Change::Set(Member::parse(&name, value)?, verb == Verb::Replace))
}

fn verb_and_pointer(operation: &Map<String, Value>) -> Result<(Verb, String), Fault> {
    const VERBS: [(&str, Verb); 3] = [("add", Verb::Add), ("replace", Verb::Replace), ("remove", Verb::Remove)];
    let missing = |member: &str| Fault::new(400, format!("Unable to find '{member}' in JSON Schema change"));
    let text = |member: &str| operation.get(member).and_then(Value::as_str);
    if let Some(word) = text("op") {
        let verb = VERBS.iter().find(|(known, _)| *known == word);
        let (_, verb) = verb.ok_or_else(|| Fault::new(400, format!("Invalid operation '{word}'.")))?;
        return Ok((*verb, text("path").ok_or_else(|| missing("path"))?.to_owned()));
    }
    let mut found = VERBS.iter().filter_map(|(word, verb)| text(word).map(|pointer| (*verb, pointer.to_owned())));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(missing("op")),
    }
}

/// The member that a pointer names: only whole members can be changed.
fn member_name(pointer: &str) -> Result<String, Fault> {
    let Some(token) = pointer.strip_prefix('/') else {
        return Err(Fault::new(400, format!("Pointer `{pointer}` does not start with \"/\".")));
    };
    let mut name = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        name.push(match c {
            '/' => return Err(Fault::new(400, format!("Invalid JSON pointer for this resource: '{pointer}'"))),
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => {
                    let text = format!("Pointer `{pointer}` contains \"~\" not part of a recognized escape sequence.");
                    return Err(Fault::new(400, text));
                }
            },
            c => c,
        });
    }
    let name = name.trim();
    if name.is_empty() {
        return Err(Fault::new(400, format!("Pointer `{pointer}` does not contains valid token.")));
    }
    Ok(name.to_owned())
}

impl Changes {
    /// Makes them.
    pub(super) fn apply(self, image: &mut Image) -> Result<(), ImageError> {
        self.0.into_iter().try_for_each(|change| change.apply(image))
    }
}

impl Change {
    fn apply(self, image: &mut Image) -> Result<(), ImageError> {
        match self {
            Self::Set(member, is_replacing) => {
                if let Member::Property(name, _) = &member
                    && is_replacing != image.properties.contains_key(name)
                {
                    let why = if is_replacing { "does not exist" } else { "already present" };
                    return Err(ImageError::Conflict(format!("Property {name} {why}.")));
                }
                member.set(image)
            }
            Self::Remove(name) if members::is_base(&name) => {
                Err(ImageError::Forbidden(format!("Property {name} may not be removed.")))
            }
            Self::Remove(name) => match image.properties.remove(&name) {
                Some(_) => Ok(()),
                None => Err(ImageError::Conflict(format!("Property {name} does not exist."))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_name_whole_members() {
        for (pointer, expected) in [("/name", "name"), ("/a~1b~0c", "a/b~c"), ("/ x ", "x")] {
            assert_eq!(member_name(pointer).unwrap(), expected);
        }
        for pointer in ["name", "/", "", "/a/b", "/tags/-", "/a~2", "/a~", "//"] {
            assert!(member_name(pointer).is_err(), "{pointer}");
        }
    }

    #[test]
    fn operations_are_read_in_both_forms() {
        let name = |verb| Ok(Changes(vec![Change::Set(Member::Name(Some("n".to_owned())), verb == Verb::Replace)]));
        for (body, expected) in [
            (json!([{"op": "replace", "path": "/name", "value": "n"}]), name(Verb::Replace)),
            (json!([{"add": "/name", "value": "n"}]), name(Verb::Add)),
            (json!([{"op": "remove", "path": "/k"}]), Ok(Changes(vec![Change::Remove("k".to_owned())]))),
            (json!({}), Err(400)),
            (json!(["x"]), Err(400)),
            (json!([{"op": "copy", "path": "/name"}]), Err(400)),
            (json!([{"op": "add", "path": "/name"}]), Err(400)),
            (json!([{"op": "add", "value": 1}]), Err(400)),
            (json!([{"add": "/name", "remove": "/k"}]), Err(400)),
            (json!([{"op": "replace", "path": "/id", "value": "x"}]), Err(403)),
            (json!([{"op": "add", "path": "/locations", "value": []}]), Err(403)),
            (json!([{"op": "add", "path": "/os_glance_x", "value": "y"}]), Err(403)),
            (json!([{"op": "add", "path": "/k", "value": 1}]), Err(400)),
        ] {
            let found = parse(body.clone()).map_err(|fault| fault.response(None).status().as_u16());
            assert_eq!(found, expected, "{body}");
        }
    }
}
