//! `/qos-specs` (types-qos-encryption §7), and what of them whoever connects a volume is told.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::api::paging::{self, Columns, ListBody};
use crate::api::route::QosRoute;
use crate::api::schema;
use crate::domain::attachment::Attachment;
use crate::domain::document::Document;
use crate::domain::ids::{QosSpecsId, VolumeTypeId};
use crate::domain::qos::{Consumer, QosSpecs};
use crate::domain::volume::state::Volume;
use crate::domain::volume_type::VolumeType;
use crate::policy::Rule;
use crate::rule;
use crate::store::{QosChange, QosRefused};

const COLUMNS: Columns = Columns { aliases: &[], sortable: &["id", "created_at"] };
/// How often a change is tried anew because another writer was first.
const TRIES_MAX: u32 = 8;
/// The longest key or value.
const TEXT_MAX: usize = 255;

const GET: Rule = rule!("volume_extension:qos_specs_manage:get");
const GET_ALL: Rule = rule!("volume_extension:qos_specs_manage:get_all");
const CREATE: Rule = rule!("volume_extension:qos_specs_manage:create");
const UPDATE: Rule = rule!("volume_extension:qos_specs_manage:update");
const DELETE: Rule = rule!("volume_extension:qos_specs_manage:delete");

/// Carries out one of the calls.
pub async fn handle(call: &Call, route: &QosRoute) -> Result<Answer, Problem> {
    match route {
        QosRoute::List => list(call).await,
        QosRoute::Create => create(call).await,
        QosRoute::Show(id) => {
            call.enforce_own(GET)?;
            Ok(one(call, &find(call, id).await?))
        }
        QosRoute::Update(id) => update(call, id).await,
        QosRoute::Delete(id) => {
            call.enforce_own(DELETE)?;
            let force = call.query.boolean("force")?.unwrap_or(false);
            change(call, id, |id| QosChange::Delete { id, force }, None).await
        }
        QosRoute::DeleteKeys(id) => delete_keys(call, id).await,
        QosRoute::Associations(id) => associations(call, id).await,
        QosRoute::Associate(id) => {
            let (volume_type_id, text) = type_meant(call)?;
            change(call, id, |id| QosChange::Associate { id, volume_type_id }, Some(&text)).await
        }
        QosRoute::Disassociate(id) => {
            let (volume_type_id, text) = type_meant(call)?;
            let leave = |id| QosChange::Disassociate { id, volume_type_id: Some(volume_type_id) };
            change(call, id, leave, Some(&text)).await
        }
        QosRoute::DisassociateAll(id) => {
            call.enforce_own(UPDATE)?;
            change(call, id, |id| QosChange::Disassociate { id, volume_type_id: None }, None).await
        }
    }
}

fn missing(id: &str) -> Problem {
    Problem::NotFound(Kind::QosSpecs, id.to_owned())
}

async fn find(call: &Call, id: &str) -> Result<QosSpecs, Problem> {
    let wanted = url_id(id).map(QosSpecsId).ok_or_else(|| missing(id))?;
    let all = call.service().store().qos_specs().await?;
    all.into_iter().find(|row| row.id == wanted).ok_or_else(|| missing(id))
}

fn body(row: &QosSpecs) -> Value {
    json!({"id": row.id, "name": row.name, "consumer": row.consumer.as_str(), "specs": row.specs})
}

fn one(call: &Call, row: &QosSpecs) -> Answer {
    Answer::ok(json!({"qos_specs": body(row), "links": call.links.of("qos-specs", &row.id.to_string())}))
}

/// `GET /qos-specs`
async fn list(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own(GET_ALL)?;
    let page = paging::paging(&call.query, &COLUMNS)?;
    let mut rows = call.service().store().qos_specs().await?;
    for (name, wanted) in call.query.pairs().filter(|(name, _)| !paging::PARAMETERS.contains(name)) {
        rows.retain(|row| match name {
            "id" => row.id.to_string() == wanted,
            "name" => row.name == wanted,
            "consumer" => row.consumer.as_str() == wanted,
            _ => true,
        });
    }
    let compare = |key: &str, one: &QosSpecs, other: &QosSpecs| match key {
        "id" => one.id.cmp(&other.id),
        "created_at" => one.created_at.cmp(&other.created_at),
        _ => Ordering::Equal,
    };
    let unknown = || missing(page.marker.as_deref().unwrap_or_default());
    let rows = paging::page_of(rows, &page, compare, |row| row.id.to_string()).ok_or_else(unknown)?;
    let last = rows.last().map(|row| row.id.to_string());
    let next = paging::next_href(&call.query, &call.links, "qos-specs", page.limit, rows.len(), last);
    let bodies: Vec<Value> = rows.iter().map(body).collect();
    Ok(Answer::ok(ListBody { names: ("qos_specs", "qos_specs_links"), rows: bodies, next, count: None }))
}

/// The specs of a body besides what has a meaning of its own, and the consumer if it is named.
fn told_by(members: &Map<String, Value>) -> Result<(BTreeMap<String, String>, Option<Consumer>), Problem> {
    let (mut specs, mut consumer) = (BTreeMap::new(), None);
    for (key, value) in members {
        let Some(text) = value.as_str() else {
            return Err(Problem::BadRequest(format!("Value for key \"{key}\" is not a string or unicode")));
        };
        if key == "consumer" {
            consumer = Some(Consumer::parse(text).ok_or_else(|| {
                let words = Consumer::ALL.map(|known| format!("'{}'", known.as_str())).join(", ");
                Problem::BadRequest(format!("Invalid qos specs: Valid consumer of QoS specs are: [{words}]"))
            })?);
            continue;
        }
        if key.is_empty() || [key, text].iter().any(|text| text.chars().count() > TEXT_MAX || text.contains('\0')) {
            return Err(Problem::BadRequest(format!("Key or value of \"{key}\" is not of 1 to {TEXT_MAX} characters")));
        }
        specs.insert(key.clone(), text.to_owned());
    }
    Ok((specs, consumer))
}

/// `POST /qos-specs`
async fn create(call: &Call) -> Result<Answer, Problem> {
    schema::QOS_CREATE.check(call.version, &call.body)?;
    call.enforce_own(CREATE)?;
    let mut members = call.body["qos_specs"].as_object().cloned().unwrap_or_default();
    let name = members.remove("name").and_then(|name| Some(name.as_str()?.trim().to_owned())).unwrap_or_default();
    let (specs, consumer) = told_by(&members)?;
    let new = QosSpecs {
        id: QosSpecsId(call.api.randomness.uuid()),
        revision: 1,
        name,
        consumer: consumer.unwrap_or_default(),
        specs,
        created_at: call.api.clock.now(),
        updated_at: None,
    };
    match call.service().store().qos_change(QosChange::Create(new.clone())).await? {
        Ok(()) => Ok(one(call, &new)),
        Err(refused) => Err(refusal(refused, &new.name, None)),
    }
}

/// Changes the specs as they are now; whether `edit` refuses afterwards is its own affair.
async fn edit(call: &Call, id: &str, edit: impl Fn(&mut QosSpecs) -> Result<(), Problem>) -> Result<(), Problem> {
    for _ in 0..TRIES_MAX {
        let old = find(call, id).await?;
        let mut new = old.clone();
        let judged = edit(&mut new);
        if new == old {
            return judged;
        }
        (new.revision, new.updated_at) = (old.revision + 1, Some(call.api.clock.now()));
        match call.service().store().qos_change(QosChange::Update(new)).await? {
            Ok(()) => return judged,
            Err(QosRefused::Stale) => {}
            Err(refused) => return Err(refusal(refused, id, None)),
        }
    }
    Err(Problem::Busy("the QoS specs are being changed by others"))
}

/// `PUT /qos-specs/{id}`
async fn update(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::QOS_UPDATE.check(call.version, &call.body)?;
    call.enforce_own(UPDATE)?;
    let members = call.body["qos_specs"].as_object().cloned().unwrap_or_default();
    let (specs, consumer) = told_by(&members)?;
    edit(call, id, |row| {
        row.specs.extend(specs.clone());
        row.consumer = consumer.unwrap_or(row.consumer);
        Ok(())
    })
    .await?;
    Ok(Answer::ok(&call.body))
}

/// `PUT /qos-specs/{id}/delete_keys`: up to the first that is not there.
async fn delete_keys(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::QOS_DELETE_KEYS.check(call.version, &call.body)?;
    call.enforce_own(DELETE)?;
    let keys = call.body["keys"].as_array().cloned().unwrap_or_default();
    edit(call, id, |row| {
        for key in keys.iter().filter_map(Value::as_str) {
            if row.specs.remove(key).is_none() {
                let text = format!("QoS spec {} has no spec with key {key}.", row.id);
                return Err(Problem::NotFoundText(text));
            }
        }
        Ok(())
    })
    .await?;
    Ok(Answer::empty(202))
}

/// `GET /qos-specs/{id}/associations`
async fn associations(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.enforce_own(GET_ALL)?;
    let row = find(call, id).await?;
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let having = types.all().iter().filter(|volume_type| volume_type.qos_specs_id == Some(row.id));
    let shown = having
        .map(|volume_type| json!({"association_type": "volume_type", "name": volume_type.name, "id": volume_type.id}));
    Ok(Answer::ok(json!({"qos_associations": shown.collect::<Vec<_>>()})))
}

/// The type of the query, and its id as it was sent; one that is no id is none.
fn type_meant(call: &Call) -> Result<(VolumeTypeId, String), Problem> {
    call.enforce_own(UPDATE)?;
    let text = call.query.get("vol_type_id");
    let text = text.ok_or_else(|| Problem::BadRequest("Volume Type id must not be None.".to_owned()))?;
    let id = url_id(text).ok_or_else(|| Problem::NotFound(Kind::VolumeType, text.to_owned()))?;
    Ok((VolumeTypeId(id), text.to_owned()))
}

/// A change that is written without a look at the specs first.
async fn change(
    call: &Call,
    id: &str,
    change: impl FnOnce(QosSpecsId) -> QosChange,
    volume_type: Option<&str>,
) -> Result<Answer, Problem> {
    let wanted = url_id(id).map(QosSpecsId).ok_or_else(|| missing(id))?;
    let changed = call.service().store().qos_change(change(wanted)).await;
    // Types have changed with it, also when nobody knows whether it was written.
    call.api.types.changed();
    changed?.map_err(|refused| refusal(refused, id, volume_type))?;
    Ok(Answer::empty(202))
}

fn refusal(refused: QosRefused, what: &str, volume_type: Option<&str>) -> Problem {
    let volume_type = volume_type.unwrap_or_default();
    match refused {
        QosRefused::Stale | QosRefused::Missing => missing(what),
        QosRefused::TypeMissing => Problem::NotFound(Kind::VolumeType, volume_type.to_owned()),
        QosRefused::NameTaken => Problem::Conflict(format!("QoS Specs {what} already exists.")),
        QosRefused::InUse => Problem::BadRequest("Qos specs still in use.".to_owned()),
        QosRefused::HasOthers(others) => Problem::BadRequest(format!(
            "Invalid volume type: Type {volume_type} is already associated with another qos specs: {others}"
        )),
    }
}

/// What whoever connects a volume is told of its type's QoS specs, as they are now.
pub async fn told(call: &Call, volume: &Volume) -> Result<Option<Value>, Problem> {
    let Some(type_id) = volume.volume_type_id else { return Ok(None) };
    let store = call.service().store();
    let types = call.api.types.get(store.as_ref()).await?;
    let Some(id) = types.by_id(type_id).and_then(|volume_type| volume_type.qos_specs_id) else { return Ok(None) };
    let all = store.qos_specs().await?;
    let specs = all.iter().find(|row| row.id == id).and_then(|row| row.told(volume.size_gib));
    Ok(specs.map(|specs| json!(specs)))
}

/// Whether whoever has the volume connected would have to be told something else if it were of type `new`: it cannot be told
/// before it connects again.
pub async fn is_told_otherwise(call: &Call, volume: &Volume, new: &VolumeType) -> Result<bool, Problem> {
    let store = call.service().store();
    let types = call.api.types.get(store.as_ref()).await?;
    let old = volume.volume_type_id.and_then(|id| types.by_id(id)).and_then(|old| old.qos_specs_id);
    if old == new.qos_specs_id {
        return Ok(false);
    }
    let all = store.qos_specs().await?;
    let either = |row: &&QosSpecs| [old, new.qos_specs_id].contains(&Some(row.id));
    Ok(all.iter().filter(either).any(|row| row.consumer.is_told_to_clients()))
}

/// The connection information of a connected row with it, and with the members that clients rely on; none: it is not connected.
pub async fn with_told(call: &Call, volume: &Volume, row: &Attachment) -> Result<Option<Document>, Problem> {
    let connected = row.connection_info.as_ref().filter(|info| info.text("driver_volume_type").is_some());
    let Some(info) = connected else { return Ok(None) };
    let multipath = row.connector.as_ref().and_then(|connector| connector.member("enforce_multipath"));
    let mut members = info.to_value();
    members["qos_specs"] = told(call, volume).await?.unwrap_or(Value::Null);
    members["encrypted"] = false.into();
    members["cacheable"] = false.into();
    members["enforce_multipath"] = (multipath == Some(Value::Bool(true))).into();
    Ok(Some(Document::from(&members)))
}
