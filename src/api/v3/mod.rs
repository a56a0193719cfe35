//! Block Storage, a file for each noun. Handlers check in the order schema → visibility → policy → the volume itself.

pub mod attachments;
pub mod messages;
pub mod types;
pub mod versions;
pub mod volume_actions;
pub mod volume_connections;
pub mod volume_create;
pub mod volumes;

use serde_json::Value;

use super::answer::Answer;
use super::call::Call;
use super::fault::Problem;
use super::route::Route;

/// The actions that exist on each action route.
const VOLUME_ACTIONS: &[&str] = &[
    "os-extend",
    "os-force_delete",
    "os-reset_status",
    "os-reserve",
    "os-unreserve",
    "os-begin_detaching",
    "os-roll_detaching",
    "os-attach",
    "os-detach",
    "os-initialize_connection",
    "os-terminate_connection",
    "os-force_detach",
];
const ATTACHMENT_ACTIONS: &[&str] = &["os-complete"];

/// The name of the action in a body; 400 unless there is exactly one member, and it is an action of this route.
pub fn action_name(route: &Route, body: &Value) -> Result<String, Problem> {
    let members = body.as_object().ok_or(Problem::MalformedBody)?;
    let mut names = members.keys();
    let (Some(name), None) = (names.next(), names.next()) else { return Err(Problem::MalformedBody) };
    let known = match route {
        Route::AttachmentAction(_) => ATTACHMENT_ACTIONS,
        _ => VOLUME_ACTIONS,
    };
    if known.contains(&name.as_str()) { Ok(name.clone()) } else { Err(Problem::NoSuchAction(name.clone())) }
}

/// Hands the call to its noun.
pub async fn handle(call: &Call, route: &Route, action: Option<&str>) -> Result<Answer, Problem> {
    match route {
        Route::VolumeSummary => volumes::volume_summary(call).await,
        Route::VolumeList { detail } => volumes::volume_list(call, *detail).await,
        Route::VolumeCreate => volume_create::volume_create(call).await,
        Route::VolumeShow(id) => volumes::volume_show(call, id).await,
        Route::VolumeUpdate(id) => volumes::volume_update(call, id).await,
        Route::VolumeDelete(id) => volumes::volume_delete(call, id).await,
        Route::VolumeAction(id) => volume_actions::volume_action(call, id, action.unwrap_or_default()).await,
        Route::AttachmentList { detail } => attachments::attachment_list(call, *detail).await,
        Route::AttachmentCreate => attachments::attachment_create(call).await,
        Route::AttachmentShow(id) => attachments::attachment_show(call, id).await,
        Route::AttachmentUpdate(id) => attachments::attachment_update(call, id).await,
        Route::AttachmentDelete(id) => attachments::attachment_delete(call, id).await,
        Route::AttachmentAction(id) => attachments::attachment_complete(call, id).await,
        Route::TypeList => types::type_list(call).await,
        Route::TypeShow(id) => types::type_show(call, id).await,
        Route::MessageList => messages::message_list(call).await,
        Route::MessageShow(id) => messages::message_show(call, id).await,
        Route::MessageDelete(id) => messages::message_delete(call, id).await,
        _ => Err(Problem::Unrouted),
    }
}
