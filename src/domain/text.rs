//! Texts that never change. Thousands of volumes stay in memory, and a state is copied for each decision: a copy of a text
//! is another handle to the same bytes.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A text that never changes; a clone shares its bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(Arc<str>);

impl Text {
    /// The one copy of a text that many records have in common: a project, a host, an availability zone.
    pub fn common(text: &str) -> Self {
        COMMON.lock().unwrap_or_else(PoisonError::into_inner).get(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The texts in common. What nobody holds any more is forgotten before the set would grow beyond twice of what is held, so
/// that ids which clients make up cannot fill the memory.
static COMMON: LazyLock<Mutex<Commons>> =
    LazyLock::new(|| Mutex::new(Commons { texts: BTreeSet::new(), tidy_at: TIDY_AT_LEAST }));

/// Texts that are kept without asking who holds them.
const TIDY_AT_LEAST: usize = 1_024;

struct Commons {
    texts: BTreeSet<Text>,
    tidy_at: usize,
}

impl Commons {
    fn get(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() >= self.tidy_at {
            self.texts.retain(|known| Arc::strong_count(&known.0) > 1);
            self.tidy_at = TIDY_AT_LEAST.max(self.texts.len() * 2);
        }
        let text = Text::from(text);
        self.texts.insert(text.clone());
        text
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_common_is_one_copy_as_long_as_somebody_holds_it() {
        let mut commons = Commons { texts: BTreeSet::new(), tidy_at: 2 };
        let nova = commons.get("nova");
        assert!(Arc::ptr_eq(&nova.0, &commons.get("nova").0));
        commons.get("made up");
        let other = commons.get("other");
        assert!(!commons.texts.contains("made up"), "nobody holds it");
        assert!(Arc::ptr_eq(&nova.0, &commons.get("nova").0), "what is held stays");
        assert!(Arc::ptr_eq(&other.0, &commons.get("other").0));
    }

    #[test]
    fn a_text_is_written_and_read_as_a_string() {
        let text = Text::from("a \"word\"");
        let json = serde_json::to_string(&text).unwrap();
        assert_eq!(json, r#""a \"word\"""#);
        assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
    }
}
