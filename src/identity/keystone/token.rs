//! What Keystone says of a token.

use std::sync::Arc;

use serde::Deserialize;

use super::access_rule::{self, AccessRule};
use crate::domain::ids::{ProjectId, RequestId, UserId};
use crate::domain::text::Text;
use crate::domain::time::Timestamp;
use crate::identity::context::RequestContext;

/// A token, as far as it matters here.
#[derive(Debug)]
pub(super) struct Token {
    user_id: UserId,
    /// Empty for a token without a project.
    project_id: ProjectId,
    /// Lower case.
    roles: Arc<[String]>,
    expires_at: Timestamp,
    /// None: everything that the roles allow.
    access_rules: Option<Vec<AccessRule>>,
}

impl Token {
    /// From the body of an answer; none if that makes no sense.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let Answer { token: shown } = serde_json::from_slice(body).ok()?;
        let roles: Vec<String> = shown.roles.into_iter().map(|role| role.name.to_lowercase()).collect();
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

    /// The caller with this token, perhaps through a service with a token of its own.
    pub(super) fn context(&self, service: Option<&Self>, request_id: &RequestId) -> RequestContext {
        RequestContext {
            user_id: self.user_id.clone(),
            project_id: self.project_id.clone(),
            roles: Arc::clone(&self.roles),
            is_admin: self.has_role("admin"),
            is_service: service.is_some(),
            request_id: request_id.clone(),
        }
    }

    #[cfg(test)]
    pub(super) fn nobody() -> Self {
        Self {
            user_id: UserId::from("u"),
            project_id: ProjectId::from("p"),
            roles: Arc::new([]),
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
    user: Named,
    project: Option<Named>,
    #[serde(default)]
    roles: Vec<Role>,
    application_credential: Option<ApplicationCredential>,
    #[serde(default)]
    catalog: Vec<Entry>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
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
