//! Quotas: what is counted, what the limits are, and which of them a growth would pass (promise I5, `spec/quotas-limits.md`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{ProjectId, VolumeTypeId};
use super::volume_type::{Sizes, VolumeType};

/// The class whose limits hold for every project without its own.
pub const DEFAULT_CLASS: &str = "default";
/// The largest sum that is counted.
const USAGE_MAX: i64 = 2_147_483_647;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Resource {
    /// Volumes.
    Volumes,
    /// Snapshots.
    Snapshots,
    /// GiB of volumes and snapshots.
    Gigabytes,
    /// Backups.
    Backups,
    /// GiB of backups.
    BackupGigabytes,
    /// Groups.
    Groups,
    /// GiB of one volume: nothing is counted.
    PerVolumeGigabytes,
}

impl Resource {
    /// All of them, in the order of their enum.
    pub const ALL: [Self; 7] = [
        Self::Volumes,
        Self::Snapshots,
        Self::Gigabytes,
        Self::Backups,
        Self::BackupGigabytes,
        Self::Groups,
        Self::PerVolumeGigabytes,
    ];
    /// Those that are limited for each volume type too, in alphabetical order.
    pub const OF_TYPES: [Self; 3] = [Self::Gigabytes, Self::Snapshots, Self::Volumes];

    /// The API's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Volumes => "volumes",
            Self::Snapshots => "snapshots",
            Self::Gigabytes => "gigabytes",
            Self::Backups => "backups",
            Self::BackupGigabytes => "backup_gigabytes",
            Self::Groups => "groups",
            Self::PerVolumeGigabytes => "per_volume_gigabytes",
        }
    }

    /// The resource with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.as_str() == name)
    }

    /// The API's name of the limit for volumes of one type.
    pub fn of_type(self, type_name: &str) -> String {
        format!("{}_{type_name}", self.as_str())
    }
}

/// One limit: of a resource, for all types together or for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaKey {
    /// What.
    pub resource: Resource,
    /// Of this type only.
    pub volume_type_id: Option<VolumeTypeId>,
}

/// Whose limit an administrator has set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QuotaOwner {
    /// A project's.
    Project(ProjectId),
    /// A class's; [`DEFAULT_CLASS`] holds for every project without its own.
    Class(String),
}

/// A limit that an administrator has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLimit {
    /// Whose.
    pub owner: QuotaOwner,
    /// Of what.
    pub key: QuotaKey,
    /// The limit; −1 is none.
    pub limit: i64,
}

/// What one project uses: of all types together, or of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The project.
    pub project_id: ProjectId,
    /// Of this type only.
    pub volume_type_id: Option<VolumeTypeId>,
}

/// What one volume, or a whole project, uses and has reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Volumes that exist and count.
    pub volumes: i64,
    /// Snapshots that exist and count.
    pub snapshots: i64,
    /// GiB of these volumes.
    pub gigabytes: i64,
    /// GiB of these snapshots.
    pub snapshot_gigabytes: i64,
    /// GiB reserved by operations which are still open.
    pub reserved_gigabytes: i64,
    /// Volumes that exist, also those which do not count: a type with any of them is in use.
    pub live_volumes: i64,
}

impl Usage {
    fn zip(self, other: Self, join: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            volumes: join(self.volumes, other.volumes),
            snapshots: join(self.snapshots, other.snapshots),
            gigabytes: join(self.gigabytes, other.gigabytes),
            snapshot_gigabytes: join(self.snapshot_gigabytes, other.snapshot_gigabytes),
            reserved_gigabytes: join(self.reserved_gigabytes, other.reserved_gigabytes),
            live_volumes: join(self.live_volumes, other.live_volumes),
        }
    }

    /// Component-wise difference.
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, |mine, its| mine - its)
    }

    /// Component-wise sum.
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, |mine, its| mine + its)
    }

    /// Whether nothing is used or reserved.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// What is in use of a resource, without what is only reserved. `limits` says whether snapshots' GiB count.
    pub fn in_use(self, resource: Resource, limits: &Limits) -> i64 {
        match resource {
            Resource::Volumes => self.volumes,
            Resource::Snapshots => self.snapshots,
            Resource::Gigabytes if limits.no_snapshot_gigabytes => self.gigabytes,
            Resource::Gigabytes => self.gigabytes + self.snapshot_gigabytes,
            Resource::Backups | Resource::BackupGigabytes | Resource::Groups | Resource::PerVolumeGigabytes => 0,
        }
    }

    /// What is reserved of a resource.
    pub fn reserved(self, resource: Resource) -> i64 {
        if resource == Resource::Gigabytes { self.reserved_gigabytes } else { 0 }
    }
}

/// The limits of a project; −1 is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Volumes.
    pub volumes: i64,
    /// Snapshots.
    pub snapshots: i64,
    /// GiB of volumes and snapshots.
    pub gigabytes: i64,
    /// Backups.
    pub backups: i64,
    /// GiB of backups.
    pub backup_gigabytes: i64,
    /// Groups.
    pub groups: i64,
    /// GiB of one volume.
    pub per_volume_gigabytes: i64,
    /// The GiB of snapshots do not count.
    pub no_snapshot_gigabytes: bool,
    /// Whose they are; none: everybody's.
    pub project_id: Option<ProjectId>,
    /// What holds for volumes of one type besides.
    pub of_type: Option<Arc<TypeLimits>>,
}

/// What holds for volumes of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeLimits {
    /// The type.
    pub id: VolumeTypeId,
    /// The revision of the type that says so.
    pub revision: u64,
    /// Its name.
    pub name: String,
    /// The sizes that its volumes may have.
    pub sizes: Sizes,
    /// Volumes.
    pub volumes: i64,
    /// Snapshots.
    pub snapshots: i64,
    /// GiB of volumes and snapshots.
    pub gigabytes: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            volumes: 10,
            snapshots: 10,
            gigabytes: 1000,
            backups: 10,
            backup_gigabytes: 1000,
            groups: 10,
            ..Self::NONE
        }
    }
}

/// Which limit a request would pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverQuota {
    /// The number of volumes.
    #[error("maximum number of volumes allowed ({limit}) exceeded for quota {key}")]
    Volumes {
        /// The name of the limit.
        key: String,
        /// The limit.
        limit: i64,
    },
    /// The number of snapshots.
    #[error("maximum number of snapshots allowed ({limit}) exceeded for quota {key}")]
    Snapshots {
        /// The name of the limit.
        key: String,
        /// The limit.
        limit: i64,
    },
    /// The sum of sizes.
    #[error("requested {requested} GiB, quota {key} is {limit} GiB and {consumed} GiB has been consumed")]
    Gigabytes {
        /// The name of the limit.
        key: String,
        /// What the request asked for, GiB.
        requested: i64,
        /// The limit, GiB.
        limit: i64,
        /// Used and reserved, GiB.
        consumed: i64,
    },
    /// More than can be counted, whatever the limit.
    #[error("usage of quota {key} would exceed {USAGE_MAX}")]
    Overflow {
        /// The name of the limit.
        key: String,
    },
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        volumes: -1,
        snapshots: -1,
        gigabytes: -1,
        backups: -1,
        backup_gigabytes: -1,
        groups: -1,
        per_volume_gigabytes: -1,
        no_snapshot_gigabytes: false,
        project_id: None,
        of_type: None,
    };

    /// The limit of all types together.
    pub fn of(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Volumes => self.volumes,
            Resource::Snapshots => self.snapshots,
            Resource::Gigabytes => self.gigabytes,
            Resource::Backups => self.backups,
            Resource::BackupGigabytes => self.backup_gigabytes,
            Resource::Groups => self.groups,
            Resource::PerVolumeGigabytes => self.per_volume_gigabytes,
        }
    }

    /// Whether they were made for what this project has of this type.
    pub fn are_of(&self, project_id: &ProjectId, volume_type_id: Option<VolumeTypeId>) -> bool {
        self.project_id.as_ref().is_none_or(|own| own == project_id)
            && self.of_type.as_ref().is_none_or(|of_type| Some(of_type.id) == volume_type_id)
    }

    /// What holds for `owner`: what is set for it, else for the default class, else this, and for a type alone nothing.
    pub fn effective(&self, stored: &[StoredLimit], owner: &QuotaOwner, key: QuotaKey) -> i64 {
        let default = QuotaOwner::Class(DEFAULT_CLASS.to_owned());
        let set = |owner: &QuotaOwner| stored.iter().find(|row| row.key == key && row.owner == *owner);
        let configured = if key.volume_type_id.is_some() { -1 } else { self.of(key.resource) };
        set(owner).or_else(|| set(&default)).map_or(configured, |row| row.limit)
    }

    /// The limits of one project for volumes of one type, these being everybody's.
    pub fn of_project(&self, stored: &[StoredLimit], project_id: &ProjectId, volume_type: Option<&VolumeType>) -> Self {
        let owner = QuotaOwner::Project(project_id.clone());
        let of = |resource, id| self.effective(stored, &owner, QuotaKey { resource, volume_type_id: id });
        let of_type = volume_type.map(|volume_type| {
            let of = |resource| of(resource, Some(volume_type.id));
            Arc::new(TypeLimits {
                id: volume_type.id,
                revision: volume_type.revision,
                name: volume_type.name.clone(),
                sizes: volume_type.sizes(),
                volumes: of(Resource::Volumes),
                snapshots: of(Resource::Snapshots),
                gigabytes: of(Resource::Gigabytes),
            })
        });
        Self {
            volumes: of(Resource::Volumes, None),
            snapshots: of(Resource::Snapshots, None),
            gigabytes: of(Resource::Gigabytes, None),
            backups: of(Resource::Backups, None),
            backup_gigabytes: of(Resource::BackupGigabytes, None),
            groups: of(Resource::Groups, None),
            per_volume_gigabytes: of(Resource::PerVolumeGigabytes, None),
            no_snapshot_gigabytes: self.no_snapshot_gigabytes,
            project_id: Some(project_id.clone()),
            of_type,
        }
    }

    /// Judges adding to usages, each given as it is and with what is added. Only growth is judged: a project which is over its
    /// limit may still shrink. The alphabetically first of the limits that would be passed names the error
    /// (`spec/quotas-limits.md` §5).
    pub fn check<'a>(&self, growth: impl IntoIterator<Item = (&'a Scope, Usage, Usage)>) -> Result<(), OverQuota> {
        let mut passed: Vec<(String, OverQuota)> = Vec::new();
        for (scope, usage, delta) in growth {
            let of_type = match (scope.volume_type_id, &self.of_type) {
                (None, _) => None,
                (Some(id), Some(of_type)) if of_type.id == id => Some(of_type),
                (Some(_), _) => continue,
            };
            for resource in Resource::OF_TYPES {
                let (limit, key) = match of_type {
                    None => (self.of(resource), resource.as_str().to_owned()),
                    Some(of_type) => (of_type.of(resource), resource.of_type(&of_type.name)),
                };
                if let Some(over) = self.passed(resource, &key, limit, usage, delta) {
                    passed.push((key, over));
                }
            }
        }
        let first = passed.into_iter().min_by(|(one, _), (other, _)| one.cmp(other));
        first.map_or(Ok(()), |(_, over)| Err(over))
    }

    fn passed(&self, resource: Resource, key: &str, limit: i64, usage: Usage, delta: Usage) -> Option<OverQuota> {
        let requested = delta.in_use(resource, self) + delta.reserved(resource);
        let consumed = usage.in_use(resource, self) + usage.reserved(resource);
        if requested <= 0 {
            return None;
        }
        let key = key.to_owned();
        if limit >= 0 && consumed + requested > limit {
            return Some(match resource {
                Resource::Volumes => OverQuota::Volumes { key, limit },
                Resource::Snapshots => OverQuota::Snapshots { key, limit },
                _ => OverQuota::Gigabytes { key, requested, limit, consumed },
            });
        }
        (consumed + requested > USAGE_MAX).then_some(OverQuota::Overflow { key })
    }
}

impl TypeLimits {
    fn of(&self, resource: Resource) -> i64 {
        match resource {
            Resource::Volumes => self.volumes,
            Resource::Snapshots => self.snapshots,
            Resource::Gigabytes => self.gigabytes,
            Resource::Backups | Resource::BackupGigabytes | Resource::Groups | Resource::PerVolumeGigabytes => -1,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn type_limits(volumes: i64, snapshots: i64, gigabytes: i64) -> TypeLimits {
        TypeLimits {
            id: VolumeTypeId(Uuid::nil()),
            revision: 1,
            name: "t".to_owned(),
            sizes: Sizes::default(),
            volumes,
            snapshots,
            gigabytes,
        }
    }

    /// The name of the limit that is passed by adding `delta` of that type to `usage`.
    #[track_caller]
    fn check(limits: &Limits, usage: Usage, delta: Usage, passed: Option<&str>) {
        let scopes = [None, Some(VolumeTypeId(Uuid::nil()))]
            .map(|volume_type_id| Scope { project_id: ProjectId::from("p"), volume_type_id });
        let found = limits.check(scopes.iter().map(|scope| (scope, usage, delta))).err();
        let name = found.map(|over| match over {
            OverQuota::Volumes { key, .. }
            | OverQuota::Snapshots { key, .. }
            | OverQuota::Gigabytes { key, .. }
            | OverQuota::Overflow { key } => key,
        });
        assert_eq!(name.as_deref(), passed);
    }

    #[test]
    fn the_alphabetically_first_limit_names_the_error() {
        let all = |volumes, snapshots, gigabytes| Limits { volumes, snapshots, gigabytes, ..Limits::NONE };
        let with = |limits: Limits, of_type| Limits { of_type: Some(Arc::new(of_type)), ..limits };
        let none = Usage::default();
        let volume = Usage { volumes: 1, gigabytes: 1, live_volumes: 1, ..none };
        let snapshot = Usage { snapshots: 1, snapshot_gigabytes: 1, ..none };
        check(&Limits::NONE, none, volume, None);
        check(&all(1, 1, 1), none, volume, None);
        check(&all(0, 0, 0), none, volume, Some("gigabytes"));
        check(&all(0, 0, 1), none, volume, Some("volumes"));
        check(&with(all(0, -1, -1), type_limits(0, 0, 0)), none, volume, Some("gigabytes_t"));
        check(&with(all(0, -1, -1), type_limits(0, 0, -1)), none, volume, Some("volumes"));
        check(&with(Limits::NONE, type_limits(0, 0, -1)), none, volume, Some("volumes_t"));
        check(&with(Limits::NONE, type_limits(0, 0, -1)), none, snapshot, Some("snapshots_t"));
        let other = TypeLimits { id: VolumeTypeId(Uuid::max()), ..type_limits(0, 0, 0) };
        check(&with(Limits::NONE, other), none, volume, None);
        // what is over may shrink, and grow in other ways
        check(&all(1, 5, 9), Usage { volumes: 3, ..none }, none.minus(volume), None);
        check(&all(1, 5, 9), Usage { volumes: 3, ..none }, snapshot, None);
        // what is reserved is used up
        let reserved = Usage { reserved_gigabytes: 9, ..none };
        check(&all(-1, -1, 9), reserved, snapshot, Some("gigabytes"));
        check(&Limits { no_snapshot_gigabytes: true, ..all(-1, -1, 9) }, reserved, snapshot, None);
        check(&Limits::NONE, Usage { gigabytes: USAGE_MAX, ..none }, volume, Some("gigabytes"));
    }

    #[test]
    fn a_project_s_own_limits_come_before_its_class_s() {
        let key = |resource| QuotaKey { resource, volume_type_id: None };
        let project = QuotaOwner::Project(ProjectId::from("p"));
        let class = |name: &str| QuotaOwner::Class(name.to_owned());
        let row = |owner: &QuotaOwner, resource, limit| StoredLimit { owner: owner.clone(), key: key(resource), limit };
        let stored = [
            row(&class("other"), Resource::Volumes, 1),
            row(&class(DEFAULT_CLASS), Resource::Volumes, 2),
            row(&class(DEFAULT_CLASS), Resource::Snapshots, 3),
            row(&project, Resource::Volumes, 4),
        ];
        let limits = Limits::default().of_project(&stored, &ProjectId::from("p"), None);
        assert_eq!((limits.volumes, limits.snapshots, limits.gigabytes), (4, 3, 1000));
        let of_class = |name, resource| Limits::default().effective(&stored, &class(name), key(resource));
        assert_eq!(of_class("other", Resource::Volumes), 1);
        assert_eq!(of_class("other", Resource::Snapshots), 3);
    }
}
