//! The caller of one request.

use std::sync::Arc;

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
    /// Has the role `admin` on any project: sees the rows of every project.
    pub is_admin: bool,
    /// The call carries a valid service token.
    pub is_service: bool,
    /// This request.
    pub request_id: RequestId,
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
