//! `/servers/{id}/os-instance-actions` (nova-volume-attachments §8.2).

use serde_json::json;

use super::servers::{marker_fault, server_visible};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::paging::{self, LIMIT_MAX, ListBody};
use crate::api::views::server_action as view;
use crate::api::views::time;
use crate::domain::ids::{RequestId, ServerId};
use crate::domain::server::Server;
use crate::domain::time::Timestamp;
use crate::rule;
use crate::store::ActionQuery;

/// The microversion that pages the list.
const PAGED: u32 = 58;

/// `GET …/os-instance-actions`: newest first.
pub async fn action_list(call: &Call, server: &str) -> Result<Answer, Problem> {
    let server_id = server;
    let mut query = ActionQuery {
        server_id: server_id.into(),
        marker: None,
        changes_since: None,
        changes_before: None,
        limit: LIMIT_MAX,
    };
    if call.compute_since(PAGED) {
        refuse_unknown(call)?;
        query.limit = super::volume_attachments::digits(&call.query, "limit")?.unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
        query.marker = call.query.get("marker").map(RequestId::from);
        query.changes_since = instant(call, "changes-since")?;
        query.changes_before = if call.compute_since(66) { instant(call, "changes-before")? } else { None };
        if let (Some(since), Some(before)) = (query.changes_since, query.changes_before)
            && since > before
        {
            let text = "The value of changes-since must be less than or equal to changes-before.";
            return Err(Problem::BadRequest(text.to_owned()));
        }
    }
    let server = acted_on(call, server).await?;
    call.enforce(rule!("os_compute_api:os-instance-actions:list"), &server)?;
    let limit = query.limit;
    let listed = call.service().store().action_list(query).await;
    let actions = listed.map_err(marker_fault)?;
    let next = call.compute_since(PAGED).then(|| {
        let last = actions.last().map(|action| action.requester.request_id.to_string());
        let path = format!("servers/{}/os-instance-actions", server.id);
        paging::next_href(&call.query, &call.links, &path, limit, actions.len(), last)
    });
    let rows: Vec<_> = actions.iter().map(|action| view::summary(action, call.version)).collect();
    Ok(Answer::ok(ListBody { names: ("instanceActions", "links"), rows, next: next.flatten(), count: None }))
}

/// The server: from 2.21 on also one that is gone.
async fn acted_on(call: &Call, id: &str) -> Result<Server, Problem> {
    if !call.compute_since(21) {
        return server_visible(call, id).await;
    }
    let found = call.service().store().server_record(ServerId::from(id)).await?;
    let seen = found.filter(|server| call.context.sees(&server.project_id));
    seen.ok_or_else(|| Problem::NotFound(Kind::Server, id.to_owned()))
}

/// `GET …/os-instance-actions/{request_id}`
pub async fn action_show(call: &Call, server: &str, request_id: &str) -> Result<Answer, Problem> {
    let server = acted_on(call, server).await?;
    call.enforce(rule!("os_compute_api:os-instance-actions:show"), &server)?;
    let found = call.service().store().action_get(server.id.clone(), RequestId::from(request_id)).await?;
    let missing =
        || Problem::NotFoundText(format!("Action for request_id {request_id} on instance {} not found", server.id));
    let action = found.ok_or_else(missing)?;
    let sight = view::Sight {
        events: call.compute_since(51) || call.allows(rule!("os_compute_api:os-instance-actions:events"), &server),
        traces: call.allows(rule!("os_compute_api:os-instance-actions:events"), &server),
        details: call.allows(rule!("os_compute_api:os-instance-actions:events:details"), &server),
    };
    Ok(Answer::ok(json!({"instanceAction": view::detail(&action, &server, call.version, sight)})))
}

fn refuse_unknown(call: &Call) -> Result<(), Problem> {
    let known = |name: &str| {
        matches!(name, "limit" | "marker" | "changes-since") || (name == "changes-before" && call.compute_since(66))
    };
    super::only(call, known)
}

fn instant(call: &Call, name: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = call.query.get(name) else { return Ok(None) };
    time::parse(text).map(Some).ok_or_else(|| {
        Problem::BadRequest(format!(
            "Invalid input for query parameters {name}. Value: {text}. '{text}' is not a 'date-time'"
        ))
    })
}
