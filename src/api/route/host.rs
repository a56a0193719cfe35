//! The routes of hosts: what they have, and the word that one is dead.

/// Below `/admin/hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRoute {
    /// `GET /admin/hosts`: those that are fenced.
    List,
    /// `GET /admin/hosts/{host}`.
    Show(String),
    /// `PUT /admin/hosts/{host}/fence`.
    Fence(String),
    /// `DELETE /admin/hosts/{host}/fence`.
    Unfence(String),
}

impl HostRoute {
    /// The route of `method` on the segments below `/admin`.
    pub(super) fn find(method: &str, rest: &[&str]) -> Option<Self> {
        if rest.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let own = |text: &&str| (*text).to_owned();
        Some(match (method, rest) {
            ("GET", ["hosts"]) => Self::List,
            ("GET", ["hosts", host]) => Self::Show(own(host)),
            ("PUT", ["hosts", host, "fence"]) => Self::Fence(own(host)),
            ("DELETE", ["hosts", host, "fence"]) => Self::Unfence(own(host)),
            _ => return None,
        })
    }

    /// The label of metrics.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::List => "/admin/hosts",
            Self::Show(_) => "/admin/hosts/{host}",
            Self::Fence(_) | Self::Unfence(_) => "/admin/hosts/{host}/fence",
        }
    }

    /// Whether a JSON body is needed.
    pub(super) fn needs_body(&self) -> bool {
        matches!(self, Self::Fence(_))
    }
}
