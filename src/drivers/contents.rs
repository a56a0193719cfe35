//! What one backend lets others read of a volume: whoever takes the volume over, or sends it away.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;

use super::sim::SimContents;

/// The contents of a volume.
pub enum Contents {
    /// Bytes.
    Bytes(Box<dyn VolumeBytes>),
    /// What a simulated backend holds.
    Simulated(SimContents),
}

impl fmt::Debug for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(formatter, "Bytes({})", bytes.size()),
            Self::Simulated(contents) => contents.fmt(formatter),
        }
    }
}

/// The bytes of a volume, as they were when they were opened: what a guest wrote, and never what it may mean. As long as this
/// lives the backend neither extends nor removes the volume. Everything here blocks.
pub trait VolumeBytes: Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;

    /// The first range at or after `at` that may hold anything but zeros; none: only zeros are left.
    fn data(&self, at: u64) -> io::Result<Option<Range<u64>>>;

    /// Reads at `at`; 0: there is nothing any more.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Whether all that has been read so far is of that one instant: false as soon as somebody may write to the volume. Asked
    /// from time to time, and at the end.
    fn is_unchanged(&self) -> io::Result<bool>;

    /// The file that holds exactly these bytes, for whoever can share its blocks, or have the kernel copy them.
    fn file(&self) -> Option<&File> {
        None
    }

    /// How many bytes of data there are, about.
    fn data_size(&self) -> u64 {
        self.size()
    }
}
