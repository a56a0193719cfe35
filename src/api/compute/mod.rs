//! Compute, as far as it concerns volumes: versions, servers as attachment end points, `os-volume_attachments`,
//! `os-instance-actions`, `os-server-external-events`; and what clients need who make simulated servers.

pub mod block_storage;
pub mod boot;
pub mod external_events;
pub mod flavors;
pub mod instance_actions;
pub mod proxies;
pub mod server_filters;
pub mod servers;
pub mod simulated;
pub mod versions;
pub mod volume_attachments;

use super::answer::Answer;
use super::call::Call;
use super::fault::Problem;
use super::route::Route;

/// Hands the call to its noun.
pub async fn handle(call: &Call, route: &Route) -> Result<Answer, Problem> {
    match route {
        Route::ServerList { detail } => servers::server_list(call, *detail).await,
        Route::ServerCreate => simulated::server_create(call).await,
        Route::ServerDelete(id) => simulated::server_delete(call, id).await,
        Route::ServerAct(id) => simulated::server_act(call, id).await,
        Route::ServerAddresses(id) => simulated::server_addresses(call, id).await,
        Route::FlavorList { detail } => flavors::flavor_list(call, *detail),
        Route::FlavorShow(id) => flavors::flavor_show(call, id),
        Route::Proxy(route) => proxies::handle(call, route).await,
        Route::ServerShow(id) => servers::server_show(call, id).await,
        Route::MappingList(server) => volume_attachments::mapping_list(call, server).await,
        Route::MappingCreate(server) => volume_attachments::mapping_create(call, server).await,
        Route::MappingShow(server, volume) => volume_attachments::mapping_show(call, server, volume).await,
        Route::MappingUpdate(server, volume) => volume_attachments::mapping_update(call, server, volume).await,
        Route::MappingDelete(server, volume) => volume_attachments::mapping_delete(call, server, volume).await,
        Route::ActionList(server) => instance_actions::action_list(call, server).await,
        Route::ActionShow(server, request) => instance_actions::action_show(call, server, request).await,
        Route::ExternalEventsCreate => external_events::events_create(call).await,
        _ => Err(Problem::Unrouted),
    }
}

/// Refuses parameters of the query that are not known.
fn only(call: &Call, known: impl Fn(&str) -> bool) -> Result<(), Problem> {
    match call.query.pairs().find(|(name, _)| !known(name)) {
        None => Ok(()),
        Some((unknown, _)) => {
            Err(Problem::BadRequest(format!("Additional properties are not allowed ('{unknown}' was unexpected)")))
        }
    }
}
