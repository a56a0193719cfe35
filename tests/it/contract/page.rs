//! `docs/contract.md` and the page of each file below `docs/contract`, printed from the tables. `HEARTH_WRITE_DOCS=1` writes them.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::FILES;
use super::situations::COMMON;
use super::table::{Contract, File, Group, Line, PLAIN, Proof, Section};

const HEAD: &str = "\
# The contract, line by line

What the API's specification says of a client's calls, statement by statement, each with the call that shows it (played on the
service by every run of the tests) or with the tests that do. Printed from the tables in `tests/it/contract`. To change it, change a
table and run
`HEARTH_WRITE_DOCS=1 cargo nextest run -E 'test(/^contract::page/)'`.
";

const LEGEND: &str = "
## How to read the pages

* *Line*: the statement. Where it holds for several values, they stand below it, and each is shown on its own.
* *Situation*: what there is before the call; the names are explained at the end of each page.
* *Call*: a member of the project asks, with microversion 3.71, unless it says otherwise. `os-extend {…}` is that action on the
  volume. `{volume}` and its like are ids, `{x*255}` is a text of so many characters. `+service`: a service's token is sent too.
* *Answer*: the status code; the message of the fault, in which `…` is any text, or members of the answer. `@uuid`, `@time`, `@any`
  and so on stand for values, `@absent` for none, `@exactly` for the whole set of members. Then what comes of it: `=> in-use` is a
  status that is waited for, `now` one that is there when the answer is.
* A call that is refused leaves the volume as it was, in every member: this is checked behind each line.
";

struct Count {
    calls: usize,
    tests: usize,
    exceptions: usize,
}

fn count<'a>(lines: impl Iterator<Item = &'a Line>) -> Count {
    let mut count = Count { calls: 0, tests: 0, exceptions: 0 };
    for line in lines {
        match line.proof {
            Proof::Call(_) => count.calls += 1,
            Proof::Tests(_) => count.tests += 1,
            Proof::Exception(_) => count.exceptions += 1,
        }
    }
    count
}

/// The page that leads to the others.
fn index() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n| Part | Lines | by a call | by a test | exceptions |\n|---|---|---|---|---|\n");
    let mut exceptions = String::new();
    for file in FILES {
        let contract = file.read();
        let Count { calls, tests, exceptions: excepted } = count(contract.sections.iter().flat_map(Section::lines));
        let _ = writeln!(
            page,
            "| [{}](contract/{}.md) | {} | {calls} | {tests} | {excepted} |",
            file.title,
            file.name,
            calls + tests + excepted
        );
        for section in &contract.sections {
            for line in section.lines() {
                if let Proof::Exception(reason) = &line.proof {
                    let _ = writeln!(exceptions, "| {}, {} | {} | {reason} |", file.name, section.title, line.words);
                }
            }
        }
    }
    page.push_str(LEGEND);
    page.push_str("\n## Exceptions\n\nWhat is not served, on purpose.\n\n");
    if exceptions.is_empty() {
        page.push_str("None.\n");
    } else {
        let _ = write!(page, "| Where | What | Why |\n|---|---|---|\n{exceptions}");
    }
    page
}

fn page(file: &File) -> String {
    let contract = file.read();
    let mut page = format!(
        "# The contract: {}\n\nPrinted from `tests/it/contract`; [contract.md](../contract.md) says how to read it.\n",
        file.title
    );
    for section in &contract.sections {
        print(&mut page, section);
    }
    page.push_str("\n## Situations\n\n| | |\n|---|---|\n");
    for (name, steps) in situations(&contract) {
        let _ = writeln!(page, "| {name} | {} |", code(&steps));
    }
    page
}

fn print(page: &mut String, section: &Section) {
    let Count { calls, tests, exceptions } = count(section.lines());
    let _ = write!(page, "\n## {} ({})\n\n", section.title, calls + tests + exceptions);
    if section.world != PLAIN {
        let _ = write!(page, "On a service with {}.\n\n", section.world);
    }
    if let Some(shared) = &section.shared {
        let _ = write!(page, "Prepared once: {shared}.\n\n");
    }
    page.push_str("| Line | Situation | Call | Answer |\n|---|---|---|---|\n");
    for Group { values, written, .. } in &section.groups {
        let mut words = written.words.replace("{_}", "`{_}`");
        if !values.is_empty() {
            let values = values.iter().map(|value| code(value)).collect::<Vec<_>>().join(", ");
            let _ = write!(words, "<br>`{{_}}`: {values}");
        }
        let _ = match &written.proof {
            Proof::Call(played) => {
                let mut answer = code(&played.answer);
                for effect in &played.effects {
                    let _ = write!(answer, "<br>{}", code(effect));
                }
                let situation = if played.situation == "-" { "" } else { &played.situation };
                let situation = if situation.contains(['{', '"']) { code(situation) } else { situation.to_owned() };
                writeln!(page, "| {words} | {situation} | {} | {answer} |", code(&played.call))
            }
            Proof::Tests(tests) => {
                let tests = tests.iter().map(|test| code(test)).collect::<Vec<_>>().join("<br>");
                writeln!(page, "| {words} | | shown by | {tests} |")
            }
            Proof::Exception(reason) => writeln!(page, "| {words} | | not served | {reason} |"),
        };
    }
}

/// As code within a cell.
fn code(text: &str) -> String {
    if text.is_empty() {
        return "nothing".to_owned();
    }
    let text = text.replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// What the names mean that this file uses, also within each other.
fn situations(contract: &Contract) -> Vec<(String, String)> {
    let all = COMMON.iter().map(|(name, steps)| ((*name).to_owned(), (*steps).to_owned()));
    let own = contract.situations.iter().map(|(name, steps)| (name.clone(), steps.clone()));
    let all = all.chain(own).collect::<Vec<_>>();
    let mut used = contract.sections.iter().filter_map(|section| section.shared.clone()).collect::<Vec<_>>();
    for line in contract.sections.iter().flat_map(Section::lines) {
        if let Proof::Call(played) = &line.proof {
            used.push(played.situation.clone());
        }
    }
    let mut at = 0;
    while let Some(situation) = used.get(at).cloned() {
        for step in situation.split("; ") {
            if let Some((_, steps)) = all.iter().find(|(name, _)| name == step)
                && !used.contains(steps)
            {
                used.push(steps.clone());
            }
        }
        at += 1;
    }
    all.into_iter().filter(|(_, steps)| used.contains(steps)).collect()
}

#[test]
fn the_documentation_is_these_tables() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let of = |file: &File| docs.join("contract").join(format!("{}.md", file.name));
    let pages = FILES.iter().map(|file| (of(file), page(file)));
    let pages = pages.chain([(docs.join("contract.md"), index())]).collect::<Vec<_>>();
    if std::env::var_os("HEARTH_WRITE_DOCS").is_some() {
        fs::create_dir_all(docs.join("contract")).expect("a folder");
        for (path, page) in &pages {
            fs::write(path, page).expect("the page is written");
        }
    }
    for (path, page) in &pages {
        let found = fs::read_to_string(path).unwrap_or_default();
        assert!(found == *page, "{} is not what the tables say: HEARTH_WRITE_DOCS=1 writes it", path.display());
    }
    let mut found = fs::read_dir(docs.join("contract")).expect("a folder").map(|entry| entry.expect("readable").path());
    let stray = found.find(|path: &PathBuf| !pages.iter().any(|(known, _)| known == path));
    assert_eq!(stray, None, "a page without a table");
}
