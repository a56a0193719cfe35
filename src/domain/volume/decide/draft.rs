//! The decision under construction: a copy of the state to change, and helpers to begin, run and end operations.

use std::sync::Arc;
use std::time::Duration;

use super::{connection, image, snapshot, steps, swap, swapping};
use crate::domain::backend::{Call, Request};
use crate::domain::claims::MarkerKind;
use crate::domain::compute::ComputeNotice;
use crate::domain::ids::{AttachmentId, OperationId, ServerId, VolumeTypeId};
use crate::domain::operation::{Lane, Operation, OperationKind, OutstandingCall, Requester, Step, backoff};
use crate::domain::volume::command::{
    Caller, Decision, Facts, Job, JobTarget, Refusal, ReplyWhen, Ticket, UserMessage, Verdict,
};
use crate::domain::volume::state::VolumeState;

/// Outstanding calls are looked at least this often: operations wait for them.
const OUTSTANDING_LOOK: Duration = Duration::from_secs(2);

/// A decision under construction.
pub(super) struct Draft<'a> {
    pub(super) next: VolumeState,
    pub(super) facts: &'a Facts,
    pub(super) caller: &'a Caller,
    before: Option<&'a VolumeState>,
    decision: Plan,
}

/// The parts of a decision besides the next state.
struct Plan {
    jobs: Vec<Job>,
    reply: ReplyWhen,
    attachment_id: Option<AttachmentId>,
    ended: Vec<(OperationId, Result<(), Refusal>)>,
    messages: Vec<UserMessage>,
    judge_growth: bool,
    server_guard: Option<(ServerId, u64)>,
    type_guard: Option<(VolumeTypeId, u64)>,
    cause: Option<String>,
    requester: Requester,
}

impl<'a> Draft<'a> {
    /// A change of `state`.
    pub(super) fn of(state: &'a VolumeState, caller: &'a Caller, facts: &'a Facts) -> Self {
        Self::with(state.clone(), Some(state), caller, facts)
    }

    /// A new volume.
    pub(super) fn fresh(state: VolumeState, caller: &'a Caller, facts: &'a Facts) -> Self {
        Self::with(state, None, caller, facts)
    }

    fn with(next: VolumeState, before: Option<&'a VolumeState>, caller: &'a Caller, facts: &'a Facts) -> Self {
        let decision = Plan {
            jobs: Vec::new(),
            reply: ReplyWhen::Committed,
            attachment_id: None,
            ended: Vec::new(),
            messages: Vec::new(),
            judge_growth: false,
            server_guard: None,
            type_guard: None,
            cause: None,
            requester: caller.requester.clone(),
        };
        Self { next, facts, caller, before, decision }
    }

    /// Begins an operation: a new epoch, and its first step. It waits while another one of its lane runs, or while earlier
    /// calls are outstanding.
    pub(super) fn begin(&mut self, kind: OperationKind, id_index: usize) -> OperationId {
        self.begin_for(kind, id_index, self.caller.requester.clone())
    }

    /// The same on behalf of another request than the one decided on.
    pub(super) fn begin_for(&mut self, kind: OperationKind, id_index: usize, requester: Requester) -> OperationId {
        self.next.volume.epoch += 1;
        let lane = kind.lane();
        let id = OperationId(self.facts.ids[id_index]);
        let waits = self.next.operation_in(lane).is_some() || must_wait(&self.next, &kind);
        self.next.operations.reserve_exact(1);
        self.next.operations.push(Operation {
            id,
            epoch: self.next.volume.epoch,
            kind,
            step: Step::Queued,
            attempt: 1,
            is_repeated: false,
            probing: None,
            undoing: None,
            reserved_gib: 0,
            previous_status: Some(self.next.volume.status),
            requester,
            started_at: self.facts.now,
            step_started_at: self.facts.now,
        });
        if !waits {
            self.start(id);
        }
        id
    }

    /// Starts an operation that has waited: at `Drain` while calls are outstanding, else at its first step.
    pub(super) fn start(&mut self, id: OperationId) {
        let step = if self.must_drain(id) { Step::Drain } else { steps::first_step(&mut self.next, id) };
        self.run(id, step);
    }

    /// Calls of earlier operations come first, where they go to the same backend; and what a migration has left elsewhere, for the
    /// delete, after which nobody would know of it, and for the next migration, which may go there.
    fn must_drain(&self, id: OperationId) -> bool {
        let Some(operation) = self.operation(id) else { return false };
        match operation.kind {
            // A swap's old volume has no call before it is told how it ended.
            OperationKind::DiscardCopy { .. } | OperationKind::SwapOut(_) | OperationKind::NotifyCompute(_) => false,
            OperationKind::Delete | OperationKind::Migrate(_) if self.next.operation_in(Lane::Cleanup).is_some() => {
                true
            }
            _ => !self.next.volume.outstanding.is_empty(),
        }
    }

    /// Starts whoever has waited for earlier calls, or for what is left of migrations, and need not any more.
    pub(super) fn start_drained(&mut self) {
        let drains = self.next.operations.iter().filter(|operation| operation.step == Step::Drain);
        for id in drains.map(|operation| operation.id).collect::<Vec<_>>() {
            if !self.must_drain(id) {
                self.start(id);
            }
        }
    }

    /// Puts an operation on a step and starts the step's job.
    pub(super) fn run(&mut self, id: OperationId, step: Step) {
        let now = self.facts.now;
        if let Some(operation) = self.operation_mut(id) {
            operation.step = step;
            operation.attempt = 1;
            operation.is_repeated = false;
            operation.probing = None;
            operation.step_started_at = now;
        }
        self.issue(id);
    }

    /// Starts the job of an operation's present step (again).
    pub(super) fn issue(&mut self, id: OperationId) {
        jobs_of(&self.next, id, self.facts, &mut self.decision.jobs);
    }

    /// Looks whether the outstanding calls have ended.
    pub(super) fn probe_outstanding(&mut self, attempt: u32) {
        let job = probe_outstanding_job(&self.next, attempt);
        self.decision.jobs.push(job);
    }

    /// Ends an operation and answers whoever waits for it. The next one of its lane starts.
    pub(super) fn end(&mut self, id: OperationId, answer: Result<(), Refusal>) {
        let Some(index) = self.next.operations.iter().position(|operation| operation.id == id) else { return };
        let ended = self.next.operations.remove(index);
        if self.decision.attachment_id.is_none() {
            self.decision.attachment_id = ended.kind.export_owner();
        }
        if let Err(refusal) = &answer {
            self.decision.cause.get_or_insert_with(|| refusal.to_string());
        }
        match ended.kind {
            OperationKind::CreateFrom(origin) => {
                self.decision.jobs.push(Job::GiveBack { lender: origin.source_volume_id });
            }
            OperationKind::Revert { .. } | OperationKind::Delete => snapshot::release(self),
            _ => {}
        }
        self.decision.ended.push((id, answer));
        let lane = ended.kind.lane();
        self.start_waiting(lane);
        match lane {
            // Work on the data may have waited for it.
            Lane::Snapshot | Lane::Connection => self.start_waiting(Lane::Data),
            // The detach of a server that is gone may have waited for its guest.
            Lane::Data => self.start_waiting(Lane::Connection),
            Lane::Cleanup => self.start_drained(),
            Lane::Notice => {}
        }
    }

    /// Answers whoever waits for an operation which goes on.
    pub(super) fn answer(&mut self, id: OperationId, answer: Result<(), Refusal>) {
        self.decision.ended.push((id, answer));
    }

    /// A job that belongs to no operation.
    pub(super) fn start_job(&mut self, job: Job) {
        self.decision.jobs.push(job);
    }

    /// Ends an operation from outside: its call may still have effects, so it becomes an outstanding one (P3, R-83).
    pub(super) fn fence(&mut self, id: OperationId, answer: Refusal) {
        let Some(operation) = self.next.operations.iter().find(|operation| operation.id == id).cloned() else { return };
        self.next.volume.epoch += 1;
        if operation.step != Step::DiscardImage {
            self.remember_outstanding(&operation, 1);
        }
        if steps::copies(&operation.step) {
            let key = operation.call_key(self.next.id());
            self.decision.jobs.push(Job::CutOff { target: steps::backend_of(&self.next), key });
        }
        if image::leaves_image(&operation) {
            return image::cut_off(self, &operation, answer);
        }
        if let OperationKind::ServerDetach { attachment_id, .. } = operation.kind
            && let Some(row) = self.next.attachment_mut(attachment_id)
            && let Some(bdm) = row.bdm.as_mut()
        {
            bdm.detaching = false;
        }
        self.end(id, Err(answer));
    }

    /// Why it is done: for the volume's history.
    pub(super) fn because(&mut self, cause: String) {
        self.decision.cause = Some(cause);
    }

    /// Records that the call of the operation's present step may still have effects, if it is a backend's, and looks after it.
    /// A volume that was never placed has no backend: nothing can have effects, and nobody could ever say that it has ended.
    pub(super) fn remember_outstanding(&mut self, operation: &Operation, look: u32) {
        if !steps::has_backend_call(&operation.step) || self.next.volume.host.is_none() {
            return;
        }
        // What goes to another backend is made good there, by a younger delete.
        if operation.kind.other_backend().is_some() {
            return;
        }
        let key = operation.call_key(self.next.id());
        let recorded_at = self.next.volume.generation;
        if !self.next.volume.outstanding.iter().any(|call| call.key == key) {
            self.next.volume.outstanding.push(OutstandingCall { key, since: self.facts.now, recorded_at });
        }
        self.probe_outstanding(look);
    }

    /// Starts the first operation of a lane, if it has waited for nothing but what is over now.
    pub(super) fn start_waiting(&mut self, lane: Lane) {
        let waiting = self.next.operation_in(lane).filter(|next| next.step == Step::Queued);
        let ready = waiting.filter(|next| !must_wait(&self.next, &next.kind)).map(|next| next.id);
        if let Some(id) = ready {
            self.start(id);
        }
    }

    /// Begins the removal of exports that no row owns, if there are any and no connection work is under way.
    pub(super) fn repair_if_idle(&mut self) {
        let takes_away = |kind: &OperationKind| matches!(kind, OperationKind::Delete | OperationKind::Unmanage);
        let deleting = self.next.operations.iter().any(|operation| takes_away(&operation.kind));
        if !self.next.volume.orphan_exports.is_empty()
            && !self.next.volume.deleted
            && !deleting
            && self.next.operation_in(Lane::Connection).is_none()
        {
            self.begin(OperationKind::Repair, 3);
        }
    }

    pub(super) fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.next.operations.iter().find(|operation| operation.id == id)
    }

    pub(super) fn operation_mut(&mut self, id: OperationId) -> Option<&mut Operation> {
        self.next.operations.iter_mut().find(|operation| operation.id == id)
    }

    /// Answer only when this operation has ended.
    pub(super) fn reply_when_ended(&mut self, id: OperationId) {
        self.decision.reply = ReplyWhen::OperationEnds(id);
    }

    /// The row that the answer speaks of.
    pub(super) fn speak_of(&mut self, row: AttachmentId) {
        self.decision.attachment_id = Some(row);
    }

    /// Let the store judge the growth of the project's usage.
    pub(super) fn judge_growth(&mut self) {
        self.decision.judge_growth = true;
    }

    /// The history names the request behind an operation, not the job that moved it on.
    pub(super) fn on_behalf_of(&mut self, requester: &Requester) {
        self.decision.requester = requester.clone();
    }

    /// The commit holds only while the server has this epoch.
    pub(super) fn guard_server(&mut self, server: ServerId, epoch: u64) {
        self.decision.server_guard = Some((server, epoch));
    }

    /// The commit holds only while the type has this revision.
    pub(super) fn guard_type(&mut self, id: VolumeTypeId, revision: u64) {
        self.decision.type_guard = Some((id, revision));
    }

    /// Tells the volume's owner what failed.
    pub(super) fn tell_owner(&mut self, message: UserMessage) {
        self.decision.cause.get_or_insert_with(|| message.cause.clone().unwrap_or_default());
        self.decision.messages.push(message);
    }

    /// Takes the row out of the volume; an export it still has becomes an orphan, to be removed by repair.
    pub(super) fn remove_row(&mut self, row: AttachmentId) {
        let Some(index) = self.next.attachments.iter().position(|candidate| candidate.id == row) else { return };
        // What clients of the old actions have connected for it goes with it.
        let connections = connection::of_row(&self.next, row);
        connection::orphan(&mut self.next, |connection| connections.contains(&connection.id));
        let removed = self.next.attachments.remove(index);
        self.next.volume.admin_metadata.remove("attached_mode");
        // What was about to be detached is detached.
        self.next.volume.drop_marker(MarkerKind::Detaching);
        if let Some(export) = removed.export
            && !self.next.volume.orphan_exports.contains(&export)
        {
            self.next.volume.orphan_exports.push(export);
        }
    }

    /// The verdict: commit, or nothing if the state is unchanged.
    pub(super) fn finish(mut self) -> Verdict {
        connection::orphan_untold(&mut self.next);
        self.repair_if_idle();
        if self.before == Some(&self.next) {
            return Verdict::Nothing { jobs: self.decision.jobs, attachment_id: self.decision.attachment_id };
        }
        self.next.shrink_to_fit();
        self.next.volume.generation += 1;
        if self.before.is_some() {
            self.next.volume.updated_at = Some(self.facts.now);
        }
        // A job begun early in the decision may belong to an operation which the same decision has moved on.
        let live = |job: &Job| match job {
            Job::Step { ticket, .. }
            | Job::Borrow { ticket, .. }
            | Job::TellOld { ticket, .. }
            | Job::NotifyCompute { ticket, .. } => {
                self.next.operations.iter().any(|operation| ticket_of(operation) == *ticket)
            }
            Job::ProbeOutstanding { .. }
            | Job::WatchBorrower { .. }
            | Job::GiveBack { .. }
            | Job::WatchSwap { .. }
            | Job::CallOffSwap { .. }
            | Job::CutOff { .. } => true,
        };
        self.decision.jobs.retain(live);
        Verdict::Commit(Box::new(Decision {
            jobs: self.decision.jobs,
            reply: self.decision.reply,
            attachment_id: self.decision.attachment_id,
            ended: self.decision.ended,
            messages: self.decision.messages,
            limits: self.decision.judge_growth.then(|| self.facts.limits.clone()),
            server_guard: self.decision.server_guard,
            type_guard: self.decision.type_guard,
            requester: self.decision.requester,
            cause: self.decision.cause,
            next: Arc::new(self.next),
        }))
    }
}

/// Whether an operation, the first of its lane, must still wait for those who read what it changes: snapshots that are being
/// taken, and volumes that are being made from the contents.
fn must_wait(state: &VolumeState, kind: &OperationKind) -> bool {
    let is_lent = |id| state.volume.loans.iter().any(|loan| loan.snapshot_id == id);
    match kind {
        OperationKind::Extend { .. } => state.operation_in(Lane::Snapshot).is_some() || is_lent(None),
        OperationKind::Delete | OperationKind::Unmanage | OperationKind::Revert { .. } | OperationKind::Reimage(_) => {
            state.operation_in(Lane::Snapshot).is_some() || !state.volume.loans.is_empty()
        }
        OperationKind::DeleteSnapshot { snapshot_id } | OperationKind::UnmanageSnapshot { snapshot_id } => {
            is_lent(Some(*snapshot_id))
        }
        OperationKind::Migrate(_) => {
            let others = [Lane::Snapshot, Lane::Connection];
            others.iter().any(|lane| state.operation_in(*lane).is_some()) || !state.volume.loans.is_empty()
        }
        // The guest is just being moved, or taken back.
        OperationKind::ServerDetach { .. } | OperationKind::Replug { .. } => {
            state.data_work().is_some_and(|running| running.kind.migration().is_some() && running.step != Step::Queued)
        }
        _ => false,
    }
}

/// The ticket which the present step's job carries.
pub(super) fn ticket_of(operation: &Operation) -> Ticket {
    Ticket {
        operation_id: operation.id,
        epoch: operation.epoch,
        step: operation.step.clone(),
        attempt: operation.probing.as_ref().map_or(operation.attempt, |probing| probing.attempt),
        probe: operation.probing.is_some(),
    }
}

/// Adds the jobs of an operation's present step.
fn jobs_of(state: &VolumeState, id: OperationId, facts: &Facts, jobs: &mut Vec<Job>) {
    let Some(operation) = state.operations.iter().find(|operation| operation.id == id) else { return };
    let ticket = ticket_of(operation);
    if operation.step == Step::Queued {
        return;
    }
    if operation.step == Step::Drain {
        let timer = Job::Step { ticket, target: JobTarget::Timer, call: None, delay: facts.drain_deadline };
        return jobs.extend([timer, probe_outstanding_job(state, 1)]);
    }
    let delay = backoff(ticket.attempt);
    if operation.step == Step::Announce {
        return jobs.push(Job::Step { ticket, target: JobTarget::Timer, call: None, delay: Duration::ZERO });
    }
    if let (Step::Borrow, OperationKind::CreateFrom(origin)) = (&operation.step, &operation.kind) {
        return jobs.push(Job::Borrow { ticket, origin: *origin, size_gib: state.volume.size_gib });
    }
    if let (Step::NotifyCompute, OperationKind::NotifyCompute(notice)) = (&operation.step, &operation.kind) {
        let (notice, request_id) = (ComputeNotice::clone(notice), operation.requester.request_id.clone());
        return jobs.push(Job::NotifyCompute { ticket, notice, request_id, delay });
    }
    if operation.step == Step::Yielded {
        return jobs.extend(swap::jobs(state, &operation.kind));
    }
    if let Some(word) = swapping::word_job(state, operation) {
        return jobs.push(word);
    }
    let (target, request) = match steps::request(state, operation) {
        Some(found) => found,
        // The step's row is gone: a timer of no length lets the operation go on.
        None => return jobs.push(Job::Step { ticket, target: JobTarget::Timer, call: None, delay: Duration::ZERO }),
    };
    let call = Call { key: operation.call_key(state.id()), request };
    jobs.reserve_exact(1);
    jobs.push(Job::Step { ticket, target, call: Some(call), delay });
}

fn probe_outstanding_job(state: &VolumeState, attempt: u32) -> Job {
    Job::ProbeOutstanding {
        target: steps::backend_of(state),
        request: Request::Probe,
        attempt,
        asked_at: state.volume.generation,
        delay: backoff(attempt).min(OUTSTANDING_LOOK),
    }
}
