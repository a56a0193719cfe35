//! `GET /types` (types-qos-encryption §2). Types are read-only for now.

use serde_json::{Value, json};

use crate::api::answer::Answer;
use crate::api::call::{Call, url_id};
use crate::api::fault::{Kind, Problem};
use crate::api::paging::{self, Columns, ListBody};
use crate::api::python;
use crate::api::query::word;
use crate::api::views::volume_type::{self as view, Sight, VISIBLE_SPECS};
use crate::domain::ids::VolumeTypeId;
use crate::identity::policy_allows;
use crate::store::{Direction, VolumeType};

const COLUMNS: Columns =
    Columns { aliases: &[], sortable: &["id", "name", "description", "is_public", "created_at", "updated_at"] };

fn sight(call: &Call) -> Sight {
    let allows = |rule| policy_allows(&call.context, rule, &call.context.project_id);
    Sight {
        specs: allows("volume_extension:access_types_extra_specs"),
        sensitive: allows("volume_extension:types_extra_specs:read_sensitive"),
        qos: allows("volume_extension:access_types_qos_specs_id"),
        access: allows("volume_extension:volume_type_access"),
    }
}

/// `GET /types`
pub async fn type_list(call: &Call) -> Result<Answer, Problem> {
    call.enforce_own("volume_extension:type_get_all")?;
    let page = paging::paging(&call.query, &COLUMNS)?;
    let wanted = wanted(call)?;
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let mut rows: Vec<&VolumeType> = types.all().iter().filter(|row| wanted.admits(row)).collect();
    // The store keeps no times of types: they were all made at once, so that the tie-breakers decide.
    for (key, direction) in page.sort.iter().rev() {
        rows.sort_by(|a, b| {
            let order = match key.as_str() {
                "name" => a.name.cmp(&b.name),
                "description" => a.description.cmp(&b.description),
                "is_public" => a.is_public.cmp(&b.is_public),
                "id" => a.id.cmp(&b.id),
                _ => std::cmp::Ordering::Equal,
            };
            if *direction == Direction::Descending { order.reverse() } else { order }
        });
    }
    let start = match &page.marker {
        None => 0,
        Some(marker) => {
            let at = rows.iter().position(|row| row.id.to_string() == *marker);
            at.ok_or_else(|| Problem::NotFound(Kind::VolumeType, marker.clone()))? + 1
        }
    };
    let skip = start.saturating_add(usize::try_from(page.offset).unwrap_or(usize::MAX));
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let rows: Vec<&VolumeType> = rows.into_iter().skip(skip).take(limit).collect();
    let sight = sight(call);
    let last = rows.last().map(|row| row.id.to_string());
    let next = paging::next_href(&call.query, &call.links, "types", page.limit, rows.len(), last);
    let bodies: Vec<Value> = rows.iter().map(|row| view::shown(row, sight, false)).collect();
    Ok(Answer::ok(ListBody { names: ("volume_types", "volume_type_links"), rows: bodies, next, count: None }))
}

/// Which types a list shows.
#[derive(Default)]
struct Wanted {
    /// None: public and private.
    public: Option<bool>,
    name: Option<String>,
    specs: Vec<(String, String)>,
    nothing: bool,
}

impl Wanted {
    fn admits(&self, row: &VolumeType) -> bool {
        !self.nothing
            && self.public.is_none_or(|public| row.is_public == public)
            && self.name.as_ref().is_none_or(|name| row.name == *name)
            && self.specs.iter().all(|(key, value)| row.extra_specs.get(key) == Some(value))
    }
}

fn wanted(call: &Call) -> Result<Wanted, Problem> {
    let is_admin = call.context.is_admin;
    let mut wanted = Wanted { public: Some(true), ..Wanted::default() };
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

/// `GET /types/{id}`, and `default`.
pub async fn type_show(call: &Call, id: &str) -> Result<Answer, Problem> {
    call.enforce_own("volume_extension:type_get")?;
    let types = call.api.types.get(call.service().store().as_ref()).await?;
    let is_default = id == "default";
    let row = if is_default {
        let name = &call.api.options.default_volume_type;
        types.by_name(name).ok_or_else(|| Problem::NotFoundText("Default volume type can not be found.".to_owned()))?
    } else {
        let found = url_id(id).and_then(|id| types.by_id(VolumeTypeId(id)));
        found
            .filter(|row| row.is_public || call.context.is_admin)
            .ok_or_else(|| Problem::NotFound(Kind::VolumeType, id.to_owned()))?
    };
    Ok(Answer::ok(json!({"volume_type": view::shown(row, sight(call), is_default)})))
}
