//! placeholder
use super::command::{Caller, Command, Facts, Verdict};
use super::state::VolumeState;

/// Decides.
pub fn decide(_state: Option<&VolumeState>, _command: &Command, _caller: &Caller, _facts: &Facts) -> Verdict {
    Verdict::Queue
}
