//! Seeded faults: which calls of the simulated backend go wrong, and how. Rules can be set while it runs; the same seed
//! and the same order of calls give the same faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::domain::backend::{Call, CauseKind};
use crate::domain::ids::VolumeId;
use crate::runtime::Randomness;

use super::latency::{Latency, LatencyTable};

/// The names of all requests, for checking rules.
pub const REQUEST_NAMES: [&str; 25] = [
    "create",
    "create_cloned_volume",
    "create_volume_from_snapshot",
    "adopt",
    "disown",
    "adopt_snapshot",
    "disown_snapshot",
    "list_objects",
    "copy_from_backend",
    "create_mirror_target",
    "delete",
    "create_snapshot",
    "delete_snapshot",
    "revert_to_snapshot",
    "extend",
    "export",
    "unexport",
    "probe",
    "plug",
    "unplug",
    "resize_guest",
    "probe_guest",
    "mirror_guest",
    "pivot_guest",
    "unmirror_guest",
];

/// The resolution of [`When::Probability`].
const CHANCES: u64 = 1_000_000;

/// A rule or latency that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No request has this name.
    #[error("there is no request named {0:?}")]
    UnknownRequest(String),
    /// Not between 0 and 1.
    #[error("a probability must be between 0 and 1")]
    BadProbability,
    /// Counts from 1.
    #[error("calls are counted from 1")]
    BadCount,
    /// Not a latency.
    #[error("{0:?} is not a latency such as 5ms or 1ms..3ms")]
    BadLatency(String),
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// The call takes longer.
    Delay {
        /// By how much.
        latency: Latency,
    },
    /// No answer until the call is released.
    Hang {
        /// The effect is there before the silence; otherwise it comes with the release.
        #[serde(default)]
        effect_first: bool,
    },
    /// `Failed` without effect.
    Fail {
        /// Kind of the cause.
        kind: CauseKind,
    },
    /// `Refused` without effect.
    Refuse {
        /// Kind of the cause.
        kind: CauseKind,
    },
    /// The effect is there, the answer is `Unknown`.
    AnswerLost,
    /// There is no effect, the answer is `Unknown`.
    NothingDone,
    /// The answer is `Unknown`, the effect comes later.
    EffectLater {
        /// How much later, µs.
        after_us: u64,
        /// The backend does not say `busy` in the meantime (a backend that lies).
        #[serde(default)]
        hidden: bool,
    },
    /// The call is carried out, and once more although its key is known, as a duplicated message would be.
    Twice {
        /// The second time is this much later, µs.
        after_us: u64,
    },
    /// The driver panics.
    Panic,
}

/// Which of the calls that a rule is about are hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "when", rename_all = "snake_case")]
pub enum When {
    /// All.
    #[default]
    Always,
    /// Only the nth, from 1.
    Nth {
        /// Which.
        n: u64,
    },
    /// Each nth.
    Every {
        /// Which.
        n: u64,
    },
    /// By chance.
    Probability {
        /// Between 0 and 1.
        p: f64,
    },
}

/// A rule. The first rule that hits a call decides; delays add to the rules after them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultRule {
    /// The request's name; all requests when absent.
    #[serde(default)]
    pub request: Option<String>,
    /// Only calls of this volume.
    #[serde(default)]
    pub volume_id: Option<VolumeId>,
    /// Which of them.
    #[serde(default)]
    pub when: When,
    /// The rule is used up after so many hits.
    #[serde(default)]
    pub times: Option<u64>,
    /// What goes wrong.
    pub fault: Fault,
}

impl FaultRule {
    /// Each call of `request`.
    pub fn on(request: &str, fault: Fault) -> Self {
        Self { request: Some(request.to_owned()), volume_id: None, when: When::Always, times: None, fault }
    }

    /// Only the next call of `request`.
    pub fn once(request: &str, fault: Fault) -> Self {
        Self { times: Some(1), ..Self::on(request, fault) }
    }

    /// Restricts the rule to one volume.
    #[must_use]
    pub fn of(self, volume_id: VolumeId) -> Self {
        Self { volume_id: Some(volume_id), ..self }
    }

    /// Restricts the rule to some of its calls.
    #[must_use]
    pub fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    fn check(&self) -> Result<(), FaultError> {
        if let Some(name) = &self.request {
            check_request_name(name)?;
        }
        match self.when {
            When::Probability { p } if !(0.0..=1.0).contains(&p) => Err(FaultError::BadProbability),
            When::Nth { n: 0 } | When::Every { n: 0 } => Err(FaultError::BadCount),
            _ => Ok(()),
        }
    }
}

/// Whether `name` is a request's.
pub fn check_request_name(name: &str) -> Result<(), FaultError> {
    if REQUEST_NAMES.contains(&name) { Ok(()) } else { Err(FaultError::UnknownRequest(name.to_owned())) }
}

/// What the plan says of one call.
pub(super) struct Decision {
    /// How long the call takes.
    pub latency: Duration,
    /// What goes wrong, other than delay.
    pub fault: Option<Fault>,
}

/// A call that hangs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HungCall {
    /// Its request.
    pub request: String,
    /// Its volume.
    pub volume_id: VolumeId,
}

/// The plan. Cheap to clone; all clones are the same plan.
#[derive(Clone)]
pub struct FaultPlan {
    randomness: Randomness,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    latency: LatencyTable,
    rules: Vec<Armed>,
    hung: BTreeMap<u64, (HungCall, oneshot::Sender<()>)>,
    next_hung: u64,
}

struct Armed {
    rule: FaultRule,
    seen: u64,
    hits: u64,
}

impl FaultPlan {
    /// No faults.
    pub fn new(randomness: Randomness, latency: LatencyTable) -> Self {
        Self { randomness, inner: Arc::new(Mutex::new(Inner { latency, ..Inner::default() })) }
    }

    /// Replaces all rules; their counters start at zero. Nothing changes when one makes no sense.
    pub fn set(&self, rules: Vec<FaultRule>) -> Result<(), FaultError> {
        rules.iter().try_for_each(FaultRule::check)?;
        self.lock().rules = rules.into_iter().map(|rule| Armed { rule, seen: 0, hits: 0 }).collect();
        Ok(())
    }

    /// Adds a rule after the others.
    pub fn add(&self, rule: FaultRule) -> Result<(), FaultError> {
        rule.check()?;
        self.lock().rules.push(Armed { rule, seen: 0, hits: 0 });
        Ok(())
    }

    /// Removes all rules. Calls which hang go on hanging.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// The rules, each with how often it has hit.
    pub fn rules(&self) -> Vec<(FaultRule, u64)> {
        self.lock().rules.iter().map(|armed| (armed.rule.clone(), armed.hits)).collect()
    }

    /// Replaces the latencies.
    pub fn set_latency(&self, latency: LatencyTable) {
        self.lock().latency = latency;
    }

    /// The calls that hang now, oldest first.
    pub fn hung(&self) -> Vec<HungCall> {
        self.lock().hung.values().map(|(call, _)| call.clone()).collect()
    }

    /// Lets hanging calls go on: those of `volume_id`, or all. Says how many.
    pub fn release(&self, volume_id: Option<VolumeId>) -> usize {
        let mut inner = self.lock();
        let ids: Vec<u64> = inner
            .hung
            .iter()
            .filter(|(_, (call, _))| volume_id.is_none_or(|wanted| call.volume_id == wanted))
            .map(|(id, _)| *id)
            .collect();
        // A receiver that is gone belongs to a call whose process half has ended: nothing to let go.
        ids.iter().filter_map(|id| inner.hung.remove(id)).filter_map(|(_, sender)| sender.send(()).ok()).count()
    }

    pub(super) fn decide(&self, call: &Call) -> Decision {
        let mut inner = self.lock();
        let name = call.request.name();
        let mut latency = inner.latency.of(name).draw(&self.randomness);
        for armed in &mut inner.rules {
            if !armed.hits_now(name, call.key.volume_id, &self.randomness) {
                continue;
            }
            match &armed.rule.fault {
                Fault::Delay { latency: more } => latency += more.draw(&self.randomness),
                fault => return Decision { latency, fault: Some(fault.clone()) },
            }
        }
        Decision { latency, fault: None }
    }

    /// Ends when the call is released.
    pub(super) fn hang(&self, call: &Call) -> impl Future<Output = ()> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let mut inner = self.lock();
        let id = inner.next_hung;
        inner.next_hung += 1;
        let hung = HungCall { request: call.request.name().to_owned(), volume_id: call.key.volume_id };
        inner.hung.insert(id, (hung, sender));
        async move {
            // The sender lives in the plan until the release.
            let _ = receiver.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn hits_now(&mut self, name: &str, volume_id: VolumeId, randomness: &Randomness) -> bool {
        let about = self.rule.request.as_deref().is_none_or(|wanted| wanted == name)
            && self.rule.volume_id.is_none_or(|wanted| wanted == volume_id);
        if !about || self.rule.times.is_some_and(|times| self.hits >= times) {
            return false;
        }
        self.seen += 1;
        let hit = match self.rule.when {
            When::Always => true,
            When::Nth { n } => self.seen == n,
            When::Every { n } => self.seen.is_multiple_of(n),
            #[expect(clippy::cast_precision_loss, reason = "a million is exact")]
            When::Probability { p } => (randomness.below(CHANCES) as f64) < p * CHANCES as f64,
        };
        self.hits += u64::from(hit);
        hit
    }
}
