//! From a path to what it names.

use crate::api::percent;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `/identity`: which versions there are.
    Root,
    /// `/identity/v3`.
    Version,
    /// `/identity/v3/auth/tokens`.
    Tokens,
    /// `/identity/v3/auth/catalog`.
    Catalog,
    /// `/identity/v3/auth/projects`: those that the caller may have a token for.
    OwnProjects,
    /// `/identity/v3/auth/domains`.
    OwnDomains,
    /// `/identity/v3/users`.
    Users,
    /// `/identity/v3/users/{id}`.
    User(String),
    /// `/identity/v3/users/{id}/projects`.
    ProjectsOf(String),
    /// `/identity/v3/users/{id}/application_credentials`.
    Credentials(String),
    /// `/identity/v3/users/{id}/application_credentials/{id}`.
    Credential(String, String),
    /// `/identity/v3/projects`.
    Projects,
    /// `/identity/v3/projects/{id}`.
    Project(String),
    /// `/identity/v3/roles`.
    Roles,
    /// `/identity/v3/roles/{id}`.
    Role(String),
    /// `/identity/v3/domains`.
    Domains,
    /// `/identity/v3/domains/{id}`.
    Domain(String),
    /// `/identity/v3/role_assignments`.
    Assignments,
    /// `/identity/v3/services`.
    Services,
    /// `/identity/v3/endpoints`.
    Endpoints,
}

impl Resource {
    /// The path without what a client chose.
    pub(super) const fn template(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Version => "/v3",
            Self::Tokens => "/v3/auth/tokens",
            Self::Catalog => "/v3/auth/catalog",
            Self::OwnProjects => "/v3/auth/projects",
            Self::OwnDomains => "/v3/auth/domains",
            Self::Users => "/v3/users",
            Self::User(_) => "/v3/users/{user_id}",
            Self::ProjectsOf(_) => "/v3/users/{user_id}/projects",
            Self::Credentials(_) => "/v3/users/{user_id}/application_credentials",
            Self::Credential(..) => "/v3/users/{user_id}/application_credentials/{application_credential_id}",
            Self::Projects => "/v3/projects",
            Self::Project(_) => "/v3/projects/{project_id}",
            Self::Roles => "/v3/roles",
            Self::Role(_) => "/v3/roles/{role_id}",
            Self::Domains => "/v3/domains",
            Self::Domain(_) => "/v3/domains/{domain_id}",
            Self::Assignments => "/v3/role_assignments",
            Self::Services => "/v3/services",
            Self::Endpoints => "/v3/endpoints",
        }
    }
}

/// Whether a path is of this API.
pub fn serves(path: &str) -> bool {
    below(path).is_some()
}

fn below(path: &str) -> Option<&str> {
    path.strip_prefix("/identity").filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a path names; none: nothing.
pub(super) fn resource(path: &str) -> Option<Resource> {
    let rest = below(path)?;
    let segments: Vec<String> = rest.split('/').skip(1).map(percent::decode_segment).collect::<Option<_>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    // a slash at the end says nothing, as in Keystone
    let segments = match segments.as_slice() {
        [rest @ .., ""] => rest,
        all => all,
    };
    let id = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
    Some(match segments {
        [] => Resource::Root,
        ["v3"] => Resource::Version,
        ["v3", "auth", "tokens"] => Resource::Tokens,
        ["v3", "auth", "catalog"] => Resource::Catalog,
        ["v3", "auth", "projects"] => Resource::OwnProjects,
        ["v3", "auth", "domains"] => Resource::OwnDomains,
        ["v3", "users"] => Resource::Users,
        ["v3", "users", user] => Resource::User(id(user)?),
        ["v3", "users", user, "projects"] => Resource::ProjectsOf(id(user)?),
        ["v3", "users", user, "application_credentials"] => Resource::Credentials(id(user)?),
        ["v3", "users", user, "application_credentials", one] => Resource::Credential(id(user)?, id(one)?),
        ["v3", "projects"] => Resource::Projects,
        ["v3", "projects", project] => Resource::Project(id(project)?),
        ["v3", "roles"] => Resource::Roles,
        ["v3", "roles", role] => Resource::Role(id(role)?),
        ["v3", "domains"] => Resource::Domains,
        ["v3", "domains", domain] => Resource::Domain(id(domain)?),
        ["v3", "role_assignments"] => Resource::Assignments,
        ["v3", "services"] => Resource::Services,
        ["v3", "endpoints"] => Resource::Endpoints,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        for (path, expected) in [
            ("/identity", Some(Resource::Root)),
            ("/identity/", Some(Resource::Root)),
            ("/identity/v3/", Some(Resource::Version)),
            ("/identity/v3/auth/tokens", Some(Resource::Tokens)),
            ("/identity/v3/users/a%2Fb", Some(Resource::User("a/b".to_owned()))),
            ("/identity/v3/users//projects", None),
            ("/identity/v3/users/u/application_credentials/c", Some(Resource::Credential("u".into(), "c".into()))),
            ("/identity/v2.0/tokens", None),
            ("/identityx", None),
        ] {
            assert_eq!(resource(path), expected, "{path}");
        }
        assert!(serves("/identity") && serves("/identity/x") && !serves("/identity2"));
    }
}
