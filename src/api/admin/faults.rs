//! `/admin/faults`: makes actors and simulated backends fail on purpose. Exists only with `faults.enabled`.

use serde_json::Value;

use crate::actors::FaultsRefused;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema::{self, formats};
use crate::domain::ids::VolumeId;

/// `POST /admin/faults`, one of
/// * `{"volume_id": …, "panic": true}`: the volume's actor panics at its next command;
/// * `{"rules": […], "backend": …}`: replaces the fault rules of a simulated backend (of every one without `backend`), and
///   lets calls that hang by older rules go on. No rules: no faults.
pub async fn fault_inject(call: &Call) -> Result<Answer, Problem> {
    if !call.api.options.faults_enabled {
        return Err(Problem::Hidden);
    }
    schema::ADMIN_FAULT.check(call.version, &call.body)?;
    if let Some(rules) = call.body.get("rules") {
        let backend = call.body.get("backend").and_then(Value::as_str).map(str::to_owned);
        return match call.service().set_faults(backend, rules.clone()).await {
            Ok(()) => Ok(Answer::empty(202)),
            Err(refused @ (FaultsRefused::NotSimulated | FaultsRefused::Senseless(_))) => {
                Err(Problem::BadRequest(refused.to_string()))
            }
            Err(refused @ FaultsRefused::Unreachable) => Err(Problem::Conflict(refused.to_string())),
        };
    }
    if call.body["panic"] != Value::Bool(true) {
        return Err(Problem::BadRequest("'panic' or 'rules' is a required property".to_owned()));
    }
    let volume_id = call.body["volume_id"].as_str().and_then(formats::uuid_any);
    let volume_id = volume_id.ok_or(Problem::MalformedBody)?;
    call.service().inject_panic(VolumeId(volume_id));
    Ok(Answer::empty(202))
}
