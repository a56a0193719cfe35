//! The routes of quotas and limits.

/// Below `/os-quota-sets`, `/os-quota-class-sets` and `/limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaRoute {
    /// `GET /os-quota-sets/{project}`.
    SetShow(String),
    /// `GET /os-quota-sets/{project}/defaults`.
    SetDefaults(String),
    /// `PUT /os-quota-sets/{project}`.
    SetUpdate(String),
    /// `DELETE /os-quota-sets/{project}`.
    SetDelete(String),
    /// `GET /os-quota-class-sets/{class}`.
    ClassShow(String),
    /// `PUT /os-quota-class-sets/{class}`.
    ClassUpdate(String),
    /// `GET /limits`.
    Limits,
}

impl QuotaRoute {
    /// The route of `method` on the segments below the version and the project.
    pub(super) fn find(method: &str, rest: &[&str]) -> Option<Self> {
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let own = |text: &&str| (*text).to_owned();
        Some(match (method, rest) {
            ("GET", ["os-quota-sets", project]) => Self::SetShow(own(project)),
            ("GET", ["os-quota-sets", project, "defaults"]) => Self::SetDefaults(own(project)),
            ("PUT", ["os-quota-sets", project]) => Self::SetUpdate(own(project)),
            ("DELETE", ["os-quota-sets", project]) => Self::SetDelete(own(project)),
            ("GET", ["os-quota-class-sets", class]) => Self::ClassShow(own(class)),
            ("PUT", ["os-quota-class-sets", class]) => Self::ClassUpdate(own(class)),
            ("GET", ["limits"]) => Self::Limits,
            _ => return None,
        })
    }

    /// The label of metrics.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::SetShow(_) | Self::SetUpdate(_) | Self::SetDelete(_) => "/os-quota-sets/{project_id}",
            Self::SetDefaults(_) => "/os-quota-sets/{project_id}/defaults",
            Self::ClassShow(_) | Self::ClassUpdate(_) => "/os-quota-class-sets/{class}",
            Self::Limits => "/limits",
        }
    }

    /// Whether a JSON body is needed.
    pub(super) fn needs_body(&self) -> bool {
        matches!(self, Self::SetUpdate(_) | Self::ClassUpdate(_))
    }
}
