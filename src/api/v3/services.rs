//! `/os-services` and `/os-hosts` (services-hosts-pools §1, §2).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::actors::{ServiceChange, ServiceError, ServiceStanding};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::schema::{self, Versioned};
use crate::api::v3::log_levels;
use crate::api::views::time;
use crate::domain::service::VOLUME_BINARY;
use crate::policy::Rule;
use crate::rule;

/// `GET /os-services?host=&binary=`
pub async fn service_list(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:services:index"))?;
    let services = call.service().services();
    let is_meant = |service: &&ServiceStanding| {
        call.query.get("host").is_none_or(|host| is_at(&service.record.host, host))
            && call.query.get("binary").is_none_or(|binary| service.record.binary == binary)
    };
    let rows = services.iter().filter(is_meant).map(|service| shown(call, service)).collect::<Vec<_>>();
    Ok(Answer::ok(json!({"services": rows})))
}

/// The host itself, or a part of it.
pub(super) fn is_at(host: &str, wanted: &str) -> bool {
    host.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '#']))
}

fn shown(call: &Call, service: &ServiceStanding) -> Value {
    let record = &service.record;
    let mut row = json!({
        "binary": record.binary,
        "host": record.host,
        "zone": service.zone,
        "status": if record.disabled { "disabled" } else { "enabled" },
        // Whoever answers this is the process that all of them live in.
        "state": "up",
        "updated_at": time::micros(call.api.clock.now()),
        "disabled_reason": record.disabled_reason,
    });
    if call.since(7) {
        row["cluster"] = Value::Null;
    }
    if let Some(up) = service.backend_up {
        row["replication_status"] = json!("disabled");
        row["active_backend_id"] = Value::Null;
        row["frozen"] = json!(record.frozen);
        if call.since(49) {
            row["backend_state"] = json!(if up { "up" } else { "down" });
        }
    }
    row
}

/// `PUT /os-services/{action}`. The rule comes before the body here.
pub async fn service_update(call: &Call, action: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:services:update"))?;
    match action {
        "enable" | "disable" | "disable-log-reason" => switch(call, action).await,
        "freeze" => freeze(call, rule!("volume:freeze_host"), ServiceChange::Freeze).await,
        "thaw" => freeze(call, rule!("volume:thaw_host"), ServiceChange::Thaw).await,
        "failover_host" | "failover" => failover(call).await,
        "set-log" => log_levels::log_set(call),
        "get-log" => log_levels::log_get(call),
        _ => Err(Problem::Hidden),
    }
}

async fn switch(call: &Call, action: &str) -> Result<Answer, Problem> {
    let says_why = action == "disable-log-reason";
    let schema = if says_why { &schema::SERVICE_DISABLE_REASON } else { &schema::SERVICE_SWITCH };
    schema.check(call.version, &call.body)?;
    let text = |name: &str| call.body.get(name).and_then(Value::as_str);
    let host = text("host").unwrap_or_default();
    let Some(binary) = text("binary").or_else(|| text("service")) else {
        return Err(Problem::BadRequest("Missing required element 'binary' in request body.".to_owned()));
    };
    let change = match action {
        "enable" => ServiceChange::Enable,
        _ => ServiceChange::Disable { reason: text("disabled_reason").map(|reason| reason.trim().to_owned()) },
    };
    let record = match call.service().service_change(host, binary, change).await {
        Ok(record) => record,
        Err(ServiceError::Store(error)) => return Err(error.into()),
        Err(ServiceError::NotFound | ServiceError::Unchanged) => return Err(absent(binary, host)),
    };
    let mut body = json!({
        "host": record.host,
        "service": record.binary,
        "binary": record.binary,
        "status": if record.disabled { "disabled" } else { "enabled" },
        "disabled": record.disabled,
    });
    // Clients that check the answer of an enable want it too.
    if says_why || action == "enable" {
        body["disabled_reason"] = json!(record.disabled_reason);
    }
    Ok(Answer::ok(body))
}

fn absent(binary: &str, host: &str) -> Problem {
    Problem::NotFoundText(format!("Service {binary} could not be found on host {host}."))
}

/// The host that freeze, thaw and failover mean: from 3.26 on it, or a cluster, of which there is none.
fn host_meant(call: &Call, schema: &Versioned) -> Result<String, Problem> {
    schema.check(call.version, &call.body)?;
    let text = |name: &str| call.body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("host"), text("cluster").filter(|_| call.since(26))) {
        (Some(host), None) => Ok(host.to_owned()),
        (None, Some(cluster)) => Err(Problem::InvalidInput(format!("No service found with cluster={cluster}"))),
        _ if call.since(26) => {
            Err(Problem::InvalidInput("One and only one of cluster and host must be set.".to_owned()))
        }
        _ => Err(Problem::InvalidInput("Host field is missing.".to_owned())),
    }
}

async fn freeze(call: &Call, rule: Rule, change: ServiceChange) -> Result<Answer, Problem> {
    let host = host_meant(call, &schema::SERVICE_FREEZE)?;
    call.enforce_own(rule)?;
    match call.service().service_change(&host, VOLUME_BINARY, change).await {
        Ok(_) => Ok(Answer::empty(200)),
        Err(ServiceError::NotFound) => Err(Problem::InvalidInput(format!("No service found with host={host}"))),
        Err(ServiceError::Unchanged) => Err(Problem::InvalidInput(format!(
            "No service could be changed: the service of host {host} is so already."
        ))),
        Err(ServiceError::Store(error)) => Err(error.into()),
    }
}

/// No backend is replicated: there is nowhere to fail over to.
async fn failover(call: &Call) -> Result<Answer, Problem> {
    let host = host_meant(call, &schema::SERVICE_FAILOVER)?;
    call.enforce_own(rule!("volume:failover_host"))?;
    let services = call.service().services();
    if !services.iter().any(|service| service.record.binary == VOLUME_BINARY && service.record.host == host) {
        return Err(Problem::InvalidInput(format!("No service found with host={host}")));
    }
    Err(Problem::InvalidInput(format!(
        "No service could be changed: the replication status of host {host} must be enabled or failed-over."
    )))
}

/// `GET /os-hosts?zone=`: what is enabled.
pub async fn host_list(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:hosts"))?;
    let services = call.service().services();
    let is_meant = |service: &&ServiceStanding| {
        !service.record.disabled && call.query.get("zone").is_none_or(|zone| service.zone == zone)
    };
    let row = |service: &ServiceStanding| {
        json!({
            "host_name": service.record.host,
            "service": service.record.binary,
            "zone": service.zone,
            "service-status": "available",
            "service-state": "enabled",
            "last-update": time::micros(call.api.clock.now()),
        })
    };
    Ok(Answer::ok(json!({"hosts": services.iter().filter(is_meant).map(row).collect::<Vec<_>>()})))
}

/// `GET /os-hosts/{host}`: what lies there, in all and of each project. Numbers are texts.
pub async fn host_show(call: &Call, host: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:hosts"))?;
    let is_it = |service: &ServiceStanding| service.record.binary == VOLUME_BINARY && service.record.host == host;
    if !call.service().services().iter().any(is_it) {
        return Err(absent(VOLUME_BINARY, host));
    }
    let mut total = [0; 4];
    let mut projects: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for usage in call.service().store().host_usage().await? {
        if usage.host.split('#').next() != Some(host) {
            continue;
        }
        let own = projects.entry(usage.project_id.to_string()).or_default();
        let more = [usage.volumes, usage.gigabytes, usage.snapshots, usage.snapshot_gigabytes];
        for sums in [own, &mut total] {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }
    let rows = std::iter::once(("(total)".to_owned(), total)).chain(projects);
    let row = |(project, sums): (String, [u64; 4])| {
        let [volumes, gigabytes, snapshots, snapshot_gigabytes] = sums.map(|sum| sum.to_string());
        json!({"resource": {
            "host": host,
            "project": project,
            "volume_count": volumes,
            "total_volume_gb": gigabytes,
            "snapshot_count": snapshots,
            "total_snapshot_gb": snapshot_gigabytes,
        }})
    };
    Ok(Answer::ok(json!({"host": rows.map(row).collect::<Vec<_>>()})))
}

/// `PUT /os-hosts/{host}`: all its parts.
pub async fn host_update(call: &Call, host: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:hosts"))?;
    let status = call.body.get("status").and_then(Value::as_str).unwrap_or_default();
    let change = match status.to_ascii_lowercase().as_str() {
        "enable" => ServiceChange::Enable,
        "disable" => ServiceChange::Disable { reason: None },
        _ => return Err(Problem::BadRequest(format!("Invalid status: '{status}'"))),
    };
    let services = call.service().services();
    let meant: Vec<_> = services.iter().filter(|service| service.record.host == host).collect();
    if meant.is_empty() {
        return Err(absent(VOLUME_BINARY, host));
    }
    for service in meant {
        let changed = call.service().service_change(host, &service.record.binary, change.clone()).await;
        if let Err(ServiceError::Store(error)) = changed {
            return Err(error.into());
        }
    }
    let word = if change == ServiceChange::Enable { "enabled" } else { "disabled" };
    Ok(Answer::ok(json!({"host": host, "status": word})))
}
