//! The columns of each kind of object, by the names that rules know them by.

use hearth::domain::ids::{SnapshotId, VolumeTypeId};
use hearth::domain::metadata::Metadata;
use hearth::domain::server::Server;
use hearth::domain::snapshot::Snapshot;
use hearth::domain::status::{AttachStatus, SnapshotStatus, VolumeStatus};
use hearth::domain::time::Timestamp;
use hearth::domain::volume::state::Origin;
use hearth::policy::target::Attached;
use hearth::policy::{Policy, Target};
use hearth::rule;

use super::caller;
use crate::store::build;

/// Each column compared with what it has to be, with something else, and one that there is not.
#[track_caller]
fn has_columns(target: &dyn Target, columns: &[(&str, &str)]) {
    let context = caller("asking", "own", &[]);
    let is = |name: &str, value: &str| {
        let policy = Policy::with("volume:get", &format!("'{value}':%({name})s"));
        policy.allows(&context, rule!("volume:get"), target)
    };
    for (name, value) in columns {
        assert!(is(name, value), "{name} is not {value}");
        assert!(!is(name, "another"), "{name}");
    }
    for absent in ["no_such_column", "generation", "connection_info"] {
        assert!(!is(absent, "None") && !is(absent, ""), "{absent}");
    }
}

#[test]
fn volumes_and_their_attachments() {
    let mut state = build::volume(1, "p", 7);
    let (id, type_id) = (state.id().to_string(), VolumeTypeId(build::uuid(5)));
    has_columns(
        &state.volume,
        &[
            ("project_id", "p"),
            ("user_id", "user"),
            ("id", &id),
            ("status", "available"),
            ("attach_status", "detached"),
            ("migration_status", "None"),
            ("display_name", "volume-1"),
            ("display_description", "None"),
            ("size", "7"),
            ("bootable", "False"),
            ("multiattach", "False"),
            ("volume_type_id", "None"),
            ("availability_zone", "nova"),
            ("host", "host@local#pool"),
            ("snapshot_id", "None"),
            ("source_volid", "None"),
        ],
    );
    let source_volume_id = build::volume_id(9);
    state.volume.origin = Some(Box::new(Origin { source_volume_id, snapshot_id: None }));
    state.volume.status = VolumeStatus::InUse;
    state.volume.attach_status = AttachStatus::Attached;
    state.volume.migration_status = Some("starting".into());
    state.volume.description = Some("words".into());
    (state.volume.bootable, state.volume.multiattach) = (true, true);
    state.volume.volume_type_id = Some(type_id);
    state.volume.host = None;
    has_columns(
        &state.volume,
        &[
            ("status", "in-use"),
            ("attach_status", "attached"),
            ("migration_status", "starting"),
            ("display_description", "words"),
            ("bootable", "True"),
            ("multiattach", "True"),
            ("volume_type_id", &type_id.to_string()),
            ("host", "None"),
            ("snapshot_id", "None"),
            ("source_volid", &source_volume_id.to_string()),
        ],
    );
    let snapshot_id = SnapshotId(build::uuid(11));
    state.volume.origin = Some(Box::new(Origin { source_volume_id, snapshot_id: Some(snapshot_id) }));
    has_columns(&state.volume, &[("snapshot_id", &snapshot_id.to_string()), ("source_volid", "None")]);

    let row = build::attachment(3, &state, Some("s1"), Some("/dev/vdb"));
    let (row_id, status) = (row.id.to_string(), row.attach_status.as_str());
    let host = row.attached_host.as_deref().unwrap_or("None").to_owned();
    let mountpoint = row.mountpoint.as_deref().unwrap_or("None").to_owned();
    has_columns(
        &Attached { volume: &state.volume, row: &row },
        &[
            ("project_id", "p"),
            ("user_id", "user"),
            ("id", &row_id),
            ("volume_id", &id),
            ("instance_uuid", "s1"),
            ("attached_host", &host),
            ("mountpoint", &mountpoint),
            ("attach_status", status),
        ],
    );
}

#[test]
fn snapshots_servers_and_messages() {
    let snapshot = Snapshot {
        id: SnapshotId(build::uuid(4)),
        volume_id: build::volume_id(1),
        project_id: "p".into(),
        user_id: "mia".into(),
        name: Some("before".into()),
        description: None,
        status: SnapshotStatus::Available,
        progress: 100,
        size_gib: 3,
        metadata: Metadata::default(),
        consumes_quota: true,
        created_at: Timestamp(1),
        updated_at: None,
    };
    has_columns(
        &snapshot,
        &[
            ("project_id", "p"),
            ("user_id", "mia"),
            ("id", &snapshot.id.to_string()),
            ("volume_id", &snapshot.volume_id.to_string()),
            ("status", "available"),
            ("display_name", "before"),
            ("display_description", "None"),
            ("volume_size", "3"),
        ],
    );
    // a text in a rule has no blanks
    let server = Server { name: "web".to_owned(), ..build::server("s1", "p") };
    has_columns(
        &server,
        &[
            ("project_id", "p"),
            ("user_id", server.user_id.as_str()),
            ("id", "s1"),
            ("uuid", "s1"),
            ("host", server.host.as_deref().unwrap_or("None")),
            ("display_name", &server.name),
            ("availability_zone", &server.availability_zone),
        ],
    );
    let message = build::message(2, "p", build::volume_id(1));
    has_columns(
        &message,
        &[
            ("project_id", "p"),
            // a message knows none
            ("user_id", "asking"),
            ("id", &message.id.to_string()),
            ("request_id", message.request_id.as_str()),
            ("resource_type", &message.resource_type),
            ("resource_uuid", &build::volume_id(1).to_string()),
            ("action_id", &message.action_id),
            ("detail_id", &message.detail_id),
        ],
    );
}
