//! VMware's format, in one file with its descriptor inside.

use super::Rejected;
use super::reader::{Reader, le32, le64};

pub(super) const MAGIC: &[u8] = b"KDMV";

const SECTOR: u64 = 512;
/// Where `qemu-img` reads the descriptor of this kind, whatever the header says, and how much of it.
const DESCRIPTOR_SECTOR: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
/// A descriptor says little; this is room for comments.
const DESCRIPTOR_SECTORS_MAX: u64 = 128;
/// The directory is named by a second header at the end (streams).
const DIRECTORY_AT_END: u64 = u64::MAX;
/// The second header stands between two markers.
const FOOTER_FROM_END: u64 = 2 * SECTOR;

/// The virtual size of a file that refers to nothing outside of itself.
pub(super) fn inspect(file: &Reader<'_>) -> Result<u64, Rejected> {
    let header: [u8; SECTOR as usize] = file.at(0)?;
    if le32(&header, 4) > 3 {
        return Err(Rejected::new("the image is of an unknown version of VMDK"));
    }
    let capacity = le64(&header, 12);
    // without a capacity the header stands for a descriptor, whose extents would be opened
    if capacity == 0 {
        return Err(Rejected::new("the image is a descriptor of other files"));
    }
    let (offset, sectors) = (le64(&header, 28), le64(&header, 36));
    if offset != DESCRIPTOR_SECTOR || !(1..=DESCRIPTOR_SECTORS_MAX).contains(&sectors) {
        return Err(Rejected::new("the image's descriptor is not where it must be"));
    }
    let looked_at = sectors.max(DESCRIPTOR_SECTORS) * SECTOR;
    let descriptor = file.table(SECTOR, looked_at.min(file.length.saturating_sub(SECTOR)))?;
    let own = usize::try_from(sectors * SECTOR).unwrap_or(usize::MAX);
    descriptor_check(&descriptor, own, capacity)?;

    let gd_offset = le64(&header, 56);
    if gd_offset == DIRECTORY_AT_END {
        let at = file.length.checked_sub(FOOTER_FROM_END);
        let footer: [u8; SECTOR as usize] = file.at(at.ok_or_else(cut_short)?)?;
        if &footer[..4] != MAGIC || le64(&footer, 12) != capacity {
            return Err(Rejected::new("the image's two headers differ"));
        }
        grains(file, &footer)?;
    } else {
        grains(file, &header)?;
    }
    capacity.checked_mul(SECTOR).ok_or_else(|| Rejected::new("the image has an impossible size"))
}

fn cut_short() -> Rejected {
    Rejected::new("the image is cut short")
}

/// One extent, which is this file, and no parent. `looked_at` is all that a reader may take for the descriptor, of which the
/// header owns the first `own` bytes.
fn descriptor_check(looked_at: &[u8], own: usize, capacity: u64) -> Result<(), Rejected> {
    let lower = String::from_utf8_lossy(looked_at).to_ascii_lowercase();
    if lower.contains("parentfilenamehint") {
        return Err(Rejected::new("the image has a parent"));
    }
    let text = String::from_utf8_lossy(&looked_at[..own.min(looked_at.len())]);
    let text = text.split('\0').next().unwrap_or_default();
    let (mut kind, mut extents) = (None, Vec::new());
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let key = line.split_once('=').map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim()));
        match (key, words.first().copied()) {
            (Some((key, value)), _) if key == "createtype" => {
                if kind.replace(value.trim_matches('"').to_owned()).is_some() {
                    return Err(Rejected::new("the image's descriptor contradicts itself"));
                }
            }
            (Some((key, value)), _) if key == "parentcid" && !value.eq_ignore_ascii_case("ffffffff") => {
                return Err(Rejected::new("the image has a parent"));
            }
            (_, Some("RW" | "RDONLY" | "NOACCESS")) => {
                extents.push((words.get(1).copied().unwrap_or_default(), words.get(2).copied().unwrap_or_default()));
            }
            _ => {}
        }
    }
    if !matches!(kind.as_deref(), Some("monolithicSparse" | "streamOptimized")) {
        return Err(Rejected::new("only VMDK images of the kinds monolithicSparse and streamOptimized are taken"));
    }
    match extents.as_slice() {
        [(sectors, "SPARSE")] if sectors.parse() == Ok(capacity) => Ok(()),
        _ => Err(Rejected::new("the image has extents in other files")),
    }
}

/// The directory, its tables and their grains are in the file.
fn grains(file: &Reader<'_>, header: &[u8]) -> Result<(), Rejected> {
    let (capacity, grain, entries) = (le64(header, 12), le64(header, 20), u64::from(le32(header, 44)));
    if !(1..=0x20_0000).contains(&grain) || !(1..=512).contains(&entries) {
        return Err(Rejected::new("the image has impossible grains"));
    }
    let tables = capacity.div_ceil(grain * entries);
    let directory = file.table(sector_offset(le64(header, 56))?, tables.saturating_mul(4))?;
    let mut read = 0_u64;
    for table in directory.chunks_exact(4) {
        let at = u64::from(le32(table, 0));
        if at == 0 {
            continue;
        }
        read += entries * 4;
        if read > file.length {
            return Err(Rejected::new("the image uses one table for several parts of the disk"));
        }
        for entry in file.table(at * SECTOR, entries * 4)?.chunks_exact(4) {
            // 1: zeroes without a grain
            let at = u64::from(le32(entry, 0));
            if at > 1 {
                file.inside(at * SECTOR, 1)?;
            }
        }
    }
    Ok(())
}

fn sector_offset(sector: u64) -> Result<u64, Rejected> {
    sector.checked_mul(SECTOR).ok_or_else(cut_short)
}
