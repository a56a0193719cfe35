//! `/admin/drivers`: the state of the pool.

use serde_json::json;

use crate::api::answer::Answer;
use crate::api::call::Call;

/// `GET /admin/drivers`
pub fn drivers(call: &Call) -> Answer {
    Answer::ok(json!({"drivers": call.service().drivers()}))
}
