//! A volume type: what a volume of it may be, and who may use it (`spec/types-qos-encryption.md` §1).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::{ProjectId, QosSpecsId, VolumeTypeId};
use super::time::Timestamp;

/// The extra spec that makes volumes of the type multiattach.
pub const MULTIATTACH: &str = "multiattach";
/// The extra spec with the zones that volumes of the type may be in.
pub const AVAILABILITY_ZONES: &str = "RESKEY:availability_zones";
/// The extra spec that names the backend of its volumes.
pub const BACKEND_NAME: &str = "volume_backend_name";
/// The extra specs with the sizes that volumes of the type may have, GiB.
const LEAST_SIZE: &str = "provisioning:min_vol_size";
const MOST_SIZE: &str = "provisioning:max_vol_size";
/// How extra specs say yes.
const YES: &str = "<is> True";

/// Extra specs; null is a value of its own.
pub type ExtraSpecs = BTreeMap<String, Option<String>>;

/// A volume type. It changes as a whole: every write is guarded by the revision, and so is every commit of a new volume, which
/// was judged by what it saw of its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeType {
    /// Its id.
    pub id: VolumeTypeId,
    /// Raised by one in each change.
    pub revision: u64,
    /// Its name, unique, exactly as it was sent.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// For every project.
    pub is_public: bool,
    /// The projects that may use it although it is not public.
    pub projects: BTreeSet<ProjectId>,
    /// Extra specs.
    pub extra_specs: ExtraSpecs,
    /// How its volumes are to be encrypted.
    pub encryption: Option<Encryption>,
    /// What is said of the speed of its volumes.
    pub qos_specs_id: Option<QosSpecsId>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Option<Timestamp>,
}

/// How volumes of a type are to be encrypted (`spec/types-qos-encryption.md` §4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Its id.
    pub id: Uuid,
    /// Who encrypts: `luks`, `luks2`, or the name of a class.
    pub provider: String,
    /// `front-end` or `back-end`.
    pub control_location: String,
    /// The cipher.
    pub cipher: Option<String>,
    /// Bits.
    pub key_size: Option<u64>,
    /// Creation.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Option<Timestamp>,
}

impl VolumeType {
    /// Whether the type exists for `project`. Administrators see every type.
    pub fn is_open_to(&self, project: &ProjectId) -> bool {
        self.is_public || self.projects.contains(project)
    }

    /// An extra spec that has a value.
    pub fn spec(&self, key: &str) -> Option<&str> {
        self.extra_specs.get(key)?.as_deref()
    }

    /// Whether an extra spec says yes.
    pub fn says_yes(&self, key: &str) -> bool {
        self.spec(key).is_some_and(|value| value.trim() == YES)
    }

    /// The sizes that it allows.
    pub fn sizes(&self) -> Sizes {
        let number = |key| self.spec(key).and_then(|text| text.trim().parse().ok());
        Sizes { least_gib: number(LEAST_SIZE), most_gib: number(MOST_SIZE) }
    }
}

/// The sizes that a type allows its volumes, GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// At least.
    pub least_gib: Option<u32>,
    /// At most.
    pub most_gib: Option<u32>,
}

impl Sizes {
    /// What is wrong with a volume of `size_gib` of the type `name`.
    pub fn check(self, size_gib: u32, name: &str) -> Result<(), String> {
        if let Some(least) = self.least_gib.filter(|least| size_gib < *least) {
            return Err(format!(
                "Specified volume size of '{size_gib}' is less than the minimum required size of '{least}' for volume \
                 type '{name}'."
            ));
        }
        if let Some(most) = self.most_gib.filter(|most| size_gib > *most) {
            return Err(format!(
                "Specified volume size of '{size_gib}' is greater than the maximum allowable size of '{most}' for \
                 volume type '{name}'."
            ));
        }
        Ok(())
    }
}
