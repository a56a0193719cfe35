//! Request schemas: one JSON file for each range of microversions, compiled once, with Cinder's words for what is wrong.
//!
//! The files in `requests/` are the schemas; nothing is checked twice in code. Called by the handlers before they look at
//! any object (errors-and-http §1).

pub mod formats;
pub mod wording;

use std::sync::LazyLock;

use jsonschema::{Draft, Validator};
use serde_json::Value;

use super::fault::Problem;
use super::microversion::Microversion;

/// A compiled schema with its text, which the wording needs.
pub struct Schema {
    raw: Value,
    validator: Validator,
}

impl Schema {
    fn compile(text: &str) -> Self {
        let raw: Value = serde_json::from_str(text).expect("a schema file is JSON");
        let mut options = jsonschema::options().with_draft(Draft::Draft4).should_validate_formats(true);
        for (name, check) in formats::FORMATS {
            options = options.with_format(*name, *check);
        }
        let validator = options.build(&raw).expect("a schema file is a schema");
        Self { raw, validator }
    }

    /// Checks; 400 with the words of Cinder for the first thing that is wrong.
    pub fn check(&self, body: &Value) -> Result<(), Problem> {
        match self.validator.iter_errors(body).next() {
            None => Ok(()),
            Some(error) => Err(Problem::BadRequest(wording::sentence(&error, &self.raw))),
        }
    }
}

/// The schemas of one request, each from a microversion on, ascending.
pub struct Versioned(LazyLock<Vec<(Microversion, Schema)>>);

impl Versioned {
    /// Checks `body` by the schema in force at `version`.
    pub fn check(&self, version: Microversion, body: &Value) -> Result<(), Problem> {
        match self.0.iter().rev().find(|(since, _)| *since <= version) {
            Some((_, schema)) => schema.check(body),
            // The route's own gate is the lowest schema's.
            None => Err(Problem::Hidden),
        }
    }
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident = [$(($major:literal, $minor:literal, $file:literal)),+ $(,)?];)+) => {
        $(
            $(#[$doc])*
            pub static $name: Versioned = Versioned(LazyLock::new(|| vec![$(
                (Microversion::new($major, $minor), Schema::compile(include_str!(concat!("requests/", $file, ".json")))),
            )+]));
        )+

        /// Compiles every schema now: a damaged file is found at start, not by a client.
        pub fn compile_all() {
            $( LazyLock::force(&$name.0); )+
        }
    };
}

requests! {
    /// `POST /volumes`.
    VOLUME_CREATE = [
        (3, 0, "volume_create_3.0"), (3, 13, "volume_create_3.13"),
        (3, 47, "volume_create_3.47"), (3, 53, "volume_create_3.53"),
    ];
    /// `PUT /volumes/{id}`.
    VOLUME_UPDATE = [(3, 0, "volume_update_3.0"), (3, 53, "volume_update_3.53")];
    /// `POST …/metadata` and `PUT …/metadata`.
    VOLUME_METADATA = [(3, 0, "volume_metadata_3.0")];
    /// `PUT …/metadata/{key}`.
    VOLUME_METADATA_ITEM = [(3, 0, "volume_metadata_item_3.0")];
    /// `os-set_image_metadata`.
    VOLUME_SET_IMAGE_METADATA = [(3, 0, "volume_set_image_metadata_3.0")];
    /// `os-unset_image_metadata`.
    VOLUME_UNSET_IMAGE_METADATA = [(3, 0, "volume_unset_image_metadata_3.0")];
    /// `os-set_bootable`.
    VOLUME_SET_BOOTABLE = [(3, 0, "volume_set_bootable_3.0")];
    /// `os-update_readonly_flag`.
    VOLUME_UPDATE_READONLY_FLAG = [(3, 0, "volume_update_readonly_flag_3.0")];
    /// `os-extend`.
    VOLUME_EXTEND = [(3, 0, "volume_extend_3.0")];
    /// `os-extend_volume_completion`.
    VOLUME_EXTEND_COMPLETION = [(3, 0, "volume_extend_completion_3.0")];
    /// `os-migrate_volume`.
    VOLUME_MIGRATE = [(3, 0, "volume_migrate_3.0"), (3, 16, "volume_migrate_3.16")];
    /// `os-migrate_volume_completion`.
    VOLUME_MIGRATE_COMPLETION = [(3, 0, "volume_migrate_completion_3.0")];
    /// `os-retype`.
    VOLUME_RETYPE = [(3, 0, "volume_retype_3.0")];
    /// `os-reset_status`.
    VOLUME_RESET_STATUS = [(3, 0, "volume_reset_status_3.0")];
    /// `PUT /os-services/enable`, `PUT /os-services/disable`.
    SERVICE_SWITCH = [(3, 0, "service_switch_3.0")];
    /// `PUT /os-services/disable-log-reason`.
    SERVICE_DISABLE_REASON = [(3, 0, "service_disable_reason_3.0")];
    /// `PUT /os-services/freeze`, `PUT /os-services/thaw`.
    SERVICE_FREEZE = [(3, 0, "service_freeze_3.0")];
    /// `PUT /os-services/failover_host`, `PUT /os-services/failover`.
    SERVICE_FAILOVER = [(3, 0, "service_failover_3.0")];
    /// `PUT /os-services/set-log`.
    SERVICE_SET_LOG = [(3, 32, "service_set_log_3.32")];
    /// `PUT /os-services/get-log`.
    SERVICE_GET_LOG = [(3, 32, "service_get_log_3.32")];
    /// `PUT /clusters/enable`, `PUT /clusters/disable`.
    CLUSTER_SWITCH = [(3, 7, "cluster_switch_3.7")];
    /// `POST /workers/cleanup`.
    WORKER_CLEANUP = [(3, 24, "worker_cleanup_3.24")];
    /// `revert`.
    VOLUME_REVERT = [(3, 40, "volume_revert_3.40")];
    /// `os-volume_upload_image`.
    VOLUME_UPLOAD_IMAGE = [(3, 0, "volume_upload_image_3.0"), (3, 1, "volume_upload_image_3.1")];
    /// `os-reimage`.
    VOLUME_REIMAGE = [(3, 68, "volume_reimage_3.68")];
    /// `POST /manageable_volumes`.
    VOLUME_MANAGE = [(3, 0, "volume_manage_3.0"), (3, 16, "volume_manage_3.16")];
    /// `POST /manageable_snapshots`.
    SNAPSHOT_MANAGE = [(3, 0, "snapshot_manage_3.0")];
    /// `POST /snapshots`.
    SNAPSHOT_CREATE = [(3, 0, "snapshot_create_3.0")];
    /// `PUT /snapshots/{id}`.
    SNAPSHOT_UPDATE = [(3, 0, "snapshot_update_3.0")];
    /// `POST` and `PUT` `/snapshots/{id}/metadata`.
    SNAPSHOT_METADATA = [(3, 0, "snapshot_metadata_3.0")];
    /// `PUT …/metadata/{key}` of a snapshot.
    SNAPSHOT_METADATA_ITEM = [(3, 0, "snapshot_metadata_item_3.0")];
    /// `os-reset_status` of a snapshot.
    SNAPSHOT_RESET_STATUS = [(3, 0, "snapshot_reset_status_3.0")];
    /// `os-update_snapshot_status`.
    SNAPSHOT_UPDATE_STATUS = [(3, 0, "snapshot_update_status_3.0")];
    /// `POST /types`.
    TYPE_CREATE = [(3, 0, "type_create_3.0")];
    /// `PUT /types/{id}`.
    TYPE_UPDATE = [(3, 0, "type_update_3.0")];
    /// `addProjectAccess`.
    TYPE_ADD_ACCESS = [(3, 0, "type_add_access_3.0")];
    /// `removeProjectAccess`.
    TYPE_REMOVE_ACCESS = [(3, 0, "type_remove_access_3.0")];
    /// `POST /types/{id}/extra_specs`.
    TYPE_SPECS_CREATE = [(3, 0, "type_specs_create_3.0")];
    /// `PUT /types/{id}/extra_specs/{key}`.
    TYPE_SPEC_UPDATE = [(3, 0, "type_spec_update_3.0")];
    /// `POST /types/{id}/encryption`.
    TYPE_ENCRYPTION_CREATE = [(3, 0, "type_encryption_create_3.0")];
    /// `PUT /types/{id}/encryption/{anything}`.
    TYPE_ENCRYPTION_UPDATE = [(3, 0, "type_encryption_update_3.0")];
    /// `POST /qos-specs`.
    QOS_CREATE = [(3, 0, "qos_create_3.0")];
    /// `PUT /qos-specs/{id}`.
    QOS_UPDATE = [(3, 0, "qos_update_3.0")];
    /// `PUT /qos-specs/{id}/delete_keys`.
    QOS_DELETE_KEYS = [(3, 0, "qos_delete_keys_3.0")];
    /// `PUT /default-types/{project}`.
    DEFAULT_TYPE_SET = [(3, 62, "default_type_set_3.62")];
    /// `PUT /os-quota-sets/{project}`.
    QUOTA_SET_UPDATE = [(3, 0, "quota_set_update_3.0")];
    /// `PUT /os-quota-class-sets/{class}`.
    QUOTA_CLASS_SET_UPDATE = [(3, 0, "quota_class_set_update_3.0")];
    /// `os-attach`.
    VOLUME_ATTACH = [(3, 0, "volume_attach_3.0")];
    /// `os-detach`.
    VOLUME_DETACH = [(3, 0, "volume_detach_3.0")];
    /// `os-force_detach`.
    VOLUME_FORCE_DETACH = [(3, 0, "volume_force_detach_3.0")];
    /// `os-initialize_connection`.
    VOLUME_INITIALIZE_CONNECTION = [(3, 0, "volume_initialize_connection_3.0")];
    /// `os-terminate_connection`.
    VOLUME_TERMINATE_CONNECTION = [(3, 0, "volume_terminate_connection_3.0")];
    /// `POST /attachments`.
    ATTACHMENT_CREATE = [(3, 27, "attachment_create_3.27"), (3, 54, "attachment_create_3.54")];
    /// `PUT /attachments/{id}`.
    ATTACHMENT_UPDATE = [(3, 27, "attachment_update_3.27")];
    /// `POST /os-server-external-events`.
    SERVER_EXTERNAL_EVENTS = [
        (2, 1, "server_external_events_2.1"), (2, 51, "server_external_events_2.51"),
        (2, 76, "server_external_events_2.76"), (2, 82, "server_external_events_2.82"),
        (2, 93, "server_external_events_2.93"),
    ];
    /// `POST /servers`.
    SERVER_CREATE = [
        (2, 1, "server_create_2.1"), (2, 42, "server_create_2.42"), (2, 67, "server_create_2.67"),
    ];
    /// `POST …/os-volume_attachments`.
    SERVER_ATTACH = [
        (2, 1, "server_attach_2.1"), (2, 49, "server_attach_2.49"), (2, 79, "server_attach_2.79"),
    ];
    /// `PUT …/os-volume_attachments/{volume_id}`.
    SERVER_ATTACHMENT_UPDATE = [(2, 1, "server_attachment_update_2.1"), (2, 85, "server_attachment_update_2.85")];
    /// `POST /admin/servers`.
    ADMIN_SERVER_CREATE = [(0, 0, "admin_server_create")];
    /// `PUT /admin/servers/{id}`.
    ADMIN_SERVER_UPDATE = [(0, 0, "admin_server_update")];
    /// `PUT /admin/hosts/{host}/fence`.
    ADMIN_HOST_FENCE = [(0, 0, "admin_host_fence")];
    /// `POST /admin/faults`.
    ADMIN_FAULT = [(0, 0, "admin_fault")];
}
