//! `hearth check-config`: every problem, or what the settings mean.

use std::path::Path;
use std::process::ExitCode;

use super::serve::endpoint;
use super::{with_policy, with_settings};
use crate::policy::live::Status;
use crate::settings::{ComputeMode, Database, DriverSettings, ImageServiceSettings, Settings};

/// Tells every problem with key, reason and origin on stderr; or what is in force on stdout.
pub(super) fn run(file: Option<&Path>) -> ExitCode {
    with_settings(file, |loaded| {
        with_policy(&loaded, |policy| {
            for line in summary(&loaded.settings).into_iter().chain(policy_summary(&policy.status())) {
                println!("{line}");
            }
            ExitCode::SUCCESS
        })
    })
}

fn policy_summary(status: &Status) -> Vec<String> {
    let files: Vec<String> = status.files.iter().map(|file| file.display().to_string()).collect();
    let from = if files.is_empty() { "defaults".to_owned() } else { files.join(", ") };
    let mut lines = vec![format!("  policy       {from}; rules changed: {}", status.policy.overridden())];
    lines.extend(status.policy.warnings().iter().map(|warning| format!("  policy       {warning}")));
    lines
}

/// What an operator wants to see confirmed; never a secret.
fn summary(settings: &Settings) -> Vec<String> {
    let database = match &settings.database {
        Database::Sqlite(path) => format!("sqlite, {}", path.display()),
        Database::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let mut lines = vec![
        "the settings are valid".to_owned(),
        format!("  listens on   {} ({})", endpoint(settings, settings.server.listen), settings.auth.strategy.name()),
        format!("  state        {}", settings.state.path.display()),
        format!("  database     {database}"),
    ];
    for backend in &settings.backends {
        let driver = match backend.driver {
            DriverSettings::File(_) => "file",
            DriverSettings::Sim(_) => "sim",
        };
        lines.push(format!("  backend      {} ({driver}), {}", backend.name, backend.path().display()));
    }
    let images = match &settings.image.service {
        ImageServiceSettings::Embedded(store) => store.path.display().to_string(),
        ImageServiceSettings::Glance(glance) => glance.endpoint.clone(),
        ImageServiceSettings::None => "none".to_owned(),
    };
    lines.push(format!("  images       {images}"));
    let servers = match &settings.compute.mode {
        ComputeMode::Embedded => "Hearth's own".to_owned(),
        ComputeMode::None => "none".to_owned(),
        ComputeMode::External(nova) => {
            format!("of the Nova at {}", nova.endpoint.as_deref().unwrap_or("the address in Keystone's catalogue"))
        }
    };
    lines.push(format!("  servers      {servers}"));
    if settings.backends.is_empty() {
        lines.push("  backends     none: every create ends in status error".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_tells_where_things_are_and_no_password() {
        let environment = vec![("HEARTH__DATABASE__URL".to_owned(), "postgres://u:hunter2@h/d".to_owned())];
        let settings = Settings::load_from(None, environment).expect("valid").settings;
        let text = summary(&settings).join("\n");
        assert!(
            text.contains("127.0.0.1:8776") && text.contains("PostgreSQL") && text.contains("local (file)"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }
}
