//! What Keystone says of a token.

use std::sync::Arc;

use serde::Deserialize;

use super::access_rule::{self, AccessRule};
use crate::domain::ids::{ProjectId, RequestId, UserId};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::identity::context::{RequestContext, Scope};

/// A token, as far as it matters here.
#[derive(Debug)]
pub(super) struct Token {
    user_id: UserId,
    /// Empty for a token without a project.
    project_id: ProjectId,
    /// Lower case.
    roles: Arc<[String]>,
    scope: Arc<Scope>,
    expires_at: Timestamp,
    /// None: everything that the roles allow.
    access_rules: Option<Vec<AccessRule>>,
}

impl Token {
    /// From the body of an answer; none if that makes no sense.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let Answer { token: shown } = serde_json::from_slice(body).ok()?;
        let roles: Vec<String> = shown.roles.into_iter().map(|role| role.name.to_lowercase()).collect();
        let scope = Scope {
            user_domain_id: shown.user.domain.map(|domain| domain.id),
            project_domain_id: shown.project.as_ref().and_then(|project| Some(project.domain.as_ref()?.id.clone())),
            domain_id: shown.domain.map(|domain| domain.id),
            system_scope: shown.system.filter(|system| system.all).map(|_| "all".to_owned()),
            is_admin_project: shown.is_admin_project.unwrap_or(true),
            ..Scope::default()
        };
        let project = shown.project.map(|project| project.id).unwrap_or_default();
        let access_rules = shown.application_credential.and_then(|credential| credential.access_rules).map(|rules| {
            // a rule about a service that the token has no endpoint of allows nothing
            let known = |service: &str| shown.catalog.iter().any(|entry| entry.kind == service);
            rules.into_iter().filter(|rule| known(&rule.service)).map(AccessRule::from).collect()
        });
        Some(Self {
            user_id: UserId(Text::common(&shown.user.id)),
            project_id: ProjectId(Text::common(&project)),
            roles: roles.into(),
            scope: Arc::new(scope),
            expires_at: instant(&shown.expires_at)?,
            access_rules,
        })
    }

    /// A token with its whole life behind it is no longer one.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// Whether one of its roles is `role`, which is lower case.
    pub(super) fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    /// Whether its access rules allow the call. What a service does for a user is not what the rules are about.
    pub(super) fn allows(&self, method: &str, path: &str, service_types: &[&str], for_service: bool) -> bool {
        match &self.access_rules {
            None => true,
            Some(_) if for_service => true,
            Some(rules) => rules.iter().any(|rule| rule.allows(method, path, service_types)),
        }
    }

    /// The caller with this token, perhaps through a service with a token of its own. Who is an admin the policy says.
    pub(super) fn context(&self, service: Option<&Self>, request_id: &RequestId) -> RequestContext {
        let scope = service.map(|service| Scope {
            service_user_id: Some(service.user_id.to_string()),
            service_user_domain_id: service.scope.user_domain_id.clone(),
            service_project_id: Some(service.project_id.to_string()).filter(|project| !project.is_empty()),
            service_project_domain_id: service.scope.project_domain_id.clone(),
            service_roles: service.roles.to_vec(),
            ..Scope::clone(&self.scope)
        });
        RequestContext {
            user_id: self.user_id.clone(),
            project_id: self.project_id.clone(),
            roles: Arc::clone(&self.roles),
            is_admin: false,
            is_service: service.is_some(),
            scope: scope.map_or_else(|| Arc::clone(&self.scope), Arc::new),
            request_id: request_id.clone(),
        }
    }

    #[cfg(test)]
    pub(super) fn nobody() -> Self {
        Self {
            user_id: UserId::from("u"),
            project_id: ProjectId::from("p"),
            roles: Arc::new([]),
            scope: Scope::none(),
            expires_at: Timestamp(i64::MAX),
            access_rules: None,
        }
    }
}

/// An instant as Keystone writes it.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| Timestamp(at.as_microsecond()))
}

#[derive(Deserialize)]
struct Answer {
    token: Shown,
}

#[derive(Deserialize)]
struct Shown {
    expires_at: String,
    user: Owned,
    project: Option<Owned>,
    domain: Option<Domain>,
    system: Option<System>,
    is_admin_project: Option<bool>,
    #[serde(default)]
    roles: Vec<Role>,
    application_credential: Option<ApplicationCredential>,
    #[serde(default)]
    catalog: Vec<Entry>,
}

/// A user or a project.
#[derive(Deserialize)]
struct Owned {
    id: String,
    domain: Option<Domain>,
}

#[derive(Deserialize)]
struct Domain {
    id: String,
}

#[derive(Deserialize)]
struct System {
    #[serde(default)]
    all: bool,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

#[derive(Deserialize)]
struct ApplicationCredential {
    access_rules: Option<Vec<access_rule::Shown>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
}
