//! Where log lines go: standard error, one line each; `HEARTH_LOG` filters them by module and level as `RUST_LOG` does
//! elsewhere, until an operator sets other levels.

use std::io;
use std::sync::{Arc, OnceLock};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::Sample;
use super::log_levels::LogLevels;
use super::log_lines::LogLines;

/// The variable that holds the filter.
const FILTER_VARIABLE: &str = "HEARTH_LOG";
/// The level without it.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::INFO;

/// The process's lines.
static LINES: OnceLock<LogLines> = OnceLock::new();
/// The levels that they are judged by.
static LEVELS: OnceLock<Arc<LogLevels>> = OnceLock::new();

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
        let (levels, filter) = LogLevels::new(filter());
        let _ = LEVELS.set(Arc::new(levels));
        let shown = fmt::layer().with_writer(lines.clone()).with_ansi(false);
        // Somebody else (a test) may have installed one already.
        let _ = tracing_subscriber::registry().with(filter).with(shown).try_init();
    }
    Ok(LogGuard(()))
}

/// What the variable says; the default where it says nothing that can be read.
fn filter() -> Targets {
    let text = std::env::var(FILTER_VARIABLE).unwrap_or_default();
    let directives: Vec<&str> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    let default = || Targets::new().with_default(DEFAULT_LEVEL);
    if directives.is_empty() { default() } else { directives.join(",").parse().unwrap_or_else(|_| default()) }
}

/// The levels of this process's lines.
pub fn levels() -> Arc<LogLevels> {
    Arc::clone(LEVELS.get_or_init(Arc::default))
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
