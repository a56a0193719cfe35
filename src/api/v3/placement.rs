//! Where a new volume may go: its availability zone, and what it asks of a backend (volumes §3 row 17, scheduler hints). The
//! choice itself is the volume's own decision.

use serde_json::Value;

use crate::api::call::{Call, url_id};
use crate::api::fault::Problem;
use crate::domain::ids::{ServerId, VolumeId};
use crate::domain::placement::{Standing, Wanted};
use crate::domain::text::Text;
use crate::domain::volume_type::{AVAILABILITY_ZONES, VolumeType};

/// The zone of a new volume: asked for, that of its source, or the default. A copy stays in the zone of its source; there must
/// be a backend in it, and the type may be limited to others.
pub fn zone(
    call: &Call,
    asked: Option<&str>,
    source: Option<&str>,
    volume_type: &VolumeType,
) -> Result<String, Problem> {
    let default = call.api.options.availability_zone.as_str();
    let standings = call.service().standings();
    let is_known = |zone: &str| zone == default || standings.iter().any(|backend| backend.zone == zone);
    if let Some(asked) = asked.filter(|asked| !is_known(asked)) {
        return Err(Problem::InvalidInput(format!("Availability zone '{asked}' is invalid.")));
    }
    if let Some((asked, source)) = asked.zip(source).filter(|(asked, source)| asked != source) {
        return Err(Problem::InvalidInput(format!(
            "A volume in the zone '{asked}' cannot be made from a source in the zone '{source}'."
        )));
    }
    let asked = asked.or(source);
    let Some(limits) = volume_type.spec(AVAILABILITY_ZONES) else { return Ok(asked.unwrap_or(default).to_owned()) };
    let mut allowed = limits.split(',').map(str::trim);
    let found = match asked {
        Some(asked) => allowed.find(|zone| *zone == asked),
        None => allowed.clone().find(|zone| *zone == default).or_else(|| allowed.find(|zone| is_known(zone))),
    };
    found.map(str::to_owned).ok_or_else(|| {
        Problem::InvalidInput(format!(
            "Volume type '{}' is limited to the availability zones '{limits}'.",
            volume_type.name
        ))
    })
}

/// What the volume asks of its backend.
pub async fn wanted(call: &Call, zone: &str, size_gib: u32, volume_type: &VolumeType) -> Result<Wanted, Problem> {
    let hints = &call.body["OS-SCH-HNT:scheduler_hints"];
    Ok(Wanted {
        zone: zone.to_owned(),
        size_gib,
        extra_specs: volume_type.extra_specs.clone(),
        same_host: match volumes_named(&hints["same_host"]) {
            ids if ids.is_empty() => None,
            ids => Some(hosts_of(call, &ids).await?),
        },
        different_host: hosts_of(call, &volumes_named(&hints["different_host"])).await?,
        local_to: match hints["local_to_instance"].as_str() {
            None => None,
            Some(server) => {
                let server = call.service().store().server_get(ServerId::from(server)).await?;
                Some(server.filter(|server| call.context.sees(&server.project_id)).and_then(|server| server.host))
            }
        },
    })
}

/// A hint is one id or several.
fn volumes_named(hint: &Value) -> Vec<&str> {
    match hint {
        Value::String(id) => vec![id],
        Value::Array(ids) => ids.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Where these volumes are, as far as the caller sees them.
async fn hosts_of(call: &Call, ids: &[&str]) -> Result<Vec<Text>, Problem> {
    let mut hosts = Vec::new();
    for id in ids.iter().filter_map(|id| url_id(id)) {
        let volume = call.service().volume_view(VolumeId(id)).await?;
        let seen = volume.filter(|volume| call.context.sees(&volume.volume.project_id));
        hosts.extend(seen.and_then(|volume| volume.volume.host.clone()));
    }
    Ok(hosts)
}

/// The zones that backends are in, in the order of the settings; whether one of each takes volumes.
pub fn zones(standings: &[Standing]) -> Vec<(&str, bool)> {
    let mut zones: Vec<(&str, bool)> = Vec::new();
    for backend in standings {
        match zones.iter_mut().find(|(zone, _)| *zone == backend.zone) {
            Some((_, available)) => *available |= backend.enabled,
            None => zones.push((&backend.zone, backend.enabled)),
        }
    }
    zones
}
