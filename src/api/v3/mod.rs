//! Block Storage, a file for each noun. Handlers check in the order schema → visibility → policy → the volume itself.

pub mod attachments;
pub mod default_types;
pub mod extensions;
pub mod log_levels;
pub mod manage;
pub mod messages;
pub mod operator;
pub mod placement;
pub mod pools;
pub mod qos;
pub mod quotas;
pub mod services;
pub mod snapshot_metadata;
pub mod snapshots;
pub mod type_access;
pub mod type_encryption;
pub mod type_specs;
pub mod types;
pub mod versions;
pub mod volume_actions;
pub mod volume_connections;
pub mod volume_create;
pub mod volume_flags;
pub mod volume_images;
pub mod volume_metadata;
pub mod volume_moves;
pub mod volumes;

use serde_json::Value;

use super::answer::Answer;
use super::call::Call;
use super::fault::Problem;
use super::route::{QuotaRoute, Route, TypeRoute};
use crate::domain::volume::metadata::MetadataChange;

/// The actions of `POST /snapshots/{id}/action`.
pub const SNAPSHOT_ACTIONS: &[&str] =
    &["os-force_delete", "os-reset_status", "os-unmanage", "os-update_snapshot_status"];
/// The actions of `POST /volumes/{id}/action`.
pub const VOLUME_ACTIONS: &[&str] = &[
    "os-extend",
    "os-extend_volume_completion",
    "os-force_delete",
    "os-migrate_volume",
    "os-migrate_volume_completion",
    "os-reset_status",
    "os-retype",
    "os-set_bootable",
    "os-set_image_metadata",
    "os-show_image_metadata",
    "os-unset_image_metadata",
    "os-update_readonly_flag",
    "revert",
    "os-reserve",
    "os-unreserve",
    "os-begin_detaching",
    "os-roll_detaching",
    "os-attach",
    "os-detach",
    "os-initialize_connection",
    "os-terminate_connection",
    "os-force_detach",
    "os-reimage",
    "os-volume_upload_image",
    "os-unmanage",
];
/// The actions of `POST /attachments/{id}/action`.
pub const ATTACHMENT_ACTIONS: &[&str] = &["os-complete"];
/// The actions of `POST /types/{id}/action`.
pub const TYPE_ACTIONS: &[&str] = &[type_access::ADD, type_access::REMOVE];

/// The name of the action in a body; 400 unless there is exactly one member, and it is an action of this route.
pub fn action_name(route: &Route, body: &Value) -> Result<String, Problem> {
    let members = body.as_object().ok_or(Problem::MalformedBody)?;
    let mut names = members.keys();
    let (Some(name), None) = (names.next(), names.next()) else { return Err(Problem::MalformedBody) };
    let known = match route {
        Route::AttachmentAction(_) => ATTACHMENT_ACTIONS,
        Route::Type(_) => TYPE_ACTIONS,
        Route::SnapshotAction(_) => SNAPSHOT_ACTIONS,
        _ => VOLUME_ACTIONS,
    };
    if known.contains(&name.as_str()) { Ok(name.clone()) } else { Err(Problem::NoSuchAction(name.clone())) }
}

/// Hands the call to its noun.
pub async fn handle(call: &Call, route: &Route, action: Option<&str>) -> Result<Answer, Problem> {
    match route {
        Route::VolumeSummary => volumes::volume_summary(call).await,
        Route::VolumeList { detail } => volumes::volume_list(call, *detail).await,
        Route::VolumeCreate => volume_create::volume_create(call).await,
        Route::VolumeShow(id) => volumes::volume_show(call, id).await,
        Route::VolumeUpdate(id) => volumes::volume_update(call, id).await,
        Route::VolumeDelete(id) => volumes::volume_delete(call, id).await,
        Route::MetadataList(id) => volume_metadata::metadata_list(call, id).await,
        Route::MetadataMerge(id) => volume_metadata::metadata_merge(call, id).await,
        Route::MetadataReplace(id) => volume_metadata::metadata_replace(call, id).await,
        Route::MetadataShow(id, key) => volume_metadata::metadata_show(call, id, key).await,
        Route::MetadataSet(id, key) => volume_metadata::metadata_set(call, id, key).await,
        Route::MetadataDelete(id, key) => volume_metadata::metadata_delete(call, id, key).await,
        Route::EncryptionShow(id) => volume_flags::encryption_show(call, id).await,
        Route::EncryptionValue(id, key) => volume_flags::encryption_value(call, id, key).await,
        Route::VolumeAction(id) => volume_actions::volume_action(call, id, action.unwrap_or_default()).await,
        Route::SnapshotList { detail } => snapshots::snapshot_list(call, *detail).await,
        Route::SnapshotCreate => snapshots::snapshot_create(call).await,
        Route::SnapshotShow(id) => snapshots::snapshot_show(call, id).await,
        Route::SnapshotUpdate(id) => snapshots::snapshot_update(call, id).await,
        Route::SnapshotDelete(id) => snapshots::snapshot_delete(call, id).await,
        Route::SnapshotMetadataList(id) => snapshot_metadata::metadata_list(call, id).await,
        Route::SnapshotMetadataMerge(id) => snapshot_metadata::metadata_write(call, id, MetadataChange::Merge).await,
        Route::SnapshotMetadataReplace(id) => {
            snapshot_metadata::metadata_write(call, id, MetadataChange::Replace).await
        }
        Route::SnapshotMetadataShow(id, key) => snapshot_metadata::metadata_show(call, id, key).await,
        Route::SnapshotMetadataSet(id, key) => snapshot_metadata::metadata_set(call, id, key).await,
        Route::SnapshotMetadataDelete(id, key) => snapshot_metadata::metadata_delete(call, id, key).await,
        Route::SnapshotAction(id) => snapshots::snapshot_action(call, id, action.unwrap_or_default()).await,
        Route::AttachmentList { detail } => attachments::attachment_list(call, *detail).await,
        Route::AttachmentCreate => attachments::attachment_create(call).await,
        Route::AttachmentShow(id) => attachments::attachment_show(call, id).await,
        Route::AttachmentUpdate(id) => attachments::attachment_update(call, id).await,
        Route::AttachmentDelete(id) => attachments::attachment_delete(call, id).await,
        Route::AttachmentAction(id) => attachments::attachment_complete(call, id).await,
        Route::Operator(route) => operator::handle(call, route).await,
        Route::Manage(route) => manage::handle(call, route).await,
        Route::Qos(route) => qos::handle(call, route).await,
        Route::Type(route) => handle_type(call, route, action).await,
        Route::Quota(route) => handle_quota(call, route).await,
        Route::MessageList => messages::message_list(call).await,
        Route::MessageShow(id) => messages::message_show(call, id).await,
        Route::MessageDelete(id) => messages::message_delete(call, id).await,
        _ => Err(Problem::Unrouted),
    }
}

async fn handle_type(call: &Call, route: &TypeRoute, action: Option<&str>) -> Result<Answer, Problem> {
    match route {
        TypeRoute::List => types::type_list(call).await,
        TypeRoute::Create => types::type_create(call).await,
        TypeRoute::Show(id) => types::type_show(call, id).await,
        TypeRoute::Update(id) => types::type_update(call, id).await,
        TypeRoute::Delete(id) => types::type_delete(call, id).await,
        TypeRoute::Action(id) => type_access::type_action(call, id, action.unwrap_or_default()).await,
        TypeRoute::AccessList(id) => type_access::access_list(call, id).await,
        TypeRoute::SpecList(id) => type_specs::spec_list(call, id).await,
        TypeRoute::SpecCreate(id) => type_specs::spec_create(call, id).await,
        TypeRoute::SpecShow(id, key) => type_specs::spec_show(call, id, key).await,
        TypeRoute::SpecUpdate(id, key) => type_specs::spec_update(call, id, key).await,
        TypeRoute::SpecDelete(id, key) => type_specs::spec_delete(call, id, key).await,
        TypeRoute::EncryptionShow(id) => type_encryption::encryption_show(call, id).await,
        TypeRoute::EncryptionCreate(id) => type_encryption::encryption_create(call, id).await,
        TypeRoute::EncryptionField(id, field) => type_encryption::encryption_field(call, id, field).await,
        TypeRoute::EncryptionUpdate(id) => type_encryption::encryption_update(call, id).await,
        TypeRoute::EncryptionDelete(id) => type_encryption::encryption_delete(call, id).await,
        TypeRoute::DefaultList => default_types::default_list(call).await,
        TypeRoute::DefaultShow(project) => default_types::default_show(call, project).await,
        TypeRoute::DefaultSet(project) => default_types::default_set(call, project).await,
        TypeRoute::DefaultUnset(project) => default_types::default_unset(call, project).await,
    }
}

async fn handle_quota(call: &Call, route: &QuotaRoute) -> Result<Answer, Problem> {
    match route {
        QuotaRoute::SetShow(project) => quotas::set_show(call, project).await,
        QuotaRoute::SetDefaults(project) => quotas::set_defaults(call, project).await,
        QuotaRoute::SetUpdate(project) => quotas::set_update(call, project).await,
        QuotaRoute::SetDelete(project) => quotas::set_delete(call, project).await,
        QuotaRoute::ClassShow(class) => quotas::class_show(call, class).await,
        QuotaRoute::ClassUpdate(class) => quotas::class_update(call, class).await,
        QuotaRoute::Limits => quotas::limits_show(call).await,
    }
}
