//! Where requests go.

use std::net::{SocketAddr, ToSocketAddrs};

use super::cycle::Service;

/// A base address: `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`, as the Host header says it.
    pub authority: String,
    /// Resolved once: name look-ups are no part of what is measured.
    pub address: SocketAddr,
    /// Without a trailing slash; empty for the root.
    pub path: String,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Another scheme than http.
    #[error("{0:?} does not begin with http:// (for https, put a proxy that ends TLS in front)")]
    Scheme(String),
    /// No host.
    #[error("{0:?} names no host")]
    Host(String),
    /// The name does not resolve.
    #[error("{authority:?} cannot be resolved")]
    Resolve {
        /// Host and port.
        authority: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Endpoint {
    /// Takes an address apart; one without a path gets `default_path`.
    pub fn parse(text: &str, default_path: &str) -> Result<Self, EndpointError> {
        let rest = text.strip_prefix("http://").ok_or_else(|| EndpointError::Scheme(text.to_owned()))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.is_empty() || !authority.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(EndpointError::Host(text.to_owned()));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let reachable = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let resolve = |source| EndpointError::Resolve { authority: authority.to_owned(), source };
        let address = reachable.to_socket_addrs().map_err(resolve)?.next();
        let address = address.ok_or_else(|| resolve(std::io::ErrorKind::NotFound.into()))?;
        let path = match path.trim_end_matches('/') {
            "" => default_path,
            path => path,
        };
        Ok(Self { authority: authority.to_owned(), address, path: path.to_owned() })
    }
}

/// Everything that a request needs besides its step.
#[derive(Clone, Debug)]
pub struct Site {
    /// Block Storage.
    pub block_storage: Endpoint,
    /// Compute.
    pub compute: Endpoint,
    /// Sent with every request: token, microversion.
    pub headers: Vec<(String, String)>,
}

impl Site {
    /// One address for everything, no headers of its own: a bare server, or Hearth itself.
    pub fn bare(address: SocketAddr) -> Self {
        let endpoint = |path: &str| Endpoint { authority: address.to_string(), address, path: path.to_owned() };
        Self { block_storage: endpoint("/v3"), compute: endpoint("/compute/v2.1"), headers: Vec::new() }
    }

    pub(super) fn endpoint(&self, service: Service) -> &Endpoint {
        match service {
            Service::BlockStorage | Service::Root => &self.block_storage,
            Service::Compute => &self.compute,
        }
    }

    pub(super) fn base_path(&self, service: Service) -> &str {
        match service {
            Service::BlockStorage | Service::Compute => &self.endpoint(service).path,
            Service::Root => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (text, authority, address, path) in [
            ("http://127.0.0.1:8776", "127.0.0.1:8776", "127.0.0.1:8776", "/v3"),
            ("http://127.0.0.1:8776/", "127.0.0.1:8776", "127.0.0.1:8776", "/v3"),
            ("http://127.0.0.1/volume/v3/p/", "127.0.0.1", "127.0.0.1:80", "/volume/v3/p"),
            ("http://[::1]:1/x", "[::1]:1", "[::1]:1", "/x"),
            ("http://[::1]", "[::1]", "[::1]:80", "/v3"),
        ] {
            let found = Endpoint::parse(text, "/v3").expect(text);
            assert_eq!((found.authority.as_str(), found.address.to_string().as_str()), (authority, address), "{text}");
            assert_eq!(found.path, path, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, words) in [
            ("https://h/v3", "TLS"),
            ("127.0.0.1:8776", "http://"),
            ("http:///v3", "names no host"),
            ("http://a b/", "names no host"),
        ] {
            let error = Endpoint::parse(text, "/v3").expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
