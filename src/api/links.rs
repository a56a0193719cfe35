//! The links in answers (errors-and-http §7): where this service is, as the client sees it.

use serde::Serialize;

use super::percent;

/// One link of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// `self` or `bookmark`.
    pub rel: &'static str,
    /// Where it leads.
    pub href: String,
}

/// The base of all links of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// Scheme, host and path prefix, without a slash at the end.
    pub base: String,
    /// `/v3`, or `/compute/v2.1`.
    pub service: &'static str,
    /// The project, exactly when the request's URL has it.
    pub project: Option<String>,
}

impl Links {
    /// The base: `public_endpoint` if it is set, else scheme and host of the request; the last element of
    /// `X-Forwarded-Host` replaces the host.
    pub fn base_of(public_endpoint: Option<&str>, scheme: &str, host: &str, forwarded_host: Option<&str>) -> String {
        if let Some(endpoint) = public_endpoint {
            return endpoint.trim_end_matches('/').to_owned();
        }
        let forwarded = forwarded_host.and_then(|list| list.rsplit(',').next()).map(str::trim);
        format!("{scheme}://{}", forwarded.filter(|host| !host.is_empty()).unwrap_or(host))
    }

    fn project_part(&self) -> String {
        self.project.as_deref().map(|project| format!("/{}", percent::encode(project))).unwrap_or_default()
    }

    /// The URL of a collection or object under this service.
    pub fn href(&self, path: &str) -> String {
        format!("{}{}{}/{path}", self.base, self.service, self.project_part())
    }

    /// `self` and `bookmark` of one object.
    pub fn of(&self, collection: &str, id: &str) -> [Link; 2] {
        let prefix = self.service.rsplit_once('/').map_or("", |(prefix, _)| prefix);
        let project = self.project_part();
        let href = |service: &str| [&self.base, service, &project, "/", collection, "/", id].concat();
        [Link { rel: "self", href: href(self.service) }, Link { rel: "bookmark", href: href(prefix) }]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_base_follows_settings_then_proxies_then_the_host() {
        assert_eq!(Links::base_of(Some("https://c.example/vol/"), "http", "h:1", Some("x")), "https://c.example/vol");
        assert_eq!(Links::base_of(None, "http", "h:1", None), "http://h:1");
        assert_eq!(Links::base_of(None, "http", "h:1", Some("a, b")), "http://b");
        assert_eq!(Links::base_of(None, "http", "h:1", Some("")), "http://h:1");
    }

    #[test]
    fn the_project_is_in_links_exactly_when_it_is_in_the_url() {
        let mut links = Links { base: "http://h".to_owned(), service: "/v3", project: Some("p 1".to_owned()) };
        assert_eq!(
            json!(links.of("volumes", "x")),
            json!([{"rel": "self", "href": "http://h/v3/p%201/volumes/x"},
                   {"rel": "bookmark", "href": "http://h/p%201/volumes/x"}])
        );
        links.project = None;
        assert_eq!(
            json!(links.of("volumes", "x")),
            json!([{"rel": "self", "href": "http://h/v3/volumes/x"}, {"rel": "bookmark", "href": "http://h/volumes/x"}])
        );
        links.service = "/compute/v2.1";
        assert_eq!(links.of("servers", "s")[1].href, "http://h/compute/servers/s");
    }
}
