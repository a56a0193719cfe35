//! The tables as documentation.

use std::fmt::Write as _;
use std::path::Path;

use super::table::{Area, State, areas};

/// How often each word is said of a sample, in this order.
fn totals(areas: &[Area]) -> String {
    let words = ["compared", "accepted", "refused", "answered otherwise", "not served"];
    let samples = || areas.iter().flat_map(|area| &area.entries).filter(|entry| entry.sample.is_some());
    let count = |word: &str| samples().filter(|entry| entry.standing() == word).count();
    let parts: Vec<String> = words.iter().map(|word| format!("{} {word}", count(word))).collect();
    let differing = samples().filter(|entry| entry.state == State::Differs).count();
    let beyond = areas.iter().flat_map(|area| &area.entries).filter(|entry| entry.sample.is_none()).count();
    format!(
        "{} samples: {}. Of those compared, {differing} are compared with what the reference does where its sample is not \
         right.\nBeyond the samples, {beyond} answers are compared.\n",
        samples().count(),
        parts.join(", ")
    )
}

fn page() -> String {
    let areas = areas();
    let mut text = format!(
        "# The samples of the reference, and Hearth\n\n\
         Printed from the tables in `tests/it/samples/table`. To change it, change them and run\n\
         `HEARTH_WRITE_DOCS=1 cargo nextest run -E 'test(/^samples::page/)'`.\n\n\
         An answer is *compared*: it has the same members, of the same kinds, at every microversion from that of the sample \
         to that of the\nnext one. A request is *accepted*: just these members are taken, and one that nobody knows is refused, \
         but where the table says otherwise.\n\n{}",
        totals(&areas)
    );
    for area in &areas {
        let _ = write!(text, "\n## {}\n\n| Sample | Call | Version | |\n|---|---|---|---|\n", area.title);
        for entry in area.entries.iter().filter(|entry| entry.sample.is_some()) {
            let mut standing = entry.standing().to_owned();
            if !entry.reason.is_empty() {
                let _ = write!(standing, ": {}", entry.reason);
            }
            let _ = writeln!(text, "| {} | `{}` | {} | {standing} |", entry.name(), entry.call, entry.version());
        }
    }
    text
}

#[test]
fn the_documentation_is_these_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples.md");
    if std::env::var_os("HEARTH_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("the page is written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/samples.md");
    assert!(found == page(), "docs/samples.md is not what the tables say: HEARTH_WRITE_DOCS=1 writes it");
}
