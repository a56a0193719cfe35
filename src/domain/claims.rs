//! What clients of the old volume actions hold of a volume: a mark that says why it is `attaching` or `detaching` without a row
//! that says so, and the connections of hosts (`spec/volume-actions.md` §2.11, §2.17). Changes with its volume, in one commit.

use serde::{Deserialize, Serialize};

use super::operation::Requester;
use super::time::Timestamp;

/// Everything of one volume. Most volumes have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// Who has set the volume to `attaching` or `detaching`: the two exclude each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<Marker>,
}

/// The owner of an `attaching` or `detaching` that no attachment row accounts for (P5, R-04, R-30). It stays until its owner, or
/// an administrator, ends it: the word is stable (promise I2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// What is going on.
    pub kind: MarkerKind,
    /// Whose request it was.
    pub requester: Requester,
    /// Since when.
    pub since: Timestamp,
}

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkerKind {
    /// `os-reserve`: somebody is about to attach the volume.
    Reserved,
    /// `os-begin_detaching`: somebody is about to detach it.
    Detaching,
}
