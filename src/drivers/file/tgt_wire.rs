//! The words that `tgtadm` speaks with `tgtd` over its socket: a header of 120 bytes, parameters as text, and a status.
//!
//! They are spoken here instead of running `tgtadm`, because that takes a CHAP password from its arguments, where every user
//! of the machine can read it.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The daemon's answers are text about its targets, about a kilobyte each.
const ANSWER_BYTES_MAX: u32 = 64 << 20;

/// Numbers that mean "not given".
const NO_TARGET: i32 = -1;
const NO_LUN: u64 = u64::MAX;

/// What a request is about (`enum tgtadm_mode`).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Mode {
    Target = 1,
    LogicalUnit = 2,
    Connection = 6,
    Account = 7,
}

/// What shall be done (`enum tgtadm_op`).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Op {
    New = 0,
    Delete = 1,
    Show = 2,
    Bind = 3,
    Update = 5,
}

/// One request.
pub(super) struct Request<'a> {
    pub(super) mode: Mode,
    pub(super) op: Op,
    /// Target number.
    pub(super) target: Option<i32>,
    /// Logical unit.
    pub(super) lun: Option<u64>,
    /// End what stands in the way.
    pub(super) force: bool,
    /// `key=value`, separated by commas.
    pub(super) parameters: &'a str,
}

impl Request<'_> {
    /// About target number `target`.
    pub(super) const fn new(mode: Mode, op: Op, target: Option<i32>) -> Self {
        Self { mode, op, target, lun: None, force: false, parameters: "" }
    }

    /// As the daemon reads it: `struct tgtadm_req` of a machine with little-endian numbers and 64 bits, then the parameters
    /// with their end.
    fn encode(&self) -> Vec<u8> {
        const HEADER: usize = 120;
        let text = if self.parameters.is_empty() { 0 } else { self.parameters.len() + 1 };
        let length = u32::try_from(HEADER + text).expect("parameters are short");
        let mut bytes = Vec::with_capacity(HEADER + text);
        bytes.extend((self.mode as u32).to_le_bytes());
        bytes.extend((self.op as u32).to_le_bytes());
        let mut driver = [0_u8; 64];
        driver[..5].copy_from_slice(b"iscsi");
        bytes.extend(driver);
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.target.unwrap_or(NO_TARGET).to_le_bytes());
        // The session.
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(self.lun.unwrap_or(NO_LUN).to_le_bytes());
        // Connection, host, device type, account direction, packing.
        bytes.extend([0; 20]);
        bytes.extend(u32::from(self.force).to_le_bytes());
        debug_assert_eq!(bytes.len(), HEADER);
        if text > 0 {
            bytes.extend(self.parameters.as_bytes());
            bytes.push(0);
        }
        bytes
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum TgtError {
    /// The daemon says no, with its number.
    #[error("the target daemon refuses, with error {0}")]
    Refused(u32),
    /// Not known whether it was carried out.
    #[error("the target daemon does not answer: {0}")]
    Broken(#[from] io::Error),
}

/// Carries one request out. The daemon takes one for each connection.
pub(super) async fn ask(socket: &Path, request: &Request<'_>) -> Result<String, TgtError> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&request.encode()).await?;
    let status = stream.read_u32_le().await?;
    let length = stream.read_u32_le().await?;
    let text = length.saturating_sub(8);
    if text > ANSWER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without end").into());
    }
    let mut bytes = vec![0; text as usize];
    stream.read_exact(&mut bytes).await?;
    if status != 0 {
        return Err(TgtError::Refused(status));
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_the_daemon_reads_it() {
        let request = Request { parameters: "user=u", ..Request::new(Mode::Account, Op::Bind, Some(1)) };
        let bytes = request.encode();
        assert_eq!(bytes.len(), 127);
        assert_eq!((bytes[0], bytes[4], &bytes[8..14], bytes[72], bytes[76]), (7, 3, &b"iscsi\0"[..], 127, 1));
        assert_eq!(&bytes[88..96], &[0xff; 8]);
        assert_eq!(&bytes[120..], b"user=u\0");
        let forced = Request { force: true, ..Request::new(Mode::Target, Op::Delete, Some(7)) };
        assert_eq!((forced.encode().len(), forced.encode()[116]), (120, 1));
    }
}
