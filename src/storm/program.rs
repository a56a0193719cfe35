//! A cycle made ready for sending: everything that is the same in every round is put together once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Unit;
use super::cycle::{Cycle, Step};
use super::endpoint::Site;

/// A cycle that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CycleError {
    /// Nothing to do.
    #[error("the cycle {0:?} has no steps")]
    Empty(String),
    /// Two steps with the same name.
    #[error("the name of step {0:?} is taken")]
    NameTaken(String),
    /// A name that no (earlier) step has.
    #[error("there is no step {0:?} for it to refer to")]
    NoSuchStep(String),
    /// Nothing gives the variable a value.
    #[error("step {step:?} uses {{{variable}}}, which neither the unit nor an earlier step gives")]
    UnknownVariable {
        /// The step.
        step: String,
        /// The variable.
        variable: String,
    },
    /// It would not be one request.
    #[error("the method, path or header {0:?} cannot be sent")]
    Unsendable(String),
}

/// One part of a request.
#[derive(Debug)]
enum Piece {
    Text(String),
    Slot(usize),
}

/// Text with variables.
#[derive(Debug, Default)]
pub(super) struct Template(Vec<Piece>);

/// A step made ready.
#[derive(Debug)]
pub(super) struct ReadyStep {
    /// Which of [`Program::addresses`].
    pub(super) connection: usize,
    /// Up to the length of the body.
    head: Template,
    body: Option<Template>,
    pub(super) expect: Vec<u16>,
    pub(super) refused: Vec<u16>,
    /// Slot and path.
    pub(super) captures: Vec<(usize, Vec<String>)>,
    pub(super) until: Option<ReadyUntil>,
    pub(super) undoes: Option<usize>,
    /// For complaints: method and path as the cycle has them.
    pub(super) title: String,
}

/// See [`super::Until`].
#[derive(Debug)]
pub(super) struct ReadyUntil {
    pub(super) member: Vec<String>,
    pub(super) is: Option<String>,
}

/// A cycle made ready.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) steps: Vec<ReadyStep>,
    /// The variables by their slots.
    pub(super) variables: Vec<String>,
    /// Taking and releasing step.
    pub(super) exclusive: Option<(usize, usize)>,
}

/// The values of a program's variables for one client.
pub(super) type Slots = Vec<Option<String>>;

impl Program {
    /// Makes `cycle` ready for units that have the variables `given`.
    pub(super) fn new<'a>(
        cycle: &Cycle,
        site: &Site,
        given: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, CycleError> {
        if cycle.steps.is_empty() {
            return Err(CycleError::Empty(cycle.name.clone()));
        }
        let mut names = Names { known: given.into_iter().map(str::to_owned).collect(), slots: BTreeMap::new() };
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut steps = Vec::with_capacity(cycle.steps.len());
        for (index, step) in cycle.steps.iter().enumerate() {
            let before = &cycle.steps[..index];
            if before.iter().any(|other| other.name == step.name) {
                return Err(CycleError::NameTaken(step.name.clone()));
            }
            let address = site.endpoint(step.service).address;
            let connection = addresses.iter().position(|known| *known == address).unwrap_or_else(|| {
                addresses.push(address);
                addresses.len() - 1
            });
            steps.push(ready(step, before, connection, site, &mut names)?);
        }
        let position = |name: &String| {
            cycle.steps.iter().position(|step| step.name == *name).ok_or_else(|| CycleError::NoSuchStep(name.clone()))
        };
        for (one, other) in &cycle.balanced {
            position(one)?;
            position(other)?;
        }
        let exclusive = match &cycle.exclusive {
            Some((takes, releases)) => Some((position(takes)?, position(releases)?)),
            None => None,
        };
        let mut variables = vec![String::new(); names.slots.len()];
        for (name, slot) in names.slots {
            variables[slot] = name;
        }
        Ok(Self { addresses, steps, variables, exclusive })
    }

    /// The slots of a client that works on `unit`.
    pub(super) fn slots(&self, unit: &Unit) -> Slots {
        self.variables.iter().map(|name| unit.get(name).cloned()).collect()
    }

    /// Forgets what the last round captured.
    pub(super) fn forget(&self, slots: &mut Slots) {
        for (slot, _) in self.steps.iter().flat_map(|step| &step.captures) {
            slots[*slot] = None;
        }
    }
}

struct Names {
    known: BTreeSet<String>,
    slots: BTreeMap<String, usize>,
}

impl Names {
    fn slot(&mut self, name: &str) -> usize {
        let next = self.slots.len();
        *self.slots.entry(name.to_owned()).or_insert(next)
    }
}

fn ready(
    step: &Step,
    before: &[Step],
    connection: usize,
    site: &Site,
    names: &mut Names,
) -> Result<ReadyStep, CycleError> {
    let unsendable = |text: &str| CycleError::Unsendable(text.to_owned());
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    for text in [&step.method, &step.path] {
        if !is_token(text) {
            return Err(unsendable(text));
        }
    }
    let base = site.base_path(step.service);
    let mut head = format!("{} {base}{} HTTP/1.1\r\nHost: ", step.method, step.path);
    head.push_str(&site.endpoint(step.service).authority);
    head.push_str("\r\n");
    for (name, value) in &site.headers {
        if !is_token(name) || value.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(unsendable(name));
        }
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = step.body.as_ref().map(|body| template(&body.to_string(), step, names)).transpose()?;
    if body.is_some() {
        head.push_str("Content-Type: application/json\r\nContent-Length: ");
    }
    let head = template(&head, step, names)?;
    let path = |text: &String| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let captures = step.captures.iter().map(|(variable, member)| {
        names.known.insert(variable.clone());
        (names.slot(variable), path(member))
    });
    let captures = captures.collect();
    let undoes = match &step.undoes {
        None => None,
        Some(name) => {
            let found = before.iter().position(|other| other.name == *name);
            Some(found.ok_or_else(|| CycleError::NoSuchStep(name.clone()))?)
        }
    };
    let until = step
        .until
        .as_ref()
        .map(|until| ReadyUntil { member: until.member.as_ref().map(path).unwrap_or_default(), is: until.is.clone() });
    Ok(ReadyStep {
        connection,
        head,
        body,
        expect: step.expect.clone(),
        refused: step.refused.clone(),
        captures,
        until,
        undoes,
        title: format!("{} {base}{}", step.method, step.path),
    })
}

fn template(text: &str, step: &Step, names: &mut Names) -> Result<Template, CycleError> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let word = from[1..].split_once('}').map(|(word, _)| word);
        match word.filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        {
            Some(word) => {
                if !names.known.contains(word) {
                    let (step, variable) = (step.name.clone(), word.to_owned());
                    return Err(CycleError::UnknownVariable { step, variable });
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Slot(names.slot(word)));
                rest = &from[word.len() + 2..];
            }
            None => {
                plain.push('{');
                rest = &from[1..];
            }
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Template(pieces))
}

impl Template {
    fn texts<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Slot(slot) => slots[*slot].as_deref().unwrap_or_default(),
        })
    }

    fn is_complete(&self, slots: &Slots) -> bool {
        self.0.iter().all(|piece| match piece {
            Piece::Text(_) => true,
            Piece::Slot(slot) => slots[*slot].is_some(),
        })
    }
}

impl ReadyStep {
    /// Whether every variable has a value.
    pub(super) fn is_complete(&self, slots: &Slots) -> bool {
        self.head.is_complete(slots) && self.body.as_ref().is_none_or(|body| body.is_complete(slots))
    }

    /// Writes the request into `out`.
    pub(super) fn render(&self, slots: &Slots, out: &mut Vec<u8>) {
        out.clear();
        for text in self.head.texts(slots) {
            out.extend_from_slice(text.as_bytes());
        }
        match &self.body {
            None => out.extend_from_slice(b"\r\n"),
            Some(body) => {
                let length: usize = body.texts(slots).map(str::len).sum();
                out.extend_from_slice(length.to_string().as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
                for text in body.texts(slots) {
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn site() -> Site {
        let mut site = Site::bare(SocketAddr::from(([127, 0, 0, 1], 8776)));
        site.headers.push(("X-Auth-Token".to_owned(), "u:p".to_owned()));
        site
    }

    #[test]
    fn a_request_is_written_with_the_values_of_its_variables() {
        let steps = vec![
            Step::new("create", "POST", "/attachments", &[200])
                .body(json!({"attachment": {"volume_uuid": "{volume}", "x": {"{": "{}"}}}))
                .capture("attachment", "attachment.id"),
            Step::new("delete", "DELETE", "/attachments/{attachment}", &[200]),
        ];
        let program = Program::new(&Cycle::new("c", steps), &site(), ["volume"]).expect("usable");
        let mut slots = program.slots(&Unit::from([("volume".to_owned(), "v1".to_owned())]));
        let mut out = Vec::new();
        program.steps[0].render(&slots, &mut out);
        let body = r#"{"attachment":{"volume_uuid":"v1","x":{"{":"{}"}}}"#;
        let expected = format!(
            "POST /v3/attachments HTTP/1.1\r\nHost: 127.0.0.1:8776\r\nX-Auth-Token: u:p\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert!(!program.steps[1].is_complete(&slots));
        slots[program.steps[0].captures[0].0] = Some("a1".to_owned());
        program.steps[1].render(&slots, &mut out);
        let expected = "DELETE /v3/attachments/a1 HTTP/1.1\r\nHost: 127.0.0.1:8776\r\nX-Auth-Token: u:p\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
        program.forget(&mut slots);
        assert!(program.steps[0].is_complete(&slots) && !program.steps[1].is_complete(&slots));
    }

    #[test]
    fn a_cycle_that_cannot_work_says_why() {
        let get = |name: &str, path: &str| Step::new(name, "GET", path, &[200]);
        let taken = |name: &str| CycleError::NameTaken(name.to_owned());
        for (steps, expected) in [
            (vec![], CycleError::Empty("c".to_owned())),
            (vec![get("a", "/"), get("a", "/")], taken("a")),
            (vec![get("a", "/").undoes("b"), get("b", "/")], CycleError::NoSuchStep("b".to_owned())),
            (
                vec![get("a", "/{later}"), get("b", "/").capture("later", "x")],
                CycleError::UnknownVariable { step: "a".to_owned(), variable: "later".to_owned() },
            ),
            (vec![get("a", "/ HTTP/1.1\r\nX: y")], CycleError::Unsendable("/ HTTP/1.1\r\nX: y".to_owned())),
        ] {
            let error = Program::new(&Cycle::new("c", steps), &site(), []).expect_err("not usable");
            assert_eq!(error, expected);
        }
    }
}
