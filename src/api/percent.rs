//! Percent coding of paths and queries.

use std::fmt::Write;

fn decode(text: &str, plus_is_space: bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
        match bytes[at] {
            b'%' => match (hex(1), hex(2)) {
                (Some(high), Some(low)) => {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                    at += 2;
                }
                // A stray percent sign stands for itself, as in WebOb.
                _ => out.push(b'%'),
            },
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    out
}

/// A path segment; none when it is not UTF-8.
pub fn decode_segment(text: &str) -> Option<String> {
    if !text.contains('%') {
        // nearly all: names of collections, and ids
        return Some(text.to_owned());
    }
    String::from_utf8(decode(text, false)).ok()
}

/// A name or value of a query; what is not UTF-8 is replaced, so that it can match nothing but never fails.
pub fn decode_query(text: &str) -> String {
    String::from_utf8_lossy(&decode(text, true)).into_owned()
}

/// The inverse for both: everything but unreserved characters is coded.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_never_fails_on_garbage() {
        assert_eq!(decode_segment("a%20b+c"), Some("a b+c".to_owned()));
        assert_eq!(decode_query("a%20b+c"), "a b c");
        assert_eq!(decode_segment("%ff%fe"), None);
        assert_eq!(decode_query("%ff"), "\u{fffd}");
        assert_eq!(decode_segment("100%"), Some("100%".to_owned()));
        assert_eq!(decode_segment("%zz%4"), Some("%zz%4".to_owned()));
        assert_eq!(decode_segment("%C3%A9"), Some("é".to_owned()));
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        for text in ["", "a b&c=d", "é/%?#", "req-~._-"] {
            assert_eq!(decode_query(&encode(text)), text);
            assert_eq!(decode_segment(&encode(text)).as_deref(), Some(text));
        }
    }
}
