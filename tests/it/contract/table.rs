//! The notation of the tables, read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of one table: what can be read in one sitting.
const TABLE_LINES_MAX: usize = 600;

/// One file of the specification.
pub struct File {
    /// `volume-actions`: the folder of its tables, which follow one another by their names.
    pub name: &'static str,
    pub title: &'static str,
}

pub struct Section {
    pub title: String,
    /// Which service its lines are played on.
    pub world: String,
    /// What was prepared once, on a service of its own.
    pub shared: Option<String>,
    pub groups: Vec<Group>,
}

impl Section {
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.groups.iter().flat_map(|group| &group.lines)
    }
}

/// What is written as one line.
pub struct Group {
    /// What stands for `{_}` in each of the lines.
    pub values: Vec<String>,
    /// The line as it is written.
    pub written: Line,
    pub lines: Vec<Line>,
}

pub struct Line {
    /// The statement.
    pub words: String,
    pub proof: Proof,
}

pub enum Proof {
    Call(Played),
    Tests(Vec<String>),
    Exception(String),
}

#[derive(Clone)]
pub struct Played {
    pub situation: String,
    pub call: String,
    pub answer: String,
    pub effects: Vec<String>,
}

/// The service without anything special.
pub const PLAIN: &str = "one backend";

/// A file, read.
pub struct Contract {
    pub sections: Vec<Section>,
    /// Its own situations, by name.
    pub situations: BTreeMap<String, String>,
}

impl File {
    pub fn read(&self) -> Contract {
        let mut contract = Contract { sections: Vec::new(), situations: BTreeMap::new() };
        for line in self.tables().iter().flat_map(|text| joined(text)) {
            if let Some(heading) = line.strip_prefix("# ") {
                contract.sections.push(section(heading));
            } else if let Some(definition) = line.strip_prefix("= ") {
                let (name, steps) = definition.split_once(": ").expect("a name and its steps");
                let before = contract.situations.insert(name.to_owned(), steps.to_owned());
                assert!(before.is_none(), "{name} is defined twice");
            } else {
                let section = contract.sections.last_mut().expect("a section begins with its heading");
                section.groups.push(group(&line));
            }
        }
        let mut names = BTreeSet::new();
        for section in &contract.sections {
            for line in section.lines() {
                assert!(names.insert((&section.title, &line.words)), "twice in {}: {}", section.title, line.words);
            }
        }
        contract
    }

    fn tables(&self) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/contract").join(self.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths = entries.map(|entry| entry.expect("readable").path()).collect::<Vec<PathBuf>>();
        paths.sort();
        let text = |path: PathBuf| {
            let text = fs::read_to_string(&path).expect("a table is text");
            assert!(text.lines().count() <= TABLE_LINES_MAX, "{} is too long", path.display());
            text
        };
        paths.into_iter().map(text).collect()
    }
}

/// The lines, each with its continuations.
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match lines.last_mut().filter(|_| line.starts_with("| ")) {
            Some(last) => {
                last.push(' ');
                last.push_str(line);
            }
            None => lines.push(line.to_owned()),
        }
    }
    lines
}

fn section(heading: &str) -> Section {
    let (title, place) = heading.split_once(" @ ").unwrap_or((heading, PLAIN));
    let (world, shared) = place.split_once(": ").map_or((place, None), |(world, shared)| (world, Some(shared)));
    Section { title: title.to_owned(), world: world.to_owned(), shared: shared.map(str::to_owned), groups: Vec::new() }
}

/// One line for each value of a list at its beginning.
fn group(line: &str) -> Group {
    match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((values, rest)) => {
            let values = values.split("; ").map(str::to_owned).collect::<Vec<_>>();
            let lines = values.iter().map(|value| read_line(&rest.replace("{_}", value))).collect();
            Group { values, written: read_line(rest), lines }
        }
        None => Group { values: Vec::new(), written: read_line(line), lines: vec![read_line(line)] },
    }
}

fn read_line(line: &str) -> Line {
    let mut cells = line.split(" | ").map(|cell| cell.trim().to_owned());
    let words = cells.next().expect("words");
    let second = cells.next().unwrap_or_else(|| panic!("nothing shows: {line}"));
    let proof = if let Some(tests) = second.strip_prefix("shown by ") {
        Proof::Tests(tests.split(", ").map(str::to_owned).collect())
    } else if let Some(reason) = second.strip_prefix("except: ") {
        Proof::Exception(reason.to_owned())
    } else {
        let mut next = || cells.next().unwrap_or_else(|| panic!("a cell is missing: {line}"));
        let (call, answer) = (next(), next());
        let effects = cells.by_ref().collect();
        Proof::Call(Played { situation: second, call, answer, effects })
    };
    assert!(cells.next().is_none(), "a cell too many: {line}");
    Line { words, proof }
}
