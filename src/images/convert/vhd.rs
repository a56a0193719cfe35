//! The older format of Hyper-V (and of Virtual PC).

use super::Rejected;
use super::reader::{Reader, be16, be32, be64, step};

pub(super) const COOKIE: &[u8] = b"conectix";

const SECTOR: u64 = 512;
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;
/// Sectors of the largest geometry: then the real size stands elsewhere.
const GEOMETRY_MAX: u64 = 65_535 * 16 * 255;
/// Programs whose geometry is not the size.
const BY_SIZE: [&[u8]; 5] = [b"win ", b"qem2", b"d2v ", b"tap\0", b"wa\0\0"];
const NO_BLOCK: u32 = u32::MAX;

/// The virtual size of a file that refers to nothing outside of itself, as `qemu-img` reckons it.
pub(super) fn inspect(file: &Reader<'_>) -> Result<u64, Rejected> {
    let head: [u8; SECTOR as usize] = file.at(0)?;
    if !head.starts_with(COOKIE) {
        // a fixed disk has only the footer
        let footer: [u8; SECTOR as usize] = file.at(file.length - SECTOR)?;
        if !footer.starts_with(COOKIE) {
            return Err(Rejected::new("the image is no VHD"));
        }
        kind_check(&footer, FIXED)?;
        let size = size(&footer)?;
        file.inside(0, size)?;
        return Ok(size);
    }
    kind_check(&head, DYNAMIC)?;
    let size = size(&head)?;
    let header: [u8; 1024] = file.at(be64(&head, 16))?;
    if !header.starts_with(b"cxsparse") {
        return Err(Rejected::new("the image has no header of a dynamic VHD"));
    }
    let (table, entries, block) = (be64(&header, 16), be32(&header, 28), u64::from(be32(&header, 32)));
    if !block.is_power_of_two() || block < SECTOR || u64::from(entries) < size.div_ceil(block) {
        return Err(Rejected::new("the image's table is too short for the disk in it"));
    }
    // a bit for each sector of the block, before its data
    let bitmap = (block / SECTOR).div_ceil(8).next_multiple_of(SECTOR);
    let table = file.table(table, u64::from(entries) * 4)?;
    for (entry, begin) in table.chunks_exact(4).zip((0..size).step_by(step(block)?)) {
        let sector = be32(entry, 0);
        if sector != NO_BLOCK {
            file.inside(u64::from(sector) * SECTOR, bitmap + block.min(size - begin))?;
        }
    }
    Ok(size)
}

fn kind_check(footer: &[u8], expected: u32) -> Result<(), Rejected> {
    match be32(footer, 60) {
        kind if kind == expected => Ok(()),
        DIFFERENCING => Err(Rejected::new("the image has a parent")),
        _ => Err(Rejected::new("the image is of an unknown kind of VHD")),
    }
}

fn size(footer: &[u8]) -> Result<u64, Rejected> {
    let sectors = u64::from(be16(footer, 56)) * u64::from(footer[58]) * u64::from(footer[59]);
    let by_size = BY_SIZE.iter().any(|creator| footer[28..32] == **creator);
    let size = if by_size || sectors == GEOMETRY_MAX { be64(footer, 48) / SECTOR * SECTOR } else { sectors * SECTOR };
    if size > i64::MAX as u64 { Err(Rejected::new("the image has an impossible size")) } else { Ok(size) }
}
