//! Which lines are written: a level for each module that writes any, which can change while the process runs.
//!
//! Levels have the names that OpenStack's operators know. `CRITICAL` silences a module: nothing here is worse than an error.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::reload;

/// The modules that write lines, by the names that `HEARTH_LOG` and operators have for them. A test compares the list with
/// the source.
pub const LOGGERS: &[&str] = &[
    "hearth::actors::core",
    "hearth::actors::fences",
    "hearth::actors::guests",
    "hearth::actors::hosts",
    "hearth::actors::server",
    "hearth::actors::server::records",
    "hearth::actors::server_actions",
    "hearth::actors::volume::commit",
    "hearth::actors::volume",
    "hearth::cli::reload",
    "hearth::cli::serve",
    "hearth::compute::nova",
    "hearth::drivers::file::daemon",
    "hearth::drivers::file::exports",
    "hearth::drivers::file::fill",
    "hearth::drivers::file::images",
    "hearth::drivers::file::make",
    "hearth::drivers::file::mirror",
    "hearth::drivers::file::moves",
    "hearth::drivers::file::snapshots",
    "hearth::drivers::file::supervisor",
    "hearth::drivers::file::target",
    "hearth::drivers::hypervisor::qmp::follow",
    "hearth::drivers::hypervisor::qmp::guest",
    "hearth::drivers::hypervisor::qmp",
    "hearth::drivers::hypervisor::qmp::moves",
    "hearth::drivers::hypervisor::qmp::plug",
    "hearth::drivers::pool::actor",
    "hearth::drivers::qmp",
    "hearth::drivers::qmp_features",
    "hearth::drivers::sim::process",
    "hearth::drivers::sim::remote",
    "hearth::drivers::sim::truth",
    "hearth::identity::keystone::client",
    "hearth::identity::keystone::login",
    "hearth::identity::keystone",
    "hearth::identity::basic",
    "hearth::identity::local",
    "hearth::images::convert::child",
    "hearth::images::convert::reader",
    "hearth::images::directory::files",
    "hearth::images::directory",
    "hearth::images::directory::upload",
    "hearth::images::glance::http",
    "hearth::images::glance",
    "hearth::sim::world",
    "hearth::store::checkpoint",
    "hearth::telemetry::request_log",
];

/// Names of levels, each followed by the other words for it.
const NAMES: &[(LevelFilter, &[&str])] = &[
    (LevelFilter::DEBUG, &["DEBUG"]),
    (LevelFilter::INFO, &["INFO"]),
    (LevelFilter::WARN, &["WARNING", "WARN"]),
    (LevelFilter::ERROR, &["ERROR"]),
    (LevelFilter::OFF, &["CRITICAL"]),
];

/// The level that an operator calls so, in any case.
pub fn level_named(name: &str) -> Option<LevelFilter> {
    NAMES.iter().find(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name))).map(|(level, _)| *level)
}

/// The name that operators see. `TRACE` is only reached by the variable.
fn level_name(level: LevelFilter) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == level).map_or("TRACE", |(_, names)| names[0])
}

/// The levels in force.
#[derive(Debug)]
pub struct LogLevels {
    targets: Mutex<Targets>,
    filter: reload::Handle<Targets, Registry>,
}

impl Default for LogLevels {
    /// Levels that nobody's lines are judged by.
    fn default() -> Self {
        Self::new(Targets::new().with_default(LevelFilter::INFO)).0
    }
}

impl LogLevels {
    /// Levels that begin as `targets`, and the layer that judges lines by them.
    pub fn new(targets: Targets) -> (Self, reload::Layer<Targets, Registry>) {
        let (layer, filter) = reload::Layer::new(targets.clone());
        (Self { targets: Mutex::new(targets), filter }, layer)
    }

    /// The level of every logger whose name begins with `prefix`.
    pub fn levels(&self, prefix: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        let targets = self.lock().clone();
        let meant = LOGGERS.iter().filter(move |logger| logger.starts_with(prefix));
        meant.map(move |logger| (*logger, level_name(level_of(&targets, logger))))
    }

    /// Gives every logger whose name begins with `prefix` this level; an empty one means libraries too.
    pub fn set(&self, prefix: &str, level: LevelFilter) {
        let mut targets = self.lock();
        let mut next = Targets::new();
        if prefix.is_empty() {
            next = next.with_default(level);
        } else {
            // each gets a directive of its own: one of a name that others begin with would speak of these too
            next = next.with_default(targets.default_level().unwrap_or(LevelFilter::OFF)).with_targets(targets.iter());
            next.extend(
                LOGGERS.iter().map(|logger| {
                    (*logger, if logger.starts_with(prefix) { level } else { level_of(&targets, logger) })
                }),
            );
        }
        targets.clone_from(&next);
        // fails when the subscriber is gone, and with it everything that could be judged
        let _ = self.filter.reload(next);
    }

    fn lock(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The level down to which `logger` writes.
fn level_of(targets: &Targets, logger: &str) -> LevelFilter {
    const DOWNWARDS: [Level; 5] = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
    let lowest = DOWNWARDS.into_iter().find(|level| targets.would_enable(logger, level));
    lowest.map_or(LevelFilter::OFF, LevelFilter::from_level)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(text);
            Ok(text.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Page {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().expect("whole"))).expect("text")
        }
    }

    /// A line of each of three loggers, one's name being the beginning of another's, and of a library.
    fn speak() {
        tracing::info!(target: "hearth::drivers::qmp", "one");
        tracing::debug!(target: "hearth::drivers::qmp_features", "two");
        tracing::error!(target: "hearth::store::checkpoint", "three");
        tracing::warn!(target: "library::part", "four");
    }

    #[test]
    fn what_is_set_is_what_is_written() {
        let (levels, layer) = LogLevels::new("warn,hearth::drivers=info".parse().expect("a filter"));
        let page = Page::default();
        let writer = page.clone();
        let lines = fmt::layer().with_writer(move || writer.clone()).without_time().with_ansi(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer).with(lines), || {
            let words = |expected: &str| {
                speak();
                let text = page.take();
                let said = text.lines().filter_map(|line| line.rsplit(' ').next()).collect::<Vec<_>>().join(" ");
                assert_eq!(said, expected, "{text}");
            };
            words("one three four");
            levels.set("hearth::drivers::qmp_features", LevelFilter::DEBUG);
            words("one two three four");
            levels.set("hearth::store", LevelFilter::OFF);
            words("one two four");
            levels.set("hearth::drivers::qmp", LevelFilter::ERROR);
            words("four");
            levels.set("library", LevelFilter::OFF);
            words("four");
            levels.set("", LevelFilter::DEBUG);
            words("one two three four");
            levels.set("", LevelFilter::ERROR);
            words("three");
        });
    }

    #[test]
    fn what_is_set_is_shown() {
        let levels = LogLevels::new("error,hearth::store=trace".parse().expect("a filter")).0;
        let shown = |prefix: &str| levels.levels(prefix).collect::<Vec<_>>();
        assert_eq!(shown("").len(), LOGGERS.len());
        assert_eq!(shown("hearth::store"), [("hearth::store::checkpoint", "TRACE")]);
        assert_eq!(shown("hearth::telemetry"), [("hearth::telemetry::request_log", "ERROR")]);
        for (word, name) in [("warn", "WARNING"), ("Debug", "DEBUG"), ("critical", "CRITICAL")] {
            levels.set("hearth::tele", level_named(word).expect("a level"));
            assert_eq!(shown("hearth::telemetry"), [("hearth::telemetry::request_log", name)]);
        }
        assert_eq!(shown("hearth::store"), [("hearth::store::checkpoint", "TRACE")]);
        assert_eq!(shown("cinder"), []);
        assert_eq!(["", "TRACE", "0", "OFF", "WARNIN"].map(level_named), [None; 5]);
    }
}
