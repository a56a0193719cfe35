//! `/admin/volumes/{id}/history`: every committed transition of a volume, also of one that is deleted.

use serde_json::json;

use super::actors;
use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::api::paging;
use crate::domain::ids::VolumeId;

/// `GET /admin/volumes/{id}/history?limit=&marker=`: newest first; the marker is the generation of the last one seen.
pub async fn history(call: &Call, id: &str) -> Result<Answer, Problem> {
    let missing = || Problem::NotFound(Kind::Volume, id.to_owned());
    let volume_id = url_id(id).map(VolumeId).ok_or_else(missing)?;
    let limit = paging::limit(&call.query)?;
    let before = match call.query.get("marker") {
        None => None,
        Some(text) => Some(
            text.parse::<u64>()
                .map_err(|_| Problem::BadRequest("marker must be the generation of a transition".to_owned()))?,
        ),
    };
    let events = call.service().store().events(volume_id, before, limit).await?;
    // Whatever has a history was a volume; what is older than the history is not told.
    let is_known = before.is_some() || !events.is_empty() || limit == 0;
    if !is_known && call.service().volume_view(volume_id).await?.is_none() {
        return Err(missing());
    }
    let rows: Vec<_> = events.iter().map(actors::event).collect();
    Ok(Answer::ok(json!({"history": rows})))
}
