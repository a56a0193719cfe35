//! The mode without an identity service: the token's text is the identity and everyone is admin (auth-and-policy §4, §5).
//!
//! Allowed on loopback only, hence [`host_is_loopback`]: a page in the operator's browser that points a name of its own
//! at 127.0.0.1 must not reach it (design §8).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use crate::domain::ids::{ProjectId, RequestId, UserId};

use super::context::{RequestContext, Scope};
use super::strategy::Presented;

/// The roles of everybody whose token says nothing of roles.
static ADMIN: LazyLock<Arc<[String]>> = LazyLock::new(|| with_implied_roles(&["admin".to_owned()]).into());

/// Longest token taken. A user and a project of 255 characters and the colon fit.
pub const TOKEN_MAX: usize = 511;

/// Bytes of the longest project id.
const ID_MAX: usize = 255;

/// A token that stands for a fixed identity, so that readers and members can be tried without Keystone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedToken {
    /// The user.
    pub user_id: UserId,
    /// The project.
    pub project_id: ProjectId,
    /// Its roles; `admin` implies `member` implies `reader`, as in Keystone. `service` makes it valid as a service token.
    pub roles: Vec<String>,
}

impl MappedToken {
    fn is_service(&self) -> bool {
        self.roles.iter().any(|role| role.eq_ignore_ascii_case("service"))
    }

    /// What a call knows that carries this as its service token.
    fn service_scope(&self) -> Arc<Scope> {
        Arc::new(Scope {
            service_user_id: Some(self.user_id.as_str().to_owned()),
            service_project_id: Some(self.project_id.as_str().to_owned()),
            service_roles: with_implied_roles(&self.roles),
            ..Scope::default()
        })
    }
}

/// The settings of this mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noauth {
    /// The project of tokens that name none, on URLs that name none (`auth.noauth_project`).
    pub project: ProjectId,
    /// Tokens with a fixed identity.
    pub tokens: BTreeMap<String, MappedToken>,
}

impl Default for Noauth {
    fn default() -> Self {
        Self { project: ProjectId::from("admin"), tokens: BTreeMap::new() }
    }
}

/// `WWW-Authenticate` of a 401.
pub(super) const CHALLENGE: &str = "X-Auth-Token realm=\"hearth\"";

impl Noauth {
    /// The caller, or none (401): no token, an empty or over-long one, or one without a user.
    ///
    /// `U:P` is user U of project P; `U` (also `notused`, what clients without authentication send) takes the project of
    /// the URL, else the configured one. Whether a token of the settings is an admin's is left to the policy.
    pub fn authenticate(&self, presented: Presented<'_>, request_id: &RequestId) -> Option<RequestContext> {
        let token = presented.token.map(str::trim).filter(|token| !token.is_empty() && token.len() <= TOKEN_MAX)?;
        let service = presented.service_token.and_then(|token| self.tokens.get(token.trim()));
        let service = service.filter(|mapped| mapped.is_service());
        let is_service = service.is_some();
        let scope = service.map_or_else(Scope::none, MappedToken::service_scope);
        if let Some(mapped) = self.tokens.get(token) {
            let roles = with_implied_roles(&mapped.roles);
            return Some(RequestContext {
                user_id: mapped.user_id.clone(),
                project_id: mapped.project_id.clone(),
                is_admin: false,
                is_service,
                scope,
                roles: roles.into(),
                request_id: request_id.clone(),
            });
        }
        let (user, project) = token.split_once(':').unwrap_or((token, ""));
        if user.is_empty() || token.contains(char::is_control) {
            return None;
        }
        let project_id = if project.is_empty() {
            presented.url_project.map_or_else(|| self.project.clone(), ProjectId::from)
        } else {
            ProjectId::from(project)
        };
        // Longer ids fit no column of any client's database, and PostgreSQL's text has no NUL.
        if project_id.as_str().len() > ID_MAX || project_id.as_str().contains('\0') {
            return None;
        }
        Some(RequestContext {
            user_id: UserId::from(user),
            project_id,
            roles: Arc::clone(&ADMIN),
            is_admin: true,
            is_service,
            scope,
            request_id: request_id.clone(),
        })
    }
}

/// Lower-case roles, with those that Keystone implies.
fn with_implied_roles(roles: &[String]) -> Vec<String> {
    let mut all: Vec<String> = roles.iter().map(|role| role.to_lowercase()).collect();
    for (role, implied) in [("admin", "member"), ("member", "reader")] {
        if all.iter().any(|own| own == role) && !all.iter().any(|own| own == implied) {
            all.push(implied.to_owned());
        }
    }
    all
}

/// Whether a `Host` header names this machine itself: `localhost`, `127.0.0.0/8` or `[::1]`, with or without a port.
/// HTTP/1.0 clients may send none; browsers always send one.
pub fn host_is_loopback(host: Option<&str>) -> bool {
    let Some(host) = host else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || is_port(port) => {
                return address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
            }
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if !port.bytes().all(|byte| byte.is_ascii_digit()) => {
                let _ = name;
                return false;
            }
            Some((name, _)) => name,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(token: Option<&str>, url_project: Option<&str>, expected: Option<(&str, &str, &[&str])>) {
        let mut settings = Noauth { project: ProjectId::from("home"), ..Noauth::default() };
        settings.tokens.insert(
            "reader-token".to_owned(),
            MappedToken {
                user_id: UserId::from("rita"),
                project_id: ProjectId::from("p1"),
                roles: vec!["Reader".to_owned()],
            },
        );
        settings.tokens.insert(
            "member-token".to_owned(),
            MappedToken {
                user_id: UserId::from("mia"),
                project_id: ProjectId::from("p1"),
                roles: vec!["member".to_owned()],
            },
        );
        let context =
            settings.authenticate(Presented { token, url_project, ..Presented::default() }, &RequestId::from("req-x"));
        let found = context.as_ref().map(|context| {
            (
                context.user_id.as_str(),
                context.project_id.as_str(),
                context.roles.iter().map(String::as_str).collect::<Vec<_>>(),
            )
        });
        assert_eq!(found, expected.map(|(user, project, roles)| (user, project, roles.to_vec())), "{token:?}");
    }

    const ADMIN: &[&str] = &["admin", "member", "reader"];

    #[test]
    fn the_token_is_the_identity() {
        check(None, None, None);
        check(Some(""), None, None);
        check(Some("  "), None, None);
        check(Some(":p"), None, None);
        check(Some("a\u{1}b"), None, None);
        check(Some(&"x".repeat(TOKEN_MAX + 1)), None, None);
        check(Some("u:p"), None, Some(("u", "p", ADMIN)));
        check(Some(" u:p "), Some("q"), Some(("u", "p", ADMIN)));
        check(Some("u"), None, Some(("u", "home", ADMIN)));
        check(Some("u:"), None, Some(("u", "home", ADMIN)));
        check(Some("notused"), Some("q"), Some(("notused", "q", ADMIN)));
        check(Some("notused"), None, Some(("notused", "home", ADMIN)));
        check(Some("reader-token"), Some("q"), Some(("rita", "p1", &["reader"])));
        check(Some("member-token"), None, Some(("mia", "p1", &["member", "reader"])));
    }

    #[test]
    fn a_service_token_counts_only_with_the_role() {
        let mut settings = Noauth::default();
        for (token, role) in [("svc", "service"), ("plain", "member")] {
            settings.tokens.insert(
                token.to_owned(),
                MappedToken {
                    user_id: UserId::from("nova"),
                    project_id: ProjectId::from("service"),
                    roles: vec![role.to_owned()],
                },
            );
        }
        let is_service = |service_token| {
            let presented = Presented { token: Some("u:p"), service_token, ..Presented::default() };
            settings.authenticate(presented, &RequestId::from("r")).map(|context| context.is_service)
        };
        assert_eq!(is_service(Some("svc")), Some(true));
        assert_eq!(is_service(Some("plain")), Some(false));
        assert_eq!(is_service(Some("unknown")), Some(false));
        assert_eq!(is_service(None), Some(false));
    }

    #[test]
    fn only_loopback_hosts_are_served() {
        let cases = [
            (None, true),
            (Some("localhost"), true),
            (Some("LOCALHOST:8776"), true),
            (Some("127.0.0.1"), true),
            (Some("127.8.0.1:80"), true),
            (Some("[::1]:8776"), true),
            (Some("[::1]"), true),
            (Some("[::2]"), false),
            (Some("evil.example"), false),
            (Some("localhost.evil.example:8776"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("127.0.0.1:80:90"), false),
            (Some("[::1]evil"), false),
            (Some("10.0.0.1:8776"), false),
            (Some(""), false),
        ];
        for (host, expected) in cases {
            assert_eq!(host_is_loopback(host), expected, "{host:?}");
        }
    }
}
