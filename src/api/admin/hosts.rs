//! `/admin/hosts`: what a host has, and `hearth host fence`: an operator's word that it is dead.

use serde_json::{Value, json};

use crate::actors::FenceError;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::route::HostRoute;
use crate::api::schema;
use crate::api::views::time::micros;
use crate::domain::host::HostFence;

/// Longest name of a host, characters.
const HOST_MAX: usize = 255;

/// Hands the call to its verb.
pub async fn handle(call: &Call, route: &HostRoute) -> Result<Answer, Problem> {
    match route {
        HostRoute::List => {
            let fenced: Vec<Value> = call.service().hosts_fenced().iter().map(listed).collect();
            Ok(Answer::ok(json!({"hosts": fenced})))
        }
        HostRoute::Show(host) => Ok(Answer::ok(shown(call, host).await?)),
        HostRoute::Fence(host) => {
            schema::ADMIN_HOST_FENCE.check(call.version, &call.body)?;
            if host.chars().count() > HOST_MAX {
                return Err(Problem::BadRequest(format!("The name of a host has at most {HOST_MAX} characters.")));
            }
            let proof = call.body["fence"]["proof"].as_str().unwrap_or_default().trim();
            if proof.is_empty() {
                return Err(Problem::BadRequest(
                    "A host is fenced on a proof that it is dead, which is missing.".into(),
                ));
            }
            call.service().host_fence(host, proof, &call.context.caller()).await?;
            Ok(Answer::json(202, shown(call, host).await?))
        }
        HostRoute::Unfence(host) => match call.service().host_unfence(host).await {
            Ok(()) => Ok(Answer::empty(204)),
            Err(error @ FenceError::NotFenced(_)) => Err(Problem::NotFoundText(error.to_string())),
            Err(error @ FenceError::NotReleased { .. }) => Err(Problem::Conflict(error.to_string())),
            Err(FenceError::Store(error)) => Err(error.into()),
        },
    }
}

async fn shown(call: &Call, host: &str) -> Result<Value, Problem> {
    let standing = call.service().host_show(host).await?;
    Ok(json!({"host": {
        "name": standing.host,
        "fence": standing.fence.as_ref().map(fence),
        "servers": standing.servers,
        "volumes": standing.volumes,
    }}))
}

fn listed(of: &HostFence) -> Value {
    json!({"name": of.host, "fence": fence(of)})
}

fn fence(of: &HostFence) -> Value {
    json!({
        "epoch": of.epoch,
        "proof": of.proof,
        "user_id": of.user_id,
        "request_id": of.request_id,
        "fenced_at": micros(of.fenced_at),
    })
}
