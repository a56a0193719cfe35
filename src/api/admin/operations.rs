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
    let rows: Vec<Value> = open
        .iter()
        .map(|found| {
            let mut body = operation_body(call, &found.operation);
            body["volume_id"] = json!(found.volume_id);
            body
        })
        .collect();
    Ok(Answer::ok(json!({"operations": rows})))
}
