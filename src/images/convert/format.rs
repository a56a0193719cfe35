//! The formats, and how each is known.

use std::fs::File;

use super::reader::{Reader, le32};
use super::{Inspected, Rejected, qcow2, vdi, vhd, vhdx, vmdk};

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

    /// `qemu-img`'s word for it.
    pub(super) const fn driver(self) -> &'static str {
        match self {
            Self::Raw | Self::Iso => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vhd => "vpc",
            Self::Vhdx => "vhdx",
            Self::Ploop => "parallels",
        }
    }

    /// The format of an image service's word; none: it cannot become a volume.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == word)
    }
}

/// Where a CD image says what it is.
const ISO_AT: u64 = 0x8001;
const ISO: &[u8; 5] = b"CD001";

/// What the beginning of a file claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Nothing that a reader of disk images would know.
    Plain,
    /// One of the formats.
    Format(DiskFormat),
    /// A format that is taken in no case.
    Foreign(&'static str),
}

/// The beginnings by which disk images are known, ours and those that QEMU opens.
const BEGINNINGS: [(&[u8], Claim); 11] = [
    (qcow2::MAGIC, Claim::Format(DiskFormat::Qcow2)),
    (vmdk::MAGIC, Claim::Format(DiskFormat::Vmdk)),
    (vhd::COOKIE, Claim::Format(DiskFormat::Vhd)),
    (vhdx::SIGNATURE, Claim::Format(DiskFormat::Vhdx)),
    (b"COWD", Claim::Foreign("an old VMDK")),
    (b"QED\0", Claim::Foreign("a QED")),
    (b"WithoutFreeSpace", Claim::Format(DiskFormat::Ploop)),
    (b"WithouFreSpacExt", Claim::Format(DiskFormat::Ploop)),
    (b"Bochs Virtual HD Image", Claim::Foreign("a Bochs")),
    (b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", Claim::Foreign("a cloop")),
    (b"# Disk DescriptorFile", Claim::Foreign("a VMDK descriptor")),
];

/// See [`super::inspect`].
pub(super) fn inspect(file: &File, declared: DiskFormat) -> Result<Inspected, Rejected> {
    let file = Reader::new(file)?;
    let claim = claim(&file)?;
    let plain_vhd = declared == DiskFormat::Vhd && claim == Claim::Plain && file.length >= 512;
    let virtual_size = match (declared, claim) {
        (DiskFormat::Raw, Claim::Plain) => file.length,
        (DiskFormat::Iso, Claim::Plain) if file.length > ISO_AT + 5 && file.at::<5>(ISO_AT)? == *ISO => file.length,
        (DiskFormat::Ploop, _) => return Err(Rejected::new("images of the format ploop are not read here")),
        (DiskFormat::Vhd, _) if plain_vhd => vhd::inspect(&file)?,
        (format, Claim::Format(found)) if format == found => match format {
            DiskFormat::Qcow2 => qcow2::inspect(&file)?,
            DiskFormat::Vmdk => vmdk::inspect(&file)?,
            DiskFormat::Vdi => vdi::inspect(&file)?,
            DiskFormat::Vhd => vhd::inspect(&file)?,
            DiskFormat::Vhdx => vhdx::inspect(&file)?,
            DiskFormat::Raw | DiskFormat::Iso | DiskFormat::Ploop => file.length,
        },
        (_, claim) => {
            let found = match claim {
                Claim::Plain => "none that is known".to_owned(),
                Claim::Format(found) => found.as_str().to_owned(),
                Claim::Foreign(what) => format!("that of {what} image"),
            };
            let declared = declared.as_str();
            return Err(Rejected(format!("the image is declared as {declared}, but its format is {found}")));
        }
    };
    Ok(Inspected { format: declared, virtual_size })
}

fn claim(file: &Reader<'_>) -> Result<Claim, Rejected> {
    let head: [u8; 512] = file.head()?;
    if let Some((_, claim)) = BEGINNINGS.iter().find(|(beginning, _)| head.starts_with(beginning)) {
        return Ok(*claim);
    }
    if le32(&head, vdi::SIGNATURE_AT) == vdi::SIGNATURE {
        return Ok(Claim::Format(DiskFormat::Vdi));
    }
    if is_descriptor(&head) {
        return Ok(Claim::Foreign("a VMDK descriptor"));
    }
    Ok(Claim::Plain)
}

/// A VMDK descriptor may begin with comments and empty lines, as `qemu-img` knows it: then a line `version=1`, 2 or 3.
fn is_descriptor(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.find(|line| !line.starts_with(b"#") && !line.iter().all(|byte| *byte == b' '));
    matches!(first, Some(b"version=1" | b"version=2" | b"version=3"))
}
