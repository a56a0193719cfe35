//! One simulated client: goes through the steps of a cycle, one request at a time, on connections of its own.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::StormError;
use super::http::{Answer, Connection, ExchangeError};
use super::member::text_at;
use super::program::{Program, ReadyStep, Slots};
use super::record::{Ending, Label, Recorder, StepEnd};
use super::timer::Timer;

/// How much of a body a complaint shows.
const SHOWN: usize = 300;

/// How long a client waits.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// For an answer.
    pub timeout: Duration,
    /// Between two looks at something that is to come true.
    pub poll: Duration,
    /// Until something that is looked at must have come true.
    pub patience: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), poll: Duration::from_millis(5), patience: Duration::from_secs(120) }
    }
}

/// What all clients of a storm share.
#[derive(Default)]
pub(super) struct Commons {
    /// Requests sent.
    pub(super) requests: AtomicU64,
    /// Clients that hold what only one may hold.
    holders: AtomicI64,
}

/// A client.
pub(super) struct Client<'a> {
    program: &'a Program,
    waits: Waits,
    commons: &'a Commons,
    recorder: &'a Mutex<Recorder>,
    connections: Vec<Connection>,
    pub(super) timer: Timer,
    out: Vec<u8>,
    /// Steps of the present round that succeeded.
    answered: Vec<bool>,
    /// What the last failure was.
    pub(super) complaint: Option<String>,
}

impl<'a> Client<'a> {
    /// Of the running runtime.
    pub(super) fn new(
        program: &'a Program,
        waits: Waits,
        commons: &'a Commons,
        recorder: &'a Mutex<Recorder>,
    ) -> Result<Self, StormError> {
        Ok(Self {
            program,
            waits,
            commons,
            recorder,
            connections: program.addresses.iter().map(|address| Connection::new(*address)).collect(),
            timer: Timer::new().map_err(StormError::Thread)?,
            out: Vec::new(),
            answered: Vec::new(),
            complaint: None,
        })
    }

    /// One round. The first step's latency, and the round's, count from `intended`.
    pub(super) async fn round(&mut self, slots: &mut Slots, intended: Instant, is_measured: bool) -> Ending {
        let program = self.program;
        program.forget(slots);
        lock(self.recorder).begun += 1;
        let mut ending = Ending::Answered;
        self.answered.clear();
        self.answered.resize(program.steps.len(), false);
        let mut first = Some(intended);
        for (index, step) in program.steps.iter().enumerate() {
            let is_undo = step.undoes.is_some_and(|undone| self.answered[undone]);
            if (ending != Ending::Answered && !is_undo) || !step.is_complete(slots) {
                continue;
            }
            let from = first.take().unwrap_or_else(Instant::now);
            if program.exclusive.is_some_and(|(_, releases)| releases == index) {
                self.commons.holders.fetch_sub(1, Ordering::SeqCst);
            }
            let (end, label, requests) = self.step(step, slots).await;
            self.answered[index] = end == Ending::Answered;
            let is_overlap = self.answered[index]
                && program.exclusive.is_some_and(|(takes, _)| takes == index)
                && self.commons.holders.fetch_add(1, Ordering::SeqCst) > 0;
            if ending == Ending::Answered {
                ending = end;
            }
            let mut recorder = lock(self.recorder);
            recorder.overlaps += u64::from(is_overlap);
            recorder.step_ended(&StepEnd {
                index,
                ending: end,
                label,
                requests,
                from,
                at: Instant::now(),
                complaint: self.complaint.as_deref().filter(|_| end == Ending::Failed),
                is_measured,
            });
        }
        lock(self.recorder).round_ended(ending, intended, is_measured);
        ending
    }

    /// Carries a step out; how it ended, and how many requests it took.
    async fn step(&mut self, step: &ReadyStep, slots: &mut Slots) -> (Ending, Label, u64) {
        let begun = Instant::now();
        let mut requests = 0;
        loop {
            requests += 1;
            step.render(slots, &mut self.out);
            self.commons.requests.fetch_add(1, Ordering::Relaxed);
            let connection = &mut self.connections[step.connection];
            let exchanged = tokio::time::timeout(self.waits.timeout, connection.exchange(&self.out)).await;
            let answer = match exchanged.unwrap_or(Err(ExchangeError::TimedOut)) {
                Ok(answer) => answer,
                Err(error) => {
                    self.complaint = Some(format!("{}: {error}", step.title));
                    return (Ending::Failed, Label::Word(error.word()), requests);
                }
            };
            let label = Label::Status(answer.status);
            match judge(step, &answer, connection.body(&answer), slots) {
                Judgement::Ended(ending) => {
                    if ending == Ending::Failed {
                        self.complaint = Some(complaint(step, &answer, connection.body(&answer)));
                    }
                    return (ending, label, requests);
                }
                Judgement::Wrong(word) => {
                    let told = complaint(step, &answer, connection.body(&answer));
                    self.complaint = Some(format!("{told} ({word})"));
                    return (Ending::Failed, Label::Word(word), requests);
                }
                Judgement::NotYet if begun.elapsed() < self.waits.patience => {}
                Judgement::NotYet => {
                    let told = complaint(step, &answer, connection.body(&answer));
                    self.complaint = Some(format!("{told} (still, after {:?})", self.waits.patience));
                    return (Ending::Failed, Label::Word("never came"), requests);
                }
            }
            if let Err(error) = self.timer.wait_until(Instant::now() + self.waits.poll).await {
                self.complaint = Some(format!("the timer: {error}"));
                return (Ending::Failed, Label::Word("no timer"), requests);
            }
        }
    }
}

enum Judgement {
    Ended(Ending),
    /// The status was right and the body was not.
    Wrong(&'static str),
    NotYet,
}

/// What an answer means for its step; keeps what is to be captured.
fn judge(step: &ReadyStep, answer: &Answer, body: &[u8], slots: &mut Slots) -> Judgement {
    if !step.expect.contains(&answer.status) {
        if step.until.is_some() && (200..300).contains(&answer.status) {
            return Judgement::NotYet;
        }
        let is_refusal = step.refused.contains(&answer.status);
        return Judgement::Ended(if is_refusal { Ending::Refused } else { Ending::Failed });
    }
    if let Some(until) = step.until.as_ref().filter(|until| until.is.is_some()) {
        let found = text_at(body, &until.member);
        if found.as_deref() != until.is.as_deref() {
            let is_error = found.is_some_and(|found| found.starts_with("error"));
            return if is_error { Judgement::Wrong("ended in error") } else { Judgement::NotYet };
        }
    }
    for (slot, path) in &step.captures {
        // it goes into paths and bodies as it is
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\?#".contains(&byte));
        match text_at(body, path).filter(|text| !text.is_empty() && is_plain(text)) {
            Some(text) => slots[*slot] = Some(text.into_owned()),
            None => return Judgement::Wrong("no id in the answer"),
        }
    }
    Judgement::Ended(Ending::Answered)
}

fn complaint(step: &ReadyStep, answer: &Answer, body: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned();
    format!("{}: {} {}", step.title, answer.status, shown.trim())
}

pub(super) fn lock(recorder: &Mutex<Recorder>) -> MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}
