//! Which folder may use which, and where foreign crates may be named.

use regex::Regex;

use super::code::SourceFile;

/// A folder and what it may use. From bottom to top: nothing uses a folder that stands below it in this table.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("domain", &[]),
    ("faults", &[]),
    // sees the service only over HTTP, as every client does
    ("storm", &[]),
    ("outbound", &[]),
    ("runtime", &["domain"]),
    ("telemetry", &["domain", "runtime"]),
    ("settings", &["domain", "faults"]),
    ("store", &["domain", "faults", "runtime", "telemetry"]),
    ("images", &["domain", "outbound", "runtime", "telemetry"]),
    ("compute", &["domain", "outbound", "telemetry"]),
    ("drivers", &["domain", "faults", "runtime", "telemetry", "images"]),
    ("actors", &["domain", "runtime", "telemetry", "store", "images", "compute", "drivers"]),
    ("identity", &["domain", "outbound", "runtime", "telemetry"]),
    ("policy", &["domain", "identity"]),
    ("sim", &["domain", "runtime", "telemetry", "store", "images", "compute", "drivers", "actors"]),
    ("api", &["domain", "faults", "runtime", "telemetry", "store", "identity", "policy", "images", "actors"]),
    // the command line builds the parts and connects them
    (
        "cli",
        &[
            "domain",
            "faults",
            "outbound",
            "runtime",
            "telemetry",
            "settings",
            "store",
            "drivers",
            "images",
            "compute",
            "actors",
            "identity",
            "policy",
            "sim",
            "storm",
            "api",
        ],
    ),
];

/// Crates that one layer hides from the others.
const HOME_OF_CRATE: [(&str, &[&str]); 10] = [
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("libsqlite3_sys", &["store"]),
    // actix is only maintained passively: a swap must stay one module's work
    ("actix", &["actors", "runtime", "drivers"]),
    ("actix_web", &["api", "cli"]),
    ("qapi", &["drivers"]),
    ("clap", &["cli"]),
    ("prometheus_client", &["telemetry"]),
    ("config", &["settings"]),
    ("saphyr_parser", &["policy"]),
];

/// Uses of a folder that the table does not allow.
pub fn folders(files: &[SourceFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("src/")) {
        let Some(folder) = file.folder() else {
            // the binary passes its arguments on; lib.rs only declares
            let beyond_cli = used(file, "hearth").into_iter().filter(|(_, name)| name != "cli");
            violations.extend(beyond_cli.map(|(at, name)| format!("{}: uses {name}", file.place(at))));
            continue;
        };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == folder) else {
            violations.push(format!("{}: the folder {folder} has no place in the table of this test", file.path));
            continue;
        };
        for (position, name) in used(file, "crate").into_iter().chain(used_by_super(file)) {
            let is_folder = MAY_USE.iter().any(|(known, _)| *known == name);
            if is_folder && name != folder && !allowed.contains(&name.as_str()) {
                violations.push(format!("{}: {folder} must not use {name}", file.place(position)));
            }
        }
    }
    violations
}

/// Uses of a crate outside of its home.
pub fn crates(files: &[SourceFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for (name, homes) in HOME_OF_CRATE {
        let pattern = Regex::new(&format!(r"(?:^|[^\w:.])(?:::)?({name})::")).expect("pattern");
        for file in files {
            let Some(folder) = file.folder() else { continue };
            // a folder of the library may have the name of a crate
            if homes.contains(&folder) {
                continue;
            }
            for found in file.find(&pattern) {
                violations.push(format!("{}: {folder} must not name {name}", file.place(found.start() + 1)));
            }
        }
    }
    violations
}

/// What follows `root::`, with groups taken apart: `crate::{a::b, c}` → a, c.
fn used(file: &SourceFile, root: &str) -> Vec<(usize, String)> {
    let pattern = Regex::new(&format!(r"\b{root}\s*::\s*")).expect("pattern");
    file.find(&pattern).flat_map(|found| names_at(&file.code, found.end())).collect()
}

/// `super::` chains that climb out of the folder.
fn used_by_super(file: &SourceFile) -> Vec<(usize, String)> {
    let pattern = Regex::new(r"\b(?:super\s*::\s*)+").expect("pattern");
    file.find(&pattern)
        .filter(|found| found.as_str().matches("super").count() == file.depth())
        .flat_map(|found| names_at(&file.code, found.end()))
        .collect()
}

fn names_at(code: &str, position: usize) -> Vec<(usize, String)> {
    let name_at = |start: usize| -> Option<(usize, String)> {
        let name: String = code[start..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        (!name.is_empty()).then_some((start, name))
    };
    if !code[position..].starts_with('{') {
        return name_at(position).into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut expects_name = false;
    for (offset, c) in code[position..].char_indices() {
        match c {
            '{' => {
                depth += 1;
                expects_name = depth == 1;
            }
            '}' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            ',' if depth == 1 => expects_name = true,
            c if expects_name && (c.is_alphabetic() || c == '_') => {
                names.extend(name_at(position + offset));
                expects_name = false;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn the_table_points_downwards() {
    for (index, (folder, allowed)) in MAY_USE.iter().enumerate() {
        for name in *allowed {
            let below = MAY_USE[..index].iter().any(|(lower, _)| lower == name);
            assert!(below, "{folder} may use {name}, which does not stand above it in the table");
        }
    }
}

#[test]
fn groups_are_taken_apart() {
    let file =
        SourceFile::new("src/api/x.rs", "use crate::{\n    domain::{ids, time},\n    store,\n};\nuse crate::actors;");
    let names: Vec<String> = used(&file, "crate").into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["domain", "store", "actors"]);
}
