//! What a volume counts for in its project's quota (promise I5, `spec/quotas-limits.md`).

use serde::{Deserialize, Serialize};

/// What one volume, or a whole project, uses and has reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Volumes that exist and count.
    pub volumes: i64,
    /// GiB of these volumes.
    pub gigabytes: i64,
    /// GiB reserved by operations which are still open.
    pub reserved_gigabytes: i64,
}

impl Usage {
    /// Component-wise difference.
    pub fn minus(self, other: Self) -> Self {
        Self {
            volumes: self.volumes - other.volumes,
            gigabytes: self.gigabytes - other.gigabytes,
            reserved_gigabytes: self.reserved_gigabytes - other.reserved_gigabytes,
        }
    }

    /// Component-wise sum.
    pub fn plus(self, other: Self) -> Self {
        Self {
            volumes: self.volumes + other.volumes,
            gigabytes: self.gigabytes + other.gigabytes,
            reserved_gigabytes: self.reserved_gigabytes + other.reserved_gigabytes,
        }
    }

    /// Whether nothing is used or reserved.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// The limits of a project; −1 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Volumes.
    pub volumes: i64,
    /// GiB of volumes and snapshots.
    pub gigabytes: i64,
    /// GiB of one volume.
    pub per_volume_gigabytes: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { volumes: 10, gigabytes: 1000, per_volume_gigabytes: -1 }
    }
}

/// Which limit a request would pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverQuota {
    /// The number of volumes.
    #[error("maximum number of volumes allowed ({limit}) exceeded")]
    Volumes {
        /// The limit.
        limit: i64,
    },
    /// The sum of sizes.
    #[error("requested {requested} GiB, quota is {limit} GiB and {consumed} GiB has been consumed")]
    Gigabytes {
        /// What the request asked for, GiB.
        requested: i64,
        /// The limit, GiB.
        limit: i64,
        /// Used and reserved, GiB.
        consumed: i64,
    },
}

impl Limits {
    /// Judges adding `delta` to `usage`. Only growth is judged: a project which is over its limit may still shrink. The
    /// order is that of Cinder: the alphabetically first resource names the error (`spec/quotas-limits.md` §5).
    pub fn check(&self, usage: Usage, delta: Usage) -> Result<(), OverQuota> {
        let more_gib = delta.gigabytes + delta.reserved_gigabytes;
        let consumed = usage.gigabytes + usage.reserved_gigabytes;
        if more_gib > 0 && self.gigabytes >= 0 && consumed + more_gib > self.gigabytes {
            return Err(OverQuota::Gigabytes { requested: more_gib, limit: self.gigabytes, consumed });
        }
        if delta.volumes > 0 && self.volumes >= 0 && usage.volumes + delta.volumes > self.volumes {
            return Err(OverQuota::Volumes { limit: self.volumes });
        }
        Ok(())
    }
}
