//! `hearth daemons list|stop`: the storage daemons, which outlive the service.

use std::process::ExitCode;

use super::parts;
use crate::settings::Settings;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// One line for each daemon that runs: backend, index (or `target`), pid, exports.
    List,
    /// End every daemon; refused for one that serves an export.
    Stop,
}

/// Lists or stops.
pub(super) fn run(settings: &Settings, action: &Action) -> ExitCode {
    actix_web::rt::System::new().block_on(async {
        let parts = match parts::open(settings) {
            Ok(parts) => parts,
            Err(error) => {
                eprintln!("hearth: {error}");
                return ExitCode::FAILURE;
            }
        };
        let mut code = ExitCode::SUCCESS;
        for (name, backend) in &parts.files {
            for daemon in backend.daemons().await {
                match action {
                    Action::List => {
                        let exports = daemon.exports.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
                        println!("{name} {} pid {} exports {exports}", daemon.kind, daemon.pid);
                    }
                    Action::Stop => match backend.stop_daemon(daemon.kind).await {
                        Ok(()) => println!("{name} {} stopped", daemon.kind),
                        Err(error) => {
                            eprintln!("hearth: {name} {}: {error}", daemon.kind);
                            code = ExitCode::FAILURE;
                        }
                    },
                }
            }
        }
        code
    })
}
