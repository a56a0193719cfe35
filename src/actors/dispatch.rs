//! Starts the jobs of a committed decision and brings their ends back to the supervisor as (volume, operation, epoch).

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::server::GuestCall;
use crate::domain::backend::{Call, CallKey, Cause, CauseKind, Outcome, Request};
use crate::domain::ids::{OperationId, VolumeId};
use crate::domain::operation::Step;
use crate::domain::volume::command::Ticket;
use crate::domain::volume::{Command, Job, JobTarget};
use crate::drivers::pool::{Completion, PoolTarget};

impl Core {
    /// Starts jobs, each after its delay.
    pub(super) fn start_jobs(self: &Arc<Self>, volume_id: VolumeId, jobs: Vec<Job>) {
        for job in jobs {
            let delay = match &job {
                Job::Step { delay, .. } | Job::ProbeOutstanding { delay, .. } | Job::NotifyCompute { delay, .. } => {
                    *delay
                }
                Job::Borrow { .. }
                | Job::WatchBorrower { .. }
                | Job::GiveBack { .. }
                | Job::TellOld { .. }
                | Job::WatchSwap { .. }
                | Job::CallOffSwap { .. }
                | Job::CutOff { .. } => Duration::ZERO,
            };
            if delay.is_zero() {
                self.start_job(volume_id, job);
            } else {
                let core = Arc::clone(self);
                self.after(delay, move || core.start_job(volume_id, job));
            }
        }
    }

    fn start_job(self: &Arc<Self>, volume_id: VolumeId, job: Job) {
        match job {
            Job::Step { ticket, target, call, .. } => self.start_step(volume_id, ticket, target, call),
            Job::Borrow { ticket, origin, size_gib } => self.borrow(volume_id, ticket, origin, size_gib),
            Job::WatchBorrower { borrower } => self.watch_borrower(volume_id, borrower),
            Job::GiveBack { lender } => self.give_back(lender, volume_id),
            Job::TellOld { ticket, old_volume, server_id, word } => {
                self.tell_old(volume_id, ticket, old_volume, server_id, word);
            }
            Job::NotifyCompute { ticket, notice, request_id, .. } => {
                self.notify_compute(volume_id, ticket, notice, request_id);
            }
            Job::WatchSwap { new_volume, swap } => self.watch_swap(volume_id, new_volume, swap),
            Job::CallOffSwap { new_volume, swap } => self.deliver(new_volume, Command::SwapCallOff { swap }),
            Job::CutOff { target, key } => {
                if let JobTarget::Backend(backend) = target {
                    self.world.drivers.cut_off(&backend, &key);
                }
            }
            Job::ProbeOutstanding { target, request, attempt, asked_at, .. } => {
                let core = Arc::clone(self);
                let key =
                    CallKey { volume_id, operation_id: OperationId(uuid::Uuid::nil()), epoch: 0, step: Step::Drain };
                let done = Box::new(move |outcome| {
                    core.deliver(volume_id, Command::OutstandingProbed { outcome, attempt, asked_at });
                });
                let completion = Completion { done, late: Box::new(|_| {}) };
                self.submit(target, Call { key, request }, completion);
            }
        }
    }

    fn start_step(self: &Arc<Self>, volume_id: VolumeId, ticket: Ticket, target: JobTarget, call: Option<Call>) {
        let Some(call) = call else {
            let cause = Cause::new(CauseKind::Deadline, "the wait is over");
            return self.deliver(volume_id, Command::JobResult { ticket, outcome: Outcome::Unknown { cause } });
        };
        let is_probe = matches!(call.request, Request::Probe | Request::ProbeGuest { .. });
        let (operation_id, epoch, step) = (ticket.operation_id, ticket.epoch, ticket.step.clone());
        let core = Arc::clone(self);
        let done = Box::new(move |outcome| core.deliver(volume_id, Command::JobResult { ticket, outcome }));
        let core = Arc::clone(self);
        let late = Box::new(move |outcome| {
            if !is_probe {
                core.deliver(volume_id, Command::CallReturned { operation_id, epoch, step, outcome });
            }
        });
        self.submit(target, call, Completion { done, late });
    }

    fn submit(self: &Arc<Self>, target: JobTarget, call: Call, completion: Completion) {
        match target {
            JobTarget::Backend(backend) => {
                self.world.drivers.submit(PoolTarget::Backend(backend), call, completion);
            }
            JobTarget::Guest(server) => self.server(&server).do_send(GuestCall { call, completion }),
            JobTarget::Timer => {}
        }
    }
}
