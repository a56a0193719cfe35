//! Named points at which the process can be told to die at once, without any clean-up, as by `kill -9` at exactly that
//! instruction. For the crash tests; armed by `faults.crash_at`, and only with `faults.enabled`.
//!
//! The store, the driver pool and the HTTP layer call [`pass`] where a crash would be hardest; the command line arms one
//! point. It never decides anything and never fails in any other way. While nothing is armed a passage costs one relaxed
//! load of a flag that nobody writes.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where the process can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// A group of transactions is written and not committed.
    CommitBefore,
    /// The group is committed and nobody has been told.
    CommitAfter,
    /// What the journal held is written to the tables and not committed; alone, without a group of transactions.
    SettleBefore,
    /// That is committed.
    SettleAfter,
    /// The answer to a request that may change something is made and not sent.
    ReplyBefore,
    /// A driver's step is committed as an intent and not begun.
    DriverBefore,
    /// A driver has returned and nobody has been told.
    DriverAfter,
}

impl CrashPoint {
    /// Every point.
    pub const ALL: [Self; 7] = [
        Self::CommitBefore,
        Self::CommitAfter,
        Self::SettleBefore,
        Self::SettleAfter,
        Self::ReplyBefore,
        Self::DriverBefore,
        Self::DriverAfter,
    ];

    /// Its name in `faults.crash_at`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommitBefore => "commit.before",
            Self::CommitAfter => "commit.after",
            Self::SettleBefore => "settle.before",
            Self::SettleAfter => "settle.after",
            Self::ReplyBefore => "reply.before",
            Self::DriverBefore => "driver.before",
            Self::DriverAfter => "driver.after",
        }
    }
}

/// `faults.crash_at`: die at the nth passage of a point, counted from 1. Written `commit.after:17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashAt {
    /// Where.
    pub point: CrashPoint,
    /// At which passage.
    pub nth: NonZeroU64,
}

impl fmt::Display for CrashAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.point.name(), self.nth)
    }
}

/// The text names no crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be POINT:N with N from 1 and one of the points commit.before, commit.after, settle.before, settle.after, reply.before, driver.before, driver.after"
)]
pub struct NoCrashPoint;

impl FromStr for CrashAt {
    type Err = NoCrashPoint;

    fn from_str(text: &str) -> Result<Self, NoCrashPoint> {
        let (name, nth) = text.split_once(':').ok_or(NoCrashPoint)?;
        let point = CrashPoint::ALL.into_iter().find(|point| point.name() == name).ok_or(NoCrashPoint)?;
        Ok(Self { point, nth: nth.parse().map_err(|_| NoCrashPoint)? })
    }
}

struct Plan {
    at: CrashAt,
    passed: AtomicU64,
}

/// Beside [`PLAN`], so that a passage while nothing is armed is one load.
static ARMED: AtomicBool = AtomicBool::new(false);
static PLAN: OnceLock<Plan> = OnceLock::new();

/// From now on passages count. Once in a process: later calls change nothing.
pub fn arm(at: CrashAt) {
    if PLAN.set(Plan { at, passed: AtomicU64::new(0) }).is_ok() {
        ARMED.store(true, Ordering::Release);
    }
}

/// The caller is at `point`.
#[inline]
pub fn pass(point: CrashPoint) {
    if ARMED.load(Ordering::Relaxed) {
        count(point);
    }
}

#[cold]
fn count(point: CrashPoint) {
    let Some(plan) = PLAN.get().filter(|plan| plan.at.point == point) else { return };
    if plan.passed.fetch_add(1, Ordering::Relaxed) + 1 == plan.at.nth.get() {
        eprintln!("hearth: dies at the crash point {}", plan.at);
        // neither destructors nor exit handlers run: what is not on disk by now never comes there
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_and_written_alike() {
        for point in CrashPoint::ALL {
            let text = format!("{}:17", point.name());
            let at: CrashAt = text.parse().expect("a crash point");
            assert_eq!((at.point, at.nth.get(), at.to_string()), (point, 17, text));
        }
        for bad in ["", "commit.after", "commit.after:0", "commit.after:-1", "commit.after:x", "commit:1", ":1"] {
            assert_eq!(bad.parse::<CrashAt>(), Err(NoCrashPoint), "{bad}");
        }
    }

    #[test]
    fn passages_while_nothing_is_armed_change_nothing() {
        for point in CrashPoint::ALL {
            pass(point);
        }
        assert!(PLAN.get().is_none());
    }
}
