//! Makes the calls of one table and compares: every answer at each version that changes it and at the last before the next
//! change, every request as the sample has it and with a member that nobody knows.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use hearth::api::microversion::{BLOCK_STORAGE, COMPUTE};
use serde_json::{Value, json};

use super::shape::Shape;
use super::table::{self, Area, Entry, State};
use crate::api::harness::{ADMIN, Got, Harness};

/// A member that nobody knows.
const UNKNOWN: &str = "unheard_of";

/// Where, and with which body.
pub type Call = (String, Value);

/// The same each time.
pub fn always(path: &str, body: Value) -> impl AsyncFn() -> Call + use<> {
    let call = (path.to_owned(), body);
    async move || call.clone()
}

pub struct Bench {
    pub harness: Harness,
    area: Area,
    /// Positions of the entries that were tried.
    tried: RefCell<BTreeSet<usize>>,
    names: Cell<u32>,
}

impl Bench {
    pub async fn start(area: &str) -> Self {
        Self::on(Harness::start().await, area)
    }

    pub fn on(harness: Harness, area: &str) -> Self {
        let area = table::areas().into_iter().find(|found| found.name == area).expect("the area has a table");
        Self { harness, area, tried: RefCell::default(), names: Cell::default() }
    }

    /// Every served entry must have been tried.
    pub async fn finish(self) {
        self.harness.stop().await;
        let tried = self.tried.into_inner();
        let left: Vec<String> = (0..)
            .zip(&self.area.entries)
            .filter(|(at, entry)| entry.state != State::NotServed && !tried.contains(at))
            .map(|(_, entry)| entry.name())
            .collect();
        assert!(left.is_empty(), "never tried: {left:#?}");
    }

    /// Compares what is read.
    pub async fn reads(&self, call: &str, path: &str) {
        self.answers(call, async |_| (path.to_owned(), Value::Null)).await;
    }

    /// Compares the answers to what `prepare` gives, which is asked anew for each version.
    pub async fn answers(&self, call: &str, prepare: impl AsyncFn(&str) -> Call) {
        let ladder: Vec<(usize, &Entry)> =
            (0..).zip(&self.area.entries).filter(|(_, entry)| !entry.is_request && entry.call == call).collect();
        assert!(!ladder.is_empty(), "no answer of {call} is in the table");
        for version in versions(ladder.iter().map(|(_, entry)| *entry)) {
            let reached = ladder.iter().map(|(_, entry)| entry.since).filter(|since| *since <= version).max();
            let in_force: Vec<_> = ladder.iter().filter(|(_, entry)| Some(entry.since) == reached).collect();
            let named = format!("{}.{version}", if ladder[0].1.is_compute() { 2 } else { 3 });
            let (path, body) = prepare(&named).await;
            let got = self.send(call, &path, &named, &body).await;
            for (at, entry) in in_force {
                self.tried.borrow_mut().insert(*at);
                if let State::Refused(status) = entry.state {
                    assert_eq!(got.status, status, "{} at {named}: {}", entry.name(), got.text);
                    continue;
                }
                assert!((200..400).contains(&got.status), "{call} at {named}: {} {}", got.status, got.text);
                let differences = differences(entry, &got);
                let is_other = entry.state == State::Other;
                let name = entry.name();
                assert_eq!(differences.is_empty(), !is_other, "{name} at {named}: {differences:#?} in {}", got.text);
            }
        }
    }

    /// [`Self::accepts`], and the answers too.
    pub async fn exchanges(&self, sample: &str, prepare: impl AsyncFn() -> Call) {
        self.accepts(sample, &prepare).await;
        let call = self.entry(sample).1.call;
        self.answers(call, async |_| prepare().await).await;
    }

    fn entry(&self, sample: &str) -> (usize, &Entry) {
        let mut entries = (0..).zip(&self.area.entries);
        entries
            .find(|(_, entry)| entry.sample == Some(sample))
            .unwrap_or_else(|| panic!("{sample} is not in the table"))
    }

    /// Sends what `prepare` gives, which must be of the sample's form, once as it is and once with a member too much.
    pub async fn accepts(&self, sample: &str, prepare: impl AsyncFn() -> Call) {
        let (at, entry) = self.entry(sample);
        assert!(entry.is_request, "{sample} is an answer");
        self.tried.borrow_mut().insert(at);
        let form = entry.form.as_ref().expect("a request has a body");
        let (mut path, mut body) = prepare().await;
        let differences = form.differences(&body);
        assert!(differences.is_empty(), "{sample}: {differences:#?} in {body}");
        let accepted = |got: &Got| (200..300).contains(&got.status);

        let got = self.send(entry.call, &path, &entry.version(), &with_unknown(form, &body)).await;
        if !entry.is_open {
            assert_eq!(got.status, 400, "{sample} with more: {}", got.text);
            assert!(got.text.contains(UNKNOWN), "{sample} is refused for something else: {}", got.text);
        } else if let State::Refused(status) = entry.state {
            assert_eq!(got.status, status, "{sample} with more: {}", got.text);
        } else {
            assert!(accepted(&got), "{sample} with more: {} {}", got.status, got.text);
            (path, body) = prepare().await;
        }
        let got = self.send(entry.call, &path, &entry.version(), &body).await;
        match entry.state {
            State::Refused(status) => assert_eq!(got.status, status, "{sample}: {}", got.text),
            _ => {
                assert!(accepted(&got), "{sample}: {} {}", got.status, got.text);
                let is_told = self.area.entries.iter().any(|other| !other.is_request && other.call == entry.call);
                assert!(is_told || got.text.is_empty(), "{sample} is answered, and nothing told how: {}", got.text);
            }
        }
    }

    /// A name that nothing has.
    pub fn fresh_name(&self) -> String {
        let number = self.names.get();
        self.names.set(number + 1);
        format!("n{number}")
    }

    /// Makes something and tells its id, which is in the answer at `pointer`.
    pub async fn made(&self, (path, body): Call, pointer: &str) -> String {
        let got = self.harness.post(&path, &body).token(ADMIN).volume("3.71").send().await;
        assert!((200..300).contains(&got.status), "{path}: {} {}", got.status, got.text);
        got.json().pointer(pointer).and_then(Value::as_str).expect("an id").to_owned()
    }

    /// An available volume with metadata.
    pub async fn volume(&self) -> String {
        self.harness.volume(ADMIN, json!({"size": 1, "name": "v", "metadata": {"k": "v"}})).await
    }

    /// An available volume that several servers may have.
    pub async fn shared_volume(&self) -> String {
        let members = json!({"name": "shared", "extra_specs": {"multiattach": "<is> True"}});
        let kind = self.made(("/v3/types".to_owned(), json!({"volume_type": members})), "/volume_type/id").await;
        self.harness.volume(ADMIN, json!({"size": 1, "volume_type": kind, "metadata": {"k": "v"}})).await
    }

    /// An available snapshot with metadata.
    pub async fn snapshot(&self, volume: &str) -> String {
        let members = json!({"volume_id": volume, "name": "s", "metadata": {"key": "v"}});
        let id = self.made(("/v3/snapshots".to_owned(), json!({"snapshot": members})), "/snapshot/id").await;
        self.harness.until_at(&format!("/v3/snapshots/{id}"), "/snapshot/status", &json!("available")).await;
        id
    }

    async fn send(&self, call: &str, path: &str, version: &str, body: &Value) -> Got {
        let method = call.split(' ').next().expect("a method");
        let asking = self.harness.ask(method, path).token(ADMIN);
        let asking = if call.contains(" /compute/") { asking.compute(version) } else { asking.volume(version) };
        let asking = if body.is_null() { asking } else { asking.json(body) };
        asking.send().await
    }
}

fn differences(entry: &Entry, got: &Got) -> Vec<String> {
    match &entry.form {
        Some(form) => form.differences(&got.json()),
        None if got.text.is_empty() => Vec::new(),
        None => vec!["a body".to_owned()],
    }
}

/// Where the answer of a call changes, and the last version before each change.
fn versions<'a>(ladder: impl Iterator<Item = &'a Entry> + Clone) -> BTreeSet<u32> {
    let latest = if ladder.clone().any(Entry::is_compute) { COMPUTE.1 } else { BLOCK_STORAGE.1 };
    let first = ladder.clone().map(|entry| entry.since).min();
    let around = ladder.map(|entry| entry.since).flat_map(|since| [since.saturating_sub(1), since]);
    around.chain([latest.minor]).filter(|version| Some(*version) >= first).collect()
}

/// A member more, in the innermost object that is no map.
fn with_unknown(form: &Shape, body: &Value) -> Value {
    let mut body = body.clone();
    let members = body.as_object_mut().expect("a body is an object");
    match (form.only_member(), members.values_mut().next()) {
        (Some(inner), Some(Value::Object(members))) if !inner.is_map() => {
            members.insert(UNKNOWN.to_owned(), json!("x"));
        }
        _ => {
            members.insert(UNKNOWN.to_owned(), json!("x"));
        }
    }
    body
}
