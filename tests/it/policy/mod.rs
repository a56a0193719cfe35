//! The policy: the language against tables, itself and oslo.policy; every rule against every persona; the files.

mod files;
mod fuzz;
mod grammar;
mod oracle;
mod personas;
mod random;
mod targets;

use std::sync::Arc;

use hearth::domain::ids::{ProjectId, RequestId, UserId};
use hearth::identity::{RequestContext, Scope};
use hearth::policy::Policy;
use hearth::policy::overrides::Overrides;

/// A caller of project `p` with these roles, to whom nothing else is known.
pub fn caller(user: &str, project: &str, roles: &[&str]) -> RequestContext {
    RequestContext {
        user_id: UserId::from(user),
        project_id: ProjectId::from(project),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        is_admin: false,
        is_service: false,
        scope: Scope::none(),
        request_id: RequestId::from("req-1"),
    }
}

/// The same as the API makes it: an admin if the policy says so.
pub fn judged(policy: &Policy, mut context: RequestContext) -> RequestContext {
    context.is_admin = policy.is_admin(&context);
    context
}

/// The same with something known of it.
pub fn scoped(mut context: RequestContext, change: impl FnOnce(&mut Scope)) -> RequestContext {
    change(Arc::make_mut(&mut context.scope));
    context
}

/// Overrides, each `(rule, expression)`.
#[track_caller]
pub fn overrides(rules: &[(&str, &str)]) -> Overrides {
    rules.iter().fold(Overrides::none(), |all, (name, text)| {
        all.with(name, text).unwrap_or_else(|error| panic!("{name}: {text}: {error}"))
    })
}

/// The defaults with these overrides.
#[track_caller]
pub fn policy(rules: &[(&str, &str)]) -> Policy {
    Policy::new(&overrides(rules), true).unwrap()
}
