//! The caller of one request.

use std::sync::{Arc, LazyLock};

use crate::domain::ids::{ProjectId, RequestId, UserId};
use crate::domain::operation::Requester;
use crate::domain::volume::Caller;

/// Who asks (auth-and-policy §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// The user.
    pub user_id: UserId,
    /// The project the token is for.
    pub project_id: ProjectId,
    /// Role names, lower case.
    pub roles: Arc<[String]>,
    /// Sees the rows of every project: what the rule `context_is_admin` says, unless the strategy has said it already.
    pub is_admin: bool,
    /// The call carries a valid service token.
    pub is_service: bool,
    /// What else an identity service knows.
    pub scope: Arc<Scope>,
    /// This request.
    pub request_id: RequestId,
}

/// What an identity service says of a caller beyond user, project and roles. Rules of the policy can name each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The domain of the user.
    pub user_domain_id: Option<String>,
    /// The domain of the project.
    pub project_domain_id: Option<String>,
    /// The domain that the token is for, instead of a project.
    pub domain_id: Option<String>,
    /// `all`: the token is for the whole system.
    pub system_scope: Option<String>,
    /// The project is one whose admins are the cloud's; true where nothing is said.
    pub is_admin_project: bool,
    /// The user of the service token.
    pub service_user_id: Option<String>,
    /// The domain of that user.
    pub service_user_domain_id: Option<String>,
    /// The project of the service token.
    pub service_project_id: Option<String>,
    /// The domain of that project.
    pub service_project_domain_id: Option<String>,
    /// The roles of the service token, lower case.
    pub service_roles: Vec<String>,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            user_domain_id: None,
            project_domain_id: None,
            domain_id: None,
            system_scope: None,
            is_admin_project: true,
            service_user_id: None,
            service_user_domain_id: None,
            service_project_id: None,
            service_project_domain_id: None,
            service_roles: Vec::new(),
        }
    }
}

impl Scope {
    /// Nothing is known.
    pub fn none() -> Arc<Self> {
        static NONE: LazyLock<Arc<Scope>> = LazyLock::new(Arc::default);
        Arc::clone(&NONE)
    }
}

impl RequestContext {
    /// Whether the caller has `role`.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    /// Whether objects of `project` exist for the caller (otherwise they are 404).
    pub fn sees(&self, project: &ProjectId) -> bool {
        self.is_admin || self.project_id == *project
    }

    /// The caller as decisions see it.
    pub fn caller(&self) -> Caller {
        Caller {
            requester: Requester {
                request_id: self.request_id.clone(),
                user_id: self.user_id.clone(),
                project_id: self.project_id.clone(),
            },
            is_admin: self.is_admin,
            is_service: self.is_service,
        }
    }
}
