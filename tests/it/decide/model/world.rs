//! One volume, its backend and everything that is under way between them; and everything that may happen next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use hearth::domain::backend::{CallKey, CauseKind, Outcome, Request};
use hearth::domain::ids::{AttachmentId, OperationId, ServerId};
use hearth::domain::operation::{Lane, Operation, OperationKind, Step};
use hearth::domain::status::VolumeStatus;
use hearth::domain::volume::command::{ReplyWhen, SwapWord, Ticket};
use hearth::domain::volume::{Caller, Command, Decision, Job, JobTarget, Refusal, Verdict, VolumeState, decide};

use super::acts::Act;
use super::backend::{Backend, Consumer, Late, Running, Truths, failed, refused, unknown};
use super::invariants;
use super::jobs::{is_here, is_nowhere, is_possible, result_of, writes};
use crate::decide::build;

/// A job of a committed decision.
#[derive(Clone, Debug)]
pub struct Pending {
    pub job: Job,
    /// How it ended; not told to the volume yet.
    pub answer: Option<Outcome>,
}

/// How a job's call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// As asked.
    Carried,
    /// Certainly nothing done.
    Fails,
    /// Certainly nothing done, and there is no use in asking again.
    Refuses,
    /// Done, but nobody learns it.
    AnswerLost,
    /// Not done, and nobody learns it.
    NothingDone,
    /// It outlives its deadline and goes on at the backend.
    Hangs,
}

/// Everything that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Ask(Act),
    /// A job's call is carried out.
    Work(usize, Fate),
    /// Its answer reaches the volume.
    Hear(usize),
    /// A call that outlived its caller's patience ends.
    Finish(usize),
    /// The word of it reaches the volume.
    HearLate(usize),
    /// The process dies; the calls under way die with it, or go on.
    Crash {
        calls_go_on: bool,
    },
    /// The process is back and the volume is active.
    Resume,
}

/// What may still go wrong or be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    pub acts: u8,
    pub faults: u8,
    pub crashes: u8,
}

/// What the invariants must know besides the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// The word that an administrator set, until the volume has another one.
    pub status_by_hand: Option<VolumeStatus>,
    /// The attach status was set by hand and no row has changed since.
    pub attach_status_by_hand: bool,
    /// An administrator has cut work off: a row may stay whose connection is half gone, to be detached again.
    pub was_reset: bool,
    /// A service has given a server's row another connection, of which the guest knows nothing.
    pub was_reconnected: bool,
    /// An administrator has set the word of a snapshot.
    pub snapshot_by_hand: bool,
    /// The data may not be lost: they are to become the volume, or to be let go of, and no delete has been accepted since.
    pub keeps_data: bool,
    /// Results need not be true: nothing can be promised about the backend.
    pub was_lied_to: bool,
    /// Whom each row that ever existed was for.
    pub servers: BTreeMap<AttachmentId, Option<ServerId>>,
}

#[derive(Clone, Debug)]
pub struct World {
    pub volume: Option<Arc<VolumeState>>,
    pub truths: Truths,
    pub jobs: Vec<Pending>,
    pub late: Vec<Late>,
    pub queue: Vec<(Command, Caller)>,
    /// Requests that are answered when their operation ends.
    pub waiting: BTreeSet<OperationId>,
    pub is_down: bool,
    pub left: Budget,
    pub asked: u8,
    pub ghost: Ghost,
    /// Every refusal that was answered, at once or after waiting. Nothing depends on it.
    pub refusals: Vec<Refusal>,
}

/// Looks at outstanding calls that may be under way or unheard at once.
const LOOKS_MAX: usize = 2;

/// A broken promise, in words.
pub type Broken = String;

impl World {
    pub fn new(left: Budget) -> Self {
        Self {
            volume: None,
            truths: Truths::default(),
            jobs: Vec::new(),
            late: Vec::new(),
            queue: Vec::new(),
            waiting: BTreeSet::new(),
            is_down: false,
            left,
            asked: 0,
            ghost: Ghost::default(),
            refusals: Vec::new(),
        }
    }

    /// The backend that the record names; for a volume without one the first.
    pub fn home(&self) -> &Backend {
        self.truths.at(self.is_at_first())
    }

    /// The other one.
    pub fn away(&self) -> &Backend {
        self.truths.at(!self.is_at_first())
    }

    /// Whether the call is at the backend that the record names.
    pub fn is_home(&self, running: &Running) -> bool {
        running.is_here == self.is_at_first()
    }

    fn is_at_first(&self) -> bool {
        self.volume.as_ref().is_none_or(|state| state.volume.host.as_deref() != Some(build::OTHER_BACKEND))
    }

    /// The volume, unless it is deleted.
    pub fn live(&self) -> Option<&Arc<VolumeState>> {
        self.volume.as_ref().filter(|state| !state.volume.deleted)
    }

    /// Everything that may happen now, of `acts` and of the world's own doing.
    pub fn possible(&self, acts: &[Act], fates: &[Fate]) -> Vec<Event> {
        let mut events = (0..self.truths.running.len()).map(Event::Finish).collect::<Vec<_>>();
        if self.is_down {
            events.push(Event::Resume);
            return events;
        }
        if self.left.acts > 0 {
            events.extend(acts.iter().filter(|act| act.applies(self)).map(|act| Event::Ask(*act)));
        }
        events.extend((0..self.late.len()).map(Event::HearLate));
        for (index, pending) in self.jobs.iter().enumerate() {
            if pending.answer.is_some() {
                events.push(Event::Hear(index));
                continue;
            }
            events.push(Event::Work(index, Fate::Carried));
            if self.left.faults > 0 {
                let allowed = fates.iter().filter(|fate| is_possible(&pending.job, **fate));
                events.extend(allowed.map(|fate| Event::Work(index, *fate)));
            }
        }
        if self.left.crashes > 0 && self.volume.is_some() {
            events.push(Event::Crash { calls_go_on: false });
            if self.jobs.iter().any(|pending| pending.answer.is_none() && writes(&pending.job)) {
                events.push(Event::Crash { calls_go_on: true });
            }
        }
        events
    }

    /// What happens next when nothing fails any more and nobody asks anything; none: nothing is under way. Timers come last.
    pub fn next_without_faults(&self) -> Option<Event> {
        if self.is_down {
            return Some(Event::Resume);
        }
        if !self.truths.running.is_empty() {
            return Some(Event::Finish(0));
        }
        if !self.late.is_empty() {
            return Some(Event::HearLate(0));
        }
        let turn = |job: &Job| match job {
            Job::Step { target: JobTarget::Timer, .. } => 2,
            Job::ProbeOutstanding { .. } => 1,
            Job::Step { .. } | Job::TellOld { .. } => 0,
            // Whoever looks finds that the swap is over only when nothing else is to come.
            Job::WatchSwap { .. } => 3,
            Job::Borrow { .. }
            | Job::WatchBorrower { .. }
            | Job::GiveBack { .. }
            | Job::CallOffSwap { .. }
            | Job::NotifyCompute { .. }
            | Job::CutOff { .. } => {
                unreachable!("nothing is lent here, nobody is told, and hints have no effect")
            }
        };
        let mut order = self.jobs.iter().enumerate().collect::<Vec<_>>();
        order.sort_by_key(|(_, pending)| turn(&pending.job));
        order.first().map(|(index, pending)| match pending.answer {
            Some(_) => Event::Hear(*index),
            None => Event::Work(*index, Fate::Carried),
        })
    }

    pub fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Ask(act) => {
                self.left.acts -= 1;
                self.asked += 1;
                let (command, caller) = act.command(self);
                if let Act::GuestBack(server) = act {
                    self.truths.guest_dies(server);
                }
                self.guest_leaves(&command);
                self.ask(command, caller)?;
            }
            Event::Work(index, fate) => self.work(index, fate),
            Event::Hear(index) => {
                let pending = self.jobs.remove(index);
                self.ask(result_of(pending), build::system())?;
            }
            Event::Finish(index) => {
                let running = self.truths.running.remove(index);
                let (request, by) = (&running.call.request, Some(&running.call.key));
                let outcome = self.carry_out(request, by, running.guest.as_ref(), running.is_here);
                if running.is_heard {
                    let key = running.call.key;
                    self.late.push((key.operation_id, key.epoch, key.step, outcome));
                }
            }
            Event::HearLate(index) => {
                let (operation_id, epoch, step, outcome) = self.late.remove(index);
                self.ask(Command::CallReturned { operation_id, epoch, step, outcome }, build::system())?;
            }
            Event::Crash { calls_go_on } => self.crash(calls_go_on),
            Event::Resume => {
                self.is_down = false;
                if self.live().is_some() {
                    self.ask(Command::Resume, build::system())?;
                }
            }
        }
        invariants::of_world(self)
    }

    /// The new volume says only what is so: the guest's disk is another volume's.
    fn guest_leaves(&mut self, command: &Command) {
        let Command::SwapWord(word) = command else { return };
        let left = self.live().and_then(|state| {
            let swap = state.operations.iter().find_map(|operation| operation.kind.swap_out())?;
            Some((swap.server_id.clone(), state.attachment(swap.attachment_id)?.device_id()))
        });
        if let (SwapWord::Moved { .. }, Some(device)) = (&**word, left) {
            self.truths.devices.remove(&device);
        }
    }

    fn work(&mut self, index: usize, fate: Fate) {
        if fate != Fate::Carried {
            self.left.faults -= 1;
        }
        if is_nowhere(&self.jobs[index].job) {
            self.jobs[index].answer = Some(failed(CauseKind::Unavailable));
            return;
        }
        let is_here = is_here(&self.jobs[index].job);
        let (request, guest, call) = match &self.jobs[index].job {
            Job::ProbeOutstanding { request, .. } => (request.clone(), None, None),
            Job::Step { call: Some(call), target, .. } => {
                let guest = match target {
                    JobTarget::Guest(server) => Some(server.clone()),
                    _ => None,
                };
                (call.request.clone(), guest, Some(call.clone()))
            }
            Job::Step { call: None, .. } => {
                self.jobs[index].answer = Some(unknown());
                return;
            }
            // The old volume answers, and its guest's disk is there.
            Job::TellOld { server_id, word, .. } => {
                if fate == Fate::Carried && matches!(word, SwapWord::Yield(_)) {
                    self.truths.devices.insert((server_id.clone(), build::OLD_ROW), build::old_export());
                }
                let answer = if fate == Fate::Refuses { refused(CauseKind::Other) } else { Outcome::done() };
                self.jobs[index].answer = Some(answer);
                return;
            }
            Job::WatchSwap { .. } => {
                self.jobs[index].answer = Some(Outcome::done());
                return;
            }
            Job::Borrow { .. }
            | Job::WatchBorrower { .. }
            | Job::GiveBack { .. }
            | Job::CallOffSwap { .. }
            | Job::NotifyCompute { .. }
            | Job::CutOff { .. } => {
                unreachable!("nothing is lent here, nobody is told, and hints have no effect")
            }
        };
        let writes = writes(&self.jobs[index].job);
        let answer = match fate {
            Fate::Fails => failed(CauseKind::Unavailable),
            Fate::Refuses => refused(CauseKind::Guest),
            Fate::NothingDone => unknown(),
            Fate::Hangs => {
                if let Some(call) = call.filter(|_| writes) {
                    self.truths.join(&call);
                    self.truths.running.push(Running { call, is_here, guest, is_heard: true });
                }
                unknown()
            }
            Fate::Carried | Fate::AnswerLost => {
                if let Some(call) = call.as_ref().filter(|_| writes) {
                    self.truths.join(call);
                }
                let by = call.as_ref().map(|call| &call.key);
                let outcome = self.carry_out(&request, by, guest.as_ref(), is_here);
                if fate == Fate::AnswerLost { unknown() } else { outcome }
            }
        };
        self.jobs[index].answer = Some(answer);
    }

    fn carry_out(
        &mut self,
        request: &Request,
        by: Option<&CallKey>,
        guest: Option<&ServerId>,
        at_home: bool,
    ) -> Outcome {
        if let Some(guest) = guest {
            return self.truths.of_guest(request, guest);
        }
        let consumer = match request {
            Request::Export { attachment_id, connector, .. } => Consumer {
                server: self.ghost.servers.get(attachment_id).cloned().flatten(),
                host: connector.text("host").unwrap_or_default(),
            },
            _ => Consumer::default(),
        };
        // Calls of the other lane that are just being carried out count as well: a probe cannot tell them apart.
        let storage = |job: &Job| writes(job) && !matches!(job, Job::Step { target: JobTarget::Guest(_), .. });
        let is_meant = |job: &Job| storage(job) && is_here(job) == at_home;
        let busy = self.truths.running.iter().any(|running| running.guest.is_none() && running.is_here == at_home)
            || self.jobs.iter().any(|pending| pending.answer.is_none() && is_meant(&pending.job));
        self.truths.of_storage(request, by, at_home, consumer, busy)
    }

    fn crash(&mut self, calls_go_on: bool) {
        self.left.crashes -= 1;
        for running in &mut self.truths.running {
            running.is_heard = false;
        }
        for pending in std::mem::take(&mut self.jobs) {
            let is_here = is_here(&pending.job);
            if calls_go_on
                && pending.answer.is_none()
                && writes(&pending.job)
                && let Job::Step { call: Some(call), target, .. } = pending.job
            {
                let guest = match target {
                    JobTarget::Guest(server) => Some(server),
                    _ => None,
                };
                self.truths.join(&call);
                self.truths.running.push(Running { call, is_here, guest, is_heard: false });
            }
        }
        self.late.clear();
        self.queue.clear();
        self.waiting.clear();
        self.is_down = true;
    }

    /// As the volume's actor does it: decide, commit, start the jobs, then whoever waits for the connection lane.
    pub fn ask(&mut self, command: Command, caller: Caller) -> Result<(), Broken> {
        self.take(command, caller)?;
        loop {
            let lane_is_free = self.live().is_none_or(|state| state.operation_in(Lane::Connection).is_none());
            if self.queue.is_empty() || !lane_is_free {
                return Ok(());
            }
            let (command, caller) = self.queue.remove(0);
            // ids are given out when a command is decided, not when it comes
            self.asked += 1;
            self.take(command, caller)?;
        }
    }

    /// What would be decided now.
    pub fn decide(&self, command: &Command, caller: &Caller) -> Verdict {
        let facts = build::facts_of(self.volume.as_ref().map_or(0, |state| state.volume.epoch), self.asked);
        decide(build::VOLUME, self.live().map(Arc::as_ref), command, caller, &facts)
    }

    fn take(&mut self, command: Command, caller: Caller) -> Result<(), Broken> {
        let verdict = self.decide(&command, &caller);
        let before = self.live().cloned();
        invariants::of_verdict(before.as_deref(), &command, &verdict)?;
        match verdict {
            Verdict::Refuse(refusal) => {
                self.refusals.push(refusal);
                Ok(())
            }
            Verdict::Nothing { jobs, .. } => {
                self.start(jobs);
                Ok(())
            }
            Verdict::Queue => {
                if before.is_none_or(|state| state.operation_in(Lane::Connection).is_none()) {
                    return Err(format!("{} queues although the lane is free", command.name()));
                }
                self.queue.push((command, caller));
                Ok(())
            }
            Verdict::Commit(decision) => self.commit(&command, *decision),
        }
    }

    fn commit(&mut self, command: &Command, decision: Decision) -> Result<(), Broken> {
        for operation in &decision.next.operations {
            let is_known = self
                .volume
                .as_ref()
                .is_some_and(|before| before.operations.iter().any(|known| known.id == operation.id));
            match operation.kind {
                OperationKind::Delete if !is_known => self.ghost.keeps_data = false,
                OperationKind::Manage { .. } | OperationKind::Unmanage if !is_known => self.ghost.keeps_data = true,
                _ => {}
            }
        }
        for row in &decision.next.attachments {
            self.ghost.servers.entry(row.id).or_insert_with(|| row.instance_uuid.clone());
        }
        let before = self.volume.replace(decision.next);
        let next = self.volume.as_deref().expect("just put there");
        let status_changed = before.as_ref().is_none_or(|before| before.volume.status != next.volume.status);
        let rows_changed = before.as_ref().is_none_or(|before| before.attachments != next.attachments);
        match command {
            Command::ResetStatus { status, attach_status, .. } => {
                self.ghost.was_reset = true;
                if status.is_some() {
                    self.ghost.status_by_hand = *status;
                }
                self.ghost.attach_status_by_hand |= attach_status.is_some() || status.is_some();
            }
            command => {
                self.ghost.was_reconnected |= matches!(command, Command::AttachmentUpdate { .. });
                self.ghost.snapshot_by_hand |= matches!(command, Command::SnapshotResetStatus { .. });
                if status_changed {
                    self.ghost.status_by_hand = None;
                }
                if rows_changed {
                    self.ghost.attach_status_by_hand = false;
                }
            }
        }
        if let ReplyWhen::OperationEnds(id) = decision.reply {
            self.waiting.insert(id);
        }
        for (ended, answer) in decision.ended {
            if self.waiting.remove(&ended)
                && let Err(refusal) = answer
            {
                self.refusals.push(refusal);
            }
        }
        self.start(decision.jobs);
        Ok(())
    }

    fn start(&mut self, jobs: Vec<Job>) {
        for mut job in jobs {
            // A hint: nothing may depend on it.
            if matches!(job, Job::CutOff { .. } | Job::CallOffSwap { .. }) {
                continue;
            }
            // Only its back-off depends on the number of the look. One that is under way is as good as two, and answers
            // that nobody has heard yet are bounded: else a timer that comes again and again makes ever new worlds.
            if let Job::ProbeOutstanding { attempt, .. } = &mut job {
                *attempt = 1;
                let is_look = |pending: &&Pending| matches!(pending.job, Job::ProbeOutstanding { .. });
                let looks = self.jobs.iter().filter(is_look);
                let under_way = looks.clone().any(|pending| pending.answer.is_none());
                if under_way || looks.count() >= LOOKS_MAX {
                    continue;
                }
            }
            self.jobs.push(Pending { job, answer: None });
        }
    }

    /// The world in a few lines.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        if let Some(state) = &self.volume {
            let volume = &state.volume;
            let _ = writeln!(
                text,
                "volume: {} {} {:?} at {:?}, {} GiB, epoch {}, deleted {}, orphans {:?}",
                volume.status,
                volume.attach_status,
                volume.migration_status,
                volume.host,
                volume.size_gib,
                volume.epoch,
                volume.deleted,
                volume.orphan_exports
            );
            let _ = writeln!(text, "claims: {:?}", volume.claims);
            for call in &volume.outstanding {
                let _ = writeln!(text, "outstanding: {:?}", call.key.step);
            }
            for row in &state.attachments {
                let detaching = row.bdm.as_ref().map(|bdm| bdm.detaching);
                let _ = writeln!(
                    text,
                    "row: {} {} {:?} export {:?} detaching {detaching:?}",
                    row.id, row.attach_status, row.instance_uuid, row.export
                );
            }
            for operation in &state.operations {
                let _ = writeln!(
                    text,
                    "operation: {} {:?} {:?} probing {:?} undoing {:?}",
                    operation.kind.name(),
                    operation.id,
                    operation.step,
                    operation.probing,
                    operation.undoing
                );
            }
        }
        let _ = writeln!(
            text,
            "here: {:?}\nthere: {:?}\ndevices {:?}, mirrors {:?}, running {:?}",
            self.truths.here, self.truths.there, self.truths.devices, self.truths.mirrors, self.truths.running
        );
        for pending in &self.jobs {
            let _ = writeln!(text, "job: {pending:?}");
        }
        text
    }

    /// Whether somebody looks at the swap that this operation waits for.
    pub fn is_watched(&self, operation: &Operation) -> bool {
        let waited = operation.kind.swap_out().filter(|_| operation.step == Step::Yielded).map(|own| own.swap);
        let looks_at = |job: &Job| matches!(job, Job::WatchSwap { swap, .. } if waited == Some(*swap));
        self.jobs.iter().any(|pending| looks_at(&pending.job))
    }

    /// Whether the job of this ticket is under way.
    pub fn is_under_way(&self, ticket: &Ticket) -> bool {
        self.jobs.iter().any(|pending| match &pending.job {
            Job::Step { ticket: of, .. } | Job::TellOld { ticket: of, .. } => of == ticket,
            _ => false,
        })
    }
}
