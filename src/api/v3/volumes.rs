//! `/volumes`: list, show, update, delete (volumes §2–§6). Create has its own file.

use serde::Serialize;
use serde_json::{Value, json};

use crate::actors::RequestError;
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::{Kind, Problem};
use crate::api::filters;
use crate::api::microversion::Microversion;
use crate::api::paging::{self, Columns, ListBody};
use crate::api::query::word;
use crate::api::schema;
use crate::api::views::volume::{self as view, Extensions, Shown, Viewer};
use crate::domain::metadata::Metadata;
use crate::domain::volume::command::UpdateVolume;
use crate::domain::volume::{Command, Refusal, VolumeState};
use crate::rule;
use crate::store::{Extent, Filter, VolumeQuery, VolumeSummaryQuery};

/// Names of volumes' columns.
pub const COLUMNS: Columns = Columns {
    aliases: &[("name", "display_name")],
    sortable: &[
        "id",
        "display_name",
        "display_description",
        "status",
        "size",
        "created_at",
        "updated_at",
        "host",
        "availability_zone",
        "bootable",
        "multiattach",
        "volume_type_id",
        "project_id",
        "user_id",
        "attach_status",
        "migration_status",
        "consumes_quota",
        "provider_id",
        "terminated_at",
        "previous_status",
        // null in every volume
        "cluster_name",
        "consistencygroup_id",
        "encryption_key_id",
        "group_id",
        "launched_at",
        "replication_driver_data",
        "replication_extended_status",
        "replication_status",
        "scheduled_at",
        "service_uuid",
        "snapshot_id",
        "source_volid",
    ],
};

/// What the caller sees of volumes.
pub fn viewer(call: &Call) -> Viewer<'_> {
    let is_admin = call.context.is_admin;
    Viewer {
        version: call.version,
        is_admin,
        sees_hosts: is_admin || call.context.has_role("service"),
        extensions: Extensions {
            host: call.allows_own(rule!("volume_extension:volume_host_attribute")),
            tenant: call.allows_own(rule!("volume_extension:volume_tenant_attribute")),
            migration: call.allows_own(rule!("volume_extension:volume_mig_status_attribute")),
            image_metadata: call.allows_own(rule!("volume_extension:volume_image_metadata:show")),
        },
        links: &call.links,
    }
}

#[derive(Serialize)]
struct One<'a> {
    volume: view::Detail<'a>,
}

/// The answer that shows one volume.
pub async fn volume_answer(call: &Call, status: u16, state: &VolumeState, shown: Shown) -> Result<Answer, Problem> {
    volume_answer_at(call, call.version, status, state, shown).await
}

/// The same in the words of another version.
pub async fn volume_answer_at(
    call: &Call,
    version: Microversion,
    status: u16,
    state: &VolumeState,
    shown: Shown,
) -> Result<Answer, Problem> {
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let name = state.volume.volume_type_id.and_then(|id| types.by_id(id)).map(|row| row.name.as_str());
    let viewer = Viewer { version, ..viewer(call) };
    Ok(Answer::json(status, One { volume: view::detail(state, name, shown, &viewer) }))
}

/// `all_tenants` of volume lists: a boolean word, in force for admins only.
pub fn all_tenants(call: &Call) -> Result<bool, Problem> {
    match call.query.get("all_tenants") {
        Some(text) if call.context.is_admin => word(text)
            .ok_or_else(|| Problem::InvalidInput(format!("Value '{text}' for 'all_tenants' is not a boolean."))),
        _ => Ok(false),
    }
}

/// `GET /volumes[/detail]`
pub async fn volume_list(call: &Call, detail: bool) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume:get_all"))?;
    let page = paging::paging(&call.query, &COLUMNS)?;
    let everybody = all_tenants(call)?;
    let with_count = call.since(45) && call.query.boolean("with_count")?.unwrap_or(false);
    let mut filters = filters::filters(&call.query, &filters::VOLUMES, call.version, call.context.is_admin)?;
    if !call.context.is_admin {
        filters.push(Filter::NoMigrationTarget);
    }
    let limit = page.limit;
    let query = VolumeQuery {
        project_id: (!everybody).then(|| call.context.project_id.clone()),
        filters,
        paging: page,
        with_count,
        extent: if detail { Extent::Detail } else { Extent::Volume },
    };
    let store = call.service().store();
    let page = store.volume_list(query).await.map_err(|error| Problem::List(Kind::Volume, error))?;
    let count = page.count.filter(|_| with_count);
    let last = page.rows.last().map(|state| state.id().to_string());
    let path = if detail { "volumes/detail" } else { "volumes" };
    let next = paging::next_href(&call.query, &call.links, path, limit, page.rows.len(), last);
    let names = ("volumes", "volumes_links");
    Ok(if detail {
        let types = call.api.types.get(store.as_ref()).await?;
        let viewer = viewer(call);
        let name_of = |state: &VolumeState| {
            state.volume.volume_type_id.and_then(|id| types.by_id(id)).map(|row| row.name.as_str())
        };
        let rows = page.rows.iter().map(|state| view::detail(state, name_of(state), Shown::Detail, &viewer)).collect();
        Answer::page(page.rows.len(), ListBody { names, rows, next, count })
    } else {
        let rows = page.rows.iter().map(|state| view::summary(&state.volume, &call.links)).collect();
        Answer::ok(ListBody { names, rows, next, count })
    })
}

/// `GET /volumes/summary` (3.12; with metadata from 3.36). There are no filters: other parameters mean nothing.
pub async fn volume_summary(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume:get_all"))?;
    let everybody = all_tenants(call)?;
    let query = VolumeSummaryQuery {
        project_id: (!everybody).then(|| call.context.project_id.clone()),
        with_metadata: call.since(36),
    };
    let with_metadata = query.with_metadata;
    let summed = call.service().store().volume_summary(query).await;
    let summary = summed.map_err(|error| Problem::List(Kind::Volume, error))?;
    let mut body = json!({"total_count": summary.count, "total_size": summary.size_gib});
    if with_metadata {
        body["metadata"] = json!(summary.metadata);
    }
    Ok(Answer::ok(json!({"volume-summary": body})))
}

/// `GET /volumes/{id}`. A denial looks like 404.
pub async fn volume_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let state = call.volume_visible(id).await?;
    call.enforce(rule!("volume:get"), &state.volume).map_err(|_| Problem::NotFound(Kind::Volume, id.to_owned()))?;
    volume_answer(call, 200, &state, Shown::Detail).await
}

/// A text member: outer none when absent; trimmed.
pub fn text_member(members: &Value, names: [&str; 2]) -> Option<Option<String>> {
    names.iter().find_map(|name| members.get(name)).map(|value| value.as_str().map(|text| text.trim().to_owned()))
}

/// A metadata member.
pub fn metadata_member(members: &Value) -> Option<Metadata> {
    let object = members.get("metadata")?.as_object()?;
    Some(object.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect())
}

/// `PUT /volumes/{id}`
pub async fn volume_update(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::VOLUME_UPDATE.check(call.version, &call.body)?;
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:update"), &state.volume)?;
    let members = &call.body["volume"];
    let update = UpdateVolume {
        name: text_member(members, ["name", "display_name"]),
        description: text_member(members, ["description", "display_description"]),
        metadata: metadata_member(members),
    };
    let reply = call.command(state.id(), Command::Update(update)).await?;
    volume_answer(call, 200, &reply.state, Shown::Updated).await
}

/// `DELETE /volumes/{id}?cascade=&force=`
pub async fn volume_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    let cascade = call.query.boolean("cascade")?.unwrap_or(false);
    let force = call.since(23) && call.query.boolean("force")?.unwrap_or(false);
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume:delete"), &state.volume)?;
    if force {
        call.enforce(rule!("volume:force_delete"), &state.volume)?;
    }
    let command = Command::Delete { force, cascade };
    match call.command(state.id(), command).await {
        Ok(_) => Ok(Answer::empty(202)),
        // Gone between the look and the command: the same answer as a moment later.
        Err(RequestError::Refused(Refusal::VolumeNotFound(_))) => Err(Problem::NotFound(Kind::Volume, id.to_owned())),
        Err(error) => Err(error.into()),
    }
}
