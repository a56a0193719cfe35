//! `/flavors`: the one of simulated servers. Everybody may read it, as in Nova.

use serde_json::{Value, json};

use super::simulated::is_switched_on;
use super::volume_attachments::digits;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::views::flavor::SIMULATED;

/// `GET /flavors[/detail]`
pub fn flavor_list(call: &Call, is_detail: bool) -> Result<Answer, Problem> {
    is_switched_on(call)?;
    let mut fits = true;
    for (name, has) in [("minRam", SIMULATED.ram_mib), ("minDisk", SIMULATED.disk_gib)] {
        let text = call.query.get(name).unwrap_or("0");
        let least: u64 = text.parse().map_err(|_| Problem::BadRequest(format!("Invalid {name} filter [{text}]")))?;
        fits &= has >= least;
    }
    let is_first = match call.query.get("marker") {
        None => true,
        Some(marker) if marker == SIMULATED.id => false,
        Some(marker) => return Err(Problem::BadRequest(format!("marker [{marker}] not found"))),
    };
    let has_room = digits(&call.query, "limit")? != Some(0);
    let view = if is_detail {
        SIMULATED.detail(call.version, &call.links)
    } else {
        SIMULATED.summary(call.version, &call.links)
    };
    let flavors: Vec<Value> = (fits && is_first && has_room).then_some(view).into_iter().collect();
    Ok(Answer::ok(json!({"flavors": flavors})))
}

/// `GET /flavors/{id}`
pub fn flavor_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    is_switched_on(call)?;
    if id != SIMULATED.id {
        return Err(Problem::NotFound(Kind::Flavor, id.to_owned()));
    }
    Ok(Answer::ok(json!({"flavor": SIMULATED.detail(call.version, &call.links)})))
}
