//! `hearth actors list|show`: what the running service says of its actors, asked over its own API.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::settings::{AuthStrategy, Settings};

/// The service answers these questions without waiting for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer larger than this is not one of ours.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;
/// Actors in one question; more are asked for in pages.
const PAGE: usize = 1_000;
/// The token of who asks, if the service cannot be asked without the operator's help.
const TOKEN_VARIABLE: &str = "HEARTH_TOKEN";

/// Arguments of `hearth actors`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) file: super::ConfigFile,
    #[command(subcommand)]
    pub(super) action: Action,
}

/// What to ask.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// One line for each active volume: id, state, status, generation, requests, restarts, operations.
    List,
    /// Everything about one volume's actor, with its last commands, as JSON.
    Show {
        /// The volume.
        volume_id: uuid::Uuid,
    },
}

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

/// Asks and prints.
pub(super) fn run(settings: &Settings, action: &Action) -> ExitCode {
    super::outcome(asked(settings, action))
}

fn asked(settings: &Settings, action: &Action) -> Result<(), AskError> {
    let service = Service { address: reachable(settings.server.listen), token: token(settings)? };
    match action {
        Action::List => list(&service),
        Action::Show { volume_id } => {
            let answer = service.ask(&format!("/admin/actors/{volume_id}"))?;
            print(&format!("{:#}\n", answer["actor"]));
            Ok(())
        }
    }
}

/// Where the service is, and who asks it.
struct Service {
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

fn list(service: &Service) -> Result<(), AskError> {
    let mut marker = String::new();
    loop {
        let answer = service.ask(&format!("/admin/actors?limit={PAGE}{marker}"))?;
        let Some(actors) = answer["actors"].as_array() else { return Err(AskError::Answer(service.address)) };
        let lines: String = actors.iter().map(line).collect();
        print(&lines);
        match actors.last().and_then(|last| last["volume_id"].as_str()) {
            Some(last) if actors.len() == PAGE => marker = format!("&marker={last}"),
            _ => return Ok(()),
        }
    }
}

fn line(actor: &Value) -> String {
    let text = |name: &str| actor[name].as_str().unwrap_or("-").to_owned();
    let operations: Vec<&str> =
        actor["operations"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!(
        "{} {} {} generation {} admitted {} restarts {} {}\n",
        text("volume_id"),
        text("state"),
        text("status"),
        actor["generation"],
        actor["admitted"],
        actor["restarts"],
        if operations.is_empty() { "-".to_owned() } else { operations.join(", ") },
    )
}

/// A service that listens everywhere is asked at home.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        other => other,
    }
}

impl Service {
    /// `GET path`. HTTP/1.0, so that the answer ends with the connection.
    fn ask(&self, path: &str) -> Result<Value, AskError> {
        let Self { address, token } = self;
        let address = *address;
        let exchange = || -> io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nX-Auth-Token: {token}\r\n\r\n")?;
            let mut answer = String::new();
            stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().map_err(|source| AskError::Connect { address, source })?;
        let (status, body) = parse(&answer).ok_or(AskError::Answer(address))?;
        if status == 200 {
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
    Some((status, serde_json::from_str(body).ok()?))
}

fn print(text: &str) {
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
