//! `/admin`: servers, hosts, actors, drivers, operations, histories, events, the policy and test faults. Admins only (checked before any handler), a token always.

pub mod actors;
pub mod drivers;
pub mod events;
pub mod faults;
pub mod history;
pub mod hosts;
pub mod operations;
pub mod policy;
pub mod servers;

use super::answer::Answer;
use super::call::Call;
use super::fault::Problem;
use super::route::Route;

/// Hands the call to its noun.
pub async fn handle(call: &Call, route: &Route) -> Result<Answer, Problem> {
    match route {
        Route::AdminServerList => servers::server_list(call).await,
        Route::AdminServerCreate => servers::server_create(call).await,
        Route::AdminServerShow(id) => servers::server_show(call, id).await,
        Route::AdminServerUpdate(id) => servers::server_update(call, id).await,
        Route::AdminServerDelete(id) => servers::server_delete(call, id).await,
        Route::AdminHost(route) => hosts::handle(call, route).await,
        Route::AdminActorList => actors::actor_list(call),
        Route::AdminActorShow(id) => actors::actor_show(call, id).await,
        Route::AdminVolumeHistory(id) => history::history(call, id).await,
        Route::AdminDrivers => Ok(drivers::drivers(call)),
        Route::AdminEvents => events::event_list(call),
        Route::AdminOperations => operations::operation_list(call).await,
        Route::AdminPolicy => Ok(policy::policy(call)),
        Route::AdminFault => faults::fault_inject(call).await,
        _ => Err(Problem::Unrouted),
    }
}
