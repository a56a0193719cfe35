//! How long simulated calls take.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::runtime::Randomness;

use super::faults::{FaultError, check_request_name};

/// A distribution of durations, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "snake_case")]
pub enum Latency {
    /// Always the same.
    Fixed {
        /// µs.
        us: u64,
    },
    /// Evenly between two bounds, both included.
    Uniform {
        /// µs.
        min_us: u64,
        /// µs.
        max_us: u64,
    },
    /// Mostly short, sometimes long.
    Exponential {
        /// µs.
        mean_us: u64,
        /// µs; longer ones are cut.
        max_us: u64,
    },
}

impl Default for Latency {
    fn default() -> Self {
        Self::Fixed { us: 0 }
    }
}

impl Latency {
    /// One duration.
    pub fn draw(self, randomness: &Randomness) -> Duration {
        const STEPS: u64 = 1 << 32;
        let us = match self {
            Self::Fixed { us } => us,
            Self::Uniform { min_us, max_us } if max_us > min_us => {
                min_us + randomness.below((max_us - min_us).saturating_add(1))
            }
            Self::Uniform { min_us, .. } => min_us,
            Self::Exponential { mean_us, max_us } => {
                #[expect(clippy::cast_precision_loss, reason = "32 bits of chance are enough")]
                let chance = (randomness.below(STEPS) as f64 + 0.5) / STEPS as f64;
                Duration::from_micros(mean_us)
                    .mul_f64(-chance.ln())
                    .min(Duration::from_micros(max_us))
                    .as_micros()
                    .try_into()
                    .unwrap_or(max_us)
            }
        };
        Duration::from_micros(us)
    }
}

impl FromStr for Latency {
    type Err = FaultError;

    /// `5ms`, `200us..5ms` (uniform) or `~5ms..1s` (exponential with a mean and a bound).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (text, exponential) = text.strip_prefix('~').map_or((text, false), |rest| (rest, true));
        match (text.split_once(".."), exponential) {
            (Some((mean, max)), true) => {
                Ok(Self::Exponential { mean_us: microseconds(mean)?, max_us: microseconds(max)? })
            }
            (Some((min, max)), false) => {
                let (min_us, max_us) = (microseconds(min)?, microseconds(max)?);
                if min_us > max_us {
                    return Err(FaultError::BadLatency(text.to_owned()));
                }
                Ok(Self::Uniform { min_us, max_us })
            }
            (None, false) => Ok(Self::Fixed { us: microseconds(text)? }),
            (None, true) => Err(FaultError::BadLatency(text.to_owned())),
        }
    }
}

fn microseconds(text: &str) -> Result<u64, FaultError> {
    let bad = || FaultError::BadLatency(text.to_owned());
    let digits = text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let factor = match &text.trim()[digits.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return Err(bad()),
    };
    number.checked_mul(factor).ok_or_else(bad)
}

/// The latency of each request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LatencyTable {
    /// Requests which are not named.
    pub default: Latency,
    /// By request name.
    pub requests: BTreeMap<String, Latency>,
}

impl LatencyTable {
    /// The same for all requests.
    pub fn all(latency: Latency) -> Self {
        Self { default: latency, requests: BTreeMap::new() }
    }

    /// The latency of `request`.
    pub fn of(&self, request: &str) -> Latency {
        self.requests.get(request).copied().unwrap_or(self.default)
    }
}

impl FromStr for LatencyTable {
    type Err = FaultError;

    /// `5ms`, or `create=5ms,default=1ms..3ms`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut table = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None | Some(("default", _)) => {
                    table.default = part.strip_prefix("default=").unwrap_or(part).parse()?;
                }
                Some((request, latency)) => {
                    check_request_name(request)?;
                    table.requests.insert(request.to_owned(), latency.parse()?);
                }
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_from_text() {
        let table: LatencyTable = "create=5ms,default=200us..1ms,extend=~1ms..1s".parse().unwrap();
        assert_eq!(table.of("create"), Latency::Fixed { us: 5_000 });
        assert_eq!(table.of("delete"), Latency::Uniform { min_us: 200, max_us: 1_000 });
        assert_eq!(table.of("extend"), Latency::Exponential { mean_us: 1_000, max_us: 1_000_000 });
        for bad in ["5", "crate=5ms", "3ms..1ms", "~3ms", "5h", "ms"] {
            assert!(bad.parse::<LatencyTable>().is_err(), "{bad}");
        }
    }

    #[test]
    fn draws_stay_within_their_bounds_and_repeat_with_the_seed() {
        for latency in [Latency::Uniform { min_us: 10, max_us: 12 }, Latency::Exponential { mean_us: 10, max_us: 30 }] {
            let draw = || {
                let randomness = Randomness::from_seed(7);
                (0..200).map(|_| latency.draw(&randomness).as_micros()).collect::<Vec<_>>()
            };
            assert_eq!(draw(), draw());
            let (least, most) = match latency {
                Latency::Uniform { min_us, max_us } => (u128::from(min_us), u128::from(max_us)),
                Latency::Exponential { max_us, .. } => (0, u128::from(max_us)),
                Latency::Fixed { .. } => unreachable!(),
            };
            assert!(draw().iter().all(|us| (least..=most).contains(us)));
            assert!(draw().iter().min() < draw().iter().max());
        }
    }
}
