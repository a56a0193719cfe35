//! The names of a pool's files. They are made of ids and epochs only, so that no name comes from a client, and each tells
//! what the file is.

use crate::domain::ids::{ImageId, SnapshotId, VolumeId};
use crate::domain::reference::{snapshot_reference, snapshot_referred, volume_reference, volume_referred};

/// What a whole file of the pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Image {
    /// A volume: `<volume>.raw`.
    Volume(VolumeId),
    /// A snapshot of a volume: `<volume>.<snapshot>.snap`.
    Snapshot(VolumeId, SnapshotId),
    /// What a volume held at one moment, for an image that is made from it: `<volume>.image-<image>.moment`. It is read by the
    /// call that made it, and by nobody after that.
    Moment(VolumeId, ImageId),
}

/// Sets a moment's stem apart from a snapshot's.
const MOMENT: &str = "image-";

impl Image {
    /// The volume that it is, or is of.
    pub(super) const fn volume(self) -> VolumeId {
        match self {
            Self::Volume(volume) | Self::Snapshot(volume, _) | Self::Moment(volume, _) => volume,
        }
    }

    /// Its own id.
    pub(super) const fn id(self) -> uuid::Uuid {
        match self {
            Self::Volume(volume) => volume.0,
            Self::Snapshot(_, snapshot) => snapshot.0,
            Self::Moment(_, image) => image.0,
        }
    }

    /// The file's name.
    pub(super) fn name(self) -> String {
        match self {
            Self::Volume(_) => format!("{}.raw", self.stem()),
            Self::Snapshot(..) => format!("{}.snap", self.stem()),
            Self::Moment(..) => format!("{}.moment", self.stem()),
        }
    }

    /// The file's name while it is being made by the call of this epoch.
    pub(super) fn temporary_name(self, epoch: u64) -> String {
        format!("{}.{epoch}.tmp", self.stem())
    }

    /// The file's name when it is not Hearth's any more: that of a volume is its reference, that of a snapshot ends in it and
    /// says besides what it was taken of.
    pub(super) fn disowned_name(self) -> String {
        match self {
            Self::Volume(volume) => volume_reference(volume),
            Self::Snapshot(volume, snapshot) => {
                format!("{}.{}", volume_reference(volume), snapshot_reference(snapshot))
            }
            // Nobody is ever given one.
            Self::Moment(..) => self.name(),
        }
    }

    /// What a file was whose name is [`Self::disowned_name`].
    pub(super) fn parse_disowned(name: &str) -> Option<Self> {
        match name.split_once('.') {
            None => volume_referred(name).map(Self::Volume),
            Some((volume, snapshot)) => Some(Self::Snapshot(volume_referred(volume)?, snapshot_referred(snapshot)?)),
        }
    }

    /// What a name says; none: not one of the pool's files.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (stem, _) = name.rsplit_once('.')?;
        Self::parse_stem(stem).filter(|image| image.name() == name)
    }

    /// The same for the name of a temporary.
    pub(super) fn parse_temporary(name: &str) -> Option<Self> {
        let (stem, epoch) = name.strip_suffix(".tmp")?.rsplit_once('.')?;
        let epoch: u64 = epoch.parse().ok()?;
        Self::parse_stem(stem).filter(|image| image.temporary_name(epoch) == name)
    }

    fn stem(self) -> String {
        match self {
            Self::Volume(volume) => volume.to_string(),
            Self::Snapshot(volume, snapshot) => format!("{volume}.{snapshot}"),
            Self::Moment(volume, image) => format!("{volume}.{MOMENT}{image}"),
        }
    }

    fn parse_stem(stem: &str) -> Option<Self> {
        Some(match stem.split_once('.') {
            None => Self::Volume(stem.parse().ok()?),
            Some((volume, id)) => match id.strip_prefix(MOMENT) {
                Some(image) => Self::Moment(volume.parse().ok()?, image.parse().ok()?),
                None => Self::Snapshot(volume.parse().ok()?, id.parse().ok()?),
            },
        })
    }
}

impl From<VolumeId> for Image {
    fn from(volume: VolumeId) -> Self {
        Self::Volume(volume)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_name_tells_what_the_file_is_and_nothing_else_is_taken_for_one() {
        let volume = VolumeId(Uuid::from_u128(7));
        let snapshot = Image::Snapshot(volume, SnapshotId(Uuid::from_u128(8)));
        let moment = Image::Moment(volume, ImageId(Uuid::from_u128(9)));
        for image in [Image::Volume(volume), snapshot, moment] {
            assert_eq!(Image::parse(&image.name()), Some(image));
            assert_eq!(Image::parse_temporary(&image.temporary_name(12)), Some(image));
            assert_eq!(Image::parse(&image.temporary_name(12)), None);
            assert_eq!(Image::parse_temporary(&image.name()), None);
            assert_eq!(Image::parse_disowned(&image.name()), None);
        }
        // A moment is the service's own, and nobody is ever given it.
        for image in [Image::Volume(volume), snapshot] {
            assert_eq!(Image::parse_disowned(&image.disowned_name()), Some(image));
            assert_eq!(Image::parse(&image.disowned_name()), None);
        }
        let simple = volume.0.simple();
        for foreign in ["notes.tmp", "notes.raw", ".hearth-pool", &format!("{simple}.raw"), &format!("{volume}.snap")] {
            assert_eq!((Image::parse(foreign), Image::parse_temporary(foreign)), (None, None), "{foreign}");
        }
    }
}
