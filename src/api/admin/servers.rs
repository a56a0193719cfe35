//! `/admin/servers`: the servers that volumes can be attached to.

use serde_json::{Value, json};

use crate::actors::ServerUpdate;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::paging;
use crate::api::schema;
use crate::api::views::server as view;
use crate::domain::ids::{ProjectId, ServerId, UserId};
use crate::domain::server::{HypervisorKind, Server};
use crate::domain::status::VmState;
use crate::store::ServerQuery;

fn text(members: &Value, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn boolean(members: &Value, name: &str) -> Option<bool> {
    members.get(name).and_then(Value::as_bool)
}

fn vm_state(members: &Value) -> Option<VmState> {
    members.get("vm_state").and_then(Value::as_str).and_then(|word| word.parse().ok())
}

/// `GET /admin/servers?project_id=&limit=&marker=`: newest first.
pub async fn server_list(call: &Call) -> Result<Answer, Problem> {
    let limit = paging::limit(&call.query)?;
    if limit == 0 {
        return Ok(Answer::ok(json!({"servers": []})));
    }
    let query = ServerQuery {
        project_id: call.query.get("project_id").map(ProjectId::from),
        vm_states: Vec::new(),
        marker: call.query.get("marker").map(ServerId::from),
        limit,
    };
    let listed = call.service().store().server_list(query).await;
    let page = listed.map_err(|error| Problem::List(Kind::Server, error))?;
    Ok(Answer::ok(json!({"servers": page.rows.iter().map(view::record).collect::<Vec<_>>()})))
}

/// `GET /admin/servers/{id}`
pub async fn server_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let found = call.service().store().server_get(ServerId::from(id)).await?.filter(|server| !server.deleted);
    let server = found.ok_or_else(|| Problem::NotFound(Kind::Server, id.to_owned()))?;
    Ok(Answer::ok(json!({"server": view::record(&server)})))
}

/// `POST /admin/servers`
pub async fn server_create(call: &Call) -> Result<Answer, Problem> {
    schema::ADMIN_SERVER_CREATE.check(call.version, &call.body)?;
    let members = &call.body["server"];
    let hypervisor = text(members, "hypervisor").and_then(|word| HypervisorKind::parse(&word));
    let hypervisor = hypervisor.unwrap_or(HypervisorKind::None);
    let qmp_socket = text(members, "qmp_socket");
    let now = call.api.clock.now();
    let state = vm_state(members).unwrap_or(VmState::Active);
    let server = Server {
        id: text(members, "id").map_or_else(|| call.api.randomness.uuid().to_string().into(), ServerId::from),
        name: text(members, "name").unwrap_or_default(),
        project_id: text(members, "project_id").map_or_else(|| call.context.project_id.clone(), ProjectId::from),
        user_id: text(members, "user_id").map_or_else(|| call.context.user_id.clone(), UserId::from),
        host: text(members, "host"),
        hypervisor,
        qmp_socket,
        qmp_check_uuid: boolean(members, "qmp_check_uuid").unwrap_or(true),
        vm_state: state,
        task_state: text(members, "task_state"),
        locked: boolean(members, "locked").unwrap_or(false),
        availability_zone: text(members, "availability_zone")
            .unwrap_or_else(|| call.api.options.availability_zone.clone()),
        root_device_name: text(members, "root_device_name").unwrap_or_else(|| "/dev/vda".to_owned()),
        // A server that is still being built has never run.
        launched_at: (state != VmState::Building).then_some(now),
        created_at: now,
        updated_at: None,
        epoch: 1,
        deleted: false,
    };
    let server = call.service().server_create(server).await?;
    Ok(Answer::json(201, json!({"server": view::record(&server)})))
}

/// A member that may be null: outer none when absent.
fn nullable(members: &Value, name: &str) -> Option<Option<String>> {
    members.get(name).map(|value| value.as_str().map(str::to_owned))
}

/// `PUT /admin/servers/{id}`
pub async fn server_update(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::ADMIN_SERVER_UPDATE.check(call.version, &call.body)?;
    let members = &call.body["server"];
    let update = ServerUpdate {
        name: text(members, "name"),
        vm_state: vm_state(members),
        task_state: nullable(members, "task_state"),
        locked: boolean(members, "locked"),
        host: nullable(members, "host"),
        hypervisor: text(members, "hypervisor").and_then(|word| HypervisorKind::parse(&word)),
        qmp_socket: nullable(members, "qmp_socket"),
        qmp_check_uuid: boolean(members, "qmp_check_uuid"),
        availability_zone: text(members, "availability_zone"),
        root_device_name: text(members, "root_device_name"),
    };
    let server = call.service().server_update(ServerId::from(id), update).await?;
    Ok(Answer::ok(json!({"server": view::record(&server)})))
}

/// `DELETE /admin/servers/{id}`
pub async fn server_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.service().server_delete(ServerId::from(id), call.context.caller()).await?;
    Ok(Answer::empty(204))
}
