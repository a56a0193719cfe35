//! The actions on a volume by which clients attached before there were attachments (volume-actions §2.7, §2.8, §2.10–§2.12,
//! §2.17).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::schema::{self, formats};
use crate::api::views::connection as view;
use crate::domain::attachment::AttachMode;
use crate::domain::claims::Connection;
use crate::domain::ids::{AttachmentId, ServerId};
use crate::domain::volume::command::AttachVolume;
use crate::domain::volume::state::Volume;
use crate::domain::volume::{Command, VolumeState};
use crate::policy::Rule;
use crate::rule;

const UNRESERVE: Rule = rule!("volume_extension:volume_actions:unreserve");
const DETACH: Rule = rule!("volume_extension:volume_actions:detach");
const TERMINATE: Rule = rule!("volume_extension:volume_actions:terminate_connection");

/// Carries out one of them; its name has been checked.
pub async fn volume_connection_action(call: &Call, id: &str, action: &str) -> Result<Answer, Problem> {
    match action {
        "os-reserve" => flip(call, id, rule!("volume_extension:volume_actions:reserve"), Command::Reserve).await,
        "os-unreserve" => flip(call, id, UNRESERVE, Command::Unreserve).await,
        "os-begin_detaching" => {
            flip(call, id, rule!("volume_extension:volume_actions:begin_detaching"), Command::BeginDetaching).await
        }
        "os-roll_detaching" => {
            flip(call, id, rule!("volume_extension:volume_actions:roll_detaching"), Command::RollDetaching).await
        }
        "os-attach" => volume_attach(call, id).await,
        "os-detach" => volume_detach(call, id).await,
        "os-initialize_connection" => volume_initialize_connection(call, id).await,
        "os-terminate_connection" => volume_terminate_connection(call, id).await,
        "os-force_detach" => volume_force_detach(call, id).await,
        other => Err(Problem::NoSuchAction(other.to_owned())),
    }
}

/// Any value; the word of the volume and its marker (§2.17).
async fn flip(call: &Call, id: &str, rule: Rule, command: Command) -> Result<Answer, Problem> {
    let state = call.volume_target(id).await?;
    call.enforce(rule, &state.volume)?;
    accepted(call, &state, command).await
}

async fn accepted(call: &Call, state: &VolumeState, command: Command) -> Result<Answer, Problem> {
    call.command(state.id(), command).await?;
    Ok(Answer::empty(202))
}

async fn volume_attach(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_ATTACH.check(call.version, &call.body)?;
    let members = &call.body["os-attach"];
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume_extension:volume_actions:attach"), &state.volume)?;
    let instance_uuid = text("instance_uuid").and_then(formats::uuid_any).map(|uuid| ServerId::from(uuid.to_string()));
    let command = Command::Attach(Box::new(AttachVolume {
        mountpoint: text("mountpoint").unwrap_or_default().to_owned(),
        instance_uuid,
        host_name: text("host_name").map(str::to_owned),
        mode: text("mode").and_then(AttachMode::parse).unwrap_or(AttachMode::ReadWrite),
    }));
    accepted(call, &state, command).await
}

async fn volume_detach(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_DETACH.check(call.version, &call.body)?;
    let state = call.volume_target(id).await?;
    call.enforce(DETACH, &state.volume)?;
    let attachment_id = attachment_meant(call, &state, &call.body["os-detach"]["attachment_id"]).await?;
    accepted(call, &state, Command::Detach { attachment_id }).await
}

/// The row that a detach names; one of another volume is a mistake, whoever makes it (§0.7 step 4). One that is not there is
/// the volume's to answer for.
async fn attachment_meant(call: &Call, state: &VolumeState, named: &Value) -> Result<Option<AttachmentId>, Problem> {
    let Some(text) = named.as_str() else { return Ok(None) };
    let Some(id) = formats::uuid_any(text).map(AttachmentId) else {
        return Err(Problem::InvalidInput(format!("'{text}' is not the id of an attachment.")));
    };
    if state.attachment(id).is_none()
        && let Some(other) = call.service().attachment_target(id).await?
        && other.id() != state.id()
        && call.context.sees(&other.volume.project_id)
    {
        return Err(Problem::InvalidInput(format!("Attachment {id} is mismatched with volume {}.", state.id())));
    }
    Ok(Some(id))
}

async fn volume_initialize_connection(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_INITIALIZE_CONNECTION.check(call.version, &call.body)?;
    let connector = &call.body["os-initialize_connection"]["connector"];
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume_extension:volume_actions:initialize_connection"), &state.volume)?;
    let connector = connector_of(connector)?.unwrap_or_else(|| json!({}));
    let command = Command::InitializeConnection { connector };
    let reply = call.command(state.id(), command).await?;
    let connection = reply.attachment_id.and_then(|id| reply.state.volume.connection(id));
    // An administrator may have cut it off between its commit and this answer.
    let connection = connection.ok_or_else(|| Problem::NotFound(Kind::Volume, id.to_owned()))?;
    initialized(call, &reply.state.volume, connection).await
}

/// The answer, of a new connection or of one that was made before.
pub async fn initialized(call: &Call, volume: &Volume, connection: &Connection) -> Result<Answer, Problem> {
    let told = super::qos::told(call, volume).await?;
    Ok(Answer::ok(json!({"connection_info": view::connection_info(connection, told)})))
}

async fn volume_terminate_connection(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_TERMINATE_CONNECTION.check(call.version, &call.body)?;
    let state = call.volume_target(id).await?;
    call.enforce(TERMINATE, &state.volume)?;
    // The reservation ends with it (§2.12).
    call.enforce(UNRESERVE, &state.volume)?;
    let connector = connector_of(&call.body["os-terminate_connection"]["connector"])?;
    accepted(call, &state, Command::TerminateConnection { connector }).await
}

async fn volume_force_detach(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_FORCE_DETACH.check(call.version, &call.body)?;
    let members = &call.body["os-force_detach"];
    let state: Arc<VolumeState> = call.volume_target(id).await?;
    for rule in [rule!("volume_extension:volume_admin_actions:force_detach"), TERMINATE, UNRESERVE, DETACH] {
        call.enforce(rule, &state.volume)?;
    }
    let connector = connector_of(members.get("connector").unwrap_or(&Value::Null))?;
    let attachment_id = attachment_meant(call, &state, &members["attachment_id"]).await?;
    accepted(call, &state, Command::ForceDetach { attachment_id, connector }).await
}

/// A connector: an object, or none. Schemas let texts pass, which mean nothing.
fn connector_of(connector: &Value) -> Result<Option<Value>, Problem> {
    match connector {
        Value::Null => Ok(None),
        Value::Object(_) => Ok(Some(connector.clone())),
        _ => Err(Problem::InvalidInput("The connector must be an object.".to_owned())),
    }
}
