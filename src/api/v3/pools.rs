//! `/scheduler-stats/get_pools`, `/capabilities/{host}` and `/clusters` (services-hosts-pools §3 to §5).

use serde_json::{Value, json};

use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::python;
use crate::api::schema::{self, formats};
use crate::api::views::time;
use crate::domain::ids::VolumeTypeId;
use crate::domain::placement::{Standing, VENDOR, Wanted, meets};
use crate::rule;

/// Filters from 3.31 on, for admins too.
pub const POOL_FILTERS: &[&str] = &["name", "volume_type"];

/// `GET /scheduler-stats/get_pools?detail=`
pub async fn pool_list(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own(rule!("scheduler_extension:scheduler_stats:get_pools"))?;
    let detail = call.query.boolean("detail")?.unwrap_or(false);
    let mut filters: Vec<(&str, &str)> = call.query.pairs().filter(|(name, _)| *name != "detail").collect();
    if !call.since(28) {
        filters.clear();
    }
    let unknown: Vec<&str> =
        filters.iter().map(|(name, _)| *name).filter(|name| !POOL_FILTERS.contains(name)).collect();
    if call.since(31) && !unknown.is_empty() {
        let names = unknown.join(",");
        return Err(Problem::BadRequest(format!("Invalid filters {names} are found in query options.")));
    }
    let type_wanted = match filters.iter().find(|(name, _)| *name == "volume_type") {
        Some((_, wanted)) if call.since(35) => Some(type_specs(call, wanted).await?),
        _ => None,
    };
    let now = time::micros(call.api.clock.now());
    let mut pools = Vec::new();
    // What an administrator has closed is no pool that the scheduler knows.
    for backend in call.service().standings().iter().filter(|backend| backend.enabled && !backend.frozen) {
        let mut capabilities = backend.capabilities();
        let matches = |(name, value): &(&str, &str)| match *name {
            "name" => *backend.host == **value,
            "volume_type" => type_wanted.as_ref().is_none_or(|wanted| meets(wanted, backend)),
            name => capabilities.get(name).is_some_and(|own| python::display(own) == *value),
        };
        if !filters.iter().all(matches) {
            continue;
        }
        let mut pool = json!({"name": backend.host});
        if detail {
            capabilities.insert("timestamp".to_owned(), json!(now));
            capabilities.insert("updated".to_owned(), json!(now));
            pool["capabilities"] = Value::Object(capabilities);
        }
        pools.push(pool);
    }
    Ok(Answer::ok(json!({"pools": pools})))
}

/// What a type asks of a backend.
async fn type_specs(call: &Call, wanted: &str) -> Result<Wanted, Problem> {
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let by_id = formats::uuid_any(wanted).and_then(|id| types.by_id(VolumeTypeId(id)));
    let found = by_id.or_else(|| types.by_name(wanted));
    let found = found.ok_or_else(|| Problem::NotFound(Kind::VolumeTypeName, wanted.to_owned()))?;
    Ok(Wanted { extra_specs: found.extra_specs.clone(), ..Wanted::default() })
}

/// `GET /capabilities/{host}`
pub async fn capability_show(call: &Call, host: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:capabilities"))?;
    let standings = call.service().standings();
    let backend = standings.iter().find(|backend| backend.service() == host || *backend.host == *host);
    let backend = backend.ok_or_else(|| Problem::NotFoundText(format!("Can't find service: {host}")))?;
    if !backend.up {
        return Err(Problem::BadGateway(format!("The backend of {host} does not answer.")));
    }
    Ok(Answer::ok(capabilities(backend, host)))
}

fn capabilities(backend: &Standing, host: &str) -> Value {
    let property = |title: &str, text: &str| json!({"title": title, "description": text, "type": "boolean"});
    json!({
        "namespace": format!("OS::Storage::Capabilities::{host}"),
        "vendor_name": VENDOR,
        "volume_backend_name": backend.backend_name(),
        "pool_name": null,
        "driver_version": env!("CARGO_PKG_VERSION"),
        "storage_protocol": backend.storage_protocol,
        "display_name": format!("Capabilities of {}", backend.backend_name()),
        "description": "What volume types can ask of this backend.",
        "visibility": null,
        "replication_targets": [],
        "properties": {
            "thin_provisioning": property("Thin Provisioning", "Volumes take room as they are written."),
            "compression": property("Compression", "Volumes are compressed."),
            "qos": property("QoS", "Limits are kept by the backend."),
            "replication_enabled": property("Replication", "Volumes are replicated."),
        },
    })
}

/// What lists of clusters can be filtered by.
const CLUSTER_FILTERS: &[&str] = &["name", "binary", "is_up", "disabled", "num_hosts", "num_down_hosts"];
/// The same from 3.26 on.
const CLUSTER_FILTERS_3_26: &[&str] = &["replication_status", "frozen", "active_backend_id"];

/// `GET /clusters[/detail]`: there are none, and a filter must be one all the same.
pub async fn cluster_list(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own(rule!("clusters:get_all"))?;
    let is_known =
        |name: &str| CLUSTER_FILTERS.contains(&name) || (call.since(26) && CLUSTER_FILTERS_3_26.contains(&name));
    let unknown: Vec<&str> = call.query.pairs().map(|(name, _)| name).filter(|name| !is_known(name)).collect();
    if !unknown.is_empty() {
        return Err(Problem::InvalidInput(format!("Invalid filter keys: {}", unknown.join(", "))));
    }
    Ok(Answer::ok(json!({"clusters": []})))
}

/// `GET /clusters/{name}`
pub async fn cluster_show(call: &Call, name: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("clusters:get"))?;
    Err(cluster_absent(name))
}

/// `PUT /clusters/enable`, `PUT /clusters/disable`
pub async fn cluster_update(call: &Call) -> Result<Answer, Problem> {
    schema::CLUSTER_SWITCH.check(call.version, &call.body)?;
    call.enforce_own(rule!("clusters:update"))?;
    Err(cluster_absent(call.body["name"].as_str().unwrap_or_default()))
}

fn cluster_absent(name: &str) -> Problem {
    Problem::NotFoundText(format!("Cluster {name} could not be found."))
}
