//! The circuit breaker of one driver: when many different volumes or guests in a row find it unreachable, further calls
//! are turned away for a while instead of piling up.
//!
//! A failure counts once per *fault domain* (the volume, or the guest), because one hung volume or one dead guest that is
//! retried must not close the backend for the others (promise I7).

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// When the circuit opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Consecutive failures, each of another volume or guest, which open the circuit.
    pub failures: usize,
    /// How long it stays open the first time; doubles with each failed trial.
    pub backoff: Duration,
    /// The longest time it stays open.
    pub backoff_max: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failures: 8, backoff: Duration::from_secs(1), backoff_max: Duration::from_secs(30) }
    }
}

/// How one call bears on the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The driver answered, whatever it said.
    Reachable,
    /// `Failed{Unavailable}`, or no answer before the deadline.
    Unreachable,
    /// Says nothing about the driver as a whole.
    Neutral,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { trial: bool },
}

/// The circuit.
#[derive(Debug)]
pub struct Breaker {
    options: BreakerOptions,
    state: State,
    failing: BTreeSet<String>,
    backoff: Duration,
    opened: u64,
}

impl Breaker {
    /// A closed circuit.
    pub fn new(options: BreakerOptions) -> Self {
        Self { options, state: State::Closed, failing: BTreeSet::new(), backoff: options.backoff, opened: 0 }
    }

    /// Whether a call may pass now. In the half-open circuit one call is the trial; probes pass beside it, because they
    /// change nothing and settle what is unknown.
    pub fn admit(&mut self, now: Instant, is_probe: bool) -> bool {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.state = State::HalfOpen { trial: false };
        }
        match &mut self.state {
            State::Closed => true,
            State::Open { .. } => false,
            State::HalfOpen { .. } if is_probe => true,
            State::HalfOpen { trial } => !std::mem::replace(trial, true),
        }
    }

    /// Notes how a call ended.
    pub fn record(&mut self, now: Instant, domain: &dyn Display, verdict: Verdict) {
        match (verdict, self.state) {
            (Verdict::Reachable, State::Closed | State::HalfOpen { .. }) => {
                self.state = State::Closed;
                self.failing.clear();
                self.backoff = self.options.backoff;
            }
            // Answers of calls from before the circuit opened say nothing about the present: the trial decides.
            (_, State::Open { .. }) => {}
            (Verdict::Unreachable, State::Closed) => {
                self.failing.insert(domain.to_string());
                if self.failing.len() >= self.options.failures.max(1) {
                    self.open(now);
                }
            }
            (Verdict::Unreachable, State::HalfOpen { .. }) => {
                self.backoff = self.backoff.saturating_mul(2).min(self.options.backoff_max);
                self.open(now);
            }
            // A trial that ended without a verdict (a panic, an unknown outcome) leaves the place for another.
            (Verdict::Neutral, State::HalfOpen { .. }) => self.state = State::HalfOpen { trial: false },
            (Verdict::Neutral, State::Closed) => {}
        }
    }

    /// `closed`, `open` or `half_open`.
    pub fn word(&self, now: Instant) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { until } if now < until => "open",
            State::Open { .. } | State::HalfOpen { .. } => "half_open",
        }
    }

    /// How often it has opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open { until: now + self.backoff };
        self.failing.clear();
        self.opened += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Instant) {
        let options =
            BreakerOptions { failures: 3, backoff: Duration::from_secs(1), backoff_max: Duration::from_secs(3) };
        (Breaker::new(options), Instant::now())
    }

    fn fail(breaker: &mut Breaker, now: Instant, domains: &[&str]) {
        for domain in domains {
            breaker.record(now, domain, Verdict::Unreachable);
        }
    }

    #[test]
    fn opens_after_failures_of_different_volumes_only() {
        let (mut breaker, now) = breaker();
        fail(&mut breaker, now, &["a", "a", "a", "a", "b"]);
        assert_eq!(breaker.word(now), "closed");
        fail(&mut breaker, now, &["c"]);
        assert_eq!(breaker.word(now), "open");
        assert!(!breaker.admit(now, false));
        assert!(!breaker.admit(now, true));
    }

    #[test]
    fn an_answer_in_between_starts_the_count_again() {
        let (mut breaker, now) = breaker();
        fail(&mut breaker, now, &["a", "b"]);
        breaker.record(now, &"d", Verdict::Reachable);
        fail(&mut breaker, now, &["c", "d"]);
        assert_eq!(breaker.word(now), "closed");
    }

    #[test]
    fn half_open_admits_one_trial_and_every_probe() {
        let (mut breaker, now) = breaker();
        fail(&mut breaker, now, &["a", "b", "c"]);
        let later = now + Duration::from_secs(1);
        assert!(breaker.admit(later, false));
        assert!(!breaker.admit(later, false));
        assert!(breaker.admit(later, true));
        breaker.record(later, &"a", Verdict::Reachable);
        assert_eq!(breaker.word(later), "closed");
    }

    #[test]
    fn a_failed_trial_doubles_the_backoff_up_to_its_bound() {
        let (mut breaker, mut now) = breaker();
        fail(&mut breaker, now, &["a", "b", "c"]);
        for seconds in [1, 2, 3, 3] {
            assert!(!breaker.admit(now + Duration::from_millis(seconds * 1_000 - 1), false), "{seconds}");
            now += Duration::from_secs(seconds);
            assert!(breaker.admit(now, false), "{seconds}");
            breaker.record(now, &"a", Verdict::Unreachable);
        }
        assert_eq!(breaker.opened(), 5);
    }
}
