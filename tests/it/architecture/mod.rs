//! The rules of the house (`docs/architecture.md`), held by reading the source: which folder may know which, where a
//! foreign crate may be named, and what no file may contain.
//!
//! Each rule is a function from sources to violations, so that it can be shown both to pass on the house and to fail on a
//! made-up file that breaks it.

mod code;
mod edges;
mod rules;

use code::SourceFile;

#[track_caller]
fn holds(rule: fn(&[SourceFile]) -> Vec<String>) {
    let files = code::house();
    assert!(files.len() > 30, "only {} files were read", files.len());
    let violations = rule(&files);
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// Breaks the rule in one made-up file.
#[track_caller]
fn fails(rule: fn(&[SourceFile]) -> Vec<String>, path: &str, text: &str) {
    let violations = rule(&[SourceFile::new(path, text)]);
    assert_eq!(violations.len(), 1, "{path} with {text:?}: {violations:?}");
    assert!(violations[0].starts_with(path), "{}", violations[0]);
}

#[track_caller]
fn passes(rule: fn(&[SourceFile]) -> Vec<String>, path: &str, text: &str) {
    let violations = rule(&[SourceFile::new(path, text)]);
    assert!(violations.is_empty(), "{path} with {text:?}: {violations:?}");
}

#[test]
fn folders_depend_downwards_only() {
    holds(edges::folders);
    fails(edges::folders, "src/domain/x.rs", "use crate::store::Store;");
    fails(edges::folders, "src/domain/x.rs", "fn f() { crate::runtime::g() }");
    fails(edges::folders, "src/store/x.rs", "use crate::{domain::ids::VolumeId, actors::Service};");
    fails(edges::folders, "src/store/queries/x.rs", "use super::super::super::api::Fault;");
    fails(edges::folders, "src/store/mod.rs", "use super::api::Fault;");
    fails(edges::folders, "src/api/v3/x.rs", "use crate::drivers;");
    fails(edges::folders, "src/newcomer/x.rs", "use crate::domain;");
    fails(edges::folders, "src/main.rs", "use hearth::store::Store;");
    passes(
        edges::folders,
        "src/store/queries/x.rs",
        "use super::super::rows; use crate::{domain::{ids, time}, runtime};",
    );
    passes(edges::folders, "src/domain/x.rs", "// crate::store is not for us\nconst A: &str = \"crate::store\";");
    passes(edges::folders, "src/domain/x.rs", "#[cfg(test)]\nmod tests { use crate::store::Store; }");
}

#[test]
fn a_folder_without_a_place_in_the_table_is_found() {
    fails(edges::folders, "src/newcomer/mod.rs", "use crate::domain;");
}

#[test]
fn foreign_crates_are_named_only_where_they_belong() {
    holds(edges::crates);
    fails(edges::crates, "src/api/v3/x.rs", "use diesel::prelude::*;");
    fails(edges::crates, "src/store/x.rs", "fn f(a: &actix::Addr<A>) {}");
    fails(edges::crates, "src/actors/x.rs", "use actix_web::web;");
    fails(edges::crates, "src/actors/x.rs", "use qapi::qmp;");
    passes(edges::crates, "src/store/x.rs", "use diesel::prelude::*;");
    passes(edges::crates, "src/store/x.rs", "use crate::diesel_helpers::x; let my_diesel = 1;");
}

#[test]
fn the_core_is_pure() {
    holds(rules::pure_core);
    fails(rules::pure_core, "src/domain/x.rs", "use std::fs::File;");
    fails(rules::pure_core, "src/domain/x.rs", "async fn f() {}");
    fails(rules::pure_core, "src/domain/x.rs", "use std::collections::HashMap;");
    passes(rules::pure_core, "src/store/x.rs", "use std::fs::File;");
}

#[test]
fn time_and_randomness_come_from_the_runtime() {
    holds(rules::time_and_randomness);
    fails(rules::time_and_randomness, "src/actors/x.rs", "let now = std::time::SystemTime::now();");
    fails(rules::time_and_randomness, "src/actors/x.rs", "let id = Uuid::new_v4();");
    passes(rules::time_and_randomness, "src/runtime.rs", "let now = jiff::Timestamp::now();");
}

#[test]
fn nothing_outside_tests_panics_by_unwrap_or_is_left_to_do() {
    holds(rules::no_unwrap);
    fails(rules::no_unwrap, "src/store/x.rs", "fn f() { g().unwrap(); }");
    fails(rules::no_unwrap, "src/store/x.rs", "fn f() { g()\n    .unwrap (); }");
    fails(rules::no_unwrap, "src/store/x.rs", "fn f() { todo!() }");
    passes(rules::no_unwrap, "src/store/x.rs", "fn f() { g().unwrap_or_default(); } // .unwrap()");
    passes(rules::no_unwrap, "src/store/x.rs", "#[cfg(test)]\nmod tests {\n    fn f() { g().unwrap(); }\n}");
    passes(rules::no_unwrap, "src/store/x/tests.rs", "fn f() { g().unwrap(); }");
    fails(rules::no_unwrap, "src/store/x.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nfn g() { h().unwrap() }");
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    holds(rules::no_sleep);
    fails(rules::no_sleep, "tests/it/x.rs", "fn a_test() { std::thread::sleep(TICK); }");
    fails(
        rules::no_sleep,
        "src/store/x.rs",
        "#[cfg(test)]\nmod tests {\n    async fn t() { tokio::time::sleep(TICK).await; }\n}",
    );
    passes(rules::no_sleep, "tests/it/x.rs", "async fn wait_until(c: C) { loop { sleep(TICK).await; } }");
    let paused = "#[tokio::test(start_paused = true)]\n";
    passes(rules::no_sleep, "tests/it/x.rs", &format!("{paused}async fn t() {{ tokio::time::sleep(HOUR).await; }}"));
    fails(rules::no_sleep, "tests/it/x.rs", &format!("{paused}async fn t() {{ std::thread::sleep(TICK); }}"));
    passes(rules::no_sleep, "src/drivers/x.rs", "async fn run() { tokio::time::sleep(LATENCY).await; }");
}

#[test]
fn no_test_is_switched_off() {
    holds(rules::no_ignored_tests);
    fails(rules::no_ignored_tests, "tests/it/x.rs", "#[test]\n#[ignore]\nfn t() {}");
    fails(rules::no_ignored_tests, "tests/it/x.rs", "#[test]\n#[ignore = \"slow\"]\nfn t() {}");
}

#[test]
fn files_can_be_read_in_one_sitting() {
    holds(rules::file_length);
    fails(rules::file_length, "src/store/x.rs", &"\n".repeat(rules::FILE_LINES_MAX + 1));
    fails(rules::file_length, "src/main.rs", &"\n".repeat(rules::MAIN_LINES_MAX + 1));
    passes(rules::file_length, "src/store/x.rs", &"\n".repeat(rules::FILE_LINES_MAX));
}

#[test]
fn every_folder_says_what_it_is_for() {
    holds(rules::folder_docs);
    fails(rules::folder_docs, "src/store/mod.rs", "pub mod rows;");
    fails(rules::folder_docs, "src/store/mod.rs", "//! The store.\npub mod rows;");
    passes(
        rules::folder_docs,
        "src/store/mod.rs",
        "//! The record of truth.\n//!\n//! Never decides anything.\npub mod rows;",
    );
}

#[test]
fn modules_that_log_can_be_set() {
    holds(rules::loggers);
    fails(rules::loggers, "src/store/x.rs", "fn f() { tracing::info!(\"x\"); }");
    fails(rules::loggers, "src/newcomer/mod.rs", "fn f() { tracing::error!(\"x\"); }");
    passes(rules::loggers, "src/store/checkpoint.rs", "fn f() { tracing::warn!(\"x\"); }");
    passes(rules::loggers, "src/store/x.rs", "#[cfg(test)]\nmod tests { fn f() { tracing::warn!(\"x\"); } }");
    let files = code::house();
    let writes = |logger: &&str| {
        let path = format!("src/{}", logger.trim_start_matches("hearth::").replace("::", "/"));
        let is_it = |file: &SourceFile| file.path == format!("{path}.rs") || file.path == format!("{path}/mod.rs");
        files.iter().any(|file| is_it(file) && file.code.contains("tracing::"))
    };
    let silent: Vec<&&str> = hearth::telemetry::log_levels::LOGGERS.iter().filter(|logger| !writes(logger)).collect();
    assert!(silent.is_empty(), "{silent:?} write nothing");
}
