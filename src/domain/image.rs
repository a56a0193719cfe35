//! What a volume needs to know of images: of the one that it is made from, and of the one that is made from it.

use serde::{Deserialize, Serialize};

use super::ids::{ImageId, ProjectId};
use super::metadata::Metadata;
use super::volume::Refusal;

/// An image that a volume is to get its contents from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromImage {
    /// The image.
    pub image_id: ImageId,
    /// What the volume keeps of it, shown as `volume_image_metadata`.
    pub metadata: Metadata,
}

/// What an image asks of a volume, as the image service says it when the request is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageNeeds {
    /// The image.
    pub image_id: ImageId,
    /// Its data is whole.
    pub is_active: bool,
    /// Bytes of its data.
    pub data_bytes: u64,
    /// Bytes of the disk in it, where that is known.
    pub disk_bytes: Option<u64>,
    /// GiB that its maker asks for.
    pub min_disk_gib: u64,
}

impl ImageNeeds {
    /// Why a volume of this size cannot be made from it (`spec/volumes.md` §3, row 15).
    pub fn refusal(&self, size_gib: u32) -> Option<Refusal> {
        const GIB: u64 = 1 << 30;
        let size = u64::from(size_gib);
        let (data_gib, disk_gib) = (self.data_bytes.div_ceil(GIB), self.disk_bytes.unwrap_or(0).div_ceil(GIB));
        let text = if !self.is_active {
            format!("Image {} is not active.", self.image_id)
        } else if data_gib > size {
            format!("Size of specified image {data_gib}GB is larger than volume size {size_gib}GB.")
        } else if self.min_disk_gib > size {
            format!("Volume size {size_gib}GB cannot be smaller than the image minDisk size {}GB.", self.min_disk_gib)
        } else if disk_gib > size {
            format!("Image virtual size is {disk_gib}GB and doesn't fit in a volume of size {size_gib}GB.")
        } else {
            return None;
        };
        Some(Refusal::InvalidInput(text))
    }
}

/// An image that is to be made from a volume's contents. Its id is chosen with the intent, so that whoever goes on after a crash
/// knows which image is its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToImage {
    /// Its id.
    pub image_id: ImageId,
    /// Display name.
    pub name: String,
    /// Whose it is.
    pub project_id: ProjectId,
    /// `raw`, `qcow2`, …
    pub disk_format: String,
    /// `bare`, …
    pub container_format: String,
    /// `private`, …; none: the image service's default.
    pub visibility: Option<String>,
    /// Must not be deleted.
    pub is_protected: bool,
    /// What else is said of it.
    pub properties: Metadata,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_image_fits_by_its_data_its_disk_and_what_its_maker_asks_for() {
        const GIB: u64 = 1 << 30;
        let fits = ImageNeeds {
            image_id: ImageId(Uuid::from_u128(7)),
            is_active: true,
            data_bytes: 2 * GIB,
            disk_bytes: Some(2 * GIB),
            min_disk_gib: 2,
        };
        assert_eq!(fits.refusal(2), None);
        assert_eq!(ImageNeeds { disk_bytes: None, ..fits }.refusal(2), None);
        for (needs, words) in [
            (ImageNeeds { is_active: false, ..fits }, "is not active"),
            (ImageNeeds { data_bytes: 2 * GIB + 1, ..fits }, "specified image 3GB"),
            (ImageNeeds { min_disk_gib: 3, ..fits }, "minDisk size 3GB"),
            (ImageNeeds { disk_bytes: Some(1 << 40), ..fits }, "virtual size is 1024GB"),
        ] {
            let refusal = needs.refusal(2).expect("refused").to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
