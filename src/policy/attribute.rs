//! What the language can name of a caller.

use super::target::{NULL, project_or_null, python_bool};
use crate::identity::RequestContext;

/// An attribute of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    UserId,
    ProjectId,
    Roles,
    IsAdmin,
    IsAdminProject,
    UserDomainId,
    ProjectDomainId,
    DomainId,
    SystemScope,
    /// `system`: the older name of [`Self::SystemScope`], which is there only if it says something.
    System,
    ServiceUserId,
    ServiceUserDomainId,
    ServiceProjectId,
    ServiceProjectDomainId,
    ServiceRoles,
}

impl Attribute {
    /// By its name. Callers have no attributes with parts, so that no dotted path leads anywhere.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "user_id" => Self::UserId,
            "project_id" => Self::ProjectId,
            "roles" => Self::Roles,
            "is_admin" => Self::IsAdmin,
            "is_admin_project" => Self::IsAdminProject,
            "user_domain_id" => Self::UserDomainId,
            "project_domain_id" => Self::ProjectDomainId,
            "domain_id" => Self::DomainId,
            "system_scope" => Self::SystemScope,
            "system" => Self::System,
            "service_user_id" => Self::ServiceUserId,
            "service_user_domain_id" => Self::ServiceUserDomainId,
            "service_project_id" => Self::ServiceProjectId,
            "service_project_domain_id" => Self::ServiceProjectDomainId,
            "service_roles" => Self::ServiceRoles,
            _ => return None,
        })
    }

    /// Whether `test` is true of the attribute, or of one of its elements if it is a list.
    pub(super) fn any(self, context: &RequestContext, test: impl Fn(&str) -> bool) -> bool {
        let scope = &*context.scope;
        let nullable = |value: &Option<String>| test(value.as_deref().unwrap_or(NULL));
        match self {
            Self::UserId => test(context.user_id.as_str()),
            Self::ProjectId => test(project_or_null(context.project_id.as_str())),
            Self::Roles => context.roles.iter().any(|role| test(role)),
            Self::IsAdmin => test(&python_bool(context.is_admin)),
            Self::IsAdminProject => test(&python_bool(scope.is_admin_project)),
            Self::UserDomainId => nullable(&scope.user_domain_id),
            Self::ProjectDomainId => nullable(&scope.project_domain_id),
            Self::DomainId => nullable(&scope.domain_id),
            Self::SystemScope => nullable(&scope.system_scope),
            Self::System => scope.system_scope.as_deref().is_some_and(test),
            Self::ServiceUserId => nullable(&scope.service_user_id),
            Self::ServiceUserDomainId => nullable(&scope.service_user_domain_id),
            Self::ServiceProjectId => nullable(&scope.service_project_id),
            Self::ServiceProjectDomainId => nullable(&scope.service_project_domain_id),
            Self::ServiceRoles => scope.service_roles.iter().any(|role| test(role)),
        }
    }
}
