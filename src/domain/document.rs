//! JSON objects that others made and that Hearth only keeps and passes on: connectors and connection information. They are kept
//! as they are written, because a tree of values takes ten times as much memory and is copied for each row and each answer.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON value in its written form, without white space; a clone shares it. Every one is written from a value, so that it can
/// be read as one: not every text with the syntax of JSON can (too deep, or a number out of range).
#[derive(Clone)]
pub struct Document(Arc<RawValue>);

/// An object without members.
static EMPTY: LazyLock<Document> = LazyLock::new(|| Document::write(&serde_json::Map::new()));

impl Document {
    /// An object without members.
    pub fn empty() -> Self {
        EMPTY.clone()
    }

    /// Takes a text; an error says why it is no value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Value>(text).map(Self::from)
    }

    /// An object with these members set in it, whatever they were; anything else as it is.
    pub fn with_members(value: &Value, members: &[(&str, impl Serialize)]) -> Self {
        match value {
            Value::Object(own) => Self::write(&Extended { own, members }),
            other => Self::from(other),
        }
    }

    fn write(value: &impl Serialize) -> Self {
        Self(serde_json::value::to_raw_value(value).expect("values have text keys and cannot fail to serialise").into())
    }

    /// The written form.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The whole value.
    pub fn to_value(&self) -> Value {
        serde_json::from_str(self.as_str()).expect("it was written from a value")
    }

    /// One member of an object, without the others.
    pub fn member(&self, name: &str) -> Option<Value> {
        serde_json::Deserializer::from_str(self.as_str()).deserialize_map(Member(name)).ok().flatten()
    }

    /// One member, if it is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.member(name)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }

    /// Whether it is an object with members.
    pub fn has_members(&self) -> bool {
        self.is_object() && self.as_str() != "{}"
    }
}

impl From<&Value> for Document {
    fn from(value: &Value) -> Self {
        Self::write(value)
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self::write(&value)
    }
}

/// By value: who wrote it may have had its own order of members.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str() || self.to_value() == other.to_value()
    }
}

impl Eq for Document {}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Through a value: inside of an enum with a tag there is no written form left to keep.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

struct Extended<'a, V> {
    own: &'a serde_json::Map<String, Value>,
    members: &'a [(&'a str, V)],
}

impl<V: Serialize> Serialize for Extended<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (name, value) in self.own {
            match self.members.iter().find(|(set, _)| set == name) {
                Some((_, set)) => object.serialize_entry(name, set)?,
                None => object.serialize_entry(name, value)?,
            }
        }
        for (name, set) in self.members.iter().filter(|(name, _)| !self.own.contains_key(*name)) {
            object.serialize_entry(name, set)?;
        }
        object.end()
    }
}

/// Finds one member; the last one of this name counts, as everywhere.
struct Member<'a>(&'a str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            if name == self.0 {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_are_found_whatever_stands_around_them() {
        let document = Document::from(json!({"a": {"host": "inner"}, "h\"q": 1, "host": "h", "mode": null}));
        assert_eq!(document.text("host").as_deref(), Some("h"));
        assert_eq!(document.member("h\"q"), Some(json!(1)));
        assert_eq!((document.member("mode"), document.text("mode")), (Some(Value::Null), None));
        assert_eq!(document.member("none"), None);
        assert_eq!(Document::from(json!("host")).member("host"), None);
    }

    #[test]
    fn set_members_replace_in_place_or_come_last() {
        let value = json!({"mode": "ro", "host": "h"});
        let document = Document::with_members(&value, &[("new", "n"), ("mode", "rw")]);
        assert_eq!(document.as_str(), r#"{"mode":"rw","host":"h","new":"n"}"#);
        assert_eq!(Document::with_members(&json!([1]), &[("mode", "rw")]), Document::from(json!([1])));
    }

    #[test]
    fn equality_is_by_value() {
        let written = |text| Document::parse(text).unwrap();
        assert_eq!(written(r#"{"a":1,"b":2}"#), written(r#"{ "b": 2, "a": 1 }"#));
        assert_ne!(written(r#"{"a":1}"#), written(r#"{"a":2}"#));
        assert!(Document::parse("{").is_err());
        assert!(Document::parse(&("[".repeat(500) + &"]".repeat(500))).is_err(), "nobody could read it again");
        assert!(written(r#"{ "a":1}"#).has_members());
        assert!(!written("{ }").has_members() && !written("[1]").has_members());
    }

    /// An operation holds its connector inside of an enum with a tag.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Connect { connector: Document },
    }

    #[test]
    fn it_is_written_and_read_as_the_value_that_it_is() {
        let tagged = Tagged::Connect { connector: Document::from(json!({"b": [1, null], "a": "x"})) };
        let text = serde_json::to_string(&tagged).unwrap();
        assert_eq!(text, r#"{"kind":"Connect","connector":{"b":[1,null],"a":"x"}}"#);
        assert_eq!(serde_json::from_str::<Tagged>(&text).unwrap(), tagged);
        assert_eq!(serde_json::to_value(&tagged).unwrap()["connector"]["a"], "x");
    }
}
