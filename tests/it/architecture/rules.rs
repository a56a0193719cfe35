//! What no file may contain.

use std::collections::BTreeSet;

use regex::Regex;

use hearth::telemetry::log_levels::LOGGERS;

use super::code::SourceFile;

/// Lines of one file: one concept that can be seen whole.
pub const FILE_LINES_MAX: usize = 600;

/// Lines of `main.rs`: it only passes its arguments on.
pub const MAIN_LINES_MAX: usize = 80;

/// Occurrences of `pattern` outside of tests, in the files that `applies` selects.
fn occurrences(files: &[SourceFile], pattern: &str, applies: impl Fn(&str) -> bool, why: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).expect("pattern");
    files
        .iter()
        .filter(|file| file.folder().is_some_and(&applies))
        .flat_map(|file| {
            file.find(&pattern)
                .map(|found| format!("{}: {} {why}", file.place(found.start()), found.as_str().trim()))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The core has no I/O, clock, randomness, threads, waiting or unordered maps (whose order would differ between runs).
pub fn pure_core(files: &[SourceFile]) -> Vec<String> {
    let impure = concat!(
        r"\bstd::(?:fs|net|process|thread|env|io)\b|\btokio\b|\bactix\w*\b|\brand\b|\basync\b|\.await\b",
        r"|\bHash(?:Map|Set)\b|\bInstant\b|\bSystemTime\b|\bprintln!|\btracing\b|\bnew_v4\b"
    );
    occurrences(files, impure, |folder| folder == "domain", "in the pure core")
}

/// Everything else would make a replay from its seed differ from the run that failed.
pub fn time_and_randomness(files: &[SourceFile]) -> Vec<String> {
    let sources = concat!(
        r"\bSystemTime::now\b|\bstd::time::Instant::now\b|\bTimestamp::now\b|\bZoned::now\b|\bnew_v4\b|\brand::rng\b",
        r"|\brand::random\b|\bfrom_os_rng\b|\bUtc::now\b|\bthread_rng\b"
    );
    // the command line runs before there is a runtime, and outside of every simulation
    occurrences(files, sources, |folder| !matches!(folder, "runtime" | "cli"), "outside of the runtime")
}

/// `expect` states an invariant; `unwrap` states nothing.
pub fn no_unwrap(files: &[SourceFile]) -> Vec<String> {
    let forbidden = r"\.\s*unwrap(?:_err)?\s*\(\s*\)|\btodo!|\bunimplemented!|\bdbg!";
    occurrences(files, forbidden, |_| true, "outside of tests")
}

/// A test that sleeps is slow on a fast machine and wrong on a slow one. Only helpers that wait for a condition
/// (`wait_…`, `until…`, `eventually…`, `poll_…`) may pause between two looks. In virtual time a sleep takes no time and is
/// exact: folders whose tests start with the clock paused may move it so, but never put a thread to sleep.
pub fn no_sleep(files: &[SourceFile]) -> Vec<String> {
    let sleep = Regex::new(r"\bsleep(?:_until)?\s*\(").expect("pattern");
    let function = Regex::new(r"\bfn\s+(\w+)").expect("pattern");
    let paused: BTreeSet<&str> =
        files.iter().filter(|file| file.code.contains("start_paused")).map(|file| folder_of(&file.path)).collect();
    let mut violations = Vec::new();
    for file in files {
        for found in sleep.find_iter(&file.code).filter(|found| file.is_test_code(found.start())) {
            let before = &file.code[..found.start()];
            // the definition of a helper with this name is no call
            if before.trim_end().ends_with("fn") {
                continue;
            }
            let inside =
                function.captures_iter(before).last().map_or("", |name| name.get(1).map_or("", |m| m.as_str()));
            let virtual_time = paused.contains(folder_of(&file.path)) && !before.ends_with("thread::");
            if !virtual_time && !["wait", "until", "eventually", "poll"].iter().any(|prefix| inside.starts_with(prefix))
            {
                violations
                    .push(format!("{}: {inside} sleeps instead of waiting for a condition", file.place(found.start())));
            }
        }
    }
    violations
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A test that does not run proves nothing.
pub fn no_ignored_tests(files: &[SourceFile]) -> Vec<String> {
    let ignored = Regex::new(r"#\[\s*ignore\b").expect("pattern");
    let mut violations = Vec::new();
    for file in files {
        violations.extend(
            ignored.find_iter(&file.code).map(|found| format!("{}: a test is ignored", file.place(found.start()))),
        );
    }
    violations
}

/// See [`FILE_LINES_MAX`] and [`MAIN_LINES_MAX`].
pub fn file_length(files: &[SourceFile]) -> Vec<String> {
    files
        .iter()
        .filter_map(|file| {
            let lines = file.text.lines().count();
            let most = if file.path == "src/main.rs" { MAIN_LINES_MAX } else { FILE_LINES_MAX };
            (lines > most).then(|| format!("{}: {lines} lines, at most {most}", file.path))
        })
        .collect()
}

/// Each folder of the library opens with what it is for, and with what it must never do or who may call it.
pub fn folder_docs(files: &[SourceFile]) -> Vec<String> {
    const PARAGRAPHS: &str = "\n//!\n//! ";
    files
        .iter()
        .filter(|file| file.path.starts_with("src/") && file.path.ends_with("/mod.rs") && file.depth() == 1)
        .filter(|file| !(file.text.starts_with("//! ") && file.text.contains(PARAGRAPHS)))
        .map(|file| format!("{}: does not open with what the folder is for and what it must never do", file.path))
        .collect()
}

/// Operators set levels by the names of `LOGGERS`: exactly the modules that write lines.
pub fn loggers(files: &[SourceFile]) -> Vec<String> {
    let line = Regex::new(r"\btracing::(?:error|warn|info|debug|trace|event)!").expect("pattern");
    let mut unlisted = Vec::new();
    for file in files.iter().filter(|file| file.folder().is_some()) {
        let Some(found) = file.find(&line).next() else { continue };
        let below = file.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        let module = format!("hearth::{}", below.replace('/', "::"));
        if !LOGGERS.contains(&module.as_str()) {
            unlisted.push(format!("{}: {module} is not in LOGGERS", file.place(found.start())));
        }
    }
    unlisted
}
