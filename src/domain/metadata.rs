//! Metadata: pairs of texts, few, read often and replaced as a whole.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Keys with their values, in the order of the keys; a clone shares them, and none take no memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(Option<Arc<Box<[Pair]>>>);

type Pair = (Box<str>, Box<str>);

impl Metadata {
    fn pairs(&self) -> &[Pair] {
        self.0.as_ref().map_or(&[], |pairs| &***pairs)
    }

    /// The pairs, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs().iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs().is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let pairs = self.pairs();
        pairs.binary_search_by(|(own, _)| (**own).cmp(key)).ok().map(|index| &*pairs[index].1)
    }

    /// Whether the key has a value.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Takes a key away, if it is there.
    pub fn remove(&mut self, key: &str) {
        if self.contains_key(key) {
            *self = self.iter().filter(|(own, _)| *own != key).collect();
        }
    }
}

/// Of pairs with the same key the last one counts.
impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut pairs: Vec<Pair> = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        // stable, so that the last one of equal keys comes first
        pairs.reverse();
        pairs.sort_by(|left, right| left.0.cmp(&right.0));
        pairs.dedup_by(|next, kept| next.0 == kept.0);
        Self((!pairs.is_empty()).then(|| Arc::new(pairs.into())))
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>, const N: usize> From<[(K, V); N]> for Metadata {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Metadata, A::Error> {
                let mut pairs: Vec<Pair> = Vec::new();
                while let Some(pair) = members.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs.into_iter().collect())
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_order_and_the_last_value_of_a_key_counts() {
        let mut metadata = Metadata::from([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!((metadata.get("b"), metadata.get("c")), (Some("3"), None));
        metadata.remove("c");
        metadata.remove("b");
        assert_eq!(metadata, Metadata::from([("a", "2")]));
        metadata.remove("a");
        assert_eq!(metadata, Metadata::default(), "none are none, however they came to be");
    }

    #[test]
    fn they_are_written_and_read_as_an_object() {
        let metadata = Metadata::from([("k", "v"), ("ä", "\"")]);
        let json = serde_json::to_string(&metadata).unwrap();
        assert_eq!(json, r#"{"k":"v","ä":"\""}"#);
        assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
        assert_eq!(serde_json::from_str::<Metadata>("{}").unwrap(), Metadata::default());
    }
}
