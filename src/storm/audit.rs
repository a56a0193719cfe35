//! What must be true of a storm's volumes when it is over, seen through the API alone; and their removal.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Waits;
use super::cycle::{Cycle, Service, Step};
use super::endpoint::Site;
use super::errand::{Session, once_each};
use super::report::Report;
use super::{StormError, Unit};

/// Volumes in one page of a list.
const PAGE: usize = 500;
/// Findings that are told; more are counted.
const FINDINGS_MAX: usize = 100;

/// What to look at.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// The name that every volume of the storm has, and no other.
    pub name: String,
    /// The units that the storm has worked on.
    pub units: Vec<Unit>,
    /// How long the volumes may take to become stable: work that nobody waits for any more may still go on.
    pub settle: Duration,
    /// How long a question waits.
    pub waits: Waits,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Volumes looked at.
    pub volumes: usize,
    /// Everything that is not as it must be, each in a sentence.
    pub findings: Vec<String>,
    /// Findings beyond the bound of [`Self::findings`].
    pub more: usize,
}

impl Audit {
    /// Whether everything is as it must be.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

/// Looks at every volume by its id, by its attachments and in the list, and at the counts of the report.
pub fn audit(site: &Site, options: &AuditOptions, cycle: &Cycle, report: &Report) -> Result<Audit, StormError> {
    let mut session = Session::new(site, options.waits)?;
    let volumes: BTreeSet<&str> = ids(&options.units, "volume");
    let mut audit = Audit { volumes: volumes.len(), ..Audit::default() };
    let deadline = Instant::now() + options.settle;
    for id in &volumes {
        by_id(&mut session, id, deadline, options.settle, &mut audit)?;
    }
    in_list(&mut session, &options.name, &volumes, &mut audit)?;
    for server in ids(&options.units, "server") {
        at_server(&mut session, server, &volumes, &mut audit)?;
    }
    counts(cycle, report, &mut audit);
    Ok(audit)
}

fn ids<'a>(units: &'a [Unit], variable: &str) -> BTreeSet<&'a str> {
    units.iter().filter_map(|unit| unit.get(variable)).map(String::as_str).collect()
}

/// Available, attached to nothing, and without a row. Looks again while it is not, until `deadline`.
fn by_id(
    session: &mut Session,
    id: &str,
    deadline: Instant,
    settle: Duration,
    audit: &mut Audit,
) -> Result<(), StormError> {
    loop {
        let trouble = trouble_of(session, id)?;
        if trouble.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            for text in trouble {
                audit.find(format!("volume {id} {text}, {settle:?} after the storm"));
            }
            return Ok(());
        }
        session.wait_for_next_look();
    }
}

fn trouble_of(session: &mut Session, id: &str) -> Result<Vec<String>, StormError> {
    let (status, body) = session.ask(Service::BlockStorage, "GET", &format!("/volumes/{id}"), None)?;
    if status != 200 {
        return Ok(vec![format!("is answered with {status}")]);
    }
    let mut trouble = trouble_in(&body["volume"]);
    let listed = session.get(Service::BlockStorage, &format!("/attachments?volume_id={id}"))?;
    for row in listed["attachments"].as_array().into_iter().flatten() {
        trouble.push(format!("has attachment {} left over ({})", word(&row["id"]), word(&row["status"])));
    }
    Ok(trouble)
}

/// What is wrong with a volume by its own view.
fn trouble_in(volume: &Value) -> Vec<String> {
    let mut trouble = Vec::new();
    if volume["status"] != "available" {
        trouble.push(format!("is {} and not available", word(&volume["status"])));
    }
    if volume["attachments"].as_array().is_none_or(|rows| !rows.is_empty()) {
        trouble.push(format!("shows attachments {}", volume["attachments"]));
    }
    trouble
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// The list shows exactly the storm's volumes, each as it is by its id.
fn in_list(session: &mut Session, name: &str, expected: &BTreeSet<&str>, audit: &mut Audit) -> Result<(), StormError> {
    let listed = volumes_named(session, name)?;
    let mut seen = BTreeSet::new();
    for volume in &listed {
        let id = word(&volume["id"]);
        if !seen.insert(id) {
            audit.find(format!("volume {id} is listed twice"));
        }
        if !expected.contains(id) {
            audit.find(format!("volume {id} ({}) is left over", word(&volume["status"])));
            continue;
        }
        for text in trouble_in(volume) {
            audit.find(format!("volume {id} {text}, in the list"));
        }
    }
    for id in expected.iter().filter(|id| !seen.contains(**id)) {
        audit.find(format!("volume {id} is not in the list"));
    }
    Ok(())
}

/// Every volume of this name, in pages.
fn volumes_named(session: &mut Session, name: &str) -> Result<Vec<Value>, StormError> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let marker = all.last().map(|last| format!("&marker={}", word(&last["id"]))).unwrap_or_default();
        let path = format!("/volumes/detail?name={name}&limit={PAGE}{marker}");
        let mut body = session.get(Service::BlockStorage, &path)?;
        let Value::Array(page) = body["volumes"].take() else { return Ok(all) };
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

/// Compute's view of the same.
fn at_server(
    session: &mut Session,
    server: &str,
    volumes: &BTreeSet<&str>,
    audit: &mut Audit,
) -> Result<(), StormError> {
    let body = session.get(Service::Compute, &format!("/servers/{server}/os-volume_attachments"))?;
    for row in body["volumeAttachments"].as_array().into_iter().flatten() {
        let id = word(&row["volumeId"]);
        if volumes.contains(id) {
            audit.find(format!("server {server} still shows volume {id}"));
        }
    }
    Ok(())
}

/// What was made as often as it was removed, and held by one client at a time.
fn counts(cycle: &Cycle, report: &Report, audit: &mut Audit) {
    let ledger = |name: &String| {
        let index = cycle.steps.iter().position(|step| step.name == *name);
        index.and_then(|index| report.ledgers.get(index)).copied().unwrap_or_default()
    };
    for (one, other) in &cycle.balanced {
        let (first, second) = (ledger(one), ledger(other));
        let unknown = first.unknown + second.unknown;
        if first.answered.abs_diff(second.answered) > unknown {
            audit.find(format!(
                "{one} succeeded {} times and {other} {} times ({unknown} outcomes are unknown)",
                first.answered, second.answered
            ));
        }
    }
    if report.overlaps > 0 {
        audit.find(format!("{} times two clients held at once what only one may hold", report.overlaps));
    }
}

/// Removes every volume of this name with its attachments, and waits until they are gone. What could not be removed, each
/// in a sentence.
pub fn clean_up(site: &Site, name: &str, clients: usize, waits: Waits) -> Result<Vec<String>, StormError> {
    let mut session = Session::new(site, waits)?;
    let mut units = Vec::new();
    for volume in volumes_named(&mut session, name)? {
        let id = word(&volume["id"]).to_owned();
        if !trouble_in(&volume).is_empty() {
            let listed = session.get(Service::BlockStorage, &format!("/attachments?volume_id={id}"))?;
            for row in listed["attachments"].as_array().into_iter().flatten() {
                // one that cannot be removed is told of with its volume
                session.ask(Service::BlockStorage, "DELETE", &format!("/attachments/{}", word(&row["id"])), None)?;
            }
        }
        units.push(Unit::from([("volume".to_owned(), id)]));
    }
    if units.is_empty() {
        return Ok(Vec::new());
    }
    let steps = vec![
        Step::new("delete", "DELETE", "/volumes/{volume}", &[202, 404]),
        Step::wait_gone("gone", "/volumes/{volume}"),
    ];
    let done = once_each(site, &Cycle::new("remove", steps), &units, clients, waits)?;
    let stuck = done.into_iter().filter_map(|done| {
        done.complaint.map(|why| format!("volume {} cannot be removed: {why}", done.unit["volume"]))
    });
    Ok(stuck.collect())
}
