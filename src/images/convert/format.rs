//! The formats, and what their headers say.

use std::fs::File;

use super::{Inspected, Rejected};

/// A disk format that images are converted from or to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskFormat {
    /// Plain blocks.
    Raw,
    /// A CD image: plain blocks too.
    Iso,
    /// QEMU's own.
    Qcow2,
    /// VMware's, in one file.
    Vmdk,
    /// VirtualBox's.
    Vdi,
    /// The older one of Hyper-V.
    Vhd,
    /// The newer one of Hyper-V.
    Vhdx,
    /// Parallels' (written only).
    Ploop,
}

impl DiskFormat {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Raw, Self::Iso, Self::Qcow2, Self::Vmdk, Self::Vdi, Self::Vhd, Self::Vhdx, Self::Ploop];

    /// Image services' word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Iso => "iso",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
            Self::Ploop => "ploop",
        }
    }

    /// The format of an image service's word; none: it cannot become a volume.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }
}

/// See [`super::inspect`].
pub(super) fn inspect(_file: &File, declared: DiskFormat) -> Result<Inspected, Rejected> {
    Err(Rejected(format!("{} is not yet read", declared.as_str())))
}
