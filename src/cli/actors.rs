//! `hearth actors list|show`: what the running service says of its actors.

use std::process::ExitCode;

use serde_json::Value;

use super::ask::{AskError, Running, print};
use crate::settings::Settings;

/// Actors in one question; more are asked for in pages.
const PAGE: usize = 1_000;

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

/// Asks and prints.
pub(super) fn run(settings: &Settings, action: &Action) -> ExitCode {
    super::outcome(asked(settings, action))
}

fn asked(settings: &Settings, action: &Action) -> Result<(), AskError> {
    let service = Running::of(settings)?;
    match action {
        Action::List => list(&service),
        Action::Show { volume_id } => {
            let answer = service.get(&format!("/admin/actors/{volume_id}"))?;
            print(&format!("{:#}\n", answer["actor"]));
            Ok(())
        }
    }
}

fn list(service: &Running) -> Result<(), AskError> {
    let mut marker = String::new();
    loop {
        let answer = service.get(&format!("/admin/actors?limit={PAGE}{marker}"))?;
        let Some(actors) = answer["actors"].as_array() else { return Err(service.not_understood()) };
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
