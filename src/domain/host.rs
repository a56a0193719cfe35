//! Hosts that connect volumes, and the word of an operator that one of them is dead (`hearth host fence`).

use super::ids::{RequestId, UserId};
use super::time::Timestamp;

/// An operator's word that a host reaches no storage any more, with how it is known. As long as it stands nothing is connected to
/// the host, and what was connected is released: without waiting for the host or its guests, which cannot answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFence {
    /// As in `connector.host`, and as servers have it.
    pub host: String,
    /// How often the host was fenced, this time included: connections that were made before it are of an older one.
    pub epoch: u64,
    /// How it is known that the host is dead: `powered off by ipmi, ticket 4711`.
    pub proof: String,
    /// Who said it.
    pub user_id: UserId,
    /// In which request.
    pub request_id: RequestId,
    /// When.
    pub fenced_at: Timestamp,
    /// When the host was taken back; none: it is fenced.
    pub lifted_at: Option<Timestamp>,
}

impl HostFence {
    /// Whether it is in force.
    pub const fn stands(&self) -> bool {
        self.lifted_at.is_none()
    }
}
