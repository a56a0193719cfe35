//! `/admin/faults`: makes actors fail on purpose. Exists only with `faults.enabled`.

use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema::{self, formats};
use crate::domain::ids::VolumeId;

/// `POST /admin/faults` with `{"volume_id": …, "panic": true}`
pub fn fault_inject(call: &Call) -> Result<Answer, Problem> {
    if !call.api.options.faults_enabled {
        return Err(Problem::Hidden);
    }
    schema::ADMIN_FAULT.check(call.version, &call.body)?;
    let volume_id = call.body["volume_id"].as_str().and_then(formats::uuid_any);
    let volume_id = volume_id.ok_or(Problem::MalformedBody)?;
    call.service().inject_panic(VolumeId(volume_id));
    Ok(Answer::empty(202))
}
