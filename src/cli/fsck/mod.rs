//! `hearth fsck`: compares records, backends and guests, and tells each difference. It changes none of them; while no service
//! runs it only puts into the tables what the last one left in the journal.
//!
//! [`compare`] is the pure comparison, [`survey`] reads what it compares. The service may run meanwhile: a difference counts
//! only if two surveys in a row show it, and one that an open operation explains is marked as such.

pub mod compare;
pub mod survey;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

pub use compare::{Difference, Finding, Survey, differences};
pub use survey::{Sources, SurveyError};

use super::state_dir::{StateDir, StateDirError};
use crate::settings::Settings;
use crate::store::{self, Store, StoreOptions};

/// Arguments of `hearth fsck`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    pub(super) file: super::ConfigFile,
    /// Print each difference as one line of JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Exit code when records, backends and guests do not agree.
const EXIT_DIFFERENCES: u8 = 3;
/// Exit code when they could not be compared.
const EXIT_FAILED: u8 = 1;

/// Compares and reports.
pub(super) fn run(settings: &Settings, json: bool) -> ExitCode {
    let checked = actix_web::rt::System::new().block_on(async {
        let parts = super::parts::open(settings).map_err(|error| error.to_string())?;
        let store = open_records(settings)?;
        let sources = Sources {
            store,
            backends: parts.backends.into_iter().map(|(name, backend, _)| (name, backend)).collect(),
            hypervisors: parts.hypervisors.into_iter().map(|(kind, hypervisor, _)| (kind, hypervisor)).collect(),
        };
        check(&sources).await.map_err(|error| error.to_string())
    });
    match checked.map(|differences| report(&differences, json)) {
        Ok(Ok(false)) => ExitCode::SUCCESS,
        Ok(Ok(true)) => ExitCode::from(EXIT_DIFFERENCES),
        Ok(Err(error)) => {
            eprintln!("hearth: cannot print the differences: {error}");
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            eprintln!("hearth: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The records, to be read only.
fn open_records(settings: &Settings) -> Result<Arc<dyn Store>, String> {
    let url = settings.database.url();
    match StateDir::open(&settings.state.path, &settings.state.socket_dir()) {
        // nobody serves: held for this moment only
        Ok(_state) => store::recover(&url).map_err(|error| error.to_string())?,
        Err(StateDirError::Held { .. }) => {}
        Err(error) => return Err(error.to_string()),
    }
    let options = StoreOptions { observer: true, ..StoreOptions::default() };
    store::open(&url, options).map_err(|error| error.to_string())
}

/// Surveys twice and gives the differences that both surveys show, in the order of the second.
pub async fn check(sources: &Sources) -> Result<Vec<Difference>, SurveyError> {
    let first = differences(&sources.survey().await?);
    if first.is_empty() {
        return Ok(first);
    }
    let second = differences(&sources.survey().await?);
    Ok(lasting(&first, second))
}

/// What `second` still shows of `first`. A volume that is created, grown or detached between the reading of its record and
/// of its backend differs for a moment; its record does not look the same twice.
fn lasting(first: &[Difference], second: Vec<Difference>) -> Vec<Difference> {
    second.into_iter().filter(|difference| first.contains(difference)).collect()
}

/// Prints the differences: as JSON, one line each, or for people. Says whether there is one that nothing explains.
pub fn report(differences: &[Difference], json: bool) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    for difference in differences {
        if json {
            serde_json::to_writer(&mut out, difference)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{difference}")?;
        }
    }
    let unexplained = differences.iter().filter(|difference| difference.explained_by.is_none()).count();
    if !json {
        writeln!(out, "{unexplained} differences, {} explained by open work", differences.len() - unexplained)?;
    }
    out.flush()?;
    Ok(unexplained > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backend::{Cause, CauseKind};

    fn unreadable(host: &str) -> Difference {
        let cause = Cause::new(CauseKind::Unavailable, "gone");
        Difference {
            finding: Finding::BackendUnreadable { host: host.to_owned(), cause: cause.text },
            explained_by: None,
        }
    }

    #[test]
    fn only_what_two_surveys_show_is_a_difference() {
        let lasting = lasting(&[unreadable("a"), unreadable("b")], vec![unreadable("b"), unreadable("c")]);
        assert_eq!(lasting, [unreadable("b")]);
    }
}
