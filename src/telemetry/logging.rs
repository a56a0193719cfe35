//! Where log lines go: standard error, one line each; `HEARTH_LOG` filters them as `RUST_LOG` does elsewhere.

use tracing_subscriber::EnvFilter;

/// The variable that holds the filter.
const FILTER_VARIABLE: &str = "HEARTH_LOG";
/// The filter without it.
const DEFAULT_FILTER: &str = "info";

/// Installs the subscriber; a second call changes nothing.
pub fn init() {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // Somebody else (a test) may have installed one already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}
