//! Pages of lists: conditions, sorting and keyset paging, the same on both databases.
//!
//! NULL sorts below every value (as in the databases Cinder runs on). A page begins after the *values* of its marker, so
//! that its cost does not depend on how far the client has read.

use super::super::connection::AnyConnection;
use super::super::sql::{Dialect, Number, Sql, Value};
use super::super::{Direction, Filter, ListError, Page, Paging};
use super::ReadFailure;
use super::columns::{Column, Cut, Kind, Listed};

/// What is asked for.
pub(super) struct Listing<'a> {
    pub project_id: Option<&'a str>,
    pub filters: &'a [Filter],
    pub paging: &'a Paging,
    pub with_count: bool,
}

type SortKey<R> = (&'static Column<R>, Direction);

/// Reads a page of rows.
pub(super) fn list<R: Listed>(
    connection: &mut AnyConnection,
    listing: &Listing,
) -> Result<Page<R>, ReadFailure<ListError>> {
    let dialect = Dialect::of(connection);
    let keys = sort_keys::<R>(&listing.paging.sort)?;
    let marker = match &listing.paging.marker {
        None => None,
        Some(id) => Some(find_marker::<R>(connection, listing, id)?),
    };
    let count = if listing.with_count {
        let mut sql = Sql::new(dialect, &format!("SELECT COUNT(*) AS number FROM {} WHERE ", R::TABLE));
        push_conditions::<R>(&mut sql, listing.project_id, listing.filters);
        let rows: Vec<Number> = sql.load(connection)?;
        rows.first().map(|row| u64::try_from(row.number).unwrap_or(0))
    } else {
        None
    };
    if listing.paging.limit == 0 {
        return Ok(Page { rows: Vec::new(), count });
    }
    let mut conditions = Sql::new(dialect, "");
    push_conditions::<R>(&mut conditions, listing.project_id, listing.filters);
    if let Some(marker) = &marker {
        conditions.push(" AND ");
        push_after(&mut conditions, &keys, marker);
    }
    let bound = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let cut = Cut { order: order(&keys), limit: bound(listing.paging.limit), offset: bound(listing.paging.offset) };
    Ok(Page { rows: R::load(connection, conditions, cut)?, count })
}

/// The sort keys as columns; always ends with the id, so that the order is total.
fn sort_keys<R: Listed>(sort: &[(String, Direction)]) -> Result<Vec<SortKey<R>>, ListError> {
    let mut keys: Vec<SortKey<R>> = Vec::with_capacity(sort.len() + 1);
    for (name, direction) in sort {
        match R::column(name) {
            Some(column) if keys.iter().any(|(known, _)| known.sql == column.sql) => {}
            Some(column) => keys.push((column, *direction)),
            None if R::ALWAYS_NULL.contains(&name.as_str()) => {}
            None => return Err(ListError::InvalidSortKey),
        }
    }
    if !keys.iter().any(|(column, _)| column.sql == "id") {
        let direction = sort.first().map_or(Direction::Descending, |(_, direction)| *direction);
        keys.push((R::column("id").expect("every listed table has an id"), direction));
    }
    Ok(keys)
}

fn find_marker<R: Listed>(
    connection: &mut AnyConnection,
    listing: &Listing,
    id: &str,
) -> Result<R, ReadFailure<ListError>> {
    let mut condition = Sql::new(Dialect::of(connection), "id = ");
    condition.bind(Value::Text(id.to_owned()));
    if R::SOFT_DELETED {
        condition.push(" AND deleted = false");
    }
    let rows = R::load(connection, condition, Cut { order: "id".to_owned(), limit: 1, offset: 0 })?;
    rows.into_iter()
        .find(|row| row.id() == id && listing.project_id.is_none_or(|project_id| row.project_id() == project_id))
        .ok_or_else(|| ListError::MarkerNotFound(id.to_owned()).into())
}

fn order<R>(keys: &[SortKey<R>]) -> String {
    let mut order = String::new();
    for (index, (column, direction)) in keys.iter().enumerate() {
        order.push_str(if index == 0 { "" } else { ", " });
        order.push_str(column.sql);
        order.push_str(match (direction, column.nullable) {
            (Direction::Ascending, false) => " ASC",
            (Direction::Descending, false) => " DESC",
            (Direction::Ascending, true) => " ASC NULLS FIRST",
            (Direction::Descending, true) => " DESC NULLS LAST",
        });
    }
    order
}

/// The condition of standing after `marker` in the order of `keys`.
fn push_after<R>(sql: &mut Sql, keys: &[SortKey<R>], marker: &R) {
    let first = keys[0].1;
    if keys.iter().all(|(column, direction)| !column.nullable && *direction == first) {
        // a comparison of rows is what both databases can start an index scan from
        sql.push("(");
        for (index, (column, _)) in keys.iter().enumerate() {
            sql.push(if index > 0 { ", " } else { "" }).push(column.sql);
        }
        sql.push(if first == Direction::Ascending { ") > " } else { ") < " });
        sql.bind_list(keys.iter().map(|(column, _)| (column.value)(marker)));
        return;
    }
    sql.push("(");
    for last in 0..keys.len() {
        if last > 0 {
            sql.push(" OR ");
        }
        sql.push("(");
        for (column, _) in &keys[..last] {
            match (column.value)(marker) {
                Value::Null => sql.push(column.sql).push(" IS NULL"),
                value => sql.push(column.sql).push(" = ").bind(value),
            };
            sql.push(" AND ");
        }
        let (column, direction) = &keys[last];
        match ((column.value)(marker), direction) {
            (Value::Null, Direction::Ascending) => sql.push(column.sql).push(" IS NOT NULL"),
            (Value::Null, Direction::Descending) => sql.push("1 = 0"),
            (value, Direction::Ascending) => sql.push(column.sql).push(" > ").bind(value),
            (value, Direction::Descending) if column.nullable => {
                sql.push("(").push(column.sql).push(" < ").bind(value);
                sql.push(" OR ").push(column.sql).push(" IS NULL)")
            }
            (value, Direction::Descending) => sql.push(column.sql).push(" < ").bind(value),
        };
        sql.push(")");
    }
    sql.push(")");
}

/// The condition of being live, of the project and matched by every filter.
pub(super) fn push_conditions<R: Listed>(sql: &mut Sql, project_id: Option<&str>, filters: &[Filter]) {
    sql.push(if R::SOFT_DELETED { "deleted = false" } else { "1 = 1" });
    if let Some(project_id) = project_id {
        sql.push(" AND project_id = ").bind(Value::Text(project_id.to_owned()));
    }
    for filter in filters {
        sql.push(" AND ");
        push_filter::<R>(sql, filter);
    }
}

/// A volume with this migration status receives the data of another, whose id follows.
const MIGRATION_TARGET: &str = "target:";
const NOTHING: &str = "1 = 0";
const EVERYTHING: &str = "1 = 1";

fn push_filter<R: Listed>(sql: &mut Sql, filter: &Filter) {
    match filter {
        Filter::Nothing => {
            sql.push(NOTHING);
        }
        Filter::OneOf { column, values } => push_one_of::<R>(sql, column, values),
        Filter::Like { column, pattern } => push_like::<R>(sql, column, pattern),
        Filter::Time { column, operator, at } => {
            let column = R::column(column).filter(|column| column.kind == Kind::Int);
            match column.zip(comparison(operator)) {
                Some((column, comparison)) => sql.push(column.sql).push(comparison).bind(Value::Int(at.0)),
                None => sql.push(NOTHING),
            };
        }
        Filter::Metadata(pairs) if R::TABLE == "snapshots" => {
            sql.push(EVERYTHING);
            for (key, value) in pairs {
                sql.push(" AND ");
                push_pair(sql, "metadata", key, value);
            }
        }
        Filter::Metadata(_) | Filter::ImageMetadata(_) if R::TABLE != "volumes" => {
            sql.push(NOTHING);
        }
        Filter::Metadata(pairs) => {
            sql.push(EVERYTHING);
            for (key, value) in pairs {
                sql.push(" AND (");
                push_pair(sql, "metadata", key, value);
                sql.push(" OR ");
                push_pair(sql, "admin_metadata", key, value);
                sql.push(")");
            }
        }
        Filter::ImageMetadata(pairs) => {
            sql.push(EVERYTHING);
            for (key, value) in pairs {
                push_pair(sql.push(" AND "), "image_metadata", key, value);
            }
        }
        Filter::NoMigrationTarget => match R::column("migration_status") {
            Some(column) => {
                sql.push("(").push(column.sql).push(" IS NULL OR substr(").push(column.sql);
                sql.push(&format!(", 1, {}) <> ", MIGRATION_TARGET.len()));
                sql.bind(Value::Text(MIGRATION_TARGET.to_owned())).push(")");
            }
            None => {
                sql.push(EVERYTHING);
            }
        },
        Filter::Host(host) => match R::column("host") {
            Some(column) => push_host(sql, column.sql, host),
            None => {
                sql.push(NOTHING);
            }
        },
    }
}

fn comparison(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "gt" => " > ",
        "gte" => " >= ",
        "eq" => " = ",
        "neq" => " <> ",
        "lt" => " < ",
        "lte" => " <= ",
        _ => return None,
    })
}

fn push_one_of<R: Listed>(sql: &mut Sql, name: &str, values: &[Option<String>]) {
    let wants_null = values.contains(&None);
    let Some(column) = R::column(name) else {
        let matches = wants_null && R::ALWAYS_NULL.contains(&name);
        sql.push(if matches { EVERYTHING } else { NOTHING });
        return;
    };
    // a value that the column cannot hold equals none of its values
    let values: Vec<Value> = values.iter().flatten().filter_map(|text| typed(column.kind, text)).collect();
    let is_status = R::TABLE == "volumes" && column.sql == "status";
    let statuses =
        if is_status && !wants_null && sql.dialect() == Dialect::Postgres { values.clone() } else { Vec::new() };
    match (wants_null, values.is_empty()) {
        (false, true) => sql.push(NOTHING),
        (false, false) => sql.push(column.sql).push(" IN ").bind_list(values),
        (true, true) => sql.push(column.sql).push(" IS NULL"),
        (true, false) => sql
            .push("(")
            .push(column.sql)
            .push(" IS NULL OR ")
            .push(column.sql)
            .push(" IN ")
            .bind_list(values)
            .push(")"),
    };
    push_status_class(sql, &statuses);
}

/// PostgreSQL's index on the status holds classes of statuses (`migrations/postgres`).
fn push_status_class(sql: &mut Sql, statuses: &[Value]) {
    for (index, status) in statuses.iter().enumerate() {
        sql.push(if index == 0 { " AND status_class IN (" } else { ", " });
        sql.push("class_of_status(").bind(status.clone()).push(")");
    }
    sql.push(if statuses.is_empty() { "" } else { ")" });
}

fn typed(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text => Some(Value::Text(text.to_owned())),
        Kind::Int => text.parse().ok().map(Value::Int),
        Kind::Bool => match text {
            "true" | "True" | "TRUE" | "1" => Some(Value::Bool(true)),
            "false" | "False" | "FALSE" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
    }
}

fn push_like<R: Listed>(sql: &mut Sql, name: &str, pattern: &str) {
    let Some(column) = R::column(name).filter(|column| column.kind == Kind::Text) else {
        sql.push(NOTHING);
        return;
    };
    let pattern = Value::Text(format!("%{pattern}%"));
    match sql.dialect() {
        // SQLite folds ASCII only, and has no escape character unless one is named
        Dialect::Sqlite => sql.push(column.sql).push(" LIKE ").bind(pattern),
        // the columns' collation is "C": lower() folds ASCII only
        Dialect::Postgres => {
            sql.push("lower(").push(column.sql).push(") LIKE lower(").bind(pattern).push(" COLLATE \"C\") ESCAPE ''")
        }
    };
}

fn push_pair(sql: &mut Sql, column: &str, key: &str, value: &str) {
    let (key, value) = (Value::Text(key.to_owned()), Value::Text(value.to_owned()));
    match sql.dialect() {
        Dialect::Sqlite => {
            sql.push("EXISTS (SELECT 1 FROM json_each(").push(column).push(") AS pair WHERE pair.key = ").bind(key);
            sql.push(" AND pair.value = ").bind(value).push(")");
        }
        Dialect::Postgres => {
            sql.push("(").push(column).push("::jsonb ->> ").bind(key).push("::text) = ").bind(value);
        }
    }
}

fn push_host(sql: &mut Sql, column: &str, host: &str) {
    sql.push("(").push(column).push(" = ").bind(Value::Text(host.to_owned()));
    for boundary in ['#', '@'] {
        let prefix = format!("{host}{boundary}");
        sql.push(&format!(" OR substr({column}, 1, {}) = ", prefix.chars().count()));
        sql.bind(Value::Text(prefix));
    }
    sql.push(")");
}
