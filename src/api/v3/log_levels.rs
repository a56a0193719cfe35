//! `PUT /os-services/set-log`, `PUT /os-services/get-log`: what is written to the log (services-hosts-pools §1).
//!
//! All services are one process with one log: who names any of them means the levels of all.

use serde_json::{Value, json};

use super::services::is_at;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema;
use crate::domain::service::{API_BINARY, SCHEDULER_BINARY};
use crate::telemetry::log_levels::level_named;

/// A part of the process, as host and binary.
type Part = (String, String);

/// `PUT /os-services/set-log`
pub fn log_set(call: &Call) -> Result<Answer, Problem> {
    schema::SERVICE_SET_LOG.check(call.version, &call.body)?;
    let word = text(call, "level");
    let level = level_named(word).ok_or_else(|| Problem::InvalidInput(format!("{word} is not a valid log level.")))?;
    if !parts_meant(call).is_empty() {
        call.api.options.log_levels.set(text(call, "prefix"), level);
    }
    Ok(Answer::empty(202))
}

/// `PUT /os-services/get-log`
pub fn log_get(call: &Call) -> Result<Answer, Problem> {
    schema::SERVICE_GET_LOG.check(call.version, &call.body)?;
    let levels: Value = call.api.options.log_levels.levels(text(call, "prefix")).collect();
    let row = |(host, binary): Part| json!({"host": host, "binary": binary, "levels": levels});
    Ok(Answer::ok(json!({"log_levels": parts_meant(call).into_iter().map(row).collect::<Vec<_>>()})))
}

/// A member of the body; null and none are empty.
fn text<'a>(call: &'a Call, name: &str) -> &'a str {
    call.body.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The parts that `binary` and `server` speak of. The API's is on the scheduler's host, which only its whole name means.
fn parts_meant(call: &Call) -> Vec<Part> {
    let (binary, server) = (text(call, "binary"), text(call, "server"));
    let services = call.service().services();
    let own_host = services.iter().find(|service| service.record.binary == SCHEDULER_BINARY);
    let api = own_host.map(|service| (service.record.host.clone(), API_BINARY.to_owned()));
    let rest = services.iter().map(|service| (service.record.host.clone(), service.record.binary.clone()));
    let is_meant = |(host, known): &Part| {
        let is_there = if known == API_BINARY { host == server } else { is_at(host, server) };
        (server.is_empty() || is_there) && (matches!(binary, "" | "*") || known == binary)
    };
    api.into_iter().chain(rest).filter(is_meant).collect()
}
