//! Device names (`spec/nova-volume-attachments.md` §4.1).

use std::sync::LazyLock;

use regex::Regex;

/// A requested device name: the second group is its letters. Anchored at the very end: Nova lets one trailing newline
/// through, we do not.
static REQUESTED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\A(/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*\z").expect("a constant pattern is valid")
});

/// The prefixes that a used name may have.
const PREFIXES: [&str; 4] = ["xvd", "vd", "sd", "hd"];

/// Why there is no name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DeviceRefusal {
    /// 400: not a device name.
    Malformed,
    /// 409: the letters are taken.
    InUse,
}

/// Chooses the name for a new device: the requested letters under the root device's prefix, or the first free ones.
/// `used` are all device names of the server without its root.
pub(super) fn choose<'a>(
    requested: Option<&str>,
    root: &'a str,
    used: impl Iterator<Item = &'a str>,
) -> Result<String, DeviceRefusal> {
    let taken = used.chain(std::iter::once(root)).map(letters).collect::<Vec<_>>();
    let prefix = prefix(root);
    match requested {
        Some(name) => {
            let found = REQUESTED.captures(name).ok_or(DeviceRefusal::Malformed)?;
            let wanted = found[2].to_owned();
            if taken.contains(&wanted) { Err(DeviceRefusal::InUse) } else { Ok(format!("{prefix}{wanted}")) }
        }
        None => {
            let free = (0_u32..).map(nth_letters).find(|letters| !taken.contains(letters));
            Ok(format!("{prefix}{}", free.expect("there are more names than devices")))
        }
    }
}

/// `/dev/vda1` → `a`.
fn letters(name: &str) -> String {
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    let name = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    name.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

/// `/dev/vda` → `/dev/vd`.
fn prefix(root: &str) -> String {
    let letters = letters(root);
    let bare = root.trim_end_matches(|letter: char| letter.is_ascii_digit());
    bare.strip_suffix(letters.as_str()).unwrap_or("/dev/vd").to_owned()
}

/// 0 → a, 25 → z, 26 → aa.
fn nth_letters(mut index: u32) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(b'a' + u8::try_from(index % 26).expect("a remainder of 26 fits"));
        if index < 26 {
            break;
        }
        index = index / 26 - 1;
    }
    letters.iter().rev().map(|letter| char::from(*letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn row(requested: Option<&str>, used: &[&str], expected: Result<&str, DeviceRefusal>) {
        let chosen = choose(requested, "/dev/vda", used.iter().copied());
        assert_eq!(chosen, expected.map(str::to_owned));
    }

    #[test]
    fn names_follow_the_table_of_the_specification() {
        row(None, &[], Ok("/dev/vdb"));
        row(None, &["/dev/vdb", "/dev/vdd"], Ok("/dev/vdc"));
        row(Some("/dev/sdc"), &[], Ok("/dev/vdc"));
        row(Some("/dev/sdd2"), &[], Ok("/dev/vdd"));
        row(Some("/dev/sd"), &[], Ok("/dev/vdd"));
        row(Some("/dev/abcdef"), &[], Ok("/dev/vdbcdef"));
        row(Some("/dev/sda"), &[], Err(DeviceRefusal::InUse));
        row(Some("/dev/sdb"), &["/dev/vdb"], Err(DeviceRefusal::InUse));
        row(Some("vdb"), &[], Err(DeviceRefusal::Malformed));
        row(Some("/dev/vdb\n"), &[], Err(DeviceRefusal::Malformed));
        row(Some("/dev/VDB"), &[], Err(DeviceRefusal::Malformed));
    }

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!(nth_letters(25), "z");
        assert_eq!(nth_letters(26), "aa");
        assert_eq!(nth_letters(26 + 26 * 26), "aaa");
        let used = (1..26).map(|index| format!("/dev/vd{}", nth_letters(index))).collect::<Vec<_>>();
        row(None, &used.iter().map(String::as_str).collect::<Vec<_>>(), Ok("/dev/vdaa"));
    }
}
