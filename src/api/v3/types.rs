//! `/types` (types-qos-encryption §2). What belongs to a type has files of its own.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::api::paging::{self, Columns, ListBody};
use crate::api::python;
use crate::api::query::word;
use crate::api::schema::{self, formats};
use crate::api::type_cache::Types;
use crate::api::views::volume_type::{self as view, Sight, VISIBLE_SPECS};
use crate::domain::ids::{ProjectId, VolumeTypeId};
use crate::domain::volume_type::{ExtraSpecs, VolumeType};
use crate::rule;
use crate::store::{TypeChange, TypeRefused};

const COLUMNS: Columns =
    Columns { aliases: &[], sortable: &["id", "name", "description", "is_public", "created_at", "updated_at"] };

fn sight(call: &Call) -> Sight {
    let allows = |rule| call.allows_own(rule);
    Sight {
        specs: allows(rule!("volume_extension:access_types_extra_specs")),
        sensitive: allows(rule!("volume_extension:types_extra_specs:read_sensitive")),
        qos: allows(rule!("volume_extension:access_types_qos_specs_id")),
        access: allows(rule!("volume_extension:volume_type_access")),
    }
}

/// `GET /types`
pub async fn type_list(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:type_get_all"))?;
    let page = paging::paging(&call.query, &COLUMNS)?;
    let wanted = wanted(call)?;
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let rows: Vec<&VolumeType> = types.all().iter().filter(|row| wanted.admits(row)).collect();
    let compare = |key: &str, one: &&VolumeType, other: &&VolumeType| match key {
        "name" => one.name.cmp(&other.name),
        "description" => one.description.cmp(&other.description),
        "is_public" => one.is_public.cmp(&other.is_public),
        "id" => one.id.cmp(&other.id),
        "created_at" => one.created_at.cmp(&other.created_at),
        "updated_at" => one.updated_at.cmp(&other.updated_at),
        _ => Ordering::Equal,
    };
    let unknown = || Problem::NotFound(Kind::VolumeType, page.marker.clone().unwrap_or_default());
    let rows = paging::page_of(rows, &page, compare, |row| row.id.to_string()).ok_or_else(unknown)?;
    let sight = sight(call);
    let last = rows.last().map(|row| row.id.to_string());
    let next = paging::next_href(&call.query, &call.links, "types", page.limit, rows.len(), last);
    let bodies: Vec<Value> = rows.iter().map(|row| view::shown(row, sight, false)).collect();
    Ok(Answer::ok(ListBody { names: ("volume_types", "volume_type_links"), rows: bodies, next, count: None }))
}

/// Which types a list shows.
struct Wanted {
    /// None: every type; else those that are open to this project.
    open_to: Option<ProjectId>,
    /// None: public and private.
    public: Option<bool>,
    name: Option<String>,
    specs: Vec<(String, String)>,
    nothing: bool,
}

impl Wanted {
    fn admits(&self, row: &VolumeType) -> bool {
        !self.nothing
            && self.open_to.as_ref().is_none_or(|project| row.is_open_to(project))
            && self.public.is_none_or(|public| row.is_public == public)
            && self.name.as_ref().is_none_or(|name| row.name == *name)
            && self.specs.iter().all(|(key, value)| row.spec(key) == Some(value))
    }
}

fn wanted(call: &Call) -> Result<Wanted, Problem> {
    let is_admin = call.context.is_admin;
    let mut wanted = Wanted {
        open_to: (!is_admin).then(|| call.context.project_id.clone()),
        public: is_admin.then_some(true),
        name: None,
        specs: Vec::new(),
        nothing: false,
    };
    let mut unknown = Vec::new();
    for (name, value) in call.query.pairs().filter(|(name, _)| !paging::PARAMETERS.contains(name)) {
        match name {
            "is_public" if is_admin => {
                wanted.public = match value.trim().to_ascii_lowercase().as_str() {
                    "none" => None,
                    _ => Some(
                        word(value)
                            .ok_or_else(|| Problem::BadRequest(format!("Invalid is_public filter [{value}]")))?,
                    ),
                };
            }
            // Others see public types and those of their project, whatever they ask for.
            "is_public" => {}
            "extra_specs" if call.since(52) => match python::literal(value) {
                Some(Value::Object(members)) => {
                    wanted.specs = members.iter().map(|(key, value)| (key.clone(), python::display(value))).collect();
                    // A hidden key must not be guessed by filtering for its value.
                    wanted.nothing |=
                        !is_admin && wanted.specs.iter().any(|(key, _)| !VISIBLE_SPECS.contains(&key.as_str()));
                }
                _ => wanted.nothing = true,
            },
            _ if !call.since(52) => {}
            "name" if is_admin => wanted.name = Some(value.to_owned()),
            _ if is_admin => wanted.nothing = true,
            name => unknown.push(name.to_owned()),
        }
    }
    if unknown.is_empty() {
        Ok(wanted)
    } else {
        let names = unknown.join(",");
        Err(Problem::BadRequest(format!("Invalid filters {names} are found in query options.")))
    }
}

/// What a type's name in a request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// An id in a URL.
    Id(&'a str),
    /// An id or a name in a body.
    Any(&'a str),
}

impl Named<'_> {
    fn find(self, types: &Types) -> Option<&VolumeType> {
        match self {
            Self::Id(id) => url_id(id).and_then(|id| types.by_id(VolumeTypeId(id))),
            Self::Any(wanted) => {
                let id = formats::uuid_any(wanted).map(VolumeTypeId);
                id.and_then(|id| types.by_id(id)).or_else(|| types.by_name(wanted))
            }
        }
    }

    fn missing(self) -> Problem {
        match self {
            Self::Any(name) if formats::uuid_any(name).is_none() => {
                Problem::NotFound(Kind::VolumeTypeName, name.to_owned())
            }
            Self::Id(id) | Self::Any(id) => Problem::NotFound(Kind::VolumeType, id.to_owned()),
        }
    }
}

/// A type that exists for the caller; else 404. One that another node made a moment ago is looked for once more.
pub async fn type_visible(call: &Call, named: Named<'_>) -> Result<VolumeType, Problem> {
    let store = call.service().store().as_ref();
    let is_seen = |row: &&VolumeType| call.context.is_admin || row.is_open_to(&call.context.project_id);
    let known = call.api.types.get(store).await?;
    if let Some(found) = named.find(&known).filter(is_seen) {
        return Ok(found.clone());
    }
    let types = call.api.types.fresh(store).await?;
    named.find(&types).filter(is_seen).cloned().ok_or_else(|| named.missing())
}

/// The type of a volume that names none: its source's, else the project's default, else everybody's. Whoever gets it this way
/// need not see it.
pub async fn type_implied(call: &Call, inherited: Option<VolumeTypeId>) -> Result<VolumeType, Problem> {
    let store = call.service().store().as_ref();
    let wanted = match inherited {
        Some(id) => Some(id),
        None => store.default_type(call.context.project_id.clone()).await?,
    };
    let name = &call.api.options.default_volume_type;
    let known = call.api.types.get(store).await?;
    let found = wanted.map_or_else(|| known.by_name(name), |id| known.by_id(id));
    if let Some(found) = found {
        return Ok(found.clone());
    }
    let types = call.api.types.fresh(store).await?;
    let found = wanted.and_then(|id| types.by_id(id)).or_else(|| types.by_name(name));
    found.cloned().ok_or_else(|| Problem::NotFoundText("Default volume type can not be found.".to_owned()))
}

/// Refuses a volume of a type whose volumes are to be encrypted: there is nobody who keeps keys.
pub fn refuse_encrypted(volume_type: &VolumeType) -> Result<(), Problem> {
    match volume_type.encryption {
        None => Ok(()),
        Some(_) => Err(Problem::InvalidInput(format!(
            "volumes of type {} are to be encrypted, and this service has no key manager",
            volume_type.name
        ))),
    }
}

/// The type of a volume, whoever may see it; none when its row is gone.
pub async fn type_row(call: &Call, id: VolumeTypeId) -> Result<Option<VolumeType>, Problem> {
    let store = call.service().store().as_ref();
    if let Some(found) = call.api.types.get(store).await?.by_id(id) {
        return Ok(Some(found.clone()));
    }
    Ok(call.api.types.fresh(store).await?.by_id(id).cloned())
}

/// `GET /types/{id}`, and `default`.
pub async fn type_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:type_get"))?;
    let is_default = id == "default";
    let row = if is_default { type_implied(call, None).await? } else { type_visible(call, Named::Id(id)).await? };
    Ok(Answer::ok(json!({"volume_type": view::shown(&row, sight(call), is_default)})))
}

/// `POST /types`
pub async fn type_create(call: &Call) -> Result<Answer, Problem> {
    schema::TYPE_CREATE.check(call.version, &call.body)?;
    call.enforce_own(rule!("volume_extension:type_create"))?;
    let members = &call.body["volume_type"];
    let new = VolumeType {
        id: VolumeTypeId(call.api.randomness.uuid()),
        revision: 1,
        name: members["name"].as_str().unwrap_or_default().to_owned(),
        description: text(members, "description"),
        is_public: boolean(members, "os-volume-type-access:is_public").unwrap_or(true),
        projects: BTreeSet::new(),
        extra_specs: specs_of(&members["extra_specs"]),
        encryption: None,
        qos_specs_id: None,
        created_at: call.api.clock.now(),
        updated_at: None,
    };
    type_change(call, TypeChange::Create(new.clone())).await?.map_err(|refused| refusal(refused, &new))?;
    Ok(Answer::ok(json!({"volume_type": view::written(&new, sight(call).access)})))
}

/// `PUT /types/{id}`
pub async fn type_update(call: &Call, id: &str) -> Result<Answer, Problem> {
    schema::TYPE_UPDATE.check(call.version, &call.body)?;
    call.enforce_own(rule!("volume_extension:type_update"))?;
    let members = &call.body["volume_type"];
    let (name, description) = (members["name"].as_str(), text(members, "description"));
    let is_public = boolean(members, "is_public");
    if name.is_none() && description.is_none() && is_public.is_none() {
        return Err(Problem::BadRequest(
            "Specify volume type name, description, is_public or a combination thereof.".to_owned(),
        ));
    }
    let changed = type_edit(call, id, None, |row| {
        if let Some(name) = name {
            row.name = name.to_owned();
        }
        if description.is_some() {
            row.description.clone_from(&description);
        }
        row.is_public = is_public.unwrap_or(row.is_public);
        Ok(())
    });
    Ok(Answer::ok(json!({"volume_type": view::written(&changed.await?, false)})))
}

/// `DELETE /types/{id}`. Whether a volume is of this type is judged by the store, in the transaction that removes it.
pub async fn type_delete(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.enforce_own(rule!("volume_extension:type_delete"))?;
    for _ in 0..TRIES_MAX {
        let types = call.api.types.fresh(call.service().store().as_ref()).await?;
        let row = Named::Id(id).find(&types).ok_or_else(|| Named::Id(id).missing())?;
        if row.name == call.api.options.default_volume_type {
            return Err(refusal(TypeRefused::IsDefault, row));
        }
        match type_change(call, TypeChange::Delete { id: row.id, revision: row.revision }).await? {
            Ok(()) => return Ok(Answer::empty(202)),
            Err(TypeRefused::Stale) => {}
            Err(refused) => return Err(refusal(refused, row)),
        }
    }
    Err(Problem::Busy(BUSY))
}

/// How often a change is tried anew because another writer was first.
const TRIES_MAX: u32 = 8;
const BUSY: &str = "the volume type is being changed by others";

/// Changes a type as it is now, and gives what became of it. With `unless_used`, these are the words in which a change is
/// refused while a volume is of this type.
pub async fn type_edit(
    call: &Call,
    id: &str,
    unless_used: Option<&str>,
    edit: impl Fn(&mut VolumeType) -> Result<(), Problem>,
) -> Result<VolumeType, Problem> {
    for _ in 0..TRIES_MAX {
        let types = call.api.types.fresh(call.service().store().as_ref()).await?;
        let mut new = Named::Id(id).find(&types).cloned().ok_or_else(|| Named::Id(id).missing())?;
        edit(&mut new)?;
        new.revision += 1;
        new.updated_at = Some(call.api.clock.now());
        match type_change(call, TypeChange::Update { new: new.clone(), while_unused: unless_used.is_some() }).await? {
            Ok(()) => return Ok(new),
            Err(TypeRefused::Stale) => {}
            Err(TypeRefused::InUse) => {
                return Err(Problem::BadRequest(unless_used.unwrap_or_default().to_owned()));
            }
            Err(refused) => return Err(refusal(refused, &new)),
        }
    }
    Err(Problem::Busy(BUSY))
}

/// Has the store change a type; this node sees it at once.
pub async fn type_change(call: &Call, change: TypeChange) -> Result<Result<(), TypeRefused>, Problem> {
    let changed = call.service().store().type_change(change).await;
    // also when nobody knows whether it was written
    call.api.types.changed();
    Ok(changed?)
}

fn refusal(refused: TypeRefused, row: &VolumeType) -> Problem {
    let bad = |text: &str| Problem::BadRequest(text.to_owned());
    match refused {
        TypeRefused::Stale => Problem::NotFound(Kind::VolumeType, row.id.to_string()),
        TypeRefused::NameTaken => Problem::Conflict(format!("Volume Type {} already exists.", row.name)),
        TypeRefused::InUse => bad("Target volume type is still in use."),
        TypeRefused::IsDefault => {
            bad(&format!("The volume type {} is a default volume type and cannot be deleted.", row.id))
        }
        TypeRefused::IsLast => bad(&format!("The volume type {} is the only one and cannot be deleted.", row.id)),
    }
}

fn text(members: &Value, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).map(|text| text.trim().to_owned())
}

fn boolean(members: &Value, name: &str) -> Option<bool> {
    match members.get(name)? {
        Value::String(text) => word(text),
        other => other.as_bool(),
    }
}

/// Extra specs of a body; the schema has judged them.
pub fn specs_of(members: &Value) -> ExtraSpecs {
    let specs = members.as_object().into_iter().flatten();
    specs.map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned))).collect()
}
