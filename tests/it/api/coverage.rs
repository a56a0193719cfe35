//! Which calls are served: the table is asked call by call over the wire, and what the code routes must be in it.
//! `docs/coverage.md` is printed from it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use hearth::api::route::{path_parse, route_find};
use hearth::api::v3;
use serde_json::{Value, json};

use super::coverage_table::SURFACE;
use super::harness::Harness;

const NIL: &str = "00000000-0000-0000-0000-000000000000";
const LATEST: u32 = 71;

struct Section<'a> {
    base: &'a str,
    title: &'a str,
    calls: Vec<Entry<'a>>,
}

struct Entry<'a> {
    method: &'a str,
    path: &'a str,
    action: Option<&'a str>,
    /// The minor microversion that first has it.
    since: u32,
    /// None: it is served.
    reason: Option<&'a str>,
}

impl Entry<'_> {
    fn url(&self, base: &str) -> String {
        format!("{}{}", base.trim_end_matches('/'), concrete(self.path))
    }
}

/// A path with an id in each place of one; of extensions there are only the known ones.
fn concrete(path: &str) -> String {
    let place = |segment| match segment {
        "{alias}" => "backups",
        _ if str::starts_with(segment, '{') => NIL,
        _ => segment,
    };
    path.split('/').map(place).collect::<Vec<_>>().join("/")
}

fn sections() -> Vec<Section<'static>> {
    let mut sections: Vec<Section<'static>> = Vec::new();
    let mut common = None;
    for line in SURFACE.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (call, reason) = line.split_once(" - ").map_or((line, None), |(call, reason)| (call, Some(reason)));
        if let Some(heading) = call.strip_prefix("# ") {
            let (base, title) = heading.split_once(": ").expect("a base and a title");
            common = reason;
            sections.push(Section { base, title, calls: Vec::new() });
            continue;
        }
        let mut words = call.split(' ');
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let (mut action, mut since) = (None, 0);
        for word in words {
            match word.strip_prefix('@') {
                Some(minor) => since = minor.parse().expect("a minor microversion"),
                None => action = Some(word),
            }
        }
        let section = sections.last_mut().expect("a section begins with its heading");
        section.calls.push(Entry { method, path, action, since, reason: reason.or(common) });
    }
    sections
}

/// What the table says of a call.
pub struct Listed {
    pub is_served: bool,
    /// The minor microversion that first has it.
    pub since: u32,
}

/// Looks up `METHOD PATH [action]`, PATH from the root on; a query is not looked at.
pub fn listed(call: &str) -> Option<Listed> {
    let mut words = call.split(' ');
    let (method, path, action) = (words.next()?, words.next()?, words.next());
    let path = path.split('?').next()?;
    sections().iter().find_map(|section| {
        let is_it = |entry: &&Entry<'_>| {
            let full = format!("{}{}", section.base.trim_end_matches('/'), entry.path);
            (entry.method, full.as_str(), entry.action) == (method, path, action)
        };
        let entry = section.calls.iter().find(is_it)?;
        Some(Listed { is_served: entry.reason.is_none(), since: entry.since })
    })
}

/// Every call that is served, as `METHOD PATH [action]`, from the root on.
pub fn served() -> Vec<String> {
    let mut names = Vec::new();
    for section in sections() {
        for call in section.calls.iter().filter(|call| call.reason.is_none()) {
            let action = call.action.map(|action| format!(" {action}")).unwrap_or_default();
            names.push(format!("{} {}{}{action}", call.method, section.base.trim_end_matches('/'), call.path));
        }
    }
    names
}

/// Whether there is such a call at this version, whatever it answers.
async fn is_served(harness: &Harness, base: &str, call: &Entry<'_>, minor: u32) -> bool {
    let mut asking = harness.ask(call.method, &call.url(base)).token("root:p");
    asking = if base.starts_with("/compute") { asking } else { asking.volume(&format!("3.{minor}")) };
    if call.method != "GET" && call.method != "DELETE" {
        let body = call.action.map_or_else(|| json!({}), |action| json!({action: {}}));
        asking = asking.json(&body);
    }
    let got = asking.send().await;
    assert!(got.status < 500, "{} {}: {} {}", call.method, call.path, got.status, got.text);
    match serde_json::from_str::<Value>(&got.text) {
        Ok(body) if got.status == 404 => body["itemNotFound"]["message"] != "The resource could not be found.",
        Ok(body) if got.status == 400 => {
            let text = body["badRequest"]["message"].as_str().unwrap_or_default();
            !text.starts_with("There is no such action")
        }
        Ok(_) => true,
        Err(_) => got.status != 404,
    }
}

#[actix_web::test]
async fn what_is_listed_as_served_is_and_nothing_else() {
    let harness = Harness::start().await;
    let mut wrong = Vec::new();
    for section in sections() {
        for call in &section.calls {
            let name = [call.method, call.path, call.action.unwrap_or_default()].join(" ");
            let served = is_served(&harness, section.base, call, LATEST).await;
            if served != call.reason.is_none() {
                wrong.push(format!("{name}: served {served}, listed as {:?}", call.reason));
            }
            if served && call.since > 0 && is_served(&harness, section.base, call, call.since - 1).await {
                wrong.push(format!("{name}: served before 3.{}", call.since));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    harness.stop().await;
}

/// The labels of all routes, from the source: below a version, without Hearth's own.
fn templates() -> BTreeSet<String> {
    let mut found = labels_below("route.rs");
    for entry in std::fs::read_dir(api().join("route")).expect("there") {
        let name = entry.expect("readable").file_name();
        found.extend(labels_below(&format!("route/{}", name.to_string_lossy())));
    }
    found.retain(|label| !label.starts_with("/admin") && label != "/");
    found
}

fn api() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api")
}

/// The labels that a file below `src/api` has for its routes, as far as its tests.
pub fn labels_below(file: &str) -> BTreeSet<String> {
    let source = std::fs::read_to_string(api().join(file)).expect("readable");
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let labels = source.match_indices("\"/").filter_map(|(at, _)| source[at + 1..].split('"').next());
    let is_path = |label: &&str| label.chars().all(|sign| sign.is_ascii_alphanumeric() || "/{}_-".contains(sign));
    labels.filter(is_path).map(str::to_owned).collect()
}

#[test]
fn every_route_and_action_of_the_code_is_listed() {
    let sections = sections();
    let mut listed = BTreeSet::new();
    let mut actions = BTreeSet::new();
    for section in &sections {
        for call in section.calls.iter().filter(|call| call.reason.is_none()) {
            let parsed = path_parse(&call.url(section.base)).expect("a path");
            let route = route_find(call.method, &parsed);
            listed.extend(route.map(|route| (call.method, route.template().to_owned())));
            actions.extend(call.action.map(|action| (call.path, action)));
        }
    }
    let templates = templates();
    assert!(templates.len() > 50, "the labels of the routes are not found any more: {templates:?}");
    for template in &templates {
        let mut is_routed = false;
        for (method, base) in ["GET", "POST", "PUT", "PATCH", "DELETE"]
            .iter()
            .flat_map(|method| [(*method, "/v3"), (*method, "/compute/v2.1")])
        {
            let parsed = path_parse(&format!("{base}{}", concrete(template))).expect("a path");
            let Some(route) = route_find(method, &parsed).filter(|route| route.template() == template) else {
                continue;
            };
            is_routed = true;
            let label = route.template().to_owned();
            assert!(listed.contains(&(method, label)), "{method} {template} is served and not listed");
        }
        assert!(is_routed, "{template} is no route's");
    }
    let known = [
        ("/volumes/{id}/action", v3::VOLUME_ACTIONS),
        ("/snapshots/{id}/action", v3::SNAPSHOT_ACTIONS),
        ("/attachments/{id}/action", v3::ATTACHMENT_ACTIONS),
        ("/types/{id}/action", v3::TYPE_ACTIONS),
    ];
    let known: BTreeSet<_> =
        known.iter().flat_map(|(path, names)| names.iter().map(move |name| (*path, *name))).collect();
    assert_eq!(actions, known);
}

fn page() -> String {
    let sections = sections();
    let count = |served: bool| {
        sections.iter().flat_map(|section| &section.calls).filter(|call| call.reason.is_none() == served).count()
    };
    let mut text = format!(
        "# Which calls are served\n\n\
         Printed from the table in `tests/it/api/coverage_table.rs`, of which each line is asked over the wire. To change it, \
         change the table and run\n`HEARTH_WRITE_DOCS=1 cargo nextest run -E 'test(/^api::coverage/)'`.\n\n\
         Served: {}. Not served: {}. *From* is the first microversion that has the call.\n",
        count(true),
        count(false)
    );
    for section in &sections {
        let _ =
            write!(text, "\n## {}\n\nBelow `{}`.\n\n| Call | From | |\n|---|---|---|\n", section.title, section.base);
        for call in &section.calls {
            let action = call.action.map(|action| format!(" `{action}`")).unwrap_or_default();
            let since = if section.base == "/v3" { format!("3.{}", call.since) } else { String::new() };
            let state = call.reason.map_or_else(|| "served".to_owned(), |reason| format!("not served: {reason}"));
            let _ = writeln!(text, "| {} `{}`{action} | {since} | {state} |", call.method, call.path);
        }
    }
    text
}

#[test]
fn the_documentation_is_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/coverage.md");
    if std::env::var_os("HEARTH_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("the page is written");
    }
    let found = std::fs::read_to_string(&path).expect("docs/coverage.md");
    assert!(found == page(), "docs/coverage.md is not what the table says: HEARTH_WRITE_DOCS=1 writes it");
}
