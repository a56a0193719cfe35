//! `/attachments` (attachments §2).

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::qos;
use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::api::filters;
use crate::api::paging::{self, Columns};
use crate::api::query::word;
use crate::api::schema::{self, formats};
use crate::api::views::attachment as view;
use crate::domain::attachment::AttachMode;
use crate::domain::document::Document;
use crate::domain::ids::{AttachmentId, ServerId};
use crate::domain::status::{AttachStatus, VolumeStatus};
use crate::domain::volume::{Command, Reply, VolumeState};
use crate::policy::Rule;
use crate::policy::target::Attached;
use crate::rule;
use crate::store::AttachmentQuery;

const COLUMNS: Columns = Columns {
    aliases: &[],
    sortable: &[
        "id",
        "volume_id",
        "instance_uuid",
        "attached_host",
        "mountpoint",
        "attach_time",
        "attach_status",
        "attach_mode",
        "created_at",
    ],
};

/// The row and its volume, to be shown, if the caller sees them: the rows of other projects do not exist (404), for reads too.
async fn attachment_visible(call: &Call, id: &str) -> Result<(AttachmentId, Arc<VolumeState>), Problem> {
    let attachment_id = attachment_id(id)?;
    let state = call.service().attachment_view(attachment_id).await?;
    Ok((attachment_id, visible(call, id, state)?))
}

/// The same, to send the volume a command.
async fn attachment_target(call: &Call, id: &str) -> Result<(AttachmentId, Arc<VolumeState>), Problem> {
    let attachment_id = attachment_id(id)?;
    let state = call.service().attachment_target(attachment_id).await?;
    Ok((attachment_id, visible(call, id, state)?))
}

fn attachment_id(id: &str) -> Result<AttachmentId, Problem> {
    url_id(id).map(AttachmentId).ok_or_else(|| Problem::NotFound(Kind::Attachment, id.to_owned()))
}

fn visible(call: &Call, id: &str, state: Option<Arc<VolumeState>>) -> Result<Arc<VolumeState>, Problem> {
    let seen = state.filter(|state| call.context.sees(&state.volume.project_id));
    seen.ok_or_else(|| Problem::NotFound(Kind::Attachment, id.to_owned()))
}

#[derive(Serialize)]
struct Attachments<T> {
    attachments: Vec<T>,
}

#[derive(Serialize)]
struct One<'a> {
    attachment: view::Detail<'a>,
}

/// `GET /attachments[/detail]`
pub async fn attachment_list(call: &Call, detail: bool) -> Result<Answer, Problem> {
    let paging = paging::paging(&call.query, &COLUMNS)?;
    let everybody = match call.query.get("all_tenants") {
        Some(text) if call.context.is_admin => word(text)
            .ok_or_else(|| Problem::InvalidInput(format!("Value '{text}' for 'all_tenants' is not a boolean."))),
        _ => Ok(false),
    }?;
    let filters = filters::filters(&call.query, &filters::ATTACHMENTS, call.version, call.context.is_admin)?;
    let query = AttachmentQuery { project_id: (!everybody).then(|| call.context.project_id.clone()), filters, paging };
    let listed = call.service().store().attachment_list(query).await;
    let page = listed.map_err(|error| Problem::List(Kind::Attachment, error))?;
    let rows = page.rows.iter();
    Ok(if detail {
        Answer::ok(Attachments { attachments: rows.map(view::detail).collect() })
    } else {
        Answer::ok(Attachments { attachments: rows.map(view::summary).collect() })
    })
}

/// `GET /attachments/{id}`
pub async fn attachment_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let (attachment_id, state) = attachment_visible(call, id).await?;
    let row = state.attachment(attachment_id).ok_or_else(|| Problem::NotFound(Kind::Attachment, id.to_owned()))?;
    let told = qos::with_told(call, &state.volume, row).await?;
    let mut info = told.or_else(|| row.connection_info.clone());
    if let Some(format) = state.volume.admin_metadata.get("format") {
        info = info.map(|info| Document::with_members(&info.to_value(), &[("format", format)]));
    }
    Ok(Answer::ok(One { attachment: view::detail(row).with_connection_info(info.as_ref()) }))
}

/// The row that a reply speaks of.
pub async fn attachment_answer(call: &Call, reply: &Reply) -> Result<Answer, Problem> {
    let row = reply.attachment_id.and_then(|id| reply.state.attachment(id));
    // The row may have vanished between its commit and the answer: it is not there any more, which is what the text says.
    let missing =
        || Problem::NotFound(Kind::Attachment, reply.attachment_id.map(|id| id.to_string()).unwrap_or_default());
    let row = row.ok_or_else(missing)?;
    let told = qos::with_told(call, &reply.state.volume, row).await?;
    let info = told.as_ref().or(row.connection_info.as_ref());
    Ok(Answer::ok(One { attachment: view::detail(row).with_connection_info(info) }))
}

/// A connector must name its host, and its mode must be one.
fn connector_check(connector: &Value) -> Result<(), Problem> {
    if connector.get("host").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(Problem::InvalidInput("The connector must contain 'host'.".to_owned()));
    }
    match connector.get("mode") {
        None | Some(Value::Null) => Ok(()),
        Some(mode) if mode.as_str().and_then(AttachMode::parse).is_some() => Ok(()),
        Some(mode) => Err(Problem::InvalidInput(format!(
            "The connector's mode must be 'rw' or 'ro', not {}.",
            crate::api::python::repr(mode)
        ))),
    }
}

/// `POST /attachments`
pub async fn attachment_create(call: &Call) -> Result<Answer, Problem> {
    schema::ATTACHMENT_CREATE.check(call.version, &call.body)?;
    let members = &call.body["attachment"];
    let normal = |name: &str| {
        let uuid = members.get(name).and_then(Value::as_str).and_then(formats::uuid_any);
        uuid.map(|uuid| uuid.to_string())
    };
    let volume_id = normal("volume_uuid").unwrap_or_default();
    let connector = members.get("connector").filter(|value| value.as_object().is_some_and(|map| !map.is_empty()));
    let state = call.volume_target(&volume_id).await?;
    call.enforce(rule!("volume:attachment_create"), &state.volume)?;
    let volume = &state.volume;
    let is_in_use =
        async || Ok::<_, Problem>(call.volume_visible(&volume_id).await?.volume.status == VolumeStatus::InUse);
    if volume.multiattach && volume.bootable && is_in_use().await? {
        call.enforce(rule!("volume:multiattach_bootable_volume"), volume)?;
    }
    if let Some(connector) = connector {
        connector_check(connector)?;
    }
    let command = Command::AttachmentCreate {
        instance_uuid: normal("instance_uuid").map(ServerId::from),
        connector: connector.cloned(),
        mode: members.get("mode").and_then(Value::as_str).and_then(AttachMode::parse),
    };
    let reply = call.command(state.id(), command).await?;
    attachment_answer(call, &reply).await
}

/// `PUT /attachments/{id}`
pub async fn attachment_update(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::ATTACHMENT_UPDATE.check(call.version, &call.body)?;
    let connector = &call.body["attachment"]["connector"];
    let (attachment_id, state) = attachment_target(call, id).await?;
    enforce(call, rule!("volume:attachment_update"), attachment_id, &state)?;
    connector_check(connector)?;
    let command = Command::AttachmentUpdate { attachment_id, connector: connector.clone() };
    let reply = call.command(state.id(), command).await?;
    attachment_answer(call, &reply).await
}

/// Policy on the row, or on the volume if the row went this moment.
fn enforce(call: &Call, rule: Rule, id: AttachmentId, state: &VolumeState) -> Result<(), Problem> {
    let volume = &state.volume;
    match state.attachment(id) {
        Some(row) => call.enforce(rule, &Attached { volume, row }),
        None => call.enforce(rule, volume),
    }
}

/// `POST /attachments/{id}/action` with `os-complete` (3.44)
pub async fn attachment_complete(call: &Call, id: &str) -> Result<Answer, Problem> {
    if !call.since(44) {
        return Err(Problem::Hidden);
    }
    let (attachment_id, state) = attachment_target(call, id).await?;
    enforce(call, rule!("volume:attachment_complete"), attachment_id, &state)?;
    let command = Command::AttachmentComplete { attachment_id };
    call.command(state.id(), command).await?;
    Ok(Answer::empty(204))
}

/// `DELETE /attachments/{id}`: answers the rows that are left.
pub async fn attachment_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    let (attachment_id, state) = attachment_target(call, id).await?;
    enforce(call, rule!("volume:attachment_delete"), attachment_id, &state)?;
    let command = Command::AttachmentDelete { attachment_id };
    let reply = call.command(state.id(), command).await?;
    let left = reply.state.attachments.iter().filter(|row| row.id != attachment_id);
    let left = left.filter(|row| !matches!(row.attach_status, AttachStatus::Detached | AttachStatus::Deleted));
    Ok(Answer::ok(Attachments { attachments: left.map(view::summary).collect() }))
}
