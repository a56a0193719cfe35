//! The routes that operators use, and the small resources that every client asks for (services-hosts-pools): a part of
//! [`super`].

use crate::api::microversion::Microversion;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorRoute {
    /// `GET /os-services`.
    ServiceList,
    /// `PUT /os-services/{action}`.
    ServiceUpdate(String),
    /// `GET /os-hosts`.
    HostList,
    /// `GET /os-hosts/{host}`.
    HostShow(String),
    /// `PUT` there.
    HostUpdate(String),
    /// `GET /scheduler-stats/get_pools`.
    PoolList,
    /// `GET /capabilities/{host}`.
    CapabilityShow(String),
    /// `GET /clusters[/detail]`.
    ClusterList,
    /// `GET /clusters/{name}`.
    ClusterShow(String),
    /// `PUT /clusters/enable`, `PUT /clusters/disable`.
    ClusterUpdate,
    /// `GET /os-availability-zone`.
    ZoneList,
    /// `GET /extensions`.
    ExtensionList,
    /// `GET /extensions/{alias}`.
    ExtensionShow(String),
    /// `GET /resource_filters`.
    ResourceFilterList,
    /// `POST /workers/cleanup`.
    WorkerCleanup,
}

impl OperatorRoute {
    /// The route of `method` on the path below the version and the project.
    pub fn find(method: &str, rest: &[&str]) -> Option<Self> {
        let text = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
        Some(match (method, rest) {
            ("GET", ["os-services"]) => Self::ServiceList,
            ("PUT", ["os-services", action]) => Self::ServiceUpdate(text(action)?),
            ("GET", ["os-hosts"]) => Self::HostList,
            ("GET", ["os-hosts", host]) => Self::HostShow(text(host)?),
            ("PUT", ["os-hosts", host]) => Self::HostUpdate(text(host)?),
            ("GET", ["scheduler-stats", "get_pools"]) => Self::PoolList,
            ("GET", ["capabilities", host]) => Self::CapabilityShow(text(host)?),
            ("GET", ["clusters"] | ["clusters", "detail"]) => Self::ClusterList,
            ("GET", ["clusters", name]) => Self::ClusterShow(text(name)?),
            ("PUT", ["clusters", "enable" | "disable"]) => Self::ClusterUpdate,
            ("GET", ["os-availability-zone"]) => Self::ZoneList,
            ("GET", ["extensions"]) => Self::ExtensionList,
            ("GET", ["extensions", alias]) => Self::ExtensionShow(text(alias)?),
            ("GET", ["resource_filters"]) => Self::ResourceFilterList,
            ("POST", ["workers", "cleanup"]) => Self::WorkerCleanup,
            _ => return None,
        })
    }

    /// The lowest microversion that has the route.
    pub fn since(&self) -> Option<Microversion> {
        match self {
            Self::ClusterList | Self::ClusterShow(_) | Self::ClusterUpdate => Some(Microversion::v3(7)),
            Self::ServiceUpdate(action) if action == "failover" => Some(Microversion::v3(26)),
            Self::ServiceUpdate(action) if matches!(action.as_str(), "set-log" | "get-log") => {
                Some(Microversion::v3(32))
            }
            Self::ResourceFilterList => Some(Microversion::v3(33)),
            Self::WorkerCleanup => Some(Microversion::v3(24)),
            _ => None,
        }
    }

    /// The path without what a client chose.
    pub fn template(&self) -> &'static str {
        match self {
            Self::ServiceList => "/os-services",
            Self::ServiceUpdate(_) => "/os-services/{action}",
            Self::HostList => "/os-hosts",
            Self::HostShow(_) | Self::HostUpdate(_) => "/os-hosts/{host}",
            Self::PoolList => "/scheduler-stats/get_pools",
            Self::CapabilityShow(_) => "/capabilities/{host}",
            Self::ClusterList => "/clusters",
            Self::ClusterShow(_) | Self::ClusterUpdate => "/clusters/{name}",
            Self::ZoneList => "/os-availability-zone",
            Self::ExtensionList => "/extensions",
            Self::ExtensionShow(_) => "/extensions/{alias}",
            Self::ResourceFilterList => "/resource_filters",
            Self::WorkerCleanup => "/workers/cleanup",
        }
    }

    /// Whether a JSON body is needed.
    pub fn needs_body(&self) -> bool {
        matches!(self, Self::ServiceUpdate(_) | Self::HostUpdate(_) | Self::ClusterUpdate | Self::WorkerCleanup)
    }
}
