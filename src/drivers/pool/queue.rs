//! The book of one driver's calls: who waits, who runs, who is past the deadline, and whom to tell.
//!
//! It is a plain state machine: the instant is an argument and nothing in it waits, so that every rule of the pool can be
//! read and tested here. The actor carries out what it says; submitters and observers use it under one short lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::domain::backend::{Answer, Call, CallKey, Cause, CauseKind, Deadlines, Guest, Outcome};
use crate::domain::ids::{OperationId, ServerId, VolumeId};
use crate::drivers::Progress;

use super::breaker::{Breaker, Verdict};
use super::counters::Counters;
use super::{Completion, PoolOptions};

/// Names one accepted call; grows, so that the queue's order is the ids' order.
pub type JobId = u64;

/// An outcome on its way to whom it concerns. Delivered outside the book's lock: the receiver may submit again.
pub struct Tell {
    to: Box<dyn FnOnce(Outcome) + Send>,
    outcome: Outcome,
}

impl Tell {
    /// Calls the receiver.
    pub fn deliver(self) {
        (self.to)(self.outcome);
    }
}

/// What became of a submitted call.
pub enum Submitted {
    /// It waits in the queue, or shares the outcome of an equal call.
    Accepted,
    /// It was not taken in and certainly does not run.
    TurnedAway(Tell),
}

/// A call that has got its worker.
pub struct Started {
    /// Its job.
    pub id: JobId,
    /// The call.
    pub call: Call,
    /// The guest it is for.
    pub guest: Option<Guest>,
}

/// Two calls are the same when key and request are: the probe of a step has the key of the step's own call.
type JoinKey = (CallKey, &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Queued,
    Running,
    Overdue,
}

struct Waiter {
    done: Option<Box<dyn FnOnce(Outcome) + Send>>,
    late: Box<dyn FnOnce(Outcome) + Send>,
}

struct Job {
    call: Call,
    guest: Option<Guest>,
    phase: Phase,
    deadline: Duration,
    due: Instant,
    busy_at_start: bool,
    /// Bytes that it had copied when its deadline was last looked at.
    progress: u64,
    waiters: Vec<Waiter>,
}

/// Waiters which joined an overdue call have deadlines of their own; everybody else shares the job's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Job(JobId),
    Waiter(JobId, usize),
}

/// What a probe is about: one volume, or one volume's device in one guest.
type ProbeKey = (VolumeId, Option<ServerId>);

/// The book.
pub struct CallBook {
    options: PoolOptions,
    next_id: JobId,
    jobs: BTreeMap<JobId, Job>,
    by_key: BTreeMap<JoinKey, JobId>,
    queue: BTreeSet<JobId>,
    running: usize,
    /// Copies have workers of their own, as many again: an hour of copying holds up nobody's detach (promise I7).
    copying: usize,
    overdue: usize,
    overdue_writes: BTreeMap<VolumeId, usize>,
    overdue_probes: BTreeMap<ProbeKey, usize>,
    timers: BTreeSet<(Instant, Timer)>,
    breaker: Breaker,
    counters: Counters,
}

impl CallBook {
    /// An empty book.
    pub fn new(options: PoolOptions) -> Self {
        Self {
            breaker: Breaker::new(options.breaker),
            options,
            next_id: 0,
            jobs: BTreeMap::new(),
            by_key: BTreeMap::new(),
            queue: BTreeSet::new(),
            running: 0,
            copying: 0,
            overdue: 0,
            overdue_writes: BTreeMap::new(),
            overdue_probes: BTreeMap::new(),
            timers: BTreeSet::new(),
            counters: Counters::default(),
        }
    }

    /// Takes a call in, joins it to an equal one, or turns it away.
    pub fn submit(&mut self, now: Instant, call: Call, guest: Option<Guest>, completion: Completion) -> Submitted {
        let waiter = Waiter { done: Some(completion.done), late: completion.late };
        let join_key = join_key(&call);
        // Joining comes before every bound: turning away the repetition of a call that runs would call it `Failed`,
        // which means that nothing happens, while it happens.
        if let Some(id) = self.by_key.get(&join_key).copied() {
            self.join(now, id, waiter);
            return Submitted::Accepted;
        }
        if let Some(cause) = self.reason_to_turn_away(now, &call, guest.as_ref()) {
            self.counters.turned_away();
            let outcome = Outcome::Failed { cause };
            return Submitted::TurnedAway(Tell { to: waiter.done.unwrap_or_else(|| Box::new(|_| ())), outcome });
        }
        let id = self.next_id;
        self.next_id += 1;
        let deadline = self.options.deadlines.of(&call.request);
        let due = now + deadline;
        let waiters = vec![waiter];
        let job = Job { call, guest, phase: Phase::Queued, deadline, due, busy_at_start: false, progress: 0, waiters };
        self.jobs.insert(id, job);
        self.by_key.insert(join_key, id);
        self.queue.insert(id);
        self.timers.insert((due, Timer::Job(id)));
        Submitted::Accepted
    }

    /// The next call that gets a worker, if one is free.
    pub fn start_next(&mut self, now: Instant) -> Option<Started> {
        // Calls that were admitted before the bound was reached wait below it: at most `workers` more can become overdue.
        if self.overdue >= self.options.max_outstanding {
            return None;
        }
        let (free, free_to_copy) = (self.running < self.options.workers, self.copying < self.options.workers);
        let may_start =
            |id: &JobId| self.jobs.get(id).is_some_and(|job| if is_copy(job) { free_to_copy } else { free });
        let id = self.queue.iter().copied().find(may_start)?;
        self.queue.remove(&id);
        let job = self.jobs.get_mut(&id)?;
        self.timers.remove(&(job.due, Timer::Job(id)));
        job.phase = Phase::Running;
        job.due = now + job.deadline;
        job.busy_at_start = self.overdue_writes.contains_key(&job.call.key.volume_id);
        self.timers.insert((job.due, Timer::Job(id)));
        *(if is_copy(job) { &mut self.copying } else { &mut self.running }) += 1;
        // A probe under way may have read the truth before a later asker asked: only waiting probes are shared.
        if job.call.request.is_read_only() {
            let join_key = join_key(&job.call);
            self.by_key.remove(&join_key);
        }
        Some(Started { id, call: job.call.clone(), guest: job.guest.clone() })
    }

    /// The driver has answered (or panicked, which is an unknown outcome).
    pub fn returned(&mut self, now: Instant, id: JobId, outcome: Outcome, panicked: bool) -> Vec<Tell> {
        let Some(job) = self.jobs.remove(&id) else { return Vec::new() };
        self.forget_key(id, &job.call);
        if panicked {
            self.counters.panicked();
        }
        let request = job.call.request.name();
        if job.phase == Phase::Overdue {
            self.overdue -= 1;
            self.counters.late();
            match probe_key(&job.call, job.guest.as_ref()) {
                Some(key) => forget_one(&mut self.overdue_probes, &key),
                None => forget_one(&mut self.overdue_writes, &job.call.key.volume_id),
            }
        } else {
            *(if is_copy(&job) { &mut self.copying } else { &mut self.running }) -= 1;
            self.timers.remove(&(job.due, Timer::Job(id)));
            self.breaker.record(now, domain(&job), verdict(&outcome));
        }
        let busy = job.busy_at_start || self.overdue_writes.contains_key(&job.call.key.volume_id);
        let outcome = if busy { with_busy(outcome) } else { outcome };
        for _ in job.waiters.iter().filter(|waiter| waiter.done.is_some()) {
            self.counters.ended(request, &outcome);
        }
        // the last one, who is mostly the only one, takes the outcome itself
        let outcomes = std::iter::repeat_n(outcome, job.waiters.len());
        let tell = |(waiter, outcome): (Waiter, _)| Tell { to: waiter.done.unwrap_or(waiter.late), outcome };
        job.waiters.into_iter().zip(outcomes).map(tell).collect()
    }

    /// Begins the deadline anew of each running call that is due at `now` and has copied more than when it was last looked at:
    /// so one that hangs is found out after one deadline, or two if it had just begun.
    pub fn prolong(&mut self, now: Instant, progress: impl Fn(&CallKey) -> Option<Progress>) {
        let due: Vec<(Instant, Timer)> = self.timers.iter().take_while(|(due, _)| *due <= now).copied().collect();
        for entry in due {
            let Timer::Job(id) = entry.1 else { continue };
            let Some(job) = self.jobs.get_mut(&id).filter(|job| job.phase == Phase::Running) else { continue };
            let Some(copied) = progress(&job.call.key).filter(|copied| copied.done > job.progress) else { continue };
            job.progress = copied.done;
            job.due = now + job.deadline;
            self.timers.remove(&entry);
            self.timers.insert((job.due, entry.1));
        }
    }

    /// Ends the running calls that are due at `now`. Start the next calls before [`Self::expire_waiting`]: a call whose
    /// worker becomes free at the very instant of its own deadline has not waited too long.
    pub fn expire_running(&mut self, now: Instant) -> Vec<Tell> {
        let waits = |book: &Self, timer| match timer {
            Timer::Job(id) => book.jobs.get(&id).is_some_and(|job| job.phase == Phase::Queued),
            Timer::Waiter(..) => false,
        };
        let due: Vec<(Instant, Timer)> = self
            .timers
            .iter()
            .take_while(|(due, _)| *due <= now)
            .filter(|(_, timer)| !waits(self, *timer))
            .copied()
            .collect();
        let mut tells = Vec::new();
        for entry in due {
            self.timers.remove(&entry);
            match entry.1 {
                Timer::Job(id) => self.expire_running_job(now, id, &mut tells),
                Timer::Waiter(id, index) => self.expire_waiter(id, index, &mut tells),
            }
        }
        tells
    }

    /// Ends the calls that are due at `now` and still wait for a worker.
    pub fn expire_waiting(&mut self, now: Instant) -> Vec<Tell> {
        let due: Vec<(Instant, Timer)> = self.timers.iter().take_while(|(due, _)| *due <= now).copied().collect();
        let mut tells = Vec::new();
        for entry in due {
            if let Timer::Job(id) = entry.1
                && self.queue.remove(&id)
            {
                self.timers.remove(&entry);
                self.expire_waiting_job(now, id, &mut tells);
            }
        }
        tells
    }

    /// When something expires next.
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Whether the circuit lets calls through, or will try one.
    pub fn is_answering(&self, now: Instant) -> bool {
        self.breaker.word(now) != "open"
    }

    /// How long calls may take.
    pub fn deadlines(&self) -> &Deadlines {
        &self.options.deadlines
    }

    /// The key of the copy that an operation has under way; none: it copies nothing now.
    pub fn copy_of(&self, operation: OperationId) -> Option<CallKey> {
        let is_its_own =
            |job: &&Job| job.call.key.operation_id == operation && job.phase != Phase::Queued && is_copy(job);
        self.jobs.values().find(is_its_own).map(|job| job.call.key.clone())
    }

    /// The book as JSON.
    pub fn observe(&self, now: Instant) -> Value {
        json!({
            "queue": { "depth": self.queue.len(), "bound": self.options.queue },
            "running": { "count": self.running, "bound": self.options.workers },
            "copying": { "count": self.copying, "bound": self.options.workers },
            "overdue": { "count": self.overdue, "bound": self.options.max_outstanding },
            "circuit": { "state": self.breaker.word(now), "opened": self.breaker.opened() },
            "counters": self.counters.view(),
        })
    }

    fn reason_to_turn_away(&mut self, now: Instant, call: &Call, guest: Option<&Guest>) -> Option<Cause> {
        // A volume that hangs is asked about for as long as it hangs: without this its probes alone would reach
        // `max_outstanding`, and close the backend for every other volume (promise I7).
        if probe_key(call, guest).is_some_and(|key| self.overdue_probes.contains_key(&key)) {
            return Some(Cause::new(CauseKind::NotStarted, "an earlier probe has not come back"));
        }
        let free_workers = self.options.workers.saturating_sub(self.running);
        if self.overdue >= self.options.max_outstanding {
            return Some(Cause::new(CauseKind::NotStarted, "too many calls of the backend have not come back"));
        }
        if self.queue.len() >= self.options.queue + free_workers {
            return Some(Cause::new(CauseKind::NotStarted, "the backend's queue is full"));
        }
        if !self.breaker.admit(now, call.request.is_read_only()) {
            return Some(Cause::new(CauseKind::NotStarted, "the backend does not answer at present"));
        }
        None
    }

    fn join(&mut self, now: Instant, id: JobId, waiter: Waiter) {
        self.counters.joined();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.phase == Phase::Overdue {
            self.timers.insert((now + job.deadline, Timer::Waiter(id, job.waiters.len())));
        }
        job.waiters.push(waiter);
    }

    fn expire_waiting_job(&mut self, now: Instant, id: JobId, tells: &mut Vec<Tell>) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.forget_key(id, &job.call);
        // The pool is crowded, which says nothing about the driver; but the half-open circuit gets its trial back.
        self.breaker.record(now, domain(&job), Verdict::Neutral);
        let outcome = Outcome::Failed {
            cause: Cause::new(CauseKind::NotStarted, "the call had to wait too long for the backend"),
        };
        for done in job.waiters.into_iter().filter_map(|waiter| waiter.done) {
            self.counters.ended(job.call.request.name(), &outcome);
            tells.push(Tell { to: done, outcome: outcome.clone() });
        }
    }

    fn expire_running_job(&mut self, now: Instant, id: JobId, tells: &mut Vec<Tell>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.phase = Phase::Overdue;
        *(if is_copy(job) { &mut self.copying } else { &mut self.running }) -= 1;
        self.overdue += 1;
        match probe_key(&job.call, job.guest.as_ref()) {
            Some(key) => *self.overdue_probes.entry(key).or_default() += 1,
            None => *self.overdue_writes.entry(job.call.key.volume_id).or_default() += 1,
        }
        for done in job.waiters.iter_mut().filter_map(|waiter| waiter.done.take()) {
            self.counters.ended(job.call.request.name(), &overdue());
            tells.push(Tell { to: done, outcome: overdue() });
        }
        self.breaker.record(now, domain(job), Verdict::Unreachable);
    }

    fn expire_waiter(&mut self, id: JobId, index: usize, tells: &mut Vec<Tell>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some(done) = job.waiters.get_mut(index).and_then(|waiter| waiter.done.take()) {
            self.counters.ended(job.call.request.name(), &overdue());
            tells.push(Tell { to: done, outcome: overdue() });
        }
    }

    fn forget_key(&mut self, id: JobId, call: &Call) {
        let join_key = join_key(call);
        if self.by_key.get(&join_key) == Some(&id) {
            self.by_key.remove(&join_key);
        }
    }
}

/// One less of `key`.
fn forget_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// The question that a probe asks; none for a call that has effects.
fn probe_key(call: &Call, guest: Option<&Guest>) -> Option<ProbeKey> {
    call.request.is_read_only().then(|| (call.key.volume_id, guest.map(|guest| guest.server_id.clone())))
}

fn join_key(call: &Call) -> JoinKey {
    (call.key.clone(), call.request.name())
}

fn is_copy(job: &Job) -> bool {
    job.call.request.is_copy()
}

/// What a failure may be the fault of: one guest, or one volume.
fn domain(job: &Job) -> &dyn Display {
    match &job.guest {
        Some(guest) => &guest.server_id,
        None => &job.call.key.volume_id,
    }
}

fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Failed { cause } if cause.kind == CauseKind::Unavailable => Verdict::Unreachable,
        Outcome::Failed { cause } | Outcome::Unknown { cause } if cause.kind == CauseKind::Deadline => {
            Verdict::Unreachable
        }
        Outcome::Unknown { .. } => Verdict::Neutral,
        _ => Verdict::Reachable,
    }
}

fn overdue() -> Outcome {
    Outcome::Unknown { cause: Cause::new(CauseKind::Deadline, "the backend did not answer in time") }
}

fn with_busy(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Done { answer: Answer::Truth { mut truth } } => {
            truth.busy = true;
            Outcome::Done { answer: Answer::Truth { truth } }
        }
        other => other,
    }
}
