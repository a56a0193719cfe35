//! `/snapshots`: list, create, show, update, delete (snapshots §2).

use std::sync::Arc;

use serde_json::{Value, json};

use super::volumes::{all_tenants, metadata_member, text_member};
use crate::actors::RequestError;
use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::api::filters;
use crate::api::paging::{self, Columns, ListBody};
use crate::api::query::word;
use crate::api::schema::{self, formats};
use crate::api::views::snapshot::{self as view, Shown};
use crate::domain::ids::SnapshotId;
use crate::domain::snapshot::Snapshot;
use crate::domain::volume::command::CreateSnapshot;
use crate::domain::volume::{Command, Refusal, VolumeState};
use crate::policy::{Rule, Target};
use crate::rule;
use crate::store::{Filter, SnapshotQuery};

const COLUMNS: Columns = Columns {
    aliases: &[("name", "display_name")],
    sortable: &[
        "id",
        "volume_id",
        "display_name",
        "display_description",
        "status",
        "volume_size",
        "progress",
        "created_at",
        "updated_at",
        "project_id",
        "user_id",
        "consumes_quota",
    ],
};

const FORCE_IS_INVALID: &str = "Since microversion 3.66 the 'force' flag is invalid for this request.  For backward \
     compatability, however, when the 'force' flag is passed with a value evaluating to True, it is silently ignored.";

/// A snapshot that the caller sees, with its volume; else 404.
pub async fn snapshot_visible(call: &Call, id: &str) -> Result<(SnapshotId, Arc<VolumeState>), Problem> {
    let missing = || Problem::NotFound(Kind::Snapshot, id.to_owned());
    let snapshot_id = url_id(id).map(SnapshotId).ok_or_else(missing)?;
    let state = call.service().snapshot_view(snapshot_id).await?.ok_or_else(missing)?;
    let sees = state.snapshot(snapshot_id).is_some_and(|snapshot| call.context.sees(&snapshot.project_id));
    if sees { Ok((snapshot_id, state)) } else { Err(missing()) }
}

/// What policy judges: the snapshot, or its volume if it went this moment.
pub fn target(state: &VolumeState, id: SnapshotId) -> &dyn Target {
    state.snapshot(id).map_or(&state.volume as &dyn Target, |snapshot| snapshot)
}

/// Asks the snapshot's volume; policy by the snapshot's owner.
pub async fn snapshot_command(
    call: &Call,
    id: &str,
    rules: &[Rule],
    command: impl FnOnce(SnapshotId) -> Command,
) -> Result<(SnapshotId, Arc<VolumeState>), Problem> {
    let (snapshot_id, state) = snapshot_visible(call, id).await?;
    for rule in rules {
        call.enforce(*rule, target(&state, snapshot_id))?;
    }
    match call.command(state.id(), command(snapshot_id)).await {
        Ok(reply) => Ok((snapshot_id, reply.state)),
        // Gone with its volume between the look and the command: the same answer as a moment later.
        Err(RequestError::Refused(Refusal::VolumeNotFound(_))) => Err(Problem::NotFound(Kind::Snapshot, id.to_owned())),
        Err(error) => Err(error.into()),
    }
}

/// The answer that shows one snapshot.
pub fn answer(call: &Call, status: u16, id: SnapshotId, state: &VolumeState, shown: Shown) -> Result<Answer, Problem> {
    let snapshot = state.snapshot(id).ok_or_else(|| Problem::NotFound(Kind::Snapshot, id.to_string()))?;
    Ok(Answer::json(status, json!({"snapshot": view::view(snapshot, shown, call.version)})))
}

/// A show or a detail list, with the extension members if the caller may see them.
fn detailed(call: &Call) -> Shown {
    let sees_extensions = call.allows_own(rule!("volume_extension:extended_snapshot_attributes"));
    if sees_extensions { Shown::Detail } else { Shown::Changed }
}

/// `GET /snapshots[/detail]`
pub async fn snapshot_list(call: &Call, detail: bool) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume:get_all_snapshots"))?;
    // Below 3.30 `name` is no column.
    let columns = if call.since(30) { COLUMNS } else { Columns { aliases: &[], ..COLUMNS } };
    let page = paging::paging(&call.query, &columns)?;
    let everybody = all_tenants(call)?;
    let with_count = call.since(45) && call.query.boolean("with_count")?.unwrap_or(false);
    let mut filters = filters::filters(&call.query, &filters::SNAPSHOTS, call.version, call.context.is_admin)?;
    if !everybody {
        // the caller's own project takes its place
        filters.retain(|filter| !matches!(filter, Filter::OneOf { column, .. } if column == "project_id"));
    }
    let limit = page.limit;
    let query = SnapshotQuery {
        project_id: (!everybody).then(|| call.context.project_id.clone()),
        filters,
        paging: page,
        with_count,
    };
    let listed = call.service().store().snapshot_list(query).await;
    let page = listed.map_err(|error| Problem::List(Kind::Snapshot, error))?;
    let (path, shown) = if detail { ("snapshots/detail", detailed(call)) } else { ("snapshots", Shown::Summary) };
    let last = page.rows.last().map(|row| row.id.to_string());
    let next = paging::next_href(&call.query, &call.links, path, limit, page.rows.len(), last);
    let rows = page.rows.iter().map(|row: &Snapshot| view::view(row, shown, call.version)).collect();
    let names = ("snapshots", "snapshots_links");
    Ok(Answer::page(page.rows.len(), ListBody { names, rows, next, count: page.count.filter(|_| with_count) }))
}

/// `POST /snapshots`
pub async fn snapshot_create(call: &Call) -> Result<Answer, Problem> {
    schema::SNAPSHOT_CREATE.check(call.version, &call.body)?;
    let members = &call.body["snapshot"];
    let force = match members.get("force") {
        None => None,
        Some(Value::Bool(truth)) => Some(*truth),
        Some(other) => other.as_str().and_then(word),
    };
    if call.since(66) && force == Some(false) {
        return Err(Problem::BadRequest(FORCE_IS_INVALID.to_owned()));
    }
    let volume_id = members["volume_id"].as_str().unwrap_or("None");
    let state = call.volume_target(volume_id).await?;
    call.enforce(rule!("volume:create_snapshot"), &state.volume)?;
    let snapshot_id = SnapshotId(call.api.randomness.uuid());
    let create = CreateSnapshot {
        snapshot_id,
        name: text_member(members, ["name", "display_name"]).flatten(),
        description: text_member(members, ["description", "display_description"]).flatten(),
        metadata: metadata_member(members).unwrap_or_default(),
        in_use_allowed: force == Some(true) || call.since(66),
        adopts: None,
    };
    let command = Command::SnapshotCreate(Box::new(create));
    let reply = call.command(state.id(), command).await?;
    created(call, snapshot_id, &reply.state)
}

/// The answer, of a new snapshot or of one that was made before.
pub fn created(call: &Call, id: SnapshotId, state: &VolumeState) -> Result<Answer, Problem> {
    answer(call, 202, id, state, Shown::Changed)
}

/// `GET /snapshots/{id}`. A denial looks like 404.
pub async fn snapshot_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    let (snapshot_id, state) = snapshot_visible(call, id).await?;
    let allowed = call.enforce(rule!("volume:get_snapshot"), target(&state, snapshot_id));
    allowed.map_err(|_| Problem::NotFound(Kind::Snapshot, id.to_owned()))?;
    answer(call, 200, snapshot_id, &state, detailed(call))
}

/// `PUT /snapshots/{id}`
pub async fn snapshot_update(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::SNAPSHOT_UPDATE.check(call.version, &call.body)?;
    let members = &call.body["snapshot"];
    let name = text_member(members, ["name", "display_name"]);
    let description = text_member(members, ["description", "display_description"]);
    let update = |snapshot_id| Command::SnapshotUpdate { snapshot_id, name, description };
    let (snapshot_id, state) = snapshot_command(call, id, &[rule!("volume:update_snapshot")], update).await?;
    answer(call, 200, snapshot_id, &state, Shown::Changed)
}

/// `DELETE /snapshots/{id}`
pub async fn snapshot_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    let delete = |snapshot_id| Command::SnapshotDelete { snapshot_id, force: false };
    snapshot_command(call, id, &[rule!("volume:delete_snapshot")], delete).await?;
    Ok(Answer::empty(202))
}

/// `POST /snapshots/{id}/action`; the action's name has been checked.
pub async fn snapshot_action(call: &Call, id: &str, action: &str) -> Result<Answer, Problem> {
    match action {
        "os-reset_status" => snapshot_reset_status(call, id).await,
        "os-unmanage" => super::manage::snapshot_unmanage(call, id).await,
        "os-update_snapshot_status" => snapshot_update_status(call, id).await,
        "os-force_delete" => {
            let rules =
                [rule!("volume_extension:snapshot_admin_actions:force_delete"), rule!("volume:delete_snapshot")];
            let delete = |snapshot_id| Command::SnapshotDelete { snapshot_id, force: true };
            snapshot_command(call, id, &rules, delete).await?;
            Ok(Answer::empty(202))
        }
        other => Err(Problem::NoSuchAction(other.to_owned())),
    }
}

async fn snapshot_reset_status(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::SNAPSHOT_RESET_STATUS.check(call.version, &call.body)?;
    let status = call.body["os-reset_status"]["status"].as_str().and_then(formats::snapshot_status);
    let status = status.ok_or_else(|| Problem::BadRequest("the status is no snapshot status".to_owned()))?;
    let rules = [rule!("volume_extension:snapshot_admin_actions:reset_status")];
    let reset = |snapshot_id| Command::SnapshotResetStatus { snapshot_id, status };
    snapshot_command(call, id, &rules, reset).await?;
    Ok(Answer::empty(202))
}

async fn snapshot_update_status(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::SNAPSHOT_UPDATE_STATUS.check(call.version, &call.body)?;
    let members = &call.body["os-update_snapshot_status"];
    let word = members["status"].as_str().unwrap_or_default();
    let (snapshot_id, state) = snapshot_visible(call, id).await?;
    let snapshot = state.snapshot(snapshot_id).ok_or_else(|| Problem::NotFound(Kind::Snapshot, id.to_owned()))?;
    call.enforce(rule!("snapshot_extension:snapshot_actions:update_snapshot_status"), snapshot)?;
    let progress = match members.get("progress").and_then(Value::as_str) {
        None => None,
        Some(text) => Some(
            percent(text)
                .ok_or_else(|| Problem::InvalidInput("snapshot progress must be an integer percentage".to_owned()))?,
        ),
    };
    let status = formats::snapshot_status(word).ok_or_else(|| {
        Problem::BadRequest(format!(
            "Provided snapshot status {word} not allowed for snapshot with status {}.",
            snapshot.status
        ))
    })?;
    let command = Command::SnapshotProgress { snapshot_id, status, progress };
    call.command(state.id(), command).await?;
    Ok(Answer::empty(202))
}

/// `0%` to `100%`.
fn percent(text: &str) -> Option<u8> {
    text.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 100)
}
