//! Microversion negotiation of the two services (`microversions` §1, `nova-volume-attachments` §1.1).

use std::fmt;

/// A version number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion {
    /// Before the dot.
    pub major: u32,
    /// After it.
    pub minor: u32,
}

impl Microversion {
    /// `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Block Storage `3.minor`.
    pub const fn v3(minor: u32) -> Self {
        Self::new(3, minor)
    }

    /// Compute `2.minor`.
    pub const fn v2(minor: u32) -> Self {
        Self::new(2, minor)
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Block Storage's lowest and highest version.
pub const BLOCK_STORAGE: (Microversion, Microversion) = (Microversion::v3(0), Microversion::v3(71));
/// Compute's lowest version, and the highest whose rules for the calls served here are all kept.
pub const COMPUTE: (Microversion, Microversion) = (Microversion::v2(1), Microversion::v2(104));

/// Why the version headers are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// 400: there is a header but nothing in it speaks of this service.
    #[error("no version of this service is named")]
    NoVersion,
    /// 400: not a version number.
    #[error("{0} is no version")]
    Format(String),
    /// 406: well formed, out of range. The text is the version asked for.
    #[error("version {0} is not supported")]
    Unsupported(String),
}

enum Number {
    Known(Microversion),
    /// Well formed and beyond every number that is compared here.
    Huge,
    Malformed,
}

/// `^[1-9]\d*\.(0|[1-9]\d*)$`
fn number(text: &str) -> Number {
    let well_formed = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let Some((major, minor)) = text.split_once('.') else { return Number::Malformed };
    if !well_formed(major)
        || major.starts_with('0')
        || !well_formed(minor)
        || (minor.len() > 1 && minor.starts_with('0'))
    {
        return Number::Malformed;
    }
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => Number::Known(Microversion { major, minor }),
        _ => Number::Huge,
    }
}

fn in_range(text: &str, range: (Microversion, Microversion)) -> Result<Microversion, NegotiationError> {
    if text == "latest" {
        return Ok(range.1);
    }
    match number(text) {
        Number::Malformed => Err(NegotiationError::Format(text.to_owned())),
        Number::Known(version) if range.0 <= version && version <= range.1 => Ok(version),
        Number::Known(_) | Number::Huge => Err(NegotiationError::Unsupported(text.to_owned())),
    }
}

/// Block Storage's version: the first element of `OpenStack-API-Version` that mentions `volume` counts; no header is 3.0.
pub fn block_storage(header: Option<&str>) -> Result<Microversion, NegotiationError> {
    let Some(header) = header else { return Ok(BLOCK_STORAGE.0) };
    let element = header.split(',').find(|element| element.contains("volume")).ok_or(NegotiationError::NoVersion)?;
    let mut words = element.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(_), Some(version), None) => in_range(version, BLOCK_STORAGE),
        _ => Err(NegotiationError::NoVersion),
    }
}

/// Compute's version: `OpenStack-API-Version: compute X.Y` wins over `X-OpenStack-Nova-API-Version: X.Y`; neither is 2.1.
/// Of several elements for `compute` the last one counts.
pub fn compute(standard: Option<&str>, legacy: Option<&str>) -> Result<Microversion, NegotiationError> {
    let named = standard.and_then(|header| {
        header.rsplit(',').find_map(|element| {
            let (service, version) = element.trim().split_once(char::is_whitespace)?;
            service.eq_ignore_ascii_case("compute").then(|| version.trim())
        })
    });
    match named.or(legacy.map(str::trim)) {
        Some(version) => in_range(version, COMPUTE),
        None => Ok(COMPUTE.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsupported(text: &str) -> Result<Microversion, NegotiationError> {
        Err(NegotiationError::Unsupported(text.to_owned()))
    }
    fn format(text: &str) -> Result<Microversion, NegotiationError> {
        Err(NegotiationError::Format(text.to_owned()))
    }

    #[test]
    fn block_storage_headers() {
        let cases = [
            (None, Ok(Microversion::v3(0))),
            (Some("volume 3.0"), Ok(Microversion::v3(0))),
            (Some("volume 3.71"), Ok(Microversion::v3(71))),
            (Some("volume latest"), Ok(Microversion::v3(71))),
            (Some("compute 2.1, volume 3.5"), Ok(Microversion::v3(5))),
            (Some("volume 3.5, volume 3.6"), Ok(Microversion::v3(5))),
            (Some("  volume   3.5 "), Ok(Microversion::v3(5))),
            (Some("volume 3.72"), unsupported("3.72")),
            (Some("volume 2.0"), unsupported("2.0")),
            (Some("volume 4.0"), unsupported("4.0")),
            (Some("volume 3.99999999999999999999"), unsupported("3.99999999999999999999")),
            (Some("volume 3.x"), format("3.x")),
            (Some("volume 03.1"), format("03.1")),
            (Some("volume 3"), format("3")),
            (Some("volume 3.01"), format("3.01")),
            (Some("volume 3."), format("3.")),
            (Some("volume .3"), format(".3")),
            (Some("volume 3.1.2"), format("3.1.2")),
            (Some("volume -3.1"), format("-3.1")),
            (Some("volume LATEST"), format("LATEST")),
            (Some("compute 2.1"), Err(NegotiationError::NoVersion)),
            (Some("3.5"), Err(NegotiationError::NoVersion)),
            (Some(""), Err(NegotiationError::NoVersion)),
            (Some("volume"), Err(NegotiationError::NoVersion)),
            (Some("volume 3.5 x"), Err(NegotiationError::NoVersion)),
        ];
        for (header, expected) in cases {
            assert_eq!(block_storage(header), expected, "{header:?}");
        }
    }

    #[test]
    fn compute_headers() {
        let cases = [
            (None, None, Ok(Microversion::v2(1))),
            (Some("compute 2.79"), None, Ok(Microversion::v2(79))),
            (None, Some("2.60"), Ok(Microversion::v2(60))),
            (Some("compute 2.79"), Some("2.60"), Ok(Microversion::v2(79))),
            (Some("volume 3.5, Compute 2.10"), None, Ok(Microversion::v2(10))),
            (Some("compute 2.10, compute 2.11"), None, Ok(Microversion::v2(11))),
            (Some("compute latest"), None, Ok(COMPUTE.1)),
            (None, Some("latest"), Ok(COMPUTE.1)),
            (Some("volume 3.5"), None, Ok(Microversion::v2(1))),
            (Some("volume 3.5"), Some("2.3"), Ok(Microversion::v2(3))),
            (Some("compute"), None, Ok(Microversion::v2(1))),
            (Some("2.5"), None, Ok(Microversion::v2(1))),
            (Some("compute 2"), None, format("2")),
            (Some("compute 2.01"), None, format("2.01")),
            (Some("compute x"), None, format("x")),
            (Some("compute 2.5 y"), None, format("2.5 y")),
            (None, Some(""), format("")),
            (Some("compute 2.0"), None, unsupported("2.0")),
            (Some("compute 1.1"), None, unsupported("1.1")),
            (Some("compute 2.105"), None, unsupported("2.105")),
            (Some("compute 3.1"), None, unsupported("3.1")),
        ];
        for (standard, legacy, expected) in cases {
            assert_eq!(compute(standard, legacy), expected, "{standard:?} {legacy:?}");
        }
    }
}
