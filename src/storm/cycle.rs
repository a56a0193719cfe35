//! A cycle of requests as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one simulated client does over and over.
///
/// Paths and bodies may name variables as `{volume}`: those of the client's unit, and what earlier steps of the same round
/// captured. A brace that is not followed by a lower-case word and a closing brace is only a brace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cycle {
    /// Its name in reports.
    pub name: String,
    /// The steps of one round, in order. A step that is refused or fails ends the round; what must be undone then says so
    /// itself ([`Step::undoes`]).
    pub steps: Vec<Step>,
    /// Pairs of steps that must have succeeded equally often when all rounds are over.
    #[serde(default)]
    pub balanced: Vec<(String, String)>,
    /// Two steps, one that takes and one that gives back what only one client may hold at a time. All clients share the
    /// unit. An answer to the first that comes while another client has not yet sent the second is counted as an overlap: a
    /// request between the two makes sure that holding takes its time.
    #[serde(default)]
    pub exclusive: Option<(String, String)>,
}

/// One request of a cycle, or the same one repeated until something is true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name in reports, unique in its cycle.
    pub name: String,
    /// Whose endpoint.
    #[serde(default)]
    pub service: Service,
    /// `GET`, `POST`…
    pub method: String,
    /// Below the endpoint's path, with query: `/volumes/{volume}`.
    pub path: String,
    /// JSON body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Statuses of success.
    pub expect: Vec<u16>,
    /// Statuses that are a normal outcome, too (somebody else was first): they end the round without being an error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<u16>,
    /// Variable → where its text stands in the answer, for example `attachment.id`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captures: BTreeMap<String, String>,
    /// Repeat the request until this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// After a failure this step is carried out all the same if the named earlier one had succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
}

/// When a repeated request has its answer. Until then every success (2xx) is a "not yet".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// Where the text stands, for example `volume.status`; none: the status of the answer alone decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What it must be. A text that begins with `error` ends the wait as a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
}

/// Which endpoint a step goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Block Storage, with the path of its endpoint (`/v3`).
    #[default]
    BlockStorage,
    /// Compute, with the path of its endpoint.
    Compute,
    /// Block Storage's host without any path: `/admin/servers`, or a bare server in a bench.
    Root,
}

impl Step {
    /// A request that is expected to be answered with one of `expect`.
    pub fn new(name: &str, method: &str, path: &str, expect: &[u16]) -> Self {
        Self {
            name: name.to_owned(),
            service: Service::BlockStorage,
            method: method.to_owned(),
            path: path.to_owned(),
            body: None,
            expect: expect.to_vec(),
            refused: Vec::new(),
            captures: BTreeMap::new(),
            until: None,
            undoes: None,
        }
    }

    /// `GET path`, repeated until `member` of the answer is `value`.
    pub fn wait(name: &str, path: &str, member: &str, value: &str) -> Self {
        let until = Until { member: Some(member.to_owned()), is: Some(value.to_owned()) };
        Self { until: Some(until), ..Self::new(name, "GET", path, &[200]) }
    }

    /// `GET path`, repeated until it is 404.
    pub fn wait_gone(name: &str, path: &str) -> Self {
        Self { until: Some(Until { member: None, is: None }), ..Self::new(name, "GET", path, &[404]) }
    }

    /// To another endpoint than Block Storage's.
    pub fn at(mut self, service: Service) -> Self {
        self.service = service;
        self
    }

    /// With a body.
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With statuses that are a refusal.
    pub fn refused(mut self, statuses: &[u16]) -> Self {
        self.refused = statuses.to_vec();
        self
    }

    /// With a text to keep from its answer.
    pub fn capture(mut self, variable: &str, member: &str) -> Self {
        self.captures.insert(variable.to_owned(), member.to_owned());
        self
    }

    /// Carried out after failures, too, if `step` had succeeded.
    pub fn undoes(mut self, step: &str) -> Self {
        self.undoes = Some(step.to_owned());
        self
    }
}

impl Cycle {
    /// Steps and nothing else.
    pub fn new(name: &str, steps: Vec<Step>) -> Self {
        Self { name: name.to_owned(), steps, balanced: Vec::new(), exclusive: None }
    }
}
