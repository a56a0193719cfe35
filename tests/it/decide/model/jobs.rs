//! The jobs of committed decisions: what they are to the world, and how the volume hears of their ends.

use hearth::domain::backend::Outcome;
use hearth::domain::volume::command::{OldAnswer, SwapWord};
use hearth::domain::volume::{Command, Job, JobTarget, Refusal};

use super::world::{Fate, Pending};
use crate::decide::build;

/// The message in which the volume hears of a job that has ended.
pub fn result_of(pending: Pending) -> Command {
    let outcome = pending.answer.expect("only answered jobs are heard of");
    match pending.job {
        Job::Step { ticket, .. } => Command::JobResult { ticket, outcome },
        Job::ProbeOutstanding { attempt, asked_at, .. } => Command::OutstandingProbed { outcome, attempt, asked_at },
        Job::TellOld { ticket, server_id, word, .. } => {
            let disk = matches!(word, SwapWord::Yield(_)).then(|| Box::new(build::yielded_disk(&server_id)));
            let answer = match outcome {
                Outcome::Done { .. } => Ok(OldAnswer { disk, server_gone: false }),
                _ => Err(Refusal::InvalidVolume("the old volume is not in use".to_owned())),
            };
            Command::SwapAnswered { ticket, answer }
        }
        Job::WatchSwap { swap, .. } => Command::SwapWord(Box::new(SwapWord::Stays { swap })),
        Job::Borrow { .. }
        | Job::WatchBorrower { .. }
        | Job::GiveBack { .. }
        | Job::CallOffSwap { .. }
        | Job::NotifyCompute { .. }
        | Job::CutOff { .. } => {
            unreachable!("nothing is lent here, nobody is told, and hints have no effect")
        }
    }
}

/// Whether a job's call changes anything.
pub fn writes(job: &Job) -> bool {
    match job {
        Job::Step { ticket, call: Some(call), .. } => !call.request.is_read_only() && !ticket.probe && !is_nowhere(job),
        _ => false,
    }
}

/// Whether it goes to the backend where volumes are made, or to a guest.
pub fn is_here(job: &Job) -> bool {
    let (Job::Step { target, .. } | Job::ProbeOutstanding { target, .. }) = job else { return true };
    *target != JobTarget::Backend(build::OTHER_BACKEND.into())
}

/// Whether a backend is asked that there is not: the volume has none.
pub fn is_nowhere(job: &Job) -> bool {
    let (Job::Step { target, .. } | Job::ProbeOutstanding { target, .. }) = job else { return false };
    *target == JobTarget::Backend("".into())
}

/// Whether a job's call can go so.
pub fn is_possible(job: &Job, fate: Fate) -> bool {
    match job {
        Job::WatchSwap { .. } => return fate == Fate::Carried,
        Job::TellOld { word, .. } => {
            return fate == Fate::Carried || fate == Fate::Refuses && matches!(word, SwapWord::Yield(_));
        }
        _ => {}
    }
    let is_guest = matches!(job, Job::Step { target: JobTarget::Guest(_), .. });
    match fate {
        Fate::Carried => true,
        Fate::Fails => !matches!(job, Job::Step { call: None, .. }),
        Fate::Refuses => is_guest && writes(job),
        Fate::AnswerLost | Fate::NothingDone => writes(job),
        // a probe that hangs has no effect to come
        Fate::Hangs => !matches!(job, Job::Step { call: None, .. }),
    }
}
