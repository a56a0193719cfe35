//! The newer format of Hyper-V.

use uuid::Uuid;

use super::Rejected;
use super::reader::{Reader, le16, le32, le64};

pub(super) const SIGNATURE: &[u8] = b"vhdxfile";

const REGION_TABLE_AT: u64 = 192 << 10;
const TABLE_BYTES: u64 = 64 << 10;
/// Of both tables.
const ENTRIES_MAX: u32 = 2047;
const ENTRY: usize = 32;
const MIB: u64 = 1 << 20;

const REGION_METADATA: &str = "8b7ca206-4790-4b9a-b8fe-575f050f886e";
const REGION_BLOCKS: &str = "2dc27766-f623-4200-9d64-115e9bfd4a08";
const FILE_PARAMETERS: &str = "caa16737-fa36-4d43-b3b6-33f0aa44e76b";
const VIRTUAL_SIZE: &str = "2fa54224-cd1b-4876-b211-5dbed83bf4b8";
const PARENT_LOCATOR: &str = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c";

const HAS_PARENT: u32 = 2;
/// States of a block: data is there, in whole or in part.
const PRESENT: [u64; 2] = [6, 7];

/// The virtual size of a file that refers to nothing outside of itself.
pub(super) fn inspect(file: &Reader<'_>) -> Result<u64, Rejected> {
    let regions = file.table(REGION_TABLE_AT, TABLE_BYTES)?;
    if !regions.starts_with(b"regi") {
        return Err(Rejected::new("the image has no table of regions"));
    }
    let count = le32(&regions, 8);
    let region = |id| only(&regions[16..], count, id).map(|entry| entry.map(|e| (le64(e, 16), u64::from(le32(e, 24)))));
    let (metadata, _) = region(REGION_METADATA)?.ok_or_else(|| Rejected::new("the image has no metadata"))?;
    let (blocks_at, blocks_bytes) = region(REGION_BLOCKS)?.ok_or_else(|| Rejected::new("the image has no blocks"))?;

    let table = file.table(metadata, TABLE_BYTES)?;
    if !table.starts_with(b"metadata") {
        return Err(Rejected::new("the image has no metadata"));
    }
    let count = u32::from(le16(&table, 10));
    let item =
        |id| only(&table[32..], count, id).map(|entry| entry.map(|e| metadata.saturating_add(le32(e, 16).into())));
    let parameters = item(FILE_PARAMETERS)?.ok_or_else(|| Rejected::new("the image has no parameters"))?;
    let parameters: [u8; 8] = file.at(parameters)?;
    if le32(&parameters, 4) & HAS_PARENT != 0 || item(PARENT_LOCATOR)?.is_some() {
        return Err(Rejected::new("the image has a parent"));
    }
    let size = item(VIRTUAL_SIZE)?.ok_or_else(|| Rejected::new("the image does not say its size"))?;
    let size = u64::from_le_bytes(file.at(size)?);
    // blocks are made whole
    let block = u64::from(le32(&parameters, 0));
    for entry in file.table(blocks_at, blocks_bytes)?.chunks_exact(8) {
        let entry = le64(entry, 0);
        if PRESENT.contains(&(entry & 7)) {
            file.inside((entry >> 20).saturating_mul(MIB), block)?;
        }
    }
    Ok(size)
}

/// The one entry of this id. Two would let two readers see two different images.
fn only<'a>(entries: &'a [u8], count: u32, id: &str) -> Result<Option<&'a [u8]>, Rejected> {
    let id = Uuid::try_parse(id).expect("a constant").to_bytes_le();
    if count > ENTRIES_MAX {
        return Err(Rejected::new("a table in the image is larger than any sane one"));
    }
    let mut found = entries.chunks_exact(ENTRY).take(count as usize).filter(|entry| entry[..16] == id);
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(Rejected::new("the image contradicts itself")),
        (first, None) => Ok(first),
    }
}
