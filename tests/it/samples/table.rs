//! The entries of the tables.
//!
//! A table is a title and then entries: a line `NAME: METHOD PATH [action] [@MINOR]`, NAME being a sample's or `beyond` for
//! an answer that no sample shows; then, indented, `> FORM` of what is sent or `< FORM` of what is answered (nothing: an empty
//! body), and `WORD: REASON`:
//!
//! * `differs`: the sample is wrong or older than the microversions' tables, whose form this is
//! * `open`: members that nobody knows are taken or ignored (otherwise they are refused with 400)
//! * `refused STATUS`: the situation of this request cannot come about
//! * `not`: the call is not served
//! * `other`: it is served, and answers something else
//! * `why`: of `beyond`
//!
//! Without `@MINOR` an entry is of the version of its folder, else of the first that has the call. `= name TEXT` is a
//! fragment: `$name` stands for it from there on.

use super::shape::Shape;
use crate::api::coverage::listed;

const FILES: [(&str, &str); 10] = [
    ("volumes", include_str!("table/volumes.txt")),
    ("actions", include_str!("table/actions.txt")),
    ("snapshots", include_str!("table/snapshots.txt")),
    ("types", include_str!("table/types.txt")),
    ("attachments", include_str!("table/attachments.txt")),
    ("manage", include_str!("table/manage.txt")),
    ("operators", include_str!("table/operators.txt")),
    ("quotas", include_str!("table/quotas.txt")),
    ("compute", include_str!("table/compute.txt")),
    ("later", include_str!("table/later.txt")),
];

const WORDS: [&str; 6] = ["differs", "open", "refused", "not", "other", "why"];

pub struct Area {
    pub name: &'static str,
    pub title: &'static str,
    pub entries: Vec<Entry>,
}

pub struct Entry {
    /// None: beyond the samples.
    pub sample: Option<&'static str>,
    /// `METHOD PATH [action]`, a query included.
    pub call: &'static str,
    /// Minor microversion.
    pub since: u32,
    pub is_request: bool,
    /// None: an empty body.
    pub form: Option<Shape>,
    pub state: State,
    pub is_open: bool,
    /// What is to be said of it.
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Held,
    /// As the sample, but for what the reason says.
    Differs,
    Refused(u16),
    NotServed,
    Other,
}

impl Entry {
    pub fn name(&self) -> String {
        self.sample.map_or_else(|| format!("{} @{}", self.call, self.since), str::to_owned)
    }

    /// What the documentation says of it, but for the reason.
    pub fn standing(&self) -> &'static str {
        match self.state {
            State::Held | State::Differs if self.is_request => "accepted",
            State::Held | State::Differs => "compared",
            State::Refused(_) => "refused",
            State::NotServed => "not served",
            State::Other => "answered otherwise",
        }
    }

    /// `3.7`.
    pub fn version(&self) -> String {
        format!("{}.{}", if self.is_compute() { 2 } else { 3 }, self.since)
    }

    pub fn is_compute(&self) -> bool {
        self.call.contains(" /compute/")
    }
}

/// All tables, in order.
pub fn areas() -> Vec<Area> {
    let mut fragments = Vec::new();
    FILES.iter().map(|(name, text)| area(name, text, &mut fragments)).collect()
}

fn area(name: &'static str, text: &'static str, fragments: &mut Vec<(&'static str, String)>) -> Area {
    let (title, rest) = text.split_once('\n').expect("a title");
    let mut entries = Vec::new();
    for item in items(rest) {
        let first = item[0];
        if let Some(fragment) = first.strip_prefix("= ") {
            let (name, start) = fragment.split_once(' ').expect("a name and a text");
            let text = std::iter::once(start).chain(item[1..].iter().copied()).collect::<Vec<_>>().join(" ");
            fragments.push((name, expanded(&text, fragments)));
        } else {
            entries.push(entry(first, &item[1..], fragments));
        }
    }
    Area { name, title, entries }
}

/// Lines that begin at the margin, each with the lines below it.
fn items(text: &'static str) -> Vec<Vec<&'static str>> {
    let mut items: Vec<Vec<&str>> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with(' ') {
            items.last_mut().expect("it belongs to something").push(line.trim());
        } else {
            items.push(vec![line]);
        }
    }
    items
}

fn entry(first: &'static str, rest: &[&'static str], fragments: &[(&str, String)]) -> Entry {
    let (name, call) = first.split_once(": ").expect("a name and a call");
    let (call, minor) = call.split_once(" @").map_or((call, None), |(call, minor)| (call, Some(minor)));
    let mut found = Entry {
        sample: (name != "beyond").then_some(name),
        call,
        since: 0,
        is_request: false,
        form: None,
        state: State::Held,
        is_open: false,
        reason: String::new(),
    };
    let mut form = String::new();
    let mut is_form = true;
    for line in rest {
        let (head, reason) = line.split_once(": ").unwrap_or((line, ""));
        let (word, number) = head.split_once(' ').unwrap_or((head, ""));
        if WORDS.contains(&word) {
            is_form = false;
            found.reason = reason.to_owned();
            match word {
                "differs" => found.state = State::Differs,
                "not" => found.state = State::NotServed,
                "other" => found.state = State::Other,
                "refused" => found.state = State::Refused(number.parse().expect("a status")),
                "open" => found.is_open = true,
                _ => {}
            }
        } else {
            let text = if is_form { &mut form } else { &mut found.reason };
            text.push(' ');
            text.push_str(line);
        }
    }
    let form = expanded(form.trim(), fragments);
    found.is_request = form.starts_with('>');
    assert!(found.is_request || form.starts_with('<'), "{first} is neither sent nor answered");
    found.form = Some(form[1..].trim()).filter(|form| !form.is_empty()).map(Shape::parse);
    let lowest = if found.is_compute() { 1 } else { 0 };
    found.since = match minor {
        Some(minor) => minor.parse().expect("a minor version"),
        None => folder_version(name).or_else(|| Some(listed(call)?.since)).unwrap_or(lowest).max(lowest),
    };
    found
}

/// `13` for a name with a folder `v3.13`.
fn folder_version(name: &str) -> Option<u32> {
    let mut folders = name.split('/').filter_map(|part| part.strip_prefix('v'));
    folders.find_map(|version| version.split_once('.')?.1.parse().ok())
}

fn expanded(text: &str, fragments: &[(&str, String)]) -> String {
    let mut parts = text.split('$');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|sign: char| !(sign.is_alphanumeric() || sign == '_')).unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let fragment = fragments.iter().rev().find(|(known, _)| *known == name);
        let (_, fragment) = fragment.unwrap_or_else(|| panic!("there is no fragment {name}"));
        whole.push_str(fragment);
        whole.push_str(rest);
    }
    whole
}
