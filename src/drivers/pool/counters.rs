//! How many calls ended how, by request: what `/admin/drivers` and the metrics show.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::backend::Outcome;

/// Counters by request and outcome.
#[derive(Debug, Default)]
pub struct Counters {
    ended: BTreeMap<(&'static str, &'static str), u64>,
    joined: u64,
    turned_away: u64,
    late: u64,
    panics: u64,
}

impl Counters {
    /// A call was answered with `outcome`.
    pub fn ended(&mut self, request: &'static str, outcome: &Outcome) {
        *self.ended.entry((request, word(outcome))).or_default() += 1;
    }

    /// A call was joined to an equal one.
    pub fn joined(&mut self) {
        self.joined += 1;
    }

    /// A call was not taken in.
    pub fn turned_away(&mut self) {
        self.turned_away += 1;
    }

    /// A call returned after its deadline.
    pub fn late(&mut self) {
        self.late += 1;
    }

    /// A driver panicked.
    pub fn panicked(&mut self) {
        self.panics += 1;
    }

    /// As JSON.
    pub fn view(&self) -> Value {
        let mut requests = json!({});
        for ((request, outcome), count) in &self.ended {
            requests[*request][*outcome] = json!(count);
        }
        json!({
            "requests": requests,
            "joined": self.joined,
            "turned_away": self.turned_away,
            "late_returns": self.late,
            "panics": self.panics,
        })
    }
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Done { .. } => "done",
        Outcome::Refused { .. } => "refused",
        Outcome::Failed { .. } => "failed",
        Outcome::Unknown { .. } => "unknown",
    }
}
