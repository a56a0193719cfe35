//! QEMU's own format.

use super::Rejected;
use super::reader::{Reader, TABLE_BYTES_MAX, be32, be64};

pub(super) const MAGIC: &[u8] = b"QFI\xfb";

const HEADER_V2: u64 = 72;
const HEADER_V3: u64 = 104;

/// Incompatible features that change nothing outside of the file: dirty, compression type, extended L2 entries.
const FEATURES_TAKEN: u64 = 1 | 1 << 3 | 1 << 4;
const FEATURE_CORRUPT: u64 = 1 << 1;
const FEATURE_DATA_FILE: u64 = 1 << 2;
const FEATURE_EXTENDED_L2: u64 = 1 << 4;

/// Header extensions.
const END: u32 = 0;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const ENCRYPTION: u32 = 0x0537_be77;
const DATA_FILE: u32 = 0x4441_5441;

/// Bits of an L1 or L2 entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;

/// The virtual size of a file that refers to nothing outside of itself.
pub(super) fn inspect(file: &Reader<'_>) -> Result<u64, Rejected> {
    let header: [u8; HEADER_V2 as usize] = file.at(0)?;
    let (version, size) = (be32(&header, 4), be64(&header, 24));
    if be64(&header, 8) != 0 || be32(&header, 16) != 0 {
        return Err(Rejected::new("the image has a backing file"));
    }
    if be32(&header, 32) != 0 {
        return Err(Rejected::new("the image is encrypted"));
    }
    let (features, header_length) = match version {
        2 => (0, HEADER_V2),
        3 => {
            let header: [u8; HEADER_V3 as usize] = file.at(0)?;
            (be64(&header, 72), u64::from(be32(&header, 100)))
        }
        _ => return Err(Rejected::new("the image is of an unknown version of qcow")),
    };
    if features & FEATURE_DATA_FILE != 0 {
        return Err(Rejected::new("the image keeps its data in another file"));
    }
    if features & FEATURE_CORRUPT != 0 {
        return Err(Rejected::new("the image is marked as corrupt"));
    }
    if features & !FEATURES_TAKEN != 0 {
        return Err(Rejected::new("the image has unknown features"));
    }
    let cluster_bits = be32(&header, 20);
    if !(9..=21).contains(&cluster_bits) {
        return Err(Rejected::new("the image has impossible clusters"));
    }
    let cluster = 1_u64 << cluster_bits;
    if header_length < if version == 2 { HEADER_V2 } else { HEADER_V3 } || header_length > cluster {
        return Err(Rejected::new("the image has an impossible header"));
    }
    extensions(file, header_length, cluster)?;
    let entry = if features & FEATURE_EXTENDED_L2 == 0 { 8 } else { 16 };
    let tables = Tables { cluster, entry };
    tables.walk(file, size, be32(&header, 36), be64(&header, 40))?;
    let refcounts = u64::from(be32(&header, 56)) * cluster;
    if refcounts > TABLE_BYTES_MAX {
        return Err(Rejected::new("a table in the image is larger than any sane one"));
    }
    file.inside(be64(&header, 48), refcounts)?;
    Ok(size)
}

/// None of them names another file or a key. They end within the first cluster.
fn extensions(file: &Reader<'_>, mut at: u64, cluster: u64) -> Result<(), Rejected> {
    // an old header may be all of the first cluster, or end with the file
    while at + 8 <= cluster.min(file.length) {
        let head: [u8; 8] = file.at(at)?;
        let (kind, length) = (be32(&head, 0), u64::from(be32(&head, 4)));
        match kind {
            END => return Ok(()),
            BACKING_FORMAT => return Err(Rejected::new("the image has a backing file")),
            DATA_FILE => return Err(Rejected::new("the image keeps its data in another file")),
            ENCRYPTION => return Err(Rejected::new("the image is encrypted")),
            _ => at += 8 + length.next_multiple_of(8),
        }
    }
    Ok(())
}

struct Tables {
    cluster: u64,
    /// Bytes of an L2 entry.
    entry: u64,
}

impl Tables {
    /// All that the tables refer to is in the file. What they say is read once: tables that are used many times, to keep a
    /// reader busy for ever, have more bytes than the file.
    fn walk(&self, file: &Reader<'_>, size: u64, l1_entries: u32, l1_offset: u64) -> Result<(), Rejected> {
        let of_one_l2 = self.cluster / self.entry * self.cluster;
        if u64::from(l1_entries) < size.div_ceil(of_one_l2) {
            return Err(Rejected::new("the image's table is too short for the disk in it"));
        }
        let l1 = file.table(l1_offset, u64::from(l1_entries) * 8)?;
        let mut read = 0_u64;
        for l1_entry in l1.chunks_exact(8) {
            let offset = be64(l1_entry, 0) & OFFSET;
            if offset == 0 {
                continue;
            }
            read += self.cluster;
            if read > file.length {
                return Err(Rejected::new("the image uses one table for several parts of the disk"));
            }
            let l2 = file.table(offset, self.cluster)?;
            for entry in l2.chunks_exact(usize::try_from(self.entry).expect("8 or 16")) {
                self.data(file, be64(entry, 0))?;
            }
        }
        Ok(())
    }

    fn data(&self, file: &Reader<'_>, entry: u64) -> Result<(), Rejected> {
        if entry & COMPRESSED != 0 {
            // the length in sectors stands above the offset, and may reach beyond the end of the file
            let offset_bits = 62 - (self.cluster.trailing_zeros() - 8);
            return file.inside(entry & ((1 << offset_bits) - 1), 1);
        }
        match entry & OFFSET {
            0 => Ok(()),
            // the last cluster of a file need not be whole
            offset => file.inside(offset, 1),
        }
    }
}
