//! What a storm has measured, for programs (JSON) and for people (a table).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::audit::Audit;
use super::engine::{Pace, Plan};
use super::record::{Interval, Ledger, Recorder};

/// The number in [`Report::format`]: raised when a member changes its meaning or goes. New members do not raise it.
pub const FORMAT: u32 = 1;

/// `hearth storm --json`. All latencies are in microseconds; rates are per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The cycle's name: the variant.
    pub variant: String,
    /// Simulated clients.
    pub clients: usize,
    /// Threads of the load generator.
    pub threads: usize,
    /// Volumes that were there before it, for the clients to work on.
    pub volumes: usize,
    /// Open loop: rounds due a second. None: closed loop.
    pub rate: Option<f64>,
    /// From the end of the warm-up to the last answer.
    pub seconds: f64,
    /// HTTP requests in that time, repeated looks included.
    pub requests: u64,
    /// `requests / seconds`.
    pub requests_per_second: f64,
    /// Rounds that went through all their steps.
    pub cycles: u64,
    /// `cycles / seconds`.
    pub cycles_per_second: f64,
    /// Rounds that ended with an expected refusal.
    pub cycles_refused: u64,
    /// Rounds that ended with a failure.
    pub cycles_failed: u64,
    /// Open loop: rounds that were due and never begun, because every client was busy until the end. More than none: the
    /// latencies are better than what real clients would have seen.
    pub unstarted: u64,
    /// Of whole rounds; in an open loop from the time they were due.
    pub cycle_latency_us: Latency,
    /// Of all steps together; a step that looks repeatedly counts once, until what it waits for is there.
    pub latency_us: Latency,
    /// Every step of the cycle, in order.
    pub steps: Vec<StepReport>,
    /// Every second after the warm-up.
    pub over_time: Vec<Second>,
    /// What the load generator itself took.
    pub generator: Generator,
    /// The first failures, in words.
    pub failures: Vec<String>,
    /// See [`super::Cycle::exclusive`]: more than none is a broken promise of the service.
    pub overlaps: u64,
    /// What is true of the volumes afterwards; none: it was not looked at.
    pub audit: Option<Audit>,
    /// Successes and unknown outcomes of each step, warm-up included, for the audit.
    #[serde(skip)]
    pub(super) ledgers: Vec<Ledger>,
}

/// A distribution of latencies, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile);
        let (max, mean) = (histogram.max(), histogram.mean());
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max, mean }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// HTTP requests.
    pub requests: u64,
    /// Times it ended as expected.
    pub answered: u64,
    /// Times it ended with an expected refusal.
    pub refused: u64,
    /// Times it ended otherwise.
    pub failed: u64,
    /// How it ended, and how often: HTTP statuses, `timeout`, `no connection`, `closed`, `broken`, `not understood`,
    /// `no id in the answer`, `ended in error`, `never came`.
    pub outcomes: BTreeMap<String, u64>,
    /// However it ended.
    pub latency_us: Latency,
}

/// One second (the last may be shorter).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// From the start of the storm (warm-up included) to the end of this second.
    pub at: f64,
    /// HTTP requests a second.
    pub requests_per_second: f64,
    /// Completed rounds a second.
    pub cycles_per_second: f64,
    /// HTTP requests.
    pub requests: u64,
    /// Failed steps.
    pub failed: u64,
    /// Of steps that ended in it.
    pub latency_us: Latency,
}

impl Second {
    #[expect(clippy::cast_precision_loss, reason = "counts, far below 2^53")]
    pub(super) fn of(begun: Duration, length: Duration, interval: &Interval) -> Self {
        let length_s = length.as_secs_f64().max(f64::EPSILON);
        Self {
            at: (begun + length).as_secs_f64(),
            requests_per_second: interval.requests as f64 / length_s,
            cycles_per_second: interval.cycles as f64 / length_s,
            requests: interval.requests,
            failed: interval.failed,
            latency_us: Latency::of(&interval.latency),
        }
    }
}

/// The load generator's own share of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Processor time of its threads, warm-up included, seconds.
    pub cpu_seconds: f64,
    /// The same for each request.
    pub cpu_us_per_request: f64,
}

/// What the engine has measured.
pub(super) struct Measured {
    pub(super) total: Recorder,
    pub(super) elapsed: Duration,
    pub(super) over_time: Vec<Second>,
    pub(super) cpu: Duration,
    /// All requests, warm-up included.
    pub(super) sent: u64,
    pub(super) unstarted: u64,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "counts, far below 2^53")]
    pub(super) fn of(plan: &Plan, measured: &Measured) -> Self {
        let total = &measured.total;
        let seconds = measured.elapsed.as_secs_f64();
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let mut all = super::record::histogram();
        let mut steps = Vec::with_capacity(total.steps.len());
        for (step, record) in plan.cycle.steps.iter().zip(&total.steps) {
            all.add(&record.latency).expect("all histograms have the same bounds");
            steps.push(StepReport {
                name: step.name.clone(),
                requests: record.requests,
                answered: record.answered,
                refused: record.refused,
                failed: record.failed,
                outcomes: record.labels.iter().map(|(label, count)| (label.to_string(), *count)).collect(),
                latency_us: Latency::of(&record.latency),
            });
        }
        let requests = steps.iter().map(|step| step.requests).sum();
        let cpu_seconds = measured.cpu.as_secs_f64();
        Self {
            format: FORMAT,
            variant: plan.cycle.name.clone(),
            clients: plan.clients,
            threads: plan.threads,
            volumes: plan.units.iter().filter(|unit| unit.contains_key("volume")).count(),
            rate: match plan.pace {
                Pace::Closed => None,
                Pace::Open { per_second } => Some(per_second),
            },
            seconds,
            requests,
            requests_per_second: rate(requests),
            cycles: total.completed,
            cycles_per_second: rate(total.completed),
            cycles_refused: total.refused,
            cycles_failed: total.failed,
            unstarted: measured.unstarted,
            cycle_latency_us: Latency::of(&total.cycle),
            latency_us: Latency::of(&all),
            steps,
            over_time: measured.over_time.clone(),
            generator: Generator { cpu_seconds, cpu_us_per_request: cpu_seconds * 1e6 / (measured.sent.max(1) as f64) },
            failures: total.complaints.clone(),
            overlaps: total.overlaps,
            audit: None,
            ledgers: total.steps.iter().map(|step| step.ledger).collect(),
        }
    }

    /// Whether every round ended as it should.
    pub fn is_clean(&self) -> bool {
        self.cycles_failed == 0 && self.overlaps == 0
    }
}

/// Milliseconds with as many digits as can be told apart.
fn millis(micros: u64) -> String {
    let (whole, rest) = (micros / 1_000, micros % 1_000);
    match whole {
        0..10 => format!("{whole}.{rest:03}"),
        10..100 => format!("{whole}.{:02}", rest / 10),
        _ => format!("{whole}.{}", rest / 100),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pace = match self.rate {
            None => "closed loop".to_owned(),
            Some(rate) => format!("open loop, {rate} cycles/s due"),
        };
        writeln!(f, "{}: {} clients, {} volumes, {pace}", self.variant, self.clients, self.volumes)?;
        writeln!(
            f,
            "{:.1} s: {:.0} requests/s, {:.0} cycles/s ({} completed, {} refused, {} failed); the generator took {:.1} \
             µs of processor time a request",
            self.seconds,
            self.requests_per_second,
            self.cycles_per_second,
            self.cycles,
            self.cycles_refused,
            self.cycles_failed,
            self.generator.cpu_us_per_request,
        )?;
        if self.unstarted > 0 {
            writeln!(
                f,
                "{} rounds that were due were never begun: more is asked than is served, and the latencies below are too \
                 good",
                self.unstarted
            )?;
        }
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0).max("all steps".len());
        writeln!(
            f,
            "\n{:width$} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  outcomes",
            "ms", "count", "p50", "p90", "p99", "p99.9", "max"
        )?;
        let mut line = |name: &str, count: u64, latency: &Latency, outcomes: &str| {
            let [p50, p90, p99, p999, max] =
                [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(millis);
            let text = format!("{name:width$} {count:>9} {p50:>9} {p90:>9} {p99:>9} {p999:>9} {max:>9}  {outcomes}");
            writeln!(f, "{}", text.trim_end())
        };
        for step in &self.steps {
            let outcomes = step.outcomes.iter().map(|(label, count)| format!("{label}: {count}"));
            let outcomes = outcomes.collect::<Vec<_>>().join(", ");
            line(&step.name, step.answered + step.refused + step.failed, &step.latency_us, &outcomes)?;
        }
        let ended = self.steps.iter().map(|step| step.answered + step.refused + step.failed).sum();
        line("all steps", ended, &self.latency_us, "")?;
        line("cycle", self.cycles, &self.cycle_latency_us, "")?;
        for failure in &self.failures {
            writeln!(f, "failed: {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_printed_with_three_digits_at_least() {
        for (micros, text) in [
            (0, "0.000"),
            (999, "0.999"),
            (1_001, "1.001"),
            (12_345, "12.34"),
            (123_456, "123.4"),
            (60_000_000, "60000.0"),
        ] {
            assert_eq!(millis(micros), text);
        }
    }
}
