//! The actions on a volume by which clients attached before there were attachments (volume-actions §2.7, §2.8, §2.10–§2.12,
//! §2.17).

use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::domain::volume::Command;

/// Carries out one of them; its name has been checked.
pub async fn volume_connection_action(call: &Call, id: &str, action: &str) -> Result<Answer, Problem> {
    match action {
        "os-reserve" => flip(call, id, "volume_extension:volume_actions:reserve", Command::Reserve).await,
        "os-unreserve" => flip(call, id, "volume_extension:volume_actions:unreserve", Command::Unreserve).await,
        "os-begin_detaching" => {
            flip(call, id, "volume_extension:volume_actions:begin_detaching", Command::BeginDetaching).await
        }
        "os-roll_detaching" => {
            flip(call, id, "volume_extension:volume_actions:roll_detaching", Command::RollDetaching).await
        }
        other => Err(Problem::NoSuchAction(other.to_owned())),
    }
}

/// Any value; the word of the volume and its marker (§2.17).
async fn flip(call: &Call, id: &str, rule: &'static str, command: Command) -> Result<Answer, Problem> {
    let state = call.volume_target(id).await?;
    call.enforce(rule, &state.volume.project_id)?;
    call.service().volume_command(state.id(), command, call.context.caller()).await?;
    Ok(Answer::empty(202))
}
