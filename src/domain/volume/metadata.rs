//! Writes of a volume's metadata, and the tag by which a client says which metadata it has seen (`spec/volumes.md` §4).

use std::fmt::Write;

use md5::{Digest, Md5};

use crate::domain::metadata::Metadata;

/// Which of a volume's metadata. The administrator's cannot be written by anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataKind {
    /// The user's own.
    User,
    /// Of the image that the volume was, or might have been, made from.
    Image,
}

/// What becomes of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataChange {
    /// Adds these and overwrites what has their keys.
    Merge(Metadata),
    /// These and no others.
    Replace(Metadata),
    /// Takes one key away; it must be there.
    Remove(Box<str>),
}

impl MetadataChange {
    /// What becomes of `present`; the key to be taken away if it is not there.
    pub fn applied(&self, present: &Metadata) -> Result<Metadata, &str> {
        match self {
            Self::Replace(all) => Ok(all.clone()),
            Self::Merge(more) => Ok(present.iter().chain(more.iter()).collect()),
            Self::Remove(key) if present.contains_key(key) => {
                let mut rest = present.clone();
                rest.remove(key);
                Ok(rest)
            }
            Self::Remove(key) => Err(key),
        }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataWrite {
    /// Of what.
    pub kind: MetadataKind,
    /// The change.
    pub change: MetadataChange,
    /// The present metadata must have one of these tags (`If-Match`, 3.15); none: whatever they are.
    pub if_match: Option<Vec<String>>,
}

/// The answer to who asks for `metadata`, with the spaces and escapes of Python's writer: the tag is the sum of this very text.
pub fn metadata_text(metadata: &Metadata) -> String {
    let mut text = "{\"metadata\": {".to_owned();
    for (index, (key, value)) in metadata.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        push_quoted(&mut text, key);
        text.push_str(": ");
        push_quoted(&mut text, value);
    }
    text.push_str("}}");
    text
}

/// The tag of `metadata`: the same for the same pairs, in whatever order they were written.
pub fn metadata_tag(metadata: &Metadata) -> String {
    format!("{:x}", Md5::digest(metadata_text(metadata)))
}

fn push_quoted(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text is what Python's `json.dumps` makes of it.
    #[test]
    fn the_tag_is_the_sum_of_the_text() {
        for (metadata, text, tag) in [
            (Metadata::default(), r#"{"metadata": {}}"#, "28ea041cc3f26b287319d2de3c107b50"),
            (
                Metadata::from([("b", "2"), ("a", "1")]),
                r#"{"metadata": {"a": "1", "b": "2"}}"#,
                "5d4747d5048c7300ca6f947eedf5ecc9",
            ),
            (
                Metadata::from([("k", "ü😀\u{7f}\u{1}\"\\\n\t\u{8}\u{c}\r/")]),
                r#"{"metadata": {"k": "\u00fc\ud83d\ude00\u007f\u0001\"\\\n\t\b\f\r/"}}"#,
                "699605893047238e4b309e70a725d1f6",
            ),
        ] {
            assert_eq!(metadata_text(&metadata), text);
            assert_eq!(metadata_tag(&metadata), tag, "{text}");
        }
    }
}
