//! VirtualBox's format.

use super::Rejected;
use super::reader::{Reader, le32, le64, step};

/// Where [`SIGNATURE`] stands.
pub(super) const SIGNATURE_AT: usize = 0x40;
pub(super) const SIGNATURE: u32 = 0xbeda_107f;

const HEADER: usize = 512;
const DYNAMIC: u32 = 1;
const STATIC: u32 = 2;
/// Entries of the map that are no block: unallocated and zero.
const NO_BLOCK: u32 = 0xffff_fffe;

/// The virtual size of a file that refers to nothing outside of itself.
pub(super) fn inspect(file: &Reader<'_>) -> Result<u64, Rejected> {
    let header: [u8; HEADER] = file.at(0)?;
    if le32(&header, 0x44) != 0x0001_0001 {
        return Err(Rejected::new("the image is of an unknown version of VDI"));
    }
    let linked = header[0x1a8..0x1c8].iter().any(|byte| *byte != 0);
    if linked || !matches!(le32(&header, 0x4c), DYNAMIC | STATIC) {
        return Err(Rejected::new("the image has a parent"));
    }
    let (size, block, blocks) = (le64(&header, 0x170), u64::from(le32(&header, 0x178)), le32(&header, 0x180));
    if block == 0 || u64::from(blocks) < size.div_ceil(block) {
        return Err(Rejected::new("the image's table is too short for the disk in it"));
    }
    let data = u64::from(le32(&header, 0x158));
    let table = file.table(u64::from(le32(&header, 0x154)), u64::from(blocks) * 4)?;
    for (entry, begin) in table.chunks_exact(4).zip((0..size).step_by(step(block)?)) {
        let index = le32(entry, 0);
        if index < NO_BLOCK {
            file.inside(data + u64::from(index) * block, block.min(size - begin))?;
        }
    }
    Ok(size)
}
