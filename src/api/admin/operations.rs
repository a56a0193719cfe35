//! `/admin/operations`: every open operation, oldest first.

use serde_json::{Value, json};

use super::actors::operation_body;
use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::Problem;
use crate::api::paging;
use crate::domain::ids::OperationId;

/// `GET /admin/operations?limit=&marker=`
pub async fn operation_list(call: &Call) -> Result<Answer, Problem> {
    let limit = paging::limit(&call.query)?;
    let after = match call.query.get("marker") {
        None => None,
        Some(text) => Some(
            url_id(text)
                .map(OperationId)
                .ok_or_else(|| Problem::NotFoundText(format!("Operation {text} could not be found.")))?,
        ),
    };
    let open = if limit == 0 { Vec::new() } else { call.service().store().open_operations(after, limit).await? };
    let mut rows: Vec<Value> = Vec::with_capacity(open.len());
    for found in &open {
        // An open operation keeps its volume active: the host comes from the published view.
        let state = call.service().volume_view(found.volume_id).await?;
        let host = state.as_ref().and_then(|state| state.volume.host.as_deref());
        let mut body = operation_body(call, host, &found.operation);
        body["volume_id"] = json!(found.volume_id);
        rows.push(body);
    }
    Ok(Answer::ok(json!({"operations": rows})))
}
