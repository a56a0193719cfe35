//! Simulated servers, for suites of clients which make their own (`compute.simulated_servers`): `POST /servers`, `DELETE
//! /servers/{id}` and the actions that change a server's state. There is no guest: where there are simulated backends their hypervisor
//! plugs, elsewhere nobody does, and a volume is attached when it is exported.

use serde_json::{Value, json};

use super::block_storage::Asker;
use super::boot;
use super::servers::server_visible;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::schema;
use crate::api::views::flavor::SIMULATED;
use crate::domain::ids::ServerId;
use crate::domain::lifecycle::ServerVerb;
use crate::domain::server::{BOOTING, SIMULATED_HOST, Server};
use crate::domain::status::VmState;
use crate::policy::Rule;
use crate::rule;

pub(super) fn is_switched_on(call: &Call) -> Result<(), Problem> {
    if call.api.options.simulated_servers { Ok(()) } else { Err(Problem::Unrouted) }
}

/// `POST /servers`: 202. The server is there at once, and runs when it has its volumes.
pub async fn server_create(call: &Call) -> Result<Answer, Problem> {
    is_switched_on(call)?;
    schema::SERVER_CREATE.check(call.version, &call.body)?;
    call.enforce_own(rule!("os_compute_api:servers:create"))?;
    let members = &call.body["server"];
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    let counts =
        ["min_count", "max_count"].map(|name| members.get(name).map(|count| count.to_string().replace('"', "")));
    if counts.iter().flatten().any(|count| count != "1") {
        return Err(Problem::BadRequest("Simulated servers are made one by one.".to_owned()));
    }
    let flavor = match members.get("flavorRef") {
        Some(Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        None => SIMULATED.id.to_owned(),
    };
    if flavor != SIMULATED.id {
        return Err(Problem::BadRequest(Kind::Flavor.text(&flavor)));
    }
    let disks = boot::disks(call, members).await?;
    let boots = !disks.is_empty();
    let now = call.api.clock.now();
    let server = Server {
        id: ServerId::from(call.api.randomness.uuid().to_string()),
        name: text("name").unwrap_or_default(),
        project_id: call.context.project_id.clone(),
        user_id: call.context.user_id.clone(),
        host: Some(SIMULATED_HOST.to_owned()),
        hypervisor: call.api.options.simulated_by,
        qmp_socket: None,
        qmp_check_uuid: true,
        vm_state: if boots { VmState::Building } else { VmState::Active },
        task_state: boots.then(|| BOOTING.to_owned()),
        locked: false,
        availability_zone: text("availability_zone").unwrap_or_else(|| call.api.options.availability_zone.clone()),
        root_device_name: "/dev/vda".to_owned(),
        launched_at: (!boots).then_some(now),
        created_at: now,
        updated_at: None,
        epoch: 1,
        deleted: false,
    };
    let volumes = boot::made(Asker::of(call), disks);
    let server = call.service().server_boot(server, volumes, call.context.caller()).await?;
    let body = json!({"server": {
        "id": server.id,
        "links": call.links.of("servers", server.id.as_str()),
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [],
        "adminPass": call.api.randomness.secret(),
    }});
    Ok(Answer::json(202, body))
}

/// One of them that the caller sees. Others have an owner of their own, who would not hear of it.
async fn simulated(call: &Call, id: &str, rule: Rule) -> Result<Server, Problem> {
    let server = server_visible(call, id).await?;
    call.enforce(rule, &server)?;
    if server.is_simulated() {
        Ok(server)
    } else {
        Err(Problem::Conflict(format!("Instance {id} is not simulated: it is run and ended elsewhere")))
    }
}

/// `DELETE /servers/{id}`: 204. Its volumes are detached, and deleted where their mappings say so.
pub async fn server_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    is_switched_on(call)?;
    let server = simulated(call, id, rule!("os_compute_api:servers:delete")).await?;
    call.service().server_terminate(server.id, call.context.caller()).await?;
    Ok(Answer::empty(204))
}

/// `GET /servers/{id}/ips`: there is no network.
pub async fn server_addresses(call: &Call, id: &str) -> Result<Answer, Problem> {
    is_switched_on(call)?;
    let server = server_visible(call, id).await?;
    call.enforce(rule!("os_compute_api:ips:index"), &server)?;
    Ok(Answer::ok(json!({"addresses": {}})))
}

/// `POST /servers/{id}/action`: 202, and done.
pub async fn server_act(call: &Call, id: &str) -> Result<Answer, Problem> {
    is_switched_on(call)?;
    let action = call.body.as_object().filter(|members| members.len() == 1).and_then(|members| members.keys().next());
    let unknown = || Problem::BadRequest(format!("There is no such action: {}", action.map_or("none", String::as_str)));
    let verb = action.and_then(|action| ServerVerb::of_action(action)).ok_or_else(unknown)?;
    let server = simulated(call, id, rule_of(verb)).await?;
    call.service().server_act(server.id, verb, call.context.caller()).await?;
    Ok(Answer::empty(202))
}

/// Nova's rule.
const fn rule_of(verb: ServerVerb) -> Rule {
    match verb {
        ServerVerb::Start => rule!("os_compute_api:servers:start"),
        ServerVerb::Stop => rule!("os_compute_api:servers:stop"),
        ServerVerb::Reboot => rule!("os_compute_api:servers:reboot"),
        ServerVerb::Pause => rule!("os_compute_api:os-pause-server:pause"),
        ServerVerb::Unpause => rule!("os_compute_api:os-pause-server:unpause"),
        ServerVerb::Suspend => rule!("os_compute_api:os-suspend-server:suspend"),
        ServerVerb::Resume => rule!("os_compute_api:os-suspend-server:resume"),
        ServerVerb::Shelve => rule!("os_compute_api:os-shelve:shelve"),
        ServerVerb::ShelveOffload => rule!("os_compute_api:os-shelve:shelve_offload"),
        ServerVerb::Unshelve => rule!("os_compute_api:os-shelve:unshelve"),
        ServerVerb::Lock => rule!("os_compute_api:os-lock-server:lock"),
        ServerVerb::Unlock => rule!("os_compute_api:os-lock-server:unlock"),
    }
}
