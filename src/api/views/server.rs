//! Servers, as far as attachments need them (nova-volume-attachments §8.2), and the admin's record.

use serde_json::{Map, Value, json};

use super::flavor::Flavor;
use super::time;
use crate::api::links::Links;
use crate::api::microversion::Microversion;
use crate::domain::attachment::Attachment;
use crate::domain::server::Server;
use crate::domain::status::VmState;

/// The status word of a state.
pub fn status(state: VmState) -> &'static str {
    match state {
        VmState::Active => "ACTIVE",
        VmState::Paused => "PAUSED",
        VmState::Stopped => "SHUTOFF",
        VmState::Resized => "VERIFY_RESIZE",
        VmState::SoftDeleted => "SOFT_DELETED",
        VmState::Shelved => "SHELVED",
        VmState::ShelvedOffloaded => "SHELVED_OFFLOADED",
        VmState::Building => "BUILD",
        VmState::Suspended => "SUSPENDED",
        VmState::Rescued => "RESCUE",
        VmState::Error => "ERROR",
        VmState::Deleted => "DELETED",
    }
}

fn power_state(state: VmState) -> u8 {
    match state {
        VmState::Active | VmState::Resized | VmState::Rescued => 1,
        VmState::Paused => 3,
        VmState::Stopped | VmState::SoftDeleted | VmState::Shelved | VmState::ShelvedOffloaded | VmState::Suspended => {
            4
        }
        VmState::Building | VmState::Error | VmState::Deleted => 0,
    }
}

/// `{id, name, links}`.
pub fn summary(server: &Server, links: &Links) -> Value {
    json!({"id": server.id, "name": server.name, "links": links.of("servers", server.id.as_str())})
}

/// The detail view. Members that need an image, a flavor or a network are there and empty: clients index them.
pub fn detail(
    server: &Server,
    attachments: &[Attachment],
    version: Microversion,
    is_admin: bool,
    is_show: bool,
    links: &Links,
) -> Value {
    let since = |minor| version >= Microversion::v2(minor);
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("id", json!(server.id));
    put("name", json!(server.name));
    put("status", json!(status(server.vm_state)));
    put("tenant_id", json!(server.project_id));
    put("user_id", json!(server.user_id));
    put("metadata", json!({}));
    put("created", json!(time::seconds(server.created_at)));
    put("updated", json!(time::seconds(server.updated_at.unwrap_or(server.created_at))));
    put("hostId", json!(host_id_of(server)));
    put("image", json!(""));
    put("flavor", Flavor::of(server).embedded(version, links));
    put("links", json!(links.of("servers", server.id.as_str())));
    put("addresses", json!({}));
    put("accessIPv4", json!(""));
    put("accessIPv6", json!(""));
    put("key_name", Value::Null);
    put("config_drive", json!(""));
    if matches!(server.vm_state, VmState::Active | VmState::Building | VmState::Resized) {
        put("progress", json!(0));
    }
    put("OS-DCF:diskConfig", json!("MANUAL"));
    put("OS-EXT-AZ:availability_zone", json!(server.availability_zone));
    put("OS-EXT-STS:vm_state", json!(server.vm_state.as_str()));
    put("OS-EXT-STS:task_state", json!(server.task_state));
    put("OS-EXT-STS:power_state", json!(power_state(server.vm_state)));
    put("OS-SRV-USG:launched_at", json!(server.launched_at.map(time::micros)));
    put("OS-SRV-USG:terminated_at", Value::Null);
    put("os-extended-volumes:volumes_attached", Value::Array(volumes_attached(attachments, since(3))));
    if is_admin {
        put("OS-EXT-SRV-ATTR:host", json!(server.host));
        put("OS-EXT-SRV-ATTR:hypervisor_hostname", json!(server.host));
        put("OS-EXT-SRV-ATTR:instance_name", json!(server.name));
    }
    if since(3) && is_admin {
        put("OS-EXT-SRV-ATTR:root_device_name", json!(server.root_device_name));
        put("OS-EXT-SRV-ATTR:user_data", Value::Null);
        put("OS-EXT-SRV-ATTR:reservation_id", Value::Null);
        put("OS-EXT-SRV-ATTR:launch_index", json!(0));
        put("OS-EXT-SRV-ATTR:kernel_id", json!(""));
        put("OS-EXT-SRV-ATTR:ramdisk_id", json!(""));
    }
    if since(90) || (since(3) && is_admin) {
        put("OS-EXT-SRV-ATTR:hostname", json!(server.name));
    }
    if since(9) {
        put("locked", json!(server.locked));
    }
    if since(16) && is_admin {
        put("host_status", json!(if server.host.is_some() { "UP" } else { "" }));
    }
    if since(19) {
        put("description", Value::Null);
    }
    if since(26) {
        put("tags", json!([]));
    }
    if since(63) {
        put("trusted_image_certificates", Value::Null);
    }
    if since(71) && is_show {
        put("server_groups", json!([]));
    }
    if since(73) {
        put("locked_reason", Value::Null);
    }
    if since(96) {
        put("pinned_availability_zone", Value::Null);
    }
    if since(100) {
        put("scheduler_hints", json!({}));
    }
    Value::Object(members)
}

/// The volumes, from the same rows as the attachment list.
fn volumes_attached(attachments: &[Attachment], with_flag: bool) -> Vec<Value> {
    let rows = attachments.iter().filter_map(|row| row.bdm.as_ref().map(|bdm| (row.volume_id, bdm)));
    rows.map(|(volume_id, bdm)| {
        if with_flag {
            json!({"id": volume_id, "delete_on_termination": bdm.delete_on_termination})
        } else {
            json!({"id": volume_id})
        }
    })
    .collect()
}

/// The host as the owner may know it; empty without one.
pub fn host_id_of(server: &Server) -> String {
    server.host.as_deref().map(|host| host_id(server, host)).unwrap_or_default()
}

/// An opaque name of the host which differs from project to project, so that owners can tell hosts apart without knowing
/// them. Not a secret: FNV-1a over project and host, widened to Nova's 56 digits.
fn host_id(server: &Server, host: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut out = String::with_capacity(64);
    for round in 0..4_u8 {
        for byte in server.project_id.as_str().bytes().chain([0, round]).chain(host.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        out.push_str(&format!("{hash:016x}"));
    }
    out.truncate(56);
    out
}

/// The whole record, for `/admin/servers`.
pub fn record(server: &Server) -> Value {
    json!({
        "id": server.id,
        "name": server.name,
        "project_id": server.project_id,
        "user_id": server.user_id,
        "host": server.host,
        "hypervisor": server.hypervisor.as_str(),
        "qmp_socket": server.qmp_socket,
        "qmp_check_uuid": server.qmp_check_uuid,
        "vm_state": server.vm_state.as_str(),
        "task_state": server.task_state,
        "locked": server.locked,
        "availability_zone": server.availability_zone,
        "root_device_name": server.root_device_name,
        "launched_at": server.launched_at.map(time::micros),
        "created_at": time::micros(server.created_at),
        "updated_at": server.updated_at.map(time::micros),
        "epoch": server.epoch,
    })
}
