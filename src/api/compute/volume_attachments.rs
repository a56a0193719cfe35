//! `/servers/{id}/os-volume_attachments` (nova-volume-attachments §2–§6).

use serde_json::{Value, json};

use super::servers::server_visible;
use crate::actors::{RequestError, ServerAttachRequest};
use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{ComputeCall, Kind, Problem};
use crate::api::paging::LIMIT_MAX;
use crate::api::query::{Query, word};
use crate::api::schema::{self, formats};
use crate::api::views::mapping as view;
use crate::domain::attachment::{Attachment, mapped};
use crate::domain::ids::VolumeId;
use crate::domain::server::Server;
use crate::domain::volume::{Command, Refusal};
use crate::rule;

/// A non-negative integer written with digits only.
pub fn digits(query: &Query, name: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = query.get(name) else { return Ok(None) };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::BadRequest(format!(
            "Invalid input for query parameters {name}. Value: {text}. '{text}' does not match '^[0-9]*$'"
        )));
    }
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

/// `GET …/os-volume_attachments`
pub async fn mapping_list(call: &Call, server: &str) -> Result<Answer, Problem> {
    if call.compute_since(75) {
        super::only(call, |name| matches!(name, "limit" | "offset"))?;
    }
    let limit = digits(&call.query, "limit")?.filter(|limit| *limit > 0).unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
    let offset = digits(&call.query, "offset")?.unwrap_or(0);
    let server = server_visible(call, server).await?;
    call.enforce(rule!("os_compute_api:os-volumes-attachments:index"), &server)?;
    let rows = mapped(call.service().store().server_attachments(server.id.clone()).await?);
    let shown = rows.iter().filter_map(|row| view::shown(row, call.version));
    let page: Vec<Value> = shown
        .skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .take(usize::try_from(limit).unwrap_or(usize::MAX))
        .collect();
    Ok(Answer::ok(json!({"volumeAttachments": page})))
}

/// `GET …/{volume_id}`
pub async fn mapping_show(call: &Call, server: &str, volume: &str) -> Result<Answer, Problem> {
    let server = server_visible(call, server).await?;
    call.enforce(rule!("os_compute_api:os-volumes-attachments:show"), &server)?;
    let rows = mapped(call.service().store().server_attachments(server.id.clone()).await?);
    // Of two rows that a migration left, the newest is the server's.
    let row = url_id(volume).and_then(|id| rows.iter().rev().find(|row| row.volume_id == VolumeId(id)));
    let body = row
        .and_then(|row: &Attachment| view::shown(row, call.version))
        .ok_or_else(|| Problem::NotFoundText(format!("Instance {} is not attached to volume {volume}", server.id)))?;
    Ok(Answer::ok(json!({"volumeAttachment": body})))
}

/// `POST …/os-volume_attachments`
pub async fn mapping_create(call: &Call, server: &str) -> Result<Answer, Problem> {
    schema::SERVER_ATTACH.check(call.version, &call.body)?;
    let members = &call.body["volumeAttachment"];
    let server = server_visible(call, server).await?;
    call.enforce(rule!("os_compute_api:os-volumes-attachments:create"), &server)?;
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let volume_id = text("volumeId").and_then(formats::uuid_any).map(VolumeId);
    let volume_id = volume_id.ok_or_else(|| Problem::NotFound(Kind::Volume, String::new()))?;
    let request = ServerAttachRequest {
        device: text("device").map(str::to_owned),
        tag: text("tag").map(str::to_owned),
        delete_on_termination: flag(members.get("delete_on_termination")),
        shelved_allowed: call.compute_since(20),
        multiattach_allowed: call.compute_since(60),
        answered_early: call.compute_since(101),
        boot: None,
    };
    let attached = call.service().server_attach(server.id.clone(), volume_id, request, call.context.caller()).await;
    if matches!(attached, Err(RequestError::AfterAnswer(_))) {
        return Ok(Answer::empty(202));
    }
    let reply = attached.map_err(|error| Problem::Compute(ComputeCall::Attach, call.explained(volume_id, error)))?;
    if call.compute_since(101) {
        return Ok(Answer::empty(202));
    }
    let row = match reply.attachment_id {
        Some(id) => reply.state.attachment(id),
        None => reply.state.attachment_of_server(&server.id),
    };
    let body = row.and_then(|row| view::created(row, call.version));
    // The row may be gone again already: its guest refused it in the same instant.
    let missing = || Problem::NotFoundText(format!("Instance {} is not attached to volume {volume_id}", server.id));
    Ok(Answer::ok(json!({"volumeAttachment": body.ok_or_else(missing)?})))
}

/// A boolean in any of its words; false where there is none.
pub(super) fn flag(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) => word(text).unwrap_or(false),
        _ => false,
    }
}

/// `PUT …/{volume_id}`: the flag, or a swap.
pub async fn mapping_update(call: &Call, server: &str, volume: &str) -> Result<Answer, Problem> {
    schema::SERVER_ATTACHMENT_UPDATE.check(call.version, &call.body)?;
    let members = &call.body["volumeAttachment"];
    let server = server_visible(call, server).await?;
    // Compared as strings: another spelling of the same id means a swap.
    let is_swap = !call.compute_since(85) || members["volumeId"].as_str() != Some(volume);
    let rule = if is_swap {
        rule!("os_compute_api:os-volumes-attachments:swap")
    } else {
        rule!("os_compute_api:os-volumes-attachments:update")
    };
    call.enforce(rule, &server)?;
    if call.compute_since(85) {
        flag_update(call, &server, volume, members).await?;
    }
    if !is_swap {
        return Ok(Answer::empty(202));
    }
    let missing = || Problem::NotFound(Kind::Volume, volume.to_owned());
    let old = url_id(volume).map(VolumeId).ok_or_else(missing)?;
    let new = members["volumeId"].as_str().and_then(formats::uuid_any).map(VolumeId).ok_or_else(missing)?;
    let swapped = call.service().server_swap(server.id.clone(), old, new, call.context.caller()).await;
    swapped.map_err(|error| Problem::Compute(ComputeCall::Attach, call.explained(old, error)))?;
    Ok(Answer::empty(202))
}

/// The part of an update that is not a swap: nothing but the flag may differ from the row.
async fn flag_update(call: &Call, server: &Server, volume: &str, members: &Value) -> Result<(), Problem> {
    let missing = || Problem::NotFoundText(format!("No volume Block Device Mapping with id {volume}."));
    let rows = mapped(call.service().store().server_attachments(server.id.clone()).await?);
    let volume_id = url_id(volume).map(VolumeId).ok_or_else(missing)?;
    let row = rows.iter().rev().find(|row| row.volume_id == volume_id);
    let bdm = row.and_then(|row| row.bdm.as_ref()).ok_or_else(missing)?;
    for (name, current) in
        [("id", json!(volume)), ("serverId", json!(server.id)), ("device", json!(bdm.device)), ("tag", json!(bdm.tag))]
    {
        if members.get(name).is_some_and(|sent| *sent != current) {
            return Err(Problem::BadRequest(format!("The {name} property is not mutable")));
        }
    }
    let Some(flag) = members.get("delete_on_termination") else { return Ok(()) };
    let command =
        Command::ServerAttachmentUpdate { server_id: server.id.clone(), delete_on_termination: self::flag(Some(flag)) };
    let updated = call.command(volume_id, command).await;
    match updated {
        Ok(_) => Ok(()),
        Err(RequestError::Refused(Refusal::NotAttached(_) | Refusal::VolumeNotFound(_))) => Err(missing()),
        Err(error) => Err(Problem::Compute(ComputeCall::Attach, error)),
    }
}

/// `DELETE …/{volume_id}`
pub async fn mapping_delete(call: &Call, server: &str, volume: &str) -> Result<Answer, Problem> {
    let server = server_visible(call, server).await?;
    call.enforce(rule!("os_compute_api:os-volumes-attachments:delete"), &server)?;
    let missing = || Problem::NotFound(Kind::Volume, volume.to_owned());
    let volume_id = url_id(volume).map(VolumeId).ok_or_else(missing)?;
    let shelved_allowed = call.compute_since(20);
    let detached =
        call.service().server_detach(server.id.clone(), volume_id, shelved_allowed, call.context.caller()).await;
    detached.map_err(|error| Problem::Compute(ComputeCall::Detach, call.explained(volume_id, error)))?;
    Ok(Answer::empty(202))
}
