//! Access rules of application credentials: what a token may be used for at all.

use regex::Regex;
use serde::Deserialize;

/// One rule: a call that is allowed.
#[derive(Debug)]
pub(super) struct AccessRule {
    service: String,
    method: String,
    /// None: a path that cannot be matched allows nothing.
    path: Option<Regex>,
}

/// A rule as Keystone writes it.
#[derive(Deserialize)]
pub(super) struct Shown {
    pub(super) service: String,
    method: String,
    path: String,
}

impl From<Shown> for AccessRule {
    fn from(shown: Shown) -> Self {
        Self { service: shown.service, method: shown.method, path: pattern(&shown.path) }
    }
}

impl AccessRule {
    /// Whether the rule allows this call to a service that is known by these types.
    pub(super) fn allows(&self, method: &str, path: &str, service_types: &[&str]) -> bool {
        self.method == method
            && service_types.contains(&self.service.as_str())
            && self.path.as_ref().is_some_and(|pattern| pattern.is_match(path))
    }
}

/// `*` and `{name}` stand for one segment or a part of it, `**` for anything. The expression takes linear time, whatever users
/// write into their rules.
fn pattern(path: &str) -> Option<Regex> {
    let mut expression = String::from("^");
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let (matched, length) = match first {
            '*' if rest.starts_with("**") => (".*".to_owned(), 2),
            '*' => ("[^/]+".to_owned(), 1),
            '{' => match rest.find('}') {
                Some(end) => ("[^/]+".to_owned(), end + 1),
                None => return None,
            },
            literal => (regex::escape(literal.encode_utf8(&mut [0; 4])), literal.len_utf8()),
        };
        expression.push_str(&matched);
        rest = &rest[length..];
    }
    expression.push('$');
    Regex::new(&expression).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: &str, path: &str, expected: bool) {
        let found = pattern(rule).is_some_and(|pattern| pattern.is_match(path));
        assert_eq!(found, expected, "{rule} {path}");
    }

    #[test]
    fn paths() {
        check("/v3/volumes", "/v3/volumes", true);
        check("/v3/volumes", "/v3/volumes/", false);
        check("/v3/volumes", "/a/v3/volumes", false);
        check("/v3/*/volumes", "/v3/p/volumes", true);
        check("/v3/*/volumes", "/v3/p/q/volumes", false);
        check("/v3/*/volumes", "/v3//volumes", false);
        check("/v3/{project_id}/volumes/{id}", "/v3/p/volumes/v", true);
        check("/v3/{project_id}/volumes/{id}", "/v3/p/volumes/v/action", false);
        check("/v3/**", "/v3/p/volumes/v/action", true);
        check("/v3/**", "/v3/", true);
        check("/v3/**/action", "/v3/p/volumes/v/action", true);
        check("/v3/**/action", "/v3/p/volumes/v", false);
        check("/v3/vol*", "/v3/volumes", true);
        check("/v3/volume.", "/v3/volumes", false);
        check("/v3/(a|b)+", "/v3/(a|b)+", true);
        check("/v3/(a|b)+", "/v3/ab", false);
        check("/v3/{id", "/v3/{id", false);
        check("/v3/ü*", "/v3/üx", true);
        check("", "/", false);
    }

    #[test]
    fn service_and_method_must_be_the_rules() {
        let shown =
            |service: &str| Shown { service: service.to_owned(), method: "GET".to_owned(), path: "/v3/**".to_owned() };
        let rule = AccessRule::from(shown("volumev3"));
        assert!(rule.allows("GET", "/v3/volumes", &["block-storage", "volumev3"]));
        assert!(!rule.allows("POST", "/v3/volumes", &["block-storage", "volumev3"]));
        assert!(!rule.allows("GET", "/v3/volumes", &["compute"]));
        assert!(!rule.allows("GET", "/v3/volumes", &[]));
    }
}
