//! Hands the calls of operators, and of everybody who looks around, to their nouns; and the smallest of these
//! (services-hosts-pools §7).

use serde_json::{Value, json};

use super::{extensions, placement, pools, services};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::filters::{ATTACHMENTS, MESSAGES, VOLUMES};
use crate::api::route::OperatorRoute;
use crate::api::schema;
use crate::rule;

/// Hands the call to its noun.
pub async fn handle(call: &Call, route: &OperatorRoute) -> Result<Answer, Problem> {
    match route {
        OperatorRoute::ServiceList => services::service_list(call).await,
        OperatorRoute::ServiceUpdate(action) => services::service_update(call, action).await,
        OperatorRoute::HostList => services::host_list(call).await,
        OperatorRoute::HostShow(host) => services::host_show(call, host).await,
        OperatorRoute::HostUpdate(host) => services::host_update(call, host).await,
        OperatorRoute::PoolList => pools::pool_list(call).await,
        OperatorRoute::CapabilityShow(host) => pools::capability_show(call, host).await,
        OperatorRoute::ClusterList => pools::cluster_list(call).await,
        OperatorRoute::ClusterShow(name) => pools::cluster_show(call, name).await,
        OperatorRoute::ClusterUpdate => pools::cluster_update(call).await,
        OperatorRoute::ZoneList => Ok(zone_list(call)),
        OperatorRoute::ExtensionList => Ok(extensions::extension_list()),
        OperatorRoute::ExtensionShow(alias) => extensions::extension_show(alias),
        OperatorRoute::ResourceFilterList => Ok(resource_filter_list(call)),
        OperatorRoute::WorkerCleanup => worker_cleanup(call),
    }
}

/// `GET /os-availability-zone`: for everybody with a token.
fn zone_list(call: &Call) -> Answer {
    let standings = call.service().standings();
    let zones = placement::zones(&standings);
    let row = |(name, available): (&str, bool)| json!({"zoneName": name, "zoneState": {"available": available}});
    Answer::ok(json!({"availabilityZoneInfo": zones.into_iter().map(row).collect::<Vec<_>>()}))
}

/// What everybody may filter each list by, in Cinder's order.
const RESOURCE_FILTERS: &[(&str, &[&str])] = &[
    ("volume", VOLUMES.allowed),
    ("backup", &["name", "status", "volume_id"]),
    ("snapshot", &["name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"]),
    ("group", &["name"]),
    ("group_snapshot", &["name", "status", "group_id"]),
    ("attachment", ATTACHMENTS.allowed),
    ("message", MESSAGES.allowed),
    ("pool", pools::POOL_FILTERS),
    ("volume_type", &["is_public", "extra_specs"]),
];

/// `GET /resource_filters?resource=`: for everybody with a token.
fn resource_filter_list(call: &Call) -> Answer {
    let wanted = call.query.get("resource");
    let rows: Vec<Value> = RESOURCE_FILTERS
        .iter()
        .filter(|(resource, _)| wanted.is_none_or(|wanted| wanted == *resource))
        .map(|(resource, filters)| json!({"resource": resource, "filters": filters}))
        .collect();
    Answer::ok(json!({"resource_filters": rows}))
}

/// `POST /workers/cleanup`: what a process leaves unfinished is finished by its next start, or by the node that takes its place
/// (promise I2). Nothing ever waits for an operator to have it cleaned up.
fn worker_cleanup(call: &Call) -> Result<Answer, Problem> {
    schema::WORKER_CLEANUP.check(call.version, &call.body)?;
    call.enforce_own(rule!("workers:cleanup"))?;
    let text = |name: &str| call.body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(kind) = text("resource_type").filter(|kind| !["volume", "snapshot"].contains(&&*kind.to_lowercase())) {
        let text = format!("Resource type {kind} not valid, must be Snapshot or Volume");
        return Err(Problem::InvalidInput(text));
    }
    let is_placed = ["cluster_name", "host", "service_id", "binary"].iter().any(|name| call.body.get(name).is_some());
    if let Some(id) = text("resource_id").filter(|_| !is_placed) {
        return Err(Problem::InvalidInput(format!("resource {id} has no work that waits to be cleaned up")));
    }
    Ok(Answer::json(202, json!({"cleaning": [], "unavailable": []})))
}
