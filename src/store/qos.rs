//! The changes of QoS specs, and why they are refused.

use crate::domain::ids::{QosSpecsId, VolumeTypeId};
use crate::domain::qos::QosSpecs;

/// A change of QoS specs, or of which types have them. One transaction, judged by what is committed when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QosChange {
    /// New ones.
    Create(QosSpecs),
    /// Their next state, the revision already raised by one: the stored one must be the one before.
    Update(QosSpecs),
    /// They go.
    Delete {
        /// Which.
        id: QosSpecsId,
        /// Also if types have them.
        force: bool,
    },
    /// A type gets them. It has them already: nothing to do.
    Associate {
        /// Which.
        id: QosSpecsId,
        /// The type.
        volume_type_id: VolumeTypeId,
    },
    /// A type, or every type, loses them. It has them not: nothing to do.
    Disassociate {
        /// Which.
        id: QosSpecsId,
        /// The type; none: all.
        volume_type_id: Option<VolumeTypeId>,
    },
}

/// Why it is refused; nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QosRefused {
    /// Their revision is another one.
    Stale,
    /// They are not there.
    Missing,
    /// The type is not there.
    TypeMissing,
    /// Others have the name.
    NameTaken,
    /// A type has them.
    InUse,
    /// The type has others.
    HasOthers(QosSpecsId),
}
