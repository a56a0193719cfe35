//! One text out of a JSON answer, without building the rest.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de::DeserializeSeed};

/// The text at `path` (names of members); none when there is no such text.
pub(super) fn text_at<'a>(body: &'a [u8], path: &[String]) -> Option<Cow<'a, str>> {
    let mut json = serde_json::Deserializer::from_slice(body);
    At(path).deserialize(&mut json).ok().flatten()
}

struct At<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Name(name)) = map.next_key()? {
            match self.0.split_first() {
                Some((first, rest)) if *first == name => found = map.next_value_seed(At(rest))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then_some(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, path: &str, expected: Option<&str>) {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        assert_eq!(text_at(body.as_bytes(), &path).as_deref(), expected, "{body} at {path:?}");
    }

    #[test]
    fn the_member_is_found_whatever_stands_around_it() {
        check(r#"{"attachment":{"x":[1,{"id":"no"}],"id":"a1","y":null},"z":1.5}"#, "attachment.id", Some("a1"));
        check(r#" {"volume" : {"status" : "in-use"}} "#, "volume.status", Some("in-use"));
        check(r#"{"a":{"id":"first"},"a":{"id":"last"}}"#, "a.id", Some("last"));
        check(r#"{"volume":{"status":"a\u00e9\n"}}"#, "volume.status", Some("a\u{e9}\n"));
    }

    #[test]
    fn what_is_no_text_there_is_nothing() {
        for body in ["", "[]", "1", "null", r#"{"a":1}"#, r#"{"a":{"b":2}}"#, r#"{"a":"x"}"#, r#"{"a":{"b":"x"}"#] {
            check(body, "a.b", None);
        }
    }
}
