//! `/manageable_volumes`, `/manageable_snapshots` and their old names (services-hosts-pools §8): what lies at the backends,
//! and how it becomes Hearth's. What cannot be taken is refused before anything is written.

use serde_json::{Value, json};

use super::snapshots;
use super::types::{Named, refuse_encrypted, type_implied, type_visible};
use super::volume_create::while_the_type_changes;
use super::volumes::{metadata_member, text_member, volume_answer_at};
use crate::api::answer::Answer;
use crate::api::call::Call;
use crate::api::fault::Problem;
use crate::api::microversion::Microversion;
use crate::api::route::{ManageRoute, Noun};
use crate::api::views::snapshot::Shown as SnapshotShown;
use crate::api::views::volume::Shown;
use crate::api::{paging, python, query, schema};
use crate::domain::backend::{BackendObject, ObjectKind};
use crate::domain::ids::{SnapshotId, VolumeId};
use crate::domain::placement::{Standing, Wanted, meets};
use crate::domain::reference::volume_reference;
use crate::domain::text::Text;
use crate::domain::volume::Command;
use crate::domain::volume::command::{Adoption, CreateSnapshot, CreateVolume};
use crate::domain::volume_type::MULTIATTACH;
use crate::rule;
use crate::store::Direction;

/// The one kind of reference that the backends know.
const SOURCE_NAME: &str = "source-name";

/// Hands the call to its noun.
pub async fn handle(call: &Call, route: &ManageRoute) -> Result<Answer, Problem> {
    match route {
        ManageRoute::List { noun, detail, .. } => object_list(call, *noun, *detail).await,
        ManageRoute::Manage { noun: Noun::Volumes, .. } => volume_manage(call).await,
        ManageRoute::Manage { noun: Noun::Snapshots, .. } => snapshot_manage(call).await,
    }
}

fn unavailable() -> Problem {
    Problem::BadRequest("Service is unavailable at this time.".to_owned())
}

/// What cannot be taken, in Cinder's words.
fn invalid_reference(reference: &Value, reason: &str) -> Problem {
    let shown = python::display(reference);
    Problem::BadRequest(format!("Manage existing volume failed due to invalid backend reference {shown}: {reason}"))
}

/// The backend of a host, or of its only pool.
fn backend_find(call: &Call, host: &str) -> Option<Standing> {
    call.service().standings().into_iter().find(|backend| *backend.host == *host || backend.service() == host)
}

/// What lies there; a backend that is closed or does not answer says nothing.
async fn objects_of(call: &Call, backend: &Standing) -> Result<Vec<BackendObject>, Problem> {
    if !(backend.enabled && backend.up) {
        return Err(unavailable());
    }
    call.service().objects(&backend.host).await.map_err(|_| unavailable())
}

/// The host or, from `cluster_since` on, the cluster: exactly one of them.
fn host_meant<'a>(
    call: &Call,
    host: Option<&'a str>,
    cluster: Option<&'a str>,
    cluster_since: u32,
) -> Result<Result<&'a str, &'a str>, Problem> {
    let given = |text: &&str| !text.is_empty();
    let knows_clusters = call.since(cluster_since);
    match (host.filter(given), cluster.filter(given).filter(|_| knows_clusters)) {
        (Some(host), None) => Ok(Ok(host)),
        (None, Some(cluster)) => Ok(Err(cluster)),
        _ if knows_clusters => {
            Err(Problem::InvalidInput("One and only one of cluster and host must be set.".to_owned()))
        }
        _ => Err(Problem::InvalidInput("Host field is missing.".to_owned())),
    }
}

/// `GET /manageable_volumes[/detail]`, `GET /manageable_snapshots[/detail]`
async fn object_list(call: &Call, noun: Noun, detail: bool) -> Result<Answer, Problem> {
    call.enforce_own(match noun {
        Noun::Volumes => rule!("volume_extension:list_manageable"),
        Noun::Snapshots => rule!("snapshot_extension:list_manageable"),
    })?;
    let absent =
        |host: &str| Problem::NotFoundText(format!("Service cinder-volume could not be found on host {host}."));
    let host = match host_meant(call, call.query.get("host"), call.query.get("cluster"), 17)? {
        Ok(host) => host,
        Err(cluster) => return Err(Problem::NotFoundText(format!("Cluster {cluster} could not be found."))),
    };
    let page = Page::of(call)?;
    let backend = backend_find(call, host).ok_or_else(|| absent(host))?;
    let mut objects = objects_of(call, &backend).await?;
    objects.retain(|object| {
        matches!(
            (noun, &object.kind),
            (Noun::Volumes, ObjectKind::Volume { .. }) | (Noun::Snapshots, ObjectKind::Snapshot { .. })
        )
    });
    let mut rows = Vec::new();
    for object in page.cut(objects)? {
        rows.push(row(call, &object, detail).await?);
    }
    let name = match noun {
        Noun::Volumes => "manageable-volumes",
        Noun::Snapshots => "manageable-snapshots",
    };
    Ok(Answer::ok(json!({ name: rows })))
}

/// Which part of the list, in which order: the backend's list has no database to sort it.
struct Page {
    sort: Vec<(String, Direction)>,
    marker: Option<Value>,
    limit: usize,
    offset: usize,
}

impl Page {
    fn of(call: &Call) -> Result<Self, Problem> {
        let sort = paging::sort_asked(&call.query, "reference")?;
        let unknown: Vec<&str> =
            sort.iter().map(|(key, _)| key.as_str()).filter(|key| !["reference", "size"].contains(key)).collect();
        if !unknown.is_empty() {
            return Err(Problem::InvalidInput(format!("Invalid sort keys passed: {}", unknown.join(", "))));
        }
        let marker = match call.query.get("marker") {
            None => None,
            Some(text) => Some(python::literal(text).ok_or_else(|| {
                Problem::InvalidInput(format!("marker {text} can not be analysed, please use correct format."))
            })?),
        };
        let bounded = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            sort,
            marker,
            limit: bounded(paging::limit(&call.query)?),
            offset: bounded(paging::offset(&call.query)?),
        })
    }

    fn cut(&self, mut objects: Vec<BackendObject>) -> Result<Vec<BackendObject>, Problem> {
        objects.sort_by(|left, right| {
            let by = |(key, direction): &(String, Direction)| {
                let order = match key.as_str() {
                    "size" => left.size_gib.cmp(&right.size_gib),
                    _ => left.reference.cmp(&right.reference),
                };
                if *direction == Direction::Descending { order.reverse() } else { order }
            };
            let asked = self.sort.iter().map(by).find(|order| order.is_ne());
            // One order for equal ones, so that pages fit together.
            asked.unwrap_or_else(|| left.reference.cmp(&right.reference))
        });
        let start = match &self.marker {
            None => 0,
            Some(marker) => {
                let found = objects.iter().position(|object| reference(object) == *marker);
                let missing = || Problem::InvalidInput(format!("marker not found: {}", python::display(marker)));
                found.ok_or_else(missing)? + 1
            }
        };
        Ok(objects.into_iter().skip(start.saturating_add(self.offset)).take(self.limit).collect())
    }
}

fn reference(object: &BackendObject) -> Value {
    json!({ SOURCE_NAME: object.reference })
}

async fn row(call: &Call, object: &BackendObject, detail: bool) -> Result<Value, Problem> {
    let mut row = json!({"reference": reference(object), "size": object.size_gib});
    let (own, is_on_record) = match object.kind {
        ObjectKind::Volume { id: None } => (None, false),
        ObjectKind::Snapshot { id, volume_id } => {
            row["source_reference"] = json!({ SOURCE_NAME: volume_reference(volume_id) });
            let of = |id: SnapshotId| async move {
                let state = call.service().volume_view(volume_id).await?;
                Ok::<bool, Problem>(state.is_some_and(|state| state.snapshot(id).is_some()))
            };
            match id {
                Some(id) => (Some(json!(id)), of(id).await?),
                None => (None, false),
            }
        }
        ObjectKind::Volume { id: Some(id) } => (Some(json!(id)), call.service().volume_view(id).await?.is_some()),
    };
    let reason = match (&own, is_on_record) {
        (Some(_), true) => Some("already managed"),
        (Some(_), false) => Some("it has the name of a volume or snapshot that is not on record"),
        (None, _) => object.trouble.as_deref(),
    };
    row["safe_to_manage"] = json!(reason.is_none());
    if detail {
        row["reason_not_safe"] = json!(reason);
        row["cinder_id"] = own.filter(|_| is_on_record).unwrap_or_default();
        row["extra_info"] = Value::Null;
    }
    Ok(row)
}

/// The object of a reference, if it can be taken.
fn object_find(objects: Vec<BackendObject>, reference: &Value) -> Result<BackendObject, Problem> {
    let name = reference.get(SOURCE_NAME).and_then(Value::as_str);
    let name = name.ok_or_else(|| invalid_reference(reference, "Reference must contain source-name element."))?;
    // Clients who name snapshots as Cinder does, and not as its backends, mean the same object.
    let is_there = |name: &str| objects.iter().any(|object| object.reference == name);
    let escaped = format!("_{name}");
    let name = if name.starts_with("snapshot-") && !is_there(name) { &escaped } else { name };
    let mut found = objects.into_iter().filter(|object| object.reference == name).peekable();
    if found.peek().is_none() {
        return Err(invalid_reference(reference, "the backend has no object of this name"));
    }
    let is_own = |object: &BackendObject| {
        matches!(object.kind, ObjectKind::Volume { id: Some(_) } | ObjectKind::Snapshot { id: Some(_), .. })
    };
    let Some(object) = found.find(|object| !is_own(object)) else {
        return Err(Problem::BadRequest(format!("Unable to manage existing volume. Volume {name} already managed.")));
    };
    match &object.trouble {
        Some(trouble) => Err(invalid_reference(reference, trouble)),
        None => Ok(object),
    }
}

/// `POST /manageable_volumes`
async fn volume_manage(call: &Call) -> Result<Answer, Problem> {
    schema::VOLUME_MANAGE.check(call.version, &call.body)?;
    call.enforce_own(rule!("volume_extension:volume_manage"))?;
    while_the_type_changes(call, async || manage_as_the_type_is(call).await).await
}

async fn manage_as_the_type_is(call: &Call) -> Result<Answer, Problem> {
    let members = &call.body["volume"];
    let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let host = match host_meant(call, text("host"), text("cluster"), 16)? {
        Ok(host) => host,
        Err(cluster) => return Err(Problem::BadRequest(format!("Cluster '{cluster}' not found"))),
    };
    let volume_type = match text("volume_type") {
        None => type_implied(call, None).await?,
        Some(wanted) => match type_visible(call, Named::Any(wanted)).await {
            Err(Problem::NotFound(..)) => {
                return Err(Problem::BadRequest(format!("Volume type {wanted} could not be found.")));
            }
            found => found?,
        },
    };
    refuse_encrypted(&volume_type)?;
    let backend = backend_find(call, host).ok_or_else(|| Problem::BadRequest(format!("Host '{host}' not found")))?;
    let object = object_find(objects_of(call, &backend).await?, &members["ref"])?;
    if let Some(zone) = text("availability_zone").filter(|zone| *zone != backend.zone) {
        return Err(Problem::InvalidInput(format!("Availability zone '{zone}' is invalid.")));
    }
    let wanted = Wanted { extra_specs: volume_type.extra_specs.clone(), ..Wanted::default() };
    if !meets(&wanted, &backend) {
        return Err(Problem::BadRequest(format!(
            "Manage existing volume failed due to volume type mismatch: {host} is not what type {} asks for",
            volume_type.name
        )));
    }
    let multiattach = volume_type.says_yes(MULTIATTACH);
    if multiattach {
        call.enforce_own(rule!("volume:multiattach"))?;
    }
    let volume_id = VolumeId(call.api.randomness.uuid());
    let create = CreateVolume {
        volume_id,
        size_gib: object.size_gib,
        name: text_member(members, ["name", "display_name"]).flatten(),
        description: text_member(members, ["description", "display_description"]).flatten(),
        metadata: metadata_member(members).unwrap_or_default(),
        volume_type_id: Some(volume_type.id),
        type_revision: Some(volume_type.revision),
        multiattach,
        availability_zone: backend.zone.clone(),
        host: Some(backend.host.to_string()),
        wanted: None,
        bootable: match &members["bootable"] {
            Value::Bool(bootable) => *bootable,
            other => other.as_str().and_then(query::word).unwrap_or(false),
        },
        origin: None,
        image: None,
        adopts: Some(Text::from(object.reference)),
    };
    let reply = call.command(volume_id, Command::Create(Box::new(create))).await?;
    // As of the first version, whatever the client speaks.
    volume_answer_at(call, Microversion::v3(0), 202, &reply.state, Shown::Detail).await
}

/// `POST /manageable_snapshots`
async fn snapshot_manage(call: &Call) -> Result<Answer, Problem> {
    schema::SNAPSHOT_MANAGE.check(call.version, &call.body)?;
    let members = &call.body["snapshot"];
    let id = members["volume_id"].as_str().unwrap_or_default();
    let normal = schema::formats::uuid_any(id).map_or_else(|| id.to_owned(), |id| id.to_string());
    let state = call.volume_target(&normal).await?;
    call.enforce(rule!("snapshot_extension:snapshot_manage"), &state.volume)?;
    let backend = state.volume.host.as_deref().and_then(|host| backend_find(call, host)).ok_or_else(unavailable)?;
    let object = object_find(objects_of(call, &backend).await?, &members["ref"])?;
    let snapshot_id = SnapshotId(call.api.randomness.uuid());
    let create = CreateSnapshot {
        snapshot_id,
        name: text_member(members, ["name", "display_name"]).flatten(),
        description: text_member(members, ["description", "display_description"]).flatten(),
        metadata: metadata_member(members).unwrap_or_default(),
        in_use_allowed: true,
        adopts: Some(Adoption { reference: Text::from(object.reference), size_gib: object.size_gib }),
    };
    let reply = call.command(state.id(), Command::SnapshotCreate(Box::new(create))).await?;
    snapshots::answer(call, 202, snapshot_id, &reply.state, SnapshotShown::Summary)
}

/// `os-unmanage` of a volume (volume-actions §2.9).
pub async fn volume_unmanage(call: &Call, id: &str) -> Result<Answer, Problem> {
    let state = call.volume_target(id).await?;
    call.enforce(rule!("volume_extension:volume_unmanage"), &state.volume)?;
    call.enforce(rule!("volume:delete"), &state.volume)?;
    call.command(state.id(), Command::Unmanage).await?;
    Ok(Answer::empty(202))
}

/// `os-unmanage` of a snapshot (snapshots §3).
pub async fn snapshot_unmanage(call: &Call, id: &str) -> Result<Answer, Problem> {
    let rules = [rule!("snapshot_extension:snapshot_unmanage"), rule!("volume:delete_snapshot")];
    let unmanage = |snapshot_id| Command::SnapshotUnmanage { snapshot_id };
    snapshots::snapshot_command(call, id, &rules, unmanage).await?;
    Ok(Answer::empty(202))
}
