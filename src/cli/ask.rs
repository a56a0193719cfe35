//! Commands that ask the running service, over its own API.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::settings::{AuthStrategy, Settings};

/// The service answers these questions without waiting for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer larger than this is not one of ours.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;
/// The token of who asks, if the service cannot be asked without the operator's help.
const TOKEN_VARIABLE: &str = "HEARTH_TOKEN";

/// The service cannot be asked, or refuses.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens, or the connection broke.
    #[error("cannot ask the service at {address}")]
    Connect {
        /// `server.listen`.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no token to ask with.
    #[error("a token of an administrator is needed, in the environment variable {TOKEN_VARIABLE}")]
    NoToken,
    /// The identity service's files.
    #[error(transparent)]
    Identity(#[from] crate::identity::local::FileError),
    /// Not an answer of this service.
    #[error("the answer of {0} is not understood")]
    Answer(SocketAddr),
    /// A refusal.
    #[error("{message} (HTTP {status})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The fault's words.
        message: String,
    },
}

/// Where the service is, and who asks it.
pub(super) struct Running {
    address: SocketAddr,
    token: String,
}

/// What the environment says; else what somebody has who may read the service's own files.
fn token(settings: &Settings) -> Result<String, AskError> {
    if let Ok(token) = std::env::var(TOKEN_VARIABLE) {
        return Ok(token);
    }
    match settings.auth.strategy {
        // it takes `user:project`, and everybody is an administrator
        AuthStrategy::Noauth => Ok("hearth:admin".to_owned()),
        AuthStrategy::Local => {
            let local = super::auth::open_local(&settings.auth, String::new())?;
            local.operator_token().ok_or(AskError::NoToken)
        }
        _ => Err(AskError::NoToken),
    }
}

/// A service that listens everywhere is asked at home.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        other => other,
    }
}

impl Running {
    /// The service of these settings.
    pub(super) fn of(settings: &Settings) -> Result<Self, AskError> {
        Ok(Self { address: reachable(settings.server.listen), token: token(settings)? })
    }

    /// What it says is not what it should.
    pub(super) const fn not_understood(&self) -> AskError {
        AskError::Answer(self.address)
    }

    /// `GET path`.
    pub(super) fn get(&self, path: &str) -> Result<Value, AskError> {
        self.ask("GET", path, None)
    }

    /// Any call: its answer, null if that has no body. HTTP/1.0, so that the answer ends with the connection.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, AskError> {
        let Self { address, token } = self;
        let address = *address;
        let body = body.map(Value::to_string).unwrap_or_default();
        let exchange = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nX-Auth-Token: {token}\r\n")?;
            if !body.is_empty() {
                write!(stream, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())?;
            }
            write!(stream, "\r\n{body}")?;
            let mut answer = String::new();
            stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().map_err(|source| AskError::Connect { address, source })?;
        let (status, body) = parse(&answer).ok_or(AskError::Answer(address))?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        // A fault is one member of any name which holds the message.
        let fault = body.as_object().and_then(|members| members.values().next()).unwrap_or(&Value::Null);
        Err(AskError::Refused { status, message: fault["message"].as_str().unwrap_or_default().to_owned() })
    }
}

fn parse(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_str(body).ok()? };
    Some((status, body))
}

/// Prints.
pub(super) fn print(text: &str) {
    // a reader that has seen enough (`| head`) is no failure
    let _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let found = parse("HTTP/1.0 404 Not Found\r\nx: y\r\n\r\n{\"itemNotFound\":{\"code\":404}}");
        assert_eq!(found, Some((404, serde_json::json!({"itemNotFound": {"code": 404}}))));
        assert_eq!(parse("HTTP/1.0 204 No Content\r\n\r\n"), Some((204, Value::Null)));
        for other in ["", "HTTP/1.1 200 OK\r\n\r\n<html>", "SSH-2.0\r\n\r\n{}", "HTTP/1.1\r\n\r\n{}"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_service_that_listens_everywhere_is_asked_at_home() {
        for (listen, asked) in
            [("0.0.0.0:8776", "127.0.0.1:8776"), ("[::]:8776", "[::1]:8776"), ("127.0.0.2:1", "127.0.0.2:1")]
        {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), asked);
        }
    }
}
