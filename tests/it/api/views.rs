//! Views: the exact member sets by microversion.

use std::collections::{BTreeMap, BTreeSet};

use hearth::api::links::Links;
use hearth::api::microversion::Microversion;
use hearth::api::views::volume::{self, Extensions, Shown, Viewer};
use hearth::api::views::{attachment, mapping, message, server, volume_type};
use hearth::domain::attachment::{AttachMode, Attachment, BlockDeviceMapping};
use hearth::domain::ids::{AttachmentId, ProjectId, RequestId, ServerId, UserId, VolumeId, VolumeTypeId};
use hearth::domain::metadata::Metadata;
use hearth::domain::server::{HypervisorKind, Server};
use hearth::domain::status::{AttachStatus, VmState, VolumeStatus};
use hearth::domain::time::Timestamp;
use hearth::domain::volume::{Volume, VolumeState};
use hearth::domain::volume_type::VolumeType;
use hearth::store::Message;
use serde_json::{Value, json};
use uuid::Uuid;

const AT: Timestamp = Timestamp(1_700_000_000_000_007);
const AT_TEXT: &str = "2023-11-14T22:13:20.000007";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn links() -> Links {
    Links { base: "http://h".to_owned(), service: "/v3", project: None }
}

fn row(number: u128, attach_status: AttachStatus) -> Attachment {
    Attachment {
        id: AttachmentId(id(number)),
        volume_id: VolumeId(id(1)),
        instance_uuid: Some(ServerId::from("s")),
        attached_host: Some("h1".into()),
        mountpoint: Some("na".into()),
        attach_time: Some(AT),
        attach_status,
        attach_mode: Some(AttachMode::Undecided),
        connector: None,
        connection_info: Some(json!({}).into()),
        export: None,
        bdm: Some(BlockDeviceMapping {
            uuid: id(99),
            server_id: ServerId::from("s"),
            device: Some("/dev/vdb".into()),
            tag: None,
            delete_on_termination: false,
            detaching: false,
            guest_device: None,
        }),
        created_at: AT,
    }
}

fn state() -> VolumeState {
    VolumeState {
        volume: Volume {
            id: VolumeId(id(1)),
            generation: 3,
            epoch: 1,
            project_id: ProjectId::from("p"),
            user_id: UserId::from("u"),
            name: Some("n".into()),
            description: None,
            size_gib: 5,
            status: VolumeStatus::ErrorManaging,
            previous_status: None,
            attach_status: AttachStatus::Attached,
            migration_status: None,
            bootable: false,
            multiattach: false,
            volume_type_id: Some(VolumeTypeId(id(7))),
            availability_zone: "nova".into(),
            host: Some("h@b#p".into()),
            metadata: Metadata::from([("readonly", "mine"), ("k", "v")]),
            image_metadata: Metadata::default(),
            admin_metadata: Metadata::from([("readonly", "True"), ("secret", "x")]),
            consumes_quota: true,
            origin: None,
            provider_id: None,
            loans: Vec::new(),
            orphan_exports: Vec::new(),
            outstanding: Vec::new(),
            claims: None,
            created_at: AT,
            updated_at: None,
            terminated_at: None,
            deleted: false,
            deleted_at: None,
        },
        attachments: vec![
            row(11, AttachStatus::Attached),
            row(12, AttachStatus::Reserved),
            row(13, AttachStatus::ErrorDetaching),
        ],
        operations: Vec::new(),
        snapshots: Vec::new(),
    }
}

fn names(body: &Value) -> BTreeSet<String> {
    body.as_object().unwrap().keys().cloned().collect()
}

/// A viewer by the default rules.
fn viewer(minor: u32, is_admin: bool, links: &Links) -> Viewer<'_> {
    let extensions = Extensions { host: is_admin, tenant: true, migration: is_admin, image_metadata: true };
    Viewer { version: Microversion::v3(minor), is_admin, sees_hosts: is_admin, extensions, links }
}

fn shown(minor: u32, is_admin: bool, shown: Shown) -> Value {
    let links = links();
    let viewer = viewer(minor, is_admin, &links);
    json!(volume::detail(&state(), Some("fast"), shown, &viewer))
}

#[test]
fn volume_members_by_microversion() {
    let base = [
        "id",
        "size",
        "availability_zone",
        "created_at",
        "updated_at",
        "name",
        "description",
        "status",
        "volume_type",
        "snapshot_id",
        "source_volid",
        "metadata",
        "links",
        "user_id",
        "bootable",
        "encrypted",
        "replication_status",
        "consistencygroup_id",
        "multiattach",
        "attachments",
    ];
    // since, member, admins only
    let later = [
        (0, "migration_status", true),
        (13, "group_id", false),
        (21, "provider_id", true),
        (48, "service_uuid", false),
        (48, "shared_targets", false),
        (61, "cluster_name", true),
        (63, "volume_type_id", false),
        (65, "consumes_quota", false),
    ];
    let extensions = [
        ("os-vol-tenant-attr:tenant_id", false),
        ("os-vol-host-attr:host", true),
        ("os-vol-mig-status-attr:migstat", true),
        ("os-vol-mig-status-attr:name_id", true),
    ];
    for minor in 0..=71 {
        for is_admin in [false, true] {
            let mut expected: BTreeSet<String> = base.iter().map(|name| (*name).to_owned()).collect();
            let open = |for_admins: bool| is_admin || !for_admins;
            for (since, name, for_admins) in later {
                if minor >= since && open(for_admins) {
                    expected.insert(name.to_owned());
                }
            }
            for kind in [Shown::Created, Shown::Updated] {
                assert_eq!(names(&shown(minor, is_admin, kind)), expected, "3.{minor} {kind:?} admin {is_admin}");
            }
            for (name, for_admins) in extensions {
                if open(for_admins) {
                    expected.insert(name.to_owned());
                }
            }
            assert_eq!(names(&shown(minor, is_admin, Shown::Detail)), expected, "3.{minor} admin {is_admin}");
        }
    }
}

#[test]
fn image_metadata_are_a_member_where_there_are_some() {
    let links = links();
    let mut with_image = state();
    with_image.volume.image_metadata = Metadata::from([("os_type", "linux")]);
    for minor in [0, 71] {
        let viewer = viewer(minor, false, &links);
        let shown = |kind| json!(volume::detail(&with_image, None, kind, &viewer));
        assert_eq!(shown(Shown::Detail)["volume_image_metadata"], json!({"os_type": "linux"}), "3.{minor}");
        for kind in [Shown::Created, Shown::Updated] {
            assert_eq!(shown(kind).get("volume_image_metadata"), None, "3.{minor} {kind:?}");
        }
    }
}

#[test]
fn volume_values() {
    let body = shown(71, false, Shown::Detail);
    assert_eq!(body["status"], "error", "an internal status has a public name");
    assert_eq!(body["bootable"], "false", "a string");
    assert_eq!((&body["created_at"], &body["updated_at"]), (&json!(AT_TEXT), &Value::Null));
    assert_eq!(body["metadata"], json!({"k": "v", "readonly": "True"}), "the admin key wins, others are hidden");
    assert_eq!(shown(71, false, Shown::Created)["metadata"], json!({"k": "v", "readonly": "mine"}));
    assert_eq!((&body["volume_type"], &body["volume_type_id"]), (&json!("fast"), &json!(id(7).to_string())));
    let rows = body["attachments"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "only attached rows");
    let expected = json!({
        "id": id(1).to_string(), "attachment_id": id(11).to_string(), "volume_id": id(1).to_string(),
        "server_id": "s", "host_name": null, "device": "/dev/vdb", "attached_at": AT_TEXT,
    });
    assert_eq!(rows[0], expected);
    assert_eq!(shown(71, true, Shown::Detail)["attachments"][0]["host_name"], "h1");
}

#[test]
fn a_type_that_is_gone_shows_its_id_until_3_63() {
    let links = links();
    for (minor, expected) in [(62, json!(id(7).to_string())), (63, Value::Null)] {
        let viewer = viewer(minor, false, &links);
        let shown = json!(volume::detail(&state(), None, Shown::Detail, &viewer));
        assert_eq!(shown["volume_type"], expected, "3.{minor}");
    }
}

#[test]
fn attachment_views() {
    let mut fresh = row(11, AttachStatus::Reserved);
    fresh.attach_time = None;
    let summary = json!({
        "id": id(11).to_string(), "status": "reserved", "instance": "s", "volume_id": id(1).to_string()
    });
    assert_eq!(json!(attachment::summary(&fresh)), summary);
    let detail = json!(attachment::detail(&fresh));
    assert_eq!(detail["attached_at"], "", "absent times are empty strings");
    assert_eq!(detail["detached_at"], "");
    assert_eq!(detail["attach_mode"], "null", "the word, not null");
    assert_eq!(detail["connection_info"], json!({}));
    let members =
        ["id", "status", "instance", "volume_id", "attached_at", "detached_at", "attach_mode", "connection_info"];
    assert_eq!(names(&detail), members.map(str::to_owned).into());
}

#[test]
fn compute_attachments_by_microversion() {
    let mut no_device = row(11, AttachStatus::Attached);
    no_device.bdm.as_mut().unwrap().device = None;
    let cases: &[(u32, &[&str])] = &[
        (1, &["id", "volumeId", "serverId", "device"]),
        (69, &["id", "volumeId", "serverId", "device"]),
        (70, &["id", "volumeId", "serverId", "device", "tag"]),
        (78, &["id", "volumeId", "serverId", "device", "tag"]),
        (79, &["id", "volumeId", "serverId", "device", "tag", "delete_on_termination"]),
        (88, &["id", "volumeId", "serverId", "device", "tag", "delete_on_termination"]),
        (89, &["volumeId", "serverId", "device", "tag", "delete_on_termination", "attachment_id", "bdm_uuid"]),
        (101, &["volumeId", "serverId", "device", "tag", "delete_on_termination", "attachment_id", "bdm_uuid"]),
    ];
    for (minor, members) in cases {
        let version = Microversion::v2(*minor);
        let mut expected: BTreeSet<String> = members.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(names(&mapping::shown(&row(11, AttachStatus::Attached), version).unwrap()), expected, "2.{minor}");
        expected.remove("device");
        assert_eq!(names(&mapping::shown(&no_device, version).unwrap()), expected, "2.{minor} without a device");
        let created = mapping::created(&no_device, version).unwrap();
        assert_eq!(created["device"], Value::Null, "the POST always says the device");
        assert!(created["id"].is_string() && created.get("bdm_uuid").is_none());
    }
    let mut foreign = row(11, AttachStatus::Attached);
    foreign.bdm = None;
    assert_eq!(mapping::shown(&foreign, Microversion::v2(1)), None, "not Compute's row");
}

fn a_server(vm_state: VmState) -> Server {
    Server {
        id: ServerId::from("s"),
        name: "n".to_owned(),
        project_id: ProjectId::from("p"),
        user_id: UserId::from("u"),
        host: Some("h1".into()),
        hypervisor: HypervisorKind::Sim,
        qmp_socket: None,
        qmp_check_uuid: true,
        vm_state,
        task_state: None,
        locked: false,
        availability_zone: "nova".into(),
        root_device_name: "/dev/vda".to_owned(),
        launched_at: Some(AT),
        created_at: AT,
        updated_at: None,
        epoch: 1,
        deleted: false,
    }
}

#[test]
fn server_members_by_microversion() {
    let links = Links { base: "http://h".to_owned(), service: "/compute/v2.1", project: None };
    let of = |minor, is_admin, is_show| {
        let rows = [row(11, AttachStatus::Attached)];
        server::detail(&a_server(VmState::Active), &rows, Microversion::v2(minor), is_admin, is_show, &links)
    };
    // since, member, admins only, in a show only
    let cases = [
        (1, "OS-EXT-SRV-ATTR:host", true, false),
        (3, "OS-EXT-SRV-ATTR:root_device_name", true, false),
        (9, "locked", false, false),
        (16, "host_status", true, false),
        (19, "description", false, false),
        (26, "tags", false, false),
        (63, "trusted_image_certificates", false, false),
        (71, "server_groups", false, true),
        (73, "locked_reason", false, false),
        (90, "OS-EXT-SRV-ATTR:hostname", false, false),
        (96, "pinned_availability_zone", false, false),
        (100, "scheduler_hints", false, false),
    ];
    for (since, name, for_admins, in_show) in cases {
        for minor in [since - 1, since].into_iter().filter(|minor| *minor > 0) {
            for (is_admin, is_show) in [(false, false), (false, true), (true, true), (true, false)] {
                let mut expected = minor >= since && (is_admin || !for_admins) && (is_show || !in_show);
                expected |= name.ends_with(":hostname") && is_admin && minor >= 3;
                let found = of(minor, is_admin, is_show).get(name).is_some();
                assert_eq!(found, expected, "{name} at 2.{minor}, admin {is_admin}, show {is_show}");
            }
        }
    }
    // What a member sees at 2.1; security groups are absent where there are none.
    let base = [
        "id",
        "name",
        "status",
        "tenant_id",
        "user_id",
        "metadata",
        "created",
        "updated",
        "hostId",
        "image",
        "flavor",
        "links",
        "addresses",
        "accessIPv4",
        "accessIPv6",
        "key_name",
        "config_drive",
        "progress",
        "OS-DCF:diskConfig",
        "OS-EXT-AZ:availability_zone",
        "OS-EXT-STS:vm_state",
        "OS-EXT-STS:task_state",
        "OS-EXT-STS:power_state",
        "OS-SRV-USG:launched_at",
        "OS-SRV-USG:terminated_at",
        "os-extended-volumes:volumes_attached",
    ];
    for minor in 1..=101 {
        for (is_admin, is_show) in [(false, false), (false, true), (true, true), (true, false)] {
            let mut expected: BTreeSet<String> = base.iter().map(|name| (*name).to_owned()).collect();
            let later = cases.iter().filter(|(since, _, for_admins, in_show)| {
                minor >= *since && (is_admin || !for_admins) && (is_show || !in_show)
            });
            expected.extend(later.map(|(_, name, _, _)| (*name).to_owned()));
            if is_admin {
                expected.extend(["hypervisor_hostname", "instance_name"].map(|name| format!("OS-EXT-SRV-ATTR:{name}")));
            }
            if is_admin && minor >= 3 {
                let further = ["hostname", "user_data", "reservation_id", "launch_index", "kernel_id", "ramdisk_id"];
                expected.extend(further.map(|name| format!("OS-EXT-SRV-ATTR:{name}")));
            }
            let found = names(&of(minor, is_admin, is_show));
            assert_eq!(found, expected, "2.{minor}, admin {is_admin}, show {is_show}");
        }
    }
    let attached = "os-extended-volumes:volumes_attached";
    assert_eq!(of(2, false, true)[attached], json!([{"id": id(1).to_string()}]));
    assert_eq!(of(3, false, true)[attached], json!([{"id": id(1).to_string(), "delete_on_termination": false}]));
    assert!(of(46, false, true)["flavor"]["id"].is_string());
    assert!(of(47, false, true)["flavor"]["vcpus"].is_number());
    let body = of(1, false, true);
    assert_eq!((&body["status"], &body["created"]), (&json!("ACTIVE"), &json!("2023-11-14T22:13:20Z")));
    assert_eq!(body["OS-SRV-USG:launched_at"], AT_TEXT);
    assert_eq!(body["hostId"].as_str().unwrap().len(), 56);
}

#[test]
fn server_status_words() {
    let cases = [
        (VmState::Active, "ACTIVE"),
        (VmState::Paused, "PAUSED"),
        (VmState::Stopped, "SHUTOFF"),
        (VmState::Resized, "VERIFY_RESIZE"),
        (VmState::SoftDeleted, "SOFT_DELETED"),
        (VmState::Shelved, "SHELVED"),
        (VmState::ShelvedOffloaded, "SHELVED_OFFLOADED"),
        (VmState::Building, "BUILD"),
        (VmState::Suspended, "SUSPENDED"),
        (VmState::Rescued, "RESCUE"),
        (VmState::Error, "ERROR"),
    ];
    for (state, word) in cases {
        assert_eq!(server::status(state), word);
    }
}

#[test]
fn type_views_hide_what_the_caller_may_not_see() {
    use volume_type::Sight;
    let row = VolumeType {
        id: VolumeTypeId(id(7)),
        name: "fast".to_owned(),
        description: None,
        is_public: true,
        revision: 1,
        projects: [].into(),
        extra_specs: BTreeMap::from([
            ("multiattach".to_owned(), Some("<is> True".to_owned())),
            ("volume_backend_name".to_owned(), Some("b".to_owned())),
        ]),
        encryption: None,
        qos_specs_id: None,
        created_at: AT,
        updated_at: None,
    };
    let all = Sight { specs: true, sensitive: true, qos: true, access: true };
    let member = Sight { specs: true, sensitive: false, qos: false, access: true };
    let nobody = Sight { specs: false, sensitive: false, qos: false, access: false };
    let of = |sight, is_default| volume_type::shown(&row, sight, is_default);
    assert_eq!(of(all, false)["extra_specs"], json!({"multiattach": "<is> True", "volume_backend_name": "b"}));
    assert_eq!(of(member, false)["extra_specs"], json!({"multiattach": "<is> True"}));
    assert_eq!(of(nobody, false)["extra_specs"], json!({}));
    assert!(of(all, false).get("qos_specs_id").is_some() && of(member, false).get("qos_specs_id").is_none());
    let access = "os-volume-type-access:is_public";
    let members = ["id", "name", "description", "is_public", "extra_specs", "qos_specs_id", access];
    assert_eq!(names(&of(all, false)), members.map(str::to_owned).into());
    assert_eq!(names(&of(nobody, true)), members[..5].iter().map(|name| (*name).to_owned()).collect());
    assert!(of(member, false).get(access).is_some() && of(member, true).get(access).is_none());
    assert!(of(nobody, false).get(access).is_none());
}

#[test]
fn message_view() {
    let mut message = Message {
        id: id(5),
        project_id: ProjectId::from("p"),
        request_id: RequestId::from("req-x"),
        resource_type: "VOLUME".to_owned(),
        resource_uuid: Some(id(1).to_string()),
        action_id: "007".to_owned(),
        detail_id: "010".to_owned(),
        cause: None,
        created_at: AT,
        expires_at: AT,
    };
    let body = message::shown(&message, &links());
    assert_eq!(body["event_id"], "VOLUME_VOLUME_007_010");
    assert_eq!(body["user_message"], "extend volume:Volume Driver failed to extend volume.");
    assert_eq!((&body["message_level"], &body["guaranteed_until"]), (&json!("ERROR"), &json!(AT_TEXT)));
    let members = [
        "id",
        "event_id",
        "user_message",
        "message_level",
        "created_at",
        "guaranteed_until",
        "request_id",
        "resource_type",
        "resource_uuid",
        "links",
    ];
    assert_eq!(names(&body), members.map(str::to_owned).into());
    message.resource_uuid = None;
    message.action_id = "999".to_owned();
    let body = message::shown(&message, &links());
    assert!(body.get("resource_uuid").is_none());
    assert!(body["user_message"].as_str().unwrap().starts_with("unknown:"));
}
