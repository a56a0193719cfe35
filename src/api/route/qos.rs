//! The routes of QoS specs (types-qos-encryption §7).

/// Below `/qos-specs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QosRoute {
    /// `GET /qos-specs`.
    List,
    /// `POST /qos-specs`.
    Create,
    /// `GET /qos-specs/{id}`.
    Show(String),
    /// `PUT /qos-specs/{id}`.
    Update(String),
    /// `DELETE /qos-specs/{id}`.
    Delete(String),
    /// `PUT /qos-specs/{id}/delete_keys`.
    DeleteKeys(String),
    /// `GET /qos-specs/{id}/associations`.
    Associations(String),
    /// `GET /qos-specs/{id}/associate`.
    Associate(String),
    /// `GET /qos-specs/{id}/disassociate`.
    Disassociate(String),
    /// `GET /qos-specs/{id}/disassociate_all`.
    DisassociateAll(String),
}

impl QosRoute {
    /// The route of `method` on the segments below the version and the project.
    pub(super) fn find(method: &str, rest: &[&str]) -> Option<Self> {
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let own = |text: &&str| (*text).to_owned();
        Some(match (method, rest) {
            ("GET", ["qos-specs"]) => Self::List,
            ("POST", ["qos-specs"]) => Self::Create,
            ("GET", ["qos-specs", id]) => Self::Show(own(id)),
            ("PUT", ["qos-specs", id]) => Self::Update(own(id)),
            ("DELETE", ["qos-specs", id]) => Self::Delete(own(id)),
            ("PUT", ["qos-specs", id, "delete_keys"]) => Self::DeleteKeys(own(id)),
            ("GET", ["qos-specs", id, "associations"]) => Self::Associations(own(id)),
            ("GET", ["qos-specs", id, "associate"]) => Self::Associate(own(id)),
            ("GET", ["qos-specs", id, "disassociate"]) => Self::Disassociate(own(id)),
            ("GET", ["qos-specs", id, "disassociate_all"]) => Self::DisassociateAll(own(id)),
            _ => return None,
        })
    }

    /// The label of metrics.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::List | Self::Create => "/qos-specs",
            Self::Show(_) | Self::Update(_) | Self::Delete(_) => "/qos-specs/{qos_id}",
            Self::DeleteKeys(_) => "/qos-specs/{qos_id}/delete_keys",
            Self::Associations(_) => "/qos-specs/{qos_id}/associations",
            Self::Associate(_) => "/qos-specs/{qos_id}/associate",
            Self::Disassociate(_) => "/qos-specs/{qos_id}/disassociate",
            Self::DisassociateAll(_) => "/qos-specs/{qos_id}/disassociate_all",
        }
    }

    /// Whether a JSON body is needed.
    pub(super) fn needs_body(&self) -> bool {
        matches!(self, Self::Create | Self::Update(_) | Self::DeleteKeys(_))
    }
}
