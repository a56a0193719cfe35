//! Headers of a hostile file, read with every length and offset judged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::Rejected;

/// Most bytes of one table that are read at once: the largest that a sane image of any format has.
pub(super) const TABLE_BYTES_MAX: u64 = 32 << 20;

/// A file and its length.
pub(super) struct Reader<'a> {
    file: &'a File,
    /// Bytes.
    pub(super) length: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a File) -> Result<Self, Rejected> {
        Ok(Self { file, length: file.metadata().map_err(unreadable)?.len() })
    }

    /// The bytes at `offset`, all of them.
    pub(super) fn at<const N: usize>(&self, offset: u64) -> Result<[u8; N], Rejected> {
        let mut bytes = [0; N];
        self.exact(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The bytes at the beginning, as many as there are; the others are zero.
    pub(super) fn head<const N: usize>(&self) -> Result<[u8; N], Rejected> {
        let mut bytes = [0; N];
        let there = usize::try_from(self.length).unwrap_or(usize::MAX).min(N);
        self.exact(0, &mut bytes[..there])?;
        Ok(bytes)
    }

    /// A table of so many bytes.
    pub(super) fn table(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, Rejected> {
        self.inside(offset, bytes)?;
        if bytes > TABLE_BYTES_MAX {
            return Err(Rejected::new("a table in the image is larger than any sane one"));
        }
        let mut table = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        self.exact(offset, &mut table)?;
        Ok(table)
    }

    /// Whether the file has all of these bytes.
    pub(super) fn inside(&self, offset: u64, bytes: u64) -> Result<(), Rejected> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(Rejected::new("the image is cut short, or refers to data that it does not have")),
        }
    }

    fn exact(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Rejected> {
        self.inside(offset, bytes.len() as u64)?;
        self.file.read_exact_at(bytes, offset).map_err(unreadable)
    }
}

/// The cause is in the log: it is no fault of the image.
fn unreadable(error: io::Error) -> Rejected {
    tracing::error!(%error, "an image's file cannot be read");
    Rejected::new("the image's data cannot be read")
}

/// From the beginning of one block of the disk to the next.
pub(super) fn step(block: u64) -> Result<usize, Rejected> {
    usize::try_from(block).map_err(|_| Rejected::new("the image has impossible blocks"))
}

/// `N` bytes of a header; the offsets are constants within it.
fn bytes<const N: usize>(header: &[u8], offset: usize) -> [u8; N] {
    header[offset..offset + N].try_into().expect("a header is longer than its fields")
}

pub(super) fn be16(header: &[u8], offset: usize) -> u16 {
    u16::from_be_bytes(bytes(header, offset))
}

pub(super) fn be32(header: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(bytes(header, offset))
}

pub(super) fn be64(header: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(bytes(header, offset))
}

pub(super) fn le16(header: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(bytes(header, offset))
}

pub(super) fn le32(header: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes(header, offset))
}

pub(super) fn le64(header: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes(header, offset))
}
