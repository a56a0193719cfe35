//! Disk formats: what a file really is, and its conversion from and to plain blocks.
//!
//! Three nets, each of which alone keeps a hostile image from another file of the machine: [`inspect`] reads the headers and
//! refuses everything that names one; `qemu-img` is told the format and no backing file; and it runs confined, with the
//! two files as the only ones it can open.

mod format;
mod qcow2;
mod reader;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

pub use format::DiskFormat;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Its format, which is the one that was declared.
    pub format: DiskFormat,
    /// Bytes of the disk in it.
    pub virtual_size: u64,
}

/// Why a file is not taken. In words for the image's owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rejected(pub String);

impl Rejected {
    fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Why there is no conversion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// By the file's own fault: trying again cannot help.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The disk in it is larger than allowed. Nothing was written.
    #[error("the disk in the image has {virtual_size} bytes; {bytes_max} are allowed")]
    TooLarge {
        /// Bytes of the disk.
        virtual_size: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The file system is full.
    #[error("there is no room for the converted image")]
    NoSpace,
    /// It took longer than allowed and was ended.
    #[error("the conversion was not done within {0:?}")]
    Deadline(Duration),
    /// This machine cannot: no `qemu-img`, or an error of its disk. May name the cause for the log, no path.
    #[error("images cannot be converted here: {0}")]
    Unavailable(String),
}

/// Bounds of one conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertLimits {
    /// The whole conversion; then it is killed.
    pub deadline: Duration,
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Bytes of address space.
    pub memory_bytes: u64,
}

impl Default for ConvertLimits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(3600), cpu_seconds: 1800, memory_bytes: 2 << 30 }
    }
}

/// Converts with `qemu-img`. Dropping a call's future kills it.
#[derive(Clone, Debug)]
pub struct Converter {
    /// The program; found on the `PATH` when it is a plain name.
    pub program: PathBuf,
    /// The bounds.
    pub limits: ConvertLimits,
}

impl Default for Converter {
    fn default() -> Self {
        Self { program: PathBuf::from("qemu-img"), limits: ConvertLimits::default() }
    }
}

/// Whether `file` is what its owner declares and refers to nothing outside of itself. Blocks; reads its tables, never its data.
pub fn inspect(file: &File, declared: DiskFormat) -> Result<Inspected, Rejected> {
    format::inspect(file, declared)
}

impl Converter {
    /// Writes the disk in `image` to `destination` as plain blocks, holes kept, and syncs it; the destination is emptied first
    /// and has exactly the disk's size afterwards. A disk larger than `bytes_max` is refused before anything is written.
    pub async fn to_raw(
        &self,
        image: &File,
        declared: DiskFormat,
        destination: &File,
        bytes_max: u64,
    ) -> Result<Inspected, ConvertError> {
        let _ = (image, declared, destination, bytes_max);
        Err(ConvertError::Unavailable("not yet".to_owned()))
    }

    /// Writes the plain blocks of `raw` to `destination` in another format; the destination is emptied first. Its size is not
    /// known beforehand.
    pub async fn from_raw(&self, raw: &File, format: DiskFormat, destination: &File) -> Result<(), ConvertError> {
        let _ = (raw, format, destination);
        Err(ConvertError::Unavailable("not yet".to_owned()))
    }
}
