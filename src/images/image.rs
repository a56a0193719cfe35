//! An image as the image service describes it, and who may see it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::ids::{ImageId, ProjectId};
use crate::domain::time::Timestamp;

/// On whose behalf the image service is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageCaller {
    /// The project: images that it cannot see are not found.
    pub project_id: ProjectId,
    /// Sees and changes the images of every project.
    pub is_admin: bool,
}

impl ImageCaller {
    /// Work that goes on after its request was judged: what the caller could see then is not judged again.
    pub fn service(project_id: ProjectId) -> Self {
        Self { project_id, is_admin: true }
    }

    /// Whether an image is the caller's own.
    pub fn owns(&self, image: &Image) -> bool {
        image.owner.as_ref() == Some(&self.project_id)
    }

    /// Whether an image exists for the caller, members that it is shared with aside.
    pub fn sees(&self, image: &Image) -> bool {
        self.is_admin || self.owns(image) || matches!(image.visibility, Visibility::Public | Visibility::Community)
    }

    /// Whether the caller may change or delete an image.
    pub fn may_change(&self, image: &Image) -> bool {
        self.is_admin || self.owns(image)
    }

    /// Whether an image that the caller sees is in a list that asks for nothing special: other projects' community images
    /// are not.
    pub fn lists(&self, image: &Image) -> bool {
        image.visibility != Visibility::Community || self.owns(image)
    }
}

/// Where an image is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageStatus {
    /// Has no data yet.
    Queued,
    /// Its data is being written.
    Saving,
    /// Its data is whole and never changes.
    Active,
    /// Its data is whole, and nobody but an administrator can have it.
    Deactivated,
    /// Any other word of Glance (`importing`, `killed`, …): its data cannot be had.
    #[serde(other)]
    Other,
}

/// Who sees an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody; only an administrator can give it.
    Public,
    /// Everybody who knows the id, but not in everybody's lists.
    Community,
    /// The owner, and the projects that it is shared with.
    #[default]
    Shared,
    /// The owner.
    Private,
}

impl ImageStatus {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Saving => "saving",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
            Self::Other => "unavailable",
        }
    }

    /// Whether all of its data is there.
    pub const fn has_data(self) -> bool {
        matches!(self, Self::Active | Self::Deactivated)
    }
}

impl Visibility {
    /// As the API writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Community => "community",
            Self::Shared => "shared",
            Self::Private => "private",
        }
    }
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// For people; need not be unique.
    pub name: Option<String>,
    /// Where it is in its life.
    pub status: ImageStatus,
    /// Who sees it.
    pub visibility: Visibility,
    /// Cannot be deleted.
    pub protected: bool,
    /// Not shown in lists unless asked for.
    pub hidden: bool,
    /// The project that it belongs to.
    pub owner: Option<ProjectId>,
    /// As declared (`qcow2`, `raw`, …); what it really is only [`super::convert`] finds out.
    pub disk_format: Option<String>,
    /// `bare`, `ovf`, `compressed`, ….
    pub container_format: Option<String>,
    /// Bytes of its data; none before it is active.
    pub size: Option<u64>,
    /// Bytes of the disk in it, where that is known.
    pub virtual_size: Option<u64>,
    /// GiB that a disk made from it must have at least.
    pub min_disk: u64,
    /// MiB of memory that a server booted from it must have at least.
    pub min_ram: u64,
    /// MD5 of its data, hexadecimal.
    pub checksum: Option<String>,
    /// The algorithm of [`Self::os_hash_value`].
    pub os_hash_algo: Option<String>,
    /// A better hash of its data, hexadecimal.
    pub os_hash_value: Option<String>,
    /// Words for filters.
    pub tags: Vec<String>,
    /// Whatever else is said of it; texts only.
    pub properties: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Image {
    /// The smallest volume that takes it, GiB: by its data, the disk in it and what its maker says.
    pub fn size_gib_min(&self) -> u64 {
        const GIB: u64 = 1 << 30;
        let bytes = self.size.unwrap_or(0).max(self.virtual_size.unwrap_or(0));
        bytes.div_ceil(GIB).max(self.min_disk)
    }
}

/// An image to be made, without data at first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewImage {
    /// Its id; none: the service chooses.
    pub id: Option<ImageId>,
    /// For people.
    pub name: Option<String>,
    /// Whose it is; none: the caller's.
    pub owner: Option<ProjectId>,
    /// Who sees it.
    pub visibility: Visibility,
    /// Cannot be deleted.
    pub protected: bool,
    /// Not shown in lists unless asked for.
    pub hidden: bool,
    /// What its data will be.
    pub disk_format: Option<String>,
    /// What its data will be in.
    pub container_format: Option<String>,
    /// GiB.
    pub min_disk: u64,
    /// MiB.
    pub min_ram: u64,
    /// Words for filters.
    pub tags: Vec<String>,
    /// Whatever else is said of it.
    pub properties: BTreeMap<String, String>,
}

/// The id in what a client calls an image: an id, or a URL whose last segment is one. The rest of a URL is never asked
/// (design §8). None: not an id, which may be a name.
pub fn image_id_of(reference: &str) -> Option<ImageId> {
    let last = reference.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    (last.len() == 36).then(|| Uuid::try_parse(last).ok()).flatten().map(ImageId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_cut_to_its_last_segment() {
        let id = "3f1c1a52-1111-4222-8333-444455556666";
        let expected = id.parse().ok();
        for reference in [id.to_owned(), format!("http://evil.example/v2/images/{id}"), format!("images/{id}/")] {
            assert_eq!(image_id_of(&reference), expected, "{reference}");
        }
        for reference in ["", "cirros", "http://evil.example/", &format!("{id}/file"), &id.replace('-', "")] {
            assert_eq!(image_id_of(reference), None, "{reference}");
        }
    }
}
