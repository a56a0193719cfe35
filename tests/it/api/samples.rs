//! The members of every answer at every version that changes them, nested ones too, as a client sees them. Rules of single
//! views are in `views` and `snapshots`; this is the whole of what comes over the wire.

use hearth::drivers::sim::SimObject;
use serde_json::{Value, json};

use super::harness::{ADMIN, Harness, MEMBER};

/// The names in a value, sorted: `{id links:[{href rel}]}`. Of an array, each different shape once.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut names: Vec<String> = members
                .iter()
                .map(|(name, value)| match value {
                    Value::Object(_) | Value::Array(_) => format!("{name}:{}", shape(value)),
                    _ => name.clone(),
                })
                .collect();
            names.sort_unstable();
            format!("{{{}}}", names.join(" "))
        }
        Value::Array(elements) => {
            let mut shapes: Vec<String> = elements.iter().map(shape).collect();
            shapes.sort_unstable();
            shapes.dedup();
            format!("[{}]", shapes.join(" | "))
        }
        _ => String::new(),
    }
}

/// `{a b c}` of names in any order.
fn object(names: &[&str]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    format!("{{{}}}", names.join(" "))
}

/// Each call at each version, with what its answer must be made of.
struct Told<'a> {
    harness: &'a Harness,
    version: &'a str,
}

impl Told<'_> {
    async fn get(&self, path: &str, expected: &str) -> Value {
        self.call("GET", path, None, expected).await
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>, expected: &str) -> Value {
        let mut asking = self.harness.ask(method, path).token(ADMIN).volume(self.version);
        if let Some(body) = &body {
            asking = asking.json(body);
        }
        let got = asking.send().await;
        assert!((200..300).contains(&got.status), "{method} {path} at {}: {} {}", self.version, got.status, got.text);
        let answer = if got.text.is_empty() { Value::Null } else { got.json() };
        assert_eq!(shape(&answer), expected, "{method} {path} at {}", self.version);
        answer
    }
}

const LINKS: &str = "links:[{href rel}]";

#[actix_web::test]
async fn volumes() {
    let harness = Harness::start().await;
    let plain = [
        "attachments:[]",
        "availability_zone",
        "bootable",
        "consistencygroup_id",
        "created_at",
        "description",
        "encrypted",
        "id",
        LINKS,
        "metadata:{colour}",
        "migration_status",
        "multiattach",
        "name",
        "replication_status",
        "size",
        "snapshot_id",
        "source_volid",
        "status",
        "updated_at",
        "user_id",
        "volume_type",
    ];
    let extended = [
        "os-vol-host-attr:host",
        "os-vol-mig-status-attr:migstat",
        "os-vol-mig-status-attr:name_id",
        "os-vol-tenant-attr:tenant_id",
    ];
    let later: &[(u32, &[&str])] = &[
        (13, &["group_id"]),
        (21, &["provider_id"]),
        (48, &["service_uuid", "shared_targets"]),
        (61, &["cluster_name"]),
        (63, &["volume_type_id"]),
        (65, &["consumes_quota"]),
    ];
    for minor in [0, 12, 13, 20, 21, 47, 48, 60, 61, 62, 63, 64, 65, 69, 71] {
        let version = format!("3.{minor}");
        let told = Told { harness: &harness, version: &version };
        let new = later.iter().filter(|(since, _)| *since <= minor).flat_map(|(_, names)| *names).copied();
        let short: Vec<&str> = plain.into_iter().chain(new).collect();
        let long = object(&[&short[..], &extended].concat());
        let short = format!("{{volume:{}}}", object(&short));
        let body = json!({"volume": {"size": 1, "name": version, "metadata": {"colour": "red"}}});
        let made = told.call("POST", "/v3/volumes", Some(body), &short).await;
        let id = made["volume"]["id"].as_str().unwrap();
        harness.until(id, "available").await;
        let path = format!("/v3/volumes/{id}");
        told.get(&path, &format!("{{volume:{long}}}")).await;
        told.call("PUT", &path, Some(json!({"volume": {"name": "n"}})), &short).await;
        told.get("/v3/volumes/detail", &format!("{{volumes:[{long}]}}")).await;
        told.get("/v3/volumes", &format!("{{volumes:[{{id {LINKS} name}}]}}")).await;
        let pages = format!("{{volumes:[{{id {LINKS} name}}] volumes_links:[{{href rel}}]}}");
        told.get("/v3/volumes?limit=1", &pages).await;
    }
    let told = Told { harness: &harness, version: "3.71" };
    let counted = format!("{{count volumes:[{{id {LINKS} name}}] volumes_links:[{{href rel}}]}}");
    told.get("/v3/volumes?limit=1&with_count=true", &counted).await;
    for (version, expected) in [
        ("3.12", "{volume-summary:{total_count total_size}}"),
        ("3.35", "{volume-summary:{total_count total_size}}"),
        ("3.36", "{volume-summary:{metadata:{colour:[]} total_count total_size}}"),
        ("3.71", "{volume-summary:{metadata:{colour:[]} total_count total_size}}"),
    ] {
        Told { harness: &harness, version }.get("/v3/volumes/summary", expected).await;
    }
    harness.stop().await;
}

#[actix_web::test]
async fn what_hangs_on_volumes_and_snapshots() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1, "metadata": {"a": "1"}})).await;
    let told = Told { harness: &harness, version: "3.0" };
    let snapshot = json!({"snapshot": {"volume_id": volume, "metadata": {"a": "1"}}});
    let plain = "created_at description id metadata:{a} name";
    let created = format!("{{snapshot:{{{plain} size status updated_at volume_id}}}}");
    let made = told.call("POST", "/v3/snapshots", Some(snapshot), &created).await;
    let snapshot = made["snapshot"]["id"].as_str().unwrap();
    for owner in [format!("/v3/volumes/{volume}/metadata"), format!("/v3/snapshots/{snapshot}/metadata")] {
        told.get(&owner, "{metadata:{a}}").await;
        told.call("POST", &owner, Some(json!({"metadata": {"b": "2"}})), "{metadata:{a b}}").await;
        told.call("PUT", &owner, Some(json!({"metadata": {"c": "3"}})), "{metadata:{c}}").await;
        told.call("PUT", &format!("{owner}/c"), Some(json!({"meta": {"c": "4"}})), "{meta:{c}}").await;
        told.get(&format!("{owner}/c"), "{meta:{c}}").await;
    }
    let action = format!("/v3/volumes/{volume}/action");
    let set = json!({"os-set_image_metadata": {"metadata": {"os_type": "linux"}}});
    told.call("POST", &action, Some(set), "{metadata:{os_type}}").await;
    told.call("POST", &action, Some(json!({"os-show_image_metadata": null})), "{metadata:{os_type}}").await;
    harness.stop().await;
}

#[actix_web::test]
async fn manageable_volumes_and_snapshots() {
    let harness = Harness::start().await;
    let told = Told { harness: &harness, version: "3.71" };
    let object = SimObject { size_mib: 1024, markers: Vec::new(), snapshot_of: None };
    for name in ["a", "b"] {
        harness.truth.place_object(name, object.clone()).unwrap();
    }
    let query = "?host=sim@sim%23pool";
    let (row, more) = ("reference:{source-name} safe_to_manage size", "cinder_id extra_info reason_not_safe");
    told.get(&format!("/v3/manageable_volumes{query}"), &format!("{{manageable-volumes:[{{{row}}}]}}")).await;
    let detail = format!("{{manageable-volumes:[{{{more} {row}}}]}}");
    told.get(&format!("/v3/manageable_volumes/detail{query}"), &detail).await;
    let body = json!({"volume": {"host": "sim@sim#pool", "ref": {"source-name": "a"}, "metadata": {"k": "v"}}});
    let volume = "{attachments:[] availability_zone bootable consistencygroup_id created_at description encrypted id \
                  links:[{href rel}] metadata:{k} migration_status multiattach name os-vol-host-attr:host \
                  os-vol-mig-status-attr:migstat os-vol-mig-status-attr:name_id os-vol-tenant-attr:tenant_id \
                  replication_status size snapshot_id source_volid status updated_at user_id volume_type}";
    let made = told.call("POST", "/v3/manageable_volumes", Some(body), &format!("{{volume:{volume}}}")).await;
    let id = made["volume"]["id"].as_str().unwrap();
    harness.until(id, "available").await;
    let body = json!({"snapshot": {"volume_id": id, "ref": {"source-name": "b"}, "metadata": {"k": "v"}}});
    let snapshot = "{created_at description id metadata:{k} name size status updated_at volume_id}";
    told.call("POST", "/v3/manageable_snapshots", Some(body), &format!("{{snapshot:{snapshot}}}")).await;
    let row = "reference:{source-name} safe_to_manage size source_reference:{source-name}";
    told.get(&format!("/v3/manageable_snapshots{query}"), &format!("{{manageable-snapshots:[{{{row}}}]}}")).await;
    let detail = format!("{{manageable-snapshots:[{{{more} {row}}}]}}");
    told.get(&format!("/v3/manageable_snapshots/detail{query}"), &detail).await;
    harness.stop().await;
}

#[actix_web::test]
async fn attachments() {
    let harness = Harness::start().await;
    let volume = harness.volume(MEMBER, json!({"size": 1})).await;
    let server = harness.server("s").await;
    let connector = json!({"host": "h1", "initiator": "iqn.1:1", "ip": "10.0.0.1", "multipath": false});
    let short = "{id instance status volume_id}";
    for version in ["3.27", "3.43", "3.44", "3.53", "3.54", "3.71"] {
        let told = Told { harness: &harness, version };
        let body = json!({"attachment": {"volume_uuid": volume, "instance_uuid": server}});
        let members = "attach_mode attached_at connection_info:{} detached_at id instance status volume_id";
        let made = told.call("POST", "/v3/attachments", Some(body), &format!("{{attachment:{{{members}}}}}")).await;
        let path = format!("/v3/attachments/{}", made["attachment"]["id"].as_str().unwrap());
        let body = json!({"attachment": {"connector": connector}});
        let got = harness.put(&path, &body).token(ADMIN).volume(version).send().await;
        let info = got.json()["attachment"]["connection_info"].clone();
        for name in ["driver_volume_type", "attachment_id", "access_mode", "volume_id"] {
            assert!(info.get(name).is_some(), "{name} at {version}: {info}");
        }
        let members = members.replace("connection_info:{}", &format!("connection_info:{}", shape(&info)));
        assert_eq!(shape(&got.json()), format!("{{attachment:{{{members}}}}}"), "update at {version}");
        told.get(&path, &format!("{{attachment:{{{members}}}}}")).await;
        told.get("/v3/attachments", &format!("{{attachments:[{short}]}}")).await;
        told.get("/v3/attachments/detail", &format!("{{attachments:[{{{members}}}]}}")).await;
        told.call("DELETE", &path, None, "{attachments:[]}").await;
        harness.until(&volume, "available").await;
    }
    harness.stop().await;
}

#[actix_web::test]
async fn types() {
    let harness = Harness::start().await;
    let told = Told { harness: &harness, version: "3.71" };
    let plain = "description extra_specs:{capabilities} id is_public name";
    let access = "os-volume-type-access:is_public";
    let body = json!({"volume_type": {"name": "t", "extra_specs": {"capabilities": "gpu"}, access: false}});
    let made = told.call("POST", "/v3/types", Some(body), &format!("{{volume_type:{{{plain} {access}}}}}")).await;
    let id = made["volume_type"]["id"].as_str().unwrap();
    let path = format!("/v3/types/{id}");
    told.get(&path, &format!("{{volume_type:{{{plain} {access} qos_specs_id}}}}")).await;
    let body = json!({"volume_type": {"name": "u"}});
    told.call("PUT", &path, Some(body), &format!("{{volume_type:{{{plain}}}}}")).await;
    let listed = told.harness.get("/v3/types?is_public=false").volume("3.71").send().await.json();
    assert_eq!(shape(&listed), format!("{{volume_types:[{{{plain} {access} qos_specs_id}}]}}"));
    told.get("/v3/types/default", "{volume_type:{description extra_specs:{} id is_public name qos_specs_id}}").await;
    let specs = format!("{path}/extra_specs");
    told.get(&specs, "{extra_specs:{capabilities}}").await;
    told.call("POST", &specs, Some(json!({"extra_specs": {"a": "1", "b": "2"}})), "{extra_specs:{a b}}").await;
    told.get(&format!("{specs}/a"), "{a}").await;
    told.call("PUT", &format!("{specs}/a"), Some(json!({"a": "3"})), "{a}").await;
    let grant = json!({"addProjectAccess": {"project": "p"}});
    told.call("POST", &format!("{path}/action"), Some(grant), "").await;
    let listed = "{volume_type_access:[{project_id volume_type_id}]}";
    told.get(&format!("{path}/os-volume-type-access"), listed).await;
    let default = "{default_type:{project_id volume_type_id}}";
    let body = json!({"default_type": {"volume_type": id}});
    told.call("PUT", "/v3/default-types/p", Some(body), default).await;
    told.get("/v3/default-types/p", default).await;
    told.get("/v3/default-types", "{default_types:[{project_id volume_type_id}]}").await;
    harness.stop().await;
}

#[actix_web::test]
async fn quotas_and_limits() {
    let harness = Harness::start().await;
    let told = Told { harness: &harness, version: "3.0" };
    let names = [
        "backup_gigabytes",
        "backups",
        "gigabytes",
        "gigabytes___DEFAULT__",
        "groups",
        "per_volume_gigabytes",
        "snapshots",
        "snapshots___DEFAULT__",
        "volumes",
        "volumes___DEFAULT__",
    ];
    let with_id = object(&[&names[..], &["id"]].concat());
    let usage: Vec<String> = names.iter().map(|name| format!("{name}:{{in_use limit reserved}}")).collect();
    let usage: Vec<&str> = usage.iter().map(String::as_str).chain(["id"]).collect();
    told.get("/v3/os-quota-sets/p", &format!("{{quota_set:{with_id}}}")).await;
    told.get("/v3/os-quota-sets/p/defaults", &format!("{{quota_set:{with_id}}}")).await;
    told.get("/v3/os-quota-sets/p?usage=true", &format!("{{quota_set:{}}}", object(&usage))).await;
    let body = json!({"quota_set": {"volumes": 5}});
    told.call("PUT", "/v3/os-quota-sets/p", Some(body), &format!("{{quota_set:{}}}", object(&names))).await;
    told.get("/v3/os-quota-class-sets/default", &format!("{{quota_class_set:{with_id}}}")).await;
    let body = json!({"quota_class_set": {"volumes": 5}});
    let updated = format!("{{quota_class_set:{}}}", object(&names));
    told.call("PUT", "/v3/os-quota-class-sets/default", Some(body), &updated).await;
    let absolute = object(&[
        "maxTotalBackupGigabytes",
        "maxTotalBackups",
        "maxTotalSnapshots",
        "maxTotalVolumeGigabytes",
        "maxTotalVolumes",
        "totalBackupGigabytesUsed",
        "totalBackupsUsed",
        "totalGigabytesUsed",
        "totalSnapshotsUsed",
        "totalVolumesUsed",
    ]);
    for version in ["3.0", "3.39", "3.71"] {
        let told = Told { harness: &harness, version };
        told.get("/v3/limits", &format!("{{limits:{{absolute:{absolute} rate:[]}}}}")).await;
    }
    harness.stop().await;
}

/// Of services by version, and of hosts, `operator` has the tables.
#[actix_web::test]
async fn what_operators_see() {
    let harness = Harness::start().await;
    let told = Told { harness: &harness, version: "3.71" };
    told.get("/v3/os-availability-zone", "{availabilityZoneInfo:[{zoneName zoneState:{available}}]}").await;
    told.get("/v3/resource_filters", "{resource_filters:[{filters:[] resource}]}").await;
    told.get("/v3/os-hosts", "{hosts:[{host_name last-update service service-state service-status zone}]}").await;
    let sums = "{host project snapshot_count total_snapshot_gb total_volume_gb volume_count}";
    told.get("/v3/os-hosts/sim@sim", &format!("{{host:[{{resource:{sums}}}]}}")).await;
    told.get("/v3/scheduler-stats/get_pools", "{pools:[{name}]}").await;
    let capabilities = harness.get("/v3/capabilities/sim@sim").volume("3.71").send().await.json();
    let all = [
        "description",
        "display_name",
        "driver_version",
        "namespace",
        "pool_name",
        "properties",
        "replication_targets",
        "storage_protocol",
        "vendor_name",
        "visibility",
        "volume_backend_name",
    ];
    let names: Vec<&str> = capabilities.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(object(&names), object(&all));
    for name in ["compression", "qos", "replication_enabled", "thin_provisioning"] {
        assert_eq!(shape(&capabilities["properties"][name]), "{description title type}", "{name}");
    }
    let pools = harness.get("/v3/scheduler-stats/get_pools?detail=true").volume("3.71").send().await.json();
    for name in [
        "QoS_support",
        "driver_version",
        "free_capacity_gb",
        "reserved_percentage",
        "storage_protocol",
        "total_capacity_gb",
        "volume_backend_name",
    ] {
        assert!(pools["pools"][0]["capabilities"].get(name).is_some(), "{name}: {pools}");
    }
    harness.stop().await;
}

#[actix_web::test]
async fn messages() {
    let harness = Harness::start().await;
    let disable = json!({"host": "sim@sim", "binary": "cinder-volume"});
    assert_eq!(harness.put("/v3/os-services/disable", &disable).token(ADMIN).send().await.status, 200);
    let body = json!({"volume": {"size": 1}});
    let made = harness.post("/v3/volumes", &body).token(ADMIN).send().await.json();
    harness.until(made["volume"]["id"].as_str().unwrap(), "error").await;
    let names = object(&[
        "created_at",
        "event_id",
        "guaranteed_until",
        "id",
        LINKS,
        "message_level",
        "request_id",
        "resource_type",
        "resource_uuid",
        "user_message",
    ]);
    for version in ["3.3", "3.5", "3.71"] {
        let told = Told { harness: &harness, version };
        let listed = told.get("/v3/messages", &format!("{{messages:[{names}]}}")).await;
        let path = format!("/v3/messages/{}", listed["messages"][0]["id"].as_str().unwrap());
        told.get(&path, &format!("{{message:{names}}}")).await;
    }
    harness.stop().await;
}
