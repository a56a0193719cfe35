//! The routes of what lies at backends and is not Hearth's (services-hosts-pools §8): a part of [`super`].

use crate::api::microversion::Microversion;

/// What can be taken under management.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    /// Volumes.
    Volumes,
    /// Snapshots.
    Snapshots,
}

/// One of them. The old paths are at every microversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManageRoute {
    /// `GET /manageable_volumes[/detail]`, `GET /os-volume-manage[/detail]`, and the same of snapshots.
    List {
        /// Of what.
        noun: Noun,
        /// Detail views.
        detail: bool,
        /// The old path.
        old: bool,
    },
    /// `POST` there.
    Manage {
        /// Of what.
        noun: Noun,
        /// The old path.
        old: bool,
    },
}

impl ManageRoute {
    /// The route of `method` on the path below the version and the project.
    pub fn find(method: &str, rest: &[&str]) -> Option<Self> {
        let (noun, old) = match *rest.first()? {
            "manageable_volumes" => (Noun::Volumes, false),
            "os-volume-manage" => (Noun::Volumes, true),
            "manageable_snapshots" => (Noun::Snapshots, false),
            "os-snapshot-manage" => (Noun::Snapshots, true),
            _ => return None,
        };
        match (method, &rest[1..]) {
            ("GET", []) => Some(Self::List { noun, detail: false, old }),
            ("GET", ["detail"]) => Some(Self::List { noun, detail: true, old }),
            ("POST", []) => Some(Self::Manage { noun, old }),
            _ => None,
        }
    }

    /// The lowest microversion that has the route.
    pub fn since(&self) -> Option<Microversion> {
        let (Self::List { old, .. } | Self::Manage { old, .. }) = self;
        (!old).then(|| Microversion::v3(8))
    }

    /// The path without what a client chose.
    pub fn template(&self) -> &'static str {
        match self {
            Self::List { noun: Noun::Volumes, detail: true, old: false } => "/manageable_volumes/detail",
            Self::List { noun: Noun::Volumes, detail: true, old: true } => "/os-volume-manage/detail",
            Self::List { noun: Noun::Snapshots, detail: true, old: false } => "/manageable_snapshots/detail",
            Self::List { noun: Noun::Snapshots, detail: true, old: true } => "/os-snapshot-manage/detail",
            Self::List { noun: Noun::Volumes, old: false, .. } | Self::Manage { noun: Noun::Volumes, old: false } => {
                "/manageable_volumes"
            }
            Self::List { noun: Noun::Volumes, .. } | Self::Manage { noun: Noun::Volumes, .. } => "/os-volume-manage",
            Self::List { noun: Noun::Snapshots, old: false, .. }
            | Self::Manage { noun: Noun::Snapshots, old: false } => "/manageable_snapshots",
            Self::List { noun: Noun::Snapshots, .. } | Self::Manage { noun: Noun::Snapshots, .. } => {
                "/os-snapshot-manage"
            }
        }
    }

    /// Whether a JSON body is needed.
    pub fn needs_body(&self) -> bool {
        matches!(self, Self::Manage { .. })
    }
}
