//! `hearth host list|show|fence|unfence`: what a host has, and the word that it is dead.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ask::{AskError, Running, print};
use crate::api::percent;
use crate::settings::Settings;

/// Between two looks at what is left.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// The hosts that are fenced: name, since when, proof.
    List,
    /// What a host has, as JSON.
    Show {
        /// As in `connector.host`, and as servers have it.
        name: String,
    },
    /// Say that a host is dead: it is given nothing any more, and what it has is released. Waits until nothing is left.
    Fence {
        /// As in `connector.host`, and as servers have it.
        name: String,
        /// How it is known that the host reaches no storage: `powered off by ipmi, ticket 4711`. Kept in every volume's history.
        #[arg(long)]
        proof: String,
        /// Seconds to wait; what is left then is released all the same.
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
    /// Take a host back that has been fenced.
    Unfence {
        /// Its name.
        name: String,
    },
}

/// Why it is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The service.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The time is over.
    #[error("{left} volumes of host {host} are not released yet; the service goes on (hearth host show {host})")]
    Left {
        /// The host.
        host: String,
        /// How many.
        left: usize,
    },
}

/// Asks and prints.
pub(super) fn run(settings: &Settings, action: &Action) -> ExitCode {
    super::outcome(asked(settings, action))
}

fn asked(settings: &Settings, action: &Action) -> Result<(), HostError> {
    let service = Running::of(settings)?;
    let path = |name: &str| format!("/admin/hosts/{}", percent::encode(name));
    match action {
        Action::List => {
            let answer = service.get("/admin/hosts")?;
            let hosts = answer["hosts"].as_array().ok_or_else(|| service.not_understood())?;
            print(&hosts.iter().map(line).collect::<String>());
        }
        Action::Show { name } => print(&format!("{:#}\n", service.get(&path(name))?["host"])),
        Action::Fence { name, proof, wait } => {
            let before = volumes(&service.get(&path(name))?, &service)?;
            service.ask("PUT", &format!("{}/fence", path(name)), Some(&json!({"fence": {"proof": proof}})))?;
            let deadline = Instant::now() + Duration::from_secs(*wait);
            loop {
                let left = volumes(&service.get(&path(name))?, &service)?;
                if left == 0 {
                    print(&format!("{name} is fenced: {before} volumes released\n"));
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    return Err(HostError::Left { host: name.clone(), left });
                }
                pause();
            }
        }
        Action::Unfence { name } => {
            service.ask("DELETE", &format!("{}/fence", path(name)), None)?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the command's only thread has nothing else to do")]
fn pause() {
    std::thread::sleep(LOOK_AGAIN);
}

/// How many volumes the host has something of.
fn volumes(answer: &Value, service: &Running) -> Result<usize, AskError> {
    answer["host"]["volumes"].as_array().map(Vec::len).ok_or_else(|| service.not_understood())
}

fn line(host: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let fence = &host["fence"];
    format!("{} since {}: {}\n", text(&host["name"]), text(&fence["fenced_at"]), text(&fence["proof"]))
}
