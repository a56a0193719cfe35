//! The named formats of the request schemas (`errors-and-http` §9), and the readers that go with them.

use uuid::Uuid;

use crate::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};

/// Longest text of most fields, characters.
pub const TEXT_MAX: usize = 255;
/// Longest text of image metadata, bytes.
pub const BYTES_MAX: usize = 65_535;
/// Largest size, GiB.
pub const SIZE_MAX: u32 = 2_147_483_647;

type Check = fn(&str) -> bool;

/// Every format with its check.
pub const FORMATS: &[(&str, Check)] = &[
    ("uuid", |text| uuid_any(text).is_some()),
    ("uuid_or_empty", |text| text.is_empty() || uuid_any(text).is_some()),
    ("size", |text| size_of(text).is_some()),
    ("text255", is_text255),
    ("stored", is_stored),
    ("bytes65535", |text| is_stored(text) && text.len() <= BYTES_MAX),
    ("name", |text| !text.trim().is_empty() && is_stored(text)),
    ("description", is_description),
    ("reset_status", |text| text.is_empty() || reset_status(text).is_some()),
    ("reset_attach_status", |text| text.is_empty() || reset_attach_status(text).is_some()),
    ("reset_migration_status", |text| text.is_empty() || reset_migration_status(text).is_some()),
    ("snapshot_status", |text| snapshot_status(text).is_some()),
    ("device", is_device),
    ("boot_index", |text| text.parse::<i32>().is_ok()),
    ("tag", |text| !text.contains([',', '/']) && is_stored(text)),
];

/// A uuid in any spelling that Python's parser takes: any case, dashes anywhere or nowhere, braces, `urn:uuid:`.
pub fn uuid_any(text: &str) -> Option<Uuid> {
    // Longer texts cannot be uuids, and are not worth copying.
    if text.len() > 64 {
        return None;
    }
    let hex: String = text.replace("urn:", "").replace("uuid:", "");
    let hex = hex.trim_matches(['{', '}']).replace('-', "");
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Uuid::try_parse(&hex).ok()
}

/// A size written with digits.
pub fn size_of(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse::<u32>().ok().filter(|size| (1..=SIZE_MAX).contains(size))
}

/// A status that `os-reset_status` takes, in any case: all but the internal ones (volume-actions §0.6).
pub fn reset_status(text: &str) -> Option<VolumeStatus> {
    let status = text.to_ascii_lowercase().parse().ok()?;
    let internal = matches!(
        status,
        VolumeStatus::Reverting
            | VolumeStatus::Unmanaging
            | VolumeStatus::ErrorUnmanaging
            | VolumeStatus::ErrorManagingDeleting
    );
    (!internal).then_some(status)
}

/// An attach status that it takes.
pub fn reset_attach_status(text: &str) -> Option<AttachStatus> {
    match text.to_ascii_lowercase().as_str() {
        "attached" => Some(AttachStatus::Attached),
        "detached" => Some(AttachStatus::Detached),
        _ => None,
    }
}

/// A migration status that it takes; `none` is the inner none.
pub fn reset_migration_status(text: &str) -> Option<Option<String>> {
    match text.to_ascii_lowercase().as_str() {
        "none" => Some(None),
        word @ ("migrating" | "error" | "success" | "completing" | "starting") => Some(Some(word.to_owned())),
        _ => None,
    }
}

/// A status of a snapshot, in any case.
pub fn snapshot_status(text: &str) -> Option<SnapshotStatus> {
    text.to_ascii_lowercase().parse().ok()
}

/// What a database can keep: PostgreSQL's text has no NUL.
pub fn is_stored(text: &str) -> bool {
    !text.contains('\0')
}

fn is_text255(text: &str) -> bool {
    is_stored(text) && text.trim().chars().count() <= TEXT_MAX
}

/// At most [`TEXT_MAX`] characters that can be printed, none of them beyond the basic plane; a newline may end it.
fn is_description(text: &str) -> bool {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let is_shown = |character: char| {
        !character.is_control() && character <= '\u{ffff}' && !matches!(character, '\u{2028}' | '\u{2029}')
    };
    text.chars().count() <= TEXT_MAX && text.chars().all(is_shown)
}

/// `(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$` without the newline that Python's `$` lets through.
fn is_device(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("/dev/") else { return false };
    let letters = rest.trim_end_matches(|character: char| character.is_ascii_digit());
    !letters.is_empty() && letters.len() <= TEXT_MAX && letters.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_in_any_spelling() {
        let plain = "462dcc2d-130d-4654-8db1-da0df2da6a0d";
        let same = [
            plain.to_owned(),
            plain.to_uppercase(),
            plain.replace('-', ""),
            format!("{{{plain}}}"),
            format!("urn:uuid:{plain}"),
        ];
        for text in same {
            assert_eq!(uuid_any(&text).map(|id| id.to_string()).as_deref(), Some(plain), "{text}");
        }
        for text in ["", "x", "462dcc2d-130d-4654-8db1-da0df2da6a0", &"-".repeat(32), &"a".repeat(1000)] {
            assert_eq!(uuid_any(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_as_digits() {
        for (text, size) in [
            ("1", Some(1)),
            ("007", Some(7)),
            ("2147483647", Some(SIZE_MAX)),
            ("2147483648", None),
            ("0", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("1.0", None),
            ("٣", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(size_of(text), size, "{text:?}");
        }
    }

    #[test]
    fn devices() {
        for (text, good) in [
            ("/dev/vdb", true),
            ("/dev/sd", true),
            ("/dev/xvda1", true),
            ("/dev/abcdef", true),
            ("/dev/vdb\n", false),
            ("/dev/", false),
            ("/dev/1", false),
            ("vdb", false),
            ("/dev/vdB", false),
        ] {
            assert_eq!(is_device(text), good, "{text:?}");
        }
    }
}
