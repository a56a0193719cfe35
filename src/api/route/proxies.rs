//! The routes of Compute's old calls for volumes and snapshots, which Block Storage answers (to 2.35).

/// Below `/os-volumes` and `/os-snapshots`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyRoute {
    /// `GET /os-volumes[/detail]`.
    VolumeList,
    /// `POST /os-volumes`.
    VolumeCreate,
    /// `GET /os-volumes/{id}`.
    VolumeShow(String),
    /// `DELETE /os-volumes/{id}`.
    VolumeDelete(String),
    /// `GET /os-snapshots[/detail]`.
    SnapshotList,
    /// `POST /os-snapshots`.
    SnapshotCreate,
    /// `GET /os-snapshots/{id}`.
    SnapshotShow(String),
    /// `DELETE /os-snapshots/{id}`.
    SnapshotDelete(String),
}

impl ProxyRoute {
    /// The route of `method` on the segments below the version and the project.
    pub(super) fn find(method: &str, rest: &[&str]) -> Option<Self> {
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let own = |text: &&str| (*text).to_owned();
        Some(match (method, rest) {
            ("GET", ["os-volumes"] | ["os-volumes", "detail"]) => Self::VolumeList,
            ("POST", ["os-volumes"]) => Self::VolumeCreate,
            ("GET", ["os-volumes", id]) => Self::VolumeShow(own(id)),
            ("DELETE", ["os-volumes", id]) => Self::VolumeDelete(own(id)),
            ("GET", ["os-snapshots"] | ["os-snapshots", "detail"]) => Self::SnapshotList,
            ("POST", ["os-snapshots"]) => Self::SnapshotCreate,
            ("GET", ["os-snapshots", id]) => Self::SnapshotShow(own(id)),
            ("DELETE", ["os-snapshots", id]) => Self::SnapshotDelete(own(id)),
            _ => return None,
        })
    }

    /// The label of metrics.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::VolumeList | Self::VolumeCreate => "/os-volumes",
            Self::VolumeShow(_) | Self::VolumeDelete(_) => "/os-volumes/{volume_id}",
            Self::SnapshotList | Self::SnapshotCreate => "/os-snapshots",
            Self::SnapshotShow(_) | Self::SnapshotDelete(_) => "/os-snapshots/{snapshot_id}",
        }
    }

    /// Whether a JSON body is needed.
    pub(super) fn needs_body(&self) -> bool {
        matches!(self, Self::VolumeCreate | Self::SnapshotCreate)
    }
}
