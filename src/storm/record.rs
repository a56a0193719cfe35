//! What one thread's clients have measured.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Latencies are kept in microseconds, up to this one: longer waits end by a timeout.
const LONGEST_US: u64 = 3_600_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// Failures that are told in words; the others are only counted.
pub(super) const COMPLAINTS_MAX: usize = 10;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As expected.
    Answered,
    /// With one of the statuses that are a normal refusal.
    Refused,
    /// Otherwise.
    Failed,
}

/// What ended a step: an HTTP status, or a word where there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// HTTP status.
    Status(u16),
    /// `timeout`, `closed`…
    Word(&'static str),
}

impl Label {
    /// Whether nobody can tell if the request has had its effect.
    fn is_unknown(self) -> bool {
        match self {
            Self::Status(status) => status >= 500,
            Self::Word(word) => word != "no connection",
        }
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// A histogram of latencies.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("constant bounds that hdrhistogram accepts")
}

fn micros(latency: Duration) -> u64 {
    u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US).min(LONGEST_US)
}

/// One step of the cycle.
pub(super) struct StepRecord {
    pub(super) requests: u64,
    pub(super) answered: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) labels: BTreeMap<Label, u64>,
    pub(super) latency: Histogram<u64>,
    /// Successes and outcomes that nobody knows, warm-up included: for the balance of counts.
    pub(super) ledger: Ledger,
}

/// Successes of a step since the very beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) answered: u64,
    pub(super) unknown: u64,
}

/// What happened since somebody last looked.
pub(super) struct Interval {
    pub(super) requests: u64,
    pub(super) cycles: u64,
    pub(super) failed: u64,
    pub(super) latency: Histogram<u64>,
}

impl Interval {
    pub(super) fn new() -> Self {
        Self { requests: 0, cycles: 0, failed: 0, latency: histogram() }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.cycles += other.cycles;
        self.failed += other.failed;
        merge(&mut self.latency, &other.latency);
    }

    fn clear(&mut self) {
        (self.requests, self.cycles, self.failed) = (0, 0, 0);
        self.latency.reset();
    }
}

fn merge(into: &mut Histogram<u64>, other: &Histogram<u64>) {
    into.add(other).expect("all histograms have the same bounds");
}

/// Everything of one thread.
pub(super) struct Recorder {
    pub(super) steps: Vec<StepRecord>,
    /// Whole rounds that were completed.
    pub(super) cycle: Histogram<u64>,
    pub(super) completed: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) interval: Interval,
    pub(super) complaints: Vec<String>,
    /// When the last measured step ended.
    pub(super) last_end: Option<Instant>,
    /// Rounds begun, warm-up included.
    pub(super) begun: u64,
    /// See [`super::Cycle::exclusive`].
    pub(super) overlaps: u64,
}

/// A step that has ended.
pub(super) struct StepEnd<'a> {
    pub(super) index: usize,
    pub(super) ending: Ending,
    pub(super) label: Label,
    /// Requests that it took.
    pub(super) requests: u64,
    /// The time from which its latency counts.
    pub(super) from: Instant,
    pub(super) at: Instant,
    pub(super) complaint: Option<&'a str>,
    /// Not in the warm-up.
    pub(super) is_measured: bool,
}

impl Recorder {
    pub(super) fn new(steps: usize) -> Self {
        let step = || StepRecord {
            requests: 0,
            answered: 0,
            refused: 0,
            failed: 0,
            labels: BTreeMap::new(),
            latency: histogram(),
            ledger: Ledger::default(),
        };
        Self {
            steps: (0..steps).map(|_| step()).collect(),
            cycle: histogram(),
            completed: 0,
            refused: 0,
            failed: 0,
            interval: Interval::new(),
            complaints: Vec::new(),
            last_end: None,
            begun: 0,
            overlaps: 0,
        }
    }

    pub(super) fn step_ended(&mut self, end: &StepEnd<'_>) {
        let latency = micros(end.at.saturating_duration_since(end.from));
        self.interval.requests += end.requests;
        self.interval.latency.saturating_record(latency);
        if end.ending == Ending::Failed {
            self.interval.failed += 1;
        }
        if let Some(complaint) = end.complaint
            && self.complaints.len() < COMPLAINTS_MAX
        {
            self.complaints.push(complaint.to_owned());
        }
        let step = &mut self.steps[end.index];
        match end.ending {
            Ending::Answered => step.ledger.answered += 1,
            Ending::Failed if end.label.is_unknown() => step.ledger.unknown += 1,
            _ => {}
        }
        if !end.is_measured {
            return;
        }
        step.requests += end.requests;
        match end.ending {
            Ending::Answered => step.answered += 1,
            Ending::Refused => step.refused += 1,
            Ending::Failed => step.failed += 1,
        }
        *step.labels.entry(end.label).or_default() += 1;
        step.latency.saturating_record(latency);
        self.last_end = self.last_end.max(Some(end.at));
    }

    pub(super) fn round_ended(&mut self, ending: Ending, from: Instant, is_measured: bool) {
        if ending == Ending::Answered {
            self.interval.cycles += 1;
        }
        if !is_measured {
            return;
        }
        match ending {
            Ending::Answered => {
                self.completed += 1;
                self.cycle.saturating_record(micros(from.elapsed()));
            }
            Ending::Refused => self.refused += 1,
            Ending::Failed => self.failed += 1,
        }
    }

    /// Moves what happened since the last call into `sum`.
    pub(super) fn take_interval(&mut self, sum: &mut Interval) {
        sum.add(&self.interval);
        self.interval.clear();
    }

    /// Adds what another thread has measured.
    pub(super) fn add(&mut self, other: &Self) {
        for (own, other) in self.steps.iter_mut().zip(&other.steps) {
            own.requests += other.requests;
            own.answered += other.answered;
            own.refused += other.refused;
            own.failed += other.failed;
            for (label, count) in &other.labels {
                *own.labels.entry(*label).or_default() += count;
            }
            merge(&mut own.latency, &other.latency);
            own.ledger.answered += other.ledger.answered;
            own.ledger.unknown += other.ledger.unknown;
        }
        merge(&mut self.cycle, &other.cycle);
        self.completed += other.completed;
        self.refused += other.refused;
        self.failed += other.failed;
        let room = COMPLAINTS_MAX.saturating_sub(self.complaints.len());
        self.complaints.extend(other.complaints.iter().take(room).cloned());
        self.last_end = self.last_end.max(other.last_end);
        self.begun += other.begun;
        self.overlaps += other.overlaps;
    }
}
