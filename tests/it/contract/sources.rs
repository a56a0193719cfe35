//! The tests that lines name: they must be there, by this name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::FILES;
use super::table::Proof;

/// The paths of all integration tests, `races::attach::r14_complete_twice`, and of the library's own,
/// `hearth::api::paging::tests::limits_and_offsets`.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    collect(&root.join("tests/it"), "", &mut found);
    collect(&root.join("src"), "hearth::", &mut found);
    found
}

fn collect(folder: &Path, module: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of tests") {
        let path = entry.expect("readable").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        if path.is_dir() {
            collect(&path, &format!("{module}{name}::"), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let module = if name == "mod" { module.to_owned() } else { format!("{module}{name}::") };
            let text = fs::read_to_string(&path).expect("readable");
            // The library's stand in a module of their own.
            let module = if module.starts_with("hearth::") { format!("{module}tests::") } else { module };
            found.extend(tests_of(&text).map(|test| format!("{module}{test}")));
        }
    }
}

/// The functions behind an attribute of a test.
fn tests_of(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().map(str::trim_start).filter_map(move |line| {
        if let Some(attribute) = line.strip_prefix("#[") {
            is_test |= attribute.split(['(', ']']).next().is_some_and(|name| name.ends_with("test"));
            return None;
        }
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        let is_named = is_test && rest.is_some();
        is_test &= rest.is_none();
        rest.filter(|_| is_named).and_then(|rest| rest.split(['(', '<']).next())
    })
}

#[test]
fn tests_are_found_in_the_sources() {
    let text =
        "#[actix_web::test]\nasync fn a() {\n}\nfn helper() {}\n#[test]\n/// why\nfn b() {}\n#[allow(x)]\nfn c() {}\n";
    assert_eq!(tests_of(text).collect::<Vec<_>>(), ["a", "b"]);
    let tests = tests();
    assert!(tests.len() > 500, "{}", tests.len());
    assert!(tests.contains("contract::sources::tests_are_found_in_the_sources"));
}

#[test]
fn every_test_that_a_line_names_is_there() {
    let tests = tests();
    let mut missing = Vec::new();
    for file in FILES {
        for section in file.read().sections {
            for line in section.lines() {
                let Proof::Tests(named) = &line.proof else { continue };
                let lost = named.iter().filter(|name| !tests.contains(*name));
                missing.extend(lost.map(|name| format!("{} {}: {name}", section.title, line.words)));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
