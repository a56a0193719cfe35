//! Filters of lists (volumes §5, errors-and-http §7): which names a caller may use, and what a value means.

use serde_json::Value;

use super::fault::Problem;
use super::microversion::Microversion;
use super::python;
use super::query::{Query, word};
use super::views::time;
use crate::store::Filter;

/// The filter rules of one list.
pub struct Rules {
    /// Names that everybody may use.
    pub allowed: &'static [&'static str],
    /// Those of them that only administrators may use below 3.31.
    pub late: &'static [&'static str],
    /// Parameters of this list which are no filters, besides those of paging.
    pub parameters: &'static [&'static str],
    /// The version that first has the filter `metadata`.
    pub metadata_since: Microversion,
    /// Boolean columns.
    pub booleans: &'static [&'static str],
    /// Names and the columns they stand for.
    pub aliases: &'static [(&'static str, &'static str)],
}

/// Volumes.
pub const VOLUMES: Rules = Rules {
    allowed: &[
        "name",
        "status",
        "metadata",
        "bootable",
        "migration_status",
        "availability_zone",
        "group_id",
        "size",
        "created_at",
        "updated_at",
        "consumes_quota",
    ],
    late: &[],
    parameters: &["with_count"],
    metadata_since: Microversion::v3(0),
    booleans: &["bootable", "multiattach", "consumes_quota"],
    aliases: &[("name", "display_name"), ("description", "display_description")],
};

/// Snapshots.
pub const SNAPSHOTS: Rules = Rules {
    allowed: &["name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"],
    late: &["availability_zone", "consumes_quota"],
    parameters: &["with_count"],
    metadata_since: Microversion::v3(22),
    booleans: &["consumes_quota"],
    aliases: &[("name", "display_name"), ("description", "display_description")],
};

/// Attachments.
pub const ATTACHMENTS: Rules = Rules {
    allowed: &["volume_id", "status", "instance_id", "attach_status"],
    late: &[],
    parameters: &[],
    metadata_since: Microversion::v3(0),
    booleans: &[],
    aliases: &[("status", "attach_status"), ("instance_id", "instance_uuid")],
};

/// Messages.
pub const MESSAGES: Rules = Rules {
    allowed: &["resource_uuid", "resource_type", "event_id", "request_id", "message_level"],
    late: &[],
    parameters: &[],
    metadata_since: Microversion::v3(0),
    booleans: &[],
    aliases: &[],
};

/// The conditions that a query asks for.
pub fn filters(query: &Query, rules: &Rules, version: Microversion, is_admin: bool) -> Result<Vec<Filter>, Problem> {
    let checked = version >= Microversion::v3(31);
    let is_parameter = |name: &str| {
        super::paging::PARAMETERS.contains(&name)
            // Below 3.45 the count is an unknown filter.
            || (rules.parameters.contains(&name) && version >= Microversion::v3(45))
    };
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for (name, value) in query.pairs().filter(|(name, _)| !is_parameter(name)) {
        if !name.is_ascii() && checked {
            return Err(Problem::BadRequest("Filter keys can only contain ASCII characters.".to_owned()));
        }
        if (name == "glance_metadata" && version < Microversion::v3(4))
            || (name == "group_id" && version < Microversion::v3(10))
            || (name == "metadata" && version < rules.metadata_since)
        {
            continue;
        }
        let like = name.strip_suffix('~');
        let times = matches!(name, "created_at" | "updated_at");
        let known = rules.allowed.contains(&name) && (checked || !rules.late.contains(&name));
        if !known && !is_admin {
            unknown.push(name);
            continue;
        }
        // Below 3.31 these names mean nothing, for admins too.
        if (like.is_some() || times) && !checked {
            continue;
        }
        match like {
            Some(name) => {
                found.push(Filter::Like { column: column(rules, name).to_owned(), pattern: value.to_owned() });
            }
            None => filter_of(name, value, rules, version, &mut found)?,
        }
    }
    if checked && !unknown.is_empty() {
        let names = unknown.join(",");
        return Err(Problem::BadRequest(format!("Invalid filters {names} are found in query options.")));
    }
    Ok(found)
}

fn column<'a>(rules: &Rules, name: &'a str) -> &'a str {
    rules.aliases.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, column)| column)
}

fn filter_of(
    name: &str,
    value: &str,
    rules: &Rules,
    version: Microversion,
    found: &mut Vec<Filter>,
) -> Result<(), Problem> {
    let one_of = |values| Filter::OneOf { column: column(rules, name).to_owned(), values };
    match name {
        "created_at" | "updated_at" => times(name, value, found)?,
        "metadata" => found.push(pairs(value).map_or(Filter::Nothing, Filter::Metadata)),
        "glance_metadata" => found.push(pairs(value).map_or(Filter::Nothing, Filter::ImageMetadata)),
        "host" => found.push(Filter::Host(value.to_owned())),
        // A name is taken as it is, never as a literal.
        "name" | "display_name" => found.push(one_of(vec![Some(value.to_owned())])),
        name if rules.booleans.contains(&name) => {
            let judged = boolean(name, value, version)?;
            found.push(judged.map_or(Filter::Nothing, |truth| one_of(vec![Some(truth.to_string())])));
        }
        _ => {
            let values = match python::literal(value) {
                Some(Value::Array(items)) => items.iter().map(text_of).collect::<Option<Vec<_>>>(),
                Some(other) => text_of(&other).map(|text| vec![text]),
                None => Some(vec![Some(value.to_owned())]),
            };
            found.push(values.map_or(Filter::Nothing, one_of));
        }
    }
    Ok(())
}

/// A literal as the text of a column; the inner none is NULL. None: a value that no column holds.
fn text_of(value: &Value) -> Option<Option<String>> {
    match value {
        Value::Null => Some(None),
        Value::Object(_) | Value::Array(_) => None,
        other => Some(Some(python::display(other))),
    }
}

/// None: matches nothing.
fn boolean(name: &str, value: &str, version: Microversion) -> Result<Option<bool>, Problem> {
    if name == "consumes_quota" && version < Microversion::v3(31) {
        return Ok(None);
    }
    if version < Microversion::v3(2) {
        return Ok((!value.is_empty()).then_some(!matches!(value, "False" | "false" | "FALSE")));
    }
    match word(value) {
        Some(truth) => Ok(Some(truth)),
        None if name == "consumes_quota" => {
            Err(Problem::BadRequest(format!("Value '{value}' for 'use_quota' is not a boolean.")))
        }
        None => Err(Problem::InvalidInput(format!("{name}={value}"))),
    }
}

/// None: no dictionary.
fn pairs(value: &str) -> Option<Vec<(String, String)>> {
    let Some(Value::Object(members)) = python::literal(value) else { return None };
    Some(members.iter().map(|(key, value)| (key.clone(), python::display(value))).collect())
}

/// `op:time[,op:time…]`; all must hold.
fn times(name: &str, value: &str, found: &mut Vec<Filter>) -> Result<(), Problem> {
    for term in value.split(',') {
        let (operator, at) = term.split_once(':').map(|(operator, at)| (operator.trim(), at)).ok_or_else(|| {
            Problem::InvalidInput(format!("{name} filter must be of the form 'operator:time', not '{term}'"))
        })?;
        if !matches!(operator, "gt" | "gte" | "eq" | "neq" | "lt" | "lte") {
            return Err(Problem::InvalidInput(format!("Invalid time comparison operator '{operator}'")));
        }
        let at = time::parse(at).ok_or_else(|| Problem::InvalidInput(format!("Invalid time format '{at}'")))?;
        found.push(Filter::Time { column: name.to_owned(), operator: operator.to_owned(), at });
    }
    Ok(())
}
