//! Where log lines go: standard error, one line each; `HEARTH_LOG` filters them as `RUST_LOG` does elsewhere.

use std::io;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use super::Sample;
use super::log_lines::LogLines;

/// The variable that holds the filter.
const FILTER_VARIABLE: &str = "HEARTH_LOG";
/// The filter without it.
const DEFAULT_FILTER: &str = "info";

/// The process's lines.
static LINES: OnceLock<LogLines> = OnceLock::new();

/// Writes the last lines when it is dropped.
#[must_use = "the last lines are written when it is dropped"]
pub struct LogGuard(());

impl Drop for LogGuard {
    fn drop(&mut self) {
        flush();
    }
}

/// Installs the subscriber; a second call changes nothing. Fails if there can be no more threads.
pub fn init() -> io::Result<LogGuard> {
    if LINES.get().is_none() {
        // standard error has no buffer of its own
        let lines = LogLines::write_to(io::stderr())?;
        let lines = LINES.get_or_init(|| lines);
        let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
        // Somebody else (a test) may have installed one already.
        let _ =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone()).with_ansi(false).try_init();
    }
    Ok(LogGuard(()))
}

/// Waits until every line is written, but not for long. For ends of the process that drop no guard.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// What is to be seen of the log at this instant.
pub fn samples() -> Vec<Sample> {
    LINES.get().map(LogLines::samples).unwrap_or_default()
}
