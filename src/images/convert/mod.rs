//! Disk formats: what a file really is, and its conversion from and to plain blocks.
//!
//! Three nets, each of which alone keeps a hostile image from another file of the machine: [`inspect`] reads the headers and
//! refuses everything that names one; `qemu-img` is told the format and no backing file; and it runs confined, with the
//! two files as the only ones it can open.

mod child;
mod format;
mod qcow2;
mod reader;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

use std::fs::File;
use std::io;
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
    /// The whole conversion, and its processor time; then it is killed.
    pub deadline: Duration,
    /// Bytes of address space.
    pub memory_bytes: u64,
}

impl Default for ConvertLimits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(3600), memory_bytes: 2 << 30 }
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

/// Disks are made of these.
const SECTOR: u64 = 512;
/// Room for the headers and tables of a format beside the data: a part of the disk, and a constant.
const TABLES_PART: u64 = 8;
const TABLES_BYTES: u64 = 64 << 20;

impl Converter {
    /// Writes the disk in `image` to `destination` as plain blocks, holes kept, and syncs it; the destination is emptied first
    /// and has exactly the disk's size afterwards, in whole sectors. A disk larger than `bytes_max` is refused before
    /// anything is written. Both files are opened again by their descriptors: the destination for writing.
    pub async fn to_raw(
        &self,
        image: &File,
        declared: DiskFormat,
        destination: &File,
        bytes_max: u64,
    ) -> Result<Inspected, ConvertError> {
        let (image, destination) = (duplicate(image)?, duplicate(destination)?);
        let looked_at = duplicate(&image)?;
        let found = blocking(move || Ok(inspect(&looked_at, declared)?)).await?;
        let size = found.virtual_size.next_multiple_of(SECTOR);
        if size > bytes_max {
            return Err(ConvertError::TooLarge { virtual_size: found.virtual_size, bytes_max });
        }
        let target = duplicate(&destination)?;
        blocking(move || target.set_len(0).and_then(|()| target.set_len(size)).map_err(|error| failed(&error))).await?;
        if size > 0 {
            let conversion = child::Conversion {
                program: &self.program,
                limits: &self.limits,
                source: (&image, declared),
                destination: (&destination, DiskFormat::Raw),
                in_place: true,
                bytes_max: size,
            };
            conversion.run().await?;
        }
        blocking(move || destination.sync_all().map_err(|error| failed(&error))).await?;
        Ok(Inspected { virtual_size: size, ..found })
    }

    /// Writes the plain blocks of `raw` to `destination` in another format, and syncs it; the destination is emptied first.
    pub async fn from_raw(&self, raw: &File, format: DiskFormat, destination: &File) -> Result<(), ConvertError> {
        let (raw, destination) = (duplicate(raw)?, duplicate(destination)?);
        let target = duplicate(&destination)?;
        let size = blocking({
            let raw = duplicate(&raw)?;
            move || target.set_len(0).and_then(|()| raw.metadata()).map_err(|error| failed(&error))
        })
        .await?
        .len();
        let conversion = child::Conversion {
            program: &self.program,
            limits: &self.limits,
            source: (&raw, DiskFormat::Raw),
            destination: (&destination, format),
            in_place: false,
            bytes_max: size.saturating_add(size / TABLES_PART).saturating_add(TABLES_BYTES),
        };
        conversion.run().await?;
        blocking(move || destination.sync_all().map_err(|error| failed(&error))).await
    }
}

fn duplicate(file: &File) -> Result<File, ConvertError> {
    file.try_clone().map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> ConvertError {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => ConvertError::NoSpace,
        _ => ConvertError::Unavailable(format!("the file system reports {:?}", error.kind())),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConvertError> + Send + 'static,
) -> Result<T, ConvertError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| Err(ConvertError::Unavailable(error.to_string())))
}

#[cfg(test)]
mod tests;
