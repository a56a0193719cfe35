//! `/messages` (3.3): failures in words for the owner, of the caller's own project only.

use std::borrow::Cow;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::api::filters;
use crate::api::paging::{self, Columns, ListBody};
use crate::api::query::Query;
use crate::api::views::message as view;
use crate::policy::Target;
use crate::rule;
use crate::store::{Message, MessageQuery};

const COLUMNS: Columns = Columns {
    aliases: &[("guaranteed_until", "expires_at")],
    sortable: &[
        "id",
        "event_id",
        "request_id",
        "resource_type",
        "resource_uuid",
        "created_at",
        "expires_at",
        "message_level",
    ],
};

/// A message knows no user, and so has the caller's.
impl Target for Message {
    fn project_id(&self) -> &str {
        self.project_id.as_str()
    }

    fn column(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "id" => self.id.to_string().into(),
            "request_id" => self.request_id.as_str().into(),
            "resource_type" => self.resource_type.as_str().into(),
            "resource_uuid" => self.resource_uuid.as_deref().unwrap_or("None").into(),
            "action_id" => self.action_id.as_str().into(),
            "detail_id" => self.detail_id.as_str().into(),
            _ => return None,
        })
    }
}

/// `GET /messages`
pub async fn message_list(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own(rule!("message:get_all"))?;
    // Below 3.5 the whole list is answered and parameters mean nothing.
    let none = Query::default();
    let query = if call.since(5) { &call.query } else { &none };
    let page = paging::paging(query, &COLUMNS)?;
    let limit = page.limit;
    let filters = filters::filters(query, &filters::MESSAGES, call.version, call.context.is_admin)?;
    let wanted = MessageQuery { project_id: call.context.project_id.clone(), filters, paging: page };
    let listed = call.service().store().message_list(wanted).await;
    let page = listed.map_err(|error| Problem::List(Kind::Message, error))?;
    let last = page.rows.last().map(|row| row.id.to_string());
    let rows: Vec<Value> = page.rows.iter().map(|row| view::shown(row, &call.links)).collect();
    let next =
        if call.since(5) { paging::next_href(query, &call.links, "messages", limit, rows.len(), last) } else { None };
    Ok(Answer::ok(ListBody { names: ("messages", "messages_links"), rows, next, count: None }))
}

fn message_id(id: &str) -> Result<Uuid, Problem> {
    url_id(id).ok_or_else(|| Problem::NotFound(Kind::Message, id.to_owned()))
}

/// `GET /messages/{id}`
pub async fn message_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let project = call.context.project_id.clone();
    let found = call.service().store().message_get(project, message_id(id)?).await?;
    let message = found.ok_or_else(|| Problem::NotFound(Kind::Message, id.to_owned()))?;
    call.enforce(rule!("message:get"), &message)?;
    Ok(Answer::ok(json!({"message": view::shown(&message, &call.links)})))
}

/// `DELETE /messages/{id}`
pub async fn message_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    let missing = || Problem::NotFound(Kind::Message, id.to_owned());
    let (project, message_id) = (call.context.project_id.clone(), message_id(id)?);
    let store = call.service().store();
    let message = store.message_get(project.clone(), message_id).await?.ok_or_else(missing)?;
    call.enforce(rule!("message:delete"), &message)?;
    if store.message_delete(project, message_id).await? { Ok(Answer::empty(204)) } else { Err(missing()) }
}
