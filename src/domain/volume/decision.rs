//! What decisions consist of: a next state, rows, jobs, a reply.

use std::sync::Arc;
use std::time::Duration;

use super::attach::SwapWord;
use super::refusal::Refusal;
use super::state::{Origin, VolumeState};
use crate::domain::backend::{Call, CallKey, Request};
use crate::domain::compute::ComputeNotice;
use crate::domain::ids::{AttachmentId, OperationId, RequestId, ServerId, SnapshotId, VolumeId, VolumeTypeId};
use crate::domain::operation::{Requester, Step};
use crate::domain::quota::Limits;
use crate::domain::text::Text;

/// Identifies the job of a result: results with another ticket are late (promise I3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The operation.
    pub operation_id: OperationId,
    /// Its epoch.
    pub epoch: u64,
    /// Its step.
    pub step: Step,
    /// The try.
    pub attempt: u32,
    /// It was the probe of the step, not the step.
    pub probe: bool,
}

/// Who carries a job out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobTarget {
    /// The backend `host@backend#pool`.
    Backend(Text),
    /// The guest of a server, through its actor.
    Guest(ServerId),
    /// Nobody: the job is only a timer which ends as `Unknown`.
    Timer,
}

/// Work to start after the commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// A call for an operation's step; its end comes back as [`Command::JobResult`](super::Command::JobResult).
    Step {
        /// For the way back.
        ticket: Ticket,
        /// Who does it.
        target: JobTarget,
        /// What.
        call: Option<Call>,
        /// Not before this much time has passed.
        delay: Duration,
    },
    /// Look whether outstanding calls have ended; comes back as [`Command::OutstandingProbed`](super::Command::OutstandingProbed).
    ProbeOutstanding {
        /// The backend.
        target: JobTarget,
        /// Always [`Request::Probe`].
        request: Request,
        /// Which probe this is.
        attempt: u32,
        /// The generation at which it was decided to look.
        asked_at: u64,
        /// Not before this much time has passed.
        delay: Duration,
    },
    /// Ask the source for its contents, until it has answered; comes back as [`Command::Lent`](super::Command::Lent).
    Borrow {
        /// For the way back.
        ticket: Ticket,
        /// The source, and the snapshot of it.
        origin: Origin,
        /// Size of the borrower, GiB.
        size_gib: u32,
    },
    /// Look, again and again, whether a volume still reads the contents that it has borrowed; its end comes back as
    /// [`Command::Returned`](super::Command::Returned).
    WatchBorrower {
        /// That volume.
        borrower: VolumeId,
    },
    /// Say a word to the old volume of a swap, until it has answered; comes back as
    /// [`Command::SwapAnswered`](super::Command::SwapAnswered).
    TellOld {
        /// For the way back.
        ticket: Ticket,
        /// The old volume.
        old_volume: VolumeId,
        /// The server, which may be deleted meanwhile.
        server_id: ServerId,
        /// The word.
        word: SwapWord,
    },
    /// Tell a Nova elsewhere, once; comes back as [`Command::JobResult`](super::Command::JobResult).
    NotifyCompute {
        /// For the way back.
        ticket: Ticket,
        /// What, and of which servers.
        notice: ComputeNotice,
        /// The request behind it.
        request_id: RequestId,
        /// Not before this much time has passed.
        delay: Duration,
    },
    /// Look, again and again, whether the swap that a volume has left its guest to is still there; when it is not, the guest stays
    /// ([`Command::SwapWord`](super::Command::SwapWord)).
    WatchSwap {
        /// The new volume.
        new_volume: VolumeId,
        /// Its operation.
        swap: OperationId,
    },
    /// Tell the new volume of a swap that the old one wants its guest back; a hint.
    CallOffSwap {
        /// The new volume.
        new_volume: VolumeId,
        /// Its operation.
        swap: OperationId,
    },
    /// Let a copy end early whose operation has been ended from outside; a hint, the call's end is looked at all the same.
    CutOff {
        /// Who carries it out.
        target: JobTarget,
        /// The call.
        key: CallKey,
    },
    /// Tell the lender that its contents are not read any more; a hint that spares it the next look.
    GiveBack {
        /// The lender.
        lender: VolumeId,
    },
}

/// A failure that the volume's owner can read (`spec/services-hosts-pools.md`, messages).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMessage {
    /// `001`…: what was being done.
    pub action: &'static str,
    /// `001`…: what went wrong.
    pub detail: &'static str,
    /// The particular cause, appended to the text.
    pub cause: Option<String>,
    /// Whose request it was.
    pub requester: Requester,
    /// The snapshot that it is about; none: the volume.
    pub snapshot_id: Option<SnapshotId>,
}

/// When the sender of a command gets its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyWhen {
    /// After this decision's commit.
    Committed,
    /// When this operation has ended.
    OperationEnds(OperationId),
}

/// The answer of a volume: its state as of the commit which the answer speaks of.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Committed state.
    pub state: Arc<VolumeState>,
    /// The row which the command made or changed.
    pub attachment_id: Option<AttachmentId>,
}

/// A decision: nothing of it happens unless `next` commits.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The state to commit. Rows to write are the difference from the present state.
    pub next: Arc<VolumeState>,
    /// Work to start after the commit.
    pub jobs: Vec<Job>,
    /// When to answer.
    pub reply: ReplyWhen,
    /// The row that the answer speaks of.
    pub attachment_id: Option<AttachmentId>,
    /// Operations that end with this commit, and how their waiting requests are answered.
    pub ended: Vec<(OperationId, Result<(), Refusal>)>,
    /// Written in the same commit.
    pub messages: Vec<UserMessage>,
    /// Quota limits which the growth must keep; none when growth is not judged (facts, not wishes).
    pub limits: Option<Limits>,
    /// The server that must still have this epoch at the commit.
    pub server_guard: Option<(ServerId, u64)>,
    /// The volume type that must still have this revision at the commit.
    pub type_guard: Option<(VolumeTypeId, u64)>,
    /// The request behind it, for the history.
    pub requester: Requester,
    /// The cause of a failure, for the history.
    pub cause: Option<String>,
}

/// What the decision is.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Commit this.
    Commit(Box<Decision>),
    /// The effect is already there, or there is nothing to do: answer from the present state, start these jobs.
    Nothing {
        /// Work to start at once (nothing new is intended by it: only timers and read-only probes).
        jobs: Vec<Job>,
        /// The row that the answer speaks of.
        attachment_id: Option<AttachmentId>,
    },
    /// Wait in the volume's connection queue until its connection lane is free (P4).
    Queue,
    /// Refused: nothing changes.
    Refuse(Refusal),
}
